//! Index files: `index/<id>`, sealed documents that say which pack holds which blob, and where.

use std::collections::HashMap;

use bincode::{Decode, Encode};

use crate::crypto::{BlobKind, SealedKey, TAG_BYTES};
use crate::error::{Error, Result};
use crate::format::id::{BlobId, ChunkId, IndexId, PackId};

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

/// A chunk as an index file lists it: for writers, who look for contents that are stored already. Readers need none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct IndexedChunk {
    /// The chunk.
    pub id: ChunkId,
    /// Which blob of this index file holds it, counted from 0.
    pub blob: u32,
    /// Where it begins in the blob's plaintext, in bytes.
    pub offset: u32,
    /// How long it is, in bytes.
    pub length: u32,
}

/// Where a chunk lies, apart from any index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPlace {
    /// The chunk.
    pub id: ChunkId,
    /// The segment that holds it.
    pub segment: BlobId,
    /// Where it begins there, in bytes.
    pub offset: u32,
    /// How long it is, in bytes.
    pub length: u32,
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
    /// Chunks in those blobs, sorted by id. Not all of them: what a writer does not find it stores again.
    pub chunks: Vec<IndexedChunk>,
    /// Packs marked for deletion.
    pub marks: Vec<Mark>,
    /// Index files that this one stands in for: to be ignored where they are still seen.
    pub replaces: Vec<IndexId>,
}

/// No writer makes a blob of more plaintext, in bytes: what claims to be larger must not be given memory.
pub const MAX_PLAIN_BYTES: u32 = 16 << 20;

impl IndexFile {
    /// Lists packs with their blobs, and the chunks that lie in these.
    pub fn of(packs: impl IntoIterator<Item = (IndexedPack, Vec<IndexedBlob>)>, chunks: Vec<ChunkPlace>) -> Self {
        let mut file = Self::default();
        for (n, (pack, blobs)) in (0..).zip(packs) {
            file.packs.push(pack);
            file.blobs.extend(blobs.into_iter().map(|b| IndexedBlob { pack: n, ..b }));
        }
        file.blobs.sort_by_key(|b| b.id);
        let indexed = |c: &ChunkPlace| {
            let at = file.blobs.binary_search_by_key(&c.segment, |b| b.id).ok()?;
            Some(IndexedChunk { id: c.id, blob: u32::try_from(at).ok()?, offset: c.offset, length: c.length })
        };
        file.chunks = chunks.iter().filter_map(indexed).collect();
        file.chunks.sort_by_key(|c| c.id);
        file.chunks.dedup_by_key(|c| c.id);
        file
    }

    /// Lists packs in as many files as it takes, of about `entries` blobs and chunks each.
    pub fn split(
        packs: Vec<(IndexedPack, Vec<IndexedBlob>)>,
        chunks: impl Iterator<Item = ChunkPlace>,
        entries: usize,
    ) -> Vec<Self> {
        let mut by_segment: HashMap<BlobId, Vec<ChunkPlace>> = HashMap::new();
        chunks.for_each(|c| by_segment.entry(c.segment).or_default().push(c));
        let mut files = Vec::new();
        let mut rest = packs.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut part, mut part_chunks, mut blobs) = (Vec::new(), Vec::new(), 0);
            while blobs + part_chunks.len() < entries
                && let Some(pack) = rest.next()
            {
                blobs += pack.1.len();
                part_chunks.extend(pack.1.iter().filter_map(|b| by_segment.remove(&b.id)).flatten());
                part.push(pack);
            }
            files.push(Self::of(part, part_chunks));
        }
        files
    }

    /// Says where the chunks lie, in the order of their ids.
    pub fn chunk_places(&self) -> impl Iterator<Item = ChunkPlace> + Clone + '_ {
        self.chunks.iter().filter_map(|c| {
            let segment = self.blobs.get(c.blob as usize)?.id;
            Some(ChunkPlace { id: c.id, segment, offset: c.offset, length: c.length })
        })
    }

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
            if blob.plain_bytes > MAX_PLAIN_BYTES {
                return wrong("a blob is larger than any that is written");
            }
            if pack.kind == BlobKind::Content && blob.key as usize >= pack.keys.len() {
                return wrong("a blob has a key that is not listed");
            }
        }
        if self.blobs.windows(2).any(|w| matches!(w, [a, b] if a.id > b.id)) {
            return wrong("the blobs are not sorted");
        }
        for chunk in &self.chunks {
            let Some(blob) = self.blobs.get(chunk.blob as usize) else {
                return wrong("a chunk is in a blob that is not listed");
            };
            if u64::from(chunk.offset) + u64::from(chunk.length) > u64::from(blob.plain_bytes) {
                return wrong("a chunk lies outside its blob");
            }
        }
        if self.chunks.windows(2).any(|w| matches!(w, [a, b] if a.id > b.id)) {
            return wrong("the chunks are not sorted");
        }
        Ok(self)
    }
}
