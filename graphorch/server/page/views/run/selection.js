// The one selection of a run's page: a record (`seq`, null for now) and a path ("" for the run). The
// address holds it as `at` and `path`.
export function readSelection(query, data) {
  const seq = /^\d+$/.test(query.at ?? "") ? Number(query.at) : null;
  const moment = seq === null ? null : data.momentAt(seq);
  return { seq, path: query.path ?? moment?.path ?? "" };
}

export function writeSelection({ seq, path }, data) {
  const moment = seq === null ? null : data.momentAt(seq);
  return { at: seq ?? "", path: moment && moment.path === path ? "" : path };
}

// Bars name an activation by the beginning of its id.
export const shortActivation = (id) => id.slice(0, 16);

export const isSame = (one, other) => one.seq === other.seq && one.path === other.path;

// The path of a box in the picture: without the numbers of map items.
export const boxOf = (path) => path.replace(/\[[\da-f.]+\](?=\/|$)/g, "");
