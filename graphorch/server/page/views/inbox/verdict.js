// Agreeing or refusing: the words of each button say what follows from it.
import { Form } from "../../forms/form.js";
import { h, isEnabled } from "../../parts/elements.js";
import { isSameJson, writeJson } from "../../parts/json.js";
import { visible } from "../../parts/text.js";

let made = 0;

export class Verdict {
  constructor({ row, send }) {
    Object.assign(this, { row, send });
    const { question } = row;
    this.isCall = question.kind === "call";
    const id = `reason-${(made += 1)}`;
    this.reason = h("textarea", {
      class: "field",
      rows: "2",
      id,
      dir: "auto",
      placeholder: this.isCall
        ? "The agent reads it, and may try something else"
        : "It is kept in the journal",
    });
    this.problem = h("p", { class: "field-problem", hidden: "", role: "alert" });
    this.form = this.isCall ? this.buildForm(question) : null;
    const approve = this.isCall
      ? `Approve and run ${visible(question.tool)}`
      : `Approve and run ${visible(question.path)}`;
    const button = (kind, words, act) =>
      h(
        "button",
        {
          type: "button",
          class: `button ${kind}`,
          onclick: (event) => isEnabled(event.target) && act(),
        },
        words,
      );
    this.approveButton = button("primary", approve, () => this.approve());
    this.el = h(
      "div",
      { class: "answer" },
      this.form ? this.editor : null,
      h(
        "div",
        { class: "form-field" },
        h(
          "label",
          { class: "field-label", for: id },
          "Reason",
          h("span", { class: "field-state" }, " for a refusal"),
        ),
        this.reason,
      ),
      this.problem,
      h(
        "div",
        { class: "question-buttons" },
        this.approveButton,
        button("danger", "Refuse", () => this.refuse()),
      ),
    );
  }

  // The arguments may be changed before the call runs.
  buildForm({ arguments: given, tool }) {
    const form = new Form({
      schema: null,
      value: given ?? Object.create(null),
      label: `Arguments of ${visible(tool)}`,
      onChange: () => this.labelApproval(),
    });
    this.editor = h(
      "details",
      { class: "will-run-editor" },
      h("summary", {}, "Change the arguments first"),
      h(
        "p",
        { class: "field-help" },
        "All arguments are sent as they stand here: put in what is hidden or cut as well.",
      ),
      form.el,
    );
    return form;
  }

  get isChanged() {
    return this.form !== null && !isSameJson(this.form.value, this.row.question.arguments ?? {});
  }

  labelApproval() {
    const tool = visible(this.row.question.tool);
    this.approveButton.textContent = this.isChanged
      ? `Approve and run ${tool} with your arguments`
      : `Approve and run ${tool}`;
  }

  approve() {
    if (this.form?.broken) return this.form.body.querySelector("[data-broken]").focus();
    const answer = { approved: true };
    if (this.isChanged) answer.arguments = this.form.value;
    this.send(writeJson(answer));
  }

  refuse() {
    this.send(writeJson({ approved: false, reason: this.reason.value }));
  }

  showProblems(mistakes) {
    this.problem.hidden = false;
    this.problem.textContent = mistakes
      .map(({ where, what }) => `${where.replace("/answer", "")} ${what}`.trim())
      .map(visible)
      .join(" · ");
    if (this.form) this.editor.open = true;
  }
}
