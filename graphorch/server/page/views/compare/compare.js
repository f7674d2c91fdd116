// Two runs beside each other: what they are and cost, one picture, their activations aligned by path
// and round, and everything in which the selected activation differs. A is the left run, B the right.
import { h, plural, replaceChildren } from "../../parts/elements.js";
import { icon } from "../../parts/icons.js";
import { PicturePane } from "../../parts/picture_pane.js";
import { empty, failure, loading, note } from "../../parts/states.js";
import { inline, shortId } from "../../parts/text.js";
import { writeAddress } from "../../shell/address.js";
import { ActivationTable } from "./activations.js";
import { differenceOf, fieldsOf } from "./difference.js";
import { runsTable } from "./runs_table.js";

const PAGE = 200; // activations that are asked for at once

export class CompareView {
  title = "Compare";

  constructor(context) {
    this.context = context;
    this.asked = 0;
    this.el = h("div", { class: "page compare-page" });
    this.picture = new PicturePane({
      title: "Both runs on one picture",
      onSelect: (box) => this.selectBox(box),
    });
    this.table = new ActivationTable({
      onSelect: (row) => this.select(row),
      onMore: () => this.readMore(),
      onOnly: (only) => this.change({ only, path: "", round: "" }),
    });
    this.detail = h("section", {
      class: "pane compare-detail",
      "aria-label": "What differs",
      "aria-live": "polite",
    });
    this.swap = h(
      "button",
      { type: "button", class: "button", title: "Exchange A and B (x)", onclick: () => this.turn() },
      "Swap A and B",
    );
    this.renew = h(
      "button",
      { type: "button", class: "button", onclick: () => this.load() },
      "Refresh",
    );
    this.stale = h("span", { class: "small muted", hidden: "" }, "A run changed since.");
    this.keys = [
      { key: "Arrows", words: "from box to box in the picture" },
      { key: "j", words: "next activation", act: () => this.step(1) },
      { key: "k", words: "previous activation", act: () => this.step(-1) },
      { key: "d", words: "only differences, or all", act: () => this.table.turnOnly() },
      { key: "x", words: "exchange A and B", act: () => this.turn() },
      { key: "u", words: "compare anew", act: () => this.load() },
      { key: "/", words: "find a box", act: () => this.picture.viewport.search.focus() },
      { key: "Escape", words: "select nothing", act: () => this.select(null) },
    ];
  }

  close() {
    this.abort?.abort();
    this.picture.close();
  }

  // ---- what the address names -------------------------------------------------------------------
  show({ query }) {
    const before = this.query;
    this.query = query;
    if (!query.a || !query.b) return this.showNothing();
    this.table.showOnly(query.only === "all");
    const isSame = (names) => before && names.every((name) => before[name] === query[name]);
    if (this.found && isSame(["a", "b", "only"])) this.follow();
    else this.load();
  }

  change(query, options = { replace: true }) {
    this.context.go({ path: ["compare"], query: { ...this.query, ...query } }, options);
  }

  turn() {
    if (this.query.a && this.query.b) this.change({ a: this.query.b, b: this.query.a });
  }

  hear({ event, data }) {
    if (event !== "run" || !this.found) return;
    const run = [this.found.left, this.found.right].find((each) => each.run_id === data.run_id);
    if (run && data.row.records > run.seq) this.stale.hidden = false;
  }

  showNothing() {
    this.found = null;
    this.el.replaceChildren(
      h("div", { class: "page-head" }, h("h1", {}, "Compare")),
      empty(
        "Two runs to compare",
        "Select two runs in the list, and press Compare.",
        h("a", { class: "button primary", href: writeAddress({ path: ["runs"] }) }, "Go to the runs"),
      ),
    );
  }

  // ---- what is asked for ------------------------------------------------------------------------
  get pair() {
    return { a: this.query.a, b: this.query.b };
  }

  async load() {
    const turn = ++this.asked;
    this.abort?.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    const { api } = this.context;
    if (!this.found) this.el.replaceChildren(head(this), loading("Comparing the runs", 8));
    this.title = `${shortId(this.query.a)} and ${shortId(this.query.b)}`;
    document.title = `${this.title} · graphorch`;
    try {
      const query = { ...this.pair, only: this.query.only, limit: PAGE };
      const found = await api.get("/comparison", query, { signal });
      if (turn !== this.asked) return;
      this.found = found;
      this.opened = null;
      this.stale.hidden = true;
      this.build();
      this.picture.show(await api.get("/comparison/picture.svg", this.pair, { signal }));
      this.mark();
    } catch (problem) {
      if (turn !== this.asked || problem.name === "AbortError") return;
      this.found = null;
      this.el.replaceChildren(head(this), failure(problem, () => this.load()));
    }
  }

  async readMore() {
    const query = { ...this.pair, only: this.query.only, limit: PAGE, after: this.found.next };
    const page = await this.context.api.get("/comparison", query);
    this.found.activations.push(...page.activations);
    this.found.next = page.next;
    this.table.show(this.found);
    this.mark();
  }

  // ---- what is shown ----------------------------------------------------------------------------
  build() {
    const { found } = this;
    this.table.show(found);
    replaceChildren(this.el, [
      head(this),
      runsTable(found),
      ...listNotes(found),
      h(
        "div",
        { class: "compare-body" },
        this.picture.el,
        h(
          "div",
          { class: "compare-side" },
          this.table.el,
          this.detail,
        ),
      ),
    ]);
    this.follow();
  }

  // Brings the parts to the activation that the address names.
  follow() {
    this.mark();
    const { path, round } = this.query;
    if (!path) return this.showRuns();
    const key = `${path} ${round ?? 1}`;
    if (this.opened === key) return;
    this.opened = key;
    this.readActivation(key);
  }

  mark() {
    const { path, round } = this.query;
    const row = this.table.mark(path ?? "", Number(round ?? 1));
    this.picture.mark(row?.box ?? path ?? "");
  }

  async readActivation(key) {
    const { path, round } = this.query;
    try {
      const query = { ...this.pair, path, round };
      const found = await this.context.api.get("/comparison/activation", query);
      if (this.opened === key) this.detail.replaceChildren(...differenceOf(found, this.pair));
    } catch (problem) {
      if (this.opened !== key) return;
      this.opened = null;
      this.detail.replaceChildren(failure(problem, () => this.follow()));
    }
  }

  // Without a selection: in what the runs differ as a whole.
  showRuns() {
    this.opened = null;
    const { inputs, outputs } = this.found;
    const parts = [fieldsOf("Input", inputs, "Both runs had the same input.")];
    if (outputs) parts.push(fieldsOf("Output", outputs, "Both runs ended with the same output."));
    this.detail.replaceChildren(
      h("div", { class: "pane-head" }, h("h2", {}, "The runs as a whole")),
      h("div", { class: "panel" }, ...parts),
    );
  }

  // ---- selection --------------------------------------------------------------------------------
  select(row) {
    this.change(row ? { path: row.path, round: row.round } : { path: "", round: "" });
  }

  // The first activation of a box that differs, else its first one.
  selectBox(box) {
    const rows = this.found.activations.filter((row) => row.box === box || row.path === box);
    const row = rows.find((each) => each.differs.length || each.presence !== "both") ?? rows[0];
    if (row) this.select(row);
    else if (box) this.change({ path: box, round: "" });
    else this.select(null);
  }

  step(by) {
    const { activations } = this.found ?? { activations: [] };
    const { path, round } = this.query;
    const at = activations.findIndex(
      (row) => row.path === path && row.round === Number(round ?? 1),
    );
    const next = activations[at < 0 ? (by > 0 ? 0 : activations.length - 1) : at + by];
    if (!next) return;
    this.select(next);
    this.table.reveal();
  }
}

function head({ query, swap, renew, stale }) {
  const back = h(
    "a",
    { class: "back", href: "#/runs", "aria-label": "All runs", title: "All runs" },
    icon("left"),
  );
  return h("div", { class: "page-head" }, back, h("h1", {}, "Compare"), stale, renew, swap);
}

function listNotes({ left, right, is_same_graph: isSameGraph }) {
  const notes = [];
  const words = (...parts) => h("span", {}, ...parts);
  if (left.flow !== right.flow)
    notes.push(
      note("warn", words("These are runs of two flows; what has the same path is aligned anyway.")),
    );
  else if (!isSameGraph)
    notes.push(
      note("warn", words("The flow changed between these runs; the picture shows both graphs.")),
    );
  if (right.parent === left.run_id) notes.push(lineage("B", "A", right));
  if (left.parent === right.run_id) notes.push(lineage("A", "B", left));
  for (const [letter, run] of [["A", left], ["B", right]])
    if (run.faults.length)
      notes.push(
        note("bad", words(
          h("strong", {}, `${plural(run.faults.length, "record")} of ${letter} left out: `),
          inline(run.faults[0]),
        )),
      );
  return notes;
}

function lineage(copy, origin, run) {
  const served = plural(run.served, "activation");
  const words = `${copy} was made of ${origin}, and took over ${served} without running them again.`;
  return note("calm", h("span", {}, words));
}
