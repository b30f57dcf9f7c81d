//! What makes a storage a replica of a repository: the same config, and with it the same id and keys.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::crypto::{KeyRight, MasterKeys};
use crate::error::{Error, ErrorKind, Result};
use crate::format::config::RepoConfig;
use crate::format::header::{FileKind, open_document};
use crate::format::id::KeyId;
use crate::format::slot;
use crate::repo::check::Finding;
use crate::repo::repository::{CONFIG_PATH, Repository, SMALL_FILE_LIMIT};
use crate::repo::slots::{Opened, key_path, read_slots, slot_name};
use crate::storage::Storage;

/// What a storage is to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// Nothing is there: it can be made a replica.
    Empty,
    /// A replica whose config is lost.
    WithoutConfig,
    /// A replica.
    Replica,
}

/// What happened to the key slots of a replica.
#[derive(Debug, Default)]
pub struct CopiedSlots {
    /// Slots copied.
    pub copied: usize,
    /// Slots deleted, which the source has no more.
    pub deleted: usize,
    /// Slots that the source has no more, and that still open the replica.
    pub left: usize,
    /// Slots of the source that cannot be copied.
    pub findings: Vec<Finding>,
}

/// Says what `to` is to the repository at `from`. Needs no key.
///
/// # Errors
/// `InvalidInput` if it holds another repository, `AlreadyExists` for the rest of one whose config is missing;
/// `NoRepository` if there is none at `from`; the storages'.
pub async fn kinship(from: &dyn Storage, to: &dyn Storage) -> Result<Kinship> {
    let config = config_of(from).await?.ok_or_else(|| {
        let text = format!("There is no repository at {}", from.describe());
        Error::new(ErrorKind::NoRepository, text).with_hint("check the place, or make one with init")
    })?;
    match config_of(to).await? {
        Some(other) if other == config => return Ok(Kinship::Replica),
        Some(_) => return Err(another(to)),
        None => {}
    }
    let known: Vec<String> = from.list("keys").await?.into_iter().map(|e| e.path).collect();
    if to.list("keys").await?.iter().any(|e| known.contains(&e.path)) {
        return Ok(Kinship::WithoutConfig);
    }
    for folder in ["packs", "index", "snapshots"] {
        if !to.list(folder).await?.is_empty() {
            let text = format!("{} holds {folder} of a repository whose config is missing", to.describe());
            return Err(Error::new(ErrorKind::AlreadyExists, text).with_hint("choose an empty place for the replica"));
        }
    }
    Ok(Kinship::Empty)
}

/// Makes a replica of the repository at `from`, without packs and snapshots: key slots first, the config last. Needs no
/// key. May be repeated after it was cut off.
///
/// # Errors
/// The storages'; `Corrupt` if no key slot of the source is whole.
pub async fn make_replica(from: &dyn Storage, to: &dyn Storage) -> Result<()> {
    let slots = copy_slots(from, to, false, false).await?;
    if to.list("keys").await?.is_empty() {
        let text = format!("No key slot of the repository at {} can be read", from.describe());
        let cause = slots.findings.first().map(Finding::sentence).unwrap_or_default();
        return Err(Error::corrupt(text).with_hint(cause));
    }
    let config = config_of(from).await?.ok_or_else(|| Error::not_found("The source's config went away"))?;
    match to.put(CONFIG_PATH, vec![config]).await {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        other => other?,
    }
    Ok(())
}

/// Copies the key slots that the replica lacks. `delete`: those go that the source has no more, if the source has an
/// owner's slot and none is damaged. Needs no key.
///
/// # Errors
/// The storages'.
pub async fn copy_slots(from: &dyn Storage, to: &dyn Storage, delete: bool, dry_run: bool) -> Result<CopiedSlots> {
    let mut report = CopiedSlots::default();
    let there: Vec<KeyId> = ids(to).await?;
    let (mut owners, mut known) = (0, Vec::new());
    for (id, bytes) in read_slots(from).await? {
        known.push(id);
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(e) => {
                let (object, text) = (slot_name(&id), format!("cannot be copied: {e}"));
                report.findings.push(Finding { object, pack: None, text, error: true });
                continue;
            }
        };
        owners += usize::from(slot::read_slot("", &bytes).is_ok_and(|f| f.right == KeyRight::Owner));
        if there.contains(&id) {
            continue;
        }
        report.copied += 1;
        if !dry_run {
            match to.put(&key_path(&id), vec![bytes]).await {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
    }
    let gone = there.iter().filter(|id| !known.contains(id));
    if delete && owners > 0 && report.findings.is_empty() {
        for id in gone {
            report.deleted += 1;
            if !dry_run {
                to.delete(&key_path(id)).await?;
            }
        }
    } else {
        report.left = gone.count();
    }
    Ok(report)
}

impl Repository {
    /// Opens a replica of this repository with the keys that this one was opened with.
    ///
    /// # Errors
    /// `NoRepository` when nothing is there, `InvalidInput` when it is another repository; as [`Repository::open`].
    pub async fn open_replica(&self, storage: Arc<dyn Storage>, cache_root: Option<PathBuf>) -> Result<Arc<Self>> {
        let Some(bytes) = config_of(&*storage).await? else {
            let text = format!("There is no repository at {}", storage.describe());
            return Err(Error::new(ErrorKind::NoRepository, text)
                .with_hint("check the place; if it is new, make it a replica with mirror"));
        };
        let keys = MasterKeys::new(self.keys.secrets().clone());
        let config = match open_document::<RepoConfig>("The replica's config", &keys, FileKind::Config, &bytes) {
            Ok(config) if config.id == self.config.id => config.check()?,
            Ok(_) => return Err(another(&*storage)),
            Err(e) if e.kind() == ErrorKind::UnsupportedVersion => return Err(e),
            Err(e) => {
                let slots = read_slots(&*storage).await?;
                let ours = |b: Bytes| slot::read_slot("", &b).is_ok_and(|f| f.repo == self.config.id);
                let is_ours = slots.into_iter().any(|(_, bytes)| bytes.is_ok_and(ours));
                return Err(if is_ours {
                    let text = format!("The config of the replica at {} is damaged", storage.describe());
                    e.context(text).with_hint("delete the file 'config' there; mirror brings it back")
                } else {
                    another(&*storage)
                });
            }
        };
        let opened = Opened { slot: self.slot(), keys, config };
        Self::assemble(storage, opened, cache_root, self.deriving.clone()).await
    }
}

async fn config_of(storage: &dyn Storage) -> Result<Option<Bytes>> {
    match storage.get(CONFIG_PATH, SMALL_FILE_LIMIT).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

async fn ids(storage: &dyn Storage) -> Result<Vec<KeyId>> {
    let entries = storage.list("keys").await?;
    Ok(entries.iter().filter_map(|e| e.path.rsplit('/').next()?.parse().ok()).collect())
}

fn another(storage: &dyn Storage) -> Error {
    Error::invalid(format!("{} holds another repository, not a replica of this one", storage.describe()))
        .with_hint("give the replica an empty place of its own: mirror FROM TO makes it")
}
