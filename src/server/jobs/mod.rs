//! Jobs: what is done in the background, on schedule or because somebody asked.
//!
//! The scheduler puts what is due into the queue; workers take it from there by a lease. Whatever a job does can be begun
//! anew by another worker: a run finds what the one before stored, and prune and check decide everything afresh. A download
//! alone is done by the process that sends it ([`download`]), and is over with it.

pub(crate) mod backup;
pub(crate) mod download;
pub(crate) mod facts;
pub(crate) mod progress;
mod restore;
mod scheduler;
mod upkeep;
pub(crate) mod worker;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::db::{JobKind, NewJob, SetRow};
use super::id::Id;
use super::state::Server;
use crate::error::Result;

/// Starts what this process does in the background, until `stop`.
pub(crate) fn start(server: &Arc<Server>, tasks: &TaskTracker, stop: &CancellationToken) {
    if server.options.role.schedules() {
        tasks.spawn(scheduler::run(server.clone(), stop.clone()));
    }
    if server.options.role.works() {
        tasks.spawn(worker::run(server.clone(), stop.clone()));
    }
}

/// Asks for a run of a set, at once or after a time.
///
/// # Errors
/// As any query.
pub(crate) async fn back_up(server: &Server, set: &SetRow, asked_by: &str, run_after_us: i64) -> Result<Id> {
    server.db.ask_for(&of_set(set, JobKind::Backup, asked_by, run_after_us), server.now_us()).await
}

/// A job about a set.
fn of_set<'a>(set: &'a SetRow, kind: JobKind, asked_by: &'a str, run_after_us: i64) -> NewJob<'a> {
    NewJob {
        account: &set.account,
        kind,
        set: Some(&set.id),
        tenant: Some(&set.tenant),
        repository: Some(&set.repository),
        // Only reading the tenant is a client's; what keeps the repository in order is the server's.
        client: set.client.as_ref().filter(|_| kind == JobKind::Backup),
        arguments: serde_json::json!({}),
        asked_by,
        run_after_us,
    }
}

/// Does a job that was taken, without a worker: for tests, which let it die on the way.
#[cfg(test)]
pub(crate) async fn do_now(
    server: &Arc<Server>,
    job: super::db::Job,
) -> Result<(super::db::JobState, serde_json::Value)> {
    worker::do_now(server, job).await
}
