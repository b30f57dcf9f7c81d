//! The road of every OpenDAL operation, composed here and nowhere else.
//!
//! From outside in:
//! 1. **Retry** (exponential, jittered) sees every failure of what lies below.
//! 2. **ConcurrentLimit**: one permit an operation, kept through its pauses, so that a struggling service gets less.
//! 3. **Throttle** delays writes. Below retry: bytes sent twice count twice.
//! 4. **Timeout**, innermost, so that it measures the service alone: each try has its own time, and the wait for
//!    a permit or for bandwidth does not count. (Round the retry it would also drop a retry in the middle, which
//!    OpenDAL's own notes on the layer warn of.)

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use opendal::Operator;
use opendal::layers::{ConcurrentLimitLayer, RetryEvent, RetryInterceptor, RetryLayer, ThrottleLayer, TimeoutLayer};

use super::failure::{NO_CONNECTION, lacks_ssh};
use super::options::StorageOptions;

/// The largest piece that a file is handed to a service in. Larger files go in several (multipart upload).
pub(super) const PIECE_BYTES: usize = 32 * 1024 * 1024;
/// The same under a bandwidth limit: also the throttle's burst, for it refuses a write that is larger.
pub(super) const LIMITED_PIECE_BYTES: usize = 8 * 1024 * 1024;

tokio::task_local! {
    /// Set when a request of the current operation had to be sent again.
    pub(super) static RETRIED: Cell<bool>;
}

/// Says whether the service takes a file in pieces; one that does not cannot be throttled in the middle.
pub(super) fn takes_pieces(operator: &Operator) -> bool {
    operator.info().capability().write_can_multi
}

/// The piece size that [`on`] makes room for.
pub(super) fn piece_bytes(operator: &Operator, options: &StorageOptions) -> usize {
    match (takes_pieces(operator), options.upload_bytes_per_second) {
        (false, _) => usize::MAX,
        (true, None) => PIECE_BYTES,
        (true, Some(_)) => LIMITED_PIECE_BYTES,
    }
}

/// The shortest and the longest pause before a request is sent again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Runs an operation, and again, with growing pauses, where no SSH connection came about: OpenDAL takes that for a
/// failure that time does not cure, and its retry layer lets it pass.
pub(super) async fn connected<T, F: Future<Output = opendal::Result<T>>>(
    retries: usize,
    operation: impl Fn() -> F,
) -> opendal::Result<T> {
    let mut pause = PAUSES.0;
    for attempt in 1..=retries {
        match operation().await {
            Err(e) if e.message() == NO_CONNECTION && !lacks_ssh(&e) => {
                let _ = RETRIED.try_with(|retried| retried.set(true));
                tracing::debug!(attempt, ?pause, "connecting again");
                tokio::time::sleep(pause.mul_f32(rand::random_range(1.0..2.0))).await;
                pause = (pause * 2).min(PAUSES.1);
            }
            done => return done,
        }
    }
    operation().await
}

/// Puts the layers round a service.
pub(super) fn on(operator: Operator, options: &StorageOptions) -> Operator {
    let timeout = TimeoutLayer::new().with_timeout(options.timeout).with_io_timeout(options.io_timeout);
    let retry = RetryLayer::new()
        .with_max_times(options.retries)
        .with_min_delay(PAUSES.0)
        .with_max_delay(PAUSES.1)
        .with_jitter()
        .with_notify(NoteRetry);
    limits(operator.layer(timeout), options).layer(retry)
}

/// Puts the layers round a disk of this machine: no retry, for after a failed sync a second one succeeds though the data
/// are lost; and no timeout, for a system call cannot be taken back.
pub(super) fn on_disk(operator: Operator, options: &StorageOptions) -> Operator {
    limits(operator, options)
}

fn limits(operator: Operator, options: &StorageOptions) -> Operator {
    let pieces = takes_pieces(&operator);
    let operator = match options.upload_bytes_per_second {
        Some(rate) if pieces => {
            let rate = u32::try_from(rate.max(1)).unwrap_or(u32::MAX);
            operator.layer(ThrottleLayer::new(rate, rate.max(LIMITED_PIECE_BYTES as u32)))
        }
        _ => operator,
    };
    operator.layer(ConcurrentLimitLayer::new(options.concurrency.max(1)))
}

/// Notes a retry for the operation in hand, and logs it without the address, which may hold a signature.
struct NoteRetry;

impl RetryInterceptor for NoteRetry {
    fn intercept(&self, event: RetryEvent<'_>) {
        let _ = RETRIED.try_with(|retried| retried.set(true));
        tracing::debug!(operation = ?event.op, attempt = event.attempt, pause = ?event.retry_after, kind = %event.err.kind(), "trying again");
    }
}
