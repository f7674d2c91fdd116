// Everything in which an activation differs: fields, ways on, errors, and model calls side by side.
import { changeOf } from "../../parts/changes.js";
import { chip } from "../../parts/chips.js";
import { h, plural } from "../../parts/elements.js";
import { duration } from "../../parts/figures.js";
import { writeJson } from "../../parts/json.js";
import { modelCall } from "../../parts/model_call.js";
import { empty } from "../../parts/states.js";
import { inline } from "../../parts/text.js";
import { valueOf } from "../../parts/values.js";
import { writeAddress } from "../../shell/address.js";

export function differenceOf(found, { a, b }) {
  const { activation: row } = found;
  const links = [["A", a, row.left], ["B", b, row.right]]
    .filter(([, , side]) => side)
    .map(([letter, run, side]) => sideOf(letter, run, row.path, side));
  return [
    h(
      "div",
      { class: "pane-head" },
      h("h2", { class: "break mono" }, inline(row.path)),
      row.round > 1 ? h("span", { class: "tag" }, `round ${row.round}`) : null,
    ),
    h("div", { class: "compare-sides" }, ...links),
    h("div", { class: "panel" }, ...listParts(found)),
  ];
}

function listParts(found) {
  const { inputs, outputs, same, calls } = found;
  const parts = [];
  if (inputs.length) parts.push(fieldsOf("Input", inputs));
  if (outputs.length) parts.push(fieldsOf("Output", outputs));
  if (same.length)
    parts.push(h("p", { class: "muted small" }, "The same in both: ", inline(same.join(", "))));
  parts.push(...routesOf(found), ...errorsOf(found));
  if (calls.length) parts.push(section("Model calls", ...calls.map(callsOf)));
  if (!parts.length) parts.push(empty("No difference", "It did the same in both runs."));
  return parts;
}

function sideOf(letter, run, path, side) {
  const href = writeAddress({ path: ["runs", run], query: { at: side.seq, path } });
  return h(
    "p",
    { class: "compare-facts" },
    h("span", { class: `letter letter-${letter}` }, letter),
    chip(side.status),
    h("span", { class: "muted small" }, facts(side)),
    h("a", { href, class: "small" }, "open in its run"),
  );
}

function facts({ seconds, attempts, is_served: isServed }) {
  const parts = [duration(seconds)];
  if (attempts > 1) parts.push(plural(attempts, "attempt"));
  if (isServed) parts.push("taken over, not run");
  return parts.join(" · ");
}

const section = (title, ...content) =>
  h("section", { class: "panel-section" }, h("h3", {}, title), ...content);

// Fields that differ, with both values; `words` stand there if none does.
export function fieldsOf(title, fields, words = "") {
  if (!fields.length) return section(title, h("p", { class: "muted" }, words));
  const rows = fields.flatMap((each) => [h("dt", {}, inline(each.field)), h("dd", {}, bothOf(each))]);
  return section(title, h("dl", { class: "fields" }, ...rows));
}

function bothOf({ presence, left, right, is_beyond_cut: isBeyond }) {
  const only = { left: "A", right: "B" }[presence];
  if (only)
    return h(
      "div",
      { class: "change" },
      h("p", { class: "muted small" }, `only in ${only}`),
      h("div", { class: only === "A" ? "change-old" : "change-new" }, valueOf(left ?? right)),
    );
  if (isBeyond)
    return h(
      "div",
      { class: "change" },
      h("p", { class: "muted small" }, "They differ in what is hidden, or too long to be shown."),
      valueOf(left),
    );
  const [before, after] = [lines(left), lines(right)];
  return before === null || after === null ? changeOf(left, right) : changeOf(before, after);
}

// Nested values are compared line by line; others are shown as they are.
const lines = (value) =>
  value !== null && typeof value === "object" ? writeJson(value, 2) : null;

function routesOf({ activation, left_route: left, right_route: right }) {
  if (activation.presence !== "both" || left.join("\n") === right.join("\n")) return [];
  const way = (paths) => (paths.length ? paths.join(", ") : "nowhere");
  return [section("Led to", changeOf(way(left), way(right)))];
}

function errorsOf({ activation, left_errors: left, right_errors: right }) {
  const [before, after] = [left.join("\n"), right.join("\n")];
  if (!before && !after) return [];
  if (before === after)
    return [section("Errors, the same in both", h("p", { class: "bad break" }, inline(before)))];
  const words = (text) => text || "no error";
  const only = { left: before, right: after }[activation.presence];
  if (only !== undefined) return [section("Errors", h("p", { class: "bad break" }, inline(only)))];
  return [section("Errors", changeOf(words(before), words(after)))];
}

function callsOf({ number, presence, differs, left, right }) {
  const words =
    presence === "both"
      ? differs.length
        ? `differs in ${differs.join(", ")}`
        : "the same in both"
      : `only in ${presence === "left" ? "A" : "B"}`;
  const isOpen = presence !== "both" || differs.length > 0;
  return h(
    "details",
    { class: "compare-call", open: isOpen },
    h("summary", {}, `Call ${number} `, h("span", { class: "muted" }, words)),
    h(
      "ol",
      { class: "calls compare-calls" },
      ...[["A", left], ["B", right]]
        .filter(([, call]) => call)
        .map(([letter, call]) =>
          modelCall(call, h("span", { class: `letter letter-${letter}` }, letter)),
        ),
    ),
  );
}
