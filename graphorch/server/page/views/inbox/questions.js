// The cards of open questions: of all runs, or of a single one. A card stays as it is while a person
// works on it; it changes only if what is asked does.
import { h } from "../../parts/elements.js";
import { QuestionCard } from "./card.js";

const TICK = 1000; // milliseconds between two looks at the clock

export class Questions {
  // `runId` is null for those of all runs.
  constructor(context, runId) {
    Object.assign(this, { context, runId });
    this.cards = new Map(); // by run and question
    this.el = h("div", { class: "questions" });
    this.end = context.inbox?.listen((inbox) => this.show(inbox.questions));
    this.ticking = setInterval(() => this.tick(), TICK);
  }

  get hasCards() {
    return this.cards.size > 0;
  }

  close() {
    this.end?.();
    clearInterval(this.ticking);
  }

  tick() {
    if (document.hidden) return;
    for (const card of this.cards.values()) card.tick();
  }

  show(questions) {
    const seen = new Set();
    let before = null;
    for (const row of questions) {
      if (this.runId !== null && row.run_id !== this.runId) continue;
      const key = `${row.run_id} ${row.question.id}`;
      seen.add(key);
      before = this.place(key, row, before);
    }
    for (const [key, card] of this.cards) if (!seen.has(key)) card.vanish();
  }

  // Puts a card after another one without touching those that are in their place.
  place(key, row, before) {
    let card = this.cards.get(key);
    if (card) card.update(row);
    else {
      card = new QuestionCard(this.context, row, {
        isInRun: this.runId !== null,
        onGone: () => this.drop(key),
      });
      this.cards.set(key, card);
      if (before) before.el.after(card.el);
      else this.el.prepend(card.el);
    }
    return card;
  }

  drop(key) {
    const { el } = this.cards.get(key);
    const next = el.nextElementSibling ?? el.previousElementSibling;
    el.remove();
    this.cards.delete(key);
    next?.focus();
    this.context.inbox.ask();
  }

  step(by) {
    const cards = [...this.el.children];
    const at = cards.findIndex((card) => card.contains(document.activeElement));
    const next = cards[at < 0 ? (by > 0 ? 0 : cards.length - 1) : at + by];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }
}
