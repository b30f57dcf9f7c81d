//! Prunes that overlap: what one does upon an old view of the index harms nobody. `prune_model` goes through all orders.

use std::sync::Arc;

use tenantvault::error::ErrorKind;
use tenantvault::format::header::{FileKind, seal_document};
use tenantvault::format::id::{IndexId, PackId};
use tenantvault::format::index::{IndexFile, Mark};
use tenantvault::monitor::Silent;
use tenantvault::repo::{ReadData, Repository};
use tenantvault::storage::Storage;

use crate::between::Between;
use crate::support::*;

/// Stores the index files of one storage that another lacks.
async fn bring_index(from: &Arc<dyn Storage>, to: &Arc<dyn Storage>) -> usize {
    let there = files(to, "index").await;
    let mut new = files(from, "index").await;
    new.retain(|path| !there.contains(path));
    for path in &new {
        to.put(path, vec![from.get(path, u64::MAX).await.unwrap()]).await.unwrap();
    }
    new.len()
}

/// So it was lost: the index file of a prune that tarried before it wrote listed packs again that two other prunes had
/// marked and deleted meanwhile, and the next backup built upon them.
#[tokio::test]
async fn a_prune_that_tarried_lists_what_is_gone_and_nobody_builds_upon_it() {
    let (storage, repo) = init_tiny().await;
    let first = back_up(&repo, &[noise(8, 20_000)], &[noise(9, 100)]).await.unwrap();
    let second = back_up(&repo, &[noise(1, 20_000)], &[noise(2, 100)]).await.unwrap();
    forget(&repo, &first).await;
    prune(&repo, &options(T0, DAY)).await.unwrap();
    // It deletes the first's packs, so that it writes the index anew: with the second's, for nobody has marked them.
    let elsewhere = copy(&storage).await;
    let tarries = prune(&reopen(&elsewhere).await, &options(T0 + DAY, DAY)).await.unwrap();
    assert!(!tarries.delete.is_empty() && tarries.mark.is_empty());
    forget(&repo, &second).await;
    assert!(!prune(&repo, &options(T0 + DAY, DAY)).await.unwrap().mark.is_empty());
    assert!(!prune(&repo, &options(T0 + 2 * DAY, DAY)).await.unwrap().delete.is_empty());
    assert_eq!(files(&storage, "packs").await, Vec::<String>::new());
    assert_eq!(bring_index(&elsewhere, &storage).await, 1);

    let repo = reopen(&storage).await;
    assert!(repo.index().packs().count() > 0, "it lists what is gone");
    assert_eq!(errors(&repo).await, [], "and that is no damage");
    let writer = writer(&repo);
    let doc = put(&writer, &[noise(1, 20_000)], &[noise(2, 100)]).await.unwrap();
    assert_eq!(writer.stats().known_blobs, 0);
    save(&writer, &doc).await.unwrap();
    assert_eq!(is_sound(&storage).await, 1);
    prune(&reopen(&storage).await, &options(T0 + 3 * DAY, DAY)).await.unwrap();
    let repo = reopen(&storage).await;
    let stored = repo.stored_packs().await.unwrap();
    assert!(repo.index().packs().all(|p| stored.contains_key(&p.id)), "the next prune lets go of it");
    assert_eq!(is_sound(&storage).await, 2);
}

async fn mark(storage: &Arc<dyn Storage>, repo: &Repository, pack: PackId, marked_us: i64) {
    let file = IndexFile { marks: vec![Mark { pack, marked_us }], ..IndexFile::default() };
    let bytes = seal_document(repo.keys(), FileKind::Index, &file);
    let id = IndexId(*blake3::hash(&bytes).as_bytes());
    storage.put(&format!("index/{id}"), vec![bytes.into()]).await.unwrap();
}

#[tokio::test]
async fn a_prune_deletes_nothing_where_another_marked_what_it_relies_upon() {
    let (storage, repo) = init_tiny().await;
    let other = reopen(&storage).await;
    // Two writers who do not know of each other store the same.
    let (a, b) = (writer(&repo), writer(&other));
    let doc = put(&a, &[noise(1, 3000)], &[]).await.unwrap();
    put(&b, &[noise(1, 3000)], &[]).await.unwrap();
    save(&a, &doc).await.unwrap();
    b.finish().await.unwrap();
    let plan = plan(&repo, &options(T0, 0)).await.unwrap();
    let packs: Vec<PackId> = repo.stored_packs().await.unwrap().into_keys().collect();
    assert_eq!((packs.len(), plan.delete.len()), (2, 1));
    let home = packs.iter().find(|id| !plan.delete.contains(id)).unwrap();
    mark(&storage, &repo, *home, T0).await;
    let stay = plan.execute(&repo, &Silent).await.unwrap();
    assert_eq!(stay, plan.delete);
    assert_eq!(repo.stored_packs().await.unwrap().len(), 2);
    // Both are marked: what is used moves to a third.
    prune(&reopen(&storage).await, &options(T0, 0)).await.unwrap();
    let left = repo.stored_packs().await.unwrap();
    assert!(left.len() == 1 && !packs.iter().any(|id| left.contains_key(id)));
    assert_eq!(is_sound(&storage).await, 1);
}

#[tokio::test]
async fn a_prune_whose_packs_another_took_says_so_and_the_next_one_works() {
    let (storage, repo) = init_tiny().await;
    for n in 0..12u64 {
        back_up(&repo, &[noise(n, 300)], &[]).await.unwrap();
    }
    let late = plan(&repo, &options(T0, 0)).await.unwrap();
    assert!(!late.repack.is_empty());
    prune(&reopen(&storage).await, &options(T0, 0)).await.unwrap();
    let before = files(&storage, "").await;
    let e = late.execute(&repo, &Silent).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Unavailable && e.to_string().contains("went away"), "{e:?}");
    assert!(e.hint().is_some_and(|hint| hint.contains("run prune again")), "{e:?}");
    assert_eq!(files(&storage, "").await, before);
    prune(&repo, &options(T0, 0)).await.unwrap();
    assert_eq!(is_sound(&storage).await, 12);
}

async fn many_small_packs() -> Arc<dyn Storage> {
    let (storage, repo) = init_tiny().await;
    for n in 0..12u64 {
        back_up(&repo, &[noise(n, 300)], &[]).await.unwrap();
    }
    storage
}

/// Another prune, that moves every blob and deletes the packs where they were.
async fn move_all(storage: Arc<dyn Storage>) {
    let plan = prune(&reopen(&storage).await, &options(T0, 0)).await.unwrap();
    assert_eq!((plan.repack.len(), plan.delete.len()), (12, 12));
}

#[tokio::test]
async fn what_another_prune_moves_while_this_one_looks_is_not_missing() {
    let storage = many_small_packs().await;
    // The first listing of packs is before the snapshots, the second after the index was loaded.
    for (nth, folder) in [(1, "packs"), (1, "snapshots"), (1, "index"), (2, "index"), (2, "packs")] {
        let copied = copy(&storage).await;
        let between = copied.clone();
        let between = Between::after_list(&copied, folder, nth, move || move_all(between));
        let repo = reopen(&(between.clone() as Arc<dyn Storage>)).await;
        let plan = plan(&repo, &options(T0, 0)).await.unwrap();
        assert!(between.is_done());
        assert_eq!(plan.missing, [], "after listing {folder} for the {nth}. time");
        assert_eq!(is_sound(&copied).await, 12);
    }
}

#[tokio::test]
async fn packs_that_a_prune_deletes_under_a_check_are_no_damage() {
    let storage = many_small_packs().await;
    for read in [ReadData::No, ReadData::All] {
        for (nth, folder) in [(1, "index"), (1, "packs")] {
            let copied = copy(&storage).await;
            let between = copied.clone();
            let between = Between::after_list(&copied, folder, nth, move || move_all(between));
            let repo = reopen(&(between.clone() as Arc<dyn Storage>)).await;
            let found = repo.check_packs(read, &Silent).await.unwrap();
            assert!(between.is_done());
            assert_eq!(found, [], "after listing {folder} for the {nth}. time");
        }
    }
}
