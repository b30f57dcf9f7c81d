//! A storage that cannot be changed: for commands that only look, and for replicas under repair.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Entry, Storage};
use crate::error::{Error, ErrorKind, Result};

/// Reads through to another storage and refuses every change with `Permission`.
#[derive(Debug)]
pub struct ReadOnlyStorage {
    inner: Arc<dyn Storage>,
}

impl ReadOnlyStorage {
    /// Wraps a storage.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner }
    }

    fn refuse(&self, verb: &str, path: &str) -> Error {
        Error::new(
            ErrorKind::Permission,
            format!("Cannot {verb} {path} in {}: it was opened for reading only", self.inner.describe()),
        )
    }
}

#[async_trait]
impl Storage for ReadOnlyStorage {
    async fn put(&self, path: &str, _data: Vec<Bytes>) -> Result<()> {
        Err(self.refuse("store", path))
    }

    async fn get(&self, path: &str, limit_bytes: u64) -> Result<Bytes> {
        self.inner.get(path, limit_bytes).await
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        self.inner.get_range(path, offset, length).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        self.inner.list(folder).await
    }

    async fn stat(&self, path: &str) -> Result<Entry> {
        self.inner.stat(path).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        Err(self.refuse("delete", path))
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
