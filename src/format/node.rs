//! Tree nodes: bytes <-> structs, and the rule that says where a node ends.
//! Described in `format-spec/tree.md`; both change together.
//!
//! Two properties everything above rests on: a node's bytes follow from its entries alone (integers and
//! shared prefixes have one encoding, and decoding refuses any other), and where a node ends follows from
//! the entries since the last end alone. So equal contents make equal nodes, whatever their history.

use std::fmt;
use std::ops::Range;

use bincode::{Decode, Encode};
use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::format::id::BlobId;

/// The first byte of every node.
pub const NODE_KIND: u8 = b'T';
/// The version that this program writes and reads: a node's second byte.
pub const NODE_VERSION: u8 = 1;
/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 16 << 10;
/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// The highest level of a node; leaves are level 0.
pub const MAX_LEVEL: u8 = 40;
/// Up to this weight a node goes on whatever its keys, in bytes.
pub const CUT_MIN: u64 = 8 << 10;
/// From this weight on a node ends whatever its keys, in bytes.
pub const CUT_MAX: u64 = 64 << 10;

const HEADER_BYTES: usize = 3;
const RECORD_OVERHEAD: u64 = 8;
const CHILD_OVERHEAD: u64 = 48;

/// Names a tree that has records. The empty tree is `None` of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct TreeRoot {
    /// The root node.
    pub id: BlobId,
    /// The root node's level; a tree of one leaf has 0.
    pub level: u8,
    /// How many records the tree has.
    pub count: u64,
}

/// A key and its value, in a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Vec<u8>,
    /// The value; shares the memory of the node's bytes.
    pub value: Bytes,
}

/// What an inner node says about a node one level below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The last key below the child.
    pub key: Vec<u8>,
    /// The child's id.
    pub id: BlobId,
    /// How many records are below the child.
    pub count: u64,
    /// How many bytes the child and all nodes below it have, as encoded here.
    pub bytes: u64,
}

/// A node of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Level 0: records, by key, ascending, at least one.
    Leaf(Vec<Item>),
    /// Level 1 and above: nodes one level below, by last key, ascending, at least one.
    Inner {
        /// The level.
        level: u8,
        /// The nodes below.
        children: Vec<Child>,
    },
}

impl Node {
    /// Says the level; leaves are 0.
    pub fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner { level, .. } => *level,
        }
    }

    /// Counts the records in and below the node; `None` if the children's counts overflow.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Leaf(items) => u64::try_from(items.len()).ok(),
            Self::Inner { children, .. } => children.iter().try_fold(0u64, |sum, child| sum.checked_add(child.count)),
        }
    }

    /// Says the last key in and below the node.
    pub fn last_key(&self) -> &[u8] {
        match self {
            Self::Leaf(items) => items.last().map_or(&[], |item| &item.key),
            Self::Inner { children, .. } => children.last().map_or(&[], |child| &child.key),
        }
    }

    /// Encodes the node.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when keys are not strictly ascending or a limit is passed.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut builder = NodeBuilder::new(self.level());
        match self {
            Self::Leaf(items) => {
                items.iter().try_for_each(|item| builder.push_record(&item.key, &item.value).map(drop))?;
            }
            Self::Inner { children, .. } => {
                children.iter().try_for_each(|child| builder.push_child(child).map(drop))?;
            }
        }
        Ok(builder.finish().bytes)
    }

    /// Decodes a node from bytes that anyone may have written. `name` says in errors which node it is.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the bytes are not exactly what [`Node::encode`] makes of a non-empty node
    /// within the limits; [`ErrorKind::UnsupportedVersion`] when a newer program wrote them.
    pub fn decode(name: &dyn fmt::Display, bytes: &Bytes) -> Result<Self> {
        let level = decode_header(name, bytes)?;
        let broken = |why: &str| Error::corrupt(format!("Tree node {name} {why}"));
        let mut reader = Reader { bytes, at: HEADER_BYTES };
        let mut keys = KeyReader::new(level);
        let mut items = Vec::new();
        let mut children = Vec::new();
        while !reader.is_at_end() {
            if level == 0 {
                items.push(keys.item(&mut reader).map_err(broken)?);
            } else {
                children.push(keys.child(&mut reader).map_err(broken)?);
            }
        }
        if keys.entries == 0 {
            return Err(broken("is empty"));
        }
        Ok(if level == 0 { Self::Leaf(items) } else { Self::Inner { level, children } })
    }
}

fn decode_header(name: &dyn fmt::Display, bytes: &[u8]) -> Result<u8> {
    match bytes {
        [NODE_KIND, NODE_VERSION, level, ..] if *level <= MAX_LEVEL => Ok(*level),
        [NODE_KIND, NODE_VERSION, level, ..] => {
            Err(Error::corrupt(format!("Tree node {name} says level {level}, the highest is {MAX_LEVEL}")))
        }
        [NODE_KIND, version, ..] if *version > NODE_VERSION => {
            Err(Error::new(ErrorKind::UnsupportedVersion, format!("Tree node {name} has version {version}"))
                .with_hint("a newer tenantvault wrote it: use that one"))
        }
        _ => Err(Error::corrupt(format!("Tree node {name} does not begin as a tree node does"))),
    }
}

/// Says whether a node ends after an entry: `weight` of the node with it, `entry` of it alone.
///
/// The chance grows with the weight beyond [`CUT_MIN`], so weights gather around 22 KiB; an inner node
/// has at least two entries before it may end, so that every level is smaller than the one below.
fn is_cut(level: u8, key: &[u8], entries: u64, entry: u64, weight: u64) -> bool {
    if level > 0 && entries < 2 {
        return false;
    }
    weight >= CUT_MAX || (weight > CUT_MIN && u64::from(cut_hash(level, key)) < 32 * entry * (weight - CUT_MIN))
}

/// The number that the boundary rule compares: the first four bytes, little endian, of the BLAKE3 hash of the
/// level (one byte) and the key. The level is in it because the keys of a level are those that ended nodes below.
pub fn cut_hash(level: u8, key: &[u8]) -> u32 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[level]).update(key);
    let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// A node whose end was found.
#[derive(Debug)]
pub struct FinishedNode {
    /// The encoded node.
    pub bytes: Vec<u8>,
    /// Its last key.
    pub key: Vec<u8>,
    /// How many records are in and below it.
    pub count: u64,
    /// How many bytes all nodes below it have.
    pub bytes_below: u64,
}

/// Encodes the nodes of one level, entry by entry, and says where each ends.
#[derive(Debug)]
pub struct NodeBuilder {
    level: u8,
    bytes: Vec<u8>,
    /// The last key pushed; it outlives its node, so that order is seen across nodes too.
    last_key: Option<Vec<u8>>,
    entries: u64,
    weight: u64,
    count: u64,
    bytes_below: u64,
}

impl NodeBuilder {
    /// Begins the first node of a level.
    pub fn new(level: u8) -> Self {
        let bytes = vec![NODE_KIND, NODE_VERSION, level];
        Self { level, bytes, last_key: None, entries: 0, weight: 0, count: 0, bytes_below: 0 }
    }

    /// Says whether the node in hand has no entry yet.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Counts the entries of the node in hand.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Adds a record to a leaf and says whether the leaf ends here.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the key is not above the last one, or key or value are too long.
    pub fn push_record(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(Error::invalid(format!(
                "A tree's value has {} bytes, at most {MAX_VALUE_BYTES} are allowed",
                value.len()
            )));
        }
        self.push_key(key)?;
        put_integer(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(value);
        self.count += 1;
        Ok(self.ends_after(key, record_weight(key, value)))
    }

    /// Adds a child to an inner node and says whether the node ends here.
    ///
    /// # Errors
    /// As [`NodeBuilder::push_record`]; [`ErrorKind::Corrupt`] when counts overflow.
    pub fn push_child(&mut self, child: &Child) -> Result<bool> {
        let overflow = || Error::corrupt(format!("Tree node {} says impossible sizes", child.id));
        self.count = self.count.checked_add(child.count).ok_or_else(overflow)?;
        self.bytes_below = self.bytes_below.checked_add(child.bytes).ok_or_else(overflow)?;
        self.push_key(&child.key)?;
        self.bytes.extend_from_slice(child.id.as_bytes());
        put_integer(&mut self.bytes, child.count);
        put_integer(&mut self.bytes, child.bytes);
        Ok(self.ends_after(&child.key, child_weight(&child.key)))
    }

    /// Ends the node in hand, which must have an entry, and begins the next.
    pub fn finish(&mut self) -> FinishedNode {
        let mut next = Vec::with_capacity(self.bytes.len() + self.bytes.len() / 4);
        next.extend_from_slice(&[NODE_KIND, NODE_VERSION, self.level]);
        let finished = FinishedNode {
            bytes: std::mem::replace(&mut self.bytes, next),
            key: self.last_key.clone().unwrap_or_default(),
            count: self.count,
            bytes_below: self.bytes_below,
        };
        (self.entries, self.weight, self.count, self.bytes_below) = (0, 0, 0, 0);
        finished
    }

    fn push_key(&mut self, key: &[u8]) -> Result<()> {
        if key.len() > MAX_KEY_BYTES {
            return Err(Error::invalid(format!(
                "A tree's key has {} bytes, at most {MAX_KEY_BYTES} are allowed",
                key.len()
            )));
        }
        let shared = match &self.last_key {
            Some(last) if key <= last.as_slice() => {
                return Err(Error::invalid("A tree's keys must be given in ascending order, each once"));
            }
            Some(last) if self.entries > 0 => shared_prefix(last, key),
            _ => 0,
        };
        put_integer(&mut self.bytes, shared as u64);
        let rest = key.get(shared..).unwrap_or_default();
        put_integer(&mut self.bytes, rest.len() as u64);
        self.bytes.extend_from_slice(rest);
        let last = self.last_key.get_or_insert_default();
        last.truncate(shared);
        last.extend_from_slice(rest);
        Ok(())
    }

    fn ends_after(&mut self, key: &[u8], entry: u64) -> bool {
        self.entries += 1;
        self.weight += entry;
        is_cut(self.level, key, self.entries, entry, self.weight)
    }
}

fn record_weight(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64 + RECORD_OVERHEAD
}

fn child_weight(key: &[u8]) -> u64 {
    key.len() as u64 + CHILD_OVERHEAD
}

fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 16;
    // Whole steps first: keys often share their first hundred bytes.
    let steps = a.chunks_exact(STEP).zip(b.chunks_exact(STEP)).take_while(|(x, y)| x == y).count() * STEP;
    let rest = a.iter().zip(b).skip(steps).take_while(|(x, y)| x == y).count();
    steps + rest
}

/// Writes an integer as Bincode's standard configuration does.
fn put_integer(bytes: &mut Vec<u8>, value: u64) {
    match value {
        0..=250 => bytes.push(value as u8),
        251..=0xffff => {
            bytes.push(251);
            bytes.extend_from_slice(&(value as u16).to_le_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            bytes.push(252);
            bytes.extend_from_slice(&(value as u32).to_le_bytes());
        }
        _ => {
            bytes.push(253);
            bytes.extend_from_slice(&value.to_le_bytes());
        }
    }
}

type Why = &'static str;

/// Reads the entries of a node in order; holds what an entry depends on: the last key, the weight so far.
struct KeyReader {
    level: u8,
    last: Vec<u8>,
    weight: u64,
    entries: u64,
}

impl KeyReader {
    fn new(level: u8) -> Self {
        Self { level, last: Vec::new(), weight: 0, entries: 0 }
    }

    fn item(&mut self, reader: &mut Reader) -> Result<Item, Why> {
        let value = self.value(reader)?;
        Ok(Item { key: self.last.clone(), value: reader.bytes.slice(value) })
    }

    /// Reads a record: leaves its key in `last`, and says where its value is.
    fn value(&mut self, reader: &mut Reader) -> Result<Range<usize>, Why> {
        self.key(reader)?;
        let length = reader.length(MAX_VALUE_BYTES, "has a value that is too long")?;
        let start = reader.at;
        self.weight += record_weight(&self.last, reader.slice(length)?);
        Ok(start..reader.at)
    }

    fn child(&mut self, reader: &mut Reader) -> Result<Child, Why> {
        self.key(reader)?;
        let key = self.last.clone();
        let id = BlobId(reader.array()?);
        let (count, bytes) = (reader.integer()?, reader.integer()?);
        if count == 0 || bytes == 0 {
            return Err("has a child without contents");
        }
        self.weight += child_weight(&key);
        Ok(Child { key, id, count, bytes })
    }

    /// Reads a key. That it is above the one before and shares as much as it can follows from its first own byte.
    fn key(&mut self, reader: &mut Reader) -> Result<(), Why> {
        if self.weight >= CUT_MAX && (self.level == 0 || self.entries >= 2) {
            return Err("goes on past its end");
        }
        let shared = reader.length(MAX_KEY_BYTES, "has a key that is too long")?;
        let own = reader.length(MAX_KEY_BYTES, "has a key that is too long")?;
        if shared + own > MAX_KEY_BYTES {
            return Err("has a key that is too long");
        }
        if shared > self.last.len() {
            return Err("has a key that shares more than there is");
        }
        let rest = reader.slice(own)?;
        let ascends = match (rest.first(), self.last.get(shared)) {
            (Some(new), Some(old)) => new > old,
            (Some(_), None) => true,
            (None, _) => self.entries == 0,
        };
        if !ascends {
            return Err("has keys out of order");
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
        self.entries += 1;
        Ok(())
    }
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], Why> {
        let taken = self.at.checked_add(length).and_then(|end| self.bytes.get(self.at..end)).ok_or("is cut short")?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Why> {
        let array = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()).copied().ok_or("is cut short")?;
        self.at += N;
        Ok(array)
    }

    /// Reads an integer; only its shortest encoding is accepted.
    fn integer(&mut self) -> Result<u64, Why> {
        let [first] = self.array()?;
        let (value, least) = match first {
            0..=250 => (u64::from(first), 0),
            251 => (u64::from(u16::from_le_bytes(self.array()?)), 251),
            252 => (u64::from(u32::from_le_bytes(self.array()?)), 0x1_0000),
            253 => (u64::from_le_bytes(self.array()?), 0x1_0000_0000),
            _ => return Err("has an integer that cannot be"),
        };
        if value < least { Err("has an integer that is not in its shortest form") } else { Ok(value) }
    }

    fn length(&mut self, limit: usize, why: Why) -> Result<usize, Why> {
        usize::try_from(self.integer()?).ok().filter(|length| *length <= limit).ok_or(why)
    }
}

mod flat;

pub use flat::FlatLeaf;

#[cfg(test)]
mod tests;
