// The address of a view: `#/runs/ID?at=7&tab=diff`. It holds the whole view, so that a link to it,
// the back button and a reload show the same.

// Gives `{ path: ["runs", "ID"], query: { at: "7" } }`.
export function readAddress(hash = location.hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decode);
  return { path: parts, query: Object.fromEntries(new URLSearchParams(query)) };
}

export function writeAddress({ path, query = {} }) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );
  const words = given.length ? `?${new URLSearchParams(given)}` : "";
  return `#/${path.map(encodeURIComponent).join("/")}${words}`;
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // typed by hand, and no address of ours
  }
}
