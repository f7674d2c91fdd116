// The timeline: a row for each step, and one for all items of a map, which opens to a list that can be searched.
const MAX_ITEMS = 100; // items of a map that are listed at once

class Timeline {
  // `page` has `look(at)`, and `askItems(first, last)` for the items of a map, which come by `take`.
  constructor(page) {
    this.page = page;
    this.known = [];
    this.maps = new Map(); // opened maps by the number of their first step
    this.el = h("ol", { class: "gs-timeline", "aria-label": "timeline" });
  }

  show(view, at) {
    this.shown = at ?? view.steps - 1;
    const longest = Math.max(0.001, ...view.rows.map((row) => row.seconds));
    const made = view.rows.map((row, index) => {
      const width = Math.round((row.seconds / longest) * 50);
      const state = this.maps.get(row.at);
      if (state && row.map && state.last !== row.last) this.ask(row);
      const key = JSON.stringify([row, width, !!state, state?.version]);
      return this.known[index]?.key === key ? this.known[index] : { key, row, el: row.map ? this.mapRow(row, width) : h("li", { class: `gs-step gs-of-${row.kind}` }, this.stepRow(row, width)) };
    });
    const had = focused(this.el)?.closest("[data-key]")?.dataset.key;
    made.forEach((line, index) => {
      if (this.el.children[index] !== line.el) this.el.replaceChild(line.el, this.el.children[index] ?? this.el.appendChild(h("li")));
    });
    while (this.el.children.length > made.length) this.el.lastChild.remove();
    this.known = made;
    if (!made.length) this.el.append(h("li", { class: "gs-words" }, "Nothing has run yet."));
    if (had && !focused(this.el)) this.el.querySelector(`[data-key="${CSS.escape(had)}"]`)?.focus({ preventScroll: true });
    this.mark();
    if (at === null) this.el.scrollTop = this.el.scrollHeight;
  }

  // A step in an item that is folded is shown by the row of its map.
  mark() {
    for (const { row, el } of this.known) el.classList.toggle("gs-current", row.map ? row.at <= this.shown && this.shown <= row.last : row.at === this.shown);
    for (const step of this.el.querySelectorAll(".gs-inner [data-at]")) step.parentElement.classList.toggle("gs-current", Number(step.dataset.at) === this.shown);
  }

  // A call of a tool lies below its agent, and is named with its round.
  stepRow(row, width, depth = row.path.split("/").length - (row.tool ? 2 : 1), name = row.path.split("/").slice(row.tool ? -2 : -1).join("/")) {
    const facts = [row.outcome, row.kind === "done" ? "" : row.kind, row.how === "ran" ? "" : row.how, row.attempts > 1 ? `${row.attempts} attempts` : "", ...figures(row)];
    return h(
      "button",
      { type: "button", "data-at": row.at, "data-key": `step ${row.at}`, onclick: () => this.page.look(row.at, row.box) },
      h("span", { class: "gs-number" }, String(row.at + 1)),
      h("span", { class: "gs-path", style: `padding-left:${depth * 10}px`, title: row.path }, name),
      h("span", { class: "gs-note" }, facts.filter(Boolean).join(" · ")),
      h("span", { class: "gs-length", style: `width:${width}px` }),
      h("span", { class: "gs-time" }, seconds(row.seconds)),
    );
  }

  // ---- maps ----------------------------------------------------------------------------------------
  mapRow(row, width) {
    const state = this.maps.get(row.at);
    const depth = row.map.split("/").length - 1;
    const facts = [plural(row.items, "item"), row.failed ? `${row.failed} failed` : "", ...figures(row)];
    const head = h(
      "button",
      { type: "button", class: "gs-map", "data-map": row.map, "data-key": `map ${row.at}`, "aria-expanded": String(!!state), onclick: () => this.toggle(row) },
      h("span", { class: "gs-number" }, state ? "▾" : "▸"),
      h("span", { class: "gs-path", style: `padding-left:${depth * 10}px`, title: row.map }, row.map.split("/").at(-1)),
      h("span", { class: `gs-note ${row.failed ? "gs-error" : ""}` }, facts.filter(Boolean).join(" · ")),
      h("span", { class: "gs-length", style: `width:${width}px` }),
      h("span", { class: "gs-time" }, seconds(row.seconds)),
    );
    if (!state) return h("li", {}, head);
    const list = h("ol", { class: "gs-items" });
    const fill = () => list.replaceChildren(...this.items(state));
    const search = h("input", {
      type: "text", class: "gs-search", value: state.query, placeholder: "number, failed, or a text", "aria-label": `search the items of ${row.map}`, "data-key": `search ${row.at}`,
      oninput: (event) => { state.query = event.target.value; fill(); this.mark(); },
    });
    fill();
    return h("li", {}, head, h("div", { class: "gs-inner" }, search, list));
  }

  toggle(row) {
    if (!this.maps.delete(row.at)) {
      this.maps.set(row.at, { query: "", open: new Set(), items: null, version: 0 });
      this.ask(row);
    }
    this.page.showTimeline();
  }

  ask(row) {
    this.maps.get(row.at).last = row.last;
    this.page.askItems(row.at, row.last);
  }

  take(first, items) {
    const state = this.maps.get(first);
    if (!state) return;
    state.items = items;
    state.version += 1;
    this.page.showTimeline();
  }

  items(state) {
    if (!state.items) return [h("li", { class: "gs-words" }, "…")];
    const query = state.query.trim().toLowerCase();
    const number = /^\[?(\d[\d.]*|[\da-f]{16})\]?$/.exec(query)?.[1];
    const words = (item) => [item.kind, item.hasFailed ? "failed" : "", item.text, ...item.steps.map((step) => step.path)].join(" ").toLowerCase();
    const matches = state.items.filter((item) => (number !== undefined ? String(item.item) === number : words(item).includes(query)));
    const listed = matches.slice(0, MAX_ITEMS).map((item) => this.item(state, item));
    if (!matches.length) listed.push(h("li", { class: "gs-words" }, `none of ${plural(state.items.length, "item")}`));
    if (matches.length > MAX_ITEMS) listed.push(h("li", { class: "gs-words" }, `and ${(matches.length - MAX_ITEMS).toLocaleString("en")} more: search for them`));
    return listed;
  }

  item(state, item) {
    const made = h("li", { class: `gs-step gs-of-${item.kind}` });
    const fill = () => {
      const isOpen = state.open.has(item.item);
      const steps = item.steps.map((step) => h("div", {}, this.stepRow(step, 0, 2, step.path.slice(step.path.indexOf("]") + 2) || step.path.split("/").at(-1))));
      made.replaceChildren(
        h(
          "button",
          { type: "button", "data-item": item.item, "data-key": `item ${item.steps[0].at}`, "aria-expanded": String(isOpen), onclick: toggle },
          h("span", { class: "gs-number" }, `[${item.item}]`),
          h("span", { class: "gs-path gs-preview", title: item.text }, [item.kind === "done" ? "" : item.kind, item.text].filter(Boolean).join(" · ") || plural(item.steps.length, "step")),
          h("span", { class: "gs-time" }, seconds(item.seconds)),
        ),
        ...(isOpen ? steps : []),
      );
    };
    const toggle = () => {
      if (!state.open.delete(item.item)) state.open.add(item.item);
      fill();
      this.mark();
      made.firstElementChild.focus({ preventScroll: true });
    };
    fill();
    return made;
  }
}

function figures(row) {
  const facts = [];
  if (row.tokens) facts.push(plural(row.tokens, "token"));
  if (row.usd || row.unpriced) facts.push(cost(row));
  return facts;
}
