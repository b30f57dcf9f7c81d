//! Takes jobs from the queue and does them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::progress::Progress;
use super::{backup, restore, upkeep};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::backup::Stop;
use crate::server::db::{AtOnce, Job, JobKind, JobState, in_time, is_away};
use crate::server::error::told;
use crate::server::id::Id;
use crate::server::state::Server;

/// How long a job is a worker's without a word.
pub(super) const LEASE_US: i64 = 30_000_000;
/// How often a worker gives word.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often an idle worker looks for work that others put into the queue, or made room for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the database may take to give a job or to hear of one: by then the job is not this worker's any more.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);
/// How often something is done anew because the database is away, and how long it waits in between: for ten minutes.
const TRIES: u32 = 300;
const BETWEEN: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 2_000 });
/// Backups of one tenant at once, over all workers: they share its limits.
pub(crate) const BACKUPS_OF_TENANT: i64 = 2;

/// A job in a worker's hands.
pub(super) struct Task {
    /// The job.
    pub(super) job: Job,
    /// Hears how far it is.
    pub(super) progress: Arc<Progress>,
    /// Thrown when it is to come to an end.
    pub(super) stop: Stop,
}

/// What came of a job.
pub(crate) struct Ended {
    /// How it stands.
    pub(crate) state: JobState,
    /// Facts.
    pub(crate) outcome: Value,
}

impl Ended {
    /// All of it was done.
    pub(super) fn done(outcome: Value) -> Self {
        Self { state: JobState::Done, outcome }
    }
}

/// Works until `stop`, then lets go of what it has in hand.
pub(super) async fn run(server: Arc<Server>, stop: CancellationToken) {
    let name = match server.options.worker_name.as_str() {
        "" => format!("worker {}", Id::random()),
        name => name.to_owned(),
    };
    let most = server.options.jobs_at_once.max(1);
    let at_once = AtOnce {
        of_tenant: BACKUPS_OF_TENANT,
        // With one place alone there is none to keep free.
        of_account: i64::try_from(most - 1).unwrap_or(i64::MAX).max(1),
    };
    let places = Arc::new(Semaphore::new(most));
    let tasks = TaskTracker::new();
    // What is due may wait for a tenant, a set or a repository that a job of ours had.
    let ended = Arc::new(Notify::new());
    while !stop.is_cancelled() {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let taken = server.db.take_job(&name, None, at_once, LEASE_US, server.now_us());
        let taken = in_time(LONGEST_ANSWER, taken).await;
        if taken.is_ok() {
            server.pulse.worker.note();
        }
        match taken {
            Ok(Some(job)) => {
                let (server, name, stop, ended) = (server.clone(), name.clone(), stop.clone(), ended.clone());
                tasks.spawn(async move {
                    hold(&server, &name, job, &stop).await;
                    drop(place);
                    ended.notify_one();
                });
            }
            Ok(None) => {
                drop(place);
                let woken = tokio::time::timeout(LOOK_EVERY, ended.notified());
                let _ = stop.run_until_cancelled(woken).await;
            }
            Err(e) => {
                tracing::error!("The queue cannot be read: {}", e.chain());
                drop(place);
                stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY * 10)).await;
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// Does a job, and gives word while it lasts.
async fn hold(server: &Arc<Server>, worker: &str, job: Job, closing: &CancellationToken) {
    let (id, kind) = (job.id.clone(), job.kind.word());
    let task = Task { job, progress: Arc::default(), stop: Stop::new() };
    let (progress, stop) = (task.progress.clone(), task.stop.clone());
    // Jobs are CPU and storage work as much as network: each drives itself on a thread of its own.
    let mut doing = {
        let (server, runtime) = (server.clone(), tokio::runtime::Handle::current());
        tokio::task::spawn_blocking(move || runtime.block_on(dispatch(&server, &task)))
    };
    let mut cancelled = false;
    let result = loop {
        tokio::select! {
            ended = &mut doing => break ended,
            () = tokio::time::sleep(RENEW_EVERY) => {}
            () = closing.cancelled(), if !stop.is_stopped() => stop.stop(),
        }
        let word = progress.as_json();
        match in_time(LONGEST_ANSWER, server.db.renew(&id, worker, &word, LEASE_US, server.now_us())).await {
            Ok(Some(cancel)) => {
                server.pulse.worker.note();
                keep_spent(server, &id, &progress).await;
                if cancel && !cancelled {
                    cancelled = true;
                    stop.stop();
                }
            }
            Ok(None) => {
                // The lease ran out while the database was away, and another worker has it: that one ends it.
                tracing::warn!(job = id.as_str(), kind, "A job is another worker's now");
                stop.stop();
                drop(doing.await);
                return;
            }
            Err(e) => tracing::warn!(job = id.as_str(), kind, "No word can be given of a job: {}", e.chain()),
        }
    };
    keep_spent(server, &id, &progress).await;
    let result = result.unwrap_or_else(|e| Err(Error::internal("A job ended by a panic").with_source(e)));
    let closing = closing.is_cancelled() && !cancelled;
    while let Err(e) = in_time(LONGEST_ANSWER, end(server, worker, &id, &result, &progress, cancelled, closing)).await {
        tracing::error!(job = id.as_str(), kind, "The end of a job cannot be noted: {}", e.chain());
        if closing {
            return;
        }
        tokio::time::sleep(RENEW_EVERY).await;
    }
}

/// Keeps with the tenant what of its budget is used.
async fn keep_spent(server: &Server, id: &Id, progress: &Progress) {
    let Some(spent) = progress.spent() else { return };
    if let Err(e) = in_time(LONGEST_ANSWER, server.db.keep_budget(id, &spent, server.now_us())).await {
        tracing::warn!(job = id.as_str(), "What is used of a budget cannot be kept: {}", e.chain());
    }
}

async fn end(
    server: &Server,
    worker: &str,
    id: &Id,
    result: &Result<Ended>,
    progress: &Progress,
    cancelled: bool,
    closing: bool,
) -> Result<()> {
    let now = server.now_us();
    let (state, outcome, error) = match result {
        // Another worker goes on with what was kept.
        Err(e) if closing && e.kind() == ErrorKind::Interrupted => return server.db.put_back(id, worker, now).await,
        Ok(ended) if closing && ended.state == JobState::Cancelled => return server.db.put_back(id, worker, now).await,
        Ok(ended) => (ended.state, ended.outcome.clone(), None),
        Err(e) if cancelled && e.kind() == ErrorKind::Interrupted => (JobState::Cancelled, json!({}), None),
        Err(e) => (JobState::Failed, json!({"progress": progress.as_json()}), Some(told(e))),
    };
    server.db.end_job(id, worker, state, &outcome, error.as_deref(), now).await?;
    Ok(())
}

/// Does something anew for as long as the database is away, unless it is to come to an end.
///
/// # Errors
/// Any other, at once.
pub(super) async fn patiently<T, F>(stop: &Stop, what: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut tries = 0;
    loop {
        match what().await {
            Err(e) if is_away(&e) && tries < TRIES && !stop.is_stopped() => {
                tries += 1;
                tracing::warn!("A job waits for the database: {}", e.chain());
                tokio::time::sleep(BETWEEN).await;
            }
            result => return result,
        }
    }
}

/// Does a job. Any of them can be begun anew: it finds what it had stored, and decides everything else afresh.
async fn dispatch(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    let stop = &task.stop;
    match task.job.kind {
        // That is patient about its parts: what was read and stored is not read again for want of a note.
        JobKind::Backup => backup::run(server, task).await,
        JobKind::Retention => patiently(stop, || upkeep::retention(server, task)).await,
        JobKind::Prune => patiently(stop, || upkeep::prune(server, task)).await,
        JobKind::Check => patiently(stop, || upkeep::check(server, task)).await,
        JobKind::Mirror => patiently(stop, || upkeep::mirror(server, task)).await,
        JobKind::Plan => patiently(stop, || restore::plan(server, task)).await,
        JobKind::Restore => patiently(stop, || restore::run(server, task)).await,
        JobKind::Undo => patiently(stop, || restore::undo(server, task)).await,
        // Whoever sent it is gone, and with it whoever read it.
        JobKind::Export => {
            Err(Error::new(ErrorKind::Unavailable, "The server stopped while it was sent")
                .with_hint("Download it again"))
        }
    }
}

/// Does a job as a worker would, and gives no word: for tests, which let such a worker die.
#[cfg(test)]
pub(super) async fn do_now(server: &Arc<Server>, job: Job) -> Result<(JobState, Value)> {
    let task = Task { job, progress: Arc::default(), stop: Stop::new() };
    let ended = dispatch(server, &task).await?;
    Ok((ended.state, ended.outcome))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// How often something is done that finds the database away for so many times, and what it gives.
    async fn done(stop: &Stop, away: u32, then: fn() -> Result<()>) -> (u32, Result<()>) {
        let tries = AtomicU32::new(0);
        let given = patiently(stop, || {
            std::future::ready(match tries.fetch_add(1, Ordering::SeqCst) {
                n if n < away => Err(Error::from(sqlx::Error::PoolTimedOut).context("A run cannot be noted")),
                _ => then(),
            })
        });
        let given = given.await;
        (tries.into_inner(), given)
    }

    #[tokio::test]
    async fn a_job_waits_for_its_database_and_for_nothing_else() {
        let stop = Stop::new();
        let refused = || Err(Error::new(ErrorKind::Unavailable, "The storage does not answer"));
        assert!(matches!(done(&stop, 3, || Ok(())).await, (4, Ok(()))));
        assert!(matches!(done(&stop, 0, refused).await, (1, Err(_))));
        assert!(matches!(done(&stop, 2, refused).await, (3, Err(_))));
        let (tries, given) = done(&stop, u32::MAX, || Ok(())).await;
        assert!(tries == TRIES + 1 && given.is_err_and(|e| is_away(&e)), "not for ever: {tries}");
        stop.stop();
        assert!(matches!(done(&stop, 3, || Ok(())).await, (1, Err(_))), "who is to come to an end waits for nothing");
    }
}
