//! The one place that knows the wire format: Bincode 2, standard configuration (little endian,
//! variable-length integers), with a byte limit on every decode of bytes from outside.

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
pub fn decode<T: bincode::Decode<()>>(what: &str, bytes: &[u8]) -> Result<T> {
    let config = bincode::config::standard().with_limit::<DECODE_LIMIT_BYTES>();
    let (value, used) = bincode::decode_from_slice(bytes, config)
        .map_err(|e| Error::corrupt(format!("{what} does not decode")).with_source(e))?;
    if used != bytes.len() {
        return Err(Error::corrupt(format!("{what} has {} bytes too many", bytes.len() - used)));
    }
    Ok(value)
}
