//! Backup: discover collections -> ask each what changed since the last snapshot -> fetch the changed items ->
//! streams -> chunks -> segments -> packs -> destination; records -> tree edits -> roots -> snapshot.
//!
//! What has to be trusted: a collection's cursors are written only together with the items they stand for, and the
//! snapshot is the last file written, after everything that it names is durable.

mod collection;
mod contents;
mod exclude;
mod finish;
mod known;
mod leavers;
pub(crate) mod logical;
mod loss;
mod merged;
mod passes;
pub(crate) mod resume;
mod room;
mod share;
mod stop;
mod unread;
mod unstorable;

use std::sync::Arc;

use futures::stream::{StreamExt, TryStreamExt};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::format::collection::Gap;
use crate::format::id::SnapshotId;
use crate::format::snapshot::{CoverageEntry, Totals};
use crate::graph::Client;
use crate::m365::discover::{Coverage, Discovery, Selection, discover};
use crate::m365::{Collection, drive};
use crate::monitor::{Counter, Monitor};
use crate::ops::catalog::Catalog;
use crate::repo::{Repository, Writer, WriterOptions};
use crate::snapshot::memory::{self, Surprise};
use crate::snapshot::set::{SetDefinition, Versions};
use crate::snapshot::store::{self, Snapshot};
use collection::{Outcome, Shared};
use loss::read_collection;
use merged::Merged;
pub use stop::Stop;

/// Collections read at once. The budgets decide how many requests really run: those of so many mailboxes are more than a few cores
/// can serve, and each collection holds a page, a segment and records.
const COLLECTIONS_AT_ONCE: usize = 80;

/// What to back up, and how it is to be called.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// The backup set.
    pub set: SetDefinition,
    /// The machine that does it, for people.
    pub host: String,
    /// The program that does it: "tenantvault 0.1.0".
    pub program: String,
    /// Marks to put on the snapshot.
    pub tags: Vec<String>,
    /// How the writer works.
    pub writer: WriterOptions,
    /// Collections read at once; 0: as many as is usual.
    pub collections_at_once: usize,
}

/// The outside world of a run.
#[derive(Clone)]
pub struct Surroundings {
    /// Hears what happens.
    pub monitor: Arc<dyn Monitor>,
    /// Tells the time: microseconds since 1970 UTC.
    pub now_us: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Asks the run to come to an end.
    pub stop: Stop,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct BackupReport {
    /// The snapshot written.
    pub snapshot: SnapshotId,
    /// The time that it is of, when the run began: microseconds since 1970 UTC.
    pub time_us: i64,
    /// The snapshot that it was built upon.
    pub parent: Option<SnapshotId>,
    /// Every collection was read to its end.
    pub complete: bool,
    /// The user stopped the run.
    pub stopped: bool,
    /// Counts.
    pub totals: Totals,
    /// How long the streams of all items in the snapshot are, together; `None`: it could not be counted.
    pub bytes_logical: Option<u64>,
    /// What is missing from the snapshot.
    pub gaps: Vec<Gap>,
    /// What the repository had lost of the snapshot before, in words; it was read from the tenant again.
    pub damage: Vec<String>,
    /// What was found for every owner that the selection means.
    pub found: Vec<Coverage>,
    /// How every part of the tenant stands in the snapshot.
    pub coverage: Vec<CoverageEntry>,
    /// What the set's exclusions leave out, in words; empty: nothing.
    pub left_out: String,
}

/// Backs up what a set selects of its tenant.
///
/// # Errors
/// What makes the tenant or the repository as a whole unusable. Anything smaller is a gap in the report.
pub async fn backup(
    repo: &Arc<Repository>,
    client: &Client,
    options: &BackupOptions,
    around: &Surroundings,
) -> Result<BackupReport> {
    let started_us = (around.now_us)();
    let result = async {
        around.monitor.phase("Looking at the tenant");
        let selection = selection(&options.set);
        let discovery = discover(client, &selection).await?;
        around.stop.check()?;
        let stats = || {
            let stats = client.stats();
            (stats.requests, stats.throttled)
        };
        run(repo, discovery, &stats, options, around, started_us).await
    }
    .await;
    if let Err(e) = &result {
        finish::save_failed_run(repo, options, started_us, (around.now_us)(), e).await;
    }
    result
}

/// What discovery is to look for on behalf of a set.
pub fn selection(set: &SetDefinition) -> Selection {
    Selection {
        rules: set.selection.clone(),
        mail_options: crate::m365::mail::MailOptions { recoverable_items: set.options.recoverable_items },
        drive_options: drive::DriveOptions {
            versions: match set.options.versions {
                Versions::Current => drive::Versions::Newest(0),
                Versions::Newest(number) => drive::Versions::Newest(number),
                Versions::All => drive::Versions::All,
            },
            labels: set.options.retention_labels,
        },
    }
}

/// Backs up given collections: the part of [`backup`] after discovery. `requests` says how many were sent and throttled.
///
/// # Errors
/// As [`backup`].
pub async fn run(
    repo: &Arc<Repository>,
    mut discovery: Discovery,
    requests: &(dyn Fn() -> (u64, u64) + Sync),
    options: &BackupOptions,
    around: &Surroundings,
    started_us: i64,
) -> Result<BackupReport> {
    // What others did since the repository was opened: a prune, above all.
    repo.reload_index().await?;
    // What a damaged index file lists must not be taken for lost.
    repo.whole_index()?;
    let (previous, before, mut damage) = previous_snapshot(repo, &options.set).await?;
    let writer = Writer::new(repo.clone(), options.writer.clone());
    let shared = Shared {
        writer: writer.clone(),
        monitor: around.monitor.clone(),
        stop: around.stop.clone(),
        room: Arc::default(),
        shares: Arc::default(),
        exclusions: Arc::new(options.set.options.exclusions.clone()),
        now_us: started_us,
    };
    let frozen = leavers::frozen(&before, options.set.options.leavers);
    discovery.collections.retain(|collection| !frozen.contains(collection.key().owner.to_string().as_str()));
    let vanished = leavers::vanished(&before, &mut discovery, options.set.options.leavers, started_us);
    around.monitor.add(Counter::CollectionsTotal, discovery.collections.len() as i64);
    let outcomes = read_all(&shared, &discovery.collections, &before, options.collections_at_once).await;
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(e) => {
            // What is stored already is listed, so that the next run finds it.
            let cause = writer.finish().await.err();
            return Err(cause.unwrap_or(e));
        }
    };
    damage.extend(outcomes.iter().filter_map(|o| o.damage.clone()));
    let mut merged = Merged::new(&before, outcomes, &discovery.coverage, started_us);
    merged.stopped |= around.stop.is_stopped();
    merged.keep_as_they_are(&before, &vanished);
    let missed = leavers::ask(&merged, &before, &discovery, options.set.options.leavers, started_us).await;
    merged.keep_unreadable(&before, &missed.unknown, started_us);
    discovery.coverage.extend(missed.unknown);
    merged.keep_as_they_are(&before, &missed.left);
    if merged.stopped {
        merged.keep_unreached(&before);
    }
    merged.cover(&before, &discovery.coverage, started_us);
    leavers::tell(&mut merged, &before, &missed.left, started_us);
    let report = finish::write_snapshot(repo, &writer, merged, previous, requests, options, around, started_us).await?;
    Ok(BackupReport { found: discovery.coverage, damage, ..report })
}

/// The snapshot to build upon: the newest of the set that can be read, complete or not; its catalog; and
/// which newer ones are damaged.
async fn previous_snapshot(
    repo: &Arc<Repository>,
    set: &SetDefinition,
) -> Result<(Option<Snapshot>, Catalog, Vec<String>)> {
    let id = set.id(&repo.config().id);
    let listing = store::list(repo).await?;
    let mut damage: Vec<String> = memory::compare(repo, &listing).iter().map(Surprise::sentence).collect();
    for snapshot in listing.snapshots.into_iter().rev().filter(|s| s.file.set == id) {
        match Catalog::load(repo, Some(&snapshot.file)).await {
            Ok(catalog) => return Ok((Some(snapshot), catalog, damage)),
            Err(e) if e.is_loss() => {
                let id = snapshot.id.short();
                damage.push(format!("Snapshot {id} is damaged, so the run builds upon one before it: {}", e.chain()));
            }
            Err(e) => return Err(e),
        }
    }
    Ok((None, Catalog::default(), damage))
}

/// Reads all collections, each in a task of its own: what one waits for or works at does not hold up the others.
async fn read_all(
    shared: &Shared,
    collections: &[Arc<dyn Collection>],
    before: &Catalog,
    at_once: usize,
) -> Result<Vec<Outcome>> {
    let at_once = if at_once == 0 { COLLECTIONS_AT_ONCE } else { at_once };
    futures::stream::iter(collections.iter().cloned())
        .map(|source| {
            let key = source.key().to_string();
            let (state, gaps) = (before.states.get(&key).cloned(), before.gaps_of(&key));
            async move {
                if shared.stop.is_stopped() {
                    return Ok(None);
                }
                let task = shared.clone();
                let task = tokio::spawn(async move { read_collection(&task, source, state, gaps).await });
                let ended = AbortOnDropHandle::new(task).await;
                shared.monitor.add(Counter::Collections, 1);
                ended.map_err(|e| Error::internal("Reading a collection ended early").with_source(e))?.map(Some)
            }
        })
        .buffer_unordered(at_once)
        .try_filter_map(|outcome| async { Ok(outcome) })
        .try_collect()
        .await
}

/// Says what an error of a whole run means for people who look at its history.
fn outcome_of(e: &Error) -> &'static str {
    if e.kind() == ErrorKind::Interrupted { "interrupted" } else { "failed" }
}
