// One stream of events for all tabs of this page.
//
// A browser opens six connections to a server that speaks HTTP/1.1, so seven tabs with a stream of
// their own would stand still. The tab that holds the lock reads the stream and passes every event
// on; when it closes, the browser gives the lock to the next. A tab that is seen, and hears
// nothing from the reader for a while, takes the lock away from it: a sleeping tab may hold it.
//
// Where there are no locks (a page without TLS on another machine), each tab reads for itself, and
// only while it is seen.
import { readEvents } from "./event_reader.js";

const NAME = "graphorch.events";
const SILENCE = 40_000; // milliseconds without a sound after which a reader counts as asleep
const SOUND = 10_000; // how often a reader says that it is there
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const ROUND = 5_000; // how often is asked anew while the server has no place for a stream

export class SharedStream {
  // `open(signal)` gives the answer whose body is the stream. `onEvent({event, data})` takes an
  // event, and `onState(state)` one of `{name: "live"}`, `{name: "slow"}`,
  // `{name: "lost", retry}` and `{name: "token"}`.
  constructor(open, onEvent, onState) {
    Object.assign(this, { open, onEvent, onState });
    this.state = { name: "connecting" };
    this.heard = Date.now();
  }

  start() {
    this.channel = new BroadcastChannel(NAME);
    this.channel.onmessage = ({ data }) => this.hear(data);
    this.channel.postMessage({ asks: true });
    document.addEventListener("visibilitychange", () => this.seen());
    setInterval(() => this.watch(), SOUND);
    if (navigator.locks) this.queue({});
    else this.seen();
  }

  // ---- which tab reads --------------------------------------------------------------------------
  queue(options) {
    const lock = navigator.locks.request(NAME, options, () => {
      this.isReader = true;
      return this.read();
    });
    // The lock was taken away, or the token is not valid: this tab listens from now on.
    lock.catch(() => this.stop()).then(() => this.state.name !== "token" && this.queue({}));
  }

  seen() {
    if (navigator.locks) this.watch();
    else if (document.hidden) this.stop();
    else if (!this.isReader) {
      this.isReader = true;
      this.read();
    }
  }

  watch() {
    if (this.isReader) return this.channel.postMessage({ state: this.state });
    if (document.hidden || Date.now() - this.heard < SILENCE || this.state.name === "token") return;
    this.heard = Date.now();
    if (navigator.locks) this.queue({ steal: true });
  }

  stop() {
    this.isReader = false;
    this.abort?.abort();
  }

  // ---- what other tabs say ----------------------------------------------------------------------
  hear(data) {
    this.heard = Date.now();
    if (this.isReader) {
      if (data.asks) this.channel.postMessage({ state: this.state });
      if (data.again) this.wake?.();
      return;
    }
    if (data.state) this.tell(data.state);
    if (data.event) this.onEvent(data.event);
  }

  tell(state) {
    const before = this.state.name;
    this.state = state;
    if (this.isReader) this.channel.postMessage({ state });
    this.onState(state, before);
  }

  // Tries at once what waits for its next attempt.
  again() {
    if (this.isReader) this.wake?.();
    else this.channel.postMessage({ again: true });
  }

  // ---- reading ----------------------------------------------------------------------------------
  async read() {
    let wait = FIRST_WAIT;
    while (this.isReader) {
      let problem = null;
      try {
        this.abort = new AbortController();
        const answer = await this.open(this.abort.signal);
        this.tell({ name: "live" });
        wait = FIRST_WAIT;
        await readEvents(answer.body, (event) => this.pass(event));
      } catch (caught) {
        problem = caught;
      }
      if (!this.isReader) return;
      if (problem?.kind === "token") return this.end();
      if (problem?.status >= 400) {
        // It answers, but not with a stream: what is shown is asked for anew now and then.
        this.tell({ name: "slow" });
        this.pass({ event: "again", data: "null" });
        await this.rest(ROUND);
        continue;
      }
      this.tell({ name: "lost", retry: Date.now() + wait });
      await this.rest(wait);
      wait = Math.min(LONGEST_WAIT, wait * 2);
    }
  }

  // The token is not valid any more: the tab that has a new one reads.
  end() {
    this.tell({ name: "token" });
    this.isReader = false;
  }

  pass(event) {
    this.channel.postMessage({ event });
    this.onEvent(event);
  }

  rest(milliseconds) {
    return new Promise((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, milliseconds);
    });
  }
}
