//! What a client did so far, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a client did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GraphStats {
    /// Requests as Microsoft counts them, each attempt and each part of a batch counted, sign-in not.
    pub requests: u64,
    /// Round trips: a batch is one.
    pub round_trips: u64,
    /// Of them answered 429 or 503.
    pub throttled: u64,
    /// Attempts that were repeated, for any reason.
    pub retried: u64,
    /// Bytes of bodies received, as decompressed.
    pub bytes: u64,
    /// Time spent waiting for budgets and between attempts, added up over all tasks.
    pub waited: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct StatsCells {
    pub(crate) requests: AtomicU64,
    pub(crate) round_trips: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) waited_us: AtomicU64,
}

impl StatsCells {
    pub(crate) fn snapshot(&self) -> GraphStats {
        GraphStats {
            requests: self.requests.load(Ordering::Relaxed),
            round_trips: self.round_trips.load(Ordering::Relaxed),
            throttled: self.throttled.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            waited: Duration::from_micros(self.waited_us.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn add_waited(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.waited_us.fetch_add(us, Ordering::Relaxed);
    }
}
