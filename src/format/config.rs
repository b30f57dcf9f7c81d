//! The repository's settings: `config`, a sealed document.

use bincode::{Decode, Encode};

use crate::crypto::random_bytes;
use crate::error::{Error, Result};
use crate::format::id::RepoId;

/// Sizes and seeds that must be the same for every writer, so that equal contents give equal blobs.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct RepoConfig {
    /// The repository's id.
    pub id: RepoId,
    /// When it was made: microseconds since 1970 UTC.
    pub created_us: i64,
    /// Seed of the chunker's gear table: cut points differ from repository to repository.
    pub chunker_seed: [u8; 32],
    /// FastCDC: the smallest chunk, in bytes.
    pub chunk_min_bytes: u32,
    /// FastCDC: the wanted average, in bytes.
    pub chunk_avg_bytes: u32,
    /// FastCDC: the largest chunk, in bytes.
    pub chunk_max_bytes: u32,
    /// Streams of at most so many bytes share segments; larger ones have segments of their own.
    pub small_stream_bytes: u32,
    /// A segment is closed before it would grow beyond so many bytes.
    pub segment_bytes: u32,
    /// A pack is closed when it has at least so many bytes.
    pub pack_bytes: u32,
}

impl RepoConfig {
    /// The settings of a new repository; sizes as measured in `docs/performance.md`.
    pub fn new(created_us: i64) -> Self {
        Self {
            id: RepoId(random_bytes()),
            created_us,
            chunker_seed: random_bytes(),
            chunk_min_bytes: 16 << 10,
            chunk_avg_bytes: 64 << 10,
            chunk_max_bytes: 256 << 10,
            small_stream_bytes: 1 << 20,
            segment_bytes: 2 << 20,
            pack_bytes: 16 << 20,
        }
    }

    /// Refuses sizes that would not work or take unbounded memory.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn check(self) -> Result<Self> {
        let chunks = self.chunk_min_bytes >= 64
            && self.chunk_avg_bytes >= 256
            && self.chunk_max_bytes >= 1024
            && self.chunk_min_bytes < self.chunk_avg_bytes
            && self.chunk_avg_bytes < self.chunk_max_bytes
            && self.chunk_avg_bytes <= 8 << 20
            && self.chunk_max_bytes <= 16 << 20
            // FastCDC looks at bytes in pairs, and has masks for averages up to 8 MiB.
            && [self.chunk_min_bytes, self.chunk_avg_bytes, self.chunk_max_bytes].iter().all(|n| n.is_multiple_of(2));
        let rest = (self.chunk_max_bytes..=16 << 20).contains(&self.segment_bytes)
            && self.small_stream_bytes <= 16 << 20
            && (1..=512 << 20).contains(&self.pack_bytes);
        if chunks && rest { Ok(self) } else { Err(Error::corrupt("The repository's config holds impossible sizes")) }
    }
}

impl std::fmt::Debug for RepoConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RepoConfig").field("id", &self.id).finish_non_exhaustive()
    }
}
