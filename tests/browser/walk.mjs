// Walks the pages of the backup server as a person does, in Debian's Chromium: `node walk.mjs PROGRAM MODULES [PICTURES]`. PROGRAM is
// tenantvault, MODULES a folder with playwright-core and axe-core, PICTURES a folder for a picture of each page.
// It starts `server --demo`, and before it a server with nothing in it, and fails where a page breaks WCAG 2.2 AA, says something on the console, or is wider than its window.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { ITEMS, launchBrowser, modulesIn, signIn, startServer, startSim, toItems } from "./common.mjs";

const [program, modules, pictures] = process.argv.slice(2);
const need = modulesIn(modules);
const { chromium } = need("playwright-core");
const axe = fs.readFileSync(need.resolve("axe-core/axe.min.js"), "utf8");
if (pictures) { fs.mkdirSync(pictures, { recursive: true }); }

let failures = 0;
let looked = 0;
const complain = (text) => { failures += 1; console.log(`FAILED ${text}`); };

async function look(page, name) {
  looked += 1;
  if (pictures) { await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: true }); }
  await page.evaluate(axe);
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
  const found = await page.evaluate((runOnly) => globalThis.axe.run(document, { runOnly }), tags);
  for (const broken of found.violations) {
    complain(`${name}: ${broken.id} (${broken.impact}): ${broken.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
  }
  const beyond = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (beyond > 0) { complain(`${name}: ${beyond} pixels wider than the window`); }
  // On a phone the rows of tables are cards; a month is a grid.
  const cut = await page.evaluate(() => window.innerWidth > 500 ? 0
    : [...document.querySelectorAll(".scroll:has(> table:not(.month))")].filter((box) => box.scrollWidth > box.clientWidth + 1).length);
  if (cut > 0) { complain(`${name}: ${cut} tables are cut`); }
}

// A server with nothing in it, from its first link to the first snapshot.
async function first(browser, base, link, sim) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, bypassCSP: true });
  const page = await context.newPage();
  page.on("pageerror", (error) => complain(`${page.url()}: ${error}`));
  const password = "a password of the walk";
  await page.goto(link);
  await look(page, "first-welcome");
  await page.fill("#password", password);
  await page.fill("#again", password);
  await page.click("button[type=submit]");
  await signIn(page, base, "admin", password);
  await page.goto(`${base}/accounts`);
  await look(page, "first-accounts");
  await page.fill("#name", "Contoso");
  await page.click('button:text-is("Add")');
  await page.waitForURL(/\/a\//u);
  const home = page.url();
  await look(page, "first-home");
  await page.goto(`${home}/tenants`);
  if (!await page.isVisible("#tenant_id")) { await page.click('summary:has-text("A tenant, through an administrator")'); }
  await page.fill("#name", "Contoso");
  await page.fill("#tenant_id", sim.status.tenant_id);
  await page.fill("#client_id", sim.status.client_id);
  await page.fill("#secret", sim.secret);
  await page.click('form:has(#secret) summary:has-text("A simulated tenant")');
  await page.fill('form:has(#secret) input[name="address"]', sim.status.url);
  await look(page, "first-connect");
  await page.click("text=Connect and test");
  await page.waitForSelector("text=permissions", { timeout: 60_000 });
  await look(page, "first-tenant");
  await page.goto(`${home}/sets/new`);
  await page.fill("#name", "everyone");
  await page.click('button:text-is("Next")');
  await page.waitForSelector("text=are chosen", { timeout: 60_000 });
  await page.check('input[name="parts"][value="some"]');
  await page.check('input[name="part"][value="mail"]');
  await page.click('button:text-is("Next")');
  await page.waitForSelector("text=How long snapshots are kept");
  await page.fill("#zone", "UTC");
  await page.click('button:text-is("Next")');
  await page.waitForSelector("text=Who runs it");
  if (!await page.isVisible("#new_name")) { await page.selectOption("#repository", "new"); }
  await page.waitForSelector("#new_name");
  await page.click('button:text-is("Next")');
  await page.waitForSelector("#key");
  const key = await page.textContent("#key");
  await page.fill("#last_four", key.slice(-4));
  await page.click("text=I have kept it");
  await page.waitForSelector("text=What will be made");
  await look(page, "first-end");
  await page.click("text=Make it and back up now");
  await page.waitForSelector("text=What came of it", { timeout: 240_000 });
  await look(page, "first-run");
  await page.goto(`${home}/storage`);
  await page.click("tbody a");
  await page.waitForSelector('h2:has-text("1 snapshot")');
  await context.close();
}

const { server, status } = await startServer(program, ["--demo"]);
// A server that is left behind would hold open what reads its words.
const browser = await launchBrowser(chromium).catch((error) => { server.kill("SIGKILL"); throw error; });
const work = fs.mkdtempSync(path.join(os.tmpdir(), "tenantvault-walk-"));
const others = [];
try {
  const sim = await startSim(program, path.join(work, "sim.toml"));
  others.push(sim.server);
  const empty = await startServer(program, ["--dir", path.join(work, "empty")]);
  others.push(empty.server);
  await first(browser, empty.status.url, empty.status.first_link, sim);
  const base = status.url;
  // The pages' own policy refuses axe's script, which comes from here.
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, bypassCSP: true });
  const page = await context.newPage();
  page.on("console", (message) => {
    // What is refused on purpose, browsers tell on the console.
    const meant = ["/nothing", "/confirmation"].some((end) => page.url().endsWith(end)) || page.url().includes("/sets/new/");
    // Microsoft's pages are simulated, and look plain.
    if (message.type() === "error" && !meant && page.url().startsWith(base)) { complain(`${page.url()} says ${message.text()}`); }
  });
  page.on("pageerror", (error) => complain(`${page.url()}: ${error}`));

  await page.goto(`${base}/sign-in`);
  await look(page, "sign-in");
  await signIn(page, base, "owner@contoso.com", status.password);
  const root = page.url();
  await look(page, "home");
  for (const name of ["sets", "sets/new", "coverage", "tenants", "storage", "keys", "people", "notices", "activity"]) {
    await page.goto(`${root}/${name}`);
    await look(page, name.replace("/", "-"));
  }

  // A set is run, and watched to its end.
  await page.goto(`${root}/sets`);
  await page.click("tbody a");
  await look(page, "set");
  const set = page.url();
  await page.click('a:text-is("Change")');
  await page.waitForSelector("text=are chosen");
  await look(page, "set-change-choose");
  for (const name of ["connect", "when", "where", "key"]) {
    await page.goto(`${set}/change/${name}`);
    await look(page, `set-change-${name}`);
  }
  await page.goto(set);
  await page.click("text=Back up now");
  await look(page, "job-running");
  // The mark follows the run without the page being loaded again.
  await page.waitForFunction(() => !document.querySelector("#state")?.textContent.includes("waiting"));
  await page.waitForSelector("text=What came of it", { timeout: 120_000 });
  await look(page, "job");
  await page.goto(`${root}/tenants`);
  await page.click("tbody a");
  await look(page, "tenant");
  // One user's own account: signed in to by redirect, through Microsoft's pages as they are simulated.
  const [directory, app] = await page.$$eval("main p code", (all) => all.map((code) => code.textContent));
  const microsoft = await page.$eval("#address", (input) => input.value);
  await page.goto(`${root}/tenants`);
  await page.click('summary:has-text("A tenant, through an administrator")');
  await page.click('summary:has-text("One user\'s own account")');
  await page.fill("#u_name", "Alice's account");
  await page.fill("#u_client_id", app);
  await page.fill("#u_tenant_id", directory);
  await page.click('form:has(#u_name) summary:has-text("A simulated tenant")');
  await page.fill("#u_address", microsoft);
  await look(page, "connect");
  await page.setViewportSize({ width: 360, height: 740 });
  await look(page, "phone-connect");
  await page.click("text=Go on to the sign-in");
  await look(page, "phone-sign-in-at-microsoft");
  await page.setViewportSize({ width: 1280, height: 900 });
  await look(page, "sign-in-at-microsoft");
  const begun = page.url();
  await page.click('a:text-is("Go to Microsoft")');
  await page.click('a:text-is("alice@contoso.com")');
  await page.waitForSelector("text=is signed in");
  if (page.url() !== begun) { complain(`the browser was led to ${page.url()}`); }
  await look(page, "signed-in");
  await page.click("text=To the tenant");
  await page.waitForSelector("text=The account of");
  await look(page, "tenant-of-user");
  // By a code, which is looked for without a click.
  await page.click('summary:has-text("Sign in again")');
  await page.check('input[name="way"][value="device-code"]');
  await page.click("text=Go on to the sign-in");
  await look(page, "device-code");
  const typed = await page.textContent(".key");
  const there = await context.newPage();
  await there.goto(`${microsoft}/devicelogin`);
  await there.fill("input[name=code]", typed);
  await there.selectOption("select[name=user]", "alice@contoso.com");
  await there.click("button[value=approve]");
  await there.close();
  await page.waitForSelector("text=is signed in", { timeout: 60_000 });
  await page.goto(`${root}/storage`);
  await page.click("tbody a");
  await look(page, "repository");

  // A repository is made, its key shown once and typed back.
  await page.goto(`${root}/storage`);
  await page.fill("#name", "Second");
  await page.click("text=Make the repository");
  await look(page, "key");
  const second = await page.textContent("#key");
  await page.fill("#last_four", "0000");
  await page.click("text=I have kept it");
  await page.waitForSelector("text=not the last four characters");
  await page.fill("#last_four", second.slice(-4));
  await page.click("text=I have kept it");
  await page.waitForSelector("text=only owners' keys read contents");

  // A further key for it, the first one replaced, and the server's own renewed.
  await page.goto(`${root}/keys`);
  await page.click('section:has(h2:has-text("Second")) a:text-is("Change keys")');
  await look(page, "keys-change");
  const ofSecond = page.url();
  await page.fill("#label", "the safe");
  await page.fill("#add_key", second);
  await page.click('button:text-is("Make the key")');
  await look(page, "keys-made");
  const safe = await page.textContent("#key");
  await page.fill("#last_four", safe.slice(-4));
  await page.click("text=I have kept it");
  await page.waitForSelector("text=the safe (");
  await page.selectOption("#old", { label: await page.$eval("#old", (select) => [...select.options].find((one) => one.text.startsWith("owner")).text) });
  await page.fill("#replace_key", safe);
  await page.click('button:text-is("Make the new key")');
  const successor = await page.textContent("#key");
  await page.fill("#last_four", successor.slice(-4));
  await page.click("text=remove the old one");
  await page.waitForURL(ofSecond);
  if (await page.locator("tbody tr").count() !== 3) { complain("a key was not replaced"); }
  await page.fill("#server_key", successor);
  await Promise.all([page.waitForNavigation(), page.click("text=Renew the key")]);
  await page.click('summary:has-text("Let the server hold an owner")');
  await look(page, "keys-hold");
  await page.fill("#held_key", successor);
  await page.check('input[name="understood"]');
  await page.click('button:text-is("Let the server hold it")');
  await page.waitForSelector("text=its owner, and this server");
  await look(page, "keys-held");
  await page.click("text=Take the key back");
  await page.waitForSelector("text=only owners' keys read contents");

  // A backup set in five steps. What is ticked writes rules, and is counted, in place; going back loses nothing.
  const made = `${root}/sets/new`;
  await page.goto(`${root}/sets`);
  await page.click("text=New backup set");
  await page.fill("#name", "mail only");
  await page.click('button:text-is("Next")');
  await page.waitForSelector("text=cannot be a name");
  if (await page.inputValue("#name") !== "mail only") { complain("what was typed is gone"); }
  await look(page, "wizard-wrong");
  await page.fill("#name", "mail-only");
  // What was connected last is one user's own account.
  await page.selectOption("#tenant", await page.$eval("#tenant", (select) => [...select.options].find((one) => !one.text.startsWith("Alice")).value));
  await page.waitForFunction(() => !document.querySelector("section.found h3").textContent.includes("Alice"));
  if (await page.inputValue("#name") !== "mail-only") { complain("what was typed is gone when another tenant is picked"); }
  await page.click("text=Test it now");
  await page.waitForSelector("text=It signs in");
  await look(page, "wizard-connect");
  await page.click('button:text-is("Next")');
  await page.waitForSelector("text=are chosen");
  await page.click("#open-users");
  await page.waitForSelector("ul.rows");
  await look(page, "wizard-choose");
  const counted = await page.textContent("p.counts");
  await page.locator('ul.rows input[type="checkbox"]').first().uncheck();
  await page.waitForFunction((before) => document.querySelector("p.counts").textContent !== before, counted);
  const out = await page.inputValue("#exclude");
  if (!out.includes("@")) { complain(`unticking wrote '${out}'`); }
  await page.fill("#q", "alice@");
  await page.waitForSelector("text=found");
  if (await page.locator("ul.rows li").count() !== 1) { complain("the search finds another number of users than one"); }
  await page.fill("#exclude", "");
  await page.waitForFunction((before) => document.querySelector("p.counts").textContent === before, counted);
  await page.focus("#open-sites");
  await page.keyboard.press("Enter");
  await page.waitForSelector('#open-sites[aria-expanded="true"]');
  if (await page.evaluate(() => document.activeElement.id) !== "open-sites") { complain("the keyboard lost its place"); }
  await page.check('input[name="parts"][value="some"]');
  await page.check('input[name="part"][value="mail"]');
  await page.waitForSelector("text=0 of");
  await look(page, "wizard-choose-mail");
  await page.click('button:text-is("Next")');
  await page.waitForSelector("text=How long snapshots are kept");
  await page.click("text=Add a schedule");
  await page.waitForSelector("text=Schedule 2");
  await page.selectOption("#kind-1", "cron");
  await page.fill("#cron-1", "61 * * * *");
  await page.click('button:text-is("Next")');
  await page.waitForSelector("text=is not a schedule");
  await look(page, "wizard-when-wrong");
  await page.fill("#cron-1", "0 6 1 * *");
  await page.click('button:text-is("Next")');
  await page.waitForSelector("text=Who runs it");
  await page.selectOption("#repository", "new");
  await page.waitForSelector("#new_name");
  await look(page, "wizard-where");
  await page.click('button:text-is("Back")');
  await page.waitForSelector("text=Schedule 2");
  if (await page.inputValue("#cron-1") !== "0 6 1 * *") { complain("going back lost a schedule"); }
  await look(page, "wizard-when");
  await page.click('button:text-is("Next")');
  await page.waitForSelector("#repository");
  await page.selectOption("#repository", "new");
  await page.fill("#new_name", "Third");
  await page.click('button:text-is("Next")');
  await page.waitForSelector("#key");
  await look(page, "wizard-key");
  const third = await page.textContent("#key");
  await page.fill("#last_four", "0000");
  await page.click("text=I have kept it");
  await page.waitForSelector("text=not the last four characters");
  await page.fill("#last_four", third.slice(-4));
  await page.keyboard.press("Enter");
  await page.waitForSelector("text=What will be made");
  await look(page, "wizard-end");
  await page.setViewportSize({ width: 360, height: 740 });
  for (const name of ["connect", "choose?open=users", "when", "where", "key"]) {
    await page.goto(`${made}/${name}`);
    if (name.startsWith("choose")) { await page.waitForSelector("text=chosen"); }
    await look(page, `phone-wizard-${name.split("?")[0]}`);
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "dark" });
  for (const name of ["connect", "choose?open=users", "when", "where", "key"]) {
    await page.goto(`${made}/${name}`);
    await look(page, `dark-wizard-${name.split("?")[0]}`);
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.click("text=Make it and back up now");
  await page.waitForSelector("text=What came of it", { timeout: 120_000 });
  await look(page, "wizard-run");

  // Without a script the same buttons do the same.
  const plain = await browser.newContext({ bypassCSP: true, javaScriptEnabled: false });
  const bare = await plain.newPage();
  await signIn(bare, base, "owner@contoso.com", status.password);
  await bare.goto(`${set}/change/choose`);
  await bare.click("#open-users");
  await bare.locator('ul.rows input[type="checkbox"]').first().uncheck();
  // What is in <noscript> is no text to playwright.
  await Promise.all([bare.waitForNavigation(), bare.$eval('button[name="do"][value="stay"]', (button) => button.form.requestSubmit(button))]);
  if (!(await bare.inputValue("#exclude")).includes("@")) { complain("without a script, unticking writes no rule"); }
  await plain.close();

  // A mail is found in a snapshot and read: nothing before the key is there.
  await page.goto(`${root}/look`);
  await page.click("text=Main");
  await page.waitForSelector("text=Unlock 'Main'");
  await look(page, "locked");
  await page.fill("#key", status.key);
  await page.click('button:has-text("Unlock")');
  await look(page, "look");
  const repository = page.url();
  await page.click("text=All snapshots and folders");
  await look(page, "all-snapshots");
  for (const name of ["sets/", "everyone/", "latest/", "users/", "alice@contoso.com/", "Mail/", "Inbox/"]) {
    await page.click(`a:text-is("${name}")`);
  }
  await look(page, "inbox");
  const inbox = page.url();
  await page.click('tbody a:has-text(".eml")');
  const frame = page.frameLocator("iframe.mail");
  await frame.locator("body").waitFor();
  await look(page, "mail");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click('a:text-is("Download")')]);
  const bytes = fs.readFileSync(await download.path(), "utf8");
  if (!bytes.includes("Subject:")) { complain("the download is no mail"); }

  // Two mails are picked, and downloaded as a ZIP.
  await page.goto(inbox);
  for (const box of (await page.$$('input[name="pick"]')).slice(0, 2)) { await box.check(); }
  await page.click("text=Put what is ticked into the basket");
  await page.click('a:has-text("Basket (2)")');
  await look(page, "basket");
  const [zip] = await Promise.all([page.waitForEvent("download"), page.click("text=Download as ZIP")]);
  const packed = fs.readFileSync(await zip.path());
  if (packed.subarray(0, 2).toString() !== "PK" || !packed.includes("alice@contoso.com/Mail/Inbox/")) { complain("the ZIP is none"); }
  await page.click("text=Empty it");
  await look(page, "basket-empty");

  // By the name, the time, and the calendar; a conversation and a month of events, where there are some.
  await page.goto(repository);
  await page.fill("#q", "alice");
  await page.click('button:text-is("Show")');
  await page.click('a:text-is("alice@contoso.com")');
  await look(page, "when");
  await page.click("text=As it is in the latest snapshot");
  await look(page, "owner");
  for (const [folder, name] of [["Calendar", "calendar"], ["Contacts", "contacts"]]) {
    const link = page.locator(`tbody a:has-text("${folder}")`).first();
    if (await link.count() === 0) { continue; }
    const owner = page.url();
    await page.goto(new URL(await link.getAttribute("href"), owner).href);
    if (!await toItems(page)) { complain(`there is nothing in ${folder}`); continue; }
    await look(page, name);
    if (name === "calendar" && await page.locator("text=As a month").count() > 0) {
      await page.click("text=As a month");
      await look(page, "month");
      await page.goBack();
    }
    await page.locator(ITEMS).first().click();
    await look(page, `${name}-item`);
    await page.goto(owner);
  }

  // A mail that is gone from the tenant is searched for, restored by a plan, and taken back.
  await page.goto(`${repository}/search`);
  await page.fill("#query", "from:(dana");
  await page.click('button:text-is("Search")');
  await page.waitForSelector("mark");
  await look(page, "search-wrong");
  await page.fill("#query", "kind:message in:alice@contoso.com -in:Recoverable");
  await page.click('button:text-is("Search")');
  await look(page, "search");
  await page.locator('tr:has(.state:text-is("gone")) input[name="item"]').first().check();
  await page.click("text=Put what is ticked into the basket");
  await page.click('a:has-text("Basket (1)")');
  await page.click("text=Restore…");
  await look(page, "restore-ask");
  await page.check('input[name="place"][value="in-place"]');
  await page.click("text=Make the plan");
  await page.waitForSelector("text=Restore now", { timeout: 60_000 });
  await look(page, "restore-plan");
  if (await page.textContent('[data-plan="create"]') !== "1") { complain("the plan makes another number of mails than one"); }
  const restored = page.url();
  await page.click("text=Restore now");
  await page.waitForSelector("text=What came back", { timeout: 60_000 });
  await look(page, "restore-done");
  await page.click("text=Take it back");
  await page.waitForSelector("text=What was taken back", { timeout: 60_000 });
  await look(page, "restore-undone");
  await page.goto(`${root}/restores`);
  await look(page, "restores");

  // The same on a phone, and in the dark.
  const places = [
    ["look", repository], ["search", `${repository}/search?q=kind%3Amessage`], ["inbox", inbox], ["basket", `${repository}/basket`],
    ["when", `${repository}/when?set=everyone&owner=users%2Falice%40contoso.com`], ["restore", restored], ["restores", `${root}/restores`],
  ];
  await page.goto(inbox);
  await page.locator('input[name="pick"]').first().check();
  await page.click("text=Put what is ticked into the basket");
  places.push(["restore-ask", `${repository}/restore`]);
  await page.setViewportSize({ width: 360, height: 740 });
  for (const [name, place] of places) { await page.goto(place); await look(page, `phone-${name}`); }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "dark" });
  for (const [name, place] of places) { await page.goto(place); await look(page, `dark-${name}`); }
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto(repository);
  await page.click("text=Lock again");

  await page.goto(`${base}/me`);
  await look(page, "me");
  await page.fill("#on", status.password);
  await page.click('button:text-is("Set up")');
  await look(page, "second-factor");
  const scanned = await page.textContent("form:has(#code) code");
  await page.fill("#code", "000000");
  await page.fill("#proof", status.password);
  await page.click('button:text-is("Turn on")');
  await page.waitForSelector("text=The code is not right");
  if (await page.textContent("form:has(#code) code") !== scanned) { complain("a mistyped code made another secret"); }
  await look(page, "second-factor-wrong");
  await page.goto(`${base}/nothing`);
  await look(page, "not-found");

  await page.setViewportSize({ width: 360, height: 740 });
  for (const name of ["", "sets", "sets/new", "coverage", "tenants", "storage", "keys", "people", "notices", "activity"]) {
    await page.goto(name ? `${root}/${name}` : root);
    await look(page, `phone-${name.replace("/", "-") || "home"}`);
  }
  // And on a wide screen.
  await page.setViewportSize({ width: 2560, height: 1440 });
  for (const name of ["", "sets", "sets/new", "coverage", "tenants", "storage", "keys", "people", "notices", "activity"]) {
    await page.goto(name ? `${root}/${name}` : root);
    await look(page, `wide-${name.replace("/", "-") || "home"}`);
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "dark" });
  for (const name of ["", "sets", "coverage", "storage", "keys"]) {
    await page.goto(name ? `${root}/${name}` : root);
    await look(page, `dark-${name || "home"}`);
  }

  // Each role sees what it may do, and no more: in the navigation, and of the buttons on pages that all may see.
  await page.goto(`${root}/storage`);
  const stored = new URL(await page.getAttribute("tbody a", "href"), page.url()).href;
  const everything = ["run", "change", "keys", "people", "restore"];
  const buttons = [
    [set, 'button:text-is("Back up now")', "run"], [set, 'a.button:text-is("Change")', "change"],
    [set, 'summary:text-is("Remove this backup set")', "change"], [`${root}/sets`, 'a.button:text-is("New backup set")', "change"],
    [`${root}/tenants`, 'button:text-is("Connect and test")', "change"], [`${root}/storage`, 'button:text-is("Make the repository")', "keys"],
    [stored, 'h2:text-is("Upkeep")', "run"], [`${root}/keys`, 'a:text-is("Change keys")', "keys"],
    [`${root}/clients`, 'button:text-is("Add and make a one-time code")', "change"], [`${root}/notices`, 'button:text-is("Add")', "change"],
    [`${root}/people`, 'button:text-is("Add and make a link")', "people"], [restored, 'main a[href*="/look/"]', "restore"],
  ];
  for (const [login, sees, not, may] of [
    ["owner@contoso.com", "People", "Accounts", everything], ["restore@contoso.com", "Find and restore", "Activity", ["restore"]],
    ["operator@contoso.com", "Backup sets", "Find and restore", ["run"]], ["auditor@contoso.com", "Activity", "Find and restore", []],
    ["admin", "Accounts", "Activity", everything],
  ]) {
    const other = await browser.newContext({ bypassCSP: true });
    const theirs = await other.newPage();
    await signIn(theirs, base, login, status.password);
    await look(theirs, `as-${login.split("@")[0]}`);
    const shown = await theirs.locator("nav a").allInnerTexts();
    if (!shown.includes(sees) || shown.includes(not)) { complain(`${login} sees ${shown}`); }
    for (const [place, button, right] of buttons) {
      if (theirs.url() !== place) { await theirs.goto(place); }
      const many = await theirs.locator(button).count();
      if ((many > 0) !== may.includes(right)) { complain(`${login} sees ${many} of ${button} on ${place}`); }
    }
    await other.close();
  }
} catch (error) {
  // What stood there, and not only what was waited for.
  for (const context of browser.contexts()) {
    for (const page of context.pages()) {
      console.error(`${page.url()}\n${await page.locator("main").first().innerText({ timeout: 2000 }).catch(() => "")}`.slice(0, 3000));
    }
  }
  throw error;
} finally {
  await browser.close().catch((error) => complain(`the browser did not end: ${error}`));
  const all = [server, ...others];
  for (const one of all) { one.kill("SIGINT"); }
  await Promise.all(all.map((one) => one.exitCode ?? new Promise((resolve) => { one.once("exit", resolve); })));
  fs.rmSync(work, { recursive: true, force: true });
}
console.log(`${looked} pages looked at, ${failures} complaints`);
process.exit(failures || looked < 100 ? 1 : 0);
