// The stepper's page. Everything that a run holds arrives as text and is set as text: no value of a state, and no word of a model, is
// ever parsed as markup. The picture is the one exception: it is SVG that graphorch drew, in which all names are escaped.

const SVG = "http://www.w3.org/2000/svg";

function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (["value", "checked", "disabled", "open"].includes(name)) made[name] = value;
    else if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const seconds = (value) => (value < 0.9995 ? `${Math.round(value * 1000)} ms` : value < 100 ? `${value.toFixed(1)} s` : `${Math.round(value / 60)} min`);
const dollars = (value) => (value >= 0.01 ? `$${value.toFixed(3)}` : value >= 0.0001 ? `$${value.toFixed(4)}` : "<$0.0001");
const cost = (entry) => (entry.unpriced ? (entry.usd ? `${dollars(entry.usd)} and calls of unknown price` : "price unknown") : dollars(entry.usd));
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const signed = (value, format) => (value === 0 ? "no difference" : `${value < 0 ? "−" : "+"}${format(Math.abs(value))}`);

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

// Replaces the children of an element; what had the focus has it again if it is still there, found by its `data-key`.
function replaceChildren(parent, children) {
  const key = focused(parent)?.closest("[data-key]")?.dataset.key;
  parent.replaceChildren(...children.filter(Boolean));
  if (key !== undefined) [...parent.querySelectorAll("[data-key]")].find((child) => child.dataset.key === key)?.focus({ preventScroll: true });
}
