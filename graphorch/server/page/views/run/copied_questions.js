// The questions that were open when a run was copied: they can be read, and answered elsewhere.
import { chip } from "../../parts/chips.js";
import { h } from "../../parts/elements.js";
import { moment } from "../../parts/figures.js";
import { inline } from "../../parts/text.js";
import { textOf, valueOf } from "../../parts/values.js";

export class CopiedQuestions {
  constructor() {
    this.el = h("div", { class: "questions" });
  }

  close() {}

  show({ questions }) {
    this.el.replaceChildren(...questions.map(questionOf));
  }
}

function questionOf({ path, text, tool, arguments: given, asked_at: askedAt, expires }) {
  const until = expires === null ? "" : ` · until ${moment(expires)}`;
  return h(
    "article",
    { class: "question pane copied-question", "aria-label": `Question of ${path}` },
    h(
      "p",
      { class: "copied-question-head" },
      chip("asks", "waited for an answer"),
      inline(path, { class: "mono" }),
      h("span", { class: "muted" }, `since ${moment(askedAt)}${until}`),
    ),
    textOf(text),
    given
      ? h(
          "details",
          {},
          h("summary", {}, "Arguments of ", inline(tool, { class: "mono" })),
          valueOf(given),
        )
      : null,
  );
}
