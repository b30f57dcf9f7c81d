//! Backup sets: what to protect, where to, and how long. Kept in the repository without secrets, so that
//! it explains itself after the machine that wrote it is gone.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};

use crate::error::{Error, ErrorKind, Result};
use crate::format::codec;
use crate::format::id::{RepoId, SetId};
use crate::snapshot::policy::Policy;

/// The version of the definition that this program writes, and the newest that it reads.
const VERSION: u32 = 1;

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

/// How a set is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct SetOptions {
    /// Mail also takes in the Recoverable Items folders.
    pub recoverable_items: bool,
}

/// A part of Microsoft 365 that a rule can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[non_exhaustive]
pub enum Workload {
    /// The mail of mailboxes.
    Mail,
    /// The drives of users.
    OneDrive,
    /// The contacts of mailboxes.
    Contacts,
    /// The conversations of groups.
    Conversations,
    /// The plans of groups.
    Planner,
    /// Teams and the messages of their channels.
    Teams,
    /// The chats of users.
    Chats,
}

impl Workload {
    /// All that there are, in the order in which they are read.
    pub const ALL: &[Self] =
        &[Self::Mail, Self::OneDrive, Self::Contacts, Self::Conversations, Self::Planner, Self::Teams, Self::Chats];

    /// The word for it in configurations and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::OneDrive => "onedrive",
            Self::Contacts => "contacts",
            Self::Conversations => "conversations",
            Self::Planner => "planner",
            Self::Teams => "teams",
            Self::Chats => "chats",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Workload {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|workload| workload.word() == text).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|workload| workload.word()).collect();
            Error::invalid(format!("'{text}' is not a workload")).with_hint(format!("Known are {}", words.join(", ")))
        })
    }
}

/// What a set protects: what at least one rule includes and no rule excludes. The order of the rules does
/// not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Selection {
    /// The rules.
    pub rules: Vec<Rule>,
}

/// Includes or excludes something.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rule {
    /// Whether what the rule names is in or out.
    pub effect: Effect,
    /// What the rule names.
    pub subject: Subject,
    /// Which parts of it; empty: all, also those that a later version learns to read.
    pub workloads: Vec<Workload>,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Effect {
    /// Takes in what the rule names.
    Include,
    /// Leaves out what the rule names, whatever other rules say.
    Exclude,
}

/// What a rule names. Later kinds (group, site, team, licence) are appended; a program that does not know
/// one refuses the definition rather than protect something else.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Subject {
    /// Users and shared mailboxes whose user principal name fits.
    User(Glob),
}

impl Selection {
    /// Makes a selection of users: rules for the same workloads (empty: all).
    pub fn of_users(include: Vec<Glob>, exclude: Vec<Glob>, workloads: &[Workload]) -> Self {
        let rule = |effect, glob| Rule { effect, subject: Subject::User(glob), workloads: workloads.to_vec() };
        let included = include.into_iter().map(|glob| rule(Effect::Include, glob));
        // What is excluded is out with all its workloads.
        let excluded = exclude.into_iter().map(|glob| Rule { workloads: Vec::new(), ..rule(Effect::Exclude, glob) });
        Self { rules: included.chain(excluded).collect() }
    }

    /// Says whether a user's part is protected.
    pub fn selects(&self, user_principal_name: &str, workload: Workload) -> bool {
        let applies = |effect: Effect| {
            self.rules.iter().any(|rule| {
                let Subject::User(glob) = &rule.subject;
                rule.effect == effect
                    && (rule.workloads.is_empty() || rule.workloads.contains(&workload))
                    && glob.matches(user_principal_name)
            })
        };
        applies(Effect::Include) && !applies(Effect::Exclude)
    }

    /// Says whether any part of a user may be protected.
    pub fn selects_any(&self, user_principal_name: &str) -> bool {
        Workload::ALL.iter().any(|&workload| self.selects(user_principal_name, workload))
    }

    /// Says whether any user's part of this kind may be protected.
    pub fn reads(&self, workload: Workload) -> bool {
        self.rules.iter().any(|rule| {
            rule.effect == Effect::Include && (rule.workloads.is_empty() || rule.workloads.contains(&workload))
        })
    }
}

/// A pattern for names: `*` stands for any characters, `?` for one. Upper and lower case are alike.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Glob(String);

impl Glob {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether the whole name fits. Takes at most time in proportion to pattern times name.
    pub fn matches(&self, name: &str) -> bool {
        let fold = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<Vec<_>>();
        let (pattern, name) = (fold(&self.0), fold(name));
        let (mut p, mut n) = (0, 0);
        // Where to go on when the characters after the last star do not fit.
        let mut star: Option<(usize, usize)> = None;
        while let Some(&c) = name.get(n) {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p + 1, n));
                    p += 1;
                }
                Some(&wanted) if wanted == '?' || wanted == c => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((after, from)) = star else { return false };
                    star = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
            }
        }
        pattern.get(p..).is_some_and(|rest| rest.iter().all(|&c| c == '*'))
    }
}

impl FromStr for Glob {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.trim() != text || text.is_empty() || text.chars().any(char::is_control) {
            return Err(Error::invalid(format!("'{}' is not a pattern for names", text.escape_debug()))
                .with_hint("Write a user principal name; * stands for any characters, ? for one"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
            options: SetOptions { recoverable_items: true },
            destinations: vec!["nas".into()],
            retention: Policy::default(),
            time_zone: "Europe/Berlin".into(),
        }
    }

    #[test]
    fn globs_match_whole_names_whatever_their_case() {
        let cases = [
            ("*", "alice@contoso.com", true),
            ("*", "", true),
            ("alice@*", "Alice@Contoso.com", true),
            ("*@CONTOSO.com", "alice@contoso.com", true),
            ("*@contoso.com", "alice@contoso.com.evil.org", false),
            ("?lice@*", "alice@contoso.com", true),
            ("?lice@*", "lice@contoso.com", false),
            ("alice", "alice2", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXcXb", false),
            ("müller@*", "MÜLLER@contoso.com", true),
            ("[a-z]*", "alice", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(glob(pattern).matches(name), expected, "{pattern} {name}");
        }
        let stars = "a*".repeat(40) + "b";
        assert!(!glob(&stars).matches(&"a".repeat(2000)));
        assert!("".parse::<Glob>().is_err() && " a".parse::<Glob>().is_err() && "a\n".parse::<Glob>().is_err());
    }

    #[test]
    fn an_exclusion_wins_over_every_inclusion() {
        let selection = Selection::of_users(
            vec![glob("*@contoso.com"), glob("test-1@contoso.com")],
            vec![glob("test-*")],
            &[Workload::Mail],
        );
        assert!(selection.selects("alice@contoso.com", Workload::Mail));
        assert!(!selection.selects("alice@contoso.com", Workload::OneDrive));
        assert!(!selection.selects("test-1@contoso.com", Workload::Mail));
        assert!(!selection.selects("bob@fabrikam.com", Workload::Mail));
        assert!(selection.selects_any("alice@contoso.com") && !selection.selects_any("test-1@contoso.com"));
        assert!(selection.reads(Workload::Mail) && !selection.reads(Workload::OneDrive));
        assert!(!Selection::default().selects("alice@contoso.com", Workload::Mail));
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
    fn a_newer_definition_is_refused_by_its_version() {
        let newer = codec::encode(&Versioned { version: 2, body: vec![1, 2, 3] });
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
        fn globs_agree_with_the_plain_definition(pattern in "[ab*?]{1,8}", name in "[abC]{0,10}") {
            fn fits(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern.split_first(), name.split_first()) {
                    (None, _) => name.is_empty(),
                    (Some((b'*', rest)), None) => fits(rest, name),
                    (Some((b'*', rest)), Some((_, tail))) => fits(rest, name) || fits(pattern, tail),
                    (Some((p, rest)), Some((n, tail))) => (*p == b'?' || p == n) && fits(rest, tail),
                    (Some(_), None) => false,
                }
            }
            prop_assert_eq!(glob(&pattern).matches(&name), fits(pattern.as_bytes(), name.to_lowercase().as_bytes()));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = SetDefinition::decode(&bytes);
        }
    }
}
