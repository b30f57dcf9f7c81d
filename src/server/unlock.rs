//! Repositories that somebody opened with an owner's key, to look into them: for one session or token, in memory, for a
//! while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::auth::{Actor, Password};
use super::db::RepositoryRow;
use super::id::Id;
use super::state::Server;
use super::store;
use crate::crypto::Passphrase;
use crate::error::{Error, ErrorKind, Result};
use crate::monitor::Silent;
use crate::ops::browse::{BrowseOptions, Browser};

/// How long a repository stays open when nobody looks.
pub(crate) const IDLE_US: i64 = 30 * 60_000_000;
/// The most that are open at once: each takes some memory.
const MOST: usize = 64;

/// What is open, and for whom.
#[derive(Default)]
pub(crate) struct Unlocked {
    open: Mutex<HashMap<(String, Id), Open>>,
}

struct Open {
    browser: Browser,
    /// Kept to be lent to a job that whoever opened it asks for.
    key: Password,
    seen_us: i64,
}

impl Unlocked {
    /// Opens a repository for whoever asks, with a key of an owner's.
    ///
    /// # Errors
    /// `WrongKey` for another key, or a write-only one; as opening.
    pub(crate) async fn unlock(
        &self,
        server: &Server,
        actor: &Actor,
        row: &RepositoryRow,
        key: &Password,
    ) -> Result<()> {
        let repo = store::open_with(server, row, &Passphrase::new(key.expose())?).await?;
        let browser = Browser::open(repo, BrowseOptions::default(), std::sync::Arc::new(Silent)).await?;
        let now = server.now_us();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, open| open.seen_us + IDLE_US > now);
        if open.len() >= MOST
            && let Some(oldest) = open.iter().min_by_key(|(_, open)| open.seen_us).map(|(name, _)| name.clone())
        {
            open.remove(&oldest);
        }
        open.insert((actor.way.clone(), row.id.clone()), Open { browser, key: key.clone(), seen_us: now });
        Ok(())
    }

    /// The key that a job which reads contents is to be lent; none: it needs none, for the server holds the owner's.
    ///
    /// # Errors
    /// `WrongKey` when whoever asks has the repository not open.
    pub(crate) fn lendable(&self, actor: &Actor, row: &RepositoryRow, now_us: i64) -> Result<Option<Password>> {
        if row.holds_owner_key {
            return Ok(None);
        }
        let known = self.known(actor, &row.id, now_us).is_some();
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.get(&(actor.way.clone(), row.id.clone())).filter(|_| known);
        found.map(|open| Some(open.key.clone())).ok_or_else(|| locked(row))
    }

    /// What whoever asks has open; with the account's leave, the server opens it itself.
    ///
    /// # Errors
    /// `WrongKey` when it is not open.
    pub(crate) async fn browser(&self, server: &Server, actor: &Actor, row: &RepositoryRow) -> Result<Browser> {
        let now = server.now_us();
        if let Some(browser) = self.known(actor, &row.id, now) {
            return Ok(browser);
        }
        let Some(key) = row.owner_key(&server.vault)? else {
            return Err(locked(row));
        };
        self.unlock(server, actor, row, &Password::new(key.as_str())).await?;
        self.known(actor, &row.id, now).ok_or_else(|| Error::internal("What was opened is not open"))
    }

    /// Says whether whoever asks has a repository open.
    pub(crate) fn is_open(&self, actor: &Actor, repository: &Id, now_us: i64) -> bool {
        self.known(actor, repository, now_us).is_some()
    }

    fn known(&self, actor: &Actor, repository: &Id, now_us: i64) -> Option<Browser> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, open| open.seen_us + IDLE_US > now_us);
        let found = open.get_mut(&(actor.way.clone(), repository.clone()))?;
        found.seen_us = now_us;
        Some(found.browser.clone())
    }

    /// Lets go of what whoever asks has open.
    pub(crate) fn lock(&self, actor: &Actor, repository: Option<&Id>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(way, id), _| *way != actor.way || repository.is_some_and(|asked| asked != id));
    }
}

fn locked(row: &RepositoryRow) -> Error {
    Error::new(ErrorKind::WrongKey, format!("Repository '{}' is locked", row.name))
        .with_hint("Unlock it with an owner's key; the server has none")
}
