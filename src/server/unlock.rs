//! Repositories that somebody opened with an owner's key, to look into them: for one session or token, in memory, for a
//! while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::audit::Deed;
use super::auth::{Actor, Password};
use super::db::RepositoryRow;
use super::id::Id;
use super::state::Server;
use super::store;
use crate::crypto::Passphrase;
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::KeyId;
use crate::monitor::Silent;
use crate::ops::browse::{BrowseOptions, Browser};

/// How long a repository stays open when nobody looks.
pub(crate) const IDLE_US: i64 = 30 * 60_000_000;
/// What the log says of contents that were opened by the key that an account lets the server hold.
pub(crate) const HELD_KEY: &str = "the key that the server holds";
/// The most that are open at once: each takes some memory.
const MOST: usize = 64;

/// What is open, and for whom.
#[derive(Default)]
pub(crate) struct Unlocked {
    open: Mutex<HashMap<(String, Id), Open>>,
}

struct Open {
    browser: Browser,
    /// By which key it was opened.
    slot: KeyId,
    /// When the repository's row was made, and the epoch of its keys in which it was opened.
    since: (i64, i64),
    /// The server opened it itself, by the key that the account lets it hold.
    by_server: bool,
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
        self.open_by(server, actor, row, key, false).await
    }

    async fn open_by(
        &self,
        server: &Server,
        actor: &Actor,
        row: &RepositoryRow,
        key: &Password,
        by_server: bool,
    ) -> Result<()> {
        let repo = store::open_with(server, row, &Passphrase::new(key.expose())?).await?;
        let slot = repo.slot();
        let browser = Browser::open(repo, BrowseOptions::default(), std::sync::Arc::new(Silent)).await?;
        let now = server.now_us();
        server.db.note_key_used(&slot.to_string(), now).await?;
        if by_server {
            note_held_key(server, actor, row).await?;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, open| open.seen_us + IDLE_US > now);
        if open.len() >= MOST
            && let Some(oldest) = open.iter().min_by_key(|(_, open)| open.seen_us).map(|(name, _)| name.clone())
        {
            open.remove(&oldest);
        }
        let opened = Open {
            browser,
            slot,
            since: (row.created_us, row.gone.epoch()),
            by_server,
            key: key.clone(),
            seen_us: now,
        };
        open.insert((actor.way.clone(), row.id.clone()), opened);
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
        let known = self.known(actor, row, now_us).is_some();
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.get(&(actor.way.clone(), row.id.clone())).filter(|_| known);
        found.map(|open| Some(open.key.clone())).ok_or_else(|| locked(row))
    }

    /// What whoever asks has open; with the account's leave, the server opens it itself, and notes that.
    ///
    /// # Errors
    /// `WrongKey` when it is not open.
    pub(crate) async fn browser(&self, server: &Server, actor: &Actor, row: &RepositoryRow) -> Result<Browser> {
        let now = server.now_us();
        if let Some(browser) = self.known(actor, row, now) {
            return Ok(browser);
        }
        let Some(key) = row.owner_key(&server.vault)? else {
            return Err(locked(row));
        };
        self.open_by(server, actor, row, &Password::new(key.as_str()), true).await?;
        self.known(actor, row, now).ok_or_else(|| Error::internal("What was opened is not open"))
    }

    /// Says whether whoever asks has a repository open.
    pub(crate) fn is_open(&self, actor: &Actor, row: &RepositoryRow, now_us: i64) -> bool {
        self.known(actor, row, now_us).is_some()
    }

    fn known(&self, actor: &Actor, row: &RepositoryRow, now_us: i64) -> Option<Browser> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, id), open| open.seen_us + IDLE_US > now_us && (*id != row.id || open.may_stay(row)));
        let found = open.get_mut(&(actor.way.clone(), row.id.clone()))?;
        found.seen_us = now_us;
        Some(found.browser.clone())
    }

    /// Lets go of what anybody has open by a key that was removed.
    pub(crate) fn forget_slot(&self, repository: &Id, slot: &KeyId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, id), open| id != repository || open.slot != *slot);
    }

    /// Lets go of what whoever asks has open.
    pub(crate) fn lock(&self, actor: &Actor, repository: Option<&Id>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(way, id), _| *way != actor.way || repository.is_some_and(|asked| asked != id));
    }
}

impl Open {
    /// Says whether it may stay open, as its repository's row is now: whatever process changed it.
    fn may_stay(&self, row: &RepositoryRow) -> bool {
        let (made_us, epoch) = self.since;
        // What the server opened by the key that it held is open as long as it holds it.
        (!self.by_server || row.holds_owner_key)
            && made_us == row.created_us
            && !row.gone.has_gone_since(&self.slot.to_string(), epoch)
    }
}

/// Nobody unlocked: the log has it all the same.
async fn note_held_key(server: &Server, actor: &Actor, row: &RepositoryRow) -> Result<()> {
    let detail = json!({"by": HELD_KEY});
    let deed = Deed { account: Some(&row.account), action: "repository.unlock", object: &row.name, detail };
    server.db.note(actor, deed, server.now_us()).await
}

fn locked(row: &RepositoryRow) -> Error {
    Error::new(ErrorKind::WrongKey, format!("Repository '{}' is locked", row.name))
        .with_hint("Unlock it with an owner's key; the server has none")
}
