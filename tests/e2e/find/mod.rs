//! Find: every item once, with the snapshots that hold it, whatever happened to them; held against a search by hand.

mod by_hand;
pub mod world;

use std::collections::BTreeMap;

use by_hand::{Answer, by_hand};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use tenantvault::format::record::{ItemKind, Record};
use tenantvault::ops::find::{Found, Here, Query, Report, find};
use tenantvault::ops::nodes::RepoNodes;
use tenantvault::ops::view::{Place, View};
use tenantvault::repo::Repository;
use tenantvault::sim::SimOptions;
use tenantvault::snapshot::store::Snapshot;
use tenantvault::tree::collection::{CollectionReader, CollectionRoots};
use world::{DAY_US, World, message};

use crate::support::{START_US, Setting};

fn here() -> Here {
    Here { now_us: START_US, zone: TimeZone::UTC }
}

fn query(text: &str) -> Query {
    Query::parse(text, &here()).unwrap_or_else(|e| panic!("{text}: {}", e.message))
}

type Repo = std::sync::Arc<Repository>;

async fn all_found(repo: &Repo, all: &[Snapshot], query: &Query) -> (Vec<Found>, Report) {
    found_in(repo, all, &|_| true, query).await
}

async fn found_in(
    repo: &Repo,
    all: &[Snapshot],
    wanted: &(dyn Fn(&Snapshot) -> bool + Sync),
    query: &Query,
) -> (Vec<Found>, Report) {
    let mut found = Vec::new();
    let mut keep = |one: Found| {
        found.push(one);
        Ok(())
    };
    let report = find(repo, all, wanted, query, usize::MAX, &mut keep).await.unwrap();
    assert_eq!((report.matches, report.shown), (found.len() as u64, found.len() as u64));
    (found, report)
}

/// Holds what was found against a search by hand; every path must lead to its item.
async fn assert_found(world: &World, repo: &Repo, wanted: &(dyn Fn(&Snapshot) -> bool + Sync), query: &Query) {
    let all: Vec<Snapshot> = world.days.iter().map(|day| day.snapshot.clone()).collect();
    let (found, report) = found_in(repo, &all, wanted, query).await;
    assert!(report.trouble.damaged.is_empty() && report.trouble.vanished.is_empty(), "{report:?}");
    let mut answers = BTreeMap::new();
    for one in &found {
        let at = |id| all.iter().position(|s| s.id == id).unwrap();
        let newest = at(one.newest.snapshot);
        let view = View::new(repo.clone(), all[newest].file.clone());
        match view.resolve(&one.path).await {
            Ok(Place::Item(_, record, _)) => assert_eq!(*record, one.record, "{} leads to another item", one.path),
            // Nothing leads to what hangs below a folder that is not there.
            _ => assert!(world.days[newest].is_orphan(&one.collection, &one.record), "{} leads nowhere", one.path),
        }
        let answer = Answer {
            newest,
            first: at(one.first.snapshot),
            last: at(one.last.snapshot),
            count: one.snapshots as usize,
            in_latest: one.in_latest,
        };
        let before = answers.insert((one.set.clone(), one.collection.clone(), one.record.id.clone()), answer);
        assert!(before.is_none(), "{} was found twice", one.record.id);
    }
    let times =
        |one: &Found| one.record.sort_us.or(one.record.modified_us).or(one.record.created_us).unwrap_or(i64::MIN);
    assert!(found.is_sorted_by(|a, b| times(a) >= times(b)), "not by time");
    assert_eq!(answers, by_hand(world, wanted, query), "{query}");
}

const TERMS: &[&str] = &[
    "plan",
    "RE",
    "\"re: plan\"",
    "café",
    "\"CAFE\u{301}\"",
    "dana",
    "from:dana",
    "from:*@b.c",
    "to:bob",
    "subject:plan",
    "name:*.docx",
    "name:pl?n*",
    "name:inbox",
    "in:Inbox",
    "in:/users/a",
    "in:mail/arch*",
    "in:moved",
    "kind:folder",
    "kind:message",
    "kind:event",
    "has:attachment",
    "before:2026-11-03",
    "after:2026-11-02",
    "size:>500",
    "size:100..600",
];

fn queries() -> impl Strategy<Value = String> {
    let term = proptest::sample::select(TERMS).prop_map(str::to_owned);
    term.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) OR ({b})")),
            inner.prop_map(|a| format!("-({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 30, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_is_what_a_search_by_hand_finds(
        days in proptest::collection::vec(world::changes(), 1..6),
        queries in proptest::collection::vec(queries(), 2..5),
        forgotten in any::<u8>(),
        only in any::<u8>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for changes in &days {
                world.add_day("s", changes).await;
                // The log grows day by day.
                assert_found(&world, &world.repo, &|_| true, &query(&queries[0])).await;
            }
            if days.len() > 2 && forgotten % 2 == 0 {
                world.forget(usize::from(forgotten / 2) % days.len()).await;
            }
            let uncached = world.reopen(None).await;
            let warm = world.reopen(Some(world.cache.path())).await;
            for text in &queries {
                let query = query(text);
                assert_found(&world, &warm, &|_| true, &query).await;
                assert_found(&world, &uncached, &|_| true, &query).await;
                let wanted = |s: &Snapshot| s.file.time_us / DAY_US % 3 != i64::from(only % 3);
                assert_found(&world, &warm, &wanted, &query).await;
                assert_found(&world, &uncached, &wanted, &query).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_item_of_the_tenant_is_found_once_over_its_days() {
    let setting = Setting::new(SimOptions { users: 3, ..SimOptions::tiny() }).await;
    for day in 0..4 {
        if day > 0 {
            setting.next_day();
        }
        setting.backup().await.unwrap();
    }
    let snapshots = setting.snapshots().await;
    let everything = query("size:>=0");
    let (found, _) = all_found(&setting.repo, &snapshots, &everything).await;
    let mut truth: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for (day, snapshot) in snapshots.iter().enumerate() {
        for (key, record) in records(&setting.repo, snapshot).await {
            truth.entry((key, record.id)).or_default().push(day);
        }
    }
    assert!(truth.values().any(|days| days.last() != Some(&3)), "nothing was ever deleted");
    assert_eq!(found.len(), truth.len());
    for one in &found {
        let day = snapshots.iter().position(|s| s.id == one.newest.snapshot).unwrap();
        let view = View::new(setting.repo.clone(), snapshots[day].file.clone());
        let place = view.resolve(&one.path).await.unwrap_or_else(|e| panic!("{}: {e}", one.path));
        let Place::Item(state, record, _) = place else { panic!("{} is no item", one.path) };
        assert_eq!(record.id, one.record.id, "{}", one.path);
        assert_eq!(state.key, one.collection);
        let days = &truth[&(state.key.clone(), record.id.clone())];
        let seen = |seen: tenantvault::ops::find::Seen| snapshots.iter().position(|s| s.id == seen.snapshot).unwrap();
        assert_eq!((seen(one.first), seen(one.last)), (days[0], *days.last().unwrap()), "{}", one.path);
        assert_eq!((one.snapshots as usize, one.in_latest), (days.len(), days.contains(&3)), "{}", one.path);
    }
}

async fn records(repo: &Repo, snapshot: &Snapshot) -> Vec<(String, Record)> {
    let catalog = tenantvault::ops::catalog::Catalog::load(repo, Some(&snapshot.file)).await.unwrap();
    let nodes = RepoNodes(repo.clone());
    let mut out = Vec::new();
    for state in catalog.states.values() {
        let roots = CollectionRoots { items: state.items, children: state.children };
        let mut cursor = CollectionReader::new(&nodes, roots).records();
        while let Some(record) = cursor.next().await.unwrap() {
            out.push((state.key.clone(), record));
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_item_is_one_item_and_a_deleted_one_is_still_found() {
    let mut world = World::new().await;
    let folder = |id: &str, name: &str| Record::new(ItemKind::MailFolder, id, "", name);
    let put = |record: Record| world::Change::Put("users/a/mail".into(), record);
    let letter = |folder: &str| message("m1", folder, "Budget", 1);
    world.add_day("s", &[put(folder("f1", "Inbox")), put(folder("f2", "Archive")), put(letter("f1"))]).await;
    world.add_day("s", &[put(letter("f2"))]).await;
    world.add_day("s", &[world::Change::Remove("users/a/mail".into(), "m1".into())]).await;
    let all: Vec<Snapshot> = world.days.iter().map(|day| day.snapshot.clone()).collect();
    for (text, path) in [
        ("budget", "users/a/Mail/Archive/2026-11-01 0001 Budget.eml"),
        ("budget in:inbox", "users/a/Mail/Inbox/2026-11-01 0001 Budget.eml"),
    ] {
        let (found, _) = all_found(&world.repo, &all, &query(text)).await;
        let [one] = &found[..] else { panic!("{text}: {found:?}") };
        assert_eq!((one.path.as_str(), one.snapshots, one.in_latest), (path, 2, false), "{text}");
        assert_eq!((one.first.snapshot, one.last.snapshot), (all[0].id, all[1].id), "{text}");
    }
    // The folder alone gets another name: what is below it is elsewhere, though no record of it changed.
    let mut world = World::new().await;
    world.add_day("s", &[put(folder("f1", "Inbox")), put(letter("f1"))]).await;
    world.add_day("s", &[put(folder("f1", "Eingang"))]).await;
    let all: Vec<Snapshot> = world.days.iter().map(|day| day.snapshot.clone()).collect();
    for (text, newest) in [("budget in:inbox", 0), ("budget in:eingang", 1), ("budget -in:eingang", 0)] {
        let (found, _) = all_found(&world.repo, &all, &query(text)).await;
        assert_eq!(found.iter().map(|one| one.newest.snapshot).collect::<Vec<_>>(), [all[newest].id], "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_are_shown_and_all_are_counted() {
    let mut world = World::new().await;
    let put = |n: i64| world::Change::Put("users/a/mail".into(), message(&format!("m{n}"), "", "Budget", n));
    world.add_day("s", &(0..30).map(put).collect::<Vec<_>>()).await;
    let all = [world.days[0].snapshot.clone()];
    let mut found = Vec::new();
    let mut keep = |one: Found| {
        found.push(one.record.id);
        Ok(())
    };
    let report = find(&world.repo, &all, &|_| true, &query("budget"), 3, &mut keep).await.unwrap();
    assert_eq!((report.matches, report.shown), (30, 3));
    assert_eq!(found, ["m29", "m28", "m27"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_named_and_the_rest_is_found() {
    let mut world = World::new().await;
    let put =
        |n: i64, subject: &str| world::Change::Put("users/a/mail".into(), message(&format!("m{n:05}"), "", subject, n));
    world.add_day("s", &(0..3000).map(|n| put(n, "Budget of a year")).collect::<Vec<_>>()).await;
    let packs = world.packs().await;
    world.add_day("s", &[put(1500, "Budget of another year")]).await;
    for pack in packs {
        world.storage.delete(&pack).await.unwrap();
    }
    let all: Vec<Snapshot> = world.days.iter().map(|day| day.snapshot.clone()).collect();
    let repo = world.reopen(None).await;
    let (found, report) = all_found(&repo, &all, &query("budget")).await;
    assert!((1..3000).contains(&found.len()), "{}", found.len());
    assert!(found.iter().any(|one| one.record.id == "m01500" && one.record.name.contains("another")));
    assert!(found.iter().all(|one| one.newest.snapshot == all[1].id && one.in_latest));
    for snapshot in &all {
        let name = format!("Snapshot {}", snapshot.id.short());
        assert!(report.trouble.damaged.iter().any(|text| text.starts_with(&name)), "{name}: {:?}", report.trouble);
    }
    // Damage that was met is never kept for sound: a cache knows of it the next time too.
    let cache = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let repo = world.reopen(Some(cache.path())).await;
        let (again, report) = all_found(&repo, &all, &query("budget")).await;
        assert_eq!((again.len(), report.trouble.damaged.len() > 1), (found.len(), true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_vanishes_meanwhile_is_left_out_with_a_word() {
    let mut world = World::new().await;
    let put = |key: &str, id: &str| world::Change::Put(key.into(), message(id, "", "Budget", 1));
    world.add_day("s", &[put("users/a/mail", "m1")]).await;
    let packs = world.packs().await;
    world.begin_anew();
    world.add_day("s", &[put("users/b/mail", "m2")]).await;
    let all: Vec<Snapshot> = world.days.iter().map(|day| day.snapshot.clone()).collect();
    // Forgotten and pruned after it was listed.
    world.forget(0).await;
    for pack in packs {
        world.storage.delete(&pack).await.unwrap();
    }
    for cache in [None, Some(tempfile::tempdir().unwrap())] {
        let repo = world.reopen(cache.as_ref().map(tempfile::TempDir::path)).await;
        let (found, report) = all_found(&repo, &all, &query("budget")).await;
        assert_eq!(report.trouble.vanished, [all[0].id]);
        assert!(report.trouble.damaged.is_empty() && report.searched == 1, "{report:?}");
        assert_eq!(found.iter().map(|one| one.newest.snapshot).collect::<Vec<_>>(), [all[1].id]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_lost_damaged_or_in_nobody_s_way_changes_nothing() {
    let mut world = World::new().await;
    let put = |n: i64| world::Change::Put("users/a/mail".into(), message(&format!("m{n}"), "", "Secret budget", n));
    for n in 0..4 {
        world.add_day("s", &[put(n)]).await;
    }
    let all: Vec<Snapshot> = world.days.iter().map(|day| day.snapshot.clone()).collect();
    let found = async |repo: &Repo| all_found(repo, &all, &query("budget")).await.0.len();
    assert_eq!(found(&world.repo).await, 4);
    let mut files = Vec::new();
    collect(world.cache.path(), &mut files);
    let logs: Vec<_> = files.iter().filter(|file| file.parent().is_some_and(|p| p.ends_with("search"))).collect();
    assert_eq!(logs.len(), 5, "{logs:?}");
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        for word in [&b"ecret"[..], b"budget", b"users/a", b"dana"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word), "{} tells names", file.display());
        }
    }
    for file in logs {
        let whole = std::fs::read(file).unwrap();
        for place in [10, 50, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            std::fs::write(file, bytes).unwrap();
            assert_eq!(found(&world.reopen(Some(world.cache.path())).await).await, 4, "{} at {place}", file.display());
        }
        if file.exists() {
            std::fs::write(file, &whole[..whole.len() / 2]).unwrap();
            assert_eq!(found(&world.reopen(Some(world.cache.path())).await).await, 4);
            std::fs::remove_file(file).unwrap();
        }
        assert_eq!(found(&world.reopen(Some(world.cache.path())).await).await, 4);
    }
    // A file where the folder should be: the log goes elsewhere.
    let search = world.cache.path().join(world.repo.config().id.to_string()).join("search");
    let repo = world.reopen(Some(world.cache.path())).await;
    std::fs::remove_dir_all(&search).unwrap();
    std::fs::write(&search, "x").unwrap();
    assert_eq!(found(&repo).await, 4);
}

fn collect(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_snapshots_are_not_searched_and_go_from_the_log_when_they_are_many() {
    let mut world = World::new().await;
    let put = |n: i64| world::Change::Put("users/a/mail".into(), message(&format!("m{n}"), "", "Budget", n));
    for n in 0..12 {
        world.add_day("s", &[put(n)]).await;
    }
    assert_found(&world, &world.repo, &|_| true, &query("budget")).await;
    let log_files = |world: &World| {
        let mut files = Vec::new();
        collect(world.cache.path(), &mut files);
        files.iter().filter(|file| file.extension().is_some_and(|e| e == "log")).count()
    };
    assert_eq!(log_files(&world), 12);
    for _ in 0..9 {
        world.forget(0).await;
        assert_found(&world, &world.repo, &|_| true, &query("budget")).await;
    }
    // Nine forgotten ones beside three: the log was made anew.
    assert_eq!(log_files(&world), 12 + 3);
}
