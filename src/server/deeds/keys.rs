//! Keys of repositories: adding, replacing, removing them, and letting the server hold one.
//!
//! Whoever does this shows an owner's key: brings it with the request, or has unlocked the repository with one; where the account
//! lets the server hold the owner's key, that one opens it.

use std::sync::Arc;

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
    // By a key that somebody removed since, nothing is changed any more.
    if repo.slots().await?.iter().any(|slot| slot.id == repo.slot()) {
        return Ok(repo);
    }
    server.unlocked.forget_slot(&row.id, &repo.slot());
    Err(Error::new(ErrorKind::WrongKey, format!("The key that '{}' was unlocked with is removed", row.name))
        .with_hint("Bring another owner's key"))
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
    let own = repo.slot();
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
    let own = server.stores.open(server, &row).await?.slot();
    let repo = by_owner_or_unlocked(server, actor, account, &row, key).await?;
    let all = repo.slots().await?;
    let found = all.iter().find(|found| found.id.to_string() == slot);
    let found = found.ok_or_else(|| Error::not_found("There is no such key"))?;
    if found.id == own {
        return Err(Error::invalid("The server's own key stays: without it no run could be written")
            .with_hint("Let the server make itself a new one instead"));
    }
    may_go(server, &row, &repo, &all, found).await?;
    repo.remove_slot(&found.id).await?;
    server.unlocked.forget_slot(&row.id, &found.id);
    server.db.forget_known_key(slot).await?;
    note(server, actor, account, "key.remove", &row.name, json!({"label": found.facts.label, "key": slot})).await?;
    spread(server, actor, &row).await
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
    let old = match server.stores.open(server, &row).await {
        Ok(repo) => Some(repo.slot()),
        // Somebody removed it elsewhere: a new one is what it takes.
        Err(e) if e.kind() == ErrorKind::WrongKey => None,
        Err(e) => return Err(e),
    };
    let repo = by_owner_or_unlocked(server, actor, account, &row, key).await?;
    let new = Passphrase::generate();
    let slot = repo.add_slot(&new, KeyRight::WriteOnly, store::OWN_KEY, server.now_us()).await?;
    // The old one goes when the new one is kept: stopped in between, the server has one that opens.
    if let Err(e) = server.db.keep_write_key(&server.vault, id, new.expose_text()).await {
        repo.remove_slot(&slot).await?;
        return Err(e);
    }
    server.stores.forget(id);
    note(server, actor, account, "key.renew-server", &row.name, json!({"key": slot.to_string()})).await?;
    if let Some(old) = old {
        match repo.remove_slot(&old).await {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    spread(server, actor, &row).await
}

/// Replicas have a copy of every key slot: that one is new, or gone, is to reach them too.
async fn spread(server: &Server, actor: &Actor, row: &RepositoryRow) -> Result<()> {
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
    server.db.hold_owner_key(&server.vault, id, Some(key.expose())).await?;
    let slot = repo.slot().to_string();
    server.db.keep_held_slot(id, Some(&slot)).await?;
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
