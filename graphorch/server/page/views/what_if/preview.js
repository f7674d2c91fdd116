// What a rerun would do, in words and lists.
import { dollars, h, plural } from "../../parts/elements.js";
import { count } from "../../parts/figures.js";
import { note } from "../../parts/states.js";
import { inline, visible } from "../../parts/text.js";

const FEW = 12; // paths that are listed at once

export function previewBody(found, { isFork, effects, onEffects }) {
  const parts = [
    list("Served from the record", found.served, "free, and exactly as it was"),
    list(
      isFork ? "Not copied" : "Runs anew",
      found.anew,
      isFork ? "" : "it ran before, and runs again",
    ),
  ];
  if (isFork) return parts.filter(Boolean);
  if (found.may_run.join() !== found.anew.join())
    parts.push(list("May run", found.may_run, "with what is inside"));
  parts.push(buildCost(found));
  if (found.effects.length) parts.push(buildEffects(found.effects, effects, onEffects));
  return parts.filter(Boolean);
}

function list(title, paths, about) {
  if (!paths.length) return null;
  const items = paths.map((path) => h("li", {}, inline(path, { class: "mono" })));
  const rest = items.splice(FEW);
  return h(
    "section",
    { class: "panel-section" },
    h(
      "h3",
      {},
      `${title} (${paths.length.toLocaleString("en")})`,
      about ? h("span", { class: "muted" }, ` · ${about}`) : null,
    ),
    h("ul", { class: "path-list" }, ...items),
    rest.length
      ? h(
          "details",
          { class: "small" },
          h("summary", {}, plural(rest.length, "more path")),
          h("ul", { class: "path-list" }, ...rest),
        )
      : null,
  );
}

function buildCost({ worst, budget, unbounded }) {
  const most = worst.usd === null ? "no bound is known" : `at most ${dollars(worst.usd)}`;
  const calls =
    worst.calls === null
      ? "calls without a bound"
      : `at most ${count(worst.calls)} model ${worst.calls === 1 ? "call" : "calls"}`;
  const limit = budget === null ? "" : ` The budget stops it at ${dollars(budget)}.`;
  return h(
    "section",
    { class: "panel-section" },
    h("h3", {}, "Cost"),
    h("p", {}, h("strong", {}, most), `, ${calls}.${limit}`),
    unbounded.length
      ? h(
          "ul",
          { class: "plain-list small muted" },
          ...unbounded
            .slice(0, 4)
            .map(({ path, why }) =>
              h("li", {}, inline(path, { class: "mono" }), ": ", inline(why)),
            ),
        )
      : null,
  );
}

function buildEffects(repeated, chosen, onEffects) {
  const canServe = repeated.every((each) => each.can_serve);
  const radio = (name, words, isPossible = true) =>
    isPossible
      ? h(
          "label",
          { class: "choice" },
          h("input", {
            type: "radio",
            name: "effects",
            value: name,
            checked: name === chosen,
            onchange: () => onEffects(name),
          }),
          h("span", {}, words),
        )
      : null;
  return h(
    "section",
    { class: "panel-section" },
    note(
      "bad",
      h(
        "span",
        {},
        h("strong", {}, "These acted on the world, and would act again: "),
        ...repeated.map(({ path, effect }, at) =>
          h("span", {}, at ? ", " : "", inline(path, { class: "mono" }), ` (${visible(effect)})`),
        ),
      ),
    ),
    h(
      "fieldset",
      { class: "choices" },
      h("legend", { class: "field-label" }, "What becomes of them?"),
      radio("refuse", "Do not run while they would act again"),
      radio("serve", "Use what they returned; they do not act", canServe),
      radio("repeat", "Let them act again"),
    ),
  );
}

export function runWords(found, isFork, effects) {
  if (isFork) return "Copy the run up to here";
  const most =
    found.worst.usd === null ? "cost without a bound" : `at most ${dollars(found.worst.usd)}`;
  const acts = found.effects.length && effects === "repeat" ? ", and act again" : "";
  return `Run it${acts} — ${most}`;
}
