//! Ranges of a tree, read leaf by leaf on demand.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use crate::error::Result;
use crate::format::node::{Child, Item, Node};
use crate::tree::read::{Link, load};
use crate::tree::{NodeStore, Tree, TreeRoot};

/// Goes through the records of a range in ascending order. Holds one node a level.
pub struct Cursor<'a> {
    store: &'a dyn NodeStore,
    root: Option<Link>,
    /// Where the range starts; unbounded once the first leaf is read.
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    /// The rest of each inner node on the way, the root first.
    inner: Vec<(u8, VecDeque<Child>)>,
    leaf: std::vec::IntoIter<Item>,
}

impl<'a> Tree<'a> {
    /// Opens a range of keys; reads nothing before the first call of [`Cursor::next`].
    pub fn range(&self, root: Option<TreeRoot>, range: impl RangeBounds<Vec<u8>>) -> Cursor<'a> {
        Cursor {
            store: self.store,
            root: root.map(Link::to_root),
            start: range.start_bound().cloned(),
            end: range.end_bound().cloned(),
            inner: Vec::new(),
            leaf: Vec::new().into_iter(),
        }
    }
}

impl Cursor<'_> {
    /// Reads the next record; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.leaf.next() {
                return Ok(Some(item));
            }
            if !self.advance().await? {
                return Ok(None);
            }
        }
    }

    /// Reads the records up to the end of the leaf in hand, or of the next one; empty after the last.
    pub async fn next_batch(&mut self) -> Result<Vec<Item>> {
        while self.leaf.as_slice().is_empty() && self.advance().await? {}
        Ok(std::mem::take(&mut self.leaf).collect())
    }

    /// Opens the next node that the range touches; says whether there was one.
    async fn advance(&mut self) -> Result<bool> {
        let link = match self.root.take() {
            Some(root) => root,
            None => loop {
                let Some((level, children)) = self.inner.last_mut() else { return Ok(false) };
                match children.pop_front() {
                    Some(child) => break Link::to_child(*level, child),
                    None => drop(self.inner.pop()),
                }
            },
        };
        match load(self.store, &link).await?.0 {
            Node::Inner { level, children } => {
                let mut children = VecDeque::from(children);
                children.drain(..children.partition_point(|child| is_before(&child.key, &self.start)));
                self.inner.push((level, children));
            }
            Node::Leaf(items) => self.enter(items),
        }
        Ok(true)
    }

    fn enter(&mut self, mut items: Vec<Item>) {
        let ends_here = items.last().is_some_and(|item| match &self.end {
            Bound::Included(end) | Bound::Excluded(end) => item.key >= *end,
            Bound::Unbounded => false,
        });
        if ends_here {
            items.truncate(items.partition_point(|item| !is_after(&item.key, &self.end)));
            self.inner.clear();
        }
        items.drain(..items.partition_point(|item| is_before(&item.key, &self.start)));
        self.start = Bound::Unbounded;
        self.leaf = items.into_iter();
    }
}

fn is_before(key: &[u8], start: &Bound<Vec<u8>>) -> bool {
    match start {
        Bound::Included(start) => key < start.as_slice(),
        Bound::Excluded(start) => key <= start.as_slice(),
        Bound::Unbounded => false,
    }
}

fn is_after(key: &[u8], end: &Bound<Vec<u8>>) -> bool {
    match end {
        Bound::Included(end) => key > end.as_slice(),
        Bound::Excluded(end) => key >= end.as_slice(),
        Bound::Unbounded => false,
    }
}
