//! Days of scripted change, with and without faults.

use tenantvault::sim::{Expected, Fault, FaultKind, SimOptions};

use tenantvault::snapshot::set::Versions;

use crate::compare::assert_equal;
use crate::support::{Setting, set};

async fn all_snapshots_equal(setting: &Setting, truths: &[Expected], recoverable: bool) {
    let repo = setting.reopen(false).await;
    let snapshots = setting.snapshots().await;
    assert_eq!(snapshots.len(), truths.len());
    for (snapshot, truth) in snapshots.iter().zip(truths) {
        assert_equal(&repo, &snapshot.file, truth, recoverable).await;
    }
    // What came and went is told in full, collections that went whole with what they held too.
    for totals in snapshots.array_windows().map(|[before, after]| [before.file.totals, after.file.totals]) {
        let [before, after] = totals;
        assert_eq!(after.items + after.items_removed, before.items + after.items_added, "{before:?} {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_snapshot_equals_the_tenant_of_its_day() {
    let mut setting = Setting::new(SimOptions { users: 3, ..SimOptions::tiny() }).await;
    setting.options.set = set(true);
    let mut truths = vec![];
    for day in 0..5 {
        if day > 0 {
            setting.next_day();
        }
        truths.push(setting.sim.expected());
        let report = setting.backup().await.unwrap();
        assert!(!report.stopped);
    }
    all_snapshots_equal(&setting, &truths, true).await;
}

fn fault(kind: FaultKind, probability: f64) -> Fault {
    Fault { kind, path: String::new(), probability, count: None }
}

// Found once by hanging: pages asked ahead stood first in a mailbox's queue and were not polled while the contents of
// messages, behind them in the same queue, were waited for.
#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_network_change_nothing_in_a_snapshot() {
    let mut setting = Setting::new(SimOptions::tiny()).await;
    // Earlier versions and retention labels are asked for too.
    setting.options.set.options.versions = Versions::All;
    setting.options.set.options.retention_labels = true;
    let mut truths = vec![];
    for day in 0..3 {
        if day > 0 {
            setting.next_day();
        }
        setting.sim.clear_faults();
        for kind in [
            FaultKind::TooManyRequests { retry_after: 0.01 },
            FaultKind::Status { status: 500 },
            FaultKind::Status { status: 503 },
            FaultKind::Drop,
            FaultKind::Truncate,
            FaultKind::UrlExpired,
        ] {
            setting.sim.inject(fault(kind, 0.02));
        }
        truths.push(setting.sim.expected());
        setting.backup().await.unwrap();
    }
    all_snapshots_equal(&setting, &truths, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_delta_tokens_fetch_no_contents_again() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    setting.sim.clear_stats();
    setting.sim.inject(Fault { kind: FaultKind::Gone, path: "delta".into(), probability: 1.0, count: Some(40) });
    let report = setting.backup().await.unwrap();
    assert_eq!((report.totals.items_added, report.totals.items_removed), (0, 0));
    assert_eq!(report.totals.bytes_read, 0, "contents were fetched again");
    let truth = setting.sim.expected();
    let snapshots = setting.snapshots().await;
    assert_equal(&setting.repo, &snapshots[1].file, &truth, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_run_reads_nothing_and_writes_next_to_nothing() {
    let setting = Setting::new(SimOptions::tiny()).await;
    let first = setting.backup().await.unwrap();
    let second = setting.backup().await.unwrap();
    assert_eq!(second.totals.bytes_read, 0);
    assert_eq!((second.totals.items_added, second.totals.items_removed), (0, 0));
    // Items with gaps are asked for again; only they may read differently.
    assert!(second.totals.items_changed <= second.totals.gaps, "{:?}", second.totals);
    assert_eq!(first.totals.items, second.totals.items);
    assert!(second.totals.bytes_stored < 200 << 10, "{} bytes", second.totals.bytes_stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vanishes_or_is_damaged_at_the_source_is_a_gap_or_absent_and_never_ends_a_run() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.sim.inject(Fault { kind: FaultKind::Corrupt, path: "/messages/".into(), probability: 0.1, count: None });
    let report = setting.backup().await.unwrap();
    assert!(report.gaps.iter().any(|g| g.reason == "damaged-at-source"), "{:?}", report.gaps);
    // What was damaged then is read when it is well again, though no delta tells of it.
    setting.sim.clear_faults();
    let report = setting.backup().await.unwrap();
    assert!(!report.gaps.iter().any(|g| g.reason == "damaged-at-source"), "{:?}", report.gaps);
    let snapshots = setting.snapshots().await;
    assert_equal(&setting.repo, &snapshots[1].file, &setting.sim.expected(), false).await;
}

/// Items of every workload change, move and go while they are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_changes_while_it_is_read_is_read_whole_by_the_next_run() {
    let mut options = SimOptions::tiny();
    (options.script.staff, options.script.edited_files) = (false, 8);
    let setting = Setting::new(options).await;
    for _ in 0..2 {
        setting.sim.clear_stats();
        let changing = async {
            for days in 1..8 {
                while setting.sim.stats().requests < days * 60 {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
                setting.next_day();
            }
            std::future::pending::<()>().await;
        };
        let before = setting.sim.day();
        let report = tokio::select! {
            report = setting.backup() => report.unwrap(),
            () = changing => unreachable!("it never ends"),
        };
        assert!(setting.sim.day() >= before + 3, "{} days went by", setting.sim.day() - before);
        assert!(!report.stopped);
        setting.backup().await.unwrap();
        let snapshot = setting.snapshots().await.pop().unwrap();
        assert_equal(&setting.repo, &snapshot.file, &setting.sim.expected(), false).await;
    }
}
