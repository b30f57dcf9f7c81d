//! A node store in memory: for tests, benches and trees that are thrown away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::tree::NodeStore;

/// Keeps nodes in a map; a node's id is the BLAKE3 hash of its bytes. Counts what it is asked.
#[derive(Debug, Default)]
pub struct MemoryStore {
    nodes: Mutex<HashMap<BlobId, Bytes>>,
    gets: AtomicU64,
    puts: AtomicU64,
    put_bytes: AtomicU64,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the calls of `get` since the last [`MemoryStore::reset_counts`].
    pub fn gets(&self) -> u64 {
        self.gets.load(Ordering::Relaxed)
    }

    /// Counts the calls of `put` since the last [`MemoryStore::reset_counts`].
    pub fn puts(&self) -> u64 {
        self.puts.load(Ordering::Relaxed)
    }

    /// Counts the bytes given to `put` since the last [`MemoryStore::reset_counts`].
    pub fn put_bytes(&self) -> u64 {
        self.put_bytes.load(Ordering::Relaxed)
    }

    /// Sets all counts to nought.
    pub fn reset_counts(&self) {
        for count in [&self.gets, &self.puts, &self.put_bytes] {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// Counts the nodes kept.
    pub fn len(&self) -> usize {
        self.nodes().len()
    }

    /// Says whether no node is kept.
    pub fn is_empty(&self) -> bool {
        self.nodes().is_empty()
    }

    /// Puts other bytes in the place of a node's, as a broken disk would.
    #[cfg(test)]
    pub(crate) fn corrupt(&self, id: BlobId, bytes: Vec<u8>) {
        self.nodes().insert(id, bytes.into());
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<BlobId, Bytes>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl NodeStore for MemoryStore {
    async fn get(&self, id: &BlobId) -> Result<Bytes> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let node = self.nodes().get(id).cloned();
        node.ok_or_else(|| Error::not_found(format!("Tree node {id} is not there")))
    }

    async fn put(&self, bytes: Vec<u8>) -> Result<BlobId> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.put_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let id = BlobId(*blake3::hash(&bytes).as_bytes());
        self.nodes().insert(id, bytes.into());
        Ok(id)
    }
}
