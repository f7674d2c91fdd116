// What went into the run and what came out of it.
import { h } from "../../../parts/elements.js";
import { empty, note } from "../../../parts/states.js";
import { valueOf } from "../../../parts/values.js";
import { Panel } from "./panel.js";

export class ResultTab extends Panel {
  show() {
    this.load(
      (signal) => this.ask(signal),
      (output) => this.build(output),
    );
  }

  refresh() {
    this.show();
  }

  // A run that is long has its output read by itself.
  async ask(signal) {
    const { page } = this.run.data;
    if (page.output_left_out) return this.run.data.read("/output", {}, { signal });
    return { value: page.output, cut: page.output_cut, is_left_out: false };
  }

  build(output) {
    const { page } = this.run.data;
    return [
      section("Output", ...(output.value === null ? [this.why(output)] : valueWith(output))),
      section("Input", ...valueWith({ value: page.input, cut: page.input_cut })),
    ];
  }

  // Why there is no output to show.
  why({ is_left_out: isLeftOut }) {
    const { page, hasCode } = this.run.data;
    if (isLeftOut) return empty("Not read", "Reading the output of this run takes too long.");
    if (page.row.status === "succeeded" && !hasCode)
      return empty("Not known here", "The code of the flow says which part of the state it is.");
    return empty("No output", page.error || `The run is ${page.row.status}.`);
  }
}

const section = (title, ...content) =>
  h("section", { class: "panel-section" }, h("h3", {}, title), ...content);

const valueWith = ({ value, cut }) => [
  cut
    ? note("calm", h("span", {}, `${cut.toLocaleString("en")} characters are left out.`))
    : null,
  valueOf(value),
];
