//! What changed between two snapshots, item by item.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::error::Result;
use crate::format::record::Record;
use crate::format::snapshot::{CollectionState, SnapshotFile};
use crate::ops::catalog::Catalog;
use crate::ops::nodes::RepoNodes;
use crate::ops::view::View;
use crate::repo::Repository;
use crate::tree::collection::{CollectionReader, CollectionRoots};

/// How an item differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only the newer snapshot has it.
    Added,
    /// Only the older one has it.
    Removed,
    /// Its contents differ.
    Changed,
    /// It lies elsewhere or has another name; its contents may differ too.
    Moved,
    /// Only facts about it differ: read, flagged, times.
    Touched,
}

/// A difference.
#[derive(Debug, Clone)]
pub struct Difference {
    /// What happened.
    pub kind: Kind,
    /// The path in the newer snapshot, of a removed item in the older; it leads to this very item.
    pub path: String,
    /// The path in the older snapshot, of a moved item.
    pub old_path: Option<String>,
    /// The newer record; of a removed item the older.
    pub record: Record,
}

/// Compares two snapshots. Subtrees that they share are not read.
///
/// # Errors
/// `Corrupt`; the storage's; what `visit` returns.
pub async fn diff(
    repo: &Arc<Repository>,
    old: &SnapshotFile,
    new: &SnapshotFile,
    visit: &mut (dyn FnMut(Difference) -> Result<()> + Send),
) -> Result<()> {
    let (before, after) = (Catalog::load(repo, Some(old)).await?, Catalog::load(repo, Some(new)).await?);
    let (old_view, new_view) = (View::new(repo.clone(), old.clone()), View::new(repo.clone(), new.clone()));
    let nodes = RepoNodes(repo.clone());
    let keys: BTreeSet<&String> = before.states.keys().chain(after.states.keys()).collect();
    for key in keys {
        let (was, is) = (before.states.get(key), after.states.get(key));
        let roots = |s: Option<&CollectionState>| {
            s.map(|s| CollectionRoots { items: s.items, children: s.children }).unwrap_or_default()
        };
        let (mut old_folders, mut new_folders) = (HashMap::new(), HashMap::new());
        let mut cursor = CollectionReader::new(&nodes, roots(was)).diff(roots(is));
        while let Some(found) = cursor.next().await? {
            let sides = (found.old.zip(was), found.new.zip(is));
            let difference = match sides {
                (None, Some((record, state))) => Difference {
                    kind: Kind::Added,
                    path: new_view.exact_path_of(state, &record, &mut new_folders).await?,
                    old_path: None,
                    record,
                },
                (Some((record, state)), None) => Difference {
                    kind: Kind::Removed,
                    path: old_view.exact_path_of(state, &record, &mut old_folders).await?,
                    old_path: None,
                    record,
                },
                (Some((a, a_state)), Some((b, b_state))) => {
                    let path = new_view.exact_path_of(b_state, &b, &mut new_folders).await?;
                    let old_path = old_view.exact_path_of(a_state, &a, &mut old_folders).await?;
                    let kind = kind(&a, &b);
                    Difference { kind, path, old_path: (kind == Kind::Moved).then_some(old_path), record: b }
                }
                (None, None) => continue,
            };
            visit(difference)?;
        }
    }
    Ok(())
}

fn kind(a: &Record, b: &Record) -> Kind {
    let contents = |r: &Record| {
        let streams = r.streams.iter().filter(|s| s.role != crate::format::record::StreamRole::Properties);
        streams.cloned().collect::<Vec<_>>()
    };
    if a.parent != b.parent || a.name != b.name {
        Kind::Moved
    } else if contents(a) != contents(b) {
        Kind::Changed
    } else {
        Kind::Touched
    }
}
