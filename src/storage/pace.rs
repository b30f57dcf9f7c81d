//! A bandwidth limit for what OpenDAL's throttle does not cover: reading, and services that take a file only whole.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How far ahead of its rate a pace lets a burst run.
const BURST: Duration = Duration::from_secs(1);

/// Lets bytes pass at a rate. A transfer of any size passes; the next one waits for the debt it leaves.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: f64,
    /// When the bytes let through so far would have passed at the rate.
    paid_until: Mutex<Option<Instant>>,
}

impl Pace {
    /// Makes a pace; a rate of 0 counts as 1.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1) as f64, paid_until: Mutex::new(None) }
    }

    /// Waits until `bytes` more may pass.
    pub(super) async fn take(&self, bytes: usize) {
        let wait = self.reserve(Instant::now(), bytes);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn reserve(&self, now: Instant, bytes: usize) -> Duration {
        let cost = Duration::try_from_secs_f64(bytes as f64 / self.bytes_per_second).unwrap_or(Duration::MAX / 4);
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let start = paid_until.map_or(now, |until| until.max(now));
        let wait = start.duration_since(now).saturating_sub(BURST);
        *paid_until = Some(start.checked_add(cost).unwrap_or(start));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_pass_at_the_rate_on_average() {
        let pace = Pace::new(1000);
        let mut now = Instant::now();
        let begin = now;
        for _ in 0..50 {
            now += pace.reserve(now, 4000);
        }
        let seconds = now.duration_since(begin).as_secs();
        assert!((190..=200).contains(&seconds), "200,000 bytes at 1000 a second took {seconds} s");
    }

    #[tokio::test]
    async fn an_idle_pace_makes_no_one_wait() {
        let pace = Pace::new(10);
        let now = Instant::now();
        assert_eq!(pace.reserve(now, 1_000_000), Duration::ZERO);
        assert!(pace.reserve(now, 1) > Duration::from_secs(90_000));
        assert_eq!(pace.reserve(now + Duration::from_secs(200_000), 1), Duration::ZERO);
    }
}
