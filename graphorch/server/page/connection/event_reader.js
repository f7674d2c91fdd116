// Reads server-sent events out of the body of an answer: `fetch` can send the token, EventSource
// cannot.
const END_OF_LINE = /\r\n|\n|\r/;

// Calls `onEvent({ id, event, data })` for each event, and `onSound()` whenever bytes come, which
// the server's heartbeats are too. Returns when the stream ends.
export async function readEvents(body, onEvent, onSound = () => {}) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser(onEvent);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onSound();
    parser.take(value);
  }
}

export class EventParser {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.rest = "";
    this.clear();
  }

  clear() {
    this.event = "message";
    this.data = [];
  }

  take(text) {
    const whole = this.rest + text;
    // A return at the end may be half of a line's end.
    const usable = whole.endsWith("\r") ? whole.slice(0, -1) : whole;
    const lines = usable.split(END_OF_LINE);
    this.rest = lines.pop() + whole.slice(usable.length);
    lines.forEach((line) => this.line(line));
  }

  line(line) {
    if (line === "") this.dispatch();
    if (line === "" || line.startsWith(":")) return;
    const at = line.indexOf(":");
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "data") this.data.push(value);
    else if (name === "event") this.event = value;
    else if (name === "id") this.id = value;
  }

  dispatch() {
    if (this.data.length)
      this.onEvent({ id: this.id, event: this.event, data: this.data.join("\n") });
    this.clear();
  }
}
