//! Sealing of pack keys: HPKE (RFC 9180), mode PSK, X25519 / HKDF-SHA256 / ChaCha20-Poly1305.

use bincode::{Decode, Encode};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, PskBundle, Serializable};

use super::Secret;
use crate::error::{Error, Result};

/// Bytes of a sealed pack key: encapsulated key (32), ciphertext (32), tag (16).
pub const SEALED_KEY_BYTES: usize = 80;

/// HPKE's `info` and PSK id: they bind a sealed key to its purpose.
const INFO: &[u8] = b"tenantvault v1 pack key";
const PSK_ID: &[u8] = b"tenantvault v1 psk";

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// A pack key, sealed to the content public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct SealedKey(pub [u8; SEALED_KEY_BYTES]);

/// Makes a content key pair: private, public.
pub(super) fn generate_key_pair() -> (Secret, [u8; 32]) {
    let ikm = Secret::random();
    let (private, public) = X25519HkdfSha256::derive_keypair(ikm.expose());
    (Secret::new(private.to_bytes().into()), public.to_bytes().into())
}

fn bundle(psk: &Secret) -> Result<PskBundle<'_>> {
    PskBundle::new(psk.expose(), PSK_ID).map_err(|e| Error::internal(format!("The PSK is not usable: {e:?}")))
}

/// Seals a pack key.
///
/// # Errors
/// `Corrupt` when the public key is not a point.
pub fn seal_pack_key(public: &[u8; 32], psk: &Secret, pack_key: &Secret) -> Result<SealedKey> {
    let public = PublicKey::from_bytes(public).map_err(|_| Error::corrupt("The content public key is not valid"))?;
    let mode = OpModeS::Psk(bundle(psk)?);
    let (enc, sealed) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &mode,
        &public,
        INFO,
        pack_key.expose(),
        b"",
        &mut rand::rand_core::UnwrapErr(rand::rngs::SysRng),
    )
    .map_err(|e| Error::internal(format!("Sealing a pack key failed: {e:?}")))?;
    let mut out = [0; SEALED_KEY_BYTES];
    out[..32].copy_from_slice(&enc.to_bytes());
    out[32..].copy_from_slice(&sealed);
    Ok(SealedKey(out))
}

/// Opens a sealed pack key.
///
/// # Errors
/// `Corrupt` when it was not sealed to this key pair and PSK.
pub fn open_pack_key(private: &Secret, psk: &Secret, sealed: &SealedKey) -> Result<Secret> {
    let broken = |_| Error::corrupt("A sealed pack key does not open: it was damaged or belongs to another repository");
    let private = PrivateKey::from_bytes(private.expose()).map_err(broken)?;
    let enc = EncappedKey::from_bytes(&sealed.0[..32]).map_err(broken)?;
    let mode = OpModeR::Psk(bundle(psk)?);
    let plain = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &mode,
        &private,
        &enc,
        INFO,
        &sealed.0[32..],
        b"",
    )
    .map_err(broken)?;
    let bytes: [u8; 32] = plain.try_into().map_err(|_| Error::corrupt("A sealed pack key has the wrong length"))?;
    Ok(Secret::new(bytes))
}
