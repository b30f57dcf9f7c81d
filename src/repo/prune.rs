//! Prune: gives back the space that nothing refers to, in two phases, without locks.
//!
//! A pack that nothing needs is *marked* in an index file; only when the grace period has passed, and a fresh look
//! still finds it unneeded, is it taken out of the index and then deleted. Writers never build upon marked packs.
//! Whoever calls says which blobs are in use: this file knows nothing of snapshots.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::crypto::BlobKind;
use crate::error::{Error, Result};
use crate::format::id::{BlobId, IndexId, PackId};
use crate::format::index::{IndexFile, IndexedBlob, IndexedPack, Mark};
use crate::format::pack::{FinishedPack, PackBuilder, PreparedBlob};
use crate::monitor::{Counter, Monitor};
use crate::repo::repository::{Repository, index_path, pack_path};
use crate::repo::writer::{index_of, prepare};

/// How prune decides.
#[derive(Debug, Clone, Copy)]
pub struct PruneOptions {
    /// How long a marked pack waits before it is deleted, in microseconds.
    pub grace_us: i64,
    /// How much of the repository may stay unused, in percent.
    pub max_unused_percent: f64,
    /// The time now: microseconds since 1970 UTC.
    pub now_us: i64,
}

/// What prune would do.
#[derive(Debug, Clone, Default)]
pub struct PrunePlan {
    /// Packs whose used blobs move to new packs.
    pub repack: Vec<PackId>,
    /// Packs to mark: nothing uses them, or all that is used moves.
    pub mark: Vec<PackId>,
    /// Marked packs that something uses after all.
    pub unmark: Vec<PackId>,
    /// Packs to delete now.
    pub delete: Vec<PackId>,
    /// Marked packs whose grace period has not passed.
    pub waiting: Vec<PackId>,
    /// Blobs in use that no pack holds.
    pub missing: Vec<BlobId>,
    /// Counts, in bytes of pack files.
    pub sizes: PruneSizes,
    keep: HashMap<PackId, Vec<IndexedBlob>>,
    packs: HashMap<PackId, IndexedPack>,
    grace_us: i64,
    now_us: i64,
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
/// Blobs of one index file when the index is rewritten.
const BLOBS_PER_INDEX: usize = 200_000;

struct Usage {
    pack: IndexedPack,
    used: Vec<IndexedBlob>,
    used_bytes: u64,
    marked_us: Option<i64>,
}

impl Usage {
    fn unused_bytes(&self) -> u64 {
        self.pack.size_bytes.saturating_sub(self.used_bytes)
    }
}

impl PrunePlan {
    /// Decides, from the index as it is loaded, the packs that are in the storage, and the blobs in use.
    pub fn new(repo: &Repository, stored: &HashSet<PackId>, used: &HashSet<BlobId>, options: &PruneOptions) -> Self {
        let index = repo.index();
        let mut plan = Self { grace_us: options.grace_us, now_us: options.now_us, ..Self::default() };
        let (usages, claimed) = usage(&index, used);
        plan.missing = used.iter().filter(|id| !claimed.contains(*id)).copied().collect();
        let marks: HashMap<PackId, i64> = index.marks().map(|m| (m.pack, m.marked_us)).collect();
        let mut kept = Vec::new();
        for usage in usages {
            plan.sizes.total += usage.pack.size_bytes;
            plan.sizes.used += usage.used_bytes;
            plan.packs.insert(usage.pack.id, usage.pack.clone());
            match usage.marked_us {
                Some(_) if !usage.used.is_empty() => {
                    plan.unmark.push(usage.pack.id);
                    kept.push(usage);
                }
                Some(marked_us) => plan.retire(usage.pack.id, usage.pack.size_bytes, marked_us),
                None if usage.used.is_empty() => {
                    plan.mark.push(usage.pack.id);
                    plan.retire(usage.pack.id, usage.pack.size_bytes, options.now_us);
                }
                None => kept.push(usage),
            }
        }
        plan.choose_repacks(kept, repo.config.pack_bytes.into(), options.max_unused_percent);
        // Packs that no index names: left by a run that died, or of one that has not written its index yet.
        let unlisted: Vec<PackId> = stored.iter().filter(|id| !plan.packs.contains_key(id)).copied().collect();
        for id in &unlisted {
            let marked_us = marks.get(id).copied();
            if marked_us.is_none() {
                plan.mark.push(*id);
            }
            plan.retire_unless(*id, marked_us.unwrap_or(options.now_us));
        }
        plan
    }

    fn retire(&mut self, id: PackId, size_bytes: u64, marked_us: i64) {
        if self.retire_unless(id, marked_us) {
            self.sizes.deleted += size_bytes;
        } else {
            self.sizes.waiting += size_bytes;
        }
    }

    fn retire_unless(&mut self, id: PackId, marked_us: i64) -> bool {
        let due = self.now_us.saturating_sub(marked_us) >= self.grace_us;
        if due {
            self.delete.push(id)
        } else {
            self.waiting.push(id)
        }
        due
    }

    fn choose_repacks(&mut self, mut kept: Vec<Usage>, pack_bytes: u64, max_unused_percent: f64) {
        kept.sort_by_key(|u| std::cmp::Reverse(u.unused_bytes() * 1000 / u.pack.size_bytes.max(1)));
        let mut unused: u64 = kept.iter().map(Usage::unused_bytes).sum();
        let allowed = (self.sizes.used as f64 * max_unused_percent.max(0.0) / 100.0) as u64;
        let small = |u: &Usage| u.pack.size_bytes < pack_bytes / SMALL_PACK_SHARE;
        let many = |kind| kept.iter().filter(|u| u.pack.kind == kind && small(u)).count() >= MANY_SMALL_PACKS;
        let (many_content, many_tree) = (many(BlobKind::Content), many(BlobKind::Tree));
        for usage in kept {
            let merge = small(&usage) && if usage.pack.kind == BlobKind::Tree { many_tree } else { many_content };
            // A pack's header takes some bytes too: that alone is no reason.
            let holes = unused > allowed && usage.unused_bytes() * 50 > usage.pack.size_bytes;
            if !(merge || holes) {
                self.sizes.unused_kept += usage.unused_bytes();
                continue;
            }
            unused -= usage.unused_bytes();
            self.sizes.repacked += usage.used_bytes;
            let id = usage.pack.id;
            self.unmark.retain(|p| *p != id);
            self.repack.push(id);
            if usage.marked_us.is_none() {
                self.mark.push(id);
            }
            self.retire(id, usage.pack.size_bytes, usage.marked_us.unwrap_or(self.now_us));
            self.keep.insert(id, usage.used);
        }
    }

    /// Says whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.repack.is_empty() && self.mark.is_empty() && self.unmark.is_empty() && self.delete.is_empty()
    }

    /// Does it. Safe to stop at any point: the order of writes leaves every blob in use findable.
    ///
    /// # Errors
    /// `Corrupt` when blobs in use are missing (nothing is done then); the storage's.
    pub async fn execute(&self, repo: &Arc<Repository>, monitor: &dyn Monitor) -> Result<()> {
        if let Some(id) = self.missing.first() {
            return Err(Error::corrupt(format!(
                "{} blobs that snapshots need are in no pack (the first is {id}): prune stops before it deletes anything",
                self.missing.len()
            ))
            .with_hint("run check, then repair index"));
        }
        if self.is_empty() {
            return Ok(());
        }
        let new_packs = self.move_blobs(repo, monitor).await?;
        monitor.phase("Writing the index");
        let replaced = self.write_index(repo, &new_packs).await?;
        for id in &replaced {
            repo.storage.delete(&index_path(id)).await?;
        }
        monitor.phase("Deleting packs");
        for id in &self.delete {
            repo.storage.delete(&pack_path(id)).await?;
            if let Some(cache) = &repo.cache {
                cache.remove_pack(id);
            }
        }
        repo.reload_index().await?;
        if let Some(cache) = &repo.cache {
            cache.sweep_packs(&repo.index().packs().map(|p| p.id).collect());
        }
        Ok(())
    }

    /// Copies the used blobs of the packs to repack into new packs, durable when it returns.
    async fn move_blobs(&self, repo: &Arc<Repository>, monitor: &dyn Monitor) -> Result<Vec<FinishedPack>> {
        if !self.repack.is_empty() {
            monitor.phase("Repacking");
            monitor.add(Counter::ItemsTotal, self.repack.len() as i64);
        }
        let mut mover = Mover { repo, builders: [None, None], done: Vec::new() };
        for id in &self.repack {
            let (Some(pack), Some(blobs)) = (self.packs.get(id), self.keep.get(id)) else { continue };
            mover.take(pack, blobs).await?;
            monitor.add(Counter::Items, 1);
        }
        mover.finish().await
    }

    /// Writes what the index must say now; gives the index files that are replaced by it.
    async fn write_index(&self, repo: &Repository, new_packs: &[FinishedPack]) -> Result<Vec<IndexId>> {
        let index = repo.index();
        let old: Vec<IndexId> = index.files().collect();
        let gone: HashSet<PackId> = self.delete.iter().copied().collect();
        let unmarked: HashSet<PackId> = self.unmark.iter().copied().collect();
        let mut marks: Vec<Mark> = self
            .mark
            .iter()
            .map(|&pack| Mark { pack, marked_us: self.now_us })
            .filter(|m| !gone.contains(&m.pack))
            .collect();
        let listed_gone = gone.iter().any(|id| self.packs.contains_key(id));
        if !listed_gone && unmarked.is_empty() && old.len() <= MANY_INDEX_FILES {
            let mut file = index_of(new_packs);
            file.marks = marks;
            repo.write_index_file(&file).await?;
            return Ok(Vec::new());
        }
        marks.extend(index.marks().filter(|m| !gone.contains(&m.pack) && !unmarked.contains(&m.pack)));
        marks.sort_by_key(|m| (m.pack, m.marked_us));
        marks.dedup_by_key(|m| m.pack);
        let mut parts = rewritten(&index, &gone, new_packs);
        // Only the last file says what it stands in for: till it is durable, the old ones count.
        let mut last = parts.pop().unwrap_or_default();
        for part in &parts {
            repo.write_index_file(part).await?;
        }
        last.marks = marks;
        last.replaces.clone_from(&old);
        repo.write_index_file(&last).await?;
        Ok(old)
    }
}

/// Sorts the blobs in use to packs, each to one; packs that are not marked come first.
fn usage(index: &crate::repo::Index, used: &HashSet<BlobId>) -> (Vec<Usage>, HashSet<BlobId>) {
    let marks: HashMap<PackId, i64> = index.marks().map(|m| (m.pack, m.marked_us)).collect();
    let mut usages: HashMap<PackId, Usage> = index
        .packs()
        .map(|p| {
            let marked_us = marks.get(&p.id).copied();
            (p.id, Usage { pack: p.clone(), used: Vec::new(), used_bytes: 0, marked_us })
        })
        .collect();
    let mut claimed = HashSet::with_capacity(used.len());
    for marked in [false, true] {
        for (pack, blob) in index.blobs() {
            if marks.contains_key(&pack.id) != marked || !used.contains(&blob.id) || !claimed.insert(blob.id) {
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

/// The whole index in new files, without the packs that go.
fn rewritten(index: &crate::repo::Index, gone: &HashSet<PackId>, new_packs: &[FinishedPack]) -> Vec<IndexFile> {
    let mut by_pack: HashMap<PackId, (IndexedPack, Vec<IndexedBlob>)> =
        index.packs().filter(|p| !gone.contains(&p.id)).map(|p| (p.id, (p.clone(), Vec::new()))).collect();
    let mut seen = HashSet::new();
    for (pack, blob) in index.blobs() {
        if let Some((_, blobs)) = by_pack.get_mut(&pack.id) {
            if seen.insert((pack.id, blob.offset)) {
                blobs.push(blob);
            }
        }
    }
    let mut all: Vec<(IndexedPack, Vec<IndexedBlob>)> = by_pack.into_values().collect();
    all.extend(new_packs.iter().map(|p| (p.pack.clone(), p.blobs.clone())));
    all.sort_by_key(|(p, _)| p.id);
    let mut files = vec![IndexFile::default()];
    for (pack, blobs) in all {
        if files.last().is_some_and(|f| f.blobs.len() >= BLOBS_PER_INDEX) {
            files.push(IndexFile::default());
        }
        if let Some(file) = files.last_mut() {
            let n = file.packs.len() as u32;
            file.packs.push(pack);
            file.blobs.extend(blobs.into_iter().map(|b| IndexedBlob { pack: n, ..b }));
        }
    }
    for file in &mut files {
        file.blobs.sort_by_key(|b| b.id);
    }
    files
}

/// Copies blobs into new packs: contents as ciphertext, tree blobs under a new key.
pub(super) struct Mover<'a> {
    pub(super) repo: &'a Arc<Repository>,
    pub(super) builders: [Option<PackBuilder>; 2],
    pub(super) done: Vec<FinishedPack>,
}

impl Mover<'_> {
    /// Takes over some blobs of a pack.
    pub(super) async fn take(&mut self, pack: &IndexedPack, blobs: &[IndexedBlob]) -> Result<()> {
        let bytes = self.repo.storage.get(&pack_path(&pack.id), pack.size_bytes).await?;
        let intact = crate::crypto::hash_buffers([&bytes[..]]) == pack.id.0;
        if !intact {
            return Err(Error::corrupt(format!("Pack {} is damaged: its contents do not match its name", pack.id))
                .with_hint("run check --read-data to see what it touches"));
        }
        let mut blobs = blobs.to_vec();
        blobs.sort_by_key(|b| b.offset);
        for blob in &blobs {
            self.take_one(pack, blob, &bytes)?;
            self.store_full(false).await?;
        }
        Ok(())
    }

    fn take_one(&mut self, pack: &IndexedPack, blob: &IndexedBlob, bytes: &Bytes) -> Result<()> {
        let what = format!("Blob {} in pack {}", blob.id.short(), pack.id);
        let start = blob.offset as usize;
        let ciphertext = bytes
            .get(start..start + blob.stored_bytes as usize)
            .ok_or_else(|| Error::corrupt(format!("{what} lies outside its pack")))?;
        let keys = &self.repo.keys;
        match pack.kind {
            BlobKind::Content => {
                let sealed =
                    pack.keys.get(blob.key as usize).ok_or_else(|| Error::corrupt(format!("{what} has no key")))?;
                let builder = self.builders[0].get_or_insert_with(|| PackBuilder::for_moving(keys, 1 << 20));
                builder.append_sealed(sealed, blob, ciphertext)
            }
            BlobKind::Tree => {
                let key = self.repo.blob_key(pack, blob)?;
                let plain = crate::format::pack::open_blob(&what, &key, blob, ciphertext.to_vec())?;
                let prepared: PreparedBlob = prepare(blob.id, &plain, 3)?;
                let builder = match &mut self.builders[1] {
                    Some(builder) => builder,
                    empty => empty.insert(PackBuilder::new(keys, BlobKind::Tree, 1 << 20)?),
                };
                builder.append(&prepared)
            }
        }
    }

    async fn store_full(&mut self, all: bool) -> Result<()> {
        for n in 0..self.builders.len() {
            let full =
                self.builders[n].as_ref().is_some_and(|b| all || b.len() >= self.repo.config.pack_bytes as usize);
            if !full {
                continue;
            }
            if let Some(builder) = self.builders[n].take().filter(|b| !b.is_empty()) {
                let mut pack = builder.finish()?;
                let bytes = Bytes::from(std::mem::take(&mut pack.bytes));
                self.repo.storage.put(&pack_path(&pack.pack.id), vec![bytes]).await?;
                self.done.push(pack);
            }
        }
        Ok(())
    }

    /// Stores the packs in hand.
    pub(super) async fn finish(mut self) -> Result<Vec<FinishedPack>> {
        self.store_full(true).await?;
        Ok(self.done)
    }
}

impl Repository {
    /// Lists the packs that are in the storage, with their sizes in bytes.
    ///
    /// # Errors
    /// The storage's.
    pub async fn stored_packs(&self) -> Result<HashMap<PackId, u64>> {
        let entries = self.storage.list("packs").await?;
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().parse::<PackId>().ok();
        Ok(entries.into_iter().filter_map(|e| Some((name(&e.path)?, e.size_bytes))).collect())
    }

    /// Copies blobs that only marked packs hold into new packs, so that a snapshot may build upon them.
    ///
    /// # Errors
    /// `NotFound` when a blob is gone already; the storage's.
    pub async fn rescue(self: &Arc<Self>, blobs: &HashSet<BlobId>) -> Result<usize> {
        let index = self.index();
        let mut by_pack: HashMap<PackId, (IndexedPack, Vec<IndexedBlob>)> = HashMap::new();
        for id in blobs {
            if index.has_live(id) {
                continue;
            }
            let found = index.find(id).ok_or_else(|| {
                Error::not_found(format!("Blob {id} was deleted while this run was building upon it"))
                    .with_hint("run the backup again; give prune a longer --grace than backups take")
            })?;
            by_pack.entry(found.pack.id).or_insert_with(|| (found.pack.clone(), Vec::new())).1.push(found.blob);
        }
        if by_pack.is_empty() {
            return Ok(0);
        }
        let mut mover = Mover { repo: self, builders: [None, None], done: Vec::new() };
        for (pack, blobs) in by_pack.values() {
            mover.take(pack, blobs).await?;
        }
        let packs = mover.finish().await?;
        let count = packs.iter().map(|p| p.blobs.len()).sum();
        self.write_index_file(&index_of(&packs)).await?;
        self.reload_index().await?;
        Ok(count)
    }
}
