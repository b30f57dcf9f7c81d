//! Finds items over all snapshots: each once, with the first and the last snapshot that hold it, and how many do.
//!
//! The snapshots of a set are told one after another in its search log ([`log`]), each as what differs from the one
//! before, in blocks of columns ([`segment`]). A query, read by [`query`] and made ready by [`test`], goes over the blocks
//! on all processors ([`scan`]); only what is to be shown is then read from the trees. So a search costs what is different
//! in the snapshots, not what is in all of them; and its memory grows with what matches, some 80 bytes an item.

mod fold;
mod log;
mod places;
mod query;
mod scan;
mod segment;
mod show;
mod test;
mod values;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::id::{SetId, SnapshotId};
use crate::format::record::Record;
use crate::ops::find::log::Epoch;
use crate::ops::find::places::Collections;
use crate::ops::find::scan::{Item, Items};
use crate::ops::find::test::Matcher;
use crate::repo::Repository;
use crate::snapshot::store::{self, Snapshot};

pub use log::Trouble;
pub use query::{Field, Query, QueryError, Term};
pub use values::{Here, parse_size};

/// A snapshot, as an item is found in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its time: microseconds since 1970 UTC.
    pub time_us: i64,
}

/// An item that matches, as it is in the newest snapshot in which it does.
#[derive(Debug, Clone)]
pub struct Found {
    /// The name of its backup set.
    pub set: String,
    /// The key of its collection, which stays the same when names change. With the item's id it says which item this is.
    pub collection: String,
    /// The newest snapshot in which it matches.
    pub newest: Seen,
    /// Its path there, as `cat` and `export` take it.
    pub path: String,
    /// Its record there.
    pub record: Record,
    /// The first of the snapshots looked at that holds it, whether it matches there or not.
    pub first: Seen,
    /// The last of them.
    pub last: Seen,
    /// How many of them hold it.
    pub snapshots: u32,
    /// The latest snapshot of its set holds it.
    pub in_latest: bool,
}

/// How a search went.
#[derive(Debug, Default)]
pub struct Report {
    /// Items that match.
    pub matches: u64,
    /// Items that were given.
    pub shown: u64,
    /// Snapshots that were searched.
    pub searched: u64,
    /// What could not be searched.
    pub trouble: Trouble,
}

/// A set's log, and which snapshots of it are which.
struct Searched {
    epochs: Vec<Epoch>,
    collections: Arc<Collections>,
    /// By epoch; none: forgotten.
    snapshots: Vec<Option<Snapshot>>,
}

/// What is asked of a log.
struct Asked<'a> {
    wanted: &'a (dyn Fn(&Snapshot) -> bool + Sync),
    matcher: &'a Arc<Matcher>,
    limit: usize,
}

/// Finds the items that match in one of the snapshots which `wanted` takes, the newest first, at most `limit`. `all` are
/// the snapshots that there are, by time.
///
/// # Errors
/// The storage's; the disk's; what `visit` returns. Damage and vanished snapshots are in the report.
pub async fn find(
    repo: &Arc<Repository>,
    all: &[Snapshot],
    wanted: &(dyn Fn(&Snapshot) -> bool + Sync),
    query: &Query,
    limit: usize,
    visit: &mut (dyn FnMut(Found) -> Result<()> + Send),
) -> Result<Report> {
    let mut report = Report::default();
    let mut sets: BTreeMap<SetId, Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in all {
        sets.entry(snapshot.file.set).or_default().push(snapshot);
    }
    let matcher = Arc::new(Matcher::new(query));
    let (mut searched, mut found) = (Vec::new(), Vec::new());
    for (set, of_set) in &sets {
        if !of_set.iter().any(|snapshot| wanted(snapshot)) {
            continue;
        }
        let asked = Asked { wanted, matcher: &matcher, limit };
        let (log, items) = search_set(repo, *set, of_set, &asked, &mut report).await?;
        report.matches += items.count;
        found.extend(items.newest.into_iter().map(|item| (searched.len(), item)));
        searched.push(log);
    }
    log::sweep(repo, &sets.keys().copied().collect());
    found.sort_unstable_by_key(|(set, item): &(usize, Item)| (item.order().0, *set, item.order()));
    found.truncate(limit);
    let mut show = show::Show::new(repo.clone());
    for (number, item) in found {
        let Some(of) = searched.get(number) else { continue };
        if let Some(found) = show.item(number, of, &item, &mut report.trouble).await? {
            report.shown += 1;
            visit(found)?;
        }
    }
    Ok(report)
}

async fn search_set(
    repo: &Arc<Repository>,
    set: SetId,
    of_set: &[&Snapshot],
    asked: &Asked<'_>,
    report: &mut Report,
) -> Result<(Searched, Items)> {
    let latest = of_set.iter().rev().find(|snapshot| snapshot.file.complete).or(of_set.last()).map(|s| s.id);
    // Without a place to keep the log, there is no use in telling more than is asked for.
    let told = |s: &&&Snapshot| repo.keeps_sealed() || (asked.wanted)(s) || latest == Some(s.id);
    let told: Vec<&Snapshot> = of_set.iter().filter(told).copied().collect();
    let mut again = true;
    loop {
        let mut trouble = Trouble::default();
        let epochs = log::bring_up(repo, set, &told, &mut trouble).await?;
        let snapshots: Vec<Option<Snapshot>> =
            epochs.iter().map(|epoch| told.iter().find(|s| s.id == epoch.id).map(|s| (*s).clone())).collect();
        let collections = Arc::new(Collections::of(&epochs));
        let searched = Searched { epochs, collections, snapshots };
        match search_log(&searched, latest, asked).await {
            // Somebody emptied the cache, or the disk gave other bytes: once more, from the repository.
            Err(e) if e.is_loss() && again => {
                log::distrust(repo, &set);
                again = false;
            }
            found => {
                report.searched += searched.snapshots.iter().flatten().filter(|s| (asked.wanted)(s)).count() as u64;
                report.trouble.damaged.append(&mut trouble.damaged);
                report.trouble.vanished.append(&mut trouble.vanished);
                return Ok((searched, found?));
            }
        }
    }
}

async fn search_log(log: &Searched, latest: Option<SnapshotId>, asked: &Asked<'_>) -> Result<Items> {
    let wanted: Vec<bool> = log.snapshots.iter().map(|s| s.as_ref().is_some_and(asked.wanted)).collect();
    let latest = log.epochs.iter().position(|epoch| Some(epoch.id) == latest).and_then(|at| u32::try_from(at).ok());
    let (epochs, collections, matcher) = (log.epochs.clone(), log.collections.clone(), asked.matcher.clone());
    let limit = asked.limit;
    let task =
        tokio::task::spawn_blocking(move || scan::search(&epochs, &collections, &wanted, latest, &matcher, limit));
    task.await.map_err(|e| Error::internal("A search ended early").with_source(e))?
}

/// The snapshots that words of `--snapshot` name.
///
/// # Errors
/// As [`store::find`].
pub fn named(all: &[Snapshot], names: &[String]) -> Result<HashSet<SnapshotId>> {
    names.iter().map(|name| store::find(all, name).map(|snapshot| snapshot.id)).collect()
}
