//! Key hierarchy, passphrases, authenticated encryption, sealing, keyed ids.
//!
//! Knows nothing of files, storage or Graph. The one argument to trust it: every (key, nonce) pair is
//! used once, because a key either encrypts exactly one thing (a slot, a document, a sealed pack key)
//! or belongs to one pack file and counts its nonces up.

mod aead;
mod kdf;
mod keys;
mod passphrase;
mod seal;
mod secret;

pub use aead::{TAG_BYTES, open_in_place, open_slice, seal_append, seal_in_place};
pub use kdf::{KdfLimit, KdfParams, derive_kek};
pub use keys::{BlobKind, KeyRight, MasterKeys, SlotSecrets};
pub use passphrase::{GENERATED_LEN, Passphrase};
pub use seal::{SEALED_KEY_BYTES, SealedKey, open_pack_key, seal_pack_key};
pub use secret::{Secret, random_bytes};

/// Plain BLAKE3 over buffers laid end to end: names of files, never secrets.
pub fn hash_buffers<'a>(buffers: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for buffer in buffers {
        hasher.update(buffer);
    }
    *hasher.finalize().as_bytes()
}
