//! Trees in a repository: the doors between the rooms `tree` and `repo`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::crypto::BlobKind;
use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::repo::{Repository, Writer};
use crate::tree::NodeStore;

/// Reads trees of a repository.
#[derive(Debug, Clone)]
pub struct RepoNodes(pub Arc<Repository>);

#[async_trait]
impl NodeStore for RepoNodes {
    async fn get(&self, id: &BlobId) -> Result<Bytes> {
        self.0.read_blob(BlobKind::Tree, id).await
    }

    async fn put(&self, _bytes: Vec<u8>) -> Result<BlobId> {
        Err(Error::internal("A tree was edited through a door for reading"))
    }
}

/// Reads and writes trees through a writer; sees what is still on its way.
#[derive(Debug, Clone)]
pub struct WriterNodes(pub Writer);

#[async_trait]
impl NodeStore for WriterNodes {
    async fn get(&self, id: &BlobId) -> Result<Bytes> {
        self.0.read_tree(id).await
    }

    async fn put(&self, bytes: Vec<u8>) -> Result<BlobId> {
        self.0.put_blob(BlobKind::Tree, bytes.into()).await
    }
}
