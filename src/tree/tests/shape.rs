//! What trees promise of node sizes, also for hostile keys, and of the price of reads and edits.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::format::node::{CUT_MAX, CUT_MIN, cut_hash};

/// Checks what the boundary rule promises of sizes: below CUT_MIN only where a level ends, and never more than
/// one entry beyond CUT_MAX; an inner node that is not the last has two children.
fn assert_sizes(store: &MemoryStore, root: Option<TreeRoot>, largest_entry: u64) -> usize {
    let nodes = nodes(store, root);
    let mut seen = HashSet::new();
    // Going backwards, the first node of each level is its last.
    for (_, node) in nodes.iter().rev() {
        let is_last = seen.insert(node.level());
        let (entries, weight) = match node {
            Node::Leaf(items) => (items.len(), items.iter().map(|i| (i.key.len() + i.value.len() + 8) as u64).sum()),
            Node::Inner { children, .. } => {
                (children.len(), children.iter().map(|c| c.key.len() as u64 + 48).sum::<u64>())
            }
        };
        assert!(weight < CUT_MAX + largest_entry, "{weight}");
        assert!(is_last || weight > CUT_MIN, "{weight}");
        assert!(is_last || node.level() == 0 || entries >= 2);
    }
    nodes.len()
}

fn keys_where(wanted: impl Fn(u32) -> bool, count: usize) -> Map {
    let keys = (0u32..).map(|n| [b"hostile".as_slice(), &n.to_be_bytes()].concat());
    keys.filter(|key| wanted(cut_hash(0, key))).map(|key| (key, vec![5; 80])).take(count).collect()
}

#[test]
fn keys_chosen_never_to_end_a_node_are_cut_by_size() {
    let store = MemoryStore::new();
    let mut map = keys_where(|hash| hash > 1 << 28, 20_000);
    let root = build(&store, &map);
    let leaves = map.len() as u64 * 99 / CUT_MAX;
    assert!(assert_sizes(&store, root, 100) as u64 >= leaves);
    let edits = Edits::from([(b"a".to_vec(), Some(Vec::new()))]);
    apply(&mut map, &edits);
    assert_eq!(edit(&store, root, &edits), build(&store, &map));
}

#[test]
fn keys_chosen_to_end_nodes_make_none_below_the_minimum() {
    let store = MemoryStore::new();
    let map = keys_where(|hash| hash < 1 << 20, 250);
    assert!(assert_sizes(&store, build(&store, &map), 100) >= 4);
}

#[test]
fn the_longest_keys_and_values_work() {
    let store = MemoryStore::new();
    let mut map = Map::new();
    for n in 0..200u32 {
        let mut key = vec![n as u8; MAX_KEY_BYTES - 4];
        key.extend_from_slice(&n.to_be_bytes());
        map.insert(key, if n % 50 == 0 { vec![n as u8; MAX_VALUE_BYTES] } else { Vec::new() });
    }
    let root = build(&store, &map);
    assert_sizes(&store, root, (MAX_KEY_BYTES + MAX_VALUE_BYTES + 8) as u64);
    assert_eq!(read_range(&store, root, (Bound::Unbounded, Bound::Unbounded)), map);
    let too_long = [(vec![0; MAX_KEY_BYTES + 1], Some(Vec::new())), (vec![0], Some(vec![0; MAX_VALUE_BYTES + 1]))];
    for edit in too_long {
        let error = block_on(Tree::new(&store).edit(root, [edit])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

/// A key as long as Graph's ids, scattered over the tree.
fn graph_key(n: u32) -> Vec<u8> {
    let hash = blake3::hash(&n.to_le_bytes()).to_hex();
    format!("AAMkAGI2TG93AAA={:0>64}{}", "", hash.as_str()).into_bytes()
}

#[test]
fn ten_edits_in_100_000_records_cost_ten_ways_down() {
    let store = MemoryStore::new();
    let map: Map = (0..100_000).map(|n| (graph_key(n), vec![n as u8; 300])).collect();
    let root = build(&store, &map).unwrap();
    let height = u64::from(root.level) + 1;
    let mean = store.put_bytes() / store.len() as u64;
    assert!((12 << 10..28 << 10).contains(&mean), "{mean}");
    assert_eq!(store.gets(), 0);

    // Values of the same length move no cut: exactly the nodes on the ways down are read and written.
    let changed: Edits = (0..10).map(|n| (graph_key(n * 9999), Some(vec![255; 300]))).collect();
    store.reset_counts();
    let other = edit(&store, Some(root), &changed).unwrap();
    assert_ne!(other, root);
    assert!(store.gets() <= 10 * height && store.puts() <= 10 * height, "{store:?}");
    assert_eq!(store.gets(), store.puts());

    let inserted: Edits = (0..10).map(|n| (graph_key(1_000_000 + n), Some(vec![1; 300]))).collect();
    store.reset_counts();
    let other = edit(&store, Some(root), &inserted);
    assert!(store.gets() <= 15 * height && store.puts() <= 15 * height, "{} {}", store.gets(), store.puts());

    store.reset_counts();
    assert_eq!(diff(&store, Some(root), other).len(), 10);
    assert!(store.gets() <= 30 * height, "{}", store.gets());

    // What changes nothing writes nothing.
    store.reset_counts();
    let same: Edits = [(graph_key(5), Some(vec![5; 300])), (b"none".to_vec(), None)].into();
    assert_eq!(edit(&store, Some(root), &same), Some(root));
    assert_eq!(store.puts(), 0);

    store.reset_counts();
    assert!(block_on(Tree::new(&store).get(Some(root), &graph_key(77))).unwrap().is_some());
    assert_eq!(store.gets(), height);
    store.reset_counts();
    let mut cursor = Tree::new(&store).range(Some(root), graph_key(50)..);
    assert_eq!(block_on(cursor.next()).unwrap().unwrap().key, graph_key(50));
    assert_eq!(store.gets(), height);
}

/// A store that answers once others were asked too; knows what was asked for, and how many waited at once.
#[derive(Default)]
struct Slow {
    store: MemoryStore,
    asked: Mutex<Vec<BlobId>>,
    waiting: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl NodeStore for Slow {
    async fn get(&self, id: &BlobId) -> crate::Result<Bytes> {
        self.asked.lock().unwrap().push(*id);
        self.most.fetch_max(self.waiting.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.store.get(id).await
    }

    async fn put(&self, bytes: Vec<u8>) -> crate::Result<BlobId> {
        self.store.put(bytes).await
    }
}

#[tokio::test]
async fn nodes_that_many_keys_lie_in_are_read_some_at_once_and_each_once() {
    let slow = Slow::default();
    let map: Map = (0..60_000u32).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; 100])).collect();
    let mut builder = Tree::new(&slow).build();
    for (key, value) in &map {
        builder.push(key, value).await.unwrap();
    }
    let root = builder.finish().await.unwrap();
    // As ids of a folder's messages lie among those of all others; and all of them.
    for (step, from) in [(613, 5), (1, 0)] {
        slow.asked.lock().unwrap().clear();
        slow.most.store(0, Ordering::Relaxed);
        let keys: Vec<_> = map.keys().skip(from).step_by(step).cloned().collect();
        let found = Tree::new(&slow).get_many(root, &keys).await.unwrap();
        assert!(keys.iter().zip(found).all(|(key, value)| value.as_deref() == map.get(key).map(Vec::as_slice)));
        let asked = std::mem::take(&mut *slow.asked.lock().unwrap());
        assert_eq!(asked.iter().collect::<HashSet<_>>().len(), asked.len(), "a node was read twice");
        let most = slow.most.load(Ordering::Relaxed);
        assert!(if step == 1 { most <= 2 } else { (8..=16).contains(&most) }, "{most} at once");
    }
}
