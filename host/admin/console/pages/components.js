// All components, and what is live of each.
import { html, nothing } from "../vendor/lit-html.js";
import { get } from "../api.js";
import { shares } from "../chart.js";
import { lately, sums } from "../samples.js";
import { badge, bytes, number, percent, rate, span, table, time, version } from "../text.js";
import { deploy } from "./release.js";

export const title = () => "Components";
export const load = () => get("/components");

/** The versions that get calls. */
export const live = (component) => component.versions.filter((it) => ["stable", "canary", "draining"].includes(it.state));
export const weight = (it) => Number.parseFloat(it.weight ?? "0");
export const split = (component) => shares(
  live(component).map((it) => `${it.state} ${it.weight ?? ""}`).join(", "),
  live(component).filter((it) => it.weight).map((it) => [it.state, weight(it), it.state]));

export function view(all, app) {
  const minutes = lately(app.samples, 300_000);
  const rows = all.flatMap((component) => live(component).map((it, index) => {
    const sum = sums(minutes, (one) => one.component === component.component && one.version === it.version);
    return html`<tr>
      ${index > 0 ? nothing : html`<th scope="rowgroup" rowspan=${live(component).length}><a href="#/components/${component.component}">${component.component}</a>
        ${component.pinned ? html`<span class="label">pinned</span>` : nothing}</th>`}
      <td>${badge(it.state === "stable" ? "good" : it.state === "canary" ? "warn" : "calm", it.state)}</td>
      <td>${version(it)}</td>
      <td class="num">${it.weight ?? "–"}</td>
      <td class="num">${rate(sum.rate)}</td>
      <td class="num">${sum.calls ? percent(sum.errors, sum.calls) : "–"}</td>
      <td class="num">${span(it.p50_us)}</td>
      <td class="num">${span(it.p99_us)}</td>
      <td class="num">${number(it.calls)}</td>
      <td class="num">${number(it.errors)}</td>
      <td class="num">${number(it.in_flight)}</td>
      <td class="num">${bytes(it.memory_bytes)}</td>
      <td>${time(it.since_ms)}</td></tr>`;
  }));
  return html`<p class="lead">Calls a second and the share of errors are of the last five minutes, the rest since the version became live on this host.</p>
  ${app.mayChange ? html`<p class="buttons"><button type="button" class="main" @click=${() => deploy(app, all.map((it) => it.component))}>Deploy a file…</button></p>` : nothing}
  ${table("Components", ["Component", "State", "Version", "#Share", "#Calls/s", "#Errors", "#p50", "#p99", "#Calls", "#Failed", "#In flight", "#Memory", "Live since"], rows)}`;
}
