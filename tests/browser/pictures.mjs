// Makes a picture of every page of the backup server, in light and dark, and on a phone; full, empty and failing:
//
//     node tests/browser/pictures.mjs PROGRAM MODULES [FOLDER]
//
// PROGRAM is tenantvault (target/debug/tenantvault), MODULES a folder with playwright-core (.ci/browser MODULES makes it), FOLDER where the
// pictures and their README.md go, docs/screenshots unless named. It starts two servers in folders of its own, one with the demonstration
// and one with nothing in it. Which pages there are it reads from src/server/pages/mod.rs, and it fails where one has no picture
// and no reason for having none. Times and ids differ each time.
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { ITEMS, launchBrowser, modulesIn, signIn, startServer, toItems } from "./common.mjs";

const [program, modules, wanted] = process.argv.slice(2);
const { chromium } = modulesIn(modules)("playwright-core");
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const folder = path.resolve(wanted ?? path.join(root, "docs/screenshots"));

// Pages that are none: what they give, or where their picture is.
const NO_PAGE = {
  "/a/{account}/sets/new": "leads on to the first step",
  "/a/{account}/sets/{set}/change": "leads on to the first tab",
  "/": "leads on to the account, or to the accounts",
  "/a/{account}/look/{repository}/file": "sends a file",
  "/a/{account}/look/{repository}/mail": "the text of a mail, in the frame of the mail's picture",
  "/a/{account}/look/{repository}/frame": "the text of a conversation, in a frame",
  "/a/{account}/look/{repository}/item": "leads on to where an item lies",
};
// States that a page has not.
const NO_STATE = {
  "/accounts/{account}": { empty: "it always has a name" },
  "/a/{account}/keys/{repository}": { empty: "a repository always has keys" },
  "/administrators": { empty: "an administrator always is there" },
  "/activity": { empty: "that the server was set up is its first entry", failing: "a changed database alone makes it so; a test sees that" },
  "/a/{account}/sign-ins/{sign_in}": { empty: "it always has a code or an address" },
  "/a/{account}/sets/new/{step}": { empty: "see what comes before a backup set" },
  "/a/{account}/sets/{set}/change/{step}": { empty: "it is always filled with what the set has" },
  "/sign-in": { empty: "it is always the same form" },
  "/welcome/{token}": { empty: "it is always the same form" },
  "/a/{account}/jobs/{job}": { empty: "a job that runs has nothing to tell yet; see there" },
  "/a/{account}/look/{repository}/unlock": { empty: "it is always the same form" },
  "/a/{account}/look/{repository}/when": { empty: "it is offered for those alone of whom a snapshot has something" },
  "/a/{account}/restores/{restore}": { empty: "a restore begins with a plan" },
  "/a/{account}/activity": { empty: "that the account was made is its first entry" },
};
const STATES = ["full", "empty", "failing"];
// A page longer than this is cut.
const TALLEST = { desktop: 1600, phone: 1500 };

const pictures = [];
let failures = 0;
const complain = (text) => { failures += 1; console.log(`FAILED ${text}`); };

// Somebody's browser, the same each time.
function newContext(browser) {
  const userAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
  return browser.newContext({ timezoneId: "UTC", locale: "en-GB", bypassCSP: true, userAgent });
}

// A part of the walk; when it fails, the others go on.
async function part(name, walk) {
  try { await walk(); } catch (error) { complain(`${name}: ${error.message.split("\n").slice(0, 6).join(" / ")}`); }
}

async function take(page, name, width, tallest) {
  await page.setViewportSize({ width, height: width < 500 ? 740 : 800 });
  const height = await page.evaluate(() => Math.max(document.documentElement.scrollHeight, window.innerHeight));
  const beyond = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (beyond > 0) { complain(`${name}: ${beyond} pixels wider than the window`); }
  // The page's script does so when a page is loaded on a phone.
  await page.evaluate(() => document.querySelector("nav a[aria-current=page]")?.scrollIntoView({ block: "nearest", inline: "center" }));
  // Frames show what is in the window alone.
  await page.setViewportSize({ width, height: Math.min(height, tallest) });
  await page.waitForTimeout(80);
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 50 });
  await session.detach();
  fs.writeFileSync(path.join(folder, `${name}.webp`), Buffer.from(data, "base64"));
}

// Pictures of what a page shows now. `route` as the router has it, `state` one of STATES, `what` in words.
async function picture(page, route, state, name, what, { phone = state === "full" } = {}) {
  // What a page loads in frames.
  await page.waitForLoadState("load");
  await page.evaluate(() => { window.scrollTo(0, 0); document.activeElement?.blur(); });
  await take(page, name, 1280, TALLEST.desktop);
  await page.emulateMedia({ colorScheme: "dark" });
  await take(page, `${name}-dark`, 1280, TALLEST.desktop);
  await page.emulateMedia({ colorScheme: "light" });
  if (phone) { await take(page, `${name}-phone`, 360, TALLEST.phone); }
  await page.setViewportSize({ width: 1280, height: 800 });
  pictures.push({ route, state, name, what, phone });
  console.log(`${route} ${state}: ${name}`);
}

// Sends a form as a page of ours would, whatever fields its own form has today.
async function send(page, action, fields = {}) {
  await Promise.all([page.waitForNavigation(), page.evaluate(([action, fields]) => {
    const form = document.createElement("form");
    form.method = "post";
    form.action = action;
    for (const [name, value] of Object.entries(fields)) {
      const input = document.createElement("textarea");
      input.name = name;
      input.value = value;
      form.append(input);
    }
    document.body.append(form);
    form.submit();
  }, [action, fields])]);
}

// Asks the API as who is signed in.
function api(page, method, place, body) {
  return page.evaluate(async ([method, place, body]) => {
    const answer = await fetch(`/api/v1${place}`, {
      method, headers: { "Content-Type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) { throw new Error(`${method} ${place}: ${answer.status} ${text}`); }
    return text ? JSON.parse(text) : null;
  }, [method, place, body]);
}
const listed = (answer) => (Array.isArray(answer) ? answer : answer.items ?? Object.values(answer).find(Array.isArray));

// Runs a set, and waits for the end.
async function run(page, account, set) {
  const { job, id } = await api(page, "POST", `${account}/sets/${set}/runs`);
  for (;;) {
    const found = await api(page, "GET", `${account}/jobs/${job ?? id}`);
    if (!["queued", "running"].includes(found.state)) { return found; }
    await new Promise((resolve) => { setTimeout(resolve, 300); });
  }
}

const A = "/a/{account}";
const LOOK = `${A}/look/{repository}`;

// ---- a server with nothing in it ----
async function empty(browser, base, link) {
  const context = await newContext(browser);
  const page = await context.newPage();
  const password = "a password of the pictures";
  await page.goto(link);
  await picture(page, "/welcome/{token}", "full", "welcome", "an invitation's link: choosing a password");
  await page.fill("#password", password);
  await page.fill("#again", `${password}!`);
  await page.click("button[type=submit]");
  await picture(page, "/welcome/{token}", "failing", "welcome-differ", "the two passwords differ");
  await page.goto(`${base}/welcome/0123456789`);
  await picture(page, "/welcome/{token}", "failing", "welcome-used", "a link that was used, or is none");
  await page.goto(link);
  await page.fill("#password", password);
  await page.fill("#again", password);
  await page.click("button[type=submit]");
  await signIn(page, base, "admin", password);
  await picture(page, "/accounts", "empty", "accounts-empty", "the first sign-in of an administrator");
  await page.goto(`${base}/settings`);
  await picture(page, "/settings", "empty", "settings-empty", "no mail server yet");
  await page.goto(`${base}/accounts`);
  await page.fill("#name", "Contoso");
  await page.click('button:text-is("Add")');
  await page.waitForURL(/\/a\//u);
  const home = page.url();
  await picture(page, A, "empty", "home-empty", "a new account: the first step", { phone: true });
  for (const [place, name, what] of [
    ["tenants", "tenants-empty", "how a tenant is connected"],
    ["storage", "storage-empty", "making the first repository"],
    ["keys", "keys-empty", "no key yet"],
    ["sets", "sets-empty", "no backup set yet"],
    ["coverage", "coverage-empty", "nothing is covered yet"],
    ["look", "look-empty", "nothing to look at yet"],
    ["restores", "restores-empty", "nothing was restored yet"],
    ["clients", "clients-empty", "no client yet"],
    ["people", "people-empty", "nobody has a login yet"],
    ["notices", "notices-empty", "nobody is told yet"],
  ]) {
    await part(name, async () => {
      await page.goto(`${home}/${place}`);
      await picture(page, `${A}/${place}`, "empty", name, what);
    });
  }
  await part("me-empty", async () => {
    await page.goto(`${base}/me`);
    await picture(page, "/me", "empty", "me-empty", "no second factor, no token");
  });
  await context.close();
}

// ---- the demonstration ----
async function demonstration(browser, base, status, data) {
  const context = await newContext(browser);
  const page = await context.newPage();
  await page.goto(`${base}/sign-in`);
  await picture(page, "/sign-in", "full", "sign-in", "signing in");
  await page.fill("#login", "owner@contoso.com");
  await page.fill("#password", "a wrong password");
  await page.click("button[type=submit]");
  await picture(page, "/sign-in", "failing", "sign-in-wrong", "a wrong password");
  await signIn(page, base, "owner@contoso.com", status.password);
  const home = page.url();
  const own = new URL(home).pathname;
  const account = `/accounts/${own.split("/").pop()}`;
  const [set] = listed(await api(page, "GET", `${account}/sets`));
  const [tenant] = listed(await api(page, "GET", `${account}/tenants`));
  const [main] = listed(await api(page, "GET", `${account}/repositories`));
  const sim = tenant.definition?.graph_url ?? tenant.graph_url;
  const at = { page, base, home, own, account, set, tenant, main, sim, status, data };

  await part("pages of the account", () => full(at));
  await part("looking", () => looking(at));
  await part("restores", () => restores(at));
  await part("one's own", () => person(at));
  await part("administrator", () => administrator(browser, at));
  await part("roles", () => roles(browser, at));
  await part("forms", () => forms(at));
  await part("a tenant that fails", () => failing(at));
  await part("storage that is away", () => away(at));
  await context.close();
}

async function full(at) {
  const { page, home, own, account, set, tenant, main, sim, data } = at;
  await picture(page, A, "full", "home", "how the account stands");
  for (const [place, name, what] of [
    ["tenants", "tenants", "connected tenants, and how one is connected"],
    [`tenants/${tenant.id}`, "tenant", "a tenant with its permissions"],
    ["sets", "sets", "backup sets"],
    [`sets/${set.id}`, "set", "a backup set and its runs"],
    ["coverage", "coverage", "who is protected how"],
    ["storage", "storage", "repositories, and how they grew"],
    [`storage/${main.id}`, "repository", "a repository"],
    ["keys", "keys", "who can open what"],
    [`keys/${main.id}`, "keys-change", "changing the keys of a repository"],
    ["people", "people", "people of the account"],
    ["activity", "activity", "the audit log"],
  ]) {
    await part(name, async () => {
      const route = `${A}/${place}`.replace(`tenants/${tenant.id}`, "tenants/{tenant}").replace(`sets/${set.id}`, "sets/{set}")
        .replace(`storage/${main.id}`, "storage/{repository}").replace(`keys/${main.id}`, "keys/{repository}");
      await page.goto(`${home}/${place}`);
      await picture(page, route, "full", name, what);
    });
  }

  // Five steps, and the same five as tabs.
  for (const step of ["connect", "choose", "when", "where", "key"]) {
    await part(`the step ${step}`, async () => {
      await page.goto(`${home}/sets/${set.id}/change/${step}`);
      await picture(page, `${A}/sets/{set}/change/{step}`, "full", `set-${step}`, `changing a set: ${step}`, { phone: step === "choose" });
    });
  }
  await part("a step that goes wrong", async () => {
    await send(page, `${own}/sets/${set.id}/change/when`, { do: "save", zone: "Mars/Olympus" });
    await picture(page, `${A}/sets/{set}/change/{step}`, "failing", "set-when-failing", "a time zone that is none");
  });
  await part("the steps of a new set", async () => {
    await page.goto(`${home}/sets/new/connect`);
    await picture(page, `${A}/sets/new/{step}`, "full", "set-new", "a new set: the first step");
    await send(page, `${own}/sets/new/connect`, { do: "next", name: "", tenant: "" });
    await picture(page, `${A}/sets/new/{step}`, "failing", "set-new-failing", "it has no name yet");
  });
  await part("a sign-in at Microsoft", async () => {
    const made = await api(page, "POST", `${account}/tenants`, { name: "One person", definition: {
      tenant_id: tenant.definition?.tenant_id ?? "contoso.com", client_id: tenant.definition?.client_id, sign_in: "user", graph_url: sim, login_url: sim } });
    await page.goto(`${home}/tenants/${made.id}`);
    await picture(page, `${A}/tenants/{tenant}`, "full", "tenant-user", "one user's own account", { phone: false });
    const begun = await api(page, "POST", `${account}/tenants/${made.id}/sign-ins`, { way: "device-code" });
    await page.goto(`${home}/sign-ins/${begun.id}`);
    await picture(page, `${A}/sign-ins/{sign_in}`, "full", "sign-in-code", "a code to type at Microsoft");
    await page.goto(`${home}/sign-ins/${"0".repeat(32)}`);
    await picture(page, `${A}/sign-ins/{sign_in}`, "failing", "sign-in-none", "there is no such sign-in");
  });

  await part("a set that has not run", async () => {
    const [second] = [await api(page, "POST", `${account}/sets`, { name: "sales", tenant: tenant.id, repository: main.id, choices: { include: ["group:Sales*"] } })];
    await page.goto(`${home}/sets/${second.id}`);
    await picture(page, `${A}/sets/{set}`, "empty", "set-empty", "it has not run yet");
  });

  await part("a job", async () => {
    // Some mails cannot be read, and some are new.
    await fetch(`${sim}/sim/advance?days=1`, { method: "POST" });
    await fetch(`${sim}/sim/faults`, { method: "POST", body: JSON.stringify([
      { kind: { type: "slow", millis: 400 }, probability: 0.3 }, { kind: { type: "corrupt" }, probability: 0.05 },
    ]) });
    const { job, id } = await api(page, "POST", `${account}/sets/${set.id}/runs`);
    await page.goto(`${home}/jobs/${job ?? id}`);
    await page.waitForFunction(() => /[1-9]/u.test(document.querySelector('[data-count="collections"]')?.textContent ?? ""));
    await picture(page, `${A}/jobs/{job}`, "full", "job-running", "a run under way", { phone: false });
    await fetch(`${sim}/sim/faults`, { method: "DELETE" });
    await fetch(`${sim}/sim/faults`, { method: "POST", body: JSON.stringify([{ kind: { type: "corrupt" }, probability: 0.05 }]) });
    await page.waitForSelector("text=What came of it", { timeout: 120_000 });
    await picture(page, `${A}/jobs/{job}`, "full", "job", "what came of it: some could not be read");
    await fetch(`${sim}/sim/faults`, { method: "DELETE" });
    const done = await run(page, account, set.id);
    await page.goto(`${home}/jobs/${done.id}`);
    await picture(page, `${A}/jobs/{job}`, "full", "job-next", "the next run: what cannot be read is tried again", { phone: false });
  });

  await part("a tenant that was not tested", async () => {
    const other = await api(page, "POST", `${account}/tenants`, {
      name: "fabrikam.com", secret: "not the right one", definition: {
        tenant_id: "fabrikam.com", client_id: "00000000-0000-0000-0000-000000000001", sign_in: "secret", cloud: "global", graph_url: sim, login_url: sim,
      },
    });
    await page.goto(`${home}/tenants/${other.id}`);
    await picture(page, `${A}/tenants/{tenant}`, "empty", "tenant-untested", "it was not tested yet");
    await api(page, "DELETE", `${account}/tenants/${other.id}`);
  });

  // A repository is made, its key shown once and typed back.
  await part("a key", async () => {
    await page.goto(`${home}/storage`);
    await page.fill("#name", "Second");
    await page.click("text=Make the repository");
    await picture(page, `${A}/storage`, "full", "key", "the key of a new repository, shown once");
    const key = await page.textContent("#key");
    await page.fill("#last_four", "0000");
    await page.click("text=I have kept it");
    await picture(page, `${A}/storage`, "failing", "key-wrong", "its end was typed back wrongly");
    await page.fill("#last_four", key.slice(-4));
    await page.click("text=I have kept it");
    await page.waitForSelector("text=only owners' keys read contents");
    await picture(page, `${A}/storage/{repository}`, "empty", "repository-empty", "nothing is in it yet");
    at.second = page.url().split("/").pop();
    at.secondKey = key;
    await send(page, `${own}/keys/${at.second}/new`, { label: "safe", key });
    await picture(page, `${A}/keys/{repository}`, "full", "keys-made", "another key, shown once", { phone: false });
    await send(page, `${own}/keys/${at.second}/new`, { label: "safe", key: "not the key" });
    await picture(page, `${A}/keys/{repository}`, "failing", "keys-refused", "a key that does not fit");
    await send(page, `${own}/keys/${at.second}/held-key`, { understood: "yes", key });
    await picture(page, `${A}/keys/{repository}`, "full", "keys-held", "the server holds the owner's key", { phone: false });
    await send(page, `${own}/keys/${at.second}/held-key/removal`);
  });

  await part("clients", async () => {
    await send(page, `${own}/clients`, { name: "branch-office", most_gib: "500" });
    await picture(page, `${A}/clients`, "full", "clients-code", "a client's one-time code");
    await page.goto(`${home}/clients`);
    await picture(page, `${A}/clients`, "full", "clients", "clients");
  });

  await part("a link", async () => {
    await page.goto(`${home}/people`);
    await send(page, `${own}/people`, { login: "dana@contoso.com", role: "operator" });
    await picture(page, `${A}/people`, "full", "people-link", "the link of somebody new", { phone: false });
  });

  await part("notices", async () => {
    const monitor = http.createServer((_, answer) => { answer.writeHead(204).end(); });
    await new Promise((resolve) => { monitor.listen(0, "127.0.0.1", resolve); });
    const url = `http://127.0.0.1:${monitor.address().port}/hook`;
    await send(page, `${own}/notices`, { name: "Chat of the IT", kind: "webhook", url, runs: "all", warnings: "yes", enabled: "yes", zone: "UTC" });
    await picture(page, `${A}/notices/{receiver}`, "full", "receiver-key", "a new webhook, and the key of its posts", { phone: false });
    const place = new URL(await page.locator('form[action$="/test"]').getAttribute("action"), page.url()).pathname.replace(/\/test$/u, "");
    await send(page, `${place}/test`);
    await settled(page);
    await picture(page, `${A}/notices/{receiver}`, "full", "receiver", "a receiver, and what was sent to it");
    await send(page, `${own}/notices`, { name: "IT by mail", kind: "mail", to: "it@contoso.com", runs: "trouble", warnings: "yes", digest: "yes", hour: "7", zone: "Europe/Berlin", enabled: "yes" });
    await picture(page, `${A}/notices/{receiver}`, "empty", "receiver-empty", "nothing was sent to it yet");
    await page.goto(`${home}/notices`);
    await picture(page, `${A}/notices`, "full", "notices", "who is told of what");
    await new Promise((resolve) => { monitor.close(resolve); monitor.closeAllConnections(); });
    // Nobody listens there.
    await send(page, `${own}/notices`, { name: "On call", kind: "webhook", url: "http://127.0.0.1:1/hook", runs: "trouble", enabled: "yes", zone: "UTC" });
    const silent = new URL(await page.locator('form[action$="/test"]').getAttribute("action"), page.url()).pathname.replace(/\/test$/u, "");
    await send(page, `${silent}/test`);
    await settled(page, "waiting");
    await picture(page, `${A}/notices/{receiver}`, "failing", "receiver-failing", "it cannot be reached");
    await page.goto(`${home}/notices`);
    await picture(page, `${A}/notices`, "failing", "notices-failing", "a receiver that cannot be reached");
  });
  void data;
}

// Waits until the newest delivery says what came of it.
async function settled(page, state = "sent") {
  for (let turn = 0; turn < 60; turn += 1) {
    const row = await page.locator("table").last().locator("tbody tr").first().innerText().catch(() => "");
    if (row.includes(state) && (state === "sent" || /again at/u.test(row))) { return; }
    await page.waitForTimeout(500);
    await page.goto(page.url().replace(/\/test$/u, ""));
  }
  throw new Error(`nothing came of what was sent: ${await page.locator("table").last().innerText()}`);
}

async function looking(at) {
  const { page, home, own, main, status } = at;
  const here = `${home}/look/${main.id}`;
  await page.goto(`${home}/look`);
  await picture(page, `${A}/look`, "full", "look-which", "which repository");
  await page.goto(`${here}/unlock`);
  await picture(page, `${LOOK}/unlock`, "full", "unlock", "the key is asked for");
  await page.fill("#key", "not the key of this repository, nor of another");
  await page.click('button:has-text("Unlock")');
  await picture(page, `${LOOK}/unlock`, "failing", "unlock-wrong", "a wrong key");
  await page.goto(here);
  await picture(page, LOOK, "failing", "locked", "a repository that is locked");
  await page.fill("#key", status.key);
  await page.click('button:has-text("Unlock")');
  await picture(page, LOOK, "full", "whose", "whose data");
  const folderOf = (inner) => `${here}?path=${encodeURIComponent(inner)}`;
  await page.goto(folderOf(""));
  await picture(page, LOOK, "full", "all-snapshots", "all snapshots and folders", { phone: false });
  const inbox = folderOf("sets/everyone/latest/users/alice@contoso.com/Mail/Inbox");
  await page.goto(inbox);
  await picture(page, LOOK, "full", "inbox", "a folder of mails");
  await page.click('tbody a:has-text(".eml")');
  await page.frameLocator("iframe.mail").locator("body").waitFor();
  await picture(page, LOOK, "full", "mail", "a mail");
  for (const [folderName, name] of [["Calendar", "calendar"], ["Contacts", "contacts"]]) {
    await part(name, async () => {
      await page.goto(folderOf("sets/everyone/latest/users/alice@contoso.com"));
      await page.locator(`tbody a:has-text("${folderName}")`).first().click();
      await page.waitForLoadState();
      if (!await toItems(page)) { throw new Error("nothing is in it"); }
      await picture(page, LOOK, "full", name, `a folder of ${name === "calendar" ? "events" : "contacts"}`, { phone: false });
      if (name === "calendar") {
        const folderUrl = page.url();
        await page.click("text=As a month");
        await picture(page, LOOK, "full", "month", "a month of a calendar");
        await page.goto(folderUrl);
      }
      await page.locator(ITEMS).first().click();
      await picture(page, LOOK, "full", `${name}-item`, name === "calendar" ? "an event" : "a contact", { phone: false });
    });
  }
  await part("teams", async () => {
    await page.goto(folderOf("sets/everyone/latest"));
    for (const name of ["teams/", "sites/"]) {
      const link = page.locator(`tbody a:text-is("${name}")`);
      if (await link.count() === 0) { continue; }
      await link.click();
      await page.locator("tbody a").first().click();
      await picture(page, LOOK, "full", name.replace("s/", ""), `what a ${name.replace("s/", "")} has`, { phone: false });
      await page.goto(folderOf("sets/everyone/latest"));
    }
  });
  await page.goto(`${here}?path=nowhere/at/all`);
  await picture(page, LOOK, "failing", "look-nowhere", "a path that is none");

  const when = `${here}/when?set=everyone&owner=${encodeURIComponent("users/alice@contoso.com")}`;
  await page.goto(when);
  await picture(page, `${LOOK}/when`, "full", "when", "of when");
  await page.goto(`${here}/when?set=nothing&owner=users`);
  await picture(page, `${LOOK}/when`, "failing", "when-failing", "a set that is none");

  await page.goto(`${here}/search`);
  await page.fill("#query", "kind:message in:alice@contoso.com -in:Recoverable");
  await page.click('button:text-is("Search")');
  await picture(page, `${LOOK}/search`, "full", "search", "what a search found");
  await page.fill("#query", "no such word");
  await page.click('button:text-is("Search")');
  await picture(page, `${LOOK}/search`, "empty", "search-empty", "nothing matches");
  await page.fill("#query", "from:(dana");
  await page.click('button:text-is("Search")');
  await picture(page, `${LOOK}/search`, "failing", "search-failing", "a query that goes wrong", { phone: true });

  await page.goto(`${here}/basket`);
  await picture(page, `${LOOK}/basket`, "empty", "basket-empty", "nothing is in it");
  await page.goto(`${here}/restore`);
  await picture(page, `${LOOK}/restore`, "empty", "restore-empty", "nothing is in the basket");
  await page.goto(inbox);
  await send(page, `${own}/look/${main.id}/basket`, {});
  await picture(page, `${LOOK}/basket`, "failing", "basket-failing", "nothing was ticked");
  await page.goto(inbox);
  for (const box of (await page.$$('input[name="pick"]')).slice(0, 3)) { await box.check(); }
  await page.click("text=Put what is ticked into the basket");
  await page.goto(`${here}/basket`);
  await picture(page, `${LOOK}/basket`, "full", "basket", "what was picked");
  await page.goto(`${here}/restore`);
  await picture(page, `${LOOK}/restore`, "full", "restore", "how it is to come back");
  await send(page, `${own}/look/${main.id}/restore`, { to: "other", who: "" });
  await picture(page, `${LOOK}/restore`, "failing", "restore-failing", "nobody is named who takes it");

  // The second one has no snapshot.
  if (at.second) {
    await page.goto(`${home}/look/${at.second}`);
    await page.fill("#key", at.secondKey);
    await page.click('button:has-text("Unlock")');
    await page.waitForSelector('h1:text-is("Find and restore")');
    await picture(page, LOOK, "empty", "whose-empty", "no snapshot yet");
  }
}

async function restores(at) {
  const { page, home, main, sim } = at;
  const here = `${home}/look/${main.id}`;
  const plan = async () => {
    await page.goto(`${here}/search?q=${encodeURIComponent("kind:message in:alice@contoso.com -in:Recoverable")}`);
    await page.locator('tr:has(.state:text-is("gone")) input[name="item"]').first().check();
    await page.click("text=Put what is ticked into the basket");
    await page.goto(`${here}/restore`);
    await page.check('input[name="place"][value="in-place"]');
    await page.click("text=Make the plan");
    await page.waitForSelector("text=Restore now", { timeout: 60_000 });
  };
  await send(page, `${new URL(here).pathname}/basket/emptying`);
  await plan();
  await picture(page, `${A}/restores/{restore}`, "full", "restore-plan", "the plan, before anything is written");
  await page.click("text=Restore now");
  await page.waitForSelector("text=What came back", { timeout: 60_000 });
  await picture(page, `${A}/restores/{restore}`, "full", "restore-done", "what came back");
  await page.click("text=Take it back");
  await page.waitForSelector("text=What was taken back", { timeout: 60_000 });
  await picture(page, `${A}/restores/{restore}`, "full", "restore-undone", "taken back", { phone: false });
  // The tenant takes nothing.
  await plan();
  await fetch(`${sim}/sim/faults`, { method: "POST", body: JSON.stringify([{ kind: { type: "status", status: 403 }, path: "/messages" }]) });
  await page.click("text=Restore now");
  await page.waitForSelector("text=What came back", { timeout: 120_000 });
  await picture(page, `${A}/restores/{restore}`, "failing", "restore-refused", "the tenant takes nothing");
  await fetch(`${sim}/sim/faults`, { method: "DELETE" });
  await page.goto(`${home}/restores`);
  await picture(page, `${A}/restores`, "full", "restores", "restores so far");
  await page.goto(`${home}/restores/00000000000000000000000000`);
  await picture(page, `${A}/restores/{restore}`, "failing", "restore-none", "there is no such restore");
}

async function person(at) {
  const { page, base } = at;
  const old = at.status.password;
  await page.goto(`${base}/me`);
  await send(page, "/me/tokens", { label: "monitoring", days: "365" });
  await picture(page, "/me", "full", "me-token", "a token, shown once", { phone: false });
  await page.goto(`${base}/me`);
  await picture(page, "/me", "full", "me", "one's own sign-in");
  await send(page, "/me/factor", { old });
  await picture(page, "/me", "full", "second-factor", "setting up the second factor");
  await send(page, "/me/factor/confirmation", { old, code: "000000" });
  await picture(page, "/me", "failing", "second-factor-wrong", "a wrong code");
  await page.goto(`${base}/me`);
  await send(page, "/me/password", { old: "not the password now", password: "another long password" });
  await picture(page, "/me", "failing", "me-failing", "the old password is wrong");
}

async function administrator(browser, at) {
  const context = await newContext(browser);
  const page = await context.newPage();
  await signIn(page, at.base, "admin", at.status.password);
  await picture(page, "/accounts", "full", "accounts", "all accounts");
  // A form comes again where all its fields were sent.
  await send(page, "/accounts", { name: "", mailboxes: "", drives: "", sites: "", gib: "" });
  await picture(page, "/accounts", "failing", "accounts-failing", "an account without a name");
  const ofAccount = `/accounts/${at.own.split("/").pop()}`;
  await send(page, ofAccount, { name: "Contoso", mailboxes: "500", drives: "500", sites: "", gib: "500" });
  await picture(page, "/accounts/{account}", "full", "account", "what an account may, and uses");
  await send(page, ofAccount, { name: "Contoso", mailboxes: "many", drives: "500", sites: "", gib: "500" });
  await picture(page, "/accounts/{account}", "failing", "account-failing", "a limit that is no number");
  await page.goto(`${at.base}/administrators`);
  await picture(page, "/administrators", "full", "administrators", "who looks after the server");
  await send(page, "/administrators", { login: "owner@contoso.com" });
  await picture(page, "/administrators", "failing", "administrators-failing", "a login that is taken");
  await page.goto(`${at.base}/activity`);
  await picture(page, "/activity", "full", "all-activity", "the whole audit log");
  await send(page, "/activity/verification");
  await picture(page, "/activity", "full", "all-activity-whole", "the log is whole", { phone: false });
  await page.goto(`${at.base}/settings`);
  await send(page, "/settings/mail", { host: "smtp.example.com", port: "587", security: "starttls", login: "backup", password: "secret", from: "backup@example.com" });
  await picture(page, "/settings", "full", "settings", "the mail server");
  await send(page, "/settings/mail", { host: "127.0.0.1", port: "1", security: "none", login: "", password: "", from: "backup@example.com" });
  await send(page, "/settings/mail/test", { to: "you@example.com" });
  await picture(page, "/settings", "failing", "settings-failing", "the mail server cannot be reached");
  await context.close();
}

// Each sees what its role may, and no more.
async function roles(browser, at) {
  for (const role of ["operator", "restore", "auditor"]) {
    const context = await newContext(browser);
    const page = await context.newPage();
    await signIn(page, at.base, `${role}@contoso.com`, at.status.password);
    await picture(page, A, "full", `home-${role}`, `as ${role}`, { phone: false });
    if (role === "operator") {
      for (const [place, name] of [["look", "look-refused"], ["activity", "activity-refused"]]) {
        await page.goto(`${at.home}/${place}`);
        await picture(page, `${A}/${place}`, "failing", name, "the role may not");
      }
    }
    await context.close();
  }
}

// What was entered cannot be.
async function forms(at) {
  const { page, base, home, own, set, tenant, main } = at;
  await page.goto(home);
  await page.goto(`${base}/nothing`);
  await picture(page, "/sign-in", "failing", "not-found", "an address that is none");
  for (const [route, place, fields, name, what] of [
    ["storage", "storage", { name: "Third", url: "ftp://backup.example.com/x", credentials: "", passphrase: "" }, "storage-failing", "a kind of storage that there is not"],
    ["storage", "adoption", { name: "Old", url: "s3://bucket/folder?endpoint=http://127.0.0.1:1&region=x", credentials: "access_key_id = x\nsecret_access_key = y", key: "no key" }, "adoption-failing", "a repository that cannot be taken over"],
    ["clients", "clients", { name: "branch", most_gib: "much" }, "clients-failing", "a limit that is no number"],
    ["people", "people", { login: "owner@contoso.com", role: "operator" }, "people-failing", "a login that is taken"],
    ["notices", "notices", { name: "Chat", kind: "webhook", to: "", url: "chat.example.com", runs: "all", set: "", hour: "7", zone: "UTC", beat_minutes: "", enabled: "yes" }, "notices-form-failing", "a web address that is none"],
  ]) {
    await part(name, async () => {
      // The page that a form stands on shows it again.
      await page.goto(`${home}/${route}`);
      await send(page, `${own}/${place}`, fields);
      await picture(page, `${A}/${route}`, "failing", name, what);
    });
  }
}

async function failing(at) {
  const { page, home, own, account, set, tenant, sim } = at;
  await page.goto(home);
  await send(page, `${own}/tenants/${tenant.id}/secret`, { client_id: tenant.definition?.client_id ?? tenant.client_id, secret: "not the right one", certificate: "", address: sim });
  await page.goto(`${home}/tenants/${tenant.id}`);
  await picture(page, `${A}/tenants/{tenant}`, "failing", "tenant-failing", "the secret is wrong");
  await page.goto(`${home}/tenants`);
  await picture(page, `${A}/tenants`, "failing", "tenants-failing", "a tenant whose secret is wrong");
  await page.goto(home);
  const job = await run(page, account, set.id);
  await page.goto(`${home}/jobs/${job.id}`);
  await picture(page, `${A}/jobs/{job}`, "failing", "job-failing", "a run that failed", { phone: true });
  await page.goto(`${home}/sets/${set.id}`);
  await picture(page, `${A}/sets/{set}`, "failing", "set-failing", "its last run failed");
  await page.goto(`${home}/sets`);
  await picture(page, `${A}/sets`, "failing", "sets-failing", "a set whose last run failed");
  await page.goto(home);
  await picture(page, A, "failing", "home-failing", "what needs attention", { phone: true });
  // The plan of a restore needs the tenant.
  await page.goto(`${home}/look/${at.main.id}?path=${encodeURIComponent("sets/everyone/latest/users/alice@contoso.com/Mail/Inbox")}`);
  await page.locator('input[name="pick"]').first().check();
  await page.click("text=Put what is ticked into the basket");
  await page.goto(`${home}/look/${at.main.id}/restore`);
  await fetch(`${sim}/sim/faults`, { method: "POST", body: JSON.stringify([{ kind: { type: "status", status: 403 } }]) });
  await page.click("text=Make the plan");
  await page.waitForURL(/restores\//u);
  for (let turn = 0; turn < 60 && !await page.locator(".notice.bad").count(); turn += 1) { await page.waitForTimeout(500); await page.reload(); }
  await picture(page, `${A}/restores/{restore}`, "failing", "restore-no-plan", "no plan: the tenant cannot be asked");
  await fetch(`${sim}/sim/faults`, { method: "DELETE" });
  await page.goto(`${home}/restores`);
  await picture(page, `${A}/restores`, "failing", "restores-failing", "a restore that came to nothing");
}

// The folder of the storage is gone.
async function away(at) {
  const { page, home, own, main, status, data } = at;
  const storage = path.join(data, "storage");
  await page.goto(home);
  await send(page, `${own}/look/${main.id}/lock`);
  fs.renameSync(storage, `${storage}.away`);
  try {
    for (const [route, place, name] of [
      ["storage/{repository}", `storage/${main.id}`, "repository-failing"],
      ["coverage", "coverage", "coverage-failing"],
      ["keys", "keys", "keys-failing"],
    ]) {
      await part(name, async () => {
        await page.goto(`${home}/${place}`);
        await picture(page, `${A}/${route}`, "failing", name, "the storage is away");
      });
    }
    await page.goto(home);
    await send(page, `${own}/look/${main.id}/unlock`, { key: status.key });
    await picture(page, LOOK, "failing", "look-failing", "the storage is away");
    await page.goto(home);
    await send(page, `${own}/storage/${main.id}/upkeep`, { kind: "check" });
    await page.waitForSelector(".notice.bad", { timeout: 60_000 });
    await picture(page, `${A}/jobs/{job}`, "failing", "check-failing", "a check while the storage is away");
  } finally {
    fs.rmSync(storage, { recursive: true, force: true });
    fs.renameSync(`${storage}.away`, storage);
  }
}

// ---- what it is for ----

// The routes of pages, as the router has them.
function routes() {
  const source = fs.readFileSync(path.join(root, "src/server/pages/mod.rs"), "utf8");
  return [...source.matchAll(/\.page\(\s*"([^"]+)"/gu)].map((found) => found[1]);
}

function check(all) {
  for (const route of all) {
    if (route in NO_PAGE) { continue; }
    for (const state of STATES) {
      const has = pictures.some((one) => one.route === route && one.state === state);
      if (!has && !NO_STATE[route]?.[state]) { complain(`${route} has no picture: ${state}`); }
    }
  }
  for (const { route } of pictures) {
    if (!all.includes(route)) { complain(`the pictures have ${route}, the router has not`); }
  }
}

function index(all) {
  const image = (name, width, text) => `<a href="${name}.webp"><img src="${name}.webp" width="${width}" alt="${text}"></a>`;
  let text = `# Pictures of every page

Made by \`node tests/browser/pictures.mjs target/debug/tenantvault MODULES\`, from a server with the demonstration and from one with nothing in
it; \`.ci/browser MODULES\` makes the folder of what it takes. It fails when a page of the router has no picture. Pages that are longer are cut.
`;
  for (const route of all) {
    text += `\n## \`${route}\`\n\n`;
    if (route in NO_PAGE) { text += `No picture: ${NO_PAGE[route]}.\n`; continue; }
    const own = STATES.flatMap((state) => pictures.filter((one) => one.route === route && one.state === state));
    text += "| state | light | dark | phone |\n|---|---|---|---|\n";
    for (const { name, state, what, phone } of own) {
      text += `| ${state}: ${what} | ${image(name, 300, what)} | ${image(`${name}-dark`, 300, `${what}, dark`)} |`
        + ` ${phone ? image(`${name}-phone`, 90, `${what}, on a phone`) : ""} |\n`;
    }
    for (const [state, why] of Object.entries(NO_STATE[route] ?? {})) { text += `\nNever ${state}: ${why}.\n`; }
  }
  fs.writeFileSync(path.join(folder, "README.md"), text);
}

fs.rmSync(folder, { recursive: true, force: true });
fs.mkdirSync(folder, { recursive: true });
const work = fs.mkdtempSync(path.join(os.tmpdir(), "tenantvault-pictures-"));
const browser = await launchBrowser(chromium);
const servers = [];
const begin = async (...options) => {
  const one = await startServer(program, options);
  servers.push(one.server);
  return one.status;
};
try {
  await part("a server with nothing in it", async () => {
    const status = await begin("--dir", path.join(work, "empty"));
    await empty(browser, status.url, status.first_link);
  });
  await part("the demonstration", async () => {
    const data = path.join(work, "server");
    const status = await begin("--demo", "--dir", data);
    await demonstration(browser, status.url, status, data);
  });
} finally {
  await browser.close();
  for (const server of servers) { server.kill("SIGINT"); }
  await Promise.all(servers.map((server) => server.exitCode ?? new Promise((resolve) => { server.once("exit", resolve); })));
  fs.rmSync(work, { recursive: true, force: true });
}
const all = routes();
check(all);
index(all);
const bytes = fs.readdirSync(folder).reduce((sum, name) => sum + fs.statSync(path.join(folder, name)).size, 0);
console.log(`${pictures.length} pages, ${all.length} routes, ${(bytes / 2 ** 20).toFixed(1)} MiB, ${failures} complaints`);
process.exit(failures ? 1 : 0);
