// Icons as drawn paths: a font may lack any symbol.
import { SVG } from "./elements.js";

const PATHS = {
  succeeded: "M3.500 8.500l3 3 6-7",
  partial: "M3.500 8.500l3 3 6-7",
  failed: "M4 4l8 8M12 4l-8 8",
  stopped: "M4.500 4.500h7v7h-7z",
  cancelled: "M3.500 8h9",
  waiting: "M8 3.500v5l3 2",
  running: "M5.500 3.500l6.500 4.500-6.500 4.500z",
  queued: "M4 5h8M4 8h8M4 11h5",
  crashed: "M8 3.500v5.500M8 12v.500",
  damaged: "M8 3.500v5.500M8 12v.500",
  erased: "M8 3a5 5 0 1 0 0 10 5 5 0 0 0 0-10M4.500 11.500l7-7",
  question: "M5.500 6a2.500 2.500 0 1 1 3.500 2.300c-.8.400-1 .8-1 1.700M8 12v.500",
  down: "M4 6.500l4 4 4-4",
  up: "M4 9.500l4-4 4 4",
  right: "M6.500 4l4 4-4 4",
  left: "M9.500 4l-4 4 4 4",
  copy: "M6 6h6.500v6.500H6zM3.500 10V3.500H10",
  more: "M3.500 8h.01M8 8h.01M12.500 8h.01",
  sun: "M8 5.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5M8 1.500v1.500M8 13v1.500M1.500 8H3M13 8h1.500M3.400 3.400l1 1M11.600 11.600l1 1M12.600 3.400l-1 1M4.400 11.600l-1 1",
  moon: "M12.500 9.500A5 5 0 0 1 6.500 3.500a5 5 0 1 0 6 6z",
  screen: "M2.500 3.500h11v7.500h-11zM6 13.500h4",
  search: "M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8M10 10l3 3",
};

export function icon(name) {
  const made = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name] ?? PATHS.more);
  for (const [key, value] of Object.entries({
    viewBox: "0 0 16 16",
    class: `icon icon-${name}`,
    "aria-hidden": "true",
  }))
    made.setAttribute(key, value);
  made.append(path);
  return made;
}
