// What a copy of a run says of itself: of when it is, and what it does not hold.
import { h } from "../../parts/elements.js";
import { moment } from "../../parts/figures.js";
import { note } from "../../parts/states.js";
import { inline } from "../../parts/text.js";

export function copyNote({ as_of: asOf, notes }, { row, flow }) {
  const time = new Date(asOf * 1000).toISOString();
  const el = note(
    "calm",
    h(
      "div",
      {},
      "This is a copy of a run as of ",
      h("time", { datetime: time }, moment(asOf)),
      "; its journal is not attached. ",
      unfinished(row),
      flow.is_loaded ? null : "Without the code of the flow, it is what the journal says. ",
      notes.length ? leftOut(notes) : null,
    ),
  );
  el.classList.add("copy-note");
  return el;
}

const leftOut = (notes) =>
  h(
    "details",
    {},
    h("summary", {}, `What is not in it (${notes.length})`),
    h("ul", {}, ...notes.map((words) => h("li", {}, inline(words)))),
  );

function unfinished({ is_under_way: isUnderWay, status }) {
  if (isUnderWay) return h("strong", {}, "It was under way then, and may have gone on. ");
  if (status === "waiting") return h("strong", {}, "It was waiting then, and may have gone on. ");
  return null;
}
