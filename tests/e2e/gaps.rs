//! What a run cannot read stays as it was, with a gap that says so and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tenantvault::format::record::{Record, StreamRole};
use tenantvault::monitor::{Counter, Monitor};
use tenantvault::ops::backup::{Stop, Surroundings, backup};
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::nodes::RepoNodes;
use tenantvault::sim::{Fault, FaultKind, SimOptions};
use tenantvault::tree::collection::{CollectionReader, CollectionRoots};

use crate::compare::assert_equal;
use crate::support::{START_US, Setting};

fn fault(kind: FaultKind, path: &str, probability: f64) -> Fault {
    Fault { kind, path: path.into(), probability, count: None }
}

/// The catalog of the newest snapshot.
async fn newest(setting: &Setting) -> Catalog {
    let snapshot = setting.snapshots().await.pop().unwrap();
    Catalog::load(&setting.repo, Some(&snapshot.file)).await.unwrap()
}

async fn equals_the_tenant(setting: &Setting) {
    let snapshot = setting.snapshots().await.pop().unwrap();
    assert_equal(&setting.repo, &snapshot.file, &setting.sim.expected(), false).await;
}

/// The messages of all mailboxes.
async fn messages(setting: &Setting, catalog: &Catalog) -> BTreeMap<String, Record> {
    let nodes = RepoNodes(setting.repo.clone());
    let mut all = BTreeMap::new();
    for state in catalog.states.values().filter(|s| s.key.ends_with("/mail")) {
        let roots = CollectionRoots { items: state.items, children: state.children };
        let mut records = CollectionReader::new(&nodes, roots).records();
        while let Some(record) = records.next().await.unwrap() {
            all.insert(record.id.clone(), record);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_that_cannot_be_read_again_stay_as_they_were_with_a_gap() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    let before = messages(&setting, &newest(&setting).await).await;
    setting.sim.inject(fault(FaultKind::Corrupt, "/messages/", 1.0));
    let mut changed = BTreeMap::new();
    for _ in 0..6 {
        setting.next_day();
        let report = setting.backup().await.unwrap();
        let gaps = report.gaps.into_iter().filter(|g| before.contains_key(&g.id));
        changed.extend(gaps.map(|g| (g.id, g.since_us)));
        if !changed.is_empty() {
            break;
        }
    }
    assert!(!changed.is_empty(), "no message changed that was there before");
    let after = messages(&setting, &newest(&setting).await).await;
    for id in changed.keys() {
        let mime = |records: &BTreeMap<String, Record>| records[id].stream(StreamRole::Mime).cloned();
        assert!(mime(&before).is_some() && mime(&before) == mime(&after), "{id}: the older contents are gone");
    }
    // A day later the gap is still of the day on which it was found.
    setting.next_day();
    let report = setting.backup().await.unwrap();
    let since = |id: &String| report.gaps.iter().find(|g| g.id == *id).map(|g| g.since_us);
    let told: Vec<_> = changed.iter().filter_map(|(id, then)| Some((since(id)?, *then))).collect();
    assert!(!told.is_empty() && told.iter().all(|(now, then)| now == then), "{told:?}");
    setting.sim.clear_faults();
    setting.backup().await.unwrap();
    equals_the_tenant(&setting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_cannot_be_looked_at_keeps_what_is_stored_with_a_gap() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    let first = newest(&setting).await;
    let user = setting.sim.expected().users.into_iter().find(|u| u.mailbox.is_some()).unwrap();
    let mail = format!("users/{}/mail", user.id);
    setting.next_day();
    setting.sim.inject(fault(FaultKind::Status { status: 403 }, &user.id, 1.0));
    let mut since = None;
    for _ in 0..2 {
        let report = setting.backup().await.unwrap();
        let state = newest(&setting).await.states.remove(&mail).expect("the mail of before");
        assert_eq!((state.items, state.complete), (first.states[&mail].items, false));
        let gap = report.gaps.iter().find(|g| g.collection == mail && g.id.is_empty()).expect("a gap");
        assert_eq!(*since.get_or_insert(gap.since_us), gap.since_us);
    }
    setting.sim.clear_faults();
    setting.backup().await.unwrap();
    equals_the_tenant(&setting).await;
}

/// The site of a drive is locked after the drive was found.
#[tokio::test(flavor = "multi_thread")]
async fn drives_that_are_locked_in_the_middle_of_a_run_stay_as_they_were_with_a_gap() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    let before = newest(&setting).await;
    setting.next_day();
    setting.sim.inject(fault(FaultKind::Status { status: 423 }, "root/delta", 1.0));
    let report = setting.backup().await.unwrap();
    assert!(!report.complete && !report.stopped);
    let mut drives = 0;
    for (key, state) in newest(&setting).await.states {
        let is_drive = key.rsplit('/').next().is_some_and(|id| id.starts_with("b!"));
        assert_eq!(state.complete, !is_drive, "{}", state.name);
        let Some(was) = before.states.get(&key).filter(|_| is_drive) else { continue };
        assert_eq!((state.items, &state.cursors), (was.items, &was.cursors), "{}", state.name);
        let gap = report.gaps.iter().find(|gap| gap.collection == key && gap.id.is_empty());
        assert!(gap.is_some_and(|gap| gap.text.contains("423")), "{gap:?}");
        drives += 1;
    }
    assert!(drives > 2, "{drives}");
    setting.sim.clear_faults();
    assert!(setting.backup().await.unwrap().complete);
    equals_the_tenant(&setting).await;
}

// Found by the test below: a message whose contents failed so while the last ones of a mailbox were waited for ended
// the run, and no snapshot was written.
#[tokio::test(flavor = "multi_thread")]
async fn contents_that_fail_as_the_sign_in_does_end_a_mailbox_and_no_run() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.sim.inject(fault(FaultKind::Status { status: 401 }, "/$value", 1.0));
    let report = setting.backup().await.unwrap();
    assert!(!report.complete && !report.stopped);
    for state in newest(&setting).await.states.values() {
        let gap = report.gaps.iter().find(|g| g.collection == state.key && g.id.is_empty());
        assert_eq!(state.complete, gap.is_none(), "{}", state.name);
        let with_values = [
            "/mail",
            "/contacts",
            "/calendar",
            "/tasks",
            "/conversations",
            "/channel/",
            "/chats",
            "/files/",
            "/onedrive/",
        ];
        let asks_for_values = with_values.iter().any(|part| state.key.contains(part));
        assert!(asks_for_values || state.complete, "{}: {gap:?}", state.name);
        assert!(gap.is_none_or(|g| g.text.contains("401")), "{gap:?}");
    }
    assert!(report.gaps.iter().any(|g| g.id.is_empty() && g.collection.ends_with("/mail")));
    setting.sim.clear_faults();
    assert!(setting.backup().await.unwrap().complete);
    equals_the_tenant(&setting).await;
}

/// Cursors stand for exactly the items that they came with: what was stored by half a reading, and went away before the
/// next, no old cursor would tell of.
#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_breaks_off_keeps_its_gaps_and_gives_up_its_cursors() {
    let setting = Setting::new(SimOptions::tiny()).await;
    let (mut carried, mut half_read) = (0, 0);
    for _ in 0..15 {
        setting.sim.inject(fault(FaultKind::Corrupt, "/messages/", 0.1));
        setting.backup().await.unwrap();
        let before = newest(&setting).await;
        setting.next_day();
        // Some of a mailbox's folders refuse the sign-in, which ends its reading.
        setting.sim.inject(fault(FaultKind::Status { status: 401 }, "/messages/", 0.3));
        setting.backup().await.unwrap();
        let after = newest(&setting).await;
        for state in after.states.values().filter(|s| !s.complete) {
            let Some(was) = before.states.get(&state.key) else { continue };
            let ids = |c: &Catalog| c.gaps_of(&state.key).into_iter().map(|g| g.id).collect::<BTreeSet<_>>();
            assert!(ids(&after).contains("") && ids(&before).is_subset(&ids(&after)), "{}", state.name);
            carried += ids(&before).len();
            let half = was.items != state.items;
            assert_eq!(state.cursors, was.cursors.clone().filter(|_| !half), "{}", state.name);
            half_read += usize::from(half);
        }
        setting.sim.clear_faults();
        setting.backup().await.unwrap();
        equals_the_tenant(&setting).await;
        if carried > 0 && half_read > 0 {
            return;
        }
    }
    panic!("{carried} gaps were carried over, {half_read} mailboxes were half read");
}

/// Stops a run when the first collection is done.
struct StopAtOne(Stop);

impl Monitor for StopAtOne {
    fn add(&self, counter: Counter, _by: i64) {
        if counter == Counter::Collections {
            self.0.stop();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_run_did_not_reach_stays_as_it_was() {
    let mut setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    let before = newest(&setting).await;
    setting.next_day();
    setting.options.collections_at_once = 1;
    let stop = Stop::new();
    let monitor = Arc::new(StopAtOne(stop.clone()));
    let around = Surroundings { monitor, now_us: Arc::new(|| START_US + 86_400_000_000), stop };
    assert!(backup(&setting.repo, &setting.client, &setting.options, &around).await.unwrap().stopped);
    let after = newest(&setting).await;
    let mut unreached = 0;
    for (key, was) in &before.states {
        let now = after.states.get(key).unwrap_or_else(|| panic!("{} is not in the snapshot", was.name));
        unreached += usize::from(!now.complete && (now.items, &now.cursors) == (was.items, &was.cursors));
    }
    assert!(unreached >= 2, "{unreached} of {}", before.states.len());
}
