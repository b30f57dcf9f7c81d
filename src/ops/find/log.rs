//! The search log of a backup set: a segment a snapshot, in the order of their times, each made from what differs from the
//! one before. Subtrees that two snapshots share are not read.
//!
//! Where there is a local cache the log stays beside it, sealed, and only what is new is read the next time. A snapshot that
//! was forgotten stays in the log till those outnumber the others; it is not searched, but those after it build upon it.

use std::collections::HashSet;
use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::crypto::random_bytes;
use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::id::{BlobId, SetId, SnapshotId};
use crate::format::node::{Node, TreeRoot};
use crate::format::snapshot::{CollectionState, SnapshotFile, catalog_key, catalog_name};
use crate::ops::find::segment::{Builder, Segment};
use crate::ops::nodes::RepoNodes;
use crate::repo::{DocumentKind, DocumentName, Repository, Scratch};
use crate::snapshot::store::Snapshot;
use crate::tree::collection::{CollectionReader, CollectionRoots, decode_record};
use crate::tree::{NodeVisitor, Tree};

/// So many forgotten snapshots may stay in a log whatever the number of others.
const FORGOTTEN_KEPT: usize = 8;
/// The version of what a log holds; others are not read.
const VERSION: u32 = 1;

/// A snapshot in a log.
#[derive(Debug, Clone)]
pub(super) struct Epoch {
    pub(super) id: SnapshotId,
    pub(super) segment: Segment,
    listed: Listed,
}

#[derive(Debug, Clone, Encode, Decode)]
struct Listed {
    snapshot: SnapshotId,
    time_us: i64,
    catalog: Option<TreeRoot>,
    file: String,
}

#[derive(Debug, Default, Encode, Decode)]
struct List {
    version: u32,
    epochs: Vec<Listed>,
}

/// What could not be searched, and why.
#[derive(Debug, Default)]
pub struct Trouble {
    /// What is damaged, each with the snapshot that it was met in.
    pub damaged: Vec<String>,
    /// Snapshots that were forgotten while they were looked at.
    pub vanished: Vec<SnapshotId>,
}

fn list_name(set: &SetId) -> String {
    format!("{set}.list")
}

/// Brings the log of a set up to date: all of `snapshots`, which come by time, are in it afterwards, but for those that
/// vanish. Snapshots with damage are searched as far as they can be read, and are not kept in the log.
///
/// # Errors
/// The storage's, and the disk's where neither the cache nor a temporary folder takes the log.
pub(super) async fn bring_up(
    repo: &Arc<Repository>,
    set: SetId,
    snapshots: &[&Snapshot],
    trouble: &mut Trouble,
) -> Result<Vec<Epoch>> {
    let mut epochs = load(repo, &set);
    if !is_fit(&epochs, snapshots) {
        epochs.clear();
    }
    let known: HashSet<SnapshotId> = epochs.iter().map(|epoch| epoch.id).collect();
    let mut scratch = if repo.keeps_sealed() { None } else { Some(repo.scratch()?) };
    let (mut kept, mut is_sound) = (epochs.len(), true);
    for snapshot in snapshots.iter().filter(|snapshot| !known.contains(&snapshot.id)) {
        let mut lost = Vec::new();
        let before = epochs.last().map(|epoch| epoch.listed.catalog);
        let made = match make(repo, set, before, &snapshot.file, scratch.as_ref(), &mut lost).await {
            // The cache is a help and no need.
            Err(Failure::Disk(_)) if scratch.is_none() => {
                lost.clear();
                let folder = scratch.insert(repo.scratch()?);
                make(repo, set, before, &snapshot.file, Some(folder), &mut lost).await
            }
            other => other,
        };
        let (segment, file) = made.map_err(Failure::into_error)?;
        if !lost.is_empty() && !is_there(repo, snapshot).await? {
            trouble.vanished.push(snapshot.id);
            continue;
        }
        let of = snapshot.id.short();
        trouble.damaged.extend(lost.iter().map(|e| format!("Snapshot {of}: {}", e.chain())));
        is_sound &= lost.is_empty() && scratch.is_none();
        let (time_us, catalog) = (snapshot.file.time_us, snapshot.file.catalog);
        epochs.push(Epoch {
            id: snapshot.id,
            segment,
            listed: Listed { snapshot: snapshot.id, time_us, catalog, file },
        });
        if is_sound {
            kept = epochs.len();
        }
    }
    if kept > known.len() || known.is_empty() {
        keep(repo, &set, epochs.get(..kept).unwrap_or_default());
    }
    Ok(epochs)
}

/// Says whether a log can be built upon.
fn is_fit(epochs: &[Epoch], snapshots: &[&Snapshot]) -> bool {
    let wanted: HashSet<SnapshotId> = snapshots.iter().map(|snapshot| snapshot.id).collect();
    let known: HashSet<SnapshotId> = epochs.iter().map(|epoch| epoch.id).collect();
    let living = known.intersection(&wanted).count();
    let last = epochs.last().map_or(i64::MIN, |epoch| epoch.listed.time_us);
    // A snapshot from between, of another machine perhaps, has no place in the log.
    let in_order = snapshots.iter().all(|snapshot| known.contains(&snapshot.id) || snapshot.file.time_us >= last);
    in_order && epochs.len() - living <= living.max(FORGOTTEN_KEPT)
}

/// Reads the log that is kept; as much of its beginning as can be read.
fn load(repo: &Repository, set: &SetId) -> Vec<Epoch> {
    let Some((_, bytes)) = repo.open_sealed(&list_name(set)) else { return Vec::new() };
    let list: List = codec::decode("The list of a search log", &bytes).unwrap_or_default();
    if list.version != VERSION {
        return Vec::new();
    }
    let open = |listed: Listed| {
        let (file, directory) = repo.open_sealed(&listed.file)?;
        Some(Epoch { id: listed.snapshot, segment: Segment::new(file, &directory).ok()?, listed })
    };
    list.epochs.into_iter().map_while(open).collect()
}

/// Keeps the list of a log. That it cannot be kept is no failure.
fn keep(repo: &Repository, set: &SetId, epochs: &[Epoch]) {
    let epochs = epochs.iter().map(|epoch| epoch.listed.clone()).collect();
    let bytes = codec::encode(&List { version: VERSION, epochs });
    drop(repo.write_sealed(&list_name(set), None).and_then(|writer| writer.finish(&bytes)));
}

/// Forgets the log of a set: the next search makes it anew.
pub(super) fn distrust(repo: &Repository, set: &SetId) {
    keep(repo, set, &[]);
}

/// Removes what no log names any more.
pub(super) fn sweep(repo: &Repository, sets: &HashSet<SetId>) {
    let mut used = HashSet::new();
    for set in sets {
        used.insert(list_name(set));
        let list = repo.open_sealed(&list_name(set)).and_then(|(_, bytes)| codec::decode("A list", &bytes).ok());
        let list: List = list.unwrap_or_default();
        used.extend(list.epochs.into_iter().map(|listed| listed.file));
    }
    repo.sweep_sealed(&used);
}

/// Says whether a snapshot was not forgotten meanwhile.
pub(super) async fn is_there(repo: &Repository, snapshot: &Snapshot) -> Result<bool> {
    let name = DocumentName { set: Some(snapshot.file.set), id: snapshot.id.0 };
    Ok(repo.list_documents(DocumentKind::Snapshot).await?.contains(&name))
}

/// Why a segment was not made.
enum Failure {
    /// Its file could not be written.
    Disk(Error),
    /// The repository could not be read.
    Repository(Error),
}

impl Failure {
    fn into_error(self) -> Error {
        let (Self::Disk(error) | Self::Repository(error)) = self;
        error
    }
}

/// A collection as a segment sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    key: String,
    name: String,
    items: Option<TreeRoot>,
}

impl State {
    fn decode(bytes: &[u8]) -> Result<Self> {
        let state: CollectionState = codec::decode("A collection of the catalog", bytes)?;
        Ok(Self { key: state.key, name: state.name, items: state.items })
    }
}

async fn make(
    repo: &Arc<Repository>,
    set: SetId,
    before: Option<Option<TreeRoot>>,
    file: &SnapshotFile,
    scratch: Option<&Scratch>,
    lost: &mut Vec<Error>,
) -> Result<(Segment, String), Failure> {
    let changes = match before {
        Some(before) => match changes(repo, before, file.catalog).await {
            // What the log was built upon is gone: all is told anew.
            Err(e) if e.is_loss() => None,
            other => Some(other.map_err(Failure::Repository)?),
        },
        None => None,
    };
    let random: [u8; 8] = random_bytes();
    let name = format!("{}-{:016x}.log", set.short(), u64::from_le_bytes(random));
    let writer = repo.write_sealed(&name, scratch).map_err(Failure::Disk)?;
    let mut builder = Builder::new(writer, changes.is_none());
    let mut making = Making { repo, nodes: RepoNodes(repo.clone()), builder: &mut builder, lost };
    match changes {
        Some(changes) => {
            for (old, new) in changes {
                making.change(old, new).await?;
            }
        }
        None => making.all(file.catalog).await?,
    }
    let segment = builder.finish().map_err(Failure::Disk)?;
    Ok((segment, name))
}

type Change = (Option<State>, Option<State>);

/// The collections that differ between two catalogs.
async fn changes(repo: &Arc<Repository>, old: Option<TreeRoot>, new: Option<TreeRoot>) -> Result<Vec<Change>> {
    let nodes = RepoNodes(repo.clone());
    let (from, to) = (catalog_key(""), catalog_name(""));
    let mut cursor = Tree::new(&nodes).diff(old, new);
    let mut found = Vec::new();
    while let Some(difference) = cursor.next().await? {
        if (&from..&to).contains(&&difference.key) {
            let decode = |bytes: Option<_>| bytes.map(|bytes: bytes::Bytes| State::decode(&bytes)).transpose();
            found.push((decode(difference.old)?, decode(difference.new)?));
        }
    }
    Ok(found)
}

struct Making<'a> {
    repo: &'a Arc<Repository>,
    nodes: RepoNodes,
    builder: &'a mut Builder,
    lost: &'a mut Vec<Error>,
}

impl Making<'_> {
    /// Tells all collections of a catalog, as far as it can be read.
    async fn all(&mut self, catalog: Option<TreeRoot>) -> Result<(), Failure> {
        let (from, to) = (catalog_key(""), catalog_name(""));
        let mut states = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            if (&from[..]..&to[..]).contains(&key) {
                states.push(State::decode(value)?);
            }
            Ok(())
        };
        let nodes = RepoNodes(self.repo.clone());
        let mut leaves = Leaves { visit: &mut visit, lost: self.lost };
        Tree::new(&nodes).walk_nodes(catalog, &mut leaves).await.map_err(Failure::Repository)?;
        for state in states {
            self.whole(&state).await?;
        }
        Ok(())
    }

    async fn change(&mut self, old: Option<State>, new: Option<State>) -> Result<(), Failure> {
        match (old, new) {
            (Some(old), None) => {
                self.builder.collection(&old.key, "", true);
                Ok(())
            }
            (Some(old), Some(new)) if old.items == new.items => {
                if old.name != new.name {
                    self.builder.collection(&new.key, &new.name, false);
                }
                Ok(())
            }
            (Some(old), Some(new)) => self.differences(&old, &new).await,
            (None, Some(new)) => self.whole(&new).await,
            (None, None) => Ok(()),
        }
    }

    async fn differences(&mut self, old: &State, new: &State) -> Result<(), Failure> {
        let number = self.builder.collection(&new.key, &new.name, false);
        let roots = |items| CollectionRoots { items, children: None };
        let nodes = self.nodes.clone();
        let mut cursor = CollectionReader::new(&nodes, roots(old.items)).diff(roots(new.items));
        loop {
            let told = match cursor.next().await {
                Ok(None) => return Ok(()),
                Ok(Some(found)) => match (found.old, found.new) {
                    (_, Some(record)) => self.builder.put(number, &record),
                    (Some(record), None) => self.builder.gone(number, &record),
                    (None, None) => Ok(()),
                },
                // The older or the newer tree is damaged: what can be read of the newer one tells all.
                Err(e) if e.is_loss() => return self.whole(new).await,
                Err(e) => return Err(Failure::Repository(e)),
            };
            told.map_err(Failure::Disk)?;
        }
    }

    /// Tells all items of a collection, as far as they can be read.
    async fn whole(&mut self, state: &State) -> Result<(), Failure> {
        let number = self.builder.collection(&state.key, &state.name, true);
        let mut disk = None;
        let builder = &mut *self.builder;
        let mut visit = |key: &[u8], value: &[u8]| {
            let record = decode_record(key, value)?;
            builder.put(number, &record).inspect_err(|_| disk = Some(())).map_err(|e| {
                // Not to be taken for a loss in the repository.
                Error::internal("A search log cannot be written").with_source(e)
            })
        };
        let mut leaves = Leaves { visit: &mut visit, lost: self.lost };
        let walked = Tree::new(&self.nodes).walk_nodes(state.items, &mut leaves).await;
        walked.map_err(|e| if disk.is_some() { Failure::Disk(e) } else { Failure::Repository(e) })
    }
}

type Visit<'a> = &'a mut (dyn FnMut(&[u8], &[u8]) -> Result<()> + Send);

/// Gives the entries of all leaves that can be read, and notes what cannot.
struct Leaves<'a> {
    visit: Visit<'a>,
    lost: &'a mut Vec<Error>,
}

impl NodeVisitor for Leaves<'_> {
    fn wants(&mut self, _id: &BlobId, _level: u8) -> bool {
        true
    }

    fn visit(&mut self, _id: &BlobId, node: &Node) -> Result<()> {
        let Node::Leaf(items) = node else { return Ok(()) };
        for item in items {
            match (self.visit)(&item.key, &item.value) {
                Err(e) if e.is_loss() => self.lost.push(e),
                other => other?,
            }
        }
        Ok(())
    }

    fn unreadable(&mut self, id: &BlobId, error: Error) -> Result<()> {
        if !error.is_loss() {
            return Err(error);
        }
        self.lost.push(error.context(format!("Tree node {id} cannot be read")));
        Ok(())
    }
}
