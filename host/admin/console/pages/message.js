// One message that could not be applied: all of it, and what a person does about it.
import { html, nothing } from "../vendor/lit-html.js";
import { at, get, post, raw, upload } from "../api.js";
import { ask, say } from "../dialog.js";
import { bytes, moment, number, plural, table, time } from "../text.js";
import { ACTS, stateOf } from "./messages.js";

export const title = (place) => (place.length === 0 ? "Message" : `Message ${place.join("/")}`);

export async function load([database, id]) {
  const path = `/messages${at(database, id)}`;
  const [it, payload] = await Promise.all([get(path), raw(`${path}/payload`)]);
  return { it, payload };
}

/** How a payload is read. Only the first so many bytes are shown as hexadecimal. */
const HEX = 4096;
const VIEWS = { json: "JSON", text: "Text", hex: "Hexadecimal" };
/** How the payload of `message` is shown, and what a person makes of it. */
const state = { message: null, view: null, edited: null };

const decoded = (payload) => {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(payload);
  } catch {
    return null;
  }
};

function parsed(text) {
  try {
    return text === null || text === "" ? null : JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return null;
  }
}

function hex(payload) {
  const rows = [];
  for (let from = 0; from < Math.min(payload.length, HEX); from += 16) {
    const row = [...payload.slice(from, from + 16)];
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    rows.push(`${from.toString(16).padStart(6, "0")}  ${digits.padEnd(48)} ${letters}`);
  }
  return rows.join("\n") + (payload.length > HEX ? `\n… ${number(payload.length - HEX)} bytes more` : "");
}

/** Of who published it, as W3C's traceparent has it. */
function traceOf(headers) {
  const trace = headers.find(([name]) => name === "traceparent")?.[1].split("-")[1];
  return trace ? html`<a href="#/traces/${trace}">${trace.slice(0, 12)}</a>` : "–";
}

export function view({ it, payload }, app, place) {
  const { kept, headers, message } = { ...it, message: it.message };
  if (state.message !== message) Object.assign(state, { message, view: null, edited: null });
  const text = decoded(payload);
  const json = parsed(text);
  const views = Object.keys(VIEWS).filter((name) => name === "hex" || (name === "text" && text !== null) || (name === "json" && json !== null));
  const shown = views.includes(state.view) ? state.view : views[0];
  const path = `/messages${at(...place)}`;
  const act = (name) => ask({
    title: `${ACTS[name].name} ${message}`,
    button: ACTS[name].name,
    danger: ACTS[name].danger,
    body: () => html`<p class="effect">${ACTS[name].effect}</p>`,
    act: async () => {
      await post(`${path}/${name}`);
      location.hash = "#/messages";
      return `${message} is ${ACTS[name].done}.`;
    },
  });
  const facts = [
    ["State", stateOf(kept)], ["Reason", kept.reason], ["Error", kept.error ?? "–"],
    ["Consumer", kept.consumer], ["Topic", kept.topic], ["Key", html`<code>${kept.key || "–"}</code>`],
    ["Number in its key", number(kept.seq)], ["Event", html`<code>${kept.event_id}</code>`],
    ["Place on the bus", kept.partition === null ? "–" : `partition ${kept.partition}, offset ${number(kept.offset)}`],
    ["Attempts", number(kept.attempts)], ["Published", time(kept.published_at)], ["Came here", time(kept.parked_at)],
    ["Failed first", time(kept.first_failed_at)], ["Failed last", time(kept.last_failed_at)], ["Tried next", time(kept.next_attempt_at)],
    ["Trace", traceOf(headers)],
    ["Later ones of its key", kept.blocks ? "wait behind it" : "do not wait"],
  ];
  return html`<p class="path"><a href="#/messages">Messages</a> / ${message}</p>
  ${app.mayChange ? html`<p class="buttons">${Object.keys(ACTS).map((name) => html`<button type="button"
    class=${name === "retry" ? "main" : ACTS[name].danger ? "danger" : ""} @click=${() => act(name)}>${ACTS[name].name}…</button>`)}</p>` : nothing}
  <dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
  <section aria-labelledby="payload"><h2 id="payload">Payload <span class="dim">${bytes(payload.length)}</span></h2>
    <div class="choices" role="group" aria-label="Shown as">${views.map((name) => html`<button type="button" aria-pressed=${name === shown}
      @click=${() => { state.view = name; app.redraw(); }}>${VIEWS[name]}</button>`)}</div>
    <pre tabindex="0" role="region" aria-label="Payload">${{ json, text, hex: hex(payload) }[shown]}</pre>
    ${app.mayChange ? edit(app, path, message, json ?? text ?? "") : nothing}
  </section>
  <section aria-labelledby="headers"><h2 id="headers">Headers</h2>
    ${table("Headers", ["Name", "Value"], headers.map(([name, value]) => html`<tr><th scope="row"><code>${name}</code></th><td class="wide"><code>${value}</code></td></tr>`))}
  </section>`;
}

function edit(app, path, message, text) {
  if (state.edited === null) {
    return html`<p><button type="button" @click=${() => { state.edited = text; app.redraw(); }}>Edit…</button></p>`;
  }
  const save = async (event) => {
    event.preventDefault();
    const again = event.submitter?.name === "again";
    const payload = new FormData(event.currentTarget).get("payload");
    try {
      await upload("PUT", `${path}/payload`, payload, "application/octet-stream");
      if (again) await post(`${path}/retry`);
      state.edited = null;
      say(again ? `${message} is retried with another payload.` : `${message} has another payload; it is delivered with it when it is next.`);
      if (again) location.hash = "#/messages";
      else await app.reload();
    } catch (error) {
      say(error.message, "bad");
    }
  };
  const kind = state.edited === "" ? "It is empty." : parsed(state.edited) === null ? "This is no JSON." : "This is JSON.";
  return html`<form class="edit" @submit=${save}>
    <label for="edited">Another payload</label>
    <textarea id="edited" name="payload" rows=${Math.min(24, state.edited.split("\n").length + 1)} spellcheck="false" .value=${state.edited}
      @input=${(event) => { state.edited = event.target.value; app.redraw(); }}></textarea>
    <p class="dim">${kind} The one before is not kept: the log of acts has its size and its SHA-256.</p>
    <p class="buttons"><button type="button" @click=${() => { state.edited = null; app.redraw(); }}>Cancel</button>
      <button name="save">Save</button><button class="main" name="again">Save and retry</button></p></form>`;
}
