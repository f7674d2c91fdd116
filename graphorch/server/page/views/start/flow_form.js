// A new run: its input as a form, what it may spend, and what it needs, renewed as the input changes.
import { Form } from "../../forms/form.js";
import { enable, h, isEnabled } from "../../parts/elements.js";
import { icon } from "../../parts/icons.js";
import { isNumeral, writeJson } from "../../parts/json.js";
import { Pulse } from "../../parts/pulse.js";
import { note } from "../../parts/states.js";
import { inline, visible } from "../../parts/text.js";
import { estimateGaps, estimateTable, estimateWords } from "./estimate.js";
import { FlowPicture } from "./flow_picture.js";

export class FlowForm {
  static async open(context, name) {
    const page = await context.api.get(`/flows/${encodeURIComponent(name)}`, {}, { isExact: true });
    return new FlowForm(context, page);
  }

  constructor(context, page) {
    Object.assign(this, { context, page, name: page.row.name });
    this.title = `Start ${page.row.name}`;
    this.base = `/flows/${encodeURIComponent(this.name)}`;
    this.picture = new FlowPicture(context.api, this.name, "TB");
    this.form = new Form({
      schema: page.schema,
      value: page.sample ?? undefined,
      label: "Input",
      onChange: () => this.changed(),
    });
    this.pulse = new Pulse(() => this.check());
    this.budget = h("input", {
      type: "text",
      class: "field",
      id: "start-budget",
      inputmode: "decimal",
      autocomplete: "off",
      placeholder: "no limit of its own",
      oninput: () => this.changed(),
    });
    this.model = h("input", {
      type: "text",
      class: "field",
      id: "start-model",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: context.about?.model || "the models of the flow",
      oninput: () => this.changed(),
    });
    this.tags = h("input", {
      type: "text",
      class: "field",
      id: "start-tags",
      autocomplete: "off",
      placeholder: "customer=acme, kind=trial",
      oninput: () => this.changed(),
    });
    this.words = h("div", { class: "form-words", role: "alert" });
    this.estimate = h("div", { class: "start-estimate" });
    this.brief = h("span", { class: "muted", "aria-live": "polite" });
    this.button = h(
      "button",
      { type: "button", class: "button primary", onclick: () => this.start() },
      "Start the run",
    );
    this.el = this.build();
    this.showEstimate(page.estimate);
    this.pulse.ask();
  }

  close() {
    this.pulse.close();
    this.picture.close();
  }

  build() {
    const { row } = this.page;
    const isReadOnly = this.context.about?.read_only ?? true;
    enable(this.button, !isReadOnly);
    return h(
      "div",
      { onkeydown: (event) => this.typed(event) },
      h(
        "div",
        { class: "page-head" },
        h(
          "a",
          { class: "back", href: "#/start", "aria-label": "All flows", title: "All flows" },
          icon("left"),
        ),
        h("h1", {}, "Start ", inline(row.name)),
      ),
      row.about ? h("p", { class: "flow-about" }, visible(row.about)) : null,
      h(
        "div",
        { class: "start-body" },
        h(
          "section",
          { class: "pane start-input", "aria-label": "Input" },
          h(
            "div",
            { class: "pane-head" },
            h("h2", {}, "Input"),
            h(
              "span",
              { class: "muted small" },
              this.page.sample ? "filled in with the sample of the flow" : "",
            ),
          ),
          h("div", { class: "start-form" }, this.form.el),
        ),
        h(
          "div",
          { class: "start-side" },
          h(
            "section",
            { class: "pane start-act", "aria-label": "The run" },
            option("start-budget", "Budget in US dollars", this.budget),
            option("start-model", "Model of every agent", this.model),
            option("start-tags", "Tags", this.tags),
            this.estimate,
            this.words,
            h("div", { class: "start-go" }, this.button, this.brief),
          ),
          this.picture.el,
        ),
      ),
    );
  }

  typed(event) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    this.start();
  }

  // ---- checking ---------------------------------------------------------------------------------
  changed() {
    this.words.replaceChildren();
    this.pulse.ask();
  }

  async check() {
    if (this.form.broken) return;
    const { text } = this.form;
    const body = `{"input":${text},"model":${JSON.stringify(this.model.value.trim())}}`;
    try {
      const found = await this.context.api.post(`${this.base}/check`, body);
      if (text !== this.form.text) return; // asked for anew already
      this.showEstimate(found.estimate);
      // What a person has not come to yet is no mistake before the button is pressed.
      this.form.showProblems(found.mistakes, "/input", { isEager: this.hasTried });
    } catch (problem) {
      this.say(problem);
    }
  }

  showEstimate(estimate) {
    this.brief.textContent = estimateWords(estimate);
    this.estimate.replaceChildren(estimateTable(estimate), estimateGaps(estimate.unbounded) ?? "");
  }

  // ---- beginning --------------------------------------------------------------------------------
  async start() {
    if (!isEnabled(this.button)) return;
    this.hasTried = true;
    if (this.form.broken) return this.form.body.querySelector("[data-broken]").focus();
    const body = this.buildBody();
    if (body === null) return;
    enable(this.button, false);
    try {
      const headers = { "Idempotency-Key": this.keyOf(body) };
      const begun = await this.context.api.post(`${this.base}/runs`, body, { headers });
      this.context.go({ path: ["runs", begun.run_id] });
    } catch (problem) {
      this.fail(problem);
    } finally {
      enable(this.button, true);
    }
  }

  // The same request has the same key, so that it begins one run however often it is sent.
  keyOf(body) {
    if (this.sent !== body) {
      this.sent = body;
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      this.key = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return this.key;
  }

  buildBody() {
    const parts = [`"input":${this.form.text}`];
    const budget = this.budget.value.trim();
    if (budget && !isNumeral(budget))
      return this.refuse("The budget is a number of US dollars, such as 0.50.", this.budget);
    if (budget) parts.push(`"budget":{"usd":${budget}}`);
    const model = this.model.value.trim();
    if (model) parts.push(`"model":${JSON.stringify(model)}`);
    const tags = this.readTags();
    if (tags === null)
      return this.refuse("A tag is a name and a value, such as customer=acme.", this.tags);
    if (Object.keys(tags).length) parts.push(`"tags":${writeJson(tags)}`);
    return `{${parts.join(",")}}`;
  }

  readTags() {
    const tags = Object.create(null);
    for (const part of this.tags.value.split(",").map((each) => each.trim())) {
      const at = part.indexOf("=");
      if (part && at < 1) return null;
      if (part) tags[part.slice(0, at).trim()] = part.slice(at + 1).trim();
    }
    return tags;
  }

  refuse(words, input) {
    this.words.replaceChildren(note("bad", h("span", {}, words)));
    input.focus();
    return null;
  }

  fail(problem) {
    const mistakes = problem.fields?.mistakes ?? [];
    const ofInput = mistakes.filter(({ where }) => where.startsWith("/input"));
    const others = mistakes.filter(({ where }) => !where.startsWith("/input"));
    const first = this.form.showProblems(ofInput, "/input");
    if (!mistakes.length) return this.say(problem);
    this.words.replaceChildren(
      note(
        "bad",
        h(
          "span",
          {},
          ofInput.length ? "The input does not fit. Nothing was begun." : "Nothing was begun.",
        ),
      ),
      ...others.map(({ where, what }) => note("bad", inline(`${where} ${what}`))),
    );
    first?.focus();
  }

  say(problem) {
    this.words.replaceChildren(note("bad", inline(problem.message)));
  }
}

const option = (id, words, input) =>
  h("div", { class: "form-field" }, h("label", { class: "field-label", for: id }, words), input);
