//! Entries in, nodes out: cuts every level of a tree while its records stream by. Holds one node a level.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::format::node::{Child, FinishedNode, MAX_LEVEL, Node, NodeBuilder};
use crate::tree::read::{Link, load};
use crate::tree::{NodeStore, TreeRoot};

/// Takes a map's records in order, some of them as whole old nodes, and writes the nodes of its tree.
pub(super) struct Writer<'a> {
    store: &'a dyn NodeStore,
    /// The node in hand of every level that has had an entry, leaves first.
    levels: Vec<NodeBuilder>,
    /// The old node read last of every level: if it comes out again as it was, it is stored already.
    old: Vec<Option<(BlobId, Bytes)>>,
    /// The old node taken over last.
    reused: Option<BlobId>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(store: &'a dyn NodeStore) -> Self {
        Self { store, levels: vec![NodeBuilder::new(0)], old: Vec::new(), reused: None }
    }

    /// Adds a record. Only where a leaf ends is there anything to wait for.
    pub(super) async fn push_record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.level(0)?.push_record(key, value)? { self.end_node(0).await } else { Ok(()) }
    }

    /// Says whether a new node begins here at this level and all below, so that an old one can be taken over whole.
    pub(super) fn is_aligned(&self, level: u8) -> bool {
        self.levels.iter().take(usize::from(level) + 1).all(NodeBuilder::is_empty)
    }

    /// Takes over an old node whole, with all below it.
    ///
    /// Right only where [`Writer::is_aligned`], and if the old node ended by the boundary rule or nothing follows.
    pub(super) async fn push_old(&mut self, level: u8, child: &Child) -> Result<()> {
        self.reused = Some(child.id);
        let parent_level = usize::from(level) + 1;
        if self.level(parent_level)?.push_child(child)? { self.end_node(parent_level).await } else { Ok(()) }
    }

    /// Notes an old node that was opened.
    pub(super) fn note_old(&mut self, level: u8, id: BlobId, bytes: Bytes) {
        let at = usize::from(level);
        if self.old.len() <= at {
            self.old.resize(at + 1, None);
        }
        if let Some(slot) = self.old.get_mut(at) {
            *slot = Some((id, bytes));
        }
    }

    /// Writes what is in hand and says the root; `None` if there was no record.
    pub(super) async fn finish(mut self) -> Result<Option<TreeRoot>> {
        let mut level = 0;
        while level + 1 < self.levels.len() {
            if !self.level(level)?.is_empty() {
                self.end_node(level).await?;
            }
            level += 1;
        }
        // No node of this level was written yet, so what is in hand is all of it.
        let top = self.level(level)?;
        let entries = top.entries();
        if entries == 0 {
            return Ok(None);
        }
        let node = top.finish();
        if level > 0 && entries == 1 {
            return self.only_child(node.bytes).await.map(Some);
        }
        let count = node.count;
        let id = self.store_node(level, node.bytes).await?;
        Ok(Some(TreeRoot { id, level: level_number(level)?, count }))
    }

    /// The root of a tree whose top level would have one entry: the node below. An old one from the right edge
    /// may have one entry itself; then it is the node below that.
    async fn only_child(&self, bytes: Vec<u8>) -> Result<TreeRoot> {
        let mut link = only_link(Node::decode(&"in hand", &bytes.into())?)
            .ok_or_else(|| Error::internal("A node of one entry was not found to be one"))?;
        let is_old = self.reused == Some(link.id);
        while is_old && link.level > 0 {
            match only_link(load(self.store, &link).await?.0) {
                Some(below) => link = below,
                None => break,
            }
        }
        Ok(TreeRoot { id: link.id, level: link.level, count: link.count })
    }

    /// Ends the node in hand of a level, tells the level above, and so on while nodes end.
    async fn end_node(&mut self, mut level: usize) -> Result<()> {
        loop {
            let FinishedNode { bytes, key, count, bytes_below } = self.level(level)?.finish();
            let bytes_all = bytes_below + bytes.len() as u64;
            let id = self.store_node(level, bytes).await?;
            level += 1;
            let child = Child { key, id, count, bytes: bytes_all };
            if !self.level(level)?.push_child(&child)? {
                return Ok(());
            }
        }
    }

    async fn store_node(&self, level: usize, bytes: Vec<u8>) -> Result<BlobId> {
        match self.old.get(level) {
            Some(Some((id, old))) if *old == bytes => Ok(*id),
            _ => self.store.put(bytes).await,
        }
    }

    /// The builder of a level.
    fn level(&mut self, level: usize) -> Result<&mut NodeBuilder> {
        while self.levels.len() <= level {
            self.levels.push(NodeBuilder::new(level_number(self.levels.len())?));
        }
        self.levels.get_mut(level).ok_or_else(|| Error::internal("A tree's level was left out"))
    }
}

/// The child of an inner node that has only one.
fn only_link(node: Node) -> Option<Link> {
    match node {
        Node::Inner { level, mut children } if children.len() == 1 => {
            children.pop().map(|child| Link::to_child(level, child))
        }
        _ => None,
    }
}

fn level_number(level: usize) -> Result<u8> {
    u8::try_from(level)
        .ok()
        .filter(|level| *level <= MAX_LEVEL)
        .ok_or_else(|| Error::internal("A tree is higher than trees can be"))
}
