//! How often and after how long a failed attempt is repeated, and what servers say about it.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::budget::RateLimit;

/// How often a request is repeated, and how long is waited in between when the server does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOptions {
    /// Attempts in all after failures of the server or network (502, 503, 504, 509, cut answers, timeouts).
    pub attempts: u32,
    /// Attempts in all when the answer is 500.
    pub attempts_internal: u32,
    /// Attempts in all when the answer is 429: the waits are long, and then it works.
    pub attempts_throttled: u32,
    /// The first wait; doubles each time, with jitter.
    pub base: Duration,
    /// The longest wait that is our own choice.
    pub longest: Duration,
    /// The longest wait that a server may ask for.
    pub longest_asked: Duration,
    /// How long an answer may take to begin, and to go on.
    pub timeout: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            attempts: 8,
            attempts_internal: 4,
            attempts_throttled: 20,
            base: Duration::from_millis(500),
            longest: Duration::from_secs(60),
            longest_asked: Duration::from_secs(3600),
            timeout: Duration::from_secs(100),
        }
    }
}

impl RetryOptions {
    /// How long to wait after the n-th attempt (from 1): as the server asked, plus a little so that not all come back at
    /// once; else doubling, of which the upper half is chance.
    pub(crate) fn wait(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let chance: f64 = rand::random();
        match asked {
            Some(asked) => {
                let asked = asked.min(self.longest_asked);
                asked + (asked / 20).min(Duration::from_secs(1)).mul_f64(chance)
            }
            None => {
                let doubled = self.base.saturating_mul(1_u32 << attempt.saturating_sub(1).min(20)).min(self.longest);
                doubled.mul_f64(0.5 + chance / 2.0)
            }
        }
    }
}

/// A random id in the form of a UUID (version 4).
pub(crate) fn random_id() -> String {
    let bits: u128 = (rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// How long the answer asks to wait: the larger of `Retry-After` and, if nothing remains, `RateLimit-Reset`.
pub(crate) fn asked_wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let retry_after = text(headers, RETRY_AFTER.as_str()).and_then(|value| parse_retry_after(value, now));
    let reset = rate_limit(headers).map(|seen| seen.reset);
    retry_after.max(reset)
}

/// Reads `Retry-After`: seconds, maybe fractional, or an HTTP date (RFC 9110, section 10.2.3).
fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let then = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
}

/// Reads `RateLimit-Limit`, `-Remaining` and `-Reset`; `None` unless the last two are there.
pub(crate) fn rate_limit(headers: &HeaderMap) -> Option<RateLimit> {
    let number = |name| text(headers, name).and_then(|value| value.trim().parse::<f64>().ok()).filter(|n| *n >= 0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float-to-integer cast saturates")]
    let whole = |n: f64| n as u32;
    Some(RateLimit {
        limit: number("ratelimit-limit").map(whole),
        remaining: whole(number("ratelimit-remaining")?),
        reset: Duration::try_from_secs_f64(number("ratelimit-reset")?).ok()?,
    })
}

pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn asked(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        asked_wait(&headers(pairs), "2026-11-23T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn retry_after_may_be_fractional_or_a_date() {
        assert_eq!(asked(&[("retry-after", "2.128")]), Some(Duration::from_millis(2128)));
        assert_eq!(asked(&[("retry-after", "31")]), Some(Duration::from_secs(31)));
        assert_eq!(asked(&[("retry-after", "Mon, 23 Nov 2026 10:00:42 GMT")]), Some(Duration::from_secs(42)));
        assert_eq!(asked(&[("retry-after", "Mon, 23 Nov 2026 09:00:00 GMT")]), Some(Duration::ZERO));
        for bad in ["", "soon", "NaN", "inf", "-inf"] {
            assert!(asked(&[("retry-after", bad)]).is_none_or(|d| d == Duration::ZERO), "{bad}");
        }
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn the_larger_of_retry_after_and_reset_counts() {
        let both =
            |after, reset| asked(&[("retry-after", after), ("ratelimit-remaining", "0"), ("ratelimit-reset", reset)]);
        assert_eq!(both("10", "31"), Some(Duration::from_secs(31)));
        assert_eq!(both("40", "31"), Some(Duration::from_secs(40)));
    }

    #[test]
    fn waits_double_up_to_the_longest_and_obey_the_server() {
        let retry = RetryOptions::default();
        for (attempt, whole) in [(1, 500), (2, 1000), (3, 2000), (12, 60_000), (u32::MAX, 60_000)] {
            let wait = retry.wait(attempt, None);
            assert!(
                wait >= Duration::from_millis(whole / 2) && wait <= Duration::from_millis(whole),
                "{attempt} {wait:?}"
            );
        }
        assert!(retry.wait(1, Some(Duration::from_secs(9))) >= Duration::from_secs(9));
        assert!(retry.wait(1, Some(Duration::MAX)) <= retry.longest_asked + Duration::from_secs(1));
    }

    #[test]
    fn random_ids_look_like_uuids() {
        let id = random_id();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        assert_ne!(id, random_id());
    }
}
