// A form for one JSON value. The fields and the JSON text edit the same value, and neither changes
// what it cannot show: a value that no field fits is edited as JSON in its place.
//
// A field that is missing, null, or set is three different things, and one that a person set stays
// set, also to what the default is. Whether a value fits is for the server to say: it names each
// mistake by its place, and `showProblems` shows it there.
import { h } from "../parts/elements.js";
import { readJson, writeJson } from "../parts/json.js";
import { note } from "../parts/states.js";
import { inline } from "../parts/text.js";
import { Field } from "./field.js";
import { Schemas } from "./schema.js";

let made = 0; // forms of this page, for ids of elements

export class Form {
  // `schema` is null for plain JSON. `value` undefined begins with what the schema requires.
  constructor({ schema, value, label, onChange = () => {} }) {
    this.schemas = new Schemas(schema);
    this.hasFields = schema !== null && schema !== undefined;
    this.label = label;
    this.onChange = onChange;
    this.id = `form-${(made += 1)}`;
    this.value = value === undefined ? this.begin() : value;
    this.build();
    this.show(this.hasFields ? "fields" : "json");
  }

  begin() {
    return this.hasFields ? this.schemas.begin(this.schemas.root) : Object.create(null);
  }

  build() {
    const button = (name, words) =>
      h(
        "button",
        {
          type: "button",
          class: "button small",
          "data-mode": name,
          onclick: () => this.turn(name),
        },
        words,
      );
    this.modes = [button("fields", "Form"), button("json", "JSON")];
    this.words = h("div", { class: "form-words", role: "alert" });
    this.body = h("div", { class: "form-body" });
    this.el = h(
      "div",
      { class: "form", role: "group", "aria-label": this.label },
      this.hasFields
        ? h("div", { class: "form-modes", role: "group", "aria-label": "Edit as" }, ...this.modes)
        : null,
      this.words,
      this.body,
    );
  }

  // ---- the value --------------------------------------------------------------------------------
  setValue(value) {
    this.value = value;
    this.show(this.mode);
  }

  // Why the value cannot be sent as it stands, "" if it can.
  get broken() {
    return this.body.querySelector("[data-broken]")?.dataset.broken ?? "";
  }

  get text() {
    return writeJson(this.value);
  }

  changed(value) {
    this.value = value;
    this.words.replaceChildren();
    this.onChange();
  }

  // ---- fields or text ---------------------------------------------------------------------------
  turn(mode) {
    if (mode === this.mode) return;
    if (this.broken)
      return this.words.replaceChildren(note("bad", h("span", {}, `First: ${this.broken}`)));
    this.show(mode);
    this.onChange();
  }

  show(mode) {
    this.mode = mode;
    this.words.replaceChildren();
    for (const button of this.modes)
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    this.root = mode === "fields" ? this.buildFields() : null;
    this.body.replaceChildren(this.root ? this.root.el : this.buildText());
  }

  buildFields() {
    return new Field(this, this.schemas.root, {
      place: "",
      label: this.label,
      isRoot: true,
      value: this.value,
      onChange: (value) => this.changed(value),
    });
  }

  buildText() {
    const text = h("textarea", {
      class: "field json-text mono",
      "aria-label": `${this.label} as JSON`,
      spellcheck: "false",
      autocomplete: "off",
      rows: "6",
      oninput: () => this.readText(text),
    });
    text.value = writeJson(this.value, 2);
    return text;
  }

  readText(text) {
    try {
      const value = readJson(text.value);
      delete text.dataset.broken;
      text.removeAttribute("aria-invalid");
      this.changed(value);
    } catch (problem) {
      text.dataset.broken = problem.message;
      text.setAttribute("aria-invalid", "true");
      this.words.replaceChildren(note("bad", h("span", {}, problem.message)));
      this.onChange();
    }
  }

  // ---- what the server says ---------------------------------------------------------------------
  clearProblems() {
    this.words.replaceChildren();
    this.root?.clearProblems();
  }

  // `mistakes` are `{ where, what }` with JSON pointers that begin with `above`. Gives the first
  // field that shows any. Unless `isEager`, nothing is said of fields that are not set.
  showProblems(mistakes, above = "", { isEager = true } = {}) {
    this.clearProblems();
    const lost = [];
    let first = null;
    for (const { where, what } of mistakes) {
      const tokens = where.startsWith(above) ? splitPointer(where.slice(above.length)) : null;
      const field = tokens && this.root?.find(tokens);
      if (!isEager && field?.value === undefined) continue;
      if (!field || field === this.root) lost.push({ tokens, where, what });
      else {
        field.showProblem(what);
        first ??= field;
      }
    }
    this.words.replaceChildren(
      ...lost.map(({ tokens, what, where }) =>
        note(
          "bad",
          h(
            "span",
            {},
            tokens?.length || tokens === null
              ? inline(`${where.slice(above.length)}: `, { class: "mono" })
              : null,
            inline(what),
          ),
        ),
      ),
    );
    return first;
  }

  focus() {
    this.body.querySelector("input, textarea, select, button")?.focus();
  }
}

const splitPointer = (pointer) =>
  pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
