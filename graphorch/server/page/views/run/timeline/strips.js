// Bars of a row as few strips: those of one status that are closer than a pixel are drawn together,
// so that a row of ten thousand bars has no more strips than pixels, and a failure among them is seen.
const NEAR = 1.5; // pixels
const ORDER = ["not_reached", "done", "running", "waiting", "failed"]; // the last lies on top

// Gives `{ left, width, status, bars }` in pixels, for what lies between `from` and `to`.
export function mergeBars(bars, toPixel, from, to) {
  const byStatus = new Map(ORDER.map((status) => [status, []]));
  for (const bar of bars) {
    const left = toPixel(bar.begin);
    const right = Math.max(left + 2, toPixel(bar.end));
    if (right < from || left > to) continue;
    if (!byStatus.has(bar.status)) byStatus.set(bar.status, []);
    const strips = byStatus.get(bar.status);
    const last = strips.at(-1);
    const isNear = last && left - (last.left + last.width) < NEAR;
    if (isNear && (right - left < 4 || last.bars.length > 1)) {
      last.width = Math.max(last.width, right - last.left);
      last.bars.push(bar);
    } else strips.push({ left, width: right - left, status: bar.status, bars: [bar] });
  }
  return [...byStatus.values()].flat();
}
