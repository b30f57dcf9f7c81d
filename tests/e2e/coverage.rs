//! What a snapshot says of every part of the tenant, and what becomes of owners who leave.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use tenantvault::format::snapshot::{CoverageEntry, Protection};
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::coverage;
use tenantvault::sim::{Fault, FaultKind, SimOptions};
use tenantvault::snapshot::set::Leavers;

use crate::support::Setting;

async fn newest(setting: &Setting) -> Catalog {
    let snapshot = setting.snapshots().await.pop().unwrap();
    Catalog::load(&setting.repo, Some(&snapshot.file)).await.unwrap()
}

fn stands(coverage: &[CoverageEntry], owner: &str, workload: &str) -> Option<Protection> {
    coverage.iter().find(|entry| entry.owner == owner && entry.workload == workload).map(|entry| entry.state)
}

/// Protected is only what was read to its end without a gap.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_has_a_gap_is_protected_partly() {
    let setting = Setting::new(SimOptions { groups: 1, ..SimOptions::tiny() }).await;
    let user = setting.sim.expected().users.into_iter().find(|user| user.mailbox.is_some()).unwrap();
    let path = format!("users/{}/messages/", user.id);
    setting.sim.inject(Fault { kind: FaultKind::Status { status: 403 }, path, probability: 1.0, count: Some(3) });
    let report = setting.backup().await.unwrap();
    let catalog = newest(&setting).await;
    let (mut partly, mut protected) = (0, 0);
    for entry in &catalog.coverage {
        let of = format!("{}/{}", entry.owner, entry.workload);
        let gaps: Vec<_> = report.gaps.iter().filter(|gap| gap.collection.starts_with(&of)).collect();
        let whole = catalog.states.values().filter(|state| state.key.starts_with(&of)).all(|state| state.complete);
        match entry.state {
            Protection::Protected => {
                assert!(gaps.is_empty() && whole, "{entry:?} {gaps:?}");
                protected += 1;
            }
            Protection::Partly => {
                // Without a gap: what belongs to another organisation, say.
                assert!(!entry.reason.is_empty(), "{entry:?}");
                assert_eq!(entry.gaps, gaps.len() as u64, "{entry:?}");
                partly += 1;
            }
            _ => {}
        }
    }
    assert!(partly >= 2 && protected > 10, "{partly} partly, {protected} protected");
    assert_eq!(stands(&catalog.coverage, &format!("users/{}", user.id), "mail"), Some(Protection::Partly));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_says_of_every_user_and_workload_how_it_stands() {
    let setting = Setting::new(SimOptions { groups: 1, ..SimOptions::tiny() }).await;
    setting.backup().await.unwrap();
    let now = newest(&setting).await.coverage;
    let truth = setting.sim.expected();
    for user in &truth.users {
        let owner = format!("users/{}", user.id);
        for workload in ["mail", "contacts", "calendar", "tasks", "settings", "onedrive"] {
            let state = stands(&now, &owner, workload);
            let has_it = match workload {
                "onedrive" => user.drive.is_some(),
                _ => user.mailbox.is_some(),
            };
            let is_protected = matches!(state, Some(Protection::Protected | Protection::Partly));
            assert!(is_protected == has_it, "{} {workload}: {state:?}", user.upn);
        }
    }
    assert!(now.iter().any(|entry| entry.state == Protection::Impossible && !entry.reason.is_empty()), "{now:?}");
    assert!(now.iter().any(|entry| entry.owner == "tenant" && entry.workload == "terms"));
    let public = now.iter().find(|entry| entry.name == "public folders").expect("a word about public folders");
    assert_eq!(public.state, Protection::Impossible);
    // What can no longer be read is told, and since when; then it is well again.
    let user = truth.users.iter().find(|user| user.mailbox.is_some()).unwrap();
    let owner = format!("users/{}", user.id);
    let path = format!("{}/mailFolders", user.id);
    setting.sim.inject(Fault { kind: FaultKind::Status { status: 403 }, path, probability: 1.0, count: None });
    setting.backup().await.unwrap();
    let refused = newest(&setting).await.coverage;
    assert_eq!(stands(&refused, &owner, "mail"), Some(Protection::Partly), "what was read before is still there");
    let changes = coverage::changes(&now, &refused);
    assert!(changes.iter().any(|change| change.now.as_ref().is_some_and(|e| e.owner == owner && e.workload == "mail")));
    setting.sim.clear_faults();
    setting.backup().await.unwrap();
    assert_eq!(coverage::changes(&now, &newest(&setting).await.coverage), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belonged_to_people_who_left_stays_as_long_as_the_set_says() {
    for (leavers, days) in [(Leavers::DropAfterDays(0), 0), (Leavers::DropAfterDays(2), 1), (Leavers::Keep, 4)] {
        let mut setting = Setting::new(SimOptions { users: 3, sites: 0, ..SimOptions::tiny() }).await;
        setting.options.set.options.leavers = leavers;
        setting.next_day();
        setting.next_day();
        setting.backup().await.unwrap();
        let before: BTreeMap<String, _> = newest(&setting).await.states.into_iter().collect();
        let there = setting.sim.expected().users;
        // On the third day a user leaves.
        setting.next_day();
        let left = there.iter().find(|user| setting.sim.expected().user(&user.id).is_none()).expect("somebody left");
        let mail = format!("users/{}/mail", left.id);
        for day in 1..=4 {
            setting.backup().await.unwrap();
            let catalog = newest(&setting).await;
            let state = stands(&catalog.coverage, &format!("users/{}", left.id), "mail");
            let kept = catalog.states.get(&mail).map(|state| state.items);
            if day <= days {
                assert_eq!(kept, Some(before[&mail].items), "{leavers:?}, day {day}");
                assert_eq!(state, Some(Protection::Left), "{leavers:?}, day {day}");
            } else {
                assert_eq!((kept, state), (None, None), "{leavers:?}, day {day}");
            }
            setting.next_day();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_is_told_to_be_gone_while_its_user_is_there_is_doubted_and_kept() {
    // However long the last run is ago.
    for (leavers, days_ago) in [(Leavers::DropAfterDays(0), 0), (Leavers::DropAfterDays(0), 30), (Leavers::Keep, 30)] {
        let mut setting = Setting::new(SimOptions { users: 3, sites: 0, ..SimOptions::tiny() }).await;
        setting.options.set.options.leavers = leavers;
        setting.backup().await.unwrap();
        let before = newest(&setting).await;
        setting.clock.fetch_add(days_ago * 86_400_000_000, Ordering::Relaxed);
        let user = setting.sim.expected().users.into_iter().find(|user| user.mailbox.is_some()).unwrap();
        let (owner, mail) = (format!("users/{}", user.id), format!("users/{}/mail", user.id));
        let path = format!("{}/mailFolders/inbox", user.id);
        setting.sim.inject(Fault { kind: FaultKind::Status { status: 404 }, path, probability: 1.0, count: None });
        let report = setting.backup().await.unwrap();
        let catalog = newest(&setting).await;
        assert_eq!(catalog.states.get(&mail).map(|state| state.items), Some(before.states[&mail].items), "{leavers:?}");
        assert_eq!(stands(&catalog.coverage, &owner, "mail"), Some(Protection::Partly), "{leavers:?}");
        assert!(
            report.gaps.iter().any(|gap| gap.collection == mail && gap.text.contains("before")),
            "{:?}",
            report.gaps
        );
        // On the third day it is doubted still, and eight days later it is believed.
        setting.clock.fetch_add(2 * 86_400_000_000, Ordering::Relaxed);
        setting.backup().await.unwrap();
        assert!(newest(&setting).await.states.contains_key(&mail), "{leavers:?}, {days_ago} days");
        setting.clock.fetch_add(8 * 86_400_000_000, Ordering::Relaxed);
        let report = setting.backup().await.unwrap();
        let catalog = newest(&setting).await;
        assert!(!report.gaps.iter().any(|gap| gap.collection == mail), "{:?}", report.gaps);
        let (kept, state) = match leavers {
            Leavers::Keep => (Some(before.states[&mail].items), Protection::Partly),
            _ => (None, Protection::Nothing),
        };
        assert_eq!(catalog.states.get(&mail).map(|state| state.items), kept, "{leavers:?}");
        assert_eq!(stands(&catalog.coverage, &owner, "mail"), Some(state), "{leavers:?}");
        // And read on when it is back.
        setting.sim.clear_faults();
        setting.backup().await.unwrap();
        assert_eq!(
            stands(&newest(&setting).await.coverage, &owner, "mail"),
            Some(Protection::Protected),
            "{leavers:?}"
        );
    }
}

/// The tenant lists it still, and says that there is no such site when it is asked what lies below.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_is_told_to_be_gone_is_doubted_and_kept_with_all_that_it_has() {
    let setting = Setting::new(SimOptions { users: 2, ..SimOptions::tiny() }).await;
    setting.backup().await.unwrap();
    let before = newest(&setting).await;
    let mut sites: BTreeMap<String, usize> = BTreeMap::new();
    for key in before.states.keys().filter_map(|key| key.strip_prefix("sites/")) {
        *sites.entry(key.split('/').next().unwrap().to_owned()).or_default() += 1;
    }
    let (site, parts) = sites.into_iter().max_by_key(|(_, parts)| *parts).unwrap();
    assert!(parts > 2);
    for path in [format!("sites/{site}/sites?"), format!("sites/{}/sites?", site.replace(',', "%2C"))] {
        setting.sim.inject(Fault { kind: FaultKind::Status { status: 404 }, path, probability: 1.0, count: None });
    }
    let report = setting.backup().await.unwrap();
    let now = newest(&setting).await;
    let of_it = |key: &String| key.starts_with(&format!("sites/{site}/"));
    for (key, state) in before.states.iter().filter(|(key, _)| of_it(key)) {
        assert_eq!(now.states.get(key).map(|now| now.items), Some(state.items), "{key}");
    }
    assert!(report.gaps.iter().any(|gap| of_it(&gap.collection) && gap.text.contains("before")), "{:?}", report.gaps);
    let told = now.coverage.iter().find(|entry| entry.owner == format!("sites/{site}")).unwrap();
    assert!(told.state == Protection::Partly && told.items > 0, "{told:?}");
    // After a week it is believed, as of those who left.
    setting.clock.fetch_add(8 * 86_400_000_000, Ordering::Relaxed);
    setting.backup().await.unwrap();
    assert!(!newest(&setting).await.states.keys().any(of_it));
    setting.sim.clear_faults();
    setting.backup().await.unwrap();
    assert_eq!(newest(&setting).await.states.keys().filter(|key| of_it(key)).count(), parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_while_leavers_are_frozen_stays_so_through_a_stopped_run() {
    let mut setting = Setting::new(SimOptions { users: 3, sites: 0, ..SimOptions::tiny() }).await;
    setting.options.set.options.leavers = Leavers::Freeze;
    setting.next_day();
    setting.next_day();
    setting.backup().await.unwrap();
    setting.next_day();
    setting.backup().await.unwrap();
    let frozen = newest(&setting).await;
    let left: Vec<CoverageEntry> =
        frozen.coverage.iter().filter(|entry| entry.state == Protection::Left).cloned().collect();
    assert!(left.iter().any(|entry| entry.workload == "mail" && entry.items > 0), "{left:?}");
    setting.next_day();
    assert!(setting.backup_stopped_after(1).await.unwrap().stopped);
    for run in ["stopped", "whole"] {
        let now = newest(&setting).await;
        let still: Vec<CoverageEntry> =
            now.coverage.iter().filter(|entry| entry.state == Protection::Left).cloned().collect();
        assert_eq!(still, left, "{run}");
        for (key, state) in frozen.states.iter().filter(|(key, _)| key.starts_with(&left[0].owner)) {
            assert_eq!(now.states.get(key).map(|now| now.items), Some(state.items), "{run}: {key}");
        }
        setting.backup().await.unwrap();
    }
}

/// What belonged to somebody who left may be evidence: that they are back, with another mailbox, changes nothing of it
/// till the set says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_while_leavers_are_frozen_is_not_read_till_the_set_says_so() {
    let mut setting = Setting::new(SimOptions { users: 3, sites: 0, ..SimOptions::tiny() }).await;
    setting.options.set.options.leavers = Leavers::Freeze;
    (0..2).for_each(|_| setting.next_day());
    setting.backup().await.unwrap();
    let there = setting.sim.expected().users;
    setting.next_day();
    setting.backup().await.unwrap();
    let left = there.iter().find(|user| setting.sim.expected().user(&user.id).is_none()).expect("somebody left");
    let frozen = newest(&setting).await;
    setting.sim.bring_back(&left.id);
    setting.sim.wipe(&left.upn);
    setting.next_day();
    setting.backup().await.unwrap();
    let now = newest(&setting).await;
    let owner = format!("users/{}", left.id);
    let of = |catalog: &Catalog| {
        let states = catalog.states.iter().filter(|(key, _)| key.starts_with(&owner));
        states.map(|(key, state)| (key.clone(), state.items)).collect::<BTreeMap<_, _>>()
    };
    assert!(of(&frozen).len() > 3 && of(&frozen) == of(&now));
    assert_eq!(stands(&now.coverage, &owner, "mail"), Some(Protection::Left));
    setting.options.set.options.leavers = Leavers::Keep;
    setting.backup().await.unwrap();
    let now = newest(&setting).await;
    assert!(of(&frozen) != of(&now), "it is read as it is now");
    assert_eq!(stands(&now.coverage, &owner, "mail"), Some(Protection::Protected));
}

/// Whether an owner left can be asked only while Graph answers, and groups and teams are read only while they can be
/// listed: what the snapshot before has of them is kept, and said to be old.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_listed_or_asked_after_is_kept() {
    let mut setting = Setting::new(SimOptions { users: 3, sites: 0, ..SimOptions::tiny() }).await;
    setting.options.set.options.leavers = Leavers::Keep;
    setting.next_day();
    setting.next_day();
    setting.backup().await.unwrap();
    let before = newest(&setting).await;
    let there = setting.sim.expected().users;
    setting.next_day();
    let left = there.iter().find(|user| setting.sim.expected().user(&user.id).is_none()).expect("somebody left");
    let inject = |path: String, status| {
        setting.sim.inject(Fault { kind: FaultKind::Status { status }, path, probability: 1.0, count: None });
    };
    inject("groups?$filter".to_owned(), 403);
    inject(format!("users/{}?$select=id", left.id), 503);
    let report = setting.backup().await.unwrap();
    let now = newest(&setting).await;
    for owner in ["groups/", "teams/", &format!("users/{}/", left.id)] {
        let mut states = before.states.iter().filter(|(key, _)| key.starts_with(owner)).peekable();
        assert!(states.peek().is_some(), "{owner}");
        for (key, state) in states {
            let kept = now.states.get(key).unwrap_or_else(|| panic!("{key} is gone"));
            assert_eq!((kept.items, kept.complete), (state.items, false), "{key}");
        }
        let told = now.coverage.iter().find(|e| format!("{}/", e.owner).starts_with(owner) && e.items > 0);
        assert!(
            told.is_some_and(|e| e.state == Protection::Partly && e.reason.contains("as it was read last")),
            "{told:?}"
        );
        assert!(
            report.gaps.iter().any(|gap| gap.collection.starts_with(owner) && gap.reason == "unreadable"),
            "{owner}"
        );
    }
    setting.sim.clear_faults();
    setting.backup().await.unwrap();
    let now = newest(&setting).await.coverage;
    assert_eq!(stands(&now, &format!("users/{}", left.id), "mail"), Some(Protection::Left));
}

/// A site whose lists have no attachments is protected; one with an item that has some is so partly, as long as it has.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_protected_partly_where_items_have_attachments_and_only_there() {
    let setting = Setting::new(SimOptions { users: 2, sites: 6, list_items: 1, ..SimOptions::tiny() }).await;
    let mut changed = 0;
    let mut before: BTreeMap<String, bool> = BTreeMap::new();
    for day in 0..5 {
        setting.backup().await.unwrap();
        let coverage = newest(&setting).await.coverage;
        let mut with: BTreeMap<String, bool> = BTreeMap::new();
        for (key, truth) in setting.sim.expected().collections {
            let Some((owner, _)) = key.split_once("/list/") else { continue };
            let has = truth
                .things
                .iter()
                .any(|thing| thing.kind == "listItem" && thing.json["fields"]["Attachments"] == true);
            *with.entry(owner.to_owned()).or_default() |= has;
        }
        for (owner, has) in &with {
            let entry = coverage.iter().find(|entry| &entry.owner == owner && entry.workload == "list").unwrap();
            let meant = if *has { Protection::Partly } else { Protection::Protected };
            assert_eq!(entry.state, meant, "day {day}: {entry:?}");
            assert_eq!(entry.reason.contains("attachments of some items are not in Graph"), *has, "{entry:?}");
            changed += u32::from(before.get(owner).is_some_and(|before| before != has));
        }
        assert!(with.values().any(|has| *has) && with.values().any(|has| !has), "day {day}: {with:?}");
        before = with;
        setting.next_day();
    }
    assert!(changed > 0, "no list got its first or lost its last attachment");
}
