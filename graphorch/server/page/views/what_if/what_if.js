// A run again from an activation on, with something changed: what would happen stands beside the
// button before anything does.
import { Form } from "../../forms/form.js";
import { enable, h, isEnabled } from "../../parts/elements.js";
import { icon } from "../../parts/icons.js";
import { isSameJson, writeJson } from "../../parts/json.js";
import { Pulse } from "../../parts/pulse.js";
import { failureOf, loading, note } from "../../parts/states.js";
import { inline, shortId } from "../../parts/text.js";
import { writeAddress } from "../../shell/address.js";
import { RunData } from "../run/run_data.js";
import { inferSchema } from "./fields.js";
import { previewBody, runWords } from "./preview.js";

const CHOICES = [
  ["model", "Another model", "It and all after it run again, and it asks the model that you name."],
  [
    "output",
    "Another output",
    "It is not run: it gives what you write, and what follows runs again.",
  ],
  ["again", "The same again", "It and all after it run again as they are."],
  [
    "fork",
    "A copy that stops here",
    "What came before is copied into a new run, which waits to be resumed.",
  ],
];

export class WhatIfView {
  constructor(context) {
    this.context = context;
    this.title = "What if";
    this.el = h("div", { class: "page what-if" });
  }

  show({ path, query }) {
    const [, id = ""] = path;
    const seq = Number(query.at);
    if (this.data?.id === id && this.seq === seq) return;
    this.seq = seq;
    this.open(new RunData(this.context.api, id));
  }

  close() {
    this.isClosed = true;
    this.pulse?.close();
  }

  async open(data) {
    this.data = data;
    this.el.replaceChildren(loading("Loading the run"));
    try {
      await Promise.all([data.readPage(), data.readMoments()]);
      const moment = data.momentAt(this.seq);
      const state = moment?.path
        ? await data.read("/state", { at: this.seq }, { isExact: true })
        : null;
      if (this.isClosed || data !== this.data) return;
      if (state) this.build(moment, state);
      else this.el.replaceChildren(this.buildNothing());
    } catch (problem) {
      if (data === this.data) this.el.replaceChildren(failureOf(problem, () => this.open(data)));
    }
  }

  buildNothing() {
    return h(
      "div",
      { class: "state" },
      h("p", { class: "state-title" }, "Nothing is selected to change"),
      h("p", { class: "muted" }, "Select an activation in the picture or the timeline of the run."),
      h(
        "a",
        { class: "button", href: writeAddress({ path: ["runs", this.data.id] }) },
        "To the run",
      ),
    );
  }

  // ---- what is changed --------------------------------------------------------------------------
  build(moment, state) {
    this.moment = moment;
    this.title = `What if: ${moment.path}`;
    document.title = `${this.title} · graphorch`;
    this.choice = "model";
    this.effects = "refuse";
    this.pulse?.close();
    this.pulse = new Pulse(() => this.preview());
    this.model = h("input", {
      type: "text",
      class: "field",
      id: "what-if-model",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "openai/gpt-5-mini",
      oninput: () => this.changed(),
    });
    this.before = Object.create(null);
    for (const { field, after } of state.changes) this.before[field] = after;
    this.form = new Form({
      schema: inferSchema(this.before, false),
      value: this.before,
      label: "Output",
      onChange: () => this.changed(),
    });
    this.outcome = h("div", { class: "what-if-outcome" }, loading("Asking what would happen", 4));
    this.words = h("div", { class: "form-words", role: "alert" });
    this.button = h(
      "button",
      { type: "button", class: "button primary", onclick: () => this.run() },
      "Run",
    );
    enable(this.button, false);
    this.detail = h("div", { class: "what-if-detail" });
    this.el.replaceChildren(
      this.buildHead(moment),
      h("div", { class: "start-body" }, this.buildChange(state.cut), this.buildOutcome()),
    );
    this.choose("model");
  }

  buildHead({ path, seq }) {
    const { row } = this.data.page;
    const back = writeAddress({ path: ["runs", this.data.id], query: { at: seq } });
    return h(
      "div",
      { class: "page-head" },
      h(
        "a",
        { class: "back", href: back, "aria-label": "Back to the run", title: "Back to the run" },
        icon("left"),
      ),
      h("h1", {}, "What if ", inline(path, { class: "mono" }), " had been different?"),
      h(
        "span",
        { class: "muted" },
        inline(row.flow),
        " ",
        h("span", { class: "mono" }, shortId(row.run_id)),
      ),
    );
  }

  buildChange(cut) {
    const radios = CHOICES.map(([name, words, about]) =>
      h(
        "label",
        { class: "choice" },
        h("input", {
          type: "radio",
          name: "what-if",
          value: name,
          checked: name === this.choice,
          onchange: () => this.choose(name),
        }),
        h("span", {}, h("strong", {}, words), h("span", { class: "muted small" }, about)),
      ),
    );
    this.cutNote = cut
      ? note(
          "warn",
          h(
            "span",
            {},
            "Long texts are cut here: a field that you change is sent as it stands in the form.",
          ),
        )
      : null;
    return h(
      "section",
      { class: "pane", "aria-label": "What is different" },
      h("div", { class: "pane-head" }, h("h2", {}, "What is different")),
      h(
        "div",
        { class: "start-form" },
        h(
          "fieldset",
          { class: "choices" },
          h("legend", { class: "visually-hidden" }, "What is different"),
          ...radios,
        ),
        this.detail,
      ),
    );
  }

  buildOutcome() {
    return h(
      "section",
      { class: "pane what-if-side", "aria-label": "What would happen" },
      h("div", { class: "pane-head" }, h("h2", {}, "What would happen")),
      h(
        "div",
        { class: "start-act" },
        this.outcome,
        this.words,
        h("div", { class: "start-go" }, this.button),
      ),
    );
  }

  choose(name) {
    this.choice = name;
    const detail = {
      model: () => [
        h(
          "div",
          { class: "form-field" },
          h("label", { class: "field-label", for: "what-if-model" }, "Model"),
          this.model,
        ),
      ],
      output: () =>
        Object.keys(this.before).length
          ? [this.cutNote, this.form.el]
          : [note("calm", h("span", {}, "It wrote nothing that could be changed."))],
    }[name];
    this.detail.replaceChildren(...(detail?.() ?? []).filter(Boolean));
    this.changed();
  }

  // The fields of the output that a person changed.
  changedFields() {
    const changed = Object.create(null);
    for (const [name, value] of Object.entries(this.form.value))
      if (!isSameJson(value, this.before[name])) changed[name] = value;
    return changed;
  }

  // Why nothing can be asked yet, "" if it can.
  get lacking() {
    if (this.choice === "model" && !this.model.value.trim())
      return "Name the model that it asks instead.";
    if (this.choice !== "output") return "";
    if (this.form.broken) return this.form.broken;
    return Object.keys(this.changedFields()).length ? "" : "Change a field of its output.";
  }

  buildBody(more = {}) {
    const body = { start: this.moment.path, ...more };
    if (this.choice === "model") body.model = this.model.value.trim();
    if (this.choice === "output") body.output = this.changedFields();
    return writeJson(body);
  }

  // ---- what would happen ------------------------------------------------------------------------
  changed() {
    this.isKnown = false;
    enable(this.button, false);
    this.words.replaceChildren();
    this.pulse.ask();
  }

  async preview() {
    const { lacking } = this;
    if (lacking) return this.outcome.replaceChildren(h("p", { class: "muted" }, lacking));
    const body = this.buildBody();
    try {
      const found = await this.context.api.post(`${this.data.base}/what-if`, body);
      if (this.isClosed || this.lacking || body !== this.buildBody()) return;
      this.form.clearProblems();
      this.showPreview(found);
    } catch (problem) {
      if (body === this.buildBody()) this.fail(problem);
    }
  }

  showPreview(found) {
    this.found = found;
    this.isKnown = true;
    const isFork = this.choice === "fork";
    this.outcome.replaceChildren(
      ...previewBody(found, {
        isFork,
        effects: this.effects,
        onEffects: (effects) => this.chooseEffects(effects),
      }),
    );
    this.button.replaceChildren(runWords(found, isFork, this.effects));
    this.enableButton();
  }

  chooseEffects(effects) {
    this.effects = effects;
    this.button.replaceChildren(runWords(this.found, this.choice === "fork", effects));
    this.enableButton();
  }

  enableButton() {
    const isRefused =
      this.choice !== "fork" && this.found.effects.length > 0 && this.effects === "refuse";
    const isReadOnly = this.context.about?.read_only ?? true;
    enable(this.button, this.isKnown && !isRefused && !isReadOnly);
  }

  fail(problem) {
    const mistakes = problem.fields?.mistakes;
    if (mistakes && this.choice === "output") {
      this.form.showProblems(mistakes, "/output");
      return this.outcome.replaceChildren(h("p", { class: "muted" }, "The output does not fit."));
    }
    this.outcome.replaceChildren(failureOf(problem));
  }

  // ---- doing it ---------------------------------------------------------------------------------
  async run() {
    if (!isEnabled(this.button)) return;
    enable(this.button, false);
    const isFork = this.choice === "fork";
    const body = isFork
      ? writeJson({ start: this.moment.path })
      : this.buildBody({ effects: this.effects });
    try {
      const headers = { "Idempotency-Key": this.keyOf(body) };
      const begun = await this.context.api.post(
        `${this.data.base}/${isFork ? "fork" : "rerun"}`,
        body,
        { headers },
      );
      this.context.go({ path: ["runs", begun.run_id] });
    } catch (problem) {
      this.words.replaceChildren(note("bad", inline(problem.message)));
      this.enableButton();
    }
  }

  // The same request has the same key, so that it begins one run however often it is sent.
  keyOf(body) {
    if (this.sent !== body) {
      this.sent = body;
      this.key = [...crypto.getRandomValues(new Uint8Array(16))].join("-");
    }
    return this.key;
  }
}
