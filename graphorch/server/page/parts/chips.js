// The status of a run or an activation as a chip: colour, sign and word together.
import { h } from "./elements.js";
import { icon } from "./icons.js";

// Colour and sign by status, of runs, of activations, and of marks in a picture.
const LOOKS = {
  succeeded: ["good", "succeeded"],
  done: ["good", "succeeded"],
  ok: ["good", "succeeded"],
  partial: ["good", "partial"],
  answered: ["good", "succeeded"],
  approved: ["good", "succeeded"],
  failed: ["bad", "failed"],
  crashed: ["bad", "crashed"],
  damaged: ["bad", "damaged"],
  lost: ["bad", "crashed"],
  handled: ["warn", "failed"],
  refused: ["warn", "failed"],
  stopped: ["warn", "stopped"],
  retrying: ["warn", "waiting"],
  waiting: ["warn", "waiting"],
  asks: ["warn", "question"],
  running: ["brand", "running"],
  called: ["brand", "running"],
  asked: ["warn", "question"],
  waits: ["warn", "waiting"],
  retried: ["warn", "waiting"],
  entered: ["brand", "right"],
  input: ["calm", "right"],
  forked: ["calm", "right"],
  signal: ["calm", "right"],
  ended: ["calm", "stopped"],
  at_bound: ["bound", "stopped"],
  queued: ["calm", "queued"],
  cancelled: ["calm", "cancelled"],
  skipped: ["calm", "cancelled"],
  erased: ["calm", "erased"],
};

export function chip(status, words = status) {
  const [tone, sign] = LOOKS[status] ?? ["calm", "more"];
  return h("span", { class: `chip tone-${tone}`, "data-status": status }, icon(sign), words);
}

export const tag = (key, value) =>
  h("span", { class: "tag" }, h("bdi", {}, key), "=", h("bdi", {}, value));
