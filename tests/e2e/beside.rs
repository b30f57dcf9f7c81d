//! Prune and check, while others forget what they look at and give back what it needed.

use std::sync::{Arc, Mutex};

use tenantvault::format::id::SnapshotId;
use tenantvault::monitor::Silent;
use tenantvault::ops::{check, prune};
use tenantvault::repo::{Clock, PruneOptions, ReadData, Repository};
use tenantvault::sim::SimOptions;
use tenantvault::snapshot::memory::{self, Surprise};
use tenantvault::snapshot::store::{self, Listing};
use tenantvault::storage::Storage;

use crate::between::Between;
use crate::support::{START_US, Setting, passphrase};

fn options() -> PruneOptions {
    let now_us = START_US + 9 * 86_400_000_000;
    PruneOptions { grace_us: 0, max_unused_percent: 0.0, now_us, clock: Clock::still(now_us) }
}

async fn reopen(storage: &Arc<dyn Storage>) -> Arc<Repository> {
    Repository::open(storage.clone(), &passphrase(), None).await.unwrap()
}

/// Forgets the first snapshot and gives back what nobody else needs.
async fn give_back_first(storage: Arc<dyn Storage>) {
    let repo = reopen(&storage).await;
    let first = store::list(&repo).await.unwrap().snapshots.remove(0);
    store::delete(&repo, &[&first]).await.unwrap();
    let plan = prune::plan(&repo, &options(), &Silent).await.unwrap();
    assert!(!plan.delete.is_empty());
    plan.execute(&repo, &Silent).await.unwrap();
}

async fn two_days() -> (Setting, Vec<SnapshotId>) {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    setting.next_day();
    setting.backup().await.unwrap();
    let ids = setting.snapshots().await.iter().map(|s| s.id).collect();
    (setting, ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forgotten_snapshot_needed_is_not_missed_by_prune_or_check() {
    let (setting, ids) = two_days().await;
    let mut done = 0;
    for (nth, folder) in [(1, "snapshots"), (1, "index"), (2, "index"), (3, "index"), (1, "packs"), (2, "packs")] {
        for checks in [false, true] {
            let copied = crate::repair::copy(&setting.storage).await;
            let between = copied.clone();
            let between = Between::after_list(&copied, folder, nth, move || give_back_first(between));
            let repo = reopen(&(between.clone() as Arc<dyn Storage>)).await;
            let when = format!("after listing {folder} for the {nth}. time");
            if checks {
                let report = check::check(&repo, ReadData::All, &Silent).await.unwrap();
                assert!(!report.has_errors(), "{when}: {:?} {:?}", report.findings, report.items);
            } else {
                let plan = prune::plan(&repo, &options(), &Silent).await.unwrap();
                assert_eq!(plan.missing, [], "{when}");
                // Another prune may have taken what this one was to copy: it says so then.
                let _ = plan.execute(&repo, &Silent).await;
            }
            done += usize::from(between.is_done());
            let repo = reopen(&copied).await;
            let report = check::check(&repo, ReadData::All, &Silent).await.unwrap();
            assert!(!report.has_errors(), "{when}: {:?}", report.findings);
            let left: Vec<SnapshotId> = store::list(&repo).await.unwrap().snapshots.iter().map(|s| s.id).collect();
            assert_eq!(left, ids[usize::from(between.is_done())..], "{when}");
        }
    }
    assert!(done >= 9, "others came between in {done} of 12 runs only");
}

/// Another process of this machine lists the snapshots while one of them is being deleted, and holds that against what
/// the machine remembers when it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_being_forgotten_is_not_back() {
    let (setting, ids) = two_days().await;
    let strange = |listing: &Listing| memory::compare(&setting.repo, listing);
    assert_eq!(strange(&store::list(&setting.repo).await.unwrap()), []);
    let first = store::list(&setting.repo).await.unwrap().snapshots.remove(0);
    let path = format!("snapshots/{}/{}", first.file.set, first.id);
    let bytes = setting.storage.get(&path, u64::MAX).await.unwrap();

    let seen: Arc<Mutex<Option<Listing>>> = Arc::default();
    let (looks, told) = (reopen(&setting.storage).await, seen.clone());
    let between = Between::before_delete(&setting.storage, "snapshots", move || async move {
        let listing = store::list(&looks).await.unwrap();
        *told.lock().unwrap() = Some(listing);
    });
    let cache = Some(setting.cache.path().to_owned());
    let forgets = Repository::open(between.clone() as Arc<dyn Storage>, &passphrase(), cache).await.unwrap();
    store::delete(&forgets, &[&first]).await.unwrap();
    let listing = seen.lock().unwrap().take().expect("it was listed while it was deleted");
    assert_eq!(listing.snapshots.iter().map(|s| s.id).collect::<Vec<_>>(), ids);
    assert_eq!(strange(&listing), []);
    assert_eq!(strange(&store::list(&setting.repo).await.unwrap()), []);

    setting.storage.put(&path, vec![bytes]).await.unwrap();
    let back: Vec<Surprise> = strange(&store::list(&setting.repo).await.unwrap());
    assert!(back.len() == 1 && back[0].text.contains("is back"), "{back:?}");
}
