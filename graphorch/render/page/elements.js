// Elements of pages. Everything that a run holds arrives as text and is set as text: no value of a
// state, and no word of a model, is ever parsed as markup. Pictures are the one exception: they are
// SVG that graphorch drew, in which all names are escaped.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = ["value", "checked", "disabled", "open", "indeterminate"];

// Makes an element. Attributes whose names begin with `on` are listeners. `style` is set through
// the object model, which policies against inline styles allow.
function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (PROPERTIES.includes(name)) made[name] = value;
    else if (value === undefined || value === null) continue;
    else if (name === "style") made.style.cssText = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

// ---- figures, as the command line and pictures write them ------------------------------------------
const two = (value) => String(value).padStart(2, "0");

// 45 ms, 1.2 s, 3 min 20 s, 2 h 05 min, 3 d 4 h
function seconds(value) {
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 99.95) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 172800)
    return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

// $12.30, $0.011, <$0.0001
function dollars(value) {
  if (value >= 1)
    return `$${value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  if (value >= 0.01) return `$${value.toFixed(3)}`;
  if (value >= 0.0001) return `$${value.toFixed(4)}`;
  return value > 0 ? "<$0.0001" : "$0";
}

const cost = (entry) =>
  entry.unpriced
    ? entry.usd
      ? `${dollars(entry.usd)} and calls of unknown price`
      : "price unknown"
    : dollars(entry.usd);
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const signed = (value, format) =>
  value === 0 ? "no difference" : `${value < 0 ? "−" : "+"}${format(Math.abs(value))}`;

// ---- focus -------------------------------------------------------------------------------------------
// A button that cannot be pressed keeps the keyboard's focus, which a disabled one would lose.
function enable(button, isEnabled) {
  button.setAttribute("aria-disabled", String(!isEnabled));
}
const isEnabled = (button) => button.getAttribute("aria-disabled") !== "true";

// The element that has the focus, also where the page lives in a shadow tree.
const focused = (inside) => {
  const active = inside.getRootNode().activeElement;
  return active && inside.contains(active) ? active : null;
};

// Replaces the children of an element; what had the focus has it again if it is still there, found
// by its `data-key`.
function replaceChildren(parent, children) {
  const key = focused(parent)?.closest("[data-key]")?.dataset.key;
  parent.replaceChildren(...children.filter(Boolean));
  if (key === undefined) return;
  const again = [...parent.querySelectorAll("[data-key]")].find(
    (child) => child.dataset.key === key,
  );
  again?.focus({ preventScroll: true });
}
