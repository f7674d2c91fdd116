// What a reader chose, kept by the browser for the next time. Where it keeps nothing, as for a file
// that is shown inside of another page, choices last as long as the page.
const choices = new Map();

export function readKept(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return choices.get(key) ?? null;
  }
}

export function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    choices.set(key, value);
  }
}
