//! Key material: zeroised on drop, never printed.

use std::fmt;

use rand::TryRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 bytes of key material.
#[derive(Clone, PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes bytes as a secret.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Makes a new random secret from the operating system's generator.
    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// Gives the bytes out, to feed them to a cipher or hash.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Derives a secret bound to a purpose: BLAKE3 `derive_key` with `context`, over this secret and `input`.
    pub fn derive(&self, context: &'static str, input: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&self.0);
        hasher.update(input);
        let out = Self(*hasher.finalize().as_bytes());
        hasher.zeroize();
        out
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Random bytes from the operating system's generator.
///
/// # Panics
/// When the operating system gives none: nothing safe can be done then.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    rand::rngs::SysRng.try_fill_bytes(&mut out).expect("the operating system gives random bytes");
    out
}
