// What is known of the chosen step, of the state, of the chosen node, and of the difference from the session that a fork comes from.
class Facts {
  constructor(panel) {
    this.panel = panel;
    this.open = { prompts: false };
    this.editing = null;
    this.el = h("div", { class: "gs-facts" });
  }

  show() {
    if (this.editing && focused(this.el)) return; // what a person types stays
    this.editing = null;
    const { view, at, detail, selected } = this.panel;
    const step = at === null ? view.step : detail;
    const parts = [];
    if (selected) parts.push(this.nodeFacts(selected));
    if (view.difference) parts.push(this.section("difference", "Difference from the other session", this.differenceFacts(view.difference)));
    if (step) parts.push(this.section("changed", `${at === null ? "Last step" : `Step ${step.at + 1}`}: ${step.path}`, this.stepFacts(step)));
    if (step?.calls.length) parts.push(this.section("calls", plural(step.calls.length, "model call"), step.calls.map((call) => this.callFacts(call))));
    if (view.inside) parts.push(this.section("inside", `State inside ${view.inside.path}`, [this.table(view.inside.state, false)]));
    parts.push(this.section("state", at === null ? "State" : "State now", [this.table(view.state, true)]));
    parts.push(this.breakpointFacts());
    replaceChildren(this.el, parts);
  }

  section(name, title, content) {
    const made = h("details", { class: `gs-section gs-section-${name}`, open: this.open[name] ?? true }, h("summary", { "data-key": `section ${name}` }, title), ...content);
    made.addEventListener("toggle", () => { this.open[name] = made.open; });
    return made;
  }

  // Buttons that change the session, which a record and an older step do not have.
  get canChange() {
    return !this.panel.isRecord && !this.panel.view.moved && !["running", "closed"].includes(this.panel.view.status);
  }

  stepFacts(step) {
    const words = [step.kind];
    if (step.how !== "ran") words.push(step.how);
    words.push(seconds(step.seconds));
    if (step.to.length) words.push(`→ ${step.to.join(", ")}`);
    return [
      h("p", { class: "gs-words" }, words.join(" · ")),
      step.arguments ? h("p", { class: "gs-words" }, `called ${step.tool} with`) : null,
      step.arguments ? h("pre", {}, step.arguments) : null,
      step.error ? h("pre", { class: "gs-error" }, step.error) : null,
      step.changed.length ? changes(step.changed) : step.kind === "done" ? h("p", { class: "gs-words" }, "It wrote nothing.") : null,
      this.canChange && !step.tool && ["done", "handled"].includes(step.kind) ? this.rerunForm(step) : null,
    ];
  }

  rerunForm(step) {
    const isAgent = this.panel.nodes[step.box]?.kind === "agent";
    const model = isAgent ? h("input", { type: "text", placeholder: "same model", "aria-label": "model", "data-key": "rerun model", value: this.model ?? "", oninput: (event) => { this.model = event.target.value; } }) : null;
    const rerun = (event) => {
      event.preventDefault();
      this.panel.send("rerun", { at: step.at, model: model?.value ?? "" });
    };
    return h("form", { class: "gs-rerun", onsubmit: rerun }, model, h("button", { type: "submit", "data-action": "rerun", "data-key": "rerun", title: "Run this step again in a session beside this one" }, "Rerun beside"));
  }

  callFacts(call) {
    const words = [];
    if (call.error === "") {
      words.push(`${call.input} tokens in${call.cached ? ` (${call.cached} cached)` : ""}, ${call.output} out${call.estimated ? ", estimated" : ""}`);
      words.push(call.unpriced ? cost(call) : call.usd ? `${dollars(call.usd)} (${call.priced})` : call.priced, seconds(call.seconds));
      if (call.note) words.push(call.note);
    } else if (call.usd || call.unpriced) words.push(cost(call));
    const message = (role, text, kind = "") => h("div", { class: `gs-message ${kind}` }, h("span", { class: "gs-role" }, role), h("pre", {}, text));
    return h(
      "div",
      { class: "gs-call" },
      h("p", { class: "gs-words" }, h("b", {}, call.model), ` · ${words.join(" · ")}`),
      ...call.messages.map((item) => message(item.role, item.text)),
      call.error ? h("pre", { class: "gs-error" }, call.error) : message("answer", call.answer, "gs-answer"),
      call.decision ? h("details", { class: "gs-decision" }, h("summary", {}, "Why this model"), h("pre", {}, call.decision)) : null,
    );
  }

  differenceFacts(difference) {
    const line = (name, text) => h("tr", {}, h("th", {}, name), h("td", {}, text));
    const list = (paths) => paths.join(", ");
    const prompts = difference.prompts.map((prompt) =>
      h(
        "div",
        { class: "gs-prompt" },
        h("p", { class: "gs-words" }, h("b", {}, prompt.call), prompt.old_model === prompt.new_model ? ` · ${prompt.new_model}` : ` · ${prompt.old_model || "no call"} → ${prompt.new_model || "no call"}`),
        prompt.before === prompt.after ? h("p", { class: "gs-words" }, "the same prompt") : lineChanges(prompt.before, prompt.after),
      ),
    );
    return [
      h(
        "table",
        { class: "gs-difference" },
        line("ran here", list(difference.ran) || "nothing yet"),
        difference.only_new.length ? line("only here", list(difference.only_new)) : null,
        difference.only_old.length ? line("only there", list(difference.only_old)) : null,
        line("cost", difference.unpriced && !difference.usd ? "price unknown" : `${signed(difference.usd, dollars)}${difference.unpriced ? " and calls of unknown price" : ""}`),
        line("time", signed(difference.seconds, seconds)),
        difference.fields.length ? null : line("state", "no difference"),
        prompts.length ? null : line("prompts", "no difference"),
      ),
      difference.fields.length ? changes(difference.fields) : null,
      ...prompts,
    ];
  }

  table(fields, isEditable) {
    const rows = fields.map((field) => {
      const value = h("td", { class: "gs-value" });
      const show = () => {
        value.replaceChildren(h("pre", { class: field.set ? "" : "gs-unset" }, field.set || field.value ? field.value : "not assigned"));
        if (isEditable && this.canChange && !field.cut) {
          value.append(h("button", { type: "button", class: "gs-quiet gs-edit", "data-edit": field.name, "data-key": `edit ${field.name}`, "aria-label": `edit ${field.name}`, title: `Change ${field.name} as if the last step had written it`, onclick: edit }, "edit"));
        }
      };
      const edit = () => {
        const area = h("textarea", { value: field.value, rows: Math.min(8, 1 + field.value.split("\n").length), "aria-label": field.name });
        const done = () => {
          this.editing = null;
          show();
          value.querySelector("[data-edit]")?.focus({ preventScroll: true });
        };
        const save = () => {
          this.panel.send("edit", { name: field.name, value: area.value, plain: field.plain });
          done();
        };
        area.addEventListener("keydown", (event) => {
          if (event.key === "Escape") done();
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
        });
        this.editing = field.name;
        value.replaceChildren(area, h("div", {}, h("button", { type: "button", class: "gs-save", title: "Ctrl+Enter", onclick: save }, "Save"), h("button", { type: "button", class: "gs-quiet", title: "Escape", onclick: done }, "Cancel"), h("span", { class: "gs-words" }, field.plain ? "text" : "JSON")));
        area.focus();
      };
      show();
      return h("tr", { class: field.changed ? "gs-is-changed" : "", "data-field": field.name }, h("th", { title: field.type }, field.name), value);
    });
    return h("table", { class: "gs-state" }, ...rows);
  }

  // ---- the chosen node -----------------------------------------------------------------------------
  nodeFacts(path) {
    const node = this.panel.nodes[path];
    const { view } = this.panel;
    const isBroken = view.breakpoints.some((item) => item.box === path);
    const pinned = view.pins[path];
    const content = [];
    const facts = [node.kind, node.reads.length ? `reads ${node.reads.join(", ")}` : "", node.doc].filter(Boolean).join(" · ");
    content.push(h("p", { class: "gs-words" }, facts));
    const action = (name, words, act) => h("button", { type: "button", "data-action": name, "data-key": name, onclick: act }, words);
    if (this.canChange) {
      const until = action("until", "Run to here", () => this.panel.canRun && this.panel.send("until", { box: path }));
      enable(until, this.panel.canRun);
      const lines = Object.entries(this.panel.lines).filter(([, ends]) => ends[0] === path);
      content.push(
        h(
          "div",
          { class: "gs-actions" },
          action("break", isBroken ? "Remove breakpoint" : "Break here", () => this.panel.breakAt(path)),
          until,
          node.writes.length ? action("pin", pinned ? "Change pin" : "Pin an output", () => { this.pinning = !this.pinning; this.show(); }) : null,
          pinned ? action("unpin", "Unpin", () => this.panel.send("pin", { box: path, values: null })) : null,
          node.opens ? action("fold", "Open or close", () => this.panel.fold(path)) : null,
        ),
        lines.length
          ? h("div", { class: "gs-actions gs-lines" }, h("span", { class: "gs-words" }, "break on the way to"), ...lines.map(([line, ends]) => {
            const isOn = view.breakpoints.some((item) => item.lines.includes(line));
            return h("button", { type: "button", "data-key": `line ${line}`, "aria-pressed": String(isOn), onclick: () => this.panel.breakOn(line) }, ends[1]);
          }))
          : null,
      );
    }
    if (pinned) content.push(h("table", { class: "gs-state" }, ...Object.entries(pinned).map(([name, value]) => h("tr", {}, h("th", {}, name), h("td", {}, h("pre", {}, value))))));
    if (this.pinning && this.canChange) content.push(this.pinForm(path, node, pinned));
    return this.section("node", `Node ${path}`, content.filter(Boolean));
  }

  pinForm(path, node, pinned) {
    const known = Object.fromEntries(this.panel.view.state.map((field) => [field.name, field.set ? field.value : ""]));
    const inputs = node.writes.map((field) => [field.name, h("textarea", { rows: 2, name: field.name, value: pinned?.[field.name] ?? (known[field.name] || field.value), "aria-label": field.name, "data-key": `pin ${field.name}` })]);
    this.editing = path;
    const save = () => {
      this.pinning = false;
      this.editing = null;
      this.panel.send("pin", { box: path, values: Object.fromEntries(inputs.map(([name, input]) => [name, input.value])) });
    };
    return h(
      "div",
      { class: "gs-pin" },
      ...inputs.map(([name, input]) => h("label", {}, `${name} `, input)),
      h("button", { type: "button", class: "gs-save", "data-action": "save-pin", "data-key": "save-pin", onclick: save }, "Serve this from now on"),
    );
  }

  breakpointFacts() {
    const { view } = this.panel;
    if (this.panel.isRecord || view.moved) return null;
    const errors = view.breakpoints.some((item) => item.text === "on Exception");
    const list = view.breakpoints.map((item) =>
      h("li", {}, h("span", {}, item.text), h("button", { type: "button", class: "gs-quiet", title: "Remove it", "aria-label": `remove the breakpoint ${item.text}`, "data-key": `unbreak ${item.text}`, onclick: () => this.panel.send("unbreak", { text: item.text }) }, "×")),
    );
    return this.section("breakpoints", `Breakpoints: ${view.breakpoints.length}`, [
      h("label", { class: "gs-words" }, h("input", { type: "checkbox", "data-action": "errors", "data-key": "errors", checked: errors, onchange: () => this.panel.send("errors") }), " stop on errors"),
      list.length ? h("ul", { class: "gs-breakpoints" }, ...list) : h("p", { class: "gs-words" }, "Click the dot at a node's left edge or a line, or press x at a node."),
    ]);
  }
}

function changes(fields) {
  const rows = fields.map((field) =>
    field.before === "" ? h("tr", {}, h("th", {}, field.name), h("td", { colspan: 3 }, h("pre", { class: "gs-after" }, field.after))) :
    h("tr", {}, h("th", {}, field.name), h("td", {}, h("pre", { class: `gs-before ${field.before.length < 30 ? "gs-short" : ""}` }, field.before)), h("td", { class: "gs-arrow" }, "→"), h("td", {}, h("pre", { class: "gs-after" }, field.after))),
  );
  const columns = h("colgroup", {}, ...["name", "before", "arrow", "after"].map((name) => h("col", { class: `gs-col-${name}` })));
  return h("table", { class: "gs-changed" }, columns, ...rows);
}

// The lines in which two texts differ: the longest common subsequence of lines, by dynamic programming. Texts are cut to some thousand
// characters before they come here.
function lineChanges(before, after) {
  const [old, fresh] = [before.split("\n"), after.split("\n")];
  const common = Array.from({ length: old.length + 1 }, () => new Array(fresh.length + 1).fill(0));
  for (let i = old.length - 1; i >= 0; i--) for (let j = fresh.length - 1; j >= 0; j--) common[i][j] = old[i] === fresh[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
  const lines = [];
  for (let i = 0, j = 0; i < old.length || j < fresh.length; ) {
    if (i < old.length && j < fresh.length && old[i] === fresh[j]) {
      lines.push(h("span", {}, `  ${old[i]}\n`));
      i++;
      j++;
    } else if (i < old.length && (j === fresh.length || common[i + 1][j] >= common[i][j + 1])) lines.push(h("del", {}, `− ${old[i++]}\n`));
    else lines.push(h("ins", {}, `+ ${fresh[j++]}\n`));
  }
  return h("pre", { class: "gs-diff" }, ...lines);
}
