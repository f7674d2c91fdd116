// The picture of a flow, in which boxes and lines can be clicked, and reached by the keyboard.
class Picture {
  // `page` has the nodes and lines of the flow, and is told of what is chosen: `select`, `breakAt`, `breakOn`, `fold`.
  constructor(page) {
    this.page = page;
    this.svg = "";
    this.boxes = new Map();
    this.el = h("div", { class: "gs-picture" });
    this.el.addEventListener("click", (event) => this.clicked(event));
    this.el.addEventListener("dblclick", (event) => this.opened(event));
    this.el.addEventListener("keydown", (event) => this.typed(event));
  }

  show(view, selected) {
    const hadFocus = focused(this.el)?.closest("[data-box]")?.dataset.box;
    if (view.svg !== this.svg) {
      this.svg = view.svg;
      this.draw(new DOMParser().parseFromString(this.svg, "image/svg+xml").documentElement);
    }
    const strip = (path) => path.replace(/\[[\da-f.]+\](?=\/)/g, "");
    const shown = (path) => {
      for (let at = strip(path); at; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) if (this.boxes.has(at)) return at;
      return "";
    };
    const next = view.running || view.status === "closed" ? "" : shown(view.next);
    const broken = new Set(view.breakpoints.map((item) => item.box).filter(Boolean));
    const lines = new Set(view.breakpoints.flatMap((item) => item.lines));
    for (const [path, box] of this.boxes) {
      box.classList.toggle("gs-next", path === next);
      box.classList.toggle("gs-broken", broken.has(path));
      box.classList.toggle("gs-pinned", path in view.pins);
      box.classList.toggle("gs-selected", path === selected);
      if (box.hasAttribute("aria-pressed")) box.setAttribute("aria-pressed", String(path === selected));
    }
    for (const line of this.el.querySelectorAll("[data-line]")) line.classList.toggle("gs-broken", lines.has(line.dataset.line));
    // One box is a stop of the Tab key; the arrow keys lead to the others.
    const reachable = [...this.boxes.keys()].filter((path) => this.page.nodes[path]);
    const stop = [hadFocus, selected, next, ...reachable].find((path) => reachable.includes(path));
    for (const path of reachable) this.boxes.get(path).setAttribute("tabindex", path === stop ? "0" : "-1");
    if (hadFocus && !focused(this.el)) this.boxes.get(stop)?.focus({ preventScroll: true });
    if (next && next !== this.next) this.reveal(this.boxes.get(next));
    this.next = next;
  }

  // Scrolls the picture, and never the page.
  reveal(box) {
    const at = box.getBoundingClientRect();
    const room = this.el.getBoundingClientRect();
    if (at.bottom > room.bottom || at.top < room.top) this.el.scrollTop += at.top - room.top - room.height / 3;
    if (at.right > room.right || at.left < room.left) this.el.scrollLeft += at.left - room.left - room.width / 3;
  }

  // The new picture in place of the old one. Where both have the same parts, only the parts that look different are exchanged: a browser
  // takes longer to lay out 200 boxes than everything else takes together. A part keeps the style sheet of the first picture, which has the
  // same rules.
  draw(fresh) {
    const parts = new Map();
    let texts = 0;
    for (const part of fresh.querySelectorAll(":scope > g > [data-box], :scope > g > [data-line], :scope > g > text")) {
      const name = part.dataset.box !== undefined ? `box ${part.dataset.box}` : part.dataset.line !== undefined ? `line ${part.dataset.line}` : `text ${texts++}`;
      parts.set(name, { part, source: part.outerHTML });
    }
    const known = this.parts;
    const isSame = known && known.size === parts.size && [...parts.keys()].every((name) => known.has(name));
    if (!isSame) {
      this.parts = parts;
      fresh.setAttribute("role", "group"); // an image would hide its boxes from those who do not see it
      this.el.replaceChildren(fresh);
      this.boxes = new Map();
      for (const { part } of parts.values()) this.equip(part);
      this.page.el.classList.toggle("gs-wide", fresh.viewBox.baseVal.width > 520);
      return;
    }
    for (const [name, { part, source }] of parts) {
      const old = known.get(name);
      if (old.source === source) continue;
      old.part.replaceWith(part);
      known.set(name, { part, source });
      this.equip(part);
    }
    const root = this.el.firstElementChild;
    for (const attribute of ["width", "height", "viewBox"]) {
      if (root.getAttribute(attribute) !== fresh.getAttribute(attribute)) root.setAttribute(attribute, fresh.getAttribute(attribute));
    }
    const around = (picture) => [...picture.children].filter((child) => child.tagName !== "style" && !(child.tagName === "g" && child.querySelector(":scope > [data-box]")));
    const frame = around(fresh);
    const source = (children) => children.filter((child) => !["title", "desc"].includes(child.tagName)).map((child) => child.outerHTML).join();
    if (source(frame) === source(around(root))) return;
    around(root).forEach((child) => child.remove());
    root.querySelector(":scope > g").setAttribute("transform", fresh.querySelector(":scope > g").getAttribute("transform"));
    const canvas = frame.filter((child) => child.tagName === "rect");
    root.prepend(...canvas);
    root.append(...frame.filter((child) => !canvas.includes(child)));
  }

  equip(part) {
    const { box, line } = part.dataset;
    if (box !== undefined) this.boxes.set(box, part);
    if (box !== undefined && this.page.nodes[box]) {
      part.setAttribute("role", "button");
      part.setAttribute("aria-pressed", "false");
      part.setAttribute("tabindex", "-1");
      this.gutter(box, part);
    }
    if (line !== undefined && this.page.lines[line]) this.thicken(part);
  }

  gutter(path, box) {
    const shape = box.querySelector("rect.go_shape");
    if (!shape) return;
    const number = (name) => parseFloat(shape.getAttribute(name));
    const dot = document.createElementNS(SVG, "circle");
    dot.setAttribute("class", "gs-dot");
    dot.setAttribute("cx", number("x"));
    dot.setAttribute("cy", number("y") + number("height") / 2);
    dot.setAttribute("r", 6);
    const hint = document.createElementNS(SVG, "title");
    hint.textContent = `breakpoint at ${path}`;
    dot.append(hint);
    box.append(dot);
  }

  thicken(line) {
    const hit = line.querySelector(".go_way")?.cloneNode();
    if (!hit) return;
    hit.setAttribute("class", "gs-hit");
    line.append(hit);
  }

  clicked(event) {
    const box = event.target.closest("[data-box]");
    const line = event.target.closest("[data-line]");
    if (box && event.target.closest(".gs-dot")) this.page.breakAt(box.dataset.box);
    else if (box && this.page.nodes[box.dataset.box]) this.page.select(box.dataset.box);
    else if (line && this.page.lines[line.dataset.line]) this.page.breakOn(line.dataset.line);
    else this.page.select(null);
  }

  opened(event) {
    const box = event.target.closest("[data-box]");
    if (box && this.page.nodes[box.dataset.box]?.opens) this.page.fold(box.dataset.box);
  }

  typed(event) {
    const box = event.target.closest("[data-box]");
    if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
    const path = box.dataset.box;
    if (event.key === "Enter" || event.key === " ") this.page.select(path);
    else if (event.key === "x") this.page.breakAt(path);
    else if (event.key === "o" && this.page.nodes[path].opens) this.page.fold(path);
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
    let nearest = null;
    let least = Infinity;
    for (const [path, box] of this.boxes) {
      if (box === from || !this.page.nodes[path]) continue;
      const [dx, dy] = [center(box)[0] - x, center(box)[1] - y];
      const ahead = sign * (isFlat ? dx : dy);
      const distance = ahead + 2 * Math.abs(isFlat ? dy : dx);
      if (ahead > 4 && distance < least) [nearest, least] = [box, distance];
    }
    if (!nearest) return;
    from.setAttribute("tabindex", "-1");
    nearest.setAttribute("tabindex", "0");
    nearest.focus({ preventScroll: true });
    this.reveal(nearest);
  }
}
