// What differs between two values: texts by lines, others as before and after.
import { h } from "./elements.js";
import { visible } from "./text.js";
import { valueOf } from "./values.js";

const MOST_LINES = 500; // of a text that are compared
const AROUND = 3; // lines that stay around a change

export function changeOf(before, after, wasSet = true) {
  if (!wasSet)
    return h("div", { class: "change" }, h("div", { class: "change-new" }, valueOf(after)));
  if (
    typeof before === "string" &&
    typeof after === "string" &&
    before.includes("\n") | after.includes("\n")
  )
    return lineChanges(before, after);
  return h(
    "div",
    { class: "change" },
    h("div", { class: "change-old" }, valueOf(before)),
    h("div", { class: "change-new" }, valueOf(after)),
  );
}

function lineChanges(before, after) {
  const [old, fresh] = [before.split("\n"), after.split("\n")];
  if (old.length > MOST_LINES || fresh.length > MOST_LINES)
    return h(
      "div",
      { class: "change" },
      h("div", { class: "change-old" }, valueOf(before)),
      h("div", { class: "change-new" }, valueOf(after)),
    );
  const lines = fold(compareLines(old, fresh));
  const words = { same: "  ", old: "− ", new: "+ ", fold: "" };
  return h(
    "pre",
    { class: "line-diff" },
    ...lines.map(([kind, text]) =>
      h(
        kind === "old" ? "del" : kind === "new" ? "ins" : "span",
        { class: `line-${kind}` },
        `${words[kind]}${visible(text)}\n`,
      ),
    ),
  );
}

// The longest common subsequence of lines, by dynamic programming.
export function compareLines(old, fresh) {
  const common = Array.from({ length: old.length + 1 }, () => new Uint16Array(fresh.length + 1));
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = fresh.length - 1; j >= 0; j--) {
      common[i][j] =
        old[i] === fresh[j]
          ? common[i + 1][j + 1] + 1
          : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const lines = [];
  for (let i = 0, j = 0; i < old.length || j < fresh.length;) {
    if (i < old.length && j < fresh.length && old[i] === fresh[j]) {
      lines.push(["same", old[i++]]);
      j++;
    } else if (i < old.length && (j === fresh.length || common[i + 1][j] >= common[i][j + 1]))
      lines.push(["old", old[i++]]);
    else lines.push(["new", fresh[j++]]);
  }
  return lines;
}

// Lines that are the same, and far from every change, become a single line.
function fold(lines) {
  const isNear = lines.map((_, at) =>
    lines.slice(Math.max(0, at - AROUND), at + AROUND + 1).some(([kind]) => kind !== "same"),
  );
  const folded = [];
  let hidden = 0;
  lines.forEach((line, at) => {
    if (isNear[at]) {
      if (hidden) folded.push(["fold", `⋯ ${hidden} lines`]);
      hidden = 0;
      folded.push(line);
    } else hidden += 1;
  });
  if (hidden) folded.push(["fold", `⋯ ${hidden} lines`]);
  return folded;
}
