//! The road of new blobs: id -> known? -> compress -> encrypt -> pack -> upload -> index.
//!
//! Stages overlap and are bounded: CPU work runs on blocking threads behind a semaphore as wide as the machine;
//! bytes on their way are paid from a budget; full packs wait in a short queue for the uploader. Packs are
//! durable before an index file names them; [`Writer::finish`] returns when all of it is.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::crypto::BlobKind;
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::{BlobId, ChunkId};
use crate::format::index::ChunkPlace;
use crate::format::pack::{FinishedPack, PackBuilder};
use crate::repo::chunker::Chunker;
use crate::repo::compress::Compressors;
use crate::repo::index::Index;
use crate::repo::repository::{Repository, run_blocking};
use crate::repo::segment::Segments;
use crate::repo::upload::{Uploads, upload};

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
    /// Chunks remembered within a run. When there are more, those in stored segments are forgotten, and looked for in the
    /// index files that the run has written.
    pub remembered_chunks: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { level: 3, workers: 0, uploads: 2, budget_bytes: 32 << 20, remembered_chunks: 1 << 18 }
    }
}

/// What a writer has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Blobs that were new.
    pub new_blobs: u64,
    /// Blobs that the repository had already.
    pub known_blobs: u64,
    /// Chunks that the repository had already.
    pub known_chunks: u64,
    /// Bytes of plaintext in new blobs.
    pub new_bytes: u64,
    /// Bytes of packs written.
    pub stored_bytes: u64,
    /// Packs written.
    pub packs: u64,
}

pub(super) struct Inner {
    pub(super) repo: Arc<Repository>,
    pub(super) chunker: Arc<Chunker>,
    pub(super) segments: Segments,
    options: WriterOptions,
    pub(super) known: Arc<Index>,
    /// Blobs that this run stores.
    new: Mutex<HashSet<BlobId>>,
    packers: [Mutex<Option<PackBuilder>>; 2],
    /// Full packs go here. None: the writer is finished. Whoever stores a blob holds it for reading all the while, so
    /// that `close` comes after every blob that was begun. The uploader has no hold on it: when the last writer is
    /// dropped, the queue ends and with it the uploader.
    queue: RwLock<Option<mpsc::Sender<FinishedPack>>>,
    cpu: Semaphore,
    compressors: Compressors,
    budget: Arc<Semaphore>,
    pub(super) uploads: Arc<Uploads>,
    uploader: tokio::sync::Mutex<Option<JoinHandle<Result<()>>>>,
}

/// Adds blobs to a repository. Cheap to clone; all clones are one writer. Dropped without [`Writer::finish`], it lists
/// the packs that are full and loses what is in hand.
#[derive(Clone)]
pub struct Writer {
    pub(super) inner: Arc<Inner>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({:?})", self.inner.repo)
    }
}

impl Writer {
    /// Starts a writer over the index as it is loaded now. Where an index file is damaged it refuses every blob, for it
    /// cannot know what may be built upon.
    pub fn new(repo: Arc<Repository>, options: WriterOptions) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let workers = if options.workers == 0 { cores } else { options.workers };
        let (full, queue) = mpsc::channel(1);
        let uploads = Arc::new(Uploads::new(repo.clone(), options.uploads));
        if let Err(e) = repo.whole_index() {
            uploads.fail(&e);
        }
        let uploader = tokio::spawn(upload(uploads.clone(), queue));
        let inner = Arc::new(Inner {
            chunker: Arc::new(Chunker::new(&repo.config)),
            segments: Segments::new(options.remembered_chunks),
            known: repo.index(),
            new: Mutex::new(HashSet::new()),
            packers: [Mutex::new(None), Mutex::new(None)],
            queue: RwLock::new(Some(full)),
            cpu: Semaphore::new(workers),
            compressors: Compressors::new(options.level),
            budget: Arc::new(Semaphore::new(permits_of(options.budget_bytes))),
            uploads,
            uploader: tokio::sync::Mutex::new(Some(uploader)),
            options,
            repo,
        });
        Self { inner }
    }

    /// The repository that is written to.
    pub fn repository(&self) -> &Arc<Repository> {
        &self.inner.repo
    }

    /// What was done so far.
    pub fn stats(&self) -> WriterStats {
        let c = &self.inner.uploads.counts;
        WriterStats {
            new_blobs: c.new_blobs.load(Ordering::Relaxed),
            known_blobs: c.known_blobs.load(Ordering::Relaxed),
            known_chunks: c.known_chunks.load(Ordering::Relaxed),
            new_bytes: c.new_bytes.load(Ordering::Relaxed),
            stored_bytes: c.stored_bytes.load(Ordering::Relaxed),
            packs: c.packs.load(Ordering::Relaxed),
        }
    }

    /// Stores a blob unless the repository has it, and says its id. That it returns does not mean that the blob is
    /// durable: [`Self::finish`] does.
    ///
    /// # Errors
    /// The storage's, when an upload has failed; `Internal` after [`Self::finish`].
    pub async fn put_blob(&self, kind: BlobKind, plain: Bytes) -> Result<BlobId> {
        let paid = self.pay(plain.len()).await?;
        self.put_paid(kind, plain, paid).await
    }

    /// As [`Self::put_blob`], for bytes that were paid for with [`Self::pay`].
    pub(super) async fn put_paid(&self, kind: BlobKind, plain: Bytes, paid: OwnedSemaphorePermit) -> Result<BlobId> {
        self.store(kind, plain, paid, Vec::new()).await
    }

    /// Stores a segment, and notes the chunks that an index file is to list: id, offset, length.
    pub(super) async fn put_segment(
        &self,
        plain: Bytes,
        paid: OwnedSemaphorePermit,
        chunks: Vec<(ChunkId, u32, u32)>,
    ) -> Result<BlobId> {
        self.store(BlobKind::Content, plain, paid, chunks).await
    }

    async fn store(
        &self,
        kind: BlobKind,
        plain: Bytes,
        paid: OwnedSemaphorePermit,
        chunks: Vec<(ChunkId, u32, u32)>,
    ) -> Result<BlobId> {
        self.check_alive()?;
        let worker = self.inner.cpu.acquire().await.map_err(closed)?;
        let inner = self.inner.clone();
        let id = run_blocking(move || inner.store(kind, &plain, &chunks)).await?;
        drop((worker, paid));
        id
    }

    /// Waits till `bytes` more may be on their way.
    pub(super) async fn pay(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        self.check_alive()?;
        self.inner.budget.clone().acquire_many_owned(self.amount(bytes)).await.map_err(closed)
    }

    /// As [`Self::pay`], if there is no need to wait.
    pub(super) fn pay_at_once(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.inner.budget.clone().try_acquire_many_owned(self.amount(bytes)).ok()
    }

    fn amount(&self, bytes: usize) -> u32 {
        let amount = permits_of(bytes).min(permits_of(self.inner.options.budget_bytes));
        u32::try_from(amount).unwrap_or(u32::MAX)
    }

    /// Finds a chunk in a segment that this run has stored and listed. Not one of other runs: a prune may take their packs
    /// without [`Self::has_lost_ground`] seeing it.
    pub(super) fn find_own_chunk(&self, id: &ChunkId) -> Option<ChunkPlace> {
        let place = self.inner.repo.index().find_chunk(id)?;
        lock(&self.inner.new).ok()?.contains(&place.segment).then_some(place)
    }

    /// Says whether writing to the destination has failed.
    pub fn is_broken(&self) -> bool {
        self.inner.uploads.failure().is_some()
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        self.inner.uploads.failure().map_or(Ok(()), Err)
    }

    /// Reads a tree blob, also one that is still on its way.
    ///
    /// # Errors
    /// As [`Repository::read_blob`].
    pub async fn read_tree(&self, id: &BlobId) -> Result<Bytes> {
        let on_its_way = lock(&self.inner.uploads.unlisted)?.get(id).cloned();
        match on_its_way {
            Some(bytes) => Ok(bytes),
            None => self.inner.repo.read_blob(BlobKind::Tree, id).await,
        }
    }

    /// Stores what is still in hand, and the index; returns when all of it is durable. Called again, it says the same.
    ///
    /// # Errors
    /// The first error of any upload.
    pub async fn finish(&self) -> Result<WriterStats> {
        let mut uploader = self.inner.uploader.lock().await;
        let inner = self.inner.clone();
        let rest = run_blocking(move || inner.close()).await?;
        if let Some(running) = uploader.as_mut() {
            let ended = running.await;
            *uploader = None;
            ended.map_err(|e| {
                let e = Error::internal("The uploader ended early").with_source(e);
                self.inner.uploads.fail(&e);
                e
            })??;
        }
        rest?;
        self.check_alive()?;
        self.inner.repo.reload_index().await?;
        Ok(self.stats())
    }

    /// Says, after [`Self::finish`], whether a prune took away or marked a pack that this run may have built upon: one
    /// that the index listed when the writer began, or one of its own. Blobs that a snapshot names must then be looked
    /// at one by one, and rescued ([`Repository::rescue`]).
    pub fn has_lost_ground(&self) -> bool {
        let index = self.inner.repo.index();
        let own = self.inner.uploads.own_packs().into_iter();
        let lost = own.chain(self.inner.known.pack_ids()).any(|id| !index.has_live_pack(&id));
        lost || self.inner.known.intact().is_err()
    }
}

fn permits_of(bytes: usize) -> usize {
    (bytes >> 10).clamp(1, Semaphore::MAX_PERMITS)
}

fn closed<E: std::error::Error + Send + Sync + 'static>(e: E) -> Error {
    Error::internal("The writer is closed").with_source(e)
}

impl Inner {
    /// CPU work for one blob: id, look-up, compression, encryption. Runs on a blocking thread.
    fn store(&self, kind: BlobKind, plain: &Bytes, chunks: &[(ChunkId, u32, u32)]) -> Result<BlobId> {
        let queue = self.queue.read().map_err(poisoned)?;
        let Some(queue) = &*queue else {
            return Err(Error::internal("The writer is finished: it takes no more blobs"));
        };
        let id = BlobId(self.repo.keys.blob_id(kind, plain));
        let counts = &self.uploads.counts;
        if self.known.has_live(&id) || !lock(&self.new)?.insert(id) {
            counts.known_blobs.fetch_add(1, Ordering::Relaxed);
            return Ok(id);
        }
        // From here on others take the blob for stored: if it does not come to that, all must fail.
        let promise = Promise(Some(&self.uploads));
        counts.new_blobs.fetch_add(1, Ordering::Relaxed);
        counts.new_bytes.fetch_add(plain.len() as u64, Ordering::Relaxed);
        let chunks =
            chunks.iter().map(|&(chunk, offset, length)| ChunkPlace { id: chunk, segment: id, offset, length });
        let stored = self.append(kind, id, plain, chunks, queue);
        if stored.is_ok() {
            promise.keep();
        } else {
            promise.break_with(&stored);
        }
        stored.map(|()| id)
    }

    fn append(
        &self,
        kind: BlobKind,
        id: BlobId,
        plain: &Bytes,
        chunks: impl Iterator<Item = ChunkPlace>,
        queue: &mpsc::Sender<FinishedPack>,
    ) -> Result<()> {
        if kind == BlobKind::Tree {
            lock(&self.uploads.unlisted)?.insert(id, plain.clone());
        }
        let blob = self.compressors.prepare(id, plain)?;
        let pack_bytes = pack_bytes(kind, self.repo.config.pack_bytes as usize);
        let full = {
            let mut packer = lock(&self.packers[packer_of(kind)])?;
            let builder = match &mut *packer {
                Some(builder) => builder,
                empty => empty.insert(PackBuilder::new(&self.repo.keys, kind, capacity(kind, pack_bytes))?),
            };
            builder.append(&blob)?;
            builder.note_chunks(chunks);
            if builder.len() >= pack_bytes { packer.take() } else { None }
        };
        full.map_or(Ok(()), |builder| self.send(queue, builder))
    }

    fn send(&self, queue: &mpsc::Sender<FinishedPack>, builder: PackBuilder) -> Result<()> {
        queue.blocking_send(builder.finish()?).map_err(|_| {
            let unheard = || Error::new(ErrorKind::Unavailable, "Writing to the destination ended early");
            self.uploads.failure().unwrap_or_else(unheard)
        })
    }

    /// Sends the packs in hand and closes the queue.
    fn close(&self) -> Result<()> {
        let Some(queue) = self.queue.write().map_err(poisoned)?.take() else { return Ok(()) };
        let mut result = Ok(());
        for packer in &self.packers {
            if let Some(builder) = lock(packer)?.take() {
                result = result.and(self.send(&queue, builder));
            }
        }
        result.inspect_err(|e| self.uploads.fail(e))
    }
}

/// Fails the writer unless it is kept, also when a thread ends early.
struct Promise<'a>(Option<&'a Uploads>);

impl Promise<'_> {
    fn keep(mut self) {
        self.0 = None;
    }

    fn break_with<T>(mut self, result: &Result<T>) {
        if let (Some(uploads), Err(e)) = (self.0.take(), result) {
            uploads.fail(e);
        }
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        if let Some(uploads) = self.0 {
            uploads.fail(&Error::internal("A worker thread ended in the middle of its work"));
        }
    }
}

fn poisoned<E>(_: E) -> Error {
    Error::internal("A worker thread ended in the middle of its work")
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
    mutex.lock().map_err(poisoned)
}
