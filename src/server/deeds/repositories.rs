//! Repositories and their places.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{is_administrator, keys, note, own_storage};
use crate::crypto::Passphrase;
use crate::error::{Error, ErrorKind, Result};
use crate::server::auth::{Actor, Password};
use crate::server::db::{DestinationRow, JobKind, NewDestination, NewJob, RepositoryRow};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::{store, targets};

/// A place for a repository.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceToBe {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// `server:` for the server's own storage; `s3://…`, `azblob://…`, `gcs://…`, `webdav://…`; for administrators also
    /// `sftp://…`, which signs in with the server's own keys, and a folder of the server's machine.
    #[schema(min_length = 1, max_length = 2000, example = "server:")]
    pub(crate) url: String,
    /// The storage's secrets by name: `access_key_id`, `secret_access_key`, `account_key`, `username`, `password`, …
    #[serde(default)]
    pub(crate) credentials: BTreeMap<String, String>,
}

impl fmt::Debug for PlaceToBe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlaceToBe({:?})", self.name)
    }
}

/// A place as it is to be.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceAnew {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// Where it lies by now. Left out: where it did. At another address the secrets are needed anew.
    #[serde(default)]
    pub(crate) url: Option<String>,
    /// All of the storage's secrets by name. Left out: those that are there stay.
    #[serde(default)]
    pub(crate) credentials: Option<BTreeMap<String, String>>,
}

impl fmt::Debug for PlaceAnew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlaceAnew({:?})", self.name)
    }
}

/// A repository to make.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RepositoryToMake {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// Where it is to lie.
    pub(crate) destination: PlaceToBe,
    /// The owner's passphrase; left out: a key of 44 characters is made.
    #[serde(default)]
    pub(crate) passphrase: Option<Password>,
}

/// Makes a repository. The owner's key is in what it gives, and nowhere else.
///
/// # Errors
/// `InvalidInput`, `AlreadyExists`, `Permission`; what the storage brings.
pub(crate) async fn make(
    server: &Server,
    actor: &Actor,
    account: &Id,
    wanted: &RepositoryToMake,
) -> Result<store::Made> {
    let place = &wanted.destination;
    targets::destination(server, &place.url, is_administrator(actor)).await?;
    check_credentials(&place.credentials)?;
    within_bytes(server, account).await?;
    let chosen = wanted.passphrase.as_ref().map(chosen).transpose()?;
    let at = store::Where { name: &place.name, url: &place.url, credentials: Some(&place.credentials) };
    let made = store::make(server, account, &wanted.name, &at, chosen).await?;
    note(server, actor, account, "repository.make", &made.row.name, json!({"repository": made.row.repository})).await?;
    Ok(made)
}

fn chosen(password: &Password) -> Result<Passphrase> {
    password.check_chosen("")?;
    Passphrase::new(password.expose())
}

pub(super) fn check_credentials(credentials: &BTreeMap<String, String>) -> Result<()> {
    const KNOWN: [&str; 10] = [
        "access_key_id",
        "account_key",
        "credential",
        "password",
        "sas_token",
        "secret_access_key",
        "session_token",
        "token",
        "user",
        "username",
    ];
    if let Some(name) = credentials.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(Error::invalid(format!("'{}' is no secret of a storage", name.escape_debug()))
            .with_hint(format!("Known are {}", KNOWN.join(", "))));
    }
    if credentials.values().any(|value| value.len() > 20_000) {
        return Err(Error::invalid("A secret of the storage is too long"));
    }
    Ok(())
}

/// Refuses to add to an account that stores as much as it may.
pub(super) async fn within_bytes(server: &Server, account: &Id) -> Result<()> {
    let limits = server.db.account(account).await?.limits;
    // What is there no more does not count.
    own_storage::left_behind(server, account).await?;
    let stored = server.db.stored_bytes(account).await?;
    match limits.bytes {
        Some(most) if stored >= most => {
            Err(Error::new(ErrorKind::Permission, "The account stores as much as it may already")
                .with_hint("Ask the server's administrator for more; runs and restores go on"))
        }
        _ => Ok(()),
    }
}

/// Adds a further place, a replica, and asks for it to be filled.
///
/// # Errors
/// `InvalidInput`, `AlreadyExists`, `Permission`.
pub(crate) async fn add_place(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    place: &PlaceToBe,
) -> Result<DestinationRow> {
    let row = server.db.repository(account, id).await?;
    if place.url == targets::OWN {
        return Err(Error::invalid("A replica on the server's own storage would be lost with it")
            .with_hint("Choose another place"));
    }
    targets::destination(server, &place.url, is_administrator(actor)).await?;
    check_credentials(&place.credentials)?;
    let credentials = store::credentials_json(Some(&place.credentials))?;
    let credentials = credentials.as_ref().map(|text| text.as_str());
    // What cannot be used is told now, not by the first run.
    store::storage_of(server, account, id, &place.url, credentials)?;
    let new = NewDestination { name: &place.name, url: &place.url, credentials };
    let added = server.db.add_destination(&server.vault, &row, &new, server.now_us()).await?;
    note(server, actor, account, "destination.add", &added.name, json!({"repository": row.name})).await?;
    ask(server, &row, JobKind::Mirror, &actor.login).await?;
    Ok(added)
}

/// Changes a place: what it is called, its secrets, where it lies. Of the last two only to what leads to the same repository.
///
/// # Errors
/// `NotFound`, `InvalidInput`, `AlreadyExists`, `Permission`; `NoRepository` when it is not found there; what the storage brings.
pub(crate) async fn change_place(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    wanted: &PlaceAnew,
) -> Result<DestinationRow> {
    let place = server.db.destination(account, id).await?;
    let row = server.db.repository(account, &place.repository).await?;
    let url = wanted.url.as_deref().unwrap_or(&place.url);
    let (moves, before) = (url != place.url, place.credentials(&server.vault)?);
    if moves && (url == targets::OWN || place.url == targets::OWN) {
        return Err(Error::invalid("What lies in the server's own storage does not move, and nothing moves there")
            .with_hint("Add a further destination instead"));
    }
    if moves && before.is_some() && wanted.credentials.is_none() {
        return Err(Error::invalid("At another address the secrets are needed anew")
            .with_hint("Enter them: those that are kept are shown to nobody else"));
    }
    let credentials = match &wanted.credentials {
        Some(pairs) => {
            check_credentials(pairs)?;
            store::credentials_json(Some(pairs))?
        }
        None => before,
    };
    let credentials = credentials.as_ref().map(|text| text.as_str());
    let is_reached_anew = moves || wanted.credentials.is_some();
    if is_reached_anew {
        targets::destination(server, url, is_administrator(actor)).await?;
        is_found(server, &row, &place, url, credentials).await?;
    }
    let new = NewDestination { name: &wanted.name, url, credentials };
    server.db.change_destination(&server.vault, id, &new).await?;
    let changed = server.db.destination(account, id).await?;
    let detail = json!({"repository": row.name, "new_address": moves, "new_secrets": wanted.credentials.is_some()});
    note(server, actor, account, "destination.change", &changed.name, detail).await?;
    if is_reached_anew {
        server.stores.forget(&row.id);
        server.unlocked.open_anew(&row.id);
        keys::spread(server, actor, &row).await?;
    }
    Ok(changed)
}

/// Makes sure that a repository is found at a place as it is to be.
async fn is_found(
    server: &Server,
    row: &RepositoryRow,
    place: &DestinationRow,
    url: &str,
    credentials: Option<&str>,
) -> Result<()> {
    let storage = store::storage_of(server, &row.account, &row.id, url, credentials)?;
    if place.position == 0 {
        return store::lies_at(server, row, storage).await;
    }
    store::is_replica_at(server, row, &*storage, url == place.url).await
}

/// Lets go of a further place. What lies there stays.
///
/// # Errors
/// `InvalidInput` for the first; `NotFound`.
pub(crate) async fn remove_place(server: &Server, actor: &Actor, account: &Id, place: &Id) -> Result<()> {
    server.db.remove_destination(account, place).await?;
    note(server, actor, account, "destination.remove", place.as_str(), json!({"data": "stays"})).await
}

/// Takes a repository off the list. What is stored stays where it is; in the server's own storage it counts as before.
///
/// # Errors
/// `AlreadyExists` when backup sets use it; `NotFound`.
pub(crate) async fn remove(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<()> {
    let row = server.db.repository(account, id).await?;
    let left = own_storage::of(server, &row).await?;
    server.db.remove_repository(account, id, left.as_ref()).await?;
    server.db.keep_held_slot(id, None).await?;
    server.stores.forget(id);
    note(server, actor, account, "repository.remove", &row.name, json!({"data": "stays"})).await
}

/// Asks for upkeep that somebody wants. `every_byte`: a check reads all packs, not only their names and sizes.
///
/// # Errors
/// `InvalidInput` for what is no upkeep, and for every byte of what is no check; `NotFound`.
pub(crate) async fn upkeep(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    kind: JobKind,
    every_byte: bool,
) -> Result<Id> {
    let row = server.db.repository(account, id).await?;
    if !kind.is_upkeep() {
        return Err(Error::invalid("That is no upkeep of a repository").with_hint("Ask for prune, check or mirror"));
    }
    if every_byte && kind != JobKind::Check {
        return Err(Error::invalid("Only a check reads every byte"));
    }
    let arguments = if every_byte { json!({"read_data": true}) } else { json!({}) };
    let job = ask_with(server, &row, kind, arguments, &actor.login).await?;
    let detail = json!({"kind": kind.word(), "job": job, "read_data": every_byte});
    note(server, actor, account, "repository.upkeep", &row.name, detail).await?;
    Ok(job)
}

/// Asks for upkeep of a repository. What waits already is given again.
///
/// # Errors
/// As any query.
pub(crate) async fn ask(server: &Server, row: &RepositoryRow, kind: JobKind, asked_by: &str) -> Result<Id> {
    ask_with(server, row, kind, json!({}), asked_by).await
}

async fn ask_with(server: &Server, row: &RepositoryRow, kind: JobKind, arguments: Value, asked_by: &str) -> Result<Id> {
    let now = server.now_us();
    let job = NewJob {
        account: &row.account,
        kind,
        set: None,
        tenant: None,
        repository: Some(&row.id),
        client: None,
        arguments,
        asked_by,
        run_after_us: now,
    };
    server.db.ask_for(&job, now).await
}
