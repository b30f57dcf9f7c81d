//! The key hierarchy: what a slot holds, and what is derived from it.

use bincode::{Decode, Encode};

use super::seal::{self, SealedKey};
use super::{Secret, hash_buffers};
use crate::error::{Error, ErrorKind, Result};

const STATE_CONTEXT: &str = "tenantvault v1 state sub-key";
const CONTENT_ID_CONTEXT: &str = "tenantvault v1 content blob id";
const TREE_ID_CONTEXT: &str = "tenantvault v1 tree blob id";
const CHUNK_ID_CONTEXT: &str = "tenantvault v1 chunk id";
const KEY_CHECK_CONTEXT: &str = "tenantvault v1 key check";

/// The two worlds of blobs. Contents open with the content private key only; trees with the state key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum BlobKind {
    /// Segments: message bodies, attachments, files.
    Content,
    /// Tree nodes and extent lists.
    Tree,
}

/// What the holder of a slot may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum KeyRight {
    /// Everything, reading contents included.
    Owner,
    /// Adding snapshots, listing, pruning; not reading contents.
    WriteOnly,
}

/// The secrets that a key slot wraps.
#[derive(Clone)]
pub struct SlotSecrets {
    /// Opens content packs; owner slots only.
    pub content_private: Option<Secret>,
    /// Seals content packs.
    pub content_public: [u8; 32],
    /// HPKE's pre-shared key.
    pub psk: Secret,
    /// Index files, tree packs, snapshots, sets, runs, config.
    pub state: Secret,
    /// Blob ids.
    pub id: Secret,
}

impl SlotSecrets {
    /// Makes the secrets of a new repository.
    pub fn generate() -> Self {
        let (private, public) = seal::generate_key_pair();
        Self {
            content_private: Some(private),
            content_public: public,
            psk: Secret::random(),
            state: Secret::random(),
            id: Secret::random(),
        }
    }

    /// The same without the right to read contents.
    #[must_use]
    pub fn write_only(&self) -> Self {
        Self { content_private: None, ..self.clone() }
    }

    /// The right that these secrets give.
    pub fn right(&self) -> KeyRight {
        if self.content_private.is_some() { KeyRight::Owner } else { KeyRight::WriteOnly }
    }
}

/// The keys of an open repository.
pub struct MasterKeys {
    secrets: SlotSecrets,
    content_id: Secret,
    tree_id: Secret,
    chunk_id: Secret,
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKeys({:?})", self.right())
    }
}

impl MasterKeys {
    /// Derives what is derived.
    pub fn new(secrets: SlotSecrets) -> Self {
        let content_id = secrets.id.derive(CONTENT_ID_CONTEXT, b"");
        let tree_id = secrets.id.derive(TREE_ID_CONTEXT, b"");
        let chunk_id = secrets.id.derive(CHUNK_ID_CONTEXT, b"");
        Self { secrets, content_id, tree_id, chunk_id }
    }

    /// The right of the slot that was opened.
    pub fn right(&self) -> KeyRight {
        self.secrets.right()
    }

    /// The secrets, to wrap them in another slot.
    pub fn secrets(&self) -> &SlotSecrets {
        &self.secrets
    }

    /// A blob's id: the keyed BLAKE3 hash of its plaintext. Keys differ by kind, so that equal bytes in both
    /// worlds are two blobs.
    pub fn blob_id(&self, kind: BlobKind, plain: &[u8]) -> [u8; 32] {
        let key = match kind {
            BlobKind::Content => &self.content_id,
            BlobKind::Tree => &self.tree_id,
        };
        *blake3::keyed_hash(key.expose(), plain).as_bytes()
    }

    /// A chunk's id: the first half of the keyed BLAKE3 hash of its bytes. Who lacks the id key can neither confirm
    /// contents by it nor look for two that share one.
    pub fn chunk_id(&self, bytes: &[u8]) -> [u8; 16] {
        let hash = blake3::keyed_hash(self.chunk_id.expose(), bytes);
        std::array::from_fn(|i| hash.as_bytes()[i])
    }

    /// The key of one file under the state key. `kind` is the file's kind byte, `salt` its own random salt.
    pub fn state_sub_key(&self, kind: u8, salt: &[u8; 32]) -> Secret {
        let mut input = [0; 33];
        input[0] = kind;
        input[1..].copy_from_slice(salt);
        self.secrets.state.derive(STATE_CONTEXT, &input)
    }

    /// Seals a pack key to the content public key.
    ///
    /// # Errors
    /// `Corrupt` when the slot's public key is not valid.
    pub fn seal_pack_key(&self, pack_key: &Secret) -> Result<SealedKey> {
        seal::seal_pack_key(&self.secrets.content_public, &self.secrets.psk, pack_key)
    }

    /// Opens a sealed pack key.
    ///
    /// # Errors
    /// `WrongKey` when this slot may not read contents; `Corrupt` when the key does not open.
    pub fn open_pack_key(&self, sealed: &SealedKey) -> Result<Secret> {
        let private = self.secrets.content_private.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::WrongKey, "This key may add snapshots but not read contents")
                .with_hint("use an owner's passphrase; key list shows which slots are owners'")
        })?;
        seal::open_pack_key(private, &self.secrets.psk, sealed)
    }

    /// A public fingerprint of the repository's keys: equal in all slots, tells nothing about them.
    pub fn fingerprint(&self) -> [u8; 32] {
        let check = self.secrets.state.derive(KEY_CHECK_CONTEXT, &self.secrets.content_public);
        hash_buffers([&check.expose()[..]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pack_keys_open_for_owners_only() {
        let secrets = SlotSecrets::generate();
        let owner = MasterKeys::new(secrets.clone());
        let writer = MasterKeys::new(secrets.write_only());
        let key = Secret::random();
        let sealed = writer.seal_pack_key(&key).unwrap();
        assert!(owner.open_pack_key(&sealed).unwrap() == key);
        assert_eq!(writer.open_pack_key(&sealed).unwrap_err().kind(), ErrorKind::WrongKey);
        let other = MasterKeys::new(SlotSecrets::generate());
        assert_eq!(other.open_pack_key(&sealed).unwrap_err().kind(), ErrorKind::Corrupt);
        let mut stranger = secrets;
        stranger.psk = Secret::random();
        assert!(MasterKeys::new(stranger).open_pack_key(&sealed).is_err(), "the psk is part of the key");
    }

    #[test]
    fn ids_differ_by_kind_and_repository() {
        let a = MasterKeys::new(SlotSecrets::generate());
        let b = MasterKeys::new(SlotSecrets::generate());
        assert_eq!(a.blob_id(BlobKind::Tree, b"x"), a.blob_id(BlobKind::Tree, b"x"));
        assert_ne!(a.blob_id(BlobKind::Tree, b"x"), a.blob_id(BlobKind::Content, b"x"));
        assert_ne!(a.blob_id(BlobKind::Tree, b"x"), b.blob_id(BlobKind::Tree, b"x"));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let keys = MasterKeys::new(SlotSecrets::generate());
        assert_eq!(format!("{keys:?}"), "MasterKeys(Owner)");
        assert_eq!(format!("{:?}", Secret::random()), "Secret(…)");
        assert_eq!(format!("{:?}", crate::crypto::Passphrase::generate()), "Passphrase(…)");
    }
}
