//! Mirror: brings another repository of the same id the packs that it lacks.
//!
//! A replica is a repository of its own: the same id, keys and snapshots, but its own index, its own marks, its own prune.
//! So a mirror is a writer like a backup: packs first, then index files *of its own* that list them; whoever calls copies
//! snapshots last. The source's index files are not copied, for they mark packs, and stand in for index files, that the
//! replica may need: its prune runs when it will, and it may keep snapshots that the source forgot. What is compared is
//! blobs, not packs, for either side may have moved its blobs to other packs. Nothing is built upon marked packs, and the
//! last look at the replica's index comes after the last write: prunes and backups may run on both sides meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::StreamExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::crypto::{self, BlobKind};
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::{BlobId, PackId};
use crate::format::index::{ChunkPlace, IndexFile, IndexedBlob, IndexedPack};
use crate::monitor::{Counter, Monitor};
use crate::repo::check::{Finding, pack_error};
use crate::repo::index::Index;
use crate::repo::mover::Mover;
use crate::repo::prune::ENTRIES_PER_INDEX;
use crate::repo::repository::{Repository, pack_path, run_blocking};

/// Packs on their way at once.
pub(super) const PACKS_AT_ONCE: usize = 6;
/// What they may take of memory together, in KiB; a pack that is larger goes alone.
pub(super) const MEMORY_KIB: u32 = 96 << 10;
/// Packs copied before they are listed: after a kill, what is not listed is read again.
const PACKS_PER_INDEX: usize = 512;
/// How long a pack may go unlisted: a prune of the replica takes it for an orphan.
const LISTED_AFTER: Duration = Duration::from_secs(10 * 60);
/// How often both sides are looked at anew, because prunes changed them meanwhile.
pub(super) const ROUNDS: usize = 10;

/// A pack with the blobs in it.
type Listed = (IndexedPack, Vec<IndexedBlob>);

/// How packs are copied.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// Only looks.
    pub dry_run: bool,
    /// Packs of the receiving side that are there and known not to be whole.
    pub damaged: HashSet<PackId>,
    /// Copies no packs but those that hold one of these blobs; none: whatever the receiving side lacks.
    pub only: Option<Arc<HashSet<BlobId>>>,
}

/// What was copied.
#[derive(Debug, Default)]
pub struct CopiedPacks {
    /// Packs.
    pub packs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, packs whose blobs went into new packs: the receiving side's prune had marked them.
    pub moved: usize,
    /// Index files written.
    pub index_files: usize,
    /// Those of [`CopyOptions::damaged`] that are damaged still.
    pub still_damaged: HashSet<PackId>,
    /// What could not be copied.
    pub findings: Vec<Finding>,
    /// The receiving side has every blob that the source's index lists: all that the source's snapshots need.
    pub complete: bool,
}

impl Repository {
    /// Brings a replica every blob that this repository lists and the replica lacks, as whole packs; durable and listed
    /// when it returns. What this repository has lost is a finding, and nothing is deleted.
    ///
    /// # Errors
    /// The storages'; `Unavailable` when prunes keep changing either side.
    pub async fn copy_packs_to(
        self: &Arc<Self>,
        to: &Arc<Self>,
        options: &CopyOptions,
        monitor: &dyn Monitor,
    ) -> Result<CopiedPacks> {
        let room = Semaphore::new(MEMORY_KIB as usize);
        Copier { from: self, to, options, monitor, room }.run().await
    }
}

/// How a pack of the source can be read. The better ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Good,
    /// There, and marked for deletion.
    Marked,
    /// Listed and not there, or not as it should be.
    Lost,
    /// Marked and not there: deleted.
    Deleted,
}

/// What the replica lacks.
#[derive(Debug, Default)]
struct Plan {
    /// Packs to copy, with their sizes in bytes.
    wanted: Vec<(PackId, u64)>,
    /// Packs that hold what the replica lacks and no other pack of the source has.
    lost: Vec<PackId>,
    /// The packs that the replica has of those to copy, listed or not.
    stored: HashSet<PackId>,
}

/// What became of a pack.
enum Copied {
    /// With the bytes that were sent; none if it was there already.
    Stored(Listed, u64),
    /// To be taken apart, for the replica has marked a pack of that name.
    Apart(Listed, Bytes),
    /// Deleted since the source was looked at.
    Gone,
    Damaged(PackId, Error),
}

struct Copier<'a> {
    from: &'a Arc<Repository>,
    to: &'a Arc<Repository>,
    options: &'a CopyOptions,
    monitor: &'a dyn Monitor,
    room: Semaphore,
}

impl Copier<'_> {
    async fn run(self) -> Result<CopiedPacks> {
        let mut report = CopiedPacks::default();
        let mut broken = self.options.damaged.clone();
        let mut damaged: HashMap<PackId, String> = HashMap::new();
        let mut lost_before = None;
        for _ in 0..ROUNDS {
            let plan = self.plan(damaged.keys().copied().collect(), &broken).await?;
            if self.options.dry_run {
                report.packs = plan.wanted.len();
                report.bytes = plan.wanted.iter().map(|(_, size)| size).sum();
            }
            // A prune lets go of packs before it deletes them: what is lost is lost at a second look too.
            let settled = plan.lost.is_empty() || lost_before.as_ref() == Some(&plan.lost);
            if settled && (plan.wanted.is_empty() || self.options.dry_run) {
                self.conclude(&plan, &damaged, &mut report);
                report.still_damaged = broken;
                return Ok(report);
            }
            if !self.options.dry_run {
                self.copy(&plan, &mut damaged, &mut broken, &mut report).await?;
            }
            lost_before = Some(plan.lost);
        }
        Err(Error::new(ErrorKind::Unavailable, "Other programs kept changing one of the repositories")
            .with_hint("run it again when prune and repair are done"))
    }

    fn conclude(&self, plan: &Plan, damaged: &HashMap<PackId, String>, report: &mut CopiedPacks) {
        let source = self.from.storage.describe();
        for index in self.from.index().damaged() {
            let (object, text) = (format!("Index file {}", index.id), format!("cannot be read: {}", index.text));
            report.findings.push(Finding { object, pack: None, text, error: true });
        }
        for id in &plan.lost {
            let why = damaged.get(id).cloned().unwrap_or_else(|| format!("is missing at {source}"));
            report.findings.push(pack_error(*id, why));
        }
        for (id, why) in damaged.iter().filter(|(id, _)| !plan.lost.contains(id)) {
            let text = format!("{why}; what lies in it is elsewhere too");
            report.findings.push(Finding { error: false, ..pack_error(*id, text) });
        }
        report.findings.sort_by(|a, b| a.object.cmp(&b.object));
        report.complete = !report.findings.iter().any(|f| f.error);
    }

    /// Looks at both sides. The index before the packs: what it lists is stored already.
    async fn plan(&self, damaged: HashSet<PackId>, broken: &HashSet<PackId>) -> Result<Plan> {
        self.from.reload_index().await?;
        let stored_from = self.from.stored_packs().await?;
        self.to.reload_index().await?;
        let stored_to = self.to.stored_packs().await?;
        let (from, to, broken) = (self.from.index(), self.to.index(), broken.clone());
        let only = self.options.only.clone();
        run_blocking(move || {
            let source = Source::new(&from, &stored_from, &damaged);
            let target = Target::new(&to, &stored_to, &broken);
            let plan = decide(&source, &target, only.as_deref());
            from.intact()?;
            to.intact()?;
            Ok(plan)
        })
        .await?
    }

    async fn copy(
        &self,
        plan: &Plan,
        damaged: &mut HashMap<PackId, String>,
        broken: &mut HashSet<PackId>,
        report: &mut CopiedPacks,
    ) -> Result<()> {
        let total: u64 = plan.wanted.iter().map(|(_, size)| size).sum();
        self.monitor.add(Counter::BytesTotal, i64::try_from(total).unwrap_or(i64::MAX));
        let copies = futures::stream::iter(&plan.wanted);
        let mut copies = copies.map(|(id, size)| self.one(*id, *size, plan)).buffer_unordered(PACKS_AT_ONCE);
        let mut listing = Listing::new(self.to);
        let mut failure = None;
        while let Some(copied) = copies.next().await {
            match copied {
                Ok(Copied::Stored(listed, bytes)) => {
                    report.packs += usize::from(bytes > 0);
                    report.bytes += bytes;
                    broken.remove(&listed.0.id);
                    listing.packs.push(listed);
                }
                Ok(Copied::Apart((pack, blobs), bytes)) => {
                    (report.packs, report.moved) = (report.packs + 1, report.moved + 1);
                    report.bytes += bytes.len() as u64;
                    listing.take_apart(self, &pack, &blobs, &bytes).await?;
                }
                Ok(Copied::Gone) => {}
                Ok(Copied::Damaged(id, e)) => drop(damaged.insert(id, format!("cannot be copied: {e}"))),
                Err(e) => {
                    failure = Some(e);
                    break;
                }
            }
            if listing.is_due() {
                report.index_files += listing.write(self).await?;
            }
        }
        drop(copies);
        match failure {
            None => report.index_files += listing.write(self).await?,
            // What is durable already is found again by the next mirror, if it can be listed.
            Some(e) => {
                drop(listing.write(self).await);
                return Err(e);
            }
        }
        Ok(())
    }

    async fn one(&self, id: PackId, size: u64, plan: &Plan) -> Result<Copied> {
        let permit = self.room.acquire_many(kib(size)).await;
        let _room = permit.map_err(|e| Error::internal("Semaphore is closed").with_source(e))?;
        let (path, stored) = (pack_path(&id), plan.stored.contains(&id));
        // Nobody lifts a mark: what lies in a marked pack needs another one.
        let marked = self.to.index().is_marked(&id);
        if stored
            && !marked
            && let Some(listed) = self.stored_whole(id, size).await?
        {
            return Ok(Copied::Stored(listed, 0));
        }
        let bytes = match self.from.storage.get(&path, size).await {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Copied::Gone),
            Err(e) if e.kind() == ErrorKind::Corrupt => return Ok(Copied::Damaged(id, e)),
            Err(e) => return Err(e),
        };
        self.monitor.add(Counter::BytesRead, bytes.len() as i64);
        let listed = match verified(self.from, id, bytes.clone()).await? {
            Ok(listed) => listed,
            Err(e) => return Ok(Copied::Damaged(id, e)),
        };
        if marked {
            return Ok(Copied::Apart(listed, bytes));
        }
        if stored {
            // What is there under this name is not whole, and nothing can be written over it.
            self.to.storage.delete(&path).await?;
        }
        let sent = bytes.len() as u64;
        match self.to.storage.put(&path, vec![bytes]).await {
            // Another mirror was faster: the name is the hash of the contents.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            other => other?,
        }
        self.monitor.add(Counter::BytesStored, sent as i64);
        Ok(Copied::Stored(listed, sent))
    }

    /// A pack that the replica has, if it is whole: left by a mirror that was cut off before it listed it.
    async fn stored_whole(&self, id: PackId, size: u64) -> Result<Option<Listed>> {
        if self.options.damaged.contains(&id) {
            return Ok(None);
        }
        match self.to.storage.get(&pack_path(&id), size).await {
            Ok(bytes) => Ok(verified(self.to, id, bytes).await?.ok()),
            Err(e) if e.is_loss() => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// What a file takes of the memory.
pub(super) fn kib(size_bytes: u64) -> u32 {
    u32::try_from(size_bytes >> 10).unwrap_or(MEMORY_KIB).clamp(1, MEMORY_KIB)
}

/// Holds a pack against its name, and reads its header.
async fn verified(repo: &Arc<Repository>, id: PackId, bytes: Bytes) -> Result<Result<Listed>> {
    let repo = repo.clone();
    run_blocking(move || {
        let what = format!("Pack {id}");
        if crypto::hash_buffers([&bytes[..]]) != id.0 {
            return Err(Error::corrupt(format!("{what} is damaged: its contents do not match its name")));
        }
        repo.read_pack_header(&what, id, &bytes)
    })
    .await
}

/// The side that is read.
struct Source<'a> {
    index: &'a Index,
    packs: HashMap<PackId, (Standing, u64)>,
}

impl<'a> Source<'a> {
    fn new(index: &'a Index, stored: &HashMap<PackId, u64>, damaged: &HashSet<PackId>) -> Self {
        let standing = |pack: &IndexedPack| {
            let good = stored.get(&pack.id) == Some(&pack.size_bytes) && !damaged.contains(&pack.id);
            match (good, index.is_marked(&pack.id)) {
                (true, false) => Standing::Good,
                (true, true) => Standing::Marked,
                (false, false) => Standing::Lost,
                (false, true) => Standing::Deleted,
            }
        };
        Self { index, packs: index.packs().map(|p| (p.id, (standing(&p), p.size_bytes))).collect() }
    }

    /// Says whether a blob lies in a pack that stands so or better.
    fn has(&self, blob: &BlobId, standing: Standing) -> bool {
        let of = |id: &PackId| self.packs.get(id).map_or(Standing::Deleted, |(standing, _)| *standing);
        self.index.find_all(blob).any(|place| of(&place.pack.id) <= standing)
    }
}

/// The side that is written.
struct Target<'a> {
    index: &'a Index,
    /// Packs that a snapshot may be built upon: listed, not marked, and there.
    good: HashSet<PackId>,
    stored: HashSet<PackId>,
}

impl<'a> Target<'a> {
    fn new(index: &'a Index, stored: &HashMap<PackId, u64>, broken: &HashSet<PackId>) -> Self {
        let is_good = |pack: &IndexedPack| {
            let there = stored.get(&pack.id) == Some(&pack.size_bytes);
            there && !index.is_marked(&pack.id) && !broken.contains(&pack.id)
        };
        let good = index.packs().filter(is_good).map(|p| p.id).collect();
        Self { index, good, stored: stored.keys().copied().collect() }
    }

    fn has(&self, blob: &BlobId) -> bool {
        self.index.find_all(blob).any(|place| self.good.contains(&place.pack.id))
    }
}

fn decide(source: &Source<'_>, target: &Target<'_>, only: Option<&HashSet<BlobId>>) -> Plan {
    let (mut wanted, mut lost) = (HashSet::new(), HashSet::new());
    if source.packs.keys().all(|id| target.good.contains(id)) {
        return Plan::default();
    }
    for (pack, blob) in source.index.blobs() {
        if target.good.contains(&pack.id) || wanted.contains(&pack.id) || lost.contains(&pack.id) {
            continue;
        }
        let Some((standing, _)) = source.packs.get(&pack.id) else { continue };
        if only.is_some_and(|only| !only.contains(&blob.id)) {
            continue;
        }
        let needed = match standing {
            Standing::Good => !target.has(&blob.id),
            Standing::Marked => !target.has(&blob.id) && !source.has(&blob.id, Standing::Good),
            Standing::Lost => !target.has(&blob.id) && !source.has(&blob.id, Standing::Marked),
            Standing::Deleted => false,
        };
        match (needed, standing) {
            (false, _) => {}
            (true, Standing::Lost) => drop(lost.insert(pack.id)),
            (true, _) => drop(wanted.insert(pack.id)),
        }
    }
    let stored = target.stored.intersection(&wanted).copied().collect();
    let size = |id: PackId| (id, source.packs.get(&id).map_or(0, |(_, size)| *size));
    let mut wanted: Vec<(PackId, u64)> = wanted.into_iter().map(size).collect();
    let mut lost: Vec<PackId> = lost.into_iter().collect();
    wanted.sort_unstable();
    lost.sort_unstable();
    Plan { wanted, lost, stored }
}

/// Durable packs that no index file of the replica lists yet.
struct Listing<'a> {
    to: &'a Arc<Repository>,
    packs: Vec<Listed>,
    mover: Mover<'a>,
    since: Instant,
}

impl<'a> Listing<'a> {
    fn new(to: &'a Arc<Repository>) -> Self {
        Self { to, packs: Vec::new(), mover: Mover::new(to), since: Instant::now() }
    }

    fn is_due(&self) -> bool {
        self.packs.len() >= PACKS_PER_INDEX || self.since.elapsed() >= LISTED_AFTER
    }

    /// Copies the blobs of a pack that the replica has only in marked packs, or not at all, into new packs.
    async fn take_apart(
        &mut self,
        copier: &Copier<'_>,
        pack: &IndexedPack,
        blobs: &[IndexedBlob],
        bytes: &Bytes,
    ) -> Result<()> {
        let index = self.to.index();
        for blob in blobs.iter().filter(|blob| !index.has_live(&blob.id)) {
            self.mover.take_one(pack, blob, bytes)?;
            self.mover.store_full(false).await?;
        }
        copier.monitor.add(Counter::BytesStored, bytes.len() as i64);
        Ok(())
    }

    /// Lists what was copied; gives how many index files that took.
    async fn write(&mut self, copier: &Copier<'_>) -> Result<usize> {
        let moved = std::mem::replace(&mut self.mover, Mover::new(self.to)).finish().await?;
        let mut packs = std::mem::take(&mut self.packs);
        self.since = Instant::now();
        // One that was brought back under its own name is listed still.
        let index = self.to.index();
        packs.retain(|(pack, _)| !index.has_live_pack(&pack.id));
        packs.extend(moved.into_iter().map(|p| (p.pack, p.blobs)));
        if packs.is_empty() {
            return Ok(0);
        }
        let from = copier.from.index();
        let files = run_blocking(move || {
            let contents = packs.iter().filter(|(pack, _)| pack.kind == BlobKind::Content);
            let segments: HashSet<BlobId> = contents.flat_map(|(_, blobs)| blobs).map(|b| b.id).collect();
            let chunks: Vec<ChunkPlace> = from.chunks().filter(|c| segments.contains(&c.segment)).collect();
            IndexFile::split(packs, chunks.into_iter(), ENTRIES_PER_INDEX)
        })
        .await?;
        let count = files.len();
        for file in files {
            let id = self.to.write_index_file(&file).await?;
            self.to.add_index_file(id, file).await?;
        }
        Ok(count)
    }
}
