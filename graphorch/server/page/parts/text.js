// Text of a run, made safe to look at: characters that turn the direction of writing, or cannot be
// seen at all, are shown as what they are, so that a value cannot look like another one.
import { h } from "./elements.js";

// Controls but tab and line feeds, marks and overrides of direction, widthless characters, halves of
// pairs, and the byte order mark.
const HIDDEN =
  /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u061C\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF]|[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

export function visible(text) {
  return String(text).replace(
    HIDDEN,
    (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

// A piece of text within a sentence: its direction does not reach its neighbours.
export const inline = (text, attributes = {}) => h("bdi", attributes, visible(text));

// As much of a long text as fits a line of a list.
export function shorten(text, most = 200) {
  const line = visible(text).replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

export const shortId = (id) => visible(id).slice(0, 8);
