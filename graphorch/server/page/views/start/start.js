// The flows that this server runs, and a form to begin a run of one.
import { h } from "../../parts/elements.js";
import { loading, failure } from "../../parts/states.js";
import { FlowForm } from "./flow_form.js";
import { FlowList } from "./flow_list.js";

export class StartView {
  constructor(context) {
    this.context = context;
    this.title = "Start";
    this.el = h("div", { class: "page start" });
  }

  show({ path }) {
    const [, name = ""] = path;
    if (name === this.name) return;
    this.name = name;
    this.open(name);
  }

  close() {
    this.isClosed = true;
    this.part?.close();
  }

  async open(name) {
    this.part?.close();
    this.part = null;
    this.el.replaceChildren(loading("Loading the flows"));
    try {
      const part = name
        ? await FlowForm.open(this.context, name)
        : await FlowList.open(this.context);
      if (this.isClosed || this.name !== name) return part.close();
      this.part = part;
      this.title = part.title;
      document.title = `${this.title} · graphorch`;
      this.el.replaceChildren(part.el);
    } catch (problem) {
      if (this.name === name) this.el.replaceChildren(failure(problem, () => this.open(name)));
    }
  }
}
