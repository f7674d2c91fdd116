// JSON schemas as pydantic writes them: what a value may be, in words and as kinds of controls.
import { Numeral, isObject, isSameJson, writeJson } from "../parts/json.js";

const DEEPEST = 12; // levels of objects that a new value is filled to, and of unions in unions

export class Schemas {
  constructor(root) {
    this.root = root ?? {};
  }

  // The schema that a reference names, with what stands beside the reference.
  resolve(schema) {
    let found = schema;
    for (let turn = 0; turn < DEEPEST; turn++) {
      if (!isObject(found)) return {};
      if (Array.isArray(found.allOf) && found.allOf.length === 1) {
        const { allOf, ...beside } = found;
        found = { ...this.resolve(allOf[0]), ...beside };
      } else if (typeof found.$ref === "string") {
        const { $ref, ...beside } = found;
        found = { ...this.find($ref), ...beside };
      } else return found;
    }
    return {};
  }

  find(reference) {
    if (reference === "#") return this.root;
    const parts = reference.replace(/^#\//, "").split("/");
    let found = this.root;
    for (const part of parts) {
      const name = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
      if (!isObject(found) || !Object.hasOwn(found, name)) return {};
      found = found[name];
    }
    return found;
  }

  // What a value may be: a list of `{ kind, schema, words }`, one for each member of a union.
  variants(given, level = 0) {
    const schema = this.resolve(given);
    const members = schema.anyOf ?? schema.oneOf;
    if (Array.isArray(members) && level < DEEPEST) {
      if (isDecimal(members)) return [{ kind: "decimal", schema, words: "number" }];
      return distinguish(members.flatMap((member) => this.variants(member, level + 1)));
    }
    if (Array.isArray(schema.type) && level < DEEPEST)
      return schema.type.flatMap((type) => this.variants({ ...schema, type }, level + 1));
    const kind = kindOf(schema);
    return [{ kind, schema, words: wordsOf(kind, schema) }];
  }

  // The member of a union that a value is: the one that fits best.
  choose(variants, value) {
    const scores = variants.map((variant) => this.score(variant, value, 3));
    const best = Math.max(...scores);
    return best < 0 ? -1 : scores.indexOf(best);
  }

  // -1 for what does not fit, more for what fits better.
  score({ kind, schema }, value, depth) {
    if (kind === "json") return 0;
    if (kind === "enum") return schema.enum.some((item) => isSameJson(item, value)) ? 9 : -1;
    if (kind === "const") return isSameJson(schema.const, value) ? 9 : -1;
    if (kind === "null") return value === null ? 9 : -1;
    const type = typeOf(value);
    if (kind === "integer") return type === "integer" ? 5 : -1;
    if (kind === "number") return type === "number" ? 5 : type === "integer" ? 4 : -1;
    if (kind === "decimal")
      return type === "string" ? 3 : type === "number" || type === "integer" ? 4 : -1;
    if (kind === "string") return type === "string" ? scoreText(schema, value) : -1;
    if (kind === "list" || kind === "tuple") return this.scoreList(kind, schema, value, depth);
    if (kind === "object" || kind === "map") return this.scoreObject(schema, value, depth);
    return type === kind ? 5 : -1;
  }

  scoreList(kind, schema, value, depth) {
    if (!Array.isArray(value)) return -1;
    if (kind === "tuple") return value.length === schema.prefixItems.length ? 6 : -1;
    if (!depth || !value.length) return 5;
    const inner = this.variants(schema.items ?? {});
    const fits = value.every((item) =>
      inner.some((variant) => this.score(variant, item, depth - 1) >= 0),
    );
    return fits ? 5 : 1;
  }

  scoreObject(schema, value, depth) {
    if (!isObject(value)) return -1;
    const properties = schema.properties ?? {};
    const known = Object.keys(properties);
    let score = 20;
    for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) score -= 4;
    for (const name of Object.keys(value)) {
      if (!Object.hasOwn(properties, name)) {
        score -= isOpen(schema) ? 1 : 4;
        continue;
      }
      if (!depth) continue;
      const inner = this.variants(properties[name]);
      const best = Math.max(...inner.map((each) => this.score(each, value[name], depth - 1)));
      if (best < 0 && inner.every(({ kind }) => kind === "const" || kind === "enum")) return -1;
      score += best < 0 ? -4 : 1;
    }
    return Math.max(0, score + (known.length ? 1 : 0));
  }

  // A value to begin with: what is required and holds fields of its own, or can only be one thing.
  begin(given, level = 0) {
    const [variant, ...others] = this.variants(given);
    const { default: preset } = this.resolve(given);
    if (level && preset !== undefined) return preset;
    return others.length ? undefined : this.beginVariant(variant, level);
  }

  // The same for a member of a union that a person has chosen.
  beginVariant({ kind, schema }, level = 0) {
    if (kind === "null") return null;
    if (kind === "const") return schema.const;
    if (kind === "list") return [];
    if (kind === "tuple") return schema.prefixItems.map((item) => this.seed(item, level + 1));
    if (kind !== "object" && kind !== "map") return undefined;
    const made = Object.create(null);
    if (level > DEEPEST) return made;
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      const resolved = this.resolve(property);
      const isNeeded = (schema.required ?? []).includes(name) || resolved.const !== undefined;
      if (!isNeeded) continue;
      const value = this.begin(property, level + 1);
      if (value !== undefined) made[name] = value;
    }
    return made;
  }

  // A value where there must be one: an item of a list, or a member of a union that was chosen.
  seed(given, level = 0) {
    const begun = this.begin(given, level);
    return begun === undefined ? this.seedVariant(this.variants(given)[0], level) : begun;
  }

  seedVariant(variant, level = 0) {
    const begun = this.beginVariant(variant, level);
    if (begun !== undefined) return begun;
    return variant.kind === "enum" ? variant.schema.enum[0] : SEEDS[variant.kind];
  }
}

const SEEDS = { string: "", boolean: false, integer: 0, number: 0, decimal: "0", json: null };

export const isOpen = (schema) =>
  schema.additionalProperties !== undefined && schema.additionalProperties !== false;

// A number that is written as text, without loss: number or a string of digits.
function isDecimal(members) {
  const types = members.map((member) => member.type);
  return (
    members.length === 2 &&
    types.some((type) => type === "number" || type === "integer") &&
    members.some(({ type, pattern }) => type === "string" && /\\d/.test(pattern ?? ""))
  );
}

function kindOf(schema) {
  if (schema.const !== undefined) return "const";
  if (Array.isArray(schema.enum)) return "enum";
  const { type } = schema;
  if (type === "object" || (type === undefined && schema.properties))
    return schema.properties && Object.keys(schema.properties).length ? "object" : "map";
  if (type === "array")
    return Array.isArray(schema.prefixItems) && !schema.items ? "tuple" : "list";
  return ["null", "boolean", "integer", "number", "string"].includes(type) ? type : "json";
}

const WORDS = {
  null: "null",
  boolean: "true or false",
  integer: "whole number",
  number: "number",
  string: "text",
  list: "list",
  tuple: "list",
  map: "names and values",
  json: "any JSON",
  enum: "choice",
};
const FORMATS = {
  date: "date",
  "date-time": "date and time",
  time: "time",
  duration: "duration",
  uuid: "UUID",
  email: "e-mail",
  uri: "URL",
  binary: "bytes",
  base64url: "bytes (base64)",
};

function wordsOf(kind, schema) {
  if (kind === "const") return writeJson(schema.const);
  if (kind === "object") return schema.title ?? "fields";
  if (kind === "string") return FORMATS[schema.format] ?? "text";
  if (kind === "enum" && schema.title) return schema.title;
  return WORDS[kind];
}

// Members of a union that would be called the same are numbered.
function distinguish(variants) {
  return variants.map((variant) => {
    const same = variants.filter(({ words }) => words === variant.words);
    if (same.length === 1) return variant;
    return { ...variant, words: `${variant.words} ${same.indexOf(variant) + 1}` };
  });
}

export function typeOf(value) {
  if (value === null) return "null";
  if (value instanceof Numeral) return /^-?\d+$/.test(value.text) ? "integer" : "number";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  if (Array.isArray(value)) return "list";
  return typeof value;
}

const SHAPES = {
  date: /^\d{4}-\d\d-\d\d$/,
  "date-time": /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/,
  time: /^\d\d:\d\d/,
  duration: /^[+-]?P/,
  uuid: /^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-/,
};

function scoreText({ format }, value) {
  const shape = SHAPES[format];
  return shape ? (shape.test(value) ? 6 : 2) : 5;
}

// What a field takes, in a few words below it.
export function boundsOf(schema, kind) {
  const words = [];
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema;
  const write = writeJson;
  if (minimum !== undefined) words.push(`at least ${write(minimum)}`);
  if (exclusiveMinimum !== undefined) words.push(`more than ${write(exclusiveMinimum)}`);
  if (maximum !== undefined) words.push(`at most ${write(maximum)}`);
  if (exclusiveMaximum !== undefined) words.push(`less than ${write(exclusiveMaximum)}`);
  if (multipleOf !== undefined) words.push(`a multiple of ${write(multipleOf)}`);
  words.push(...range(schema.minLength, schema.maxLength, "characters"));
  words.push(...range(schema.minItems, schema.maxItems, "items"));
  words.push(...range(schema.minProperties, schema.maxProperties, "entries"));
  if (schema.uniqueItems) words.push("no item twice");
  if (schema.pattern && kind === "string") words.push(`in the form ${schema.pattern}`);
  return words.join(", ");
}

function range(least, most, words) {
  if (least !== undefined && least === most) return [`exactly ${least} ${words}`];
  if (least !== undefined && most !== undefined) return [`${least} to ${most} ${words}`];
  if (least !== undefined && least > 0) return [`at least ${least} ${words}`];
  return most === undefined ? [] : [`at most ${most} ${words}`];
}
