//! What collections promise: both trees say the same, whatever happens to the items.

use std::collections::BTreeMap;

use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::format::record::{ItemKind, Stream, StreamRole};
use crate::tree::memory::MemoryStore;

fn record(id: &str, parent: &str, name: &str, kind: ItemKind) -> Record {
    Record {
        id: id.into(),
        parent: parent.into(),
        name: name.into(),
        kind,
        created_us: None,
        modified_us: None,
        sort_us: None,
        size_bytes: 1,
        version: "v1".into(),
        summary: Vec::new(),
        streams: Vec::new(),
    }
}

fn message(id: &str, parent: &str, sort_us: i64) -> Record {
    Record { sort_us: Some(sort_us), ..record(id, parent, "subject", ItemKind::Message) }
}

type Changes = BTreeMap<String, Option<Record>>;

fn change(store: &MemoryStore, roots: CollectionRoots, changes: &Changes) -> (CollectionRoots, EditCounts) {
    let mut editor = CollectionEditor::new(store, roots);
    for (id, change) in changes {
        match change {
            Some(record) => editor.put(record).unwrap(),
            None => editor.remove(id),
        }
    }
    block_on(editor.finish()).unwrap()
}

/// Reads a folder page by page.
fn listing(reader: &CollectionReader<'_>, parent: &str, limit: usize) -> Vec<Record> {
    let (mut records, mut after) = (Vec::new(), None);
    loop {
        let page = block_on(reader.children(parent, after, limit)).unwrap();
        assert!(page.len() <= limit && (page.next.is_none() || page.len() == limit));
        records.extend(page.records().map(Result::unwrap));
        match page.next {
            Some(next) => after = Some(next),
            None => return records,
        }
    }
}

const PARENTS: [&str; 3] = ["", "inbox", "Archive"];

fn records() -> impl Strategy<Value = Record> {
    let kind = prop_oneof![Just(ItemKind::File), Just(ItemKind::Folder), Just(ItemKind::Message)];
    let name = prop_oneof!["[aAbBäÄ ]{0,3}", "\\PC{0,20}", "\0[ab]{0,2}"];
    (0..400u32, 0..3usize, name, kind, -5i64..5, 0..3u64).prop_map(|(id, parent, name, kind, time, size_bytes)| {
        let sort_us = (kind == ItemKind::Message).then_some(time);
        let stream = Stream { role: StreamRole::Content, size_bytes, source_hash: String::new(), pieces: Vec::new() };
        let streams = vec![stream.clone(), Stream { role: StreamRole::Mime, ..stream }];
        Record { sort_us, size_bytes, streams, ..record(&format!("id{id}"), PARENTS[parent], &name, kind) }
    })
}

fn changes() -> impl Strategy<Value = Changes> {
    let removed = prop::collection::vec(0..400u32, 0..40);
    (prop::collection::vec(records(), 0..120), removed).prop_map(|(records, removed)| {
        let mut changes: Changes = removed.into_iter().map(|id| (format!("id{id}"), None)).collect();
        changes.extend(records.into_iter().map(|record| (record.id.clone(), Some(record))));
        changes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn both_trees_follow_every_change(batches in prop::collection::vec(changes(), 1..6), limit in 1usize..50) {
        let store = MemoryStore::new();
        let mut roots = CollectionRoots::default();
        let mut model: BTreeMap<String, Record> = BTreeMap::new();
        for changes in &batches {
            let (old_roots, old) = (roots, model.clone());
            let counts;
            (roots, counts) = change(&store, roots, changes);
            for (id, change) in changes {
                match change {
                    Some(record) => drop(model.insert(id.clone(), record.clone())),
                    None => drop(model.remove(id)),
                }
            }
            let expected = EditCounts {
                added: model.keys().filter(|id| !old.contains_key(*id)).count() as u64,
                changed: old.iter().filter(|(id, r)| model.get(*id).is_some_and(|new| new != *r)).count() as u64,
                removed: old.keys().filter(|id| !model.contains_key(*id)).count() as u64,
                bytes_added: model.iter().filter(|(id, r)| old.get(*id) != Some(*r)).map(|(_, r)| 2 * r.size_bytes).sum(),
                bytes_removed: old.iter().filter(|(id, r)| model.get(*id) != Some(*r)).map(|(_, r)| 2 * r.size_bytes).sum(),
            };
            prop_assert_eq!(counts, expected);
            let mut diff = CollectionReader::new(&store, old_roots).diff(roots);
            let mut differing = 0;
            while let Some(RecordDifference { old: before, new: after }) = block_on(diff.next()).unwrap() {
                let id = &before.as_ref().or(after.as_ref()).unwrap().id;
                prop_assert_eq!((old.get(id), model.get(id)), (before.as_ref(), after.as_ref()));
                differing += 1;
            }
            prop_assert_eq!(differing, counts.added + counts.changed + counts.removed);
        }
        let rebuilt = model.iter().map(|(id, record)| (id.clone(), Some(record.clone()))).collect();
        prop_assert_eq!(change(&store, CollectionRoots::default(), &rebuilt).0, roots);
        prop_assert_eq!(roots.count(), model.len() as u64);

        let reader = CollectionReader::new(&store, roots);
        for parent in PARENTS {
            let mut expected: Vec<Record> = model.values().filter(|r| r.parent == parent).cloned().collect();
            expected.sort_by_key(children_key);
            prop_assert_eq!(block_on(reader.count_children(parent)).unwrap(), expected.len() as u64);
            let mut ids = reader.child_ids(parent);
            for record in &expected {
                prop_assert_eq!(block_on(ids.next()).unwrap(), Some(record.id.clone()));
            }
            prop_assert_eq!(block_on(ids.next()).unwrap(), None);
            prop_assert_eq!(listing(&reader, parent, limit), expected);
        }
        let mut cursor = reader.records();
        for record in model.values() {
            prop_assert_eq!(&block_on(cursor.next()).unwrap().unwrap(), record);
            prop_assert_eq!(&block_on(reader.get(&record.id)).unwrap().unwrap(), record);
        }
        prop_assert_eq!(block_on(cursor.next()).unwrap(), None);
    }
}

#[test]
fn a_folder_reads_as_people_expect() {
    let store = MemoryStore::new();
    let all = [
        record("1", "f", "zeta", ItemKind::MailFolder),
        message("2", "f", 30),
        message("3", "f", -7),
        record("4", "f", "Alpha", ItemKind::MailFolder),
        record("5", "f", "beta.txt", ItemKind::File),
        message("6", "g", 1),
    ];
    let changes = all.iter().map(|record| (record.id.clone(), Some(record.clone()))).collect();
    let (roots, _) = change(&store, CollectionRoots::default(), &changes);
    let reader = CollectionReader::new(&store, roots);
    let ids: Vec<_> = listing(&reader, "f", 2).into_iter().map(|record| record.id).collect();
    assert_eq!(ids, ["4", "1", "5", "3", "2"]);
    assert!(listing(&reader, "none", 2).is_empty());
}

#[test]
fn a_renamed_or_moved_item_is_listed_once() {
    let store = MemoryStore::new();
    let one = |record: Record| Changes::from([(record.id.clone(), Some(record))]);
    let (roots, _) = change(&store, CollectionRoots::default(), &one(record("1", "a", "old", ItemKind::File)));
    let (roots, counts) = change(&store, roots, &one(record("1", "b", "new", ItemKind::File)));
    assert_eq!(counts, EditCounts { changed: 1, ..EditCounts::default() });
    let reader = CollectionReader::new(&store, roots);
    assert!(listing(&reader, "a", 9).is_empty());
    assert_eq!(listing(&reader, "b", 9).len(), 1);
    let (roots, _) = change(&store, roots, &Changes::from([("1".into(), None)]));
    assert_eq!(roots, CollectionRoots::default());
}

#[test]
fn a_page_of_a_large_folder_reads_few_nodes_and_a_change_writes_few() {
    let store = MemoryStore::new();
    let changes = (0..20_000).map(|n| (format!("{n:080}"), Some(message(&format!("{n:080}"), "inbox", n)))).collect();
    let (roots, counts) = change(&store, CollectionRoots::default(), &changes);
    assert_eq!(counts.added, 20_000);
    let reader = CollectionReader::new(&store, roots);
    let page = block_on(reader.children("inbox", None, 10_000)).unwrap();
    store.reset_counts();
    let page = block_on(reader.children("inbox", page.next, 50)).unwrap();
    assert_eq!(page.records().next().unwrap().unwrap().sort_us, Some(10_000));
    assert!(store.gets() <= 10, "{}", store.gets());

    store.reset_counts();
    let read = Record { version: "v2".into(), ..message(&format!("{:080}", 77), "inbox", 77) };
    let changed = change(&store, roots, &Changes::from([(read.id.clone(), Some(read))])).0;
    assert_eq!(changed.children, roots.children);
    assert_eq!(store.puts(), u64::from(roots.items.unwrap().level) + 1);
}

#[test]
fn the_last_word_on_an_item_counts() {
    let store = MemoryStore::new();
    let mut editor = CollectionEditor::new(&store, CollectionRoots::default());
    editor.put(&message("1", "a", 1)).unwrap();
    let noted = editor.pending_bytes();
    editor.put(&message("1", "b", 2)).unwrap();
    assert_eq!(editor.pending_bytes(), noted);
    editor.put(&message("2", "b", 2)).unwrap();
    editor.remove("2");
    assert_eq!(block_on(editor.get("1")).unwrap().unwrap().parent, "b");
    assert_eq!(block_on(editor.get("2")).unwrap(), None);
    let (roots, counts) = block_on(editor.finish()).unwrap();
    assert_eq!((roots.count(), counts.added, counts.removed), (1, 1, 0));
}

#[test]
fn records_that_no_tree_can_hold_are_refused() {
    let store = MemoryStore::new();
    let mut editor = CollectionEditor::new(&store, CollectionRoots::default());
    let large = Record { version: "x".repeat(MAX_VALUE_BYTES), ..message("large", "", 1) };
    for record in [message("", "", 1), message(&"i".repeat(MAX_ID_BYTES + 1), "", 1), large] {
        assert_eq!(editor.put(&record).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(editor.pending_bytes(), 0);
    assert_eq!(block_on(editor.finish()).unwrap().0, CollectionRoots::default());
}

#[test]
fn trees_that_contradict_each_other_are_corrupt() {
    let store = MemoryStore::new();
    let tree = Tree::new(&store);
    let (first, second) = (message("1", "p", 1), message("1", "p", 2));
    let items = |id: &str, value: Vec<u8>| block_on(tree.edit(None, [(id.to_owned(), Some(value))])).unwrap();
    let children = block_on(tree.edit(None, [(children_key(&first), Some(b""))])).unwrap();
    let twice = [(children_key(&first), Some(b"")), (children_key(&second), Some(b""))];
    let twice = block_on(tree.edit(None, twice)).unwrap();
    let cases = [
        (None, children),
        (items("1", codec::encode(&message("2", "p", 1))), children),
        (items("1", b"none".to_vec()), children),
        (items("1", codec::encode(&first)), twice),
    ];
    for (items, children) in cases {
        let reader = CollectionReader::new(&store, CollectionRoots { items, children });
        let page = block_on(reader.children("p", None, 9));
        let records = page.and_then(|page| page.records().collect::<Result<Vec<_>>>());
        assert_eq!(records.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let reader = CollectionReader::new(&store, CollectionRoots::default());
    for (after, limit) in [(Some(vec![1]), 5), (None, 0)] {
        assert_eq!(block_on(reader.children("p", after, limit)).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn work_on_collections_can_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let store = MemoryStore::new();
    let reader = CollectionReader::new(&store, CollectionRoots::default());
    is_send(reader.children("", None, 1));
    is_send(reader.diff(CollectionRoots::default()).next());
    is_send(CollectionEditor::new(&store, CollectionRoots::default()).finish());
}
