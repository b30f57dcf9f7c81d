//! Makes the index anew from the packs, and saves what can be saved of damaged ones.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::StreamExt;

use crate::crypto::{self, BlobKind, KeyRight};
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::{IndexId, PackId};
use crate::format::index::{IndexFile, IndexedBlob, IndexedPack};
use crate::monitor::{Counter, Monitor};
use crate::repo::check::{Finding, blobs_by_pack, pack_error};
use crate::repo::mover::Mover;
use crate::repo::prune::ENTRIES_PER_INDEX;
use crate::repo::repository::{Repository, index_path, pack_path, run_blocking};

/// Headers read at once.
const HEADERS_AT_ONCE: usize = 8;
/// Packs read whole at once.
pub(super) const PACKS_AT_ONCE: usize = 3;
/// A pack that is larger than this is none of ours, in bytes.
const PACK_LIMIT: u64 = 1 << 30;

/// A pack with the blobs in it.
type Listed = (IndexedPack, Vec<IndexedBlob>);

/// How a pack was found.
enum Found {
    Whole(Listed),
    /// With the reason. What the index said of it may still help.
    Damaged(Error),
    /// Deleted since it was listed.
    Gone,
}

/// What became of a damaged pack.
enum Saved {
    /// So many of its blobs are in new packs.
    Copied(usize),
    /// It stays listed as it is.
    Kept(Listed),
}

impl Repository {
    /// Makes the index anew from the headers of the packs that are there; with `read_data`, from packs whose every byte
    /// was read and is as their names say. Of a damaged pack, the blobs that are whole are copied into a new one, and
    /// so are tree packs that are lost here and whole in the local cache; the damaged pack is left alone and out of the
    /// index. Marks for deletion are kept where they can still be read.
    ///
    /// Says how many packs are listed now, and what was found.
    ///
    /// # Errors
    /// The storage's.
    pub async fn repair_index(
        self: &Arc<Self>,
        read_data: bool,
        monitor: &dyn Monitor,
    ) -> Result<(usize, Vec<Finding>)> {
        // Index files before packs: one that comes later is not replaced, and its packs need not be seen.
        let mut findings = Vec::new();
        let old = self.index_files_present(&mut findings).await?;
        let stored = self.stored_packs().await?;
        monitor.add(Counter::ItemsTotal, stored.len() as i64);
        let at_once = if read_data { PACKS_AT_ONCE } else { HEADERS_AT_ONCE };
        let looked_at = futures::stream::iter(stored.iter().map(|(id, size)| (*id, *size)))
            .map(|(id, size)| async move { (id, self.look_at(id, size, read_data).await) })
            .buffer_unordered(at_once);
        let looked_at: Vec<_> = looked_at.inspect(|_| monitor.add(Counter::Items, 1)).collect().await;
        let (mut packs, mut damaged) = (Vec::new(), HashMap::new());
        for (id, found) in looked_at {
            match found? {
                Found::Whole(listed) => packs.push(listed),
                Found::Damaged(e) => drop(damaged.insert(id, e)),
                Found::Gone => {}
            }
        }
        // A prune lets go of a pack before it deletes it.
        let still = self.stored_index_files().await?;
        let replaced = replaced_by(&old);
        let counting = old.iter().filter(|(id, _)| still.contains(id) && !replaced.contains(id));
        for pack in counting.filter_map(|(_, f)| f.as_ref()).flat_map(|f| &f.packs) {
            if !stored.contains_key(&pack.id) {
                let missing = || Error::not_found(format!("Pack {} is missing", pack.id));
                damaged.entry(pack.id).or_insert_with(missing);
            }
        }
        packs.extend(self.save_what_is_whole(damaged, &mut findings).await?);
        // A prune may have deleted some since they were looked at.
        let stored = self.stored_packs().await?;
        packs.retain(|(pack, _)| stored.contains_key(&pack.id));
        let listed: Vec<PackId> = packs.iter().map(|(pack, _)| pack.id).collect();
        self.write_new_index(&old, packs).await?;
        let stored = self.stored_packs().await?;
        if let Some(gone) = listed.iter().find(|id| !stored.contains_key(*id)) {
            return Err(Error::new(ErrorKind::Unavailable, format!("A prune deleted pack {gone} at the same time"))
                .with_hint("run repair index again when the prune is done"));
        }
        let count = listed.len();
        findings.sort_by(|a, b| (!a.error, &a.object).cmp(&(!b.error, &b.object)));
        Ok((count, findings))
    }

    async fn look_at(self: &Arc<Self>, id: PackId, size: u64, read_data: bool) -> Result<Found> {
        let listed = if read_data { self.read_pack(id, size).await } else { self.fetch_pack_header(id, size).await };
        match listed {
            Ok(listed) => Ok(Found::Whole(listed)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Found::Gone),
            Err(e) if matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::UnsupportedVersion) => Ok(Found::Damaged(e)),
            Err(e) => Err(e),
        }
    }

    /// Reads a pack whole, and its header.
    pub(super) async fn read_pack(self: &Arc<Self>, id: PackId, size: u64) -> Result<Listed> {
        let bytes = self.storage.get(&pack_path(&id), size.min(PACK_LIMIT)).await?;
        let repo = self.clone();
        let read = move || {
            let what = format!("Pack {id}");
            if crypto::hash_buffers([&bytes[..]]) == id.0 {
                repo.read_pack_header(&what, id, &bytes)
            } else {
                Err(Error::corrupt(format!("{what} is damaged: its contents do not match its name")))
            }
        };
        run_blocking(read).await?
    }

    /// Copies the whole blobs of damaged and missing packs into new packs, durable when it returns.
    async fn save_what_is_whole(
        self: &Arc<Self>,
        damaged: HashMap<PackId, Error>,
        findings: &mut Vec<Finding>,
    ) -> Result<Vec<Listed>> {
        let listed = blobs_by_pack(&self.index(), damaged.keys().copied().collect());
        let known: HashMap<PackId, IndexedPack> =
            self.index().packs().filter(|p| damaged.contains_key(&p.id)).map(|p| (p.id, p.clone())).collect();
        let (mut mover, mut kept) = (Mover::new(self), Vec::new());
        let mut damaged: Vec<_> = damaged.into_iter().collect();
        damaged.sort_by_key(|(id, _)| *id);
        for (id, why) in damaged {
            let known = known.get(&id).cloned().zip(listed.get(&id).cloned());
            let all = known.as_ref().map(|(_, blobs)| blobs.len());
            let saved = match self.save_pack(id, known, &mut mover).await? {
                Saved::Copied(count) => count,
                Saved::Kept(listed) => {
                    kept.push(listed);
                    let text = format!("stays listed: {why}; only an owner's key can save what is whole of it");
                    findings.push(pack_error(id, text));
                    continue;
                }
            };
            let (text, lost) = match (saved, all) {
                (0, _) => ("nothing of it could be saved".to_owned(), true),
                (saved, Some(all)) if saved == all => (format!("all of its {all} blobs were saved"), false),
                (saved, Some(all)) => (format!("{saved} of its {all} blobs were saved"), true),
                (saved, None) => (format!("{saved} of its blobs were saved"), true),
            };
            let why = why.to_string();
            findings.push(Finding { error: lost, ..pack_error(id, format!("is left out: {why}; {text}")) });
        }
        kept.extend(mover.finish().await?.into_iter().map(|p| (p.pack, p.blobs)));
        Ok(kept)
    }

    /// Copies what is whole of a pack. Contents that this key cannot open stay where they are, and listed: the index alone
    /// may know where they lie.
    async fn save_pack(self: &Arc<Self>, id: PackId, known: Option<Listed>, mover: &mut Mover<'_>) -> Result<Saved> {
        let cached = self.cache.as_ref().and_then(|cache| cache.read_whole_pack(&id));
        let bytes = match cached {
            Some(bytes) => Bytes::from(bytes),
            None => match self.storage.get(&pack_path(&id), PACK_LIMIT).await {
                Ok(bytes) => bytes,
                Err(e) if e.is_loss() => {
                    return Ok(Saved::Copied(0));
                }
                Err(e) => return Err(e),
            },
        };
        let what = format!("Pack {id}");
        let Some((pack, blobs)) = self.read_pack_header(&what, id, &bytes).ok().or(known) else {
            return Ok(Saved::Copied(0));
        };
        if pack.kind == BlobKind::Content && self.right() == KeyRight::WriteOnly {
            return Ok(Saved::Kept((pack, blobs)));
        }
        let mut saved = HashSet::new();
        for blob in &blobs {
            let what = format!("Blob {} in pack {id}", blob.id.short());
            if self.open_checked(&what, &pack, blob, &bytes).is_ok() && saved.insert(blob.id) {
                mover.take_one(&pack, blob, &bytes)?;
                mover.store_full(false).await?;
            }
        }
        Ok(Saved::Copied(saved.len()))
    }

    /// Writes an index of these packs that stands in for the old one.
    async fn write_new_index(&self, old: &OldFiles, mut packs: Vec<Listed>) -> Result<()> {
        packs.sort_by_key(|(p, _)| p.id);
        // Packs do not list their chunks: those that index files still tell of are kept.
        let chunks = old.iter().filter_map(|(_, f)| f.as_ref()).flat_map(IndexFile::chunk_places);
        let mut files = IndexFile::split(packs, chunks, ENTRIES_PER_INDEX);
        let mut last = files.pop().unwrap_or_default();
        let replaced = replaced_by(old);
        let counting = old.iter().filter(|(id, _)| !replaced.contains(id));
        last.marks = counting.flat_map(|(_, f)| f.iter().flat_map(|f| f.marks.clone())).collect();
        last.marks.sort_by_key(|m| (m.pack, m.marked_us));
        last.marks.dedup_by_key(|m| m.pack);
        last.replaces = old.iter().map(|(id, _)| *id).collect();
        for file in &files {
            self.write_index_file(file).await?;
        }
        self.write_index_file(&last).await?;
        for (id, _) in old {
            self.storage.delete(&index_path(id)).await?;
        }
        self.reload_index().await
    }

    async fn index_files_present(&self, findings: &mut Vec<Finding>) -> Result<Vec<(IndexId, Option<IndexFile>)>> {
        let mut old = Vec::new();
        for entry in self.storage.list("index").await? {
            let Ok(id) = entry.path.rsplit('/').next().unwrap_or_default().parse::<IndexId>() else { continue };
            match self.read_index_file(&id).await {
                Ok(file) => old.push((id, Some(file))),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) if e.kind() == ErrorKind::Corrupt => {
                    let (object, text) = (format!("Index file {id}"), "was damaged and is replaced".to_owned());
                    findings.push(Finding { object, pack: None, text, error: false });
                    old.push((id, None));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(old)
    }
}

type OldFiles = [(IndexId, Option<IndexFile>)];

/// The index files that others stand in for.
fn replaced_by(old: &OldFiles) -> HashSet<IndexId> {
    old.iter().filter_map(|(_, f)| f.as_ref()).flat_map(|f| &f.replaces).copied().collect()
}
