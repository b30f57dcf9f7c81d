//! What a set protects: rules about users, groups, sites, teams and licences.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};

use crate::error::{Error, Result};

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
    /// The calendars of mailboxes.
    Calendar,
    /// The To Do lists of mailboxes.
    Tasks,
    /// Settings, rules and categories of mailboxes.
    Settings,
    /// What users' personal sites hold beside the drives.
    PersonalSite,
    /// Conversations and plans of groups.
    Groups,
    /// Sites: libraries, lists, pages; the term store.
    Sites,
    /// Teams: what they are made of, and their channels.
    Teams,
    /// Chats of users.
    Chats,
}

impl Workload {
    /// All that this version reads, in the order in which they are read.
    pub const ALL: &[Self] = &[
        Self::Mail,
        Self::OneDrive,
        Self::Contacts,
        Self::Calendar,
        Self::Tasks,
        Self::Settings,
        Self::PersonalSite,
        Self::Groups,
        Self::Sites,
        Self::Teams,
        Self::Chats,
    ];

    /// The word for it in configurations and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::OneDrive => "onedrive",
            Self::Contacts => "contacts",
            Self::Calendar => "calendar",
            Self::Tasks => "tasks",
            Self::Settings => "settings",
            Self::PersonalSite => "personal-site",
            Self::Groups => "groups",
            Self::Sites => "sites",
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

/// What a rule names. Later kinds are appended; a program that does not know one refuses the definition rather than
/// protect something else.
///
/// As text: `alice@contoso.com`, `group:Sales*`, `site:https://contoso.sharepoint.com/sites/*`, `team:Marketing`,
/// `licence:SPE_E3`, `*` for everything.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Subject {
    /// Users and shared mailboxes whose user principal name or id fits.
    User(Glob),
    /// Groups whose name, mail address or id fits: the group, and the users who are its members now.
    Group(Glob),
    /// Sites whose address, name or id fits.
    Site(Glob),
    /// Teams whose name or id fits.
    Team(Glob),
    /// Users who have a licence (its part number) that fits.
    Licence(Glob),
    /// All there is, and what is yet to come.
    Everything,
}

impl Subject {
    /// What stands before the pattern in text.
    fn prefix(&self) -> &'static str {
        match self {
            Self::User(_) | Self::Everything => "",
            Self::Group(_) => "group:",
            Self::Site(_) => "site:",
            Self::Team(_) => "team:",
            Self::Licence(_) => "licence:",
        }
    }

    /// Says whether it names an owner.
    pub fn applies_to(&self, owner: &Facts<'_>) -> bool {
        let named =
            |kind: OwnerKind, glob: &Glob| owner.kind == kind && owner.names.iter().any(|name| glob.matches(name));
        match self {
            Self::Everything => true,
            Self::User(glob) => named(OwnerKind::User, glob),
            Self::Group(glob) => named(OwnerKind::Group, glob) || owner.groups.iter().any(|name| glob.matches(name)),
            Self::Site(glob) => named(OwnerKind::Site, glob),
            Self::Team(glob) => named(OwnerKind::Team, glob),
            Self::Licence(glob) => owner.licences.iter().any(|name| glob.matches(name)),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            // Alone, the star would be everything.
            Self::User(glob) if glob.as_str() == "*" => f.write_str("user:*"),
            Self::User(glob) | Self::Group(glob) | Self::Site(glob) | Self::Team(glob) | Self::Licence(glob) => {
                write!(f, "{}{glob}", self.prefix())
            }
        }
    }
}

impl FromStr for Subject {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "*" {
            return Ok(Self::Everything);
        }
        match text.split_once(':') {
            None => text.parse().map(Self::User),
            Some(("user", glob)) => glob.parse().map(Self::User),
            Some(("group", glob)) => glob.parse().map(Self::Group),
            Some(("site", glob)) => glob.parse().map(Self::Site),
            Some(("team", glob)) => glob.parse().map(Self::Team),
            Some(("licence" | "license", glob)) => glob.parse().map(Self::Licence),
            Some((word, _)) => Err(Error::invalid(format!("'{}' cannot be selected by", word.escape_debug()))
                .with_hint("Write user:, group:, site:, team: or licence: and a pattern, or a user principal name")),
        }
    }
}

/// What kind of owner something has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnerKind {
    /// A user, or a shared, room or equipment mailbox.
    #[default]
    User,
    /// A Microsoft 365 group.
    Group,
    /// A site.
    Site,
    /// A team.
    Team,
    /// The tenant itself.
    Tenant,
}

/// What rules are held against.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// What it is.
    pub kind: OwnerKind,
    /// Its names: user principal name and id; a group's name, address and id; a site's address, name and id.
    pub names: Vec<&'a str>,
    /// Names, addresses and ids of the groups that a user is in.
    pub groups: Vec<&'a str>,
    /// Part numbers of a user's licences.
    pub licences: Vec<&'a str>,
}

impl Selection {
    /// Makes a selection of users: rules for the same workloads (empty: all). The pattern `*` takes in everything.
    pub fn of_users(include: Vec<Glob>, exclude: Vec<Glob>, workloads: &[Workload]) -> Self {
        let subject = |glob: Glob| if glob.as_str() == "*" { Subject::Everything } else { Subject::User(glob) };
        let all = |globs: Vec<Glob>| globs.into_iter().map(subject).collect();
        Self::of(all(include), all(exclude), workloads)
    }

    /// Makes a selection: what is included is so for some workloads (empty: all), what is excluded is out with all of it.
    pub fn of(include: Vec<Subject>, exclude: Vec<Subject>, workloads: &[Workload]) -> Self {
        let rule = |effect, subject, workloads| Rule { effect, subject, workloads };
        let included = include.into_iter().map(|subject| rule(Effect::Include, subject, workloads.to_vec()));
        let excluded = exclude.into_iter().map(|subject| rule(Effect::Exclude, subject, Vec::new()));
        Self { rules: included.chain(excluded).collect() }
    }

    /// Says whether a part of an owner is protected.
    pub fn selects(&self, owner: &Facts<'_>, workload: Workload) -> bool {
        let applies = |effect: Effect| {
            self.rules.iter().any(|rule| {
                rule.effect == effect
                    && (rule.workloads.is_empty() || rule.workloads.contains(&workload))
                    && rule.subject.applies_to(owner)
            })
        };
        applies(Effect::Include) && !applies(Effect::Exclude)
    }

    /// Says whether any part of an owner is protected.
    pub fn selects_any(&self, owner: &Facts<'_>) -> bool {
        Workload::ALL.iter().any(|&workload| self.selects(owner, workload))
    }

    /// Says whether any owner's part of this kind may be protected.
    pub fn reads(&self, workload: Workload) -> bool {
        self.rules.iter().any(|rule| {
            rule.effect == Effect::Include && (rule.workloads.is_empty() || rule.workloads.contains(&workload))
        })
    }

    /// Says whether any owner of a kind may be protected with a part.
    pub fn reads_of(&self, kind: OwnerKind, workload: Workload) -> bool {
        self.rules.iter().any(|rule| {
            let applies = match rule.subject {
                Subject::Everything => true,
                Subject::User(_) | Subject::Licence(_) => kind == OwnerKind::User,
                Subject::Group(_) => matches!(kind, OwnerKind::User | OwnerKind::Group),
                Subject::Site(_) => kind == OwnerKind::Site,
                Subject::Team(_) => kind == OwnerKind::Team,
            };
            applies
                && rule.effect == Effect::Include
                && (rule.workloads.is_empty() || rule.workloads.contains(&workload))
        })
    }

    /// Says whether a rule asks for the members of groups.
    pub fn asks_for_groups(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.subject, Subject::Group(_)))
    }

    /// Says whether a rule asks for licences.
    pub fn asks_for_licences(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.subject, Subject::Licence(_)))
    }

    /// The user principal names or ids that the selection includes, if it includes users by name only.
    pub fn only_named_users(&self) -> Option<Vec<&str>> {
        let included = self.rules.iter().filter(|rule| rule.effect == Effect::Include);
        included
            .map(|rule| match &rule.subject {
                Subject::User(glob) if !glob.is_pattern() => Some(glob.as_str()),
                _ => None,
            })
            .collect()
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

    /// Says whether it stands for more than one name.
    pub fn is_pattern(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// Says whether the whole name fits. Takes at most time in proportion to pattern times name.
    pub fn matches(&self, name: &str) -> bool {
        if !self.is_pattern() {
            let folded = name.chars().flat_map(char::to_lowercase);
            return self.0.chars().flat_map(char::to_lowercase).eq(folded);
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> Glob {
        text.parse().expect(text)
    }

    fn user<'a>(name: &'a str, groups: &[&'a str]) -> Facts<'a> {
        Facts { names: vec![name], groups: groups.to_vec(), licences: vec!["SPE_E3"], ..Facts::default() }
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
        assert!(selection.selects(&user("alice@contoso.com", &[]), Workload::Mail));
        assert!(!selection.selects(&user("alice@contoso.com", &[]), Workload::OneDrive));
        assert!(!selection.selects(&user("test-1@contoso.com", &[]), Workload::Mail));
        assert!(!selection.selects(&user("bob@fabrikam.com", &[]), Workload::Mail));
        assert!(
            selection.selects_any(&user("alice@contoso.com", &[]))
                && !selection.selects_any(&user("test-1@contoso.com", &[]))
        );
        assert!(selection.reads(Workload::Mail) && !selection.reads(Workload::OneDrive));
        assert!(!Selection::default().selects(&user("alice@contoso.com", &[]), Workload::Mail));
    }

    #[test]
    fn rules_name_groups_sites_teams_and_licences() {
        let subject = |text: &str| text.parse::<Subject>().expect(text);
        let of = |kind, name| Facts { kind, names: vec![name], ..Facts::default() };
        let selection = Selection::of(
            vec![
                subject("group:Sales*"),
                subject("site:https://*/sites/a*"),
                subject("team:Blue"),
                subject("licence:spe_e5"),
            ],
            vec![subject("user:boss@*")],
            &[],
        );
        let selects = |owner: &Facts<'_>| selection.selects(owner, Workload::Mail);
        assert!(selects(&user("ann@x", &["Sales EMEA"])) && !selects(&user("ann@x", &["Marketing"])));
        assert!(!selects(&user("boss@x", &["Sales EMEA"])), "what is excluded is out");
        assert!(selects(&of(OwnerKind::Group, "Sales")) && !selects(&of(OwnerKind::User, "Sales")));
        assert!(
            selects(&of(OwnerKind::Site, "https://x/sites/abc"))
                && !selects(&of(OwnerKind::Team, "https://x/sites/abc"))
        );
        assert!(selects(&of(OwnerKind::Team, "blue")) && !selects(&of(OwnerKind::Site, "blue")));
        let licensed = Facts { licences: vec!["SPE_E5"], ..user("c@x", &[]) };
        assert!(selects(&licensed) && !selects(&user("c@x", &[])));
        assert!(selection.asks_for_groups() && selection.asks_for_licences() && selection.only_named_users().is_none());
        for text in ["*", "user:*", "ann@x", "group:Sales*", "site:https://x/*", "team:a b", "licence:SPE_E3"] {
            assert_eq!(subject(text).to_string(), text);
        }
        assert_eq!(subject("user:ann@x").to_string(), "ann@x");
        assert!("plan:x".parse::<Subject>().is_err() && "group:".parse::<Subject>().is_err());
        let everything = Selection::of(vec![subject("*")], vec![], &[]);
        assert!(everything.selects_any(&of(OwnerKind::Tenant, "")));
        let named = Selection::of(vec![subject("ann@x"), subject("bob@x")], vec![], &[]);
        assert_eq!(named.only_named_users(), Some(vec!["ann@x", "bob@x"]));
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
    }
}
