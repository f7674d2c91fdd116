// All open questions, the one that expires first at the top.
import { h, plural } from "../../parts/elements.js";
import { empty, failure, loading, note } from "../../parts/states.js";
import { inline, shortId } from "../../parts/text.js";
import { Questions } from "./questions.js";

export class InboxView {
  constructor(context) {
    this.context = context;
    this.title = "Inbox";
    this.words = h("p", { class: "muted" });
    this.unreadable = h("div", { class: "unreadable" });
    this.state = h("div", {});
    this.questions = new Questions(context, null);
    this.el = h(
      "div",
      { class: "page inbox" },
      h("div", { class: "page-head" }, h("h1", {}, "Inbox"), this.words),
      this.unreadable,
      this.state,
      this.questions.el,
    );
    this.state.append(loading("Loading the questions"));
    this.end = context.inbox.listen((inbox, problem) => this.showInbox(inbox, problem));
    this.keys = [
      { key: "j", words: "next question", act: () => this.questions.step(1) },
      { key: "k", words: "previous question", act: () => this.questions.step(-1) },
    ];
  }

  show() {
    this.context.inbox.ask();
  }

  close() {
    this.end();
    this.questions.close();
  }

  showInbox({ questions, unreadable }, problem = null) {
    const open = questions.filter((row) => row.answered_at === null);
    this.words.textContent = open.length
      ? `${plural(open.length, "question")} · first to expire at the top`
      : "";
    this.unreadable.replaceChildren(
      ...unreadable.map((run) =>
        note(
          "bad",
          h(
            "span",
            {},
            "Run ",
            inline(shortId(run.run_id)),
            " cannot be read, and may ask something: ",
            inline(run.text),
          ),
        ),
      ),
    );
    if (problem) this.state.replaceChildren(failure(problem, () => this.context.inbox.ask()));
    else if (questions.length || this.questions.hasCards) this.state.replaceChildren();
    else
      this.state.replaceChildren(
        empty(
          "Nothing waits for you",
          "Questions and approvals of all runs appear here as soon as they are asked.",
        ),
      );
  }
}
