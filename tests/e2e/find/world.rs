//! Small snapshots made by hand, with what is in them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use tenantvault::format::collection::Gap;
use tenantvault::format::record::{ItemKind, Record};
use tenantvault::format::snapshot::{CollectionState, SnapshotFile, Totals};
use tenantvault::ops::catalog::{self, Catalog};
use tenantvault::ops::nodes::WriterNodes;
use tenantvault::repo::{Repository, Writer, WriterOptions};
use tenantvault::snapshot::store::{self, Snapshot};
use tenantvault::storage::{Storage, StorageOptions};
use tenantvault::tree::collection::{CollectionEditor, CollectionRoots};

use crate::support::{START_US, passphrase};

pub const DAY_US: i64 = 86_400_000_000;
/// 2026-11-01 00:00 UTC.
const NOVEMBER_US: i64 = 1_793_491_200_000_000;

/// A collection: its name and its records.
pub type Items = (String, BTreeMap<String, Record>);

pub struct Day {
    pub snapshot: Snapshot,
    pub collections: BTreeMap<String, Items>,
}

impl Day {
    /// Says whether a folder above an item is not there.
    pub fn is_orphan(&self, key: &str, record: &Record) -> bool {
        let mut parent = record.parent.as_str();
        while !parent.is_empty() {
            let Some(folder) = self.collections[key].1.get(parent) else { return true };
            parent = &folder.parent;
        }
        false
    }
}

pub struct World {
    pub storage: Arc<dyn Storage>,
    pub repo: Arc<Repository>,
    pub cache: tempfile::TempDir,
    pub days: Vec<Day>,
    now: BTreeMap<String, (Items, CollectionRoots)>,
    /// The gaps of the next days.
    pub gaps: Vec<Gap>,
    parent: Option<SnapshotFile>,
    number: i64,
}

#[derive(Debug, Clone)]
pub enum Change {
    Put(String, Record),
    Remove(String, String),
    Rename(String, String),
    Drop(String),
}

pub fn message(id: &str, parent: &str, subject: &str, minute: i64) -> Record {
    let time = Some(NOVEMBER_US + minute * 60_000_000);
    let summary = vec![("from".into(), "Dana <dana@b.c>".into())];
    Record { sort_us: time, summary, ..Record::new(ItemKind::Message, id, parent, subject) }
}

impl World {
    pub async fn new() -> Self {
        let storage = tenantvault::storage::open("memory:", &StorageOptions::default()).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let root = Some(cache.path().to_owned());
        let repo = Repository::init(storage.clone(), &passphrase(), "test", START_US, root).await.unwrap();
        Self { storage, repo, cache, days: Vec::new(), now: BTreeMap::new(), gaps: Vec::new(), parent: None, number: 0 }
    }

    pub async fn reopen(&self, cache: Option<&Path>) -> Arc<Repository> {
        Repository::open(self.storage.clone(), &passphrase(), cache.map(Path::to_owned)).await.unwrap()
    }

    pub async fn packs(&self) -> Vec<String> {
        self.storage.list("packs").await.unwrap().into_iter().map(|entry| entry.path).collect()
    }

    /// The next day shares nothing with this one.
    pub fn begin_anew(&mut self) {
        self.now.clear();
        self.parent = None;
    }

    pub async fn forget(&mut self, day: usize) {
        let day = self.days.remove(day);
        store::delete(&self.repo, &[&day.snapshot]).await.unwrap();
    }

    pub async fn add_day(&mut self, set: &str, changes: &[Change]) {
        let writer = Writer::new(self.repo.clone(), WriterOptions::default());
        let nodes = WriterNodes(writer.clone());
        for change in changes {
            match change {
                Change::Drop(key) => drop(self.now.remove(key)),
                Change::Rename(key, name) => {
                    if let Some(((old, _), _)) = self.now.get_mut(key) {
                        old.clone_from(name);
                    }
                }
                Change::Put(key, record) => {
                    let name = key.replace("mail", "Mail").replace("drive", "Drive");
                    let ((_, items), _) = self
                        .now
                        .entry(key.clone())
                        .or_insert_with(|| ((name, BTreeMap::new()), CollectionRoots::default()));
                    items.insert(record.id.clone(), record.clone());
                }
                Change::Remove(key, id) => {
                    if let Some(((_, items), _)) = self.now.get_mut(key) {
                        items.remove(id);
                    }
                }
            }
        }
        let mut states = HashMap::new();
        let time_us = NOVEMBER_US + self.number * DAY_US;
        for (key, ((name, items), roots)) in &mut self.now {
            let mut editor = CollectionEditor::new(&nodes, *roots);
            let before = self.days.last().and_then(|day| day.collections.get(key)).map(|(_, items)| items);
            for id in before.into_iter().flat_map(BTreeMap::keys).filter(|id| !items.contains_key(*id)) {
                editor.remove(id);
            }
            for record in items.values() {
                editor.put(record).unwrap();
            }
            *roots = editor.finish().await.unwrap().0;
            let (items, children) = (roots.items, roots.children);
            let state = CollectionState {
                key: key.clone(),
                name: name.clone(),
                items,
                children,
                cursors: None,
                read_us: time_us,
                complete: true,
            };
            states.insert(key.clone(), state);
        }
        let before = Catalog::load(&self.repo, self.parent.as_ref()).await.unwrap();
        let (catalog, gaps) = catalog::write(&writer, &before, &states, &self.gaps, &[]).await.unwrap();
        writer.finish().await.unwrap();
        let file = SnapshotFile {
            set: store::set_id(&self.repo, set),
            set_name: set.into(),
            tenant: "t".into(),
            time_us,
            ended_us: time_us,
            host: "h".into(),
            program: "p".into(),
            tags: Vec::new(),
            parent: None,
            complete: true,
            catalog,
            gaps,
            totals: Totals::default(),
        };
        let id = store::save(&self.repo, &file).await.unwrap();
        self.parent = Some(file.clone());
        let collections = self.now.iter().map(|(key, (items, _))| (key.clone(), items.clone())).collect();
        self.days.push(Day { snapshot: Snapshot { id, file }, collections });
        self.number += 1;
    }
}

const KEYS: [&str; 3] = ["users/a/mail", "users/b/drive", "users/a/drive"];

fn record() -> impl Strategy<Value = Record> {
    let kind = proptest::sample::select(&[
        ItemKind::MailFolder,
        ItemKind::Message,
        ItemKind::Message,
        ItemKind::File,
        ItemKind::Event,
        ItemKind::Contact,
    ]);
    let names = &[
        "Plan",
        "Re: plan",
        "plan.docx",
        "a/plan",
        "Inbox",
        "Archive 1",
        "Café",
        "CAFE\u{301} plan",
        "",
        "Re: re",
        "moved",
    ];
    let people = &["", "dana@b.c", "Bob <bob@x.y>", "Dana D; bob@x.y"];
    let facts = (proptest::sample::select(people), proptest::sample::select(people), any::<bool>());
    let places = (0u8..12, 0u8..6);
    let numbers = (proptest::option::of(0i64..6), proptest::sample::select(&[0u64, 100, 500, 600, 5000]));
    (kind, proptest::sample::select(names), facts, places, numbers).prop_map(
        |(kind, name, (from, to, attached), (id, parent), (time, size))| {
            // Folders have ids below 4, and hang below those with lower ones; nothing hangs below itself.
            let id = if kind == ItemKind::MailFolder { id % 4 } else { id + 4 };
            let parent = match kind {
                ItemKind::MailFolder if id == 0 => String::new(),
                ItemKind::MailFolder => format!("i{}", parent % id),
                _ if parent == 5 => String::new(),
                _ => format!("i{}", parent % 4),
            };
            let time = time.map(|n| NOVEMBER_US + n * DAY_US / 2);
            let dated = matches!(kind, ItemKind::Message | ItemKind::Event);
            let mut summary: Vec<(String, String)> = Vec::new();
            if attached {
                summary.push(("attachments".into(), "true".into()));
            }
            summary.extend((!from.is_empty()).then(|| ("from".to_owned(), from.to_owned())));
            if kind == ItemKind::Event && attached {
                summary.push(("parts".into(), "1".into()));
            }
            summary.extend((!to.is_empty()).then(|| ("to".to_owned(), to.to_owned())));
            Record {
                sort_us: time.filter(|_| dated),
                modified_us: time.filter(|_| !dated),
                size_bytes: size,
                summary,
                ..Record::new(kind, format!("i{id}"), parent, name)
            }
        },
    )
}

pub fn changes() -> impl Strategy<Value = Vec<Change>> {
    let key = || proptest::sample::select(&KEYS).prop_map(str::to_owned);
    let change = prop_oneof![
        12 => (key(), record()).prop_map(|(key, record)| Change::Put(key, record)),
        4 => (key(), 0..16u8).prop_map(|(key, id)| Change::Remove(key, format!("i{id}"))),
        1 => (key(), proptest::sample::select(&["users/a/Mail", "users/z/Moved", "groups/café/Mail"]))
            .prop_map(|(key, name)| {
                // No two collections of a snapshot have one name.
                let unlike_others = key.replace('/', " ");
                Change::Rename(key, format!("{name} {unlike_others}"))
            }),
        1 => key().prop_map(Change::Drop),
    ];
    proptest::collection::vec(change, 0..16)
}
