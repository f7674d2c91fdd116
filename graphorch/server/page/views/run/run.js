import { h } from "../../parts/elements.js";

export class RunView {
  title = "Run";

  constructor() {
    this.el = h("div", { class: "page" });
  }

  show({ path }) {
    this.el.replaceChildren(h("h1", {}, path[1]));
  }
}
