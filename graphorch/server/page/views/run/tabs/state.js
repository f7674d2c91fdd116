// The state after the chosen record, and what that record changed in it.
import { h } from "../../../parts/elements.js";
import { changeOf } from "../../../parts/changes.js";
import { empty, note } from "../../../parts/states.js";
import { inline } from "../../../parts/text.js";
import { valueOf } from "../../../parts/values.js";
import { Panel } from "./panel.js";

export class StateTab extends Panel {
  show({ seq }) {
    const { data } = this.run;
    this.load(
      (signal) => data.read("/state", { at: seq }, { signal }),
      (found) => this.build(found, seq === null),
    );
  }

  // What is looked at as it is now follows the run.
  refresh(selection) {
    if (selection.seq === null && this.run.data.hasCode) this.show(selection);
  }

  build({ state, path, inside, changes, running, cut }, isNow) {
    const parts = [];
    if (cut)
      parts.push(
        note(
          "calm",
          h("span", {}, `${cut.toLocaleString("en")} characters of long texts are left out.`),
        ),
      );
    if (!isNow)
      parts.push(
        section(
          "Changed",
          changes.length
            ? h("dl", { class: "fields" }, ...changes.flatMap(changeRow))
            : h("p", { class: "muted" }, "It wrote nothing."),
        ),
      );
    if (inside)
      parts.push(
        section(
          h("span", {}, "State inside ", inline(path, { class: "mono" })),
          fieldsOf(inside, new Set()),
        ),
      );
    parts.push(
      section(
        isNow ? (this.run.isCopy ? "State as copied" : "State now") : "State after it",
        fieldsOf(state, new Set(changes.map((change) => change.field))),
      ),
    );
    if (running.length)
      parts.push(
        section(
          "Under way",
          h(
            "ul",
            { class: "plain-list mono" },
            ...running.map((each) => h("li", {}, inline(each))),
          ),
        ),
      );
    return parts;
  }
}

const section = (title, content) =>
  h("section", { class: "panel-section" }, h("h3", {}, title), content);

const changeRow = (change) => [
  h("dt", { class: "is-changed" }, inline(change.field)),
  h("dd", {}, changeOf(change.before, change.after, change.was_set)),
];

function fieldsOf(fields, changed) {
  const entries = Object.entries(fields);
  if (!entries.length) return empty("Nothing is assigned", "No field has a value yet.");
  return h(
    "dl",
    { class: "fields" },
    ...entries.flatMap(([name, value]) => [
      h("dt", { class: changed.has(name) ? "is-changed" : null }, inline(name)),
      h("dd", {}, valueOf(value)),
    ]),
  );
}
