// Jobs that the clock starts.
import { html } from "../vendor/lit-html.js";
import { get } from "../api.js";
import { badge, number, table, time } from "../text.js";

export const title = () => "Schedules";
export const load = () => get("/schedules");

export function view(all) {
  return html`<p class="lead">A run that fails is rolled back and tried again, with growing pauses, until it succeeds.</p>
  ${table("Jobs", ["Component", "Job", "Schedule", "State", "Due", "#Tries", "Tried next", "Done last", "Error"], all.map(({ job: it }) => html`<tr>
    <td><a href="#/components/${it.component}">${it.component}</a></td><th scope="row">${it.name}</th><td><code>${it.schedule}</code></td>
    <td>${it.runs ? badge("calm", "runs") : it.error ? badge("bad", "failed") : badge("good", "waits")}</td>
    <td>${time(it.due_at)}</td><td class="num">${number(it.attempts)}</td><td>${time(it.next_attempt_at)}</td><td>${time(it.done_at)}</td>
    <td class="wide">${it.error ?? ""}</td></tr>`), "The application has no jobs.")}`;
}
