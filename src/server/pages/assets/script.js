// Comfort for the pages; all of them work without it.
"use strict";

// Times in the reader's own zone.
for (const element of document.querySelectorAll("time[datetime]")) {
  const time = new Date(element.dateTime);
  if (!Number.isNaN(time.getTime())) {
    element.title = element.textContent;
    element.textContent = time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  }
}

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
    const progress = JSON.parse(event.data).progress;
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
