// Is it well, what needs a person, and what happened in the last hour.
import { html, nothing } from "../vendor/lit-html.js";
import { get } from "../api.js";
import { chart } from "../chart.js";
import { byComponent, lately, lines, sums } from "../samples.js";
import { badge, number, percent, plural, rate, span, table, time } from "../text.js";
import { events } from "./component.js";

export const title = () => "Overview";

export async function load() {
  const [health, components, consumers, outbox, schedules, audit, hosts, history] = await Promise.all([
    get("/health"), get("/components"), get("/consumers"), get("/outbox"), get("/schedules"), get("/audit"),
    get("/hosts").catch(() => []), get("/history?limit=6"),
  ]);
  return { health, components, consumers, outbox, schedules, audit, hosts, history };
}

/** What needs a person: [kind, what, where it leads]. */
function needs({ health, components, consumers, outbox, schedules, audit, hosts }) {
  const found = [];
  for (const part of health.parts) {
    if (!part.ready) found.push(["bad", `${part.name} is not ready: ${part.detail}`, null]);
    else if (part.detail) found.push(["warn", `${part.name}: ${part.detail}`, null]);
  }
  for (const it of components) {
    const link = `#/components/${it.component}`;
    if (it.not_remembered) found.push(["bad", `what is live of ${it.component} is not remembered: ${it.not_remembered}`, link]);
    for (const one of it.versions.filter((one) => one.state === "canary")) {
      found.push(["calm", `${it.component} tries ${one.labels[0] ?? one.version.slice(0, 12)} with ${one.weight} of the calls`, link]);
    }
  }
  for (const it of consumers) {
    const name = `${it.consumer} of ${it.topic}`;
    const link = `#/messages?consumer=${encodeURIComponent(it.consumer)}&topic=${encodeURIComponent(it.topic)}`;
    if (it.dead > 0) found.push(["bad", `${plural(it.dead, "dead letter")} of consumer ${name}`, `${link}&state=dead`]);
    if (it.blocked_keys > 0) found.push(["warn", `${plural(it.blocked_keys, "key")} of consumer ${name} ${it.blocked_keys === 1 ? "waits" : "wait"}`, link]);
    if (it.paused) found.push(["warn", `consumer ${name} is paused by ${it.paused.by}`, "#/messages"]);
    for (const [partition, state] of Object.entries(it.here)) {
      if (["breaker-open", "unreadable", "one-by-one"].includes(state)) {
        found.push(["bad", `partition ${partition} of consumer ${name} is ${state}`, "#/messages"]);
      }
    }
  }
  for (const { database, outbox: it } of outbox) {
    if (it.refused.length > 0) found.push(["bad", `the bus refuses ${plural(it.refused.length, "row")} of the outbox of ${database}`, "#/messages"]);
    if (it.error) found.push(["bad", `the outbox of ${database}: ${it.error}`, "#/messages"]);
  }
  for (const { job } of schedules) {
    if (job.error) found.push(["bad", `job ${job.name} of ${job.component} fails: ${job.error}`, "#/schedules"]);
  }
  const findings = audit.databases.reduce((sum, it) => sum + it.findings.length, 0);
  if (!audit.sound) found.push(["bad", `the audit has ${plural(findings, "finding")}`, "#/audit"]);
  for (const it of hosts.filter((it) => it.state !== "current")) {
    found.push([it.state === "failing" ? "bad" : "warn", `host ${it.host} is ${it.state}`, null]);
  }
  const order = ["bad", "warn", "calm"];
  return found.sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
}

const looks = { calls: {}, errors: {}, p99: {}, lag: {} };

export function view(data, app) {
  const found = needs(data);
  const worst = ["bad", "warn"].find((kind) => found.some(([it]) => it === kind));
  const minute = sums(lately(app.samples, 60_000));
  const newest = app.samples.at(-1);
  const lag = data.consumers.reduce((sum, it) => sum + (it.lag ?? 0), 0);
  const dead = data.consumers.reduce((sum, it) => sum + it.dead, 0);
  const parked = data.consumers.reduce((sum, it) => sum + it.parked, 0);
  const waiting = data.outbox.reduce((sum, it) => sum + it.outbox.rows, 0);
  const plot = (name, title, its, say, zero) =>
    chart({ title, lines: its, say, look: looks[name], redraw: app.redraw, zero });
  const components = byComponent(app.samples);
  return html`
  <section class="state ${worst ?? "good"}" aria-labelledby="well">
    <h2 id="well">${worst === "bad" ? "Something needs a person" : worst === "warn" ? "It works, and something is to be known" : "All is well"}</h2>
    ${found.length === 0 ? html`<p>Every part is ready, everything adds up, and nothing waits for a person.</p>`
      : html`<ul>${found.map(([kind, what, link]) => html`<li>${badge(kind, { bad: "act", warn: "know", calm: "under way" }[kind])}
        ${link ? html`<a href=${link}>${what}</a>` : what}</li>`)}</ul>`}
  </section>
  <dl class="tiles">
    ${tile("Calls a second", rate(minute.rate), "over a minute")}
    ${tile("Errors", minute.calls ? percent(minute.errors, minute.calls) : "–", `${number(minute.errors)} in a minute`)}
    ${tile("Slowest p99", span(minute.p99), minute.slowest ?? "no calls in the last minute")}
    ${tile("In flight", number(newest ? newest.work.reduce((sum, it) => sum + it.in_flight, 0) : 0), "calls under way")}
    ${tile("Lag", number(lag), "unread")}
    ${tile("Outbox", number(waiting), "rows to publish")}
    ${tile("Parked", number(parked), "to be retried")}
    ${tile("Dead", number(dead), "for a person")}
  </dl>
  <section class="charts" aria-label="The last hour">
    ${plot("calls", "Calls a second", lines(components, (it) => it.rate), rate, "No calls in the last hour.")}
    ${plot("errors", "Errors a second", lines(components, (it) => it.errors / it.seconds).filter((line) => line.points.some(([, value]) => value > 0)), rate, "No errors in the last hour.")}
    ${plot("p99", "p99 of calls", lines(components, (it) => it.p99), span, "No calls in the last hour.")}
    ${plot("lag", "Lag of consumers, in messages", lags(app.samples), number, "Nobody was behind in the last hour.")}
  </section>
  <section aria-labelledby="changes"><h2 id="changes">Last changes</h2>${events(data.history, true)}</section>
  ${data.hosts.length === 0 ? nothing : html`<section aria-labelledby="hosts"><h2 id="hosts">Hosts</h2>
    ${table("Hosts", ["Host", "State", "#Step", "Heard of", "Failing"], data.hosts.map((it) => html`<tr>
      <th scope="row">${it.host}</th><td>${badge(it.state === "current" ? "good" : it.state === "failing" ? "bad" : "warn", it.state)}</td>
      <td class="num">${number(it.revision)}</td><td>${time(Date.now() - it.seen_ms_ago)}</td>
      <td>${Object.entries(it.failing).map(([id, why]) => html`${id}: ${why} `)}</td></tr>`))}</section>`}`;
}

const tile = (name, value, note) => html`<div><dt>${name}</dt><dd><b>${value}</b> <span>${note}</span></dd></div>`;

function lags(samples) {
  const all = new Map();
  for (const sample of samples) {
    for (const it of sample.consumers ?? []) {
      const name = `${it.consumer} of ${it.topic}`;
      if (!all.has(name)) all.set(name, []);
      all.get(name).push([sample.at_ms, it.lag]);
    }
  }
  return [...all].map(([name, points]) => ({ name, points })).filter((line) => line.points.some(([, value]) => value > 0));
}
