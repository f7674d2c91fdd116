// For each text of a page: its contrast to what is painted below its first letter, where half
// transparent shapes lie over one another as the browser draws them.
() => {
  const style = document.createElement('style');
  style.textContent = '* { pointer-events: all !important; animation: none !important; }';
  document.head.append(style);

  const parse = text => {
    const found = text === 'none' ? null : text.match(/[\d.]+/g);
    if (!found) return [0, 0, 0, 0];
    const [red, green, blue, opacity = 1] = found.map(Number);
    return [red, green, blue, opacity];
  };
  const lay = (top, below) =>
    [0, 1, 2].map(at => top[at] * top[3] + below[at] * (1 - top[3])).concat(1);
  const linear = part =>
    (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const luminance = colour =>
    0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2]);
  const compare = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };

  const paint = element => {
    const computed = getComputedStyle(element);
    const isShape = element instanceof SVGGeometryElement;
    const colour = parse(isShape ? computed.fill : computed.backgroundColor);
    colour[3] *= Number(computed.opacity) * (isShape ? Number(computed.fillOpacity) : 1);
    return colour;
  };
  const page = parse(getComputedStyle(document.documentElement).backgroundColor);
  const isDark = matchMedia('(prefers-color-scheme: dark)').matches;
  const paper = page[3] ? page : isDark ? [13, 17, 23, 1] : [255, 255, 255, 1];
  const findInk = parent => {
    const computed = getComputedStyle(parent);
    const ink = parse(parent.closest('svg') ? computed.fill : computed.color);
    for (let at = parent; at; at = at.parentElement) {
      ink[3] *= Number(getComputedStyle(at).opacity);
    }
    return ink;
  };

  const measured = [];
  const hidden = ['STYLE', 'SCRIPT', 'TITLE', 'OPTION'];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode, parent = text.parentElement;
    if (!text.data.trim() || hidden.includes(parent.tagName.toUpperCase())) continue;
    if (parent.closest('button:disabled')) continue;  // exempt: it says that it cannot be used
    parent.scrollIntoView({block: 'center', inline: 'center'});
    const range = document.createRange();
    range.selectNodeContents(text);
    const place = range.getClientRects()[0];
    if (!place || place.width < 1 || getComputedStyle(parent).visibility !== 'visible') continue;
    const stack = document.elementsFromPoint(
      place.x + Math.min(place.width, 12) / 2, place.y + place.height / 2);
    const isOnTop = stack.some(other => other.contains(parent) || parent.contains(other));
    if (!isOnTop) continue;
    const ground = stack.filter(other => !other.closest('text')).reverse()
      .reduce((below, other) => lay(paint(other), below), paper);
    const seen = lay(findInk(parent), ground);
    measured.push([text.data.trim().slice(0, 40), compare(seen, ground)]);
  }
  return measured;
}
