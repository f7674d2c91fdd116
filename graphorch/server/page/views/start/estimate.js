// What a run needs: at most, and usually. What nothing bounds is said to be unbounded, and why.
import { dollars, h } from "../../parts/elements.js";
import { count, duration } from "../../parts/figures.js";
import { inline } from "../../parts/text.js";

const UNBOUNDED = "no bound";
const ROWS = [
  ["Cost", ({ usd }) => amount(usd, dollars)],
  ["Model calls", ({ calls }) => amount(calls, count)],
  ["Tokens in", ({ input_tokens: tokens }) => amount(tokens, count)],
  ["Tokens out", ({ output_tokens: tokens }) => amount(tokens, count)],
  ["Nodes run", ({ activations }) => amount(activations, count)],
  ["Time", ({ seconds }) => amount(seconds, duration)],
];

const amount = (value, write) =>
  value === null
    ? h("span", { class: "unknown" }, UNBOUNDED)
    : write(value < 10 ? value : Math.round(value));

// The two figures that stand beside a button.
export function estimateWords({ worst, expected }) {
  const most = worst.usd === null ? "cost without a bound" : `at most ${dollars(worst.usd)}`;
  return expected.usd === null ? most : `${most}, usually ${dollars(expected.usd)}`;
}

export function estimateTable({ worst, expected }) {
  const heads = ["", "At most", "Usually"].map((words) => h("th", { scope: "col" }, words));
  heads[0] = h("td", {});
  const rows = ROWS.map(([name, write]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      h("td", {}, write(worst)),
      h("td", {}, write(expected)),
    ),
  );
  return h(
    "table",
    { class: "plain-table estimate" },
    h("caption", { class: "visually-hidden" }, "What one run needs"),
    h("thead", {}, h("tr", {}, ...heads)),
    h("tbody", {}, ...rows),
  );
}

export function estimateGaps(gaps) {
  if (!gaps.length) return null;
  return h(
    "details",
    { class: "gaps small" },
    h("summary", {}, `What has no bound, and what would give it one (${gaps.length})`),
    h(
      "ul",
      { class: "plain-list" },
      ...gaps.map(({ path, figure, why, fix }) =>
        h("li", {}, inline(path, { class: "mono" }), `, ${figure}: `, inline(`${why}. ${fix}`)),
      ),
    ),
  );
}
