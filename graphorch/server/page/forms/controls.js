// Controls for values without parts. Each shows exactly what it would read back; what it could not
// is shown as JSON in its place, and stays as it is until a person changes it.
import { h } from "../parts/elements.js";
import { Malformed, isNumeral, readJson, readNumber, writeJson } from "../parts/json.js";
import { visible } from "../parts/text.js";
import { ListControl, MapControl, ObjectControl } from "./groups.js";
import { typeOf } from "./schema.js";

export const GROUPS = new Set(["object", "map", "list", "tuple"]);
const MOST_ITEMS = 200; // of a list or a map that are fields

// Gives `{ el, input, children, isLiteral }` for a field and a member of its union.
export function makeControl(field, { kind, schema }) {
  const { value } = field;
  if (kind === "null") return { el: null };
  if (kind === "const")
    return { el: h("code", { class: "field-const" }, visible(writeJson(schema.const))) };
  const make = MAKERS[kind];
  if (!make || !fitsControl(kind, schema, value)) return makeLiteral(field);
  return make(field, schema, kind);
}

const MAKERS = {
  string: makeText,
  integer: makeNumber,
  number: makeNumber,
  decimal: makeNumber,
  boolean: makeBoolean,
  enum: makeChoice,
  object: (field, schema) => new ObjectControl(field, schema),
  map: (field, schema) => new MapControl(field, schema),
  list: (field, schema) => new ListControl(field, schema, false),
  tuple: (field, schema) => new ListControl(field, schema, true),
};

function fitsControl(kind, schema, value) {
  if (value === undefined) return true;
  const type = typeOf(value);
  if (kind === "string") return type === "string" && isTypeable(value);
  if (kind === "integer") return type === "integer" && isNumeral(writeJson(value));
  if (kind === "number") return type === "integer" || type === "number";
  if (kind === "decimal") return type === "string" && value !== "";
  if (kind === "boolean") return type === "boolean";
  if (kind === "enum") return schema.enum.some((item) => writeJson(item) === writeJson(value));
  if (kind === "list" || kind === "tuple") return type === "list" && value.length <= MOST_ITEMS;
  return type === "object" && Object.keys(value).length <= MOST_ITEMS;
}

// A text that comes out of a field as it went in, and shows all that it holds.
const isTypeable = (text) => visible(text) === text;

// ---- texts and numbers ---------------------------------------------------------------------------
function makeText(field, schema) {
  const { value } = field;
  const shape = { date: ["date", /^\d{4}-\d\d-\d\d$/] }[schema.format];
  const input =
    shape && (value === undefined || shape[1].test(value))
      ? h("input", { type: shape[0], class: "field" })
      : h("textarea", { class: "field", rows: "1", spellcheck: "true", dir: "auto" });
  input.id = field.id;
  input.value = value ?? "";
  input.placeholder = HINTS[schema.format] ?? "";
  const isDate = input.type === "date";
  // The browser's control for a date has no empty text: without a date nothing is set.
  input.addEventListener("input", () =>
    field.typed(isDate && input.value === "" ? emptied(field) : input.value),
  );
  return { el: input, input };
}

const HINTS = {
  "date-time": "2026-11-30T14:00:00Z",
  time: "14:00:00",
  duration: "PT15M",
  uuid: "00000000-0000-0000-0000-000000000000",
};

const emptied = (field) => (field.isItem ? "" : undefined);

function makeNumber(field, schema, kind) {
  const { value } = field;
  const input = h("input", {
    type: "text",
    class: "field field-number",
    id: field.id,
    inputmode: kind === "integer" ? "numeric" : "decimal",
    autocomplete: "off",
  });
  input.value = value === undefined ? "" : kind === "decimal" ? value : writeJson(value);
  input.addEventListener("input", () => {
    const text = input.value.trim();
    if (text === "" && !field.isItem) return field.typed(undefined);
    if (kind === "decimal" && text) return field.typed(text);
    if (!isNumeral(text))
      return field.typedBroken(
        `This is not a ${kind === "integer" ? "whole number" : "number"}, such as ${kind === "integer" ? "12" : "0.5"}.`,
      );
    field.typed(readNumber(text));
  });
  return { el: input, input };
}

// ---- choices -------------------------------------------------------------------------------------
function makeBoolean(field) {
  return makeOptions(field, [true, false]);
}

function makeChoice(field, schema) {
  return makeOptions(field, schema.enum);
}

function makeOptions(field, values) {
  const write = (value) => (typeof value === "string" && value ? visible(value) : writeJson(value));
  const options = values.map((value, at) => h("option", { value: String(at) }, write(value)));
  if (!field.isItem && !field.select)
    options.unshift(h("option", { value: "" }, field.presetWords));
  const input = h("select", { class: "field", id: field.id }, ...options);
  const at = values.findIndex(
    (value) => writeJson(value) === writeJson(field.value ?? null) && field.value !== undefined,
  );
  input.value = at < 0 ? "" : String(at);
  input.addEventListener("change", () =>
    field.typed(input.value === "" ? undefined : values[Number(input.value)]),
  );
  return { el: input, input };
}

// ---- anything ------------------------------------------------------------------------------------
export function makeLiteral(field) {
  const input = h("textarea", {
    class: "field mono",
    id: field.id,
    rows: "1",
    spellcheck: "false",
    autocomplete: "off",
    placeholder: "JSON",
  });
  input.value = field.value === undefined ? "" : writeJson(field.value, 2);
  input.addEventListener("input", () => {
    if (input.value.trim() === "" && !field.isItem && !field.isRoot) return field.typed(undefined);
    try {
      field.typed(readJson(input.value));
    } catch (problem) {
      if (!(problem instanceof Malformed)) throw problem;
      field.typedBroken(`Not JSON. ${problem.message}`);
    }
  });
  const el = h(
    "div",
    { class: "field-literal" },
    h("span", { class: "field-help" }, "as JSON"),
    input,
  );
  return { el, input, isLiteral: true };
}
