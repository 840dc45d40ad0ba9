// The event path: topics, consumers, what waits to be published, and what could not be applied.
import { html, nothing } from "../vendor/lit-html.js";
import { at, get, post, query } from "../api.js";
import { ask } from "../dialog.js";
import { badge, bytes, number, plural, table, time } from "../text.js";

export const title = () => "Messages";

const FILTERS = ["state", "consumer", "topic", "reason", "key"];
const REASONS = ["retry", "failed", "waiting", "gap", "rejected", "undecodable", "clash", "component"];
const PAGE = 100;
/** What is chosen in the list, by name. */
const chosen = new Set();

const filter = (asked) => Object.fromEntries(FILTERS.map((name) => [name, asked[name]]));

export async function load(_, asked) {
  const [topics, consumers, outbox, kept] = await Promise.all([
    get("/topics"), get("/consumers"), get("/outbox"),
    get(`/messages${query({ ...filter(asked), after: asked.after, limit: PAGE })}`),
  ]);
  const here = new Set(kept.map((it) => it.message));
  for (const name of chosen) if (!here.has(name)) chosen.delete(name);
  return { topics, consumers, outbox, kept };
}

export function view(data, app, _, asked) {
  return html`${keptSection(data, app, asked)}${consumersSection(data, app)}${topicsSection(data)}${outboxSection(data, app)}`;
}

/** What the acts are, and what each will do. */
export const ACTS = {
  retry: { name: "Retry", done: "retried", effect: "Each is delivered again now, with a new count of attempts. Later messages of its key go on behind it." },
  skip: { name: "Skip", done: "skipped", effect: "Later messages of its key go on without it. It stays listed as skipped, and can still be retried." },
  discard: { name: "Discard", done: "discarded", danger: true, effect: "It is deleted for good, and later messages of its key go on without it. This cannot be undone." },
};

function keptSection({ kept, consumers }, app, asked) {
  const wanted = filter(asked);
  const change = (event) => {
    const form = new FormData(event.currentTarget);
    location.hash = `#/messages${query(Object.fromEntries(FILTERS.map((name) => [name, form.get(name)])))}`;
  };
  const submit = (event) => { event.preventDefault(); change(event); };
  const select = (name, label, values) => html`<label>${label} <select name=${name}>
    <option value="">all</option>${values.map((value) => html`<option ?selected=${value === asked[name]}>${value}</option>`)}</select></label>`;
  const unique = (of) => [...new Set(consumers.map(of))].sort();
  const [parked, dead] = ["parked", "dead"].map((state) => consumers.reduce((sum, it) => sum + it[state], 0));
  const choose = (names, is) => { for (const name of names) is ? chosen.add(name) : chosen.delete(name); app.redraw(); };
  const names = kept.map((it) => it.message);
  return html`<section aria-labelledby="kept"><h2 id="kept">Parked and dead</h2>
    <p>${plural(parked, "message")} to be retried by the host, ${plural(dead, "dead letter")} for a person to decide about.</p>
    <form class="line" @change=${change} @submit=${submit}>
      ${select("state", "State", ["parked", "dead", "skipped"])}
      ${select("consumer", "Consumer", unique((it) => it.consumer))}
      ${select("topic", "Topic", unique((it) => it.topic))}
      ${select("reason", "Reason", REASONS)}
      <label>Key <input name="key" .value=${asked.key ?? ""} autocomplete="off"></label>
    </form>
    ${app.mayChange && kept.length > 0 ? html`<div class="bulk"><span>${chosen.size === 0
      ? "Choose messages, or act on all that match." : `${plural(chosen.size, "message")} chosen.`}</span>
      ${Object.keys(ACTS).map((act) => html`<button type="button" @click=${() => many(app, act, wanted)}>${ACTS[act].name} ${chosen.size === 0 ? "all" : "chosen"}…</button>`)}</div>` : nothing}
    ${table("Parked and dead messages", [
      ...app.mayChange ? [html`<input type="checkbox" aria-label="Choose all of this page" .checked=${kept.length > 0 && chosen.size === kept.length}
        @change=${(event) => choose(names, event.target.checked)}>`] : [],
      "Message", "State", "Reason", "Consumer", "Topic", "Key", "#Attempts", "Came", "Next", "Error"],
    kept.map(({ message, kept: it }) => html`<tr>
      ${app.mayChange ? html`<td><input type="checkbox" aria-label="Choose ${message}" .checked=${chosen.has(message)}
        @change=${(event) => choose([message], event.target.checked)}></td>` : nothing}
      <th scope="row"><a href="#/messages/${message}">${message}</a></th>
      <td>${stateOf(it)}</td><td>${it.reason}</td><td>${it.consumer}</td><td>${it.topic}</td>
      <td><code>${it.key}</code></td><td class="num">${number(it.attempts)}</td><td>${time(it.parked_at)}</td>
      <td>${time(it.next_attempt_at)}</td><td class="wide">${it.error ?? ""}</td></tr>`),
    Object.values(wanted).some(Boolean) ? "None that match." : "None: everything was applied.")}
    <p class="pages">${asked.after ? html`<a href="#/messages${query(wanted)}">From the first</a>` : nothing}
      ${kept.length === PAGE ? html`<a href="#/messages${query({ ...wanted, after: names.at(-1) })}">The next ${PAGE}</a>` : nothing}</p>
  </section>`;
}

export const stateOf = (it) => badge({ dead: "bad", parked: "warn", skipped: "calm" }[it.state], it.state);

/** With those that are chosen, or all that match. */
function many(app, act, wanted) {
  const names = [...chosen];
  const all = names.length === 0;
  const { name, done, danger = false, effect } = ACTS[act];
  let would = null;
  const each = async (dry) => {
    let count = 0;
    const left = [];
    for (let after; after !== null;) {
      const report = await post(`/messages/${act}${query({ ...wanted, after, limit: 1000, dry_run: dry || undefined })}`);
      count += report.done;
      left.push(...report.left);
      after = report.next;
    }
    return { count, left };
  };
  const matching = Object.entries(wanted).filter(([, value]) => value).map(([key, value]) => `${key} ${value}`).join(", ");
  const show = () => ask({
    title: `${name} ${all ? plural(would.count, "message") : plural(names.length, "message")}`,
    button: name,
    danger,
    body: () => html`${all ? html`<p>All that match: ${matching || "every one"}.</p>` : html`<p class="names">${names.join(", ")}</p>`}
      <p class="effect">${effect}</p>
      ${would?.left.length > 0 ? html`<p>${plural(would.left.length, "message")} would be left alone, such as ${would.left[0].message}: ${would.left[0].why}.</p>` : nothing}`,
    act: async () => {
      let [count, left] = [0, []];
      if (all) {
        ({ count, left } = await each(false));
      } else {
        for (const message of names) {
          try {
            await post(`/messages${at(...message.split("/"))}/${act}`);
            count += 1;
          } catch (error) {
            left.push({ message, why: error.message });
          }
        }
        chosen.clear();
      }
      await app.reload();
      return `${plural(count, "message")} ${done}.${left.length > 0 ? ` ${number(left.length)} left alone, such as ${left[0].message}: ${left[0].why}.` : ""}`;
    },
  });
  if (!all) show();
  else each(true).then((found) => { would = found; show(); }, (error) => app.act("", () => { throw error; }));
}

function consumersSection({ consumers }, app) {
  const path = (it) => `/consumers${at(it.consumer)}/topics${at(it.topic)}`;
  const pause = (it) => ask({
    title: `Pause consumer ${it.consumer} of ${it.topic}`,
    button: "Pause",
    body: () => html`<p class="effect">What is under way is finished. Then nothing of the topic is delivered to it, on any host, until somebody resumes it. Nothing is lost: messages wait on the bus.</p>`,
    act: async () => {
      await post(`${path(it)}/pause`);
      await app.reload();
      return `Consumer ${it.consumer} of ${it.topic} is paused.`;
    },
  });
  return html`<section aria-labelledby="consumers"><h2 id="consumers">Consumers</h2>
    ${table("Consumers", ["Consumer", "Topic", "State", "#Lag", "#Parked", "#Dead", "#Blocked keys", "Partitions", "Do"],
    consumers.map((it) => html`<tr>
      <th scope="row">${it.consumer}</th><td>${it.topic}</td>
      <td>${it.paused ? badge("warn", `paused by ${it.paused.by}`) : it.subscribed ? badge("good", "reads") : badge("bad", "no component is it")}</td>
      <td class="num">${number(it.lag)}</td><td class="num">${number(it.parked)}</td>
      <td class="num">${number(it.dead)}</td><td class="num">${number(it.blocked_keys)}</td>
      <td>${it.partitions.length === 0 ? html`<span class="dim">nothing read yet</span>` : html`<details><summary>${plural(it.partitions.length, "partition")}</summary>
        ${table(`Partitions of ${it.consumer} of ${it.topic}`, ["#Partition", "#Position", "#End", "#Lag", "Moved", "Here"], it.partitions.map((one) => html`<tr>
          <td class="num">${one.partition}</td><td class="num">${number(one.position)}</td><td class="num">${number(one.end)}</td>
          <td class="num">${number(one.lag)}</td><td>${time(one.moved_at)}</td><td>${it.here[one.partition] ?? "–"}</td></tr>`))}</details>`}</td>
      <td class="do">${!app.mayChange || !it.subscribed ? nothing : it.paused
        ? html`<button type="button" @click=${() => app.act(`Consumer ${it.consumer} of ${it.topic} goes on.`, () => post(`${path(it)}/resume`))}>Resume <span class="hidden">${it.consumer} of ${it.topic}</span></button>`
        : html`<button type="button" @click=${() => pause(it)}>Pause… <span class="hidden">${it.consumer} of ${it.topic}</span></button>`}</td></tr>`))}</section>`;
}

function topicsSection({ topics }) {
  return html`<section aria-labelledby="topics"><h2 id="topics">Topics</h2>
    ${table("Topics", ["Topic", "Published by", "Consumed by", "#Messages", "Partitions"], topics.map((it) => html`<tr>
      <th scope="row">${it.topic}</th><td>${it.published_by.join(", ") || "–"}</td><td>${it.consumed_by.join(", ") || "–"}</td>
      <td class="num">${number(it.messages)}</td>
      <td><details><summary>${plural(it.partitions.length, "partition")}</summary>
        ${table(`Partitions of ${it.topic}`, ["#Partition", "#First", "#Next", "#Messages"], it.partitions.map((one) => html`<tr>
          <td class="num">${one.partition}</td><td class="num">${number(one.begin)}</td><td class="num">${number(one.end)}</td>
          <td class="num">${number(one.end - one.begin)}</td></tr>`))}</details></td></tr>`), "There is no bus.")}</section>`;
}

function outboxSection({ outbox }, app) {
  const refused = outbox.flatMap(({ database, outbox: it }) => it.refused.map((row) => ({ database, row })));
  const path = ({ database, row }) => `/outbox${at(database, row.id)}`;
  const discard = (it) => ask({
    title: `Discard row ${it.database}/${it.row.id}`,
    button: "Discard",
    danger: true,
    body: () => html`<p class="effect">The event is never published, and later ones of key <code>${it.row.key}</code> go on. Its number stays missing at consumers, who wait for it until somebody deals with that. This cannot be undone.</p>`,
    act: async () => {
      await post(`${path(it)}/discard`);
      await app.reload();
      return `Row ${it.database}/${it.row.id} is discarded.`;
    },
  });
  return html`<section aria-labelledby="outbox"><h2 id="outbox">Waits to be published</h2>
    ${table("Outboxes", ["Database", "#Waiting", "Oldest", "#Set aside", "#Published", "#Relayed", "Error"], outbox.map(({ database, outbox: it }) => html`<tr>
      <th scope="row">${database}</th><td class="num">${number(it.rows)}</td><td>${it.oldest_ms === null ? "–" : time(Date.now() - it.oldest_ms)}</td>
      <td class="num">${number(it.aside)}</td><td class="num">${number(it.totals.published)}</td><td class="num">${number(it.totals.relayed)}</td>
      <td class="wide">${it.error ?? ""}</td></tr>`), "No database publishes.")}
    ${refused.length === 0 ? nothing : html`<h3>The bus refuses</h3>
      ${table("Rows that the bus refuses", ["Row", "Topic", "Key", "#Size", "#Behind it", "Refused", "Asked again", "Why", "Do"], refused.map((it) => html`<tr>
        <th scope="row">${it.database}/${it.row.id}</th><td>${it.row.topic}</td><td><code>${it.row.key}</code></td><td class="num">${bytes(it.row.size_bytes)}</td>
        <td class="num">${number(it.row.behind)}</td><td>${time(it.row.refused_at)}</td><td>${time(it.row.retry_at)}</td><td class="wide">${it.row.reason}</td>
        <td class="do">${app.mayChange ? html`<button type="button" @click=${() => app.act("The bus is asked again.", () => post(`${path(it)}/retry`))}>Retry</button>
          <button type="button" @click=${() => discard(it)}>Discard…</button>` : nothing}</td></tr>`))}`}</section>`;
}
