// One trace as a waterfall: what led to what, when, and for how long; with what came of its messages.
import { html, nothing, svg } from "../vendor/lit-html.js";
import { at, get } from "../api.js";
import { moment, plural, span } from "../text.js";
import { result } from "./traces.js";

export const title = ([trace]) => (trace ? `Trace ${trace.slice(0, 12)}` : "Trace");
export const load = ([trace]) => get(`/traces${at(trace)}`);

/** The spans that are opened, so that a fresh answer leaves them so. */
const opened = new Set();
/** What stands beside a span's name, where it has it. */
const BESIDE = ["url.path", "http.response.status_code", "marquee.label", "marquee.version", "messaging.destination.name", "db.namespace"];
const DEEP = 12;

export function view(data, app) {
  const { trace: it, rows } = data;
  const components = [...new Set(rows.map((row) => row.component).filter(Boolean))];
  const facts = [
    ["What", html`<code>${it.name}</code>`], ["Result", result(it)], ["Took", span(it.took_us)],
    ["With what came of it", span(data.took_us)], ["Began", moment(data.start_ms)],
    ["Components", components.length === 0 ? "–" : components.map((name, index) => html`${index > 0 ? ", " : ""}<a href="#/components/${name}">${name}</a>`)],
    ["Spans", plural(rows.length, "span") + (data.left_out > 0 ? `, ${plural(data.left_out, "more")} found no room` : "")],
    ["Trace", html`<code>${it.trace}</code>`],
  ];
  return html`<p class="path"><a href="#/traces">Traces</a> / ${it.trace.slice(0, 12)}</p>
  <dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
  <section aria-labelledby="spans"><h2 id="spans">What it was made of</h2>
    <ol class="waterfall">${rows.map((row) => one(row, data.took_us, components, app))}</ol>
  </section>`;
}

function one(row, whole, components, app) {
  const key = `${row.trace}/${row.span}`;
  // What the name does not say already.
  const beside = [row.component, ...BESIDE.map((name) => row.attributes[name])]
    .filter((value) => value !== undefined && value !== null && !row.name.includes(value));
  const toggle = (event) => { event.target.open ? opened.add(key) : opened.delete(key); app.redraw(); };
  const kind = row.error === null ? `c${Math.max(0, components.indexOf(row.component)) % 5}` : "bad";
  return html`<li><details ?open=${opened.has(key)} @toggle=${toggle}><summary>
      <span class="what"><svg width=${Math.min(row.depth, DEEP) * 14} height="1" aria-hidden="true"></svg><span>${
        row.linked ? html`<span class="label">goes on</span> ` : nothing}<span>${row.name}</span>
        ${row.error === null ? nothing : html`<span class="badge bad">${row.error}</span>`}
        <span class="dim">${[...new Set(beside)].join(" · ")}</span></span></span>
      <span class="num">${span(row.took_us)}</span>
      ${bar(row, whole, kind)}</summary>
    ${opened.has(key) ? inside(row) : nothing}</details></li>`;
}

/** When it was, within the whole. */
function bar(row, whole, kind) {
  const place = (us) => (100 * us) / Math.max(1, whole);
  const from = Math.min(99.5, place(row.at_us));
  return html`<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
    <rect class="rail" width="100" height="10"></rect>
    ${svg`<rect class=${kind} x=${from} width=${Math.max(0.5, Math.min(100 - from, place(row.took_us)))} height="10"></rect>`}</svg>`;
}

function inside(row) {
  const all = [
    ["Began", `${span(row.at_us)} after the first`], ["Kind", row.kind], ["Component", row.component],
    ...Object.entries(row.attributes), ["Span", row.span], ["Trace", row.trace],
  ];
  return html`<dl class="inside">${all.filter(([, value]) => value !== null).map(([name, value]) => html`<div><dt>${name}</dt>
      <dd><code>${typeof value === "object" ? JSON.stringify(value) : value}</code></dd></div>`)}
    ${row.events.map((it) => html`<div><dt>after ${span(it.at_us)}</dt><dd>${it.name} <code>${JSON.stringify(it.attributes)}</code></dd></div>`)}
    ${row.links.map((it) => html`<div><dt>Goes on with</dt><dd><a href="#/traces/${it.trace}">${it.trace.slice(0, 12)}</a></dd></div>`)}</dl>`;
}
