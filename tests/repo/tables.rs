//! Many index files: the cache merges them, prune rewrites them, and opening asks for few.

use std::sync::Arc;

use tenantvault::storage::Storage;
use tenantvault::storage::fault::{Call, FaultPlan, FaultStorage, Which};

use crate::support::*;

fn tables(cache: &std::path::Path) -> usize {
    let repo = std::fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();
    std::fs::read_dir(repo.join("index")).unwrap().count()
}

#[tokio::test]
async fn many_index_files_become_few_tables_and_are_not_read_again() {
    let (storage, _) = init_tiny().await;
    let cache = tempfile::tempdir().unwrap();
    let counting = Arc::new(FaultStorage::new(storage.clone(), FaultPlan::new()));
    let counted: Arc<dyn Storage> = counting.clone();
    let repo = reopen_with(&counted, cache.path()).await;
    for n in 0..30u64 {
        back_up(&repo, &[noise(n, 2000)], &[noise(n + 50, 100)]).await.unwrap();
    }
    assert_eq!(files(&storage, "index").await.len(), 30);
    assert!(tables(cache.path()) <= 9, "{}", tables(cache.path()));
    let read = |c: &FaultStorage| c.recorder().count(&Which::Under(Call::Get, "index"));
    assert_eq!(read(&counting), 0, "what this process wrote it does not read");
    for wanted in [0, 0] {
        counting.recorder().clear();
        let repo = reopen_with(&counted, cache.path()).await;
        assert_eq!(read(&counting), wanted);
        assert_eq!(repo.index().files().count(), 30);
        for (_, doc) in documents(&repo).await.unwrap() {
            verify_doc(&repo, &doc).await.unwrap();
        }
    }
    // Without a cache, a reload reads what is new and nothing else.
    let repo = reopen(&counted).await;
    back_up(&reopen(&storage).await, &[noise(99, 2000)], &[]).await.unwrap();
    counting.recorder().clear();
    repo.reload_index().await.unwrap();
    assert_eq!(read(&counting), 1);
    // Prune rewrites them although nothing else is to be done.
    let repo = reopen_with(&counted, cache.path()).await;
    prune(&repo, &options(T0, DAY)).await.unwrap();
    prune(&repo, &options(T0 + DAY, DAY)).await.unwrap();
    assert_eq!(files(&storage, "index").await.len(), 1);
    assert_eq!(repo.index().files().count(), 1);
    assert!(tables(cache.path()) <= 2);
    assert_eq!(is_sound(&storage).await, 31);
}

#[tokio::test]
async fn a_merged_table_whose_parts_are_replaced_is_taken_apart() {
    let (storage, _) = init_tiny().await;
    let cache = tempfile::tempdir().unwrap();
    let cached = reopen_with(&storage, cache.path()).await;
    let mut names = Vec::new();
    for n in 0..12u64 {
        names.push(back_up(&cached, &[noise(n, 20_000)], &[noise(n + 50, 100)]).await.unwrap());
    }
    let old = files(&storage, "index").await;
    let copies: Vec<Vec<u8>> = futures::future::join_all(old.iter().map(|p| bytes_of(&storage, p))).await;
    // Another process prunes without grace and dies before it has deleted the index files it replaced; meanwhile one more is written.
    let other = reopen(&storage).await;
    forget(&other, &names[0]).await;
    prune(&other, &options(T0, 0)).await.unwrap();
    for (path, bytes) in old.iter().zip(copies) {
        storage.put(path, vec![bytes.into()]).await.ok();
    }
    back_up(&reopen(&storage).await, &[noise(99, 2000)], &[]).await.unwrap();
    for repo in [cached, reopen_with(&storage, cache.path()).await, reopen(&storage).await] {
        repo.reload_index().await.unwrap();
        assert_eq!(errors(&repo).await, []);
        for (_, doc) in documents(&repo).await.unwrap() {
            verify_doc(&repo, &doc).await.unwrap();
        }
    }
    assert_eq!(is_sound(&storage).await, 12);
}

#[tokio::test]
async fn a_run_without_news_costs_a_handful_of_calls() {
    let (storage, repo) = init_tiny().await;
    // Each a chunk that an index file lists: shorter ends of streams may be stored again, wherever the key cuts them.
    let streams: Vec<Vec<u8>> = (10..40).map(|seed| noise(seed, 500)).collect();
    back_up(&repo, &streams, &[noise(2, 100)]).await.unwrap();
    let counting = Arc::new(FaultStorage::new(storage.clone(), FaultPlan::new()));
    let repo = reopen(&(counting.clone() as Arc<dyn Storage>)).await;
    let opened = counting.recorder().calls().len();
    assert!(opened <= 6, "{:?}", counting.recorder().calls());
    counting.recorder().clear();
    back_up(&repo, &streams, &[noise(2, 100)]).await.unwrap();
    let calls = counting.recorder().calls();
    assert!(calls.len() <= 3, "two listings of the index, one document: {calls:?}");
}
