// Tabs of which one is shown, by the pattern of WAI-ARIA: arrows move between them.
import { h } from "./elements.js";

export class Tabs {
  // `tabs` are `{ name, title }`; `onChoose(name)` is called by the reader's choice only.
  constructor(label, tabs, onChoose) {
    this.onChoose = onChoose;
    this.buttons = tabs.map(({ name, title }) =>
      h(
        "button",
        {
          type: "button",
          class: "tab",
          role: "tab",
          id: `tab-${name}`,
          "aria-controls": "tab-panel",
          "data-name": name,
          onclick: () => onChoose(name),
        },
        title,
      ),
    );
    this.list = h(
      "div",
      {
        class: "tabs",
        role: "tablist",
        "aria-label": label,
        onkeydown: (event) => this.typed(event),
      },
      ...this.buttons,
    );
    this.panel = h("div", { class: "tab-panel", role: "tabpanel", id: "tab-panel", tabindex: "0" });
  }

  show(name) {
    for (const button of this.buttons) {
      const isShown = button.dataset.name === name;
      button.setAttribute("aria-selected", String(isShown));
      button.setAttribute("tabindex", isShown ? "0" : "-1");
      if (isShown) this.panel.setAttribute("aria-labelledby", button.id);
    }
  }

  typed(event) {
    const at = this.buttons.indexOf(event.target);
    const last = this.buttons.length - 1;
    const to = {
      ArrowRight: at === last ? 0 : at + 1,
      ArrowLeft: at === 0 ? last : at - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    this.buttons[to].focus();
    this.onChoose(this.buttons[to].dataset.name);
  }
}
