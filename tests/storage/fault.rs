//! The fault-injecting wrapper does what its plan says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tenantvault::ErrorKind;
use tenantvault::storage::Storage;
use tenantvault::storage::fault::{Call, Fault, FaultPlan, FaultStorage, Which};

fn with(plan: FaultPlan) -> (Arc<dyn Storage>, FaultStorage) {
    let inner = super::memory().storage;
    (Arc::clone(&inner), FaultStorage::new(inner, plan))
}

fn data() -> Vec<Bytes> {
    vec![Bytes::from_static(b"0123"), Bytes::from_static(b"456789")]
}

#[tokio::test]
async fn a_planned_failure_hits_the_call_it_names_and_no_other() {
    let plan = FaultPlan::new()
        .at(Which::Under(Call::Put, "index/"), 2, Fault::Fail(ErrorKind::StorageFull))
        .every(Which::Kind(Call::Stat), Fault::Fail(ErrorKind::Permission));
    let (_, storage) = with(plan);
    storage.put("index/1", data()).await.unwrap();
    storage.put("packs/1", data()).await.unwrap();
    assert_eq!(storage.put("index/2", data()).await.unwrap_err().kind(), ErrorKind::StorageFull);
    storage.put("index/2", data()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(storage.stat("index/2").await.unwrap_err().kind(), ErrorKind::Permission);
    }
    assert!(!storage.is_dead());
}

#[tokio::test]
async fn after_a_death_every_call_fails_and_only_what_was_promised_remains() {
    for (fault, remains) in [
        (Fault::DieBefore, None),
        (Fault::Tear, None),
        (Fault::DieAfter, Some("0123456789")),
        (Fault::TearVisibly, Some("01234")),
    ] {
        let (inner, storage) = with(FaultPlan::new().at(Which::Write, 2, fault));
        storage.put("a", data()).await.unwrap();
        storage.get("a", 10).await.unwrap();
        assert_eq!(storage.put("b", data()).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(storage.is_dead());
        storage.get("a", 10).await.unwrap_err();
        storage.list("").await.unwrap_err();
        storage.stat("a").await.unwrap_err();
        storage.delete("a").await.unwrap_err();
        storage.put("c", data()).await.unwrap_err();
        let left = inner.get("b", 10).await.ok();
        assert_eq!(left.as_deref(), remains.map(str::as_bytes), "{fault:?}");
        inner.get("a", 10).await.unwrap();
        storage.revive(FaultPlan::new());
        storage.put("d", data()).await.unwrap();
    }
}

#[tokio::test]
async fn a_delayed_call_is_done_all_the_same() {
    let (_, storage) = with(FaultPlan::new().at(Which::Any, 1, Fault::Delay(Duration::from_millis(1))));
    storage.put("a", data()).await.unwrap();
    assert_eq!(storage.get("a", 10).await.unwrap().len(), 10);
}

#[tokio::test]
async fn every_call_is_counted_with_its_bytes() {
    let (_, storage) = with(FaultPlan::new());
    storage.put("packs/a", data()).await.unwrap();
    storage.put("index/a", data()).await.unwrap();
    storage.get_range("packs/a", 2, 3).await.unwrap();
    storage.get("packs/a", 100).await.unwrap();
    storage.list("packs").await.unwrap();
    storage.delete("packs/a").await.unwrap();
    let recorder = storage.recorder();
    assert_eq!(recorder.count(&Which::Any), 6);
    assert_eq!(recorder.count(&Which::Write), 3);
    assert_eq!(recorder.count(&Which::Under(Call::Put, "packs/")), 1);
    assert_eq!(recorder.bytes(&Which::Kind(Call::Put)), 20);
    assert_eq!(recorder.bytes(&Which::Kind(Call::GetRange)), 3);
    assert_eq!(recorder.calls()[3].path, "packs/a");
    recorder.clear();
    assert_eq!(recorder.count(&Which::Any), 0);
}
