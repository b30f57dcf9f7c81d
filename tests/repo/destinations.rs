//! A run over several destinations goes on whatever fails at one of them, at any call, and the next run makes them equal.

use std::sync::Arc;

use tenantvault::error::{ErrorKind, Result};
use tenantvault::monitor::Silent;
use tenantvault::ops::replicas::{Destination, Lagging, Replicas};
use tenantvault::repo::{DocumentKind, DocumentName, Repository};
use tenantvault::storage::Storage;
use tenantvault::storage::fault::{Fault, FaultPlan, FaultStorage, Which};

use crate::mirror::{lived_in, note_run, replicate};
use crate::support::*;

/// Opens the first with its passphrase, the second as its replica.
async fn opened(first: Arc<dyn Storage>, second: Arc<dyn Storage>) -> Vec<Destination> {
    let leader = Repository::open(first, &pass(), None).await.unwrap();
    let other = leader.open_replica(second, None).await.unwrap();
    vec![Destination { name: "first".into(), repo: leader }, Destination { name: "second".into(), repo: other }]
}

async fn run(destinations: Vec<Destination>, seed: u64) -> (Result<DocumentName>, Vec<Lagging>) {
    let replicas = match Replicas::join(destinations, Vec::new(), None, &Silent).await {
        Ok(replicas) => replicas,
        Err(e) => return (Err(e), Vec::new()),
    };
    let repo = replicas.repository().clone();
    let streams = [noise(seed, 9_000), noise(1, 12_000), noise(50, 9_000)];
    let done = back_up(&repo, &streams, &[noise(seed + 1, 900), noise(70, 2000)]).await;
    if let Ok(name) = &done {
        note_run(&repo, name).await;
    }
    (done, replicas.finish(&Silent).await)
}

async fn has(storage: &Arc<dyn Storage>, name: &DocumentName) -> bool {
    reopen(storage).await.list_documents(DocumentKind::Snapshot).await.unwrap().contains(name)
}

/// Two destinations that forgot and pruned each by itself, and of which each has a snapshot that the other lacks.
async fn two() -> (Arc<dyn Storage>, Arc<dyn Storage>) {
    let (first, repo, names) = lived_in().await;
    let second = memory();
    replicate(&first, &second).await;
    let there = reopen(&second).await;
    forget(&there, &names[0]).await;
    for (repo, seed) in [(&repo, 200), (&there, 300)] {
        prune(repo, &options(T0, 0)).await.unwrap();
        let name = back_up(repo, &[noise(seed, 5_000), noise(2, 12_000)], &[noise(seed + 1, 60)]).await.unwrap();
        note_run(repo, &name).await;
    }
    (first, second)
}

/// At every call, or every so many.
async fn at_calls(number: usize, fault: Fault, step: usize) {
    let (first, second) = two().await;
    let faulty = |storage: &Arc<dyn Storage>| Arc::new(FaultStorage::new(storage.clone(), FaultPlan::new()));
    let both = |of: &[Arc<dyn Storage>; 2], faulty: &Arc<FaultStorage>| -> [Arc<dyn Storage>; 2] {
        let mut both = of.clone();
        both[number] = faulty.clone();
        both
    };
    let calls = {
        let of = [copy(&first).await, copy(&second).await];
        let counted = faulty(&of[number]);
        let [a, b] = both(&of, &counted);
        let destinations = opened(a, b).await;
        counted.recorder().clear();
        let (done, lagging) = run(destinations, 400).await;
        let name = done.unwrap();
        assert!(lagging.is_empty() && has(&of[0], &name).await && has(&of[1], &name).await, "{lagging:?}");
        assert_eq!((is_sound(&of[0]).await, is_sound(&of[1]).await), (6, 5));
        counted.recorder().count(&Which::Any)
    };
    assert!(calls > 30, "{calls}");
    for n in (1..=calls).step_by(step) {
        let of = [copy(&first).await, copy(&second).await];
        let failing = faulty(&of[number]);
        let [a, b] = both(&of, &failing);
        let destinations = opened(a, b).await;
        failing.revive(FaultPlan::new().at(Which::Any, n, fault));
        let (done, lagging) = run(destinations, 400).await;
        let context = format!("{fault:?} at call {n} of {calls} of {number}: {lagging:?}");
        let name = done.unwrap_or_else(|e| panic!("{context}: {e:?}"));
        let told = |n: usize| lagging.iter().any(|l| l.destination == ["first", "second"][n]);
        for side in [0, 1] {
            assert!(has(&of[side], &name).await || told(side), "{context}");
            let repo = reopen(&of[side]).await;
            assert_eq!(errors(&repo).await, [], "{context}");
            verify(&of[side]).await;
        }
        assert!(has(&of[0], &name).await || has(&of[1], &name).await, "{context}");
        let (done, lagging) = run(opened(of[0].clone(), of[1].clone()).await, 500).await;
        assert!(done.is_ok() && lagging.is_empty(), "{context}: {lagging:?}");
        assert_eq!((verify(&of[0]).await, verify(&of[1]).await), (7, 6), "{context}");
    }
}

#[tokio::test]
async fn a_run_goes_on_when_the_leader_dies_at_any_call() {
    at_calls(0, Fault::DieBefore, 1).await;
}

#[tokio::test]
async fn a_run_goes_on_when_a_follower_dies() {
    at_calls(1, Fault::DieBefore, 2).await;
}

#[tokio::test]
async fn a_run_goes_on_when_a_call_fails_at_either() {
    for number in [0, 1] {
        at_calls(number, Fault::Fail(ErrorKind::Unavailable), 3).await;
    }
}
