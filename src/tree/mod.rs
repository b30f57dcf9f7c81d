//! Trees: sorted maps kept as content-defined nodes (prolly trees). Knows nothing of Graph.
//!
//! A map's records, in order, are cut into leaves; the leaves' last keys and ids, in order, into nodes of
//! level 1; and so on until a level has one node, the root. Where a node ends follows from its own entries
//! alone ([`crate::format::node`]), so equal maps have equal roots, and an edit that starts at the start of an
//! old node and goes on until it ends where an old node ended has told everything that changes: all nodes
//! after it stay as they are, unread.
//!
//! | file | holds |
//! |---|---|
//! | `read` | loading a node and holding it against what its parent says; look-ups |
//! | `cursor` | ranges |
//! | `writer` | entries in, nodes out, level by level |
//! | `edit` | building and editing |
//! | `diff`, `walk` | comparing two trees, visiting all nodes |
//! | `sort_key`, `collection` | the two trees of a collection |
//! | `memory` | a store in memory |

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::format::id::BlobId;

pub mod collection;
mod cursor;
mod diff;
mod edit;
pub mod memory;
mod read;
mod sort_key;
mod walk;
mod writer;

pub use cursor::Cursor;
pub use diff::{DiffCursor, Difference};
pub use edit::TreeBuilder;
pub use sort_key::children_key;
pub use walk::NodeVisitor;

pub use crate::format::node::TreeRoot;

/// Where a tree's nodes are kept: the repository, or memory in tests.
#[async_trait]
pub trait NodeStore: Send + Sync {
    /// Reads a node's bytes.
    async fn get(&self, id: &BlobId) -> Result<Bytes>;
    /// Stores a node's bytes and says their id. Storing the same bytes twice is one node.
    async fn put(&self, bytes: Vec<u8>) -> Result<BlobId>;
}

/// The trees of a store: reads, edits and compares them. Trees never change; an edit makes a new root.
///
/// Every method that reads fails with [`crate::ErrorKind::Corrupt`] when a node is not what it must be, and
/// with the store's errors.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    store: &'a dyn NodeStore,
}

impl<'a> Tree<'a> {
    /// Opens the trees of a store; reads nothing.
    pub fn new(store: &'a dyn NodeStore) -> Self {
        Self { store }
    }
}

#[cfg(test)]
mod tests;
