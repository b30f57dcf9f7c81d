//! The catalog of a snapshot: its collections, its gaps and how every part of the tenant stands, kept as trees.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::error::Result;
use crate::format::codec;
use crate::format::collection::Gap;
use crate::format::node::TreeRoot;
use crate::format::snapshot::{
    CollectionState, CoverageEntry, SnapshotFile, catalog_coverage, catalog_key, catalog_name, gap_key,
};
use crate::ops::nodes::{RepoNodes, WriterNodes};
use crate::repo::{Repository, Writer};
use crate::tree::Tree;

/// A snapshot's catalog, read whole.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The collections by key.
    pub states: HashMap<String, CollectionState>,
    /// The gaps, sorted by collection and item.
    pub gaps: Vec<Gap>,
    /// How every part of the tenant stands, sorted by owner and workload. Snapshots of early programs have none.
    pub coverage: Vec<CoverageEntry>,
    catalog: Option<TreeRoot>,
    gap_tree: Option<TreeRoot>,
}

impl Catalog {
    /// Reads the catalog of a snapshot; an empty one for none.
    ///
    /// # Errors
    /// `Corrupt`; the storage's.
    pub async fn load(repo: &Arc<Repository>, file: Option<&SnapshotFile>) -> Result<Self> {
        let Some(file) = file else { return Ok(Self::default()) };
        let nodes = RepoNodes(repo.clone());
        let tree = Tree::new(&nodes);
        let mut states = HashMap::new();
        let mut cursor = tree.range(file.catalog, catalog_key("")..catalog_name(""));
        while let Some(item) = cursor.next().await? {
            let state: CollectionState = codec::decode("A collection of the catalog", &item.value)?;
            states.insert(state.key.clone(), state);
        }
        let mut coverage = Vec::new();
        let mut cursor = tree.range(file.catalog, b"c".to_vec()..b"d".to_vec());
        while let Some(item) = cursor.next().await? {
            coverage.push(codec::decode("An entry of the coverage", &item.value)?);
        }
        let mut gaps = Vec::new();
        let mut cursor = tree.range(file.gaps, ..);
        while let Some(item) = cursor.next().await? {
            gaps.push(codec::decode("A gap", &item.value)?);
        }
        Ok(Self { states, gaps, coverage, catalog: file.catalog, gap_tree: file.gaps })
    }

    /// The gaps of one collection.
    pub fn gaps_of(&self, key: &str) -> Vec<Gap> {
        self.gaps.iter().filter(|g| g.collection == key).cloned().collect()
    }
}

/// Turns the catalog of the snapshot before into that of the new one, writing only what changed.
///
/// # Errors
/// The storage's.
pub async fn write(
    writer: &Writer,
    before: &Catalog,
    states: &HashMap<String, CollectionState>,
    gaps: &[Gap],
    coverage: &[CoverageEntry],
) -> Result<(Option<TreeRoot>, Option<TreeRoot>)> {
    let nodes = WriterNodes(writer.clone());
    let tree = Tree::new(&nodes);
    let mut edits: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    for state in before.states.values() {
        edits.insert(catalog_key(&state.key), None);
        edits.insert(catalog_name(&state.name), None);
    }
    for state in states.values() {
        edits.insert(catalog_key(&state.key), Some(codec::encode(state)));
        edits.insert(catalog_name(&state.name), Some(state.key.clone().into_bytes()));
    }
    let entry = |entry: &CoverageEntry| catalog_coverage(&entry.owner, &entry.workload);
    edits.extend(before.coverage.iter().map(|old| (entry(old), None)));
    edits.extend(coverage.iter().map(|new| (entry(new), Some(codec::encode(new)))));
    let catalog = tree.edit(before.catalog, edits).await?;
    let mut edits: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
        before.gaps.iter().map(|g| (gap_key(&g.collection, &g.id), None)).collect();
    edits.extend(gaps.iter().map(|g| (gap_key(&g.collection, &g.id), Some(codec::encode(g)))));
    let gaps = tree.edit(before.gap_tree, edits).await?;
    Ok((catalog, gaps))
}
