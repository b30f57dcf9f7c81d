//! Mirror: brings a replica up to date. Packs and the replica's index first (`repo::mirror`), then snapshots, then runs.
//!
//! What tells a snapshot that was forgotten from one that never was there are the runs: a run is stored after its snapshot,
//! everywhere, and nothing deletes it. A side that has the run and not the snapshot forgot it (or lost it: so the newest
//! snapshot of a set, and sets of which one side has nothing at all, are never deleted).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::{ErrorKind, Result};
use crate::format::id::{SetId, SnapshotId};
use crate::format::snapshot::{RunFile, SnapshotFile};
use crate::monitor::Monitor;
use crate::repo::{CopyOptions, DocumentKind, DocumentName, Finding, Repository, copy_slots};
use crate::snapshot::store;

/// What a mirror does beside copying what the replica lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MirrorOptions {
    /// Deletes at the replica the snapshots that the source forgot, and with `keys`, key slots that it removed.
    pub delete: bool,
    /// Also copies snapshots that the replica had and forgot, or lost.
    pub forgotten: bool,
    /// Key slots, too.
    pub keys: bool,
    /// Set definitions, too; older ones of the same names go.
    pub sets: bool,
    /// Only looks.
    pub dry_run: bool,
}

/// What a mirror did, or would do.
#[derive(Debug, Default, serde::Serialize)]
pub struct MirrorReport {
    /// Packs copied.
    pub packs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, packs whose blobs went into new packs, for the replica's prune had marked them.
    pub packs_moved: usize,
    /// Index files written.
    pub index_files: usize,
    /// Snapshots copied.
    pub snapshots: usize,
    /// Definitions of sets copied.
    pub sets: usize,
    /// Facts of runs copied.
    pub runs: usize,
    /// Key slots copied.
    pub keys: usize,
    /// Snapshots deleted at the replica.
    pub snapshots_deleted: usize,
    /// Key slots deleted at the replica.
    pub keys_deleted: usize,
    /// Snapshots that the replica has and the source has not.
    pub snapshots_kept: usize,
    /// Key slots that the replica has and the source has not: they still open it.
    pub keys_kept: usize,
    /// Snapshots that the replica forgot, and that were not copied again.
    pub snapshots_forgotten: usize,
    /// Snapshots that were not copied, for the source has lost something.
    pub snapshots_held_back: usize,
    /// What the source has lost, and other things to know.
    #[serde(skip)]
    pub findings: Vec<Finding>,
}

impl MirrorReport {
    /// Says whether the replica has all that it should have.
    pub fn is_complete(&self) -> bool {
        !self.findings.iter().any(|f| f.error)
    }
}

/// Brings a replica up to date. Both are repositories of one id.
///
/// # Errors
/// The storages'; `Unavailable` where prunes keep changing either side. What the source has lost comes as findings.
pub async fn mirror(
    from: &Arc<Repository>,
    to: &Arc<Repository>,
    options: MirrorOptions,
    monitor: &dyn Monitor,
) -> Result<MirrorReport> {
    let mut report = MirrorReport::default();
    monitor.phase("Looking at both repositories");
    // Runs before snapshots, snapshots before the index: what the one names is in the listing of the other.
    let source = Sides::of(from).await?;
    if options.keys {
        let slots = copy_slots(&**from.storage(), &**to.storage(), options.delete, options.dry_run).await?;
        (report.keys, report.keys_deleted, report.keys_kept) = (slots.copied, slots.deleted, slots.left);
        report.findings.extend(slots.findings);
    }
    monitor.phase("Copying packs");
    let copying = CopyOptions { dry_run: options.dry_run, ..CopyOptions::default() };
    let packs = from.copy_packs_to(to, &copying, monitor).await?;
    (report.packs, report.bytes, report.packs_moved) = (packs.packs, packs.bytes, packs.moved);
    report.index_files = packs.index_files;
    report.findings.extend(packs.findings);
    monitor.phase("Copying snapshots");
    let target = Sides::of(to).await?;
    let work = Work { from, to, options, source, target };
    work.snapshots(packs.complete, &mut report).await?;
    if options.sets {
        work.sets(&mut report).await?;
    }
    if options.delete && report.is_complete() {
        monitor.phase("Deleting what the source forgot");
        work.delete(&mut report).await?;
    }
    let only_here = work.target.snapshots.difference(&work.source.snapshots).count();
    report.snapshots_kept = only_here - report.snapshots_deleted;
    Ok(report)
}

/// The snapshots of `from` that `to` lacks and has not forgotten.
///
/// # Errors
/// The storages'.
pub async fn missing_snapshots(from: &Repository, to: &Repository) -> Result<usize> {
    let source = names(from, DocumentKind::Snapshot).await?;
    let target = names(to, DocumentKind::Snapshot).await?;
    let missing: Vec<DocumentName> = source.difference(&target).copied().collect();
    if missing.is_empty() {
        return Ok(0);
    }
    let runs = names(to, DocumentKind::Run).await?;
    let known = known(to, &runs, missing.iter().filter_map(|name| name.set).collect()).await?;
    Ok(missing.iter().filter(|name| !known.contains(&SnapshotId(name.id))).count())
}

/// The documents of one side.
struct Sides {
    runs: HashSet<DocumentName>,
    snapshots: HashSet<DocumentName>,
}

impl Sides {
    async fn of(repo: &Repository) -> Result<Self> {
        let runs = names(repo, DocumentKind::Run).await?;
        Ok(Self { runs, snapshots: names(repo, DocumentKind::Snapshot).await? })
    }
}

async fn names(repo: &Repository, kind: DocumentKind) -> Result<HashSet<DocumentName>> {
    Ok(repo.list_documents(kind).await?.into_iter().collect())
}

/// The snapshots that a side had at some time: those that its runs name.
async fn known(repo: &Repository, runs: &HashSet<DocumentName>, sets: HashSet<SetId>) -> Result<HashSet<SnapshotId>> {
    let mut known = HashSet::new();
    for name in runs.iter().filter(|name| name.set.is_some_and(|set| sets.contains(&set))) {
        match repo.get_document::<RunFile>(DocumentKind::Run, name).await {
            Ok(run) => known.extend(run.snapshot),
            Err(e) if e.is_loss() || e.kind() == ErrorKind::UnsupportedVersion => {}
            Err(e) => return Err(e),
        }
    }
    Ok(known)
}

struct Work<'a> {
    from: &'a Arc<Repository>,
    to: &'a Arc<Repository>,
    options: MirrorOptions,
    source: Sides,
    target: Sides,
}

impl Work<'_> {
    /// Copies snapshots, and then the runs. `complete`: the replica has all that they need.
    async fn snapshots(&self, complete: bool, report: &mut MirrorReport) -> Result<()> {
        let missing: Vec<DocumentName> = self.source.snapshots.difference(&self.target.snapshots).copied().collect();
        let forgotten = match self.options.forgotten {
            true => HashSet::new(),
            false => {
                let sets = missing.iter().filter_map(|name| name.set).collect();
                known(self.to, &self.target.runs, sets).await?
            }
        };
        let is_forgotten = |name: &&DocumentName| forgotten.contains(&SnapshotId(name.id));
        report.snapshots_forgotten = missing.iter().filter(is_forgotten).count();
        if !complete {
            report.snapshots_held_back = missing.len() - report.snapshots_forgotten;
            return Ok(());
        }
        // Snapshots that are not at the replica when their runs come to it would look forgotten.
        let mut absent = HashSet::new();
        for name in missing.iter().filter(|name| !is_forgotten(name)) {
            if self.copy(DocumentKind::Snapshot, name, |_| Ok(true), report).await? {
                report.snapshots += 1;
            } else {
                absent.insert(SnapshotId(name.id));
            }
        }
        for name in self.source.runs.difference(&self.target.runs) {
            let may_go = |bytes: &[u8]| {
                let run: RunFile = self.from.open_document_bytes(DocumentKind::Run, name, bytes)?;
                Ok(run.snapshot.is_none_or(|id| !absent.contains(&id)))
            };
            report.runs += usize::from(self.copy(DocumentKind::Run, name, may_go, report).await?);
        }
        Ok(())
    }

    /// Copies a document unless it went away, is damaged, or `may_go` says no; says whether it is at the replica.
    async fn copy(
        &self,
        kind: DocumentKind,
        name: &DocumentName,
        may_go: impl Fn(&[u8]) -> Result<bool>,
        report: &mut MirrorReport,
    ) -> Result<bool> {
        let read = self.from.document_bytes(kind, name).await.and_then(|bytes| Ok((may_go(&bytes)?, bytes)));
        match read {
            Ok((false, _)) => Ok(false),
            Ok((true, bytes)) => {
                if !self.options.dry_run {
                    self.to.put_document_bytes(kind, name, bytes).await?;
                }
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) if matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::UnsupportedVersion) => {
                let object = format!("{} {}", kind.noun(), SnapshotId(name.id));
                report.findings.push(Finding {
                    object,
                    pack: None,
                    text: format!("cannot be copied: {e}"),
                    error: true,
                });
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// Copies set definitions; those that they replace go.
    async fn sets(&self, report: &mut MirrorReport) -> Result<()> {
        let source = names(self.from, DocumentKind::Set).await?;
        let target = names(self.to, DocumentKind::Set).await?;
        for name in source.difference(&target) {
            report.sets += usize::from(self.copy(DocumentKind::Set, name, |_| Ok(true), report).await?);
        }
        if self.options.dry_run {
            return Ok(());
        }
        let current: HashSet<String> = store::named_sets(self.from, &source).await?.into_values().collect();
        let older: HashSet<DocumentName> = target.difference(&source).copied().collect();
        for (name, _) in store::named_sets(self.to, &older).await?.iter().filter(|(_, set)| current.contains(*set)) {
            self.to.delete_document(DocumentKind::Set, name).await?;
        }
        Ok(())
    }

    /// Deletes what the source forgot, beyond doubt.
    async fn delete(&self, report: &mut MirrorReport) -> Result<()> {
        let extra: Vec<DocumentName> = self.target.snapshots.difference(&self.source.snapshots).copied().collect();
        let sets: HashSet<SetId> = extra.iter().filter_map(|name| name.set).collect();
        let had = known(self.from, &self.source.runs, sets.clone()).await?;
        let times = |repo, names: Vec<DocumentName>| times(repo, names);
        let of_sets = |names: &HashSet<DocumentName>| -> Vec<DocumentName> {
            names.iter().filter(|name| name.set.is_some_and(|set| sets.contains(&set))).copied().collect()
        };
        let source = times(self.from, of_sets(&self.source.snapshots)).await?;
        let target = times(self.to, extra.clone()).await?;
        for name in extra {
            let (Some(set), Some(time)) = (name.set, target.get(&name)) else { continue };
            let mut of_set = source.iter().filter(|(other, _)| other.set == Some(set)).map(|(_, time)| time);
            // A later one is there; and none of the same time: that is what repair wrote in the place of a damaged one.
            let later = of_set.clone().any(|other| other > time);
            let repaired = of_set.any(|other| other == time);
            if !(had.contains(&SnapshotId(name.id)) && later && !repaired) {
                continue;
            }
            report.snapshots_deleted += 1;
            if !self.options.dry_run {
                self.to.delete_document(DocumentKind::Snapshot, &name).await?;
            }
        }
        Ok(())
    }
}

/// The times of those snapshots that can be read.
async fn times(repo: &Repository, names: Vec<DocumentName>) -> Result<HashMap<DocumentName, i64>> {
    let mut times = HashMap::new();
    for name in names {
        match repo.get_document::<SnapshotFile>(DocumentKind::Snapshot, &name).await {
            Ok(file) => drop(times.insert(name, file.time_us)),
            Err(e) if e.is_loss() || e.kind() == ErrorKind::UnsupportedVersion => {}
            Err(e) => return Err(e),
        }
    }
    Ok(times)
}
