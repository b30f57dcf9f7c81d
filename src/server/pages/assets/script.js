// Comfort for the pages; all of them work without it.
"use strict";

// Times in the reader's own zone.
const ownTimes = (within) => {
  for (const element of within.querySelectorAll("time[datetime]")) {
    const time = new Date(element.dateTime);
    if (!Number.isNaN(time.getTime())) {
      element.title = element.textContent;
      element.textContent = time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    }
  }
};
ownTimes(document);

// On a phone the navigation is a line: where one is should be in sight.
document.querySelector("nav a[aria-current=page]")?.scrollIntoView({ block: "nearest", inline: "center" });

// A form is sent once, however often its button is pressed.
for (const form of document.querySelectorAll("form[method=post]:not([data-again])")) {
  form.addEventListener("submit", () => {
    for (const button of form.querySelectorAll("button[type=submit]")) {
      setTimeout(() => { button.disabled = true; }, 0);
    }
  });
}

// How far a job is, as it goes on.
const job = document.querySelector("#job[data-events]");
if (job) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  const size = (bytes) => {
    let unit = 0;
    while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
    return `${unit === 0 || bytes >= 100 ? bytes.toFixed(0) : bytes.toFixed(1)} ${units[unit]}`;
  };
  const source = new EventSource(job.dataset.events);
  source.addEventListener("progress", (event) => {
    const { state, started_us: startedUs, progress } = JSON.parse(event.data);
    const badge = document.querySelector("#state > *");
    if (badge && state === "running") { badge.textContent = "running"; }
    const began = document.getElementById("began");
    if (began && began.hidden && startedUs) {
      const time = document.createElement("time");
      time.dateTime = new Date(startedUs / 1000).toISOString();
      time.textContent = time.dateTime;
      began.querySelector("dd").replaceChildren(time);
      ownTimes(began);
      began.hidden = false;
    }
    if (!progress) { return; }
    const say = (id, text) => {
      const element = document.getElementById(id);
      if (element && element.textContent !== text) { element.textContent = text; }
    };
    say("phase", progress.phase);
    say("waiting", progress.waiting ? `Waits: ${progress.waiting}` : "");
    for (const element of job.querySelectorAll("[data-count]")) {
      element.textContent = (progress.counts[element.dataset.count] || 0).toLocaleString();
    }
    if (progress.seconds > 0) { say("rate", Math.floor((progress.counts.items || 0) / progress.seconds).toLocaleString()); }
    for (const element of job.querySelectorAll("[data-left]")) {
      const one = (progress.budget || []).find((one) => one.what === element.dataset.left);
      if (one) { element.textContent = `${Math.max(0, one.limit - one.used).toLocaleString()} of ${one.limit.toLocaleString()}`; }
    }
    for (const element of job.querySelectorAll("[data-spent]")) {
      const one = (progress.budget || []).find((one) => one.what === element.dataset.spent);
      if (one) { element.textContent = `${one.used.toLocaleString()} of ${one.limit.toLocaleString()}`; }
    }
    for (const element of job.querySelectorAll("[data-bytes]")) {
      element.textContent = size(progress.counts[element.dataset.bytes] || 0);
    }
    const bar = document.getElementById("bar");
    if (bar) {
      const [done, all] = progress.counts.collections_total > 0 ? ["collections", "collections_total"] : ["items", "items_total"];
      bar.max = Math.max(1, progress.counts[all] || 0);
      bar.value = progress.counts[done] || 0;
    }
  });
  source.addEventListener("end", () => { source.close(); location.reload(); });
}

// Whether a code was typed at Microsoft.
const signIn = document.querySelector("#sign-in[data-poll]");
if (signIn) {
  const again = () => { setTimeout(ask, Math.max(1, Number(signIn.dataset.wait) || 5) * 1000); };
  const ask = async () => {
    try {
      const answer = await fetch(signIn.dataset.poll, { headers: { accept: "application/json" } });
      if (answer.status >= 500 || (answer.ok && (await answer.json()).state === "open")) { again(); return; }
    } catch {
      again();
      return;
    }
    location.reload();
  };
  again();
}

// A step of a backup set: what is ticked, opened or typed is taken over where it stands. The server makes the same page as without a
// script; of that, this takes what stands in #step.
const step = document.getElementById("step");
if (step && step.querySelector("form[data-step]")) {
  let running = null;
  let waiting = null;
  // A zone that nobody chose yet is the reader's own.
  const zone = step.querySelector("input[data-zone]");
  if (zone && zone.value === "UTC") {
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (own && [...step.querySelectorAll("#zones option")].some((option) => option.value === own)) { zone.value = own; }
  }
  const typing = (element) => element && step.contains(element) && element.matches("textarea, input:not([type=checkbox], [type=radio], [type=hidden])");
  const show = (page) => {
    const fresh = page.getElementById("step");
    if (!fresh) { step.querySelector("form[data-step]").removeAttribute("aria-busy"); return; }
    const before = document.activeElement;
    const id = before && step.contains(before) ? before.id : "";
    const open = [...step.querySelectorAll("details")].map((details) => details.open);
    // Whoever types goes on typing.
    const typed = id && typing(before) ? { value: before.value, from: before.selectionStart, to: before.selectionEnd } : null;
    step.replaceChildren(...fresh.childNodes);
    // Why the form was refused stands above the step, until it is taken.
    const [old, told] = [document, page].map((of) => of.getElementById("refused"));
    if (old) { old.remove(); }
    if (told) { document.querySelector("main").prepend(told); }
    const details = step.querySelectorAll("details");
    if (details.length === open.length) { details.forEach((element, n) => { element.open = element.open || open[n]; }); }
    ownTimes(step);
    const after = id ? document.getElementById(id) : null;
    if (after) {
      after.focus({ preventScroll: true });
      if (typed && typing(after)) {
        after.value = typed.value;
        if (typed.from !== null && after.setSelectionRange) { after.setSelectionRange(typed.from, typed.to); }
      }
    }
    wait();
  };
  const send = async (button) => {
    clearTimeout(waiting);
    if (running) { running.abort(); }
    const turn = new AbortController();
    running = turn;
    const form = step.querySelector("form[data-step]");
    const body = new URLSearchParams(new FormData(form));
    body.append("do", button ? button.value : "stay");
    form.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.action, { method: "POST", body, signal: turn.signal, headers: { Accept: "text/html" } });
      if (answer.redirected) { location.href = answer.url; return; }
      const text = await answer.text();
      if (running === turn) { show(new DOMParser().parseFromString(text, "text/html")); }
    } catch (error) {
      // The buttons still work by themselves.
      if (error.name !== "AbortError") { form.removeAttribute("aria-busy"); }
    }
  };
  const soon = (milliseconds) => { clearTimeout(waiting); waiting = setTimeout(() => send(null), milliseconds); };
  // Microsoft is being asked: look again.
  const wait = () => { if (step.querySelector("[data-asking]")) { soon(2000); } };
  step.addEventListener("submit", (event) => {
    const button = event.submitter;
    clearTimeout(waiting);
    if (button && button.hasAttribute("data-inplace")) {
      event.preventDefault();
      send(button);
    } else if (running) {
      running.abort();
    }
  });
  step.addEventListener("change", (event) => { if (event.target.hasAttribute("data-stay")) { send(null); } });
  step.addEventListener("input", (event) => { if (event.target.hasAttribute("data-typed")) { soon(700); } });
  wait();
}
