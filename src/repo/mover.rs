//! Moving blobs from pack to pack: for prune, and for a backup whose blobs prune has marked meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::crypto::BlobKind;
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::{BlobId, PackId};
use crate::format::index::{IndexedBlob, IndexedPack};
use crate::format::pack::{FinishedPack, PackBuilder};
use crate::repo::compress::Compressors;
use crate::repo::repository::{Repository, pack_path};
use crate::repo::upload::index_of;
use crate::repo::writer::WriterOptions;

/// Copies blobs into new packs: contents as ciphertext, tree blobs under a new key.
pub(super) struct Mover<'a> {
    repo: &'a Arc<Repository>,
    builders: [Option<PackBuilder>; 2],
    done: Vec<FinishedPack>,
    compressors: Compressors,
}

impl<'a> Mover<'a> {
    pub(super) fn new(repo: &'a Arc<Repository>) -> Self {
        let compressors = Compressors::new(WriterOptions::default().level);
        Self { repo, builders: [None, None], done: Vec::new(), compressors }
    }

    /// Takes over some blobs of a pack.
    pub(super) async fn take(&mut self, pack: &IndexedPack, blobs: &[IndexedBlob]) -> Result<()> {
        let bytes = self.repo.storage.get(&pack_path(&pack.id), pack.size_bytes).await?;
        let intact = crate::crypto::hash_buffers([&bytes[..]]) == pack.id.0;
        if !intact {
            return Err(Error::corrupt(format!("Pack {} is damaged: its contents do not match its name", pack.id))
                .with_hint("run check --read-data to see what it touches"));
        }
        // The pack's own header says where they are: a ciphertext cut wrongly could not be noticed here.
        let what = format!("Pack {}", pack.id);
        let (pack, listed) = self.repo.read_pack_header(&what, pack.id, &bytes)?;
        let wanted: HashSet<BlobId> = blobs.iter().map(|b| b.id).collect();
        let mut taken = HashSet::new();
        for blob in listed.iter().filter(|b| wanted.contains(&b.id)) {
            if taken.insert(blob.id) {
                self.take_one(&pack, blob, &bytes)?;
                self.store_full(false).await?;
            }
        }
        match wanted.difference(&taken).next() {
            Some(id) => {
                Err(Error::corrupt(format!("Pack {} does not hold blob {id}, which the index says it does", pack.id))
                    .with_hint("repair index"))
            }
            None => Ok(()),
        }
    }

    pub(super) fn take_one(&mut self, pack: &IndexedPack, blob: &IndexedBlob, bytes: &Bytes) -> Result<()> {
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
                let prepared = self.compressors.prepare(blob.id, &plain)?;
                let builder = match &mut self.builders[1] {
                    Some(builder) => builder,
                    empty => empty.insert(PackBuilder::new(keys, BlobKind::Tree, 1 << 20)?),
                };
                builder.append(&prepared)
            }
        }
    }

    pub(super) async fn store_full(&mut self, all: bool) -> Result<()> {
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
        let mut there: HashMap<PackId, bool> = HashMap::new();
        for id in blobs {
            if index.has_live(id) {
                continue;
            }
            // A pack that is marked and listed may be gone: one of several prunes at once listed it again.
            let mut found = None;
            for place in index.find_all(id) {
                let is_there = match there.get(&place.pack.id) {
                    Some(is_there) => *is_there,
                    None => self.has_pack(&place.pack.id).await?,
                };
                there.insert(place.pack.id, is_there);
                if is_there {
                    found = Some(place);
                    break;
                }
            }
            let found = found.ok_or_else(|| deleted_meanwhile(id))?;
            by_pack.entry(found.pack.id).or_insert_with(|| (found.pack, Vec::new())).1.push(found.blob);
        }
        if by_pack.is_empty() {
            return Ok(0);
        }
        let mut mover = Mover::new(self);
        for (pack, blobs) in by_pack.values() {
            mover.take(pack, blobs).await.map_err(|e| match (e.kind(), blobs.first()) {
                (ErrorKind::NotFound, Some(blob)) => deleted_meanwhile(&blob.id).with_source(e),
                _ => e,
            })?;
        }
        let packs = mover.finish().await?;
        let count = packs.iter().map(|p| p.blobs.len()).sum();
        self.write_index_file(&index_of(&packs)).await?;
        self.reload_index().await?;
        Ok(count)
    }

    async fn has_pack(&self, id: &PackId) -> Result<bool> {
        match self.storage.stat(&pack_path(id)).await {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn deleted_meanwhile(id: &BlobId) -> Error {
    Error::not_found(format!("Blob {id} was deleted while this run was building upon it"))
        .with_hint("run the backup again; give prune a longer --grace than backups take")
}
