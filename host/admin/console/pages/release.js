// The steps of a release, each with what it will do before it is done.
import { html, nothing } from "../vendor/lit-html.js";
import { at, post, put, query, upload, remove } from "../api.js";
import { ask } from "../dialog.js";
import { short } from "../text.js";

const name = (it) => it?.labels?.[0] ?? short(it?.version);
const path = (component, ...rest) => `/components${at(component, ...rest)}`;

/** How a version gets its calls. */
const HOW = {
  all: "All calls at once",
  canary: "A share of the calls",
  ramp: "A share that grows",
  shadow: "Copies of calls, no calls",
};

const how = (form) => form.get("how") ?? "all";

const fields = (form) => html`
  <fieldset><legend>It gets</legend>${Object.entries(HOW).map(([value, text]) => html`<label class="choice">
    <input type="radio" name="how" value=${value} ?checked=${value === "all"}> ${text}</label>`)}</fieldset>
  ${how(form) === "canary" ? html`<label>Share <input name="weight" value="10%" required pattern="[0-9.]+ ?%"></label>` : nothing}
  ${how(form) === "ramp" ? html`<label>Shares, one after the other <input name="ramp" value="1%,10%,50%,100%" required></label>
    <label>For how long each <input name="every" value="5m" required></label>` : nothing}
  ${how(form) === "shadow" ? html`<label>Copies of <input name="shadow" value="5%" required pattern="[0-9.]+ ?%"></label>` : nothing}
  <label class="choice"><input type="checkbox" name="widen"> It may ask for more than the live version</label>`;

/** What is asked of the API. */
function wanted(form) {
  const chosen = how(form);
  const all = { widen: form.get("widen") === "on" || undefined };
  for (const [key, of] of [["weight", "canary"], ["ramp", "ramp"], ["every", "ramp"], ["shadow", "shadow"]]) {
    if (chosen === of) all[key] = form.get(key)?.replaceAll(" ", "");
  }
  return all;
}

/** The same, in words. */
function effect(form, what, component) {
  const rest = html`Calls under way end on the version that they began with, and the consumer group stays as it is.`;
  const text = {
    all: html`All calls of ${component} go to ${what}. What is live now is kept, one step back. ${rest}`,
    canary: html`${form.get("weight") ?? "10%"} of the calls of ${component} go to ${what}, the others stay where they are. If it fails more often than the live version, the host takes it back by itself. ${rest}`,
    ramp: html`Of the calls of ${component}, ${what} gets ${form.get("ramp") ?? "1%,10%,50%,100%"}, each for ${form.get("every") ?? "5m"}. If it fails more often than the live version, the host takes it back by itself. ${rest}`,
    shadow: html`Copies of ${form.get("shadow") ?? "5%"} of the calls of ${component} go to ${what}. Nothing that it does stands, and nobody waits for it.`,
  }[how(form)];
  return html`<p class="effect">${text}</p>`;
}

export function deploy(app, components) {
  ask({
    title: components.length === 1 ? `Deploy a version of ${components[0]}` : "Deploy a version",
    button: "Deploy",
    body: (form) => {
      const component = form.get("component") ?? components[0];
      const file = form.get("file")?.name;
      return html`
      ${components.length === 1 ? html`<input type="hidden" name="component" value=${components[0]}>`
        : html`<label>Component <select name="component">${components.map((it) => html`<option>${it}</option>`)}</select></label>`}
      <label>The component's file <input type="file" name="file" accept=".wasm,application/wasm" required></label>
      <label>A name for the version, if it is to have one <input name="label" autocomplete="off"></label>
      ${fields(form)}
      <p class="effect">It is compiled beside what runs, checked against what calls it and what it calls, started once and asked if it is healthy. If anything of that fails, nothing changes.</p>
      ${effect(form, file ? html`<code>${file}</code>` : "the version", component)}`;
    },
    act: async (form) => {
      const component = form.get("component");
      const asked = query({ label: form.get("label"), ...wanted(form) });
      await upload("POST", path(component, "versions") + asked, form.get("file"), "application/wasm");
      await app.reload();
      return `${form.get("file").name} is deployed as a version of ${component}.`;
    },
  });
}

export function promote(app, component, it) {
  ask({
    title: `Promote ${name(it)} of ${component}`,
    button: "Promote",
    body: (form) => html`${fields(form)}${effect(form, html`<code>${name(it)}</code>`, component)}`,
    act: async (form) => {
      await post(path(component, "promote"), { version: it.version, ...wanted(form) });
      await app.reload();
      return `${name(it)} of ${component} is promoted.`;
    },
  });
}

/** Back one step, or to a version that is chosen. */
export function rollback(app, component) {
  const { versions, together = [] } = component;
  const of = (state) => versions.find((it) => it.state === state);
  const [canary, stable, previous] = ["canary", "stable", "previous"].map(of);
  const kept = versions.filter((it) => ["previous", "stored"].includes(it.state));
  const others = together.filter((it) => it !== component.component);
  const isOneStep = canary !== undefined || previous !== undefined;
  const effect = (to) => {
    if (to) return html`All calls of ${component.component} go to <code>${name(to)}</code>; this component alone goes back.`;
    if (canary) return html`The trial of <code>${name(canary)}</code> ends: all calls go to <code>${name(stable)}</code>.`;
    return html`All calls go from <code>${name(stable)}</code> back to <code>${name(previous)}</code>.
      ${others.length > 0 ? html`It came in one step with ${others.join(", ")}, which go back with it.` : nothing}`;
  };
  ask({
    title: `Roll back ${component.component}`,
    button: "Roll back",
    danger: true,
    body: (form) => html`<label>To <select name="to">
      ${isOneStep ? html`<option value="">what was live before</option>` : nothing}
      ${kept.map((it) => html`<option value=${it.version}>${name(it)} (${short(it.version)}, ${it.state})</option>`)}</select></label>
      <p class="effect">${effect(kept.find((it) => it.version === form.get("to")))}
      Calls under way end on the version that they began with. What they wrote stays written.</p>
      <label class="choice"><input type="checkbox" name="force"> Even if it says that it is not healthy</label>`,
    act: async (form) => {
      const asked = query({ to: form.get("to"), force: form.get("force") === "on" || undefined });
      await post(path(component.component, "rollback") + asked);
      await app.reload();
      return `${component.component} is rolled back.`;
    },
  });
}

export function pin(app, { component, pinned }) {
  ask({
    title: pinned ? `Unpin ${component}` : `Pin ${component}`,
    button: pinned ? "Unpin" : "Pin",
    body: () => html`<p class="effect">${pinned ? "It can be deployed, promoted and rolled back again."
      : "Nobody can deploy, promote or roll it back until it is unpinned. The host does not take back a version of it either."}</p>`,
    act: async () => {
      await put(path(component, "pin"), { pinned: !pinned });
      await app.reload();
      return pinned ? `${component} is unpinned.` : `${component} is pinned.`;
    },
  });
}

export function unshadow(app, { component }) {
  ask({
    title: `End the shadow of ${component}`,
    button: "End it",
    body: () => html`<p class="effect">It gets no more copies of calls, and what was compared is forgotten.</p>`,
    act: async () => {
      await remove(path(component, "shadow"));
      await app.reload();
      return `The shadow of ${component} has ended.`;
    },
  });
}
