//! The first six bytes of every file, and the sealed document that most files are.
//!
//! `TVLT`, version, kind. A sealed document goes on with a random salt of 32 bytes and the ciphertext of its
//! payload, under a key of its own (state key, kind, salt) and nonce 0; the 38 bytes before are associated data.

use crate::crypto::{self, MasterKeys, random_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::format::codec;

/// The first four bytes of every file.
pub const MAGIC: [u8; 4] = *b"TVLT";
/// The format version that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u8 = 1;
/// Magic, version, kind.
pub const PREFIX_BYTES: usize = 6;
/// Prefix and salt.
pub const SALTED_BYTES: usize = PREFIX_BYTES + 32;

/// What a file holds: the sixth byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FileKind {
    /// The repository's settings.
    Config = 1,
    /// A key slot.
    Key = 2,
    /// A pack of contents.
    ContentPack = 3,
    /// A pack of tree blobs.
    TreePack = 4,
    /// An index file.
    Index = 5,
    /// A snapshot.
    Snapshot = 6,
    /// A backup set's definition.
    Set = 7,
    /// The facts of a run.
    Run = 8,
}

/// The prefix of a file of this kind.
pub fn prefix(kind: FileKind) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = MAGIC;
    [a, b, c, d, FORMAT_VERSION, kind as u8]
}

/// Checks a file's prefix and gives the rest.
///
/// # Errors
/// `Corrupt` when it is no file of ours or of another kind, `UnsupportedVersion` when it is newer than this program.
pub fn check_prefix<'a>(what: &str, kind: FileKind, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let Some((head, rest)) = bytes.split_at_checked(PREFIX_BYTES) else {
        return Err(Error::corrupt(format!("{what} is too short: {} bytes", bytes.len())));
    };
    let &[a, b, c, d, version, found_kind] = head else {
        return Err(Error::corrupt(format!("{what} is too short")));
    };
    if [a, b, c, d] != MAGIC {
        return Err(Error::corrupt(format!("{what} is not a file of a Tenantvault repository")));
    }
    if version > FORMAT_VERSION {
        return Err(Error::new(
            ErrorKind::UnsupportedVersion,
            format!("{what} has format version {version}; this program reads up to {FORMAT_VERSION}"),
        )
        .with_hint("use a newer tenantvault"));
    }
    if version != FORMAT_VERSION || found_kind != kind as u8 {
        return Err(Error::corrupt(format!("{what} is a file of another kind ({found_kind}, version {version})")));
    }
    Ok(rest)
}

/// Seals a structure into a document: encoded, compressed, encrypted. Every call uses a new salt, so a new key.
pub fn seal_document<T: bincode::Encode>(keys: &MasterKeys, kind: FileKind, value: &T) -> Vec<u8> {
    seal_document_with_salt(keys, kind, value, random_bytes())
}

/// As [`seal_document`], with a given salt: for test vectors. A salt must never be used twice under one state key.
pub fn seal_document_with_salt<T: bincode::Encode>(
    keys: &MasterKeys,
    kind: FileKind,
    value: &T,
    salt: [u8; 32],
) -> Vec<u8> {
    let plain = codec::encode(value);
    let mut out = prefix(kind).to_vec();
    out.extend_from_slice(&salt);
    let head: [u8; SALTED_BYTES] = std::array::from_fn(|i| out[i]);
    out.extend_from_slice(&codec::compress_document(&plain));
    crypto::seal_in_place(&keys.state_sub_key(kind as u8, &salt), 0, &head, &mut out, SALTED_BYTES);
    out
}

/// Opens a sealed document.
///
/// # Errors
/// `Corrupt`, `UnsupportedVersion`; `what` names the object.
pub fn open_document<T: bincode::Decode<()>>(what: &str, keys: &MasterKeys, kind: FileKind, bytes: &[u8]) -> Result<T> {
    check_prefix(what, kind, bytes)?;
    let Some((head, body)) = bytes.split_at_checked(SALTED_BYTES) else {
        return Err(Error::corrupt(format!("{what} is too short: {} bytes", bytes.len())));
    };
    let salt = salt_of(what, head)?;
    let mut body = body.to_vec();
    crypto::open_in_place(what, &keys.state_sub_key(kind as u8, &salt), 0, head, &mut body)?;
    codec::decode(what, &codec::decompress_document(what, &body)?)
}

/// The salt in the first 38 bytes of a file.
pub(crate) fn salt_of(what: &str, head: &[u8]) -> Result<[u8; 32]> {
    head.get(PREFIX_BYTES..SALTED_BYTES)
        .and_then(|s| s.try_into().ok())
        .ok_or_else(|| Error::corrupt(format!("{what} is too short")))
}
