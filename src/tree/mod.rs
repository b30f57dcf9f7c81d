//! Trees: sorted maps kept as content-defined nodes (prolly trees). Knows nothing of Graph.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::format::id::BlobId;

/// Where a tree's nodes are kept: the repository, or memory in tests.
#[async_trait]
pub trait NodeStore: Send + Sync {
    /// Reads a node's bytes.
    async fn get(&self, id: &BlobId) -> Result<Bytes>;
    /// Stores a node's bytes and says their id. Storing the same bytes twice is one node.
    async fn put(&self, bytes: Vec<u8>) -> Result<BlobId>;
}
