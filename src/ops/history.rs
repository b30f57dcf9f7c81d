//! The versions of one item over the snapshots of its set.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::collection::Gap;
use crate::format::node::TreeRoot;
use crate::format::record::Record;
use crate::format::snapshot::{CollectionState, SnapshotFile, catalog_key, gap_key};
use crate::ops::nodes::RepoNodes;
use crate::ops::view::{Place, View};
use crate::repo::Repository;
use crate::snapshot::store::Snapshot;
use crate::tree::Tree;
use crate::tree::collection::{CollectionReader, CollectionRoots};

/// What some snapshots, one after another, say of an item.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// The first of them, by its number among those of the set.
    pub first: usize,
    /// The last of them.
    pub last: usize,
    /// What they say.
    pub state: ItemState,
}

/// What a snapshot says of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemState {
    /// It holds this version, at this path. With a gap: of an older time, as it could not be read anew, or without contents.
    There(Box<Record>, String, Option<Gap>),
    /// It does not hold it: the item was not there.
    Absent,
    /// It does not hold it, and says why.
    Missing(Gap),
    /// It cannot be read.
    Unreadable(String),
}

/// Tells the history of the item at a path of a snapshot: the snapshots of its set, by time, and what they say of it.
/// Before the first that knows it there is nothing to tell.
///
/// # Errors
/// As [`View::resolve`]; `InvalidInput` for what is no item; the storage's.
pub async fn history(
    repo: &Arc<Repository>,
    all: &[Snapshot],
    of: &Snapshot,
    path: &str,
) -> Result<(Vec<Snapshot>, Vec<Stretch>)> {
    let view = View::new(repo.clone(), of.file.clone());
    let (collection, id) = match view.resolve(path).await? {
        Place::Item(state, record, _) | Place::Parts(state, record, _) => (state.key, record.id),
        place => {
            return Err(Error::invalid(format!("'{}' is no item: it has no versions", place.path()))
                .with_hint("Name a message, a file or a folder; ls and find show what there is"));
        }
    };
    let snapshots: Vec<Snapshot> = all.iter().filter(|s| s.file.set == of.file.set).cloned().collect();
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut before: Option<(Roots, ItemState)> = None;
    for (number, snapshot) in snapshots.iter().enumerate() {
        let state = state_in(repo, &snapshot.file, &collection, &id, &mut before).await?;
        match stretches.last_mut() {
            Some(stretch) if stretch.state == state => stretch.last = number,
            None if state == ItemState::Absent => {}
            _ => stretches.push(Stretch { first: number, last: number, state }),
        }
    }
    Ok((snapshots, stretches))
}

/// What decides about an item: where these are the same, so is it.
type Roots = (Option<TreeRoot>, Option<TreeRoot>, String, Option<TreeRoot>);

async fn state_in(
    repo: &Arc<Repository>,
    file: &SnapshotFile,
    collection: &str,
    id: &str,
    before: &mut Option<(Roots, ItemState)>,
) -> Result<ItemState> {
    match look(repo, file, collection, id, before).await {
        Err(e) if e.is_loss() => Ok(ItemState::Unreadable(e.chain())),
        other => other,
    }
}

async fn look(
    repo: &Arc<Repository>,
    file: &SnapshotFile,
    collection: &str,
    id: &str,
    before: &mut Option<(Roots, ItemState)>,
) -> Result<ItemState> {
    let nodes = RepoNodes(repo.clone());
    let tree = Tree::new(&nodes);
    let state = tree.get(file.catalog, &catalog_key(collection)).await?;
    let state: Option<CollectionState> =
        state.map(|bytes| codec::decode("A collection of the catalog", &bytes)).transpose()?;
    let roots = state.as_ref().map_or((None, None, String::new(), file.gaps), |state| {
        (state.items, state.children, state.name.clone(), file.gaps)
    });
    if let Some((_, told)) = before.as_ref().filter(|(known, _)| *known == roots) {
        return Ok(told.clone());
    }
    let gap = match tree.get(file.gaps, &gap_key(collection, id)).await? {
        Some(bytes) => Some(codec::decode::<Gap>("A gap", &bytes)?),
        None => None,
    };
    let record = match &state {
        Some(state) => {
            let (items, children) = (state.items, state.children);
            CollectionReader::new(&nodes, CollectionRoots { items, children }).get(id).await?
        }
        None => None,
    };
    let told = match (state, record, gap) {
        (Some(state), Some(record), gap) => {
            let view = View::new(repo.clone(), file.clone());
            let path = view.exact_path_of(&state, &record, &mut HashMap::new()).await?;
            ItemState::There(Box::new(record), path, gap)
        }
        (_, _, Some(gap)) => ItemState::Missing(gap),
        _ => ItemState::Absent,
    };
    *before = Some((roots, told.clone()));
    Ok(told)
}
