//! Key slots: `keys/<id>`. The secrets of a repository, wrapped under a passphrase.

use bincode::{Decode, Encode};
use zeroize::Zeroize;

use crate::crypto::{self, KdfParams, KeyRight, Passphrase, Secret, SlotSecrets, random_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::format::codec;
use crate::format::header::{FileKind, check_prefix, prefix};
use crate::format::id::RepoId;

/// What a slot shows without a passphrase. All of it is bound to the wrapped secrets as associated data.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SlotFacts {
    /// The repository that the slot belongs to.
    pub repo: RepoId,
    /// What the slot's holder may do.
    pub right: KeyRight,
    /// A name for people: "alice@laptop".
    pub label: String,
    /// When the slot was made: microseconds since 1970 UTC.
    pub created_us: i64,
    /// The cost of opening it.
    pub kdf: KdfParams,
    /// Argon2's salt.
    pub salt: [u8; 16],
}

#[derive(Encode, Decode)]
struct SlotFile {
    facts: SlotFacts,
    sealed: Vec<u8>,
}

#[derive(Encode, Decode)]
struct Wrapped {
    content_private: Option<[u8; 32]>,
    content_public: [u8; 32],
    psk: [u8; 32],
    state: [u8; 32],
    id: [u8; 32],
}

impl Drop for Wrapped {
    fn drop(&mut self) {
        self.content_private.zeroize();
        self.psk.zeroize();
        self.state.zeroize();
        self.id.zeroize();
    }
}

/// Makes a slot file. Takes as long as Argon2 is told to.
///
/// # Errors
/// Only when Argon2 fails.
pub fn seal_slot(
    repo: RepoId,
    secrets: &SlotSecrets,
    label: &str,
    created_us: i64,
    passphrase: &Passphrase,
) -> Result<Vec<u8>> {
    seal_slot_at(passphrase.kdf_params(), repo, secrets, label, created_us, passphrase)
}

/// As [`seal_slot`], at a cost of choice.
pub(crate) fn seal_slot_at(
    kdf: KdfParams,
    repo: RepoId,
    secrets: &SlotSecrets,
    label: &str,
    created_us: i64,
    passphrase: &Passphrase,
) -> Result<Vec<u8>> {
    let facts =
        SlotFacts { repo, right: secrets.right(), label: label.to_owned(), created_us, kdf, salt: random_bytes() };
    let wrapped = Wrapped {
        content_private: secrets.content_private.as_ref().map(|s| *s.expose()),
        content_public: secrets.content_public,
        psk: *secrets.psk.expose(),
        state: *secrets.state.expose(),
        id: *secrets.id.expose(),
    };
    let kek = crypto::derive_kek(passphrase, &facts.salt, kdf)?;
    let mut sealed = codec::encode(&wrapped);
    // One key, one use: the key is made from a salt that is new in every slot file.
    crypto::seal_in_place(&kek, 0, &codec::encode(&facts), &mut sealed, 0);
    let mut out = prefix(FileKind::Key).to_vec();
    out.extend_from_slice(&codec::encode(&SlotFile { facts, sealed }));
    Ok(out)
}

fn parse(what: &str, bytes: &[u8]) -> Result<SlotFile> {
    codec::decode(what, check_prefix(what, FileKind::Key, bytes)?)
}

/// Reads what a slot shows without a passphrase.
///
/// # Errors
/// `Corrupt`, `UnsupportedVersion`.
pub fn read_slot(what: &str, bytes: &[u8]) -> Result<SlotFacts> {
    parse(what, bytes).map(|file| file.facts)
}

/// Opens a slot. Takes as long as Argon2 is told to.
///
/// # Errors
/// `WrongKey` when the passphrase is another's, `Corrupt` when the file is not a slot.
pub fn open_slot(what: &str, bytes: &[u8], passphrase: &Passphrase) -> Result<(SlotFacts, SlotSecrets)> {
    let SlotFile { facts, mut sealed } = parse(what, bytes)?;
    let kek = crypto::derive_kek(passphrase, &facts.salt, facts.kdf)?;
    crypto::open_in_place(what, &kek, 0, &codec::encode(&facts), &mut sealed)
        .map_err(|_| Error::new(ErrorKind::WrongKey, format!("{what} does not open with this passphrase")))?;
    let wrapped: Wrapped = codec::decode(what, &sealed)?;
    sealed.zeroize();
    let secrets = SlotSecrets {
        content_private: wrapped.content_private.map(Secret::new),
        content_public: wrapped.content_public,
        psk: Secret::new(wrapped.psk),
        state: Secret::new(wrapped.state),
        id: Secret::new(wrapped.id),
    };
    if secrets.right() != facts.right {
        return Err(Error::corrupt(format!("{what} says another right than its secrets give")));
    }
    Ok((facts, secrets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_opens_with_its_passphrase_only() {
        let secrets = SlotSecrets::generate();
        let pass = Passphrase::generate();
        let file = seal_slot(RepoId([1; 32]), &secrets.write_only(), "server", 5, &pass).unwrap();
        let (facts, opened) = open_slot("Key slot x", &file, &pass).unwrap();
        assert_eq!((facts.label.as_str(), facts.right), ("server", KeyRight::WriteOnly));
        assert!(opened.content_private.is_none() && opened.state == secrets.state);
        let e = open_slot("Key slot x", &file, &Passphrase::generate()).err().unwrap();
        assert_eq!(e.kind(), ErrorKind::WrongKey);
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            // Flipping a cost parameter may ask for a dear derivation: only reading is tried then.
            if (6..70).contains(&at) {
                let _ = read_slot("x", &bad);
            } else {
                assert!(open_slot("x", &bad, &pass).is_err(), "flipped byte {at} went unnoticed");
            }
        }
        for cut in 0..file.len() {
            assert!(read_slot("x", &file[..cut]).is_err());
        }
    }
}
