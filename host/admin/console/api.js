// Asks the host. What opens it is kept for this tab only.

const KEY = "marquee.session";
const PATH = "/admin/v1";
/** How long an answer may take; a version is compiled before it is answered for. */
const PATIENCE = 120_000;
const PAUSE = 3_000;

/** The host said no, and why. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const secret = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

function headers(more) {
  const known = secret.get();
  return known ? { authorization: `Bearer ${known}`, ...more } : more;
}

async function send(method, path, { body, kind, accept, signal } = {}) {
  const all = headers({ ...(kind && { "content-type": kind }), ...(accept && { accept }) });
  const patience = signal ?? AbortSignal.timeout(PATIENCE);
  let answer;
  try {
    answer = await fetch(PATH + path, { method, body, headers: all, signal: patience, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused(0, "the host does not answer");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, problem.detail ?? `the host answered with ${answer.status}`);
}

/** The document at a path. */
export const get = async (path) => (await send("GET", path)).json();
/** The same as text, or as it is. */
export const text = async (path) => (await send("GET", path)).text();
export const raw = async (path) => new Uint8Array(await (await send("GET", path)).arrayBuffer());

async function done(method, path, given) {
  const answer = await send(method, path, given);
  return answer.status === 204 ? null : answer.json();
}
export const post = (path, document) => done("POST", path,
  document === undefined ? {} : { body: JSON.stringify(document), kind: "application/json" });
export const put = (path, document) => done("PUT", path, { body: JSON.stringify(document), kind: "application/json" });
export const upload = (method, path, body, kind) => done(method, path, { body, kind });
export const remove = (path) => done("DELETE", path);

/** A path of parts, whatever is in them. */
export const at = (...parts) => parts.map((part) => `/${encodeURIComponent(part)}`).join("");
/** What is set of these, as a query. */
export function query(all) {
  const set = Object.entries(all).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return set.length === 0 ? "" : `?${new URLSearchParams(set)}`;
}

/** Give each new sample to `take`, and whether they come to `live`, until `signal`. */
export async function follow(take, live, signal) {
  while (!signal.aborted) {
    try {
      const answer = await send("GET", "/samples", { accept: "text/event-stream", signal });
      live(true);
      const pieces = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let left = ""; ;) {
        const { value, done: ended } = await pieces.read();
        if (ended) break;
        const events = (left + value).split("\n\n");
        left = events.pop();
        for (const event of events) {
          const data = event.split("\n").filter((line) => line.startsWith("data:"));
          if (data.length > 0) take(JSON.parse(data.map((line) => line.slice(5)).join("\n")));
        }
      }
    } catch (error) {
      if (error.status === 401 || error.status === 403) throw error;
    }
    if (signal.aborted) return;
    live(false);
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}
