//! Prune, seen from above: which blobs the snapshots need; the rest is the repository's affair.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::id::SnapshotId;
use crate::monitor::{Counter, Monitor};
use crate::ops::used::{self, Seen};
use crate::repo::{PruneOptions, PrunePlan, Repository};
use crate::snapshot::store;

/// Looks at every snapshot and decides what may go.
///
/// # Errors
/// When a snapshot or a tree cannot be read: nothing may be deleted then, for nobody knows what it needs.
pub async fn plan(repo: &Arc<Repository>, options: &PruneOptions, monitor: &dyn Monitor) -> Result<PrunePlan> {
    let (mut plan, mut snapshots) = look(repo, options, monitor).await?;
    for _ in 1..LOOKS {
        if plan.missing.is_empty() || store::are_there(repo, &snapshots).await? {
            break;
        }
        // What is missing may be what a snapshot needed that was forgotten meanwhile.
        (plan, snapshots) = look(repo, options, monitor).await?;
    }
    Ok(plan)
}

/// How often all is looked at anew when blobs are missing and snapshots were forgotten meanwhile.
const LOOKS: usize = 3;

async fn look(
    repo: &Arc<Repository>,
    options: &PruneOptions,
    monitor: &dyn Monitor,
) -> Result<(PrunePlan, Vec<SnapshotId>)> {
    // Packs before snapshots: a pack that comes later cannot be taken for one that nobody needs.
    let stored: HashSet<_> = repo.stored_packs().await?.into_keys().collect();
    let listing = store::list(repo).await?;
    if let Some(broken) = listing.broken.into_iter().next() {
        let id = broken.id;
        let text = format!("Snapshot {id} cannot be read, so nobody knows what it needs: nothing is pruned");
        return Err(Error::corrupt(text)
            .with_hint(format!("bring the file back from a copy, or give it up: forget {}", id.short()))
            .with_source(broken.error));
    }
    monitor.phase("Looking at what the snapshots need");
    monitor.add(Counter::ItemsTotal, listing.snapshots.len() as i64);
    let (mut used, mut seen) = (HashSet::new(), Seen::default());
    for snapshot in &listing.snapshots {
        let mut read = used::add_snapshot(repo, &snapshot.file, &mut seen, &mut used).await;
        if read.as_ref().is_err_and(Error::is_loss) && !store::are_there(repo, &[snapshot.id]).await? {
            // Forgotten since it was listed; another prune gave back what it needed.
            read = Ok(());
        }
        read.map_err(|e| {
            e.context(format!("Snapshot {} cannot be read in full: nothing is pruned", snapshot.id.short()))
                .with_hint("run check; repair what it names, or forget the snapshot")
        })?;
        monitor.add(Counter::Items, 1);
    }
    let plan = PrunePlan::new(repo, &stored, &used, options).await?;
    Ok((plan, listing.snapshots.iter().map(|s| s.id).collect()))
}
