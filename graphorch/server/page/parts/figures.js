// Durations, dollars, tokens and times, written the same in every view. What is not known is said
// to be unknown, and is never a zero.
import { dollars, h, plural, seconds } from "./elements.js";

export const NOTHING = "–";

export function count(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value >= 999_500) return `${trim(value / 1_000_000)}M`;
  if (value >= 9_995) return `${trim(value / 1_000)}k`;
  return value.toLocaleString("en");
}

const trim = (value) => value.toFixed(value < 9.95 ? 1 : 0);

export function duration(value) {
  return value === null || value === undefined ? NOTHING : seconds(Math.max(0, value));
}

// `{usd, unpriced}`: dollars that are known, and how many requests have an unknown price.
export function price({ usd, unpriced }) {
  if (!unpriced) return dollars(usd);
  return usd ? `${dollars(usd)} + unknown` : "unknown";
}

// A cost as an element, with what is not known of it as its hint.
export function costOf(entry, attributes = {}) {
  const hint = entry.unpriced
    ? `${entry.unpriced.toLocaleString("en")} requests have no known price`
    : null;
  return h(
    "span",
    { ...attributes, title: hint, class: entry.unpriced ? "unknown" : null },
    price(entry),
  );
}

// `{input_tokens, output_tokens, estimated}`: tokens that are partly a guess have ≈ before them.
export function tokens(usage) {
  const sum = count(usage.input_tokens + usage.output_tokens);
  return usage.estimated ? `≈ ${sum}` : sum;
}

// Tokens as an element, with their parts and what is estimated of them as its hint.
export function tokensOf(usage) {
  const parts = `${usage.input_tokens.toLocaleString("en")} in, ${usage.output_tokens.toLocaleString("en")} out`;
  const title = usage.estimated ? `${parts}; ${estimatedWords(usage.estimated)}` : parts;
  return h("span", { title }, tokens(usage));
}

export const estimatedWords = (calls) =>
  `estimated from the length of the texts in ${plural(calls, "call")} that came without a full report of them`;

const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
const clock = (date) => date.toLocaleTimeString("en-GB", TIME);
const day = (date) => `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
const pad = (value) => String(value).padStart(2, "0");

// 2026-11-30 14:03:22, in the time zone of the reader.
export function moment(at) {
  const date = new Date(at * 1000);
  return Number.isNaN(date.getTime()) ? "no date" : `${day(date)} ${clock(date)}`;
}

// The time alone for today, else the day with it; the whole moment is the hint.
export function when(at) {
  if (at === null || at === undefined) return h("span", { class: "muted" }, NOTHING);
  const date = new Date(at * 1000);
  if (Number.isNaN(date.getTime())) return h("span", { class: "muted" }, "no date");
  const isToday = day(date) === day(new Date());
  const words = isToday ? clock(date) : `${day(date)} ${clock(date).slice(0, 5)}`;
  return h("time", { datetime: date.toISOString(), title: moment(at) }, words);
}

export function bytes(value) {
  if (value < 1000) return `${value} B`;
  return value < 999_500 ? `${trim(value / 1000)} kB` : `${trim(value / 1_000_000)} MB`;
}
