// Where the runs are that a figure sums: a list that is narrowed to them, or the newest of them.
import { writeAddress } from "../../shell/address.js";

// `window` is what the figures are narrowed to: `{ since, until, flow, tag }` as in the address.
export function runsOf(window, more = {}) {
  const { since, until, flow, tag } = { ...window, ...more };
  return writeAddress({
    path: ["runs"],
    query: { since: since === "all" ? "" : since, until, flow, tag },
  });
}

// `{ href, words }` of a row; null where no run took part. Runs cannot be listed by agent or model.
export function linkOf(row, { by, tag }, window) {
  if (by === "flow" || by === "node") return listed(window, { flow: row.key[0] });
  if (by === "tag" && row.key[0]) return listed(window, { tag: `${tag}=${row.key[0]}` });
  if (!row.newest_run) return null;
  const words = row.runs > 1 ? `the newest of ${row.runs.toLocaleString("en")} runs` : "the run";
  return { href: writeAddress({ path: ["runs", row.newest_run] }), words: `Opens ${words}` };
}

const listed = (window, more) => ({ href: runsOf(window, more), words: "Lists these runs" });
