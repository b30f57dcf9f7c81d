//! Backup: discover collections -> ask each what changed since the last snapshot -> fetch the changed items ->
//! streams -> chunks -> segments -> packs -> destination; records -> tree edits -> roots -> snapshot.
//!
//! What has to be trusted: a collection's cursors are written only together with the items they stand for, and the
//! snapshot is the last file written, after everything that it names is durable.

mod collection;
mod contents;
mod finish;
mod known;
mod loss;
mod share;
mod stop;

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::format::collection::Gap;
use crate::format::id::SnapshotId;
use crate::format::snapshot::{CollectionState, Totals};
use crate::graph::Client;
use crate::m365::discover::{Coverage, CoverageState, Discovery, Selection, discover};
use crate::m365::{Collection, CollectionKey, Owner, Workload as Reads};
use crate::monitor::{Counter, Monitor};
use crate::ops::catalog::{self, Catalog};
use crate::repo::{Repository, Writer, WriterOptions};
use crate::snapshot::memory::{self, Surprise};
use crate::snapshot::set::{Effect, SetDefinition, Subject, Workload};
use crate::snapshot::store::{self, Snapshot};
use crate::tree::collection::EditCounts;
use collection::{Outcome, Shared};
use loss::read_collection;
pub use stop::Stop;

/// Collections read at once. The budgets decide how many requests really run.
const COLLECTIONS_AT_ONCE: usize = 128;

/// What to back up, and how it is to be called.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// The backup set.
    pub set: SetDefinition,
    /// The machine that does it, for people.
    pub host: String,
    /// The program that does it: "tenantvault 0.1.0".
    pub program: String,
    /// Marks to put on the snapshot.
    pub tags: Vec<String>,
    /// How the writer works.
    pub writer: WriterOptions,
    /// Collections read at once; 0: as many as is usual.
    pub collections_at_once: usize,
}

/// The outside world of a run.
#[derive(Clone)]
pub struct Surroundings {
    /// Hears what happens.
    pub monitor: Arc<dyn Monitor>,
    /// Tells the time: microseconds since 1970 UTC.
    pub now_us: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Asks the run to come to an end.
    pub stop: Stop,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct BackupReport {
    /// The snapshot written.
    pub snapshot: SnapshotId,
    /// The snapshot that it was built upon.
    pub parent: Option<SnapshotId>,
    /// Every collection was read to its end.
    pub complete: bool,
    /// The user stopped the run.
    pub stopped: bool,
    /// Counts.
    pub totals: Totals,
    /// What is missing from the snapshot.
    pub gaps: Vec<Gap>,
    /// What the repository had lost of the snapshot before, in words; it was read from the tenant again.
    pub damage: Vec<String>,
    /// What was found for every user of the selection.
    pub coverage: Vec<Coverage>,
}

/// Backs up what a set selects of its tenant.
///
/// # Errors
/// What makes the tenant or the repository as a whole unusable. Anything smaller is a gap in the report.
pub async fn backup(
    repo: &Arc<Repository>,
    client: &Client,
    options: &BackupOptions,
    around: &Surroundings,
) -> Result<BackupReport> {
    let started_us = (around.now_us)();
    let result = async {
        around.monitor.phase("Looking at the tenant");
        let selection = selection(&options.set);
        let discovery = discover(client, &selection).await?;
        around.stop.check()?;
        let stats = || {
            let stats = client.stats();
            (stats.requests, stats.throttled)
        };
        run(repo, discovery, &stats, options, around, started_us).await
    }
    .await;
    if let Err(e) = &result {
        finish::save_failed_run(repo, options, started_us, (around.now_us)(), e).await;
    }
    result
}

/// What discovery is to look for.
fn selection(set: &SetDefinition) -> Selection {
    let globs = |wanted: Effect| {
        let rules = set.selection.rules.iter().filter(move |r| r.effect == wanted);
        let globs = rules.map(|r| {
            let Subject::User(glob) = &r.subject;
            glob.as_str().to_owned()
        });
        globs.collect::<Vec<String>>()
    };
    Selection {
        users: globs(Effect::Include),
        exclude: globs(Effect::Exclude),
        workloads: Workload::ALL
            .iter()
            .filter(|part| set.selection.reads(**part))
            .flat_map(|part| read_for(*part))
            .copied()
            .collect(),
        mail_options: crate::m365::mail::MailOptions { recoverable_items: set.options.recoverable_items },
        drive_options: crate::m365::drive::DriveOptions::default(),
    }
}

/// What is read for a part that a set names.
fn read_for(part: Workload) -> &'static [Reads] {
    match part {
        Workload::Mail => &[Reads::Mail],
        Workload::OneDrive => &[Reads::OneDrive],
        Workload::Contacts => &[Reads::Contacts],
        Workload::PersonalSite => &[Reads::PersonalSite],
        Workload::Sites => &[Reads::Site, Reads::Files, Reads::List, Reads::Pages, Reads::TermStore],
    }
}

/// Backs up given collections: the part of [`backup`] after discovery. `requests` says how many were sent and throttled.
///
/// # Errors
/// As [`backup`].
pub async fn run(
    repo: &Arc<Repository>,
    discovery: Discovery,
    requests: &(dyn Fn() -> (u64, u64) + Sync),
    options: &BackupOptions,
    around: &Surroundings,
    started_us: i64,
) -> Result<BackupReport> {
    // What others did since the repository was opened: a prune, above all.
    repo.reload_index().await?;
    // What a damaged index file lists must not be taken for lost.
    repo.whole_index()?;
    let (previous, before, mut damage) = previous_snapshot(repo, &options.set).await?;
    let writer = Writer::new(repo.clone(), options.writer.clone());
    let shared = Shared {
        writer: writer.clone(),
        monitor: around.monitor.clone(),
        stop: around.stop.clone(),
        places: Arc::new(Semaphore::new(contents::LARGE_PLACES)),
        shares: Arc::default(),
        now_us: started_us,
    };
    around.monitor.add(Counter::CollectionsTotal, discovery.collections.len() as i64);
    let outcomes = read_all(&shared, &discovery.collections, &before, options.collections_at_once).await;
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(e) => {
            // What is stored already is listed, so that the next run finds it.
            let cause = writer.finish().await.err();
            return Err(cause.unwrap_or(e));
        }
    };
    damage.extend(outcomes.iter().filter_map(|o| o.damage.clone()));
    let mut merged = Merged::new(&before, outcomes, &discovery.coverage, started_us);
    merged.stopped |= around.stop.is_stopped();
    let report = finish::write_snapshot(repo, &writer, merged, previous, requests, options, around, started_us).await?;
    Ok(BackupReport { coverage: discovery.coverage, damage, ..report })
}

/// The snapshot to build upon: the newest of the set that can be read, complete or not; its catalog; and
/// which newer ones are damaged.
async fn previous_snapshot(
    repo: &Arc<Repository>,
    set: &SetDefinition,
) -> Result<(Option<Snapshot>, Catalog, Vec<String>)> {
    let id = set.id(&repo.config().id);
    let listing = store::list(repo).await?;
    let mut damage: Vec<String> = memory::compare(repo, &listing).iter().map(Surprise::sentence).collect();
    for snapshot in listing.snapshots.into_iter().rev().filter(|s| s.file.set == id) {
        match Catalog::load(repo, Some(&snapshot.file)).await {
            Ok(catalog) => return Ok((Some(snapshot), catalog, damage)),
            Err(e) if e.is_loss() => {
                let id = snapshot.id.short();
                damage.push(format!("Snapshot {id} is damaged, so the run builds upon one before it: {}", e.chain()));
            }
            Err(e) => return Err(e),
        }
    }
    Ok((None, Catalog::default(), damage))
}

/// Reads all collections, each in a task of its own: what one waits for or works at does not hold up the others.
async fn read_all(
    shared: &Shared,
    collections: &[Arc<dyn Collection>],
    before: &Catalog,
    at_once: usize,
) -> Result<Vec<Outcome>> {
    let at_once = if at_once == 0 { COLLECTIONS_AT_ONCE } else { at_once };
    futures::stream::iter(collections.iter().cloned())
        .map(|source| {
            let key = source.key().to_string();
            let (state, gaps) = (before.states.get(&key).cloned(), before.gaps_of(&key));
            async move {
                if shared.stop.is_stopped() {
                    return Ok(None);
                }
                let task = shared.clone();
                let task = tokio::spawn(async move { read_collection(&task, source, state, gaps).await });
                let ended = AbortOnDropHandle::new(task).await;
                shared.monitor.add(Counter::Collections, 1);
                ended.map_err(|e| Error::internal("Reading a collection ended early").with_source(e))?.map(Some)
            }
        })
        .buffer_unordered(at_once)
        .try_filter_map(|outcome| async { Ok(outcome) })
        .try_collect()
        .await
}

/// The collections of the new snapshot: what was read now, and what stays as it was.
struct Merged {
    states: HashMap<String, CollectionState>,
    gaps: Vec<Gap>,
    counts: EditCounts,
    bytes_read: u64,
    complete: bool,
    stopped: bool,
}

impl Merged {
    fn new(before: &Catalog, outcomes: Vec<Outcome>, coverage: &[Coverage], now_us: i64) -> Self {
        let mut merged = Self {
            states: HashMap::new(),
            gaps: Vec::new(),
            counts: EditCounts::default(),
            bytes_read: 0,
            complete: true,
            stopped: false,
        };
        for outcome in outcomes {
            merged.complete &= outcome.state.complete;
            merged.stopped |= outcome.stopped;
            merged.counts.added += outcome.counts.added;
            merged.counts.changed += outcome.counts.changed;
            merged.counts.removed += outcome.counts.removed;
            merged.bytes_read += outcome.bytes_read;
            merged.gaps.extend(outcome.gaps);
            merged.states.insert(outcome.state.key.clone(), outcome.state);
        }
        merged.keep_unreadable(before, coverage, now_us);
        merged
    }

    /// Collections of users who could not be looked at stay as they were, with a gap that says so.
    fn keep_unreadable(&mut self, before: &Catalog, coverage: &[Coverage], now_us: i64) {
        for found in coverage {
            let CoverageState::Unreadable(reason) = &found.state else { continue };
            let prefix = format!("{}/{}", found.owner, found.workload.map_or("", |w| w.word()));
            let kept: Vec<&CollectionState> = before.states.values().filter(|s| is_meant(found, &s.key)).collect();
            for state in &kept {
                if self.states.contains_key(&state.key) {
                    continue;
                }
                self.gaps.extend(before.gaps_of(&state.key).into_iter().filter(|g| !g.id.is_empty()));
                self.states.insert(state.key.clone(), CollectionState { complete: false, ..(*state).clone() });
            }
            let key = kept.first().map_or(prefix.trim_end_matches('/').to_owned(), |s| s.key.clone());
            let since_us = before.gaps_of(&key).iter().find(|g| g.id.is_empty()).map_or(now_us, |g| g.since_us);
            let title = found.workload.map_or("", |w| w.title());
            self.gaps.push(Gap {
                collection: key,
                id: String::new(),
                name: format!("{}/{}/{title}", found.owner.word(), found.name),
                kind: None,
                reason: "unreadable".to_owned(),
                text: reason.clone(),
                since_us,
            });
        }
    }

    /// After a stop, collections that were not reached stay as they were.
    fn keep_unreached(&mut self, before: &Catalog) {
        for (key, state) in &before.states {
            if !self.states.contains_key(key) {
                self.states.insert(key.clone(), CollectionState { complete: false, ..state.clone() });
                self.gaps.extend(before.gaps_of(key));
            }
        }
        self.complete = false;
    }

    fn items(&self) -> u64 {
        self.states.values().map(|s| s.items.map_or(0, |t| t.count)).sum()
    }
}

/// Says whether a collection is of what could not be looked at.
fn is_meant(found: &Coverage, key: &str) -> bool {
    let Ok(key) = key.parse::<CollectionKey>() else { return false };
    let whose = match (&found.owner, &key.owner) {
        // Nobody's part could be looked at.
        (Owner::Tenant, _) => found.workload.is_some() || key.owner == Owner::Tenant,
        // Of a site collection, all sites: their ids begin with its.
        (Owner::Site(whole), Owner::Site(part)) => {
            part == whole || part.strip_prefix(whole.as_str()).is_some_and(|rest| rest.starts_with(','))
        }
        (of, owner) => of == owner,
    };
    whose && found.workload.is_none_or(|workload| workload == key.workload)
}

/// Says what an error of a whole run means for people who look at its history.
fn outcome_of(e: &Error) -> &'static str {
    if e.kind() == ErrorKind::Interrupted { "interrupted" } else { "failed" }
}

pub(crate) use catalog::write as write_catalog;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_looked_at_is_kept_and_nothing_else() {
        let found = |owner: Owner, workload| Coverage {
            owner,
            name: String::new(),
            workload,
            state: CoverageState::Unreadable(String::new()),
        };
        let site = |id: &str| Owner::Site(id.to_owned());
        for (found, key, meant) in [
            (found(Owner::User("a".into()), Some(Reads::Mail)), "users/a/mail", true),
            (found(Owner::User("a".into()), Some(Reads::Mail)), "users/ab/mail", false),
            (found(Owner::User("a".into()), Some(Reads::Mail)), "users/a/contacts", false),
            (found(Owner::User("a".into()), None), "users/a/onedrive/x", true),
            (found(site("h,1,2"), Some(Reads::Site)), "sites/h,1,2/site", true),
            (found(site("h,1,2"), Some(Reads::List)), "sites/h,1,2/site", false),
            // A whole collection, with the sites below.
            (found(site("h,1"), None), "sites/h,1,2/list/7", true),
            (found(site("h,1"), None), "sites/h,1,3/pages", true),
            (found(site("h,1"), None), "sites/h,12,3/pages", false),
            // Nobody's.
            (found(Owner::Tenant, Some(Reads::List)), "sites/h,1,2/list/7", true),
            (found(Owner::Tenant, Some(Reads::List)), "sites/h,1,2/pages", false),
            (found(Owner::Tenant, Some(Reads::TermStore)), "tenant/terms", true),
            (found(Owner::Tenant, None), "users/a/mail", false),
        ] {
            assert_eq!(is_meant(&found, key), meant, "{found:?} {key}");
        }
    }
}
