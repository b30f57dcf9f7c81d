//! What trees promise, against a `BTreeMap` as the model.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use futures::executor::block_on;
use proptest::prelude::*;

use super::memory::MemoryStore;
use super::*;
use crate::error::ErrorKind;
use crate::format::node::{Child, MAX_KEY_BYTES, MAX_VALUE_BYTES, Node};

mod shape;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Edits = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn build(store: &MemoryStore, map: &Map) -> Option<TreeRoot> {
    block_on(async {
        let mut builder = Tree::new(store).build();
        for (key, value) in map {
            builder.push(key, value).await.unwrap();
        }
        builder.finish().await.unwrap()
    })
}

fn edit(store: &MemoryStore, root: Option<TreeRoot>, edits: &Edits) -> Option<TreeRoot> {
    block_on(Tree::new(store).edit(root, edits.iter().map(|(key, value)| (key, value.as_ref())))).unwrap()
}

fn apply(map: &mut Map, edits: &Edits) {
    for (key, value) in edits {
        match value {
            Some(value) => drop(map.insert(key.clone(), value.clone())),
            None => drop(map.remove(key)),
        }
    }
}

fn read_range(store: &MemoryStore, root: Option<TreeRoot>, range: (Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Map {
    block_on(async {
        let mut cursor = Tree::new(store).range(root, range);
        let mut map = Map::new();
        while let Some(item) = cursor.next().await.unwrap() {
            assert!(map.last_key_value().is_none_or(|(last, _)| *last < item.key));
            map.insert(item.key, item.value.to_vec());
        }
        map
    })
}

fn diff(store: &MemoryStore, old: Option<TreeRoot>, new: Option<TreeRoot>) -> Vec<Difference> {
    block_on(async {
        let mut cursor = Tree::new(store).diff(old, new);
        let mut differences = Vec::new();
        while let Some(difference) = cursor.next().await.unwrap() {
            differences.push(difference);
        }
        differences
    })
}

fn model_diff(old: &Map, new: &Map) -> Vec<Difference> {
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let bytes = |value: Option<&Vec<u8>>| value.cloned().map(Bytes::from);
    let differences = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    differences.map(|k| Difference { key: k.clone(), old: bytes(old.get(k)), new: bytes(new.get(k)) }).collect()
}

/// All nodes of a tree, parents first.
fn nodes(store: &MemoryStore, root: Option<TreeRoot>) -> Vec<(BlobId, Node)> {
    struct All(Vec<(BlobId, Node)>);
    impl NodeVisitor for All {
        fn wants(&mut self, _: &BlobId, _: u8) -> bool {
            true
        }
        fn visit(&mut self, id: &BlobId, node: &Node) -> crate::Result<()> {
            self.0.push((*id, node.clone()));
            Ok(())
        }
    }
    let mut all = All(Vec::new());
    block_on(Tree::new(store).walk_nodes(root, &mut all)).unwrap();
    all.0
}

/// A key of 8 to 6,000 bytes, so that some hundreds make a tree of four levels.
fn long_key(n: u32) -> Vec<u8> {
    let mut key = (u64::from(n) * 1000).to_be_bytes().to_vec();
    key.resize(8 + (n as usize * 7919) % 6000, n as u8);
    key
}

fn value(n: u32, version: u32) -> Vec<u8> {
    vec![version as u8; (n as usize * 31 + version as usize * 17) % 700]
}

const UNIVERSE: u32 = 800;

/// Edits as a user makes them: scattered ones, runs of new records, runs removed.
fn batch() -> impl Strategy<Value = Edits> {
    let scattered = prop::collection::btree_map(0..UNIVERSE, prop::option::weighted(0.6, 0u32..50), 0..40);
    let run = (0..UNIVERSE, 1u32..500, prop::option::weighted(0.5, 0u32..3));
    (scattered, prop::option::weighted(0.6, run)).prop_map(|(scattered, run)| {
        let mut edits = Edits::new();
        if let Some((from, length, version)) = run {
            edits.extend((from..from + length).map(|n| (long_key(n), version.map(|version| value(n, version)))));
        }
        edits.extend(scattered.into_iter().map(|(n, version)| (long_key(n), version.map(|v| value(n, v)))));
        edits
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_edits_equal_a_rebuild_and_the_difference_is_theirs(batches in prop::collection::vec(batch(), 1..7)) {
        let store = MemoryStore::new();
        let (mut map, mut root) = (Map::new(), None);
        for edits in &batches {
            let (old_map, old_root) = (map.clone(), root);
            apply(&mut map, edits);
            root = edit(&store, root, edits);
            prop_assert_eq!(root, build(&store, &map));
            prop_assert_eq!(root.map_or(0, |root| root.count), map.len() as u64);
            prop_assert_eq!(diff(&store, old_root, root), model_diff(&old_map, &map));
        }
        prop_assert_eq!(read_range(&store, root, (Bound::Unbounded, Bound::Unbounded)), map);
    }

    #[test]
    fn the_root_does_not_depend_on_order_or_batches(
        edits in batch(), sizes in prop::collection::vec(1usize..200, 1..20), seed in any::<u64>(),
    ) {
        let store = MemoryStore::new();
        let base: Map = (0..UNIVERSE).step_by(2).map(|n| (long_key(n), value(n, 0))).collect();
        let base = build(&store, &base);
        let mut shuffled: Vec<_> = edits.clone().into_iter().collect();
        shuffled.sort_by_key(|(key, _)| *blake3::Hasher::new().update(&seed.to_le_bytes()).update(key).finalize().as_bytes());
        let (mut root, mut rest) = (base, shuffled.as_slice());
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, later) = rest.split_at(rest.len().min(*size));
            root = edit(&store, root, &part.iter().cloned().collect());
            rest = later;
        }
        prop_assert_eq!(root, edit(&store, base, &edits));
    }

    #[test]
    fn lookups_and_ranges_agree_with_a_map(
        step in 1usize..5, wanted in prop::collection::btree_set(0..UNIVERSE + 10, 0..200),
        from in 0..UNIVERSE, to in 0..UNIVERSE, ends in 0u8..9,
    ) {
        let store = MemoryStore::new();
        let map: Map = (0..UNIVERSE).step_by(step).map(|n| (long_key(n), value(n, 1))).collect();
        let (root, tree) = (build(&store, &map), Tree::new(&store));
        let wanted: Vec<_> = wanted.into_iter().map(long_key).collect();
        let found = block_on(tree.get_many(root, &wanted)).unwrap();
        let expected: Vec<_> = wanted.iter().map(|key| map.get(key).cloned().map(Bytes::from)).collect();
        prop_assert_eq!(found, expected);
        let end = |kind, n| match kind {
            0 => Bound::Unbounded,
            1 => Bound::Included(long_key(n)),
            _ => Bound::Excluded(long_key(n)),
        };
        let range = (end(ends % 3, from.min(to)), end(ends / 3, from.max(to) + 1));
        let expected: Map = map.range(range.clone()).map(|(k, v)| (k.clone(), v.clone())).collect();
        prop_assert_eq!(read_range(&store, root, range), expected);
        let rank = map.range(..long_key(from)).count() as u64;
        prop_assert_eq!(block_on(tree.rank(root, &long_key(from))).unwrap(), rank);
    }
}

#[test]
fn the_empty_tree_is_one() {
    let store = MemoryStore::new();
    let tree = Tree::new(&store);
    assert_eq!(build(&store, &Map::new()), None);
    let root = edit(&store, None, &Edits::from([(b"k".to_vec(), Some(b"v".to_vec()))]));
    assert_eq!(root.map(|root| (root.level, root.count)), Some((0, 1)));
    assert_eq!(edit(&store, root, &Edits::from([(b"k".to_vec(), None)])), None);
    assert_eq!(edit(&store, None, &Edits::from([(b"k".to_vec(), None)])), None);
    assert_eq!(block_on(tree.get(None, b"k")).unwrap(), None);
    assert!(block_on(tree.range(None, ..).next_batch()).unwrap().is_empty());
    assert_eq!(block_on(tree.rank(None, b"k")).unwrap(), 0);
    assert!(nodes(&store, None).is_empty());
}

#[test]
fn a_tree_shrinks_to_what_a_rebuild_makes() {
    let store = MemoryStore::new();
    let all: Vec<u32> = (0..UNIVERSE).collect();
    let map: Map = all.iter().map(|n| (long_key(*n), value(*n, 0))).collect();
    let root = build(&store, &map);
    assert!(root.unwrap().level >= 3, "{root:?}");
    for kept in 1..30usize {
        for keep in [&all[..kept], &all[all.len() - kept..], &all[400..400 + kept]] {
            let kept: Map = keep.iter().map(|n| (long_key(*n), value(*n, 0))).collect();
            let removals = map.keys().filter(|key| !kept.contains_key(*key)).map(|key| (key.clone(), None)).collect();
            assert_eq!(edit(&store, root, &removals), build(&store, &kept));
        }
    }
}

#[test]
fn records_can_be_appended_one_by_one() {
    let store = MemoryStore::new();
    let (mut map, mut root) = (Map::new(), None);
    for n in 0..300 {
        let edits = Edits::from([(long_key(n), Some(value(n, 0)))]);
        apply(&mut map, &edits);
        root = edit(&store, root, &edits);
    }
    assert_eq!(root, build(&store, &map));
}

#[test]
fn edits_and_lookups_out_of_order_are_refused() {
    let store = MemoryStore::new();
    let tree = Tree::new(&store);
    let root = build(&store, &(0..500).map(|n| (long_key(n), value(n, 0))).collect());
    for root in [None, root] {
        for keys in [[long_key(9), long_key(8)], [long_key(9), long_key(9)], [long_key(400), long_key(3)]] {
            let refused = block_on(tree.edit(root, keys.iter().map(|key| (key, Some(b"v")))));
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
            let refused = block_on(tree.edit(root, keys.iter().map(|key| (key, None::<Vec<u8>>))));
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(block_on(tree.get_many(root, keys)).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
}

#[test]
fn roots_are_those_of_the_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/format-spec/vectors/tree.json");
    let vectors: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for vector in vectors["trees"].as_array().unwrap() {
        let number = |name: &str| vector[name].as_u64().unwrap();
        let record = |n: u64| {
            let key = [format!("item-{n:06}").into_bytes(), vec![b'x'; 200]].concat();
            let value = key.repeat((n % 3) as usize);
            (key, value)
        };
        let store = MemoryStore::new();
        let root = build(&store, &(0..number("records")).map(record).collect()).unwrap();
        assert_eq!(root.id.to_string(), vector["id"].as_str().unwrap());
        assert_eq!((u64::from(root.level), root.count), (number("level"), number("count")));
        assert_eq!(store.len() as u64, number("nodes"));
        assert_eq!(store.put_bytes(), number("bytes"));
    }
}

#[test]
fn a_walk_skips_what_its_visitor_has_seen() {
    struct Marks(HashSet<BlobId>, usize);
    impl NodeVisitor for Marks {
        fn wants(&mut self, id: &BlobId, _: u8) -> bool {
            self.0.insert(*id)
        }
        fn visit(&mut self, _: &BlobId, _: &Node) -> crate::Result<()> {
            self.1 += 1;
            Ok(())
        }
    }
    let store = MemoryStore::new();
    let root = build(&store, &(0..UNIVERSE).map(|n| (long_key(n), value(n, 0))).collect());
    let built = store.len();
    let other = edit(&store, root, &Edits::from([(long_key(7), Some(vec![1]))]));
    let mut marks = Marks(HashSet::new(), 0);
    block_on(Tree::new(&store).walk_nodes(root, &mut marks)).unwrap();
    assert_eq!((marks.0.len(), marks.1), (built, built));
    block_on(Tree::new(&store).walk_nodes(other, &mut marks)).unwrap();
    assert_eq!((marks.0.len(), marks.1), (store.len(), store.len()));
}

#[test]
fn a_node_in_the_place_of_another_is_noticed() {
    let store = MemoryStore::new();
    let root = build(&store, &(0..UNIVERSE).map(|n| (long_key(n), value(n, 0))).collect());
    let all = nodes(&store, root);
    let leaf = all.iter().find(|(_, node)| node.level() == 0).unwrap();
    let Node::Inner { level, children } = &all[1].1 else { panic!() };
    let raised: Vec<Child> = children.iter().map(|c| Child { count: c.count + 1, ..c.clone() }).collect();
    let raised = Node::Inner { level: *level, children: raised };
    for node in [&leaf.1, &all[0].1, &raised] {
        let original = all[1].1.encode().unwrap();
        store.corrupt(all[1].0, node.encode().unwrap());
        let error = block_on(Tree::new(&store).get(root, &long_key(0))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(&all[1].0.to_string()));
        let edits = [(long_key(0), Some(vec![1]))];
        assert_eq!(block_on(Tree::new(&store).edit(root, edits)).unwrap_err().kind(), ErrorKind::Corrupt);
        store.corrupt(all[1].0, original);
    }
}

#[test]
fn work_on_trees_can_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let store = MemoryStore::new();
    let tree = Tree::new(&store);
    is_send(tree.edit(None, Edits::new()));
    is_send(tree.range(None, ..).next());
    is_send(tree.diff(None, None).next());
    is_send(tree.get_many(None, [b""]));
    is_send(tree.build().finish());
}
