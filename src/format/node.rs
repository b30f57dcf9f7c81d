//! (replaced by the tree room's node format)

use bincode::{Decode, Encode};

use crate::format::id::BlobId;

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
