// How much more B has of something than A.
import { h, signed } from "../../parts/elements.js";
import { NOTHING } from "../../parts/figures.js";

// `write` writes a number without a sign. What is too small to be seen is no difference.
export function changeIn(left, right, write) {
  if (left === null || right === null) return h("span", { class: "muted" }, NOTHING);
  const change = right - left;
  if (write(Math.abs(change)) === write(0)) return h("span", { class: "muted" }, "same");
  return signed(change, write);
}
