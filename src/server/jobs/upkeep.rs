//! What keeps a repository in order: retention, prune, check, replicas. All of it works with a write-only key.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::progress::Progress;
use super::worker::{Ended, Task};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::mirror::{MirrorOptions, MirrorReport};
use crate::repo::{Clock, Kinship, PruneOptions, ReadData, Repository, kinship, make_replica};
use crate::server::db::{DestinationRow, JobKind, JobState, NewJob, RepositoryRow};
use crate::server::state::Server;
use crate::server::store;
use crate::snapshot::store as snapshots;

/// How long what nothing refers to waits before it is deleted.
const GRACE_US: i64 = 24 * 3_600_000_000;
/// How much of a repository may stay unused, in percent.
const MAX_UNUSED_PERCENT: f64 = 5.0;
/// A repository is pruned this often at most.
const PRUNE_EVERY_US: i64 = 20 * 3_600_000_000;
/// Findings that are kept.
const MOST_FINDINGS: usize = 50;

async fn opened(server: &Server, task: &Task) -> Result<(RepositoryRow, Arc<Repository>)> {
    let id = task.job.repository.as_ref().ok_or_else(|| Error::internal("A job without a repository"))?;
    let row = server.db.repository(&task.job.account, id).await?;
    let repo = server.stores.open(server, &row).await?;
    Ok((row, repo))
}

/// Takes snapshots of a set out by its retention, counts what is stored, and asks for a prune when one is due.
pub(super) async fn retention(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    let (row, repo) = opened(server, task).await?;
    let set = task.job.set.as_ref().ok_or_else(|| Error::internal("Retention without a set"))?;
    let set = server.db.backup_set(&task.job.account, set).await?;
    let (policy, zone) = (set.choices.retention.clone(), set.choices.zone()?);
    let listing = snapshots::list(&repo).await?;
    let now = Timestamp::from_microsecond(server.now_us()).map_err(|_| Error::internal("The clock is out of range"))?;
    let of_set = |name: &str| Ok((name == set.name).then(|| (policy.clone(), zone.clone())));
    let plans = ops::forget::plan(&listing.snapshots, of_set, now)?;
    task.stop.check()?;
    let forgotten = ops::forget::execute(&repo, &listing.snapshots, &plans).await?;
    let stored = stored_bytes(&repo).await?;
    server.db.keep_stored_bytes(&row.id, stored).await?;
    let now = server.now_us();
    let key = format!("pruned {}", row.id);
    let last = server.db.setting(&key).await?.and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    if now - last > PRUNE_EVERY_US {
        server.db.set(&key, Some(&now.to_string())).await?;
        let prune = NewJob {
            account: &row.account,
            kind: JobKind::Prune,
            set: None,
            tenant: None,
            repository: Some(&row.id),
            client: None,
            arguments: json!({}),
            asked_by: "schedule",
            run_after_us: now,
        };
        server.db.ask_for(&prune, now).await?;
    }
    let left = listing.snapshots.iter().filter(|snapshot| snapshot.file.set_name == set.name).count() - forgotten;
    Ok(Ended::done(json!({"forgotten": forgotten, "left": left, "stored_bytes": stored})))
}

async fn stored_bytes(repo: &Repository) -> Result<i64> {
    let packs = repo.stored_packs().await?;
    Ok(i64::try_from(packs.values().sum::<u64>()).unwrap_or(i64::MAX))
}

/// Gives back what nothing refers to.
pub(super) async fn prune(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    let (row, repo) = opened(server, task).await?;
    let clock = server.clone();
    let options = PruneOptions {
        grace_us: GRACE_US,
        max_unused_percent: MAX_UNUSED_PERCENT,
        now_us: server.now_us(),
        clock: Clock::new(move || clock.now_us()),
    };
    let plan = ops::prune::plan(&repo, &options, &*task.progress).await?;
    task.stop.check()?;
    plan.execute(&repo, &*task.progress).await?;
    let stored = stored_bytes(&repo).await?;
    server.db.keep_stored_bytes(&row.id, stored).await?;
    Ok(Ended::done(json!({
        "repacked": plan.repack.len(),
        "marked": plan.mark.len(),
        "deleted": plan.delete.len(),
        "stored_bytes": stored,
    })))
}

/// Looks whether everything is there; if asked, reads every byte, whether every file is what its name says.
pub(super) async fn check(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    let (_, repo) = opened(server, task).await?;
    let every_byte = task.job.arguments["read_data"] == true;
    let read = if every_byte { ReadData::All } else { ReadData::No };
    let report = ops::check::check(&repo, read, &*task.progress).await?;
    let findings: Vec<_> = report
        .findings
        .iter()
        .take(MOST_FINDINGS)
        .map(|finding| json!({"object": finding.object, "message": finding.text, "error": finding.error}))
        .collect();
    let outcome = json!({
        "snapshots": report.snapshots,
        "records": report.records,
        "findings": findings,
        "items": report.items,
        "items_touched": report.items_touched,
        "read_data": every_byte,
    });
    if report.has_errors() {
        return Ok(Ended { state: JobState::Gaps, outcome });
    }
    Ok(Ended::done(outcome))
}

/// Brings the further places of a repository up to date; one where nothing is yet is made.
pub(super) async fn mirror(server: &Arc<Server>, task: &Task) -> Result<Ended> {
    let (row, repo) = opened(server, task).await?;
    let places = server.db.destinations(&row.id).await?;
    let mut copied = Vec::new();
    let mut behind = false;
    for place in places.iter().skip(1) {
        task.stop.check()?;
        let result = bring_up(server, &row, &repo, place, &task.progress).await;
        let lag = match &result {
            Ok(report) if report.is_complete() => None,
            Ok(_) => Some("The first destination has damaged files: check names them".to_owned()),
            Err(e) => Some(e.chain()),
        };
        server.db.keep_lag(&place.id, lag.as_deref()).await?;
        behind |= lag.is_some();
        copied.push(json!({"destination": place.name, "lag": lag, "report": result.ok()}));
    }
    let outcome = json!({"destinations": copied});
    Ok(if behind { Ended { state: JobState::Gaps, outcome } } else { Ended::done(outcome) })
}

async fn bring_up(
    server: &Server,
    row: &RepositoryRow,
    repo: &Arc<Repository>,
    place: &DestinationRow,
    progress: &Progress,
) -> Result<MirrorReport> {
    let to = store::storage_of_row(server, &row.account, place)?;
    if !matches!(kinship(&**repo.storage(), &*to).await?, Kinship::Replica) {
        make_replica(&**repo.storage(), &*to).await?;
    }
    let replica = repo.open_replica(to, Some(store::replica_cache(server, &place.id))).await?;
    let options = MirrorOptions { delete: true, forgotten: false, keys: true, sets: true, dry_run: false };
    ops::mirror::mirror(repo, &replica, options, progress).await
}
