// Where a second of the run lies on the timeline. Waits in which nothing else happened are cut: a
// run that asked a person and got an answer after two days would be one long wait otherwise.
const LONGEST = 0.12; // of the time of work that a wait may take uncut
const SHORTEST = 2; // seconds; shorter waits are never cut
const WIDTH = 0.035; // of the time of work that a cut takes

const WAITS = new Set(["ask", "wait"]);

// Gives `{ pieces, length, toX, toTime }`: pieces are `{ from, to, x, width, isCut }`, and x is in
// seconds of what is shown.
export function buildScale(bars, total) {
  const end = Math.max(
    total,
    ...[0],
    bars.reduce((most, bar) => Math.max(most, bar.end), 0),
  );
  const work = merge(listWork(bars));
  const worked = work.reduce((sum, [from, to]) => sum + to - from, 0);
  const longest = Math.max(SHORTEST, worked * LONGEST);
  const cutWidth = Math.max(worked, 0.1) * WIDTH;
  const pieces = [];
  let x = 0;
  const add = (from, to, isCut) => {
    if (to <= from) return;
    const width = isCut ? cutWidth : to - from;
    pieces.push({ from, to, x, width, isCut });
    x += width;
  };
  const waits = merge(bars.filter(isWait).map((bar) => [bar.begin, bar.end]));
  let at = 0;
  for (const [from, to] of [...work, [end, end]]) {
    const isCut = from - at > longest && covers(waits, at, from);
    add(at, Math.max(at, from), isCut);
    add(Math.max(at, from), to, false);
    at = Math.max(at, to);
  }
  return {
    pieces,
    length: x || 1,
    end,
    toX: (time) => toX(pieces, time),
    toTime: (where) => toTime(pieces, where),
  };
}

const isWait = (bar) => WAITS.has(bar.kind) || bar.status === "waiting";

// Periods in which something ran: bars with nothing inside them, and requests to models.
function listWork(bars) {
  const parents = new Set(bars.map((bar) => bar.parent));
  const work = [];
  for (const bar of bars) {
    if (!isWait(bar) && !parents.has(bar.id)) work.push([bar.begin, bar.end]);
    for (const request of bar.requests) work.push([request.begin, request.end]);
  }
  return work;
}

// Periods as few that do not overlap, in order.
function merge(periods) {
  const sorted = periods.filter(([from, to]) => to >= from).sort((one, other) => one[0] - other[0]);
  const merged = [];
  for (const [from, to] of sorted) {
    const last = merged.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

// Whether waits take most of a period.
function covers(waits, from, to) {
  const waited = waits.reduce(
    (sum, [begin, end]) => sum + Math.max(0, Math.min(end, to) - Math.max(begin, from)),
    0,
  );
  return waited > (to - from) * 0.5;
}

function find(pieces, isBefore) {
  let [low, high] = [0, pieces.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (isBefore(pieces[middle])) low = middle;
    else high = middle - 1;
  }
  return pieces[low];
}

function toX(pieces, time) {
  if (!pieces.length) return 0;
  const piece = find(pieces, (candidate) => candidate.from <= time);
  const part = Math.min(1, Math.max(0, (time - piece.from) / (piece.to - piece.from)));
  return piece.x + part * piece.width;
}

function toTime(pieces, x) {
  if (!pieces.length) return 0;
  const piece = find(pieces, (candidate) => candidate.x <= x);
  return (
    piece.from + Math.min(1, Math.max(0, (x - piece.x) / piece.width)) * (piece.to - piece.from)
  );
}

// Round times for marks on the axis, about `most` of them in what is seen.
export function listTicks(scale, from, to, most) {
  const shown = scale.pieces.filter(
    (piece) => !piece.isCut && piece.x + piece.width >= from && piece.x <= to,
  );
  const length = shown.reduce(
    (sum, piece) => sum + Math.min(to, piece.x + piece.width) - Math.max(from, piece.x),
    0,
  );
  const step = roundUp(length / most);
  const ticks = [];
  for (const piece of shown) {
    for (let at = Math.ceil(piece.from / step) * step; at <= piece.to; at += step) {
      const x = scale.toX(at);
      if (x >= from && x <= to) ticks.push({ time: at, x });
    }
  }
  return ticks;
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];

function roundUp(length) {
  if (length <= 0) return 1;
  if (length > 1) return STEPS.find((step) => step >= length) ?? Math.ceil(length / 86400) * 86400;
  const size = 10 ** Math.floor(Math.log10(length));
  return [1, 2, 5, 10].map((factor) => factor * size).find((step) => step >= length);
}
