//! How often and after how long a failed attempt is repeated.

use std::time::Duration;

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
