//! What node bytes promise. The vectors are those that `format-spec/tree.md` points to.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn leaf(pairs: &[(&[u8], &[u8])]) -> Node {
    let item = |(key, value): &(&[u8], &[u8])| Item { key: key.to_vec(), value: Bytes::copy_from_slice(value) };
    Node::Leaf(pairs.iter().map(item).collect())
}

fn decode(bytes: &[u8]) -> Result<Node> {
    Node::decode(&"test", &Bytes::copy_from_slice(bytes))
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/format-spec/vectors/tree.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn node_of(vector: &Value) -> Node {
    let entries = vector["entries"].as_array().unwrap();
    match vector["level"].as_u64().unwrap() {
        0 => Node::Leaf(
            entries.iter().map(|e| Item { key: unhex(&e["key"]), value: unhex(&e["value"]).into() }).collect(),
        ),
        level => Node::Inner {
            level: level as u8,
            children: entries
                .iter()
                .map(|e| Child {
                    key: unhex(&e["key"]),
                    id: e["id"].as_str().unwrap().parse().unwrap(),
                    count: e["count"].as_u64().unwrap(),
                    bytes: e["bytes"].as_u64().unwrap(),
                })
                .collect(),
        },
    }
}

#[test]
fn nodes_have_the_bytes_of_the_vectors() {
    let vectors = vectors();
    let nodes = vectors["nodes"].as_array().unwrap();
    assert!(nodes.len() >= 2);
    for vector in nodes {
        let (node, bytes) = (node_of(vector), unhex(&vector["bytes"]));
        assert_eq!(node.encode().unwrap(), bytes, "{}", vector["name"]);
        assert_eq!(decode(&bytes).unwrap(), node, "{}", vector["name"]);
    }
}

#[test]
fn bad_nodes_of_the_vectors_are_refused() {
    let vectors = vectors();
    let nodes = vectors["bad_nodes"].as_array().unwrap();
    assert!(nodes.len() >= 10);
    for vector in nodes {
        let error = decode(&unhex(&vector["bytes"])).expect_err(vector["why"].as_str().unwrap());
        let is_newer = vector["why"].as_str().unwrap().contains("newer version");
        let kind = if is_newer { ErrorKind::UnsupportedVersion } else { ErrorKind::Corrupt };
        assert_eq!(error.kind(), kind, "{}: {error}", vector["why"]);
    }
}

#[test]
fn cut_hashes_are_those_of_the_vectors() {
    let vectors = vectors();
    for vector in vectors["cut_hashes"].as_array().unwrap() {
        let level = vector["level"].as_u64().unwrap() as u8;
        assert_eq!(u64::from(cut_hash(level, &unhex(&vector["key"]))), vector["hash"].as_u64().unwrap());
    }
}

#[test]
fn limits_hold_when_nodes_are_made() {
    let refused = |node: Node| assert_eq!(node.encode().unwrap_err().kind(), ErrorKind::InvalidInput);
    refused(leaf(&[(&[7; MAX_KEY_BYTES + 1], b"")]));
    refused(leaf(&[(b"k", &vec![7; MAX_VALUE_BYTES + 1])]));
    refused(leaf(&[(b"b", b""), (b"a", b"")]));
    refused(leaf(&[(b"a", b""), (b"a", b"")]));
    let largest = leaf(&[(&[7; MAX_KEY_BYTES], &vec![7; MAX_VALUE_BYTES])]);
    assert_eq!(decode(&largest.encode().unwrap()).unwrap(), largest);
}

#[test]
fn a_node_that_unfolds_without_bound_is_refused() {
    // Each entry takes five bytes and stands for a key of 16 KiB.
    let mut bytes = vec![NODE_KIND, NODE_VERSION, 0];
    put_integer(&mut bytes, 0);
    put_integer(&mut bytes, MAX_KEY_BYTES as u64);
    bytes.extend_from_slice(&[0; MAX_KEY_BYTES]);
    bytes.push(0);
    for last in 1..=255u8 {
        put_integer(&mut bytes, MAX_KEY_BYTES as u64 - 1);
        bytes.extend_from_slice(&[1, last, 0]);
    }
    assert!(decode(&bytes).unwrap_err().to_string().contains("past its end"));
}

fn nodes() -> impl Strategy<Value = Node> {
    let bytes = |most| prop::collection::vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 0..most);
    let leaf = prop::collection::btree_map(bytes(12), bytes(300), 1..40)
        .prop_map(|map| Node::Leaf(map.into_iter().map(|(key, value)| Item { key, value: value.into() }).collect()));
    let child = (any::<[u8; 32]>(), 1u64..1 << 40, 1..u64::MAX >> 8);
    let inner = (1..=MAX_LEVEL, prop::collection::btree_map(bytes(12), child, 1..40)).prop_map(|(level, map)| {
        let child = |(key, (id, count, bytes))| Child { key, id: BlobId(id), count, bytes };
        Node::Inner { level, children: map.into_iter().map(child).collect() }
    });
    prop_oneof![leaf, inner]
}

proptest! {
    #[test]
    fn nodes_come_back_as_they_were(node in nodes()) {
        prop_assert_eq!(decode(&node.encode().unwrap()).unwrap(), node);
    }

    #[test]
    fn a_damaged_node_is_refused_or_is_another_node_in_its_one_form(
        node in nodes(), flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = node.encode().unwrap();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(node) = decode(bytes) {
                prop_assert_eq!(node.encode().unwrap(), bytes);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(level in 0u8..3, bytes in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..200)) {
        let bytes = [&[NODE_KIND, NODE_VERSION, level], &bytes[..]].concat();
        if let Ok(node) = decode(&bytes) {
            prop_assert_eq!(node.encode().unwrap(), bytes);
        }
    }
}
