// What runs cost, how long they took and where they failed: by group, over time, and as a heat map.
import { h, plural, replaceChildren } from "../../parts/elements.js";
import { empty, failure, loading, unreadableRun } from "../../parts/states.js";
import { Tabs } from "../../parts/tabs.js";
import { charts } from "./charts.js";
import { legendOf } from "./columns.js";
import { HeatMap } from "./heat.js";
import { figuresTable } from "./table.js";
import { Window, readWindow, toWindowQuery } from "./window.js";

const GROUPS = [
  { name: "flow", title: "Flow" },
  { name: "agent", title: "Agent" },
  { name: "model", title: "Model" },
  { name: "node", title: "Node" },
  { name: "tag", title: "Tag" },
];
const NAMED = 5; // runs that cannot be read and are named one by one

export class FiguresView {
  title = "Figures";

  constructor(context) {
    this.context = context;
    this.asked = 0;
    this.window = new Window(context.about?.flows ?? [], (chosen) => this.change(chosen));
    this.tabs = new Tabs("Group by", GROUPS, (by) => this.change({ by: by === "flow" ? "" : by, sort: "" }));
    this.renew = h(
      "button",
      { type: "button", class: "button", onclick: () => this.load() },
      "Refresh",
    );
    this.stale = h("span", { class: "small muted", hidden: "" }, "Runs changed since.");
    this.charts = h("div", {});
    this.heat = h("div", {});
    this.left = h("div", { class: "unreadable" });
    this.el = h(
      "div",
      { class: "page figures-page" },
      h(
        "div",
        { class: "page-head" },
        h("h1", {}, "Figures"),
        this.window.el,
        this.stale,
        this.renew,
      ),
      this.left,
      this.charts,
      h("section", { class: "card", "aria-label": "By group" }, this.tabs.list, this.tabs.panel),
      this.heat,
    );
    this.keys = [{ key: "u", words: "refresh the figures", act: () => this.load() }];
  }

  close() {
    this.abort?.abort();
  }

  // ---- the address ------------------------------------------------------------------------------
  show({ query }) {
    const before = this.query;
    this.query = query;
    this.window.show(query);
    this.by = GROUPS.some(({ name }) => name === query.by) ? query.by : "flow";
    this.tabs.show(this.by);
    const isSame = (names) => before && names.every((name) => before[name] === query[name]);
    if (this.figures && isSame(["by", "name", "since", "until", "flow", "tag"])) this.draw();
    else this.load();
  }

  change(chosen) {
    const query = { ...this.query, ...chosen };
    this.context.go({ path: ["figures"], query }, { replace: true });
  }

  hear({ event }) {
    if (event === "run" || event === "gone" || event === "again") this.stale.hidden = !this.figures;
  }

  // ---- what is asked for ------------------------------------------------------------------------
  async load() {
    const turn = ++this.asked;
    this.abort?.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    if (!this.figures) this.tabs.panel.replaceChildren(loading("Adding up the runs", 6));
    this.tabs.panel.setAttribute("aria-busy", "true");
    const window = toWindowQuery(readWindow(this.query));
    const { api } = this.context;
    try {
      const name = this.by === "tag" ? this.query.name : "";
      const figures = await api.get("/statistics", { ...window, by: this.by, name }, { signal });
      if (turn !== this.asked) return;
      Object.assign(this, { figures, map: null });
      this.stale.hidden = true;
      this.draw();
      const map = await api.get("/statistics/heat", window, { signal });
      if (turn !== this.asked) return;
      this.map = map;
      this.drawHeat();
    } catch (problem) {
      if (turn === this.asked && problem.name !== "AbortError") this.fail(problem);
    } finally {
      if (turn === this.asked) this.tabs.panel.removeAttribute("aria-busy");
    }
  }

  fail(problem) {
    this.figures = null;
    this.charts.replaceChildren();
    this.heat.replaceChildren();
    this.tabs.panel.replaceChildren(failure(problem, () => this.load()));
  }

  // ---- what is shown ----------------------------------------------------------------------------
  draw() {
    const { figures } = this;
    const window = readWindow(this.query);
    this.left.replaceChildren(...leftOut(figures.left_out));
    if (!figures.total.runs) return this.drawNothing();
    const openValues = this.charts.querySelector("details")?.open;
    this.charts.replaceChildren(charts(figures, window));
    if (openValues) this.charts.querySelector("details").open = true;
    replaceChildren(this.tabs.panel, [
      this.by === "tag" ? this.tagChooser() : null,
      figures.rows.length
        ? figuresTable(figures, window, this.query.sort, (sort) => this.change({ sort }))
        : empty(...NO_ROWS[this.by]),
      ...legendOf(figures.total).map((words) => h("p", { class: "figures-key muted small" }, words)),
      figures.more
        ? h("p", { class: "note tone-calm" }, `${plural(figures.more, "more row")} with less cost are not shown; All counts them.`)
        : null,
    ]);
    this.drawHeat();
  }

  drawNothing() {
    this.charts.replaceChildren();
    this.heat.replaceChildren();
    const isNarrow = this.query.flow || this.query.tag || readWindow(this.query).since !== "all";
    const button = h(
      "button",
      {
        type: "button",
        class: "button",
        onclick: () => this.change({ since: "all", until: "", flow: "", tag: "" }),
      },
      "Show any time and flow",
    );
    this.tabs.panel.replaceChildren(
      isNarrow
        ? empty("Nothing in this window", "No run of the journal did anything in it.", button)
        : empty("No runs yet", "Figures of the runs of this journal appear here."),
    );
  }

  drawHeat() {
    if (!this.map) return this.heat.replaceChildren();
    if (!this.map.rows.length) return;
    const map = new HeatMap(this.map, this.query.measure, (measure) => this.change({ measure }));
    replaceChildren(this.heat, [map.el]);
  }

  tagChooser() {
    const { tag, tags } = this.figures;
    if (!tags.length) return null;
    const names = tags.includes(tag) ? tags : [tag, ...tags];
    const chosen = h(
      "select",
      {
        class: "field",
        "aria-label": "Name of the tag",
        "data-key": "tag-name",
        onchange: () => this.change({ name: chosen.value, sort: "" }),
      },
      ...names.map((name) => h("option", { value: name }, name)),
    );
    chosen.value = tag;
    return h("div", { class: "figures-tag" }, h("span", { class: "muted" }, "Tag"), chosen);
  }
}

const NO_ROWS = {
  flow: ["No flows", "Nothing ran."],
  agent: ["No agents", "Nothing in this window called a model or a tool."],
  model: ["No model calls", "Nothing in this window called a model."],
  node: ["No nodes", "Nothing ran."],
  tag: ["No tags", "Tags are given to runs as they begin; none of these runs has one."],
};

// Runs that are in no figure.
function leftOut({ unreadable, erased }) {
  const notes = unreadable
    .slice(0, NAMED)
    .map((run) => unreadableRun(run, "is in no figure."));
  const rest = unreadable.length - NAMED;
  if (rest > 0) notes.push(h("p", { class: "muted small" }, `${plural(rest, "more run")} cannot be read.`));
  if (erased) notes.push(h("p", { class: "muted small" }, `${plural(erased, "erased run")} can no longer be counted.`));
  return notes;
}
