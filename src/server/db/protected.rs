//! How much each backup set protects, as its newest snapshot says, or its choice where that was held against limits since: what
//! accounts' limits are held against.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{Db, Entitlements};
use crate::error::{Error, ErrorKind, Result};
use crate::format::snapshot::{CoverageEntry, Protection};
use crate::server::id::Id;

/// How much is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Protected {
    /// Mailboxes, those of groups among them.
    pub(crate) mailboxes: i64,
    /// Drives of users.
    pub(crate) drives: i64,
    /// Sites.
    pub(crate) sites: i64,
}

impl Protected {
    /// Counts the owners in a snapshot's coverage.
    pub(crate) fn of(coverage: &[CoverageEntry]) -> Self {
        let count = |fits: &dyn Fn(&CoverageEntry) -> bool| {
            let held = |entry: &&CoverageEntry| {
                matches!(entry.state, Protection::Protected | Protection::Partly | Protection::Left)
            };
            let owners: HashSet<&str> =
                coverage.iter().filter(held).filter(|entry| fits(entry)).map(|entry| entry.owner.as_str()).collect();
            i64::try_from(owners.len()).unwrap_or(i64::MAX)
        };
        Self {
            mailboxes: count(&|entry| matches!(entry.workload.as_str(), "mail" | "conversations")),
            drives: count(&|entry| entry.workload == "onedrive"),
            sites: count(&|entry| entry.owner.starts_with("sites/")),
        }
    }

    fn add(self, other: Self) -> Self {
        Self {
            mailboxes: self.mailboxes + other.mailboxes,
            drives: self.drives + other.drives,
            sites: self.sites + other.sites,
        }
    }

    /// The larger of both, each figure by itself.
    fn larger(self, other: Self) -> Self {
        Self {
            mailboxes: self.mailboxes.max(other.mailboxes),
            drives: self.drives.max(other.drives),
            sites: self.sites.max(other.sites),
        }
    }

    fn beside(self, limits: Entitlements) -> [(&'static str, i64, Option<i64>); 3] {
        [
            ("mailboxes", self.mailboxes, limits.mailboxes),
            ("drives", self.drives, limits.drives),
            ("sites", self.sites, limits.sites),
        ]
    }

    /// Refuses to add to what has reached a limit.
    ///
    /// # Errors
    /// `Permission` naming the limit.
    pub(crate) fn within(self, limits: Entitlements) -> Result<()> {
        for (what, many, most) in self.beside(limits) {
            if most.is_some_and(|most| many >= most) {
                let text = format!("The account protects as many {what} as it may already: {many}");
                return Err(Error::new(ErrorKind::Permission, text)
                    .with_hint("Ask the server's administrator for more; runs and restores go on"));
            }
        }
        Ok(())
    }

    /// Refuses to add so much that a limit would be passed.
    ///
    /// # Errors
    /// `Permission` naming the limit.
    pub(crate) fn takes(self, more: Self, limits: Entitlements) -> Result<()> {
        for ((what, many, most), (_, more, _)) in self.beside(limits).into_iter().zip(more.beside(limits)) {
            if more > 0
                && let Some(most) = most
                && many.saturating_add(more) > most
            {
                let text = format!(
                    "The choice means {more} {what}, and the account may protect {most}, of which {many} are protected \
                     by other backup sets"
                );
                return Err(Error::new(ErrorKind::Permission, text).with_hint(
                    "Choose less, or ask the server's administrator for more; users count where they have a licence",
                ));
            }
        }
        Ok(())
    }
}

fn name(set: &Id) -> String {
    format!("protected {set}")
}

impl Db {
    /// Keeps how much a set protects.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_protected(&self, set: &Id, protected: Protected) -> Result<()> {
        self.set(&name(set), Some(&super::to_json(&protected)?)).await
    }

    /// Keeps how much a set is meant to protect. What a run read of it counts until the next one reads less: not all of it is known
    /// before, such as mailboxes that users share.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_meant(&self, set: &Id, meant: Protected) -> Result<()> {
        let known: Option<Protected> =
            self.setting(&name(set)).await?.map(|text| super::from_json(&text)).transpose()?;
        self.keep_protected(set, known.unwrap_or_default().larger(meant)).await
    }

    /// Says whether it is known of a set how much it protects: since it had a snapshot here, or its choice was held against limits.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn protects_something(&self, set: &Id) -> Result<bool> {
        Ok(self.setting(&name(set)).await?.is_some())
    }

    /// How much the sets of an account protect together.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn protected(&self, account: &Id) -> Result<Protected> {
        self.protected_beside(account, None).await
    }

    /// How much the sets of an account protect together, without one of them.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn protected_beside(&self, account: &Id, one: Option<&Id>) -> Result<Protected> {
        let mut all = Protected::default();
        for set in self.sets(account).await?.iter().filter(|set| one != Some(&set.id)) {
            if let Some(text) = self.setting(&name(&set.id)).await? {
                all = all.add(super::from_json(&text)?);
            }
        }
        Ok(all)
    }
}
