// The frame around a view: navigation, what the connection does, theme, keys.
import { h } from "../parts/elements.js";
import { icon } from "../parts/icons.js";
import { writeAddress } from "./address.js";

const SLOW = "The server has no place for another stream, so this page asks every 5 seconds.";
const ICON = document.querySelector('link[rel="icon"]').href;
const SIGNS = { system: "screen", light: "sun", dark: "moon" };

export class Frame {
  // `entries` are the words of the navigation: `{ name, menu }`; a copy of a run has none.
  constructor(entries, { theme, keys, announcer, again }) {
    Object.assign(this, { theme, again });
    this.links = new Map(
      entries.map(({ name, menu }) => [
        name,
        h("a", { href: writeAddress({ path: [name] }) }, menu),
      ]),
    );
    this.themeButton = h("button", {
      type: "button",
      class: "button quiet square",
      onclick: () => this.turnTheme(),
    });
    this.line = h("span", { class: "line-state", hidden: "" });
    this.reading = h("span", { class: "read-only", hidden: "" }, "read only");
    this.main = h("main", { id: "main", tabindex: "-1" });
    this.banner = h("div", { class: "banner", role: "alert", hidden: "" });
    this.el = [
      h(
        "a",
        { class: "skip", href: "#main", onclick: (event) => this.skip(event) },
        "Skip to the content",
      ),
      h(
        "header",
        { class: "top" },
        h(
          entries.length ? "a" : "span",
          { class: "brand", href: entries.length ? "#/runs" : null },
          h("img", { src: ICON, alt: "", width: "20", height: "20" }),
          "graphorch",
        ),
        entries.length ? h("nav", { "aria-label": "Pages" }, ...this.links.values()) : null,
        h(
          "div",
          { class: "top-end" },
          this.reading,
          this.line,
          this.themeButton,
          h(
            "button",
            {
              type: "button",
              class: "button quiet square",
              title: "Keys (?)",
              "aria-label": "Keys",
              onclick: () => keys.toggle(),
            },
            h("kbd", {}, "?"),
          ),
        ),
      ),
      this.banner,
      this.main,
      announcer.el,
      keys.dialog,
    ];
    this.labelTheme();
  }

  skip(event) {
    event.preventDefault();
    this.main.focus();
  }

  turnTheme() {
    this.theme.turn();
    this.labelTheme();
  }

  labelTheme() {
    const { choice } = this.theme;
    const words = choice === "system" ? "Colours: as the system" : `Colours: ${choice}`;
    this.themeButton.replaceChildren(icon(SIGNS[choice]));
    this.themeButton.title = `${words} (t)`;
    this.themeButton.setAttribute("aria-label", words);
  }

  mark(name) {
    for (const [entry, link] of this.links) {
      if (entry === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  // A number beside a word of the navigation; a question that can be answered counts.
  count(name, questions) {
    const open = questions.filter((row) => row.answered_at === null).length;
    const link = this.links.get(name);
    link.querySelector(".count")?.remove();
    if (open)
      link.append(
        h(
          "span",
          { class: "count" },
          String(open),
          h("span", { class: "visually-hidden" }, " open"),
        ),
      );
  }

  showView(view) {
    this.main.replaceChildren(view.el);
  }

  // ---- the connection ---------------------------------------------------------------------------
  showAbout(about) {
    this.reading.hidden = !about.read_only;
    this.reading.title =
      "The server was started without a flow: runs can be looked at, and nothing can be changed.";
  }

  // What the stream does: live, lost with the time of the next attempt, or without a token.
  showLine(state) {
    clearInterval(this.ticking);
    this.line.hidden = false;
    this.line.className = `line-state line-${state.name}`;
    this.line.textContent = {
      live: "live",
      slow: "every 5 s",
      lost: "away",
      token: "no token",
      connecting: "connecting",
    }[state.name];
    this.line.title = state.name === "slow" ? SLOW : "";
    this.banner.hidden = !["lost", "token"].includes(state.name);
    if (state.name === "token")
      this.banner.replaceChildren(
        h(
          "span",
          {},
          "This page has no valid token any more. Open the link that the server printed when it started.",
        ),
      );
    if (state.name === "lost") this.countDown(state.retry);
  }

  countDown(until) {
    const words = h("span", { "aria-live": "off" });
    const button = h(
      "button",
      { type: "button", class: "button small", onclick: this.again },
      "Try now",
    );
    const write = () => {
      const left = Math.max(0, Math.ceil((until - Date.now()) / 1000));
      words.textContent = left ? `Trying again in ${left} s.` : "Trying again …";
    };
    if (this.banner.dataset.state !== "lost" || !this.banner.firstChild) {
      this.banner.replaceChildren(
        h("span", {}, "The server does not answer. What you see may be old. "),
        words,
        button,
      );
    } else this.banner.children[1].replaceWith(words);
    this.banner.dataset.state = "lost";
    write();
    this.ticking = setInterval(write, 1000);
  }
}
