// All runs of the journal, the newest first.
//
// What is under the pointer stays there: rows change in place, and new runs wait behind a bar until
// the reader wants them.
import { h, plural, replaceChildren } from "../../parts/elements.js";
import { empty, failure, loading, unreadableRun } from "../../parts/states.js";
import { COLUMNS, Row } from "./row.js";
import { Filters, toQuery } from "./filters.js";
import { Selection } from "./selection.js";

const PAGE = 50; // rows that are asked for at once

export class RunsView {
  title = "Runs";

  constructor(context) {
    this.context = context;
    this.rows = new Map();
    this.fresh = new Map(); // runs that began since, and are not shown yet
    this.asked = 0;
    this.filters = new Filters(
      context.about?.flows.map((flow) => flow.name ?? flow) ?? [],
      (query) => this.filter(query),
    );
    this.selection = new Selection(context, this);
    this.all = h("input", {
      type: "checkbox",
      "aria-label": "select all shown runs",
      onclick: () => this.selectAll(),
    });
    this.body = h("tbody", { role: "rowgroup" });
    this.table = h(
      "table",
      { class: "runs", role: "table", "aria-label": "Runs" },
      head(this.all),
      this.body,
    );
    this.bar = h("button", {
      type: "button",
      class: "fresh",
      hidden: "",
      onclick: () => this.takeFresh(),
    });
    this.foot = h("div", { class: "runs-foot" });
    this.unreadable = h("div", { class: "unreadable" });
    this.content = h("div", { class: "runs-card" });
    this.el = h(
      "div",
      { class: "page runs-page" },
      h("div", { class: "page-head" }, h("h1", {}, "Runs"), this.filters.el),
      this.bar,
      this.unreadable,
      this.content,
      this.selection.el,
    );
    this.body.addEventListener("keydown", (event) => this.typed(event));
    this.keys = [
      { key: "↑ ↓", words: "from run to run" },
      { key: "/", words: "narrow by flow", act: () => this.filters.flow.focus() },
      { key: "j", words: "next run", act: () => this.step(1) },
      { key: "k", words: "previous run", act: () => this.step(-1) },
      { key: "x", words: "select the run", act: () => this.selectCurrent() },
      { key: "n", words: "show new runs", act: () => this.takeFresh() },
    ];
  }

  close() {
    this.observer?.disconnect();
  }

  // ---- what is asked for ------------------------------------------------------------------------
  show({ query }) {
    this.query = query;
    this.filters.show(query);
    this.load();
  }

  filter(query) {
    this.context.go({ path: ["runs"], query }, { replace: true });
  }

  async load() {
    const turn = ++this.asked;
    if (!this.rows.size) this.content.replaceChildren(loading("Loading the runs", 8));
    try {
      const page = await this.ask("");
      if (turn === this.asked) this.fill(page);
    } catch (problem) {
      if (turn === this.asked) this.content.replaceChildren(failure(problem, () => this.load()));
    }
  }

  ask(cursor) {
    return this.context.api.get("/runs", { ...toQuery(this.query), cursor, limit: PAGE });
  }

  fill(page) {
    const known = this.rows;
    this.rows = new Map(page.runs.map((run) => [run.run_id, this.rowOf(known, run)]));
    this.fresh.clear();
    this.showFresh();
    this.selection.keep(this.rows);
    replaceChildren(
      this.body,
      [...this.rows.values()].map((row) => row.el),
    );
    this.unreadable.replaceChildren(...page.unreadable.map((run) => unreadableRun(run)));
    this.showContent(page);
  }

  rowOf(known, run) {
    const row = known.get(run.run_id) ?? new Row(run, this);
    row.show(run);
    return row;
  }

  showContent(page) {
    if (!this.rows.size) this.content.replaceChildren(this.nothing());
    else if (this.table.parentElement !== this.content)
      this.content.replaceChildren(this.table, this.foot);
    this.showFoot(page.next);
    this.markStop();
  }

  nothing() {
    if (Object.values(this.query).some(Boolean)) {
      return empty(
        "No run fits",
        "Nothing in the journal has all that you narrowed the list to.",
        h(
          "button",
          { type: "button", class: "button", onclick: () => this.filter({}) },
          "Show all runs",
        ),
      );
    }
    return empty(
      "No runs yet",
      "Runs of this journal appear here as soon as they begin, whichever program starts them.",
    );
  }

  // ---- more of them -----------------------------------------------------------------------------
  showFoot(next) {
    this.observer?.disconnect();
    this.hasMore = next !== null;
    this.total = h("p", { class: "muted small" });
    this.count();
    if (!next) return this.foot.replaceChildren(this.total);
    const button = h(
      "button",
      { type: "button", class: "button", onclick: () => this.more(next, button) },
      "More runs",
    );
    this.foot.replaceChildren(this.total, button);
    this.observer = new IntersectionObserver(
      ([seen]) => seen.isIntersecting && this.more(next, button),
      { rootMargin: "300px" },
    );
    this.observer.observe(button);
  }

  count() {
    const total = plural(this.rows.size, "run");
    this.total.textContent = this.hasMore ? `the newest ${total}` : total;
  }

  async more(next, button) {
    if (button.ariaBusy === "true") return;
    button.ariaBusy = "true";
    const turn = this.asked;
    try {
      const page = await this.ask(next);
      if (turn !== this.asked) return;
      for (const run of page.runs) {
        if (this.rows.has(run.run_id)) continue;
        this.rows.set(run.run_id, new Row(run, this));
        this.body.append(this.rows.get(run.run_id).el);
      }
      this.unreadable.append(...page.unreadable.map((run) => unreadableRun(run)));
      this.showFoot(page.next);
    } catch (problem) {
      this.observer?.disconnect();
      button.ariaBusy = "false";
      this.foot.replaceChildren(h("p", { class: "bad" }, problem.message), button);
    }
  }

  // ---- what changes -----------------------------------------------------------------------------
  hear({ event, data }) {
    if (event === "again") return this.rows.size ? this.refresh() : this.load();
    const row = this.rows.get(data?.run_id);
    if (event === "gone") {
      this.fresh.delete(data.run_id);
      row?.setGone();
    } else if (row) row.show(data.row);
    else if (event === "run" && this.belongs(data.row)) {
      this.fresh.set(data.run_id, data.row);
      this.showFresh();
    }
  }

  // After a gap: rows are brought up to date in place, and runs that began in it wait behind the bar.
  async refresh() {
    const turn = this.asked;
    try {
      const page = await this.ask("");
      if (turn !== this.asked) return;
      for (const run of page.runs) {
        if (this.rows.has(run.run_id)) this.rows.get(run.run_id).show(run);
        else if (this.belongs(run)) this.fresh.set(run.run_id, run);
      }
      this.showFresh();
    } catch {
      // the frame says that the server is away, and the next gap tries again
    }
  }

  // Whether a run belongs to the list as it is narrowed, and to the pages of it that are shown.
  belongs(run) {
    const oldest = [...this.rows.values()].at(-1);
    if (this.hasMore && oldest && run.created_at < oldest.run.created_at) return false;
    const { status, flow, tag, since } = toQuery(this.query);
    const [name, value] = (tag ?? "").split("=", 2);
    if (status && run.status !== status) return false;
    if (flow && run.flow !== flow) return false;
    if (tag && (value === undefined ? !(name in run.tags) : run.tags[name] !== value)) return false;
    return !since || run.created_at >= Number(since);
  }

  showFresh() {
    const count = this.fresh.size;
    this.bar.hidden = !count;
    if (!count) return;
    this.bar.textContent = `Show ${count} new ${count === 1 ? "run" : "runs"}`;
    this.context.say(`${count} new ${count === 1 ? "run" : "runs"}`);
  }

  // Puts new runs where they belong, and goes to the first of them.
  takeFresh() {
    if (!this.fresh.size) return;
    if (!this.rows.size) return this.load();
    const made = [...this.fresh.values()].map((run) => [run.run_id, new Row(run, this)]);
    const all = [...made, ...this.rows];
    all.sort(([, one], [, other]) => other.run.created_at - one.run.created_at);
    this.rows = new Map(all);
    all.forEach(([, row], at) => {
      const there = this.body.children[at];
      if (there !== row.el) this.body.insertBefore(row.el, there ?? null);
    });
    this.fresh.clear();
    this.showFresh();
    this.count();
    const first = all.find(([id]) => made.some(([other]) => other === id));
    this.focusRow(first[1]);
    scrollTo({ top: 0 });
  }

  // ---- selection --------------------------------------------------------------------------------
  select(id, isSelected, isRange) {
    this.selection.set(id, isSelected, isRange ? [...this.rows.keys()] : null);
    this.all.indeterminate =
      this.selection.ids.size > 0 && this.selection.ids.size < this.rows.size;
    this.all.checked = this.rows.size > 0 && this.selection.ids.size === this.rows.size;
  }

  selectAll() {
    for (const id of this.rows.keys()) this.selection.set(id, this.all.checked, null);
  }

  selectCurrent() {
    const id = document.activeElement.closest("[data-run]")?.dataset.run;
    if (id) this.select(id, !this.selection.ids.has(id), false);
  }

  // ---- keyboard ---------------------------------------------------------------------------------
  // One row is a stop of the Tab key; arrows lead to the others.
  markStop() {
    const links = [...this.rows.values()].map((row) => row.link);
    if (!links.includes(document.activeElement))
      links.forEach((link, at) => link.setAttribute("tabindex", at ? "-1" : "0"));
  }

  typed(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.step(by);
  }

  step(by) {
    const rows = [...this.rows.values()];
    const at = rows.findIndex((row) => row.el.contains(document.activeElement));
    const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))];
    if (next) this.focusRow(next);
  }

  focusRow(row) {
    for (const other of this.rows.values())
      other.link.setAttribute("tabindex", other === row ? "0" : "-1");
    row.link.focus();
  }
}

function head(all) {
  const titles = COLUMNS.map(([name, title]) =>
    h("th", { scope: "col", role: "columnheader", class: `cell-${name}` }, title),
  );
  return h(
    "thead",
    { role: "rowgroup" },
    h(
      "tr",
      { role: "row" },
      h("td", { class: "cell-check", role: "cell" }, h("label", {}, all)),
      ...titles,
    ),
  );
}
