//! Roles and rights.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a person is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Runs the server: accounts, people, settings; may help in every account. Opens no contents without an owner's key:
    /// one that is brought, or that an account lets the server hold.
    Administrator,
    /// Everything in one account.
    Owner,
    /// Sees, and starts and stops runs.
    Operator,
    /// Sees, looks into snapshots and restores.
    Restore,
    /// Sees, and reads the audit log.
    Auditor,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[Self::Administrator, Self::Owner, Self::Operator, Self::Restore, Self::Auditor];

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Restore => "restore",
            Self::Auditor => "auditor",
        }
    }

    /// What it may do, in words.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Administrator => "Runs the server: accounts, people, settings; may help in every account",
            Self::Owner => "Everything in this account",
            Self::Operator => "Sees runs, coverage and settings; starts and stops runs",
            Self::Restore => "Sees runs, coverage and settings; looks into snapshots and restores",
            Self::Auditor => "Sees runs, coverage and settings; reads the audit log; changes nothing",
        }
    }

    /// Says whether it has a right, where it has any.
    pub(crate) fn has(self, right: Right) -> bool {
        use Right::{Audit, Change, Keys, People, Restore, Run, See, Server, SignedIn};
        let has = match self {
            Self::Administrator => true,
            Self::Owner => right != Server,
            Self::Operator => matches!(right, SignedIn | See | Run),
            Self::Restore => matches!(right, SignedIn | See | Restore),
            Self::Auditor => matches!(right, SignedIn | See | Audit),
        };
        // Each right stands in this list, so that a new one is thought about here.
        has && matches!(right, Audit | Change | Keys | People | Restore | Run | See | Server | SignedIn)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().copied().find(|role| role.word() == text);
        found.ok_or_else(|| {
            Error::invalid(format!("'{}' is not a role", text.escape_debug()))
                .with_hint("There are administrator, owner, operator, restore and auditor")
        })
    }
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// To be somebody.
    SignedIn,
    /// See sets, runs, coverage, storage.
    See,
    /// Start and stop runs.
    Run,
    /// Make and change tenants, sets, destinations, clients.
    Change,
    /// Look into snapshots, restore.
    Restore,
    /// Make and remove keys.
    Keys,
    /// Make and change people.
    People,
    /// Read the audit log.
    Audit,
    /// Accounts, administrators, settings of the server.
    Server,
}

#[cfg(test)]
mod tests {
    use super::super::Actor;
    use super::*;
    use crate::server::id::Id;

    const RIGHTS: [Right; 9] = [
        Right::SignedIn,
        Right::See,
        Right::Run,
        Right::Change,
        Right::Restore,
        Right::Keys,
        Right::People,
        Right::Audit,
        Right::Server,
    ];

    #[test]
    fn nobody_may_anything_in_another_account() {
        let (own, other) = (Id::random(), Id::random());
        for role in Role::ALL.iter().copied().filter(|role| *role != Role::Administrator) {
            let actor = Actor {
                person: Id::random(),
                login: "x".into(),
                role,
                account: Some(own.clone()),
                session: None,
                way: String::new(),
                address: String::new(),
            };
            for right in RIGHTS {
                assert!(!actor.may(right, Some(&other)), "{role}: {right:?}");
                assert_eq!(actor.may(right, Some(&own)), role.has(right), "{role}: {right:?}");
                assert_eq!(actor.may(right, None), right == Right::SignedIn, "{role}: {right:?} of the server");
            }
        }
    }

    #[test]
    fn each_role_may_what_its_sentence_says_and_no_more() {
        use Right::{Audit, Change, Keys, People, Restore, Run, See, SignedIn};
        let table: [(Role, &[Right]); 5] = [
            (Role::Administrator, &RIGHTS),
            (Role::Owner, &[SignedIn, See, Run, Change, Restore, Keys, People, Audit]),
            (Role::Operator, &[SignedIn, See, Run]),
            (Role::Restore, &[SignedIn, See, Restore]),
            (Role::Auditor, &[SignedIn, See, Audit]),
        ];
        assert_eq!(table.len(), Role::ALL.len());
        for (role, may) in table {
            for right in RIGHTS {
                assert_eq!(role.has(right), may.contains(&right), "{role}: {right:?}");
            }
        }
    }
}
