// Shows the view that the address names.
import { readAddress, writeAddress } from "./address.js";

export class Navigator {
  // `views` as in `views.js`; an address that none of them takes leads to `home`.
  constructor({ views, home, frame, keys, context }) {
    Object.assign(this, { views, home, frame, keys, context });
    this.view = null;
  }

  start() {
    addEventListener("hashchange", () => this.follow());
    this.follow();
  }

  go(address, { replace = false } = {}) {
    const hash = writeAddress(address);
    if (hash === location.hash) return;
    if (!replace) location.hash = hash;
    else {
      history.replaceState(null, "", hash);
      this.follow();
    }
  }

  follow() {
    const address = readAddress();
    const entry = this.views.find((candidate) => candidate.takes(address.path));
    if (!entry) return this.go(this.home, { replace: true });
    if (entry !== this.entry) this.open(entry);
    this.frame.mark(entry.menu ? entry.name : address.path[0]);
    this.view.show(address);
    document.title = `${this.view.title} · graphorch`;
  }

  open(entry) {
    this.view?.close?.();
    const isFirst = !this.entry;
    this.entry = entry;
    this.view = new entry.View(this.context);
    this.keys.view = this.view.keys ?? [];
    this.frame.showView(this.view);
    scrollTo(0, 0);
    if (!isFirst) this.frame.main.focus({ preventScroll: true });
  }
}
