//! Any single pack is lost, flipped or cut: what is left restores, and what is lost comes back from the tenant.

use std::sync::Arc;

use futures::StreamExt;
use tenantvault::monitor::Silent;
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::nodes::RepoNodes;
use tenantvault::ops::repair::{LOST, repair_snapshots};
use tenantvault::ops::{check, prune, read};
use tenantvault::repo::{Clock, PruneOptions, ReadData, Repository};
use tenantvault::sim::SimOptions;
use tenantvault::snapshot::store::{self, Snapshot};
use tenantvault::storage::fault::{Call, Fault, FaultPlan, FaultStorage, Which};
use tenantvault::storage::{Storage, StorageOptions};
use tenantvault::tree::collection::{CollectionReader, CollectionRoots};

use crate::compare::assert_equal;
use crate::support::{START_US, Setting, passphrase};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Harm {
    Lost,
    Flipped,
    Cut,
}

pub async fn copy(storage: &Arc<dyn Storage>) -> Arc<dyn Storage> {
    let copy = tenantvault::storage::open("memory:", &StorageOptions::default()).unwrap();
    for entry in storage.list("").await.unwrap() {
        copy.put(&entry.path, vec![storage.get(&entry.path, u64::MAX).await.unwrap()]).await.unwrap();
    }
    copy
}

async fn harm(storage: &Arc<dyn Storage>, path: &str, harm: Harm) {
    let mut bytes = storage.get(path, u64::MAX).await.unwrap().to_vec();
    let middle = bytes.len() / 2;
    storage.delete(path).await.unwrap();
    match harm {
        Harm::Lost => return,
        Harm::Flipped => bytes[middle] ^= 1,
        Harm::Cut => bytes.truncate(middle),
    }
    storage.put(path, vec![bytes.into()]).await.unwrap();
}

/// Reads every stream of every item; says how many there are.
async fn read_everything(repo: &Arc<Repository>, snapshot: &Snapshot) -> usize {
    let nodes = RepoNodes(repo.clone());
    let mut count = 0;
    for state in Catalog::load(repo, Some(&snapshot.file)).await.unwrap().states.values() {
        let roots = CollectionRoots { items: state.items, children: state.children };
        let mut records = CollectionReader::new(&nodes, roots).records();
        while let Some(record) = records.next().await.unwrap() {
            for stream in &record.streams {
                let mut bytes = read::read_stream(repo, stream);
                while let Some(part) = bytes.next().await {
                    part.unwrap();
                }
                count += 1;
            }
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_pack_is_lost_the_rest_restores_and_the_tenant_gives_the_lost_again() {
    let mut setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    setting.next_day();
    setting.backup().await.unwrap();
    let base = setting.storage.clone();
    let whole = read_everything(&setting.repo, setting.snapshots().await.last().unwrap()).await;
    let packs: Vec<String> = base.list("packs").await.unwrap().into_iter().map(|e| e.path).collect();
    assert!(packs.len() >= 4, "{packs:?}");
    let (mut seen_lost, mut seen_saved) = (0, 0);
    for (pack, kind) in packs.iter().flat_map(|p| [Harm::Lost, Harm::Flipped, Harm::Cut].map(|h| (p, h))) {
        let what = format!("{kind:?} {pack}");
        setting.storage = copy(&base).await;
        harm(&setting.storage, pack, kind).await;
        setting.repo = setting.reopen(false).await;
        let repo = setting.repo.clone();
        let report = check::check(&repo, ReadData::All, &Silent).await.unwrap();
        let name = pack.rsplit('/').next().unwrap();
        assert!(report.findings.iter().any(|f| f.error && f.object.contains(name)), "{what}: {report:?}");

        let (_, findings) = repo.repair_index(true, &Silent).await.unwrap();
        assert!(findings.iter().all(|f| f.object.contains(name)) && findings.len() == 1, "{what}: {findings:?}");
        seen_saved += usize::from(findings[0].text.contains("were saved"));
        let only_looked = repair_snapshots(&repo, true, START_US, &Silent).await.unwrap();
        let repaired = repair_snapshots(&repo, false, START_US, &Silent).await.unwrap();
        assert_eq!(only_looked.repaired.len(), repaired.repaired.len(), "{what}");
        seen_lost += repaired.repaired.len();

        // Nothing that is left refers to what is gone: all of it reads, check is content, and prune works again.
        let report = check::check(&repo, ReadData::All, &Silent).await.unwrap();
        assert!(!report.has_errors(), "{what}: {report:?}");
        let snapshots = setting.snapshots().await;
        assert_eq!(snapshots.len(), 2, "{what}");
        for snapshot in &snapshots {
            assert!(read_everything(&repo, snapshot).await <= whole);
        }
        let options =
            PruneOptions { grace_us: 0, max_unused_percent: 0.0, now_us: START_US, clock: Clock::still(START_US) };
        prune::plan(&repo, &options, &Silent).await.unwrap().execute(&repo, &Silent).await.unwrap();
        assert!(!check::check(&repo, ReadData::All, &Silent).await.unwrap().has_errors(), "{what}");
        let again = repair_snapshots(&repo, false, START_US, &Silent).await.unwrap();
        assert!(again.repaired.is_empty(), "{what}: {again:?}");

        // The next backup fetches what was lost, and is whole.
        let report = setting.backup().await.unwrap();
        assert!(report.complete && report.gaps.iter().all(|g| g.reason != LOST), "{what}: {:?}", report.gaps);
        let newest = setting.snapshots().await.pop().unwrap();
        assert_equal(&repo, &newest.file, &setting.sim.expected(), false).await;
    }
    assert!(
        seen_lost > 0 && seen_saved > 0,
        "{seen_lost} snapshots lost something, {seen_saved} packs were saved in part"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_dies_leaves_the_snapshots_that_it_was_to_replace() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    let ids = |snapshots: &[Snapshot]| snapshots.iter().map(|s| s.id).collect::<Vec<_>>();
    let before = ids(&setting.snapshots().await);
    let packs = setting.storage.list("packs").await.unwrap();
    let largest = packs.into_iter().max_by_key(|e| e.size_bytes).unwrap();
    harm(&setting.storage, &largest.path, Harm::Lost).await;
    let plan = FaultPlan::new().at(Which::Under(Call::Put, "snapshots/"), 1, Fault::DieBefore);
    let dying = Arc::new(FaultStorage::new(setting.storage.clone(), plan));
    let repo = Repository::open(dying, &passphrase(), None).await.unwrap();
    repo.repair_index(false, &Silent).await.unwrap();
    repair_snapshots(&repo, false, START_US, &Silent).await.unwrap_err();
    let repo = setting.reopen(false).await;
    assert_eq!(ids(&store::list(&repo).await.unwrap().snapshots), before);
    assert_eq!(repair_snapshots(&repo, false, START_US, &Silent).await.unwrap().repaired.len(), 1);
}

// Found by reading: marks of an earlier prune kept repairs from being done, and what was lost kept prunes from unmarking.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_is_not_held_up_by_packs_that_are_marked() {
    let mut setting = Setting::new(SimOptions::tiny()).await;
    for _ in 0..3 {
        setting.backup().await.unwrap();
        setting.next_day();
    }
    let first = setting.snapshots().await.remove(0);
    tenantvault::snapshot::store::delete(&setting.repo, &[&first]).await.unwrap();
    let prune = async |repo: &Arc<Repository>, grace_us| {
        let options =
            PruneOptions { grace_us, max_unused_percent: 0.0, now_us: START_US, clock: Clock::still(START_US) };
        prune::plan(repo, &options, &Silent).await.unwrap().execute(repo, &Silent).await.unwrap();
    };
    prune(&setting.repo, 86_400_000_000).await;
    assert!(setting.repo.index().marks().count() > 0);
    let packs = setting.storage.list("packs").await.unwrap();
    let largest = packs.iter().max_by_key(|e| e.size_bytes).unwrap();
    harm(&setting.storage, &largest.path, Harm::Lost).await;
    setting.repo = setting.reopen(false).await;
    setting.repo.repair_index(true, &Silent).await.unwrap();
    let repaired = repair_snapshots(&setting.repo, false, START_US, &Silent).await.unwrap();
    assert!(!repaired.repaired.is_empty());
    prune(&setting.repo, 0).await;
    assert!(!check::check(&setting.repo, ReadData::All, &Silent).await.unwrap().has_errors());
    setting.backup().await.unwrap();
    let newest = setting.snapshots().await.pop().unwrap();
    assert_equal(&setting.repo, &newest.file, &setting.sim.expected(), false).await;
}
