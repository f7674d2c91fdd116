// Calls of models and tools: what was asked, what came, what it cost, and why this model.
import { h, plural } from "../../../parts/elements.js";
import { chip } from "../../../parts/chips.js";
import { NOTHING, count, costOf, duration } from "../../../parts/figures.js";
import { empty, note } from "../../../parts/states.js";
import { inline } from "../../../parts/text.js";
import { textOf, valueOf } from "../../../parts/values.js";
import { decisionOf } from "./decision.js";
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
      ...page.models.map((call) => [call.seq, modelCall(call, this.run)]),
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

function modelCall(call, run) {
  const status = call.status === "ok" ? null : chip(call.status);
  const { usage } = call;
  const facts = [
    duration(call.seconds),
    `${count(usage.input_tokens)} in${call.cached_tokens ? ` (${count(call.cached_tokens)} cached)` : ""}, ${count(usage.output_tokens)} out`,
  ];
  const free = call.from_cache ? "from the cache" : call.is_copy ? "paid by the other run" : null;
  return h(
    "li",
    { class: "call", "data-seq": call.seq },
    h(
      "div",
      { class: "call-head" },
      place(call, run),
      h("strong", { class: "break" }, inline(call.model)),
      call.attempt > 1 ? h("span", { class: "tag" }, `attempt ${call.attempt}`) : null,
      status,
      h("span", { class: "call-facts" }, facts.join(" · "), " · ", free ?? costOf(usage)),
    ),
    call.error
      ? h(
          "p",
          { class: "bad break" },
          inline(call.error),
          call.message ? ": " : null,
          inline(call.message),
        )
      : null,
    call.note ? h("p", { class: "muted break" }, inline(call.note)) : null,
    call.masked.length
      ? note("warn", h("span", {}, "Hidden by guardrails: ", inline(call.masked.join(", "))))
      : null,
    prompt(call),
    call.answer
      ? h(
          "div",
          { class: "message is-answer" },
          h("div", { class: "role" }, "answer"),
          textOf(call.answer),
        )
      : null,
    ...call.tools.map((tool) =>
      h(
        "div",
        { class: "message is-answer" },
        h("div", { class: "role" }, "calls ", inline(tool.name, { class: "mono" })),
        textOf(tool.arguments),
      ),
    ),
    call.decision ? decisionOf(call.decision) : null,
    requests(call),
    call.cut
      ? h(
          "p",
          { class: "muted small" },
          `${call.cut.toLocaleString("en")} characters are left out; record ${call.seq} has them all.`,
        )
      : null,
  );
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

function prompt(call) {
  if (!call.messages.length && !call.shared) return null;
  const words = call.shared
    ? `${plural(call.messages.length, "new message")} after ${call.shared} from before`
    : plural(call.messages.length, "message");
  return h(
    "details",
    { class: "prompt" },
    h("summary", {}, "Prompt", h("span", { class: "muted" }, ` ${words}`)),
    ...call.messages.map(messageOf),
  );
}

export function messageOf(message) {
  const calls = message.calls.map((call) =>
    h("div", {}, h("span", { class: "mono" }, inline(call.name)), textOf(call.arguments)),
  );
  return h(
    "div",
    { class: `message is-${message.role.replace(/\W/g, "")}` },
    h("div", { class: "role" }, inline(message.role)),
    h("div", {}, message.text || !calls.length ? textOf(message.text) : null, ...calls),
  );
}

// Several requests behind one call: retries, hedges, fallbacks.
function requests(call) {
  if (call.requests.length < 2) return null;
  const rows = call.requests.map((sent) =>
    h(
      "tr",
      {},
      h("td", { class: "break" }, inline(sent.target || sent.model)),
      h("td", {}, inline(sent.outcome), sent.is_hedge ? " (sent beside a slow one)" : ""),
      h("td", { class: "number" }, duration(sent.seconds)),
    ),
  );
  return h(
    "details",
    {},
    h("summary", {}, "Requests", h("span", { class: "muted" }, ` ${rows.length}`)),
    h(
      "table",
      { class: "plain-table" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ...["Target", "Outcome", "Took"].map((title) => h("th", { scope: "col" }, title)),
        ),
      ),
      h("tbody", {}, ...rows),
    ),
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
