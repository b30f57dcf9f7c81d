//! What a set excludes, over days, for every workload of the simulated tenant.

use std::collections::BTreeMap;

use tenantvault::format::record::{ItemKind, Record};
use tenantvault::ops::backup::selection;
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::estimate::{Extent, estimate};
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
