// The two runs as rows, and what B has more than A.
import { chip } from "../../parts/chips.js";
import { dollars, h } from "../../parts/elements.js";
import { costOf, count, duration, when } from "../../parts/figures.js";
import { inline, shortId } from "../../parts/text.js";
import { writeAddress } from "../../shell/address.js";
import { changeIn } from "./signed.js";

const tokensOf = ({ usage }) => usage.input_tokens + usage.output_tokens;

// Title, the number, how it is written in a run, and how a difference of it is written.
const COLUMNS = [
  ["Duration", (run) => run.seconds, (run) => duration(run.seconds), duration],
  ["Cost", (run) => run.usage.usd, (run) => costOf(run.usage), dollars],
  ["Calls", (run) => run.usage.calls, (run) => count(run.usage.calls), count],
  ["Tokens", tokensOf, (run) => count(tokensOf(run)), count],
  ["Activations", (run) => run.activations, (run) => count(run.activations), count],
  ["Served", (run) => run.served, (run) => count(run.served), count],
  ["Errors", (run) => run.errors, (run) => count(run.errors), count],
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
          ...COLUMNS.map(([, read, , write]) =>
            h("td", { class: "number" }, changeIn(read(left), read(right), write)),
          ),
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
    ...COLUMNS.map(([, , show]) => h("td", { class: "number" }, show(run))),
  );
}
