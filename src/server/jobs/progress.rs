//! How far a job is, gathered from what it tells.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

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
    problems: Vec<(String, String)>,
}

impl Progress {
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
        self.words(|words| text.clone_into(&mut words.waiting));
    }

    fn problem(&self, object: &str, text: &str) {
        self.words(|words| {
            if words.problems.len() < MOST_PROBLEMS {
                words.problems.push((object.to_owned(), text.to_owned()));
            }
        });
    }
}
