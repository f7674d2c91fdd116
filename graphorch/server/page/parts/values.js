// Values of a run as text: what is long is cut until the reader wants more of it, and what is nested
// opens.
import { h, plural } from "./elements.js";
import { bytes } from "./figures.js";
import { Numeral, writeJson } from "./json.js";
import { visible } from "./text.js";

const CUT = 4000; // characters of a text that are shown at first
const INLINE = 72; // characters of a nested value on a single line
const ITEMS = 50; // of a list that are shown at once
const OPEN_LEVELS = 2;

export function valueOf(value, level = 0) {
  if (typeof value === "string") return textOf(value);
  if (value instanceof Numeral) return h("code", { class: "value-number break" }, value.text);
  if (value === null || typeof value !== "object")
    return h("code", { class: `value-${value === null ? "null" : typeof value}` }, String(value));
  const short = shortJson(value);
  if (short !== null) return h("code", { class: "break" }, visible(short));
  return nested(value, level);
}

// A text with its line breaks.
export function textOf(text, attributes = {}) {
  if (text === "") return h("span", { class: "muted" }, "empty text");
  const pre = h("pre", { dir: "auto", ...attributes });
  if (text.length <= CUT) {
    pre.textContent = visible(text);
    return pre;
  }
  pre.textContent = visible(text.slice(0, CUT));
  const more = h(
    "button",
    { type: "button", class: "button small" },
    `Show all of it (${bytes(new Blob([text]).size)})`,
  );
  const el = h("div", { class: "cut" }, pre, more);
  more.addEventListener("click", () => {
    pre.textContent = visible(text);
    more.remove();
    pre.classList.add("is-whole");
    pre.setAttribute("tabindex", "0"); // it scrolls, and the keyboard has to reach it
    pre.focus();
  });
  return el;
}

// JSON on a line if it fits there, else null.
function shortJson(value) {
  if (Object.keys(value).length > 12) return null;
  const text = writeJson(value);
  return text.length <= INLINE ? text : null;
}

function nested(value, level) {
  const isList = Array.isArray(value);
  const entries = isList ? value.map((item, at) => [String(at), item]) : Object.entries(value);
  const words = isList ? plural(entries.length, "item") : plural(entries.length, "field");
  const list = h("dl", { class: "nested" });
  const body = h(
    "details",
    { class: "value", open: level < OPEN_LEVELS && entries.length <= ITEMS },
    h("summary", {}, words),
    list,
  );
  let shown = 0;
  const fill = () => {
    for (const [key, item] of entries.slice(shown, shown + ITEMS))
      list.append(h("dt", {}, visible(key)), h("dd", {}, valueOf(item, level + 1)));
    shown = Math.min(entries.length, shown + ITEMS);
    if (shown === entries.length) return;
    const more = h(
      "button",
      {
        type: "button",
        class: "button small",
        onclick: () => {
          row.remove();
          fill();
        },
      },
      `${plural(entries.length - shown, "more")}`.replace(/s$/, ""),
    );
    const row = h("dd", { class: "nested-more" }, more);
    list.append(row);
  };
  // What is closed is built when it is opened.
  const build = () => shown || fill();
  if (body.open) build();
  body.addEventListener("toggle", build);
  return body;
}
