// Figures, times and names as people read them.
import { html, nothing } from "./vendor/lit-html.js";

/** 12345 -> "12,345"; nothing -> "–". */
export const number = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));

/** Of something a second: as exact as it is worth. */
export function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  return value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}

/** Microseconds -> "850 µs", "12.3 ms", "1.20 s". */
export function span(us) {
  if (us === null || us === undefined) return "–";
  if (us < 1000) return `${Math.round(us)} µs`;
  const ms = us / 1000;
  if (ms < 1000) return `${ms < 100 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(2)} s`;
}

/** Bytes -> "12 kB", in powers of 1024. */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) [value, at] = [value / 1024, at + 1];
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

/** A part of a whole, as a percentage. */
export function percent(part, whole) {
  if (!whole) return "–";
  const value = (100 * part) / whole;
  if (value > 0 && value < 0.01) return "< 0.01 %";
  return `${value === 0 ? 0 : value < 1 ? value.toFixed(2) : value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

export const short = (version) => version?.slice(0, 12) ?? "–";

/** One thing or many: plural(1, "message") -> "1 message". */
export const plural = (count, thing, things = `${thing}s`) => `${number(count)} ${count === 1 ? thing : things}`;

/** Milliseconds since 1970, or an RFC 3339 text -> how long ago, or in how long, with the moment itself for who wants it. */
export function time(at) {
  if (at === null || at === undefined) return html`<span class="dim">–</span>`;
  const date = new Date(at);
  return html`<time datetime=${date.toISOString()} title=${moment(date)}>${ago(Date.now() - date)}</time>`;
}

export const moment = (at) => new Date(at).toLocaleString("sv");
export const clock = (at) => new Date(at).toLocaleTimeString("sv", { hour: "2-digit", minute: "2-digit" });

function ago(ms) {
  const seconds = Math.round(Math.abs(ms) / 1000);
  const steps = [[60, 1, "s"], [3600, 60, "min"], [48 * 3600, 3600, "h"], [Infinity, 24 * 3600, "d"]];
  const [, unit, name] = steps.find(([end]) => seconds < end);
  const text = `${Math.floor(seconds / unit)} ${name}`;
  if (seconds < 3) return "now";
  return ms < 0 ? `in ${text}` : `${text} ago`;
}

/** A word with a shape and a colour for how it stands: `good`, `warn`, `bad` or `calm`. */
export const badge = (kind, text) => html`<span class="badge ${kind}">${text}</span>`;

/** A version by its first digits and its labels. */
export const version = (it) => html`<code title=${it.version}>${short(it.version)}</code>
  ${it.labels?.map((label) => html`<span class="label">${label}</span>`) ?? nothing}`;

/** A table that scrolls for itself where there is no room. */
export const table = (name, heads, rows, empty = "None.") => rows.length === 0
  ? html`<p class="dim">${empty}</p>`
  : html`<div class="scroll" role="group" aria-label=${name} tabindex="0"><table>
      <thead><tr>${heads.map((head) => head.startsWith?.("#")
        ? html`<th scope="col" class="num">${head.slice(1)}</th>`
        : head === "Do" ? html`<td><span class="hidden">What can be done</span></td>`
        : html`<th scope="col">${head}</th>`)}</tr></thead>
      <tbody>${rows}</tbody></table></div>`;
