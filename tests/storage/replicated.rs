//! Several storages as one: the contract, and who is left out when it fails.

use std::sync::Arc;

use bytes::Bytes;
use tenantvault::ErrorKind;
use tenantvault::storage::fault::{Call, Fault, FaultPlan, FaultStorage, Which};
use tenantvault::storage::{ReplicatedStorage, Storage};

use super::{Place, memory};

fn named(storages: Vec<Arc<dyn Storage>>) -> Vec<(String, Arc<dyn Storage>)> {
    ["first", "second", "third"].map(str::to_owned).into_iter().zip(storages).collect()
}

pub fn three() -> Place {
    let inner = (0..3).map(|_| memory().storage).collect();
    let storage = Arc::new(ReplicatedStorage::new(named(inner), |_| true));
    Place { storage, ..memory() }
}

/// The first and the last failed when they were first written to, and are left out.
pub async fn one_of_three_is_left() -> Place {
    let place = memory();
    let members = named(vec![dead(), place.storage, dead()]);
    let storage = Arc::new(ReplicatedStorage::new(members, |_| true));
    storage.put("config", vec![]).await.unwrap();
    storage.delete("config").await.unwrap();
    assert_eq!(storage.failures().len(), 2);
    Place { storage, ..memory() }
}

fn dead() -> Arc<dyn Storage> {
    let plan = FaultPlan::new().every(Which::Any, Fault::Fail(ErrorKind::Unavailable));
    Arc::new(FaultStorage::new(memory().storage, plan))
}

fn one(bytes: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(bytes.as_bytes())]
}

#[tokio::test]
async fn what_is_shared_goes_to_all_and_the_rest_to_the_leader() {
    let (a, b) = (memory().storage, memory().storage);
    let both = ReplicatedStorage::new(named(vec![a.clone(), b.clone()]), |path| path.starts_with("packs/"));
    both.put("packs/1", one("pack")).await.unwrap();
    both.put("snapshots/1", one("snapshot")).await.unwrap();
    assert_eq!((a.list("").await.unwrap().len(), b.list("").await.unwrap().len()), (2, 1));
    // What one member has already was copied there before.
    b.put("packs/2", one("two")).await.unwrap();
    both.put("packs/2", one("two")).await.unwrap();
    assert_eq!(both.put("packs/2", one("two")).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    both.delete("packs/1").await.unwrap();
    assert_eq!(b.stat("packs/1").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(both.failures(), []);
}

#[tokio::test]
async fn who_cannot_be_written_to_is_left_out_and_the_next_one_leads() {
    for fault in [Fault::DieBefore, Fault::Fail(ErrorKind::StorageFull), Fault::Fail(ErrorKind::Permission)] {
        let inner: Vec<Arc<dyn Storage>> = (0..3).map(|_| memory().storage).collect();
        let plan = FaultPlan::new().at(Which::Kind(Call::Put), 2, fault);
        let first = Arc::new(FaultStorage::new(inner[0].clone(), plan));
        let members = named(vec![first.clone(), inner[1].clone(), inner[2].clone()]);
        let all = ReplicatedStorage::new(members, |path| path.starts_with("packs/"));
        for n in 1..=3 {
            all.put(&format!("packs/{n}"), one("x")).await.unwrap();
        }
        all.put("snapshots/1", one("x")).await.unwrap();
        let mut counts = Vec::new();
        for storage in &inner {
            counts.push(storage.list("").await.unwrap().len());
        }
        assert_eq!(counts, [1, 4, 3], "{fault:?}");
        assert_eq!(all.failures().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["first"]);
        // Who comes to lead has what the leader before had alone, before anything new.
        first.revive(FaultPlan::new().at(Which::Kind(Call::Put), 3, fault));
        let all = ReplicatedStorage::new(named(vec![first, inner[2].clone()]), |_| false);
        for name in ["snapshots/5", "sets/5", "runs/5"] {
            all.put(name, one("x")).await.unwrap();
        }
        for name in ["snapshots/5", "sets/5", "runs/5"] {
            inner[2].stat(name).await.unwrap();
        }
        // And one that follows.
        let all = ReplicatedStorage::new(named(vec![inner[1].clone(), dead()]), |_| true);
        all.put("packs/9", one("x")).await.unwrap();
        assert_eq!(all.failures().len(), 1);
        assert!(all.failures()[0].1.contains("planned"));
    }
}

#[tokio::test]
async fn what_one_lacks_is_read_from_another_and_when_none_is_left_all_are_named() {
    let (a, b) = (memory().storage, memory().storage);
    b.put("packs/1", one("here")).await.unwrap();
    let both = ReplicatedStorage::new(named(vec![a, b]), |_| true);
    assert_eq!(&both.get("packs/1", 9).await.unwrap()[..], b"here");
    assert_eq!(&both.get_range("packs/1", 1, 2).await.unwrap()[..], b"er");
    assert_eq!(both.stat("packs/1").await.unwrap().size_bytes, 4);
    // Who cannot be asked for what the others have not leads no more: whoever listed it there lists again.
    let some = ReplicatedStorage::new(named(vec![dead(), memory().storage]), |_| true);
    assert_eq!(some.get("packs/1", 9).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(some.failures().len(), 1);
    let none = ReplicatedStorage::new(named(vec![dead(), dead()]), |_| true);
    assert_eq!(none.put("packs/1", one("x")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let told = none.get("packs/1", 9).await.unwrap_err().to_string();
    assert!(told.contains("first") && told.contains("second"), "{told}");
}
