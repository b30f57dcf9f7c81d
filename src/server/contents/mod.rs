//! What a tenant has, for people who decide what a backup set protects: users, groups, sites, teams, licences, by name; which
//! rule means which of them, and how many are chosen.
//!
//! It is asked for when somebody looks, by the discovery that backups use, and kept in memory for some minutes ([`asked`]):
//! nothing of it is stored. Rules are held against it by the very code that a backup uses ([`rules`], [`count`]), so that what a
//! page says is what a run does.

mod asked;
mod count;
mod members;
mod rules;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::m365::discover::{Listed, Tenant};
use crate::snapshot::set::{Facts, OwnerKind, Workload};

pub(crate) use asked::{Asked, Looked, Trouble};
pub(crate) use count::Counts;
use count::{count, meant};
pub(crate) use members::{Members, Named};
pub(crate) use rules::{Read, Rules, State, lines};

/// What a tenant is divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Users, with shared mailboxes, rooms and equipment.
    Users,
    /// Groups; those of Microsoft 365 own conversations and plans, all have members.
    Groups,
    /// Sites.
    Sites,
    /// Teams.
    Teams,
    /// Licences, by which users are chosen.
    Licences,
}

impl Kind {
    /// All of them, in the order in which they are shown.
    pub(crate) const ALL: [Self; 5] = [Self::Users, Self::Groups, Self::Sites, Self::Teams, Self::Licences];

    /// The word for it in addresses.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Groups => "groups",
            Self::Sites => "sites",
            Self::Teams => "teams",
            Self::Licences => "licences",
        }
    }

    /// The name to show.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Users => "Users",
            Self::Groups => "Groups",
            Self::Sites => "Sites",
            Self::Teams => "Teams",
            Self::Licences => "Licences",
        }
    }

    /// The rule that means all of it.
    pub(crate) fn wide(self) -> &'static str {
        match self {
            Self::Users => "user:*",
            Self::Groups => "group:*",
            Self::Sites => "site:*",
            Self::Teams => "team:*",
            Self::Licences => "licence:*",
        }
    }

    /// One by its word.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What its members are to rules.
    fn owner(self) -> OwnerKind {
        match self {
            Self::Users | Self::Licences => OwnerKind::User,
            Self::Groups => OwnerKind::Group,
            Self::Sites => OwnerKind::Site,
            Self::Teams => OwnerKind::Team,
        }
    }

    /// Which parts a rule may take of its members.
    fn parts(self) -> &'static [Workload] {
        match self {
            Self::Users | Self::Licences => &[
                Workload::Mail,
                Workload::OneDrive,
                Workload::Contacts,
                Workload::Calendar,
                Workload::Tasks,
                Workload::Settings,
                Workload::PersonalSite,
                Workload::Chats,
            ],
            Self::Groups => &[Workload::Groups],
            Self::Sites => &[Workload::Sites],
            Self::Teams => &[Workload::Teams],
        }
    }
}

/// What a tenant has.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// When it was asked for: microseconds since 1970 UTC.
    pub(crate) read_us: i64,
    /// What could not be listed, and why.
    pub(crate) unlisted: Vec<(String, String)>,
    /// So many are left out of this list, for they are too many to keep. Rules mean them all the same.
    pub(crate) cut: usize,
    owners: Vec<Listed>,
    /// Places in `owners`, sorted by name.
    places: BTreeMap<Kind, Vec<usize>>,
    /// Part numbers, each with the number of users who have it.
    licences: Vec<(String, usize)>,
    /// How many groups share a name, in lower case.
    shared: HashMap<String, usize>,
    members: Members,
}

/// One of a tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    /// What it is shown under.
    pub(crate) kind: Kind,
    /// Its place among all owners; none: a licence.
    place: Option<usize>,
    owner: Option<&'a Listed>,
    /// The part number, and how many users have it.
    licence: Option<&'a (String, usize)>,
}

/// About how much an owner takes in memory, beside its texts.
const OWNER_BYTES: usize = 240;

fn bytes_of(owner: &Listed) -> usize {
    let lists: usize = owner.licences.iter().chain(&owner.also).map(|text| text.len() + 24).sum();
    OWNER_BYTES + owner.id.len() + owner.name.len() + owner.title.len() + lists
}

impl Contents {
    /// Arranges what was listed; of what takes more than so many bytes the rest is left out.
    pub(crate) fn arrange(tenant: Tenant, read_us: i64, most_bytes: usize) -> Self {
        let mut found = Self { read_us, ..Self::default() };
        found.unlisted = tenant.unlisted.into_iter().map(|(what, why)| (what.to_owned(), why)).collect();
        let mut bytes = 0;
        let mut licences: BTreeMap<String, usize> = BTreeMap::new();
        // A guest's data is in another tenant; a personal site is its user's.
        for owner in tenant.owners.into_iter().filter(|owner| owner.kind != "guest" && owner.kind != "personal-site") {
            bytes += bytes_of(&owner);
            if bytes > most_bytes {
                found.cut += 1;
                continue;
            }
            for licence in &owner.licences {
                *licences.entry(licence.clone()).or_default() += 1;
            }
            let kinds: &[Kind] = match owner.kind.as_str() {
                "team" => &[Kind::Groups, Kind::Teams],
                "group" | "members" => &[Kind::Groups],
                "site" => &[Kind::Sites],
                _ => &[Kind::Users],
            };
            if kinds.contains(&Kind::Groups) {
                *found.shared.entry(owner.name.to_lowercase()).or_default() += 1;
            }
            for kind in kinds {
                found.places.entry(*kind).or_default().push(found.owners.len());
            }
            found.owners.push(owner);
        }
        let owners = &found.owners;
        for places in found.places.values_mut() {
            places.sort_by_cached_key(|place| owners.get(*place).map(|owner| owner.name.to_lowercase()));
        }
        found.licences = licences.into_iter().collect();
        found
    }

    /// About how much it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.owners.iter().map(bytes_of).sum::<usize>() + self.members.bytes()
    }

    /// What was asked for of the members of groups.
    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// How many there are of a kind.
    pub(crate) fn many(&self, kind: Kind) -> usize {
        if kind == Kind::Licences { self.licences.len() } else { self.places.get(&kind).map_or(0, Vec::len) }
    }

    /// All of a kind, by name.
    pub(crate) fn items(&self, kind: Kind) -> impl Iterator<Item = Item<'_>> {
        let places = self.places.get(&kind).map(Vec::as_slice).unwrap_or_default();
        let owners = places.iter().filter_map(move |place| {
            let owner = self.owners.get(*place);
            owner.map(|owner| Item { kind, place: Some(*place), owner: Some(owner), licence: None })
        });
        let licences = self.licences.iter().filter(move |_| kind == Kind::Licences);
        owners.chain(licences.map(move |found| Item { kind, place: None, owner: None, licence: Some(found) }))
    }

    /// Those of a kind whose names have a text in them, whatever the case.
    pub(crate) fn find<'a>(&'a self, kind: Kind, text: &str) -> impl Iterator<Item = Item<'a>> {
        let wanted = text.trim().to_lowercase();
        self.items(kind).filter(move |item| {
            wanted.is_empty()
                || item.name().to_lowercase().contains(&wanted)
                || item.title().to_lowercase().contains(&wanted)
        })
    }

    /// The one that a rule for it alone means.
    pub(crate) fn by_rule(&self, rule: &str) -> Option<Item<'_>> {
        Kind::ALL.into_iter().flat_map(|kind| self.items(kind)).find(|item| item.rule(self) == rule)
    }

    /// Whether a group can be called by its name, which no other has.
    fn is_alone(&self, name: &str) -> bool {
        self.shared.get(&name.to_lowercase()).is_some_and(|many| *many == 1)
    }
}

/// Whether a text, as a pattern, means itself alone, in one line.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.contains(['*', '?']) && !text.chars().any(char::is_control)
}

impl<'a> Item<'a> {
    /// The name that it is known by.
    pub(crate) fn name(&self) -> &'a str {
        self.owner.map_or_else(|| self.licence.map_or("", |found| &found.0), |owner| &owner.name)
    }

    /// The name to show, or an address.
    pub(crate) fn title(&self) -> &'a str {
        self.owner.map_or("", |owner| &owner.title)
    }

    /// What is to be known of it beside the names.
    pub(crate) fn remark(&self) -> String {
        if let Some((_, users)) = self.licence {
            return if *users == 1 { "1 user has it".to_owned() } else { format!("{users} users have it") };
        }
        let Some(owner) = self.owner else { return String::new() };
        match (owner.kind.as_str(), owner.blocked) {
            ("members", _) => "owns nothing; its members can be chosen by it".to_owned(),
            (_, true) => "sign-in blocked".to_owned(),
            _ if self.kind == Kind::Users && owner.licences.is_empty() => "no licence".to_owned(),
            _ => String::new(),
        }
    }

    /// The rule that means it and nothing else.
    pub(crate) fn rule(&self, contents: &Contents) -> String {
        let Some(owner) = self.owner else { return format!("licence:{}", self.name()) };
        let plain = |text: &'a str| Some(text).filter(|text| is_plain(text));
        let of_group = || {
            let name = plain(&owner.name).filter(|name| contents.is_alone(name));
            name.or_else(|| plain(&owner.title)).unwrap_or(&owner.id)
        };
        match self.kind {
            // A name with a colon would be taken for another kind of rule.
            Kind::Users => plain(&owner.name).filter(|name| !name.contains(':')).unwrap_or(&owner.id).to_owned(),
            Kind::Groups => format!("group:{}", of_group()),
            Kind::Teams => format!("team:{}", of_group()),
            Kind::Sites => format!("site:{}", plain(&owner.name).unwrap_or(&owner.id)),
            Kind::Licences => String::new(),
        }
    }

    /// What rules are held against. A licence, and a group that owns nothing, stand for a user of whom nothing else is known.
    pub(crate) fn facts(&self, named: &'a Named) -> Facts<'a> {
        match (self.owner, self.place) {
            (Some(owner), Some(place)) if self.kind == Kind::Users => {
                owner.facts(OwnerKind::User, named.of(place).collect())
            }
            (Some(owner), _) if owner.kind == "members" => {
                let names = owner.facts(OwnerKind::Group, Vec::new()).names;
                Facts { kind: OwnerKind::User, groups: names, ..Facts::default() }
            }
            (Some(owner), _) => owner.facts(self.kind.owner(), Vec::new()),
            (None, _) => Facts { kind: OwnerKind::User, licences: vec![self.name()], ..Facts::default() },
        }
    }

    /// Whether it has something of its own that a backup reads.
    pub(crate) fn owns(&self) -> bool {
        self.owner.is_some_and(|owner| owner.kind != "members")
    }

    /// What rules call a group.
    fn group_names(&self) -> Vec<&'a str> {
        self.owner.map(|owner| owner.facts(OwnerKind::Group, Vec::new()).names).unwrap_or_default()
    }

    /// The part numbers of a user's licences.
    fn licences(&self) -> &'a [String] {
        self.owner.map(|owner| owner.licences.as_slice()).unwrap_or_default()
    }

    /// Graph's id of it.
    pub(crate) fn id(&self) -> &'a str {
        self.owner.map_or("", |owner| &owner.id)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Owners: kind, name, title, licences.
    pub(crate) fn tenant(owners: &[(&str, &str, &str, &[&str])]) -> Contents {
        let owner = |(number, (kind, name, title, licences)): (usize, &(&str, &str, &str, &[&str]))| Listed {
            kind: (*kind).to_owned(),
            id: format!("id-{number}"),
            name: (*name).to_owned(),
            title: (*title).to_owned(),
            licences: licences.iter().map(ToString::to_string).collect(),
            ..Listed::default()
        };
        let owners = owners.iter().enumerate().map(owner).collect();
        Contents::arrange(Tenant { owners, unlisted: Vec::new() }, 0, usize::MAX)
    }

    #[test]
    fn each_has_a_rule_that_means_it_alone() {
        let found = tenant(&[
            ("user", "ann@x", "Ann", &["E3"]),
            ("user", "odd*@x", "Odd", &[]),
            ("guest", "guest@y", "Guest", &[]),
            ("team", "Sales, EMEA", "sales@x", &[]),
            ("group", "Twins", "one@x", &[]),
            ("members", "twins", "", &[]),
            ("site", "https://x/sites/a", "A", &[]),
            ("personal-site", "https://x/personal/ann", "Ann", &[]),
        ]);
        let rules = |kind| found.items(kind).map(|item| item.rule(&found)).collect::<Vec<_>>();
        assert_eq!(rules(Kind::Users), ["ann@x", "id-1"], "no guests, and no pattern by accident");
        assert_eq!(rules(Kind::Groups), ["group:Sales, EMEA", "group:one@x", "group:id-5"]);
        assert_eq!(
            (rules(Kind::Teams), rules(Kind::Sites)),
            (vec!["team:Sales, EMEA".into()], vec!["site:https://x/sites/a".into()])
        );
        assert_eq!(rules(Kind::Licences), ["licence:E3"]);
        assert_eq!(found.by_rule("group:one@x").map(|item| item.name()), Some("Twins"));
        assert!(found.by_rule("group:none").is_none());
        assert_eq!(found.find(Kind::Users, "ANN").count(), 1);
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.word()), Some(kind));
            for item in found.items(kind) {
                item.rule(&found).parse::<crate::snapshot::set::Subject>().expect("a rule");
            }
        }
    }

    #[test]
    fn what_is_too_much_to_keep_is_cut_and_said() {
        let owners = (0..1_000).map(|n| Listed {
            kind: "user".into(),
            id: n.to_string(),
            name: format!("u{n}@x"),
            ..Listed::default()
        });
        let found = Contents::arrange(Tenant { owners: owners.collect(), unlisted: Vec::new() }, 0, 100_000);
        assert!(found.bytes() <= 100_000 && found.many(Kind::Users) > 100);
        assert_eq!(found.many(Kind::Users) + found.cut, 1_000);
    }
}
