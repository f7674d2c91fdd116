// A run that was written into one HTML file: the same paths, read out of elements of the page.
//
// The element with the id `exported` says what the file is a copy of: `run`, its id; `as_of`, in
// seconds since 1970; `notes`, what was left out; and `absent`, why a group lacks an
// answer, as a problem. Each element with `data-answers` is a group of answers, named by the path
// below that of the run: an object of answers by keys, parsed when it is first asked for.
import { Problem } from "./problem.js";
import { boxOf } from "../views/run/selection.js";

const RUN = "run";
const ELSEWHERE = "This file holds one run, and no more of the journal than its page.";
const LEFT_OUT = "This file was written without it.";
const READ_ONLY = "A copy of a run can only be read.";

// The values of a query that a key is made of.
const KEYS = {
  moments: ["after"],
  conversation: ["after"],
  "picture.svg": ["heat", "at"],
  state: ["at"],
  why: ["path"],
  text: ["seq", "pointer", "begin"],
};

const LISTS = new Set(["moments", "conversation"]); // that are read from their beginning

export class Exported {
  // Takes the elements of the page, which are not needed in it any more.
  static take() {
    const about = document.getElementById("exported");
    const groups = [...document.querySelectorAll("[data-answers]")];
    return new Exported(
      JSON.parse(about.textContent),
      new Map(groups.map((element) => [element.dataset.answers, element.textContent])),
    );
  }

  constructor(about, sources) {
    Object.assign(this, { about, sources });
    this.groups = new Map();
  }

  // As `Api.get`; `path` is that of the run, or below it.
  async get(path, query = {}) {
    const base = `/runs/${encodeURIComponent(this.about.run)}`;
    if (path !== base && !path.startsWith(`${base}/`))
      throw new Problem("missing", ELSEWHERE, { status: 404 });
    const name = path.slice(base.length + 1) || RUN;
    if (name === "records") return this.listRecords(query);
    if (name === "calls") return this.listCalls(query);
    const key = (KEYS[name] ?? []).map((each) => query[each] ?? "").join(" ");
    const answers = this.open(name);
    if (Object.hasOwn(answers, key)) return LISTS.has(name) ? end(answers, key) : follow(answers, key);
    throw this.explain(name, key);
  }

  async post() {
    throw new Problem("refused", READ_ONLY);
  }

  has(name, key) {
    return Object.hasOwn(this.open(name), key);
  }

  open(name) {
    if (!this.groups.has(name)) {
      this.groups.set(name, JSON.parse(this.sources.get(name) ?? "{}"));
      this.sources.delete(name);
    }
    return this.groups.get(name);
  }

  // Why there is no such answer: the API refused it, or it was left out.
  explain(name, key) {
    const refused = this.open("problems")[`${name} ${key}`];
    const fields = refused ?? this.about.absent[name] ?? { type: "left-out", detail: LEFT_OUT };
    return new Problem("refused", fields.detail, fields);
  }

  // ---- lists, whose pages begin anywhere ----------------------------------------------------------
  // All rows of a list; throws what the API said if it refused the first page.
  listRows(name, field) {
    const pages = Object.values(this.open(name));
    if (!pages.length) throw this.explain(name, "0");
    return pages.flatMap((page) => page[field]);
  }

  listRecords({ after, limit }) {
    const all = this.listRows("records", "records");
    const rest = all.filter(({ seq }) => seq > after);
    const records = rest.slice(0, limit);
    const next = rest.length > limit ? records.at(-1).seq : null;
    return { records, next, seq: all.at(-1)?.seq ?? 0 };
  }

  // Calls with the same record stay on one page.
  listCalls({ path, after, limit }) {
    const isWanted = (call) => call.seq > after && (!path || isInside(call.path, path));
    const models = this.listRows("calls", "models").filter(isWanted);
    const tools = this.listRows("calls", "tools").filter(isWanted);
    const seqs = [...models, ...tools].map(({ seq }) => seq).sort((one, other) => one - other);
    const last = seqs[limit - 1] ?? Infinity;
    const isOnPage = ({ seq }) => seq <= last;
    return {
      models: models.filter(isOnPage),
      tools: tools.filter(isOnPage),
      next: seqs.at(-1) > last ? last : null,
    };
  }
}

// An answer that is the number of a record is that of this record.
function follow(answers, key) {
  const answer = answers[key];
  return typeof answer === "number" ? answers[` ${answer}`] : answer;
}

// A page whose next one was left out is the last.
function end(answers, key) {
  const page = answers[key];
  const isLast = page.next === null || !Object.hasOwn(answers, page.next);
  return isLast ? { ...page, next: null } : page;
}

// Whether a path is that of a node or inside it; `node` may leave out the numbers of map items.
const isInside = (path, node) =>
  [path, boxOf(path)].some(
    (each) => each === node || each.startsWith(`${node}/`) || each.startsWith(`${node}[`),
  );
