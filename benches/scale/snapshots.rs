//! Snapshots of one backup set: a collection of `ITEMS` items of which ten change from each snapshot to the next, each
//! written by a writer of its own, as a run does: a pack of trees, an index file, a snapshot. Contents have no part in it.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::{Value, json};
use tenantvault::error::{Error, Result};
use tenantvault::format::snapshot::{CollectionState, SnapshotFile, Totals};
use tenantvault::monitor::Silent;
use tenantvault::ops::catalog::{self, Catalog};
use tenantvault::ops::nodes::WriterNodes;
use tenantvault::ops::{forget as forgetting, prune as pruning};
use tenantvault::repo::{Clock, PruneOptions, Writer, WriterOptions};
use tenantvault::snapshot::policy::{Count, Policy};
use tenantvault::snapshot::store;
use tenantvault::tree::collection::{CollectionEditor, CollectionRoots};

use crate::{Step, items, memory_mib, mix, now_us, seconds};

const ITEMS: u64 = 10_000;
const KEY: &str = "users/bench/mail";

pub async fn make(step: &Step) -> Result<Value> {
    let repo = step.init().await?;
    let start = Instant::now();
    let (mut roots, mut parent) = (CollectionRoots::default(), None::<store::Snapshot>);
    for n in 0..step.number {
        let writer = Writer::new(repo.clone(), WriterOptions::default());
        let nodes = WriterNodes(writer.clone());
        let mut editor = CollectionEditor::new(&nodes, roots);
        let count = if n == 0 { ITEMS } else { 10 };
        for i in 0..count {
            let item = if n == 0 { i } else { mix(n * 10 + i) % ITEMS };
            editor.put(&tenantvault::format::record::Record { streams: Vec::new(), ..items::record(item, n) })?;
        }
        roots = editor.finish().await?.0;
        let time_us = 1_600_000_000_000_000 + n.cast_signed() * 3_600_000_000;
        parent = Some(save(writer, roots, time_us, parent).await?);
    }
    let wall = seconds(start);
    Ok(json!({
        "s": wall, "ms_a_snapshot": wall * 1e3 / step.number as f64, "index_files": repo.index().files().count(),
        "repository_bytes": crate::stored_bytes(&step.repository()),
    }))
}

/// Writes a snapshot of the one collection.
pub async fn save(
    writer: Writer,
    roots: CollectionRoots,
    time_us: i64,
    parent: Option<store::Snapshot>,
) -> Result<store::Snapshot> {
    let repo = writer.repository().clone();
    let state = CollectionState {
        key: KEY.into(),
        name: "users/bench/Mail".into(),
        items: roots.items,
        children: roots.children,
        cursors: None,
        read_us: time_us,
        complete: true,
    };
    let before = Catalog::load(&repo, parent.as_ref().map(|p| &p.file)).await?;
    let states = HashMap::from([(KEY.to_owned(), state)]);
    let (catalog, gaps) = catalog::write(&writer, &before, &states, &[], &[]).await?;
    writer.finish().await?;
    let file = SnapshotFile {
        set: store::set_id(&repo, "bench"),
        set_name: "bench".into(),
        tenant: "bench".into(),
        time_us,
        ended_us: time_us,
        host: "bench".into(),
        program: "tv-scale".into(),
        tags: Vec::new(),
        parent: parent.as_ref().map(|p| p.id),
        complete: true,
        catalog,
        gaps,
        totals: Totals { items: roots.count(), ..Totals::default() },
    };
    Ok(store::Snapshot { id: store::save(&repo, &file).await?, file })
}

pub async fn open(step: &Step) -> Result<Value> {
    let start = Instant::now();
    let _repo = step.open().await?;
    Ok(json!({ "s": seconds(start), "mib": memory_mib("VmRSS") }))
}

/// What the command `snapshots` does: opens, and reads every snapshot.
pub async fn list(step: &Step) -> Result<Value> {
    let start = Instant::now();
    let repo = step.open().await?;
    let listing = store::list(&repo).await?;
    if listing.snapshots.len() as u64 != step.number {
        return Err(Error::internal(format!("{} snapshots were listed", listing.snapshots.len())));
    }
    Ok(json!({ "s": seconds(start), "us_a_snapshot": seconds(start) * 1e6 / step.number as f64 }))
}

/// Plans what goes by a common policy; without the listing.
pub async fn forget(step: &Step) -> Result<Value> {
    let repo = step.open().await?;
    let snapshots = store::list(&repo).await?.snapshots;
    let policy = Policy {
        keep_last: Count(10),
        keep_hourly: Count(48),
        keep_daily: Count(30),
        keep_weekly: Count(52),
        keep_monthly: Count(24),
        ..Policy::default()
    };
    let start = Instant::now();
    let zone = jiff::tz::TimeZone::UTC;
    let plans = forgetting::plan(&snapshots, |_| Ok(Some((policy.clone(), zone.clone()))), jiff::Timestamp::now())?;
    let wall = seconds(start);
    Ok(json!({ "s": wall, "removed": plans.iter().map(|p| p.plan.remove.len()).sum::<usize>() }))
}

/// Looks at what all snapshots need, and decides: nothing is deleted.
pub async fn prune(step: &Step) -> Result<Value> {
    let repo = step.open().await?;
    let start = Instant::now();
    let options = PruneOptions { grace_us: 0, max_unused_percent: 5.0, now_us: now_us(), clock: Clock::new(now_us) };
    let plan = pruning::plan(&repo, &options, &Silent).await?;
    if let Some(id) = plan.missing.first() {
        return Err(Error::internal(format!("Blob {id} is missing")));
    }
    let wall = seconds(start);
    Ok(json!({ "s": wall, "ms_a_snapshot": wall * 1e3 / step.number as f64, "repack": plan.repack.len() }))
}
