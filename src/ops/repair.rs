//! Repair of snapshots: what the repository has lost of them becomes gaps, which the next backup fetches again.
//!
//! A snapshot is never changed: one that has lost something is written anew without it, and then the old one goes. So
//! everything that is left restores, and prune need not stop any more for what nobody has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::crypto::BlobKind;
use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::collection::Gap;
use crate::format::id::{BlobId, SnapshotId};
use crate::format::node::{Node, TreeRoot};
use crate::format::record::{Record, Stream};
use crate::format::snapshot::{CollectionState, CoverageEntry, SnapshotFile};
use crate::m365::contents::without_contents;
use crate::monitor::{Counter, Monitor};
use crate::ops::catalog::{self, Catalog};
use crate::ops::nodes::{RepoNodes, WriterNodes};
use crate::ops::used;
use crate::repo::{Index, Repository, Writer, WriterOptions};
use crate::snapshot::store::{self, Snapshot};
use crate::tree::collection::{CollectionEditor, CollectionRoots};
use crate::tree::{NodeVisitor, Tree};

/// Records put into a tree that is built anew before they are written, in bytes.
const PENDING_BYTES: usize = 8 << 20;
/// Losses of a snapshot that are told one by one: many snapshots may share a pack with very many items.
pub const GAPS_NAMED: usize = 20;
/// The reason in the gaps that a repair makes.
pub const LOST: &str = "lost";

/// What was lost of one snapshot.
#[derive(Debug)]
pub struct RepairedSnapshot {
    /// The snapshot that had lost something; it is deleted, unless the repair only looked.
    pub old: SnapshotId,
    /// The one that stands for it now; none when the repair only looked.
    pub new: Option<SnapshotId>,
    /// The set's name.
    pub set_name: String,
    /// How many items, or parts of collections, lost something.
    pub lost_count: usize,
    /// The first of them, as gaps; at most [`GAPS_NAMED`].
    pub lost: Vec<Gap>,
}

/// What a repair of snapshots did.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// Snapshots looked at.
    pub snapshots: usize,
    /// Those that had lost something.
    pub repaired: Vec<RepairedSnapshot>,
    /// Files that should be snapshots and cannot be read, in words: left alone.
    pub unreadable: Vec<String>,
}

/// Looks whether all that the snapshots name is in the index, and writes those anew of which something is lost.
/// `dry_run`: only looks. To be run after [`Repository::repair_index`], which says what the packs still hold.
///
/// # Errors
/// `Corrupt` when an index file is damaged: what it alone lists must not be taken for lost. The storage's.
pub async fn repair_snapshots(
    repo: &Arc<Repository>,
    dry_run: bool,
    now_us: i64,
    monitor: &dyn Monitor,
) -> Result<RepairReport> {
    // Snapshots before the index: what a snapshot of this listing needs was listed in the index before it was written.
    let listing = store::list(repo).await?;
    repo.reload_index().await?;
    let index = repo.whole_index()?;
    monitor.add(Counter::ItemsTotal, listing.snapshots.len() as i64);
    let writer = Writer::new(repo.clone(), WriterOptions::default());
    let mut work = Work {
        writer: &writer,
        index: index.clone(),
        dry_run,
        now_us,
        leaves: HashMap::new(),
        collections: HashMap::new(),
    };
    let mut report = RepairReport { snapshots: listing.snapshots.len(), ..RepairReport::default() };
    report.unreadable = listing.broken.iter().map(store::Broken::text).collect();
    let mut files = Vec::new();
    for snapshot in &listing.snapshots {
        if let Some((file, mut lost)) = work.snapshot(&snapshot.file).await? {
            let count = lost.len();
            lost.truncate(GAPS_NAMED);
            lost.shrink_to_fit();
            files.push((snapshot, file, count, lost));
        }
        monitor.add(Counter::Items, 1);
    }
    writer.finish().await?;
    // What could not be looked up must not be taken for lost.
    index.intact()?;
    if !dry_run {
        used::rescue_marked(repo, &writer, files.iter().map(|(_, file, ..)| file)).await?;
    }
    let mut names: HashMap<SnapshotId, SnapshotId> = HashMap::new();
    for (old, file, lost_count, lost) in files {
        let new = if dry_run { None } else { Some(replace(repo, old, file, &names).await?) };
        names.extend(new.map(|new| (old.id, new)));
        let set_name = old.file.set_name.clone();
        report.repaired.push(RepairedSnapshot { old: old.id, new, set_name, lost_count, lost });
    }
    Ok(report)
}

/// Writes a snapshot, then deletes the one that it stands for.
async fn replace(
    repo: &Repository,
    old: &Snapshot,
    mut file: SnapshotFile,
    names: &HashMap<SnapshotId, SnapshotId>,
) -> Result<SnapshotId> {
    file.parent = file.parent.map(|id| names.get(&id).copied().unwrap_or(id));
    let new = store::save(repo, &file).await?;
    store::delete(repo, &[old]).await?;
    Ok(new)
}

/// What became of a collection: its trees now, the items that lost something, whether it had to be put together anew.
#[derive(Clone)]
struct Mended {
    roots: CollectionRoots,
    lost: Vec<Arc<Record>>,
    rebuilt: bool,
}

struct Work<'a> {
    writer: &'a Writer,
    index: Arc<Index>,
    dry_run: bool,
    now_us: i64,
    /// Leaves that were looked at, with the records in them that lost something.
    leaves: HashMap<BlobId, Vec<Arc<Record>>>,
    /// Collections that were looked at, by their trees.
    collections: HashMap<CollectionRoots, Mended>,
}

impl Work<'_> {
    /// The snapshot without what is lost, and what that is; nothing if it is whole.
    async fn snapshot(&mut self, file: &SnapshotFile) -> Result<Option<(SnapshotFile, Vec<Gap>)>> {
        let (states, of_catalog) = self.values::<CollectionState>(file.catalog, b"k").await?;
        let (gaps, of_gaps) = self.values::<Gap>(file.gaps, b"").await?;
        let mut lost = Vec::new();
        if of_catalog {
            lost.push(self.gap("", None, "", "a part of the list of collections was lost; they are read anew"));
        }
        let mut kept = HashMap::new();
        for mut state in states {
            let mended = self.collection(CollectionRoots { items: state.items, children: state.children }).await?;
            for record in &mended.lost {
                let text = "its contents were lost from the repository; the next backup fetches them again";
                lost.push(self.gap(&state.key, Some(record), &record.name, text));
            }
            if mended.rebuilt {
                let text = "some of its items were lost from the repository; the next backup reads it anew";
                lost.push(self.gap(&state.key, None, &state.name, text));
            }
            if mended.rebuilt || of_gaps {
                // The next backup compares everything: what is missing, and what no gap tells of any more.
                (state.cursors, state.complete) = (None, false);
            }
            (state.items, state.children) = (mended.roots.items, mended.roots.children);
            kept.insert(state.key.clone(), state);
        }
        if lost.is_empty() && !of_gaps {
            return Ok(None);
        }
        if self.dry_run {
            return Ok(Some((file.clone(), lost)));
        }
        let mut all: HashMap<(String, String), Gap> =
            gaps.into_iter().map(|g| ((g.collection.clone(), g.id.clone()), g)).collect();
        all.extend(lost.iter().map(|g| ((g.collection.clone(), g.id.clone()), g.clone())));
        let all: Vec<Gap> = all.into_values().collect();
        // What it said of the tenant stays; where that is lost, the next backup says it again.
        let (coverage, _) = self.values::<CoverageEntry>(file.catalog, b"c").await?;
        let (catalog, gap_tree) = catalog::write(self.writer, &Catalog::default(), &kept, &all, &coverage).await?;
        let mut totals = file.totals;
        totals.gaps = all.len() as u64;
        totals.collections = kept.len() as u64;
        totals.items = kept.values().map(|s| s.items.map_or(0, |root| root.count)).sum();
        let complete = file.complete && !of_catalog && kept.values().all(|s| s.complete);
        Ok(Some((SnapshotFile { catalog, gaps: gap_tree, totals, complete, ..file.clone() }, lost)))
    }

    fn gap(&self, collection: &str, record: Option<&Record>, name: &str, text: &str) -> Gap {
        Gap {
            collection: collection.to_owned(),
            id: record.map(|r| r.id.clone()).unwrap_or_default(),
            name: name.to_owned(),
            kind: record.map(|r| r.kind),
            reason: LOST.to_owned(),
            text: text.to_owned(),
            since_us: self.now_us,
        }
    }

    /// The values of the keys of a small tree that begin so, and whether some of it is lost.
    async fn values<T: bincode::Decode<()>>(&self, root: Option<TreeRoot>, prefix: &[u8]) -> Result<(Vec<T>, bool)> {
        let mut leaves = Leaves::default();
        let nodes = WriterNodes(self.writer.clone());
        Tree::new(&nodes).walk_nodes(root, &mut leaves).await?;
        let mut values = Vec::new();
        let mut lost = leaves.lost;
        for id in leaves.ids {
            let bytes = self.writer.read_tree(&id).await?;
            let Node::Leaf(items) = Node::decode(&id, &bytes)? else { continue };
            for item in items.iter().filter(|i| i.key.starts_with(prefix)) {
                match codec::decode("An entry of a snapshot", &item.value) {
                    Ok(value) => values.push(value),
                    Err(_) => lost = true,
                }
            }
        }
        Ok((values, lost))
    }

    async fn collection(&mut self, roots: CollectionRoots) -> Result<Mended> {
        if let Some(mended) = self.collections.get(&roots) {
            return Ok(mended.clone());
        }
        let nodes = RepoNodes(self.writer.repository().clone());
        let tree = Tree::new(&nodes);
        let (mut items, mut children) = (Leaves::default(), Leaves::default());
        tree.walk_nodes(roots.items, &mut items).await?;
        tree.walk_nodes(roots.children, &mut children).await?;
        let mut lost = Vec::new();
        for leaf in &items.ids {
            lost.extend_from_slice(self.leaf(leaf).await?);
        }
        let rebuilt = items.lost || children.lost;
        let roots_now = if self.dry_run || (lost.is_empty() && !rebuilt) {
            roots
        } else if rebuilt {
            self.built_anew(&items.ids).await?
        } else {
            self.edited(roots, &lost).await?
        };
        let mended = Mended { roots: roots_now, lost, rebuilt };
        self.collections.insert(roots, mended.clone());
        Ok(mended)
    }

    /// Puts the records that lost something back without it.
    async fn edited(&self, roots: CollectionRoots, lost: &[Arc<Record>]) -> Result<CollectionRoots> {
        let nodes = WriterNodes(self.writer.clone());
        let mut editor = CollectionEditor::new(&nodes, roots);
        for record in lost {
            editor.put(&self.without_lost((**record).clone()).await?)?;
            if editor.pending_bytes() > PENDING_BYTES {
                editor.apply().await?;
            }
        }
        Ok(editor.finish().await?.0)
    }

    /// Puts the records of some leaves into new trees.
    async fn built_anew(&self, leaves: &[BlobId]) -> Result<CollectionRoots> {
        let nodes = WriterNodes(self.writer.clone());
        let mut editor = CollectionEditor::new(&nodes, CollectionRoots::default());
        for leaf in leaves {
            for record in self.records(leaf).await? {
                editor.put(&self.without_lost(record).await?)?;
            }
            if editor.pending_bytes() > PENDING_BYTES {
                editor.apply().await?;
            }
        }
        Ok(editor.finish().await?.0)
    }

    async fn records(&self, leaf: &BlobId) -> Result<Vec<Record>> {
        let bytes = self.writer.repository().read_blob(BlobKind::Tree, leaf).await?;
        let Node::Leaf(items) = Node::decode(leaf, &bytes)? else { return Ok(Vec::new()) };
        items.iter().map(|item| codec::decode("A record", &item.value)).collect()
    }

    /// The records of a leaf that lost something.
    async fn leaf(&mut self, leaf: &BlobId) -> Result<&[Arc<Record>]> {
        if !self.leaves.contains_key(leaf) {
            let mut lost = Vec::new();
            for record in self.records(leaf).await? {
                for stream in &record.streams {
                    if self.is_lost(stream).await? {
                        lost.push(Arc::new(record.clone()));
                        break;
                    }
                }
            }
            self.leaves.insert(*leaf, lost);
        }
        Ok(self.leaves.get(leaf).map(Vec::as_slice).unwrap_or_default())
    }

    /// Says whether a blob that a stream needs is in no pack.
    async fn is_lost(&self, stream: &Stream) -> Result<bool> {
        for extents in stream.pieces.iter().map(|p| &p.extents) {
            let mut missing = false;
            let mut look = |e: crate::format::record::Extent| {
                missing |= self.index.find(&e.blob).is_none();
                Ok(())
            };
            match self.writer.repository().expand_extents(extents, &mut look, &mut |_| {}).await {
                Err(e) if e.is_loss() => return Ok(true),
                other => other?,
            }
            if missing {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The record as the next backup must find it to fetch what is lost.
    async fn without_lost(&self, record: Record) -> Result<Record> {
        let mut kept = Vec::new();
        for stream in &record.streams {
            if !self.is_lost(stream).await? {
                kept.push(stream.clone());
            }
        }
        if kept.len() == record.streams.len() {
            return Ok(record);
        }
        Ok(Record { streams: kept, ..without_contents(record, None) })
    }
}

/// Gathers the leaves of a tree that can be read.
#[derive(Default)]
struct Leaves {
    ids: Vec<BlobId>,
    seen: HashSet<BlobId>,
    /// Some node cannot be read.
    lost: bool,
}

impl NodeVisitor for Leaves {
    fn wants(&mut self, id: &BlobId, _level: u8) -> bool {
        self.seen.insert(*id)
    }

    fn visit(&mut self, id: &BlobId, node: &Node) -> Result<()> {
        if let Node::Leaf(_) = node {
            self.ids.push(*id);
        }
        Ok(())
    }

    fn unreadable(&mut self, _id: &BlobId, error: Error) -> Result<()> {
        if !error.is_loss() {
            return Err(error);
        }
        self.lost = true;
        Ok(())
    }
}
