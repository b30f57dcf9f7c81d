//! Repositories that somebody opened with an owner's key, to look into them: for one session or token, in memory, for a
//! while.
//!
//! That somebody may look, and what is held in memory for it, are two things. Who looks into the same repository by the same
//! key shares what is held; what is let go for want of room is opened again by the key that was kept, and nobody is asked.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use super::audit::Deed;
use super::auth::{Actor, Password};
use super::db::RepositoryRow;
use super::id::Id;
use super::state::Server;
use super::store;
use super::turns::Turns;
use crate::crypto::Passphrase;
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::KeyId;
use crate::monitor::Silent;
use crate::ops::browse::{BrowseOptions, Browser};
use crate::repo::Repository;

/// How long a repository stays open when nobody looks.
pub(crate) const IDLE_US: i64 = 30 * 60_000_000;
/// What the log says of contents that were opened by the key that an account lets the server hold.
pub(crate) const HELD_KEY: &str = "the key that the server holds";
/// The most that one person has open, over all their sessions and tokens: beyond it, what they looked at least lately is locked.
const MOST_OF_ONE: usize = 16;
/// The most that is held in memory.
const MOST_HELD: usize = if cfg!(test) { 4 } else { 64 };

/// What is open, and for whom.
#[derive(Default)]
pub(crate) struct Unlocked {
    all: Mutex<All>,
    /// By repository.
    opening: Turns<Id>,
}

#[derive(Default)]
struct All {
    /// By what somebody came by, and the repository.
    open: HashMap<(String, Id), Open>,
    held: HashMap<(Id, KeyId), Held>,
}

struct Open {
    person: Id,
    /// By which key it was opened.
    slot: KeyId,
    /// When the repository's row was made, and the epoch of its keys in which it was opened.
    since: (i64, i64),
    /// The server opened it itself, by the key that the account lets it hold.
    by_server: bool,
    /// Kept to be lent to a job that whoever opened it asks for, and to open the repository again.
    key: Password,
    seen_us: i64,
}

/// A repository in memory.
struct Held {
    account: Id,
    browser: Browser,
    seen_us: i64,
}

/// What somebody has open.
struct Known {
    key: Password,
    slot: KeyId,
    /// None: it was let go, and is to be opened again.
    browser: Option<Browser>,
}

impl All {
    /// Locks what is not to stay open, and lets go of what nobody has open any more.
    fn keep(&mut self, stays: impl Fn(&(String, Id), &Open) -> bool) {
        let before = self.open.len();
        self.open.retain(|name, open| stays(name, open));
        if self.open.len() < before {
            let used: HashSet<(&Id, &KeyId)> = self.open.iter().map(|((_, id), open)| (id, &open.slot)).collect();
            self.held.retain(|(id, slot), _| used.contains(&(id, slot)));
        }
    }

    /// What is held, looked at now.
    fn held(&mut self, repository: &Id, slot: &KeyId, now_us: i64) -> Option<Browser> {
        let held = self.held.get_mut(&(repository.clone(), *slot))?;
        held.seen_us = now_us;
        Some(held.browser.clone())
    }

    /// Lets go of one for another one of an account: of the account that has most, what was looked at least lately.
    fn make_room(&mut self, account: &Id) {
        if self.held.len() < MOST_HELD {
            return;
        }
        let mut many = HashMap::from([(account.clone(), 1)]);
        for held in self.held.values() {
            *many.entry(held.account.clone()).or_insert(0) += 1;
        }
        let weight = |held: &Held| (many.get(&held.account).copied(), Reverse(held.seen_us));
        let found = self.held.iter().max_by_key(|(_, held)| weight(held)).map(|(name, _)| name.clone());
        if let Some(name) = found {
            self.held.remove(&name);
        }
    }

    /// Locks what a person looked at least lately, if they have as much open as they may.
    fn make_room_of(&mut self, person: &Id, name: &(String, Id)) {
        let of_one = self.open.iter().filter(|(other, open)| open.person == *person && *other != name);
        let own: Vec<_> = of_one.map(|(name, open)| (open.seen_us, name.clone())).collect();
        if own.len() < MOST_OF_ONE {
            return;
        }
        let oldest = own.into_iter().min_by_key(|(seen_us, _)| *seen_us).map(|(_, name)| name);
        self.keep(|name, _| oldest.as_ref() != Some(name));
    }
}

impl Unlocked {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        self.open_by(server, actor, row, key, false).await.map(drop)
    }

    async fn open_by(
        &self,
        server: &Server,
        actor: &Actor,
        row: &RepositoryRow,
        key: &Password,
        by_server: bool,
    ) -> Result<Browser> {
        let passphrase = Passphrase::new(key.expose())?;
        let repo = match by_server {
            true => store::open_with(server, row, &passphrase).await?,
            false => store::open_brought(server, actor, row, &passphrase).await?,
        };
        let (slot, now) = (repo.slot(), server.now_us());
        let browser = self.held_of(row, repo, now).await?;
        server.db.note_key_used(&slot.to_string(), now).await?;
        if by_server {
            note_held_key(server, actor, row).await?;
        }
        let name = (actor.way.clone(), row.id.clone());
        let mut all = self.all();
        all.keep(|_, open| open.seen_us + IDLE_US > now);
        all.make_room_of(&actor.person, &name);
        let since = (row.created_us, row.gone.epoch());
        let person = actor.person.clone();
        let opened = Open { person, slot, since, by_server, key: key.clone(), seen_us: now };
        all.open.insert(name, opened);
        Ok(browser)
    }

    /// What is held of a repository that was opened by one of its keys; if nothing is, this is from now on.
    async fn held_of(&self, row: &RepositoryRow, repo: Arc<Repository>, now_us: i64) -> Result<Browser> {
        let slot = repo.slot();
        if let Some(browser) = self.all().held(&row.id, &slot, now_us) {
            return Ok(browser);
        }
        let browser = Browser::open(repo, BrowseOptions::default(), Arc::new(Silent)).await?;
        let mut all = self.all();
        all.make_room(&row.account);
        let held = Held { account: row.account.clone(), browser: browser.clone(), seen_us: now_us };
        all.held.insert((row.id.clone(), slot), held);
        Ok(browser)
    }

    /// The key that a job which reads contents is to be lent; none: it needs none, for the server holds the owner's.
    ///
    /// # Errors
    /// `WrongKey` when whoever asks has the repository not open.
    pub(crate) fn lendable(&self, actor: &Actor, row: &RepositoryRow, now_us: i64) -> Result<Option<Password>> {
        if row.holds_owner_key {
            return Ok(None);
        }
        self.known(actor, row, now_us).map(|known| Some(known.key)).ok_or_else(|| locked(row))
    }

    /// What whoever asks has open; with the account's leave, the server opens it itself, and notes that.
    ///
    /// # Errors
    /// `WrongKey` when it is not open.
    pub(crate) async fn browser(&self, server: &Server, actor: &Actor, row: &RepositoryRow) -> Result<Browser> {
        let now = server.now_us();
        match self.known(actor, row, now) {
            Some(Known { browser: Some(browser), .. }) => return Ok(browser),
            None if !row.holds_owner_key => return Err(locked(row)),
            _ => {}
        }
        // Those who look at the same do not open it each.
        let _turn = self.opening.take(&row.id).await?;
        match self.known(actor, row, now) {
            Some(Known { browser: Some(browser), .. }) => return Ok(browser),
            Some(known) => return self.open_again(server, row, &known).await,
            None => {}
        }
        let Some(key) = row.owner_key(&server.vault)? else {
            return Err(locked(row));
        };
        self.open_by(server, actor, row, &Password::new(key.as_str()), true).await
    }

    /// Opens what was let go of by the key that opened it before.
    async fn open_again(&self, server: &Server, row: &RepositoryRow, known: &Known) -> Result<Browser> {
        match store::open_with(server, row, &Passphrase::new(known.key.expose())?).await {
            Ok(repo) if repo.slot() == known.slot => self.held_of(row, repo, server.now_us()).await,
            // The key was removed meanwhile.
            Err(e) if e.kind() != ErrorKind::WrongKey => Err(e),
            _ => {
                self.forget_slot(&row.id, &known.slot);
                Err(locked(row))
            }
        }
    }

    /// Says whether whoever asks has a repository open.
    pub(crate) fn is_open(&self, actor: &Actor, row: &RepositoryRow, now_us: i64) -> bool {
        self.known(actor, row, now_us).is_some()
    }

    fn known(&self, actor: &Actor, row: &RepositoryRow, now_us: i64) -> Option<Known> {
        let mut all = self.all();
        all.keep(|(_, id), open| open.seen_us + IDLE_US > now_us && (*id != row.id || open.may_stay(row)));
        let found = all.open.get_mut(&(actor.way.clone(), row.id.clone()))?;
        found.seen_us = now_us;
        let (key, slot) = (found.key.clone(), found.slot);
        let browser = all.held(&row.id, &slot, now_us);
        Some(Known { key, slot, browser })
    }

    /// Lets go of what anybody has open by a key that was removed.
    pub(crate) fn forget_slot(&self, repository: &Id, slot: &KeyId) {
        self.all().keep(|(_, id), open| id != repository || open.slot != *slot);
    }

    /// Lets go of what is held of a repository: it is opened again, by the keys that were kept, where it lies by now.
    pub(crate) fn open_anew(&self, repository: &Id) {
        self.all().held.retain(|(id, _), _| id != repository);
    }

    /// Lets go of what whoever asks has open.
    pub(crate) fn lock(&self, actor: &Actor, repository: Option<&Id>) {
        self.all().keep(|(way, id), _| *way != actor.way || repository.is_some_and(|asked| asked != id));
    }

    /// Lets go of what is open for a session or token that has ended.
    pub(crate) fn lock_way(&self, way: &str) {
        self.all().keep(|(other, _), _| other != way);
    }

    /// Lets go of all that a person has open.
    pub(crate) fn lock_person(&self, person: &Id) {
        self.all().keep(|_, open| open.person != *person);
    }

    /// How many repositories are held in memory.
    #[cfg(test)]
    pub(crate) fn many_held(&self) -> usize {
        self.all().held.len()
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
