// The frame: which page is shown, what it was told, and when that is asked for again.
import { html, nothing, render } from "./vendor/lit-html.js";
import { follow, get, post, Refused, remove, secret } from "./api.js";
import { say } from "./dialog.js";
import * as audit from "./pages/audit.js";
import * as component from "./pages/component.js";
import * as components from "./pages/components.js";
import * as databases from "./pages/databases.js";
import * as message from "./pages/message.js";
import * as messages from "./pages/messages.js";
import * as overview from "./pages/overview.js";
import * as schedules from "./pages/schedules.js";
import * as signin from "./pages/signin.js";
import * as trace from "./pages/trace.js";
import * as traces from "./pages/traces.js";
import { moment } from "./text.js";

const PAGES = { "": overview, components, messages, traces, schedules, databases, audit };
/** Of one thing: the page, and how many parts of the path name it. */
const DETAILS = { components: [component, 1], messages: [message, 2], traces: [trace, 1] };
const MOST = 360;
const THEME = "marquee.theme";

const root = document.createElement("div");
root.id = "root";
document.body.prepend(root);

/** What pages know and do. */
const app = {
  /** Who asks, and what they may; none: nobody has signed in. */
  who: null,
  /** What the host did in the last hour. */
  samples: [],
  live: false,
  get mayChange() { return app.who?.may === "change"; },
  redraw: () => draw(),
  /** Ask again for what the page shows. */
  reload: () => load(),
  /** Do something, say what came of it, and show what is so now. */
  async act(text, work) {
    try {
      await work();
      say(text);
    } catch (error) {
      failed(error);
    }
    await load();
  },
  async enter(text) {
    secret.set(text);
    await enter();
  },
};

let shown = { page: overview, place: [], data: null, error: null, title: "Overview" };
let following = null;

/** #/components/rating?x=y -> the page, the parts behind its name, and what is asked of it. */
function route() {
  const [path, asked = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...place] = path.split("/").map(decodeURIComponent);
  const [detail, parts] = DETAILS[name] ?? [];
  const page = detail && place.length === parts ? detail : PAGES[name] ?? overview;
  return { page, place, asked: Object.fromEntries(new URLSearchParams(asked)) };
}

async function go() {
  const { page, place, asked } = route();
  const same = page === shown.page && place.join("/") === shown.place.join("/");
  shown = { page, place, asked, data: same ? shown.data : null, error: null, title: page.title(place) };
  document.title = `${shown.title} · Marquee`;
  draw();
  if (!same) {
    scrollTo(0, 0);
    root.querySelector("h1")?.focus();
  }
  await load();
}

async function load() {
  if (app.who === null) return;
  const asked = shown;
  try {
    const data = await asked.page.load(asked.place, asked.asked, app);
    if (asked === shown) Object.assign(shown, { data, error: null });
  } catch (error) {
    if (asked !== shown) return;
    if (leaves(error)) return;
    shown.error = error.message;
  }
  draw();
}

function failed(error) {
  if (!leaves(error)) say(error.message, "bad");
}

/** A session that has ended is no error. */
function leaves(error) {
  if (!(error instanceof Refused) || error.status !== 401) return false;
  leave();
  return true;
}

function leave() {
  secret.forget();
  following?.abort();
  app.who = null;
  draw();
}

async function enter() {
  // Over plain HTTP nothing else than a secret says who somebody is.
  if (secret.get() === null && location.protocol === "http:") return draw();
  try {
    app.who = await get("/session");
  } catch (error) {
    app.who = null;
    draw();
    if (secret.get() !== null) {
      secret.forget();
      throw error;
    }
    return;
  }
  following?.abort();
  following = new AbortController();
  const { signal } = following;
  await go();
  app.samples = await get("/samples").catch(() => []);
  draw();
  const take = (sample) => {
    app.samples = [...app.samples, sample].slice(-MOST);
    if (document.hidden) return;
    draw();
    load();
  };
  const live = (is) => {
    app.live = is;
    draw();
  };
  follow(take, live, signal).catch(failed);
}

/** What came behind # from `marquee console`; it is taken out of the address at once. */
function handed() {
  const given = location.hash.slice(1);
  if (!given.startsWith("mqs_")) return;
  secret.set(given);
  history.replaceState(null, "", location.pathname);
}

function theme(to) {
  if (to) localStorage.setItem(THEME, to);
  document.documentElement.dataset.theme = localStorage.getItem(THEME) ?? "auto";
}

const NAMES = { auto: "As the system", light: "Light", dark: "Dark" };

function frame() {
  const { page, place, asked, data, error, title } = shown;
  const links = Object.entries(PAGES).map(([name, it]) => html`<li><a href="#/${name}"
    aria-current=${it === page || DETAILS[name]?.[0] === page ? "page" : nothing}>${it.title([])}</a></li>`);
  const chosen = document.documentElement.dataset.theme;
  return html`<a class="skip" href="#main" @click=${(event) => {
    event.preventDefault();
    root.querySelector("h1")?.focus();
  }}>To the content</a>
  <header><div class="side">
    <a class="brand" href="#/"><img src="icon.svg" alt="" width="24" height="24">Marquee</a>
    <nav aria-label="Pages"><ul>${links}</ul></nav>
    <div class="who">
      <p class=${app.live ? "live" : "dim"}>${app.live ? "Live" : "Not live: asking again"}</p>
      <p title=${app.who.until_ms ? `until ${moment(app.who.until_ms)}` : nothing}>${app.who.who}${
        app.mayChange ? nothing : html` <span class="label">read only</span>`}</p>
      <label>Theme <select @change=${(event) => { theme(event.target.value); draw(); }}>
        ${Object.entries(NAMES).map(([value, name]) =>
          html`<option value=${value} ?selected=${value === chosen}>${name}</option>`)}</select></label>
      <button type="button" class="plain" @click=${async () => {
        await remove("/session").catch(() => null);
        leave();
      }}>Sign out</button>
    </div>
  </div></header>
  <main id="main">
    <h1 tabindex="-1">${title}</h1>
    ${error === null ? nothing : html`<p class="error" role="alert">${error}</p>`}
    ${data === null ? error === null ? html`<p class="dim" role="status">Asking the host…</p>` : nothing
      : page.view(data, app, place, asked)}
  </main>`;
}

function draw() {
  render(app.who === null ? signin.view(app) : frame(), root);
}

theme();
handed();
addEventListener("hashchange", () => {
  const before = secret.get();
  handed();
  if (secret.get() !== before) enter().catch(failed);
  else go();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) load(); });
enter().catch(() => draw());
