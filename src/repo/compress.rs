//! Compression of blobs. Contexts and buffers are kept for the next blob: to make them anew costs more than a small
//! blob does. There are never more of them than were at work at once.

use std::sync::{Mutex, PoisonError};

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::format::pack::PreparedBlob;

/// What a compression needs: the context, and room for what comes out.
type Ready = (Compressor<'static>, Vec<u8>);

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
        let (mut compressor, mut buffer) =
            ready.map_or_else(|| Ok::<_, std::io::Error>((self.start()?, Vec::new())), Ok)?;
        buffer.clear();
        buffer.reserve(compress_bound(plain.len()));
        compressor.compress_to_buffer(plain, &mut buffer)?;
        let body = if buffer.len() < plain.len() { buffer.as_slice() } else { plain }.to_vec();
        idle().push((compressor, buffer));
        Ok(body)
    }

    /// Tables of half the usual size fit a core's cache: a tenth less time for a hundredth more bytes
    /// (docs/performance.md).
    fn start(&self) -> std::io::Result<Compressor<'static>> {
        let mut compressor = Compressor::new(self.level)?;
        if self.level == 3 {
            compressor.set_parameter(CParameter::HashLog(16))?;
            compressor.set_parameter(CParameter::ChainLog(15))?;
        }
        Ok(compressor)
    }
}
