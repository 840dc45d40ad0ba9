// A person who uses the console in a real browser: person.mjs TOOLS LINKS.
//
// TOOLS is the folder that scripts/console installs to; LINKS says where to begin, as JSON. What is not as it should be ends
// it with an error, which the test prints.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [tools, links] = [process.argv[2], JSON.parse(process.argv[3])];
const require = createRequire(`${tools}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
/** Other tests start and end network interfaces, at which Chromium gives up what it was loading. */
const CHANGED = "ERR_NETWORK_CHANGED";
const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 375, height: 740 };
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
const complaints = [];

async function opened(link, viewport, colorScheme) {
  const context = await browser.newContext({ viewport, colorScheme });
  const page = await context.newPage();
  // What its policy refuses is such a line too.
  page.on("console", (line) => {
    if (line.type() === "error" && !line.text().includes(CHANGED)) complaints.push(line.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.setDefaultTimeout(30_000);
  await enter(page, link);
  return page;
}

async function enter(page, link) {
  for (let left = 3; left > 0; left -= 1) {
    await page.goto(link);
    const there = page.locator("h1").waitFor({ timeout: left > 1 ? 8_000 : 30_000 });
    if (await there.then(() => true, (error) => { if (left === 1) throw error; })) return;
    await page.goto("about:blank");
  }
}

async function visit(page, path, title) {
  await page.evaluate((to) => { location.hash = to; }, `#/${path}`);
  await page.getByRole("heading", { level: 1, name: title }).waitFor();
  await page.getByText("Asking the host…").waitFor({ state: "detached" });
}

/** Nothing that keeps somebody out, and nothing beside the screen. */
async function check(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(" ").slice(0, 300)}`);
  assert.deepEqual(found, [], `axe, ${what}`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(over <= 0, `${what} is ${over} px too wide`);
}

/** Answer the question that is asked. */
async function answer(page, button, said) {
  await page.getByRole("dialog").getByRole("button", { name: button, exact: true }).click();
  await page.getByRole("status").getByText(said).waitFor();
}

async function everyPageInBothThemesWideAndNarrow() {
  const bare = new URL(links.link);
  bare.hash = "";
  for (const [viewport, theme] of [[WIDE, "light"], [WIDE, "dark"], [NARROW, "light"], [NARROW, "dark"]]) {
    const page = await opened(bare.href, viewport, theme);
    await page.getByLabel("Token").waitFor();
    const how = `${theme}, ${viewport.width} px`;
    await check(page, `to sign in, ${how}`);
    await page.goto("about:blank");
    await enter(page, links.link);
    await page.getByRole("navigation").waitFor();
    assert.ok(!page.url().includes("mqs_"), "the secret stays in the address");
    for (const [path, title] of [
      ["", "Overview"], ["components", "Components"], ["components/rating", "rating"], ["messages", "Messages"],
      ["messages/rating/1", "Message rating/1"], ["traces", "Traces"], ["schedules", "Schedules"], ["databases", "Databases"], ["audit", "Audit"],
    ]) {
      await visit(page, path, title);
      await check(page, `${title}, ${how}`);
    }
    await page.context().close();
  }
}

async function aRelease(page) {
  const versions = page.getByRole("group", { name: "Versions" });
  const row = (state) => versions.getByRole("row").filter({ hasText: state });
  await visit(page, "components/rating", "rating");
  await page.getByRole("button", { name: "Deploy a file…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("The component's file").setInputFiles(links.file);
  await dialog.getByLabel("A name for the version").fill("next");
  await dialog.getByLabel("A share of the calls").check();
  await dialog.getByLabel("Share", { exact: true }).fill("20%");
  await dialog.getByText("20% of the calls of rating go to").waitFor();
  await check(page, "the question of a deployment");
  await answer(page, "Deploy", "rating-next.wasm is deployed");
  await row("canary").getByText("20%").waitFor();
  await check(page, "a canary");

  // By keyboard alone.
  const promote = row("canary").getByRole("button", { name: "Promote…" });
  await promote.focus();
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  await page.keyboard.press("Enter");
  await answer(page, "Promote", "next of rating is promoted");
  await row("stable").getByText("next").first().waitFor();
  await row("previous").waitFor();

  await page.getByRole("button", { name: "Roll back…" }).click();
  await dialog.getByText("back to").waitFor();
  await answer(page, "Roll back", "rating is rolled back");
  await row("stored").getByText("next").first().waitFor();

  await page.getByLabel("Against").selectOption({ label: await page.getByLabel("Against").locator("option", { hasText: "next" }).innerText() });
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await page.getByLabel("WIT").getByText("equal line").first().waitFor();
}

async function aMessageIsMended(page) {
  await visit(page, "messages?state=dead", "Messages");
  await page.getByRole("link", { name: "rating/1", exact: true }).click();
  await page.getByRole("heading", { name: "Message rating/1" }).waitFor();
  await page.getByRole("button", { name: "Hexadecimal" }).click();
  await page.getByText("000000  7b 22").waitFor();
  await page.getByRole("button", { name: "Edit…" }).click();
  await page.getByLabel("Another payload").fill("{");
  await page.getByText("This is no JSON.").waitFor();
  await page.getByLabel("Another payload").fill(JSON.stringify(links.mended));
  await check(page, "an edited payload");
  await page.getByRole("button", { name: "Save and retry" }).click();
  await page.getByText("rating/1 is retried with another payload").waitFor();

  // The other one goes, with all that match.
  await visit(page, "messages?state=dead", "Messages");
  await page.getByRole("link", { name: "rating/1", exact: true }).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Discard all…" }).click();
  await page.getByText("All that match: state dead").waitFor();
  await answer(page, "Discard", "1 message discarded");
  await page.getByText("None that match.").waitFor();
  await visit(page, "audit", "Audit");
  await page.getByRole("heading", { name: "Everything adds up" }).waitFor();
  for (const act of ["edit", "retry", "discard"]) {
    await page.getByRole("group", { name: "Acts" }).getByRole("cell", { name: act, exact: true }).first().waitFor();
  }
}

async function aTraceIsOpened(page) {
  await visit(page, "traces", "Traces");
  await page.getByRole("combobox", { name: /^Component/ }).selectOption("metadata");
  await page.getByRole("combobox", { name: /^Order/ }).selectOption("newest");
  await page.getByRole("link", { name: "GET /v1/movies", exact: true }).first().click();
  await page.getByRole("heading", { level: 1, name: /^Trace [0-9a-f]/ }).waitFor();
  const spans = page.getByRole("listitem");
  const statement = spans.filter({ hasText: "SELECT" }).first();
  await statement.waitFor();
  // By keyboard alone.
  await statement.locator("summary").focus();
  await page.keyboard.press("Enter");
  await statement.getByText("db.query.text").waitFor();
  await check(page, "a trace");
  await page.setViewportSize(NARROW);
  await check(page, "a trace, narrow");
  await page.setViewportSize(WIDE);
}

async function whoOnlyLooksIsOfferedNothingElse() {
  const page = await opened(links.readOnly, WIDE, "light");
  await page.getByText("read only").waitFor();
  for (const [path, title] of [["components/rating", "rating"], ["messages", "Messages"], ["audit", "Audit"]]) {
    await visit(page, path, title);
    const acts = page.getByRole("main").getByRole("button", { name: /Deploy|Roll back|Pin|Promote|Pause|Retry|Skip|Discard/ });
    assert.equal(await acts.count(), 0, `${title} offers what it may not`);
  }
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Token").waitFor();
  await page.context().close();
}

try {
  await everyPageInBothThemesWideAndNarrow();
  const page = await opened(links.link, WIDE, "light");
  await page.getByText("Live", { exact: true }).waitFor();
  await aRelease(page);
  await aMessageIsMended(page);
  await aTraceIsOpened(page);
  await whoOnlyLooksIsOfferedNothingElse();
  assert.deepEqual(complaints, []);
} finally {
  await browser.close();
}
