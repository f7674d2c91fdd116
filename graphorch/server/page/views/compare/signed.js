// How much more B has of something than A.
import { dollars, h, signed } from "../../parts/elements.js";
import { NOTHING, costOf } from "../../parts/figures.js";

// `write` writes a number without a sign. What is too small to be seen is no difference.
export function changeIn(left, right, write) {
  if (left === null || right === null) return h("span", { class: "muted" }, NOTHING);
  const change = right - left;
  if (write(Math.abs(change)) === write(0)) return h("span", { class: "muted" }, "same");
  return signed(change, write);
}

// Of two usages, what B cost more. Where a price is not known, neither is the difference.
export function changeInCost(left, right) {
  const unpriced = left.unpriced + right.unpriced;
  return unpriced ? costOf({ usd: 0, unpriced }) : changeIn(left.usd, right.usd, dollars);
}
