// Runs that the reader selected, and what can be done with them: compare two, erase.
import { h, enable, isEnabled } from "../../parts/elements.js";
import { confirm } from "../../parts/dialogs.js";
import { inline, shortId } from "../../parts/text.js";

const LISTED = 8; // runs that a dialog names

export class Selection {
  constructor(context, view) {
    this.context = context;
    this.view = view;
    this.ids = new Set();
    this.words = h("span", { class: "selection-words" });
    this.eraseButton = h(
      "button",
      { type: "button", class: "button danger", onclick: () => this.erase() },
      "Erase …",
    );
    this.compareButton = h(
      "button",
      { type: "button", class: "button", onclick: () => this.compare() },
      "Compare",
    );
    const clear = h(
      "button",
      { type: "button", class: "button quiet", onclick: () => this.clear() },
      "Clear",
    );
    this.result = h("span", { class: "bad break" });
    this.el = h(
      "div",
      { class: "selection", role: "region", "aria-label": "Selected runs", hidden: "" },
      this.words,
      this.compareButton,
      this.eraseButton,
      clear,
      this.result,
    );
  }

  // Selects or deselects a run; with `ordered`, all of them from the one before to this one.
  set(id, isSelected, ordered) {
    const ids = ordered && this.last ? between(ordered, this.last, id) : [id];
    for (const each of ids) {
      if (isSelected) this.ids.add(each);
      else this.ids.delete(each);
    }
    this.last = id;
    this.show();
  }

  // Runs that are not shown any more are not selected either.
  keep(rows) {
    for (const id of this.ids) if (!rows.has(id)) this.ids.delete(id);
    this.show();
  }

  clear() {
    this.ids.clear();
    this.result.textContent = "";
    this.show();
  }

  show() {
    const count = this.ids.size;
    this.el.hidden = !count;
    this.words.textContent = `${count} selected`;
    enable(this.compareButton, count === 2);
    this.compareButton.title = count === 2 ? "" : "Select two runs to compare them";
    const isReadOnly = this.context.about?.read_only ?? true;
    enable(this.eraseButton, !isReadOnly);
    this.eraseButton.title = isReadOnly ? "The server was started to read only" : "";
    for (const [id, row] of this.view.rows) row.setSelected(this.ids.has(id));
  }

  // The older run is A.
  compare() {
    if (!isEnabled(this.compareButton)) return;
    const begun = (id) => this.view.rows.get(id).run.created_at;
    const [a, b] = [...this.ids].sort((one, other) => begun(one) - begun(other));
    this.context.go({ path: ["compare"], query: { a, b } });
  }

  async erase() {
    if (!isEnabled(this.eraseButton)) return;
    const ids = [...this.ids];
    const count = ids.length === 1 ? "this run" : `${ids.length} runs`;
    const listed = ids
      .slice(0, LISTED)
      .map((id) =>
        h(
          "li",
          {},
          inline(this.view.rows.get(id).run.flow),
          " ",
          h("span", { class: "mono muted" }, shortId(id)),
        ),
      );
    if (ids.length > LISTED)
      listed.push(h("li", { class: "muted" }, `and ${ids.length - LISTED} more`));
    const body = [
      h(
        "p",
        {},
        "What the records hold is deleted: inputs, states, prompts, answers. Their hashes stay, so that it can still be proven that nothing else was changed. This cannot be undone.",
      ),
      h("ul", { class: "plain-list" }, ...listed),
    ];
    if (
      await confirm({ title: `Erase ${count}?`, body, action: `Erase ${count}`, isDangerous: true })
    )
      await this.eraseAll(ids);
  }

  async eraseAll(ids) {
    const faults = [];
    for (const id of ids) {
      try {
        await this.context.api.post(`/runs/${encodeURIComponent(id)}/erase`);
        this.ids.delete(id);
      } catch (problem) {
        faults.push(`${shortId(id)}: ${problem.message}`);
      }
    }
    this.show();
    this.result.textContent = faults.join(" ");
    this.view.refresh();
    this.context.say(faults.length ? `${faults.length} runs were not erased` : "Erased");
  }
}

function between(ordered, one, other) {
  const [from, to] = [ordered.indexOf(one), ordered.indexOf(other)].sort((a, b) => a - b);
  return from < 0 ? [other] : ordered.slice(from, to + 1);
}
