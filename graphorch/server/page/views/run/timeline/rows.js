// Rows of the timeline: one for each node within what is around it. Its activations, such as the
// rounds of a loop, are bars of that row.
import { boxOf } from "../selection.js";

const FOLDED_FROM = 20; // items of a map; with more of them it begins closed
const LOUDEST = { failed: 4, waiting: 3, running: 2, done: 1 };
const NAMES = { ask: "waits for a person", wait: "waits" };

// Gives rows `{ key, name, path, level, bars, items, isOpen, canFold, inner }` from top to bottom.
// `choices` has what the reader opened or closed, by key; `inner` is what a closed row holds.
export function buildRows(bars, choices) {
  const inside = new Map();
  const known = new Set(bars.map((bar) => bar.id));
  for (const bar of bars) {
    const parent = known.has(bar.parent) ? bar.parent : "";
    if (!inside.has(parent)) inside.set(parent, []);
    inside.get(parent).push(bar);
  }
  const rows = [];
  addLevel(rows, inside, inside.get("") ?? [], "", 0, choices);
  return rows;
}

function addLevel(rows, inside, bars, around, level, choices) {
  for (const [key, group] of groupByPlace(bars, around)) {
    const inner = group.flatMap((bar) => inside.get(bar.id) ?? []);
    const items = groupByItem(inner, group[0].path);
    const row = makeRow(key, level, group, choices, items.size, inner.length > 0);
    rows.push(row);
    if (!row.canFold) continue;
    if (!row.isOpen) row.inner = listAll(inside, inner);
    else if (items.size) addItems(rows, inside, items, row, choices);
    else addLevel(rows, inside, inner, key, level + 1, choices);
  }
}

function makeRow(
  key,
  level,
  bars,
  choices,
  items = 0,
  canFold = false,
  isOpen = items <= FOLDED_FROM,
) {
  const { name, path, kind } = bars[0];
  return {
    key,
    level,
    bars,
    items,
    canFold,
    path,
    name: NAMES[kind] ?? name,
    isOpen: choices.get(key) ?? isOpen,
    inner: [],
  };
}

// The items of a map, a row for each: what is inside of one opens with it.
function addItems(rows, inside, items, map, choices) {
  for (const [path, bars] of items) {
    const key = `${map.key}/${path}`;
    const whole = bars.length === 1 ? bars[0] : span(path, bars);
    const canFold = bars.length > 1 || inside.has(bars[0].id);
    const row = makeRow(key, map.level + 1, [whole], choices, 0, canFold, false);
    row.name = bars.length === 1 ? bars[0].name : path.slice(map.path.length);
    rows.push(row);
    const inner = bars.length > 1 ? bars : (inside.get(bars[0].id) ?? []);
    if (canFold && !row.isOpen) row.inner = listAll(inside, inner);
    if (canFold && row.isOpen)
      addLevel(
        rows,
        inside,
        inner.map((bar) => ({ ...bar, name: bar.path.slice(path.length + 1) || bar.name })),
        key,
        map.level + 2,
        choices,
      );
  }
}

// A bar for all that belongs to an item.
function span(path, bars) {
  const status = bars
    .map((bar) => bar.status)
    .reduce((worst, each) => ((LOUDEST[each] ?? 0) > (LOUDEST[worst] ?? 0) ? each : worst));
  const [begin, end] = [
    Math.min(...bars.map((bar) => bar.begin)),
    Math.max(...bars.map((bar) => bar.end)),
  ];
  return {
    id: "",
    parent: "",
    activation: "",
    kind: "item",
    name: path,
    path,
    begin,
    end,
    status,
    is_open: bars.some((bar) => bar.is_open),
    hint: path,
    remark: "",
    requests: [],
    attempts: [],
  };
}

// Activations of the same place share a row: a second copy of one does not, since they overlap.
function groupByPlace(bars, around) {
  const groups = new Map();
  for (const bar of bars) {
    const key = `${around}/${bar.kind === "attempt" ? `copy ${bar.id}` : bar.name}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(bar);
  }
  for (const group of groups.values()) group.sort((one, other) => one.begin - other.begin);
  return [...groups.entries()].sort(([, one], [, other]) => one[0].begin - other[0].begin);
}

// Bars right inside of a path by the item of the map that they belong to; none if it is no map.
function groupByItem(inner, path) {
  const items = new Map();
  for (const bar of inner) {
    if (!bar.path.startsWith(`${path}[`)) continue;
    const item = bar.path.slice(0, bar.path.indexOf("]", path.length) + 1);
    if (!items.has(item)) items.set(item, []);
    items.get(item).push(bar);
  }
  const number = (item) => Number(item.slice(path.length + 1, -1));
  return new Map([...items].sort(([one], [other]) => number(one) - number(other)));
}

function listAll(inside, bars) {
  const all = [];
  for (let level = bars; level.length; level = level.flatMap((bar) => inside.get(bar.id) ?? []))
    all.push(...level);
  return all.sort((one, other) => one.begin - other.begin);
}

// The row that shows a bar, also while what is around it is closed.
export function findRow(rows, activation, path) {
  const own = rows.findIndex((row) =>
    row.bars.some((bar) =>
      activation ? bar.activation === activation : bar.path === path || boxOf(bar.path) === path,
    ),
  );
  if (own >= 0) return own;
  const around = rows.findLastIndex((row) => row.inner.length && path.startsWith(row.path));
  if (around >= 0) return around;
  return rows.findIndex((row) => row.inner.length && path.startsWith(boxOf(row.path)));
}
