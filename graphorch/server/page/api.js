// The only module that talks to the server. In an exported file, `Exported` takes its place.
//
// Every answer is data, or a `Problem` is thrown whose words can be shown as they are.
import { Problem } from "./connection/problem.js";
import { SharedStream } from "./connection/shared_stream.js";
import { readJson } from "./parts/json.js";
import { borrowToken, dropToken, lendToken, takeToken } from "./connection/token.js";

export class Api {
  // Takes the token out of the address, or asks another tab for it.
  static async connect() {
    const api = new Api(takeToken() || (await borrowToken()));
    lendToken();
    return api;
  }

  constructor(token) {
    this.token = token;
  }

  // Reads what is at a path below `/api`; values of `query` that are empty are left out. `isExact`:
  // numbers that JavaScript cannot hold stay as they are written (see `parts/json.js`).
  async get(path, query = {}, { signal, isExact = false } = {}) {
    const asked = `/api${path}${writeQuery(query)}`;
    const answer = await this.send(asked, { signal });
    if (!answer.headers.get("content-type")?.includes("json")) return answer.text();
    return isExact ? readJson(await answer.text()) : answer.json();
  }

  // Sends JSON to a path, or a text that is JSON already; gives what the server answers, or null for
  // no content.
  async post(path, body = {}, { headers = {}, method = "POST" } = {}) {
    const options = {
      method,
      body: typeof body === "string" ? body : JSON.stringify(body),
      headers: { ...headers, "content-type": "application/json" },
    };
    const answer = await this.send(`/api${path}`, options);
    return answer.status === 204 ? null : answer.json();
  }

  async send(url, { headers = {}, ...options }) {
    let answer;
    try {
      const sent = { ...headers, authorization: `Bearer ${this.token}` };
      answer = await fetch(url, {
        ...options,
        headers: sent,
        cache: "no-store",
        redirect: "error",
        credentials: "omit",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw Problem.lost();
    }
    if (answer.ok) return answer;
    const problem = await Problem.ofAnswer(answer);
    if (problem.kind === "token") dropToken();
    throw problem;
  }

  // The one stream of events of this page; see `SharedStream`.
  openStream(onEvent, onState) {
    const open = (signal) => this.send("/api/events", { signal });
    return new SharedStream(open, onEvent, onState);
  }
}

function writeQuery(query) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined,
  );
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
