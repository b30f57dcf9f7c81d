//! Reading blobs: from memory, from the local cache, from packs; from another place when one fails.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;

use crate::crypto::{BlobKind, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::FileKind;
use crate::format::id::{BlobId, PackId};
use crate::format::index::{IndexedBlob, IndexedPack};
use crate::format::pack;
use crate::repo::cache::Cache;
use crate::repo::recent::Recent;
use crate::repo::reload::Trust;
use crate::repo::repository::{Repository, pack_path, run_blocking};
use crate::storage::Storage;

/// Pack keys kept in memory.
const KEYS_KEPT: usize = 100_000;
/// Blobs smaller than this are opened where they are, without a thread of their own; in bytes.
const SMALL_BLOB: u32 = 64 << 10;
/// Tree packs up to so many bytes are fetched whole for a node of them; of larger ones the node comes first, the pack behind.
const SMALL_TREE_PACK: u64 = 512 << 10;

impl Repository {
    /// Reads a blob's plaintext. Where one pack fails, another that holds the blob is tried; where prune moved it
    /// meanwhile, the index is loaded again; where all fails, replicas are asked.
    ///
    /// # Errors
    /// `NotFound` when no pack holds it, `Corrupt` when the pack is damaged (named), `WrongKey` for contents under a
    /// write-only key.
    pub async fn read_blob(self: &Arc<Self>, kind: BlobKind, id: &BlobId) -> Result<Bytes> {
        if let Some(bytes) = self.in_memory(kind).lock().ok().and_then(|mut c| c.get(id)) {
            return Ok(bytes);
        }
        if kind == BlobKind::Tree
            && let Some(bytes) = self.read_kept(id)
        {
            return Ok(bytes);
        }
        // A task of its own: it holds a gate that others wait for, and a place in the storage, and whoever asked may be busy
        // with something else (a stream asks for blobs ahead of its reader).
        let repo = self.me.upgrade().ok_or_else(|| Error::internal("The repository is closed"))?;
        let id = *id;
        let task = tokio::spawn(repo.read_somewhere(kind, id));
        let ended = AbortOnDropHandle::new(task).await;
        ended.map_err(|e| Error::internal("Reading a blob ended early").with_source(e))?
    }

    /// Reads a blob here, else from a replica, which is a repository too.
    fn read_somewhere(self: Arc<Self>, kind: BlobKind, id: BlobId) -> BoxFuture<'static, Result<Bytes>> {
        Box::pin(async move {
            match self.read_alone(kind, &id).await {
                Ok(bytes) => Ok(bytes),
                Err(e) => self.read_blob_elsewhere(kind, &id, e).await,
            }
        })
    }

    async fn read_alone(&self, kind: BlobKind, id: &BlobId) -> Result<Bytes> {
        // Many items lie in one segment: whoever comes while it is being read waits for it instead of reading it too.
        let _alone = pass(&self.gates, id.0[0]).await;
        if let Some(bytes) = self.in_memory(kind).lock().ok().and_then(|mut c| c.get(id)) {
            return Ok(bytes);
        }
        let was_distrusted = self.distrusted.try_lock().is_ok_and(|distrusted| *distrusted);
        let first = match self.read_anywhere(kind, id).await {
            Err(e) if e.is_loss() => e,
            other => return other,
        };
        if first.kind() == ErrorKind::NotFound {
            self.reload_index().await?;
            match self.read_anywhere(kind, id).await {
                Err(e) if e.is_loss() => {}
                other => return other,
            }
        }
        // The local cache may be what is damaged. Who comes while another reads past it waits for that.
        if self.cache.is_none() || was_distrusted {
            return Err(first);
        }
        let mut distrusted = self.distrusted.lock().await;
        if !*distrusted {
            self.reload_index_from(Trust::Nothing).await?;
            *distrusted = true;
        }
        drop(distrusted);
        match self.read_anywhere(kind, id).await {
            Err(e) if e.is_loss() => Err(first),
            other => other,
        }
    }

    /// Reads a tree blob that lies in the local cache: there is nothing to wait for.
    fn read_kept(&self, id: &BlobId) -> Option<Bytes> {
        let index = self.index();
        let found = index.find_all(id).find(|l| l.pack.kind == BlobKind::Tree)?;
        self.cache.as_ref().filter(|cache| cache.has_pack(&found.pack.id))?;
        let key = self.blob_key(&found.pack, &found.blob).ok()?;
        let plain = self.open_kept("A cached tree node", &found.pack, &found.blob, &key)?;
        Some(self.keep_in_memory(BlobKind::Tree, id, plain))
    }

    /// Opens a blob of a cached pack; a cached pack that does not open is removed.
    fn open_kept(&self, what: &str, pack: &IndexedPack, blob: &IndexedBlob, key: &Secret) -> Option<Vec<u8>> {
        let cache = self.cache.as_ref()?;
        let ciphertext = cache.read_pack(&pack.id, u64::from(blob.offset), blob.stored_bytes as usize);
        let plain = ciphertext.and_then(|bytes| pack::open_blob(what, key, blob, bytes).ok());
        if plain.is_none() {
            cache.remove_pack(&pack.id);
        }
        plain
    }

    fn in_memory(&self, kind: BlobKind) -> &Mutex<Recent<BlobId, Bytes>> {
        match kind {
            BlobKind::Content => &self.contents,
            BlobKind::Tree => &self.tree_nodes,
        }
    }

    /// A blob of contents, if it is in memory.
    pub(super) fn content_in_memory(&self, id: &BlobId) -> Option<Bytes> {
        self.contents.lock().ok()?.get(id)
    }

    /// Says whether a blob is in memory, without using it.
    pub(super) fn has_in_memory(&self, kind: BlobKind, id: &BlobId) -> bool {
        self.in_memory(kind).lock().is_ok_and(|cache| cache.contains(id))
    }

    fn keep_in_memory(&self, kind: BlobKind, id: &BlobId, plain: Vec<u8>) -> Bytes {
        let plain = Bytes::from(plain);
        if let Ok(mut cache) = self.in_memory(kind).lock() {
            cache.insert(*id, plain.clone(), plain.len());
        }
        plain
    }

    async fn read_anywhere(&self, kind: BlobKind, id: &BlobId) -> Result<Bytes> {
        let mut places: Vec<_> = self.index().find_all(id).map(|l| (l.marked, l.pack, l.blob)).collect();
        places.retain(|(_, pack, _)| pack.kind == kind);
        places.sort_by_key(|(marked, ..)| *marked);
        let mut first = None;
        for (_, pack, blob) in &places {
            match self.read_located(pack, blob).await {
                Ok(plain) => return Ok(self.keep_in_memory(kind, id, plain)),
                Err(e) if e.is_loss() => first = first.or(Some(e)),
                Err(e) => return Err(e),
            }
        }
        Err(first.unwrap_or_else(|| {
            Error::not_found(format!("Blob {id} is in no pack that the index lists"))
                .with_hint("run check; if packs are there that the index lacks, repair index")
        }))
    }

    /// Reads one blob from one pack.
    pub(crate) async fn read_located(&self, pack: &IndexedPack, blob: &IndexedBlob) -> Result<Vec<u8>> {
        let what = format!("Blob {} in pack {}", blob.id.short(), pack.id);
        let key = self.blob_key(pack, blob)?;
        let damaged = |e: Error| if e.kind() == ErrorKind::Corrupt { e.with_hint("run check --read-data") } else { e };
        if pack.kind == BlobKind::Tree
            && let Some(plain) = self.read_cached_tree(pack, blob, &key, &what).await?
        {
            return Ok(plain);
        }
        let path = pack_path(&pack.id);
        let ciphertext = self.storage.get_range(&path, u64::from(blob.offset), u64::from(blob.stored_bytes)).await?;
        let blob = *blob;
        if blob.plain_bytes < SMALL_BLOB {
            return pack::open_blob(&what, &key, &blob, ciphertext.into()).map_err(damaged);
        }
        run_blocking(move || pack::open_blob(&what, &key, &blob, ciphertext.into())).await?.map_err(damaged)
    }

    /// Reads a tree blob through the local cache; fetches the whole pack into it, a large one behind whoever reads: a page of a
    /// folder has its nodes in many packs. `None`: the pack is not there (yet).
    async fn read_cached_tree(
        &self,
        pack: &IndexedPack,
        blob: &IndexedBlob,
        key: &Secret,
        what: &str,
    ) -> Result<Option<Vec<u8>>> {
        let Some(cache) = &self.cache else { return Ok(None) };
        if !cache.has_pack(&pack.id) {
            if pack.size_bytes > SMALL_TREE_PACK {
                self.fetch_behind(cache, pack);
                return Ok(None);
            }
            // Several nodes of it may be asked for at once.
            let _alone = pass(&self.pack_gates, pack.id.0[0]).await;
            if !cache.has_pack(&pack.id) {
                match whole_pack(&*self.storage, &pack.id, pack.size_bytes).await? {
                    Some(bytes) => cache.write_pack(&pack.id, &bytes),
                    // Not kept; the reader takes what it needs by range, so that other blobs still read.
                    None => return Ok(None),
                }
            }
        }
        Ok(self.open_kept(what, pack, blob, key))
    }

    /// Fetches a tree pack into the cache while others go on; one at a time, and none twice.
    fn fetch_behind(&self, cache: &Cache, pack: &IndexedPack) {
        let Ok(alone) = self.fetching.clone().try_acquire_owned() else { return };
        let is_new = self.fetched.lock().is_ok_and(|mut fetched| fetched.insert(pack.id));
        if !is_new {
            return;
        }
        let (storage, cache, id, size_bytes) = (self.storage.clone(), cache.clone(), pack.id, pack.size_bytes);
        tokio::spawn(async move {
            let _alone = alone;
            match whole_pack(&*storage, &id, size_bytes).await {
                Ok(Some(bytes)) => drop(run_blocking(move || cache.write_pack(&id, &bytes)).await),
                Ok(None) => {}
                Err(e) => tracing::debug!("Pack {id} does not come into the cache: {}", e.chain()),
            }
        });
    }

    /// The key that opens a blob of a pack.
    pub(crate) fn blob_key(&self, pack: &IndexedPack, blob: &IndexedBlob) -> Result<Secret> {
        if pack.kind == BlobKind::Tree {
            return Ok(self.keys.state_sub_key(FileKind::TreePack as u8, &pack.salt));
        }
        let sealed = pack
            .keys
            .get(blob.key as usize)
            .ok_or_else(|| Error::corrupt(format!("The index names a key that pack {} does not have", pack.id)))?;
        if let Some(key) = self.pack_keys.lock().ok().and_then(|k| k.get(sealed).cloned()) {
            return Ok(key);
        }
        let key = self.keys.open_pack_key(sealed)?;
        if let Ok(mut known) = self.pack_keys.lock() {
            if known.len() > KEYS_KEPT {
                known.clear();
            }
            known.insert(*sealed, key.clone());
        }
        Ok(key)
    }
}

/// Waits at the gate of what a byte belongs to.
async fn pass(gates: &[tokio::sync::Mutex<()>], byte: u8) -> Option<tokio::sync::MutexGuard<'_, ()>> {
    match gates.get(usize::from(byte) % gates.len().max(1)) {
        Some(gate) => Some(gate.lock().await),
        None => None,
    }
}

/// A pack, unless what lies there is not what its name says.
async fn whole_pack(storage: &dyn Storage, id: &PackId, size_bytes: u64) -> Result<Option<Bytes>> {
    match storage.get(&pack_path(id), size_bytes).await {
        Ok(bytes) if crate::crypto::hash_buffers([&bytes[..]]) == id.0 => Ok(Some(bytes)),
        Ok(_) => Ok(None),
        Err(e) if e.kind() == ErrorKind::Corrupt => Ok(None),
        Err(e) => Err(e),
    }
}
