// What models are writing at this moment: a preview, which ends with the record of the call.
//
// Pieces may be lost, so what the journal says is what counts: a text whose activation has a newer
// moment, or whose run is not under way, is dropped.
import { h } from "../../parts/elements.js";
import { inline, visible } from "../../parts/text.js";

const MOST = 6; // texts that are shown at once
const TAIL = 2000; // characters of a text that are shown, its last ones

export class Writing {
  constructor(run) {
    this.run = run;
    this.texts = new Map(); // by path: the text, its element, and the last moment when it began
    this.list = h("ol", { class: "writing-list" });
    this.more = h("p", { class: "muted small", hidden: "" });
    this.el = h(
      "section",
      { class: "writing", "aria-label": "Being written", hidden: "" },
      h("h3", {}, "Being written"),
      this.list,
      this.more,
    );
  }

  hear({ path, text, is_new: isNew }) {
    if (isNew && text === "") return this.drop(path);
    if (!this.texts.has(path)) this.add(path);
    const writing = this.texts.get(path);
    writing.text = (isNew ? text : writing.text + text).slice(-TAIL);
    writing.pre.textContent = visible(writing.text);
    writing.pre.scrollTop = writing.pre.scrollHeight;
  }

  add(path) {
    const pre = h("pre", { dir: "auto" });
    const button = h(
      "button",
      { type: "button", class: "place", onclick: () => this.run.select({ seq: null, path }) },
      inline(path),
    );
    const el = h("li", { "data-path": path }, button, pre);
    const seq = this.run.data.lastAt.get(path)?.seq ?? 0;
    this.texts.set(path, { text: "", pre, el, seq });
    this.show();
  }

  drop(path) {
    if (this.texts.delete(path)) this.show();
  }

  // Drops what the journal knows by now.
  follow() {
    const { data } = this.run;
    for (const [path, { seq }] of this.texts)
      if (!data.page.row.is_under_way || (data.lastAt.get(path)?.seq ?? 0) > seq) this.drop(path);
  }

  show() {
    const all = [...this.texts.values()];
    const shown = all.slice(0, MOST);
    this.list.replaceChildren(...shown.map(({ el }) => el));
    for (const { pre } of shown) pre.scrollTop = pre.scrollHeight;
    this.el.hidden = !all.length;
    this.more.hidden = all.length <= MOST;
    this.more.textContent = `and ${all.length - MOST} more`;
  }
}
