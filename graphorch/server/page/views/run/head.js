// The head of a run's page: status and why, figures, lineage, and what can be done with the run.
import { enable, h, isEnabled, plural } from "../../parts/elements.js";
import { chip, tag } from "../../parts/chips.js";
import { confirm } from "../../parts/dialogs.js";
import { NOTHING, costOf, duration, moment, tokensOf, when } from "../../parts/figures.js";
import { dollars } from "../../parts/elements.js";
import { icon } from "../../parts/icons.js";
import { note } from "../../parts/states.js";
import { inline, shortId } from "../../parts/text.js";
import { writeAddress } from "../../shell/address.js";

const HALTED = new Set(["failed", "stopped", "crashed"]);

export class Head {
  // `onAct(name)` is called for what the reader wants done: `stop`, `cancel`, `resume`.
  // Of a copy there is nothing else to go to.
  constructor({ isReadOnly, isCopy, onAct }) {
    Object.assign(this, { isReadOnly, isCopy, onAct });
    this.title = h("h1", {});
    this.status = h("span", {});
    this.id = h("button", {
      type: "button",
      class: "run-id-button mono",
      title: "Copy the id",
      onclick: () => this.copy(),
    });
    this.actions = h("div", { class: "run-actions" });
    this.why = h("p", { class: "run-reason break" });
    this.facts = h("dl", { class: "facts" });
    this.notes = h("div", { class: "run-notes" });
    // Answers to open questions are given here, by the module of the inbox.
    this.questions = h("div", { class: "run-questions" });
    this.el = h(
      "header",
      { class: "run-head" },
      h(
        "div",
        { class: "run-line" },
        isCopy
          ? null
          : h(
              "a",
              { class: "back", href: "#/runs", "aria-label": "All runs", title: "All runs (r)" },
              icon("left"),
            ),
        this.title,
        this.status,
        this.id,
        this.actions,
      ),
      this.why,
      this.facts,
      this.notes,
      this.questions,
    );
  }

  show(page) {
    const { row } = page;
    const { figures } = row;
    this.page = page;
    this.title.replaceChildren(inline(row.flow));
    this.status.replaceChildren(
      figures?.questions
        ? chip(
            "asks",
            this.isCopy ? plural(figures.questions, "open question") : waitWords(figures.questions),
          )
        : chip(row.fault ? "damaged" : row.status),
    );
    this.id.replaceChildren(shortId(row.run_id), icon("copy"));
    this.id.setAttribute("aria-label", `Copy the id ${row.run_id}`);
    const words = row.fault || page.error || row.reason;
    this.why.hidden = !words;
    this.why.className = `run-reason break${row.fault || page.error || row.status === "failed" ? " bad" : ""}`;
    this.why.replaceChildren(inline(words));
    this.facts.replaceChildren(
      ...listFacts(page, this.isCopy).flatMap(([name, value]) => [
        h("div", {}, h("dt", {}, name), h("dd", {}, value)),
      ]),
    );
    this.notes.replaceChildren(...listNotes(page, this.isCopy));
    if (!this.isCopy) this.showActions(row);
  }

  showActions(row) {
    const made = [];
    const button = (name, words, hint, kind = "") => {
      const element = h(
        "button",
        {
          type: "button",
          class: `button small ${kind}`,
          "data-key": name,
          title: this.isReadOnly ? "The server was started to read only" : hint,
          onclick: () => isEnabled(element) && this.ask(name),
        },
        words,
      );
      enable(element, !this.isReadOnly);
      made.push(element);
    };
    if (row.is_under_way) button("stop", "Stop", "Nothing new begins; what runs may finish");
    if (HALTED.has(row.status) && !row.is_under_way)
      button("resume", "Resume", "Go on where the run is");
    if (row.is_under_way || row.status === "waiting" || HALTED.has(row.status))
      button("cancel", "Cancel …", "End the run for good", "danger");
    if (this.shown === JSON.stringify([row.status, row.is_under_way])) return;
    this.shown = JSON.stringify([row.status, row.is_under_way]);
    this.actions.replaceChildren(...made);
  }

  async ask(name) {
    if (name === "cancel") {
      const body = [
        h(
          "p",
          {},
          "What runs is interrupted, what its undo functions can undo is undone, and the run cannot be resumed.",
        ),
      ];
      if (
        !(await confirm({
          title: "Cancel this run?",
          body,
          action: "Cancel the run",
          isDangerous: true,
        }))
      )
        return;
    }
    this.onAct(name);
  }

  fail(words) {
    this.notes.prepend(note("bad", h("span", {}, words)));
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.page.row.run_id);
      this.id.classList.add("is-copied");
      setTimeout(() => this.id.classList.remove("is-copied"), 1500);
    } catch {
      getSelection().selectAllChildren(this.id); // without the right to copy, the reader can
    }
  }
}

const waitWords = (count) => (count === 1 ? "waits for you" : `${count} wait for you`);

function listFacts({ row, model, after }, isCopy) {
  const link = isCopy ? runName : runLink;
  const { figures } = row;
  const facts = [["Began", when(row.created_at)]];
  facts.push(["Duration", duration(figures?.seconds)]);
  facts.push([
    "Cost",
    figures
      ? h(
          "span",
          {},
          costOf(figures.usage),
          figures.budget === null
            ? null
            : h("span", { class: "muted" }, ` of ${dollars(figures.budget)}`),
        )
      : NOTHING,
  ]);
  if (figures) {
    const { usage } = figures;
    facts.push([
      "Tokens",
      tokensOf(usage),
    ]);
    facts.push(["Calls", usage.calls.toLocaleString("en")]);
    facts.push([
      "Errors",
      h("span", { class: figures.errors ? "bad" : null }, figures.errors.toLocaleString("en")),
    ]);
  }
  if (model) facts.push(["Model", inline(model)]);
  if (row.due !== null) facts.push(["Goes on", h("span", {}, moment(row.due))]);
  if (row.parent)
    facts.push(["Fork of", h("span", {}, link(row.parent), isCopy ? null : [" ", compareLink(row)])]);
  if (after) facts.push(["Follows", link(after)]);
  const tags = Object.entries(row.tags);
  if (tags.length)
    facts.push([
      "Tags",
      h("span", { class: "tag-list" }, ...tags.map(([key, value]) => tag(key, value))),
    ]);
  return facts;
}

const runLink = (id) =>
  h("a", { class: "mono", href: writeAddress({ path: ["runs", id] }), title: id }, shortId(id));

const runName = (id) => h("span", { class: "mono", title: id }, shortId(id));

const compareLink = ({ run_id: id, parent }) =>
  h("a", { href: writeAddress({ path: ["compare"], query: { a: parent, b: id } }) }, "compare");

function listNotes({ flow, faults, waits, forked_at: forkedAt, copied }, isCopy) {
  const notes = [];
  if (!flow.is_loaded && !isCopy)
    notes.push(
      note(
        "calm",
        h(
          "span",
          {},
          "Only what the journal says is shown: the code of this flow is not loaded here. ",
          flow.command ? h("code", {}, flow.command) : null,
        ),
      ),
    );
  else if (!flow.fits)
    notes.push(note("warn", inline(flow.problem || "The flow has changed since this run.")));
  if (faults.length)
    notes.push(
      note(
        "bad",
        h(
          "span",
          {},
          h(
            "strong",
            {},
            `${faults.length} records are not what they should be, and are left out. `,
          ),
          inline(faults[0]),
        ),
      ),
    );
  for (const wait of waits)
    notes.push(
      note(
        "warn",
        h(
          "span",
          {},
          inline(wait.path, { class: "mono" }),
          ...(wait.signal
            ? [" waits for the signal ", inline(wait.signal, { class: "mono" })]
            : [wait.is_retry ? " tries again" : " waits"]),
          wait.due === null ? "" : ` ${wait.signal ? "until" : "at"} ${moment(wait.due)}`,
        ),
      ),
    );
  if (copied)
    notes.push(
      note(
        "calm",
        h(
          "span",
          {},
          `The first ${copied} records were taken over; `,
          inline(forkedAt, { class: "mono" }),
          " ran anew.",
        ),
      ),
    );
  return notes;
}
