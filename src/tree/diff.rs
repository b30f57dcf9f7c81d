//! Comparing two trees: what differs, key by key, without reading what they share.

use std::cmp::Ordering;
use std::vec;

use bytes::Bytes;

use crate::error::Result;
use crate::format::node::{Child, Item, Node};
use crate::tree::read::{Link, load};
use crate::tree::{NodeStore, Tree, TreeRoot};

/// A key whose values differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: Vec<u8>,
    /// Its value in the first tree, if it is there.
    pub old: Option<Bytes>,
    /// Its value in the second tree, if it is there.
    pub new: Option<Bytes>,
}

/// Goes through the differences of two trees in ascending order of keys.
pub struct DiffCursor<'a> {
    store: &'a dyn NodeStore,
    old: Side,
    new: Side,
}

impl<'a> Tree<'a> {
    /// Compares two trees. Subtrees that both have are skipped unread.
    pub fn diff(&self, old: Option<TreeRoot>, new: Option<TreeRoot>) -> DiffCursor<'a> {
        DiffCursor { store: self.store, old: Side::new(old), new: Side::new(new) }
    }
}

impl DiffCursor<'_> {
    /// Reads the next difference; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Difference>> {
        loop {
            match (self.old.head(), self.new.head()) {
                (Head::End, Head::End) => return Ok(None),
                (Head::Node(old), Head::Node(new)) if old.id == new.id => {
                    self.old.take_node();
                    self.new.take_node();
                }
                (Head::Node(old), Head::Node(new)) => {
                    let (old_level, new_level) = (old.level, new.level);
                    if old_level >= new_level {
                        self.old.open(self.store).await?;
                    }
                    if new_level >= old_level {
                        self.new.open(self.store).await?;
                    }
                }
                (Head::Node(_), _) => self.old.open(self.store).await?,
                (_, Head::Node(_)) => self.new.open(self.store).await?,
                (old, new) => {
                    let order = compare(&old, &new);
                    let old = if order.is_le() { self.old.items.next() } else { None };
                    let new = if order.is_ge() { self.new.items.next() } else { None };
                    if let Some(difference) = difference(old, new) {
                        return Ok(Some(difference));
                    }
                }
            }
        }
    }
}

/// What comes next on a side.
enum Head<'s> {
    End,
    Node(&'s Link),
    Item(&'s Item),
}

/// Which of two heads that are no nodes comes first; what has ended comes last.
fn compare(old: &Head, new: &Head) -> Ordering {
    match (old, new) {
        (Head::Item(old), Head::Item(new)) => old.key.cmp(&new.key),
        (Head::Item(_), _) => Ordering::Less,
        _ => Ordering::Greater,
    }
}

fn difference(old: Option<Item>, new: Option<Item>) -> Option<Difference> {
    match (old, new) {
        (Some(old), Some(new)) if old.value == new.value => None,
        (Some(old), new) => Some(Difference { key: old.key, old: Some(old.value), new: new.map(|item| item.value) }),
        (None, new) => new.map(|item| Difference { key: item.key, old: None, new: Some(item.value) }),
    }
}

/// One of the two trees: what of it is still to come.
struct Side {
    /// Nodes to come, the next one last. Holds the rest of one inner node a level.
    nodes: Vec<Link>,
    /// Records to come before them.
    items: vec::IntoIter<Item>,
}

impl Side {
    fn new(root: Option<TreeRoot>) -> Self {
        Self { nodes: root.map(Link::to_root).into_iter().collect(), items: Vec::new().into_iter() }
    }

    fn head(&self) -> Head<'_> {
        match (self.items.as_slice().first(), self.nodes.last()) {
            (Some(item), _) => Head::Item(item),
            (None, Some(link)) => Head::Node(link),
            (None, None) => Head::End,
        }
    }

    fn take_node(&mut self) -> Option<Link> {
        self.nodes.pop()
    }

    async fn open(&mut self, store: &dyn NodeStore) -> Result<()> {
        let Some(link) = self.take_node() else { return Ok(()) };
        match load(store, &link).await?.0 {
            Node::Leaf(items) => self.items = items.into_iter(),
            Node::Inner { level, children } => {
                let links = children.into_iter().rev().map(|child: Child| Link::to_child(level, child));
                self.nodes.extend(links);
            }
        }
        Ok(())
    }
}
