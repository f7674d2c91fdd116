// JSON without loss. A number that JavaScript cannot hold as it is written (2 to the power of 64,
// 1.10, 1e400) stays the text that it is, in a `Numeral`; all others are numbers. Objects have no
// prototype, so that every name is a name, `__proto__` too.

export class Numeral {
  constructor(text) {
    this.text = text;
  }
}

export class Malformed extends Error {
  constructor(words, at) {
    super(words);
    this.at = at; // the offset in the text
  }
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SPACE = /[ \t\n\r]*/y;
const WORDS = { true: true, false: false, null: null };
const DEEPEST = 200;

// Reads a text; throws `Malformed` with what is wrong there.
export function readJson(text) {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.space();
  if (reader.at < text.length) throw reader.fail("Something follows the end of the value");
  return value;
}

export function readNumber(text) {
  const number = Number(text);
  return String(number) === text ? number : new Numeral(text);
}

export const isNumeral = (text) => {
  NUMBER.lastIndex = 0;
  return NUMBER.exec(text)?.[0].length === text.length;
};

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  fail(words) {
    const before = this.text.slice(0, this.at).split("\n");
    return new Malformed(
      `${words}: line ${before.length}, column ${before.at(-1).length + 1}.`,
      this.at,
    );
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found?.[0];
  }

  space() {
    this.match(SPACE);
  }

  value(depth) {
    if (depth > DEEPEST) throw this.fail(`Deeper than ${DEEPEST} levels`);
    this.space();
    const first = this.text[this.at];
    if (first === "{") return this.object(depth);
    if (first === "[") return this.list(depth);
    if (first === '"') return this.string();
    for (const [word, value] of Object.entries(WORDS)) {
      if (!this.text.startsWith(word, this.at)) continue;
      this.at += word.length;
      return value;
    }
    const number = this.match(NUMBER);
    if (number === undefined)
      throw this.fail(first === undefined ? "The text ends too early" : "Not a value of JSON");
    return readNumber(number);
  }

  string() {
    const found = this.match(STRING);
    if (found === undefined)
      throw this.fail("A text that does not end, or holds a character that JSON escapes");
    return JSON.parse(found);
  }

  take(sign) {
    this.space();
    if (this.text[this.at] !== sign) return false;
    this.at += 1;
    return true;
  }

  object(depth) {
    const made = Object.create(null);
    this.at += 1;
    if (this.take("}")) return made;
    do {
      this.space();
      if (this.text[this.at] !== '"') throw this.fail('A name in "…" is expected');
      const name = this.string();
      if (Object.hasOwn(made, name))
        throw this.fail(`The name ${JSON.stringify(name)} comes twice`);
      if (!this.take(":")) throw this.fail("A colon is expected");
      made[name] = this.value(depth + 1);
    } while (this.take(","));
    if (!this.take("}")) throw this.fail("A comma or } is expected");
    return made;
  }

  list(depth) {
    const made = [];
    this.at += 1;
    if (this.take("]")) return made;
    do made.push(this.value(depth + 1));
    while (this.take(","));
    if (!this.take("]")) throw this.fail("A comma or ] is expected");
    return made;
  }
}

// Writes a value; with an indent over several lines.
export function writeJson(value, indent = 0, before = "") {
  if (value instanceof Numeral) return value.text;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const isList = Array.isArray(value);
  const inside = before + " ".repeat(indent);
  const parts = isList
    ? value.map((item) => writeJson(item, indent, inside))
    : Object.keys(value)
        .filter((key) => value[key] !== undefined)
        .map(
          (key) =>
            `${JSON.stringify(key)}:${indent ? " " : ""}${writeJson(value[key], indent, inside)}`,
        );
  const [open, close] = isList ? "[]" : "{}";
  if (!parts.length) return open + close;
  if (!indent) return open + parts.join(",") + close;
  return `${open}\n${inside}${parts.join(`,\n${inside}`)}\n${before}${close}`;
}

export const isObject = (value) =>
  value !== null &&
  typeof value === "object" &&
  !Array.isArray(value) &&
  !(value instanceof Numeral);

// Whether two values are the same JSON; the order of names does not count.
export function isSameJson(left, right) {
  if (isObject(left) && isObject(right)) {
    const names = Object.keys(left);
    return (
      names.length === Object.keys(right).length &&
      names.every((name) => Object.hasOwn(right, name) && isSameJson(left[name], right[name]))
    );
  }
  if (Array.isArray(left) && Array.isArray(right))
    return left.length === right.length && left.every((item, at) => isSameJson(item, right[at]));
  return (
    writeJson(left ?? null) === writeJson(right ?? null) &&
    (left === undefined) === (right === undefined)
  );
}
