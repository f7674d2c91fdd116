// What is selected, in a line: an activation, a node that has not run, or the run as it is now.
import { h, plural } from "../../parts/elements.js";
import { chip } from "../../parts/chips.js";
import { costOf, duration, when } from "../../parts/figures.js";
import { icon } from "../../parts/icons.js";
import { inline } from "../../parts/text.js";
import { writeAddress } from "../../shell/address.js";

export class Details {
  constructor(run) {
    this.run = run;
    const button = (sign, words, act) =>
      h(
        "button",
        {
          type: "button",
          class: "button small square",
          title: words,
          "aria-label": words,
          onclick: act,
        },
        icon(sign),
      );
    this.words = h("div", { class: "details-words" });
    this.now = h(
      "button",
      {
        type: "button",
        class: "button small",
        title: "Select nothing (Escape)",
        onclick: () => run.select({ seq: null, path: "" }),
      },
      run.isCopy ? "As copied" : "Now",
    );
    this.whatIf = h("a", { class: "button small", hidden: "" }, "What if …");
    this.el = h(
      "div",
      { class: "details-head" },
      this.words,
      h(
        "div",
        { class: "pane-tools" },
        this.whatIf,
        this.now,
        button("left", "Previous moment ([)", () => run.step(-1)),
        button("right", "Next moment (])", () => run.step(1)),
      ),
    );
  }

  // Something else can only be tried where the code of the flow is at hand.
  get canChange() {
    const { context, data } = this.run;
    return context.about !== null && !context.about.read_only && Boolean(data.hasCode);
  }

  show({ seq, path }) {
    const { data } = this.run;
    const moment = seq === null ? null : data.momentAt(seq);
    const node = path
      ? data.page.nodes.find((each) => each.path === path || each.box === path)
      : null;
    this.whatIf.hidden = !moment?.path || !this.canChange;
    this.whatIf.href = writeAddress({ path: ["what-if", data.id], query: { at: seq } });
    this.now.hidden = seq === null && !path;
    if (moment) this.words.replaceChildren(...momentWords(moment, data.moments.length));
    else if (seq !== null)
      this.words.replaceChildren(
        h("h2", {}, `Record ${seq}`),
        path ? inline(path, { class: "mono muted" }) : "",
      );
    else if (path)
      this.words.replaceChildren(
        h("h2", {}, inline(path)),
        node
          ? chip(
              node.status === "not_reached" ? "skipped" : node.status,
              node.status.replace("_", " "),
            )
          : h("span", { class: "muted" }, "not reached"),
      );
    else
      this.words.replaceChildren(
        h("h2", {}, this.run.isCopy ? "As copied" : "Now"),
        h("span", { class: "muted" }, `after ${plural(data.moments.length, "moment")}`),
      );
  }
}

function momentWords(moment, total) {
  const facts = [`${moment.number.toLocaleString("en")} of ${total.toLocaleString("en")}`];
  if (moment.round > 1) facts.push(`round ${moment.round}`);
  if (moment.attempts > 1) facts.push(`${moment.attempts} attempts`);
  if (moment.seconds) facts.push(duration(moment.seconds));
  const cost = moment.usage.calls ? [" · ", costOf(moment.usage)] : [];
  return [
    h("h2", {}, moment.path ? inline(moment.path) : "The run"),
    chip(moment.kind),
    h("span", { class: "muted" }, facts.join(" · "), ...cost, " · ", when(moment.at)),
    moment.text && ["failed", "handled", "retried"].includes(moment.kind)
      ? h("p", { class: "bad break details-text" }, inline(moment.text))
      : null,
  ].filter(Boolean);
}
