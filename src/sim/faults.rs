//! Faults on demand. What is hit follows from the seed, the request's path and how often it was asked for,
//! not from the order in which requests happen to come.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::rng::{hash, hash_text};

/// A fault and when it strikes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// Only requests whose path and query contain this text, or, if it ends in a blank, end in it; empty: all Graph and download
    /// requests. For the kinds that belong to items, part of the item's id (of a message: the immutable one) does as well.
    #[serde(default)]
    pub path: String,
    /// How likely it is (0 to 1).
    #[serde(default = "one")]
    pub probability: f64,
    /// How often it strikes at most.
    #[serde(default)]
    pub count: Option<u64>,
}

impl Fault {
    fn is_at(&self, target: &str) -> bool {
        match self.path.strip_suffix(' ') {
            Some(end) => target.ends_with(end),
            None => target.contains(&self.path),
        }
    }
}

fn one() -> f64 {
    1.0
}

/// What happens to a request or an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
#[non_exhaustive]
pub enum FaultKind {
    /// 429 with that `Retry-After` (seconds); negative: without the header.
    TooManyRequests {
        /// Seconds, may have a fraction.
        retry_after: f64,
    },
    /// That status; 503 comes with an empty body, others with Graph's.
    Status {
        /// The status.
        status: u16,
    },
    /// The connection breaks in the middle of the answer.
    Drop,
    /// The body ends early, though `Content-Length` promised more.
    Truncate,
    /// A delta request is answered 410.
    Gone,
    /// The answer takes that much longer.
    Slow {
        /// Milliseconds.
        millis: u64,
    },
    /// A pre-authenticated download URL is refused with 401.
    UrlExpired,
    /// 401: the token is refused as expired.
    TokenExpired,
    /// Contents of a message or file vanished: 404 for ever. With a probability, that share of all items.
    Vanish,
    /// A message that Exchange cannot read: 500 `ErrorCorruptData` for ever.
    Corrupt,
    /// A file whose stated hash is not that of its bytes.
    WrongHash,
}

impl FaultKind {
    /// Says whether the fault belongs to an item, not to a request.
    fn lasting(&self) -> bool {
        matches!(self, Self::Vanish | Self::Corrupt | Self::WrongHash)
    }
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    struck: u64,
    tries: HashMap<u64, u64>,
}

/// The faults now armed.
#[derive(Debug)]
pub(super) struct Faults {
    seed: u64,
    armed: Mutex<Vec<Armed>>,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, armed: Mutex::new(Vec::new()) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arm(&self, fault: Fault) {
        self.lock().push(Armed { fault, struck: 0, tries: HashMap::new() });
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// How many faults struck.
    pub(super) fn struck(&self) -> u64 {
        self.lock().iter().map(|a| a.struck).sum()
    }

    /// The fault that strikes this request, if one does.
    pub(super) fn strike(&self, path: &str, suits: impl Fn(&FaultKind) -> bool) -> Option<FaultKind> {
        let mut armed = self.lock();
        for (number, a) in armed.iter_mut().enumerate() {
            let spent = a.fault.count.is_some_and(|most| a.struck >= most);
            if spent || a.fault.kind.lasting() || !suits(&a.fault.kind) || !a.fault.is_at(path) {
                continue;
            }
            let key = hash_text(self.seed, path);
            let tries = a.tries.entry(key).or_insert(0);
            *tries += 1;
            if (hash(key, &[number as u64, *tries]) >> 11) as f64 / (1u64 << 53) as f64 >= a.fault.probability {
                continue;
            }
            a.struck += 1;
            return Some(a.fault.kind.clone());
        }
        None
    }

    /// Says whether an item suffers from a lasting fault. The fault's `path` may be part of the item's id or of
    /// the request; with a probability, a share of all items is hit.
    pub(super) fn afflicts(&self, kind: &FaultKind, id: &str, target: &str) -> bool {
        self.lock().iter_mut().enumerate().any(|(number, a)| {
            let chosen = hash(hash_text(self.seed, id), &[number as u64, 0xaf]);
            let hit = a.fault.kind == *kind
                && (id.contains(&a.fault.path) || target.contains(&a.fault.path))
                && (chosen >> 11) as f64 / (1u64 << 53) as f64 <= a.fault.probability;
            a.struck += u64::from(hit);
            hit
        })
    }
}
