//! What a run says of how long all contents are is what its snapshot holds, however the snapshot came about.

use tenantvault::format::snapshot::SnapshotFile;
use tenantvault::ops::backup::BackupReport;
use tenantvault::ops::catalog::{self, Catalog};
use tenantvault::ops::nodes::{RepoNodes, WriterNodes};
use tenantvault::repo::{Writer, WriterOptions};
use tenantvault::sim::{Fault, FaultKind, SimOptions};
use tenantvault::snapshot::store;
use tenantvault::tree::collection::{CollectionEditor, CollectionReader, CollectionRoots};

use crate::support::Setting;

/// Counts the newest snapshot from its records.
async fn counted(setting: &Setting) -> u64 {
    let snapshot = setting.snapshots().await.pop().unwrap();
    let catalog = Catalog::load(&setting.repo, Some(&snapshot.file)).await.unwrap();
    let nodes = RepoNodes(setting.repo.clone());
    let mut bytes = 0;
    for state in catalog.states.values() {
        let roots = CollectionRoots { items: state.items, children: state.children };
        let mut records = CollectionReader::new(&nodes, roots).records();
        while let Some(record) = records.next().await.unwrap() {
            bytes += record.streams.iter().map(|stream| stream.size_bytes).sum::<u64>();
        }
    }
    bytes
}

async fn told_truly(setting: &Setting, report: &BackupReport) {
    assert_eq!(report.bytes_logical, Some(counted(setting).await));
}

/// Says how many collections of the newest snapshot have their number beside the cursors.
async fn noted(setting: &Setting) -> (usize, usize) {
    let snapshot = setting.snapshots().await.pop().unwrap();
    let catalog = Catalog::load(&setting.repo, Some(&snapshot.file)).await.unwrap();
    let with_items = || catalog.states.values().filter(|state| state.items.is_some());
    let has = |cursors: &tenantvault::format::collection::Cursors| cursors.get("!logical").is_some();
    (with_items().filter(|state| state.cursors.as_ref().is_some_and(has)).count(), with_items().count())
}

#[tokio::test(flavor = "multi_thread")]
async fn logical_bytes_are_those_of_the_snapshot_day_by_day_and_after_readings_that_broke_off() {
    let setting = Setting::new(SimOptions::tiny()).await;
    let first = setting.backup().await.unwrap();
    assert!(first.bytes_logical.is_some_and(|bytes| bytes > 10_000), "{:?}", first.bytes_logical);
    told_truly(&setting, &first).await;
    for day in 0..4 {
        setting.next_day();
        if day % 2 == 0 {
            let kind = FaultKind::Status { status: 401 };
            setting.sim.inject(Fault { kind, path: "/messages/".into(), probability: 0.3, count: None });
        }
        let report = setting.backup().await.unwrap();
        told_truly(&setting, &report).await;
        setting.sim.clear_faults();
    }
    let report = setting.backup_stopped_after(20).await.unwrap();
    if report.bytes_logical.is_some() {
        told_truly(&setting, &report).await;
    }
    let last = setting.backup().await.unwrap();
    told_truly(&setting, &last).await;
    let (noted, all) = noted(&setting).await;
    assert!(noted == all && all > 10, "{noted} of {all}");
}

/// A snapshot of an early program, and one that was mended: the number is not there, or not that of the tree.
#[tokio::test(flavor = "multi_thread")]
async fn logical_bytes_that_nobody_counted_are_counted_once() {
    let setting = Setting::new(SimOptions::tiny()).await;
    setting.backup().await.unwrap();
    let snapshot = setting.snapshots().await.pop().unwrap();
    let before = Catalog::load(&setting.repo, Some(&snapshot.file)).await.unwrap();
    let writer = Writer::new(setting.repo.clone(), WriterOptions::default());
    let nodes = WriterNodes(writer.clone());
    let (mut states, mut mended) = (before.states.clone(), false);
    for state in states.values_mut() {
        if state.key.ends_with("/mail") && state.items.is_some() && !mended {
            let roots = CollectionRoots { items: state.items, children: state.children };
            let first = CollectionReader::new(&nodes, roots).records().next().await.unwrap().unwrap();
            let mut editor = CollectionEditor::new(&nodes, roots);
            editor.remove(&first.id);
            let (roots, _) = editor.finish().await.unwrap();
            (state.items, state.children, mended) = (roots.items, roots.children, true);
        } else if let Some(cursors) = &mut state.cursors {
            cursors.links.retain(|(name, _)| name != "!logical");
        }
    }
    let (catalog, gaps) = catalog::write(&writer, &before, &states, &before.gaps, &before.coverage).await.unwrap();
    writer.finish().await.unwrap();
    let file = SnapshotFile { catalog, gaps, time_us: snapshot.file.time_us + 1, ..snapshot.file };
    store::save(&setting.repo, &file).await.unwrap();
    assert!(mended && noted(&setting).await.0 <= 1);
    setting.next_day();
    let report = setting.backup().await.unwrap();
    told_truly(&setting, &report).await;
    let (noted, all) = noted(&setting).await;
    assert!(noted == all && all > 10, "{noted} of {all}");
}
