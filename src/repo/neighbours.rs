//! Contents read out of their order: where each blob lies, and those that lie side by side read with one request.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::crypto::{BlobKind, Secret};
use crate::error::Result;
use crate::format::id::{BlobId, PackId};
use crate::format::index::{IndexedBlob, IndexedPack};
use crate::format::pack;
use crate::repo::repository::{Repository, pack_path};

/// So much is read at once, in bytes: fewer requests, while what waits to be opened stays small.
const READ_BYTES: u64 = 4 << 20;
/// So many bytes between two blobs are read along rather than asked for apart.
const GAP_BYTES: u64 = 64 << 10;

/// Where a blob of contents lies: what sorts close together is read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobPlace {
    /// The pack.
    pub pack: PackId,
    /// Where it begins in there, in bytes.
    pub offset: u32,
    /// How many bytes it takes there.
    pub stored_bytes: u32,
}

impl BlobPlace {
    /// Says whether one request pays for what begins at `first` and ends with this place.
    pub fn joins(&self, first: &Self, last: &Self) -> bool {
        let (end, start) = (u64::from(last.offset) + u64::from(last.stored_bytes), u64::from(self.offset));
        let reach = start + u64::from(self.stored_bytes);
        self.pack == first.pack
            && (end..=end + GAP_BYTES).contains(&start)
            && reach.saturating_sub(u64::from(first.offset)) <= READ_BYTES
    }
}

/// A blob as it came from its pack. To open it is work for a thread of its own.
pub struct StoredBlob(State);

enum State {
    Open(Bytes),
    Sealed { pack: PackId, blob: IndexedBlob, key: Secret, bytes: BytesMut },
}

impl std::fmt::Debug for StoredBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredBlob")
    }
}

impl StoredBlob {
    /// Decrypts and decompresses it.
    ///
    /// # Errors
    /// `Corrupt`: another pack may hold it whole, which [`Repository::read_blob`] tries.
    pub fn open(self) -> Result<Bytes> {
        match self.0 {
            State::Open(plain) => Ok(plain),
            State::Sealed { pack, blob, key, bytes } => {
                let what = format!("Blob {} in pack {pack}", blob.id.short());
                pack::open_blob_of_many(&what, &key, &blob, bytes)
            }
        }
    }
}

impl Repository {
    /// Where a blob of contents is read from first; none if the index does not list it.
    pub fn content_place(&self, id: &BlobId) -> Option<BlobPlace> {
        let (pack, blob) = self.content_location(id)?;
        Some(BlobPlace { pack: pack.id, offset: blob.offset, stored_bytes: blob.stored_bytes })
    }

    fn content_location(&self, id: &BlobId) -> Option<(IndexedPack, IndexedBlob)> {
        let found = self.index().find(id)?;
        (found.pack.kind == BlobKind::Content).then_some((found.pack, found.blob))
    }

    /// Reads blobs of contents that lie side by side (see [`BlobPlace::joins`]) with one request, past the memory for
    /// blobs that are read again. What is not there or cannot be had so is absent: [`Repository::read_blob`] knows more ways.
    ///
    /// # Errors
    /// Those of the storage that are no loss; `WrongKey` under a write-only key.
    pub async fn read_neighbours(self: &Arc<Self>, ids: &[BlobId]) -> Result<Vec<Option<StoredBlob>>> {
        let mut found: Vec<Option<StoredBlob>> = Vec::with_capacity(ids.len());
        let mut wanted: Vec<(usize, IndexedPack, IndexedBlob, Secret)> = Vec::new();
        for (number, id) in ids.iter().enumerate() {
            let kept = self.contents.lock().ok().and_then(|mut kept| kept.get(id));
            found.push(kept.map(|plain| StoredBlob(State::Open(plain))));
            if let (None, Some((pack, blob))) = (&found[number], self.content_location(id)) {
                match self.blob_key(&pack, &blob) {
                    Ok(key) => wanted.push((number, pack, blob, key)),
                    Err(e) if e.is_loss() => {}
                    Err(e) => return Err(e),
                }
            }
        }
        wanted.sort_by_key(|(_, pack, blob, _)| (pack.id, blob.offset));
        while let Some((_, first, blob, _)) = wanted.first() {
            let (pack, start) = (first.id, u64::from(blob.offset));
            let reach = |blob: &IndexedBlob| u64::from(blob.offset) + u64::from(blob.stored_bytes);
            let end_of_run = |(_, p, b, _): &(usize, IndexedPack, IndexedBlob, Secret)| {
                p.id == pack && reach(b).saturating_sub(start) <= READ_BYTES
            };
            let count = wanted.iter().take_while(|w| end_of_run(w)).count().max(1);
            let run: Vec<_> = wanted.drain(..count).collect();
            let end = run.iter().map(|(_, _, blob, _)| reach(blob)).max().unwrap_or(start);
            let bytes = match self.storage.get_range(&pack_path(&pack), start, end - start).await {
                Ok(bytes) => bytes,
                Err(e) if e.is_loss() => continue,
                Err(e) => return Err(e),
            };
            share_out(bytes, start, run, &mut found);
        }
        Ok(found)
    }
}

/// Gives each blob its part of what was read.
fn share_out(
    bytes: Bytes,
    start: u64,
    run: Vec<(usize, IndexedPack, IndexedBlob, Secret)>,
    found: &mut [Option<StoredBlob>],
) {
    let mut rest = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let mut at = start;
    for (number, pack, blob, key) in run {
        // Damage of the index alone lets blobs overlap; those are read one by one.
        let Some(skip) = u64::from(blob.offset).checked_sub(at).and_then(|n| usize::try_from(n).ok()) else { continue };
        let length = blob.stored_bytes as usize;
        if skip.checked_add(length).is_none_or(|end| end > rest.len()) {
            continue;
        }
        drop(rest.split_to(skip));
        let bytes = rest.split_to(length);
        at = u64::from(blob.offset) + u64::from(blob.stored_bytes);
        if let Some(place) = found.get_mut(number) {
            *place = Some(StoredBlob(State::Sealed { pack: pack.id, blob, key, bytes }));
        }
    }
}
