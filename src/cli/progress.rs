//! Shows how a running operation gets on: a line at the bottom of a terminal, JSON lines, or nothing.
//!
//! Events come often and from many threads, so they only count; what is shown is drawn at intervals, by
//! whichever thread notices that it is time.

use std::io::{IsTerminal as _, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::cli::output;
use crate::monitor::{Counter, Monitor};

#[cfg(test)]
mod tests;

/// How often a terminal is drawn, and how often a status line is written as JSON.
const DRAW_EVERY: Duration = Duration::from_millis(100);
const JSON_EVERY: Duration = Duration::from_secs(1);

/// The counters, in the order of their slots, with their names in JSON.
const COUNTERS: [(Counter, &str); 10] = [
    (Counter::Items, "items"),
    (Counter::ItemsTotal, "items_total"),
    (Counter::BytesRead, "bytes_read"),
    (Counter::BytesTotal, "bytes_total"),
    (Counter::BytesStored, "bytes_stored"),
    (Counter::Requests, "requests"),
    (Counter::Throttled, "throttled"),
    (Counter::Collections, "collections"),
    (Counter::CollectionsTotal, "collections_total"),
    (Counter::Gaps, "gaps"),
];

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// Nothing but problems (`--quiet`: not even these).
    Silent,
    /// A line that is drawn again and again at the bottom of the terminal.
    Terminal,
    /// A JSON object a line.
    Json,
}

impl Display {
    /// Chooses what fits the options and whether stderr is a terminal.
    pub fn choose(json: bool, quiet: bool) -> Self {
        match (json, quiet) {
            (_, true) => Self::Silent,
            (true, false) => Self::Json,
            (false, false) if std::io::stderr().is_terminal() => Self::Terminal,
            (false, false) => Self::Silent,
        }
    }
}

/// What an operation has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    counts: [i64; COUNTERS.len()],
    /// What is being done, in words.
    pub phase: String,
    /// What is being waited for, in words; empty: nothing.
    pub waiting: String,
    /// For how long it has been running.
    pub elapsed: Duration,
}

impl Status {
    /// A count; one below zero reads as zero.
    pub fn count(&self, counter: Counter) -> u64 {
        let slot = slot(counter).and_then(|slot| self.counts.get(slot)).copied();
        u64::try_from(slot.unwrap_or(0)).unwrap_or(0)
    }

    /// How much is done, from 0 to 1: by bytes if their total is known, else by items, else by collections.
    pub fn fraction(&self) -> Option<f64> {
        let pairs = [
            (Counter::BytesRead, Counter::BytesTotal),
            (Counter::Items, Counter::ItemsTotal),
            (Counter::Collections, Counter::CollectionsTotal),
        ];
        let (done, total) = pairs.iter().map(|&(d, t)| (self.count(d), self.count(t))).find(|&(_, total)| total > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a fraction for people")]
        Some((done.min(total) as f64) / (total as f64))
    }

    /// How long it will go on at this pace; unknown at the very beginning.
    pub fn time_left(&self) -> Option<Duration> {
        let fraction = self.fraction()?;
        if self.elapsed < Duration::from_secs(2) || fraction < 0.005 {
            return None;
        }
        Duration::try_from_secs_f64(self.elapsed.as_secs_f64() * (1.0 - fraction) / fraction).ok()
    }

    fn a_second(&self, counter: Counter) -> u64 {
        let millis = self.elapsed.as_millis().max(1);
        u64::try_from(u128::from(self.count(counter)) * 1000 / millis).unwrap_or(u64::MAX)
    }

    /// One line for people: `[1:02] 12.5%  1,234/9,876 items  20 items/s  …`.
    pub fn line(&self) -> String {
        let mut parts = vec![format!("[{}]", output::duration(self.elapsed))];
        if let Some(fraction) = self.fraction() {
            parts.push(format!("{:.1}%", (fraction * 1000.0).floor() / 10.0));
        }
        let (items, total) = (self.count(Counter::Items), self.count(Counter::ItemsTotal));
        parts.push(if total > 0 {
            format!("{}/{}", output::number(items), output::count(total, "item", "items"))
        } else {
            output::count(items, "item", "items")
        });
        if items > 0 {
            parts.push(format!("{} items/s", output::number(self.a_second(Counter::Items))));
        }
        let (read, stored) = (self.count(Counter::BytesRead), self.count(Counter::BytesStored));
        if read > 0 {
            parts.push(format!("{} ({}/s)", output::size(read), output::size(self.a_second(Counter::BytesRead))));
        }
        if stored > 0 {
            parts.push(format!("{} stored", output::size(stored)));
        }
        let requests = self.count(Counter::Requests);
        if requests > 0 {
            parts.push(output::count(requests, "request", "requests"));
        }
        let gaps = self.count(Counter::Gaps);
        if gaps > 0 {
            parts.push(output::count(gaps, "gap", "gaps"));
        }
        if let Some(left) = self.time_left() {
            parts.push(format!("{} left", output::duration(left)));
        }
        if !self.waiting.is_empty() {
            parts.push(format!("waiting: {}", output::plain(&self.waiting)));
        } else if !self.phase.is_empty() {
            parts.push(output::plain(&self.phase));
        }
        parts.join("  ")
    }

    /// The same for programs; counts that are zero are left out.
    pub fn json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("seconds_elapsed".into(), self.elapsed.as_secs().into());
        if let Some(left) = self.time_left() {
            fields.insert("seconds_remaining".into(), left.as_secs().into());
        }
        if let Some(fraction) = self.fraction() {
            fields.insert("fraction_done".into(), ((fraction * 10_000.0).floor() / 10_000.0).into());
        }
        for (counter, name) in COUNTERS {
            let count = self.count(counter);
            if count > 0 {
                fields.insert(name.into(), count.into());
            }
        }
        for (name, text) in [("phase", &self.phase), ("waiting", &self.waiting)] {
            if !text.is_empty() {
                fields.insert(name.into(), text.as_str().into());
            }
        }
        Value::Object(fields)
    }
}

fn slot(counter: Counter) -> Option<usize> {
    COUNTERS.iter().position(|(known, _)| *known == counter)
}

/// Shows the events of an operation.
pub struct ProgressMonitor {
    display: Display,
    report_problems: bool,
    began: Instant,
    counts: [AtomicI64; COUNTERS.len()],
    texts: Mutex<Texts>,
    /// When to show the status next, in milliseconds after `began`.
    next_ms: AtomicU64,
    bar: ProgressBar,
    out: Mutex<Box<dyn Write + Send>>,
}

#[derive(Default)]
struct Texts {
    phase: String,
    waiting: String,
}

impl ProgressMonitor {
    /// Begins to show an operation: on a terminal on stderr, as JSON on stdout. `quiet`: also no problems.
    pub fn new(display: Display, quiet: bool) -> Self {
        let out: Box<dyn Write + Send> =
            if display == Display::Json { Box::new(std::io::stdout()) } else { Box::new(std::io::stderr()) };
        Self::with_output(display, quiet, out)
    }

    fn with_output(display: Display, quiet: bool, out: Box<dyn Write + Send>) -> Self {
        let bar = match display {
            Display::Terminal => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            Display::Silent | Display::Json => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        if display == Display::Terminal {
            // Draws on while nothing happens, so that the time goes on.
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self {
            display,
            report_problems: !quiet,
            began: Instant::now(),
            counts: Default::default(),
            texts: Mutex::default(),
            next_ms: AtomicU64::new(0),
            bar,
            out: Mutex::new(out),
        }
    }

    /// What has been done so far.
    pub fn status(&self) -> Status {
        let counts = std::array::from_fn(|slot| self.counts.get(slot).map_or(0, |c| c.load(Ordering::Relaxed)));
        let (phase, waiting) =
            self.texts.lock().map_or_else(|_| Default::default(), |t| (t.phase.clone(), t.waiting.clone()));
        Status { counts, phase, waiting, elapsed: self.began.elapsed() }
    }

    /// Takes the line off the terminal. What is printed after it stands by itself.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Prints a line for people above the progress line; nothing with JSON.
    pub fn say(&self, line: &str) {
        match self.display {
            Display::Json => {}
            Display::Terminal => self.bar.suspend(|| self.write(line)),
            Display::Silent => self.write(line),
        }
    }

    fn write(&self, line: &str) {
        if let Ok(mut out) = self.out.lock() {
            // Progress that cannot be shown stops nothing.
            let _ = writeln!(out, "{line}");
        }
    }

    fn write_json(&self, message_type: &str, value: &Value) {
        if let Ok(mut out) = self.out.lock() {
            let _ = output::write_json(&mut **out, message_type, value);
        }
    }

    /// Shows the status if it is time.
    fn show(&self) {
        let every = match self.display {
            Display::Silent => return,
            Display::Terminal => DRAW_EVERY,
            Display::Json => JSON_EVERY,
        };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.began.elapsed());
        let due = self.next_ms.load(Ordering::Relaxed);
        let next = now.saturating_add(millis(every));
        if now < due || self.next_ms.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        if self.display == Display::Json {
            self.write_json("status", &self.status().json());
        } else {
            self.bar.set_message(self.status().line());
        }
    }
}

impl Monitor for ProgressMonitor {
    fn add(&self, counter: Counter, by: i64) {
        if let Some(count) = slot(counter).and_then(|slot| self.counts.get(slot)) {
            count.fetch_add(by, Ordering::Relaxed);
        }
        self.show();
    }

    fn phase(&self, text: &str) {
        if let Ok(mut texts) = self.texts.lock() {
            text.clone_into(&mut texts.phase);
        }
        self.show();
    }

    fn waiting(&self, text: &str) {
        if let Ok(mut texts) = self.texts.lock() {
            text.clone_into(&mut texts.waiting);
        }
        self.show();
    }

    fn problem(&self, object: &str, text: &str) {
        if !self.report_problems {
            return;
        }
        if self.display == Display::Json {
            self.write_json("error", &json!({"object": object, "message": text}));
        } else {
            self.say(&format!("{}: {}", output::plain(object), output::plain(text)));
        }
    }
}
