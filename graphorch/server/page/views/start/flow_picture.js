// The picture of a flow as an image, in which nothing can run. It has the colours of the page.
import { h } from "../../parts/elements.js";
import { visible } from "../../parts/text.js";

export class FlowPicture {
  constructor(api, flow, direction) {
    Object.assign(this, { api, flow, direction });
    this.image = h("img", { alt: `Picture of the flow ${visible(flow)}`, hidden: "" });
    this.el = h("div", { class: "flow-picture" }, this.image);
    this.watcher = new MutationObserver(() => this.draw());
    this.watcher.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this.draw();
  }

  close() {
    this.watcher.disconnect();
  }

  async draw() {
    const { theme } = document.documentElement.dataset;
    try {
      const path = `/flows/${encodeURIComponent(this.flow)}/picture.svg`;
      const source = await this.api.get(path, { theme, direction: this.direction });
      this.image.src = `data:image/svg+xml,${encodeURIComponent(source)}`;
      this.image.hidden = false;
    } catch {
      this.el.hidden = true; // the form works without it
    }
  }
}
