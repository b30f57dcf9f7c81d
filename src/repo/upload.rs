//! Full packs on their way to the storage, and the index files that list them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::crypto::BlobKind;
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::{BlobId, PackId};
use crate::format::index::IndexFile;
use crate::format::pack::FinishedPack;
use crate::repo::repository::{Repository, pack_path, run_blocking};

/// Packs listed before an index file is written in the middle of a run, so that what an interrupted run stored is found again.
const PACKS_PER_INDEX: usize = 64;
/// Blobs listed before an index file is written.
const BLOBS_PER_INDEX: usize = 65_536;
/// Plaintext of tree blobs listed before an index file is written: till then it is kept in memory. In bytes.
const TREE_BYTES_PER_INDEX: u64 = 24 << 20;
/// How long a stored pack may go unlisted: prune takes it for an orphan.
const LISTED_AFTER: Duration = Duration::from_secs(10 * 60);

#[derive(Default)]
pub(super) struct Counts {
    pub(super) new_blobs: AtomicU64,
    pub(super) known_blobs: AtomicU64,
    pub(super) known_chunks: AtomicU64,
    pub(super) new_bytes: AtomicU64,
    pub(super) stored_bytes: AtomicU64,
    pub(super) packs: AtomicU64,
}

/// What a writer and its uploader share.
pub(super) struct Uploads {
    repo: Arc<Repository>,
    at_once: usize,
    pub(super) counts: Counts,
    /// Tree blobs whose packs no index file lists yet: trees are read again while they grow.
    pub(super) unlisted: Mutex<HashMap<BlobId, Bytes>>,
    own: Mutex<Vec<PackId>>,
    /// The first failure: its kind, message and hint.
    failure: Mutex<Option<(ErrorKind, String, Option<String>)>>,
}

impl Uploads {
    pub(super) fn new(repo: Arc<Repository>, at_once: usize) -> Self {
        Self {
            repo,
            at_once: at_once.max(1),
            counts: Counts::default(),
            unlisted: Mutex::default(),
            own: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// Notes that the writer is broken. The first cause counts.
    pub(super) fn fail(&self, e: &Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| (e.kind(), e.chain(), e.hint().map(str::to_owned)));
    }

    /// Says what broke the writer.
    pub(super) fn failure(&self) -> Option<Error> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let (kind, text, hint) = failure.as_ref()?;
        let e = Error::new(*kind, format!("Writing to the repository failed: {text}"));
        Some(match hint {
            Some(hint) => e.with_hint(hint.clone()),
            None => e,
        })
    }

    /// The packs that were stored and listed.
    pub(super) fn own_packs(&self) -> Vec<PackId> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes full packs, stores them a few at a time, and lists them in index files.
pub(super) async fn upload(shared: Arc<Uploads>, mut queue: mpsc::Receiver<FinishedPack>) -> Result<()> {
    let mut running = JoinSet::new();
    let mut listing = Listing::new();
    let result = upload_all(&shared, &mut queue, &mut running, &mut listing).await;
    if let Err(e) = &result {
        shared.fail(e);
        // Whoever waits to send a pack hears of it now.
        drop(queue);
        // What is already durable stays findable where that is still possible.
        while let Some(done) = running.join_next().await {
            if let Ok(pack) = joined(done) {
                listing.add(pack);
            }
        }
        drop(listing.write(&shared).await);
    }
    result
}

type Running = JoinSet<Result<FinishedPack>>;

async fn upload_all(
    shared: &Arc<Uploads>,
    queue: &mut mpsc::Receiver<FinishedPack>,
    running: &mut Running,
    listing: &mut Listing,
) -> Result<()> {
    loop {
        let room = running.len() < shared.at_once;
        tokio::select! {
            pack = queue.recv(), if room => match pack {
                Some(pack) => drop(running.spawn(store_pack(shared.clone(), pack))),
                None => break,
            },
            Some(done) = running.join_next() => listing.add(joined(done)?),
            () = tokio::time::sleep_until(listing.due), if !listing.packs.is_empty() => {}
        }
        if listing.is_due() {
            listing.write(shared).await?;
        }
    }
    while let Some(done) = running.join_next().await {
        listing.add(joined(done)?);
    }
    listing.write(shared).await
}

fn joined(done: std::result::Result<Result<FinishedPack>, JoinError>) -> Result<FinishedPack> {
    done.map_err(|e| Error::internal("An upload ended early").with_source(e))?
}

async fn store_pack(shared: Arc<Uploads>, mut pack: FinishedPack) -> Result<FinishedPack> {
    let bytes = Bytes::from(std::mem::take(&mut pack.bytes));
    if let (BlobKind::Tree, Some(cache)) = (pack.pack.kind, shared.repo.cache.clone()) {
        let (id, copy): (PackId, Bytes) = (pack.pack.id, bytes.clone());
        run_blocking(move || cache.write_pack(&id, &copy)).await?;
    }
    shared.repo.storage.put(&pack_path(&pack.pack.id), vec![bytes]).await?;
    shared.counts.packs.fetch_add(1, Ordering::Relaxed);
    shared.counts.stored_bytes.fetch_add(pack.pack.size_bytes, Ordering::Relaxed);
    Ok(pack)
}

/// Durable packs that no index file names yet.
struct Listing {
    packs: Vec<FinishedPack>,
    blobs: usize,
    tree_bytes: u64,
    /// When the packs are to be listed, however few they are.
    due: Instant,
}

impl Listing {
    fn new() -> Self {
        Self { packs: Vec::new(), blobs: 0, tree_bytes: 0, due: Instant::now() + LISTED_AFTER }
    }

    fn add(&mut self, pack: FinishedPack) {
        if self.packs.is_empty() {
            self.due = Instant::now() + LISTED_AFTER;
        }
        self.blobs += pack.blobs.len();
        if pack.pack.kind == BlobKind::Tree {
            self.tree_bytes += pack.blobs.iter().map(|b| u64::from(b.plain_bytes)).sum::<u64>();
        }
        self.packs.push(pack);
    }

    fn is_due(&self) -> bool {
        self.packs.len() >= PACKS_PER_INDEX
            || self.blobs >= BLOBS_PER_INDEX
            || self.tree_bytes >= TREE_BYTES_PER_INDEX
            || (!self.packs.is_empty() && Instant::now() >= self.due)
    }

    async fn write(&mut self, shared: &Uploads) -> Result<()> {
        if self.packs.is_empty() {
            return Ok(());
        }
        let file = index_of(&self.packs);
        let id = shared.repo.write_index_file(&file).await?;
        shared.own.lock().unwrap_or_else(PoisonError::into_inner).extend(file.packs.iter().map(|p| p.id));
        // Listed before they leave: a reader finds them in one of both places.
        shared.repo.add_index_file(id, file).await?;
        let listed = std::mem::replace(self, Self::new());
        let mut unlisted = shared.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
        for blob in listed.packs.iter().filter(|p| p.pack.kind == BlobKind::Tree).flat_map(|p| &p.blobs) {
            unlisted.remove(&blob.id);
        }
        Ok(())
    }
}

/// The index file of some packs.
pub(super) fn index_of(packs: &[FinishedPack]) -> IndexFile {
    let chunks = packs.iter().flat_map(|p| p.chunks.iter().copied()).collect();
    IndexFile::of(packs.iter().map(|p| (p.pack.clone(), p.blobs.clone())), chunks)
}
