//! Repositories of accounts: making, opening, and the keys that the server holds.
//!
//! The server keeps a write-only key alone, unless the account chose otherwise: it adds snapshots, forgets and prunes, and
//! opens no contents. The owner's key comes with a request, opens the repository for that sign-in, and stays in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::auth::Actor;
use super::db::{DestinationRow, NewDestination, NewRepository, RepositoryRow};
use super::id::Id;
use super::state::Server;
use super::targets::{self, OWN};
use super::turns::Turns;
use crate::crypto::{KeyRight, Passphrase};
use crate::error::{Error, ErrorKind, Result};
use crate::format::config::RepoConfig;
use crate::repo::{Kinship, Repository, kinship};
use crate::storage::{self, Credentials, Storage, StorageOptions};

/// How many characters of a new key are to be typed back.
pub(crate) const TYPED_BACK: usize = 4;
/// What the server's own key is called in a repository.
pub(crate) const OWN_KEY: &str = "backup server";

/// How long opening a repository may take. What a first try read of a large one's index is in the cache for the next.
const LONGEST_OPENING: Duration = Duration::from_secs(if cfg!(test) { 15 } else { 600 });
/// How long who looks at a page waits for a repository that is one of several on it.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 15 });

/// What stands beside a key in its recovery kit: tells which paper belongs to which key.
pub(crate) fn checksum(key: &str) -> String {
    let hash = blake3::hash(key.as_bytes()).to_hex();
    hash.get(..8).unwrap_or_default().to_owned()
}

/// Where a place is, and its secrets as they are sealed.
type Reached = (String, Option<String>);

/// Says whether a key is a passphrase that somebody chose: those that are made are 32 bytes in Base64.
pub(crate) fn is_chosen(key: &str) -> bool {
    STANDARD.decode(key).ok().is_none_or(|bytes| bytes.len() != 32)
}

/// Repositories that are open with their write-only keys.
#[derive(Default)]
pub(crate) struct Stores {
    /// Each with how its first place was reached.
    open: Mutex<HashMap<Id, (Reached, Weak<Repository>)>>,
    /// By repository: one whose storage does not answer holds up no other.
    opening: Turns<Id>,
    /// By person and repository.
    bringing: Turns<(Id, Id)>,
}

/// Where a repository is to be made.
#[derive(Debug)]
pub(crate) struct Where<'a> {
    /// What people call the place.
    pub(crate) name: &'a str,
    /// `server:`, or as `storage::open` takes it; of what is taken over also `server:` and the repository's id.
    pub(crate) url: &'a str,
    /// The storage's secrets by name.
    pub(crate) credentials: Option<&'a BTreeMap<String, String>>,
}

/// A repository that was made, with its key: the one time that it can be read.
pub(crate) struct Made {
    /// The row.
    pub(crate) row: RepositoryRow,
    /// The owner's key.
    pub(crate) key: Passphrase,
}

/// The storage of a place.
///
/// # Errors
/// When the address, a secret or an option cannot be used.
pub(crate) fn storage_of(
    server: &Server,
    account: &Id,
    repository: &Id,
    url: &str,
    credentials: Option<&str>,
) -> Result<Arc<dyn Storage>> {
    if url == OWN {
        let folder = server.storage_folder(account).join(repository.as_str());
        std::fs::create_dir_all(&folder)
            .map_err(|e| Error::io(format!("The server's storage {} cannot be made", folder.display()), e))?;
        let path = folder.to_str().ok_or_else(|| Error::internal("The server's folder is not UTF-8"))?;
        return storage::open(path, &StorageOptions::default());
    }
    let mut options = StorageOptions::default();
    // The machine's own rights are asked for at a private address; that option is an administrator's alone.
    let parsed = url::Url::parse(url).ok();
    if !parsed.is_some_and(|url| url.query_pairs().any(|pair| pair == ("instance_metadata".into(), "true".into()))) {
        options.reach.clone_from(&server.reach);
    }
    if let Some(text) = credentials {
        let pairs: BTreeMap<String, Zeroizing<String>> =
            serde_json::from_str(text).map_err(|_| Error::internal("A destination's secrets cannot be read"))?;
        options.credentials = pairs
            .into_iter()
            .fold(Credentials::new(), |all, (name, secret)| all.with(name, secret.as_str().to_owned()));
    }
    storage::open(url, &options)
}

/// The storage of a place that is known.
///
/// # Errors
/// As [`storage_of`].
pub(crate) fn storage_of_row(server: &Server, account: &Id, row: &DestinationRow) -> Result<Arc<dyn Storage>> {
    let credentials = row.credentials(&server.vault)?;
    storage_of(server, account, &row.repository, &row.url, credentials.as_ref().map(|text| text.as_str()))
}

/// The storage's secrets as they are kept; none where there are none.
///
/// # Errors
/// `InvalidInput` when they cannot be kept.
pub(crate) fn credentials_json(pairs: Option<&BTreeMap<String, String>>) -> Result<Option<Zeroizing<String>>> {
    let json = |pairs| {
        serde_json::to_string(pairs).map(Zeroizing::new).map_err(|_| Error::invalid("The secrets cannot be kept"))
    };
    pairs.filter(|pairs| !pairs.is_empty()).map(json).transpose()
}

/// Makes a repository: its owner's key is a new one, or the passphrase given.
///
/// # Errors
/// `AlreadyExists` when there is one at that place; what the storage brings.
pub(crate) async fn make(
    server: &Server,
    account: &Id,
    name: &str,
    at: &Where<'_>,
    chosen: Option<Passphrase>,
) -> Result<Made> {
    let (id, now) = (Id::random(), server.now_us());
    let credentials = credentials_json(at.credentials)?;
    let storage = storage_of(server, account, &id, at.url, credentials.as_ref().map(|text| text.as_str()))?;
    let made = chosen.is_none();
    let key = chosen.unwrap_or_else(Passphrase::generate);
    let (config, deriving) = (RepoConfig::new(now), server.derivations.of(account));
    let repo = Repository::init_by(storage, &key, "owner", config, Some(server.cache_folder()), deriving).await?;
    let write_key = Passphrase::generate();
    let own_slot = repo.add_slot(&write_key, KeyRight::WriteOnly, OWN_KEY, now).await?.to_string();
    let new = NewRepository {
        id,
        name,
        repository: repo.config().id.to_string(),
        write_key: write_key.expose_text(),
        own_slot: &own_slot,
        destination: NewDestination {
            name: at.name,
            url: at.url,
            credentials: credentials.as_ref().map(|text| text.as_str()),
        },
    };
    let row = server.db.add_repository(&server.vault, account, &new, now).await?;
    if made {
        server.db.keep_checksum(&repo.slot().to_string(), checksum(key.expose_text())).await?;
    }
    Ok(Made { row, key })
}

/// Takes over a repository that is there, with a key of its owner's: the server makes a write-only key of its own, and does not
/// keep the owner's. Gives it open with the owner's key.
///
/// # Errors
/// `WrongKey` for a key that is none of an owner's; `AlreadyExists` when it is on the account's list; as opening.
pub(crate) async fn adopt(
    server: &Server,
    account: &Id,
    name: &str,
    at: &Where<'_>,
    key: &Passphrase,
) -> Result<(RepositoryRow, Arc<Repository>)> {
    // What lies in the server's own storage comes back under the id that its folder is called by.
    let own = targets::of_own(at.url);
    let url = if own.is_some() { OWN } else { at.url };
    let (id, now) = (own.unwrap_or_else(Id::random), server.now_us());
    let credentials = credentials_json(at.credentials)?;
    let credentials = credentials.as_ref().map(|text| text.as_str());
    let storage = storage_of(server, account, &id, url, credentials)?;
    let repo = in_time("The repository", open_at(server, account, storage, key)).await?;
    if repo.right() != KeyRight::Owner {
        return Err(Error::new(ErrorKind::WrongKey, "This is a write-only key").with_hint("Bring an owner's key"));
    }
    let repository = repo.config().id.to_string();
    if let Some(known) = server.db.repositories(account).await?.iter().find(|row| row.repository == repository) {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("This repository is on the list: '{}'", known.name)));
    }
    let write_key = Passphrase::generate();
    let own_slot = repo.add_slot(&write_key, KeyRight::WriteOnly, OWN_KEY, now).await?.to_string();
    let destination = NewDestination { name: at.name, url, credentials };
    let write_key = write_key.expose_text();
    let new = NewRepository { id, name, repository, write_key, own_slot: &own_slot, destination };
    let row = server.db.add_repository(&server.vault, account, &new, now).await?;
    // Who brought the key has it.
    server.db.confirm_repository(&row.id).await?;
    Ok((server.db.repository(account, &row.id).await?, repo))
}

/// Says whether the end of a key was typed back, and notes it.
///
/// # Errors
/// `WrongKey` when it is another; as opening.
pub(crate) async fn confirm(server: &Server, row: &RepositoryRow, key: &str, typed: &str) -> Result<()> {
    let tail: String = {
        let mut last: Vec<char> = key.chars().rev().take(TYPED_BACK).collect();
        last.reverse();
        last.into_iter().collect()
    };
    if tail != typed.trim() {
        return Err(Error::new(ErrorKind::WrongKey, "These are not the last four characters of the key")
            .with_hint("Look at where you put it; if you have not, show it once more and keep it"));
    }
    server.db.confirm_repository(&row.id).await
}

/// Where the cache of a replica lies: it may lag behind, and its packs be others.
pub(crate) fn replica_cache(server: &Server, destination: &Id) -> std::path::PathBuf {
    server.cache_folder().join("replicas").join(destination.as_str())
}

impl Stores {
    /// Opens a repository with the key that the server holds: to add, to forget, to prune, to look at what a write-only
    /// key sees. One that is open already is given again.
    ///
    /// # Errors
    /// As opening.
    pub(crate) async fn open(&self, server: &Server, row: &RepositoryRow) -> Result<Arc<Repository>> {
        // Whatever process changed it.
        let reached = first_place(server, row).await?.reached();
        if let Some(open) = self.known(&row.id, &reached) {
            open.reload_index().await?;
            return Ok(open);
        }
        // Two who want the same do not open it twice.
        let _turn = self.opening.take(&row.id).await?;
        if let Some(open) = self.known(&row.id, &reached) {
            return Ok(open);
        }
        let repo = match open_with(server, row, &Passphrase::new(&row.write_key(&server.vault)?)?).await {
            // It may have a new key since the row was read.
            Err(e) if e.kind() == ErrorKind::WrongKey => {
                let row = server.db.repository(&row.account, &row.id).await?;
                open_with(server, &row, &Passphrase::new(&row.write_key(&server.vault)?)?).await?
            }
            opened => opened?,
        };
        let open = (reached, Arc::downgrade(&repo));
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(row.id.clone(), open);
        Ok(repo)
    }

    /// Opens a repository anew at the next time: the server's key is another one, or it is reached otherwise.
    pub(crate) fn forget(&self, id: &Id) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn known(&self, id: &Id, reached: &Reached) -> Option<Arc<Repository>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, (_, repo)| repo.strong_count() > 0);
        open.get(id).filter(|(by, _)| by == reached).and_then(|(_, repo)| repo.upgrade())
    }
}

async fn open_at(
    server: &Server,
    account: &Id,
    storage: Arc<dyn Storage>,
    key: &Passphrase,
) -> Result<Arc<Repository>> {
    Repository::open_by(storage, key, Some(server.cache_folder()), server.derivations.of(account)).await
}

async fn in_time<T>(what: &str, opening: impl Future<Output = Result<T>>) -> Result<T> {
    within(LONGEST_OPENING, what, opening).await
}

async fn within<T>(most: Duration, what: &str, asked: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(most, asked).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Unavailable, format!("{what} does not answer"))
            .with_hint("Look whether its storage can be reached, and try again"))
    })
}

/// What is asked of a repository for a page on which it is one of several.
///
/// # Errors
/// `Unavailable` when its storage does not answer soon; as asking.
pub(crate) async fn soon<T>(name: &str, asked: impl Future<Output = Result<T>>) -> Result<T> {
    within(PATIENCE, &format!("'{name}'"), asked).await
}

/// Opens a repository with a key that somebody brings. Whoever brings wrong ones must wait, longer each time.
///
/// # Errors
/// `Unavailable` after too many wrong ones; as [`open_with`].
pub(crate) async fn open_brought(
    server: &Server,
    actor: &Actor,
    row: &RepositoryRow,
    key: &Passphrase,
) -> Result<Arc<Repository>> {
    server.db.may_bring_key(&actor.person, server.now_us()).await?;
    // Each knows what came of those before.
    let _turn = server.stores.bringing.take(&(actor.person.clone(), row.id.clone())).await?;
    server.db.may_bring_key(&actor.person, server.now_us()).await?;
    let opened = open_with(server, row, key).await;
    if opened.as_ref().is_err_and(|e| e.kind() == ErrorKind::WrongKey) {
        server.db.note_wrong_key(&actor.person, server.now_us()).await?;
    }
    opened
}

/// The place of a repository that leads.
async fn first_place(server: &Server, row: &RepositoryRow) -> Result<DestinationRow> {
    let places = server.db.destinations(&row.id).await?;
    places.into_iter().next().ok_or_else(|| Error::internal("A repository without a place"))
}

/// Makes sure that a repository lies at its first place as that is to be reached: the server's own key opens it there.
///
/// # Errors
/// `NoRepository`; `InvalidInput` for another one; what the storage brings.
pub(crate) async fn lies_at(server: &Server, row: &RepositoryRow, storage: Arc<dyn Storage>) -> Result<()> {
    let key = Passphrase::new(&row.write_key(&server.vault)?)?;
    match in_time("The storage", open_at(server, &row.account, storage, &key)).await {
        Ok(repo) if repo.config().id.to_string() == row.repository => Ok(()),
        Err(e) if e.kind() != ErrorKind::WrongKey => Err(e),
        _ => Err(Error::invalid(format!("What lies there is not '{}': the server's key does not open it", row.name))
            .with_hint("Look at the address")),
    }
}

/// Makes sure that a replica of a repository lies at a further place as that is to be reached. `may_be_empty`: nothing came there
/// yet.
///
/// # Errors
/// `NoRepository`; `InvalidInput` for another one; what the storages bring.
pub(crate) async fn is_replica_at(
    server: &Server,
    row: &RepositoryRow,
    storage: &dyn Storage,
    may_be_empty: bool,
) -> Result<()> {
    let first = storage_of_row(server, &row.account, &first_place(server, row).await?)?;
    match in_time("The storage", kinship(&*first, storage)).await? {
        Kinship::Empty if !may_be_empty => {
            Err(Error::new(ErrorKind::NoRepository, format!("There is no copy of '{}' there", row.name))
                .with_hint("Look at the address, or add the place as a further destination"))
        }
        _ => Ok(()),
    }
}

/// Opens a repository with a key.
///
/// # Errors
/// `WrongKey`; `Unavailable` when its storage does not answer; as opening.
pub(crate) async fn open_with(server: &Server, row: &RepositoryRow, key: &Passphrase) -> Result<Arc<Repository>> {
    let first = first_place(server, row).await?;
    let storage = storage_of_row(server, &row.account, &first)?;
    let opened = in_time(&format!("'{}'", row.name), open_at(server, &row.account, storage, key)).await;
    let repo = match opened {
        // Where the server's own storage lies on its machine is nothing that an account's people need to know.
        Err(e) if first.url == OWN && e.kind() == ErrorKind::NoRepository => {
            tracing::error!("The server's own storage lacks a repository: {}", e.chain());
            let text = format!("'{}' cannot be found on this server's own storage", row.name);
            return Err(Error::new(ErrorKind::NoRepository, text).with_hint(
                "Ask whoever runs the server to check that its storage is there; the log names the folder",
            ));
        }
        opened => opened?,
    };
    if repo.config().id.to_string() != row.repository {
        return Err(Error::new(ErrorKind::Corrupt, format!("Another repository lies at the place of '{}'", row.name))
            .with_hint("Bring back the one that was there, or take this one off the list"));
    }
    Ok(repo)
}
