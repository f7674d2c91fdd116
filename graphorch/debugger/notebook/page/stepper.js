// The page: the panels of a session and its forks, the keys, and whether the kernel still answers.
const KEYS = { s: "step", i: "into", g: "go", c: "go", b: "back", p: "pause", f: "fork" };
const STEP_KEYS = "s step · i into · c continue · b back · p pause · f fork. At a node: x sets or removes a breakpoint, o opens or closes a sub-flow.";
const PICTURE_KEYS = "In the picture: arrows go from node to node, Enter shows one, Escape lets go of it. + and - zoom, 0 is the original size, a shows all, / searches.";
const PATIENCE = 8000; // milliseconds for an answer
const RESTARTED = "The kernel of this page has ended or was restarted, and the session with it. Run the cell again.";
const SILENT = "The kernel does not answer. It is busy with a cell, or was restarted: then run the cell again.";

function render({ model, el }) {
  const panels = [];
  const isRecord = !!model.record;
  const root = h("div", { class: "gs-stepper", tabindex: "0", "data-lm-suppress-shortcuts": "true" });
  el.append(root);
  root.classList.toggle("gs-record", isRecord);

  // ---- whether somebody answers ----------------------------------------------------------------------
  let patience = null;
  const setDead = (words) => panels.forEach((panel) => panel.showDead(words));
  const answered = () => {
    clearTimeout(patience);
    patience = null;
    setDead("");
  };
  const ended = () => {
    clearTimeout(patience);
    setDead(RESTARTED);
  };
  const watched = {
    record: model.record,
    get: (name) => model.get(name),
    send: (message) => {
      if (isRecord) return;
      patience ??= setTimeout(() => setDead(SILENT), PATIENCE);
      model.send(message);
    },
  };

  // ---- what comes --------------------------------------------------------------------------------------
  const paint = () => {
    const views = model.get("panels");
    while (panels.length > views.length) panels.pop().el.remove();
    views.forEach((view, number) => {
      if (!panels[number] || panels[number].view.run !== view.run) {
        const fresh = new Panel(watched, number);
        if (panels[number]) panels[number].el.replaceWith(fresh.el);
        else root.append(fresh.el);
        panels[number] = fresh;
      }
      panels[number].show(view);
    });
    root.classList.toggle("gs-several", views.length > 1);
  };
  const changed = () => {
    answered();
    paint();
  };
  const told = (message) => {
    answered();
    panels[message.panel]?.take(message);
  };

  root.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.target.closest("textarea, input") || event.ctrlKey || event.metaKey || event.altKey) return;
    const panel = panels.find((candidate) => candidate.el.contains(event.target)) ?? panels[0];
    if (event.key === "Escape") panel.select(null);
    if (event.key === "?") panel.toggleKeys();
    if (isRecord || !(event.key in KEYS)) return;
    event.preventDefault();
    panel.buttons[KEYS[event.key]].click();
  });
  model.on("change:panels", changed);
  model.on("msg:custom", told);
  model.on("comm_live_update", ended); // of ipywidgets, when the kernel of a page is gone
  const stopTheme = followTheme(root);
  paint();
  return () => {
    clearTimeout(patience);
    stopTheme();
    model.off("change:panels", changed);
    model.off("msg:custom", told);
    model.off("comm_live_update", ended);
  };
}

// Colours are written for light and dark pages. JupyterLab says by a mark which one it is, other pages by the `color-scheme` that they set;
// pictures look at `data-theme`.
function followTheme(root) {
  const page = [document.documentElement, document.body];
  const set = () => {
    const mark = document.body.dataset.jpThemeLight;
    const scheme = mark ? (mark === "true" ? "light" : "dark") : getComputedStyle(root.parentElement ?? document.body).colorScheme;
    if (scheme !== "dark" && scheme !== "light") return;
    root.style.colorScheme = scheme;
    root.dataset.theme = scheme;
  };
  const watcher = new MutationObserver(set);
  page.forEach((element) => watcher.observe(element, { attributes: true }));
  set();
  return () => watcher.disconnect();
}

export default { render };
