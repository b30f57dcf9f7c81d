//! What is to be shown of an item that was found: its record and its path, read from the trees.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::id::SnapshotId;
use crate::format::snapshot::{CollectionState, catalog_key};
use crate::ops::find::log::{Trouble, is_there};
use crate::ops::find::scan::Item;
use crate::ops::find::segment::{Block, TextColumn};
use crate::ops::find::{Found, Searched, Seen};
use crate::ops::nodes::RepoNodes;
use crate::ops::present::{Face, Mode, names};
use crate::ops::view::View;
use crate::repo::Repository;
use crate::snapshot::store::Snapshot;
use crate::tree::Tree;
use crate::tree::collection::{CollectionReader, CollectionRoots};

/// So many collections, and blocks of ids, are remembered.
const REMEMBERED: usize = 64;

/// Reads what is to be shown, and remembers what the next items may need too.
pub(super) struct Show {
    repo: Arc<Repository>,
    nodes: RepoNodes,
    ids: HashMap<(usize, u32, u32), TextColumn>,
    collections: HashMap<(SnapshotId, String), Collection>,
}

struct Collection {
    view: View,
    state: CollectionState,
    folders: HashMap<String, String>,
}

impl Show {
    pub(super) fn new(repo: Arc<Repository>) -> Self {
        Self { nodes: RepoNodes(repo.clone()), repo, ids: HashMap::new(), collections: HashMap::new() }
    }

    /// Reads an item; nothing if it cannot be read, which is told in `trouble`.
    ///
    /// # Errors
    /// The storage's; the disk's.
    pub(super) async fn item(
        &mut self,
        set: usize,
        log: &Searched,
        item: &Item,
        trouble: &mut Trouble,
    ) -> Result<Option<Found>> {
        let missing = || Error::internal("A search log tells of a snapshot that is not there");
        let snapshot = |epoch: u32| log.snapshots.get(epoch as usize).and_then(Option::as_ref).ok_or_else(missing);
        let seen = |epoch: u32| snapshot(epoch).map(|s| Seen { snapshot: s.id, time_us: s.file.time_us });
        let newest = snapshot(item.matches_at)?;
        let id = self.id(set, log, item)?;
        let key = log.collections.get(item.collection).map_or("", |collection| &collection.key).to_owned();
        let (path, record) = match self.record(newest, key.clone(), &id).await {
            Err(e) if e.is_loss() => {
                if is_there(&self.repo, newest).await? {
                    trouble.damaged.push(format!("Snapshot {}: {}", newest.id.short(), e.chain()));
                } else if !trouble.vanished.contains(&newest.id) {
                    trouble.vanished.push(newest.id);
                }
                return Ok(None);
            }
            other => other?,
        };
        Ok(Some(Found {
            set: newest.file.set_name.clone(),
            collection: key,
            newest: seen(item.matches_at)?,
            path,
            record,
            first: seen(item.first)?,
            last: seen(item.last)?,
            snapshots: item.count,
            in_latest: item.in_latest,
        }))
    }

    fn id(&mut self, set: usize, log: &Searched, item: &Item) -> Result<String> {
        let (epoch, block, row) = item.row;
        if self.ids.len() > REMEMBERED {
            self.ids.clear();
        }
        let wrong = || Error::corrupt("A search log tells of a row that it does not have");
        let ids = match self.ids.entry((set, epoch, block)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let segment = &log.epochs.get(epoch as usize).ok_or_else(wrong)?.segment;
                let pieces = segment.directory.blocks.get(block as usize).ok_or_else(wrong)?;
                new.insert(Block::new(&segment.file.open()?, *pieces).ids()?)
            }
        };
        ids.get(row as usize).map(str::to_owned).ok_or_else(wrong)
    }

    async fn record(
        &mut self,
        snapshot: &Snapshot,
        key: String,
        id: &str,
    ) -> Result<(String, crate::format::record::Record)> {
        if self.collections.len() > REMEMBERED {
            self.collections.clear();
        }
        let gone = || Error::not_found(format!("Item {id} is not where the search log says"));
        let place = (snapshot.id, key);
        if !self.collections.contains_key(&place) {
            let state = Tree::new(&self.nodes).get(snapshot.file.catalog, &catalog_key(&place.1)).await?;
            let state = codec::decode("A collection of the catalog", &state.ok_or_else(gone)?)?;
            let view = View::new(self.repo.clone(), snapshot.file.clone());
            self.collections.insert(place.clone(), Collection { view, state, folders: HashMap::new() });
        }
        let collection = self.collections.get_mut(&place).ok_or_else(gone)?;
        let (items, children) = (collection.state.items, collection.state.children);
        let reader = CollectionReader::new(&self.nodes, CollectionRoots { items, children });
        let record = reader.get(id).await?.ok_or_else(gone)?;
        let path = match collection.view.exact_path_of(&collection.state, &record, &mut collection.folders).await {
            // Its record is whole: the path without a look at its neighbours leads near it.
            Err(e) if e.is_loss() => {
                format!("{}/{}", collection.state.name, names::tagged(&record, Face::Item, Mode::Presented))
            }
            path => path?,
        };
        Ok((path, record))
    }
}
