// The run as a conversation: who said what to whom, in the order of causes.
import { messageOf } from "../../../parts/model_call.js";
import { h } from "../../../parts/elements.js";
import { costOf, duration } from "../../../parts/figures.js";
import { empty } from "../../../parts/states.js";
import { inline } from "../../../parts/text.js";
import { textOf } from "../../../parts/values.js";
import { Panel } from "./panel.js";

const PAGE = 60; // turns that are asked for at once

export class ConversationTab extends Panel {
  show(selection) {
    this.selection = selection;
    if (this.list) return this.mark();
    this.load(
      (signal) => this.ask(0, signal),
      (page) => this.build(page),
    );
  }

  // New turns are added at the end; those that are there stay.
  async refresh(selection) {
    this.selection = selection;
    if (!this.list || this.isBusy || this.next !== null) return;
    this.isBusy = true;
    try {
      const page = await this.ask(this.last);
      if (page.turns.length) this.add(page);
    } finally {
      this.isBusy = false;
    }
  }

  ask(after, signal) {
    return this.run.data.read("/conversation", { after, limit: PAGE }, { signal });
  }

  build(page) {
    if (!page.turns.length)
      return empty("Nothing was said", "No model was asked and nothing was written yet.");
    this.list = h("ol", { class: "turns" });
    this.foot = h("div", {});
    this.add(page);
    return [this.list, this.foot];
  }

  add(page) {
    this.list.append(...page.turns.map((turn) => turnOf(turn, this.run)));
    this.last = page.seq;
    this.next = page.next;
    const button = h(
      "button",
      { type: "button", class: "button", onclick: async () => this.add(await this.ask(page.next)) },
      "More of it",
    );
    this.foot.replaceChildren(page.next === null ? "" : button);
    this.mark();
  }

  mark() {
    if (!this.list) return;
    const { seq, path } = this.selection;
    let first = null;
    for (const turn of this.list.children) {
      const isChosen =
        seq === null ? path !== "" && turn.dataset.path === path : turn.dataset.seq === String(seq);
      turn.classList.toggle("is-chosen", isChosen);
      if (isChosen) first ??= turn;
    }
    first?.scrollIntoView({ block: "nearest" });
  }
}

function turnOf(turn, run) {
  const to = turn.to.length ? [" → ", inline(turn.to.join(", "))] : [];
  const facts = [];
  if (turn.model && turn.model !== turn.speaker) facts.push(inline(turn.model));
  if (turn.seconds !== null) facts.push(duration(turn.seconds));
  if (turn.usage?.calls) facts.push(costOf(turn.usage));
  return h(
    "li",
    {
      class: `turn is-${turn.kind.replace(/\W/g, "")}`,
      "data-seq": turn.seq,
      "data-path": turn.path,
      style: `--level:${Math.min(turn.level, 6)}`,
    },
    h(
      "div",
      { class: "turn-head" },
      h(
        "button",
        {
          type: "button",
          class: "place",
          "data-key": `turn ${turn.seq} ${turn.kind}`,
          onclick: () => run.select({ seq: turn.seq, path: turn.path }),
        },
        inline(turn.speaker),
        ...to,
      ),
      h(
        "span",
        { class: "call-facts" },
        ...facts.flatMap((fact, at) => (at ? [" · ", fact] : [fact])),
      ),
    ),
    turn.messages.length
      ? h(
          "details",
          { class: "prompt" },
          h(
            "summary",
            {},
            "Prompt",
            h(
              "span",
              { class: "muted" },
              ` ${turn.messages.length}${turn.shared ? ` after ${turn.shared}` : ""}`,
            ),
          ),
          ...turn.messages.map(messageOf),
        )
      : null,
    turn.arguments
      ? h(
          "div",
          { class: "message" },
          h("div", { class: "role" }, "arguments"),
          textOf(turn.arguments),
        )
      : null,
    turn.text ? textOf(turn.text) : null,
    turn.note ? h("p", { class: "muted small break" }, inline(turn.note)) : null,
  );
}
