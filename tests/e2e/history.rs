//! History: the versions of an item, where it was, when it was not there, and how to get each back.

use tenantvault::format::collection::Gap;
use tenantvault::format::record::{ItemKind, Record};
use tenantvault::ops::history::{ItemState, history};
use tenantvault::ops::view::{Place, View};
use tenantvault::sim::SimOptions;
use tenantvault::snapshot::store::Snapshot;

use crate::find::world::{Change, World};
use crate::support::Setting;

const DRIVE: &str = "users/a/drive";

fn file(parent: &str, name: &str, version: &str) -> Change {
    let record = Record::new(ItemKind::File, "x", parent, name);
    Change::Put(DRIVE.into(), Record { version: version.into(), size_bytes: version.len() as u64, ..record })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_is_told_with_its_snapshots_and_a_path_that_takes_it_back() {
    let mut world = World::new().await;
    let folder = |id: &str, name: &str| Change::Put(DRIVE.into(), Record::new(ItemKind::Folder, id, "", name));
    let gone = || Change::Remove(DRIVE.into(), "x".into());
    world.add_day("s", &[folder("f", "Drafts"), folder("g", "Final")]).await;
    world.add_day("s", &[file("f", "Plan.docx", "1")]).await;
    world.add_day("s", &[folder("h", "Other")]).await;
    world.add_day("s", &[file("f", "Plan.docx", "22")]).await;
    world.add_day("s", &[folder("f", "Old drafts")]).await;
    world.add_day("s", &[file("g", "Plan final.docx", "22")]).await;
    world.add_day("s", &[gone()]).await;
    world.gaps = vec![Gap {
        collection: DRIVE.into(),
        id: "x".into(),
        name: "Plan final.docx".into(),
        kind: Some(ItemKind::File),
        reason: "locked".into(),
        text: "The file is locked".into(),
        since_us: 0,
    }];
    world.add_day("s", &[]).await;
    world.gaps.clear();
    world.add_day("s", &[file("g", "Plan final.docx", "333")]).await;
    // Another set has the same item.
    world.add_day("t", &[file("g", "Plan final.docx", "4444")]).await;
    let all: Vec<Snapshot> = world.days.iter().map(|day| day.snapshot.clone()).collect();
    // The same, whichever snapshot it is asked of.
    for (of, path) in [(1, "users/a/Drive/Drafts/Plan.docx"), (8, "users/a/Drive/Final/Plan final.docx")] {
        let (snapshots, stretches) = history(&world.repo, &all, &all[of], path).await.unwrap();
        assert_eq!(snapshots.len(), 9);
        let mut told = Vec::new();
        for stretch in &stretches {
            let what = match &stretch.state {
                ItemState::There(record, path, None) => {
                    for snapshot in &snapshots[stretch.first..=stretch.last] {
                        let place = View::new(world.repo.clone(), snapshot.file.clone()).resolve(path).await.unwrap();
                        let Place::Item(_, back, _) = place else { panic!("{path} is no item") };
                        assert_eq!(back, *record, "{path} does not take this version back");
                    }
                    format!("{} {path}", record.version)
                }
                ItemState::Missing(gap) => gap.reason.clone(),
                ItemState::Absent => "absent".into(),
                other => panic!("{other:?}"),
            };
            told.push((stretch.first, stretch.last, what));
        }
        let at = |first, last, what: &str| (first, last, what.to_owned());
        assert_eq!(
            told,
            [
                at(1, 2, "1 users/a/Drive/Drafts/Plan.docx"),
                at(3, 3, "22 users/a/Drive/Drafts/Plan.docx"),
                at(4, 4, "22 users/a/Drive/Old drafts/Plan.docx"),
                at(5, 5, "22 users/a/Drive/Final/Plan final.docx"),
                at(6, 6, "absent"),
                at(7, 7, "locked"),
                at(8, 8, "333 users/a/Drive/Final/Plan final.docx"),
            ]
        );
    }
    let error = history(&world.repo, &all, &all[1], "users/a").await.unwrap_err();
    assert!(error.to_string().contains("'users/a' is no item"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_tenant_is_followed_until_it_is_deleted() {
    let setting = Setting::new(SimOptions::tiny()).await;
    for day in 0..3 {
        if day > 0 {
            setting.next_day();
        }
        setting.backup().await.unwrap();
    }
    let all = setting.snapshots().await;
    let mut kinds = std::collections::BTreeSet::new();
    let query = tenantvault::ops::find::Query::parse(
        "kind:message OR kind:file",
        &tenantvault::ops::find::Here { now_us: 0, zone: jiff::tz::TimeZone::UTC },
    );
    let mut found = Vec::new();
    let mut keep = |one: tenantvault::ops::find::Found| {
        found.push(one);
        Ok(())
    };
    tenantvault::ops::find::find(&setting.repo, &all, &|_| true, &query.unwrap(), usize::MAX, &mut keep).await.unwrap();
    for one in &found {
        let of = all.iter().find(|s| s.id == one.newest.snapshot).unwrap();
        let (snapshots, stretches) = history(&setting.repo, &all, of, &one.path).await.unwrap();
        let there = stretches.iter().filter(|stretch| matches!(stretch.state, ItemState::There(..)));
        let days: usize = there.clone().map(|stretch| stretch.last - stretch.first + 1).sum();
        assert_eq!(days, one.snapshots as usize, "{}", one.path);
        assert_eq!(snapshots[there.clone().next().unwrap().first].id, one.first.snapshot, "{}", one.path);
        kinds.insert((there.count() > 1, one.in_latest));
    }
    assert!(kinds.contains(&(true, true)) && kinds.iter().any(|(_, in_latest)| !in_latest), "{kinds:?}");
}
