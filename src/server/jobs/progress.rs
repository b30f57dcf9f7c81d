//! How far a job is, gathered from what it tells.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::graph::Budget;
use crate::monitor::{Counter, Monitor};

/// The counters, with the words for them.
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
/// Problems that are kept.
const MOST_PROBLEMS: usize = 20;
/// Reasons to wait that are told apart.
pub(crate) const MOST_WAITS: usize = 20;

/// Gathers what a job tells.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    counts: [AtomicI64; COUNTERS.len()],
    words: Mutex<Words>,
    budget: Mutex<Option<Arc<Budget>>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { began: Instant::now(), counts: Default::default(), words: Mutex::default(), budget: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct Words {
    phase: String,
    waiting: String,
    /// Since when it waits, and what for.
    since: Option<(Instant, String)>,
    waits: BTreeMap<String, Duration>,
    problems: Vec<(String, String)>,
}

impl Words {
    /// Waits from now on for something else, or for nothing.
    fn wait_for(&mut self, reason: Option<String>) {
        if let Some((since, before)) = self.since.take()
            && (self.waits.contains_key(&before) || self.waits.len() < MOST_WAITS)
        {
            *self.waits.entry(before).or_default() += since.elapsed();
        }
        self.since = reason.map(|reason| (Instant::now(), reason));
    }
}

/// What a text of waiting names, without how long and whose: "the request budget of a mailbox".
fn reason(text: &str) -> Option<String> {
    let what = text.rsplit_once(", ").map_or(text, |(what, _)| what);
    match what.split_once(" of mailbox ") {
        _ if what.is_empty() => None,
        Some((kind, _)) => Some(format!("{kind} of a mailbox")),
        None => Some(what.to_owned()),
    }
}

impl Progress {
    /// Hears what the tenant's budget waits for: that itself tells only whoever made it, the first of those who share it.
    fn listen(&self) {
        let budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(budget) = budget {
            self.waiting(&budget.waiting_text());
        }
    }

    /// How long it waited until now, by what for: microseconds.
    pub(crate) fn waits(&self) -> BTreeMap<String, i64> {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let now = words.since.as_ref().map(|(_, reason)| reason.clone());
        words.wait_for(now);
        let us = |waited: &Duration| i64::try_from(waited.as_micros()).unwrap_or(i64::MAX);
        words.waits.iter().map(|(reason, waited)| (reason.clone(), us(waited))).collect()
    }

    /// Tells from now on what is used of a tenant's budget.
    pub(crate) fn watch(&self, budget: &Arc<Budget>) {
        *self.budget.lock().unwrap_or_else(PoisonError::into_inner) = Some(budget.clone());
    }

    /// What is used of the tenant's budget; nothing where none is asked.
    pub(crate) fn spent(&self) -> Option<Value> {
        let budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let spent = budget.spent();
        Some(spent.iter().map(|one| json!({"what": one.what, "used": one.used, "limit": one.limit})).collect())
    }

    /// How far it is.
    pub(crate) fn as_json(&self) -> Value {
        self.listen();
        let counts: BTreeMap<&str, i64> = COUNTERS
            .iter()
            .zip(&self.counts)
            .map(|((_, name), count)| (*name, count.load(Ordering::Relaxed)))
            .collect();
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let problems: Vec<Value> =
            words.problems.iter().map(|(object, text)| json!({"object": object, "message": text})).collect();
        json!({"counts": counts, "phase": words.phase, "waiting": words.waiting, "problems": problems,
            "seconds": self.began.elapsed().as_secs(), "budget": self.spent()})
    }

    fn words(&self, change: impl FnOnce(&mut Words)) {
        change(&mut self.words.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Monitor for Progress {
    fn add(&self, counter: Counter, by: i64) {
        let place = COUNTERS.iter().position(|(known, _)| *known == counter);
        if let Some(count) = place.and_then(|place| self.counts.get(place)) {
            count.fetch_add(by, Ordering::Relaxed);
        }
    }

    fn phase(&self, text: &str) {
        self.words(|words| text.clone_into(&mut words.phase));
    }

    fn waiting(&self, text: &str) {
        self.words(|words| {
            words.wait_for(reason(text));
            text.clone_into(&mut words.waiting);
        });
    }

    fn problem(&self, object: &str, text: &str) {
        self.words(|words| {
            if words.problems.len() < MOST_PROBLEMS {
                words.problems.push((object.to_owned(), text.to_owned()));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Limits, Scope};
    use crate::monitor::Silent;

    #[test]
    fn waits_are_added_up_by_what_is_waited_for() {
        let progress = Progress::default();
        assert!(progress.waits().is_empty());
        for text in [
            "the request budget of mailbox anna@contoso.com, 12 s",
            "the request budget of mailbox a, b, 9 s (and 2 more)",
            "SharePoint's request budget, 3 s",
            "",
        ] {
            progress.waiting(text);
            std::thread::sleep(Duration::from_millis(2));
        }
        let waits = progress.waits();
        let named: Vec<&str> = waits.keys().map(String::as_str).collect();
        assert_eq!(named, ["SharePoint's request budget", "the request budget of a mailbox"]);
        assert!(waits.values().all(|us| *us >= 2_000) && waits == progress.waits(), "{waits:?}");
    }

    #[tokio::test]
    async fn a_run_hears_of_waits_for_a_budget_that_another_made() {
        let budget = Budget::new(Limits::default(), Arc::new(Silent));
        let progress = Progress::default();
        progress.watch(&budget);
        budget.throttled(&Scope::Files, Duration::from_secs(60), false);
        let of_others = budget.clone();
        let waiting = tokio::spawn(async move { drop(of_others.acquire(&Scope::Files, 1).await) });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let told = progress.as_json();
        assert!(told["waiting"].as_str().is_some_and(|text| text.starts_with("SharePoint")), "{told}");
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(progress.waits().keys().any(|reason| reason.starts_with("SharePoint")));
        waiting.abort();
    }
}
