//! The road of new blobs: id -> known? -> compress -> encrypt -> pack -> upload -> index.
//!
//! Stages overlap and are bounded: CPU work runs on blocking threads behind a semaphore as wide as the machine;
//! bytes on their way are paid from a budget; full packs wait in a short queue for the uploader. Packs are
//! durable before an index file names them; [`Writer::finish`] returns when all of it is.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::crypto::BlobKind;
use crate::error::{Error, Result};
use crate::format::id::{BlobId, PackId};
use crate::format::index::IndexFile;
use crate::format::pack::{FinishedPack, PackBuilder, PreparedBlob};
use crate::repo::chunker::Chunker;
use crate::repo::index::Index;
use crate::repo::repository::{Repository, pack_path, run_blocking};
use crate::repo::segment::Segments;

/// How a writer works. The defaults keep memory under the budget stated in `docs/performance.md`.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Zstandard level.
    pub level: i32,
    /// CPU jobs at once; 0: as many as the machine has cores.
    pub workers: usize,
    /// Uploads at once.
    pub uploads: usize,
    /// Bytes of plaintext on their way to packs.
    pub budget_bytes: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { level: 3, workers: 0, uploads: 2, budget_bytes: 32 << 20 }
    }
}

/// What a writer has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Blobs that were new.
    pub new_blobs: u64,
    /// Blobs that the repository had already.
    pub known_blobs: u64,
    /// Bytes of plaintext in new blobs.
    pub new_bytes: u64,
    /// Bytes of packs and index files written.
    pub stored_bytes: u64,
    /// Packs written.
    pub packs: u64,
}

#[derive(Default)]
struct Counts {
    new_blobs: AtomicU64,
    known_blobs: AtomicU64,
    new_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    packs: AtomicU64,
}

/// Packs listed before an index file is written in the middle of a run, so that what an interrupted run stored is found again.
const PACKS_PER_INDEX: usize = 64;
/// Blobs listed before an index file is written.
const BLOBS_PER_INDEX: usize = 65_536;

pub(super) struct Inner {
    pub(super) repo: Arc<Repository>,
    pub(super) chunker: Arc<Chunker>,
    pub(super) segments: Segments,
    options: WriterOptions,
    known: Arc<Index>,
    session: Mutex<HashSet<BlobId>>,
    /// Tree blobs whose packs no index file lists yet: trees are read again while they grow.
    unlisted: Mutex<HashMap<BlobId, Bytes>>,
    packers: [Mutex<Option<PackBuilder>>; 2],
    full: Mutex<Option<mpsc::Sender<FinishedPack>>>,
    cpu: Semaphore,
    budget: Arc<Semaphore>,
    counts: Counts,
    failed: AtomicBool,
}

/// Adds blobs to a repository. Cheap to clone; all clones are one writer.
#[derive(Clone)]
pub struct Writer {
    pub(super) inner: Arc<Inner>,
    uploader: Arc<Mutex<Option<JoinHandle<Result<()>>>>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({:?})", self.inner.repo)
    }
}

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
}

impl Writer {
    /// Starts a writer over the index as it is loaded now.
    pub fn new(repo: Arc<Repository>, options: WriterOptions) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let workers = if options.workers == 0 { cores } else { options.workers };
        let (full, queue) = mpsc::channel(1);
        let inner = Arc::new(Inner {
            chunker: Arc::new(Chunker::new(&repo.config)),
            segments: Segments::new(),
            known: repo.index(),
            session: Mutex::new(HashSet::new()),
            unlisted: Mutex::new(HashMap::new()),
            packers: [Mutex::new(None), Mutex::new(None)],
            full: Mutex::new(Some(full)),
            cpu: Semaphore::new(workers),
            budget: Arc::new(Semaphore::new(options.budget_bytes >> 10)),
            counts: Counts::default(),
            failed: AtomicBool::new(false),
            options,
            repo,
        });
        let uploader = tokio::spawn(upload(inner.clone(), queue));
        Self { inner, uploader: Arc::new(Mutex::new(Some(uploader))) }
    }

    /// The repository that is written to.
    pub fn repository(&self) -> &Arc<Repository> {
        &self.inner.repo
    }

    /// What was done so far.
    pub fn stats(&self) -> WriterStats {
        let c = &self.inner.counts;
        WriterStats {
            new_blobs: c.new_blobs.load(Ordering::Relaxed),
            known_blobs: c.known_blobs.load(Ordering::Relaxed),
            new_bytes: c.new_bytes.load(Ordering::Relaxed),
            stored_bytes: c.stored_bytes.load(Ordering::Relaxed),
            packs: c.packs.load(Ordering::Relaxed),
        }
    }

    /// Stores a blob unless the repository has it, and says its id. That it returns does not mean that the blob is
    /// durable: [`Self::finish`] does.
    ///
    /// # Errors
    /// The storage's, when an upload has failed.
    pub async fn put_blob(&self, kind: BlobKind, plain: Bytes) -> Result<BlobId> {
        let paid = self.pay(plain.len()).await?;
        self.put_paid(kind, plain, paid).await
    }

    /// As [`Self::put_blob`], for bytes that were paid for with [`Self::pay`].
    pub(super) async fn put_paid(&self, kind: BlobKind, plain: Bytes, paid: OwnedSemaphorePermit) -> Result<BlobId> {
        self.check_alive()?;
        let worker = self.inner.cpu.acquire().await.map_err(closed)?;
        let inner = self.inner.clone();
        let id = run_blocking(move || inner.store(kind, &plain)).await?;
        drop((worker, paid));
        id
    }

    /// Waits till `bytes` more may be on their way.
    pub(super) async fn pay(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let most = self.inner.options.budget_bytes >> 10;
        let amount = u32::try_from((bytes >> 10).clamp(1, most.max(1))).unwrap_or(u32::MAX);
        self.inner.budget.clone().acquire_many_owned(amount).await.map_err(closed)
    }

    /// Says whether writing to the destination has failed.
    pub fn is_broken(&self) -> bool {
        self.inner.failed.load(Ordering::Relaxed)
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        if self.inner.failed.load(Ordering::Relaxed) {
            return Err(Error::new(crate::ErrorKind::Unavailable, "Writing to the destination failed before"));
        }
        Ok(())
    }

    /// Reads a tree blob, also one that is still on its way.
    ///
    /// # Errors
    /// As [`Repository::read_blob`].
    pub async fn read_tree(&self, id: &BlobId) -> Result<Bytes> {
        let on_its_way = lock(&self.inner.unlisted)?.get(id).cloned();
        match on_its_way {
            Some(bytes) => Ok(bytes),
            None => self.inner.repo.read_blob(BlobKind::Tree, id).await,
        }
    }

    /// Stores what is still in hand, and the index; returns when all of it is durable.
    ///
    /// # Errors
    /// The first error of any upload.
    pub async fn finish(&self) -> Result<WriterStats> {
        let inner = self.inner.clone();
        let rest = run_blocking(move || inner.close()).await?;
        let uploader = self.uploader.lock().ok().and_then(|mut u| u.take());
        if let Some(uploader) = uploader {
            uploader.await.map_err(|e| Error::internal("The uploader ended early").with_source(e))??;
        }
        rest?;
        self.inner.repo.reload_index().await?;
        Ok(self.stats())
    }
}

fn closed<E: std::error::Error + Send + Sync + 'static>(e: E) -> Error {
    Error::internal("The writer is closed").with_source(e)
}

impl Inner {
    /// CPU work for one blob: id, look-up, compression, encryption. Runs on a blocking thread.
    fn store(&self, kind: BlobKind, plain: &Bytes) -> Result<BlobId> {
        let id = BlobId(self.repo.keys.blob_id(kind, plain));
        let fresh = !self.known.has_live(&id) && self.session.lock().is_ok_and(|mut s| s.insert(id));
        if !fresh {
            self.counts.known_blobs.fetch_add(1, Ordering::Relaxed);
            return Ok(id);
        }
        self.counts.new_blobs.fetch_add(1, Ordering::Relaxed);
        self.counts.new_bytes.fetch_add(plain.len() as u64, Ordering::Relaxed);
        if kind == BlobKind::Tree {
            lock(&self.unlisted)?.insert(id, plain.clone());
        }
        let blob = prepare(id, plain, self.options.level)?;
        let pack_bytes = pack_bytes(kind, self.repo.config.pack_bytes as usize);
        let full = {
            let mut packer = lock(&self.packers[packer_of(kind)])?;
            let builder = match &mut *packer {
                Some(builder) => builder,
                empty => empty.insert(PackBuilder::new(&self.repo.keys, kind, capacity(kind, pack_bytes))?),
            };
            builder.append(&blob)?;
            if builder.len() >= pack_bytes { packer.take() } else { None }
        };
        if let Some(builder) = full {
            self.send(builder)?;
        }
        Ok(id)
    }

    fn send(&self, builder: PackBuilder) -> Result<()> {
        let sender = lock(&self.full)?.clone();
        let pack = builder.finish()?;
        if sender.is_none_or(|s| s.blocking_send(pack).is_err()) {
            self.failed.store(true, Ordering::Relaxed);
            return Err(Error::new(crate::ErrorKind::Unavailable, "Writing to the destination failed before"));
        }
        Ok(())
    }

    /// Sends the packs in hand and closes the queue.
    fn close(&self) -> Result<()> {
        let mut result = Ok(());
        for packer in &self.packers {
            if let Some(builder) = lock(packer)?.take() {
                result = result.and(self.send(builder));
            }
        }
        lock(&self.full)?.take();
        result
    }
}

/// When a pack is full. Packs of trees are smaller: what they hold is kept in memory till they are listed.
fn pack_bytes(kind: BlobKind, wanted: usize) -> usize {
    if kind == BlobKind::Tree { wanted / 4 } else { wanted }
}

fn capacity(kind: BlobKind, pack_bytes: usize) -> usize {
    // Tree packs are mostly small; they grow if they must.
    if kind == BlobKind::Tree { 64 << 10 } else { pack_bytes + (pack_bytes >> 3) }
}

fn packer_of(kind: BlobKind) -> usize {
    match kind {
        BlobKind::Content => 0,
        BlobKind::Tree => 1,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> Result<std::sync::MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| Error::internal("A worker thread ended in the middle of its work"))
}

/// Compresses where it helps.
pub(super) fn prepare(id: BlobId, plain: &[u8], level: i32) -> Result<PreparedBlob> {
    let plain_bytes = u32::try_from(plain.len()).map_err(|_| Error::internal("A blob is larger than 4 GiB"))?;
    let body = COMPRESSOR.with_borrow_mut(|slot| -> std::io::Result<Vec<u8>> {
        if slot.as_ref().is_none_or(|(l, _)| *l != level) {
            *slot = Some((level, zstd::bulk::Compressor::new(level)?));
        }
        match slot {
            Some((_, compressor)) => compressor.compress(plain),
            None => Ok(plain.to_vec()),
        }
    });
    let body = body.map_err(|e| Error::internal("Compression failed").with_source(e))?;
    let body = if body.len() < plain.len() { body } else { plain.to_vec() };
    Ok(PreparedBlob { id, plain_bytes, body })
}

/// Takes full packs, stores them a few at a time, and lists them in index files.
async fn upload(inner: Arc<Inner>, mut queue: mpsc::Receiver<FinishedPack>) -> Result<()> {
    let mut running = JoinSet::new();
    let mut listed = Listing::default();
    let result = async {
        loop {
            let room = running.len() < inner.options.uploads.max(1);
            tokio::select! {
                pack = queue.recv(), if room => match pack {
                    Some(pack) => { running.spawn(store_pack(inner.clone(), pack)); }
                    None => break,
                },
                Some(done) = running.join_next() => listed.add(joined(done)?),
            }
            if listed.packs.len() >= PACKS_PER_INDEX || listed.blobs >= BLOBS_PER_INDEX {
                listed.write(&inner).await?;
            }
        }
        while let Some(done) = running.join_next().await {
            listed.add(joined(done)?);
        }
        listed.write(&inner).await
    }
    .await;
    if result.is_err() {
        inner.failed.store(true, Ordering::Relaxed);
        // What is already durable stays findable where that is still possible.
        while let Some(done) = running.join_next().await {
            if let Ok(pack) = joined(done) {
                listed.add(pack);
            }
        }
        drop(listed.write(&inner).await);
    }
    result
}

fn joined(done: std::result::Result<Result<FinishedPack>, tokio::task::JoinError>) -> Result<FinishedPack> {
    done.map_err(|e| Error::internal("An upload ended early").with_source(e))?
}

async fn store_pack(inner: Arc<Inner>, mut pack: FinishedPack) -> Result<FinishedPack> {
    let bytes = Bytes::from(std::mem::take(&mut pack.bytes));
    if let (BlobKind::Tree, Some(cache)) = (pack.pack.kind, inner.repo.cache.clone()) {
        let (id, copy): (PackId, Bytes) = (pack.pack.id, bytes.clone());
        run_blocking(move || cache.write_pack(&id, &copy)).await?;
    }
    inner.repo.storage.put(&pack_path(&pack.pack.id), vec![bytes]).await?;
    inner.counts.packs.fetch_add(1, Ordering::Relaxed);
    inner.counts.stored_bytes.fetch_add(pack.pack.size_bytes, Ordering::Relaxed);
    Ok(pack)
}

/// Durable packs that no index file names yet.
#[derive(Default)]
struct Listing {
    packs: Vec<FinishedPack>,
    blobs: usize,
}

impl Listing {
    fn add(&mut self, pack: FinishedPack) {
        self.blobs += pack.blobs.len();
        self.packs.push(pack);
    }

    async fn write(&mut self, inner: &Inner) -> Result<()> {
        if self.packs.is_empty() {
            return Ok(());
        }
        let file = index_of(&self.packs);
        let id = inner.repo.write_index_file(&file).await?;
        let trees: Vec<BlobId> = self
            .packs
            .iter()
            .filter(|p| p.pack.kind == BlobKind::Tree)
            .flat_map(|p| p.blobs.iter().map(|b| b.id))
            .collect();
        inner.repo.add_index_file(id, file);
        let mut unlisted = lock(&inner.unlisted)?;
        for tree in trees {
            unlisted.remove(&tree);
        }
        drop(unlisted);
        self.packs.clear();
        self.blobs = 0;
        Ok(())
    }
}

/// The index file of some packs.
pub(super) fn index_of(packs: &[FinishedPack]) -> IndexFile {
    let mut file = IndexFile::default();
    for (n, pack) in packs.iter().enumerate() {
        file.packs.push(pack.pack.clone());
        file.blobs.extend(pack.blobs.iter().map(|b| crate::format::index::IndexedBlob { pack: n as u32, ..*b }));
    }
    file.blobs.sort_by_key(|b| b.id);
    file
}
