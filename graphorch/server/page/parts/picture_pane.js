// A picture that the server draws: this module puts it into the page without its style attributes,
// and lets its boxes be chosen.
import { focused, h } from "./elements.js";
import { failureOf, loading } from "./states.js";
import { Viewport } from "./viewport.js";

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
const STYLES = /<style>([^<]*)<\/style>/g;
const COLOUR = /^[\w\s:;,.()#%!-]*$/; // declarations without an address
const ATTRIBUTES = /^(on|style$|href$|xlink:|src$)/i;

export class PicturePane {
  // `onSelect(box)` is called with the path of a box, "" for none. `tools` stand beside the title.
  constructor({ title, onSelect, tools = [] }) {
    this.onSelect = onSelect;
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
    this.heading = h("div", { class: "pane-head" }, h("h2", {}, title), ...tools);
    this.heading.append(this.viewport.bar);
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

  // Marks a box, or what is around it where it is not drawn.
  mark(box) {
    this.selected = box;
    const shown = this.find(box);
    for (const [name, element] of this.boxes) {
      element.classList.toggle("is-selected", name === shown);
      element.setAttribute("aria-pressed", String(name === shown));
    }
    const stop = shown || [...this.boxes.keys()].find((name) => !name.includes("//"));
    for (const [name, element] of this.boxes)
      if (!name.includes("//")) element.setAttribute("tabindex", name === stop ? "0" : "-1");
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
    else if (event.key.startsWith("Arrow")) this.move(box, event.key.slice(5));
    else if (!this.typedMore(event.key, box)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  // What other keys do at a box; whether they did anything.
  typedMore() {
    return false;
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
