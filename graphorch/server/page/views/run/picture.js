// The picture of a run's flow: the server draws it, this module puts it into the page without its
// style attributes, colours its boxes by classes, and lets them be chosen.
import { focused, h } from "../../parts/elements.js";
import { failureOf, loading } from "../../parts/states.js";
import { Viewport } from "../../parts/viewport.js";
import { boxOf } from "./selection.js";

const ELEMENTS = new Set([
  "svg",
  "title",
  "desc",
  "g",
  "path",
  "rect",
  "circle",
  "ellipse",
  "line",
  "polyline",
  "polygon",
  "text",
  "tspan",
]);
const HEATS = [
  ["", "what ran"],
  ["cost", "cost"],
  ["p50", "median time"],
  ["p95", "slowest 5 %"],
  ["errors", "errors"],
  ["visits", "visits"],
];
const STYLES = /<style>([^<]*)<\/style>/g;
const COLOUR = /^[\w\s:;,.()#%!-]*$/; // declarations without an address
const ATTRIBUTES = /^(on|style$|href$|xlink:|src$)/i;

export class PicturePane {
  // `onSelect(box)` is called with the path of a box, `onHeat()` after another choice of colours, and
  // `onFold(closed)` with the paths of maps and sub-flows that are to be closed.
  constructor({ onSelect, onHeat, onFold }) {
    Object.assign(this, { onSelect, onFold });
    this.closed = new Set();
    this.foldButton = h(
      "button",
      { type: "button", class: "button small", hidden: "", onclick: () => this.foldAll() },
      "Fold",
    );
    this.heat = "";
    const choose = (event) => {
      this.heat = event.target.value;
      onHeat();
    };
    const options = HEATS.map(([value, words]) => h("option", { value }, words));
    const heats = h(
      "select",
      { class: "field heats", "aria-label": "What colours mean", onchange: choose },
      ...options,
    );
    this.boxes = new Map();
    this.sheet = new CSSStyleSheet();
    this.stage = h("div", {
      class: "picture-stage",
      tabindex: "0",
      role: "region",
      "aria-label": "Picture of the flow; arrows go from box to box",
    });
    this.viewport = new Viewport(this.stage);
    this.message = h("div", { class: "picture-message" }, loading("Drawing the flow", 4));
    this.heading = h("div", { class: "pane-head" }, h("h2", {}, "Flow"));
    this.heading.append(heats, this.foldButton, this.viewport.bar);
    this.heading.addEventListener("keydown", (event) => this.viewport.typed(event));
    this.el = h(
      "section",
      { class: "pane picture", "aria-label": "Picture of the flow" },
      this.heading,
      this.viewport.el,
      this.message,
    );
    this.viewport.el.hidden = true;
    document.adoptedStyleSheets.push(this.sheet);
    this.stage.addEventListener("click", (event) => this.clicked(event));
    this.stage.addEventListener("dblclick", (event) =>
      this.fold(event.target.closest("[data-box]")),
    );
    this.stage.addEventListener("keydown", (event) => this.typed(event), { capture: true });
  }

  close() {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter(
      (sheet) => sheet !== this.sheet,
    );
  }

  fail(problem, again) {
    if (this.source) return; // the picture that is there stays
    this.message.replaceChildren(failureOf(problem, again));
  }

  // Shows what the server drew, if it is another picture than before.
  show(source) {
    if (source === this.source) return;
    this.source = source;
    const { picture, rules } = parsePicture(source);
    const had = focused(this.stage)?.closest("[data-box]")?.dataset.box;
    const { scrollLeft, scrollTop } = this.stage;
    this.sheet.replaceSync(rules);
    this.stage.replaceChildren(picture);
    this.boxes = new Map(
      [...picture.querySelectorAll("[data-box]")].map((box) => [box.dataset.box, box]),
    );
    for (const [path, box] of this.boxes) equip(box, path);
    this.message.hidden = true;
    this.viewport.el.hidden = false;
    this.viewport.update();
    if (this.wasShown) this.stage.scrollTo(scrollLeft, scrollTop);
    this.wasShown = true;
    this.mark(this.selected ?? "");
    if (had) this.boxes.get(had)?.focus({ preventScroll: true });
  }

  // Colours boxes by their statuses, without drawing anything.
  colour(nodes) {
    for (const { path, box, status } of nodes) {
      if (path !== box) continue; // a tool, which has no box of its own
      const element = this.boxes.get(box);
      if (!element || element.classList.contains(`go_is_${status}`)) continue;
      for (const name of [...element.classList].filter((each) => each.startsWith("go_is_")))
        element.classList.remove(name);
      element.classList.add(`go_is_${status}`);
    }
  }

  // Marks the box of a path, or of what is around it.
  mark(path) {
    this.selected = path;
    const shown = this.find(boxOf(path));
    for (const [name, box] of this.boxes) {
      box.classList.toggle("is-selected", name === shown);
      box.setAttribute("aria-pressed", String(name === shown));
    }
    const stop = shown || [...this.boxes.keys()].find((name) => !name.includes("//"));
    for (const [name, box] of this.boxes)
      if (!name.includes("//")) box.setAttribute("tabindex", name === stop ? "0" : "-1");
  }

  // ---- maps and sub-flows -------------------------------------------------------------------------
  // The opened ones: boxes lie inside of them.
  listGroups() {
    const paths = [...this.boxes.keys()].filter((path) => !path.includes("//"));
    return new Set(
      paths.flatMap((path) => listAround(path)).filter((path) => !this.boxes.has(path)),
    );
  }

  // Opens a closed box, or closes what is around an open one.
  fold(box) {
    const path = box?.dataset.box;
    if (path === undefined || path.includes("//")) return;
    const around = listAround(path).at(-1);
    if (this.closed.has(path)) this.closed.delete(path);
    else if (around) this.closed.add(around);
    else return;
    this.onFold([...this.closed]);
  }

  // Closes all of them, or opens all that are closed.
  foldAll() {
    const outermost = [...this.listGroups()].filter((path) => !path.includes("/"));
    this.onFold(this.closed.size ? [] : outermost);
  }

  showFolding(closed, isPossible) {
    this.closed = new Set(closed);
    this.foldButton.hidden = !isPossible || !(this.closed.size || this.listGroups().size);
    this.foldButton.textContent = this.closed.size ? "Unfold" : "Fold";
    this.foldButton.title = this.closed.size
      ? "Draw what is inside of all maps and sub-flows (o at a box opens it)"
      : "Draw each map and sub-flow as one box (o at a box closes what is around it)";
  }

  find(path) {
    for (let at = path; at; at = at.slice(0, Math.max(0, at.lastIndexOf("/"))))
      if (this.boxes.has(at)) return at;
    return "";
  }

  clicked(event) {
    const box = event.target.closest("[data-box]");
    this.onSelect(box && !box.dataset.box.includes("//") ? box.dataset.box : "");
  }

  typed(event) {
    const box = event.target.closest?.("[data-box]");
    if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") this.onSelect(box.dataset.box);
    else if (event.key === "o") this.fold(box);
    else if (event.key.startsWith("Arrow")) this.move(box, event.key.slice(5));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // To the nearest box in a direction; a step aside counts twice.
  move(from, direction) {
    const center = (box) => {
      const { left, top, width, height } = box.getBoundingClientRect();
      return [left + width / 2, top + height / 2];
    };
    const [x, y] = center(from);
    const isFlat = direction === "Left" || direction === "Right";
    const sign = direction === "Right" || direction === "Down" ? 1 : -1;
    let [nearest, least] = [null, Infinity];
    for (const [path, box] of this.boxes) {
      if (box === from || path.includes("//")) continue;
      const [dx, dy] = [center(box)[0] - x, center(box)[1] - y];
      const ahead = sign * (isFlat ? dx : dy);
      const distance = ahead + 2 * Math.abs(isFlat ? dy : dx);
      if (ahead > 4 && distance < least) [nearest, least] = [box, distance];
    }
    if (!nearest) return;
    from.setAttribute("tabindex", "-1");
    nearest.setAttribute("tabindex", "0");
    nearest.focus({ preventScroll: true });
    nearest.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

// The paths of what is around a box, from the outside in.
function listAround(path) {
  const parts = path.split("/");
  return parts.slice(1).map((_, at) => parts.slice(0, at + 1).join("/"));
}

function equip(box, path) {
  if (path.includes("//")) return; // a decision or a join: nothing runs in it
  box.setAttribute("role", "button");
  box.setAttribute("aria-label", path);
}

// Takes rules and style attributes out of the text, so that no policy against inline styles is
// touched, and reads the rest as a picture of known elements. The colours of boxes in a heat map are
// set through the object model. Anything else is no picture of ours, and is not shown.
function parsePicture(source) {
  const rules = [...source.matchAll(STYLES)].map(([, text]) => unescape(text)).join("\n");
  const bare = source
    .replace(STYLES, "")
    .replace(/<[a-z][^<>]*>/g, (element) => element.replace(/ style="/g, ' data-style="'));
  const picture = new DOMParser().parseFromString(bare, "image/svg+xml").documentElement;
  for (const element of [picture, ...picture.querySelectorAll("*")]) {
    const isKnown =
      element.namespaceURI === "http://www.w3.org/2000/svg" && ELEMENTS.has(element.localName);
    const isPlain = [...element.attributes].every(({ name }) => !ATTRIBUTES.test(name));
    if (!isKnown || !isPlain)
      throw new Error(`The picture holds <${element.localName}>, which no picture of ours has.`);
    const { style } = element.dataset;
    if (style && COLOUR.test(style)) element.style.cssText = style;
  }
  picture.setAttribute("role", "group"); // an image would hide its boxes from those who do not see it
  return { picture: document.adoptNode(picture), rules };
}

// The text that is written between tags.
function unescape(text) {
  return new DOMParser().parseFromString(`<t>${text}</t>`, "application/xml").documentElement
    .textContent;
}
