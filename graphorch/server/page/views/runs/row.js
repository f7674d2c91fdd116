// A run as a row of the list.
import { chip, tag } from "../../parts/chips.js";
import { h } from "../../parts/elements.js";
import { NOTHING, costOf, duration, tokensOf, when } from "../../parts/figures.js";
import { inline, shortId } from "../../parts/text.js";
import { writeAddress } from "../../shell/address.js";

const TAGS = 3; // of a run that a row shows

// The columns: class, title, and the content of a cell.
export const COLUMNS = [
  ["status", "Status", statusCell],
  ["flow", "Run", flowCell],
  ["began number", "Began", (run) => when(run.created_at)],
  ["duration number", "Duration", (run) => duration(run.figures?.seconds)],
  ["cost number", "Cost", (run) => (run.figures ? costOf(run.figures.usage) : NOTHING)],
  [
    "tokens number",
    "Tokens",
    (run) => (run.figures ? tokensOf(run.figures.usage) : NOTHING),
  ],
  ["errors number", "Errors", errorsCell],
];

function statusCell(run) {
  const questions = run.figures?.questions;
  if (run.fault) return chip("damaged");
  if (!questions) return chip(run.status);
  return chip("asks", questions === 1 ? "waits for you" : `${questions} wait for you`);
}

function flowCell(run) {
  const tags = Object.entries(run.tags);
  const more = tags.length - TAGS;
  return h(
    "div",
    { class: "run-name" },
    h(
      "a",
      { class: "run-link", href: writeAddress({ path: ["runs", run.run_id] }), title: run.run_id },
      inline(run.flow),
      h("span", { class: "run-id mono" }, shortId(run.run_id)),
    ),
    ...tags.slice(0, TAGS).map(([key, value]) => tag(key, value)),
    more > 0
      ? h(
          "span",
          {
            class: "tag",
            title: tags
              .slice(TAGS)
              .map(([key, value]) => `${key}=${value}`)
              .join("\n"),
          },
          `+${more}`,
        )
      : null,
    why(run),
  );
}

function why(run) {
  if (run.fault) return h("div", { class: "run-why bad" }, inline(run.fault));
  return run.reason ? h("div", { class: "run-why" }, inline(run.reason)) : null;
}

function errorsCell(run) {
  const errors = run.figures?.errors;
  if (errors === undefined) return NOTHING;
  return h("span", { class: errors ? "bad" : "muted" }, errors.toLocaleString("en"));
}

export class Row {
  // `list` is told of `select(id, isSelected, isRange)`.
  constructor(run, list) {
    this.check = h("input", {
      type: "checkbox",
      tabindex: "-1",
      onclick: (event) => list.select(this.run.run_id, event.target.checked, event.shiftKey),
    });
    this.cells = COLUMNS.map(([name]) => h("td", { class: `cell-${name}`, role: "cell" }));
    this.el = h(
      "tr",
      { role: "row", "data-run": run.run_id },
      h("td", { class: "cell-check", role: "cell" }, h("label", {}, this.check)),
      ...this.cells,
    );
    this.source = [];
    this.show(run);
  }

  // Exchanges the cells that look different; a cell that the pointer is on stays where it is.
  show(run) {
    this.run = run;
    this.check.setAttribute("aria-label", `select run ${shortId(run.run_id)} of ${run.flow}`);
    COLUMNS.forEach(([, , build], at) => {
      const content = build(run);
      const source = content.outerHTML ?? content;
      if (this.source[at] === source) return;
      this.source[at] = source;
      this.cells[at].replaceChildren(content);
    });
  }

  // The run was deleted: its row stays until the list is read anew, so that nothing moves.
  setGone() {
    this.el.classList.add("is-gone");
    this.cells[0].replaceChildren(chip("erased", "deleted"));
  }

  setSelected(isSelected) {
    this.check.checked = isSelected;
    this.el.classList.toggle("is-selected", isSelected);
  }

  get link() {
    return this.el.querySelector(".run-link");
  }
}
