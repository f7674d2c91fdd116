// The table of figures: a row for each group, sorted by any column, with the sum below.
import { h } from "../../parts/elements.js";
import { inline, visible } from "../../parts/text.js";
import { FIRST, columnsOf, nameOf } from "./columns.js";
import { linkOf, runsOf } from "./links.js";

const HEADS = { agent: "Agent", model: "Model", node: "Node", flow: "Flow", tag: "Tag" };

// `sort` is a column, with `-` before it for the smallest first; `onSort(sort)` changes it.
export function figuresTable(figures, window, sort, onSort) {
  const columns = columnsOf(figures.by);
  const sorted = sort || FIRST;
  const heads = columns.map((column) => head(column, sorted, onSort));
  const rows = sortRows(figures.rows, columns, sorted, figures.by);
  const total = { href: runsOf(window), words: "Lists all runs of the window" };
  return h(
    "div",
    { class: "figures-scroll", tabindex: "0", role: "region", "aria-label": "Figures by group" },
    h(
      "table",
      { class: "figures-table" },
      h("thead", {}, h("tr", {}, nameHead(figures, sorted, onSort), ...heads)),
      h("tbody", {}, ...rows.map((row) => line(row, columns, figures, window))),
      h(
        "tfoot",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "row" }, link(total, "All")),
          ...columns.map((column) => cell(column, figures.total, total)),
        ),
      ),
    ),
  );
}

function nameHead(figures, sorted, onSort) {
  const title = figures.by === "tag" ? inline(figures.tag || "Tag") : HEADS[figures.by];
  return head({ name: "name", title, isName: true }, sorted, onSort);
}

// Names go upwards first, numbers downwards.
function head({ name, title, hint, isName = false }, sorted, onSort) {
  const isSorted = sorted.replace("-", "") === name;
  const isUp = isSorted && sorted.startsWith("-") !== isName;
  const state = isSorted ? (isUp ? "ascending" : "descending") : "none";
  const next = isSorted && !sorted.startsWith("-") ? `-${name}` : name;
  return h(
    "th",
    { scope: "col", class: isName ? null : "number", "aria-sort": state },
    h(
      "button",
      {
        type: "button",
        class: "sort",
        "data-key": `sort-${name}`,
        title: hint,
        onclick: () => onSort(next),
      },
      title,
      h("span", { class: "sort-sign", "aria-hidden": "true" }, isSorted ? (isUp ? "↑" : "↓") : ""),
    ),
  );
}

function sortRows(rows, columns, sorted, by) {
  const name = sorted.replace("-", "");
  const column = columns.find((each) => each.name === name);
  const value = column ? column.value : (row) => nameOf(row, by).toLowerCase();
  const sign = sorted.startsWith("-") === Boolean(column) ? 1 : -1;
  return [...rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return a === b ? 0 : sign * (a < b ? -1 : 1);
  });
}

function line(row, columns, figures, window) {
  const target = linkOf(row, figures, window);
  const flow = figures.by === "node" ? inline(row.key[0], { class: "muted figures-flow" }) : null;
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, link(target, nameCell(nameOf(row, figures.by))), flow),
    ...columns.map((column) => cell(column, row, target)),
  );
}

// A path is broken at its parts, if it has to be.
const nameCell = (name) =>
  h(
    "bdi",
    {},
    ...visible(name)
      .split(/(?<=\/)/)
      .flatMap((part) => [part, h("wbr")]),
  );

// The name is the stop of the Tab key; the numbers beside it lead to the same place.
function cell(column, row, target) {
  const isBad = column.isBad && column.value(row) > 0;
  return h(
    "td",
    { class: isBad ? "number bad" : "number", "data-column": column.title },
    link(target, column.show(row), { tabindex: "-1", class: "plain-link" }),
  );
}

const link = (target, content, attributes = {}) =>
  target ? h("a", { ...attributes, href: target.href, title: target.words }, content) : content;
