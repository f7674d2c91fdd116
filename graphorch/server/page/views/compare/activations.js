// The activations of both runs as rows: in which run, in what they differ, and what B took more.
import { h, plural, replaceChildren } from "../../parts/elements.js";
import { costOf, duration } from "../../parts/figures.js";
import { empty } from "../../parts/states.js";
import { inline } from "../../parts/text.js";
import { changeIn, changeInCost } from "./signed.js";

export class ActivationTable {
  // `onSelect(row)`, `onMore()` for the next rows, `onOnly("all" | "")` for which rows there are.
  constructor({ onSelect, onMore, onOnly }) {
    Object.assign(this, { onSelect, onMore, onOnly });
    this.counts = h("p", { class: "small muted compare-counts" });
    this.all = h("input", { type: "checkbox", onchange: () => onOnly(this.all.checked ? "all" : "") });
    this.body = h("div", { class: "compare-rows" });
    this.el = h(
      "section",
      { class: "pane", "aria-label": "Activations" },
      h(
        "div",
        { class: "pane-head" },
        h("h2", {}, "Activations"),
        this.counts,
        h("label", { class: "check small compare-all" }, this.all, "also what is the same"),
      ),
      this.body,
    );
  }

  turnOnly() {
    this.onOnly(this.all.checked ? "" : "all");
  }

  showOnly(isAll) {
    this.all.checked = isAll;
  }

  show(found) {
    this.rows = found.activations;
    const { counts } = found;
    const parts = [
      `${counts.same} the same`,
      `${counts.different} different`,
      `${counts.only_left} only in A`,
      `${counts.only_right} only in B`,
    ];
    this.counts.textContent = parts.join(" · ");
    this.lines = new Map();
    if (!this.rows.length) return this.body.replaceChildren(nothing(counts));
    const more = h(
      "button",
      { type: "button", class: "button", "data-key": "more", onclick: () => this.onMore() },
      "More activations",
    );
    replaceChildren(this.body, [
      h(
        "table",
        { class: "figures-table compare-table" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...["Path", "In", "Differs in"].map((title) => h("th", { scope: "col" }, title)),
            ...["Time", "Cost"].map((title) =>
              h("th", { scope: "col", class: "number", title: "What B took more than A" }, title),
            ),
          ),
        ),
        h("tbody", {}, ...this.rows.map((row) => this.line(row))),
      ),
      found.next === null ? null : h("div", { class: "compare-more" }, more),
    ]);
  }

  line(row) {
    const made = h(
      "tr",
      { class: `is-${stateOf(row)}`, onclick: () => this.onSelect(row) },
      h("th", { scope: "row" }, nameOf(row, () => this.onSelect(row))),
      h("td", {}, whereOf(row)),
      h("td", { class: "compare-differs" }, differsOf(row)),
      h("td", { class: "number" }, timeOf(row)),
      h("td", { class: "number" }, moneyOf(row)),
    );
    this.lines.set(keyOf(row.path, row.round), [made, row]);
    return made;
  }

  // Marks the row of an activation, and gives it; null if it is not among the rows.
  mark(path, round) {
    const [chosen, row] = this.lines?.get(keyOf(path, round)) ?? [null, null];
    for (const [line] of this.lines?.values() ?? []) {
      line.classList.toggle("is-chosen", line === chosen);
      line.querySelector("button").setAttribute("aria-pressed", String(line === chosen));
    }
    return row;
  }

  // Scrolls to the row that is marked.
  reveal() {
    this.body.querySelector(".is-chosen")?.scrollIntoView({ block: "nearest" });
  }
}

const keyOf = (path, round) => `${round} ${path}`;

const stateOf = ({ presence, differs }) =>
  presence === "both" ? (differs.length ? "different" : "same") : `only-${presence}`;

function nothing({ same }) {
  return same
    ? empty("No differences", `All of ${plural(same, "activation")} did the same in both runs.`)
    : empty("Nothing ran", "Neither of the runs has come to a node.");
}

function nameOf({ path, round }, onclick) {
  const key = `row ${keyOf(path, round)}`;
  const attributes = { type: "button", class: "place mono", "data-key": key };
  const words = round > 1 ? h("span", { class: "tag" }, `round ${round}`) : null;
  const press = (event) => {
    event.stopPropagation();
    onclick();
  };
  return h("span", {}, h("button", { ...attributes, onclick: press }, inline(path)), " ", words);
}

function whereOf({ presence, left, right }) {
  const letters = { both: ["A", "B"], left: ["A"], right: ["B"] }[presence];
  return h(
    "span",
    { class: "letters" },
    ...letters.map((letter) => h("span", { class: `letter letter-${letter}` }, letter)),
    ...[["A", left], ["B", right]]
      .filter(([, side]) => side?.is_served)
      .map(([letter]) => h("span", { class: "tag" }, `served in ${letter}`)),
  );
}

function differsOf({ presence, differs, left, right }) {
  if (presence !== "both") return h("span", { class: "muted" }, (left ?? right).status);
  if (!differs.length) return h("span", { class: "muted" }, "the same");
  return h("span", {}, ...differs.map((each) => h("span", { class: "tag is-strong" }, each)));
}

const timeOf = ({ left, right }) =>
  left && right
    ? changeIn(left.seconds, right.seconds, duration)
    : duration((left ?? right).seconds);

const moneyOf = ({ left, right }) =>
  left && right ? changeInCost(left.usage, right.usage) : costOf((left ?? right).usage);
