// The columns of the table of figures: what stands in them, and what they are sorted by.
import { dollars, h, plural } from "../../parts/elements.js";
import { NOTHING, count, duration, estimatedWords, tokensOf } from "../../parts/figures.js";

// What a latency is of, by what the figures are grouped by.
const OF = {
  agent: ["Call", (row) => row.calls?.latency],
  model: ["Call", (row) => row.calls?.latency],
  node: ["Visit", (row) => (row.steps ?? row.tools)?.latency],
  flow: ["Run", (row) => row.of_runs?.latency],
  tag: ["Run", (row) => row.of_runs?.latency],
};

export const FIRST = "usd"; // the column that the table is sorted by

// `{ name, title, hint, value(row), show(row) }`; `value` sorts, and null comes last.
export function columnsOf(by) {
  const [word, latency] = OF[by];
  const quantile = (name) => ({
    name,
    title: name.toUpperCase(),
    hint: `${word} latency: ${QUANTILES[name]}`,
    value: (row) => latency(row)?.[name] ?? null,
    show: (row) => duration(latency(row)?.[name] ?? null),
  });
  return [
    { name: "usd", title: "Cost", value: costValue, show: costCell },
    number("calls", "Calls", (row) => row.calls?.calls ?? 0, "Model calls that were paid"),
    number("served", "Served", (row) => row.served, "Answers taken over from a record, for nothing"),
    {
      ...number("tokens", "Tokens", tokensValue, TOKENS),
      show: (row) => (row.calls ? tokensOf(row.calls) : count(0)),
    },
    { ...quantile("p50"), title: `${word} P50` },
    quantile("p90"),
    quantile("p99"),
    { ...number("errors", "Errors", (row) => row.errors), isBad: true },
    number("retries", "Retries", (row) => row.calls?.retries ?? 0, "Requests to a model again"),
    number("runs", "Runs", (row) => row.runs, "Runs that took part"),
  ];
}

const QUANTILES = {
  p50: "half are at most this long",
  p90: "nine of ten are at most this long",
  p99: "99 of 100 are at most this long; – under 100 values",
};

const TOKENS = "Input and output, those in a cache and of reasoning once";

const tokensValue = (row) => (row.calls ? row.calls.input_tokens + row.calls.output_tokens : 0);

const number = (name, title, value, hint = null) => ({
  name,
  title,
  hint,
  value,
  show: (row) => count(value(row)),
});

const costValue = (row) => row.usd ?? (row.unpriced ? null : 0);

function costCell(row) {
  const words = row.usd === null ? "unknown" : dollars(row.usd);
  if (!row.unpriced) return words;
  const hint = `${row.unpriced.toLocaleString("en")} requests have no known price; budgets count ${dollars(row.calls?.booked_usd ?? 0)}`;
  return h(
    "span",
    { class: "unknown", title: hint },
    row.usd === null ? words : `${words} + unknown`,
  );
}

// What the signs in the table mean, of those that are in it; `row` is the sum of all.
export function legendOf(row) {
  const words = [];
  if (row.calls?.estimated)
    words.push(`≈ before tokens: they are partly ${estimatedWords(row.calls.estimated)}.`);
  if (row.unpriced)
    words.push(
      `+ unknown after a cost: ${plural(row.unpriced, "request")} had no known price, and count only in budgets, at the worst case.`,
    );
  return words;
}

// What a group is called: a node by its path, with its flow beside it.
export function nameOf(row, by) {
  if (by === "node") return row.key[1] || NOTHING;
  return row.key[0] || { tag: "without the tag", model: "unknown model" }[by] || NOTHING;
}
