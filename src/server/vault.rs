//! Secrets at rest: sealed under the server's master key, which lies in a file beside the database and never in it.
//!
//! Each is sealed under a key of its own, derived from the master key and a fresh salt, so that no pair of key and nonce
//! comes twice; what it belongs to (table, row, column) is associated data, so that a sealed value put elsewhere does not
//! open.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::crypto::{Secret, open_in_place, random_bytes, seal_append};
use crate::error::{Error, ErrorKind, Result};

/// What sealed values begin with: the way in which they were made.
const WAY: u8 = 1;
const SALT_BYTES: usize = 32;
const CONTEXT: &str = "tenantvault 2026-11 server vault: key of one sealed value";
const TOKEN_CONTEXT: &str = "tenantvault 2026-11 server vault: names of tokens";

const STATE_CONTEXT: &str = "tenantvault 2026-11 server vault: key of states that come back from sign-in pages";

/// Seals and opens the server's secrets.
#[derive(Clone)]
pub(crate) struct Vault(Secret);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl Vault {
    /// Reads the master key from its file; makes one where there is none, unless `needed` says that there must be one.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds no key.
    pub(crate) fn open(path: &Path, needed: bool) -> Result<Self> {
        match std::fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => {
                let mut bytes = STANDARD.decode(text.trim()).map_err(|_| not_a_key(path))?;
                let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| not_a_key(path))?;
                zeroize::Zeroize::zeroize(&mut bytes);
                Ok(Self(Secret::new(key)))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !needed => Self::make(path),
            Err(e) => Err(Error::io(format!("The master key {} cannot be read", path.display()), e)
                .with_hint("Without it, nothing that the server's database keeps secret can be used: bring it back")),
        }
    }

    fn make(path: &Path) -> Result<Self> {
        let cannot = |e| Error::io(format!("The master key {} cannot be written", path.display()), e);
        let key = Secret::random();
        let text = Zeroizing::new(STANDARD.encode(key.expose()));
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(cannot)?;
        file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(cannot)?;
        file.sync_all().map_err(cannot)?;
        if let Some(folder) = path.parent() {
            std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot)?;
        }
        Ok(Self(key))
    }

    /// A vault with a new key that is kept nowhere.
    #[cfg(test)]
    pub(crate) fn random() -> Self {
        Self(Secret::random())
    }

    /// Seals a secret that belongs to `place` ("tenants/ID/secret").
    pub(crate) fn seal(&self, place: &str, plain: &str) -> String {
        let salt = random_bytes::<SALT_BYTES>();
        let key = self.0.derive(CONTEXT, &salt);
        let mut out = vec![WAY];
        out.extend_from_slice(&salt);
        seal_append(&key, 0, place.as_bytes(), plain.as_bytes(), &mut out);
        STANDARD.encode(out)
    }

    /// Opens what [`Self::seal`] made for the same place.
    ///
    /// # Errors
    /// `WrongKey` when it was sealed under another master key or for another place, or was damaged.
    pub(crate) fn open_sealed(&self, place: &str, sealed: &str) -> Result<Zeroizing<String>> {
        let wrong = || {
            Error::new(ErrorKind::WrongKey, "A secret in the database does not open with the server's master key")
                .with_hint("Bring back the master key that belongs to this database, or enter the secret anew")
        };
        let bytes = STANDARD.decode(sealed).map_err(|_| wrong())?;
        let (Some(&WAY), Some(salt), Some(body)) =
            (bytes.first(), bytes.get(1..=SALT_BYTES), bytes.get(1 + SALT_BYTES..))
        else {
            return Err(wrong());
        };
        let mut plain = Zeroizing::new(body.to_vec());
        open_in_place("A sealed secret", &self.0.derive(CONTEXT, salt), 0, place.as_bytes(), &mut plain)
            .map_err(|_| wrong())?;
        String::from_utf8(plain.to_vec()).map(Zeroizing::new).map_err(|_| wrong())
    }

    /// A mark (MAC) of what is handed to a browser and comes back from elsewhere: nobody makes one without the master key.
    /// Compare it with [`Self::is_mark`].
    pub(crate) fn mark(&self, parts: &[&str]) -> String {
        self.mac(parts).to_hex().to_string()
    }

    /// Says whether a mark is that of these parts; how long that takes tells nothing.
    pub(crate) fn is_mark(&self, mark: &str, parts: &[&str]) -> bool {
        blake3::Hash::from_hex(mark).is_ok_and(|mark| mark == self.mac(parts))
    }

    fn mac(&self, parts: &[&str]) -> blake3::Hash {
        let key = self.0.derive(STATE_CONTEXT, b"");
        let mut hasher = blake3::Hasher::new_keyed(key.expose());
        for part in parts {
            // Each with its length, so that no two lists read alike.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize()
    }

    /// A name for a token that can be looked up, and tells nothing of it to who reads the database.
    pub(crate) fn token_name(&self, token: &str) -> String {
        super::id::hex(self.0.derive(TOKEN_CONTEXT, token.as_bytes()).expose())
    }
}

fn not_a_key(path: &Path) -> Error {
    Error::corrupt(format!("{} does not hold a master key", path.display()))
        .with_hint("It is one line of 44 characters; bring back the file that belongs to this database")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_at_its_place_under_its_key_and_nowhere_else() {
        let vault = Vault::random();
        let sealed = vault.seal("tenants/1/secret", "hunter2");
        assert!(!sealed.contains("hunter2"));
        assert_ne!(sealed, vault.seal("tenants/1/secret", "hunter2"), "each has a salt of its own");
        assert_eq!(vault.open_sealed("tenants/1/secret", &sealed).expect("it opens").as_str(), "hunter2");
        for (vault, place) in [(&vault, "tenants/2/secret"), (&Vault::random(), "tenants/1/secret")] {
            assert_eq!(vault.open_sealed(place, &sealed).expect_err("not here").kind(), ErrorKind::WrongKey);
        }
        for bad in ["", "AQ==", "not base64", &sealed[..sealed.len() - 8]] {
            assert_eq!(vault.open_sealed("tenants/1/secret", bad).expect_err(bad).kind(), ErrorKind::WrongKey);
        }
    }

    #[test]
    fn a_mark_is_of_these_parts_under_this_key() {
        let vault = Vault::random();
        let mark = vault.mark(&["ab", "c"]);
        assert!(vault.is_mark(&mark, &["ab", "c"]));
        for parts in [&["a", "bc"][..], &["abc"], &["ab", "c", ""], &["ab", "d"]] {
            assert!(!vault.is_mark(&mark, parts), "{parts:?}");
        }
        assert!(!Vault::random().is_mark(&mark, &["ab", "c"]));
        for bad in ["", "00", &"0".repeat(64), "not a mark"] {
            assert!(!vault.is_mark(bad, &["ab", "c"]), "{bad}");
        }
    }

    #[test]
    fn the_master_key_is_made_once_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("master.key");
        Vault::open(&path, true).expect_err("a database without its key");
        let sealed = Vault::open(&path, false).expect("made").seal("a", "b");
        assert_eq!(Vault::open(&path, true).expect("read").open_sealed("a", &sealed).expect("opens").as_str(), "b");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "short").expect("written");
        assert_eq!(Vault::open(&path, false).expect_err("no key").kind(), ErrorKind::Corrupt);
    }
}
