//! Keys of repositories: adding, replacing, removing them, and letting the server hold one.
//!
//! Whoever does this shows an owner's key: brings it with the request, or has unlocked the repository with one; where the account
//! lets the server hold the owner's key, that one opens it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{note, repositories};
use crate::crypto::{KeyRight, Passphrase};
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::KeyId;
use crate::repo::{Repository, Slot};
use crate::server::auth::{Actor, Password};
use crate::server::db::{JobKind, RepositoryRow};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::store;

/// How long changing keys may take, and how long others wait for that before they are told to come back.
const SLOWEST: Duration = Duration::from_secs(40);
const PATIENCE: Duration = Duration::from_secs(15);
const BETWEEN: Duration = Duration::from_millis(100);
/// Whoever had them in hand and died holds nobody up for longer than this.
const LONGEST_US: i64 = 60_000_000;

/// A key slot of a repository.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeySlot {
    /// The slot's id.
    pub(crate) id: String,
    /// `owner`, or `write-only`.
    pub(crate) right: String,
    /// What it is called.
    pub(crate) label: String,
    /// When it was made: microseconds since 1970 UTC.
    pub(crate) created_us: i64,
    /// It is the server's own.
    pub(crate) of_server: bool,
    /// The client whose key it is.
    pub(crate) of_client: Option<Id>,
    /// It is the owner's key that the account lets the server hold.
    pub(crate) held_by_server: bool,
    /// The checksum that stands in its recovery kit, for keys that were made by this server.
    pub(crate) checksum: Option<String>,
    /// When it was brought last to this server: microseconds since 1970 UTC. Left out for keys of which that is not known.
    pub(crate) used_us: Option<i64>,
}

impl KeySlot {
    /// It reads and writes everything.
    pub(crate) fn is_owner(&self) -> bool {
        self.right == "owner"
    }
}

/// A key that was made: the one time that it can be read.
pub(crate) struct NewKey {
    /// Its slot's id.
    pub(crate) slot: String,
    /// The key.
    pub(crate) key: Passphrase,
}

/// Opens a repository by an owner's key. That another one was tried is noted.
async fn by_owner(
    server: &Server,
    actor: &Actor,
    account: &Id,
    row: &RepositoryRow,
    key: &Password,
) -> Result<Arc<Repository>> {
    let open = async {
        let repo = store::open_brought(server, actor, row, &Passphrase::new(key.expose())?).await?;
        match repo.right() {
            KeyRight::Owner => Ok(repo),
            KeyRight::WriteOnly => {
                Err(Error::new(ErrorKind::WrongKey, "This is a write-only key").with_hint("Bring an owner's key"))
            }
        }
    };
    let opened = open.await;
    match &opened {
        Ok(repo) => server.db.note_key_used(&repo.slot().to_string(), server.now_us()).await?,
        Err(e) if e.kind() == ErrorKind::WrongKey => {
            note(server, actor, account, "key.refused", &row.name, json!({})).await?;
        }
        Err(_) => {}
    }
    opened
}

/// A repository opened by the owner's key that was brought; by the one that it is unlocked with, where none was.
async fn by_owner_or_unlocked(
    server: &Server,
    actor: &Actor,
    account: &Id,
    row: &RepositoryRow,
    key: Option<&Password>,
) -> Result<Arc<Repository>> {
    if let Some(key) = key {
        return by_owner(server, actor, account, row, key).await;
    }
    let repo = server.unlocked.browser(server, actor, row).await?.repository().clone();
    is_there_still(server, row, &repo, &repo.slots().await?)?;
    Ok(repo)
}

/// By a key that somebody removed since, nothing is changed any more.
fn is_there_still(server: &Server, row: &RepositoryRow, repo: &Repository, all: &[Slot]) -> Result<()> {
    if all.iter().any(|slot| slot.id == repo.slot()) {
        return Ok(());
    }
    server.unlocked.forget_slot(&row.id, &repo.slot());
    Err(Error::new(ErrorKind::WrongKey, format!("The key that '{}' was opened with is removed", row.name))
        .with_hint("Bring another owner's key"))
}

/// Changes the keys of a repository, as the only one among all processes.
async fn alone<T>(server: &Server, id: &Id, deed: impl Future<Output = Result<T>>) -> Result<T> {
    let began = Instant::now();
    let mut taken_us = server.now_us();
    while !server.db.take_keys(id, taken_us, LONGEST_US).await? {
        if began.elapsed() > PATIENCE {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "Somebody else changes the keys of this repository just now",
            )
            .with_hint("Try again in a minute"));
        }
        tokio::time::sleep(BETWEEN).await;
        taken_us = server.now_us();
    }
    let done = tokio::time::timeout(SLOWEST, deed).await;
    server.db.release_keys(id, taken_us, LONGEST_US).await?;
    done.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Unavailable, "The repository's storage does not answer")
            .with_hint("Look which keys there are, and try again"))
    })
}

/// The slot of the server's own key. A repository that is open may have been opened by one that another process has replaced.
async fn own_slot(server: &Server, row: &RepositoryRow) -> Result<KeyId> {
    if let Some(slot) = row.own_slot.as_deref().and_then(|slot| slot.parse().ok()) {
        return Ok(slot);
    }
    let slot = server.stores.open(server, row).await?.slot();
    server.db.keep_own_slot(row, &slot.to_string()).await?;
    Ok(slot)
}

/// Notes that the owner has the key: its last four characters were typed back.
///
/// # Errors
/// `WrongKey` when they are others.
pub(crate) async fn confirm(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    key: &Password,
    typed: &str,
) -> Result<()> {
    let row = server.db.repository(account, id).await?;
    // The key itself must be the repository's, or the page was tampered with.
    by_owner(server, actor, account, &row, key).await?;
    store::confirm(server, &row, key.expose(), typed).await?;
    note(server, actor, account, "key.confirm", &row.name, json!({})).await
}

/// The key slots of a repository.
///
/// # Errors
/// As opening.
pub(crate) async fn slots(server: &Server, row: &RepositoryRow) -> Result<Vec<KeySlot>> {
    let repo = server.stores.open(server, row).await?;
    let own = own_slot(server, row).await?;
    let clients = server.db.slots_of_clients(&row.id).await?;
    let held = if row.holds_owner_key { server.db.held_slot(&row.id).await? } else { None };
    let mut all = Vec::new();
    for slot in repo.slots().await? {
        let id = slot.id.to_string();
        let known = server.db.known_key(&id).await?;
        all.push(KeySlot {
            of_server: slot.id == own,
            of_client: clients.iter().find(|(of, _)| *of == id).map(|(_, client)| client.clone()),
            held_by_server: held.as_ref() == Some(&id),
            right: if slot.facts.right == KeyRight::Owner { "owner" } else { "write-only" }.to_owned(),
            label: slot.facts.label,
            created_us: slot.facts.created_us,
            checksum: known.checksum,
            used_us: known.used_us,
            id,
        });
    }
    Ok(all)
}

/// Adds an owner's key: a new one is made.
///
/// # Errors
/// `WrongKey` without an owner's key; as opening.
pub(crate) async fn add(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    key: Option<&Password>,
    label: &str,
) -> Result<NewKey> {
    let row = server.db.repository(account, id).await?;
    let repo = by_owner_or_unlocked(server, actor, account, &row, key).await?;
    let new = Passphrase::generate();
    let label: String = label.trim().chars().filter(|c| !c.is_control()).take(100).collect();
    let slot = repo.add_slot(&new, KeyRight::Owner, &label, server.now_us()).await?.to_string();
    server.db.keep_checksum(&slot, store::checksum(new.expose_text())).await?;
    note(server, actor, account, "key.add", &row.name, json!({"label": label, "key": slot})).await?;
    spread(server, actor, &row).await?;
    Ok(NewKey { slot, key: new })
}

/// Removes a key slot: not the server's own, nor a client's, nor the last of an owner, nor the one that the server holds.
///
/// # Errors
/// `InvalidInput` for those; `WrongKey` without an owner's key; `NotFound`.
pub(crate) async fn remove(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    key: Option<&Password>,
    slot: &str,
) -> Result<()> {
    let row = server.db.repository(account, id).await?;
    let repo = by_owner_or_unlocked(server, actor, account, &row, key).await?;
    let removed = alone(server, id, async {
        // As it is now: somebody may have changed it since.
        let row = server.db.repository(account, id).await?;
        let all = repo.slots().await?;
        is_there_still(server, &row, &repo, &all)?;
        let found = all.iter().find(|found| found.id.to_string() == slot);
        let found = found.ok_or_else(|| Error::not_found("There is no such key"))?;
        if found.id == own_slot(server, &row).await? {
            return Err(Error::invalid("The server's own key stays: without it no run could be written")
                .with_hint("Let the server make itself a new one instead"));
        }
        may_go(server, &row, &repo, &all, found).await?;
        repo.remove_slot(&found.id).await?;
        server.db.note_gone_key(id, slot).await?;
        Ok(found.clone())
    });
    let removed = removed.await?;
    server.unlocked.forget_slot(&row.id, &removed.id);
    server.db.forget_known_key(slot).await?;
    note(server, actor, account, "key.remove", &row.name, json!({"label": removed.facts.label, "key": slot})).await?;
    spread(server, actor, &row).await
}

/// Removes an owner's key in whose place another one has come, which is brought. Where the server holds the one that goes, it
/// holds the other one from then on.
///
/// # Errors
/// As [`remove`].
pub(crate) async fn replace(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    key: &Password,
    old: &str,
) -> Result<()> {
    let row = server.db.repository(account, id).await?;
    if row.holds_owner_key && held_slot(server, &row).await?.is_some_and(|held| held.to_string() == old) {
        hold(server, actor, account, id, Some(key)).await?;
    }
    remove(server, actor, account, id, Some(key), old).await
}

/// Refuses to remove a key that somebody needs.
async fn may_go(server: &Server, row: &RepositoryRow, repo: &Repository, all: &[Slot], slot: &Slot) -> Result<()> {
    if let Some((_, client)) =
        server.db.slots_of_clients(&row.id).await?.into_iter().find(|(of, _)| *of == slot.id.to_string())
    {
        let name = server.db.client(&row.account, &client).await?.name;
        return Err(Error::invalid(format!("This is the key of client '{name}', which stores with it"))
            .with_hint("Remove the client: its keys go with it"));
    }
    if slot.facts.right == KeyRight::Owner && all.iter().filter(|s| s.facts.right == KeyRight::Owner).count() < 2 {
        return Err(Error::invalid("The last owner's key stays: without one, contents could never be read again")
            .with_hint("Add another key first, then remove this one"));
    }
    if slot.id == repo.slot() {
        return Err(
            Error::invalid("A key cannot remove itself").with_hint("Bring another owner's key to remove this one")
        );
    }
    if row.holds_owner_key && held_slot(server, row).await? == Some(slot.id) {
        return Err(Error::invalid("The server holds this key")
            .with_hint("Take it from the server first; let it hold another one then, if it is to hold one"));
    }
    Ok(())
}

/// The slot of the owner's key that the server holds. One that was handed over before this was noted is looked for.
async fn held_slot(server: &Server, row: &RepositoryRow) -> Result<Option<KeyId>> {
    if let Some(slot) = server.db.held_slot(&row.id).await? {
        return Ok(slot.parse().ok());
    }
    let Some(key) = row.owner_key(&server.vault)? else { return Ok(None) };
    match store::open_with(server, row, &Passphrase::new(&key)?).await {
        Ok(repo) => {
            server.db.keep_held_slot(&row.id, Some(&repo.slot().to_string())).await?;
            Ok(Some(repo.slot()))
        }
        // It opens nothing any more.
        Err(e) if e.kind() == ErrorKind::WrongKey => Ok(None),
        Err(e) => Err(e),
    }
}

/// Makes a new write-only key for the server and removes the one that it had. Runs that go on are not disturbed: they have the
/// repository open.
///
/// # Errors
/// `WrongKey` without an owner's key; as opening.
pub(crate) async fn renew_of_server(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    key: Option<&Password>,
) -> Result<()> {
    let row = server.db.repository(account, id).await?;
    let repo = by_owner_or_unlocked(server, actor, account, &row, key).await?;
    alone(server, id, renew_alone(server, actor, account, id, &repo)).await?;
    spread(server, actor, &row).await
}

async fn renew_alone(server: &Server, actor: &Actor, account: &Id, id: &Id, repo: &Repository) -> Result<()> {
    // As it is now: somebody may have renewed it since.
    let row = server.db.repository(account, id).await?;
    is_there_still(server, &row, repo, &repo.slots().await?)?;
    let old = match own_slot(server, &row).await {
        Ok(slot) => Some(slot),
        // Somebody removed it elsewhere: a new one is what it takes.
        Err(e) if e.kind() == ErrorKind::WrongKey => None,
        Err(e) => return Err(e),
    };
    let new = Passphrase::generate();
    let slot = repo.add_slot(&new, KeyRight::WriteOnly, store::OWN_KEY, server.now_us()).await?;
    // The old one goes when the new one is kept: stopped in between, the server has one that opens.
    if let Err(e) = server.db.keep_write_key(&server.vault, &row, new.expose_text(), &slot.to_string()).await {
        repo.remove_slot(&slot).await?;
        return Err(e);
    }
    server.stores.forget(id);
    note(server, actor, account, "key.renew-server", &row.name, json!({"key": slot.to_string()})).await?;
    let Some(old) = old else { return Ok(()) };
    match repo.remove_slot(&old).await {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Replicas have a copy of every key slot: that one is new, or gone, is to reach them too.
pub(super) async fn spread(server: &Server, actor: &Actor, row: &RepositoryRow) -> Result<()> {
    if server.db.destinations(&row.id).await?.len() > 1 {
        repositories::ask(server, row, JobKind::Mirror, &actor.login).await?;
    }
    Ok(())
}

/// Lets the server hold an owner's key: the one that is brought, or that the repository is unlocked with.
///
/// # Errors
/// `WrongKey` when it is none of an owner's.
pub(crate) async fn hold(server: &Server, actor: &Actor, account: &Id, id: &Id, key: Option<&Password>) -> Result<()> {
    let row = server.db.repository(account, id).await?;
    let key = match key {
        Some(key) => Some(key.clone()),
        None => server.unlocked.lendable(actor, &row, server.now_us())?,
    };
    // None: it holds one already.
    let Some(key) = key else { return Ok(()) };
    let repo = by_owner(server, actor, account, &row, &key).await?;
    let slot = repo.slot().to_string();
    alone(server, id, async {
        is_there_still(server, &row, &repo, &repo.slots().await?)?;
        // Where which one it is was not noted, that is looked for: no other one is taken for it.
        server.db.keep_held_slot(id, None).await?;
        server.db.hold_owner_key(&server.vault, id, Some(key.expose())).await?;
        server.db.keep_held_slot(id, Some(&slot)).await
    })
    .await?;
    note(server, actor, account, "key.give-to-server", &row.name, json!({"key": slot})).await
}

/// Takes the owner's key from the server. What it has open by that key is locked.
///
/// # Errors
/// `NotFound`.
pub(crate) async fn let_go(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<()> {
    let row = server.db.repository(account, id).await?;
    server.db.hold_owner_key(&server.vault, id, None).await?;
    server.db.keep_held_slot(id, None).await?;
    note(server, actor, account, "key.take-from-server", &row.name, json!({})).await
}
