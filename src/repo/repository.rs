//! A repository, made and opened.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::crypto::{KeyRight, MasterKeys, Passphrase, SealedKey, Secret, SlotSecrets};
use crate::error::{Error, ErrorKind, Result};
use crate::format::config::RepoConfig;
use crate::format::header::{FileKind, seal_document};
use crate::format::id::{BlobId, IndexId, KeyId, PackId};
use crate::repo::cache::Cache;
use crate::repo::elsewhere::Elsewhere;
use crate::repo::index::Index;
use crate::repo::opened::OpenedSegments;
use crate::repo::recent::Recent;
use crate::repo::slots::{Deriving, Opened, key_path, unlock, write_slot};
use crate::storage::Storage;

/// The path of the settings; a repository is there when this file is.
pub(super) const CONFIG_PATH: &str = "config";
/// How large a small file (config, key slot) may be, in bytes.
pub(super) const SMALL_FILE_LIMIT: u64 = 1 << 20;
/// How large a document may be, in bytes.
pub(crate) const DOCUMENT_FILE_LIMIT: u64 = 256 << 20;
/// Plaintext segments kept in memory for the next reader, in bytes.
const CONTENT_CACHE_BYTES: usize = 24 << 20;
/// Tree nodes kept in memory, in bytes: the upper levels of the trees in use, and the leaves around the reader. Little,
/// so that who walks through a tree uses the same memory again and again.
const TREE_CACHE_BYTES: usize = 8 << 20;
/// How much of both is kept for who reads everything once, in bytes.
const LITTLE_CONTENT_BYTES: usize = 8 << 20;
const LITTLE_TREE_BYTES: usize = 4 << 20;

/// The path of a pack.
pub(crate) fn pack_path(id: &PackId) -> String {
    let name = id.to_string();
    format!("packs/{}/{name}", name.get(..2).unwrap_or_default())
}

/// The path of an index file.
pub(crate) fn index_path(id: &IndexId) -> String {
    format!("index/{id}")
}

/// An open repository. Shared between tasks behind an `Arc`.
pub struct Repository {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) keys: MasterKeys,
    pub(crate) config: RepoConfig,
    pub(crate) cache: Option<Cache>,
    pub(super) slot: Mutex<KeyId>,
    pub(super) index: RwLock<Arc<Index>>,
    /// Itself, for tasks that read on its behalf.
    pub(super) me: Weak<Self>,
    /// One for every 64th blob: readers of one blob wait for each other.
    pub(super) gates: Vec<tokio::sync::Mutex<()>>,
    /// The same for tree packs that come whole into the cache.
    pub(super) pack_gates: Vec<tokio::sync::Mutex<()>>,
    /// Held while the index is loaded anew.
    pub(super) reloading: tokio::sync::Mutex<()>,
    /// The index was read past the local cache once, for the cache seemed damaged.
    pub(super) distrusted: tokio::sync::Mutex<bool>,
    pub(super) pack_keys: Mutex<HashMap<SealedKey, Secret>>,
    pub(super) contents: Mutex<Recent<BlobId, Bytes>>,
    pub(super) tree_nodes: Mutex<Recent<BlobId, Bytes>>,
    /// Segments opened lately, on the disk; `None` in it: there is no disk to take them.
    pub(super) opened: OnceLock<Option<Arc<OpenedSegments>>>,
    /// Taken while a tree pack comes into the cache behind whoever reads.
    pub(super) fetching: Arc<Semaphore>,
    /// The tree packs that came so, or did not.
    pub(super) fetched: Mutex<HashSet<PackId>>,
    /// Where else to read.
    pub(super) elsewhere: OnceLock<Elsewhere>,
    /// How keys are derived of passphrases.
    pub(super) deriving: Deriving,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({} at {})", self.config.id.short(), self.storage.describe())
    }
}

impl Repository {
    /// Makes a new repository in an empty storage and opens it. `label` names the first key slot.
    ///
    /// # Errors
    /// `AlreadyExists` when there is a repository, or something that looks like the rest of one.
    pub async fn init(
        storage: Arc<dyn Storage>,
        passphrase: &Passphrase,
        label: &str,
        now_us: i64,
        cache_root: Option<PathBuf>,
    ) -> Result<Arc<Self>> {
        Self::init_with(storage, passphrase, label, RepoConfig::new(now_us), cache_root).await
    }

    /// As [`Self::init`], with given settings.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub async fn init_with(
        storage: Arc<dyn Storage>,
        passphrase: &Passphrase,
        label: &str,
        config: RepoConfig,
        cache_root: Option<PathBuf>,
    ) -> Result<Arc<Self>> {
        Self::init_by(storage, passphrase, label, config, cache_root, Deriving::default()).await
    }

    /// As [`Self::init_with`], with a word in how keys are derived.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub(crate) async fn init_by(
        storage: Arc<dyn Storage>,
        passphrase: &Passphrase,
        label: &str,
        config: RepoConfig,
        cache_root: Option<PathBuf>,
        deriving: Deriving,
    ) -> Result<Arc<Self>> {
        refuse_what_is_there(&*storage).await?;
        let config = config.check()?;
        let secrets = SlotSecrets::generate();
        let keys = MasterKeys::new(secrets.clone());
        // The slot first, the config last: a repository is there only when it can be opened.
        let at = config.created_us;
        let slot = write_slot(&*storage, &config, secrets, label, at, passphrase, &deriving).await?;
        let bytes = seal_document(&keys, FileKind::Config, &config);
        storage.put(CONFIG_PATH, vec![bytes.into()]).await?;
        // What an init that was cut off left does no harm; that it cannot be removed is no failure.
        for entry in storage.list("keys").await.unwrap_or_default() {
            if entry.path != key_path(&slot) {
                drop(storage.delete(&entry.path).await);
            }
        }
        Self::assemble(storage, Opened { slot, keys, config }, cache_root, deriving).await
    }

    /// Opens a repository with a passphrase, and loads its index.
    ///
    /// # Errors
    /// `NoRepository`, `WrongKey`, `UnsupportedVersion`, `Corrupt`, or the storage's. Damaged index files are no error
    /// here ([`Index::damaged`]): what other index files list can be read.
    pub async fn open(
        storage: Arc<dyn Storage>,
        passphrase: &Passphrase,
        cache_root: Option<PathBuf>,
    ) -> Result<Arc<Self>> {
        Self::open_by(storage, passphrase, cache_root, Deriving::default()).await
    }

    /// As [`Self::open`], with a word in how keys are derived.
    ///
    /// # Errors
    /// As [`Self::open`]; a slot that asks for more than it may opens nothing.
    pub(crate) async fn open_by(
        storage: Arc<dyn Storage>,
        passphrase: &Passphrase,
        cache_root: Option<PathBuf>,
        deriving: Deriving,
    ) -> Result<Arc<Self>> {
        let opened = unlock(&*storage, passphrase, &deriving).await?;
        Self::assemble(storage, opened, cache_root, deriving).await
    }

    pub(super) async fn assemble(
        storage: Arc<dyn Storage>,
        opened: Opened,
        cache_root: Option<PathBuf>,
        deriving: Deriving,
    ) -> Result<Arc<Self>> {
        let Opened { slot, keys, config } = opened;
        let cache = cache_root.map(|root| Cache::open(&root, &config.id)).transpose()?;
        let repo = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            storage,
            keys,
            config,
            cache,
            slot: Mutex::new(slot),
            gates: (0..64).map(|_| tokio::sync::Mutex::new(())).collect(),
            pack_gates: (0..64).map(|_| tokio::sync::Mutex::new(())).collect(),
            reloading: tokio::sync::Mutex::new(()),
            distrusted: tokio::sync::Mutex::default(),
            index: RwLock::new(Arc::new(Index::default())),
            pack_keys: Mutex::new(HashMap::new()),
            contents: Mutex::new(Recent::new(CONTENT_CACHE_BYTES)),
            tree_nodes: Mutex::new(Recent::new(TREE_CACHE_BYTES)),
            opened: OnceLock::new(),
            fetching: Arc::new(Semaphore::new(1)),
            fetched: Mutex::new(HashSet::new()),
            elsewhere: OnceLock::new(),
            deriving,
        });
        repo.reload_index().await?;
        Ok(repo)
    }

    /// Keeps little of what was read in memory from now on: for who reads everything once, in the order in which it lies.
    pub fn keep_little(&self) {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).limit(LITTLE_CONTENT_BYTES);
        self.tree_nodes.lock().unwrap_or_else(PoisonError::into_inner).limit(LITTLE_TREE_BYTES);
    }

    /// The repository's settings.
    pub fn config(&self) -> &RepoConfig {
        &self.config
    }

    /// The keys, to seal and open documents.
    pub fn keys(&self) -> &MasterKeys {
        &self.keys
    }

    /// Where the repository is.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// What the opened slot may do.
    pub fn right(&self) -> KeyRight {
        self.keys.right()
    }

    /// The index as it was loaded last.
    pub fn index(&self) -> Arc<Index> {
        self.index.read().map_or_else(|e| e.into_inner().clone(), |i| i.clone())
    }
}

/// Runs CPU work off the reactor.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal("A worker thread ended early").with_source(e))
}

async fn refuse_what_is_there(storage: &dyn Storage) -> Result<()> {
    let place = storage.describe();
    match storage.stat(CONFIG_PATH).await {
        Ok(_) => {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("There is a repository at {place} already")));
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    for folder in ["packs", "index", "snapshots"] {
        if !storage.list(folder).await?.is_empty() {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("{place} holds {folder} of a repository whose config is missing"),
            )
            .with_hint("choose an empty place, or bring the file 'config' back"));
        }
    }
    Ok(())
}
