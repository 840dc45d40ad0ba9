// What the databases do just now, and this host's connections to them.
import { html, nothing } from "../vendor/lit-html.js";
import { get } from "../api.js";
import { shares } from "../chart.js";
import { badge, bytes, number, span, table } from "../text.js";

export const title = () => "Databases";
export const load = () => get("/databases");

export function view(all) {
  const running = all.flatMap((it) => (it.activity?.statements ?? []).map((one) => ({ database: it.database, one })));
  running.sort((a, b) => b.one.for_ms - a.one.for_ms);
  return html`<section aria-labelledby="pools"><h2 id="pools">Connections and sessions</h2>
  ${table("Databases", ["Database", "State", "In use by this host", "#Answers in", "#Size", "#Sessions", "#Idle in transaction", "#Wait for locks", "PostgreSQL"], all.map((it) => html`<tr>
    <th scope="row">${it.database}</th>
    <td>${it.error ? badge("bad", it.error) : badge("good", "answers")}</td>
    <td class="pool">${number(it.in_use)} of ${number(it.connections)} ${shares("in use", [["in use", (100 * it.in_use) / Math.max(1, it.connections), "stable"]])}</td>
    <td class="num">${span(it.took_us)}</td>
    <td class="num">${bytes(it.activity?.size_bytes)}</td><td class="num">${number(it.activity?.sessions)}</td>
    <td class="num">${number(it.activity?.idle_in_transaction)}</td><td class="num">${number(it.activity?.waiting)}</td>
    <td>${it.activity?.version ?? "–"}</td></tr>`), "The application has no database.")}</section>
  <section aria-labelledby="statements"><h2 id="statements">Under way, the longest first</h2>
  ${table("Statements", ["Database", "#For", "Client", "#Process", "Waits for", "Statement"], running.map(({ database, one }) => html`<tr>
    <th scope="row">${database}</th><td class="num">${span(one.for_ms * 1000)}</td><td>${one.client || nothing}</td><td class="num">${one.process}</td>
    <td>${one.waits_for ?? "–"}</td><td class="wide"><code>${one.text}</code></td></tr>`), "Nothing, at the moment it was asked.")}</section>`;
}
