//! Many writers, a reader and a prune over one storage at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tenantvault::error::ErrorKind;
use tenantvault::repo::{DocumentKind, Repository};
use tenantvault::storage::Storage;
use tenantvault::storage::fault::{Call, Fault, FaultPlan, FaultStorage, Which};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_writer_is_fed_by_many_tasks() {
    let (storage, repo) = init_tiny().await;
    let writer = writer(&repo);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16u64 {
        let writer = writer.clone();
        // Each content comes from two tasks.
        tasks.spawn(async move { put(&writer, &[noise(n / 2, 30_000)], &[noise(n / 2 + 50, 5000)]).await.unwrap() });
    }
    let docs = tasks.join_all().await;
    writer.finish().await.unwrap();
    for doc in &docs {
        repo.put_document(DocumentKind::Snapshot, Some(SET), doc).await.unwrap();
    }
    let total: u64 = storage.list("packs").await.unwrap().iter().map(|e| e.size_bytes).sum();
    // Two tasks that come to one chunk at the same instant may both lay it down: a few do, not all.
    assert!(total < 8 * 36_000 * 3 / 2, "equal contents are stored once: {total}");
    assert_eq!(is_sound(&storage).await, 16);
}

async fn write(storage: Arc<dyn Storage>, seed: u64, same_process: Option<Arc<Repository>>) -> u64 {
    let mut saved = 0;
    for round in 0..4u64 {
        let repo = match &same_process {
            Some(repo) => repo.clone(),
            None => reopen(&storage).await,
        };
        let streams = [noise(1000 + round, 12_000), noise(seed * 100 + round, 6000), noise(7, 9000)];
        back_up(&repo, &streams, &[noise(seed * 200 + round, 1500), noise(8, 300)]).await.unwrap();
        saved += 1;
    }
    saved
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_a_reader_and_a_prune_live_side_by_side() {
    let (storage, shared) = init_tiny().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..4u64 {
        let same = (n < 2).then(|| shared.clone());
        writers.spawn(write(storage.clone(), n, same));
    }
    let (inner, stop) = (storage.clone(), done.clone());
    // Time stands still: marks are set and lifted, packs are merged, nothing becomes due.
    let pruner = tokio::spawn(async move {
        let mut prunes = 0;
        while !stop.load(Ordering::Relaxed) || prunes < 3 {
            prune(&reopen(&inner).await, &options(T0, DAY)).await.unwrap();
            prunes += 1;
        }
    });
    let (inner, stop) = (storage.clone(), done.clone());
    let reader = tokio::spawn(async move {
        let repo = reopen(&inner).await;
        while !stop.load(Ordering::Relaxed) {
            for (_, doc) in documents(&repo).await.unwrap() {
                verify_doc(&repo, &doc).await.unwrap();
            }
        }
    });
    let saved: u64 = writers.join_all().await.into_iter().sum();
    done.store(true, Ordering::Relaxed);
    pruner.await.unwrap();
    reader.await.unwrap();
    assert_eq!(verify(&storage).await as u64, saved);
    // Then time passes.
    let repo = reopen(&storage).await;
    for n in 1..4 {
        prune(&repo, &options(T0 + n * 2 * DAY, DAY)).await.unwrap();
        assert_eq!(verify(&storage).await as u64, saved);
    }
    assert_eq!(is_sound(&storage).await as u64, saved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_is_shared_by_many_at_once() {
    let (storage, repo) = init_tiny().await;
    for n in 0..6u64 {
        back_up(&repo, &[noise(n, 3000)], &[noise(n + 10, 9000)]).await.unwrap();
    }
    let cache = tempfile::tempdir().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..6u64 {
        let (storage, cache) = (storage.clone(), cache.path().to_path_buf());
        tasks.spawn(async move {
            let repo = reopen_with(&storage, &cache).await;
            back_up(&repo, &[noise(n + 30, 3000)], &[noise(n + 40, 9000)]).await.unwrap();
            for (_, doc) in documents(&repo).await.unwrap() {
                verify_doc(&repo, &doc).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(verify(&storage).await, 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_inits_at_once_one_wins_and_opens() {
    for _ in 0..5 {
        let storage = memory();
        let init = async || Repository::init_with(storage.clone(), &pass(), "x", tiny(), None).await;
        let (a, b) = (init(), init());
        let (a, b) = tokio::join!(a, b);
        assert!(a.is_ok() != b.is_ok());
        let winner = if let Ok(repo) = &a { repo } else { b.as_ref().unwrap() };
        let lost = a.as_ref().err().or(b.as_ref().err()).unwrap();
        assert_eq!(lost.kind(), ErrorKind::AlreadyExists);
        assert_eq!(reopen(&storage).await.config().id, winner.config().id);
    }
}

/// A reader asks ahead and is then busy elsewhere: the blob it asked for held its gate, and whoever wanted that blob, or
/// another behind the same gate, waited for ever. Export did so: files half read, while it listed the next folder.
#[tokio::test]
async fn a_reader_that_looks_away_holds_up_nobody() {
    let (storage, repo) = init_tiny().await;
    let writer = writer(&repo);
    let doc = put(&writer, &[noise(1, 2000)], &[]).await.unwrap();
    writer.finish().await.unwrap();
    let slow = FaultPlan::new().every(Which::Kind(Call::GetRange), Fault::Delay(Duration::from_millis(5)));
    let repo = reopen(&(Arc::new(FaultStorage::new(storage, slow)) as Arc<dyn Storage>)).await;
    let list = &doc.0[0].1;
    let mut idle = repo.read_extents(list.clone());
    assert!(futures::poll!(idle.next()).is_pending());
    tokio::select! {
        bytes = read_all(&repo, list) => assert_eq!(bytes.unwrap(), noise(1, 2000)),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("a reader waits for one that is not polled"),
    }
    drop(idle);
}
