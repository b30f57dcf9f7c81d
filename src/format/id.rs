//! Ids as types of their own, so that no two kinds are ever mixed up.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The bytes of the id.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
            /// The first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                self.to_string().chars().take(8).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                parse_hex(text)
                    .map(Self)
                    .ok_or_else(|| Error::invalid(format!("'{text}' is not an id of 64 hexadecimal digits")))
            }
        }
    };
}

id_type!(
    /// A blob's id: the keyed BLAKE3 hash of its plaintext.
    BlobId
);
id_type!(
    /// A pack's id: the BLAKE3 hash of the whole file. Its file name.
    PackId
);
id_type!(
    /// An index file's id: the BLAKE3 hash of the whole file. Its file name.
    IndexId
);
id_type!(
    /// A snapshot's id: the BLAKE3 hash of the whole file. Its file name.
    SnapshotId
);
id_type!(
    /// A key slot's id: the BLAKE3 hash of the whole file. Its file name.
    KeyId
);
id_type!(
    /// A repository's id: random, made once.
    RepoId
);
id_type!(
    /// A backup set's id: BLAKE3 of the repository's id and the set's name.
    SetId
);

/// A chunk's id: half of the keyed BLAKE3 hash of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct ChunkId(pub [u8; 16]);

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId(")?;
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        write!(f, ")")
    }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let bytes = text.as_bytes();
    if bytes.len() != 64 || !bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut out = [0; 32];
    for (slot, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        let digits = std::str::from_utf8(pair).ok()?;
        *slot = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(out)
}
