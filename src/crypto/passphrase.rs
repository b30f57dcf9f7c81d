//! Passphrases: the user's own, or 32 random bytes as 44 characters of Base64.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{KdfParams, random_bytes};
use crate::error::{Error, Result};

/// How long a generated key is, in characters.
pub const GENERATED_LEN: usize = 44;

/// A passphrase. Zeroised on drop, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Passphrase(Vec<u8>);

impl Passphrase {
    /// Takes a passphrase as the user gave it; one line end at its end is dropped.
    ///
    /// # Errors
    /// `InvalidInput` when it is empty or longer than 1 KiB.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
        if text.is_empty() {
            return Err(Error::invalid("The passphrase is empty"));
        }
        if text.len() > 1024 {
            return Err(Error::invalid("The passphrase is longer than 1024 bytes"));
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// Makes a random one: 32 bytes from the operating system, 44 characters of Base64.
    pub fn generate() -> Self {
        let mut bytes: [u8; 32] = random_bytes();
        let text = STANDARD.encode(bytes);
        bytes.zeroize();
        Self(text.into_bytes())
    }

    /// Gives the bytes out, to feed them to the key derivation or to show them once.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Gives the text out, to show it once.
    pub fn expose_text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The Argon2 cost that fits: a generated key cannot be guessed and needs little.
    pub fn kdf_params(&self) -> KdfParams {
        let generated =
            self.0.len() == GENERATED_LEN && STANDARD.decode(&self.0).is_ok_and(|bytes| looks_random(&bytes));
        if generated { KdfParams::GENERATED } else { KdfParams::CHOSEN }
    }
}

/// Says whether 32 bytes could have come from a random generator: no byte value four times or more
/// (which random bytes show once in some 700,000 keys; such a key merely gets the dearer derivation).
fn looks_random(bytes: &[u8]) -> bool {
    let mut counts = [0u8; 256];
    bytes.len() == 32
        && bytes.iter().all(|b| {
            let count = &mut counts[usize::from(*b)];
            *count += 1;
            *count < 4
        })
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}
