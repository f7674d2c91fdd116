// The beginning: connects, draws the frame, and shows the view that the address names.
import { Api } from "./api.js";
import { failure } from "./parts/states.js";
import { Announcer } from "./shell/announcer.js";
import { readAddress, writeAddress } from "./shell/address.js";
import { Frame } from "./shell/frame.js";
import { InboxFeed } from "./shell/inbox_feed.js";
import { Keys } from "./shell/keys.js";
import { Theme } from "./shell/theme.js";
import { HOME, VIEWS } from "./views.js";

class App {
  constructor(api) {
    this.api = api;
    this.theme = new Theme();
    this.announcer = new Announcer();
    this.keys = new Keys([
      { key: "r", words: "go to the runs", act: () => this.go({ path: ["runs"] }) },
      { key: "i", words: "go to the inbox", act: () => this.go({ path: ["inbox"] }) },
      { key: "t", words: "next colours", act: () => this.frame.turnTheme() },
    ]);
    const entries = VIEWS.filter((entry) => entry.menu);
    this.frame = new Frame(entries, {
      theme: this.theme,
      keys: this.keys,
      announcer: this.announcer,
      again: () => this.stream?.again(),
    });
    this.inbox = new InboxFeed(api);
    this.inbox.listen(({ questions }) => this.frame.count("inbox", questions));
    this.context = {
      api,
      inbox: this.inbox,
      about: null,
      live: false,
      go: (address, options) => this.go(address, options),
      say: (words) => this.announcer.say(words),
    };
    document.body.replaceChildren(...this.frame.el);
  }

  async start() {
    try {
      this.context.about = this.api.exported ? null : await this.api.get("/about");
    } catch (problem) {
      return this.fail(problem);
    }
    if (this.context.about) this.frame.showAbout(this.context.about);
    if (!location.hash && this.api.exported) location.replace(`#${this.api.exported.place}`);
    addEventListener("hashchange", () => this.follow());
    this.follow();
    if (this.context.about) this.inbox.ask();
    this.stream = this.api.openStream(
      (event) => this.hear(event),
      (state, before) => this.changeLine(state, before),
    );
    this.stream?.start();
  }

  // The server is away, or refuses the token: said in place of a view, and tried again.
  fail(problem) {
    const again = async () => {
      this.api.token ||= (await Api.connect()).token;
      this.start();
    };
    this.frame.main.replaceChildren(failure(problem, again));
  }

  // ---- the address ------------------------------------------------------------------------------
  go(address, { replace = false } = {}) {
    const hash = writeAddress(address);
    if (hash === location.hash) return;
    if (!replace) location.hash = hash;
    else {
      history.replaceState(null, "", hash);
      this.follow();
    }
  }

  follow() {
    const address = readAddress();
    const entry = VIEWS.find((candidate) => candidate.takes(address.path));
    if (!entry) return this.go(HOME, { replace: true });
    if (entry !== this.entry) this.open(entry);
    this.frame.mark(entry.menu ? entry.name : address.path[0]);
    this.view.show(address);
    document.title = `${this.view.title} · graphorch`;
  }

  open(entry) {
    this.view?.close?.();
    const isFirst = !this.entry;
    this.entry = entry;
    this.view = new entry.View(this.context);
    this.keys.view = this.view.keys ?? [];
    this.frame.showView(this.view);
    scrollTo(0, 0);
    if (!isFirst) this.frame.main.focus({ preventScroll: true });
  }

  // ---- what the server says ---------------------------------------------------------------------
  hear({ event, data }) {
    const heard = { event, data: JSON.parse(data) };
    this.inbox.hear(heard);
    this.view?.hear?.(heard);
  }

  changeLine(state, before) {
    this.context.live = state.name === "live";
    this.frame.showLine(state);
    if (state.name === "live" && before !== "live") this.hear({ event: "again", data: "null" });
    if (state.name === "live" && before === "lost") this.announcer.say("The server answers again.");
  }
}

new App(await Api.connect()).start();
