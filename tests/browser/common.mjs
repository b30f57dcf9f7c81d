// What the walk through the pages and the making of their pictures share: a server to look at, Debian's Chromium, signing in.
import { spawn } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

// What a folder of Node modules has.
export const modulesIn = (folder) => createRequire(path.join(path.resolve(folder), "x.js"));

// Starts `PROGRAM server`; gives the process, and what it says of itself once it serves.
export const startServer = (program, options) => start(program, ["server", "--listen", "127.0.0.1:0", "--json", ...options]);

// Starts a small simulated tenant; gives its app's secret too, which it writes beside the configuration.
export async function startSim(program, config) {
  const made = await start(program, ["sim", "--port", "0", "--json", "--config-out", config]);
  return { ...made, secret: fs.readFileSync(path.join(path.dirname(config), "sim.secret"), "utf8").trim() };
}

async function start(program, options) {
  const server = spawn(program, options, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  for await (const piece of server.stdout) {
    text += piece;
    const line = text.split("\n").find((found) => found.includes('"status"') && found.endsWith("}"));
    if (line) { return { server, status: JSON.parse(line) }; }
  }
  throw new Error(`the server ended: ${text}`);
}

export function launchBrowser(chromium) {
  return chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

export async function signIn(page, base, login, password) {
  await page.goto(`${base}/sign-in`);
  await page.fill("#login", login);
  await page.fill("#password", password);
  await page.click("button[type=submit]");
  await page.waitForURL((url) => !url.pathname.startsWith("/sign-in"));
}

// Events and contacts in a list.
export const ITEMS = 'tbody a:has-text(".ics"), tbody a:has-text(".vcf")';

// Goes down from a folder to the first in which there are any; some calendars are empty.
export async function toItems(page) {
  for (let depth = 0; depth < 4; depth += 1) {
    if (await page.locator(ITEMS).count() > 0) { return true; }
    const inside = await page.$$eval("tbody a", (all) => all.filter((a) => a.textContent.endsWith("/")).map((a) => a.href));
    let found = false;
    for (const href of inside) {
      await page.goto(href);
      found = await page.locator("tbody a").count() > 0;
      if (found) { break; }
    }
    if (!found) { return false; }
  }
  return false;
}
