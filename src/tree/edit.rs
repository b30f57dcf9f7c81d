//! Building and editing: the records of the old tree and the edits are laid into one ascending stream, from
//! which [`Writer`] makes the new tree. Old nodes that no edit touches are taken over unread wherever the cuts
//! of the new tree fall together with those of the old one, which is almost everywhere.

use std::iter::Peekable;
use std::vec;

use crate::error::{Error, Result};
use crate::format::node::{Child, Item, Node};
use crate::tree::read::{Link, load};
use crate::tree::writer::Writer;
use crate::tree::{NodeStore, Tree, TreeRoot};

/// A key, and the value it gets, or `None` to remove it.
type Edit<K, V> = (K, Option<V>);

impl<'a> Tree<'a> {
    /// Begins a tree of records that come in ascending order.
    pub fn build(&self) -> TreeBuilder<'a> {
        TreeBuilder { writer: Writer::new(self.store) }
    }

    /// Edits a tree: each key gets the value beside it, or is removed (`None`; that it is not there is no error).
    ///
    /// Edits must come in ascending order of keys, each key once. Reads and writes the nodes on the ways to the
    /// edited records and a few beside them; memory does not grow with the tree or the edits. The root depends on
    /// the contents alone, never on the edits that led there.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] when the edits are out of order, or a key or value is too long.
    pub async fn edit<K, V, I>(&self, root: Option<TreeRoot>, edits: I) -> Result<Option<TreeRoot>>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
        I: IntoIterator<Item = (K, Option<V>)>,
    {
        let mut edits = Edits { edits: edits.into_iter().peekable(), last: None };
        if edits.edits.peek().is_none() {
            return Ok(root);
        }
        let mut writer = Writer::new(self.store);
        match root {
            Some(root) => merge(self.store, root, &mut edits, &mut writer).await?,
            None => push_rest(&mut edits, &mut writer).await?,
        }
        writer.finish().await
    }
}

/// Makes a tree of records that come in ascending order. Holds one node a level, however many come.
pub struct TreeBuilder<'a> {
    writer: Writer<'a>,
}

impl TreeBuilder<'_> {
    /// Adds a record; its key must be above all before.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] when it is not, or key or value are too long.
    pub async fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.writer.push_record(key, value).await
    }

    /// Writes what is in hand and says the root; `None` if no record came.
    pub async fn finish(self) -> Result<Option<TreeRoot>> {
        self.writer.finish().await
    }
}

/// Edits to come, held to their order.
struct Edits<I: Iterator> {
    edits: Peekable<I>,
    last: Option<Vec<u8>>,
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>, I: Iterator<Item = Edit<K, V>>> Edits<I> {
    /// Says whether the next edit's key is at or below `limit` (`None`: whether there is one).
    fn is_next_within(&mut self, limit: Option<&[u8]>) -> bool {
        self.edits.peek().is_some_and(|(key, _)| limit.is_none_or(|limit| key.as_ref() <= limit))
    }

    /// Takes the next edit if its key is at or below `limit`.
    fn next_within(&mut self, limit: Option<&[u8]>) -> Result<Option<Edit<K, V>>> {
        let Some(edit) = self.edits.next_if(|(key, _)| limit.is_none_or(|limit| key.as_ref() <= limit)) else {
            return Ok(None);
        };
        let key = edit.0.as_ref();
        if self.last.as_ref().is_some_and(|last| last.as_slice() >= key) {
            return Err(Error::invalid("A tree's edits must be given in ascending order, each key once"));
        }
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        Ok(Some(edit))
    }
}

/// An opened inner node: its children still to come.
struct Frame {
    level: u8,
    children: vec::IntoIter<Child>,
    /// On the right edge of the tree: what follows its last key belongs to it.
    is_right: bool,
}

async fn merge<K: AsRef<[u8]>, V: AsRef<[u8]>, I: Iterator<Item = Edit<K, V>>>(
    store: &dyn NodeStore,
    root: TreeRoot,
    edits: &mut Edits<I>,
    writer: &mut Writer<'_>,
) -> Result<()> {
    let mut stack = Vec::new();
    open(store, &Link::to_root(root), true, edits, writer, &mut stack).await?;
    while let Some(frame) = stack.last_mut() {
        let Some(child) = frame.children.next() else {
            stack.pop();
            continue;
        };
        let parent_level = frame.level;
        let is_right = frame.is_right && frame.children.as_slice().is_empty();
        let is_touched = edits.is_next_within(if is_right { None } else { Some(&child.key) });
        let level = parent_level.saturating_sub(1);
        if !is_touched && writer.is_aligned(level) {
            writer.push_old(level, &child).await?;
        } else {
            open(store, &Link::to_child(parent_level, child), is_right, edits, writer, &mut stack).await?;
        }
    }
    Ok(())
}

/// Opens an old node: a leaf is merged at once, an inner node goes on the stack.
async fn open<K: AsRef<[u8]>, V: AsRef<[u8]>, I: Iterator<Item = Edit<K, V>>>(
    store: &dyn NodeStore,
    link: &Link,
    is_right: bool,
    edits: &mut Edits<I>,
    writer: &mut Writer<'_>,
    stack: &mut Vec<Frame>,
) -> Result<()> {
    let (node, bytes) = load(store, link).await?;
    writer.note_old(link.level, link.id, bytes);
    match node {
        Node::Inner { level, children } => stack.push(Frame { level, children: children.into_iter(), is_right }),
        Node::Leaf(items) => {
            merge_leaf(items, edits, writer).await?;
            if is_right {
                push_rest(edits, writer).await?;
            }
        }
    }
    Ok(())
}

async fn merge_leaf<K: AsRef<[u8]>, V: AsRef<[u8]>, I: Iterator<Item = Edit<K, V>>>(
    items: Vec<Item>,
    edits: &mut Edits<I>,
    writer: &mut Writer<'_>,
) -> Result<()> {
    for item in items {
        let mut is_replaced = false;
        while let Some((key, value)) = edits.next_within(Some(&item.key))? {
            is_replaced = key.as_ref() == item.key;
            if let Some(value) = value {
                writer.push_record(key.as_ref(), value.as_ref()).await?;
            }
        }
        if !is_replaced {
            writer.push_record(&item.key, &item.value).await?;
        }
    }
    Ok(())
}

async fn push_rest<K: AsRef<[u8]>, V: AsRef<[u8]>, I: Iterator<Item = Edit<K, V>>>(
    edits: &mut Edits<I>,
    writer: &mut Writer<'_>,
) -> Result<()> {
    while let Some((key, value)) = edits.next_within(None)? {
        if let Some(value) = value {
            writer.push_record(key.as_ref(), value.as_ref()).await?;
        }
    }
    Ok(())
}
