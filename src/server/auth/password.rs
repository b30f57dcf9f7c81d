//! Passwords: Argon2id (RFC 9106), with salt and cost beside the hash.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::crypto::{KdfParams, Passphrase, derive_kek, random_bytes};
use crate::error::{Error, Result};
use crate::server::id::hex;

/// The shortest that may be chosen (NIST SP 800-63B-4, section 3.1.1.2, has 15 for a password alone; there may be a second
/// factor here).
const SHORTEST: usize = 12;
const LONGEST: usize = 512;
/// 19 MiB, two passes: the least that OWASP's password storage page asks of Argon2id. Sign-ins come in crowds.
const COST: KdfParams = KdfParams { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

/// A password as it was typed: never printed, wiped when dropped.
#[derive(Clone, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Password)]
pub(crate) struct Password(Zeroizing<String>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Password {
    /// Takes text as one.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Gives the text out.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Checks one that somebody chooses.
    ///
    /// # Errors
    /// `InvalidInput` saying what is wrong with it.
    pub(crate) fn check_chosen(&self, login: &str) -> Result<()> {
        let length = self.0.chars().count();
        let hint = format!("Take at least {SHORTEST} characters: some words in a row are good");
        if length < SHORTEST {
            return Err(Error::invalid("The password is too short").with_hint(hint));
        }
        if self.0.len() > LONGEST {
            return Err(Error::invalid("The password is too long").with_hint(format!("At most {LONGEST} bytes")));
        }
        let first = self.0.chars().next();
        if self.0.chars().all(|c| Some(c) == first) || self.0.eq_ignore_ascii_case(login) {
            return Err(Error::invalid("The password is too easy to guess").with_hint(hint));
        }
        Ok(())
    }

    /// What is kept of it. Takes a good part of a tenth of a second: not for the reactor.
    ///
    /// # Errors
    /// When it is empty.
    pub(crate) fn hash(&self) -> Result<String> {
        let salt = random_bytes::<16>();
        let key = derive_kek(&self.passphrase()?, &salt, COST)?;
        Ok(format!("argon2id${}${}${}${}${}", COST.memory_kib, COST.passes, COST.lanes, hex(&salt), hex(key.expose())))
    }

    /// Says whether it is the one that `kept` was made of. As slow as [`Self::hash`].
    pub(crate) fn fits(&self, kept: &str) -> bool {
        let compare = || {
            let parts: Vec<&str> = kept.split('$').collect();
            let &["argon2id", memory, passes, lanes, salt, hash] = parts.as_slice() else { return None };
            let cost = KdfParams {
                memory_kib: memory.parse().ok()?,
                passes: passes.parse().ok()?,
                lanes: lanes.parse().ok()?,
            };
            let salt: [u8; 16] = unhex(salt)?.try_into().ok()?;
            let key = derive_kek(&self.passphrase().ok()?, &salt, cost).ok()?;
            // Hashes of both, so that the time says nothing about how far they agree.
            Some(blake3::hash(hex(key.expose()).as_bytes()) == blake3::hash(hash.as_bytes()))
        };
        self.0.len() <= LONGEST && compare().unwrap_or(false)
    }

    fn passphrase(&self) -> Result<Passphrase> {
        // "p" keeps an empty password apart from no password, and one of 44 characters apart from a generated key.
        Passphrase::new(&Zeroizing::new(format!("p{}", self.0.as_str())))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// What an unknown login's password is held against, so that it takes as long as a known one's.
pub(super) fn nobody() -> &'static str {
    static NOBODY: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NOBODY.get_or_init(|| Password::new(super::random_token()).hash().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_what_was_kept_of_it_and_nothing_else() {
        let kept = Password::new("correct horse battery").hash().expect("hashed");
        assert!(kept.starts_with("argon2id$19456$2$1$") && !kept.contains("horse"));
        assert!(Password::new("correct horse battery").fits(&kept));
        assert_ne!(kept, Password::new("correct horse battery").hash().expect("hashed"), "each has a salt");
        for bad in ["", "correct horse batterz", "correct horse battery "] {
            assert!(!Password::new(bad).fits(&kept), "{bad}");
        }
        for kept in ["", "argon2id$", "argon2id$99999999$2$1$00$00", "plain$x"] {
            assert!(!Password::new("x").fits(kept), "{kept}");
        }
        assert_eq!(format!("{:?}", Password::new("hunter2")), "Password(…)");
    }

    #[test]
    fn what_is_easily_guessed_cannot_be_chosen() {
        for bad in ["short", "aaaaaaaaaaaaaaaaaa", "alice@contoso.com", &"x".repeat(600)] {
            Password::new(bad).check_chosen("Alice@contoso.com").expect_err(bad);
        }
        Password::new("three plain words").check_chosen("alice@contoso.com").expect("good");
    }
}
