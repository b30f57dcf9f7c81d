//! From a passphrase to the key that opens a slot: Argon2id (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};
use bincode::{Decode, Encode};
use zeroize::Zeroize;

use super::{Passphrase, Secret};
use crate::error::{Error, Result};

/// The most that opening a slot may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfLimit {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Memory times passes, in KiB.
    pub work_kib: u64,
}

impl KdfLimit {
    /// As much as the format allows.
    const FORMAT: Self = Self { memory_kib: 4 * 1024 * 1024, work_kib: 16 * 1024 * 1024 };
}

/// The cost of opening a slot. Kept in the slot, bounded when read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct KdfParams {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl KdfParams {
    /// For passphrases that people choose: 64 MiB, 3 passes (RFC 9106, section 4, second recommendation, one lane).
    pub const CHOSEN: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    /// For generated keys of 256 random bits: no guessing can find them, so the cost is small.
    pub const GENERATED: Self = Self { memory_kib: 8 * 1024, passes: 1, lanes: 1 };

    /// Says whether it costs no more than it may.
    pub fn is_within(self, most: KdfLimit) -> bool {
        self.memory_kib <= most.memory_kib && u64::from(self.memory_kib) * u64::from(self.passes) <= most.work_kib
    }

    /// Bounds that keep a hostile slot from taking all memory or time.
    fn check(self) -> Result<Self> {
        let fine = self.memory_kib >= 8
            && (1..=64).contains(&self.passes)
            && (1..=16).contains(&self.lanes)
            && self.is_within(KdfLimit::FORMAT);
        if fine { Ok(self) } else { Err(Error::corrupt("The key slot asks for an impossible Argon2 cost")) }
    }
}

/// Derives the key that wraps a slot's secrets. Takes a tenth of a second and the memory that `params` say.
///
/// # Errors
/// `Corrupt` when `params` are out of bounds.
pub fn derive_kek(passphrase: &Passphrase, salt: &[u8; 16], params: KdfParams) -> Result<Secret> {
    let params = params.check()?;
    let argon = Params::new(params.memory_kib, params.passes, params.lanes, Some(32))
        .map_err(|e| Error::corrupt(format!("The key slot's Argon2 cost is not valid: {e}")))?;
    let mut out = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, argon)
        .hash_password_into(passphrase.expose(), salt, &mut out)
        .map_err(|e| Error::internal(format!("Argon2 failed: {e}")))?;
    let secret = Secret::new(out);
    out.zeroize();
    Ok(secret)
}
