use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Tenant, steady, user_of};
use crate::format::record::{ItemKind, StreamRole};
use crate::m365::Collection;
use crate::m365::drive::{Drive, DriveOptions, Versions};
use crate::m365::testing::{Item, State};
use crate::sim::{ExpectedDrive, FaultKind, ItemKind as Kind, SimOptions};

const DAY_US: i64 = 86_400_000_000;

fn truth(tenant: &Tenant, drive: &dyn Collection) -> ExpectedDrive {
    tenant.sim.expected().user(&user_of(drive)).unwrap().drive.clone().unwrap()
}

/// Compares what a backup keeps with the tenant's truth: the tree by paths, times, and every byte.
fn assert_equal(state: &State, truth: &ExpectedDrive) {
    let expected: BTreeMap<String, _> = truth.items.iter().map(|i| (format!("{}#{}", i.path, i.id), i)).collect();
    let mut kept = state.paths();
    kept.retain(|_, item| !item.record.id.contains('/'));
    assert_eq!(parts_of(state, ItemKind::Permission), permissions(truth));
    assert_eq!(kept.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(expected.len() > 10);
    for (path, item) in expected {
        let record = &kept[&path].record;
        let kind = match item.kind {
            Kind::Folder => ItemKind::Folder,
            Kind::Notebook => ItemKind::Package,
            Kind::File => ItemKind::File,
            Kind::Shortcut => ItemKind::Shortcut,
        };
        assert_eq!(record.kind, kind, "{path}");
        assert_eq!(record.created_us, Some(item.created * 1_000_000), "{path}");
        assert_eq!(record.modified_us, Some(item.modified * 1_000_000), "{path}");
        let contents = kept[&path].streams.get(&StreamRole::Content);
        match &item.content {
            Some(bytes) if !item.malware => {
                assert_eq!(contents.map(std::convert::AsRef::as_ref), Some(bytes.bytes().as_slice()), "{path}");
                assert_eq!(record.size_bytes, bytes.len());
            }
            _ => assert_eq!(contents, None, "{path}"),
        }
        let told = String::from_utf8_lossy(&kept[&path].streams[&StreamRole::Properties]);
        assert!(!told.contains("downloadUrl"), "{told}");
    }
}

/// The parts of a kind below their items, with Graph's JSON of each.
fn parts_of(state: &State, kind: ItemKind) -> BTreeMap<String, Value> {
    let parts = state.items.values().filter(|item| item.record.kind == kind && item.record.id.contains('/'));
    let part = |item: &Item| {
        let of = item.record.id.split('/').next().unwrap();
        // Those of the root, which is no item, stand at the top.
        assert_eq!(item.record.parent, if state.items.contains_key(of) { of } else { "" });
        (item.record.id.clone(), serde_json::from_slice(&item.streams[&StreamRole::Properties]).unwrap())
    };
    parts.map(part).collect()
}

fn permissions(truth: &ExpectedDrive) -> BTreeMap<String, Value> {
    let of = |item: &str, told: &Value| (format!("{item}/{}", told["id"].as_str().unwrap()), told.clone());
    let of_items = truth.items.iter().flat_map(|item| item.permissions.iter().map(|told| of(&item.id, told)));
    of_items.chain(truth.root_permissions.iter().map(|told| of(&truth.root_id, told))).collect()
}

/// The files whose bytes are new or other than before.
fn changed_contents(before: &ExpectedDrive, now: &ExpectedDrive) -> BTreeSet<String> {
    let before: BTreeMap<&str, _> = before.items.iter().map(|i| (i.id.as_str(), &i.content)).collect();
    let files = now.items.iter().filter(|i| i.kind == Kind::File && !i.malware);
    files.filter(|i| before.get(i.id.as_str()) != Some(&&i.content)).map(|i| i.id.clone()).collect()
}

fn ids(fetched: &[String]) -> BTreeSet<String> {
    fetched.iter().cloned().collect()
}

#[tokio::test]
async fn every_day_equals_the_drive_and_only_new_contents_are_fetched() {
    let tenant = Tenant::start(SimOptions::tiny()).await;
    let drives = tenant.collections("/onedrive/").await;
    assert!(drives.len() >= 2);
    let mut states = vec![State::default(); drives.len()];
    let mut before: Vec<Option<ExpectedDrive>> = vec![None; drives.len()];
    for day in 0..9 {
        for ((drive, state), before) in drives.iter().zip(&mut states).zip(&mut before) {
            if tenant.sim.expected().user(&user_of(&**drive)).is_none() {
                continue;
            }
            let run = state.run(&**drive).await.unwrap();
            let now = truth(&tenant, &**drive);
            assert_equal(state, &now);
            if let Some(before) = before.as_ref() {
                assert_eq!(ids(&run.fetched), changed_contents(before, &now), "day {day}");
                assert_eq!(run.fetched.len(), ids(&run.fetched).len(), "each once");
            }
            *before = Some(now);
        }
        tenant.sim.advance_day();
    }
    assert_eq!(tenant.sim.stats().token_leaks, 0);
}

#[tokio::test]
async fn an_idle_drive_costs_one_request() {
    let tenant = Tenant::tiny().await;
    // The second drive holds no malware, which would be asked about again.
    let drive = tenant.collections("/onedrive/").await.remove(1);
    let mut state = State::default();
    state.run(&*drive).await.unwrap();
    assert_eq!(state.gaps, []);
    tenant.sim.clear_stats();
    let run = state.run(&*drive).await.unwrap();
    assert_eq!(run.changes, []);
    assert_eq!(tenant.sim.stats().requests, 1);
}

#[tokio::test]
async fn malware_is_a_gap_with_its_facts_kept() {
    let tenant = Tenant::tiny().await;
    let drive = tenant.collections("/onedrive/").await.remove(0);
    let mut state = State::default();
    for run in 1..4 {
        let fetched = state.run(&*drive).await.unwrap().fetched;
        assert_eq!(state.gaps.len(), 1);
        let gap = &state.gaps[0];
        assert_eq!((gap.reason.as_str(), gap.name.as_str(), gap.since_us), ("malware", "Invoice.pdf.exe", run));
        assert_eq!(state.items[&gap.id].record.name, gap.name);
        assert!(!fetched.contains(&gap.id), "Microsoft does not hand it out");
    }
}

#[tokio::test]
async fn after_expired_tokens_no_content_is_fetched_that_did_not_change() {
    let tenant = Tenant::tiny().await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    let mut state = State::default();
    state.run(&*drive).await.unwrap();
    tenant.sim.expire_drive_deltas();
    let run = state.run(&*drive).await.unwrap();
    assert!(run.resynced && run.changes.is_empty(), "{:?}", run.changes);
    for day in 0..4 {
        let before = truth(&tenant, &*drive);
        tenant.sim.expire_drive_deltas();
        tenant.sim.advance_day();
        let run = state.run(&*drive).await.unwrap();
        let now = truth(&tenant, &*drive);
        assert!(run.resynced);
        assert_equal(&state, &now);
        assert_eq!(ids(&run.fetched), changed_contents(&before, &now), "day {day}");
    }
}

#[tokio::test]
async fn an_enumeration_that_breaks_off_leaves_nothing_behind() {
    let tenant = Tenant::tiny().await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    let mut state = State::default();
    for _ in 0..5 {
        tenant.inject(FaultKind::Gone, "root/delta", 0.4);
        // A reading that fails twice ends with an error, and what it left is settled by the next.
        let _ = state.run(&*drive).await;
        tenant.sim.clear_faults();
        state.run(&*drive).await.unwrap();
        assert_equal(&state, &truth(&tenant, &*drive));
        tenant.sim.advance_day();
    }
}

#[tokio::test]
async fn bytes_that_differ_from_their_hash_are_kept_with_a_gap_and_read_twice_only() {
    let tenant = Tenant::tiny().await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    tenant.inject(FaultKind::WrongHash, "", 0.4);
    let mut state = State::default();
    state.run(&*drive).await.unwrap();
    let gaps = state.gaps.clone();
    assert!(gaps.len() > 1 && gaps.iter().all(|g| g.reason == "hash-differs"), "{gaps:?}");
    assert_equal(&state, &truth(&tenant, &*drive));
    let run = state.run(&*drive).await.unwrap();
    assert_eq!(run.fetched, Vec::<String>::new());
    assert_eq!(state.gaps.len(), gaps.len(), "the gap stays as long as the contents do");
    tenant.sim.clear_faults();
    tenant.sim.expire_drive_deltas();
    state.run(&*drive).await.unwrap();
    assert_eq!(state.gaps, [], "the hash is right now, and the contents came again");
    assert_equal(&state, &truth(&tenant, &*drive));
}

#[tokio::test]
async fn a_vanished_file_is_not_in_the_snapshot() {
    let tenant = Tenant::tiny().await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    tenant.inject(FaultKind::Vanish, "", 0.5);
    // The vanished are met where a fresh URL is asked for.
    tenant.inject(FaultKind::UrlExpired, "", 0.5);
    // Which vanish is a matter of chance, and of the order of requests.
    let mut some_vanished = false;
    for _ in 0..8 {
        let mut state = State::default();
        let run = state.run(&*drive).await.unwrap();
        assert!(state.gaps.iter().all(|gap| gap.reason == "access-denied"), "{:?}", state.gaps);
        let files = state.items.values().filter(|i| i.record.kind == ItemKind::File).count();
        some_vanished |= files < run.fetched.len() && files > 0;
    }
    assert!(some_vanished);
}

#[tokio::test]
async fn faults_of_the_network_and_expired_urls_change_nothing() {
    let tenant = Tenant::start(steady(7)).await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    tenant.stormy();
    tenant.inject(FaultKind::UrlExpired, "", 0.05);
    let mut state = State::default();
    for _ in 0..4 {
        state.run(&*drive).await.unwrap();
        assert_eq!(state.gaps, []);
        assert_equal(&state, &truth(&tenant, &*drive));
        tenant.sim.advance_day();
    }
    // Some twenty on average: how many is chance, that there were any is not.
    assert!(tenant.sim.stats().faults > 0);
    assert_eq!(tenant.sim.stats().token_leaks, 0);
}

#[tokio::test]
async fn a_reading_that_broke_off_is_made_whole_by_the_next() {
    let tenant = Tenant::tiny().await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    for most in [3, 15] {
        let mut state = State::default();
        for _ in 0..3 {
            state.run_part(&*drive, most).await.unwrap();
            tenant.sim.advance_day();
            state.run(&*drive).await.unwrap();
            assert_equal(&state, &truth(&tenant, &*drive));
            tenant.sim.advance_day();
        }
    }
}

/// How many items have rights of their own; the root is one more.
fn with_permissions(truth: &ExpectedDrive) -> usize {
    truth.items.iter().filter(|item| !item.permissions.is_empty()).count() + 1
}

/// Microsoft tells a smaller sharing only to who has all rights, and not of every folder.
#[tokio::test]
async fn who_may_use_something_no_longer_is_gone_though_nothing_tells_of_the_sharing() {
    for touched in [true, false] {
        let tenant = Tenant::tiny().await;
        let drive = tenant.collections("/onedrive/").await.remove(1);
        let upn = tenant.sim.expected().user(&user_of(&*drive)).unwrap().upn.clone();
        let mut state = State { now_us: 20_000 * DAY_US, ..State::default() };
        state.run(&*drive).await.unwrap();
        let shrunk = tenant.sim.shrink_sharing(&upn, touched) as u64;
        assert!(shrunk > 1);
        if touched {
            // Told for whatever other reason: at once.
            state.run(&*drive).await.unwrap();
            assert_equal(&state, &truth(&tenant, &*drive));
            continue;
        }
        // Not told at all: within a week, some each day, and once a day.
        let mut asked = 0;
        for _ in 0..7 {
            state.now_us += DAY_US;
            tenant.sim.clear_stats();
            state.run(&*drive).await.unwrap();
            asked += tenant.sim.stats().requests_to("/permissions");
            tenant.sim.clear_stats();
            state.run(&*drive).await.unwrap();
            assert_eq!(tenant.sim.stats().requests, 1, "an idle run of the same day");
        }
        assert_equal(&state, &truth(&tenant, &*drive));
        let all = with_permissions(&truth(&tenant, &*drive)) as u64;
        // A file that has other permissions than before is asked once more.
        assert!((all..=all + shrunk).contains(&asked), "{asked} for {all}");
    }
}

/// Nor does it always tell that a sharing began.
#[tokio::test]
async fn a_sharing_that_nothing_tells_of_is_seen_when_the_drive_is_listed_anew() {
    let tenant = Tenant::tiny().await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    let upn = tenant.sim.expected().user(&user_of(&*drive)).unwrap().upn.clone();
    let mut state = State { now_us: 20_000 * DAY_US, ..State::default() };
    state.run(&*drive).await.unwrap();
    assert!(tenant.sim.share_untold(&upn, 3) == 3);
    let before = with_permissions(&truth(&tenant, &*drive)) - 3;
    let mut listed = 0;
    for _ in 0..40 {
        state.now_us += DAY_US;
        tenant.sim.clear_stats();
        assert_eq!(state.run(&*drive).await.unwrap().fetched, Vec::<String>::new(), "contents that are the same");
        // A page of the list, beside the questions of the day.
        let pages = tenant.sim.stats().requests_to("/delta");
        listed += usize::from(pages > 1);
        let permissions = state.items.values().filter(|item| item.record.kind == ItemKind::Permission);
        let of: std::collections::BTreeSet<_> = permissions.map(|item| item.record.parent.clone()).collect();
        assert_eq!(of.len() > before, listed > 0, "{} of {before}, {pages} pages", of.len());
    }
    assert_eq!(listed, 1);
    assert_equal(&state, &truth(&tenant, &*drive));
}

/// A question that is refused costs the answers to no other.
#[tokio::test]
async fn what_hangs_below_a_file_is_kept_where_its_label_is_refused_and_that_is_said_once() {
    let tenant = Tenant::tiny().await;
    let user = tenant.sim.expected().users[1].clone();
    let id = user.drive.unwrap().id;
    let options = DriveOptions { versions: Versions::All, labels: true };
    let drive = Drive::new(tenant.client.clone(), &user.id, &user.upn, &id, None).with_options(options);
    (0..3).for_each(|_| tenant.sim.advance_day());
    let mut whole = State::default();
    whole.run(&drive).await.unwrap();
    let labels = |state: &State| {
        let of = |item: &Item| Some((item.record.id.clone(), item.record.fact("label")?.to_owned()));
        state.items.values().filter_map(of).collect::<BTreeMap<_, _>>()
    };
    assert!(labels(&whole).len() > 2 && !parts_of(&whole, ItemKind::Version).is_empty());
    tenant.inject(FaultKind::Status { status: 403 }, "/retentionLabel", 1.0);
    let mut state = State::default();
    tenant.sim.clear_stats();
    state.run(&drive).await.unwrap();
    assert_equal(&state, &truth(&tenant, &drive));
    assert_eq!(parts_of(&state, ItemKind::Version), parts_of(&whole, ItemKind::Version));
    let gaps = |state: &State| state.gaps.iter().map(|gap| (gap.id.clone(), gap.text.clone())).collect::<Vec<_>>();
    let told = gaps(&state);
    assert!(told.len() == 1 && told[0].1.contains("RecordsManagement.Read.All"), "{told:?}");
    assert_eq!((labels(&state).len(), tenant.sim.stats().requests_to("/retentionLabel")), (0, 3));
    // One question a run, as long as it is refused; then all are read.
    tenant.sim.clear_stats();
    assert_eq!(state.run(&drive).await.unwrap().fetched, Vec::<String>::new());
    assert_eq!((tenant.sim.stats().requests, state.gaps.len()), (2, 1));
    tenant.sim.clear_faults();
    state.run(&drive).await.unwrap();
    assert_eq!((labels(&state), gaps(&state)), (labels(&whole), vec![]));
    // The very file whose label is refused keeps its versions.
    let (version, _) = parts_of(&whole, ItemKind::Version).pop_first().unwrap();
    let asked = format!("{}/retentionLabel", version.split_once('/').unwrap().0);
    tenant.inject(FaultKind::Status { status: 403 }, &asked, 1.0);
    let mut state = State::default();
    state.run(&drive).await.unwrap();
    assert_eq!(parts_of(&state, ItemKind::Version), parts_of(&whole, ItemKind::Version));
    assert_eq!(state.gaps.len(), 1);
    tenant.sim.clear_faults();
    // Versions and labels are kept where permissions are refused.
    tenant.inject(FaultKind::Status { status: 403 }, "/permissions", 1.0);
    let mut state = State::default();
    state.run(&drive).await.unwrap();
    assert_eq!(parts_of(&state, ItemKind::Version), parts_of(&whole, ItemKind::Version));
    assert_eq!((labels(&state), parts_of(&state, ItemKind::Permission)), (labels(&whole), BTreeMap::new()));
    assert!(state.gaps.len() > 1 && state.gaps.iter().all(|gap| gap.text.starts_with("Who may use it could not")));
}

#[tokio::test]
async fn permissions_are_asked_for_where_something_is_shared_and_changed() {
    let tenant = Tenant::tiny().await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    let mut state = State::default();
    state.run(&*drive).await.unwrap();
    let shared = with_permissions(&truth(&tenant, &*drive));
    assert!(shared > 2);
    assert_eq!(tenant.sim.stats().requests_to("items/{id}/permissions"), shared as u64);
    for _ in 0..5 {
        tenant.sim.advance_day();
        tenant.sim.clear_stats();
        state.run(&*drive).await.unwrap();
        assert_equal(&state, &truth(&tenant, &*drive));
        assert!(tenant.sim.stats().requests_to("/permissions") <= 12, "{:?}", tenant.sim.stats().routes);
    }
    tenant.sim.clear_stats();
    tenant.sim.expire_drive_deltas();
    let run = state.run(&*drive).await.unwrap();
    assert_eq!((run.changes, run.fetched), (vec![], vec![]));
    // Who may use something may have changed unheard.
    let shared = with_permissions(&truth(&tenant, &*drive));
    assert_eq!(tenant.sim.stats().requests_to("/permissions"), shared as u64);
}

#[tokio::test]
async fn permissions_that_cannot_be_read_stay_as_they_were_and_are_a_gap() {
    let tenant = Tenant::tiny().await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    let mut state = State::default();
    state.run(&*drive).await.unwrap();
    let before = parts_of(&state, ItemKind::Permission).len();
    tenant.sim.advance_day();
    tenant.inject(FaultKind::Status { status: 403 }, "/permissions", 1.0);
    state.run(&*drive).await.unwrap();
    assert!(!state.gaps.is_empty() && state.gaps.iter().all(|gap| state.items.contains_key(&gap.id)));
    assert!(parts_of(&state, ItemKind::Permission).len() + 3 >= before);
    tenant.sim.clear_faults();
    state.run(&*drive).await.unwrap();
    assert_eq!(state.gaps, []);
    assert_equal(&state, &truth(&tenant, &*drive));
}

#[tokio::test]
async fn earlier_versions_of_files_are_kept_as_the_options_say() {
    let tenant = Tenant::tiny().await;
    let user = tenant.sim.expected().users[1].clone();
    let id = user.drive.unwrap().id;
    for (versions, most) in [(Versions::All, usize::MAX), (Versions::Newest(1), 1), (Versions::Newest(0), 0)] {
        let options = DriveOptions { versions, labels: true };
        let drive = Drive::new(tenant.client.clone(), &user.id, &user.upn, &id, None).with_options(options);
        let mut state = State::default();
        for day in 0..4 {
            let run = state.run(&drive).await.unwrap();
            let now = truth(&tenant, &drive);
            let mut expected = BTreeMap::new();
            for item in &now.items {
                for (number, blob) in item.older.iter().enumerate().rev().take(most) {
                    expected.insert(format!("{}/{}.0", item.id, number + 1), blob.bytes());
                }
            }
            let kept = state.items.values().filter(|item| item.record.kind == ItemKind::Version);
            let kept: BTreeMap<String, Vec<u8>> =
                kept.map(|item| (item.record.id.clone(), item.streams[&StreamRole::Content].to_vec())).collect();
            assert!(kept == expected, "{versions:?}: {:?} and not {:?}", kept.keys(), expected.keys());
            assert_equal(&state, &now);
            let refetched = run.fetched.iter().filter(|id| id.contains('/')).count();
            assert!(day == 0 || refetched <= 8, "{refetched}");
            assert_eq!(state.run(&drive).await.unwrap().changes, []);
            let labelled = state.items.values().filter(|item| item.record.fact("label") == Some("Keep 7 years"));
            assert!(labelled.count() > 1);
            if versions == Versions::All {
                tenant.sim.advance_day();
            }
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_later_is_asked_of_files_that_are_known() {
    let tenant = Tenant::tiny().await;
    for _ in 0..3 {
        tenant.sim.advance_day();
    }
    let user = tenant.sim.expected().users[1].clone();
    let id = user.drive.unwrap().id;
    let drive = |options| Drive::new(tenant.client.clone(), &user.id, &user.upn, &id, None).with_options(options);
    let more = DriveOptions { versions: Versions::All, labels: true };
    let mut state = State::default();
    state.run(&drive(DriveOptions::default())).await.unwrap();
    let run = state.run(&drive(more)).await.unwrap();
    assert!(run.fetched.iter().all(|id| id.contains('/')), "contents stay as they are: {:?}", run.fetched);
    let mut fresh = State::default();
    fresh.run(&drive(more)).await.unwrap();
    let versions = parts_of(&fresh, ItemKind::Version);
    assert!(!versions.is_empty());
    assert_eq!(parts_of(&state, ItemKind::Version), versions);
    let labelled = |state: &State| state.items.values().filter(|item| item.record.fact("label").is_some()).count();
    assert!(labelled(&state) > 1 && labelled(&state) == labelled(&fresh));
    // Once: then a link tells what changed again.
    assert_eq!(state.run(&drive(more)).await.unwrap().changes, []);
}

/// What was asked for later, and a whole listing, may be broken off again and again: what the records say is not asked again.
#[tokio::test]
async fn what_was_asked_of_files_before_a_run_was_broken_off_is_not_asked_again() {
    let tenant = Tenant::tiny().await;
    (0..3).for_each(|_| tenant.sim.advance_day());
    let user = tenant.sim.expected().users[1].clone();
    let id = user.drive.unwrap().id;
    let drive = |options| Drive::new(tenant.client.clone(), &user.id, &user.upn, &id, None).with_options(options);
    let more = DriveOptions { versions: Versions::All, labels: true };
    let mut whole = State::default();
    tenant.sim.clear_stats();
    whole.run(&drive(more)).await.unwrap();
    let asked = |end: &str| {
        let routes = tenant.sim.stats().routes;
        routes.iter().filter(|(route, _)| route.ends_with(end)).map(|(_, number)| number).sum::<u64>()
    };
    let files = asked("/versions");
    assert!(files > 10 && asked("/retentionLabel") == files, "{files}, {:?}", tenant.sim.stats().routes);
    // With nothing read before but the files, and with nothing at all and no checkpoint to go on from.
    for first in [true, false] {
        let mut state = State::default();
        if first {
            state.run(&drive(DriveOptions::default())).await.unwrap();
        }
        let (mut runs, mut before, most) = (0, files, if first { 12 } else { 40 });
        loop {
            tenant.sim.clear_stats();
            state.run_part(&drive(more), most).await.unwrap();
            let again = (asked("/versions"), asked("/retentionLabel"));
            // Of folders, and who may use them, a whole run may be full where nothing was known.
            assert!(again.0 == again.1 && (again.0 < before || runs == 0 || !first), "{again:?} after {before}");
            assert!(again.0 <= before, "{again:?} after {before}");
            assert!(!first || asked("/permissions") <= 1, "of all but the root they are known");
            (runs, before) = (runs + 1, again.0);
            // All that changed had been told: there is a link to go on from.
            assert!(!first || state.cursors.is_some(), "run {runs}");
            if runs > 2 && state.cursors.is_some() && asked("/versions") == 0 {
                break;
            }
            assert!(runs < 60, "{again:?}");
        }
        assert_eq!(parts_of(&state, ItemKind::Version), parts_of(&whole, ItemKind::Version), "first: {first}");
        let labels = |state: &State| {
            let of = |item: &Item| Some((item.record.id.clone(), item.record.fact("label")?.to_owned()));
            state.items.values().filter_map(of).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(labels(&state), labels(&whole));
        assert_equal(&state, &truth(&tenant, &drive(more)));
        assert_eq!(state.run(&drive(more)).await.unwrap().changes, []);
    }
}

/// A listing that is broken off has told all that changed before it began.
#[tokio::test]
async fn a_listing_that_is_broken_off_costs_no_link() {
    let tenant = Tenant::tiny().await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    let upn = tenant.sim.expected().user(&user_of(&*drive)).unwrap().upn.clone();
    let mut state = State { now_us: 20_000 * DAY_US, ..State::default() };
    state.run(&*drive).await.unwrap();
    assert_eq!(tenant.sim.share_untold(&upn, 9), 9);
    let (mut broken_off, mut whole) = (0, false);
    for _ in 0..120 {
        state.now_us += DAY_US;
        tenant.sim.clear_stats();
        // Three items with their permissions at most.
        let run = state.run_part(&*drive, 8).await.unwrap();
        assert!(state.cursors.is_some());
        let is_listed = tenant.sim.stats().requests_to("/delta") > 1;
        broken_off += usize::from(is_listed && run.changes.len() == 8);
        if is_listed && run.changes.len() < 8 {
            whole = true;
            break;
        }
    }
    assert!(broken_off > 1 && whole, "{broken_off}");
    assert_equal(&state, &truth(&tenant, &*drive));
}

#[tokio::test]
async fn a_drive_of_which_nothing_is_shared_is_not_looked_through_each_day() {
    let tenant = Tenant::tiny().await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    let upn = tenant.sim.expected().user(&user_of(&*drive)).unwrap().upn.clone();
    tenant.sim.stop_sharing(&upn);
    let mut state = State { now_us: 20_000 * DAY_US, ..State::default() };
    state.run(&*drive).await.unwrap();
    let walks = |state: &State| state.walks.swap(0, std::sync::atomic::Ordering::Relaxed);
    let is_shared = || with_permissions(&truth(&tenant, &*drive)) > 1;
    assert!(!is_shared());
    for day in 0..5 {
        state.now_us += DAY_US;
        state.run(&*drive).await.unwrap();
        assert_eq!(walks(&state), u32::from(day == 0), "day {day}");
    }
    while !is_shared() {
        tenant.sim.advance_day();
    }
    for walked in [0, 1] {
        state.now_us += DAY_US;
        state.run(&*drive).await.unwrap();
        assert_eq!(walks(&state), walked, "since something is shared again");
    }
    assert_equal(&state, &truth(&tenant, &*drive));
}

#[tokio::test]
// The type of its contents has no public name.
#[allow(clippy::redundant_closure_for_method_calls)]
async fn a_file_that_changes_between_the_list_and_the_download_is_kept_as_it_then_is() {
    let mut options = steady(1);
    (options.script.edited_files, options.script.deleted_files) = (12, 2);
    let tenant = Tenant::start(options).await;
    let drive = tenant.collections("/onedrive/").await.remove(1);
    let mut state = State::default();
    let listed = truth(&tenant, &*drive);
    let run = state.run_while(&*drive, || (0..2).for_each(|_| tenant.sim.advance_day())).await.unwrap();
    let now = truth(&tenant, &*drive);
    let changed = changed_contents(&listed, &now);
    let mut newer = 0;
    for id in ids(&run.fetched).into_iter().filter(|id| !id.contains('/')) {
        let there = now.items.iter().find(|item| item.id == id);
        let content = there.and_then(|item| item.content.as_ref()).map(|blob| blob.bytes());
        let kept = state.items.get(&id);
        assert_eq!(kept.map(|item| item.streams[&StreamRole::Content].to_vec()), content, "{id}");
        if let Some(item) = kept {
            assert_eq!(item.record.size_bytes, item.streams[&StreamRole::Content].len() as u64, "{id}");
        }
        newer += usize::from(kept.is_some() && changed.contains(&id));
    }
    assert!(newer > 0, "no file changed meanwhile");
    assert_eq!(state.gaps, []);
    state.run(&*drive).await.unwrap();
    assert_equal(&state, &now);
}
