// The views of the page. Each is a class in a folder of its own:
//
//   constructor(context)  builds `el`; asks for nothing yet. The context has
//                         `api` (get, post), `go(address, {replace})`, `say(words)` for those who
//                         do not see, `about` (what the server is, null in a file), `live`,
//                         `inbox` (open questions of all runs, kept up to date).
//   el                    the element that stands in the frame.
//   title                 what the window is called; may change.
//   keys                  single keys, `{ key, words, act }`, that `?` lists.
//   show(address)         shows what an address names: `{ path: ["runs", ID], query }`. Called again
//                         whenever the address changes within the view.
//   hear(event)           (optional) an event of the server's one stream: `{ event, data }`, data
//                         parsed; and `{ event: "again" }` after a gap: look at everything anew.
//   close()               (optional) the reader went elsewhere.
//
// `takes(path)` says which addresses a view shows; the first that does is taken. A `menu` is its
// word in the navigation.
import { AboutView } from "./views/about/about.js";
import { CompareView } from "./views/compare/compare.js";
import { FiguresView } from "./views/figures/figures.js";
import { InboxView } from "./views/inbox/inbox.js";
import { RunView } from "./views/run/run.js";
import { RunsView } from "./views/runs/runs.js";
import { StartView } from "./views/start/start.js";
import { WhatIfView } from "./views/what_if/what_if.js";

export const VIEWS = [
  {
    name: "run",
    takes: ([first, id]) => first === "runs" && id !== undefined,
    View: RunView,
    menu: null,
  },
  { name: "runs", takes: ([first]) => first === "runs", View: RunsView, menu: "Runs" },
  { name: "inbox", takes: ([first]) => first === "inbox", View: InboxView, menu: "Inbox" },
  { name: "figures", takes: ([first]) => first === "figures", View: FiguresView, menu: "Figures" },
  { name: "compare", takes: ([first]) => first === "compare", View: CompareView, menu: null },
  { name: "start", takes: ([first]) => first === "start", View: StartView, menu: "Start" },
  { name: "what-if", takes: ([first]) => first === "what-if", View: WhatIfView, menu: null },
  { name: "about", takes: ([first]) => first === "about", View: AboutView, menu: "About" },
];

export const HOME = { path: ["runs"] };
