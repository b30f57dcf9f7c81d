//! Key slots: who can open the repository. Adding, listing, removing and changing them touches no data.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::crypto::{KdfLimit, KeyRight, MasterKeys, Passphrase, SlotSecrets};
use crate::error::{Error, ErrorKind, Result};
use crate::format::config::RepoConfig;
use crate::format::header::{FileKind, check_prefix, open_document};
use crate::format::id::KeyId;
use crate::format::slot::{self, SlotFacts};
use crate::repo::repository::{CONFIG_PATH, Repository, SMALL_FILE_LIMIT, run_blocking};
use crate::storage::Storage;

const CONFIG: &str = "The repository's config";

pub(super) fn key_path(id: &KeyId) -> String {
    format!("keys/{id}")
}

/// How keys are derived of passphrases: how much a slot may ask for, and whose turn it must be. By default as much as the
/// format allows, at any time: right for who opens what is their own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deriving {
    most: Option<KdfLimit>,
    turns: Vec<Arc<Semaphore>>,
}

impl Deriving {
    /// Not beyond a cost, and each time with a permit of all of `turns`, taken in their order.
    pub(crate) fn new(most: KdfLimit, turns: Vec<Arc<Semaphore>>) -> Self {
        Self { most: Some(most), turns }
    }

    /// Derives on a thread of its own. The turns are held until it is done, also when nobody waits for it any more.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let mut held = Vec::with_capacity(self.turns.len());
        for turn in &self.turns {
            let turn = turn.clone().acquire_owned().await;
            held.push(turn.map_err(|e| Error::internal("A gate is closed").with_source(e))?);
        }
        let work = move || {
            let done = work();
            drop(held);
            done
        };
        run_blocking(work).await
    }
}

/// A key slot with its id.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The slot's id.
    pub id: KeyId,
    /// What it shows without a passphrase.
    pub facts: SlotFacts,
}

impl Repository {
    /// The slot that was opened.
    pub fn slot(&self) -> KeyId {
        self.slot.lock().map_or_else(|e| *e.into_inner(), |s| *s)
    }

    /// Lists the key slots of this repository, the oldest first.
    ///
    /// # Errors
    /// The storage's.
    pub async fn slots(&self) -> Result<Vec<Slot>> {
        Ok(self.slots_and_broken().await?.0)
    }

    /// Lists the files among the key slots that are none, or none any more, with the reason.
    ///
    /// # Errors
    /// The storage's.
    pub async fn broken_slots(&self) -> Result<Vec<(KeyId, Error)>> {
        Ok(self.slots_and_broken().await?.1)
    }

    async fn slots_and_broken(&self) -> Result<(Vec<Slot>, Vec<(KeyId, Error)>)> {
        let (mut slots, mut broken) = (Vec::new(), Vec::new());
        for (id, bytes) in read_slots(&*self.storage).await? {
            match bytes.and_then(|b| slot::read_slot(&slot_name(&id), &b)) {
                Ok(facts) if facts.repo == self.config.id => slots.push(Slot { id, facts }),
                Ok(_) => broken.push((id, Error::corrupt(format!("{} belongs to another repository", slot_name(&id))))),
                Err(e) => broken.push((id, e)),
            }
        }
        slots.sort_by_key(|s| (s.facts.created_us, s.id));
        broken.sort_by_key(|(id, _)| *id);
        Ok((slots, broken))
    }

    /// Adds a key slot.
    ///
    /// # Errors
    /// `WrongKey` when the opened slot is write-only and an owner's slot is asked for.
    pub async fn add_slot(&self, passphrase: &Passphrase, right: KeyRight, label: &str, now_us: i64) -> Result<KeyId> {
        let secrets = match right {
            KeyRight::WriteOnly => self.keys.secrets().write_only(),
            KeyRight::Owner if self.right() == KeyRight::Owner => self.keys.secrets().clone(),
            KeyRight::Owner => {
                return Err(Error::new(ErrorKind::WrongKey, "A write-only key cannot make an owner's key")
                    .with_hint("open the repository with an owner's passphrase"));
            }
        };
        write_slot(&*self.storage, &self.config, secrets, label, now_us, passphrase, &self.deriving).await
    }

    /// Removes a key slot, also a broken one. The one that is open, and the last owner's, stay; also where two who remove
    /// each other's do so at the same time.
    ///
    /// # Errors
    /// `InvalidInput` for those, `NotFound` when there is no such slot.
    pub async fn remove_slot(&self, id: &KeyId) -> Result<()> {
        let (slots, broken) = self.slots_and_broken().await?;
        if *id == self.slot() {
            return Err(Error::invalid("The key slot in use cannot be removed")
                .with_hint("open the repository with another passphrase, or use key passwd"));
        }
        let found = slots.iter().find(|s| s.id == *id);
        if found.is_none() && !broken.iter().any(|(b, _)| b == id) {
            return Err(Error::not_found(format!("There is no key slot {id}")).with_hint("key list shows them"));
        }
        if !found.is_some_and(is_owner) {
            return self.storage.delete(&key_path(id)).await;
        }
        if slots.iter().filter(|s| is_owner(s)).count() < 2 {
            return Err(last_owner());
        }
        let bytes = self.storage.get(&key_path(id), SMALL_FILE_LIMIT).await?;
        self.storage.delete(&key_path(id)).await?;
        let left = self.slots().await;
        if left.as_ref().is_ok_and(|left| left.iter().any(is_owner)) {
            return Ok(());
        }
        // The other one that was counted is gone meanwhile, or that cannot be seen: this one stays.
        self.storage.put(&key_path(id), vec![bytes]).await?;
        Err(left.err().unwrap_or_else(last_owner))
    }

    /// Gives the slot in use a new passphrase: a new slot is written, then the old one removed.
    ///
    /// # Errors
    /// The storage's. Stopped in between, both passphrases open the repository.
    pub async fn change_passphrase(&self, passphrase: &Passphrase, now_us: i64) -> Result<KeyId> {
        let (slots, old) = (self.slots().await?, self.slot());
        let label = slots.iter().find(|s| s.id == old).map_or("", |s| s.facts.label.as_str());
        let secrets = self.keys.secrets().clone();
        let id = write_slot(&*self.storage, &self.config, secrets, label, now_us, passphrase, &self.deriving).await?;
        if let Ok(mut slot) = self.slot.lock() {
            *slot = id;
        }
        self.storage.delete(&key_path(&old)).await?;
        Ok(id)
    }
}

fn is_owner(slot: &Slot) -> bool {
    slot.facts.right == KeyRight::Owner
}

fn last_owner() -> Error {
    Error::invalid("The last owner's key slot cannot be removed: contents could never be read again")
}

pub(super) fn slot_name(id: &KeyId) -> String {
    format!("Key slot {}", id.short())
}

pub(super) async fn write_slot(
    storage: &dyn Storage,
    config: &RepoConfig,
    secrets: SlotSecrets,
    label: &str,
    now_us: i64,
    passphrase: &Passphrase,
    deriving: &Deriving,
) -> Result<KeyId> {
    let (repo, label, passphrase) = (config.id, label.to_owned(), passphrase.clone());
    let bytes = deriving.run(move || slot::seal_slot(repo, &secrets, &label, now_us, &passphrase)).await??;
    let id = KeyId(crate::crypto::hash_buffers([&bytes[..]]));
    storage.put(&key_path(&id), vec![bytes.into()]).await?;
    Ok(id)
}

/// The files in `keys/`, each with its bytes or with what is wrong with it.
pub(super) async fn read_slots(storage: &dyn Storage) -> Result<Vec<(KeyId, Result<Bytes>)>> {
    let mut slots = Vec::new();
    for entry in storage.list("keys").await? {
        let Ok(id) = entry.path.rsplit('/').next().unwrap_or_default().parse::<KeyId>() else { continue };
        match storage.get(&entry.path, SMALL_FILE_LIMIT).await {
            Ok(bytes) if crate::crypto::hash_buffers([&bytes[..]]) == id.0 => slots.push((id, Ok(bytes))),
            Ok(_) => {
                let e = Error::corrupt(format!("{} is damaged: its contents do not match its name", slot_name(&id)));
                slots.push((id, Err(e)));
            }
            // Removed since it was listed.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) if e.kind() == ErrorKind::Corrupt => slots.push((id, Err(e))),
            Err(e) => return Err(e),
        }
    }
    Ok(slots)
}

/// What opens a repository.
pub(super) struct Opened {
    pub(super) slot: KeyId,
    pub(super) keys: MasterKeys,
    pub(super) config: RepoConfig,
}

/// Tries a passphrase on a slot, if that asks for no more than it may.
async fn try_slot(
    id: KeyId,
    bytes: Bytes,
    passphrase: &Passphrase,
    deriving: &Deriving,
) -> Result<(SlotFacts, SlotSecrets)> {
    let name = slot_name(&id);
    let cost = slot::read_slot(&name, &bytes)?.kdf;
    if deriving.most.is_some_and(|most| !cost.is_within(most)) {
        return Err(Error::invalid(format!("{name} asks for more memory or time than may be spent on it here"))
            .with_hint("give the repository a new key with the command line, on a machine of your own: key add"));
    }
    let passphrase = passphrase.clone();
    deriving.run(move || slot::open_slot(&name, &bytes, &passphrase)).await?
}

/// Tries a passphrase on every slot, the likeliest first. A slot that opens with it but not the config was left by an
/// init that was cut off: the next one is tried.
pub(super) async fn unlock(storage: &dyn Storage, passphrase: &Passphrase, deriving: &Deriving) -> Result<Opened> {
    let config = storage.get(CONFIG_PATH, SMALL_FILE_LIMIT).await.map_err(|e| no_repository(storage, e))?;
    check_prefix(CONFIG, FileKind::Config, &config)?;
    let mut slots = read_slots(storage).await?;
    let likely = passphrase.kdf_params();
    slots.sort_by_key(|(id, bytes)| {
        let dear = bytes.as_ref().is_ok_and(|b| slot::read_slot("", b).is_ok_and(|f| f.kdf != likely));
        (bytes.is_err(), dear, *id)
    });
    let (mut damaged, mut foreign) = (None, None);
    let count = slots.len();
    for (id, bytes) in slots {
        let opened = match bytes {
            Ok(bytes) => try_slot(id, bytes, passphrase, deriving).await,
            Err(e) => Err(e),
        };
        match opened {
            Ok((facts, secrets)) => match open_config(&config, secrets, &facts) {
                Ok((keys, config)) => return Ok(Opened { slot: id, keys, config }),
                Err(e) => foreign = Some(e),
            },
            Err(e) if e.kind() == ErrorKind::WrongKey => {}
            Err(e) => damaged = Some(e),
        }
    }
    Err(match (foreign, damaged, count) {
        (Some(e), ..) => e,
        (_, Some(e), 1) => e,
        (_, _, 0) => Error::corrupt(format!("The repository at {} has no key slots", storage.describe()))
            .with_hint("bring the folder 'keys' back from a copy: without a key slot nothing can be read"),
        (_, Some(e), _) => Error::new(ErrorKind::WrongKey, "No intact key slot opens with this passphrase")
            .with_hint("try again; if it is right, its key slot is damaged: bring the folder 'keys' back from a copy")
            .with_source(e),
        (_, None, _) => Error::new(ErrorKind::WrongKey, "Wrong passphrase: no key slot opens with it")
            .with_hint("try again; capital letters and spaces count"),
    })
}

fn open_config(bytes: &[u8], secrets: SlotSecrets, facts: &SlotFacts) -> Result<(MasterKeys, RepoConfig)> {
    let keys = MasterKeys::new(secrets);
    let config: RepoConfig = open_document(CONFIG, &keys, FileKind::Config, bytes)
        .map_err(|e| e.with_hint("bring the file 'config' back from a copy of the repository"))?;
    if config.id != facts.repo {
        return Err(Error::corrupt("The repository's config and the key slot belong to different repositories"));
    }
    Ok((keys, config.check()?))
}

fn no_repository(storage: &dyn Storage, e: Error) -> Error {
    if e.kind() != ErrorKind::NotFound {
        return e;
    }
    Error::new(ErrorKind::NoRepository, format!("There is no repository at {}", storage.describe()))
        .with_hint("check the place, or make one with init")
}
