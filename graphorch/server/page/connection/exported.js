// A run that was written into one HTML file: the same paths, read out of an element of the page.
//
// The element with the id `exported` holds `{"place": "/runs/ID", "answers": {PATH: DATA}}`.
import { Problem } from "./problem.js";

const ABSENT = "This file holds one run, and no more of the journal than its pages.";

export function findExported() {
  const element = document.getElementById("exported");
  return element ? new Exported(JSON.parse(element.textContent)) : null;
}

class Exported {
  constructor({ place, answers }) {
    this.place = place;
    this.answers = answers;
  }

  // `path` with its query, as the server would be asked.
  async read(path) {
    if (path in this.answers) return this.answers[path];
    throw new Problem("missing", ABSENT, { status: 404 });
  }
}
