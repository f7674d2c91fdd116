// Calls of models and tools: what was asked, what came, what it cost, and why this model.
import { h } from "../../../parts/elements.js";
import { chip } from "../../../parts/chips.js";
import { NOTHING, duration } from "../../../parts/figures.js";
import { modelCall } from "../../../parts/model_call.js";
import { empty } from "../../../parts/states.js";
import { inline } from "../../../parts/text.js";
import { textOf, valueOf } from "../../../parts/values.js";
import { Panel } from "./panel.js";

const PAGE = 50; // calls that are asked for at once

export class CallsTab extends Panel {
  show({ path }) {
    this.path = path;
    this.load(
      (signal) => this.ask(0, signal),
      (page) => this.build(page),
    );
  }

  refresh(selection) {
    const isOpen = [...this.el.querySelectorAll("details[open]")].length > 0;
    if (!isOpen) this.show(selection); // what a reader has opened stays
  }

  ask(after, signal) {
    return this.run.data.read("/calls", { path: this.path, after, limit: PAGE }, { signal });
  }

  build(page) {
    const calls = this.callsOf(page);
    if (!calls.length) return this.nothing();
    const list = h("ol", { class: "calls" }, ...calls);
    return [list, this.more(page.next, list)];
  }

  callsOf(page) {
    const all = [
      ...page.models.map((call) => [call.seq, modelCall(call, place(call, this.run))]),
      ...page.tools.map((call) => [call.seq, toolCall(call, this.run)]),
    ];
    return all.sort(([one], [other]) => one - other).map(([, element]) => element);
  }

  nothing() {
    const all = h(
      "button",
      { type: "button", class: "button", onclick: () => this.run.select({ seq: null, path: "" }) },
      "Calls of the whole run",
    );
    return this.path
      ? empty("No calls here", "What is selected asked no model and no tool.", all)
      : empty("No calls", "This run has asked no model and no tool.");
  }

  more(next, list) {
    if (next === null) return null;
    const button = h(
      "button",
      {
        type: "button",
        class: "button",
        onclick: async () => {
          const page = await this.ask(next);
          list.append(...this.callsOf(page));
          button.replaceWith(this.more(page.next, list) ?? "");
        },
      },
      "More calls",
    );
    return button;
  }
}

function place(call, run) {
  return h(
    "button",
    {
      type: "button",
      class: "place mono",
      "data-key": `call ${call.seq}`,
      title: `Record ${call.seq}`,
      onclick: () => run.select({ seq: call.seq, path: call.path }),
    },
    inline(call.path),
  );
}

function toolCall(call, run) {
  return h(
    "li",
    { class: "call is-tool", "data-seq": call.seq },
    h(
      "div",
      { class: "call-head" },
      place(call, run),
      h("strong", {}, inline(call.tool)),
      h("span", { class: "tag" }, "tool"),
      call.status === "done" ? null : chip(call.status),
      call.attempts > 1 ? h("span", { class: "tag" }, `${call.attempts} attempts`) : null,
      h("span", { class: "call-facts" }, call.seconds === null ? NOTHING : duration(call.seconds)),
    ),
    call.error ? h("p", { class: "bad break" }, inline(call.error)) : null,
    call.arguments === null
      ? null
      : h(
          "div",
          { class: "message" },
          h("div", { class: "role" }, "arguments"),
          valueOf(call.arguments),
        ),
    call.result
      ? h(
          "div",
          { class: "message is-answer" },
          h("div", { class: "role" }, "result"),
          textOf(call.result),
        )
      : null,
  );
}
