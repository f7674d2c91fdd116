// What went wrong, in words for people. The server says it by RFC 9457, in `detail`; what it cannot
// say itself (it is away, the token is not valid any more) is said here.
const LOST = "The server does not answer. It may have ended, or this machine was asleep.";
const TOKEN =
  "This page has no valid token. Open the link that `graphorch serve` printed; it makes a new one each time it starts.";
const BUSY = "The server has too much to do at the moment. Try again in a while.";

export class Problem extends Error {
  // `kind`: "lost" (no answer), "token", "missing", or "refused" with the server's own words.
  // `type` names the problem for programs, such as "run-not-found"; `fields` are what it holds.
  constructor(kind, words, fields = {}) {
    super(words);
    this.kind = kind;
    this.fields = fields;
    this.status = fields.status ?? 0;
    this.type = fields.type?.split(":").at(-1) ?? "";
  }

  static lost() {
    return new Problem("lost", LOST);
  }

  static async ofAnswer(answer) {
    let fields = {};
    try {
      fields = await answer.json();
    } catch {
      // an answer of a proxy, or half of an answer: its status says enough
    }
    fields = { ...fields, status: answer.status };
    if (answer.status === 401) return new Problem("token", TOKEN, fields);
    const isBusy = answer.status === 503 || answer.status === 429;
    const words =
      fields.detail ??
      (isBusy ? BUSY : `The server answers ${answer.status}, and does not say why.`);
    return new Problem(answer.status === 404 ? "missing" : "refused", words, fields);
  }
}
