//! Healing from a replica: what is damaged or lost here and whole there comes back, before anything is given up.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::monitor::{Counter, Monitor};
use crate::ops::used::{self, Seen};
use crate::repo::{CopyOptions, Finding, Repository};
use crate::snapshot::store;

/// What came back, and what did not.
#[derive(Debug, Default)]
pub struct HealReport {
    /// Files other than packs that are whole again.
    pub files: usize,
    /// Packs copied from the replica.
    pub packs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that the snapshots need and neither side has.
    pub lost: usize,
    /// What could not be healed, and what the index lists in vain.
    pub findings: Vec<Finding>,
}

/// Copies back from a replica what this repository has damaged or lost of what its snapshots need. With `read_data` every
/// byte is read; else damage within packs is not noticed.
///
/// The repository must have been told to read from the replica ([`Repository::read_also_from`]): trees with lost nodes are
/// walked with its help.
///
/// # Errors
/// The storages'.
pub async fn heal(
    repo: &Arc<Repository>,
    replica: &Arc<Repository>,
    read_data: bool,
    monitor: &dyn Monitor,
) -> Result<HealReport> {
    monitor.phase("Looking at the files");
    let files = repo.heal_files(replica).await?;
    let mut report = HealReport { files: files.healed, findings: files.findings, ..HealReport::default() };
    monitor.phase("Looking at the packs");
    let bad = repo.damaged_packs(read_data, monitor).await?;
    monitor.phase("Looking at what the snapshots need");
    let used = used_blobs(repo, &mut report, monitor).await?;
    let lacked = repo.lacks(used.clone(), bad.damaged.clone()).await?;
    let mut still = bad.damaged.clone();
    if !lacked.is_empty() {
        monitor.phase("Copying packs from the replica");
        let only = Some(Arc::new(lacked));
        let options = CopyOptions { damaged: bad.damaged.clone(), only, ..CopyOptions::default() };
        let copied = replica.copy_packs_to(repo, &options, monitor).await?;
        (report.packs, report.bytes) = (copied.packs, copied.bytes);
        still = copied.still_damaged;
    }
    report.lost = repo.lacks(used, still.clone()).await?.len();
    if report.lost > 0 {
        let text = format!("{} blobs that snapshots need are in no pack of either", report.lost);
        let object = "Contents".to_owned();
        report.findings.push(Finding { object, pack: None, text: format!("are lost: {text}"), error: true });
    }
    let stored = repo.stored_packs().await?;
    let in_vain = still.iter().chain(bad.missing.iter().filter(|id| !stored.contains_key(*id)));
    for id in in_vain {
        let text = "is damaged or missing; what the snapshots need of it is elsewhere: repair index leaves it out";
        let text =
            if report.lost > 0 { "is damaged or missing here, and not to be had from the replica" } else { text };
        let object = format!("Pack {id}");
        report.findings.push(Finding { object, pack: Some(*id), text: text.to_owned(), error: report.lost > 0 });
    }
    report.findings.sort_by(|a, b| (!a.error, &a.object).cmp(&(!b.error, &b.object)));
    Ok(report)
}

async fn used_blobs(repo: &Arc<Repository>, report: &mut HealReport, monitor: &dyn Monitor) -> Result<HashSet<BlobId>> {
    let listing = store::list(repo).await?;
    monitor.add(Counter::ItemsTotal, listing.snapshots.len() as i64);
    let (mut used, mut seen) = (HashSet::new(), Seen::default());
    for snapshot in &listing.snapshots {
        match used::add_snapshot(repo, &snapshot.file, &mut seen, &mut used).await {
            Err(e) if e.is_loss() => report.findings.push(unreadable(&snapshot.id.to_string(), &e)),
            other => other?,
        }
        monitor.add(Counter::Items, 1);
    }
    Ok(used)
}

fn unreadable(id: &str, e: &Error) -> Finding {
    let text = format!("cannot be read in full, here or at the replica: {}", e.chain());
    Finding { object: format!("Snapshot {id}"), pack: None, text, error: true }
}
