// The questions that were open when a run was copied: they can be read, and answered elsewhere.
import { chip } from "../../parts/chips.js";
import { h } from "../../parts/elements.js";
import { moment } from "../../parts/figures.js";
import { inline } from "../../parts/text.js";
import { textOf } from "../../parts/values.js";

export class CopiedQuestions {
  constructor() {
    this.el = h("div", { class: "questions" });
  }

  close() {}

  show({ questions }) {
    this.el.replaceChildren(...questions.map(questionOf));
  }
}

function questionOf({ path, text, asked_at: askedAt, expires }) {
  const until = expires === null ? "" : ` · until ${moment(expires)}`;
  return h(
    "details",
    { class: "question copied-question" },
    h(
      "summary",
      {},
      chip("asks", "asked"),
      " ",
      inline(path, { class: "mono" }),
      h("span", { class: "muted" }, ` ${moment(askedAt)}${until}`),
    ),
    textOf(text),
  );
}
