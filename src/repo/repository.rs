//! An open repository: keys, config, index, and the reading of blobs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;

use crate::crypto::{BlobKind, KeyRight, MasterKeys, Passphrase, SealedKey, Secret, SlotSecrets};
use crate::error::{Error, ErrorKind, Result};
use crate::format::config::RepoConfig;
use crate::format::header::{FileKind, check_prefix, open_document, seal_document};
use crate::format::id::{BlobId, IndexId, KeyId, PackId};
use crate::format::index::{IndexFile, IndexedBlob, IndexedPack};
use crate::format::pack;
use crate::format::slot::{self, SlotFacts};
use crate::repo::cache::Cache;
use crate::repo::index::Index;
use crate::repo::table::Table;
use crate::storage::Storage;

/// The path of the settings; a repository is there when this file is.
const CONFIG_PATH: &str = "config";
/// How large a small file (config, key slot) may be, in bytes.
const SMALL_FILE_LIMIT: u64 = 1 << 20;
/// How large a document may be, in bytes.
pub(crate) const DOCUMENT_FILE_LIMIT: u64 = 256 << 20;
/// Plaintext blobs kept in memory for the next reader, in bytes.
const BLOB_CACHE_BYTES: usize = 48 << 20;

/// The path of a pack.
pub(crate) fn pack_path(id: &PackId) -> String {
    let name = id.to_string();
    format!("packs/{}/{name}", name.get(..2).unwrap_or_default())
}

/// The path of an index file.
pub(crate) fn index_path(id: &IndexId) -> String {
    format!("index/{id}")
}

fn key_path(id: &KeyId) -> String {
    format!("keys/{id}")
}

/// A key slot with its id.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The slot's id.
    pub id: KeyId,
    /// What it shows without a passphrase.
    pub facts: SlotFacts,
}

/// An open repository. Shared between tasks behind an `Arc`.
pub struct Repository {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) keys: MasterKeys,
    pub(crate) config: RepoConfig,
    pub(crate) cache: Option<Cache>,
    slot: KeyId,
    index: RwLock<Arc<Index>>,
    pack_keys: Mutex<HashMap<SealedKey, Secret>>,
    blobs: Mutex<BlobCache>,
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
        refuse_what_is_there(&*storage).await?;
        let config = config.check()?;
        let secrets = SlotSecrets::generate();
        let keys = MasterKeys::new(secrets.clone());
        // The slot first, the config last: a repository is there only when it can be opened.
        let slot = write_slot(&*storage, &config, secrets, label, config.created_us, passphrase).await?;
        let bytes = seal_document(&keys, FileKind::Config, &config);
        storage.put(CONFIG_PATH, vec![bytes.into()]).await?;
        for entry in storage.list("keys").await? {
            if entry.path != key_path(&slot) {
                storage.delete(&entry.path).await?;
            }
        }
        let repo = Self::assemble(storage, keys, config, slot, cache_root)?;
        repo.reload_index().await?;
        Ok(repo)
    }

    /// Opens a repository with a passphrase, and loads its index.
    ///
    /// # Errors
    /// `NoRepository`, `WrongKey`, `UnsupportedVersion`, `Corrupt`, or the storage's.
    pub async fn open(
        storage: Arc<dyn Storage>,
        passphrase: &Passphrase,
        cache_root: Option<PathBuf>,
    ) -> Result<Arc<Self>> {
        let repo = Self::open_for_repair(storage, passphrase, cache_root).await?;
        repo.reload_index().await?;
        Ok(repo)
    }

    /// As [`Self::open`], but loads no index: for [`Self::repair_index`], which a damaged one must not keep from its work.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_for_repair(
        storage: Arc<dyn Storage>,
        passphrase: &Passphrase,
        cache_root: Option<PathBuf>,
    ) -> Result<Arc<Self>> {
        let config = storage.get(CONFIG_PATH, SMALL_FILE_LIMIT).await.map_err(|e| no_repository(&*storage, e))?;
        check_prefix("The repository's config", FileKind::Config, &config)?;
        let (slot, secrets, repo) = unlock(&*storage, passphrase).await?;
        let keys = MasterKeys::new(secrets);
        let config: RepoConfig = open_document("The repository's config", &keys, FileKind::Config, &config)?;
        if config.id != repo {
            return Err(Error::corrupt("The repository's config and the key slot belong to different repositories"));
        }
        Self::assemble(storage, keys, config.check()?, slot, cache_root)
    }

    fn assemble(
        storage: Arc<dyn Storage>,
        keys: MasterKeys,
        config: RepoConfig,
        slot: KeyId,
        cache_root: Option<PathBuf>,
    ) -> Result<Arc<Self>> {
        let cache = cache_root.map(|root| Cache::open(&root, &config.id)).transpose()?;
        Ok(Arc::new(Self {
            storage,
            keys,
            config,
            cache,
            slot,
            index: RwLock::new(Arc::new(Index::default())),
            pack_keys: Mutex::new(HashMap::new()),
            blobs: Mutex::new(BlobCache::new(BLOB_CACHE_BYTES)),
        }))
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

    /// The slot that was opened.
    pub fn slot(&self) -> KeyId {
        self.slot
    }

    /// The index as it was loaded last.
    pub fn index(&self) -> Arc<Index> {
        self.index.read().map_or_else(|e| e.into_inner().clone(), |i| i.clone())
    }

    /// Reads index files that are new since the index was loaded last, and drops those that went.
    ///
    /// # Errors
    /// The storage's, or `Corrupt`, naming the index file.
    pub async fn reload_index(&self) -> Result<()> {
        // A prune in another process may replace index files between listing and reading: list again then.
        let mut last = None;
        for _ in 0..5 {
            match self.try_reload_index().await {
                Err(e) if e.kind() == ErrorKind::NotFound => last = Some(e),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| Error::internal("the index kept changing")))
    }

    async fn try_reload_index(&self) -> Result<()> {
        let mut present = HashSet::new();
        for entry in self.storage.list("index").await? {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            present.insert(name.parse::<IndexId>().map_err(|_| {
                Error::corrupt(format!("{} is not the name of an index file", entry.path)).with_hint("remove it")
            })?);
        }
        let mut kept = self.cache.as_ref().map(|c| c.tables(&present)).unwrap_or_default();
        let covered: HashSet<IndexId> = kept.iter().flat_map(|t| t.meta.covers.iter().copied()).collect();
        let mut fresh = Vec::new();
        for id in present.iter().filter(|id| !covered.contains(*id)) {
            fresh.push(Table::from_index(*id, self.read_index_file(id).await?));
        }
        // An index file stands in for those that it replaces, even while they can still be seen.
        let replaced: HashSet<IndexId> =
            kept.iter().chain(&fresh).flat_map(|t| t.meta.replaces.iter().copied()).collect();
        let stale = |t: &Table| t.meta.covers.iter().any(|id| replaced.contains(id));
        if kept.iter().any(|t| t.meta.covers.len() > 1 && stale(t)) {
            // A merged table holds both kinds: read its parts again, apart.
            for table in kept.iter().filter(|t| stale(t)) {
                for id in table.meta.covers.iter().filter(|id| !replaced.contains(*id)) {
                    fresh.push(Table::from_index(*id, self.read_index_file(id).await?));
                }
            }
        }
        kept.retain(|t| !stale(t));
        fresh.retain(|t| !stale(t));
        let tables = match &self.cache {
            Some(cache) => cache.keep(fresh, kept),
            None => fresh,
        };
        let index = Arc::new(Index::new(tables.into_iter().map(Arc::new).collect()));
        if let Ok(mut slot) = self.index.write() {
            *slot = index;
        }
        Ok(())
    }

    /// Adds an index file that this process has just written to the index in memory.
    pub(crate) fn add_index_file(&self, id: IndexId, file: IndexFile) {
        let table = Table::from_index(id, file);
        if let Ok(mut slot) = self.index.write() {
            *slot = Arc::new(slot.with(table));
        }
    }

    /// Reads and decodes one index file.
    ///
    /// # Errors
    /// `Corrupt`, naming it; the storage's.
    pub async fn read_index_file(&self, id: &IndexId) -> Result<IndexFile> {
        let path = index_path(id);
        let bytes = self.storage.get(&path, DOCUMENT_FILE_LIMIT).await?;
        let what = format!("Index file {id}");
        if crate::crypto::hash_buffers([&bytes[..]]) != id.0 {
            return Err(Error::corrupt(format!("{what} is damaged: its contents do not match its name"))
                .with_hint("repair index makes it anew from the packs"));
        }
        open_document::<IndexFile>(&what, &self.keys, FileKind::Index, &bytes)?
            .check(&what)
            .map_err(|e| e.with_hint("repair index makes it anew from the packs"))
    }

    /// Stores an index file; its name is its hash.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) async fn write_index_file(&self, file: &IndexFile) -> Result<IndexId> {
        let bytes = seal_document(&self.keys, FileKind::Index, file);
        let id = IndexId(crate::crypto::hash_buffers([&bytes[..]]));
        self.storage.put(&index_path(&id), vec![bytes.into()]).await?;
        Ok(id)
    }

    /// Reads a blob's plaintext.
    ///
    /// # Errors
    /// `NotFound` when no pack holds it, `Corrupt` when the pack is damaged (named), `WrongKey` for contents under a write-only key.
    pub async fn read_blob(&self, kind: BlobKind, id: &BlobId) -> Result<Bytes> {
        if let Some(bytes) = self.blobs.lock().ok().and_then(|mut c| c.get(id)) {
            return Ok(bytes);
        }
        let (pack, blob) = match self.locate(kind, id) {
            Some(found) => found,
            None => {
                self.reload_index().await?;
                self.locate(kind, id).ok_or_else(|| {
                    Error::not_found(format!("Blob {id} is in no pack that the index lists"))
                        .with_hint("run check; if packs are there that the index lacks, repair index")
                })?
            }
        };
        let plain = Bytes::from(self.read_located(&pack, &blob).await?);
        if let Ok(mut cache) = self.blobs.lock() {
            cache.insert(*id, plain.clone());
        }
        Ok(plain)
    }

    fn locate(&self, kind: BlobKind, id: &BlobId) -> Option<(IndexedPack, IndexedBlob)> {
        let index = self.index();
        let found = index.find_all(id).filter(|l| l.pack.kind == kind).min_by_key(|l| l.marked)?;
        Some((found.pack.clone(), found.blob))
    }

    /// Reads one blob from one pack.
    pub(crate) async fn read_located(&self, pack: &IndexedPack, blob: &IndexedBlob) -> Result<Vec<u8>> {
        let what = format!("Blob {} in pack {}", blob.id.short(), pack.id);
        let key = self.blob_key(pack, blob)?;
        let damaged = |e: Error| if e.kind() == ErrorKind::Corrupt { e.with_hint("run check --read-data") } else { e };
        if pack.kind == BlobKind::Tree {
            if let Some(plain) = self.read_cached_tree(pack, blob, &key, &what).await? {
                return Ok(plain);
            }
        }
        let path = pack_path(&pack.id);
        let ciphertext = self.storage.get_range(&path, u64::from(blob.offset), u64::from(blob.stored_bytes)).await?;
        let blob = *blob;
        if blob.plain_bytes < 64 << 10 {
            return pack::open_blob(&what, &key, &blob, ciphertext.into()).map_err(damaged);
        }
        run_blocking(move || pack::open_blob(&what, &key, &blob, ciphertext.into())).await?.map_err(damaged)
    }

    /// Reads a tree blob through the local cache; fetches the whole pack into it first.
    async fn read_cached_tree(
        &self,
        pack: &IndexedPack,
        blob: &IndexedBlob,
        key: &Secret,
        what: &str,
    ) -> Result<Option<Vec<u8>>> {
        let Some(cache) = &self.cache else { return Ok(None) };
        if !cache.has_pack(&pack.id) {
            let bytes = self.storage.get(&pack_path(&pack.id), pack.size_bytes).await?;
            if crate::crypto::hash_buffers([&bytes[..]]) != pack.id.0 {
                // Not kept; the reader takes what it needs by range, so that other blobs still read.
                return Ok(None);
            }
            cache.write_pack(&pack.id, &bytes);
        }
        let Some(ciphertext) = cache.read_pack(&pack.id, u64::from(blob.offset), blob.stored_bytes as usize) else {
            return Ok(None);
        };
        match pack::open_blob(what, key, blob, ciphertext) {
            Ok(plain) => Ok(Some(plain)),
            Err(_) => {
                cache.remove_pack(&pack.id);
                Ok(None)
            }
        }
    }

    /// The key that opens a blob of a pack.
    pub(crate) fn blob_key(&self, pack: &IndexedPack, blob: &IndexedBlob) -> Result<Secret> {
        if pack.kind == BlobKind::Tree {
            return Ok(self.keys.state_sub_key(FileKind::TreePack as u8, &pack.salt));
        }
        let sealed = pack
            .keys
            .get(blob.key as usize)
            .ok_or_else(|| Error::corrupt(format!("The index names a key that pack {} does not have", pack.id)))?;
        if let Some(key) = self.pack_keys.lock().ok().and_then(|k| k.get(sealed).cloned()) {
            return Ok(key);
        }
        let key = self.keys.open_pack_key(sealed)?;
        if let Ok(mut known) = self.pack_keys.lock() {
            if known.len() > 100_000 {
                known.clear();
            }
            known.insert(*sealed, key.clone());
        }
        Ok(key)
    }

    /// Lists the key slots, and the names of files that are none.
    ///
    /// # Errors
    /// The storage's.
    pub async fn slots(&self) -> Result<Vec<Slot>> {
        let mut slots = Vec::new();
        for (id, bytes) in read_slots(&*self.storage).await? {
            slots.push(Slot { id, facts: slot::read_slot(&format!("Key slot {}", id.short()), &bytes)? });
        }
        slots.sort_by_key(|s| (s.facts.created_us, s.id));
        Ok(slots)
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
        write_slot(&*self.storage, &self.config, secrets, label, now_us, passphrase).await
    }

    /// Removes a key slot. The one that is open, and the last owner's, stay.
    ///
    /// # Errors
    /// `InvalidInput` for those, `NotFound` when there is no such slot.
    pub async fn remove_slot(&self, id: &KeyId) -> Result<()> {
        let slots = self.slots().await?;
        let Some(slot) = slots.iter().find(|s| s.id == *id) else {
            return Err(Error::not_found(format!("There is no key slot {id}")).with_hint("key list shows them"));
        };
        if *id == self.slot {
            return Err(Error::invalid("The key slot in use cannot be removed")
                .with_hint("open the repository with another passphrase, or use key passwd"));
        }
        let owners = slots.iter().filter(|s| s.facts.right == KeyRight::Owner).count();
        if slot.facts.right == KeyRight::Owner && owners < 2 {
            return Err(Error::invalid(
                "The last owner's key slot cannot be removed: contents could never be read again",
            ));
        }
        self.storage.delete(&key_path(id)).await
    }

    /// Gives the slot in use a new passphrase: a new slot is written, then the old one removed.
    ///
    /// # Errors
    /// The storage's.
    pub async fn change_passphrase(&self, passphrase: &Passphrase, now_us: i64) -> Result<KeyId> {
        let slots = self.slots().await?;
        let label = slots.iter().find(|s| s.id == self.slot).map_or("", |s| s.facts.label.as_str());
        let id =
            write_slot(&*self.storage, &self.config, self.keys.secrets().clone(), label, now_us, passphrase).await?;
        self.storage.delete(&key_path(&self.slot)).await?;
        Ok(id)
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

fn no_repository(storage: &dyn Storage, e: Error) -> Error {
    if e.kind() != ErrorKind::NotFound {
        return e;
    }
    Error::new(ErrorKind::NoRepository, format!("There is no repository at {}", storage.describe()))
        .with_hint("check the place, or make one with init")
}

async fn write_slot(
    storage: &dyn Storage,
    config: &RepoConfig,
    secrets: SlotSecrets,
    label: &str,
    now_us: i64,
    passphrase: &Passphrase,
) -> Result<KeyId> {
    let (repo, label, passphrase) = (config.id, label.to_owned(), passphrase.clone());
    let bytes = run_blocking(move || slot::seal_slot(repo, &secrets, &label, now_us, &passphrase)).await??;
    let id = KeyId(crate::crypto::hash_buffers([&bytes[..]]));
    storage.put(&key_path(&id), vec![bytes.into()]).await?;
    Ok(id)
}

async fn read_slots(storage: &dyn Storage) -> Result<Vec<(KeyId, Bytes)>> {
    let mut slots = Vec::new();
    for entry in storage.list("keys").await? {
        let Ok(id) = entry.path.rsplit('/').next().unwrap_or_default().parse::<KeyId>() else { continue };
        match storage.get(&entry.path, SMALL_FILE_LIMIT).await {
            Ok(bytes) => slots.push((id, bytes)),
            // Removed since it was listed.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(slots)
}

/// Tries a passphrase on every slot, the likeliest first.
async fn unlock(
    storage: &dyn Storage,
    passphrase: &Passphrase,
) -> Result<(KeyId, SlotSecrets, crate::format::id::RepoId)> {
    let mut slots = read_slots(storage).await?;
    let likely = passphrase.kdf_params();
    slots.sort_by_key(|(_, bytes)| slot::read_slot("", bytes).is_ok_and(|f| f.kdf != likely));
    let mut damaged = None;
    let count = slots.len();
    for (id, bytes) in slots {
        let what = format!("Key slot {}", id.short());
        let pass = passphrase.clone();
        match run_blocking(move || slot::open_slot(&what, &bytes, &pass)).await? {
            Ok((facts, secrets)) => return Ok((id, secrets, facts.repo)),
            Err(e) if e.kind() == ErrorKind::WrongKey => {}
            Err(e) => damaged = Some(e),
        }
    }
    match (damaged, count) {
        (Some(e), 1) => Err(e),
        (_, 0) => Err(Error::corrupt(format!("The repository at {} has no key slots", storage.describe()))
            .with_hint("bring the folder 'keys' back from a copy: without a key slot nothing can be read")),
        (Some(e), _) => {
            Err(Error::new(ErrorKind::WrongKey, "No intact key slot opens with this passphrase").with_source(e))
        }
        (None, _) => Err(Error::new(ErrorKind::WrongKey, "Wrong passphrase: no key slot opens with it")
            .with_hint("try again; capital letters and spaces count")),
    }
}

/// Plaintext blobs, the longest unused leaving first.
struct BlobCache {
    limit: usize,
    bytes: usize,
    tick: u64,
    entries: HashMap<BlobId, (u64, Bytes)>,
    order: BTreeMap<u64, BlobId>,
}

impl BlobCache {
    fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, tick: 0, entries: HashMap::new(), order: BTreeMap::new() }
    }

    fn get(&mut self, id: &BlobId) -> Option<Bytes> {
        self.tick += 1;
        let (tick, bytes) = self.entries.get_mut(id)?;
        self.order.remove(tick);
        *tick = self.tick;
        self.order.insert(self.tick, *id);
        Some(bytes.clone())
    }

    fn insert(&mut self, id: BlobId, bytes: Bytes) {
        self.tick += 1;
        self.bytes += bytes.len();
        self.order.insert(self.tick, id);
        if let Some((tick, old)) = self.entries.insert(id, (self.tick, bytes)) {
            self.order.remove(&tick);
            self.bytes -= old.len();
        }
        while self.bytes > self.limit {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some((_, gone)) = self.entries.remove(&oldest) {
                self.bytes -= gone.len();
            }
        }
    }
}
