// One session on the page: its buttons, questions, picture, timeline and facts.
class Panel {
  constructor(model, number) {
    this.model = model;
    this.number = number;
    this.record = model.record; // of an exported page, which has no kernel
    this.isRecord = !!model.record;
    this.nodes = model.get("nodes");
    this.lines = model.get("lines");
    this.selected = null; // a box
    this.at = null; // an entry of the timeline, or the newest one
    this.detail = null;
    this.build();
  }

  send(command, more = {}) {
    this.model.send({ command, panel: this.number, ...more });
  }

  // ---- the parts that stay ---------------------------------------------------------------------
  build() {
    const press = (command) => { if (isEnabled(this.buttons[command])) this.send(command); };
    const button = (command, word, hint, key) => h("button", { type: "button", title: `${hint} (${key})`, "data-command": command, onclick: () => press(command) }, word);
    this.buttons = {
      back: button("back", "← Back", "Undo the last step", "b"),
      step: button("step", "Step", "Run the next node; a sub-flow or map as a whole", "s"),
      into: button("into", "Into", "Run the next node; of a sub-flow or map only the entry", "i"),
      go: button("go", "Continue", "Run on to the next breakpoint, or to the end", "c"),
      pause: button("pause", "Pause", "Stop after the step that runs", "p"),
      fork: button("fork", "Fork", "A second session that stands here, beside this one", "f"),
    };
    this.help = h("button", { type: "button", class: "gs-quiet", title: "Keys (?)", "aria-label": "keys", "aria-expanded": "false", onclick: () => this.toggleKeys() }, "?");
    this.drop = h("button", { type: "button", class: "gs-quiet", "data-action": "drop", title: "Take this one off the page", "aria-label": "take this one off the page", onclick: () => this.send("drop") }, "×");
    this.head = h("div", { class: "gs-head" });
    this.status = h("span", { class: "gs-status", role: "status", "aria-live": "polite" });
    this.figures = h("span", { class: "gs-figures" });
    this.keys = h("p", { class: "gs-keys gs-words", hidden: "" }, this.isRecord ? PICTURE_KEYS : `${STEP_KEYS} ${PICTURE_KEYS}`);
    this.kept = h("div", { class: "gs-kept", role: "status", hidden: "" });
    this.dead = h("div", { class: "gs-dead", role: "alert", hidden: "" });
    this.notice = h("div", { class: "gs-notice", role: "alert", hidden: "" });
    this.texts = h("div", { class: "gs-texts", hidden: "" });
    this.groups = h("div", { class: "gs-groups" });
    this.question = h("div", { class: "gs-questions" });
    this.el = h("section", { class: "gs-panel" });
    this.picture = new Picture(this);
    this.viewport = new Viewport(this.picture.el);
    this.timeline = new Timeline(this);
    this.facts = new Facts(this);
    this.el.append(
      this.head,
      h("div", { class: "gs-bar", role: "toolbar", "aria-label": "steps" }, ...(this.isRecord ? [] : Object.values(this.buttons)), this.status, this.figures, this.help, this.isRecord ? null : this.drop),
      this.keys, this.dead, this.kept, this.notice, this.texts, this.groups, this.question,
      h("div", { class: "gs-columns" }, this.viewport.el, h("div", { class: "gs-left" }, h("h4", {}, "Timeline"), this.timeline.el), this.facts.el),
    );
  }

  toggleKeys() {
    this.keys.hidden = !this.keys.hidden;
    this.help.setAttribute("aria-expanded", String(!this.keys.hidden));
  }

  // ---- what changes --------------------------------------------------------------------------------
  show(view) {
    const isOtherStep = !this.view || view.steps !== this.view.steps || this.last !== JSON.stringify(view.step);
    this.view = view;
    if (isOtherStep) {
      this.at = null;
      this.detail = null;
    }
    this.last = JSON.stringify(view.step);
    this.showHead();
    this.showBar();
    this.showGroups();
    this.showQuestions();
    this.picture.show(view, this.selected);
    this.viewport.update();
    this.showTimeline();
    this.facts.show();
    this.el.dataset.status = view.status;
    this.el.dataset.steps = view.steps;
    this.el.dataset.moved = String(!!view.moved);
  }

  showHead() {
    const { view } = this;
    this.el.setAttribute("aria-label", `${view.name} of ${view.flow}`);
    this.head.replaceChildren(
      h("b", { class: "gs-name" }, view.name), " of ", h("b", {}, view.flow),
      h("span", { class: "gs-run" }, " · run ", h("code", { title: view.run }, this.isRecord ? view.run : view.run.slice(0, 8))),
      view.origin ? h("span", { class: "gs-origin" }, ` · ${view.origin}`) : "",
    );
  }

  get isLive() {
    return !this.isRecord && !this.isDead && !this.view.moved && this.view.status !== "closed";
  }

  get canRun() {
    return this.isLive && !!this.view.next && this.view.status !== "running";
  }

  showBar() {
    const { view } = this;
    const isRunning = view.status === "running";
    enable(this.buttons.back, this.isLive && view.steps > 0 && !isRunning);
    for (const name of ["step", "into", "go"]) enable(this.buttons[name], this.canRun);
    enable(this.buttons.pause, this.isLive && isRunning);
    enable(this.buttons.fork, this.isLive && !isRunning);
    this.drop.hidden = !this.number;
    const where = view.running ? `running ${view.running}` : view.next && view.status !== "closed" ? `next: ${view.next}` : "";
    const why = view.stopped && !view.running ? `stopped ${view.stopped}` : "";
    this.status.replaceChildren(h("b", { class: `gs-chip gs-${view.status}` }, view.status), ` ${[where, why].filter(Boolean).join(" · ")}`);
    this.figures.textContent = [plural(view.steps, "step"), ...figures(view)].join(" · ");
    this.notice.textContent = view.notice;
    this.notice.hidden = !view.notice;
    if (!isRunning) this.showTexts({});
    this.kept.hidden = !view.moved;
    if (!view.moved) return;
    const { steps, status, next } = view.moved;
    const now = [plural(steps, "step"), status, next && status !== "closed" ? `next: ${next}` : ""].filter(Boolean).join(", ");
    const follow = h("button", { type: "button", "data-action": "follow", "data-key": "follow", onclick: () => this.send("follow") }, "Follow");
    if (this.isDead) follow.hidden = true;
    replaceChildren(this.kept, [h("span", {}, `This is what the cell showed, after ${plural(view.steps, "step")}. The session went on: ${now}.`), follow]);
  }

  showGroups() {
    const { groups } = this.view;
    this.groups.hidden = !groups.length || !this.isLive;
    replaceChildren(
      this.groups,
      groups.map((group) =>
        h(
          "button",
          {
            type: "button", class: "gs-quiet", "aria-expanded": String(!group.closed), "data-group": group.path, "data-key": `group ${group.path}`,
            title: group.closed ? "Open it in the picture" : "Close it in the picture", onclick: () => this.fold(group.path),
          },
          `${group.closed ? "▸" : "▾"} ${group.path}`,
        ),
      ),
    );
  }

  // The answers that models are writing, by the path of their node.
  showTexts(texts) {
    const shown = Object.entries(texts);
    this.texts.hidden = !shown.length;
    this.texts.replaceChildren(...shown.map(([path, text]) => h("div", {}, h("span", { class: "gs-role" }, path), h("pre", {}, text))));
    for (const text of this.texts.querySelectorAll("pre")) text.scrollTop = text.scrollHeight;
  }

  // Says that nobody answers; without words, that somebody does.
  showDead(words) {
    if (this.isDead === !!words && this.dead.textContent === words) return;
    this.isDead = !!words;
    this.dead.textContent = words;
    this.dead.hidden = !words;
    this.el.classList.toggle("gs-is-dead", this.isDead);
    this.asked = null;
    this.show(this.view);
  }

  showTimeline() {
    this.timeline.show(this.view, this.at);
  }

  // ---- what is done on the page ----------------------------------------------------------------------
  select(path) {
    this.selected = path;
    this.facts.pinning = false;
    this.picture.show(this.view, path);
    this.viewport.update();
    this.facts.show();
  }

  look(at, box) {
    const isNewest = at === this.view.steps - 1;
    this.at = isNewest ? null : at;
    this.detail = isNewest ? null : (this.record?.details[at] ?? null);
    this.selected = this.picture.boxes.has(box) ? box : null;
    if (this.at !== null && !this.detail) this.send("detail", { at });
    this.picture.show(this.view, this.selected);
    this.viewport.update();
    this.showTimeline();
    this.facts.show();
  }

  breakAt(path) {
    if (this.isLive) this.send("break", { box: path });
  }

  breakOn(line) {
    if (this.isLive) this.send("break", { line });
  }

  fold(path) {
    if (this.isLive) this.send("fold", { path });
  }

  askItems(first, last) {
    if (this.isRecord) queueMicrotask(() => this.timeline.take(first, this.record.items[first]));
    else this.send("items", { first, last });
  }

  take(message) {
    if (message.items) this.timeline.take(message.first, message.items);
    if (message.texts) this.showTexts(message.texts);
    if (message.detail && message.at === this.at) {
      this.detail = message.detail;
      this.facts.show();
    }
  }

  // ---- questions -----------------------------------------------------------------------------------
  showQuestions() {
    const { questions } = this.view;
    const key = JSON.stringify([questions, this.isLive]);
    if (key === this.asked) return; // what a person types stays
    this.asked = key;
    this.question.hidden = !questions.length;
    this.question.replaceChildren(...questions.map((question) => (this.isLive ? (question.tool ? this.decision(question) : this.form(question)) : h("div", { class: "gs-question" }, this.asks(question)))));
  }

  asks(question) {
    return h("p", {}, h("b", {}, question.path), question.waits ? " waits for " : " asks: ", h("span", { class: "gs-text" }, question.text), this.until(question));
  }

  until(question) {
    return question.until ? ` (until ${question.until})` : "";
  }

  skip(question) {
    return h("button", { type: "button", "data-skip": question.path, onclick: () => this.send("skip", { question: question.id }) }, "Let its time come");
  }

  form(question) {
    const inputs = question.fields.map((field) => [field, this.input(field)]);
    const give = () => {
      const values = {};
      for (const [field, input] of inputs) {
        const value = field.kind === "flag" ? input.checked : input.value;
        if (field.kind === "flag" || value !== "") values[field.name] = { kind: field.kind, value };
      }
      if (question.waits) this.send("signal", { signal: question.signal, key: question.key, values });
      else this.send("answer", { question: question.id, values });
    };
    const buttons = [];
    if (!question.waits || question.signal) buttons.push(h("button", { type: "submit" }, question.waits ? "Send" : "Answer"));
    if (question.is_timed) buttons.push(this.skip(question));
    return h(
      "form",
      { class: "gs-question", "data-question": question.path, onsubmit: (event) => { event.preventDefault(); give(); } },
      this.asks(question),
      ...inputs.map(([field, input]) => h("label", { title: `${field.type} ${field.hint}` }, `${field.name} `, input)),
      ...buttons,
    );
  }

  // A call of a tool: approved as it is or with other arguments, refused, or answered instead.
  decision(question) {
    const lines = question.arguments.split("\n").length;
    const area = h("textarea", { name: "arguments", rows: Math.min(8, lines), value: question.arguments, "aria-label": `arguments of ${question.path}` });
    const words = h("input", { type: "text", name: "words", placeholder: "reason, or answer", "aria-label": `reason to refuse, or answer instead of ${question.tool}` });
    const give = (decision) => {
      const changed = area.value === question.arguments ? null : area.value;
      this.send("decide", { question: question.id, decision, arguments: changed, words: words.value });
    };
    return h(
      "form",
      { class: "gs-question gs-decision", "data-question": question.path, onsubmit: (event) => { event.preventDefault(); give("approve"); } },
      h("p", {}, h("b", {}, question.path), ` asks: may it call ${question.tool}${this.until(question)} with`),
      area,
      h("button", { type: "submit" }, "Approve"),
      words,
      h("button", { type: "button", "data-decision": "refuse", onclick: () => give("refuse") }, "Refuse"),
      h("button", { type: "button", "data-decision": "answer", onclick: () => give("answer") }, "Answer instead"),
      ...(question.is_timed ? [this.skip(question)] : []),
    );
  }

  input(field) {
    if (field.kind === "flag") return h("input", { type: "checkbox", name: field.name, checked: field.value === true });
    return h("input", { type: "text", name: field.name, value: field.value, placeholder: field.type });
  }
}
