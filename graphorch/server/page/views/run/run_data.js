// What is known of a run, brought up to date by small requests as its records come.
//
// Moments are the outcomes of activations in their order. The last moment of an activation is what
// selects it: by its record's number, `seq`, and its `path`.
import { shortActivation } from "./selection.js";

const PAGE = 1000; // moments that are asked for at once

export class RunData {
  constructor(api, id) {
    this.api = api;
    this.id = id;
    this.base = `/runs/${encodeURIComponent(id)}`;
    this.page = null;
    this.timeline = null;
    this.moments = [];
    this.bySeq = new Map();
    this.lastOf = new Map(); // the last moment of each activation
    this.lastAt = new Map(); // the last moment of each path, and of each step
    this.seq = 0;
  }

  read(path, query, options) {
    return this.api.get(`${this.base}${path}`, query, options);
  }

  // Whether the code of the flow is at hand: without it no state is known, and no reason.
  get hasCode() {
    return this.page?.flow.is_loaded && this.page.flow.fits;
  }

  async readPage() {
    this.page = await this.read("");
    return this.page;
  }

  // Reads the bars that came or changed since, and those that have not ended.
  async readTimeline() {
    const known = this.timeline;
    const fresh = await this.read("/timeline", { after: known?.seq ?? "" });
    if (known) {
      const bars = new Map(known.bars.map((bar) => [bar.id, bar]));
      for (const bar of fresh.bars) bars.set(bar.id, bar);
      fresh.bars = [...bars.values()];
    }
    this.timeline = fresh;
    return fresh;
  }

  // Reads the moments that came since.
  async readMoments() {
    for (let after = this.seq; after !== null;) {
      const page = await this.read("/moments", { after, limit: PAGE });
      page.moments.forEach((moment) => this.take(moment));
      this.seq = Math.max(this.seq, page.seq);
      after = page.next;
    }
  }

  take(moment) {
    const at = this.bySeq.get(moment.seq) ?? this.moments.length;
    this.bySeq.set(moment.seq, at);
    this.moments[at] = moment; // a later reading knows more of it
    if (!moment.path) return;
    this.lastOf.set(shortActivation(moment.activation), moment);
    this.lastAt.set(moment.path, moment);
    this.lastAt.set(moment.step, moment);
  }

  momentAt(seq) {
    const at = this.bySeq.get(seq);
    return at === undefined ? null : this.moments[at];
  }

  // The moment before or after a record, `by` -1 or 1; the last one for a selection of none.
  neighbour(seq, by) {
    if (!this.moments.length) return null;
    if (seq === null) return by < 0 ? this.moments.at(-1) : this.moments[0];
    const at = this.bySeq.get(seq);
    if (at !== undefined) return this.moments[at + by] ?? null;
    const after = this.moments.findIndex((moment) => moment.seq > seq);
    const next = after < 0 ? this.moments.length : after;
    return this.moments[by > 0 ? next : next - 1] ?? null;
  }
}
