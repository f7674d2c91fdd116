// Controls for values with parts: fields of a model, items of a list, names with values.
import { h } from "../parts/elements.js";
import { icon } from "../parts/icons.js";
import { visible } from "../parts/text.js";
import { Field } from "./field.js";
import { isOpen } from "./schema.js";

const step = (name) => `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;

function group(field, ...children) {
  const attributes = { class: "form-group", role: "group" };
  if (field.isRoot && field.variants.length === 1) attributes["aria-label"] = visible(field.label);
  else attributes["aria-labelledby"] = `${field.id}:label`;
  return h("div", attributes, ...children);
}

function smallButton(words, sign, act, name) {
  return h(
    "button",
    {
      type: "button",
      class: "button small square quiet",
      "aria-label": words,
      title: words,
      "data-act": name,
      onclick: act,
    },
    icon(sign),
  );
}

// ---- a model -------------------------------------------------------------------------------------
export class ObjectControl {
  constructor(field, schema) {
    Object.assign(this, { field, schema });
    this.value = Object.assign(Object.create(null), field.value);
    this.children = new Map();
    const properties = Object.entries(schema.properties ?? {});
    for (const [name, property] of properties)
      this.children.set(name, this.buildField(name, property));
    const known = new Set(properties.map(([name]) => name));
    this.others = Object.keys(this.value).filter((name) => !known.has(name));
    const parts = [...this.children.values()].map(({ el }) => el);
    if (isOpen(schema) || this.others.length) parts.push(this.buildOthers());
    this.el = group(field, ...parts);
  }

  buildField(name, property) {
    const resolved = this.field.form.schemas.resolve(property);
    return new Field(this.field.form, property, {
      place: this.field.place + step(name),
      label: labelOf(name, resolved),
      isRequired: (this.schema.required ?? []).includes(name),
      value: this.value[name],
      onChange: (value) => this.change(name, value),
    });
  }

  change(name, value) {
    if (value === undefined) delete this.value[name];
    else this.value[name] = value;
    this.field.typed(this.value);
  }

  // Names that the model does not have: kept, shown, and removed only by a person.
  buildOthers() {
    const { field, schema } = this;
    const rest = Object.create(null);
    for (const name of this.others) rest[name] = this.value[name];
    const other = new Field(
      field.form,
      { type: "object", additionalProperties: isOpen(schema) ? schema.additionalProperties : true },
      {
        place: field.place,
        label: isOpen(schema) ? "Further fields" : "Not fields of this model",
        isItem: true,
        value: rest,
        onChange: (value) => this.changeOthers(value),
      },
    );
    other.el.dataset.place = `${field.place}/…`;
    for (const [name, child] of other.control.children ?? []) this.children.set(name, child);
    return other.el;
  }

  changeOthers(rest) {
    for (const name of this.others) delete this.value[name];
    this.others = Object.keys(rest).filter((name) => !Object.hasOwn(this.schema.properties, name));
    for (const name of this.others) this.value[name] = rest[name];
    this.field.typed(this.value);
  }
}

// The title of a property where it says more than its name.
function labelOf(name, { title }) {
  const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
  return title && plain(title) !== plain(name) && !/^[A-Z]\w*[a-z][A-Z]/.test(title)
    ? `${title} (${name})`
    : name;
}

// ---- a list --------------------------------------------------------------------------------------
export class ListControl {
  constructor(field, schema, isFixed) {
    Object.assign(this, { field, schema, isFixed });
    this.value = [...(field.value ?? [])];
    this.children = new Map();
    this.rows = h("ol", { class: "form-items" });
    this.add = h(
      "button",
      { type: "button", class: "button small", onclick: () => this.append() },
      "Add an item",
    );
    this.el = group(field, this.rows, isFixed ? null : this.add);
    this.draw();
  }

  itemSchema(at) {
    return (this.isFixed ? this.schema.prefixItems[at] : this.schema.items) ?? {};
  }

  draw() {
    this.children.clear();
    this.rows.replaceChildren(...this.value.map((value, at) => this.buildRow(value, at)));
    if (!this.value.length) this.rows.replaceChildren(h("li", { class: "muted" }, "an empty list"));
  }

  buildRow(value, at) {
    const { field } = this;
    const item = new Field(field.form, this.itemSchema(at), {
      place: `${field.place}/${at}`,
      label: `${at + 1}`,
      isItem: true,
      value,
      onChange: (next) => {
        this.value[at] = next;
        field.typed(this.value);
      },
    });
    this.children.set(String(at), item);
    const last = this.value.length - 1;
    const name = `${visible(field.label)} ${at + 1}`;
    const tools = this.isFixed
      ? []
      : [
          at ? smallButton(`Move ${name} up`, "up", () => this.move(at, at - 1), "up") : null,
          at < last
            ? smallButton(`Move ${name} down`, "down", () => this.move(at, at + 1), "down")
            : null,
          smallButton(`Remove ${name}`, "failed", () => this.remove(at), "remove"),
        ];
    return h(
      "li",
      { class: "form-item" },
      item.el,
      h("div", { class: "form-item-tools" }, ...tools),
    );
  }

  append() {
    this.value.push(this.field.form.schemas.seed(this.itemSchema(this.value.length), 1));
    this.changed();
    this.children.get(String(this.value.length - 1)).focus();
  }

  remove(at) {
    this.value.splice(at, 1);
    this.changed();
    const next = this.children.get(String(Math.min(at, this.value.length - 1)));
    if (next) next.focus();
    else this.add.focus();
  }

  move(from, to) {
    const [moved] = this.value.splice(from, 1);
    this.value.splice(to, 0, moved);
    this.changed();
    const tools = this.rows.children[to];
    (
      tools.querySelector(`[data-act="${to < from ? "up" : "down"}"]`) ??
      tools.querySelector("[data-act]")
    ).focus();
  }

  changed() {
    this.draw();
    this.field.typed(this.value);
  }
}

// ---- names with values ---------------------------------------------------------------------------
export class MapControl {
  constructor(field, schema) {
    Object.assign(this, { field, schema });
    this.entries = Object.keys(field.value ?? {}).map((key) => ({ key, value: field.value[key] }));
    this.children = new Map();
    this.rows = h("ol", { class: "form-items" });
    this.add = h(
      "button",
      { type: "button", class: "button small", onclick: () => this.append() },
      "Add an entry",
    );
    this.el = group(field, this.rows, this.add);
    this.draw();
  }

  draw() {
    this.children.clear();
    this.rows.replaceChildren(...this.entries.map((entry) => this.buildRow(entry)));
    if (!this.entries.length) this.rows.replaceChildren(h("li", { class: "muted" }, "no entries"));
  }

  buildRow(entry) {
    const { field } = this;
    const { additionalProperties: given } = this.schema;
    const label = `value of ${entry.key}`;
    const item = new Field(field.form, given === true || given === undefined ? {} : given, {
      place: field.place + step(entry.key),
      label,
      isItem: true,
      value: entry.value,
      onChange: (next) => {
        entry.value = next;
        this.changed();
      },
    });
    this.children.set(entry.key, item);
    const key = h("textarea", {
      class: "field field-key mono",
      rows: "1",
      "aria-label": `Name in ${visible(field.label)}`,
      spellcheck: "false",
      oninput: () => this.rename(entry, key),
    });
    key.value = entry.key;
    if (key.value !== entry.key || visible(entry.key) !== entry.key) {
      key.readOnly = true; // a name that cannot be typed is changed in the JSON
      key.value = visible(entry.key);
    }
    entry.input = key;
    const remove = () => {
      this.entries.splice(this.entries.indexOf(entry), 1);
      this.draw();
      this.changed();
      this.add.focus();
    };
    return h(
      "li",
      { class: "form-entry" },
      key,
      item.el,
      h(
        "div",
        { class: "form-item-tools" },
        smallButton(`Remove ${visible(entry.key)}`, "failed", remove, "remove"),
      ),
    );
  }

  rename(entry, key) {
    if (key.readOnly) return;
    const isTaken = this.entries.some((other) => other !== entry && other.key === key.value);
    if (isTaken) {
      key.dataset.broken = `The name ${JSON.stringify(key.value)} comes twice.`;
      key.setAttribute("aria-invalid", "true");
      this.field.say(key.dataset.broken);
      return this.field.form.onChange();
    }
    delete key.dataset.broken;
    key.removeAttribute("aria-invalid");
    entry.key = key.value;
    this.changed();
  }

  append() {
    const taken = new Set(this.entries.map(({ key }) => key));
    let key = "";
    for (let at = 1; taken.has(key); at++) key = `name ${at}`;
    const given = this.schema.additionalProperties;
    const inner = given === true || given === undefined ? {} : given;
    const entry = { key, value: this.field.form.schemas.seed(inner, 1) };
    this.entries.push(entry);
    this.draw();
    this.changed();
    entry.input.focus();
  }

  changed() {
    const made = Object.create(null);
    for (const { key, value } of this.entries) made[key] = value;
    this.field.typed(made);
  }
}
