//! Which blobs snapshots refer to: what prune keeps, and what check looks for. Each tree node is read once, however
//! many snapshots share it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::Result;
use crate::format::codec;
use crate::format::id::BlobId;
use crate::format::node::{Node, TreeRoot};
use crate::format::record::{Extent, ExtentList, Record};
use crate::format::snapshot::{CollectionState, SnapshotFile};
use crate::ops::nodes::RepoNodes;
use crate::repo::{Repository, Writer};
use crate::tree::{NodeVisitor, Tree};

/// Tree nodes that were read already.
#[derive(Debug, Default)]
pub struct Seen {
    nodes: HashSet<BlobId>,
}

/// Where a prune was at work beside a writer that has finished: copies what snapshots that are to be written need and only
/// packs marked for deletion hold.
///
/// # Errors
/// `NotFound` when something of it is gone already; the storage's.
pub async fn rescue_marked(
    repo: &Arc<Repository>,
    writer: &Writer,
    files: impl IntoIterator<Item = &SnapshotFile>,
) -> Result<()> {
    if !writer.has_lost_ground() {
        return Ok(());
    }
    let (mut seen, mut used) = (Seen::default(), HashSet::new());
    for file in files {
        add_snapshot(repo, file, &mut seen, &mut used).await?;
    }
    let index = repo.index();
    used.retain(|id| !index.has_live(id));
    repo.rescue(&used).await.map(drop)
}

/// Adds all blobs that a snapshot refers to, tree nodes included.
///
/// # Errors
/// `Corrupt` or `NotFound` when a tree cannot be read: nothing may be pruned then.
pub async fn add_snapshot(
    repo: &Arc<Repository>,
    file: &SnapshotFile,
    seen: &mut Seen,
    used: &mut HashSet<BlobId>,
) -> Result<()> {
    let nodes = RepoNodes(repo.clone());
    let tree = Tree::new(&nodes);
    walk(&tree, file.gaps, seen, used, |_, _| Ok(())).await?;
    let mut states: HashMap<String, CollectionState> = HashMap::new();
    walk(&tree, file.catalog, seen, used, |key, value| {
        if key.first() == Some(&b'k') {
            let state: CollectionState = codec::decode("A collection of the catalog", value)?;
            states.insert(state.key.clone(), state);
        }
        Ok(())
    })
    .await?;
    for state in states.values() {
        let mut lists: Vec<ExtentList> = Vec::new();
        let mut blobs: HashSet<BlobId> = HashSet::new();
        walk(&tree, state.items, seen, used, |_, value| {
            let record: Record = codec::decode("A record", value)?;
            for piece in record.streams.into_iter().flat_map(|s| s.pieces) {
                if piece.extents.depth == 0 {
                    blobs.extend(piece.extents.list.iter().map(|e| e.blob));
                } else {
                    lists.push(piece.extents);
                }
            }
            Ok(())
        })
        .await?;
        used.extend(blobs);
        for list in lists {
            add_list(repo, &list, used).await?;
        }
        walk(&tree, state.children, seen, used, |_, _| Ok(())).await?;
    }
    Ok(())
}

async fn add_list(repo: &Arc<Repository>, list: &ExtentList, used: &mut HashSet<BlobId>) -> Result<()> {
    let mut lists = Vec::new();
    let mut visit = |e: Extent| {
        used.insert(e.blob);
        Ok(())
    };
    repo.expand_extents(list, &mut visit, &mut |id| lists.push(id)).await?;
    used.extend(lists);
    Ok(())
}

async fn walk(
    tree: &Tree<'_>,
    root: Option<TreeRoot>,
    seen: &mut Seen,
    used: &mut HashSet<BlobId>,
    leaf: impl FnMut(&[u8], &[u8]) -> Result<()> + Send,
) -> Result<()> {
    let mut visitor = Visitor { seen, used, leaf };
    tree.walk_nodes(root, &mut visitor).await
}

struct Visitor<'a, F> {
    seen: &'a mut Seen,
    used: &'a mut HashSet<BlobId>,
    leaf: F,
}

impl<F: FnMut(&[u8], &[u8]) -> Result<()> + Send> NodeVisitor for Visitor<'_, F> {
    fn wants(&mut self, id: &BlobId, _level: u8) -> bool {
        self.used.insert(*id);
        !self.seen.nodes.contains(id)
    }

    fn visit(&mut self, id: &BlobId, node: &Node) -> Result<()> {
        self.seen.nodes.insert(*id);
        if let Node::Leaf(items) = node {
            for item in items {
                (self.leaf)(&item.key, &item.value)?;
            }
        }
        Ok(())
    }
}
