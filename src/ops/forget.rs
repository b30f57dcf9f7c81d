//! Forget: takes snapshots out by a retention policy. Plan first, then do.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::format::id::SnapshotId;
use crate::repo::Repository;
use crate::snapshot::policy::{self, ForgetPlan, Policy, SnapshotFacts};
use crate::snapshot::store::{self, Snapshot};

/// What forget would do to one set.
#[derive(Debug)]
pub struct SetPlan {
    /// The set's name.
    pub set_name: String,
    /// What stays, with reasons, and what goes.
    pub plan: ForgetPlan,
}

/// Plans for each set by itself. `policy_of` gives the policy of a set and the zone in which it counts days; `None` leaves
/// the set alone.
///
/// # Errors
/// `InvalidInput` when a policy keeps nothing, as a rule or of the snapshots that are there.
pub fn plan(
    snapshots: &[Snapshot],
    mut policy_of: impl FnMut(&str) -> Result<Option<(Policy, TimeZone)>>,
    now: Timestamp,
) -> Result<Vec<SetPlan>> {
    let mut sets: BTreeMap<(&str, crate::format::id::SetId), Vec<SnapshotFacts>> = BTreeMap::new();
    for snapshot in snapshots {
        sets.entry((&snapshot.file.set_name, snapshot.file.set)).or_default().push(facts(snapshot));
    }
    let mut plans = Vec::new();
    for ((name, _), facts) in sets {
        let Some((policy, zone)) = policy_of(name)? else { continue };
        if policy.is_empty() {
            return Err(Error::invalid(format!("The retention policy of set '{name}' keeps nothing"))
                .with_hint("give at least one --keep option, or a retention table in the config"));
        }
        let plan = policy::plan(&policy, &facts, &zone, now);
        if plan.keep.is_empty() && !plan.remove.is_empty() {
            return Err(Error::invalid(format!("The retention policy would remove every snapshot of set '{name}'"))
                .with_hint("check its tags and numbers; to give up a whole set, name its snapshots one by one"));
        }
        plans.push(SetPlan { set_name: name.to_owned(), plan });
    }
    Ok(plans)
}

/// Deletes the snapshots that the plans take out. Their contents stay till prune.
///
/// # Errors
/// The storage's; what was deleted before stays deleted.
pub async fn execute(repo: &Repository, snapshots: &[Snapshot], plans: &[SetPlan]) -> Result<usize> {
    let gone: HashSet<SnapshotId> = plans.iter().flat_map(|p| p.plan.remove.iter().map(|s| s.id)).collect();
    let gone: Vec<&Snapshot> = snapshots.iter().filter(|s| gone.contains(&s.id)).collect();
    store::delete(repo, &gone).await?;
    Ok(gone.len())
}

fn facts(snapshot: &Snapshot) -> SnapshotFacts {
    SnapshotFacts {
        id: snapshot.id,
        set: snapshot.file.set,
        time_us: snapshot.file.time_us,
        tags: snapshot.file.tags.clone(),
        complete: snapshot.file.complete,
    }
}
