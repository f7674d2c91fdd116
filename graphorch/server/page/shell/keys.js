// Single keys for what is done often, and a dialog that lists them. They can be switched off, for
// people whose speech or hands produce letters by accident.
import { h } from "../parts/elements.js";
import { keep, readKept } from "./kept.js";

const KEY = "graphorch.keys";
const FIELDS = "input, select, textarea, [contenteditable]";

export class Keys {
  // `shell` and `view` are lists of `{ key, words, act }`; `note` is a key that another part reads.
  constructor(shell) {
    this.shell = [...shell, { key: "?", words: "show these keys", act: () => this.toggle() }];
    this.view = [];
    this.areOn = readKept(KEY) !== "off";
    this.dialog = h("dialog", { class: "dialog keys", "aria-label": "Keys" });
    document.addEventListener("keydown", (event) => this.typed(event));
  }

  typed(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (
      event.target.closest?.(FIELDS) ||
      (document.querySelector("dialog[open]") && event.key !== "?")
    )
      return;
    const found = [...this.view, ...this.shell].find((item) => item.act && item.key === event.key);
    const isLetter = event.key.length === 1 && event.key !== "?";
    if (!found || (isLetter && !this.areOn)) return;
    event.preventDefault();
    found.act(event);
  }

  toggle() {
    if (this.dialog.open) return this.dialog.close();
    const switchKeys = (event) => {
      this.areOn = event.target.checked;
      keep(KEY, this.areOn ? "on" : "off");
    };
    this.dialog.replaceChildren(
      h(
        "div",
        { class: "dialog-head" },
        h("h2", {}, "Keys"),
        h(
          "button",
          { type: "button", class: "button quiet", onclick: () => this.dialog.close() },
          "Close",
        ),
      ),
      ...[
        ["On this page", this.view],
        ["Everywhere", this.shell],
      ]
        .filter(([, keys]) => keys.length)
        .map(([title, keys]) => list(title, keys)),
      h(
        "label",
        { class: "check" },
        h("input", { type: "checkbox", checked: this.areOn, onchange: switchKeys }),
        "Single letters are keys",
      ),
    );
    this.dialog.showModal();
  }
}

function list(title, keys) {
  const rows = keys.flatMap(({ key, words }) => [
    h("dt", {}, ...key.split(" ").map((part) => h("kbd", {}, part))),
    h("dd", {}, words),
  ]);
  return h("section", {}, h("h3", {}, title), h("dl", { class: "key-list" }, ...rows));
}
