// The open questions of all runs, asked for once for all parts of the page that show them, and
// again when a run that asks something changes.
import { Pulse } from "../parts/pulse.js";

export class InboxFeed {
  constructor(api) {
    this.api = api;
    this.listeners = new Set();
    this.runs = new Set(); // ids of runs with open questions
    this.latest = null;
    this.problem = null;
    this.pulse = new Pulse(() => this.read());
  }

  // Calls `listener({ questions, unreadable })` now, if anything is known, and at every change.
  // Gives a function that ends it.
  listen(listener) {
    this.listeners.add(listener);
    if (this.latest) listener(this.latest);
    return () => this.listeners.delete(listener);
  }

  ask() {
    this.pulse.ask();
  }

  hear({ event, data }) {
    const isAsking = data?.row?.figures?.questions > 0;
    if (event === "again" || isAsking || this.runs.has(data?.run_id)) this.ask();
  }

  async read() {
    try {
      this.latest = await this.api.get("/inbox", {}, { isExact: true });
      this.problem = null;
    } catch (problem) {
      this.problem = problem; // whoever shows the questions says so
    }
    if (this.latest) this.runs = new Set(this.latest.questions.map(({ run_id: id }) => id));
    for (const listener of [...this.listeners])
      listener(this.latest ?? { questions: [], unreadable: [] }, this.problem);
  }
}
