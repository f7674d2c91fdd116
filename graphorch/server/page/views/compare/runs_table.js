// The two runs as rows, and what B has more than A.
import { chip } from "../../parts/chips.js";
import { h } from "../../parts/elements.js";
import { costOf, count, duration, tokensOf, when } from "../../parts/figures.js";
import { inline, shortId } from "../../parts/text.js";
import { writeAddress } from "../../shell/address.js";
import { changeIn, changeInCost } from "./signed.js";

const sumTokens = ({ usage }) => usage.input_tokens + usage.output_tokens;

// How much more of a number B has, as a function of both runs.
const more = (read, write) => (left, right) => changeIn(read(left), read(right), write);
const counted = (title, read) => [title, (run) => count(read(run)), more(read, count)];

// Title, what is written of a run, and of what B has more than A.
const COLUMNS = [
  ["Duration", (run) => duration(run.seconds), more((run) => run.seconds, duration)],
  ["Cost", (run) => costOf(run.usage), (left, right) => changeInCost(left.usage, right.usage)],
  counted("Calls", (run) => run.usage.calls),
  ["Tokens", (run) => tokensOf(run.usage), more(sumTokens, count)],
  counted("Activations", (run) => run.activations),
  counted("Served", (run) => run.served),
  counted("Errors", (run) => run.errors),
];

export function runsTable({ left, right }) {
  return h(
    "div",
    {
      class: "card figures-scroll compare-runs",
      tabindex: "0",
      role: "region",
      "aria-label": "The two runs",
    },
    h(
      "table",
      { class: "figures-table" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ...["Run", "Status", "Began"].map((title) => h("th", { scope: "col" }, title)),
          ...COLUMNS.map(([title]) => h("th", { scope: "col", class: "number" }, title)),
        ),
      ),
      h("tbody", {}, line("A", left), line("B", right)),
      h(
        "tfoot",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "row" }, "B against A"),
          h("td", {}),
          h("td", {}),
          ...COLUMNS.map(([, , change]) => h("td", { class: "number" }, change(left, right))),
        ),
      ),
    ),
  );
}

function line(letter, run) {
  const href = writeAddress({ path: ["runs", run.run_id] });
  const words = run.reason ? `${run.status}: ${run.reason}` : run.status;
  return h(
    "tr",
    {},
    h(
      "th",
      { scope: "row" },
      h("span", { class: `letter letter-${letter}` }, letter),
      h("a", { href, title: run.run_id }, inline(run.flow)),
      h("span", { class: "mono muted figures-flow" }, shortId(run.run_id)),
    ),
    h("td", { title: words }, chip(run.status)),
    h("td", {}, when(run.created_at)),
    ...COLUMNS.map(([, show]) => h("td", { class: "number" }, show(run))),
  );
}
