//! What a set excludes, over days, for every workload of the simulated tenant.

use std::collections::{BTreeMap, BTreeSet};

use tenantvault::format::record::{ItemKind, Record};
use tenantvault::ops::backup::selection;
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::estimate::{CountedBy, Extent, estimate};
use tenantvault::ops::nodes::RepoNodes;
use tenantvault::sim::SimOptions;
use tenantvault::snapshot::set::{Exclusions, Selection, Subject, Workload};
use tenantvault::tree::collection::{CollectionReader, CollectionRoots};

use crate::compare::assert_equal;
use crate::support::{START_US, Setting};

async fn newest(setting: &Setting) -> (Catalog, Vec<Record>) {
    let snapshot = setting.snapshots().await.pop().unwrap();
    let catalog = Catalog::load(&setting.repo, Some(&snapshot.file)).await.unwrap();
    let nodes = RepoNodes(setting.repo.clone());
    let mut all = Vec::new();
    for state in catalog.states.values() {
        let roots = CollectionRoots { items: state.items, children: state.children };
        let mut records = CollectionReader::new(&nodes, roots).records();
        while let Some(record) = records.next().await.unwrap() {
            all.push(record);
        }
    }
    (catalog, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_excluded_is_absent_and_is_read_when_the_rules_go() {
    let mut setting = Setting::new(SimOptions { users: 3, ..SimOptions::tiny() }).await;
    setting.backup().await.unwrap();
    let (_, before) = newest(&setting).await;
    let large = 30_000;
    let has = |records: &[Record], test: &dyn Fn(&Record) -> bool| records.iter().any(test);
    let ending = |r: &Record| r.kind == ItemKind::File && r.name.ends_with(".docx");
    let is_large = |r: &Record| !r.kind.is_container() && r.size_bytes > large;
    let inbox = |r: &Record| r.kind == ItemKind::MailFolder && r.name == "Inbox" && r.parent.is_empty();
    assert!(has(&before, &ending) && has(&before, &is_large) && has(&before, &inbox), "the tenant has no such items");
    setting.options.set.options.exclusions = Exclusions {
        folders: vec!["Inbox".parse().unwrap()],
        files: vec!["*.docx".parse().unwrap()],
        larger_than_bytes: Some(large),
        older_than_days: Some(400),
    };
    for _ in 0..3 {
        setting.next_day();
        let report = setting.backup().await.unwrap();
        assert!(report.complete && report.left_out.contains("left out"), "{}", report.left_out);
        let (catalog, now) = newest(&setting).await;
        assert!(!has(&now, &ending) && !has(&now, &is_large) && !has(&now, &inbox));
        let ids: BTreeMap<&str, &Record> = now.iter().map(|r| (r.id.as_str(), r)).collect();
        let parents = now.iter().filter(|r| !r.parent.is_empty() && r.kind == ItemKind::Message);
        assert!(parents.clone().count() > 0 && parents.clone().all(|r| ids.contains_key(r.parent.as_str())));
        let told = catalog.coverage.iter().filter(|entry| entry.reason.contains("left out by the set's exclusions"));
        assert!(told.count() > 0, "the coverage does not tell");
        assert!(!report.gaps.iter().any(|gap| gap.reason == "not-listed"), "{:?}", report.gaps);
    }
    setting.options.set.options.exclusions = Exclusions::default();
    let report = setting.backup().await.unwrap();
    assert_eq!(report.left_out, "");
    let last = setting.snapshots().await.pop().unwrap();
    assert_equal(&setting.repo, &last.file, &setting.sim.expected(), false).await;
}

/// Drives tell who may use a file before the file.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_hangs_below_what_is_excluded_from_the_first_run_on() {
    let mut setting = Setting::new(SimOptions { users: 3, ..SimOptions::tiny() }).await;
    let files = vec!["*.docx".parse().unwrap(), "*.xlsx".parse().unwrap()];
    setting.options.set.options.exclusions = Exclusions { files, ..Exclusions::default() };
    for day in 0..3 {
        let report = setting.backup().await.unwrap();
        // How many are left out is counted on the first day, and estimated later.
        assert!(day > 0 || report.left_out.contains("left out"), "{}", report.left_out);
        let (_, now) = newest(&setting).await;
        let ids: BTreeSet<&str> = now.iter().map(|r| r.id.as_str()).collect();
        let parts: Vec<&Record> =
            now.iter().filter(|r| r.kind == ItemKind::Permission && !r.parent.is_empty()).collect();
        let orphans: Vec<&&Record> = parts.iter().filter(|r| !ids.contains(r.parent.as_str())).collect();
        assert!(!parts.is_empty() && orphans.is_empty(), "{} {orphans:?}", parts.len());
        setting.next_day();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_counts_what_the_backup_then_reads_and_writes_nothing() {
    let mut setting = Setting::new(SimOptions::tiny()).await;
    // What Graph counts for nothing; the others are counted by the snapshot before.
    let counted = [Workload::Mail, Workload::OneDrive];
    setting.options.set.selection = Selection::of(vec![Subject::Everything], vec![], &counted);
    let ask = async |setting: &Setting| {
        let set = &setting.options.set;
        estimate(&setting.repo, &setting.client, set, &selection(set), START_US).await.unwrap()
    };
    let files = setting.storage.list("").await.unwrap().len();
    let new = ask(&setting).await;
    assert_eq!(setting.storage.list("").await.unwrap().len(), files, "something was written");
    assert!(new.parts.iter().all(|part| part.extent == Extent::New) && new.bytes > 0 && !new.how.is_empty());
    let report = setting.backup().await.unwrap();
    let (catalog, _) = newest(&setting).await;
    let mut mails = 0;
    for part in &new.parts {
        let state = &catalog.states[&part.key.to_string()];
        assert_eq!(state.name, part.name);
        if part.key.workload == tenantvault::m365::Workload::Mail
            && !report.gaps.iter().any(|g| g.collection == state.key)
        {
            assert_eq!(part.items, state.items.map(|tree| tree.count), "{}", part.name);
            mails += 1;
        }
    }
    assert!(mails > 0 && new.requests >= report.totals.requests / 3, "{} {}", new.requests, report.totals.requests);
    let idle = ask(&setting).await;
    let changes = idle.parts.iter().filter(|part| part.extent == Extent::Changes).count();
    assert!(changes > 0 && idle.requests < new.requests, "{changes} {} {}", idle.requests, new.requests);
    setting.next_day();
    setting.backup().await.unwrap();
    let usual = ask(&setting).await;
    assert!(usual.items > 0 && usual.how.iter().any(|text| text.contains("items that had changed")), "{:?}", usual.how);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_says_of_every_workload_what_is_known_of_it_and_what_is_not() {
    use tenantvault::m365::Workload as Of;
    let mut setting = Setting::new(SimOptions::tiny()).await;
    let everything = setting.options.set.selection.clone();
    let ask = async |setting: &Setting| {
        let set = &setting.options.set;
        estimate(&setting.repo, &setting.client, set, &selection(set), START_US).await.unwrap()
    };
    let is_counted =
        |of: Of| matches!(of, Of::Mail | Of::Contacts | Of::Calendar | Of::Conversations | Of::OneDrive | Of::Files);
    let new = ask(&setting).await;
    for part in &new.parts {
        let by = if is_counted(part.key.workload) { CountedBy::Graph } else { CountedBy::Nobody };
        assert_eq!((part.counted_by, part.items.is_some()), (by, by == CountedBy::Graph), "{}", part.name);
        assert!(part.cost.requests > 0 && part.cost.units > 0, "{}", part.name);
    }
    let unknown = new.how.iter().find(|text| text.contains("not known before they are read")).unwrap();
    for title in ["Chats", "Tasks", "Channels", "Planner", "Lists"] {
        assert!(unknown.contains(title), "{unknown}");
    }
    assert!(new.file_units > 0);
    // One user's are stored; those of others are taken to be like them.
    let upn = setting.sim.expected().users[0].upn.clone();
    setting.options.set.selection = Selection::of(vec![upn.parse().unwrap()], vec![], &[]);
    setting.backup().await.unwrap();
    setting.options.set.selection = everything;
    let like = ask(&setting).await;
    let tasks: Vec<_> = like.parts.iter().filter(|part| part.key.workload == Of::Tasks).collect();
    let stored = tasks.iter().find(|part| part.extent == Extent::Changes).unwrap();
    let others = tasks.iter().filter(|part| part.counted_by == CountedBy::Others && part.items == stored.items);
    assert_eq!(others.count(), tasks.len() - 1);
    assert!(like.how.iter().any(|text| text.contains("as large as others of their kind")), "{:?}", like.how);
    // What Graph counts is what is read then: of calendars also what hangs below events.
    let report = setting.backup().await.unwrap();
    let (catalog, _) = newest(&setting).await;
    let (mut same, mut requests) = (0, 0);
    for part in &new.parts {
        let state = &catalog.states[&part.key.to_string()];
        if report.gaps.iter().any(|gap| gap.collection == state.key) {
            continue;
        }
        let stored = state.items.map_or(0, |tree| tree.count);
        match part.key.workload {
            Of::Contacts => assert_eq!(part.items, Some(stored), "{}", part.name),
            Of::Calendar => {
                assert!(part.items.is_some_and(|n| n > 3 && n <= stored), "{}: {:?} {stored}", part.name, part.items);
            }
            Of::Conversations => assert!(part.items.is_some_and(|n| n > 0 && n < stored), "{}", part.name),
            _ => continue,
        }
        same += 1;
        requests += part.cost.requests;
    }
    assert!(same > 4 && requests > 0);
}
