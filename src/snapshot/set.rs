//! Backup sets: what to protect, where to, and how long. Kept in the repository without secrets, so that
//! it explains itself after the machine that wrote it is gone.

mod options;
mod selection;

use bincode::{Decode, Encode};

use crate::error::{Error, ErrorKind, Result};
use crate::format::codec;
use crate::format::id::{RepoId, SetId};
use crate::snapshot::policy::Policy;

pub use options::{Exclusions, Leavers, SetOptions, Versions};
pub use selection::{Effect, Facts, Glob, OwnerKind, Rule, Selection, Subject, Workload};

/// The version of the definition that this program writes, and the newest that it reads.
const VERSION: u32 = 2;

/// The longest name of a set, in bytes.
const MAX_NAME: usize = 100;

/// What protects what: a backup set.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SetDefinition {
    /// The set's name, unique in a repository; see [`check_name`].
    pub name: String,
    /// The tenant that it reads.
    pub tenant: TenantRef,
    /// What of the tenant it protects.
    pub selection: Selection,
    /// How it is read.
    pub options: SetOptions,
    /// The names of the destinations that it is written to.
    pub destinations: Vec<String>,
    /// Which snapshots are kept.
    pub retention: Policy,
    /// The time zone in which retention counts days, by its IANA name.
    pub time_zone: String,
}

/// Names a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TenantRef {
    /// What people call it.
    pub name: String,
    /// Its directory's id, or one of its domains.
    pub id: String,
}

/// Checks a name that people give to a set, tenant or destination and write in commands: letters, digits and
/// `. _ - +`, beginning with a letter or digit, at most 100 bytes, and not `latest`.
///
/// # Errors
/// [`ErrorKind::InvalidInput`], naming the name.
pub fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    if name.starts_with(char::is_alphanumeric) && name.chars().all(good) && name.len() <= MAX_NAME && name != "latest" {
        return Ok(());
    }
    Err(Error::invalid(format!("'{}' cannot be a name", name.escape_debug())).with_hint(
        "Use letters, digits and . _ - +, beginning with a letter or digit, at most 100 bytes; 'latest' is taken",
    ))
}

/// The id of the set with this name: BLAKE3 of the repository's id followed by the name.
pub fn set_id(repository: &RepoId, name: &str) -> SetId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(repository.as_bytes());
    hasher.update(name.as_bytes());
    SetId(*hasher.finalize().as_bytes())
}

/// The layout of version 1.
#[derive(Decode)]
struct Version1 {
    name: String,
    tenant: TenantRef,
    selection: Selection,
    recoverable_items: bool,
    destinations: Vec<String>,
    retention: Policy,
    time_zone: String,
}

impl From<Version1> for SetDefinition {
    fn from(old: Version1) -> Self {
        Self {
            name: old.name,
            tenant: old.tenant,
            selection: old.selection,
            options: SetOptions { recoverable_items: old.recoverable_items, ..SetOptions::default() },
            destinations: old.destinations,
            retention: old.retention,
            time_zone: old.time_zone,
        }
    }
}

/// A version, and a definition in that version's layout. Fields are never added to a layout: a new one has a
/// new version.
#[derive(Encode, Decode)]
struct Versioned {
    version: u32,
    body: Vec<u8>,
}

impl SetDefinition {
    /// The set's id in a repository.
    pub fn id(&self, repository: &RepoId) -> SetId {
        set_id(repository, &self.name)
    }

    /// Writes the definition as bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&Versioned { version: VERSION, body: codec::encode(self) })
    }

    /// Reads a definition of this or an earlier version.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedVersion`] if a newer program wrote it, [`ErrorKind::Corrupt`] if it does not decode.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let Versioned { version, body } = codec::decode("Set definition", bytes)?;
        match version {
            1 => codec::decode::<Version1>("Set definition", &body).map(Self::from),
            VERSION => codec::decode("Set definition", &body),
            newer => Err(Error::new(
                ErrorKind::UnsupportedVersion,
                format!("Set definition has version {newer}; this program reads up to {VERSION}"),
            )
            .with_hint("Use the version of tenantvault that wrote it, or a newer one")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> Glob {
        text.parse().expect(text)
    }

    fn definition() -> SetDefinition {
        SetDefinition {
            name: "everyone".into(),
            tenant: TenantRef { name: "contoso".into(), id: "contoso.onmicrosoft.com".into() },
            selection: Selection::of_users(vec![glob("*")], vec![glob("test-*@contoso.com")], &[Workload::Mail]),
            options: SetOptions { recoverable_items: true, ..SetOptions::default() },
            destinations: vec!["nas".into()],
            retention: Policy::default(),
            time_zone: "Europe/Berlin".into(),
        }
    }

    #[test]
    fn a_definition_survives_encoding() {
        let bytes = definition().encode();
        assert_eq!(SetDefinition::decode(&bytes).expect("it decodes"), definition());
        for length in 0..bytes.len() {
            let error = SetDefinition::decode(&bytes[..length]).expect_err("cut off");
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_definition_of_version_1_still_reads() {
        let now =
            SetDefinition { options: SetOptions { recoverable_items: true, ..SetOptions::default() }, ..definition() };
        let parts = (&now.name, &now.tenant, &now.selection, true, &now.destinations, &now.retention, &now.time_zone);
        let old = codec::encode(&Versioned { version: 1, body: codec::encode(&parts) });
        assert_eq!(SetDefinition::decode(&old).expect("it decodes"), now);
    }

    #[test]
    fn a_newer_definition_is_refused_by_its_version() {
        let newer = codec::encode(&Versioned { version: 3, body: vec![1, 2, 3] });
        let error = SetDefinition::decode(&newer).expect_err("newer");
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    }

    #[test]
    fn the_id_follows_from_repository_and_name() {
        let (one, two) = (RepoId([1; 32]), RepoId([2; 32]));
        let definition = definition();
        assert_eq!(definition.id(&one), set_id(&one, "everyone"));
        assert_ne!(definition.id(&one), definition.id(&two));
        assert_ne!(set_id(&one, "everyone"), set_id(&one, "everyone2"));
        let mut both = vec![1; 32];
        both.extend_from_slice(b"everyone");
        assert_eq!(set_id(&one, "everyone").as_bytes(), blake3::hash(&both).as_bytes());
    }

    #[test]
    fn names_that_commands_could_not_carry_are_refused() {
        for good in ["everyone", "Büro-2", "a.b_c+d", "7"] {
            check_name(good).expect(good);
        }
        for bad in ["", "a b", "a/b", "a@b", "a:b", "-a", "..", "latest", "a\n", &"x".repeat(101)] {
            assert_eq!(check_name(bad).expect_err(bad).kind(), ErrorKind::InvalidInput);
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = SetDefinition::decode(&bytes);
        }
    }
}
