// A field: its label, whether it is set, which member of a union it is, and the control for that.
import { h } from "../parts/elements.js";
import { shorten, visible } from "../parts/text.js";
import { writeJson } from "../parts/json.js";
import { GROUPS, makeControl } from "./controls.js";
import { boundsOf } from "./schema.js";

const MISSING = "missing";
const LITERAL = "literal";
const TYPED = new Set(["string", "integer", "number", "decimal"]);

export class Field {
  // `isRequired`: the model wants a value. `isItem`: there must be one, as in a list.
  constructor(form, schema, { place, label, isRequired, isItem, isRoot, value, onChange }) {
    Object.assign(this, { form, place, label, isRequired, isItem, isRoot, value, onChange });
    this.schema = form.schemas.resolve(schema);
    this.variants = form.schemas.variants(schema);
    this.id = `${form.id}${place.replace(/[^\w/]/g, (sign) => `_${sign.codePointAt(0)}`)}`;
    this.chosen = this.chooseVariant();
    this.kept = new Map(); // what was typed for other members of the union
    this.el = h("div", { class: "form-field", "data-place": place });
    this.problem = h("p", { class: "field-problem", id: `${this.id}:problem`, hidden: "" });
    this.draw();
  }

  chooseVariant() {
    return this.value === undefined
      ? this.findTyped()
      : this.form.schemas.choose(this.variants, this.value);
  }

  // The member of a union that a person most likely types while nothing is set.
  findTyped() {
    const others = this.variants.filter(({ kind }) => kind !== "null");
    return others.length === 1 ? this.variants.indexOf(others[0]) : 0;
  }

  // ---- drawing ----------------------------------------------------------------------------------
  draw() {
    const variant = this.variants[this.chosen] ?? { kind: LITERAL, schema: {} };
    this.control = this.isShut(variant) ? null : makeControl(this, variant);
    const isGroup = GROUPS.has(variant.kind) && !this.control?.isLiteral;
    const bounds = boundsOf(variant.schema, variant.kind);
    const about = variant.schema.description ?? "";
    const help = [...new Set([this.schema.description ?? "", this.isRoot ? "" : about])].filter(
      Boolean,
    );
    this.el.className = `form-field${isGroup ? " is-group" : ""}${this.isRoot ? " is-root" : ""}`;
    this.help = h(
      "p",
      { class: "field-help", id: `${this.id}:help` },
      visible([...help, bounds].filter(Boolean).join(" · ")),
    );
    this.help.hidden = !this.help.textContent;
    this.el.replaceChildren(
      ...[
        this.isRoot && this.variants.length === 1 ? null : this.buildHead(variant, isGroup),
        this.help,
        this.control?.el,
        this.problem,
      ].filter(Boolean),
    );
    this.describe();
  }

  // Nothing is set, and there is nothing to type yet.
  isShut({ kind }) {
    return this.value === undefined && !TYPED.has(kind) && kind !== "boolean" && kind !== "enum";
  }

  buildHead({ kind }, isGroup) {
    const words = visible(this.label);
    const label =
      isGroup || !this.control
        ? h("span", { class: "field-label", id: `${this.id}:label` }, words)
        : h("label", { class: "field-label", id: `${this.id}:label`, for: this.id }, words);
    this.state = h("span", { class: "field-state" });
    this.reset = h("button", {
      type: "button",
      class: "button small quiet",
      onclick: () => this.leaveOut(),
    });
    this.select = this.buildSelect();
    this.head = h(
      "div",
      { class: "field-head" },
      label,
      this.state,
      this.select,
      this.reset,
      this.buildOpener(kind),
    );
    this.labelState();
    return this.head;
  }

  // A selector for members of a union; `missing` is among them where a field may be left out.
  buildSelect() {
    if (this.variants.length === 1) return null;
    const options = this.variants.map(({ words }, at) => [String(at), words]);
    if (!this.isItem && !this.isRoot) options.unshift([MISSING, this.presetWords]);
    if (this.chosen < 0) options.push([LITERAL, "something else"]);
    const select = h(
      "select",
      {
        class: "field field-kind",
        "aria-label": `Kind of ${visible(this.label)}`,
        onchange: () => this.choose(select.value),
      },
      ...options.map(([value, words]) => h("option", { value }, visible(words))),
    );
    select.value = this.selected;
    return select;
  }

  get selected() {
    if (this.value === undefined && !this.isItem && !this.isRoot) return MISSING;
    return this.chosen < 0 ? LITERAL : String(this.chosen);
  }

  // A field of its own with nothing in it is opened by a button.
  buildOpener(kind) {
    if (this.control || this.variants.length > 1) return null;
    const words = kind === "list" || kind === "map" ? "Set" : "Fill in";
    return h(
      "button",
      {
        type: "button",
        class: "button small",
        "aria-label": `${words} ${visible(this.label)}`,
        onclick: () => this.choose(String(this.chosen)),
      },
      words,
    );
  }

  get presetWords() {
    const { default: preset } = this.schema;
    if (preset !== undefined) return `default: ${shorten(writeJson(preset), 40)}`;
    return this.isRequired ? "not set" : "left out";
  }

  labelState() {
    if (!this.head) return;
    const isSet = this.value !== undefined;
    this.state.textContent = isSet ? (this.value === "" ? "empty text" : "") : "";
    if (!isSet && !this.select)
      this.state.textContent = this.isRequired ? "required" : this.presetWords;
    this.state.classList.toggle("is-required", !isSet && Boolean(this.isRequired));
    this.reset.hidden = !isSet || this.isItem || this.isRoot || Boolean(this.select);
    this.reset.textContent = this.schema.default === undefined ? "Clear" : "Use the default";
    this.reset.setAttribute("aria-label", `${this.reset.textContent}: ${visible(this.label)}`);
    if (this.select) this.select.value = this.selected;
  }

  describe() {
    const input = this.control?.input;
    if (!input) return;
    const names = [this.help, this.problem].filter((part) => !part.hidden).map(({ id }) => id);
    if (names.length) input.setAttribute("aria-describedby", names.join(" "));
    else input.removeAttribute("aria-describedby");
    const isWrong = !this.problem.hidden || input.dataset.broken !== undefined;
    if (isWrong) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }

  // ---- changes ----------------------------------------------------------------------------------
  // The control has another value; undefined is none.
  typed(value) {
    this.value = value;
    this.clearProblem();
    this.labelState();
    this.onChange(value);
  }

  // What is typed is no value at all; `words` say why.
  typedBroken(words) {
    this.control.input.dataset.broken = words;
    this.say(words);
    this.form.onChange();
  }

  choose(name) {
    if (this.value !== undefined && this.chosen >= 0) this.kept.set(this.chosen, this.value);
    if (name === MISSING) return this.leaveOut();
    if (name === LITERAL) return;
    this.chosen = Number(name);
    const variant = this.variants[this.chosen];
    this.take(this.kept.get(this.chosen) ?? this.form.schemas.seedVariant(variant));
  }

  leaveOut() {
    this.chosen = this.findTyped();
    this.take(undefined);
  }

  // Has another value, and is drawn anew; the keyboard stays here.
  take(value) {
    const hadFocus = this.el.contains(document.activeElement);
    const wasSelect = document.activeElement === this.select;
    this.value = value;
    this.clearProblem();
    this.draw();
    this.onChange(value);
    if (!hadFocus) return;
    const first = this.el.querySelector("input, textarea, select, button:not([hidden])");
    (wasSelect ? this.select : (this.control?.input ?? first))?.focus();
  }

  // ---- problems ---------------------------------------------------------------------------------
  // The field at a place below this one, as deep as there is any.
  find(tokens) {
    const children = this.control?.children;
    if (!children) return this;
    for (const [at, token] of tokens.entries()) {
      const child = children.get(token);
      if (child) return child.find(tokens.slice(at + 1));
    }
    return this;
  }

  showProblem(what) {
    this.say(this.problem.hidden ? what : `${this.problem.textContent} · ${visible(what)}`);
  }

  say(words) {
    this.problem.textContent = visible(words);
    this.problem.hidden = false;
    this.describe();
  }

  clearProblem() {
    delete this.control?.input?.dataset.broken;
    this.problem.hidden = true;
    this.problem.textContent = "";
    this.describe();
  }

  clearProblems() {
    if (this.control?.input?.dataset.broken === undefined) this.clearProblem();
    for (const child of this.control?.children?.values() ?? []) child.clearProblems();
  }

  focus() {
    (this.control?.input ?? this.el.querySelector("input, textarea, select, button"))?.focus();
  }
}
