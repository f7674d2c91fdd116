// The record of a policy: which models were candidates, which were asked, and which answered.
import { dollars, h } from "./elements.js";
import { duration } from "./figures.js";
import { inline } from "./text.js";

export function decisionOf(decision) {
  const words = decision.answered_by
    ? [" ", inline(decision.answered_by), " answered"]
    : [" no target answered"];
  return h(
    "details",
    { class: "decision" },
    h("summary", {}, "Why this model", h("span", { class: "muted" }, ...words)),
    content(decision),
  );
}

function content(decision) {
  return h(
    "div",
    { class: "decision-body" },
    h(
      "p",
      {},
      h("span", { class: "muted" }, "Policy "),
      inline(decision.policy),
      h("span", { class: "muted" }, ` (${decision.kind})`),
    ),
    decision.note ? h("p", { class: "break" }, inline(decision.note)) : null,
    decision.candidates.length
      ? h(
          "ol",
          { class: "candidates" },
          ...decision.candidates.map((each) =>
            h(
              "li",
              { class: each.skipped ? "is-skipped" : null },
              inline(each.name),
              each.skipped
                ? h("span", { class: "muted" }, " passed over: ", inline(each.skipped))
                : null,
            ),
          ),
        )
      : null,
    ...decision.attempts.map(attemptOf),
  );
}

function attemptOf(attempt) {
  const cost = attempt.usd === null ? "cost unknown" : dollars(attempt.usd);
  return h(
    "div",
    { class: "decision-attempt" },
    h(
      "p",
      {},
      h("span", { class: "muted" }, "asked "),
      h("strong", {}, inline(attempt.target)),
      attempt.is_hedge ? " beside a slow request" : "",
      h("span", { class: attempt.error ? "bad" : "muted" }, ` ${attempt.outcome}`),
      h("span", { class: "muted" }, ` · ${duration(attempt.seconds)} · ${cost}`),
    ),
    attempt.error ? h("p", { class: "bad break" }, inline(attempt.error)) : null,
    attempt.inner ? content(attempt.inner) : null,
  );
}
