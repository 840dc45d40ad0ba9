// What requests, messages and jobs were made of lately: those that failed and that were slow first.
import { html, nothing } from "../vendor/lit-html.js";
import { get, query } from "../api.js";
import { badge, bytes, number, plural, span, table, time } from "../text.js";

export const title = () => "Traces";

const FILTERS = ["component", "at_least_us", "failed", "newest"];
const LIMIT = 100;
/** Microseconds that are worth a choice. */
const SLOW = [10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000];

const filter = (asked) => Object.fromEntries(FILTERS.map((name) => [name, asked[name]]));

export async function load(_, asked) {
  const [found, components] = await Promise.all([
    get(`/traces${query({ ...filter(asked), limit: LIMIT })}`), get("/components"),
  ]);
  return { found, components: components.map((it) => it.component) };
}

/** How it ended, as a badge. */
export function result(it) {
  const status = it.status === null ? nothing : html` <span class="dim">${it.status}</span>`;
  if (it.failed) return html`${badge("bad", "failed")}${status}`;
  if (it.errors > 0) return html`${badge("warn", plural(it.errors, "error"))}${status}`;
  return html`${it.whole ? badge("good", "done") : badge("calm", "goes on")}${status}`;
}

export function view({ found, components }, _app, _place, asked) {
  if (!found.on) {
    return html`<section class="state warn" aria-labelledby="off"><h2 id="off">This host keeps no traces</h2>
      <p>It was started with <code>MARQUEE_KEEP_TRACES=false</code>, or <code>[traces] keep = false</code> in its runtime config file. Without it the slow
      and the failed of the last minutes are kept in its memory.</p></section>`;
  }
  const change = (event) => {
    const form = new FormData(event.currentTarget);
    location.hash = `#/traces${query(Object.fromEntries(FILTERS.map((name) => [name, form.get(name)])))}`;
  };
  const submit = (event) => { event.preventDefault(); change(event); };
  const option = (value, text, chosen) => html`<option value=${value} ?selected=${String(value) === (chosen ?? "")}>${text}</option>`;
  const rows = found.traces.map((it) => html`<tr>
    <th scope="row" class="wide"><a href="#/traces/${it.trace}">${it.name}</a></th>
    <td>${result(it)}</td><td class="num">${span(it.took_us)}</td><td>${time(it.start_ms)}</td>
    <td>${it.components.join(", ") || "–"}</td><td class="num">${number(it.spans)}</td></tr>`);
  return html`<section aria-labelledby="found"><h2 id="found">The slow and the failed of the last minutes</h2>
    <form class="line" @change=${change} @submit=${submit}>
      <label>Component <select name="component">${option("", "all", asked.component)}${components.map((it) => option(it, it, asked.component))}</select></label>
      <label>Took <select name="at_least_us">${option("", "any time", asked.at_least_us)}${SLOW.map((it) => option(it, `${span(it).replace(/\.0+ /, " ")} or more`, asked.at_least_us))}</select></label>
      <label>Order <select name="newest">${option("", "failed, then slowest", asked.newest)}${option("true", "newest", asked.newest)}</select></label>
      <label>Result <select name="failed">${option("", "any", asked.failed)}${option("true", "with an error", asked.failed)}</select></label>
    </form>
    ${table("Traces", ["What", "Result", "#Took", "Began", "Components", "#Spans"], rows,
      found.kept === 0 ? "None yet: nothing was asked of this host." : "None that match.")}
    <p class="dim">${plural(found.kept, "trace")} in ${bytes(found.bytes)} of this host's memory. When there is no more room, those that failed and the slowest of
      their kind stay longest. Under load a part of the work is kept only.</p>
  </section>`;
}
