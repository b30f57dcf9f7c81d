//! What the tests of the repository share: storages, small settings, made-up contents, and a stand-in for snapshots.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use tenantvault::crypto::{BlobKind, Passphrase};
use tenantvault::error::{Error, ErrorKind, Result};
use tenantvault::format::config::RepoConfig;
use tenantvault::format::id::{BlobId, SetId};
use tenantvault::format::record::ExtentList;
use tenantvault::monitor::Silent;
use tenantvault::repo::{
    ByteStream, Clock, DocumentKind, DocumentName, Finding, PruneOptions, PrunePlan, ReadData, Repository, Writer,
    WriterOptions,
};
use tenantvault::storage::{Storage, StorageOptions, open};

/// 2026-01-01, in microseconds since 1970 UTC.
pub const T0: i64 = 1_767_225_600_000_000;
pub const HOUR: i64 = 3_600_000_000;
pub const DAY: i64 = 24 * HOUR;
pub const SET: SetId = SetId([5; 32]);

/// What stands in for a snapshot: streams with the hash of their bytes, and tree blobs with theirs.
pub type Doc = (Vec<([u8; 32], ExtentList)>, Vec<([u8; 32], BlobId)>);

pub fn memory() -> Arc<dyn Storage> {
    open("memory:", &StorageOptions { retries: 0, ..StorageOptions::default() }).unwrap()
}

/// A passphrase of the generated kind: its key derivation is cheap.
pub fn pass() -> Passphrase {
    Passphrase::new("q7cX0V1mZ3kU5tR9wYbN2dG4hJ6sL8aPfEiOoCuTxQM=").unwrap()
}

/// Settings under which a few kilobytes make many blobs and packs.
pub fn tiny() -> RepoConfig {
    let mut config = RepoConfig::new(T0);
    (config.chunk_min_bytes, config.chunk_avg_bytes, config.chunk_max_bytes) = (512, 1024, 4096);
    (config.segment_bytes, config.pack_bytes, config.small_stream_bytes) = (4096, 16 << 10, 2048);
    config
}

pub async fn init_tiny() -> (Arc<dyn Storage>, Arc<Repository>) {
    let storage = memory();
    let repo = Repository::init_with(storage.clone(), &pass(), "test", tiny(), None).await.unwrap();
    (storage, repo)
}

pub async fn reopen(storage: &Arc<dyn Storage>) -> Arc<Repository> {
    Repository::open(storage.clone(), &pass(), None).await.unwrap()
}

pub async fn reopen_with(storage: &Arc<dyn Storage>, cache: &std::path::Path) -> Arc<Repository> {
    Repository::open(storage.clone(), &pass(), Some(PathBuf::from(cache))).await.unwrap()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Numbers that look random, the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        let hash = blake3::hash(&self.0.to_le_bytes());
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()) % below
    }
}

pub fn hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// A source that gives its bytes in reads of a given size.
pub fn source(bytes: Vec<u8>, read: usize) -> ByteStream {
    let parts: Vec<Result<Bytes>> = bytes.chunks(read.max(1)).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    futures::stream::iter(parts).boxed()
}

pub async fn read_all(repo: &Arc<Repository>, list: &ExtentList) -> Result<Vec<u8>> {
    repo.read_extents(list.clone())
        .try_fold(Vec::new(), |mut all, part| async move {
            all.extend_from_slice(&part);
            Ok(all)
        })
        .await
}

pub fn writer(repo: &Arc<Repository>) -> Writer {
    Writer::new(repo.clone(), WriterOptions::default())
}

/// Puts streams and tree blobs; what it gives holds when the writer has finished.
pub async fn put(writer: &Writer, streams: &[Vec<u8>], trees: &[Vec<u8>]) -> Result<Doc> {
    let mut doc = Doc::default();
    for bytes in streams {
        let (list, length) = writer.put_stream(BytesMut::new(), Some(source(bytes.clone(), 1500))).await?;
        assert_eq!(length, bytes.len() as u64);
        doc.0.push((hash(bytes), list));
    }
    for bytes in trees {
        doc.1.push((hash(bytes), writer.put_blob(BlobKind::Tree, bytes.clone().into()).await?));
    }
    Ok(doc)
}

/// Finishes as a backup does: everything durable, a look at what prune did, then the document.
pub async fn save(writer: &Writer, doc: &Doc) -> Result<DocumentName> {
    writer.finish().await?;
    let repo = writer.repository();
    if writer.has_lost_ground() {
        let mut used = HashSet::new();
        add_used(repo, doc, &mut used).await?;
        let index = repo.index();
        used.retain(|id| !index.has_live(id));
        repo.rescue(&used).await?;
    }
    repo.put_document(DocumentKind::Snapshot, Some(SET), doc).await
}

/// One whole run.
pub async fn back_up(repo: &Arc<Repository>, streams: &[Vec<u8>], trees: &[Vec<u8>]) -> Result<DocumentName> {
    // A repository that is open for long looks at what others did meanwhile.
    repo.reload_index().await?;
    let writer = writer(repo);
    let doc = match put(&writer, streams, trees).await {
        Ok(doc) => doc,
        Err(e) => return Err(writer.finish().await.err().unwrap_or(e)),
    };
    save(&writer, &doc).await
}

pub async fn add_used(repo: &Arc<Repository>, doc: &Doc, used: &mut HashSet<BlobId>) -> Result<()> {
    for (_, list) in &doc.0 {
        let (mut data, mut lists) = (Vec::new(), Vec::new());
        let mut visit = |e: tenantvault::format::record::Extent| {
            data.push(e.blob);
            Ok(())
        };
        repo.expand_extents(list, &mut visit, &mut |id| lists.push(id)).await?;
        used.extend(data);
        used.extend(lists);
    }
    used.extend(doc.1.iter().map(|(_, id)| *id));
    Ok(())
}

pub async fn documents(repo: &Arc<Repository>) -> Result<Vec<(DocumentName, Doc)>> {
    let mut all = Vec::new();
    for name in repo.list_documents(DocumentKind::Snapshot).await? {
        match repo.get_document::<Doc>(DocumentKind::Snapshot, &name).await {
            Ok(doc) => all.push((name, doc)),
            // Forgotten since it was listed, as `snapshot::store::list` takes it.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}

/// Reads all that a document names and compares it.
pub async fn verify_doc(repo: &Arc<Repository>, doc: &Doc) -> Result<()> {
    for (wanted, list) in &doc.0 {
        if hash(&read_all(repo, list).await?) != *wanted {
            return Err(Error::internal("a stream reads back other bytes"));
        }
    }
    for (wanted, id) in &doc.1 {
        if hash(&repo.read_blob(BlobKind::Tree, id).await?) != *wanted {
            return Err(Error::internal("a tree blob reads back other bytes"));
        }
    }
    Ok(())
}

/// Opens the repository anew and reads everything that every document names; gives how many documents there are.
pub async fn verify(storage: &Arc<dyn Storage>) -> usize {
    verify_in(&reopen(storage).await).await
}

pub async fn errors(repo: &Arc<Repository>) -> Vec<Finding> {
    let findings = repo.check_packs(ReadData::All, &Silent).await.unwrap();
    findings.into_iter().filter(|f| f.error).collect()
}

async fn verify_in(repo: &Arc<Repository>) -> usize {
    let all = documents(repo).await.unwrap();
    for (_, doc) in &all {
        verify_doc(repo, doc).await.unwrap();
    }
    all.len()
}

/// Everything reads, the packs are whole, and one more run works. Gives how many documents there were.
pub async fn is_sound(storage: &Arc<dyn Storage>) -> usize {
    let repo = reopen(storage).await;
    assert_eq!(errors(&repo).await, []);
    let count = verify_in(&repo).await;
    let salt = count as u64 + 1_000_000;
    back_up(&repo, &[noise(salt, 3000)], &[noise(salt + 1, 100)]).await.unwrap();
    assert_eq!(verify(storage).await, count + 1);
    count
}

pub fn options(now_us: i64, grace_us: i64) -> PruneOptions {
    PruneOptions { grace_us, max_unused_percent: 0.0, now_us, clock: Clock::still(now_us) }
}

/// As `ops::prune::plan`: what is missing may be what was forgotten meanwhile.
pub async fn plan(repo: &Arc<Repository>, options: &PruneOptions) -> Result<PrunePlan> {
    loop {
        let listed = repo.list_documents(DocumentKind::Snapshot).await?;
        let plan = plan_once(repo, options).await?;
        let there = repo.list_documents(DocumentKind::Snapshot).await?;
        if plan.missing.is_empty() || listed.iter().all(|name| there.contains(name)) {
            return Ok(plan);
        }
    }
}

async fn plan_once(repo: &Arc<Repository>, options: &PruneOptions) -> Result<PrunePlan> {
    let before = repo.stored_packs().await?.into_keys().collect();
    let mut used = HashSet::new();
    for (_, doc) in documents(repo).await? {
        add_used(repo, &doc, &mut used).await?;
    }
    PrunePlan::new(repo, &before, &used, options).await
}

pub async fn prune(repo: &Arc<Repository>, options: &PruneOptions) -> Result<PrunePlan> {
    let plan = plan(repo, options).await?;
    plan.execute(repo, &Silent).await?;
    Ok(plan)
}

pub async fn forget(repo: &Arc<Repository>, name: &DocumentName) {
    repo.delete_document(DocumentKind::Snapshot, name).await.unwrap();
}

/// A storage in memory with the same files.
pub async fn copy(from: &Arc<dyn Storage>) -> Arc<dyn Storage> {
    let to = memory();
    for entry in from.list("").await.unwrap() {
        to.put(&entry.path, vec![from.get(&entry.path, u64::MAX).await.unwrap()]).await.unwrap();
    }
    to
}

pub async fn files(storage: &Arc<dyn Storage>, folder: &str) -> Vec<String> {
    let mut names: Vec<String> = storage.list(folder).await.unwrap().into_iter().map(|e| e.path).collect();
    names.sort();
    names
}

pub async fn replace(storage: &Arc<dyn Storage>, path: &str, bytes: Vec<u8>) {
    storage.delete(path).await.unwrap();
    storage.put(path, vec![bytes.into()]).await.unwrap();
}

pub async fn bytes_of(storage: &Arc<dyn Storage>, path: &str) -> Vec<u8> {
    storage.get(path, u64::MAX).await.unwrap().to_vec()
}

pub fn kind_of<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(e) => e.kind(),
    }
}
