// What the list of runs is narrowed to. The address holds it.
import { h } from "../../parts/elements.js";

const STATES = [
  "running",
  "waiting",
  "failed",
  "stopped",
  "crashed",
  "queued",
  "succeeded",
  "partial",
  "cancelled",
];
const PERIODS = [
  ["", "any time"],
  ["1h", "last hour"],
  ["24h", "last 24 hours"],
  ["7d", "last 7 days"],
  ["30d", "last 30 days"],
];
const UNITS = { h: 3600, d: 86400 };
const PAUSE = 300; // milliseconds after the last letter

export class Filters {
  // `onChange(query)` is called with what the reader chose.
  constructor(flows, onChange) {
    this.onChange = onChange;
    this.status = select(
      "Status",
      [["", "any status"], ...STATES.map((state) => [state, state])],
      () => this.changed(),
    );
    this.flow = flowField("flow-names", () => this.typed());
    this.tag = tagField(() => this.typed());
    this.since = select("Began in", PERIODS, () => this.changed());
    this.clear = h(
      "button",
      { type: "button", class: "button quiet", onclick: () => onChange({}) },
      "Clear",
    );
    this.el = h(
      "form",
      {
        class: "filters",
        role: "search",
        "aria-label": "Runs",
        onsubmit: (event) => this.submitted(event),
      },
      this.status,
      this.flow,
      h("datalist", { id: "flow-names" }, ...flows.map((name) => h("option", { value: name }))),
      this.tag,
      this.since,
      this.clear,
    );
  }

  show(query) {
    for (const name of ["status", "flow", "tag", "since"]) showValue(this[name], query[name]);
    this.clear.hidden = !Object.values(query).some(Boolean);
  }

  typed() {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.changed(), PAUSE);
  }

  submitted(event) {
    event.preventDefault();
    this.changed();
  }

  changed() {
    clearTimeout(this.later);
    this.onChange({
      status: this.status.value,
      flow: this.flow.value.trim(),
      tag: this.tag.value.trim(),
      since: this.since.value,
    });
  }
}

export const flowField = (list, oninput) =>
  searchField({ name: "flow", placeholder: "flow", "aria-label": "Flow", list, oninput });

export const tagField = (oninput) =>
  searchField({ name: "tag", placeholder: "tag=value", "aria-label": "Tag, as name=value", oninput });

const searchField = (attributes) =>
  h("input", {
    class: "field",
    type: "search",
    autocomplete: "off",
    spellcheck: "false",
    ...attributes,
  });

// What the reader is writing stays as it is.
export function showValue(field, value) {
  if (field !== document.activeElement || field.tagName === "SELECT") field.value = value ?? "";
}

export function select(label, options, onchange) {
  return h(
    "select",
    { class: "field", "aria-label": label, onchange },
    ...options.map(([value, words]) => h("option", { value }, words)),
  );
}

// The filters as the server takes them: a period becomes the time of its beginning.
export function toQuery({ status, flow, tag, since, until }) {
  const period = /^(\d+)([hd])$/.exec(since ?? "");
  const begin = period
    ? Math.floor(Date.now() / 1000) - Number(period[1]) * UNITS[period[2]]
    : since;
  return { status, flow, tag, since: begin, until };
}
