//! Prune: gives back the space that nothing refers to, in two phases, without locks.
//!
//! A pack that nothing needs is *marked* in an index file; only when the grace period has passed, and a fresh look
//! still finds it unneeded, is it taken out of the index and then deleted. Writers never build upon marked packs.
//! Whoever calls says which blobs are in use: this file knows nothing of snapshots.
//!
//! Any number of prunes may be at work at once, for three things hold whatever each of them knows. A mark is never
//! lifted: what is needed of a marked pack is copied. A mark outlives its pack, so that an index file of a prune that
//! tarried cannot make a deleted pack look alive. And a pack is deleted only by who saw its mark, and saw no mark on
//! any pack that holds what it held: so the pack that the last of all prunes relies upon is deleted by none.

mod execute;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::crypto::BlobKind;
use crate::error::Result;
use crate::format::id::{BlobId, IndexId, PackId};
use crate::format::index::{IndexedBlob, IndexedPack};
use crate::repo::repository::Repository;

/// Tells the time: microseconds since 1970 UTC.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// A clock that asks `now_us`.
    pub fn new(now_us: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_us))
    }

    /// A clock that stands still.
    pub fn still(now_us: i64) -> Self {
        Self::new(move || now_us)
    }

    /// The time now.
    pub fn now_us(&self) -> i64 {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({})", self.now_us())
    }
}

/// How prune decides.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// How long a marked pack waits before it is deleted, in microseconds.
    pub grace_us: i64,
    /// How much of the repository may stay unused, in percent.
    pub max_unused_percent: f64,
    /// When the prune began, before it looked at anything: microseconds since 1970 UTC. What is due is decided by it.
    pub now_us: i64,
    /// Tells the time at which marks are written. A prune may take longer than the grace period: marks with the time of
    /// its beginning would be due as soon as they can be seen.
    pub clock: Clock,
}

/// What prune would do.
#[derive(Debug, Clone)]
pub struct PrunePlan {
    /// Packs whose used blobs move to new packs: those with holes, many small ones, and marked ones.
    pub repack: Vec<PackId>,
    /// Packs to mark: nothing uses them, or all that is used moves.
    pub mark: Vec<PackId>,
    /// Packs to delete now. Some of them stay if another prune marks what this one relies upon.
    pub delete: Vec<PackId>,
    /// Marked packs whose grace period has not passed.
    pub waiting: Vec<PackId>,
    /// Blobs in use that no pack holds.
    pub missing: Vec<BlobId>,
    /// Counts, in bytes of pack files.
    pub sizes: PruneSizes,
    keep: HashMap<PackId, Vec<IndexedBlob>>,
    packs: HashMap<PackId, IndexedPack>,
    stored: HashSet<PackId>,
    /// Packs that are not marked and stay, and hold what is used.
    homes: HashSet<PackId>,
    /// Of those to delete, the packs that may go only when what this prune writes first, marks and copies, can be seen.
    pending: HashSet<PackId>,
    index_files: usize,
    /// Index files that others stand in for and that are still there: a prune was killed before it deleted them.
    leftover: Vec<IndexId>,
    options: PruneOptions,
}

/// Sizes of a prune plan, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct PruneSizes {
    /// All packs.
    pub total: u64,
    /// What blobs in use take.
    pub used: u64,
    /// What will be deleted now.
    pub deleted: u64,
    /// What is written anew.
    pub repacked: u64,
    /// What is marked and waits.
    pub waiting: u64,
    /// What stays unused within the packs that are kept.
    pub unused_kept: u64,
}

/// Packs smaller than this share of the wanted size are merged when there are many.
const SMALL_PACK_SHARE: u64 = 4;
/// How many small packs of a kind are many.
const MANY_SMALL_PACKS: usize = 8;
/// Index files than which more are rewritten into fewer.
const MANY_INDEX_FILES: usize = 24;
/// Blobs and chunks of one index file when the index is rewritten.
pub(super) const ENTRIES_PER_INDEX: usize = 400_000;

/// How often a look is taken when blobs in use are in no pack.
const LOOKS: usize = 4;

/// How long the mark of a pack that is gone is kept, in microseconds: should an index file list the pack after all, of a
/// writer that stored it or of a prune that loaded the index before, it must be seen that the pack is gone.
const GONE_MARK_US: i64 = 30 * 24 * 3600 * 1_000_000;

struct Usage {
    pack: IndexedPack,
    used: Vec<IndexedBlob>,
    used_bytes: u64,
    /// What all blobs of the pack take. The rest is its header, which is no waste.
    blob_bytes: u64,
    marked_us: Option<i64>,
}

impl Usage {
    fn unused_bytes(&self) -> u64 {
        self.blob_bytes.saturating_sub(self.used_bytes)
    }
}

impl PrunePlan {
    /// Decides. `before` are the packs that were in the storage *before* the snapshots were listed from which `used`
    /// was collected: what came later may belong to a snapshot that was not seen, and is left alone.
    ///
    /// # Errors
    /// `Corrupt` when an index file is damaged: nothing may be deleted then. The storage's.
    pub async fn new(
        repo: &Repository,
        before: &HashSet<PackId>,
        used: &HashSet<BlobId>,
        options: &PruneOptions,
    ) -> Result<Self> {
        let mut plan = Self::look(repo, before, used, options).await?;
        for _ in 1..LOOKS {
            if plan.missing.is_empty() {
                break;
            }
            // Another prune may have moved it after the index was loaded, and deleted the pack before packs were listed.
            plan = Self::look(repo, before, used, options).await?;
        }
        Ok(plan)
    }

    async fn look(
        repo: &Repository,
        before: &HashSet<PackId>,
        used: &HashSet<BlobId>,
        options: &PruneOptions,
    ) -> Result<Self> {
        // The index first: what it lists is stored already, so that what is not stored after this is lost or was moved.
        repo.reload_index().await?;
        let index = repo.whole_index()?;
        let stored: HashSet<PackId> = repo.stored_packs().await?.into_keys().collect();
        let present = repo.stored_index_files().await?;
        let mut plan = Self::empty(options);
        plan.index_files = index.files().count();
        plan.leftover = index.replaced().filter(|id| present.contains(id)).collect();
        let (usages, claimed) = usage(&index, &stored, used);
        index.intact()?;
        plan.missing = used.iter().filter(|id| !claimed.contains(*id)).copied().collect();
        let marks: HashMap<PackId, i64> = index.marks().map(|m| (m.pack, m.marked_us)).collect();
        let is_fresh = |id: &PackId| stored.contains(id) && !before.contains(id);
        let mut kept = Vec::new();
        for usage in usages {
            plan.sizes.total += usage.pack.size_bytes;
            plan.sizes.used += usage.used_bytes;
            plan.packs.insert(usage.pack.id, usage.pack.clone());
            match usage.marked_us {
                _ if !usage.used.is_empty() => kept.push(usage),
                None if is_fresh(&usage.pack.id) => {}
                marked_us => plan.retire(usage.pack.id, usage.pack.size_bytes, marked_us),
            }
        }
        plan.choose_repacks(kept, repo.config.pack_bytes.into(), options.max_unused_percent);
        // Packs that no index names: left by a run that died, or of one that has not written its index yet.
        let unlisted = stored.iter().filter(|id| !plan.packs.contains_key(id) && !is_fresh(id));
        let unlisted: Vec<PackId> = unlisted.copied().collect();
        for id in &unlisted {
            plan.retire_unless(*id, marks.get(id).copied());
        }
        plan.stored = stored;
        Ok(plan)
    }

    fn empty(options: &PruneOptions) -> Self {
        Self {
            repack: Vec::new(),
            mark: Vec::new(),
            delete: Vec::new(),
            waiting: Vec::new(),
            missing: Vec::new(),
            sizes: PruneSizes::default(),
            keep: HashMap::new(),
            packs: HashMap::new(),
            stored: HashSet::new(),
            homes: HashSet::new(),
            pending: HashSet::new(),
            index_files: 0,
            leftover: Vec::new(),
            options: options.clone(),
        }
    }

    fn retire(&mut self, id: PackId, size_bytes: u64, marked_us: Option<i64>) {
        if self.retire_unless(id, marked_us) {
            self.sizes.deleted += size_bytes;
        } else {
            self.sizes.waiting += size_bytes;
        }
    }

    fn retire_unless(&mut self, id: PackId, marked_us: Option<i64>) -> bool {
        let since_us = marked_us.unwrap_or(self.options.now_us);
        let due = self.options.now_us.saturating_sub(since_us) >= self.options.grace_us;
        if due {
            self.delete.push(id);
        } else {
            self.waiting.push(id);
        }
        if marked_us.is_none() {
            self.mark.push(id);
            self.pending.extend(due.then_some(id));
        }
        due
    }

    fn choose_repacks(&mut self, mut kept: Vec<Usage>, pack_bytes: u64, max_unused_percent: f64) {
        kept.sort_by_key(|u| std::cmp::Reverse(u.unused_bytes() * 1000 / u.pack.size_bytes.max(1)));
        // What is used of a marked pack moves in any case: nobody lifts a mark, another prune may be acting upon it.
        let is_marked = |u: &Usage| u.marked_us.is_some();
        let mut unused: u64 = kept.iter().filter(|u| !is_marked(u)).map(Usage::unused_bytes).sum();
        let allowed = (self.sizes.used as f64 * max_unused_percent.max(0.0) / 100.0) as u64;
        let small = |u: &Usage| u.pack.size_bytes < pack_bytes / SMALL_PACK_SHARE;
        let many = |kind| kept.iter().filter(|u| u.pack.kind == kind && small(u)).count() >= MANY_SMALL_PACKS;
        let (many_content, many_tree) = (many(BlobKind::Content), many(BlobKind::Tree));
        let mut moves_marked = false;
        for usage in kept {
            let merge = small(&usage) && if usage.pack.kind == BlobKind::Tree { many_tree } else { many_content };
            let holes = unused > allowed && usage.unused_bytes() > 0;
            let id = usage.pack.id;
            if !(is_marked(&usage) || merge || holes) {
                self.sizes.unused_kept += usage.unused_bytes();
                self.homes.insert(id);
                continue;
            }
            if is_marked(&usage) {
                moves_marked = true;
            } else {
                unused -= usage.unused_bytes();
            }
            self.sizes.repacked += usage.used_bytes;
            self.repack.push(id);
            self.retire(id, usage.pack.size_bytes, usage.marked_us);
            self.keep.insert(id, usage.used);
        }
        if moves_marked {
            // What is used may have no place but marked packs: none of them goes before the copies can be seen.
            self.pending.extend(&self.delete);
        }
    }

    /// Says whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.repack.is_empty()
            && self.mark.is_empty()
            && self.delete.is_empty()
            && self.leftover.is_empty()
            && self.index_files <= MANY_INDEX_FILES
    }
}

/// Sorts the blobs in use to packs, each to one; packs that are not marked come first, packs that are not stored not at all.
fn usage(
    index: &crate::repo::Index,
    stored: &HashSet<PackId>,
    used: &HashSet<BlobId>,
) -> (Vec<Usage>, HashSet<BlobId>) {
    let marks: HashMap<PackId, i64> = index.marks().map(|m| (m.pack, m.marked_us)).collect();
    let blob_bytes = index.blob_bytes();
    let mut usages: HashMap<PackId, Usage> = index
        .packs()
        .map(|p| {
            let marked_us = marks.get(&p.id).copied();
            let blob_bytes = blob_bytes.get(&p.id).copied().unwrap_or_default();
            (p.id, Usage { pack: p, used: Vec::new(), used_bytes: 0, blob_bytes, marked_us })
        })
        .collect();
    let mut claimed = HashSet::with_capacity(used.len());
    for marked in [false, true] {
        for (pack, blob) in index.blobs() {
            if marks.contains_key(&pack.id) != marked || !stored.contains(&pack.id) || !used.contains(&blob.id) {
                continue;
            }
            if !claimed.insert(blob.id) {
                continue;
            }
            if let Some(usage) = usages.get_mut(&pack.id) {
                usage.used_bytes += u64::from(blob.stored_bytes);
                usage.used.push(blob);
            }
        }
    }
    let mut usages: Vec<Usage> = usages.into_values().collect();
    usages.sort_by_key(|u| u.pack.id);
    (usages, claimed)
}
