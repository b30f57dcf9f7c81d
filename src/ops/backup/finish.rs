//! The end of a run: catalog, gaps, a last look at what prune did meanwhile, then the snapshot.

use std::sync::Arc;

use super::merged::Merged;
use super::{BackupOptions, BackupReport, Surroundings, logical, outcome_of};
use crate::error::{Error, Result};
use crate::format::snapshot::{RunFile, SnapshotFile, Totals};
use crate::monitor::Counter;
use crate::ops::catalog::{self, Catalog};
use crate::ops::used;
use crate::repo::{Repository, Writer};
use crate::snapshot::store::{self, Snapshot};

/// Writes what a run has read as a snapshot. Everything that the snapshot names is durable before it is written.
#[allow(clippy::too_many_arguments)]
pub(super) async fn write_snapshot(
    repo: &Arc<Repository>,
    writer: &Writer,
    mut merged: Merged,
    previous: Option<Snapshot>,
    requests: &(dyn Fn() -> (u64, u64) + Sync),
    options: &BackupOptions,
    around: &Surroundings,
    started_us: i64,
) -> Result<BackupReport> {
    let bytes_logical = logical::sum(writer, &mut merged, around).await;
    around.monitor.phase("Writing the snapshot");
    let before = Catalog::load(repo, previous.as_ref().map(|p| &p.file)).await?;
    let (catalog, gaps) = catalog::write(writer, &before, &merged.states, &merged.gaps, &merged.coverage).await?;
    let stats = writer.finish().await?;
    let (sent, throttled) = requests();
    let mut file = SnapshotFile {
        set: options.set.id(&repo.config().id),
        set_name: options.set.name.clone(),
        tenant: options.set.tenant.id.clone(),
        time_us: started_us,
        ended_us: (around.now_us)(),
        host: options.host.clone(),
        program: options.program.clone(),
        tags: options.tags.clone(),
        parent: previous.as_ref().map(|p| p.id),
        complete: merged.complete && !merged.stopped,
        catalog,
        gaps,
        totals: Totals {
            collections: merged.states.len() as u64,
            items: merged.items(),
            items_added: merged.counts.added,
            items_changed: merged.counts.changed,
            items_removed: merged.counts.removed + merged.items_gone(&before),
            gaps: merged.gaps.len() as u64,
            bytes_read: merged.bytes_read,
            bytes_new: stats.new_bytes,
            bytes_stored: stats.stored_bytes,
            requests: sent,
            throttled,
        },
    };
    if writer.has_lost_ground() {
        around.monitor.phase("Looking at what prune did meanwhile");
    }
    used::rescue_marked(repo, writer, [&file]).await?;
    file.ended_us = (around.now_us)();
    let id = store::save(repo, &file).await?;
    store::save_set(repo, &options.set).await?;
    let outcome = if merged.stopped {
        "interrupted"
    } else if merged.gaps.is_empty() {
        "complete"
    } else {
        "gaps"
    };
    store::save_run(repo, &run_file(&file, outcome, Some(id))).await?;
    around.monitor.add(Counter::BytesStored, 0);
    let left_out = merged.left_out();
    Ok(BackupReport {
        snapshot: id,
        time_us: file.time_us,
        parent: file.parent,
        complete: file.complete,
        stopped: merged.stopped,
        totals: file.totals,
        bytes_logical,
        gaps: merged.gaps,
        damage: Vec::new(),
        found: Vec::new(),
        left_out,
        coverage: merged.coverage,
    })
}

fn run_file(file: &SnapshotFile, outcome: &str, snapshot: Option<crate::format::id::SnapshotId>) -> RunFile {
    RunFile {
        set: file.set,
        started_us: file.time_us,
        ended_us: file.ended_us,
        outcome: outcome.to_owned(),
        error: String::new(),
        snapshot,
        totals: file.totals,
        waits: Vec::new(),
    }
}

/// Keeps the facts of a run that failed. That this fails too is no further error: the first one is told.
pub(super) async fn save_failed_run(
    repo: &Repository,
    options: &BackupOptions,
    started_us: i64,
    ended_us: i64,
    error: &Error,
) {
    let run = RunFile {
        set: options.set.id(&repo.config().id),
        started_us,
        ended_us,
        outcome: outcome_of(error).to_owned(),
        error: error.chain(),
        snapshot: None,
        totals: Totals::default(),
        waits: Vec::new(),
    };
    drop(store::save_run(repo, &run).await);
}
