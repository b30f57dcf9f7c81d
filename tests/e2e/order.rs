//! The order of writes of a whole backup, and a prune at its side.

use std::sync::{Arc, Mutex};

use tenantvault::ErrorKind;
use tenantvault::monitor::{Monitor, Silent};
use tenantvault::ops::backup::{Stop, Surroundings, backup};
use tenantvault::ops::{check, prune};
use tenantvault::repo::{Clock, PruneOptions, ReadData, Repository};
use tenantvault::sim::SimOptions;
use tenantvault::snapshot::store;
use tenantvault::storage::StorageOptions;
use tenantvault::storage::fault::{Call, Fault, FaultPlan, FaultStorage, Which};

use crate::compare::assert_equal;
use crate::support::{START_US, Setting, passphrase};

const DAY_US: i64 = 86_400_000_000;

async fn assert_clean(repo: &Arc<Repository>) {
    let report = check::check(repo, ReadData::All, &Silent).await.unwrap();
    assert!(!report.has_errors(), "{:?} {:?}", report.findings, report.items);
}

/// The storage dies at the moment at which the snapshot is there: what is not stored by then is not stored at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_written_when_all_that_it_names_is_durable() {
    let inner = tenantvault::storage::open("memory:", &StorageOptions::default()).unwrap();
    let dying = FaultStorage::new(inner.clone(), FaultPlan::new());
    let dying = Arc::new(dying);
    let mut setting = Setting::with_storage(SimOptions::tiny(), dying.clone()).await;
    dying.revive(FaultPlan::new().at(Which::Under(Call::Put, "snapshots/"), 1, Fault::DieAfter));
    setting.backup().await.unwrap_err();
    setting.storage = inner;
    setting.repo = Repository::open(setting.storage.clone(), &passphrase(), None).await.unwrap();
    let snapshots = setting.snapshots().await;
    assert_eq!(snapshots.len(), 1);
    assert_clean(&setting.repo).await;
    assert_equal(&setting.repo, &snapshots[0].file, &setting.sim.expected(), false).await;
    assert!(setting.backup().await.unwrap().complete);
}

/// Does something once, when a phase begins.
struct AtPhase<F>(&'static str, Mutex<Option<F>>);

impl<F: FnOnce() + Send> Monitor for AtPhase<F> {
    fn phase(&self, text: &str) {
        if text == self.0
            && let Some(work) = self.1.lock().unwrap().take()
        {
            work();
        }
    }
}

/// Another process forgets the snapshot that the run builds upon, and prunes, before the run writes its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_prune_took_from_under_a_backup_is_rescued_or_told() {
    for grace_us in [DAY_US, 0] {
        let setting = Setting::new(SimOptions::tiny()).await;
        setting.backup().await.unwrap();
        setting.next_day();
        let other = setting.reopen(false).await;
        let options =
            PruneOptions { grace_us, max_unused_percent: 0.0, now_us: START_US, clock: Clock::still(START_US) };
        let forget_and_prune = async move {
            let listing = store::list(&other).await.unwrap();
            store::delete(&other, &listing.snapshots.iter().collect::<Vec<_>>()).await.unwrap();
            prune::plan(&other, &options, &Silent).await.unwrap().execute(&other, &Silent).await.unwrap();
        };
        let runtime = tokio::runtime::Handle::current();
        let work = move || tokio::task::block_in_place(|| runtime.block_on(forget_and_prune));
        let around = Surroundings {
            monitor: Arc::new(AtPhase("Writing the snapshot", Mutex::new(Some(work)))),
            now_us: Arc::new(|| START_US + DAY_US),
            stop: Stop::new(),
        };
        let done = backup(&setting.repo, &setting.client, &setting.options, &around).await;
        let repo = setting.reopen(false).await;
        if grace_us == 0 {
            assert_eq!(done.err().map(|e| e.kind()), Some(ErrorKind::NotFound));
            assert_eq!(setting.snapshots().await.len(), 0, "no snapshot with a hole was saved");
        } else {
            done.unwrap();
            let used = setting.snapshots().await.pop().unwrap();
            let index = repo.index();
            let mut blobs = std::collections::HashSet::new();
            tenantvault::ops::used::add_snapshot(&repo, &used.file, &mut Default::default(), &mut blobs).await.unwrap();
            assert!(index.marks().count() > 0 && blobs.iter().all(|id| index.has_live(id)), "marked packs carry it");
        }
        assert_clean(&repo).await;
    }
}
