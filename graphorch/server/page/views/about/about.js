// What this server is: its journal, its flows, and how another program reaches it.
import { h, replaceChildren } from "../../parts/elements.js";
import { bytes } from "../../parts/figures.js";
import { failure, loading } from "../../parts/states.js";
import { inline, visible } from "../../parts/text.js";
import { writeAddress } from "../../shell/address.js";

const HIDDEN = "TOKEN"; // stands in for the token until the reader wants to see it

export class AboutView {
  title = "About";
  keys = [];

  constructor(context) {
    this.context = context;
    this.body = h("div", { class: "about-body" });
    this.el = h(
      "div",
      { class: "page about-page" },
      h("div", { class: "page-head" }, h("h1", {}, "About this server")),
      this.body,
    );
  }

  show() {
    this.load();
  }

  async load() {
    if (!this.body.firstChild) this.body.replaceChildren(loading("Asking the server", 4));
    try {
      const about = await this.context.api.get("/about");
      const facts = h("div", { class: "about-column" }, journal(about), flows(about), models(about));
      replaceChildren(this.body, [facts, this.tools(about)]);
    } catch (problem) {
      this.body.replaceChildren(failure(problem, () => this.load()));
    }
  }

  // ---- programs that connect ----------------------------------------------------------------------
  tools(about) {
    if (about.read_only || !about.flows.length)
      return card(
        "Connect an MCP client",
        h("p", { class: "muted" }, "This server offers no flows. Started with one, it offers each as a tool:"),
        h("pre", { class: "command" }, "graphorch serve FLOW.py"),
      );
    const written = h("pre", { class: "command" });
    const command = h("pre", { class: "command" });
    const shown = h("input", { type: "checkbox", onchange: () => write() });
    const write = () => {
      const token = shown.checked ? this.context.api.token : HIDDEN;
      written.textContent = JSON.stringify(settings(token), null, 2);
      command.textContent = ask(token);
    };
    write();
    return card(
      "Connect an MCP client",
      h(
        "p",
        { class: "muted" },
        "Each flow is a tool, over HTTP. Settings as most clients take them:",
      ),
      this.copyable("settings", written, () => JSON.stringify(settings(this.context.api.token), null, 2)),
      h("p", { class: "muted" }, "The API, from a terminal:"),
      this.copyable("command", command, () => ask(this.context.api.token)),
      h("label", { class: "check" }, shown, "Show the token"),
      h(
        "p",
        { class: "muted small" },
        "Copying puts the token in place of its name. Whoever has it can do all that this page can; the next start of the server makes another one.",
      ),
    );
  }

  copyable(what, element, read) {
    const button = h(
      "button",
      {
        type: "button",
        class: "button small",
        onclick: async () => {
          const isDone = await copy(read());
          button.textContent = isDone ? "Copied" : "Not allowed here";
          this.context.say(isDone ? `The ${what}, with the token, can be pasted.` : "Copying is not allowed here.");
          setTimeout(() => (button.textContent = "Copy with the token"), 2000);
        },
      },
      "Copy with the token",
    );
    return h("div", { class: "copyable" }, element, button);
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // beyond this machine without TLS, browsers have no clipboard
  }
}

const settings = (token) => ({
  mcpServers: {
    graphorch: {
      type: "http",
      url: `${location.origin}/mcp`,
      headers: { Authorization: `Bearer ${token}` },
    },
  },
});
const ask = (token) => `curl -H 'Authorization: Bearer ${token}' ${location.origin}/api/runs`;

// ---- what it is ----------------------------------------------------------------------------------
const card = (title, ...content) =>
  h("section", { class: "card about-card", "aria-label": title }, h("h2", {}, title), ...content);

function journal(about) {
  const size = about.journal_bytes === null ? "in a database" : bytes(about.journal_bytes);
  return card(
    "Server",
    h(
      "dl",
      { class: "about-facts" },
      ...fact("Version", inline(about.version)),
      ...fact("Journal", h("span", { class: "mono break" }, visible(about.journal))),
      ...fact("Size", size),
      ...fact("Allows", about.read_only ? "reading only" : "reading, answering, starting and changing runs"),
    ),
  );
}

const fact = (title, value) => [h("dt", {}, title), h("dd", {}, value)];

function flows(about) {
  if (!about.flows.length)
    return card(
      "Flows",
      h("p", { class: "muted" }, "None is loaded. A journal never says which code to run: name flows when the server starts."),
      h("pre", { class: "command" }, "graphorch serve FLOW.py"),
    );
  const rows = about.flows.map((name) =>
    h("li", {}, h("a", { href: writeAddress({ path: ["start", name] }) }, inline(name))),
  );
  return card("Flows", h("ul", { class: "plain-list" }, ...rows));
}

function models(about) {
  const names = (list) =>
    list.length
      ? list.flatMap((name, at) => [at ? ", " : "", inline(name, { class: "mono" })])
      : [h("span", { class: "muted" }, "none")];
  return card(
    "Models",
    h(
      "dl",
      { class: "about-facts" },
      h("dt", {}, "Asked by all runs"),
      h("dd", {}, about.model ? inline(about.model, { class: "mono" }) : "those that the flows name"),
      h("dt", {}, "Endpoints"),
      h("dd", {}, ...names(about.endpoints)),
      h("dt", {}, "Policies"),
      h("dd", {}, ...names(about.policies)),
    ),
  );
}
