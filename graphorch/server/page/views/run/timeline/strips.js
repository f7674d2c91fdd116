// Bars of a row as few strips: what is closer than a pixel is drawn together, so that a row of ten
// thousand bars has no more strips than pixels.
const NEAR = 1.5; // pixels
const LOUDEST = { failed: 5, waiting: 4, running: 3, not_reached: 1 };

// Gives `{ left, width, status, bars }` in pixels, for what lies between `from` and `to`.
export function mergeBars(bars, toPixel, from, to) {
  const strips = [];
  for (const bar of bars) {
    const left = toPixel(bar.begin);
    const right = Math.max(left + 2, toPixel(bar.end));
    if (right < from || left > to) continue;
    const last = strips.at(-1);
    if (
      last &&
      left - (last.left + last.width) < NEAR &&
      (right - left < 4 || last.bars.length > 1)
    ) {
      last.width = Math.max(last.width, right - last.left);
      if ((LOUDEST[bar.status] ?? 2) > (LOUDEST[last.status] ?? 2)) last.status = bar.status;
      last.bars.push(bar);
    } else strips.push({ left, width: right - left, status: bar.status, bars: [bar] });
  }
  return strips;
}
