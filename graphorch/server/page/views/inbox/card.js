// A question on a card: what is asked, what will run, and the answer.
import { changeOf } from "../../parts/changes.js";
import { chip } from "../../parts/chips.js";
import { enable, h, seconds } from "../../parts/elements.js";
import { costOf, moment, when } from "../../parts/figures.js";
import { isSameJson, writeJson } from "../../parts/json.js";
import { note } from "../../parts/states.js";
import { inline, shortId, visible } from "../../parts/text.js";
import { textOf, valueOf } from "../../parts/values.js";
import { writeAddress } from "../../shell/address.js";
import { AnswerForm } from "./answer_form.js";
import { Verdict } from "./verdict.js";

const KINDS = { question: "Question", approval: "Approval", call: "Call of a tool" };
const EFFECTS = {
  pure: ["calm", "changes nothing"],
  idempotent: ["warn", "acts on the world; twice is the same as once"],
  once: ["bad", "acts on the world, and must not act twice"],
};
const DRIVERS = {
  server: "The run goes on.",
  owner: "The run goes on in the process that drives it.",
  workers: "The run goes on as soon as a worker takes it.",
};
const SOON = 600; // seconds before it expires from which a question is marked

let made = 0;

export class QuestionCard {
  constructor(context, row, { isInRun, onGone }) {
    Object.assign(this, { context, isInRun, onGone });
    this.id = `question-${(made += 1)}`;
    this.el = h("article", {
      class: "question pane",
      tabindex: "-1",
      "aria-labelledby": `${this.id}:title`,
    });
    this.show(row);
  }

  // Another look at the same question: drawn anew only if something else is asked, or it can be
  // answered now.
  update(row) {
    const { answered_at: answeredAt, can_answer: canAnswer, question } = this.row;
    const isSame =
      row.question.digest === question.digest &&
      row.answered_at === answeredAt &&
      row.can_answer === canAnswer;
    if (this.isOver) return;
    if (isSame) this.cost.replaceChildren(...costWords(row));
    else
      this.show(
        row,
        row.question.digest === question.digest
          ? null
          : "What is asked has changed since you read it. This is what is asked now.",
      );
  }

  show(row, words = null) {
    this.row = row;
    this.isOver = false;
    this.expiry = h("span", { class: "question-expiry" });
    this.cost = h("span", {}, ...costWords(row));
    this.notes = h("div", { class: "question-notes", role: "alert" });
    this.body = h("div", { class: "question-body" });
    this.el.replaceChildren(this.buildHead(), this.body);
    if (words) this.notes.append(note("warn", h("span", {}, words)));
    this.body.append(this.notes, ...this.buildAsked(), this.buildAnswer());
    this.tick();
  }

  // ---- what is asked ----------------------------------------------------------------------------
  buildHead() {
    const { question, run_id: id, flow } = this.row;
    const where = this.isInRun
      ? null
      : h(
          "a",
          { class: "run-link", href: writeAddress({ path: ["runs", id] }), title: id },
          inline(flow),
          h("span", { class: "run-id mono" }, shortId(id)),
        );
    const place = h(
      "a",
      {
        class: "mono break",
        href: writeAddress({ path: ["runs", id], query: { at: question.seq } }),
      },
      inline(question.path),
    );
    return h(
      "div",
      { class: "question-head" },
      h(
        "h2",
        { id: `${this.id}:title`, class: "question-kind" },
        chip("asks", KINDS[question.kind]),
        where,
      ),
      h(
        "span",
        { class: "question-facts muted small" },
        place,
        h("span", {}, "asked ", when(question.asked_at)),
        this.cost,
        this.expiry,
      ),
    );
  }

  buildAsked() {
    const { question, previous } = this.row;
    const parts = [];
    // the arguments stand below, as what will run
    const given = question.arguments ? writeJson(question.arguments, 2) : "";
    const text = given ? question.text.replace(given, "").trim() : question.text;
    if (text) parts.push(textOf(text, { class: "question-text" }));
    if (question.kind === "call") parts.push(this.buildCall(question, previous));
    return parts;
  }

  buildCall(question, previous) {
    const isRepeat = previous !== null && previous !== undefined;
    return h(
      "div",
      { class: "will-run", role: "group", "aria-label": "What will run" },
      h(
        "div",
        { class: "will-run-head" },
        h("strong", { class: "mono break" }, visible(question.tool)),
        effectChip(question.effect),
        question.agent
          ? h(
              "span",
              { class: "muted small" },
              "called by ",
              inline(question.agent, { class: "mono" }),
            )
          : null,
      ),
      h("div", { class: "will-run-arguments" }, valueOf(question.arguments ?? {})),
      isRepeat ? this.buildPrevious(question, previous) : null,
    );
  }

  buildPrevious({ arguments: given, tool }, previous) {
    if (isSameJson(previous, given))
      return h("p", { class: "small muted" }, "The arguments are those of the call before.");
    const names = [...new Set([...Object.keys(previous), ...Object.keys(given ?? {})])];
    const changed = names.filter((name) => !isSameJson(previous[name], given?.[name]));
    return h(
      "details",
      { class: "small" },
      h(
        "summary",
        {},
        `Differs from the call of ${visible(tool)} before in ${changed.map(visible).join(", ")}`,
      ),
      h(
        "dl",
        { class: "fields" },
        ...changed.flatMap((name) => [
          h("dt", {}, inline(name)),
          h(
            "dd",
            {},
            changeOf(
              plainOf(previous[name]),
              plainOf(given?.[name]),
              Object.hasOwn(previous, name),
            ),
          ),
        ]),
      ),
    );
  }

  // ---- the answer -------------------------------------------------------------------------------
  buildAnswer() {
    const { row } = this;
    if (row.answered_at !== null)
      return note(
        "calm",
        h(
          "span",
          {},
          `Answered ${moment(row.answered_at)}. The run has not taken the answer in yet.`,
        ),
      );
    if (this.context.about?.read_only)
      return note(
        "calm",
        h(
          "span",
          {},
          "This server was started to read only: a question is answered by one that has the flow loaded.",
        ),
      );
    if (!row.can_answer) return note("warn", inline(row.problem || "It cannot be answered here."));
    const options = { row, send: (answer) => this.send(answer) };
    this.form = row.question.kind === "question" ? new AnswerForm(options) : new Verdict(options);
    return this.form.el;
  }

  // Sends the text of an answer, with the digest of what was read.
  async send(answer) {
    const { run_id: id, question } = this.row;
    if (this.isBusy) return;
    this.setBusy(true);
    const body = `{"question":${JSON.stringify(question.id)},"digest":${JSON.stringify(question.digest)},"answer":${answer}}`;
    try {
      const receipt = await this.context.api.post(`/runs/${encodeURIComponent(id)}/answers`, body);
      this.finish("good", DRIVERS[receipt.driver] ?? "The run goes on.", "Answered.");
    } catch (problem) {
      this.fail(problem);
    } finally {
      this.setBusy(false);
    }
    this.context.inbox.ask();
  }

  setBusy(isBusy) {
    this.isBusy = isBusy;
    this.el.setAttribute("aria-busy", String(isBusy));
    for (const button of this.el.querySelectorAll(".question-buttons .button"))
      enable(button, !isBusy);
  }

  fail(problem) {
    const { type, fields, message } = problem;
    if (problem.status === 410) return this.finish("warn", message, "Not answered.");
    if (type === "question-answered") return this.finish("warn", message, "Yours does not count.");
    if (type === "question-changed") return this.say("warn", message);
    if (fields?.mistakes) {
      this.say("bad", "The answer does not fit. Nothing was sent on.");
      return this.form.showProblems(fields.mistakes);
    }
    this.say("bad", message);
  }

  say(tone, words) {
    this.notes.replaceChildren(note(tone, inline(words)));
  }

  // The question is closed: what became of it, in place of what was asked.
  finish(tone, words, first) {
    this.isOver = true;
    const { run_id: id } = this.row;
    const gone = h(
      "button",
      { type: "button", class: "button small", onclick: () => this.onGone() },
      "Put away",
    );
    const link = this.isInRun
      ? null
      : h(
          "a",
          { class: "button small", href: writeAddress({ path: ["runs", id] }) },
          "Look at the run",
        );
    const strong = h("strong", {}, `${first} `);
    this.body.replaceChildren(
      h(
        "div",
        { class: "question-over", role: "status" },
        note(tone, h("span", {}, strong, inline(words))),
        h("div", { class: "question-buttons" }, link, gone),
      ),
    );
    this.expiry.textContent = "";
    this.el.classList.add("is-over");
    this.context.say(`${first} ${words}`);
    if (document.activeElement === document.body || this.el.contains(document.activeElement))
      this.el.focus();
  }

  // It is not among the open ones any more, and was not answered here.
  vanish() {
    if (this.isOver || this.isBusy) return;
    this.finish("warn", "It was answered elsewhere, expired, or was withdrawn.", "No longer open.");
  }

  tick() {
    const { expires } = this.row.question;
    if (expires === null || this.isOver) return;
    const left = expires - Date.now() / 1000;
    const words = left > 0 ? `expires in ${seconds(Math.max(1, Math.round(left)))}` : "expired";
    if (this.expiry.textContent !== words) this.expiry.textContent = words;
    this.expiry.title = moment(expires);
    this.expiry.classList.toggle("is-soon", left < SOON);
  }
}

const costWords = ({ usage }) =>
  usage.calls ? ["run so far ", costOf(usage)] : ["nothing spent so far"];

function effectChip(effect) {
  const [tone, words] = EFFECTS[effect] ?? ["calm", effect];
  return words
    ? h("span", { class: `chip tone-${tone} effect` }, effect ? `${effect}: ${words}` : words)
    : null;
}

// What the view of changes compares: values without exact numbers, which are texts there.
const plainOf = (value) =>
  value === undefined ? "" : typeof value === "string" ? value : JSON.parse(writeJson(value));
