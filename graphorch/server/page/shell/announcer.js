// Says what changed to those who do not see it, one sentence at a time and never more often than
// every few seconds: of several that come meanwhile, the last.
import { h } from "../parts/elements.js";

const PAUSE = 4000; // milliseconds

export class Announcer {
  constructor() {
    this.el = h("div", { class: "visually-hidden", role: "status", "aria-live": "polite" });
    this.said = 0;
  }

  say(words) {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.speak(words), Math.max(0, this.said + PAUSE - Date.now()));
  }

  speak(words) {
    this.said = Date.now();
    this.el.textContent = words;
  }
}
