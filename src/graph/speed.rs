//! A limit on the bytes a second that come from Graph, shared by all clients that are given it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How far ahead of its rate a burst may run.
const BURST: Duration = Duration::from_secs(1);

/// Lets bytes pass at a rate. An answer of any size passes; what comes next waits for the debt that it leaves.
#[derive(Debug)]
pub struct SpeedLimit {
    bytes_per_second: u64,
    /// When the bytes let through so far would have passed at the rate.
    paid_until: Mutex<Option<Instant>>,
}

impl SpeedLimit {
    /// Makes a limit; a rate of 0 counts as 1.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_until: Mutex::new(None) }
    }

    /// The rate.
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Notes bytes that came, and says until when nothing more is to be taken.
    pub(crate) fn reserve(&self, now: Instant, bytes: usize) -> Instant {
        let seconds = bytes as f64 / self.bytes_per_second as f64;
        let cost = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4);
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let start = paid_until.map_or(now, |until| until.max(now));
        let paid = start.checked_add(cost).unwrap_or(start);
        *paid_until = Some(paid);
        paid.checked_sub(BURST).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_at_the_rate_on_average_however_many_share_it() {
        let limit = SpeedLimit::new(1000);
        let begin = Instant::now();
        let mut readers = [begin; 5];
        for _ in 0..20 {
            for now in &mut readers {
                *now = (*now).max(limit.reserve(*now, 2000));
            }
        }
        let last = readers.into_iter().max().map_or(0, |at| at.duration_since(begin).as_secs());
        assert!((198..=200).contains(&last), "200,000 bytes at 1000 a second took {last} s");
    }

    #[tokio::test]
    async fn who_was_idle_waits_for_nothing_but_a_burst_is_paid_for() {
        let limit = SpeedLimit::new(10);
        let now = Instant::now();
        assert!(limit.reserve(now, 5) <= now);
        assert!(limit.reserve(now, 1_000_000) > now + Duration::from_secs(90_000));
        assert!(limit.reserve(now + Duration::from_secs(200_000), 1) <= now + Duration::from_secs(200_000));
    }
}
