// What the figures are narrowed to: time, flow, tag. The address holds it.
import { h } from "../../parts/elements.js";
import { flowField, select, showValue, tagField, toQuery } from "../runs/filters.js";

const PERIODS = [
  ["24h", "last 24 hours"],
  ["7d", "last 7 days"],
  ["30d", "last 30 days"],
  ["90d", "last 90 days"],
  ["all", "any time"],
];
export const USUAL = "7d";
const PAUSE = 400; // milliseconds after the last letter

export class Window {
  // `onChange(query)` is called with what the reader chose.
  constructor(flows, onChange) {
    this.onChange = onChange;
    this.since = select("Window", PERIODS, () => this.changed());
    this.flow = flowField("figure-flows", () => this.typed());
    this.tag = tagField(() => this.typed());
    this.el = h(
      "form",
      {
        class: "filters",
        role: "search",
        "aria-label": "Figures",
        onsubmit: (event) => {
          event.preventDefault();
          this.changed();
        },
      },
      this.since,
      this.flow,
      h("datalist", { id: "figure-flows" }, ...flows.map((name) => h("option", { value: name }))),
      this.tag,
    );
  }

  typed() {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.changed(), PAUSE);
  }

  show({ since, flow, tag }) {
    showValue(this.since, since || USUAL);
    showValue(this.flow, flow);
    showValue(this.tag, tag);
  }

  changed() {
    clearTimeout(this.later);
    this.onChange({
      since: this.since.value === USUAL ? "" : this.since.value,
      until: "",
      flow: this.flow.value.trim(),
      tag: this.tag.value.trim(),
    });
  }
}

// The window of an address, with what the server takes: `utc_offset` is that of the reader.
export function readWindow({ since, until, flow, tag }) {
  return { since: since || USUAL, until, flow, tag };
}

// A period begins with a full minute, so that the server knows the figures that were just asked for.
export function toWindowQuery(window) {
  const { since, until, flow, tag } = toQuery(window);
  const offset = -new Date().getTimezoneOffset() * 60;
  const isPeriod = since !== window.since;
  const begin = isPeriod ? String(Math.floor(Number(since) / 60) * 60) : since;
  return { since: since === "all" ? "" : begin, until, flow, tag, utc_offset: offset };
}
