//! Loading a node, held against what its parent says of it, and look-ups by key.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};

use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::format::node::{Child, FlatLeaf, Node};
use crate::tree::{NodeStore, Tree, TreeRoot};

/// So many keys are looked at for which nodes to read ahead: at most so many leaves are held.
const KEYS_AHEAD: usize = 64;
/// Nodes read at once.
const NODES_AT_ONCE: usize = 16;

/// A node that is named but not read yet, and what is said of it.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) id: BlobId,
    pub(super) level: u8,
    pub(super) count: u64,
    /// The last key; a root's is not known.
    pub(super) last_key: Option<Vec<u8>>,
}

impl Link {
    pub(super) fn to_root(root: TreeRoot) -> Self {
        Self { id: root.id, level: root.level, count: root.count, last_key: None }
    }

    /// A link to a child of a node of the level given, which is at least 1.
    pub(super) fn to_child(parent_level: u8, child: Child) -> Self {
        let level = parent_level.saturating_sub(1);
        Self { id: child.id, level, count: child.count, last_key: Some(child.key) }
    }
}

impl Link {
    /// Refuses a node that is not as its parent says.
    fn holds(&self, level: u8, count: Option<u64>, last_key: &[u8]) -> Result<()> {
        let as_said = level == self.level
            && count == Some(self.count)
            && self.last_key.as_ref().is_none_or(|key| key.as_slice() == last_key);
        if as_said {
            Ok(())
        } else {
            Err(Error::corrupt(format!("Tree node {} is not the node that its parent describes", self.id)))
        }
    }
}

/// Reads a node; returns its bytes too.
pub(super) async fn load(store: &dyn NodeStore, link: &Link) -> Result<(Node, Bytes)> {
    let bytes = store.get(&link.id).await?;
    let node = Node::decode(&link.id, &bytes)?;
    link.holds(node.level(), node.count(), node.last_key())?;
    Ok((node, bytes))
}

impl Tree<'_> {
    /// Finds the value of a key. Reads one node a level.
    pub async fn get(&self, root: Option<TreeRoot>, key: &[u8]) -> Result<Option<Bytes>> {
        let found = self.get_many(root, [key]).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// Finds the values of many keys, which must ascend; the answers are in the same order. Reads each node that
    /// any of them needs once.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] when the keys do not ascend.
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        root: Option<TreeRoot>,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Bytes>>> {
        let mut values = Vec::new();
        let mut keep = |_: &K, value: Option<Bytes>| {
            values.push(value);
            Ok(())
        };
        self.visit_many(root, keys, &mut keep).await?;
        Ok(values)
    }

    /// As [`Self::get_many`], giving each value to `visit` as soon as it is read: a value that is kept keeps the memory
    /// of its whole node.
    ///
    /// # Errors
    /// As [`Self::get_many`]; what `visit` returns.
    pub async fn visit_many<K: AsRef<[u8]>>(
        &self,
        root: Option<TreeRoot>,
        keys: impl IntoIterator<Item = K>,
        visit: &mut (dyn FnMut(&K, Option<Bytes>) -> Result<()> + Send),
    ) -> Result<()> {
        let mut path = Path::new(self.store, root);
        let mut last: Option<K> = None;
        let mut keys = keys.into_iter();
        loop {
            let some: Vec<K> = keys.by_ref().take(KEYS_AHEAD).collect();
            if some.is_empty() {
                return Ok(());
            }
            path.read_ahead(&some).await?;
            for key in some {
                if last.as_ref().is_some_and(|last| last.as_ref() >= key.as_ref()) {
                    return Err(Error::invalid("Keys to look up must ascend"));
                }
                visit(&key, path.find(key.as_ref()).await?)?;
                last = Some(key);
            }
        }
    }

    /// Counts the records whose keys are below `key`. Reads one node a level.
    pub async fn rank(&self, root: Option<TreeRoot>, key: &[u8]) -> Result<u64> {
        let mut rank = 0u64;
        let mut next = root.map(Link::to_root);
        while let Some(link) = next.take() {
            match load(self.store, &link).await?.0 {
                Node::Leaf(items) => rank += items.partition_point(|item| item.key.as_slice() < key) as u64,
                Node::Inner { level, children } => {
                    for child in children {
                        if child.key.as_slice() >= key {
                            next = Some(Link::to_child(level, child));
                            break;
                        }
                        // No overflow: the sum over all children was checked when the node was loaded.
                        rank += child.count;
                    }
                }
            }
        }
        Ok(rank)
    }
}

/// Looks up ascending keys, keeping the nodes on the way from the root to the last one.
struct Path<'a> {
    store: &'a dyn NodeStore,
    root: Option<Link>,
    /// The rest of each inner node on the way, the root first.
    inner: Vec<(u8, VecDeque<Child>)>,
    leaf: FlatLeaf,
    /// Nodes that were read before they are come to.
    ready: HashMap<BlobId, Opened>,
}

/// A node that was read.
enum Opened {
    Inner(u8, VecDeque<Child>),
    Leaf(FlatLeaf),
}

impl<'a> Path<'a> {
    fn new(store: &'a dyn NodeStore, root: Option<TreeRoot>) -> Self {
        let root = root.map(Link::to_root);
        Self { store, root, inner: Vec::new(), leaf: FlatLeaf::default(), ready: HashMap::new() }
    }

    /// Reads the nodes that the next keys lie in, level by level, some at once: one after the other, each would wait for its
    /// storage. What is lost or damaged is told when it is come to.
    async fn read_ahead<K: AsRef<[u8]>>(&mut self, keys: &[K]) -> Result<()> {
        if let Some(root) = self.root.take() {
            self.open(&root).await?;
        }
        let known = keys.partition_point(|key| self.leaf.last_key().is_some_and(|last| key.as_ref() <= last));
        let mut rest = keys.get(known..).unwrap_or_default();
        let mut wanted = Vec::new();
        for (level, children) in self.inner.iter().rev() {
            rest = want(*level, children, rest, &mut wanted);
        }
        // One is no faster ahead than when it is come to.
        while wanted.len() > 1 || wanted.first().is_some_and(|(link, _)| link.level > 0) {
            let store = self.store;
            let mut reading: Vec<BoxFuture<'_, Result<Opened>>> = Vec::with_capacity(wanted.len());
            for (link, _) in &wanted {
                reading.push(Box::pin(open(store, link)));
            }
            let read: Vec<_> = stream::iter(reading).buffered(NODES_AT_ONCE).collect().await;
            let mut next = Vec::new();
            for (opened, (link, keys)) in read.into_iter().zip(&wanted) {
                let opened = match opened {
                    Ok(opened) => opened,
                    Err(e) if e.is_loss() => continue,
                    Err(e) => return Err(e),
                };
                if let Opened::Inner(level, children) = &opened {
                    want(*level, children, keys, &mut next);
                }
                self.ready.insert(link.id, opened);
            }
            wanted = next;
        }
        Ok(())
    }

    /// Finds a key above all that were looked up before.
    async fn find(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        while self.leaf.last_key().is_none_or(|last| last < key) {
            let Some((level, children)) = self.inner.last_mut() else { return Ok(None) };
            children.drain(..children.partition_point(|child| child.key.as_slice() < key));
            match children.pop_front() {
                Some(child) => {
                    let link = Link::to_child(*level, child);
                    self.open(&link).await?;
                }
                None => drop(self.inner.pop()),
            }
        }
        Ok(self.leaf.find(key))
    }

    async fn open(&mut self, link: &Link) -> Result<()> {
        let opened = match self.ready.remove(&link.id) {
            Some(opened) => opened,
            None => open(self.store, link).await?,
        };
        match opened {
            Opened::Leaf(leaf) => self.leaf = leaf,
            Opened::Inner(level, children) => self.inner.push((level, children)),
        }
        Ok(())
    }
}

/// Reads a node; values of a leaf stay where they lie in its bytes.
async fn open(store: &dyn NodeStore, link: &Link) -> Result<Opened> {
    if link.level == 0 {
        let bytes = store.get(&link.id).await?;
        let leaf = FlatLeaf::decode(&link.id, &bytes)?;
        link.holds(0, Some(leaf.count()), leaf.last_key().unwrap_or_default())?;
        return Ok(Opened::Leaf(leaf));
    }
    match load(store, link).await?.0 {
        Node::Inner { level, children } => Ok(Opened::Inner(level, children.into())),
        Node::Leaf(_) => Err(Error::corrupt(format!("Tree node {} is a leaf above others", link.id))),
    }
}

/// Which children of a node of the level given some keys lie in, each with its keys; returns the keys beyond all of them.
fn want<'k, K: AsRef<[u8]>>(
    level: u8,
    children: &VecDeque<Child>,
    keys: &'k [K],
    wanted: &mut Vec<(Link, &'k [K])>,
) -> &'k [K] {
    let mut rest = keys;
    while let Some(first) = rest.first() {
        let at = children.partition_point(|child| child.key.as_slice() < first.as_ref());
        let Some(child) = children.get(at) else { break };
        let (here, beyond) = rest.split_at(rest.partition_point(|key| key.as_ref() <= child.key.as_slice()));
        // Keys that do not ascend are refused when they are come to.
        if here.is_empty() {
            break;
        }
        wanted.push((Link::to_child(level, child.clone()), here));
        rest = beyond;
    }
    rest
}
