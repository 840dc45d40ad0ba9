// Whether everything adds up, and what persons did.
import { html, nothing } from "../vendor/lit-html.js";
import { get, post } from "../api.js";
import { ask } from "../dialog.js";
import { badge, number, plural, table, time } from "../text.js";

export const title = () => "Audit";

export async function load() {
  const [audit, actions] = await Promise.all([get("/audit"), get("/messages/actions?limit=50")]);
  return { audit, actions };
}

const TERMS = ["from", "done", "duplicates", "parked", "dead", "skipped", "discarded", "lost", "holes", "uncounted", "carried", "position", "waiting", "end"];

function accept(app) {
  ask({
    title: "Accept everything as it stands",
    button: "Accept",
    danger: true,
    body: () => html`<p class="effect">Counting begins anew from here, in every database: what is found now is found no more, and nobody can say later what became of it. Nothing of the data changes.</p>`,
    act: async () => {
      await post("/audit/accept");
      await app.reload();
      return "Counting begins from here.";
    },
  });
}

export function view({ audit, actions }, app) {
  const findings = audit.databases.flatMap((it) => it.findings.map((one) => ({ database: it.database, ...one })));
  return html`<section class="state ${audit.sound ? "good" : "bad"}" aria-labelledby="sound">
    <h2 id="sound">${audit.sound ? "Everything adds up" : plural(findings.length, "finding")}</h2>
    ${audit.sound ? html`<p>Of every message that the bus has, the databases say what became of it.</p>`
      : table("Findings", ["Database", "Where", "What"], findings.map((it) => html`<tr><th scope="row">${it.database}</th><td>${it.place}</td><td class="wide">${it.what}</td></tr>`))}
    ${!audit.sound && app.mayChange ? html`<p class="buttons"><button type="button" class="danger" @click=${() => accept(app)}>Accept as it stands…</button></p>` : nothing}
  </section>
  ${audit.databases.filter((it) => it.accounts.length > 0).map((it) => html`<section aria-labelledby="of-${it.database}"><h2 id="of-${it.database}">What became of the messages, in ${it.database}</h2>
    ${table(`Accounts of ${it.database}`, ["Consumer", "Topic", "#Partition", ...TERMS.map((term) => `#${term}`)], it.accounts.map((one) => html`<tr>
      <th scope="row">${one.consumer}</th><td>${one.topic}</td><td class="num">${one.partition}</td>
      ${TERMS.map((term) => html`<td class="num ${one[term] ? "" : "dim"}">${number(one[term])}</td>`)}</tr>`))}</section>`)}
  <p class="dim">Of each row: position + carried = from + done + duplicates + parked + dead + skipped + discarded + lost + holes + uncounted.</p>
  <section aria-labelledby="out"><h2 id="out">What was published</h2>
    ${table("Outboxes", ["Database", "#Published", "#Relayed", "#Waiting", "#Refused", "#Discarded", "Counted"], audit.databases.map(({ database, outbox: it }) => html`<tr>
      <th scope="row">${database}</th>${["published", "relayed", "waiting", "refused", "discarded"].map((term) => html`<td class="num">${number(it[term])}</td>`)}
      <td>${it.uncounted ? badge("warn", "an older host did not count") : badge("good", "all")}</td></tr>`))}</section>
  <section aria-labelledby="acts"><h2 id="acts">What persons did</h2>
    ${table("Acts", ["When", "Who", "Act", "Database", "Consumer", "Topic", "Key", "#Message"], actions.map(({ database, action: it }) => html`<tr>
      <td>${time(it.at)}</td><td>${it.actor}</td><td>${it.action}</td><td>${database}</td><td>${it.consumer}</td><td>${it.topic}</td>
      <td><code>${it.key}</code></td><td class="num">${it.message_id ?? "–"}</td></tr>`), "Nobody has done anything yet.")}</section>`;
}
