// A long text of a record, of which its row shows the beginning: read part by part, when wanted.
import { h, plural } from "../../../parts/elements.js";
import { inline, visible } from "../../../parts/text.js";

// `cut` names the text by its place in the record `seq`.
export function longText(data, seq, { pointer, characters }) {
  const words = plural(characters, "character");
  const button = h(
    "button",
    { type: "button", class: "button small", onclick: () => read() },
    "Read all of it",
  );
  const told = h("span", { class: "muted small" }, inline(pointer), ` is cut, it has ${words} `);
  const el = h("div", { class: "cut" }, told, button);
  const pre = h("pre", { class: "is-whole", dir: "auto", tabindex: "0" });
  const read = async () => {
    button.remove();
    el.append(pre);
    pre.focus();
    try {
      for (let begin = 0; begin !== null;) {
        const part = await data.read("/text", { seq, pointer, begin });
        pre.append(visible(part.text));
        begin = part.next;
      }
    } catch (problem) {
      el.append(h("p", { class: "bad small break", role: "alert" }, inline(problem.message)));
      if (!pre.firstChild) pre.remove();
    }
  };
  return el;
}
