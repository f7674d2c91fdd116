// Does something again and again, as often as it is asked for and never twice at once. After a turn
// that took long it rests longer, so that a slow answer does not keep the server busy.
const REST = 200; // milliseconds at least
const SHARE = 3; // times as long as the turn took

export class Pulse {
  constructor(act) {
    this.act = act;
    this.isBusy = false;
  }

  ask() {
    if (this.isBusy) this.isWanted = true;
    else if (!this.isClosed) this.turn();
  }

  async turn() {
    this.isBusy = true;
    this.isWanted = false;
    const began = performance.now();
    try {
      await this.act();
    } finally {
      const rest = Math.max(REST, SHARE * (performance.now() - began));
      this.resting = setTimeout(() => this.rested(), rest);
    }
  }

  rested() {
    this.isBusy = false;
    if (this.isWanted) this.ask();
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.resting);
  }
}
