// What all tabs of a run share: one request at a time, the newest wins, and what was shown stays
// until there is something new.
import { failureOf, loading } from "../../../parts/states.js";
import { h, replaceChildren } from "../../../parts/elements.js";

export class Panel {
  // `run` has `data` and `select({seq, path})`.
  constructor(run) {
    this.run = run;
    this.el = h("div", { class: "panel" });
    this.turn = 0;
  }

  // Asks, and shows what comes; a request that a later one overtook is dropped.
  async load(ask, build) {
    const turn = ++this.turn;
    this.abort?.abort();
    this.abort = new AbortController();
    if (!this.el.firstChild) this.el.replaceChildren(loading());
    else this.late = setTimeout(() => this.el.classList.add("is-late"), 300);
    try {
      const found = await ask(this.abort.signal);
      if (turn !== this.turn) return;
      replaceChildren(this.el, [build(found)].flat());
      this.mark?.(); // what is selected, now that it can be scrolled to
    } catch (problem) {
      if (turn === this.turn && problem.name !== "AbortError")
        this.el.replaceChildren(failureOf(problem, () => this.load(ask, build)));
    } finally {
      clearTimeout(this.late);
      if (turn === this.turn) this.el.classList.remove("is-late");
    }
  }

  close() {
    this.turn += 1;
    this.abort?.abort();
  }
}
