// The answer to a question, by the schema of its answer.
import { Form } from "../../forms/form.js";
import { h, isEnabled } from "../../parts/elements.js";
import { visible } from "../../parts/text.js";

export class AnswerForm {
  constructor({ row, send }) {
    this.send = send;
    this.form = new Form({ schema: row.schema, label: `Answer to ${visible(row.question.path)}` });
    this.button = h(
      "button",
      { type: "button", class: "button primary", onclick: () => this.submit() },
      "Send this answer and go on",
    );
    this.el = h(
      "div",
      { class: "answer", onkeydown: (event) => this.typed(event) },
      this.form.el,
      h("div", { class: "question-buttons" }, this.button),
    );
  }

  typed(event) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    this.submit();
  }

  submit() {
    if (!isEnabled(this.button)) return;
    if (this.form.broken) return this.form.body.querySelector("[data-broken]").focus();
    this.send(this.form.text);
  }

  showProblems(mistakes) {
    this.form.showProblems(mistakes, "/answer")?.focus();
  }
}
