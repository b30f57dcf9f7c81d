//! A replica is whole at any instant, whatever fails, dies or prunes on either side; each file is read and written once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tenantvault::crypto::{KeyRight, Passphrase};
use tenantvault::error::{ErrorKind, Result};
use tenantvault::format::id::SnapshotId;
use tenantvault::format::snapshot::{RunFile, Totals};
use tenantvault::monitor::Silent;
use tenantvault::ops::mirror::{MirrorOptions, MirrorReport, mirror, missing_snapshots};
use tenantvault::repo::{self, CopyOptions, DocumentKind, DocumentName, Kinship, Repository};
use tenantvault::storage::fault::{Call, Fault, FaultPlan, FaultStorage, Which};
use tenantvault::storage::{Entry, Storage};

use crate::support::*;

const FOLLOW: MirrorOptions = MirrorOptions { delete: false, forgotten: false, keys: true, sets: true, dry_run: false };

/// What the command does.
async fn run(from: &Arc<dyn Storage>, to: &Arc<dyn Storage>, options: MirrorOptions) -> Result<MirrorReport> {
    let source = Repository::open(from.clone(), &pass(), None).await?;
    if repo::kinship(&**from, &**to).await? != Kinship::Replica {
        repo::make_replica(&**from, &**to).await?;
    }
    let target = source.open_replica(to.clone(), None).await?;
    mirror(&source, &target, options, &Silent).await
}

pub async fn replicate(from: &Arc<dyn Storage>, to: &Arc<dyn Storage>) -> MirrorReport {
    let report = run(from, to, FOLLOW).await.unwrap();
    assert!(report.is_complete(), "{:?}", report.findings);
    report
}

/// The facts of a run that wrote a snapshot, as a backup stores them after it.
pub async fn note_run(repo: &Arc<Repository>, snapshot: &DocumentName) {
    let run = RunFile {
        set: SET,
        started_us: T0,
        ended_us: T0,
        outcome: "complete".into(),
        error: String::new(),
        snapshot: Some(SnapshotId(snapshot.id)),
        totals: Totals::default(),
        waits: Vec::new(),
    };
    repo.put_document(DocumentKind::Run, Some(SET), &run).await.unwrap();
}

/// A repository with three runs; what they share and what each has alone.
pub async fn lived_in() -> (Arc<dyn Storage>, Arc<Repository>, Vec<DocumentName>) {
    let (storage, repo) = init_tiny().await;
    let mut names = Vec::new();
    for n in 0..3u64 {
        let streams = [noise(n, 12_000), noise(50, 9_000), noise(n + 60, 700)];
        let name = back_up(&repo, &streams, &[noise(n + 70, 2000), noise(n + 80, 50)]).await.unwrap();
        note_run(&repo, &name).await;
        names.push(name);
    }
    (storage, repo, names)
}

fn counted(storage: &Arc<dyn Storage>) -> (Arc<FaultStorage>, Arc<dyn Storage>) {
    let counted = Arc::new(FaultStorage::new(storage.clone(), FaultPlan::new()));
    (counted.clone(), counted)
}

#[tokio::test]
async fn a_new_replica_has_everything_and_each_file_is_read_and_written_once() {
    let (storage, repo, _) = lived_in().await;
    repo.add_slot(&Passphrase::generate(), KeyRight::WriteOnly, "server", T0).await.unwrap();
    let replica = memory();
    let (source, from) = counted(&storage);
    let (target, to) = counted(&replica);
    let report = replicate(&from, &to).await;
    assert_eq!((report.snapshots, report.runs, report.keys), (3, 3, 0));
    assert_eq!(report.packs, files(&storage, "packs").await.len());
    for folder in ["config", "keys", "packs", "snapshots", "runs"] {
        assert_eq!(files(&replica, folder).await, files(&storage, folder).await);
    }
    for calls in [source.recorder().calls(), target.recorder().calls()] {
        let data = calls.iter().filter(|c| ["packs/", "snapshots/", "runs/"].iter().any(|p| c.path.starts_with(p)));
        let data: Vec<_> = data.filter(|c| c.call != Call::List).map(|c| (c.call, &c.path)).collect();
        assert!(data.iter().all(|(call, _)| matches!(call, Call::Get | Call::Put)), "{data:?}");
        let once: HashSet<_> = data.iter().collect();
        assert_eq!(once.len(), data.len(), "{data:?}");
        assert_eq!(data.len(), report.packs + 6);
    }
    assert_eq!(source.recorder().count(&Which::Write), 0);
    assert_eq!(verify(&replica).await, 3);
    // Chunks are known there too: a run there finds everything again.
    let there = reopen(&replica).await;
    let again = writer(&there);
    put(&again, &[noise(0, 12_000), noise(50, 9_000)], &[]).await.unwrap();
    assert!(again.stats().known_chunks > 10 && again.stats().new_bytes < 8_000, "{:?}", again.stats());
    again.finish().await.unwrap();
    // The next time there is nothing to do, and next to nothing is asked.
    source.recorder().clear();
    target.recorder().clear();
    let report = replicate(&from, &to).await;
    assert_eq!((report.packs, report.snapshots, report.runs, report.index_files), (0, 0, 0, 0));
    assert_eq!(source.recorder().count(&Which::Under(Call::Get, "packs/")), 0);
    assert_eq!(target.recorder().count(&Which::Write), 0);
    assert_eq!(is_sound(&replica).await, 3);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_says_what_a_mirror_does() {
    let (storage, repo, _) = lived_in().await;
    let replica = memory();
    replicate(&storage, &replica).await;
    back_up(&repo, &[noise(9, 30_000)], &[noise(10, 500)]).await.unwrap();
    let before = files(&replica, "").await;
    let planned = run(&storage, &replica, MirrorOptions { dry_run: true, ..FOLLOW }).await.unwrap();
    assert_eq!(files(&replica, "").await, before);
    let done = replicate(&storage, &replica).await;
    assert_eq!((planned.packs, planned.bytes, planned.snapshots), (done.packs, done.bytes, done.snapshots));
    assert!(done.packs > 1 && done.snapshots == 1);
}

#[tokio::test]
async fn another_repository_is_refused_and_left_alone() {
    let (storage, ..) = lived_in().await;
    let (other, _) = init_tiny().await;
    let before = files(&other, "").await;
    let refused = run(&storage, &other, FOLLOW).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("another repository"), "{refused}");
    assert_eq!(files(&other, "").await, before);
    // The rest of some repository is none of this one's either.
    other.delete("config").await.unwrap();
    other.put("packs/00/x", vec![Bytes::from_static(b"x")]).await.unwrap();
    assert_eq!(kind_of(run(&storage, &other, FOLLOW).await), ErrorKind::AlreadyExists);
    // A replica that lost its config gets it back.
    let replica = memory();
    replicate(&storage, &replica).await;
    replica.delete("config").await.unwrap();
    replicate(&storage, &replica).await;
    assert_eq!(verify(&replica).await, 3);
}

/// Everything that the replica shows reads, and the next mirror completes it.
async fn holds_what_it_shows(storage: &Arc<dyn Storage>, replica: &Arc<dyn Storage>, count: usize, context: &str) {
    if replica.stat("config").await.is_ok() {
        let there = reopen(replica).await;
        assert_eq!(errors(&there).await, [], "{context}");
        verify(replica).await;
    }
    replicate(storage, replica).await;
    let there = reopen(replica).await;
    assert_eq!(errors(&there).await, [], "{context}");
    assert_eq!(verify(replica).await, count, "{context}");
}

async fn at_every_call(ready: bool, fault: Fault) {
    let (storage, repo, names) = lived_in().await;
    let base = memory();
    if ready {
        // A replica that both sides' prunes and forgets took apart from the source.
        replicate(&storage, &base).await;
        forget(&repo, &names[0]).await;
        prune(&repo, &options(T0 + DAY, 0)).await.unwrap();
        let there = reopen(&base).await;
        forget(&there, &names[1]).await;
        prune(&there, &options(T0 + DAY, 0)).await.unwrap();
        back_up(&repo, &[noise(7, 12_000), noise(0, 12_000), noise(50, 9_000)], &[noise(8, 900)]).await.unwrap();
    }
    for side in [true, false] {
        let replica = copy(&base).await;
        let (source, from) = counted(&storage);
        let (target, to) = counted(&replica);
        replicate(&from, &to).await;
        let calls = if side { &source } else { &target }.recorder().count(&Which::Any);
        let count = verify(&replica).await;
        assert!(calls > 10);
        for n in 1..=calls {
            let replica = copy(&base).await;
            let plan = || FaultPlan::new().at(Which::Any, n, fault);
            let faulty = |storage: &Arc<dyn Storage>| Arc::new(FaultStorage::new(storage.clone(), plan())) as _;
            let context = format!("{fault:?} at call {n} of {calls} of the {}", if side { "source" } else { "target" });
            let done = match side {
                true => run(&faulty(&storage), &replica, FOLLOW).await,
                false => run(&storage, &faulty(&replica), FOLLOW).await,
            };
            assert!(done.is_err() || matches!(fault, Fault::DieAfter), "{context} went unnoticed");
            holds_what_it_shows(&storage, &replica, count, &context).await;
        }
    }
}

#[tokio::test]
async fn a_first_mirror_that_fails_at_any_call_is_completed_by_the_next() {
    at_every_call(false, Fault::Fail(ErrorKind::Unavailable)).await;
}

#[tokio::test]
async fn a_first_mirror_that_dies_at_any_call_is_completed_by_the_next() {
    at_every_call(false, Fault::DieBefore).await;
    at_every_call(false, Fault::DieAfter).await;
}

#[tokio::test]
async fn a_later_mirror_that_fails_or_dies_at_any_call_is_completed_by_the_next() {
    for fault in [Fault::Fail(ErrorKind::Unavailable), Fault::DieBefore, Fault::DieAfter] {
        at_every_call(true, fault).await;
    }
}

#[tokio::test]
async fn what_the_source_forgot_and_pruned_stays_readable_at_the_replica() {
    let (storage, repo, names) = lived_in().await;
    let replica = memory();
    replicate(&storage, &replica).await;
    forget(&repo, &names[0]).await;
    prune(&repo, &options(T0, DAY)).await.unwrap();
    // The marks do not travel, nor does what the pruned index no longer lists.
    assert_eq!(replicate(&storage, &replica).await.snapshots_kept, 1);
    assert_eq!(reopen(&replica).await.index().marks().count(), 0);
    prune(&repo, &options(T0 + 2 * DAY, DAY)).await.unwrap();
    back_up(&repo, &[noise(50, 9_000), noise(30, 9_000)], &[]).await.unwrap();
    assert_eq!(replicate(&storage, &replica).await.snapshots, 1);
    assert_eq!(verify(&replica).await, 4);
    assert_eq!(is_sound(&replica).await, 4);
}

#[tokio::test]
async fn what_the_replica_forgot_is_not_copied_again_unless_that_is_said() {
    let (storage, _, names) = lived_in().await;
    let replica = memory();
    replicate(&storage, &replica).await;
    let there = reopen(&replica).await;
    forget(&there, &names[0]).await;
    prune(&there, &options(T0, 0)).await.unwrap();
    assert_eq!(missing_snapshots(&*reopen(&storage).await, &there).await.unwrap(), 0);
    let report = replicate(&storage, &replica).await;
    assert_eq!((report.snapshots, report.snapshots_forgotten), (0, 1));
    assert_eq!(verify(&replica).await, 2);
    let report = run(&storage, &replica, MirrorOptions { forgotten: true, ..FOLLOW }).await.unwrap();
    assert_eq!((report.snapshots, report.snapshots_forgotten), (1, 0));
    assert_eq!(is_sound(&replica).await, 3);
}

/// A mark is never lifted, so what lies in a pack that the replica marked comes in another one.
#[tokio::test]
async fn what_the_replica_has_only_in_marked_packs_is_copied_into_new_ones() {
    let (storage, repo, names) = lived_in().await;
    let replica = memory();
    replicate(&storage, &replica).await;
    let there = reopen(&replica).await;
    for name in &names {
        forget(&there, name).await;
    }
    // Marked and there; then marked and gone.
    for (now, grace) in [(T0, DAY), (T0 + 2 * DAY, DAY)] {
        prune(&there, &options(now, grace)).await.unwrap();
        let name = back_up(&repo, &[noise(0, 12_000), noise(1, 12_000)], &[noise(70, 2000)]).await.unwrap();
        note_run(&repo, &name).await;
        let report = replicate(&storage, &replica).await;
        assert!(report.packs_moved > 2 && report.snapshots == 1, "{report:?}");
        let there = reopen(&replica).await;
        assert_eq!(errors(&there).await, []);
        let count = verify(&replica).await;
        // Whoever prunes now deletes all that is marked.
        prune(&there, &options(T0 + 9 * DAY, DAY)).await.unwrap();
        assert_eq!(verify(&replica).await, count);
        for (name, _) in documents(&there).await.unwrap() {
            forget(&there, &name).await;
        }
    }
}

#[tokio::test]
async fn what_the_source_lost_is_told_and_never_taken_from_the_replica() {
    let (storage, repo, _) = lived_in().await;
    let replica = memory();
    replicate(&storage, &replica).await;
    back_up(&repo, &[noise(40, 30_000)], &[noise(41, 600)]).await.unwrap();
    let packs: HashSet<String> = files(&storage, "packs").await.into_iter().collect();
    let old: HashSet<String> = files(&replica, "packs").await.into_iter().collect();
    // Of what the replica has, one is lost; of what it lacks, one is lost and one damaged.
    storage.delete(old.iter().min().unwrap()).await.unwrap();
    let mut new: Vec<&String> = packs.difference(&old).collect();
    new.sort();
    storage.delete(new[0]).await.unwrap();
    let mut bytes = bytes_of(&storage, new[1]).await;
    bytes[60] ^= 1;
    replace(&storage, new[1], bytes).await;
    let report = run(&storage, &replica, MirrorOptions { delete: true, ..FOLLOW }).await.unwrap();
    let told: Vec<String> = report.findings.iter().filter(|f| f.error).map(|f| f.object.clone()).collect();
    assert_eq!(told.len(), 2, "{:?}", report.findings);
    for lost in &new[..2] {
        assert!(told.iter().any(|t| t.ends_with(lost.rsplit('/').next().unwrap())), "{told:?} {lost}");
    }
    assert_eq!((report.snapshots, report.snapshots_held_back, report.snapshots_deleted), (0, 1, 0));
    assert_eq!(is_sound(&replica).await, 3);
    // A snapshot file that is damaged is told, and its run stays behind: it would make it look forgotten.
    let (storage, _, names) = lived_in().await;
    let path = format!("snapshots/{SET}/{}", SnapshotId(names[1].id));
    let whole = bytes_of(&storage, &path).await;
    replace(&storage, &path, b"damaged".to_vec()).await;
    let replica = memory();
    let report = run(&storage, &replica, FOLLOW).await.unwrap();
    assert_eq!((report.snapshots, report.runs, report.findings.len()), (2, 2, 1), "{:?}", report.findings);
    replace(&storage, &path, whole).await;
    let report = replicate(&storage, &replica).await;
    assert_eq!((report.snapshots, report.runs), (1, 1));
    assert_eq!(is_sound(&replica).await, 3);
}

#[tokio::test]
async fn packs_that_the_replica_lost_come_back() {
    let (storage, ..) = lived_in().await;
    let replica = memory();
    replicate(&storage, &replica).await;
    let lost = files(&replica, "packs").await;
    replica.delete(&lost[0]).await.unwrap();
    replace(&replica, &lost[1], b"short".to_vec()).await;
    assert_eq!(replicate(&storage, &replica).await.packs, 2);
    let mut bytes = bytes_of(&replica, &lost[2]).await;
    bytes[60] ^= 1;
    replace(&replica, &lost[2], bytes).await;
    let (from, to) = (reopen(&storage).await, reopen(&replica).await);
    let id = lost[2].rsplit('/').next().unwrap().parse().unwrap();
    let damaged = CopyOptions { damaged: HashSet::from([id]), ..CopyOptions::default() };
    assert_eq!(from.copy_packs_to(&to, &damaged, &Silent).await.unwrap().packs, 1);
    assert_eq!(errors(&to).await, []);
    assert_eq!(is_sound(&replica).await, 3);
}

/// Does something at the n-th call, in the middle of what goes on.
struct Meanwhile<F> {
    inner: Arc<dyn Storage>,
    left: AtomicU64,
    act: F,
}

impl<F> std::fmt::Debug for Meanwhile<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl<F: Fn() -> BoxFuture<'static, ()> + Send + Sync> Meanwhile<F> {
    async fn call(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            (self.act)().await;
        }
    }
}

#[async_trait]
impl<F: Fn() -> BoxFuture<'static, ()> + Send + Sync> Storage for Meanwhile<F> {
    async fn put(&self, path: &str, data: Vec<Bytes>) -> Result<()> {
        self.call().await;
        self.inner.put(path, data).await
    }
    async fn get(&self, path: &str, limit_bytes: u64) -> Result<Bytes> {
        self.call().await;
        self.inner.get(path, limit_bytes).await
    }
    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        self.call().await;
        self.inner.get_range(path, offset, length).await
    }
    async fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        self.call().await;
        self.inner.list(folder).await
    }
    async fn stat(&self, path: &str) -> Result<Entry> {
        self.call().await;
        self.inner.stat(path).await
    }
    async fn delete(&self, path: &str) -> Result<()> {
        self.call().await;
        self.inner.delete(path).await
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
}

/// A forget, a backup and prunes on one side, between any two calls of a mirror.
async fn pruned_meanwhile(at_source: bool) {
    let (base, repo, names) = lived_in().await;
    let old = memory();
    replicate(&base, &old).await;
    let new = back_up(&repo, &[noise(22, 12_000)], &[noise(23, 300)]).await.unwrap();
    back_up(&repo, &[noise(20, 12_000), noise(1, 12_000)], &[noise(21, 300)]).await.unwrap();
    let (calls, last_look) = {
        let (storage, replica) = (copy(&base).await, copy(&old).await);
        let (source, from) = counted(&storage);
        let (target, to) = counted(&replica);
        replicate(&from, &to).await;
        let calls = if at_source { &source } else { &target }.recorder().calls();
        let last_look = calls.iter().rposition(|c| c.call == Call::List && c.path == "index").unwrap() as u64;
        (calls.len() as u64, last_look)
    };
    assert!(calls > 15 && last_look > 10, "{calls} {last_look}");
    for n in 1..=calls {
        let (storage, replica) = (copy(&base).await, copy(&old).await);
        let side = if at_source { storage.clone() } else { replica.clone() };
        // From its last look to its last write a mirror takes less than the grace period, as a backup does. All else, and all
        // that it only reads, may take as long as it will.
        let deletes = at_source || n <= last_look;
        let forgotten = [names[0], new];
        let act = {
            let side = side.clone();
            move || -> BoxFuture<'static, ()> {
                let side = side.clone();
                Box::pin(async move {
                    let repo = reopen(&side).await;
                    for name in &forgotten {
                        forget(&repo, name).await;
                    }
                    back_up(&repo, &[noise(90, 5_000), noise(50, 9_000)], &[]).await.unwrap();
                    prune(&repo, &options(T0 + 9 * DAY, DAY)).await.unwrap();
                    if deletes {
                        prune(&repo, &options(T0 + 11 * DAY, DAY)).await.unwrap();
                    }
                })
            }
        };
        let busy: Arc<dyn Storage> = Arc::new(Meanwhile { inner: side, left: AtomicU64::new(n), act });
        let done = match at_source {
            true => run(&busy, &replica, FOLLOW).await,
            false => run(&storage, &busy, FOLLOW).await,
        };
        let report = done.unwrap();
        assert!(report.is_complete(), "call {n}: {:?}", report.findings);
        let there = reopen(&replica).await;
        assert_eq!(errors(&there).await, [], "call {n}");
        let count = verify(&replica).await;
        assert!((4..=6).contains(&count), "call {n}: {count}");
        prune(&there, &options(T0 + 30 * DAY, DAY)).await.unwrap();
        assert_eq!(errors(&there).await, [], "call {n}");
        assert_eq!(verify(&replica).await, count, "call {n}");
    }
}

#[tokio::test]
async fn a_prune_of_the_source_between_any_two_calls_does_no_harm() {
    pruned_meanwhile(true).await;
}

#[tokio::test]
async fn a_prune_of_the_replica_between_any_two_calls_does_no_harm() {
    pruned_meanwhile(false).await;
}

#[tokio::test]
async fn key_slots_follow_the_source_and_go_only_when_that_is_said() {
    let (storage, repo, _) = lived_in().await;
    let replica = memory();
    let extra = repo.add_slot(&Passphrase::generate(), KeyRight::WriteOnly, "server", T0).await.unwrap();
    replicate(&storage, &replica).await;
    repo.remove_slot(&extra).await.unwrap();
    let report = replicate(&storage, &replica).await;
    assert_eq!((report.keys_kept, report.keys_deleted), (1, 0));
    // A source that lost its slots takes none from the replica.
    let emptied = copy(&storage).await;
    for slot in files(&emptied, "keys").await {
        replace(&emptied, &slot, b"damaged".to_vec()).await;
    }
    let slots = repo::copy_slots(&*emptied, &*replica, true, false).await.unwrap();
    assert_eq!((slots.deleted, slots.findings.len()), (0, 1));
    let report = run(&storage, &replica, MirrorOptions { delete: true, ..FOLLOW }).await.unwrap();
    assert_eq!((report.keys_kept, report.keys_deleted), (0, 1));
    assert_eq!(files(&replica, "keys").await, files(&storage, "keys").await);
}

#[tokio::test]
async fn both_ways_join_what_each_side_has_alone() {
    let (storage, repo, names) = lived_in().await;
    let replica = memory();
    replicate(&storage, &replica).await;
    let there = reopen(&replica).await;
    back_up(&repo, &[noise(11, 9_000), noise(2, 12_000)], &[noise(12, 50)]).await.unwrap();
    let alone = back_up(&there, &[noise(13, 9_000), noise(0, 12_000)], &[noise(14, 50)]).await.unwrap();
    forget(&repo, &names[1]).await;
    prune(&repo, &options(T0, 0)).await.unwrap();
    prune(&there, &options(T0, 0)).await.unwrap();
    assert_eq!(missing_snapshots(&there, &repo).await.unwrap(), 1, "the forgotten one does not count");
    let report = run(&replica, &storage, MirrorOptions::default()).await.unwrap();
    assert_eq!((report.snapshots, report.snapshots_forgotten), (1, 1));
    replicate(&storage, &replica).await;
    assert_eq!((verify(&storage).await, verify(&replica).await), (4, 5));
    assert!(reopen(&storage).await.list_documents(DocumentKind::Snapshot).await.unwrap().contains(&alone));
    assert_eq!((is_sound(&storage).await, is_sound(&replica).await), (4, 5));
}

#[tokio::test]
async fn a_replica_is_made_without_a_key_and_no_snapshot_comes_before_its_contents() {
    let (storage, repo, names) = lived_in().await;
    forget(&repo, &names[0]).await;
    prune(&repo, &options(T0, DAY)).await.unwrap();
    let calls = {
        let (replica, (target, to)) = (memory(), counted(&memory()));
        let report = repo::copy_without_key(&*storage, &*to, true, &Silent).await.unwrap();
        assert_eq!((report.files["snapshots"], target.recorder().count(&Which::Write)), (2, 0));
        let (target, to) = counted(&replica);
        repo::copy_without_key(&*storage, &*to, false, &Silent).await.unwrap();
        assert_eq!(files(&replica, "").await, files(&storage, "").await);
        assert_eq!(target.recorder().count(&Which::Kind(Call::Put)), files(&storage, "").await.len() as u64);
        target.recorder().count(&Which::Any)
    };
    for n in 1..=calls {
        let replica = memory();
        let dying = FaultStorage::new(replica.clone(), FaultPlan::new().at(Which::Any, n, Fault::DieBefore));
        assert!(repo::copy_without_key(&*storage, &dying, false, &Silent).await.is_err(), "call {n}");
        if replica.stat("config").await.is_ok() {
            verify(&replica).await;
        }
        repo::copy_without_key(&*storage, &*replica, false, &Silent).await.unwrap();
        assert_eq!(verify(&replica).await, 2, "call {n}");
    }
    let replica = memory();
    repo::copy_without_key(&*storage, &*replica, false, &Silent).await.unwrap();
    assert_eq!(is_sound(&copy(&replica).await).await, 2);
    // With new index files it takes a key to say which of them stand in for which.
    back_up(&repo, &[noise(31, 9_000)], &[]).await.unwrap();
    let before = files(&replica, "").await;
    let refused = repo::copy_without_key(&*storage, &*replica, false, &Silent).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::InvalidInput && refused.hint().unwrap().contains("key"), "{refused}");
    assert_eq!(files(&replica, "").await, before);
    replicate(&storage, &replica).await;
    assert_eq!(is_sound(&replica).await, 3);
    // Damage does not travel, and no snapshot that it may touch.
    let pack = files(&storage, "packs").await.remove(0);
    replace(&storage, &pack, noise(1, 300)).await;
    let replica = memory();
    let report = repo::copy_without_key(&*storage, &*replica, false, &Silent).await.unwrap();
    assert!(report.findings.len() == 1 && report.findings[0].object == pack, "{:?}", report.findings);
    assert_eq!(files(&replica, "snapshots").await.len(), 0);
}
