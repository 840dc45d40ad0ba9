// One component: its versions side by side, what they did, the steps that change them, and what they import and export.
import { html, nothing } from "../vendor/lit-html.js";
import { at, get, text } from "../api.js";
import { chart } from "../chart.js";
import { diff } from "../diff.js";
import { byVersion, lines } from "../samples.js";
import { badge, bytes, moment, number, percent, plural, rate, short, span, table, time, version } from "../text.js";
import { split } from "./components.js";
import { deploy, pin, promote, rollback, unshadow } from "./release.js";

export const title = ([component]) => component ?? "Component";

export async function load([component]) {
  const path = `/components${at(component)}`;
  const [it, history] = await Promise.all([get(path), get(`/history?limit=20&component=${encodeURIComponent(component)}`)]);
  const shadow = it.versions.some((one) => one.state === "shadow") ? await get(`${path}/shadow`).catch(() => null) : null;
  return { it, history, shadow };
}

/** What was asked of one that is shown, and the component that it is of. */
const shown = { component: null, old: "", now: "", text: null, error: null };
const looks = { calls: {}, p99: {} };
const KINDS = { stable: "good", canary: "warn", shadow: "calm", draining: "calm" };

export function view({ it, history, shadow }, app) {
  if (shown.component !== it.component) Object.assign(shown, { component: it.component, old: "", now: "", text: null, error: null });
  const name = (digest) => it.versions.find((one) => one.version === digest)?.labels[0] ?? short(digest);
  const all = byVersion(app.samples, it.component);
  const plot = (key, title, value, say) => chart({
    title, lines: lines(all, value, name), say, look: looks[key], redraw: app.redraw, zero: "No calls in the last hour.",
  });
  const goesBack = it.versions.some((one) => ["canary", "previous", "stored"].includes(one.state));
  const buttons = !app.mayChange ? nothing : html`<p class="buttons">
    <button type="button" class="main" @click=${() => deploy(app, [it.component])}>Deploy a file…</button>
    <button type="button" ?disabled=${!goesBack} @click=${() => rollback(app, it)}>Roll back…</button>
    <button type="button" @click=${() => pin(app, it)}>${it.pinned ? "Unpin…" : "Pin…"}</button></p>`;
  return html`
  <p class="path"><a href="#/components">Components</a> / ${it.component} ${it.pinned ? html`<span class="label">pinned</span>` : nothing}</p>
  ${buttons}
  ${it.not_remembered ? html`<p class="error">What is live is not remembered: ${it.not_remembered}</p>` : nothing}
  <section aria-labelledby="versions"><h2 id="versions">Versions</h2>
    ${split(it)}
    ${it.rising ? html`<p>Its share grows by itself: ${it.rising.then[0]} ${time(it.rising.next_ms)}, then ${it.rising.then.slice(1).join(", ") || "nothing more"}.</p>` : nothing}
    ${it.shares.length === 0 ? nothing : html`<p>Messages choose by their partition; the canary gets ${it.shares.map((one) =>
      `${number(one.canary)} of ${plural(one.partitions, "partition")} of ${one.topic}`).join(", ")}.</p>`}
    ${it.together?.length > 1 ? html`<p>It came in one step with ${it.together.filter((one) => one !== it.component).join(", ")}; a rollback takes all of them back.</p>` : nothing}
    ${table("Versions", ["State", "Version", "#Share", "#Calls", "#Errors", "#p50", "#p99", "#In flight", "#Memory", "Live since", "Stored", "Do"],
      it.versions.map((one) => html`<tr>
        <td>${badge(KINDS[one.state] ?? "calm", one.state)}</td>
        <td>${version(one)}</td>
        <td class="num">${one.weight ?? "–"}</td>
        <td class="num">${number(one.calls)}</td>
        <td class="num">${number(one.errors)}${one.calls ? html` <span class="dim">${percent(one.errors, one.calls)}</span>` : nothing}</td>
        <td class="num">${span(one.p50_us)}</td>
        <td class="num">${span(one.p99_us)}</td>
        <td class="num">${number(one.in_flight)}</td>
        <td class="num">${bytes(one.memory_bytes)}</td>
        <td>${time(one.since_ms)}</td>
        <td class="by" title=${one.by ?? nothing}>${time(one.stored_at_ms)} <span class="dim">${one.by ?? ""}</span></td>
        <td class="do">${actions(app, it, one)}</td></tr>`))}
  </section>
  ${shadow === null ? nothing : compared(shadow)}
  <section class="charts" aria-label="The last hour, by version">
    ${plot("calls", "Calls a second", (one) => one.rate, rate)}
    ${plot("p99", "p99 of calls", (one) => one.p99, span)}
  </section>
  <section aria-labelledby="history"><h2 id="history">History</h2>${events(history)}</section>
  ${interfaces(it, app)}`;
}

function actions(app, it, one) {
  if (!app.mayChange) return nothing;
  const of = html`<span class="hidden">${one.labels[0] ?? short(one.version)}</span>`;
  if (one.state === "stable" || one.state === "draining") return nothing;
  if (one.state === "shadow") return html`<button type="button" @click=${() => unshadow(app, it)}>End ${of}</button>`;
  return html`<button type="button" @click=${() => promote(app, it.component, one)}>Promote… ${of}</button>`;
}

function compared(it) {
  return html`<section aria-labelledby="shadow"><h2 id="shadow">The shadow</h2>
    <p>${number(it.compared)} compared: ${number(it.equal)} equal, <b>${number(it.different)} different</b>
      (${number(it.failed)} without an answer), ${number(it.unsteady)} unsteady; ${number(it.dropped)} found no room.</p>
    ${table("Differences", ["When", "Asked", "Where", "Live", "Shadow"], it.differences.flatMap((one) => one.differs.map((part) => html`<tr>
      <td>${time(one.at_ms)}</td><td><code>${one.asked}</code></td><td><code>${part.path}</code></td>
      <td><code>${JSON.stringify(part.live)}</code></td><td><code>${JSON.stringify(part.shadow)}</code></td></tr>`)), "No differences.")}</section>`;
}

/** What was changed, the newest first. */
export const events = (all, named = false) => table("Changes",
  [...named ? ["Component"] : [], "When", "Step", "Version", "By", "What came of it"],
  all.map((it) => html`<tr>
    ${named ? html`<th scope="row"><a href="#/components/${it.component}">${it.component}</a></th>` : nothing}
    <td>${time(it.at_ms)}</td><td>${badge(it.ok ? "good" : "bad", it.action)}</td>
    <td><code>${short(it.version)}</code></td><td>${it.who}</td><td class="wide">${it.result}${it.from ? html` <span class="dim">from ${it.from}</span>` : nothing}</td></tr>`),
  "Nothing was changed yet.");

function interfaces(it, app) {
  const choose = (event) => {
    const form = new FormData(event.currentTarget);
    Object.assign(shown, { old: form.get("old"), now: form.get("now"), text: null, error: null });
    app.redraw();
  };
  const show = async (event) => {
    event.preventDefault();
    choose(event);
    const wit = (digest) => text(`/components${at(it.component, "versions", digest)}/wit`);
    try {
      shown.text = shown.old && shown.old !== shown.now
        ? diff(await wit(shown.old), await wit(shown.now))
        : (await wit(shown.now)).trimEnd().split("\n").map((line) => [" ", line]);
    } catch (error) {
      shown.error = error.message;
    }
    app.redraw();
  };
  const options = (chosen) => it.versions.map((one) => html`<option value=${one.version} ?selected=${one.version === chosen}>
    ${one.labels[0] ?? short(one.version)} (${one.state}${one.stored_at_ms ? `, ${moment(one.stored_at_ms)}` : ""})</option>`);
  return html`<section aria-labelledby="wit"><h2 id="wit">What it imports and exports</h2>
    <form class="line" @submit=${show} @change=${choose}>
      <label>Version <select name="now">${options(shown.now)}</select></label>
      <label>Against <select name="old"><option value="">nothing: show all of it</option>${options(shown.old)}</select></label>
      <button>Show</button></form>
    ${shown.error === null ? nothing : html`<p class="error" role="alert">${shown.error}</p>`}
    ${shown.text === null ? nothing : html`<pre class="diff" tabindex="0" role="region" aria-label="WIT">${shown.text.map(([sign, line]) =>
      sign === "…" ? html`<span class="left-out">… ${plural(line, "equal line")}\n</span>`
      : html`<span class=${{ "+": "plus", "-": "minus" }[sign] ?? ""}>${shown.old && shown.old !== shown.now ? `${sign} ` : ""}${line}\n</span>`)}</pre>`}
  </section>`;
}
