// Small charts over time: bars of cost and of errors, and the latency of calls as two lines.
//
// The pictures are for the eye; the table below them has the same values for everybody.
import { SVG, dollars, h } from "../../parts/elements.js";
import { NOTHING, count, duration, moment, price } from "../../parts/figures.js";
import { runsOf } from "./links.js";

const WIDTH = 320;
const HEIGHT = 96;
const THICKEST = 22; // of a bar
const MOST = 120; // places of a chart; beyond, gaps are left out

export function charts(figures, window) {
  const slots = slotsOf(figures.times, figures.bucket);
  const made = [
    bars("Cost", slots, window, (row) => row.usd ?? 0, dollars, "chart-cost", figures.bucket),
    lines(slots, window, figures.bucket),
    bars("Errors", slots, window, (row) => row.errors, count, "chart-errors", figures.bucket),
  ];
  return h(
    "section",
    { class: "charts", "aria-label": "Over time" },
    ...made,
    valueTable(figures, window),
  );
}

// ---- the axis of time ----------------------------------------------------------------------------
const LENGTH = { hour: 3600, day: 86400, month: 30.44 * 86400 };

// A place for every hour, day or month between the first and the last, also for empty ones.
function slotsOf(times, bucket) {
  if (!times.length) return [];
  const first = times[0].began;
  const length = LENGTH[bucket];
  const places = Math.round((times.at(-1).began - first) / length) + 1;
  if (places > MOST) return times;
  const slots = Array.from({ length: places }, (_, at) => ({
    began: first + at * length,
    ended: first + (at + 1) * length,
    figures: null,
  }));
  for (const time of times) slots[Math.round((time.began - first) / length)] = time;
  return slots;
}

export function nameTime(began, bucket) {
  const whole = moment(began);
  if (bucket === "hour") return whole.slice(0, 16);
  return whole.slice(0, bucket === "day" ? 10 : 7);
}

// ---- pictures ------------------------------------------------------------------------------------
function bars(title, slots, window, value, format, kind, bucket) {
  const values = slots.map((slot) => (slot.figures ? value(slot.figures) : 0));
  const most = Math.max(...values, 0);
  const width = WIDTH / Math.max(slots.length, 1);
  const marks = slots.map((slot, at) => {
    const height = values[at] ? Math.max((values[at] / most) * (HEIGHT - 4), 2) : 0;
    const thick = Math.min(width * 0.76, THICKEST);
    const x = (at + 0.5) * width - thick / 2;
    const bar = draw("rect", { x, y: HEIGHT - height, width: thick, height });
    const words = slot.figures ? unknownOr(slot.figures, kind, format(values[at])) : "nothing";
    return place(slot, at, width, window, `${nameTime(slot.began, bucket)}: ${words}`, bar);
  });
  return chart(title, kind, most ? format(most) : NOTHING, edgesOf(slots, bucket), marks);
}

const unknownOr = (row, kind, words) =>
  kind === "chart-cost" && row.unpriced ? price({ ...row, usd: row.usd ?? 0 }) : words;

function lines(slots, window, bucket) {
  const read = (slot, name) => slot.figures?.calls?.latency[name] ?? null;
  const most = Math.max(...slots.map((slot) => read(slot, "p90") ?? 0), 0);
  const width = WIDTH / Math.max(slots.length, 1);
  const marks = slots.map((slot, at) => {
    const points = ["p90", "p50"].map((name) => {
      const value = read(slot, name);
      if (value === null) return null;
      const y = yOf(value, most);
      return draw("path", { d: `M${(at + 0.5) * width} ${y}h0`, class: `dot ${name}` });
    });
    const words = points[0]
      ? `P50 ${duration(read(slot, "p50"))}, P90 ${duration(read(slot, "p90"))}`
      : "no call";
    const title = `${nameTime(slot.began, bucket)}: ${words}`;
    return place(slot, at, width, window, title, ...points.filter(Boolean));
  });
  const paths = ["p90", "p50"].map((name) =>
    draw("path", { d: pathOf(slots, name, read, most, width), class: `line ${name}` }),
  );
  const legend = h(
    "span",
    { class: "chart-legend" },
    h("span", { class: "key p50" }, "P50"),
    h("span", { class: "key p90" }, "P90"),
  );
  const edges = edgesOf(slots, bucket);
  const words = most ? duration(most) : NOTHING;
  return chart("Call latency", "chart-latency", words, edges, [...marks, ...paths], legend);
}

const yOf = (value, most) => HEIGHT - 3 - (most ? (value / most) * (HEIGHT - 8) : 0);

// A line leaves out the times without a call.
function pathOf(slots, name, read, most, width) {
  let isOpen = false;
  return slots
    .map((slot, at) => {
      const value = read(slot, name);
      if (value === null) {
        isOpen = false;
        return "";
      }
      const step = `${isOpen ? "L" : "M"}${(at + 0.5) * width} ${yOf(value, most)}`;
      isOpen = true;
      return step;
    })
    .join("");
}

// One time of a chart, as high as the chart: what is drawn there, its words, and its runs.
function place(slot, at, width, window, words, ...drawn) {
  const area = draw("rect", { x: at * width, y: 0, width, height: HEIGHT, class: "area" });
  const title = draw("title", {});
  title.textContent = words;
  const link = draw("a", {
    href: runsOf(window, { since: slot.began, until: slot.ended }),
    tabindex: "-1",
  });
  link.append(title, area, ...drawn);
  return link;
}

const edgesOf = (slots, bucket) =>
  slots.length
    ? [nameTime(slots[0].began, bucket), nameTime(slots.at(-1).began, bucket)]
    : ["", ""];

function chart(title, kind, most, edges, marks, legend = null) {
  const picture = draw("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    class: kind,
    "aria-hidden": "true",
  });
  picture.append(...marks);
  return h(
    "figure",
    { class: "chart" },
    h(
      "figcaption",
      {},
      h("span", { class: "chart-title" }, title),
      legend,
      h("span", { class: "muted small" }, `at most ${most}`),
    ),
    picture,
    h(
      "div",
      { class: "chart-edges muted small", "aria-hidden": "true" },
      h("span", {}, edges[0]),
      h("span", {}, edges[1] === edges[0] ? "" : edges[1]),
    ),
  );
}

function draw(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// ---- the same as a table -------------------------------------------------------------------------
function valueTable({ times, bucket }, window) {
  const rows = times.map(({ began, ended, figures }) =>
    h(
      "tr",
      {},
      h(
        "th",
        { scope: "row" },
        h("a", { href: runsOf(window, { since: began, until: ended }) }, nameTime(began, bucket)),
      ),
      h("td", { class: "number" }, price({ usd: figures.usd ?? 0, unpriced: figures.unpriced })),
      h("td", { class: "number" }, count(figures.calls?.calls ?? 0)),
      h("td", { class: "number" }, duration(figures.calls?.latency.p50 ?? null)),
      h("td", { class: "number" }, duration(figures.calls?.latency.p90 ?? null)),
      h("td", { class: "number" }, count(figures.errors)),
    ),
  );
  const heads = ["Cost", "Calls", "Call P50", "P90", "Errors"].map((title) =>
    h("th", { scope: "col", class: "number" }, title),
  );
  const name = { hour: "Hour", day: "Day", month: "Month" }[bucket];
  return h(
    "details",
    { class: "chart-values" },
    h("summary", {}, "Values as a table"),
    h(
      "table",
      { class: "figures-table" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, name), ...heads)),
      h("tbody", {}, ...rows),
    ),
  );
}
