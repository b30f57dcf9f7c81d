//! Visiting all nodes of a tree: what garbage collection and checks are made of.

use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::format::node::Node;
use crate::tree::read::{Link, load};
use crate::tree::{Tree, TreeRoot};

/// Receives the nodes of a tree, parents before children, in the order of keys.
pub trait NodeVisitor: Send {
    /// Says whether to read a node and what is below it. Says no for what it has seen in another tree.
    fn wants(&mut self, id: &BlobId, level: u8) -> bool;
    /// Receives a node that it wanted. An error ends the walk.
    fn visit(&mut self, id: &BlobId, node: &Node) -> Result<()>;
    /// Hears of a node that it wanted and that cannot be read. Unless it returns the error, the walk goes on beside
    /// what is below that node.
    ///
    /// # Errors
    /// What is to end the walk.
    fn unreadable(&mut self, _id: &BlobId, error: Error) -> Result<()> {
        Err(error)
    }
}

impl Tree<'_> {
    /// Visits every node of a tree that the visitor wants, once for every place it has in the tree.
    pub async fn walk_nodes(&self, root: Option<TreeRoot>, visitor: &mut dyn NodeVisitor) -> Result<()> {
        let mut links: Vec<Link> = root.map(Link::to_root).into_iter().collect();
        while let Some(link) = links.pop() {
            if !visitor.wants(&link.id, link.level) {
                continue;
            }
            let node = match load(self.store, &link).await {
                Ok((node, _)) => node,
                Err(e) => {
                    visitor.unreadable(&link.id, e)?;
                    continue;
                }
            };
            visitor.visit(&link.id, &node)?;
            if let Node::Inner { level, children } = node {
                links.extend(children.into_iter().rev().map(|child| Link::to_child(level, child)));
            }
        }
        Ok(())
    }
}
