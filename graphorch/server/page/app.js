// The beginning: connects, draws the frame, and shows the view that the address names.
import { Api } from "./api.js";
import { failure } from "./parts/states.js";
import { Announcer } from "./shell/announcer.js";
import { Frame } from "./shell/frame.js";
import { InboxFeed } from "./shell/inbox_feed.js";
import { Keys } from "./shell/keys.js";
import { Navigator } from "./shell/navigator.js";
import { Theme } from "./shell/theme.js";
import { HOME, VIEWS } from "./views.js";
import { Questions } from "./views/inbox/questions.js";

class App {
  constructor(api) {
    this.api = api;
    this.theme = new Theme();
    this.announcer = new Announcer();
    this.keys = new Keys([
      { key: "r", words: "go to the runs", act: () => this.navigator.go({ path: ["runs"] }) },
      { key: "i", words: "go to the inbox", act: () => this.navigator.go({ path: ["inbox"] }) },
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
      copy: null,
      live: false,
      buildQuestions: (runId) => new Questions(this.context, runId),
      go: (address, options) => this.navigator.go(address, options),
      say: (words) => this.announcer.say(words),
    };
    this.navigator = new Navigator({
      views: VIEWS,
      home: HOME,
      frame: this.frame,
      keys: this.keys,
      context: this.context,
    });
    document.body.replaceChildren(...this.frame.el);
  }

  async start() {
    try {
      this.context.about = await this.api.get("/about");
    } catch (problem) {
      return this.fail(problem);
    }
    this.frame.showAbout(this.context.about);
    this.navigator.start();
    this.inbox.ask();
    this.stream = this.api.openStream(
      (event) => this.hear(event),
      (state, before) => this.changeLine(state, before),
    );
    this.stream.start();
  }

  // The server is away, or refuses the token: said in place of a view, and tried again.
  fail(problem) {
    const again = async () => {
      this.api.token ||= (await Api.connect()).token;
      this.start();
    };
    this.frame.main.replaceChildren(failure(problem, again));
  }

  // ---- what the server says ---------------------------------------------------------------------
  hear({ event, data }) {
    const heard = { event, data: JSON.parse(data) };
    this.inbox.hear(heard);
    this.navigator.view?.hear?.(heard);
  }

  changeLine(state, before) {
    this.context.live = state.name === "live";
    this.frame.showLine(state);
    if (state.name === "live" && before !== "live") this.hear({ event: "again", data: "null" });
    if (state.name === "live" && before === "lost") this.announcer.say("The server answers again.");
  }
}

new App(await Api.connect()).start();
