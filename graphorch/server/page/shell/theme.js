// Light, dark, or as the system has it. Pictures look at `data-theme`, so it is always set.
import { keep, readKept } from "./kept.js";

const KEY = "graphorch.theme";
const THEMES = ["system", "light", "dark"];

export class Theme {
  constructor() {
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", () => this.apply());
    const kept = readKept(KEY);
    this.choice = THEMES.includes(kept) ? kept : "system";
    this.apply();
  }

  choose(choice) {
    this.choice = choice;
    keep(KEY, choice);
    this.apply();
  }

  // The next choice, for a key.
  turn() {
    this.choose(THEMES[(THEMES.indexOf(this.choice) + 1) % THEMES.length]);
    return this.choice;
  }

  apply() {
    const isDark = this.choice === "dark" || (this.choice === "system" && this.dark.matches);
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
  }
}
