// Zoom, fit, search and a map for a drawn picture, by pointer and by keyboard.
//
// `stage` is the element that holds the picture's <svg>; it scrolls. `el` is the stage with its bar of controls and its map. The picture in
// the stage may be exchanged at any time: `update` looks at it again.
class Viewport {
  static SMALLEST = 0.05;
  static LARGEST = 4;
  static READABLE = 0.75; // words are large enough from this zoom on
  static MAP = [168, 128]; // the most pixels that the map takes

  constructor(stage) {
    this.stage = stage;
    this.zoom = 0;
    this.isFitted = false;
    this.hits = [];
    this.at = 0;
    this.bar = this.buildBar();
    this.map = Viewport.svg("svg", { class: "gv-map", "aria-hidden": "true" });
    this.el = Viewport.html("div", { class: "gv" }, this.bar, Viewport.html("div", { class: "gv-frame" }, stage, this.map));
    stage.classList.add("gv-stage");
    this.listen();
  }

  static html(tag, attributes, ...children) {
    return Viewport.fill(document.createElement(tag), attributes, children);
  }

  static svg(tag, attributes, ...children) {
    return Viewport.fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  }

  static fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  buildBar() {
    const button = (text, hint, act) => {
      const made = Viewport.html("button", { type: "button", title: hint, "aria-label": hint }, text);
      made.addEventListener("click", act);
      return made;
    };
    this.level = button("100 %", "Original size (0)", () => this.scale(1));
    this.search = Viewport.html("input", { type: "search", placeholder: "Find a box", "aria-label": "Find a box (/)", title: "Find a box (/)" });
    this.found = Viewport.html("output", { class: "gv-found" });
    return Viewport.html(
      "div",
      { class: "gv-bar", role: "toolbar", "aria-label": "Picture" },
      button("−", "Smaller (-)", () => this.scale(this.zoom / 1.25)),
      this.level,
      button("+", "Larger (+)", () => this.scale(this.zoom * 1.25)),
      button("Fit", "Show all of it (a)", () => this.fit()),
      this.search,
      this.found,
    );
  }

  listen() {
    this.el.addEventListener("keydown", (event) => this.typed(event));
    this.search.addEventListener("input", () => this.find());
    this.stage.addEventListener("scroll", () => this.track());
    this.stage.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    this.stage.addEventListener("pointerdown", (event) => this.grabbed(event));
    this.map.addEventListener("pointerdown", (event) => this.steered(event));
    this.map.addEventListener("pointermove", (event) => event.buttons && this.steered(event));
    new ResizeObserver(() => this.resized()).observe(this.stage);
  }

  // Looks at the picture again: it is another one, or parts of it are.
  update() {
    const picture = this.stage.querySelector("svg");
    if (!picture) return;
    const { width, height } = picture.viewBox.baseVal;
    const isOther = picture !== this.picture || width !== this.width || height !== this.height;
    Object.assign(this, { picture, width, height });
    if (isOther && this.stage.clientWidth) this.settle();
    if (this.search.value.trim()) this.mark(false);
  }

  // The first zoom: all of the picture where its words are large enough then, else its beginning in the original size.
  settle() {
    if (this.zoom && !this.isFitted) this.scale(this.zoom);
    else if (this.zoom || this.fitting() >= Viewport.READABLE) this.fit();
    else {
      this.scale(1);
      this.showFirst();
    }
    this.drawMap();
  }

  // Scrolls to the beginning of the picture, so far that its first box is seen.
  showFirst() {
    const { stage } = this;
    const first = this.picture.querySelector("[data-box]");
    stage.scrollTo(0, 0);
    if (!first) return;
    const [at, room] = [first.getBoundingClientRect(), stage.getBoundingClientRect()];
    if (at.right > room.right) stage.scrollLeft = at.left + at.width / 2 - (room.left + room.width / 2);
    if (at.bottom > room.bottom) stage.scrollTop = at.top + at.height / 2 - (room.top + room.height / 2);
  }

  resized() {
    if (!this.picture || !this.stage.clientWidth) return;
    if (!this.zoom || !this.map.firstChild) this.settle();
    else if (this.isFitted) this.fit();
    this.track();
  }

  // The zoom at which all of the picture is seen. A small picture stays as it is.
  fitting() {
    const style = getComputedStyle(this.stage);
    const limit = parseFloat(style.maxHeight) || this.stage.clientHeight;
    return Math.min(1, this.stage.clientWidth / this.width, limit / this.height);
  }

  fit() {
    this.scale(this.fitting());
    this.isFitted = true;
  }

  // Changes the zoom so that what is at a point of the stage, or in its middle, stays there.
  scale(zoom, point) {
    if (!this.picture) return;
    const { stage, picture } = this;
    const [x, y] = point ?? [stage.clientWidth / 2, stage.clientHeight / 2];
    const before = picture.getBoundingClientRect();
    const room = stage.getBoundingClientRect();
    const at = [(x + room.left - before.left) / (before.width || 1), (y + room.top - before.top) / (before.height || 1)];
    this.isFitted = false;
    this.zoom = Math.min(Viewport.LARGEST, Math.max(Viewport.SMALLEST, zoom));
    picture.style.maxWidth = "none";
    picture.style.width = `${this.width * this.zoom}px`;
    picture.style.height = `${this.height * this.zoom}px`;
    const after = picture.getBoundingClientRect();
    stage.scrollLeft += after.left + at[0] * after.width - (x + room.left);
    stage.scrollTop += after.top + at[1] * after.height - (y + room.top);
    this.level.textContent = `${Math.round(this.zoom * 100)} %`;
    this.track();
  }

  wheeled(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const room = this.stage.getBoundingClientRect();
    const turned = Math.max(-100, Math.min(100, event.deltaY));
    this.scale(this.zoom * Math.exp(turned * -0.003), [event.clientX - room.left, event.clientY - room.top]);
  }

  // A mouse drags the picture; fingers scroll it, as they scroll everything.
  grabbed(event) {
    if (event.button || event.pointerType !== "mouse") return;
    const { stage } = this;
    const start = { x: event.clientX, y: event.clientY, left: stage.scrollLeft, top: stage.scrollTop };
    let isDragged = false;
    const dragged = (move) => {
      if (!isDragged && Math.hypot(move.clientX - start.x, move.clientY - start.y) < 5) return;
      isDragged = true;
      stage.classList.add("gv-dragged");
      stage.scrollLeft = start.left - (move.clientX - start.x);
      stage.scrollTop = start.top - (move.clientY - start.y);
    };
    const stopClick = (click) => {
      click.stopPropagation();
      click.preventDefault();
    };
    const released = () => {
      window.removeEventListener("pointermove", dragged);
      stage.classList.remove("gv-dragged");
      if (!isDragged) return;
      stage.addEventListener("click", stopClick, { capture: true, once: true });
      setTimeout(() => stage.removeEventListener("click", stopClick, { capture: true }));
    };
    window.addEventListener("pointermove", dragged);
    for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, released, { once: true });
  }

  typed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = event.target === this.search ? this.searchKeys(event) : this.pictureKeys();
    const act = keys[event.key];
    if (!act) {
      if (event.target === this.search) event.stopPropagation(); // letters are words here, and no commands of the page around
      return;
    }
    act();
    event.preventDefault();
    event.stopPropagation();
  }

  pictureKeys() {
    return {
      "+": () => this.scale(this.zoom * 1.25),
      "=": () => this.scale(this.zoom * 1.25),
      "-": () => this.scale(this.zoom / 1.25),
      0: () => this.scale(1),
      a: () => this.fit(),
      "/": () => this.search.select(),
    };
  }

  searchKeys(event) {
    return {
      Enter: () => this.step(event.shiftKey ? -1 : 1),
      Escape: () => {
        this.search.value = "";
        this.find();
        this.stage.focus({ preventScroll: true });
      },
    };
  }

  // ---- search -----------------------------------------------------------------------------------
  find() {
    this.at = 0;
    this.mark(true);
  }

  step(by) {
    if (!this.hits.length) return;
    this.at = (this.at + by + this.hits.length) % this.hits.length;
    this.mark(true);
  }

  // Marks the boxes that hold what is searched, and goes to one of them: first those of that name, then of a path with it, then those that
  // have it in their words or tooltip.
  mark(isMoving) {
    const wanted = this.search.value.trim().toLowerCase();
    const boxes = [...this.stage.querySelectorAll("[data-box]")];
    const ranks = [
      (path) => path === wanted || path.endsWith(`/${wanted}`),
      (path) => path.includes(wanted),
      (path, box) => box.textContent.toLowerCase().includes(wanted),
    ];
    const rank = (box) => ranks.findIndex((holds) => holds(box.dataset.box.toLowerCase(), box));
    const ranked = wanted ? boxes.map((box) => [rank(box), box]).filter(([at]) => at >= 0) : [];
    this.hits = ranked.sort(([one], [other]) => one - other).map(([, box]) => box);
    const hits = new Set(this.hits);
    this.at = Math.min(this.at, Math.max(0, this.hits.length - 1));
    const current = this.hits[this.at];
    for (const box of boxes) {
      box.classList.toggle("gv-hit", hits.has(box));
      box.classList.toggle("gv-current", box === current);
    }
    this.found.textContent = !wanted ? "" : current ? `${this.at + 1} of ${this.hits.length}` : "no box";
    if (current && isMoving) this.reveal(current);
    this.drawMap();
  }

  reveal(box) {
    if (this.zoom < Viewport.READABLE) this.scale(1);
    const [at, room] = [box.getBoundingClientRect(), this.stage.getBoundingClientRect()];
    this.stage.scrollLeft += at.left + at.width / 2 - (room.left + room.width / 2);
    this.stage.scrollTop += at.top + at.height / 2 - (room.top + room.height / 2);
  }

  // ---- map --------------------------------------------------------------------------------------
  // Draws boxes and frames as rectangles, and the part that is seen.
  drawMap() {
    const { picture, map } = this;
    const layer = picture?.querySelector("[data-box]")?.parentNode;
    if (!layer || !this.stage.clientWidth) return;
    const [most, highest] = Viewport.MAP;
    const scale = Math.min(most / this.width, highest / this.height);
    Viewport.fill(map, { viewBox: `0 0 ${this.width} ${this.height}`, width: Math.max(28, this.width * scale), height: Math.max(28, this.height * scale) }, []);
    map.setAttribute("preserveAspectRatio", "none");
    const rectangle = (part, name) => {
      const { x, y, width, height } = part.getBBox();
      return Viewport.svg("rect", { class: name, x, y, width, height });
    };
    const frames = [...layer.querySelectorAll(".go_frame")].map((part) => rectangle(part, "gv-group"));
    const boxes = [...layer.querySelectorAll("[data-box]")].map((part) => rectangle(part.querySelector(".go_shape") ?? part, part.classList.contains("gv-hit") ? "gv-box gv-hit" : "gv-box"));
    this.seen = Viewport.svg("rect", { class: "gv-seen" });
    map.replaceChildren(Viewport.svg("g", { transform: layer.getAttribute("transform") ?? "" }, ...frames, ...boxes), this.seen);
    this.track();
  }

  // The part of the picture that is seen, in its own units.
  track() {
    const { stage, picture, zoom } = this;
    if (!picture || !zoom || !this.seen) return;
    const [at, room] = [picture.getBoundingClientRect(), stage.getBoundingClientRect()];
    const x = Math.max(0, (room.left - at.left) / zoom);
    const y = Math.max(0, (room.top - at.top) / zoom);
    const width = Math.min(this.width - x, stage.clientWidth / zoom);
    const height = Math.min(this.height - y, stage.clientHeight / zoom);
    Viewport.fill(this.seen, { x, y, width: Math.max(0, width), height: Math.max(0, height) }, []);
    const isAllSeen = width >= this.width - 2 && height >= this.height - 2;
    this.map.classList.toggle("gv-unused", isAllSeen);
  }

  // Goes to the point of the map that is pressed.
  steered(event) {
    if (event.type === "pointerdown") this.map.setPointerCapture(event.pointerId);
    const { stage, map, zoom } = this;
    const room = map.getBoundingClientRect();
    const x = ((event.clientX - room.left) / room.width) * this.width;
    const y = ((event.clientY - room.top) / room.height) * this.height;
    stage.scrollLeft = x * zoom - stage.clientWidth / 2;
    stage.scrollTop = y * zoom - stage.clientHeight / 2;
    event.preventDefault();
  }
}
