//! How long the streams of all items of a collection are, together: its logical bytes. What they take in the repository is less,
//! for equal contents are kept once, and compressed.
//!
//! The number is kept beside the cursors, with the tree that it was counted of, and brought up to date by what each reading
//! puts and removes. What nobody counted (the snapshots of early programs, what a repair mended) is counted once, from the trees.

use std::sync::Arc;

use super::merged::Merged;
use super::{Stop, Surroundings};
use crate::error::Result;
use crate::format::codec;
use crate::format::collection::Cursors;
use crate::format::node::TreeRoot;
use crate::format::snapshot::{CollectionState, SnapshotFile, catalog_key, catalog_name};
use crate::ops::nodes::{RepoNodes, WriterNodes};
use crate::repo::{Repository, Writer};
use crate::tree::collection::{CollectionReader, CollectionRoots, EditCounts};
use crate::tree::{NodeStore, Tree};

/// The name of the number among the cursors.
const NAME: &str = "!logical";

/// Takes the number away from cursors.
pub(super) fn take(cursors: &mut Cursors) {
    cursors.links.retain(|(name, _)| name != NAME);
}

/// Puts the number beside cursors.
pub(super) fn note(cursors: &mut Cursors, items: Option<TreeRoot>, bytes: u64) {
    match items {
        Some(root) => cursors.set(NAME, format!("{bytes} {}", root.id.short())),
        None => take(cursors),
    }
}

/// The logical bytes of a collection; `None`: nobody counted them.
pub(super) fn of(state: &CollectionState) -> Option<u64> {
    let Some(root) = state.items else { return Some(0) };
    let (bytes, of_tree) = state.cursors.as_ref()?.get(NAME)?.split_once(' ')?;
    bytes.parse().ok().filter(|_| of_tree == root.id.short())
}

/// What they are after a reading.
pub(super) fn after(previous: Option<&CollectionState>, counts: &EditCounts) -> Option<u64> {
    let before = previous.map_or(Some(0), of)?;
    Some(before.saturating_add(counts.bytes_added).saturating_sub(counts.bytes_removed))
}

/// The logical bytes of all collections of a run, of which those are counted that nobody counted. `None`: something cannot be
/// read, or the run is to end.
pub(super) async fn sum(writer: &Writer, merged: &mut Merged, around: &Surroundings) -> Option<u64> {
    let nodes = WriterNodes(writer.clone());
    let mut sum = 0_u64;
    for state in merged.states.values_mut() {
        let known = of(state).or_else(|| merged.logical.get(&state.key).copied());
        let bytes = match known {
            Some(bytes) => bytes,
            None => {
                around.monitor.phase(&format!("Counting how large all of {} is", state.name));
                let bytes = count(&nodes, super::collection::roots(state), &around.stop).await.ok()?;
                state.cursors.iter_mut().for_each(|cursors| note(cursors, state.items, bytes));
                bytes
            }
        };
        sum = sum.saturating_add(bytes);
    }
    Some(sum)
}

async fn count(nodes: &dyn NodeStore, roots: CollectionRoots, stop: &Stop) -> Result<u64> {
    let mut records = CollectionReader::new(nodes, roots).records();
    let mut bytes = 0_u64;
    while let Some(record) = records.next().await? {
        stop.check()?;
        bytes = bytes.saturating_add(record.stream_bytes());
    }
    Ok(bytes)
}

/// The logical bytes of a snapshot, as its catalog says; `None`: of some collection nobody counted them.
///
/// # Errors
/// `Corrupt`; the storage's.
pub(crate) async fn of_snapshot(repo: &Arc<Repository>, file: &SnapshotFile) -> Result<Option<u64>> {
    let nodes = RepoNodes(repo.clone());
    let mut cursor = Tree::new(&nodes).range(file.catalog, catalog_key("")..catalog_name(""));
    let mut sum = 0_u64;
    while let Some(item) = cursor.next().await? {
        let state: CollectionState = codec::decode("A collection of the catalog", &item.value)?;
        let Some(bytes) = of(&state) else { return Ok(None) };
        sum = sum.saturating_add(bytes);
    }
    Ok(Some(sum))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::exclude::tests::Setting;
    use super::*;
    use crate::format::id::{BlobId, SetId};
    use crate::format::snapshot::Totals;
    use crate::ops::catalog::{self, Catalog};
    use crate::repo::WriterOptions;

    /// A collection of that many bytes, if they were counted.
    fn state(key: &str, counted: Option<u64>) -> CollectionState {
        let items = Some(TreeRoot { id: BlobId([7; 32]), level: 0, count: 1 });
        let mut cursors = Cursors::default();
        counted.into_iter().for_each(|bytes| note(&mut cursors, items, bytes));
        let (key, name, cursors) = (key.to_owned(), key.to_owned(), Some(cursors));
        CollectionState { key, name, items, children: None, cursors, read_us: 1, complete: true }
    }

    #[tokio::test]
    async fn a_snapshot_of_which_not_all_was_counted_tells_nothing() {
        let setting = Setting::new(1).await;
        for (second, sum) in [(Some(5), Some(12)), (None, None)] {
            let states = [state("users/a/mail", Some(7)), state("users/b/mail", second)];
            let states: HashMap<_, _> = states.into_iter().map(|state| (state.key.clone(), state)).collect();
            let writer = Writer::new(setting.repo.clone(), WriterOptions::default());
            let (catalog, gaps) = catalog::write(&writer, &Catalog::default(), &states, &[], &[]).await.unwrap();
            writer.finish().await.unwrap();
            let file = SnapshotFile {
                set: SetId([0; 32]),
                set_name: String::new(),
                tenant: String::new(),
                time_us: 1,
                ended_us: 1,
                host: String::new(),
                program: String::new(),
                tags: Vec::new(),
                parent: None,
                complete: true,
                catalog,
                gaps,
                totals: Totals::default(),
            };
            assert_eq!(of_snapshot(&setting.repo, &file).await.unwrap(), sum);
        }
    }
}
