//! Content-defined cutting: FastCDC (Xia et al., USENIX ATC 2016; the 2020 variant) over a gear table of the
//! repository's own, so that cut points say nothing about known files.

use bytes::{Bytes, BytesMut};
use fastcdc::v2020::{Normalization, cut_gear, select_masks};

use crate::format::config::RepoConfig;

const GEAR_CONTEXT: &str = "tenantvault v1 chunker gear table";

/// Cuts streams into chunks.
pub struct Chunker {
    min: usize,
    avg: usize,
    max: usize,
    masks: (u64, u64),
    gear: Box<[u64; 256]>,
    gear_shifted: Box<[u64; 256]>,
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chunker({}, {}, {})", self.min, self.avg, self.max)
    }
}

impl Chunker {
    /// Derives the gear table from the repository's seed: 256 little-endian 64-bit integers from BLAKE3's
    /// extendable output.
    pub fn new(config: &RepoConfig) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(GEAR_CONTEXT);
        hasher.update(&config.chunker_seed);
        let mut output = hasher.finalize_xof();
        let mut gear = Box::new([0u64; 256]);
        for slot in gear.iter_mut() {
            let mut bytes = [0; 8];
            output.fill(&mut bytes);
            *slot = u64::from_le_bytes(bytes);
        }
        let gear_shifted = Box::new(gear.map(|v| v << 1));
        let avg = config.chunk_avg_bytes as usize;
        Self {
            min: config.chunk_min_bytes as usize,
            avg,
            max: config.chunk_max_bytes as usize,
            masks: select_masks(avg, Normalization::Level2),
            gear,
            gear_shifted,
        }
    }

    /// The largest chunk, in bytes.
    pub fn max_bytes(&self) -> usize {
        self.max
    }

    /// Cuts what can be cut from the front of `buffer`. Unless the stream has ended, what is shorter than the
    /// largest chunk stays there, for its end may lie ahead. The chunks do not depend on how the stream was read.
    pub fn cut(&self, buffer: &mut BytesMut, ended: bool) -> Vec<Bytes> {
        let mut chunks = Vec::new();
        while buffer.len() >= self.max || (ended && !buffer.is_empty()) {
            let length = self.next_length(buffer);
            chunks.push(buffer.split_to(length).freeze());
        }
        chunks
    }

    /// How long the chunk at the front of the last `bytes` of a stream is.
    pub(super) fn next_length(&self, bytes: &[u8]) -> usize {
        if bytes.len() <= self.min {
            return bytes.len();
        }
        let (s, l) = self.masks;
        let (_, length) =
            cut_gear(bytes, self.min, self.avg, self.max, s, l, s << 1, l << 1, &self.gear[..], &self.gear_shifted[..]);
        length.clamp(1, bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
        out
    }

    fn chunker() -> Chunker {
        let mut config = RepoConfig::new(0);
        config.chunk_min_bytes = 2 << 10;
        config.chunk_avg_bytes = 8 << 10;
        config.chunk_max_bytes = 32 << 10;
        config.chunker_seed = [9; 32];
        Chunker::new(&config)
    }

    fn cut_in_reads(chunker: &Chunker, data: &[u8], read: usize) -> Vec<Bytes> {
        let (mut buffer, mut chunks) = (BytesMut::new(), Vec::new());
        for part in data.chunks(read) {
            buffer.extend_from_slice(part);
            chunks.extend(chunker.cut(&mut buffer, false));
        }
        chunks.extend(chunker.cut(&mut buffer, true));
        chunks
    }

    #[test]
    fn chunks_rejoin_within_their_sizes_however_the_stream_is_read() {
        let chunker = chunker();
        for length in [0, 1, 2047, 2048, 2049, 40_000, 1_000_003] {
            let data = noise(length as u64, length);
            let whole = cut_in_reads(&chunker, &data, length.max(1));
            assert_eq!(whole.concat(), data);
            assert_eq!(whole, cut_in_reads(&chunker, &data, 777));
            assert_eq!(whole, cut_in_reads(&chunker, &data, 65_536));
            for (n, chunk) in whole.iter().enumerate() {
                assert!(chunk.len() <= 32 << 10 && (chunk.len() >= 2 << 10 || n + 1 == whole.len()));
            }
        }
    }

    #[test]
    fn one_insertion_moves_few_cuts() {
        let chunker = chunker();
        let data = noise(1, 2_000_000);
        let mut changed = data.clone();
        changed.splice(1_000_000..1_000_000, *b"inserted");
        let before: std::collections::HashSet<_> = cut_in_reads(&chunker, &data, 65_536).into_iter().collect();
        let after = cut_in_reads(&chunker, &changed, 65_536);
        let new = after.iter().filter(|c| !before.contains(*c)).count();
        assert!(new <= 4, "{new} of {} chunks are new", after.len());
    }

    #[test]
    fn another_seed_cuts_elsewhere() {
        let data = noise(2, 500_000);
        let mut config = RepoConfig::new(0);
        (config.chunk_min_bytes, config.chunk_avg_bytes, config.chunk_max_bytes) = (2 << 10, 8 << 10, 32 << 10);
        let other = cut_in_reads(&Chunker::new(&config), &data, 65_536);
        assert_ne!(cut_in_reads(&chunker(), &data, 65_536), other);
    }
}
