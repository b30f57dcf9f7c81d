//! Index files: `index/<id>`, sealed documents that say which pack holds which blob, and where.

use bincode::{Decode, Encode};

use crate::crypto::{BlobKind, SealedKey, TAG_BYTES};
use crate::error::{Error, Result};
use crate::format::id::{BlobId, IndexId, PackId};

/// A pack as an index file lists it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct IndexedPack {
    /// The pack.
    pub id: PackId,
    /// What it holds.
    pub kind: BlobKind,
    /// The size of the file in bytes.
    pub size_bytes: u64,
    /// The salt in its first 38 bytes: the state sub-key follows from it.
    pub salt: [u8; 32],
    /// The sealed pack keys of a content pack, in the order that [`IndexedBlob::key`] counts them.
    pub keys: Vec<SealedKey>,
}

/// A blob as an index file lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct IndexedBlob {
    /// The blob.
    pub id: BlobId,
    /// Which pack of this index file, counted from 0.
    pub pack: u32,
    /// Where its ciphertext begins in the pack, in bytes.
    pub offset: u32,
    /// How long its ciphertext is with its tag, in bytes.
    pub stored_bytes: u32,
    /// How long its plaintext is, in bytes. Equal to `stored_bytes` less the tag: it is not compressed.
    pub plain_bytes: u32,
    /// Which of the pack's keys, counted from 0. Tree packs: 0.
    pub key: u32,
    /// The nonce counter under that key.
    pub nonce: u64,
}

/// A pack that prune wants to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Mark {
    /// The pack.
    pub pack: PackId,
    /// When it was marked: microseconds since 1970 UTC.
    pub marked_us: i64,
}

/// An index file's contents.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct IndexFile {
    /// Packs, in the order that blobs refer to them.
    pub packs: Vec<IndexedPack>,
    /// Blobs, sorted by id.
    pub blobs: Vec<IndexedBlob>,
    /// Packs marked for deletion.
    pub marks: Vec<Mark>,
    /// Index files that this one stands in for: to be ignored where they are still seen.
    pub replaces: Vec<IndexId>,
}

impl IndexFile {
    /// Refuses an index that points outside its own packs.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn check(self, what: &str) -> Result<Self> {
        let wrong = |text: &str| Err(Error::corrupt(format!("{what}: {text}")));
        for blob in &self.blobs {
            let Some(pack) = usize::try_from(blob.pack).ok().and_then(|n| self.packs.get(n)) else {
                return wrong("a blob is in a pack that is not listed");
            };
            let end = u64::from(blob.offset) + u64::from(blob.stored_bytes);
            if end > pack.size_bytes || (blob.stored_bytes as usize) < TAG_BYTES {
                return wrong("a blob lies outside its pack");
            }
            if pack.kind == BlobKind::Content && blob.key as usize >= pack.keys.len() {
                return wrong("a blob has a key that is not listed");
            }
        }
        if self.blobs.windows(2).any(|w| matches!(w, [a, b] if a.id > b.id)) {
            return wrong("the blobs are not sorted");
        }
        Ok(self)
    }
}
