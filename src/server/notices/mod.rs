//! Reports and notices: what an account's receivers are told of, by mail, webhook or ping.
//!
//! What is to be told is put into the outbox of the database, under the name of its event, so that no receiver is told of one
//! event twice; sending is a thing of its own, tried again until it works or a day has passed. No run waits for any of it.

mod due;
mod events;
mod mail;
mod notice;
mod send;
mod warnings;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::db::in_time;
use super::state::Server;
use crate::error::Result;

pub(crate) use due::first as first_due;
pub(crate) use mail::{MailSecurity, MailSettings, address, keep_settings, settings, test as test_mail};
pub(crate) use notice::Notice;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A clock that goes back by more than this was set.
const JUMP_US: i64 = 60_000_000;

/// How long a pass may take that asks the database alone: one of many receivers and sets takes a while. What is sent, and what storages
/// are asked, have times of their own: let go of, it would be sent twice.
const LONGEST_PASS: Duration = Duration::from_secs(900);

/// How long the database may take for one thing.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);

/// How long a pass may take to end when the server stops.
const LAST_PASS: Duration = Duration::from_secs(10);

/// Starts what this process does of it, until `stop`.
pub(crate) fn start(server: &Arc<Server>, tasks: &TaskTracker, stop: &CancellationToken) {
    if !server.options.role.schedules() {
        return;
    }
    let clock = Arc::new(LastSeen::default());
    tasks.spawn(again(server.clone(), stop.clone(), "Notices cannot be gathered", move |server| {
        let clock = clock.clone();
        async move {
            if clock.went_back(server.now_us()) {
                in_time(LONGEST_PASS, due::put_right(&server)).await.inspect_err(|_| clock.forget())?;
            }
            in_time(LONGEST_PASS, gather(&server)).await
        }
    }));
    tasks.spawn(again(server.clone(), stop.clone(), "Notices cannot be sent", |server| async move {
        send::pass(&server).await
    }));
    tasks.spawn(again(server.clone(), stop.clone(), "Warnings cannot be gathered", |server| async move {
        warnings::pass(&server).await
    }));
}

/// What the clock said last.
struct LastSeen(AtomicI64);

impl Default for LastSeen {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl LastSeen {
    /// Says whether it was set back; at the start nobody knows, and it may have been.
    fn went_back(&self, now_us: i64) -> bool {
        now_us < self.0.swap(now_us, Ordering::Relaxed).saturating_sub(JUMP_US)
    }

    fn forget(&self) {
        self.0.store(i64::MAX, Ordering::Relaxed);
    }
}

/// Puts what happened, and what is due, into the outbox.
pub(crate) async fn gather(server: &Server) -> Result<()> {
    events::pass(server).await?;
    due::pass(server).await
}

async fn again<F: Future<Output = Result<()>>>(
    server: Arc<Server>,
    stop: CancellationToken,
    trouble: &str,
    pass: impl Fn(Arc<Server>) -> F,
) {
    let mut waits = LOOK_EVERY;
    while stop.run_until_cancelled(tokio::time::sleep(waits)).await.is_some() {
        // What is being sent may come to its end: begun anew, it would come twice.
        let last = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_PASS).await;
        };
        let passed = tokio::select! {
            passed = pass(server.clone()) => passed,
            () = last => Ok(()),
        };
        match passed {
            Ok(()) => waits = LOOK_EVERY,
            Err(e) => {
                tracing::error!("{trouble}: {}", e.chain());
                waits = (waits * 2).min(Duration::from_secs(60));
            }
        }
    }
}

/// For tests: one pass of everything that is due.
#[cfg(test)]
pub(crate) async fn pass(server: &Server) -> Result<()> {
    due::put_right(server).await?;
    gather(server).await?;
    warnings::pass(server).await?;
    send::pass(server).await
}
