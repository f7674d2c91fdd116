// What a view shows when it has nothing else to show: it loads, there is nothing, or it went wrong.
import { h } from "./elements.js";
import { inline, shortId, visible } from "./text.js";

// Bars in place of lines that are on their way. They are seen only if it takes a while.
export function loading(words = "Loading", lines = 6) {
  const bars = Array.from({ length: lines }, (_, at) =>
    h("div", { class: "bone", style: `width:${[92, 78, 85, 64, 88, 70][at % 6]}%` }),
  );
  return h(
    "div",
    { class: "loading", "aria-busy": "true" },
    h("span", { class: "visually-hidden" }, words),
    ...bars,
  );
}

export function empty(title, words = "", ...actions) {
  return h(
    "div",
    { class: "state" },
    h("p", { class: "state-title" }, title),
    words ? h("p", { class: "muted" }, words) : null,
    ...actions,
  );
}

// A problem, with a button to try again.
export function failure(problem, again = null) {
  const button = again
    ? h("button", { type: "button", class: "button", onclick: again }, "Try again")
    : null;
  return h(
    "div",
    { class: "state state-bad", role: "alert" },
    h("p", { class: "state-title" }, TITLES[problem.type] ?? TITLES[problem.kind] ?? OTHER),
    h("p", { class: "break" }, visible(problem.message)),
    button,
  );
}

const OTHER = "That did not work";
// By the type of the problem, then by its kind.
const TITLES = {
  "run-erased": "Erased",
  "run-damaged": "Damaged",
  "wrong-key": "Another key",
  internal: "A mistake in the server",
  lost: "The server is away",
  token: "No token",
  missing: "Not here",
  refused: "The server refused that",
};

// A sentence that belongs to what stands below it, such as why a page can only be read.
export const note = (tone, ...words) => h("p", { class: `note tone-${tone}` }, ...words);

// A run of which only the id can be shown; `words` stand between it and what is wrong.
export const unreadableRun = ({ run_id: id, problem, text }, words = "") =>
  note(
    "bad",
    h(
      "span",
      {},
      h("strong", {}, problem === "other key" ? "Another key" : "Damaged"),
      " ",
      h("span", { class: "mono", title: id }, shortId(id)),
      words ? ` ${words} ` : " ",
      inline(text),
    ),
  );

// What is not at hand: of what needs the code of a flow, the command that loads it.
export function failureOf(problem, again = null) {
  const { command } = problem.fields;
  if (problem.type === "left-out") return empty("Not in this file", visible(problem.message));
  if (!command) return failure(problem, again);
  return h(
    "div",
    { class: "state" },
    h("p", { class: "state-title" }, "Needs the code of the flow"),
    h("p", { class: "muted break" }, visible(problem.message)),
    h("pre", { class: "command" }, visible(command)),
  );
}
