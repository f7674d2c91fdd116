// The timeline: a row for each node, bars where it ran, everything that took time.
//
// Only rows and bars that are seen are in the document, so ten thousand activations scroll as ten do.
import { h, plural } from "../../../parts/elements.js";
import { duration } from "../../../parts/figures.js";
import { icon } from "../../../parts/icons.js";
import { visible } from "../../../parts/text.js";
import { buildRows, findRow } from "./rows.js";
import { buildScale, listTicks } from "./scale.js";
import { mergeBars } from "./strips.js";

const ROW = 26; // pixels
const SPARE = 6; // rows above and below what is seen
const MOST_ZOOM = 2000;
const RIGHT = 64; // pixels behind the last bar, for its duration

export class Timeline {
  // `onSelect(bar)` is called with the bar that the reader chose, `onCritical(isOn)` by the switch.
  constructor({ onSelect, onCritical }) {
    this.onSelect = onSelect;
    this.choices = new Map(); // rows that were opened or closed, by key
    this.rows = [];
    this.zoom = 1;
    this.current = { row: 0, bar: 0 };
    this.critical = null;
    this.selected = { activation: "", path: "" };
    this.axis = h("div", { class: "tl-axis", "aria-hidden": "true" });
    this.cuts = h("div", { class: "tl-cuts", "aria-hidden": "true" });
    this.tree = h("div", {
      class: "tl-tree",
      role: "tree",
      "aria-label": "Timeline",
      tabindex: "0",
    });
    this.sheet = h("div", { class: "tl-sheet" }, this.axis, this.cuts, this.tree);
    this.scroll = h("div", { class: "tl-scroll" }, this.sheet);
    this.criticalSwitch = h(
      "button",
      {
        type: "button",
        class: "button small",
        "aria-pressed": "false",
        title: "What the run's time went into; everything else could have taken longer",
        onclick: () => onCritical(this.critical === null),
      },
      "Critical path",
    );
    this.summary = h("span", { class: "muted small tl-summary" });
    this.el = h(
      "section",
      { class: "pane timeline", "aria-label": "Timeline" },
      this.buildBar(),
      this.scroll,
    );
    this.listen();
  }

  buildBar() {
    const button = (words, hint, act) =>
      h(
        "button",
        {
          type: "button",
          class: "button small square",
          title: hint,
          "aria-label": hint,
          onclick: act,
        },
        words,
      );
    return h(
      "div",
      { class: "pane-head" },
      h("h2", {}, "Timeline"),
      this.summary,
      h(
        "div",
        { class: "pane-tools" },
        this.criticalSwitch,
        button("−", "Shorter (-)", () => this.scale(this.zoom / 1.5)),
        button("+", "Longer (+)", () => this.scale(this.zoom * 1.5)),
        h(
          "button",
          {
            type: "button",
            class: "button small",
            title: "All of it (0)",
            onclick: () => this.scale(1),
          },
          "Fit",
        ),
      ),
    );
  }

  listen() {
    this.scroll.addEventListener("scroll", () => this.draw());
    this.scroll.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    this.tree.addEventListener("click", (event) => this.clicked(event));
    this.tree.addEventListener("keydown", (event) => this.typed(event));
    this.resizing = new ResizeObserver(() => this.draw());
    this.resizing.observe(this.scroll);
  }

  close() {
    this.resizing.disconnect();
  }

  // ---- what is shown ----------------------------------------------------------------------------
  // `timeline` has `bars` and `seconds`.
  show(timeline) {
    this.timeline = timeline;
    this.scaleOf = buildScale(timeline.bars, timeline.seconds);
    this.arrange();
    const left = timeline.left_out
      ? `, ${timeline.left_out.toLocaleString("en")} more are not drawn`
      : "";
    this.summary.textContent = timeline.bars.length
      ? `${duration(this.scaleOf.end)}, ${plural(timeline.bars.length, "bar")}${left}`
      : "";
    this.draw();
  }

  arrange() {
    this.rows = buildRows(this.timeline.bars, this.choices);
    this.current.row = Math.min(this.current.row, Math.max(0, this.rows.length - 1));
    const { activation, path } = this.selected;
    this.selectedRow = path ? findRow(this.rows, activation, path) : -1;
    this.sheet.style.setProperty("--rows", this.rows.length);
  }

  // The bar of the selection; a row that is hidden within a closed one is shown by that.
  select({ activation, path }, isMoving = true) {
    this.selected = { activation, path };
    const at = path ? findRow(this.rows, activation, path) : -1;
    this.selectedRow = at;
    if (at >= 0) {
      this.current.row = at;
      const bar = this.rows[at].bars.findIndex((candidate) => candidate.activation === activation);
      this.current.bar = Math.max(0, bar);
      if (isMoving) this.revealRow(at);
    }
    this.draw();
  }

  // `paths` are on the critical path; null switches it off.
  showCritical(paths) {
    this.critical = paths ? new Set(paths) : null;
    this.criticalSwitch.setAttribute("aria-pressed", String(this.critical !== null));
    this.draw();
  }

  // ---- zoom -------------------------------------------------------------------------------------
  // Looks at the size of the pane once: asking the document again for each bar would be slow.
  measure() {
    const width = this.scroll.clientWidth;
    this.labelWidth = Math.min(240, Math.max(116, width * 0.26));
    this.room = Math.max(80, width - this.labelWidth - RIGHT);
    return width > 0;
  }

  toPixel(time) {
    return (this.scaleOf.toX(time) / this.scaleOf.length) * this.room * this.zoom;
  }

  // Keeps the moment at `at` (pixels from the beginning of the tracks that are seen) where it is.
  scale(zoom, at = this.room / 2) {
    if (!this.scaleOf) return;
    const part = (this.scroll.scrollLeft + at) / (this.room * this.zoom);
    this.zoom = Math.min(MOST_ZOOM, Math.max(1, zoom));
    this.draw();
    this.scroll.scrollLeft = part * this.room * this.zoom - at;
    this.draw();
  }

  wheeled(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const at = event.clientX - this.scroll.getBoundingClientRect().left - this.labelWidth;
    this.scale(
      this.zoom * Math.exp(Math.max(-100, Math.min(100, event.deltaY)) * -0.004),
      Math.max(0, at),
    );
  }

  // ---- drawing ----------------------------------------------------------------------------------
  draw() {
    if (!this.scaleOf || !this.measure()) return;
    const { scrollTop, scrollLeft, clientHeight } = this.scroll;
    this.sheet.style.setProperty("--label", `${this.labelWidth}px`);
    this.sheet.style.width = `${this.labelWidth + this.room * this.zoom + RIGHT}px`;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - SPARE);
    const last = Math.min(this.rows.length, Math.ceil((scrollTop + clientHeight) / ROW) + SPARE);
    const wanted = Array.from({ length: Math.max(0, last - first) }, (_, at) => first + at);
    if (this.current.row < this.rows.length && !wanted.includes(this.current.row))
      wanted.push(this.current.row);
    const seen = [scrollLeft - 200, scrollLeft + this.room + RIGHT + 200];
    this.tree.replaceChildren(...wanted.map((at) => this.drawRow(at, seen)));
    if (this.rows.length)
      this.tree.setAttribute("aria-activedescendant", `tl-row-${this.current.row}`);
    else
      this.tree.replaceChildren(
        h("p", { class: "tl-none muted", role: "treeitem" }, "Nothing has run yet."),
      );
    this.drawAxis(seen);
  }

  drawRow(at, [from, to]) {
    const row = this.rows[at];
    const isCurrent = at === this.current.row;
    const strips = mergeBars(row.bars, (time) => this.toPixel(time), from, to);
    const inner = row.inner.length
      ? mergeBars(row.inner, (time) => this.toPixel(time), from, to)
      : [];
    const label = h(
      "div",
      { class: "tl-label", style: `padding-left:${6 + Math.min(row.level, 8) * 12}px` },
      row.canFold
        ? h("span", { class: "tl-fold", "data-fold": row.key }, icon(row.isOpen ? "down" : "right"))
        : h("span", { class: "tl-fold" }),
      h("bdi", { class: "tl-name", title: visible(row.path) }, visible(row.name)),
      noteOf(row),
    );
    const track = h(
      "div",
      { class: "tl-track" },
      ...strips.map((strip) => this.drawStrip(strip, row)),
      ...inner.map((strip) => this.drawInner(strip)),
      this.drawLength(row, from, to),
    );
    const attributes = {
      class: `tl-row${isCurrent ? " is-current" : ""}`,
      role: "treeitem",
      id: `tl-row-${at}`,
      "data-row": at,
      "aria-level": row.level + 1,
      "aria-selected": String(at === this.selectedRow),
      "aria-label": describe(row),
      style: `top:${at * ROW}px`,
    };
    if (row.canFold) attributes["aria-expanded"] = String(row.isOpen);
    return h("div", attributes, label, track);
  }

  drawStrip(strip, row) {
    const [bar] = strip.bars;
    const isSingle = strip.bars.length === 1;
    const isSelected =
      this.selected.activation !== "" &&
      strip.bars.some((each) => each.activation === this.selected.activation);
    const parts =
      isSingle && strip.width > 10
        ? [
            ...this.drawParts(bar, "attempts", "tl-attempt"),
            ...this.drawParts(bar, "requests", "tl-request"),
          ]
        : [];
    const classes = [
      "tl-bar",
      `is-${strip.status}`,
      row.canFold ? "is-group" : "",
      isSelected ? "is-selected" : "",
      this.nameWeight(strip),
      isSingle && bar.is_open ? "is-open" : "",
    ];
    const hint = isSingle
      ? `${visible(bar.hint)}\n${duration(bar.end - bar.begin)}`
      : plural(strip.bars.length, "activation");
    return h(
      "div",
      {
        class: classes.filter(Boolean).join(" "),
        "data-bar": row.bars.indexOf(bar),
        title: hint,
        style: `left:${strip.left}px;width:${strip.width}px`,
      },
      ...parts,
    );
  }

  drawInner(strip) {
    return h("div", {
      class: `tl-inner is-${strip.status} ${this.nameWeight(strip)}`,
      style: `left:${strip.left}px;width:${strip.width}px`,
    });
  }

  // The class of a strip while the critical path is shown: on it, or beside it.
  nameWeight(strip) {
    if (!this.critical) return "";
    return strip.bars.some((bar) => this.critical.has(bar.path)) ? "is-critical" : "is-slack";
  }

  drawParts(bar, name, kind) {
    const origin = this.toPixel(bar.begin);
    return bar[name].map((part) => {
      const left = this.toPixel(part.begin) - origin;
      const width = Math.max(1, this.toPixel(Math.min(part.end, bar.end)) - origin - left);
      return h("span", {
        class: `${kind} is-${part.status}`,
        style: `left:${left}px;width:${width}px`,
      });
    });
  }

  drawLength(row, from, to) {
    const last = row.bars.at(-1);
    const left = this.toPixel(last.end) + 6;
    if (left < from || left > to) return null;
    const total = row.bars.reduce((sum, bar) => sum + bar.end - bar.begin, 0);
    return h("span", { class: "tl-length", style: `left:${left}px` }, duration(total));
  }

  drawAxis([from, to]) {
    const perPixel = this.scaleOf.length / (this.room * this.zoom);
    const ticks = listTicks(
      this.scaleOf,
      Math.max(0, from) * perPixel,
      to * perPixel,
      Math.max(2, this.room / 90),
    );
    this.axis.replaceChildren(
      ...ticks.map((tick) =>
        h(
          "span",
          { class: "tl-tick", style: `left:${this.labelWidth + tick.x / perPixel}px` },
          tick.time ? duration(tick.time) : "0",
        ),
      ),
    );
    const cuts = this.scaleOf.pieces.filter((piece) => piece.isCut);
    this.cuts.replaceChildren(
      ...cuts.map((piece) =>
        h(
          "div",
          {
            class: "tl-cut",
            style: `left:${this.labelWidth + piece.x / perPixel}px;width:${piece.width / perPixel}px`,
          },
          h("span", {}, duration(piece.to - piece.from)),
        ),
      ),
    );
  }

  revealRow(at) {
    const [top, room] = [at * ROW, this.scroll.clientHeight - 3 * ROW];
    if (top < this.scroll.scrollTop || top > this.scroll.scrollTop + room)
      this.scroll.scrollTop = Math.max(0, top - room / 2);
  }

  // ---- pointer and keyboard ---------------------------------------------------------------------
  clicked(event) {
    const element = event.target.closest("[data-row]");
    if (!element) return;
    const at = Number(element.dataset.row);
    if (event.target.closest("[data-fold]")) return this.fold(at);
    const bar = event.target.closest("[data-bar]");
    this.choose(at, bar ? Number(bar.dataset.bar) : this.rows[at].bars.length - 1);
  }

  choose(row, bar) {
    this.current = { row, bar };
    this.onSelect(this.rows[row].bars[bar]);
  }

  fold(at) {
    const row = this.rows[at];
    if (!row.canFold) return;
    this.choices.set(row.key, !row.isOpen);
    this.current.row = at;
    this.arrange();
    this.draw();
  }

  typed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.rows.length) return;
    const act = this.keys()[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  keys() {
    const { row, bar } = this.current;
    const [now, last] = [this.rows[row], this.rows.length - 1];
    const move = (to) => {
      const at = Math.min(last, Math.max(0, to));
      this.choose(at, this.rows[at].bars.length - 1);
    };
    return {
      ArrowDown: () => move(row + 1),
      ArrowUp: () => move(row - 1),
      Home: () => move(0),
      End: () => move(last),
      PageDown: () => move(row + 10),
      PageUp: () => move(row - 10),
      ArrowRight: () =>
        now.canFold && !now.isOpen
          ? this.fold(row)
          : bar < now.bars.length - 1
            ? this.choose(row, bar + 1)
            : null,
      ArrowLeft: () =>
        now.canFold && now.isOpen ? this.fold(row) : bar > 0 ? this.choose(row, bar - 1) : null,
      Enter: () => this.choose(row, bar),
      " ": () => (now.canFold ? this.fold(row) : this.choose(row, bar)),
      "+": () => this.scale(this.zoom * 1.5),
      "-": () => this.scale(this.zoom / 1.5),
      0: () => this.scale(1),
    };
  }
}

function noteOf(row) {
  const words = [];
  if (row.items) words.push(plural(row.items, "item"));
  else if (row.bars.length > 1) words.push(`${row.bars.length}×`);
  const failed = row.inner.filter((bar) => bar.status === "failed").length;
  const remark = row.bars.length === 1 ? row.bars[0].remark : "";
  if (remark) words.push(remark);
  return h(
    "span",
    { class: "tl-note" },
    words.join(" · "),
    failed && row.items ? h("span", { class: "bad" }, ` ${failed} failed`) : null,
  );
}

function describe(row) {
  const total = row.bars.reduce((sum, bar) => sum + bar.end - bar.begin, 0);
  const words = [visible(row.name), row.bars.at(-1).status.replace("_", " "), duration(total)];
  if (row.items) words.push(plural(row.items, "item"));
  else if (row.bars.length > 1) words.push(`${row.bars.length} times`);
  return words.join(", ");
}
