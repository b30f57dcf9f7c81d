//! The storage fails or dies at the n-th call, for every n: what was saved before still reads, and work goes on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tenantvault::crypto::{KeyRight, Passphrase};
use tenantvault::error::{ErrorKind, Result};
use tenantvault::monitor::Silent;
use tenantvault::repo::{DocumentKind, ReadData, Repository};
use tenantvault::storage::Storage;
use tenantvault::storage::fault::{Fault, FaultPlan, FaultStorage, Which};

use crate::power::{Loss, Powered};
use crate::support::*;

/// What happens at a call.
#[derive(Debug, Clone, Copy)]
enum Way {
    Fault(Fault),
    PowerCut(Loss),
}

// A torn put shows nothing: to a later look it is a death before the call.
const WAYS: [Way; 5] = [
    Way::Fault(Fault::Fail(ErrorKind::Unavailable)),
    Way::Fault(Fault::DieBefore),
    Way::Fault(Fault::DieAfter),
    Way::PowerCut(Loss::All),
    Way::PowerCut(Loss::Some(1)),
];

/// For long work: the ways that differ most.
const DEATHS: [Way; 4] = [
    Way::Fault(Fault::Delay(Duration::from_millis(1))),
    Way::Fault(Fault::DieBefore),
    Way::PowerCut(Loss::All),
    Way::PowerCut(Loss::Some(3)),
];

/// Runs `work` over a copy of `base` with a fault at the n-th call, for every n and each way, then `look` at what is
/// left. Gives how many calls there are.
async fn at_every_call(
    base: &Arc<dyn Storage>,
    work: impl AsyncFn(Arc<dyn Storage>) -> Result<()>,
    look: impl AsyncFn(Arc<dyn Storage>, bool),
) -> u64 {
    at_calls(base, &WAYS, work, look).await
}

async fn at_calls(
    base: &Arc<dyn Storage>,
    ways: &[Way],
    work: impl AsyncFn(Arc<dyn Storage>) -> Result<()>,
    look: impl AsyncFn(Arc<dyn Storage>, bool),
) -> u64 {
    let clean = Arc::new(FaultStorage::new(copy(base).await, FaultPlan::new()));
    work(clean.clone()).await.unwrap();
    let calls = clean.recorder().count(&Which::Any);
    assert!(calls > 3);
    for way in ways {
        for n in 1..=calls {
            let inner = copy(base).await;
            let (done, ended) = match way {
                Way::Fault(fault) => {
                    let plan = FaultPlan::new().at(Which::Any, n, *fault);
                    let storage = Arc::new(FaultStorage::new(inner.clone(), plan));
                    (work(storage.clone()).await, storage.is_dead())
                }
                Way::PowerCut(loss) => {
                    let storage = Arc::new(Powered::new(inner.clone(), n, *loss));
                    (work(storage.clone()).await, storage.is_off().await)
                }
            };
            if ended && n < calls {
                assert!(done.is_err(), "{way:?} at call {n} of {calls} went unnoticed");
            }
            if matches!(way, Way::Fault(Fault::Delay(_))) {
                assert!(done.is_ok(), "{done:?}");
            }
            println!("{way:?} at call {n} of {calls}: {}", if done.is_ok() { "done" } else { "failed" });
            look(inner, done.is_ok()).await;
        }
    }
    calls
}

/// One more prune, without grace, and there is no pack, no index file and no blob that nothing needs.
async fn one_prune_leaves_no_garbage(storage: &Arc<dyn Storage>) {
    let (repo, now) = (reopen(storage).await, T0 + 400 * DAY);
    prune(&repo, &options(now, 0)).await.unwrap();
    let after = plan(&repo, &options(now + DAY, 0)).await.unwrap();
    assert!(after.is_empty() && after.waiting.is_empty() && after.sizes.unused_kept == 0, "{after:?}");
    assert_eq!(repo.check_packs(ReadData::All, &Silent).await.unwrap(), [], "not even a note");
    assert_eq!(files(storage, "index").await.len(), repo.index().files().count());
    let listed: HashSet<_> = repo.index().packs().map(|p| p.id).collect();
    assert_eq!(repo.stored_packs().await.unwrap().into_keys().collect::<HashSet<_>>(), listed);
}

/// A repository with a few runs, one of them forgotten.
async fn lived_in() -> Arc<dyn Storage> {
    let (storage, repo) = init_tiny().await;
    let mut names = Vec::new();
    for n in 0..3u64 {
        let streams = [noise(n, 20_000), noise(50, 15_000), noise(n + 60, 700)];
        names.push(back_up(&repo, &streams, &[noise(n + 70, 2000), noise(n + 80, 50)]).await.unwrap());
    }
    forget(&repo, &names[0]).await;
    storage
}

#[tokio::test]
async fn init() {
    let base = memory();
    let work =
        async |storage: Arc<dyn Storage>| Repository::init_with(storage, &pass(), "x", tiny(), None).await.map(drop);
    at_every_call(&base, work, async |storage, _| {
        // Either it is there, or it can be made now.
        match Repository::open(storage.clone(), &pass(), None).await {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NoRepository => {
                Repository::init_with(storage.clone(), &pass(), "x", tiny(), None).await.unwrap();
            }
            Err(e) => panic!("{e:?}"),
        }
        assert_eq!(is_sound(&storage).await, 0);
        one_prune_leaves_no_garbage(&storage).await;
    })
    .await;
}

#[tokio::test]
async fn a_run() {
    let base = lived_in().await;
    let work = async |storage: Arc<dyn Storage>| {
        let repo = Repository::open(storage, &pass(), None).await?;
        let streams = [noise(100, 30_000), noise(50, 15_000), noise(101, 500)];
        back_up(&repo, &streams, &[noise(102, 9000), noise(70, 2000)]).await.map(drop)
    };
    at_every_call(&base, work, async |storage, done| {
        let count = is_sound(&storage).await;
        assert!(count == 3 || (count == 2 && !done), "{count}");
        one_prune_leaves_no_garbage(&storage).await;
        assert_eq!(verify(&storage).await, count + 1);
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_run_is_found_again_by_the_next() {
    let (storage, _) = init_tiny().await;
    let dying = Arc::new(FaultStorage::new(storage.clone(), FaultPlan::new().at(Which::Write, 6, Fault::DieBefore)));
    let repo = Repository::open(dying.clone(), &pass(), None).await.unwrap();
    let data = noise(1, 400_000);
    assert!(back_up(&repo, std::slice::from_ref(&data), &[]).await.is_err());
    dying.revive(FaultPlan::new());
    // The store came back too late for the run, but not for what it had stored: a failure leaves the listing behind.
    let failing = FaultPlan::new().at(Which::Write, 6, Fault::Fail(ErrorKind::Unavailable));
    dying.revive(failing);
    let repo = reopen(&(dying.clone() as Arc<dyn Storage>)).await;
    assert!(back_up(&repo, std::slice::from_ref(&data), &[]).await.is_err());
    let repo = reopen(&storage).await;
    let writer = writer(&repo);
    let doc = put(&writer, std::slice::from_ref(&data), &[]).await.unwrap();
    assert!(writer.stats().known_chunks > 10, "{:?}", writer.stats());
    save(&writer, &doc).await.unwrap();
    assert_eq!(is_sound(&storage).await, 1);
}

async fn prune_at_every_call(grace: i64, marked_before: bool) {
    let base = lived_in().await;
    let now = T0 + 3 * DAY;
    if marked_before {
        prune(&reopen(&base).await, &options(now - 2 * DAY, DAY)).await.unwrap();
    }
    let work = async |storage: Arc<dyn Storage>| {
        let repo = Repository::open(storage, &pass(), None).await?;
        prune(&repo, &options(now, grace)).await.map(drop)
    };
    let calls = at_every_call(&base, work, async |storage, _| {
        assert_eq!(is_sound(&storage).await, 2);
        // What a killed prune left is tidied by the next ones.
        let repo = reopen(&storage).await;
        for n in 1..4 {
            prune(&repo, &options(now + n * 2 * DAY, DAY)).await.unwrap();
        }
        let last = plan(&repo, &options(now + 9 * DAY, DAY)).await.unwrap();
        assert!(last.is_empty(), "{last:?}");
        let findings = repo.check_packs(tenantvault::repo::ReadData::All, &Silent).await.unwrap();
        assert_eq!(findings, []);
        one_prune_leaves_no_garbage(&storage).await;
        assert_eq!(verify(&storage).await, 3);
    })
    .await;
    assert!(calls > 12);
}

/// The next prune finds what a killed one left, also when there is nothing else to do: index files came to stay.
#[tokio::test]
async fn a_prune_that_was_killed_leaves_nothing_to_the_one_after_the_next() {
    let base = lived_in().await;
    let work = async |storage: Arc<dyn Storage>| {
        let repo = Repository::open(storage, &pass(), None).await?;
        let plan = prune(&repo, &options(T0, 0)).await?;
        assert!(!plan.repack.is_empty() && !plan.delete.is_empty(), "it copies and deletes");
        Ok(())
    };
    at_calls(&base, &DEATHS, work, async |storage, _| {
        one_prune_leaves_no_garbage(&storage).await;
        assert_eq!(verify(&storage).await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_forget() {
    let base = lived_in().await;
    let names = documents(&reopen(&base).await).await.unwrap();
    let work = async |storage: Arc<dyn Storage>| {
        let repo = Repository::open(storage, &pass(), None).await?;
        for (name, _) in &names {
            repo.delete_document(DocumentKind::Snapshot, name).await?;
        }
        Ok(())
    };
    at_every_call(&base, work, async |storage, done| {
        let count = is_sound(&storage).await;
        assert!(count == 0 || !done);
        one_prune_leaves_no_garbage(&storage).await;
        assert_eq!(verify(&storage).await, count + 1);
    })
    .await;
}

/// A whole day, from one run to a prune, on one storage.
#[tokio::test]
async fn a_run_a_forget_and_a_prune() {
    let base = lived_in().await;
    let old = documents(&reopen(&base).await).await.unwrap()[0].0;
    let work = async |storage: Arc<dyn Storage>| {
        let repo = Repository::open(storage, &pass(), None).await?;
        back_up(&repo, &[noise(100, 20_000), noise(50, 15_000)], &[noise(102, 900)]).await?;
        repo.delete_document(DocumentKind::Snapshot, &old).await?;
        prune(&repo, &options(T0, 0)).await.map(drop)
    };
    at_calls(&base, &DEATHS, work, async |storage, done| {
        let count = is_sound(&storage).await;
        assert!((2..=3).contains(&count) && (count == 2 || !done), "{count}");
        one_prune_leaves_no_garbage(&storage).await;
        assert_eq!(verify(&storage).await, count + 1);
    })
    .await;
}

/// A store that breaks the contract and shows half a file: what was saved before is still there, what is broken is
/// named, and when that is mended all is well.
#[tokio::test]
async fn a_file_that_is_torn_for_all_to_see() {
    let base = lived_in().await;
    let before: Vec<_> = documents(&reopen(&base).await).await.unwrap();
    let work = async |storage: Arc<dyn Storage>| {
        let repo = Repository::open(storage, &pass(), None).await?;
        back_up(&repo, &[noise(100, 30_000), noise(50, 15_000)], &[noise(102, 9000)]).await?;
        prune(&repo, &options(T0, DAY)).await.map(drop)
    };
    at_calls(&base, &[Way::Fault(Fault::TearVisibly)], work, async |storage, _| {
        let repo = reopen(&storage).await;
        for (_, doc) in &before {
            verify_doc(&repo, doc).await.unwrap();
        }
        if !repo.index().damaged().is_empty() {
            assert!(errors(&repo).await.iter().any(|f| f.object.starts_with("Index file")));
            repo.repair_index(false, &Silent).await.unwrap();
        }
        for name in repo.list_documents(DocumentKind::Snapshot).await.unwrap() {
            if let Err(e) = repo.get_document::<Doc>(DocumentKind::Snapshot, &name).await {
                assert_eq!(e.kind(), ErrorKind::Corrupt);
                forget(&repo, &name).await;
            }
        }
        let count = is_sound(&storage).await;
        assert!((2..=3).contains(&count));
        one_prune_leaves_no_garbage(&storage).await;
        assert_eq!(verify(&storage).await, count + 1);
    })
    .await;
}

#[tokio::test]
async fn a_prune_that_marks() {
    prune_at_every_call(DAY, false).await;
}

#[tokio::test]
async fn a_prune_that_deletes() {
    prune_at_every_call(DAY, true).await;
}

#[tokio::test]
async fn a_prune_without_grace() {
    prune_at_every_call(0, false).await;
}

#[tokio::test]
async fn a_repair_of_the_index() {
    let base = lived_in().await;
    let mut lost = files(&base, "index").await;
    base.delete(&lost.remove(0)).await.unwrap();
    let mut bytes = bytes_of(&base, &lost[0]).await;
    bytes[50] ^= 1;
    replace(&base, &lost[0], bytes).await;
    let work = async |storage: Arc<dyn Storage>| {
        let repo = Repository::open(storage, &pass(), None).await?;
        repo.repair_index(false, &Silent).await.map(drop)
    };
    at_every_call(&base, work, async |storage, _| {
        let repo = reopen(&storage).await;
        let (_, findings) = repo.repair_index(false, &Silent).await.unwrap();
        assert!(findings.iter().all(|f| !f.error), "{findings:?}");
        assert_eq!(is_sound(&storage).await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_change_of_the_passphrase() {
    let base = lived_in().await;
    let new = Passphrase::generate();
    let work = async |storage: Arc<dyn Storage>| {
        let repo = Repository::open(storage, &pass(), None).await?;
        repo.change_passphrase(&new, T0).await.map(drop)
    };
    at_every_call(&base, work, async |storage, done| {
        let with_old = Repository::open(storage.clone(), &pass(), None).await;
        let with_new = Repository::open(storage.clone(), &new, None).await;
        assert!(with_old.is_ok() || with_new.is_ok());
        assert!(!done || with_new.is_ok());
        let repo = with_new.or(with_old).unwrap();
        for (_, doc) in documents(&repo).await.unwrap() {
            verify_doc(&repo, &doc).await.unwrap();
        }
        repo.change_passphrase(&pass(), T0).await.unwrap();
        assert_eq!(is_sound(&storage).await, 2);
    })
    .await;
}

#[tokio::test]
async fn adding_and_removing_a_slot() {
    let base = lived_in().await;
    let work = async |storage: Arc<dyn Storage>| {
        let repo = Repository::open(storage, &pass(), None).await?;
        let id = repo.add_slot(&Passphrase::generate(), KeyRight::WriteOnly, "s", T0).await?;
        repo.remove_slot(&id).await
    };
    at_every_call(&base, work, async |storage, _| {
        assert_eq!(is_sound(&storage).await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_rescue() {
    let (base, repo) = init_tiny().await;
    let name = back_up(&repo, &[noise(1, 20_000)], &[noise(2, 100)]).await.unwrap();
    let work = async |storage: Arc<dyn Storage>| {
        let repo = Repository::open(storage.clone(), &pass(), None).await?;
        let writer = writer(&repo);
        let doc = match put(&writer, &[noise(1, 20_000)], &[noise(2, 100)]).await {
            Ok(doc) => doc,
            Err(e) => return Err(writer.finish().await.err().unwrap_or(e)),
        };
        // Meanwhile, elsewhere: the snapshot that this one builds upon is forgotten, and a prune marks its packs.
        let other = Repository::open(storage, &pass(), None).await?;
        other.delete_document(tenantvault::repo::DocumentKind::Snapshot, &name).await?;
        prune(&other, &options(T0, DAY)).await?;
        save(&writer, &doc).await.map(drop)
    };
    at_every_call(&base, work, async |storage, done| {
        let repo = reopen(&storage).await;
        let before = verify(&storage).await;
        assert!(!done || before == 1);
        prune(&repo, &options(T0 + 2 * DAY, DAY)).await.unwrap();
        assert_eq!(is_sound(&storage).await, before);
    })
    .await;
}
