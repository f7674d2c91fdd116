// The picture of a run's flow, with the colours of what the run did, or of a figure of it. Maps and
// sub-flows are opened and closed.
import { h } from "../../parts/elements.js";
import { PicturePane } from "../../parts/picture_pane.js";

const HEATS = [
  ["", "what ran"],
  ["cost", "cost"],
  ["p50", "median time"],
  ["p95", "slowest 5 %"],
  ["errors", "errors"],
  ["visits", "visits"],
];

export class RunPicture extends PicturePane {
  // `onSelect(box)` is called with the path of a box, `onHeat()` after another choice of colours, and
  // `onFold(closed)` with the paths of maps and sub-flows that are to be closed.
  constructor({ onSelect, onHeat, onFold }) {
    const options = HEATS.map(([value, words]) => h("option", { value }, words));
    const heats = h("select", { class: "field heats", "aria-label": "What colours mean" }, ...options);
    const foldButton = h("button", { type: "button", class: "button small", hidden: "" }, "Fold");
    super({ title: "Flow", onSelect, tools: [heats, foldButton] });
    Object.assign(this, { onFold, foldButton, heat: "", closed: new Set() });
    this.words = h("p", { class: "picture-words muted small", role: "status", hidden: "" });
    this.heading.after(this.words);
    heats.addEventListener("change", () => {
      this.heat = heats.value;
      onHeat();
    });
    foldButton.addEventListener("click", () => this.foldAll());
    this.stage.addEventListener("dblclick", (event) =>
      this.fold(event.target.closest("[data-box]")),
    );
  }

  // Says of when the picture is, if that is not what is selected.
  say(words) {
    this.words.textContent = words;
    this.words.hidden = !words;
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

  typedMore(key, box) {
    if (key !== "o") return false;
    this.fold(box);
    return true;
  }
}

// The paths of what is around a box, from the outside in.
function listAround(path) {
  const parts = path.split("/");
  return parts.slice(1).map((_, at) => parts.slice(0, at + 1).join("/"));
}
