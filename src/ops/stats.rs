//! Sizes of a repository and of its snapshots, as plain numbers.

use std::sync::Arc;

use crate::crypto::BlobKind;
use crate::error::Result;
use crate::repo::Repository;
use crate::snapshot::store;

/// Sizes, in bytes unless said otherwise.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Stats {
    /// Snapshots, counted.
    pub snapshots: usize,
    /// Backup sets with snapshots, counted.
    pub sets: usize,
    /// Items in the newest snapshot of every set, counted.
    pub items: u64,
    /// Packs, counted.
    pub packs: usize,
    /// Packs marked for deletion, counted.
    pub packs_marked: usize,
    /// Index files, counted.
    pub index_files: usize,
    /// Blobs of contents, counted.
    pub content_blobs: u64,
    /// Plaintext of contents.
    pub content_plain_bytes: u64,
    /// Blobs of trees, counted.
    pub tree_blobs: u64,
    /// Plaintext of trees.
    pub tree_plain_bytes: u64,
    /// Size of all packs as stored.
    pub stored_bytes: u64,
    /// Bytes of contents read from the source by all runs whose snapshots are still there.
    pub read_bytes: u64,
}

/// Counts.
///
/// # Errors
/// The storage's.
pub async fn stats(repo: &Arc<Repository>) -> Result<Stats> {
    let snapshots = store::list(repo).await?.snapshots;
    let index = repo.index();
    let mut newest = std::collections::BTreeMap::new();
    for snapshot in &snapshots {
        newest.insert(snapshot.file.set, snapshot.file.totals.items);
    }
    let (content_blobs, content_plain_bytes) = index.totals(BlobKind::Content);
    let (tree_blobs, tree_plain_bytes) = index.totals(BlobKind::Tree);
    Ok(Stats {
        snapshots: snapshots.len(),
        sets: newest.len(),
        items: newest.values().sum(),
        packs: index.packs().count(),
        packs_marked: index.packs().filter(|p| index.is_marked(&p.id)).count(),
        index_files: index.files().count(),
        content_blobs,
        content_plain_bytes,
        tree_blobs,
        tree_plain_bytes,
        stored_bytes: index.packs().map(|p| p.size_bytes).sum(),
        read_bytes: snapshots.iter().map(|s| s.file.totals.bytes_read).sum(),
    })
}
