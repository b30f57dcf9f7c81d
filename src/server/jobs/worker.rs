//! Takes jobs from the queue and does them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::progress::Progress;
use super::{backup, restore, upkeep};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::backup::Stop;
use crate::server::db::{Job, JobKind, JobState, is_away};
use crate::server::id::Id;
use crate::server::state::Server;

/// How long a job is a worker's without a word.
const LEASE_US: i64 = 30_000_000;
/// How often a worker gives word.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often an idle worker looks for work.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a job is begun anew because the database was away: for ten minutes.
const TRIES: u32 = 300;
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
    let places = Arc::new(Semaphore::new(server.options.jobs_at_once.max(1)));
    let tasks = TaskTracker::new();
    while !stop.is_cancelled() {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let taken = server.db.take_job(&name, None, BACKUPS_OF_TENANT, LEASE_US, server.now_us()).await;
        match taken {
            Ok(Some(job)) => {
                let (server, name, stop) = (server.clone(), name.clone(), stop.clone());
                tasks.spawn(async move {
                    hold(&server, &name, job, &stop).await;
                    drop(place);
                });
            }
            Ok(None) => {
                drop(place);
                stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
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
        match server.db.renew(&id, worker, &progress.as_json(), LEASE_US, server.now_us()).await {
            Ok(Some(cancel)) => {
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
    let result = result.unwrap_or_else(|e| Err(Error::internal("A job ended by a panic").with_source(e)));
    let closing = closing.is_cancelled() && !cancelled;
    while let Err(e) = end(server, worker, &id, &result, &progress, cancelled, closing).await {
        tracing::error!(job = id.as_str(), kind, "The end of a job cannot be noted: {}", e.chain());
        if closing {
            return;
        }
        tokio::time::sleep(RENEW_EVERY).await;
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
        Err(e) => {
            let text = match e.hint() {
                Some(hint) => format!("{} ({hint})", e.chain()),
                None => e.chain(),
            };
            (JobState::Failed, json!({"progress": progress.as_json()}), Some(text))
        }
    };
    server.db.end_job(id, worker, state, &outcome, error.as_deref(), now).await?;
    Ok(())
}

/// Does a job. Any of them can be begun anew, and is while the database is away: what it had stored, it finds.
async fn dispatch(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    let mut tries = 0;
    loop {
        match begin(server, task).await {
            Err(e) if is_away(&e) && tries < TRIES && !task.stop.is_stopped() => {
                tries += 1;
                tracing::warn!(job = task.job.id.as_str(), "A job waits for the database: {}", e.chain());
                tokio::time::sleep(RENEW_EVERY).await;
            }
            result => return result,
        }
    }
}

async fn begin(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    match task.job.kind {
        JobKind::Backup => backup::run(server, task).await,
        JobKind::Retention => upkeep::retention(server, task).await,
        JobKind::Prune => upkeep::prune(server, task).await,
        JobKind::Check => upkeep::check(server, task).await,
        JobKind::Mirror => upkeep::mirror(server, task).await,
        JobKind::Plan => restore::plan(server, task).await,
        JobKind::Restore => restore::run(server, task).await,
        JobKind::Undo => restore::undo(server, task).await,
    }
}

/// Does a job as a worker would, and gives no word: for tests, which let such a worker die.
#[cfg(test)]
pub(super) async fn do_now(server: &Arc<Server>, job: Job) -> Result<(JobState, Value)> {
    let task = Task { job, progress: Arc::default(), stop: Stop::new() };
    let ended = dispatch(server, &task).await?;
    Ok((ended.state, ended.outcome))
}
