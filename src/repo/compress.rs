//! Compression of blobs. Contexts and buffers are kept for the next blob: to make them anew costs more than a small
//! blob does. There are never more of them than were at work at once.

use std::sync::{Mutex, PoisonError};

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::format::pack::PreparedBlob;

/// The level for what is dense already: pictures, archives, what programs packed themselves. Five to ten times as fast as
/// level 3, which finds one or two hundredths more in it (docs/performance.md).
const DENSE_LEVEL: i32 = -1;
/// A blob is dense when samples of it shrink by less than one part in so many.
const DENSE_SHARE: usize = 16;
/// Shorter blobs are not sampled, in bytes.
const SAMPLED_FROM: usize = 256 << 10;
/// How many samples are taken, and how long each is, in bytes.
const SAMPLES: usize = 3;
const SAMPLE_BYTES: usize = 32 << 10;

/// What a compression needs: the contexts, and room for what comes out.
struct Ready {
    usual: Compressor<'static>,
    dense: Compressor<'static>,
    buffer: Vec<u8>,
}

/// Compresses blobs at one level, on any thread.
pub(super) struct Compressors {
    level: i32,
    idle: Mutex<Vec<Ready>>,
}

impl Compressors {
    /// Makes them; `level` is Zstandard's.
    pub(super) fn new(level: i32) -> Self {
        Self { level, idle: Mutex::default() }
    }

    /// Compresses a blob where that helps.
    ///
    /// # Errors
    /// `Internal`.
    pub(super) fn prepare(&self, id: BlobId, plain: &[u8]) -> Result<PreparedBlob> {
        let plain_bytes = u32::try_from(plain.len()).map_err(|_| Error::internal("A blob is larger than 4 GiB"))?;
        let body = self.compress(plain).map_err(|e| Error::internal("Compression failed").with_source(e))?;
        Ok(PreparedBlob { id, plain_bytes, body })
    }

    fn compress(&self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = idle().pop();
        let mut ready = ready.map_or_else(|| self.start(), Ok)?;
        let dense = ready.finds_dense(plain)?;
        let Ready { usual, dense: fast, buffer } = &mut ready;
        (if dense { fast } else { usual }).compress_to_buffer(plain, emptied(buffer, plain.len()))?;
        let body = if ready.buffer.len() < plain.len() { ready.buffer.as_slice() } else { plain }.to_vec();
        idle().push(ready);
        Ok(body)
    }

    /// Tables of half the usual size fit a core's cache: a tenth less time for a hundredth more bytes
    /// (docs/performance.md).
    fn start(&self) -> std::io::Result<Ready> {
        let mut usual = Compressor::new(self.level)?;
        if self.level == 3 {
            usual.set_parameter(CParameter::HashLog(16))?;
            usual.set_parameter(CParameter::ChainLog(15))?;
        }
        let dense = Compressor::new(DENSE_LEVEL.min(self.level))?;
        Ok(Ready { usual, dense, buffer: Vec::new() })
    }
}

impl Ready {
    /// Says whether there is little to gain from a blob.
    fn finds_dense(&mut self, plain: &[u8]) -> std::io::Result<bool> {
        if plain.len() < SAMPLED_FROM {
            return Ok(false);
        }
        let step = plain.len() / SAMPLES;
        let mut small = 0;
        for sample in plain.chunks_exact(step).filter_map(|part| part.get(step / 2..)?.get(..SAMPLE_BYTES)) {
            small += self.dense.compress_to_buffer(sample, emptied(&mut self.buffer, sample.len()))?;
        }
        let sampled = SAMPLES * SAMPLE_BYTES;
        Ok(small > sampled - sampled / DENSE_SHARE)
    }
}

/// The buffer, empty, with room for so many bytes compressed.
fn emptied(buffer: &mut Vec<u8>, length: usize) -> &mut Vec<u8> {
    buffer.clear();
    buffer.reserve(compress_bound(length));
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut out);
        out
    }

    #[test]
    fn a_blob_is_dense_where_its_samples_are() {
        let compressors = Compressors::new(3);
        let mut ready = compressors.start().unwrap();
        let text = b"all work and no play makes a dull archive ".repeat(10_000);
        assert!(!ready.finds_dense(&text).unwrap());
        assert!(ready.finds_dense(&noise(SAMPLED_FROM)).unwrap());
        assert!(!ready.finds_dense(&noise(SAMPLED_FROM - 1)).unwrap(), "too short to be sampled");
        let half = [&noise(text.len())[..], &text].concat();
        assert!(!ready.finds_dense(&half).unwrap(), "half of it can be made small");
    }

    #[test]
    fn whatever_the_level_a_blob_comes_back() {
        let compressors = Compressors::new(3);
        let text = b"abc ".repeat(100_000);
        for plain in [Vec::new(), vec![7], text.clone(), noise(SAMPLED_FROM), [noise(300_000), text].concat()] {
            let body = compressors.compress(&plain).unwrap();
            assert!(body.len() <= plain.len());
            let back =
                if body.len() == plain.len() { body } else { zstd::bulk::decompress(&body, plain.len()).unwrap() };
            assert!(back == plain);
        }
    }
}
