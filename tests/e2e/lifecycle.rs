//! Stop, forget, prune, check, find, export: what happens to snapshots after they were made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tenantvault::format::id::BlobId;
use tenantvault::monitor::{Counter, Monitor, Silent};
use tenantvault::ops::backup::{Stop, Surroundings, backup};
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::export::{ExportOptions, export};
use tenantvault::ops::present::Mode;
use tenantvault::ops::view::{Place, View};
use tenantvault::ops::{check, diff, forget, prune};
use tenantvault::repo::{Clock, PruneOptions, ReadData};
use tenantvault::sim::{Contents, Expected, ExpectedDrive, Fault, FaultKind, ItemKind, SimOptions};
use tenantvault::snapshot::policy::{Count, Policy};
use tenantvault::snapshot::store;

use crate::compare::assert_equal;
use crate::support::Setting;

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_leaves_an_incomplete_snapshot_and_the_next_run_completes_it() {
    let setting = Setting::new(SimOptions::tiny()).await;
    let report = setting.backup_stopped_after(30).await.unwrap();
    assert!(report.stopped && !report.complete);
    assert!(report.totals.items >= 20, "{:?}", report.totals);
    setting.clock.fetch_add(1_000_000, std::sync::atomic::Ordering::Relaxed);
    let report = setting.backup().await.unwrap();
    assert!(report.complete, "{:?}", report.gaps);
    let snapshots = setting.snapshots().await;
    assert!(!snapshots[0].file.complete && snapshots[1].file.complete);
    assert_equal(&setting.repo, &snapshots[1].file, &setting.sim.expected(), false).await;
}

/// Microsoft may ask to wait for an hour, for contents as for a page of a listing: a stopped run does not wait it out, and
/// the next one reads what it left.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_does_not_wait_for_its_budget() {
    for path in ["/$value", "/messages/delta"] {
        let mut setting = Setting::new(SimOptions::tiny()).await;
        setting.backup().await.unwrap();
        setting.next_day();
        let kind = FaultKind::TooManyRequests { retry_after: 3000.0 };
        setting.sim.inject(Fault { kind, path: path.into(), probability: 1.0, count: None });
        let stopped = async {
            while setting.client.budget().waiting_text().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            setting.stop.stop();
            tokio::time::sleep(Duration::from_secs(60)).await;
        };
        tokio::select! {
            report = setting.backup() => assert!(report.is_ok_and(|r| r.stopped && !r.complete), "{path}"),
            () = stopped => panic!("{path}: it waits although it was stopped"),
        }
        setting.sim.clear_faults();
        (setting.client, setting.stop) = (crate::support::client(&setting.sim), Stop::new());
        assert!(setting.backup().await.unwrap().complete);
        let last = setting.snapshots().await.pop().unwrap();
        assert_equal(&setting.repo, &last.file, &setting.sim.expected(), false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forget_and_prune_leave_the_kept_snapshots_whole_and_give_back_space() {
    // Some files lie in several segments.
    let contents = Contents { large_file_bytes: 6_000_000, ..Contents::tiny() };
    let setting = Setting::new(SimOptions { contents, ..SimOptions::tiny() }).await;
    let mut truths = vec![];
    for day in 0..4 {
        if day > 0 {
            setting.next_day();
        }
        truths.push(setting.sim.expected());
        setting.backup().await.unwrap();
    }
    let snapshots = setting.snapshots().await;
    let policy = Policy { keep_last: Count(2), ..Policy::default() };
    let plans = forget::plan(&snapshots, |_| Ok(Some((policy.clone(), TimeZone::UTC))), Timestamp::now()).unwrap();
    assert_eq!(forget::execute(&setting.repo, &snapshots, &plans).await.unwrap(), 2);
    let before: u64 = setting.repo.stored_packs().await.unwrap().values().sum();
    let options = PruneOptions { grace_us: 0, max_unused_percent: 0.0, now_us: 1, clock: Clock::still(1) };
    let plan = prune::plan(&setting.repo, &options, &Silent).await.unwrap();
    plan.execute(&setting.repo, &Silent).await.unwrap();
    let after: u64 = setting.repo.stored_packs().await.unwrap().values().sum();
    assert!(after < before, "{after} of {before} bytes are left");
    let repo = setting.reopen(true).await;
    let report = check::check(&repo, ReadData::All, &Silent).await.unwrap();
    assert!(!report.has_errors(), "{:?} {:?}", report.findings, report.items);
    let left = setting.snapshots().await;
    assert_eq!(left.len(), 2);
    for (snapshot, truth) in left.iter().zip(&truths[2..]) {
        assert_equal(&repo, &snapshot.file, truth, false).await;
    }
    // And the next run builds upon what is left.
    setting.next_day();
    setting.backup().await.unwrap();
    let newest = setting.snapshots().await.pop().unwrap();
    assert_equal(&setting.repo, &newest.file, &setting.sim.expected(), false).await;
}

fn drives(truth: &Expected) -> impl Iterator<Item = &ExpectedDrive> {
    truth
        .users
        .iter()
        .filter_map(|user| user.drive.as_ref())
        .chain(truth.libraries.iter().map(|library| &library.drive))
}

#[tokio::test(flavor = "multi_thread")]
async fn people_find_items_by_paths_and_export_them() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    let snapshots = setting.snapshots().await;
    let latest = store::find(&snapshots, "everyone@latest").unwrap();
    let view = View::new(setting.repo.clone(), latest.file.clone());
    let truth = setting.sim.expected();
    let user = truth
        .users
        .iter()
        .find(|u| u.drive.as_ref().is_some_and(|d| d.items.iter().any(|i| i.content.is_some() && !i.malware)))
        .unwrap();
    let item = user
        .drive
        .as_ref()
        .unwrap()
        .items
        .iter()
        .find(|i| i.content.as_ref().is_some_and(|c| !c.is_empty()) && !i.malware)
        .unwrap();
    let path = format!("users/{}/OneDrive/{}", user.upn, item.path);
    let Place::Item(_, record, _) = view.resolve(&path).await.unwrap() else { panic!("{path} is no item") };
    assert_eq!(record.id, item.id);
    let e = view.resolve(&format!("users/{}/OneDrive/no such thing", user.upn)).await.unwrap_err();
    assert!(e.to_string().contains("no such thing"), "{e}");

    let folder = tempfile::tempdir().unwrap();
    // As it is stored: what is made of several items stands beside them and would be counted too.
    let view = view.shown(Mode::Raw);
    let place = view.resolve("").await.unwrap();
    let report = export(&view, &place, folder.path(), ExportOptions::default(), &Silent, &Stop::new()).await.unwrap();
    let messages: usize =
        truth.users.iter().flat_map(|u| &u.mailbox).map(|m| m.messages.iter().filter(|m| !m.recoverable).count()).sum();
    let files: usize = drives(&truth).map(|drive| drive.items.iter().filter(|i| i.content.is_some()).count()).sum();
    let permissions: usize = drives(&truth).flat_map(|drive| &drive.items).map(|item| item.permissions.len()).sum();
    let permissions = permissions + drives(&truth).map(|drive| drive.root_permissions.len()).sum::<usize>();
    // What a shortcut leads to is not exported, and told.
    let shortcuts = drives(&truth).flat_map(|d| &d.items).filter(|i| i.kind == ItemKind::Shortcut).count();
    let folders = [
        "contactFolder",
        "calendarGroup",
        "calendar",
        "todoTaskList",
        "list",
        "group",
        "set",
        "term",
        "conversationThread",
        "plannerPlan",
        "plannerBucket",
        "channel",
        "chat",
    ];
    let things = truth.collections.values().flat_map(|c| &c.things).filter(|t| !folders.contains(&t.kind)).count();
    assert_eq!(
        report.files as usize + report.problems.len(),
        messages + files + permissions + shortcuts + things,
        "{:?}",
        report.problems
    );
    let mut written: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut open = vec![folder.path().to_owned()];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                *written.entry(std::fs::read(entry.path()).unwrap()).or_default() += 1;
            }
        }
    }
    for message in truth.users.iter().flat_map(|u| &u.mailbox).flat_map(|m| &m.messages).filter(|m| !m.recoverable) {
        assert!(written.contains_key(&message.mime.bytes()), "'{}' was not exported as it is", message.subject);
    }
    // A second time: all is there already.
    let again = export(&view, &place, folder.path(), ExportOptions::default(), &Silent, &Stop::new()).await.unwrap();
    assert_eq!((again.files, again.skipped), (0, report.files), "{:?}", again.problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn diff_tells_what_the_day_changed() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    setting.next_day();
    let report = setting.backup().await.unwrap();
    let snapshots = setting.snapshots().await;
    let mut kinds = BTreeMap::new();
    let mut differences = Vec::new();
    let mut visit = |d: diff::Difference| {
        *kinds.entry(format!("{:?}", d.kind)).or_insert(0u64) += 1;
        differences.push(d);
        Ok(())
    };
    diff::diff(&setting.repo, &snapshots[0].file, &snapshots[1].file, &mut visit).await.unwrap();
    // Each path leads to the item that it stands for.
    for d in &differences {
        let of = if d.kind == diff::Kind::Removed { &snapshots[0] } else { &snapshots[1] };
        match View::new(setting.repo.clone(), of.file.clone()).resolve(&d.path).await {
            Ok(Place::Item(_, record, _)) => assert_eq!(record.id, d.record.id, "{}", d.path),
            other => panic!("{}: {other:?}", d.path),
        }
    }
    let count = |k: &str| kinds.get(k).copied().unwrap_or(0);
    assert_eq!(count("Added"), report.totals.items_added);
    assert_eq!(count("Removed"), report.totals.items_removed);
    assert_eq!(count("Changed") + count("Moved") + count("Touched"), report.totals.items_changed);
    assert!(count("Added") > 0 && count("Moved") > 0, "{kinds:?}");
}

/// Wakes someone after so many items.
struct WakeAfter(std::sync::atomic::AtomicI64, Arc<tokio::sync::Notify>);

impl Monitor for WakeAfter {
    fn add(&self, counter: Counter, by: i64) {
        if counter == Counter::Items && self.0.fetch_sub(by, std::sync::atomic::Ordering::Relaxed) <= by {
            self.1.notify_one();
        }
    }
}

// Found by many processes at once: a mailbox that goes while its messages are fetched ended the whole run.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_leaves_while_his_mail_is_read_is_a_gap_and_ends_no_run() {
    for after in [1, 30, 90] {
        let options = SimOptions { users: 3, messages: 60, ..SimOptions::tiny() };
        let setting = Setting::new(options).await;
        // On the third day a user leaves.
        setting.next_day();
        setting.next_day();
        let wake = Arc::new(tokio::sync::Notify::new());
        let clock = setting.clock.clone();
        let around = Surroundings {
            monitor: Arc::new(WakeAfter(after.into(), wake.clone())),
            now_us: Arc::new(move || clock.fetch_add(1000, std::sync::atomic::Ordering::Relaxed)),
            stop: setting.stop.clone(),
        };
        let leaving = async {
            wake.notified().await;
            setting.next_day();
        };
        let (report, ()) = tokio::join!(backup(&setting.repo, &setting.client, &setting.options, &around), leaving);
        let report = report.unwrap_or_else(|e| panic!("after {after} items: {}", e.chain()));
        assert!(!report.stopped);
        let whole = |g: &&tenantvault::format::collection::Gap| g.id.is_empty() && g.reason == "unreadable";
        assert_eq!(report.complete, !report.gaps.iter().any(|g| whole(&g)), "{:?}", report.gaps);
        // The next run finds things as they are.
        setting.backup().await.unwrap();
        let newest = setting.snapshots().await.pop().unwrap();
        assert_equal(&setting.repo, &newest.file, &setting.sim.expected(), false).await;
    }
}

/// Spoils the stored bytes of one tree node.
async fn spoil(setting: &Setting, id: &BlobId) {
    let index = setting.repo.index();
    let places: Vec<_> = index.find_all(id).map(|l| (l.pack.id.to_string(), l.blob)).collect();
    assert!(!places.is_empty());
    for (pack, blob) in places {
        let path = format!("packs/{}/{pack}", &pack[..2]);
        let mut bytes = setting.storage.get(&path, u64::MAX).await.unwrap().to_vec();
        bytes[blob.offset as usize + 3] ^= 1;
        setting.storage.delete(&path).await.unwrap();
        setting.storage.put(&path, vec![bytes.into()]).await.unwrap();
    }
}

// Found by hand: one flipped bit in a pack of trees failed every backup from then on.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_repository_lost_of_a_collection_is_read_from_the_tenant_again() {
    let mut setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    let before = setting.snapshots().await.pop().unwrap();
    let catalog = Catalog::load(&setting.repo, Some(&before.file)).await.unwrap();
    let state = catalog.states.values().find(|s| s.key.ends_with("/mail")).unwrap();
    spoil(&setting, &state.items.unwrap().id).await;
    setting.repo = setting.reopen(false).await;
    setting.next_day();
    let report = setting.backup().await.unwrap();
    assert_eq!(report.damage.len(), 1, "{:?}", report.damage);
    assert!(report.damage[0].starts_with(&state.name), "{:?}", report.damage);
    assert_eq!(report.parent, Some(before.id));
    let newest = setting.snapshots().await.pop().unwrap();
    assert_equal(&setting.repo, &newest.file, &setting.sim.expected(), false).await;
    // It is whole again, and the next run does as ever.
    setting.next_day();
    let report = setting.backup().await.unwrap();
    assert_eq!(report.damage, [""; 0]);
    let newest = setting.snapshots().await.pop().unwrap();
    assert_equal(&setting.repo, &newest.file, &setting.sim.expected(), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_builds_upon_the_newest_snapshot_that_is_whole() {
    let mut setting = Setting::new(SimOptions::tiny()).await;
    for _ in 0..2 {
        setting.backup().await.unwrap();
        setting.next_day();
    }
    let before = setting.snapshots().await;
    spoil(&setting, &before[1].file.catalog.unwrap().id).await;
    setting.repo = setting.reopen(false).await;
    let report = setting.backup().await.unwrap();
    assert!(report.damage[0].contains(&before[1].id.short()), "{:?}", report.damage);
    assert_eq!(report.parent, Some(before[0].id));
    let newest = setting.snapshots().await.pop().unwrap();
    assert_equal(&setting.repo, &newest.file, &setting.sim.expected(), false).await;
}

#[tokio::test]
async fn a_policy_that_fits_no_snapshot_forgets_none() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    let policy = Policy { keep_tags: vec!["mistyped".into()], ..Policy::default() };
    let snapshots = setting.snapshots().await;
    let plan = forget::plan(&snapshots, |_| Ok(Some((policy.clone(), TimeZone::UTC))), Timestamp::now());
    let e = plan.unwrap_err();
    assert!(e.to_string().contains("every snapshot of set 'everyone'") && e.hint().is_some(), "{e}");
}
