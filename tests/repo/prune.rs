//! Prune: gives back what nothing needs, never what something needs.

use std::collections::HashSet;
use std::sync::Arc;

use tenantvault::crypto::{KeyRight, Passphrase};
use tenantvault::error::ErrorKind;
use tenantvault::format::id::BlobId;
use tenantvault::monitor::Silent;
use tenantvault::repo::{Clock, PruneOptions, PrunePlan, ReadData, Repository, Writer, WriterOptions};
use tenantvault::storage::fault::{Call, Fault, FaultPlan, FaultStorage, Which};

use crate::support::*;

async fn marked(repo: &Arc<Repository>) -> usize {
    repo.reload_index().await.unwrap();
    let index = repo.index();
    index.packs().filter(|p| index.is_marked(&p.id)).count()
}

#[tokio::test]
async fn unused_packs_wait_out_the_grace_period() {
    let (storage, repo) = init_tiny().await;
    let old = back_up(&repo, &[noise(1, 40_000)], &[noise(2, 100)]).await.unwrap();
    back_up(&repo, &[noise(3, 40_000)], &[noise(4, 100)]).await.unwrap();
    let all = files(&storage, "packs").await;
    forget(&repo, &old).await;
    let first = prune(&repo, &options(T0, DAY)).await.unwrap();
    assert!(!first.mark.is_empty() && first.delete.is_empty());
    assert_eq!(files(&storage, "packs").await, all, "nothing is deleted yet");
    assert_eq!(marked(&repo).await, first.mark.len());
    let early = prune(&repo, &options(T0 + DAY - 1, DAY)).await.unwrap();
    assert!(early.is_empty());
    assert_eq!(early.waiting.len(), first.mark.len());
    let due = prune(&repo, &options(T0 + DAY, DAY)).await.unwrap();
    assert_eq!(due.delete.len(), first.mark.len());
    assert_eq!(files(&storage, "packs").await.len(), all.len() - first.mark.len());
    assert_eq!(marked(&repo).await, 0);
    assert!(plan(&repo, &options(T0 + 2 * DAY, DAY)).await.unwrap().is_empty());
    assert_eq!(is_sound(&storage).await, 1);
}

/// A prune that copied packs for longer than the grace period wrote marks that were due as soon as they could be seen:
/// the next one deleted what a backup, which had looked a moment before, was about to name in its snapshot.
#[tokio::test]
async fn the_grace_period_begins_when_a_mark_can_be_seen_however_long_its_prune_took() {
    let (storage, repo) = init_tiny().await;
    let old = back_up(&repo, &[noise(1, 40_000)], &[noise(2, 100)]).await.unwrap();
    let other = reopen(&storage).await;
    forget(&other, &old).await;
    let slow = PruneOptions { clock: Clock::still(T0 + 3 * DAY), ..options(T0, DAY) };
    let slow = plan(&other, &slow).await.unwrap();
    // A backup looks, and is about to save.
    let writer = writer(&repo);
    let doc = put(&writer, &[noise(1, 40_000)], &[noise(2, 100)]).await.unwrap();
    writer.finish().await.unwrap();
    assert!(!writer.has_lost_ground());
    slow.execute(&other, &Silent).await.unwrap();
    assert!(prune(&other, &options(T0 + 3 * DAY, DAY)).await.unwrap().delete.is_empty());
    repo.put_document(tenantvault::repo::DocumentKind::Snapshot, Some(SET), &doc).await.unwrap();
    prune(&other, &options(T0 + 4 * DAY, DAY)).await.unwrap();
    assert_eq!(is_sound(&storage).await, 1);
}

#[tokio::test]
async fn what_is_used_of_a_marked_pack_is_kept() {
    let (storage, repo) = init_tiny().await;
    let name = back_up(&repo, &[noise(1, 40_000)], &[]).await.unwrap();
    let doc = documents(&repo).await.unwrap().remove(0).1;
    forget(&repo, &name).await;
    assert!(!prune(&repo, &options(T0, DAY)).await.unwrap().mark.is_empty());
    // A snapshot that was under way when the packs were marked.
    repo.put_document(tenantvault::repo::DocumentKind::Snapshot, Some(SET), &doc).await.unwrap();
    let again = prune(&repo, &options(T0 + 5 * DAY, DAY)).await.unwrap();
    assert!(!again.repack.is_empty());
    assert_eq!(again.delete, again.repack, "it is copied: nobody lifts a mark");
    assert_eq!(marked(&repo).await, 0);
    assert!(prune(&repo, &options(T0 + 9 * DAY, DAY)).await.unwrap().is_empty());
    assert_eq!(is_sound(&storage).await, 1);
}

#[tokio::test]
async fn used_blobs_move_out_of_packs_with_holes_and_the_owner_still_reads_them() {
    let (storage, repo) = init_tiny().await;
    let key = Passphrase::generate();
    repo.add_slot(&key, KeyRight::WriteOnly, "server", T0).await.unwrap();
    // Old and new contents by turns, in the same packs.
    let writer = writer(&repo);
    let (mut keep, mut lose) = (Vec::new(), Vec::new());
    for n in 0..60u64 {
        let list = if n % 2 == 0 { &mut keep } else { &mut lose };
        list.extend(put(&writer, &[noise(n, 3000)], &[noise(n + 500, 400)]).await.unwrap().0);
    }
    writer.finish().await.unwrap();
    drop(writer);
    let doc: Doc = (keep, Vec::new());
    repo.put_document(tenantvault::repo::DocumentKind::Snapshot, Some(SET), &doc).await.unwrap();
    let server = Repository::open(storage.clone(), &key, None).await.unwrap();
    let plan = prune(&server, &options(T0, DAY)).await.unwrap();
    assert!(!plan.repack.is_empty() && plan.delete.is_empty());
    assert_eq!(verify(&storage).await, 1);
    let before: u64 = storage.list("packs").await.unwrap().iter().map(|e| e.size_bytes).sum();
    prune(&server, &options(T0 + DAY, DAY)).await.unwrap();
    let after: u64 = storage.list("packs").await.unwrap().iter().map(|e| e.size_bytes).sum();
    assert!(after * 2 < before, "{before} -> {after}");
    assert!(after < 30 * 3000 * 12 / 10, "only what is used is left: {after}");
    let repo = reopen(&storage).await;
    assert_eq!(repo.check_packs(ReadData::All, &Silent).await.unwrap(), []);
    assert_eq!(is_sound(&storage).await, 1);
    assert!(!lose.is_empty());
}

#[tokio::test]
async fn holes_stay_while_they_are_few() {
    let (_, repo) = init_tiny().await;
    let writer = writer(&repo);
    let doc = put(&writer, &[noise(1, 40_000)], &[]).await.unwrap();
    put(&writer, &[noise(2, 2000)], &[]).await.unwrap();
    save(&writer, &doc).await.unwrap();
    let plan =
        plan(&repo, &tenantvault::repo::PruneOptions { max_unused_percent: 10.0, ..options(T0, DAY) }).await.unwrap();
    assert!(plan.repack.is_empty() && plan.sizes.unused_kept > 0, "{plan:?}");
}

#[tokio::test]
async fn many_small_packs_are_merged() {
    let (storage, repo) = init_tiny().await;
    for n in 0..12u64 {
        back_up(&repo, &[noise(n, 300)], &[noise(n + 50, 200)]).await.unwrap();
    }
    assert_eq!(files(&storage, "packs").await.len(), 24);
    prune(&repo, &options(T0, DAY)).await.unwrap();
    prune(&repo, &options(T0 + DAY, DAY)).await.unwrap();
    assert_eq!(files(&storage, "packs").await.len(), 2);
    assert!(plan(&repo, &options(T0 + 2 * DAY, DAY)).await.unwrap().is_empty(), "it comes to rest");
    assert_eq!(is_sound(&storage).await, 12);
}

#[tokio::test]
async fn nothing_is_deleted_while_a_blob_in_use_is_missing() {
    let (storage, repo) = init_tiny().await;
    let old = back_up(&repo, &[noise(1, 40_000)], &[]).await.unwrap();
    back_up(&repo, &[noise(3, 40_000)], &[]).await.unwrap();
    forget(&repo, &old).await;
    let before: HashSet<_> = repo.stored_packs().await.unwrap().into_keys().collect();
    let mut used = HashSet::new();
    add_used(&repo, &documents(&repo).await.unwrap()[0].1, &mut used).await.unwrap();
    used.insert(BlobId([9; 32]));
    let files_before = files(&storage, "").await;
    let plan = PrunePlan::new(&repo, &before, &used, &options(T0, 0)).await.unwrap();
    assert_eq!(plan.missing, [BlobId([9; 32])]);
    let e = plan.execute(&repo, &Silent).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
    assert!(e.to_string().contains("0909") && e.hint().is_some(), "{e}");
    assert_eq!(files(&storage, "").await, files_before);
}

#[tokio::test]
async fn a_pack_that_vanished_stops_prune_if_it_is_needed_and_leaves_the_index_if_not() {
    let (storage, repo) = init_tiny().await;
    let old = back_up(&repo, &[noise(1, 12_000)], &[]).await.unwrap();
    let of_old = files(&storage, "packs").await;
    back_up(&repo, &[noise(3, 12_000)], &[]).await.unwrap();
    for pack in &of_old {
        storage.delete(pack).await.unwrap();
    }
    let needed = plan(&repo, &options(T0, 0)).await.unwrap();
    assert!(!needed.missing.is_empty());
    assert!(needed.execute(&repo, &Silent).await.is_err());
    forget(&repo, &old).await;
    prune(&repo, &options(T0, DAY)).await.unwrap();
    assert!(repo.index().packs().count() > 1);
    prune(&repo, &options(T0 + DAY, DAY)).await.unwrap();
    assert_eq!(repo.check_packs(ReadData::All, &Silent).await.unwrap(), []);
    // Nobody builds upon what was in there.
    back_up(&repo, &[noise(1, 12_000)], &[]).await.unwrap();
    assert_eq!(is_sound(&storage).await, 2);
}

#[tokio::test]
async fn a_writer_never_builds_upon_a_marked_pack() {
    let (storage, repo) = init_tiny().await;
    let old = back_up(&repo, &[noise(1, 40_000)], &[noise(2, 100)]).await.unwrap();
    forget(&repo, &old).await;
    prune(&repo, &options(T0, DAY)).await.unwrap();
    let repo = reopen(&storage).await;
    let writer = writer(&repo);
    let doc = put(&writer, &[noise(1, 40_000)], &[noise(2, 100)]).await.unwrap();
    assert_eq!(writer.stats().known_blobs, 0);
    save(&writer, &doc).await.unwrap();
    prune(&repo, &options(T0 + DAY, DAY)).await.unwrap();
    assert_eq!(is_sound(&storage).await, 1);
}

#[tokio::test]
async fn a_writer_that_built_upon_packs_that_were_marked_meanwhile_copies_them() {
    let (storage, repo) = init_tiny().await;
    let old = back_up(&repo, &[noise(1, 40_000)], &[noise(2, 100)]).await.unwrap();
    let writer = writer(&repo);
    let doc = put(&writer, &[noise(1, 40_000), noise(7, 500)], &[noise(2, 100)]).await.unwrap();
    assert!(writer.stats().known_blobs > 0);
    let other = reopen(&storage).await;
    forget(&other, &old).await;
    prune(&other, &options(T0, DAY)).await.unwrap();
    save(&writer, &doc).await.unwrap();
    assert!(writer.has_lost_ground());
    for n in 1..4 {
        prune(&other, &options(T0 + n * DAY, DAY)).await.unwrap();
        assert_eq!(verify(&storage).await, 1);
    }
    assert_eq!(is_sound(&storage).await, 1);
}

#[tokio::test]
async fn what_is_rescued_outlives_a_prune_that_did_not_see_the_snapshot() {
    let (storage, repo) = init_tiny().await;
    let old = back_up(&repo, &[noise(1, 40_000)], &[noise(2, 100)]).await.unwrap();
    let writer = writer(&repo);
    let doc = put(&writer, &[noise(1, 40_000)], &[noise(2, 100)]).await.unwrap();
    let other = reopen(&storage).await;
    forget(&other, &old).await;
    prune(&other, &options(T0, DAY)).await.unwrap();
    // The packs are due; the snapshot comes between this prune's look and its deed.
    let due = plan(&other, &options(T0 + DAY, DAY)).await.unwrap();
    save(&writer, &doc).await.unwrap();
    due.execute(&other, &Silent).await.unwrap();
    assert!(!due.delete.is_empty());
    assert_eq!(is_sound(&storage).await, 1);
}

#[tokio::test]
async fn index_files_that_a_killed_prune_left_go_also_when_there_is_nothing_else_to_do() {
    let (storage, repo) = init_tiny().await;
    let name = back_up(&repo, &[noise(1, 40_000)], &[]).await.unwrap();
    let doc = documents(&repo).await.unwrap().remove(0).1;
    forget(&repo, &name).await;
    prune(&repo, &options(T0, DAY)).await.unwrap();
    repo.put_document(tenantvault::repo::DocumentKind::Snapshot, Some(SET), &doc).await.unwrap();
    // Writes an index file that stands in for all others, and dies before it deletes them.
    let death = FaultPlan::new().at(Which::Under(Call::Delete, "index"), 1, Fault::DieBefore);
    let dying = Arc::new(FaultStorage::new(storage.clone(), death));
    let dying = Repository::open(dying, &pass(), None).await.unwrap();
    prune(&dying, &options(T0 + DAY, DAY)).await.unwrap_err();
    assert_eq!(files(&storage, "index").await.len(), 4);
    prune(&reopen(&storage).await, &options(T0 + DAY, DAY)).await.unwrap();
    assert_eq!(files(&storage, "index").await.len(), 1);
    assert_eq!(is_sound(&storage).await, 1);
}

#[tokio::test]
async fn a_writer_that_outlasts_the_grace_period_fails_rather_than_save_a_hole() {
    let (storage, repo) = init_tiny().await;
    let old = back_up(&repo, &[noise(1, 40_000)], &[]).await.unwrap();
    let writer = writer(&repo);
    let doc = put(&writer, &[noise(1, 40_000)], &[]).await.unwrap();
    let other = reopen(&storage).await;
    forget(&other, &old).await;
    prune(&other, &options(T0, DAY)).await.unwrap();
    prune(&other, &options(T0 + DAY, DAY)).await.unwrap();
    assert_eq!(other.index().packs().count(), 0);
    let e = save(&writer, &doc).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    assert!(e.hint().is_some_and(|h| h.contains("--grace")), "{e:?}");
    assert_eq!(is_sound(&storage).await, 0);
}

#[tokio::test]
async fn a_run_whose_own_packs_were_taken_for_orphans_does_not_lose_them_silently() {
    for deleted in [false, true] {
        let (storage, repo) = init_tiny().await;
        let writer = Writer::new(repo.clone(), WriterOptions { workers: 1, uploads: 1, ..WriterOptions::default() });
        let doc = put(&writer, &[noise(1, 100_000)], &[]).await.unwrap();
        while files(&storage, "packs").await.len() < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(files(&storage, "index").await.len(), 0, "no index file lists them yet");
        let other = reopen(&storage).await;
        assert!(prune(&other, &options(T0, DAY)).await.unwrap().mark.len() >= 3);
        if deleted {
            assert!(prune(&other, &options(T0 + DAY, DAY)).await.unwrap().delete.len() >= 3);
        }
        let saved = save(&writer, &doc).await;
        assert!(writer.has_lost_ground());
        assert_eq!(saved.is_err(), deleted, "{saved:?}");
        for n in 2..5 {
            prune(&other, &options(T0 + n * DAY, DAY)).await.ok();
        }
        assert_eq!(verify(&storage).await, usize::from(!deleted));
    }
}

#[tokio::test]
async fn orphans_of_a_killed_run_go_after_the_grace_period_without_a_trace() {
    let (storage, _) = init_tiny().await;
    let dying =
        FaultStorage::new(storage.clone(), FaultPlan::new().at(Which::Under(Call::Put, "index"), 1, Fault::DieBefore));
    let repo = Repository::open(Arc::new(dying), &pass(), None).await.unwrap();
    back_up(&repo, &[noise(1, 40_000)], &[]).await.unwrap_err();
    let repo = reopen(&storage).await;
    assert!(!files(&storage, "packs").await.is_empty());
    prune(&repo, &options(T0, DAY)).await.unwrap();
    prune(&repo, &options(T0 + DAY, DAY)).await.unwrap();
    assert_eq!(files(&storage, "packs").await.len(), 0);
    // The marks go too, in time, with the next rewriting of the index.
    let name = back_up(&repo, &[noise(2, 40_000)], &[]).await.unwrap();
    forget(&repo, &name).await;
    prune(&repo, &options(T0 + 60 * DAY, DAY)).await.unwrap();
    prune(&repo, &options(T0 + 62 * DAY, DAY)).await.unwrap();
    assert_eq!(marked(&repo).await, 0);
}

#[tokio::test]
async fn index_files_that_a_killed_prune_left_do_not_come_back() {
    let (storage, repo) = init_tiny().await;
    let mut names = Vec::new();
    for n in 0..4u64 {
        names.push(back_up(&repo, &[noise(n, 20_000)], &[noise(n + 9, 50)]).await.unwrap());
    }
    forget(&repo, &names[0]).await;
    // Killed after the new index is written and before the old one is deleted, and again after the next.
    for (n, name) in names.iter().enumerate().skip(1).take(2) {
        let dying = FaultStorage::new(
            storage.clone(),
            FaultPlan::new().at(Which::Under(Call::Delete, "index"), 1, Fault::DieBefore),
        );
        let dying = Repository::open(Arc::new(dying), &pass(), None).await.unwrap();
        prune(&dying, &options(T0, 0)).await.unwrap_err();
        assert_eq!(verify(&storage).await, 4 - n);
        forget(&reopen(&storage).await, name).await;
    }
    let repo = reopen(&storage).await;
    prune(&repo, &options(T0, 0)).await.unwrap();
    assert_eq!(files(&storage, "index").await.len(), 1);
    for repo in [repo, reopen(&storage).await] {
        let missing = errors(&repo).await;
        assert_eq!(missing, [], "the index lists packs that are gone");
    }
    back_up(&reopen(&storage).await, &[noise(0, 20_000), noise(1, 20_000)], &[]).await.unwrap();
    assert_eq!(is_sound(&storage).await, 2);
}

#[tokio::test]
async fn a_reader_finds_what_prune_moved_meanwhile() {
    let (storage, repo) = init_tiny().await;
    let mut names = Vec::new();
    for n in 0..12u64 {
        names.push(back_up(&repo, &[noise(n, 300)], &[noise(n + 50, 200)]).await.unwrap());
    }
    let cache = tempfile::tempdir().unwrap();
    let readers = [reopen(&storage).await, reopen_with(&storage, cache.path()).await];
    let pruned = prune(&repo, &options(T0, 0)).await.unwrap();
    assert!(pruned.repack.len() >= 24);
    for reader in readers {
        for (_, doc) in documents(&repo).await.unwrap() {
            verify_doc(&reader, &doc).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_blob_in_two_packs_is_kept_once_and_read_from_the_other_if_one_fails() {
    let (storage, repo) = init_tiny().await;
    let other = reopen(&storage).await;
    // Two writers who do not know of each other.
    let (a, b) = (writer(&repo), writer(&other));
    let doc = put(&a, &[noise(1, 9000)], &[noise(2, 100)]).await.unwrap();
    let same = put(&b, &[noise(1, 9000)], &[noise(2, 100)]).await.unwrap();
    assert_eq!(doc, same);
    save(&a, &doc).await.unwrap();
    let first = files(&storage, "packs").await;
    save(&b, &same).await.unwrap();
    let all = files(&storage, "packs").await;
    assert_eq!(all.len(), first.len() * 2);
    for damaged in &all {
        let copy = copy(&storage).await;
        let mut bytes = bytes_of(&copy, damaged).await;
        bytes[60] ^= 1;
        replace(&copy, damaged, bytes).await;
        verify(&copy).await;
        copy.delete(damaged).await.unwrap();
        verify(&copy).await;
    }
    let repo = reopen(&storage).await;
    prune(&repo, &options(T0, 0)).await.unwrap();
    assert_eq!(files(&storage, "packs").await.len(), first.len());
    is_sound(&storage).await;
}

#[tokio::test]
async fn a_wrong_index_cannot_make_prune_move_the_wrong_bytes() {
    let (storage, repo) = init_tiny().await;
    for n in 0..10u64 {
        back_up(&repo, &[noise(n, 300)], &[noise(n + 50, 200)]).await.unwrap();
    }
    let cache = tempfile::tempdir().unwrap();
    drop(reopen_with(&storage, cache.path()).await);
    // Offsets and lengths of the cached tables are off by one.
    let id = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    for table in std::fs::read_dir(id.join("index")).unwrap() {
        let path = table.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let records = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
        let at = bytes.len() - records * 64;
        bytes[at..].chunks_exact_mut(64).for_each(|r| r[36] ^= 1);
        std::fs::write(&path, bytes).unwrap();
    }
    let repo = reopen_with(&storage, cache.path()).await;
    let before = repo.stored_packs().await.unwrap().into_keys().collect();
    let mut used = HashSet::new();
    for (_, doc) in documents(&repo).await.unwrap() {
        used.extend(doc.1.iter().map(|(_, id)| *id));
        used.extend(doc.0.iter().flat_map(|(_, l)| l.list.iter().map(|e| e.blob)));
    }
    let plan = PrunePlan::new(&repo, &before, &used, &options(T0, 0)).await.unwrap();
    plan.execute(&repo, &Silent).await.ok();
    assert_eq!(verify(&storage).await, 10);
}

/// A new pack's name would say that the damaged bytes in it are as they should be.
#[tokio::test]
async fn damaged_contents_are_not_moved_into_a_new_pack() {
    let (storage, repo) = init_tiny().await;
    for n in 0..10u64 {
        back_up(&repo, &[noise(n, 300)], &[]).await.unwrap();
    }
    let mut all = files(&storage, "packs").await;
    let mut bytes = bytes_of(&storage, &all[4]).await;
    bytes[60] ^= 1;
    replace(&storage, &all[4], bytes).await;
    let e = prune(&reopen(&storage).await, &options(T0, 0)).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Corrupt && e.to_string().contains(&all[4][9..]), "{e}");
    let mut left = files(&storage, "packs").await;
    left.retain(|path| all.contains(path));
    all.sort();
    assert_eq!(left, all, "nothing was deleted");
}

#[tokio::test]
async fn a_damaged_index_file_stops_prune_and_writers_and_is_repaired() {
    let (storage, repo) = init_tiny().await;
    back_up(&repo, &[noise(1, 9000)], &[noise(2, 100)]).await.unwrap();
    let bad = files(&storage, "index").await.remove(0);
    back_up(&repo, &[noise(3, 9000)], &[]).await.unwrap();
    let mut bytes = bytes_of(&storage, &bad).await;
    bytes[100] ^= 1;
    replace(&storage, &bad, bytes).await;
    let repo = reopen(&storage).await;
    assert_eq!(repo.index().damaged().len(), 1);
    let used = HashSet::new();
    let before = HashSet::new();
    assert_eq!(kind_of(PrunePlan::new(&repo, &before, &used, &options(T0, 0)).await), ErrorKind::Corrupt);
    let e = back_up(&repo, &[noise(4, 100)], &[]).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
    let name = bad.rsplit('/').next().unwrap();
    assert!(e.to_string().contains(name) && e.hint().is_some_and(|h| h.contains("repair index")), "{e}");
    let findings = errors(&repo).await;
    assert!(findings[0].object.contains(name), "{findings:?}");
    // The rest reads.
    let mut fine = 0;
    for (_, doc) in documents(&repo).await.unwrap() {
        fine += usize::from(verify_doc(&repo, &doc).await.is_ok());
    }
    assert_eq!(fine, 1);
    repo.repair_index(false, &Silent).await.unwrap();
    assert_eq!(repo.index().damaged(), []);
    assert_eq!(is_sound(&storage).await, 2);
}

#[tokio::test]
async fn a_pack_that_came_after_the_snapshots_were_listed_is_left_alone() {
    let (storage, repo) = init_tiny().await;
    back_up(&repo, &[noise(1, 9000)], &[]).await.unwrap();
    let before: HashSet<_> = repo.stored_packs().await.unwrap().into_keys().collect();
    let mut used = HashSet::new();
    add_used(&repo, &documents(&repo).await.unwrap()[0].1, &mut used).await.unwrap();
    // Now a whole run takes place.
    back_up(&reopen(&storage).await, &[noise(2, 9000)], &[noise(3, 10)]).await.unwrap();
    let plan = PrunePlan::new(&repo, &before, &used, &options(T0, 0)).await.unwrap();
    assert!(plan.is_empty() && plan.missing.is_empty(), "{plan:?}");
}
