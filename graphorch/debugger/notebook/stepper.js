// The stepper's page. Everything that a run holds arrives as text and is set as text: no value of a state, and no word of a model, is
// ever parsed as markup. The picture is the one exception: it is SVG that graphorch drew, in which all names are escaped.

const KEYS = { s: "step", i: "into", g: "go", c: "go", b: "back", p: "pause", f: "fork" };
const ENDED = ["succeeded", "partial", "failed", "stopped", "closed"];
const SVG = "http://www.w3.org/2000/svg";

function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "open") made[name] = value;
    else if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const seconds = (value) => (value < 0.9995 ? `${Math.round(value * 1000)} ms` : value < 100 ? `${value.toFixed(1)} s` : `${Math.round(value / 60)} min`);
const dollars = (value) => (value >= 0.01 ? `$${value.toFixed(3)}` : value >= 0.0001 ? `$${value.toFixed(4)}` : "<$0.0001");
const cost = (entry) => (entry.unpriced ? (entry.usd ? `${dollars(entry.usd)} and calls of unknown price` : "price unknown") : dollars(entry.usd));
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

class Panel {
  constructor(model, number, count) {
    this.model = model;
    this.number = number;
    this.selected = null; // a box
    this.at = null; // an entry of the timeline, or the newest one
    this.detail = null;
    this.open = { state: true, changed: true, calls: true };
    this.editing = null;
    this.svg = "";
    this.build(count);
  }

  send(command, more = {}) {
    this.model.send({ command, panel: this.number, ...more });
  }

  // ---- the parts that stay ---------------------------------------------------------------------
  build() {
    const button = (command, word, hint, key) => {
      const made = h("button", { type: "button", title: `${hint} (${key})`, "data-command": command, onclick: () => this.send(command) }, word);
      return made;
    };
    this.buttons = {
      back: button("back", "← Back", "Undo the last step", "b"),
      step: button("step", "Step", "Run the next node; a sub-flow or map as a whole", "s"),
      into: button("into", "Into", "Run the next node; of a sub-flow or map only the entry", "i"),
      go: button("go", "Continue", "Run on to the next breakpoint, or to the end", "c"),
      pause: button("pause", "Pause", "Stop after the step that runs", "p"),
      fork: button("fork", "Fork", "A second session that stands here, beside this one", "f"),
    };
    this.status = h("span", { class: "gs-status", role: "status", "aria-live": "polite" });
    this.figures = h("span", { class: "gs-figures" });
    this.drop = h("button", { type: "button", class: "gs-quiet", title: "Take this fork off the page", onclick: () => this.send("drop") }, "×");
    this.notice = h("div", { class: "gs-notice", role: "alert" });
    this.groups = h("div", { class: "gs-groups" });
    this.picture = h("div", { class: "gs-picture", tabindex: "-1" });
    this.question = h("div", { class: "gs-questions" });
    this.timeline = h("ol", { class: "gs-timeline", "aria-label": "what happened" });
    this.facts = h("div", { class: "gs-facts" });
    this.picture.addEventListener("click", (event) => this.pictureClicked(event));
    this.picture.addEventListener("dblclick", (event) => this.pictureOpened(event));
    this.el = h(
      "section",
      { class: "gs-panel", "aria-label": "step through a run" },
      h("div", { class: "gs-bar", role: "toolbar", "aria-label": "steps" }, ...Object.values(this.buttons), this.status, this.figures, this.drop),
      this.notice,
      this.groups,
      this.question,
      h("div", { class: "gs-columns" }, this.picture, h("div", { class: "gs-left" }, h("h4", {}, "Timeline"), this.timeline), this.facts),
    );
  }

  // ---- what changes --------------------------------------------------------------------------------
  show(view) {
    const grew = !this.view || view.first + view.history.length !== this.view.first + this.view.history.length || view.run !== this.view.run;
    this.view = view;
    if (grew || this.last !== JSON.stringify(view.step)) {
      this.at = null;
      this.detail = null;
    }
    this.last = JSON.stringify(view.step);
    this.showBar();
    this.showPicture();
    this.showQuestions();
    this.showTimeline();
    this.showFacts();
    this.el.dataset.status = view.status;
    this.el.dataset.steps = view.first + view.history.length;
  }

  showBar() {
    const view = this.view;
    const can = !!view.next && view.status !== "running" && view.status !== "closed";
    const steps = view.first + view.history.length;
    this.buttons.back.disabled = !steps || view.status === "running" || view.status === "closed";
    for (const name of ["step", "into", "go"]) this.buttons[name].disabled = !can;
    this.buttons.pause.disabled = view.status !== "running";
    this.buttons.fork.disabled = view.status === "running" || view.status === "closed";
    this.drop.hidden = !this.number;
    const where = view.running ? `running ${view.running}` : view.next && view.status !== "closed" ? `next: ${view.next}` : "";
    const why = view.stopped && !view.running ? `stopped ${view.stopped}` : "";
    this.status.replaceChildren(h("b", { class: `gs-chip gs-${view.status}` }, view.status), ` ${[where, why].filter(Boolean).join(" · ")}`);
    const figures = [plural(steps, "step")];
    if (view.tokens) figures.push(plural(view.tokens, "token"));
    if (view.usd || view.unpriced) figures.push(cost(view));
    this.figures.textContent = figures.join(" · ");
    this.notice.textContent = view.notice;
    this.notice.hidden = !view.notice;
    this.groups.hidden = !view.groups.length;
    this.groups.replaceChildren(
      ...view.groups.map((group) =>
        h(
          "button",
          {
            type: "button", class: "gs-quiet", "aria-expanded": String(!group.closed), "data-group": group.path,
            title: group.closed ? "Open it in the picture" : "Close it in the picture", onclick: () => this.send("fold", { path: group.path }),
          },
          `${group.closed ? "▸" : "▾"} ${group.path}`,
        ),
      ),
    );
  }

  showPicture() {
    if (this.view.svg !== this.svg) {
      this.svg = this.view.svg;
      this.draw(new DOMParser().parseFromString(this.svg, "image/svg+xml").documentElement);
    }
    const strip = (path) => path.replace(/\[\d+\](?=\/)/g, "");
    const shown = (path) => {
      for (let at = strip(path); at; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) if (this.boxes.has(at)) return at;
      return "";
    };
    const next = this.view.running || this.view.status === "closed" ? "" : shown(this.view.next);
    const broken = new Set(this.view.breakpoints.map((item) => item.box).filter(Boolean));
    const lines = new Set(this.view.breakpoints.flatMap((item) => item.lines));
    for (const [path, box] of this.boxes) {
      box.classList.toggle("gs-next", path === next);
      box.classList.toggle("gs-broken", broken.has(path));
      box.classList.toggle("gs-pinned", path in this.view.pins);
      box.classList.toggle("gs-selected", path === this.selected);
    }
    for (const line of this.picture.querySelectorAll("[data-line]")) line.classList.toggle("gs-broken", lines.has(line.dataset.line));
    if (next && next !== this.shown) this.reveal(this.boxes.get(next));
    this.shown = next;
  }

  // Scrolls the picture, and never the page.
  reveal(box) {
    const at = box.getBoundingClientRect();
    const room = this.picture.getBoundingClientRect();
    if (at.bottom > room.bottom || at.top < room.top) this.picture.scrollTop += at.top - room.top - room.height / 3;
    if (at.right > room.right || at.left < room.left) this.picture.scrollLeft += at.left - room.left - room.width / 3;
  }

  // The new picture in place of the old one. Where both have the same parts, only the parts that look different are exchanged: a browser
  // takes longer to lay out 200 boxes than everything else takes together. A part keeps the style sheet of the first picture, which has the
  // same rules.
  draw(fresh) {
    const parts = new Map();
    let texts = 0;
    for (const part of fresh.querySelectorAll(":scope > g > [data-box], :scope > g > [data-line], :scope > g > text")) {
      const name = part.dataset.box !== undefined ? `box ${part.dataset.box}` : part.dataset.line !== undefined ? `line ${part.dataset.line}` : `text ${texts++}`;
      parts.set(name, { part, source: part.outerHTML });
    }
    const known = this.parts;
    const isSame = known && known.size === parts.size && [...parts.keys()].every((name) => known.has(name));
    if (!isSame) {
      this.parts = parts;
      this.picture.replaceChildren(fresh);
      this.boxes = new Map();
      for (const { part } of parts.values()) this.equip(part);
      this.el.classList.toggle("gs-wide", fresh.viewBox.baseVal.width > 520);
      return;
    }
    for (const [name, { part, source }] of parts) {
      const old = known.get(name);
      if (old.source === source) continue;
      old.part.replaceWith(part);
      known.set(name, { part, source });
      this.equip(part);
    }
    const root = this.picture.firstElementChild;
    for (const attribute of ["width", "height", "viewBox"]) {
      if (root.getAttribute(attribute) !== fresh.getAttribute(attribute)) root.setAttribute(attribute, fresh.getAttribute(attribute));
    }
    const around = (picture) => [...picture.children].filter((child) => child.tagName !== "style" && !(child.tagName === "g" && child.querySelector(":scope > [data-box]")));
    const frame = around(fresh);
    const source = (children) => children.filter((child) => !["title", "desc"].includes(child.tagName)).map((child) => child.outerHTML).join();
    if (source(frame) === source(around(root))) return;
    around(root).forEach((child) => child.remove());
    root.querySelector(":scope > g").setAttribute("transform", fresh.querySelector(":scope > g").getAttribute("transform"));
    const canvas = frame.filter((child) => child.tagName === "rect");
    root.prepend(...canvas);
    root.append(...frame.filter((child) => !canvas.includes(child)));
  }

  equip(part) {
    const { box, line } = part.dataset;
    if (box !== undefined) this.boxes.set(box, part);
    if (box !== undefined && this.model.get("nodes")[box]) this.gutter(box, part);
    if (line !== undefined && this.model.get("lines")[line]) this.thicken(part);
  }

  gutter(path, box) {
    const shape = box.querySelector("rect.go_shape");
    if (!shape) return;
    const number = (name) => parseFloat(shape.getAttribute(name));
    const dot = document.createElementNS(SVG, "circle");
    dot.setAttribute("class", "gs-dot");
    dot.setAttribute("cx", number("x"));
    dot.setAttribute("cy", number("y") + number("height") / 2);
    dot.setAttribute("r", 6);
    const hint = document.createElementNS(SVG, "title");
    hint.textContent = `breakpoint at ${path}`;
    dot.append(hint);
    box.append(dot);
  }

  thicken(line) {
    const hit = line.querySelector(".go_way")?.cloneNode();
    if (!hit) return;
    hit.setAttribute("class", "gs-hit");
    line.append(hit);
  }

  pictureClicked(event) {
    const box = event.target.closest("[data-box]");
    const line = event.target.closest("[data-line]");
    if (box && event.target.closest(".gs-dot")) this.send("break", { box: box.dataset.box });
    else if (box && this.model.get("nodes")[box.dataset.box]) this.select(box.dataset.box);
    else if (line && this.model.get("lines")[line.dataset.line]) this.send("break", { line: line.dataset.line });
    else this.select(null);
  }

  pictureOpened(event) {
    const box = event.target.closest("[data-box]");
    if (box && this.model.get("nodes")[box.dataset.box]?.opens) this.send("fold", { path: box.dataset.box });
  }

  select(path) {
    this.selected = path;
    this.pinning = false;
    this.showPicture();
    this.showFacts();
  }

  // ---- questions -----------------------------------------------------------------------------------
  showQuestions() {
    const key = JSON.stringify([this.view.questions, this.view.status]);
    if (key === this.asked) return; // what somebody types stays
    this.asked = key;
    this.question.hidden = !this.view.questions.length;
    this.question.replaceChildren(...this.view.questions.map((question) => this.form(question)));
  }

  form(question) {
    const inputs = question.fields.map((field) => [field, this.input(field)]);
    const give = () => {
      const values = {};
      for (const [field, input] of inputs) {
        const value = field.kind === "flag" ? input.checked : input.value;
        if (field.kind === "flag" || value !== "") values[field.name] = { kind: field.kind, value };
      }
      this.send("answer", { question: question.id, values });
    };
    return h(
      "form",
      { class: "gs-question", "data-question": question.path, onsubmit: (event) => { event.preventDefault(); give(); } },
      h("p", {}, h("b", {}, question.path), " asks: ", h("span", { class: "gs-text" }, question.text)),
      ...inputs.map(([field, input]) => h("label", { title: `${field.type} ${field.hint}` }, `${field.name} `, input)),
      h("button", { type: "submit", disabled: this.view.status === "closed" }, "Answer"),
    );
  }

  input(field) {
    if (field.kind === "flag") return h("input", { type: "checkbox", name: field.name, checked: field.value === true });
    return h("input", { type: "text", name: field.name, value: field.value, placeholder: field.type });
  }

  // ---- the timeline --------------------------------------------------------------------------------
  showTimeline() {
    const view = this.view;
    const longest = Math.max(0.001, ...view.history.map((entry) => entry.seconds));
    const known = this.lines || [];
    const keys = view.history.map((entry, index) => JSON.stringify([entry, index + view.first, Math.round((entry.seconds / longest) * 50)]));
    const made = view.history.map((entry, index) => (known[index]?.key === keys[index] ? known[index] : { key: keys[index], el: this.line(entry, index + view.first, longest) }));
    this.lines = made;
    made.forEach((line, index) => {
      if (this.timeline.children[index] !== line.el) this.timeline.replaceChild(line.el, this.timeline.children[index] ?? this.timeline.appendChild(h("li")));
    });
    while (this.timeline.children.length > made.length) this.timeline.lastChild.remove();
    const shown = this.at ?? view.first + view.history.length - 1;
    made.forEach((line, index) => line.el.classList.toggle("gs-current", index + view.first === shown));
    if (this.at === null) this.timeline.scrollTop = this.timeline.scrollHeight;
  }

  line(entry, at, longest) {
    const depth = entry.path.split("/").length - 1;
    const facts = [entry.kind === "done" ? "" : entry.kind, entry.how === "ran" ? "" : entry.how, entry.attempts > 1 ? `${entry.attempts} attempts` : ""];
    if (entry.tokens) facts.push(`${entry.tokens} tok`);
    if (entry.usd || entry.unpriced) facts.push(cost(entry));
    const bar = h("span", { class: "gs-length", style: `width:${Math.round((entry.seconds / longest) * 50)}px` });
    return h(
      "li",
      { class: `gs-step gs-of-${entry.kind}` },
      h(
        "button",
        { type: "button", "data-at": at, onclick: () => this.look(at) },
        h("span", { class: "gs-number" }, String(at + 1)),
        h("span", { class: "gs-path", style: `padding-left:${depth * 10}px`, title: entry.path }, depth ? entry.path.split("/").at(-1) : entry.path),
        h("span", { class: "gs-note" }, facts.filter(Boolean).join(" · ")),
        bar,
        h("span", { class: "gs-time" }, seconds(entry.seconds)),
      ),
    );
  }

  look(at) {
    const newest = this.view.first + this.view.history.length - 1;
    this.at = at === newest ? null : at;
    this.detail = at === newest ? null : (this.model.details?.[at] ?? null);
    this.selected = this.boxes.has(this.view.history[at - this.view.first].box) ? this.view.history[at - this.view.first].box : null;
    if (this.at !== null && !this.detail) this.send("detail", { at });
    this.showPicture();
    this.showTimeline();
    this.showFacts();
  }

  // ---- what is known of the step, the state and the node ---------------------------------------------
  showFacts() {
    if (this.editing && this.facts.contains(document.activeElement)) return; // what somebody types stays
    this.editing = null;
    const step = this.at === null ? this.view.step : this.detail;
    const parts = [];
    if (this.selected) parts.push(this.nodeFacts(this.selected));
    if (step) parts.push(this.section("changed", this.at === null ? `Last step: ${step.path}` : `Step ${this.at + 1}: ${step.path}`, this.stepFacts(step)));
    if (step && step.calls.length) parts.push(this.section("calls", plural(step.calls.length, "model call"), step.calls.map((call) => this.callFacts(call))));
    if (this.view.inside) parts.push(this.section("inside", `State inside ${this.view.inside.path}`, [this.table(this.view.inside.state, false)]));
    parts.push(this.section("state", this.at === null ? "State" : "State now", [this.table(this.view.state, true)]));
    parts.push(this.breakpointFacts());
    this.facts.replaceChildren(...parts.filter(Boolean));
  }

  section(name, title, content) {
    const made = h("details", { class: `gs-section gs-section-${name}`, open: this.open[name] ?? true }, h("summary", {}, title), ...content);
    made.addEventListener("toggle", () => { this.open[name] = made.open; });
    return made;
  }

  stepFacts(step) {
    const words = [step.kind];
    if (step.how !== "ran") words.push(step.how);
    words.push(seconds(step.seconds));
    if (step.to.length) words.push(`→ ${step.to.join(", ")}`);
    const rows = step.changed.map((field) =>
      field.before === "" ? h("tr", {}, h("th", {}, field.name), h("td", { colspan: 3 }, h("pre", { class: "gs-after" }, field.after))) :
      h("tr", {}, h("th", {}, field.name), h("td", {}, h("pre", { class: `gs-before ${field.before.length < 30 ? "gs-short" : ""}` }, field.before)), h("td", { class: "gs-arrow" }, "→"), h("td", {}, h("pre", { class: "gs-after" }, field.after))),
    );
    return [
      h("p", { class: "gs-words" }, words.join(" · ")),
      step.error ? h("pre", { class: "gs-error" }, step.error) : null,
      rows.length ? h("table", { class: "gs-changed" }, ...rows) : step.kind === "done" ? h("p", { class: "gs-words" }, "It wrote nothing.") : null,
    ];
  }

  callFacts(call) {
    const words = [];
    if (call.error === "") {
      words.push(`${call.input} tokens in${call.cached ? ` (${call.cached} cached)` : ""}, ${call.output} out${call.estimated ? ", estimated" : ""}`);
      words.push(call.unpriced ? cost(call) : call.usd ? `${dollars(call.usd)} (${call.priced})` : call.priced, seconds(call.seconds));
      if (call.note) words.push(call.note);
    } else if (call.usd || call.unpriced) words.push(cost(call));
    const said = (role, text, kind = "") => h("div", { class: `gs-message ${kind}` }, h("span", { class: "gs-role" }, role), h("pre", {}, text));
    return h(
      "div",
      { class: "gs-call" },
      h("p", { class: "gs-words" }, h("b", {}, call.model), ` · ${words.join(" · ")}`),
      ...call.messages.map((message) => said(message.role, message.text)),
      call.error ? h("pre", { class: "gs-error" }, call.error) : said("answer", call.answer, "gs-answer"),
      call.decision ? h("details", { class: "gs-decision" }, h("summary", {}, "Why this model"), h("pre", {}, call.decision)) : null,
    );
  }

  table(fields, editable) {
    const rows = fields.map((field) => {
      const value = h("td", { class: "gs-value" });
      const show = () => {
        value.replaceChildren(h("pre", { class: field.set ? "" : "gs-unset" }, field.set || field.value ? field.value : "not assigned"));
        if (editable && !this.isRecord && !field.cut && !["running", "closed"].includes(this.view.status)) {
          value.append(h("button", { type: "button", class: "gs-quiet gs-edit", "data-edit": field.name, title: `Change ${field.name} as if the last step had written it`, onclick: edit }, "edit"));
        }
      };
      const edit = () => {
        const area = h("textarea", { value: field.value, rows: Math.min(8, 1 + field.value.split("\n").length), "aria-label": field.name });
        const done = () => { this.editing = null; show(); };
        const save = () => { this.editing = null; this.send("edit", { name: field.name, value: area.value, plain: field.plain }); done(); };
        area.addEventListener("keydown", (event) => {
          if (event.key === "Escape") done();
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
        });
        this.editing = field.name;
        value.replaceChildren(area, h("div", {}, h("button", { type: "button", class: "gs-save", onclick: save }, "Save"), h("button", { type: "button", class: "gs-quiet", onclick: done }, "Cancel"), h("span", { class: "gs-words" }, field.plain ? "text" : "JSON")));
        area.focus();
      };
      show();
      return h("tr", { class: field.changed ? "gs-is-changed" : "", "data-field": field.name }, h("th", { title: field.type }, field.name), value);
    });
    return h("table", { class: "gs-state" }, ...rows);
  }

  nodeFacts(path) {
    const node = this.model.get("nodes")[path];
    const broken = this.view.breakpoints.some((item) => item.box === path);
    const pinned = this.view.pins[path];
    const content = [];
    const facts = [node.kind, node.reads.length ? `reads ${node.reads.join(", ")}` : "", node.doc].filter(Boolean).join(" · ");
    content.push(h("p", { class: "gs-words" }, facts));
    if (!this.isRecord) {
      const done = [...this.view.history].reverse().find((entry) => entry.box === path && ["done", "handled"].includes(entry.kind));
      content.push(
        h(
          "div",
          { class: "gs-actions" },
          h("button", { type: "button", "data-action": "break", onclick: () => this.send("break", { box: path }) }, broken ? "Remove breakpoint" : "Break here"),
          h("button", { type: "button", "data-action": "until", disabled: this.buttons.go.disabled, onclick: () => this.send("until", { box: path }) }, "Run to here"),
          node.writes.length ? h("button", { type: "button", "data-action": "pin", onclick: () => { this.pinning = !this.pinning; this.showFacts(); } }, pinned ? "Change pin" : "Pin an output") : null,
          pinned ? h("button", { type: "button", "data-action": "unpin", onclick: () => this.send("pin", { box: path, values: null }) }, "Unpin") : null,
          done && node.kind === "agent" ? this.rerunForm(done) : null,
        ),
      );
    }
    if (pinned) content.push(h("table", { class: "gs-state" }, ...Object.entries(pinned).map(([name, value]) => h("tr", {}, h("th", {}, name), h("td", {}, h("pre", {}, value))))));
    if (this.pinning) content.push(this.pinForm(path, node, pinned));
    return this.section("node", `Node ${path}`, content);
  }

  rerunForm(entry) {
    const model = h("input", { type: "text", placeholder: "another model", "aria-label": "model" });
    return h("span", { class: "gs-rerun" }, model, h("button", { type: "button", "data-action": "rerun", onclick: () => this.send("rerun", { start: entry.path, model: model.value }) }, "Rerun beside"));
  }

  pinForm(path, node, pinned) {
    const known = Object.fromEntries(this.view.state.map((field) => [field.name, field.set ? field.value : ""]));
    const inputs = node.writes.map((field) => [field.name, h("textarea", { rows: 2, name: field.name, value: pinned?.[field.name] ?? (known[field.name] || field.value), "aria-label": field.name })]);
    this.editing = path;
    const save = () => {
      this.pinning = false;
      this.editing = null;
      this.send("pin", { box: path, values: Object.fromEntries(inputs.map(([name, input]) => [name, input.value])) });
    };
    return h(
      "div",
      { class: "gs-pin" },
      ...inputs.map(([name, input]) => h("label", {}, `${name} `, input)),
      h("button", { type: "button", class: "gs-save", "data-action": "save-pin", onclick: save }, "Serve this from now on"),
    );
  }

  breakpointFacts() {
    if (this.isRecord) return null;
    const errors = this.view.breakpoints.some((item) => item.text === "on Exception");
    const list = this.view.breakpoints.map((item) =>
      h("li", {}, h("span", {}, item.text), h("button", { type: "button", class: "gs-quiet", title: "Remove it", onclick: () => this.send("unbreak", { text: item.text }) }, "×")),
    );
    return this.section("breakpoints", `Breakpoints: ${this.view.breakpoints.length}`, [
      h("label", { class: "gs-words" }, h("input", { type: "checkbox", "data-action": "errors", checked: errors, onchange: () => this.send("errors") }), " stop on errors"),
      list.length ? h("ul", { class: "gs-breakpoints" }, ...list) : h("p", { class: "gs-words" }, "Click the dot at a node's left edge, or a line."),
    ]);
  }
}

function render({ model, el }) {
  const panels = [];
  const isRecord = !!model.details;
  const root = h("div", { class: "gs-stepper", tabindex: "0", "data-lm-suppress-shortcuts": "true" });
  el.append(root);
  root.classList.toggle("gs-record", isRecord);

  const paint = () => {
    const views = model.get("panels");
    while (panels.length > views.length) panels.pop().el.remove();
    views.forEach((view, number) => {
      if (panels[number] && panels[number].view.run !== view.run) {
        const fresh = new Panel(model, number);
        panels[number].el.replaceWith(fresh.el);
        panels[number] = fresh;
      }
      if (!panels[number]) {
        panels[number] = new Panel(model, number);
        root.append(panels[number].el);
      }
      panels[number].isRecord = isRecord;
      panels[number].show(view);
    });
    root.classList.toggle("gs-several", views.length > 1);
  };
  const notice = (message) => {
    const panel = panels[message.panel];
    if (panel && message.at === panel.at) {
      panel.detail = message.detail;
      panel.showFacts();
    }
  };
  root.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.target.closest("textarea, input") || event.ctrlKey || event.metaKey || event.altKey) return;
    const number = Math.max(0, panels.findIndex((panel) => panel.el.contains(event.target)));
    const panel = panels[number];
    if (event.key === "Escape") panel.select(null);
    if (isRecord || !(event.key in KEYS)) return;
    event.preventDefault();
    const button = panel.buttons[KEYS[event.key]];
    if (!button.disabled) panel.send(KEYS[event.key]);
  });
  model.on("change:panels", paint);
  model.on("msg:custom", notice);
  paint();
  return () => {
    model.off("change:panels", paint);
    model.off("msg:custom", notice);
  };
}

export default { render };
