// Why what is selected happened, or did not.
import { h } from "../../../parts/elements.js";
import { chip } from "../../../parts/chips.js";
import { empty } from "../../../parts/states.js";
import { inline } from "../../../parts/text.js";
import { valueOf } from "../../../parts/values.js";
import { Panel } from "./panel.js";

const QUESTIONS = [
  ["because", "Because"],
  ["did", "What it did"],
  ["model", "Model"],
  ["cost", "Cost"],
];

export class WhyTab extends Panel {
  show({ seq, path }) {
    const { data } = this.run;
    const activation = seq === null ? "" : (data.momentAt(seq)?.activation ?? "");
    this.load(
      (signal) => data.read("/why", { path }, { signal }),
      (found) => this.build(found, activation),
    );
  }

  refresh(selection) {
    if (this.run.data.hasCode && !this.run.data.page.row.is_under_way) this.show(selection);
  }

  build({ reasons }, activation) {
    const chosen = reasons.filter((each) => each.activation === activation);
    const shown = chosen.length ? chosen : reasons;
    if (!shown.length) return empty("Nothing to explain", "The run has not come here.");
    return shown.map((each) => this.reasonsOf(each));
  }

  reasonsOf(reasons) {
    const saw = Object.entries(reasons.saw);
    return h(
      "section",
      { class: "panel-section why" },
      h(
        "h3",
        {},
        reasons.path ? inline(reasons.path, { class: "mono" }) : "The run",
        " ",
        chip(reasons.status),
      ),
      ...QUESTIONS.filter(([name]) => reasons[name].length).map(([name, title]) =>
        h(
          "div",
          { class: "reasons" },
          h("h4", {}, title),
          h(
            "ul",
            {},
            ...reasons[name].map((sentence) => h("li", { class: "break" }, inline(sentence))),
          ),
        ),
      ),
      saw.length
        ? h(
            "div",
            { class: "reasons" },
            h("h4", {}, "What it saw"),
            h(
              "dl",
              { class: "fields" },
              ...saw.flatMap(([name, value]) => [
                h("dt", {}, inline(name)),
                h("dd", {}, valueOf(value)),
              ]),
            ),
          )
        : null,
    );
  }
}
