//! Check: every file of the repository, and everything that every snapshot needs, named by whose it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::crypto::BlobKind;
use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::id::{BlobId, PackId};
use crate::format::node::Node;
use crate::format::record::{Extent, Record};
use crate::format::snapshot::CollectionState;
use crate::monitor::{Counter, Monitor};
use crate::ops::nodes::RepoNodes;
use crate::repo::{Finding, ReadData, Repository};
use crate::snapshot::memory;
use crate::snapshot::store::{self, Snapshot};
use crate::tree::{NodeVisitor, Tree, TreeRoot};

/// What check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// Items whose contents are damaged or missing: snapshot, collection and item, at most [`ITEMS_NAMED`].
    pub items: Vec<String>,
    /// How many items are touched.
    pub items_touched: u64,
    /// Snapshots looked at.
    pub snapshots: usize,
    /// Items looked at, each version once.
    pub records: u64,
}

/// Items that are named one by one.
pub const ITEMS_NAMED: usize = 100;

impl CheckReport {
    /// Says whether contents are at risk.
    pub fn has_errors(&self) -> bool {
        self.items_touched > 0 || self.findings.iter().any(|f| f.error)
    }
}

/// Checks the repository.
///
/// # Errors
/// When the storage cannot be read. Damage comes in the report.
pub async fn check(repo: &Arc<Repository>, read: ReadData, monitor: &dyn Monitor) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    monitor.phase("Looking at the packs");
    report.findings = repo.check_packs(read, monitor).await?;
    let bad: HashSet<PackId> = report.findings.iter().filter_map(|f| f.pack).collect();
    let listing = store::list(repo).await?;
    // What a run that ended meanwhile wrote: its index files were there before its snapshot.
    repo.reload_index().await?;
    for surprise in memory::compare(repo, &listing) {
        report.findings.push(Finding { object: surprise.object, pack: None, text: surprise.text, error: true });
    }
    for broken in &listing.broken {
        let object = format!("Snapshot {}", broken.id);
        report.findings.push(Finding { object, pack: None, text: broken.text(), error: true });
    }
    monitor.phase("Looking at the snapshots");
    monitor.add(Counter::ItemsTotal, listing.snapshots.len() as i64);
    let mut walker = Walker { repo, bad, seen: HashSet::new(), verdicts: HashMap::new() };
    for snapshot in &listing.snapshots {
        let before = (report.findings.len(), report.items.len(), report.items_touched);
        walker.snapshot(snapshot, &mut report).await?;
        let is_whole = (report.findings.len(), report.items_touched) == (before.0, before.2);
        if !is_whole && !store::are_there(repo, &[snapshot.id]).await? {
            // Forgotten since it was listed; a prune gave back what it needed.
            report.findings.truncate(before.0);
            report.items.truncate(before.1);
            report.items_touched = before.2;
            continue;
        }
        report.snapshots += 1;
        monitor.add(Counter::Items, 1);
    }
    report.findings.sort_by_key(|f| !f.error);
    // Not before all else is done: what nobody hears of must be told again.
    memory::accept(repo, &listing);
    Ok(report)
}

struct Walker<'a> {
    repo: &'a Arc<Repository>,
    bad: HashSet<PackId>,
    /// Tree nodes that were read and found whole.
    seen: HashSet<BlobId>,
    verdicts: HashMap<BlobId, bool>,
}

impl Walker<'_> {
    async fn snapshot(&mut self, snapshot: &Snapshot, report: &mut CheckReport) -> Result<()> {
        let what = format!("Snapshot {}", snapshot.id.short());
        let mut states: BTreeMap<String, CollectionState> = BTreeMap::new();
        self.walk(&what, snapshot.file.gaps, report, |_, _| Ok(())).await?;
        self.walk(&what, snapshot.file.catalog, report, |key, value| {
            if key.first() == Some(&b'k') {
                let state: CollectionState = codec::decode("a collection of the catalog", value)?;
                states.insert(state.name.clone(), state);
            }
            Ok(())
        })
        .await?;
        // Catalog nodes are few, and their collections must be looked at in every snapshot.
        for state in states.values() {
            let place = format!("{what}, {}", state.name);
            let mut records = Vec::new();
            self.walk(&place, state.items, report, |_, value| {
                records.push(codec::decode::<Record>("a record", value)?);
                Ok(())
            })
            .await?;
            self.walk(&place, state.children, report, |_, _| Ok(())).await?;
            for record in &records {
                report.records += 1;
                if let Some(text) = self.record_trouble(record).await? {
                    report.items_touched += 1;
                    if report.items.len() < ITEMS_NAMED {
                        report.items.push(format!("{place}: '{}' {text}", record.name));
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the nodes of a tree that were not read before; a damaged one becomes a finding.
    async fn walk(
        &mut self,
        what: &str,
        root: Option<TreeRoot>,
        report: &mut CheckReport,
        leaf: impl FnMut(&[u8], &[u8]) -> Result<()> + Send,
    ) -> Result<()> {
        let nodes = RepoNodes(self.repo.clone());
        let always = what.starts_with("Snapshot") && !what.contains(',');
        let mut visitor = Visitor { seen: &mut self.seen, leaf, always };
        match Tree::new(&nodes).walk_nodes(root, &mut visitor).await {
            Err(e) if e.is_loss() => {
                let text = format!("has a tree that cannot be read: {}", e.chain());
                report.findings.push(Finding { object: what.to_owned(), pack: None, text, error: true });
                Ok(())
            }
            other => other,
        }
    }

    async fn record_trouble(&mut self, record: &Record) -> Result<Option<String>> {
        for piece in record.streams.iter().flat_map(|s| &s.pieces) {
            let mut extents: Vec<Extent> = Vec::new();
            if piece.extents.depth == 0 {
                extents.extend(&piece.extents.list);
            } else {
                let mut push = |e| {
                    extents.push(e);
                    Ok(())
                };
                let read = self.repo.expand_extents(&piece.extents, &mut push, &mut |_| {}).await;
                match read {
                    Err(e) if e.is_loss() => {
                        return Ok(Some(format!("has a list of extents that cannot be read: {e}")));
                    }
                    other => other?,
                }
            }
            if let Some(lost) = extents.iter().find(|e| !self.is_there(e)) {
                return Ok(Some(format!("needs blob {}, which is missing or damaged", lost.blob.short())));
            }
        }
        Ok(None)
    }

    fn is_there(&mut self, extent: &Extent) -> bool {
        let (repo, bad) = (self.repo, &self.bad);
        let end = u64::from(extent.offset) + u64::from(extent.length);
        *self.verdicts.entry(extent.blob).or_insert_with(|| {
            let index = repo.index();
            index.find_all(&extent.blob).any(|l| {
                l.pack.kind == BlobKind::Content && !bad.contains(&l.pack.id) && u64::from(l.blob.plain_bytes) >= end
            })
        })
    }
}

struct Visitor<'a, F> {
    seen: &'a mut HashSet<BlobId>,
    leaf: F,
    always: bool,
}

impl<F: FnMut(&[u8], &[u8]) -> Result<()> + Send> NodeVisitor for Visitor<'_, F> {
    fn wants(&mut self, id: &BlobId, _level: u8) -> bool {
        self.always || !self.seen.contains(id)
    }

    fn visit(&mut self, id: &BlobId, node: &Node) -> Result<()> {
        self.seen.insert(*id);
        if let Node::Leaf(items) = node {
            for item in items {
                (self.leaf)(&item.key, &item.value)?;
            }
        }
        Ok(())
    }
}

/// The error that a check with errors ends in.
pub fn failure(report: &CheckReport) -> Error {
    let errors: Vec<&Finding> = report.findings.iter().filter(|f| f.error).collect();
    let found = match errors.len() {
        0 => "no damaged file".to_owned(),
        1 => "1 error".to_owned(),
        n => format!("{n} errors"),
    };
    let touched = match report.items_touched {
        0 => String::new(),
        1 => "; the contents of 1 item are missing".to_owned(),
        n => format!("; the contents of {n} items are missing"),
    };
    let about = |kind: &str| errors.iter().any(|f| f.object.starts_with(kind));
    let hint = if about("Index file") {
        "run repair index, then check again"
    } else if report.items_touched == 0 && !about("Pack") {
        "bring the files named back from a copy of the repository, or forget the snapshots named"
    } else {
        "bring the files named back from a copy of the repository; or run repair index --read-data, repair snapshots, and a backup, which fetches again what the tenant still has. All that is not named still reads"
    };
    Error::corrupt(format!("Check found {found}{touched}")).with_hint(hint)
}
