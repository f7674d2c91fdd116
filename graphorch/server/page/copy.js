// The beginning of an exported file: the page of one run, without a server.
import { Exported } from "./connection/exported.js";
import { Announcer } from "./shell/announcer.js";
import { Frame } from "./shell/frame.js";
import { Keys } from "./shell/keys.js";
import { Navigator } from "./shell/navigator.js";
import { Theme } from "./shell/theme.js";
import { CopiedQuestions } from "./views/run/copied_questions.js";
import { RunView } from "./views/run/run.js";

const exported = Exported.take();
const id = exported.about.run;
const announcer = new Announcer();
const keys = new Keys([{ key: "t", words: "next colours", act: () => frame.turnTheme() }]);
const frame = new Frame([], { theme: new Theme(), keys, announcer });
const navigator = new Navigator({
  views: [
    { name: "run", takes: ([first, run]) => first === "runs" && run === id, View: RunView },
  ],
  home: { path: ["runs", id] },
  frame,
  keys,
  context: {
    api: exported,
    copy: exported,
    about: null,
    live: false,
    buildQuestions: () => new CopiedQuestions(),
    go: (address, options) => navigator.go(address, options),
    say: (words) => announcer.say(words),
  },
});
document.body.replaceChildren(...frame.el);
navigator.start();
