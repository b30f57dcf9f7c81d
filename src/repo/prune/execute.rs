//! Prune's deeds, in the order that makes them safe to be stopped at any point, and beside other prunes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{ENTRIES_PER_INDEX, GONE_MARK_US, MANY_INDEX_FILES, PrunePlan};
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::{IndexId, PackId};
use crate::format::index::{IndexFile, IndexedBlob, IndexedPack, Mark};
use crate::format::pack::FinishedPack;
use crate::monitor::{Counter, Monitor};
use crate::repo::Index;
use crate::repo::mover::Mover;
use crate::repo::repository::{Repository, index_path, pack_path};
use crate::repo::upload::index_of;

/// How often the index is loaded anew when others replace it.
const LOADS: usize = 5;
const AGAIN_HINT: &str = "another prune or repair is at work: run prune again when it is done";

impl PrunePlan {
    /// Does it. Safe to stop at any point: the order of writes leaves every blob in use findable. Gives those of the packs
    /// to delete that stay till a later prune, since another one, at work at the same time, marked what this one relies upon.
    ///
    /// # Errors
    /// `Corrupt` when blobs in use are missing (nothing is done then); `Unavailable` when another prune took a pack that
    /// was to be copied, or keeps replacing the index; the storage's.
    pub async fn execute(&self, repo: &Arc<Repository>, monitor: &dyn Monitor) -> Result<Vec<PackId>> {
        if let Some(id) = self.missing.first() {
            return Err(Error::corrupt(format!(
                "{} blobs that snapshots need are in no pack (the first is {id}): prune stops before it deletes anything",
                self.missing.len()
            ))
            .with_hint("run check, then repair index"));
        }
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let (mut new_packs, mut mark) = (self.move_blobs(repo, monitor).await?, &self.mark[..]);
        monitor.phase("Writing the index");
        let mut delete: HashSet<PackId> = self.delete.iter().filter(|id| !self.pending.contains(id)).copied().collect();
        if !self.pending.is_empty() {
            repo.write_index_file(&self.additions(&new_packs, mark)).await?;
            if self.homes_stand(repo, &new_packs).await? {
                delete.extend(&self.pending);
            }
            (new_packs, mark) = (Vec::new(), &[]);
        }
        for id in self.write_index(repo, &new_packs, mark, &delete).await? {
            repo.storage.delete(&index_path(&id)).await?;
        }
        monitor.phase("Deleting packs");
        for id in &delete {
            // Should it come back after a crash, it is a pack that no index file names, and the next prune's.
            repo.storage.discard(&pack_path(id)).await?;
            if let Some(cache) = &repo.cache {
                cache.remove_pack(id);
            }
        }
        repo.reload_index().await?;
        if let Some(cache) = &repo.cache {
            cache.sweep_packs(&repo.index().packs().map(|p| p.id).collect());
        }
        Ok(self.delete.iter().filter(|id| !delete.contains(id)).copied().collect())
    }

    /// Copies the used blobs of the packs to repack into new packs, durable when it returns.
    async fn move_blobs(&self, repo: &Arc<Repository>, monitor: &dyn Monitor) -> Result<Vec<FinishedPack>> {
        if !self.repack.is_empty() {
            monitor.phase("Repacking");
            monitor.add(Counter::ItemsTotal, self.repack.len() as i64);
        }
        let mut mover = Mover::new(repo);
        for id in &self.repack {
            let (Some(pack), Some(blobs)) = (self.packs.get(id), self.keep.get(id)) else { continue };
            mover.take(pack, blobs).await.map_err(|e| match e.kind() {
                ErrorKind::NotFound => went_away(format!("Pack {id}")).with_source(e),
                _ => e,
            })?;
            monitor.add(Counter::Items, 1);
        }
        mover.finish().await
    }

    /// Says, once the new packs are listed, whether they and all others that hold what is used are free of marks. Then
    /// whoever would delete one of them loads the index later, and does not rely upon what goes now.
    async fn homes_stand(&self, repo: &Repository, new_packs: &[FinishedPack]) -> Result<bool> {
        repo.reload_index().await?;
        let index = repo.whole_index()?;
        let mut homes = self.homes.iter().chain(new_packs.iter().map(|p| &p.pack.id));
        Ok(homes.all(|id| !index.is_marked(id)))
    }

    /// New packs, and marks with the time of now.
    fn additions(&self, new_packs: &[FinishedPack], mark: &[PackId]) -> IndexFile {
        let mut file = index_of(new_packs);
        file.marks = self.marks_of_now(mark).collect();
        file
    }

    fn marks_of_now<'a>(&self, packs: impl IntoIterator<Item = &'a PackId>) -> impl Iterator<Item = Mark> {
        let marked_us = self.options.clock.now_us().max(self.options.now_us);
        packs.into_iter().map(move |&pack| Mark { pack, marked_us })
    }

    /// Writes what the index must say now; gives the index files that are replaced by it.
    async fn write_index(
        &self,
        repo: &Repository,
        new_packs: &[FinishedPack],
        mark: &[PackId],
        gone: &HashSet<PackId>,
    ) -> Result<Vec<IndexId>> {
        let (index, leftover) = index_as_stored(repo).await?;
        let listed: HashSet<PackId> = index.pack_ids().collect();
        let mut old: Vec<IndexId> = index.files().collect();
        if gone.is_disjoint(&listed) && old.len() <= MANY_INDEX_FILES {
            let file = self.additions(new_packs, mark);
            if file != IndexFile::default() {
                repo.write_index_file(&file).await?;
            }
            return Ok(leftover);
        }
        old.extend(leftover);
        let mut parts = rewritten(&index, gone, new_packs);
        index.intact()?;
        // Only the last file says what it stands in for: till it is durable, the old ones count.
        let mut last = parts.pop().unwrap_or_default();
        for part in &parts {
            repo.write_index_file(part).await?;
        }
        last.marks = self.all_marks(&index, &listed, mark, gone);
        last.replaces.clone_from(&old);
        repo.write_index_file(&last).await?;
        Ok(old)
    }

    /// The marks of an index that is written anew. Those of the packs that go bear the time of their going.
    fn all_marks(&self, index: &Index, listed: &HashSet<PackId>, mark: &[PackId], gone: &HashSet<PackId>) -> Vec<Mark> {
        let mut marks: Vec<Mark> = self.marks_of_now(mark.iter().chain(gone)).collect();
        let now_us = self.options.clock.now_us().max(self.options.now_us);
        let is_kept = |m: &Mark| {
            let fresh = now_us.saturating_sub(m.marked_us) < GONE_MARK_US.max(self.options.grace_us);
            !gone.contains(&m.pack) && (listed.contains(&m.pack) || self.stored.contains(&m.pack) || fresh)
        };
        marks.extend(index.marks().filter(is_kept));
        marks.sort_by_key(|m| (m.pack, m.marked_us));
        marks.dedup_by_key(|m| m.pack);
        marks
    }
}

/// The index, of which all files are still there, and the files that were replaced before and are there too: they must
/// not come back when their replacement is replaced. An index that others have replaced meanwhile could be written anew
/// as well, but would list again what they let go of.
async fn index_as_stored(repo: &Repository) -> Result<(Arc<Index>, Vec<IndexId>)> {
    let mut gone = None;
    for _ in 0..LOADS {
        if gone.is_some() {
            repo.reload_index().await?;
        }
        let index = repo.whole_index()?;
        let present = repo.stored_index_files().await?;
        gone = index.files().find(|id| !present.contains(id));
        if gone.is_none() {
            let leftover = index.replaced().filter(|id| present.contains(id)).collect();
            return Ok((index, leftover));
        }
    }
    Err(went_away(gone.map_or_else(|| "The index".to_owned(), |id| format!("Index file {id}"))))
}

fn went_away(what: String) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what} went away while prune was at work")).with_hint(AGAIN_HINT)
}

/// The whole index in new files, without the packs that go.
fn rewritten(index: &crate::repo::Index, gone: &HashSet<PackId>, new_packs: &[FinishedPack]) -> Vec<IndexFile> {
    let mut by_pack: HashMap<PackId, (IndexedPack, Vec<IndexedBlob>)> =
        index.packs().filter(|p| !gone.contains(&p.id)).map(|p| (p.id, (p, Vec::new()))).collect();
    let mut seen = HashSet::new();
    for (pack, blob) in index.blobs() {
        if let Some((_, blobs)) = by_pack.get_mut(&pack.id)
            && seen.insert((pack.id, blob.offset))
        {
            blobs.push(blob);
        }
    }
    let mut all: Vec<(IndexedPack, Vec<IndexedBlob>)> = by_pack.into_values().collect();
    all.extend(new_packs.iter().map(|p| (p.pack.clone(), p.blobs.clone())));
    all.sort_by_key(|(p, _)| p.id);
    let chunks = index.chunks().chain(new_packs.iter().flat_map(|p| p.chunks.iter().copied()));
    IndexFile::split(all, chunks, ENTRIES_PER_INDEX)
}
