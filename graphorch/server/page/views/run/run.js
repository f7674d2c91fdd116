// A run: its head, the picture of its flow, its timeline, and tabs for what is selected.
//
// One selection drives all of it and lies in the address: a record and a path. What comes while the
// run goes on is asked for in small pieces, whichever process drives the run.
import { h } from "../../parts/elements.js";
import { failure, loading } from "../../parts/states.js";
import { Pulse } from "../../parts/pulse.js";
import { Tabs } from "../../parts/tabs.js";
import { copyNote } from "./copy_note.js";
import { Details } from "./details.js";
import { Head } from "./head.js";
import { RunPicture } from "./picture.js";
import { RunData } from "./run_data.js";
import { boxOf, isSame, readSelection, shortActivation, writeSelection } from "./selection.js";
import { CallsTab } from "./tabs/calls.js";
import { ConversationTab } from "./tabs/conversation.js";
import { JournalTab } from "./tabs/journal.js";
import { ResultTab } from "./tabs/result.js";
import { StateTab } from "./tabs/state.js";
import { WhyTab } from "./tabs/why.js";
import { Writing } from "./writing.js";
import { Timeline } from "./timeline/timeline.js";

const TABS = [
  { name: "state", title: "State", Tab: StateTab },
  { name: "calls", title: "Calls", Tab: CallsTab },
  { name: "conversation", title: "Conversation", Tab: ConversationTab },
  { name: "why", title: "Why", Tab: WhyTab },
  { name: "journal", title: "Journal", Tab: JournalTab },
  { name: "result", title: "Result", Tab: ResultTab },
];
const SETTLE = 90; // milliseconds after the last key before the tabs follow

export class RunView {
  title = "Run";

  constructor(context) {
    this.context = context;
    this.el = h("div", { class: "run-page" });
    this.selection = { seq: null, path: "" };
    this.keys = [
      { key: "Arrows", words: "from box to box in the picture, from bar to bar in the timeline" },
      ...(this.isCopy ? [] : [{ key: "o", words: "open or close the sub-flow or map of a box" }]),
      { key: "+ - 0", words: "zoom in the picture and in the timeline" },
      { key: "/", words: "find a box", act: () => this.picture.viewport.search.focus() },
      { key: "]", words: "next moment", act: () => this.step(1) },
      { key: "[", words: "previous moment", act: () => this.step(-1) },
      {
        key: "Escape",
        words: "select nothing: the whole run",
        act: () => this.select({ seq: null, path: "" }),
      },
      ...TABS.map(({ name, title }, at) => ({
        key: String(at + 1),
        words: title.toLowerCase(),
        act: () => this.chooseTab(name),
      })),
      {
        key: "c",
        words: "critical path",
        act: () => this.toggleCritical(this.timeline.critical === null),
      },
      { key: "g", words: "go to the timeline", act: () => this.timeline.tree.focus() },
    ];
  }

  // A copy of a run in a file stays as it is, and nothing can be done with it.
  get isCopy() {
    return this.context.copy !== null;
  }

  close() {
    this.isClosed = true;
    for (const part of [this.questions, this.pulse, this.slow, this.timeline, this.picture])
      part?.close();
    Object.values(this.tabs ?? {}).forEach((tab) => tab.close());
    clearInterval(this.ticking);
  }

  // ---- what the address names -------------------------------------------------------------------
  show(address) {
    const [, id] = address.path;
    this.address = address;
    if (this.data?.id !== id) return this.open(id);
    if (this.isReady) this.follow();
  }

  async open(id) {
    if (this.data) {
      this.close();
      this.isClosed = false;
    }
    this.isReady = false;
    this.data = new RunData(this.context.api, id);
    this.title = id.slice(0, 8);
    this.build();
    this.el.replaceChildren(loading("Loading the run", 8));
    await this.begin(this.data);
  }

  // The head and the picture come first, then the timeline, and the moments, which may be many, last.
  async begin(data) {
    this.selection = readSelection(this.address.query, data);
    this.closed = this.address.query.closed ?? "";
    const picture = this.readPicture();
    try {
      await data.readPage();
    } catch (problem) {
      if (data === this.data) this.el.replaceChildren(failure(problem, () => this.begin(data)));
      return;
    }
    if (data !== this.data || this.isClosed) return;
    this.el.replaceChildren(this.head.el, this.body);
    if (this.isCopy) this.head.el.prepend(copyNote(this.context.copy.about, data.page));
    this.showPage();
    this.isReady = true;
    this.follow();
    await picture;
    await this.readTimeline();
    await this.readMoments();
    if (data === this.data && !this.isClosed) this.follow({ isAnew: true });
  }

  build() {
    const isReadOnly = this.context.about?.read_only ?? true;
    this.head = new Head({
      isReadOnly,
      isCopy: this.isCopy,
      onAct: (name) => this.act(name),
    });
    this.questions = this.context.buildQuestions(this.data.id);
    this.head.questions.append(this.questions.el);
    this.picture = new RunPicture({
      onSelect: (box) => this.selectBox(box),
      onHeat: () => this.readPicture(),
      // A copy has the pictures that were drawn for it, with everything open.
      onFold: (closed) => this.isCopy || this.change({ closed: closed.join("\n") }),
    });
    this.timeline = new Timeline({
      onSelect: (bar) => this.selectBar(bar),
      onCritical: (isOn) => this.toggleCritical(isOn),
    });
    this.tabs = Object.fromEntries(TABS.map(({ name, Tab }) => [name, new Tab(this)]));
    this.details = new Details(this);
    this.writing = new Writing(this);
    this.tabList = new Tabs("About the selection", TABS, (name) => this.chooseTab(name));
    this.tab = "";
    this.drawn = new Map(); // pictures of the run as it was, by record
    const side = h(
      "section",
      { class: "pane details", "aria-label": "What is selected" },
      this.details.el,
      this.writing.el,
      this.tabList.list,
      this.tabList.panel,
    );
    this.body = h("div", { class: "run-body" }, this.picture.el, this.timeline.el, side);
    // Small things follow each record; the picture and the timeline, which are large, more rarely.
    this.pulse = new Pulse(() => this.update());
    this.slow = new Pulse(() => Promise.all([this.readPicture(), this.readTimeline()]));
    this.ticking = setInterval(() => this.tick(), 1000);
  }

  // ---- reading ----------------------------------------------------------------------------------
  showPage() {
    const { page } = this.data;
    this.title = `${page.row.flow} ${page.row.run_id.slice(0, 8)}`;
    document.title = `${this.title} · graphorch`;
    this.head.show(page);
    if (this.isCopy) this.showCopy(page);
    this.showFolding();
    this.colour();
  }

  showCopy(page) {
    this.questions.show(page);
    this.timeline.criticalSwitch.hidden = !this.data.hasCode;
  }

  // Boxes have the colours of the run as it is now, unless something else was asked for.
  colour() {
    const { page } = this.data;
    if (page && this.selection.seq === null && !this.picture.heat) this.picture.colour(page.nodes);
  }

  // The run as it was after the chosen record, or a figure of it as it is now.
  async readPicture() {
    const { heat } = this.picture;
    const isDrawn = this.hasPicture(this.selection.seq);
    const at = heat || !isDrawn ? null : this.selection.seq;
    const turn = (this.pictureTurn = (this.pictureTurn ?? 0) + 1);
    try {
      const query = { overlay: heat ? "" : "run", heat, theme: "auto", at, closed: this.closed };
      const key = `${at} ${this.closed}`;
      const source = this.drawn.get(key) ?? (await this.data.read("/picture.svg", query));
      if (at !== null) this.drawn.set(key, source); // what was does not change any more
      if (this.isClosed || turn !== this.pictureTurn) return;
      this.picture.show(source);
      this.picture.say(isDrawn || heat ? "" : "As of the end: this file has no picture of that moment.");
      this.showFolding();
      this.colour();
    } catch (problem) {
      if (turn === this.pictureTurn) this.picture.fail(problem, () => this.readPicture());
    }
  }

  // A copy may lack the picture of the run as it was after a record.
  hasPicture(seq) {
    return seq === null || !this.isCopy || this.context.copy.has("picture.svg", ` ${seq}`);
  }

  // Only the code of the flow says what is inside of a map or sub-flow.
  showFolding() {
    const isPossible = this.data.hasCode && !this.isCopy;
    this.picture.showFolding(this.closed.split("\n").filter(Boolean), isPossible);
  }

  async readTimeline() {
    try {
      this.timeline.show(await this.data.readTimeline());
      this.readAt = performance.now();
    } catch (problem) {
      if (!this.data.timeline) this.timeline.scroll.replaceChildren(failure(problem, null));
    }
  }

  async readMoments() {
    try {
      await this.data.readMoments();
    } catch {
      // without moments nothing is selected by record; the panes say what is wrong
    }
  }

  // ---- live -------------------------------------------------------------------------------------
  hear({ event, data }) {
    if (!this.isReady) return;
    if (event === "again" || (event === "run" && data.run_id === this.data.id)) this.pulse.ask();
    if (event === "text" && data.run_id === this.data.id) this.writing.hear(data);
    if (event === "gone" && data.run_id === this.data.id) this.head.fail("This run was deleted.");
  }

  async update() {
    const before = this.data.page.row.status;
    try {
      await Promise.all([this.data.readPage(), this.data.readMoments()]);
    } catch {
      return; // the frame says that the server is away, and asks again when it is back
    }
    if (this.isClosed) return;
    this.showPage();
    this.slow.ask();
    this.writing.follow();
    this.details.show(this.selection);
    this.tabs[this.tab]?.refresh(this.selection);
    const { status } = this.data.page.row;
    if (status !== before) this.context.say(`The run is ${status}`);
  }

  // Bars that have not ended grow with the clock of this page, until the server says more.
  tick() {
    const { timeline, page } = this.data;
    if (this.isCopy || !timeline || !page?.row.is_under_way || document.hidden) return;
    const passed = (performance.now() - this.readAt) / 1000;
    const bars = timeline.bars.map((bar) =>
      bar.is_open ? { ...bar, end: bar.end + passed } : bar,
    );
    this.timeline.show({ ...timeline, bars, seconds: timeline.seconds + passed });
  }

  // ---- selection --------------------------------------------------------------------------------
  select(selection) {
    this.change(writeSelection(selection, this.data));
  }

  change(query) {
    const address = { path: this.address.path, query: { ...this.address.query, ...query } };
    this.context.go(address, { replace: true });
  }

  selectBox(box) {
    if (!box) return this.select({ seq: null, path: "" });
    const moment = this.data.lastAt.get(box);
    this.select(moment ? { seq: moment.seq, path: moment.path } : { seq: null, path: box });
  }

  selectBar(bar) {
    const moment = this.data.lastOf.get(bar.activation);
    this.select(moment ? { seq: moment.seq, path: moment.path } : { seq: null, path: bar.path });
  }

  step(by) {
    const moment = this.data.neighbour(this.selection.seq, by);
    if (moment) this.select({ seq: moment.seq, path: moment.path });
  }

  chooseTab(name) {
    this.change({ tab: name });
  }

  // Brings all parts to what the address says.
  follow({ isAnew = false } = {}) {
    const { query } = this.address;
    if ((query.closed ?? "") !== this.closed) {
      this.closed = query.closed ?? "";
      this.readPicture();
    }
    const before = this.selection;
    const first = this.data.hasCode ? "state" : "conversation";
    const tab = TABS.some(({ name }) => name === query.tab) ? query.tab : first;
    this.selection = readSelection(query, this.data);
    const isSameTab = tab === this.tab;
    this.tab = tab;
    if (isSameTab && !isAnew && isSame(before, this.selection)) return;
    const { seq, path } = this.selection;
    const moment = seq === null ? null : this.data.momentAt(seq);
    this.picture.mark(boxOf(path));
    this.timeline.select({ activation: shortActivation(moment?.activation ?? ""), path });
    this.details.show(this.selection);
    this.tabList.show(tab);
    if (!isSameTab) this.tabList.panel.replaceChildren(this.tabs[tab].el);
    if (isSameTab && isSame(before, this.selection)) return; // what tabs show is known already
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.settle(before), isSameTab ? SETTLE : 0);
  }

  // What has to be asked for follows once the reader rests.
  settle(before) {
    this.tabs[this.tab].show(this.selection);
    if (before.seq !== this.selection.seq) this.readPicture();
  }

  async toggleCritical(isOn) {
    if (!isOn) return this.timeline.showCritical(null);
    try {
      const { path } = await this.data.read("/critical");
      this.timeline.showCritical(path.path.map(([step]) => step));
    } catch (problem) {
      this.head.fail(problem.message);
    }
  }

  // ---- what can be done -------------------------------------------------------------------------
  async act(name) {
    try {
      await this.context.api.post(`${this.data.base}/${name}`);
      this.context.say(
        { stop: "The run stops", cancel: "The run is cancelled", resume: "The run goes on" }[name],
      );
    } catch (problem) {
      this.head.fail(problem.message);
    }
    this.pulse.ask();
  }
}
