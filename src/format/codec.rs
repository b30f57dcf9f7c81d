//! The one place that knows the wire format: Bincode 2, standard configuration (little endian,
//! variable-length integers), with a byte limit on every decode of bytes from outside.

use std::cell::RefCell;

use crate::error::{Error, Result};

/// The largest plaintext that any structure of a repository may decode from, in bytes.
pub const DECODE_LIMIT_BYTES: usize = 1 << 30;

/// Encodes a structure. Encoding into memory cannot fail for the types of this crate.
pub fn encode<T: bincode::Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard())
        .expect("encoding into a Vec fails for no type of this crate")
}

/// Decodes a structure that must fill `bytes` exactly.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] when the bytes do not decode, or some are left over. `what` names the object.
pub fn decode<T: bincode::Decode<()>>(what: impl std::fmt::Display, bytes: &[u8]) -> Result<T> {
    let config = bincode::config::standard().with_limit::<DECODE_LIMIT_BYTES>();
    let (value, used) = bincode::decode_from_slice(bytes, config)
        .map_err(|e| Error::corrupt(format!("{what} does not decode")).with_source(e))?;
    if used != bytes.len() {
        return Err(Error::corrupt(format!("{what} has {} bytes too many", bytes.len() - used)));
    }
    Ok(value)
}

/// How far a document may grow when decompressed, in bytes.
pub const DOCUMENT_LIMIT_BYTES: usize = 256 << 20;

/// Compresses a document's plaintext: one byte that tells how (0: as it is, 1: Zstandard), then the rest.
pub(crate) fn compress_document(plain: &[u8]) -> Vec<u8> {
    match zstd::bulk::compress(plain, 3) {
        Ok(small) if small.len() < plain.len() => [&[1], &small[..]].concat(),
        _ => [&[0], plain].concat(),
    }
}

/// Undoes [`compress_document`].
pub(crate) fn decompress_document(what: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    match bytes.split_first() {
        Some((0, rest)) => Ok(rest.to_vec()),
        Some((1, rest)) => {
            let size = zstd::bulk::Decompressor::upper_bound(rest).unwrap_or(DOCUMENT_LIMIT_BYTES + 1);
            if size > DOCUMENT_LIMIT_BYTES {
                return Err(Error::corrupt(format!("{what} says it is larger than {DOCUMENT_LIMIT_BYTES} bytes")));
            }
            decompress(what, rest, size)
        }
        _ => Err(Error::corrupt(format!("{what} is packed in an unknown way"))),
    }
}

thread_local! {
    /// Making one costs more than decompressing a small blob.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Decompresses a Zstandard frame of at most `limit` bytes of plaintext.
pub(crate) fn decompress(what: &str, bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let plain = DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            empty => empty.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress(bytes, limit)
    });
    plain.map_err(|e| Error::corrupt(format!("{what} does not decompress")).with_source(e))
}
