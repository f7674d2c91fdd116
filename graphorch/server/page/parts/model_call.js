// A call of a model: what was asked, what came, what it cost, and why this model.
import { h, plural } from "./elements.js";
import { chip } from "./chips.js";
import { decisionOf } from "./decision.js";
import { count, costOf, duration } from "./figures.js";
import { note } from "./states.js";
import { inline } from "./text.js";
import { textOf } from "./values.js";

// `place` is an element that says where the call belongs, or null.
export function modelCall(call, place = null) {
  const status = call.status === "ok" ? null : chip(call.status);
  const { usage } = call;
  const facts = [
    duration(call.seconds),
    `${usage.estimated ? "≈ " : ""}${count(usage.input_tokens)} in${call.cached_tokens ? ` (${count(call.cached_tokens)} cached)` : ""}, ${count(usage.output_tokens)} out`,
  ];
  const free = call.from_cache ? "from the cache" : call.is_copy ? "paid by the other run" : null;
  return h(
    "li",
    { class: "call", "data-seq": call.seq },
    h(
      "div",
      { class: "call-head" },
      place,
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
