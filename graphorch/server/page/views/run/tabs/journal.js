// The records of the run, as they are kept.
import { h } from "../../../parts/elements.js";
import { empty } from "../../../parts/states.js";
import { inline, shorten } from "../../../parts/text.js";
import { valueOf } from "../../../parts/values.js";
import { longText } from "./long_text.js";
import { Panel } from "./panel.js";

const PAGE = 200; // records that are asked for at once
const BEFORE = 40; // records that are shown before the chosen one

export class JournalTab extends Panel {
  show(selection) {
    this.selection = selection;
    if (this.list && (selection.seq === null || this.find(selection.seq))) return this.mark();
    const after = Math.max(0, (selection.seq ?? 0) - BEFORE);
    this.first = after;
    this.load(
      (signal) => this.ask(after, signal),
      (page) => this.build(page),
    );
  }

  async refresh(selection) {
    this.selection = selection;
    if (!this.list || this.isBusy || this.next !== null) return;
    this.isBusy = true;
    try {
      const page = await this.ask(this.last);
      if (page.records.length) this.add(page);
    } finally {
      this.isBusy = false;
    }
  }

  ask(after, signal) {
    return this.run.data.read("/records", { after, limit: PAGE }, { signal });
  }

  build(page) {
    if (!page.records.length) return empty("No records", "Nothing was written yet.");
    this.list = h("ol", { class: "records" });
    this.foot = h("div", {});
    this.add(page);
    const earlier = this.first
      ? h(
          "button",
          { type: "button", class: "button", onclick: () => this.begin() },
          "From the beginning",
        )
      : null;
    return [earlier, this.list, this.foot].filter(Boolean);
  }

  begin() {
    this.list = null;
    this.first = 0;
    this.load(
      (signal) => this.ask(0, signal),
      (page) => this.build(page),
    );
  }

  add(page) {
    this.list.append(...page.records.map((record) => this.recordOf(record)));
    this.next = page.next;
    this.last = page.records.at(-1)?.seq ?? page.seq;
    const button = h(
      "button",
      { type: "button", class: "button", onclick: async () => this.add(await this.ask(page.next)) },
      "More records",
    );
    this.foot.replaceChildren(page.next === null ? "" : button);
    this.mark();
  }

  // The body is built when the record is opened.
  recordOf({ seq, kind, body, is_erased: isErased, fault, cuts }) {
    const summary = h(
      "summary",
      {},
      h("span", { class: "record-seq" }, String(seq)),
      h("span", { class: "record-kind" }, inline(kind)),
      h(
        "span",
        { class: "record-text muted" },
        isErased
          ? "erased"
          : fault
            ? h("span", { class: "bad" }, inline(fault))
            : shorten(summaryOf(body), 140),
      ),
    );
    const made = h("details", { class: "record" }, summary);
    const fill = () => {
      if (!made.open || made.children.length > 1) return;
      const chooses = h(
        "button",
        {
          type: "button",
          class: "button small",
          onclick: () => this.run.select({ seq, path: body?.path ?? "" }),
        },
        "Select",
      );
      made.append(
        h(
          "div",
          { class: "record-body" },
          chooses,
          valueOf(body),
          ...cuts.map((cut) => longText(this.run.data, seq, cut)),
        ),
      );
    };
    made.addEventListener("toggle", fill);
    return h("li", { "data-seq": seq }, made);
  }

  find(seq) {
    return this.list.querySelector(`[data-seq="${Number(seq)}"]`);
  }

  mark() {
    if (!this.list) return;
    this.list.querySelector(".is-chosen")?.classList.remove("is-chosen");
    if (this.selection.seq === null) return;
    const chosen = this.find(this.selection.seq);
    chosen?.classList.add("is-chosen");
    chosen?.scrollIntoView({ block: "nearest" });
  }
}

// What of a record says most on one line.
function summaryOf(body) {
  if (body === null || typeof body !== "object") return String(body);
  const { path, text, message, error, reason, ...rest } = body;
  const words = [path, error, message, text, reason].filter(
    (part) => typeof part === "string" && part,
  );
  if (words.length > (path ? 1 : 0)) return words.join("  ");
  return [path, JSON.stringify(rest.update ?? rest.input ?? rest).slice(0, 200)]
    .filter(Boolean)
    .join("  ");
}
