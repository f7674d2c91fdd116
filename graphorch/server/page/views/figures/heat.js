// The heat map: nodes by time, darker where more is. It is a table, so every cell has its value in
// words; arrows move from cell to cell, and the line below says what the cell holds.
import { dollars, h, plural } from "../../parts/elements.js";
import { NOTHING, count, duration, price } from "../../parts/figures.js";
import { inline } from "../../parts/text.js";
import { writeAddress } from "../../shell/address.js";
import { nameTime } from "./charts.js";

const SHOWN = 40; // rows before the reader wants all
const LEVELS = 5;

// What a cell is coloured by: word, value, how it is written, and its colour.
export const MEASURES = {
  seconds: ["Time", (cell) => cell.seconds, duration, "brand"],
  usd: ["Cost", (cell) => cell.usd ?? 0, dollars, "good"],
  errors: ["Errors", (cell) => cell.errors, count, "bad"],
  visits: ["Visits", (cell) => cell.visits, count, "bound"],
};

export class HeatMap {
  constructor(heat, measure, onMeasure) {
    Object.assign(this, { heat, onMeasure });
    this.measure = MEASURES[measure] ? measure : "seconds";
    const [, value] = MEASURES[this.measure];
    this.most = Math.max(0, ...heat.rows.flatMap((row) => row.cells.map(value)));
    this.readout = h("p", { class: "heat-readout muted" }, "Point at a cell to read it.");
    this.body = h("tbody", {});
    this.more = h("div", { class: "heat-more" });
    this.el = h(
      "section",
      { class: "card heat", "aria-label": "Heat map" },
      h(
        "div",
        { class: "card-head" },
        h("h2", {}, "Where it goes"),
        this.chooser(),
        this.legend(),
      ),
      this.grid(),
      this.readout,
      this.more,
    );
    this.fill(SHOWN);
  }

  chooser() {
    const buttons = Object.entries(MEASURES).map(([name, [title]]) =>
      h(
        "button",
        {
          type: "button",
          class: "button small",
          "data-key": `measure-${name}`,
          "aria-pressed": String(name === this.measure),
          onclick: () => this.onMeasure(name),
        },
        title,
      ),
    );
    return h("div", { class: "heat-measures", role: "group", "aria-label": "Measure" }, ...buttons);
  }

  // Levels grow with the square root: small values stay visible beside a large one.
  level(value) {
    if (!value || !this.most) return 0;
    return Math.max(1, Math.ceil(Math.sqrt(value / this.most) * LEVELS));
  }

  legend() {
    const [title, , format, tone] = MEASURES[this.measure];
    const swatches = Array.from({ length: LEVELS }, (_, at) =>
      h("span", { class: `heat-swatch heat-${tone}`, "data-level": String(at + 1) }),
    );
    return h(
      "div",
      { class: "heat-legend small muted" },
      h("span", { class: "visually-hidden" }, `${title}: from little to `),
      h("span", { "aria-hidden": "true" }, format(0)),
      ...swatches,
      h("span", {}, this.most ? format(this.most) : NOTHING),
    );
  }

  grid() {
    const { times, bucket } = this.heat;
    const step = Math.ceil(times.length / 8);
    const heads = times.map(([began], at) => {
      const name = nameTime(began, bucket);
      const shown = at % step === 0 ? name.slice(bucket === "hour" ? 11 : 5) || name : "";
      return h(
        "th",
        { scope: "col", title: name },
        h("span", { class: "visually-hidden" }, name),
        h("span", { class: "heat-time", "aria-hidden": "true" }, shown),
      );
    });
    return h(
      "div",
      { class: "heat-scroll" },
      h(
        "table",
        {
          class: times.length <= 8 ? "heat-table is-few" : "heat-table",
          onkeydown: (event) => this.typed(event),
        },
        h("caption", { class: "visually-hidden" }, "Figures of nodes over time"),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Node")),
            ...heads,
          ),
        ),
        this.body,
      ),
    );
  }

  fill(most) {
    const { rows, more } = this.heat;
    this.body.replaceChildren(...rows.slice(0, most).map((row) => this.line(row)));
    this.body.querySelector("a")?.setAttribute("tabindex", "0");
    const hidden = rows.length - most;
    const words = more ? `${plural(more, "more node")} with less time are not shown.` : null;
    this.more.replaceChildren(
      ...[
        hidden > 0
          ? h(
              "button",
              { type: "button", class: "button small", onclick: () => this.fill(rows.length) },
              `Show ${plural(hidden, "more node")}`,
            )
          : null,
        words ? h("p", { class: "muted small" }, words) : null,
      ].filter(Boolean),
    );
  }

  line(row) {
    const cells = new Map(row.cells.map((cell) => [cell.column, cell]));
    return h(
      "tr",
      {},
      h(
        "th",
        { scope: "row", title: `${row.node} · ${row.flow}` },
        inline(row.node),
        h("span", { class: "muted heat-flow" }, row.kind === "tool" ? "tool · " : "", inline(row.flow)),
      ),
      ...this.heat.times.map((time, column) => this.cell(row, cells.get(column), time)),
    );
  }

  cell(row, cell, [began]) {
    if (!cell) return h("td", {}, h("span", { class: "visually-hidden" }, "nothing"));
    const [, value, , tone] = MEASURES[this.measure];
    const words = wordsOf(cell);
    const say = () =>
      this.readout.replaceChildren(
        h("strong", {}, inline(row.node)),
        ` · ${nameTime(began, this.heat.bucket)} · ${words}`,
      );
    const isUnknown = this.measure === "usd" && cell.unpriced;
    return h(
      "td",
      {},
      h(
        "a",
        {
          href: writeAddress({ path: ["runs", cell.newest_run] }),
          class: `heat-cell heat-${tone}${isUnknown ? " is-unknown" : ""}`,
          "data-level": String(this.level(value(cell))),
          tabindex: "-1",
          title: words,
          onfocus: say,
          onmouseenter: say,
        },
        h("span", { class: "visually-hidden" }, words),
      ),
    );
  }

  // Arrows lead to the next cell that holds something.
  typed(event) {
    const [down, right] =
      { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key] ?? [];
    const from = event.target.closest("td");
    if (right === undefined || !from) return;
    event.preventDefault();
    const rows = [...this.body.rows];
    let at = rows.indexOf(from.parentElement) + down;
    let column = from.cellIndex + right;
    while (rows[at]?.cells[column]) {
      const next = rows[at].cells[column].querySelector("a");
      if (next) return this.focus(next);
      at += down;
      column += right;
    }
  }

  focus(next) {
    for (const link of this.body.querySelectorAll('a[tabindex="0"]'))
      link.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  }
}

function wordsOf(cell) {
  const parts = [
    plural(cell.visits, "visit"),
    duration(cell.seconds),
    price({ usd: cell.usd ?? 0, unpriced: cell.unpriced }),
    plural(cell.errors, "error"),
  ];
  if (cell.latency_p50 !== null) parts.splice(2, 0, `P50 ${duration(cell.latency_p50)}`);
  return parts.join(", ");
}
