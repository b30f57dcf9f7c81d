//! What retention takes out next.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, Result};
use crate::format::id::SnapshotId;
use crate::ops::forget;
use crate::server::db::{RepositoryRow, SetRow};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::snapshot::store::{self, Snapshot};

/// What the retention after the next run of a set takes out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NextRetention {
    /// The set.
    pub(crate) set: Id,
    /// Its name.
    pub(crate) name: String,
    /// When its next run is due: microseconds since 1970 UTC. Left out: it runs when somebody asks.
    pub(crate) next_us: Option<i64>,
    /// The snapshots that go then.
    pub(crate) forgotten: Vec<ToForget>,
    /// How many stay, the new one among them.
    pub(crate) left: usize,
}

/// A snapshot that goes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToForget {
    /// Its id.
    pub(crate) id: String,
    /// Of when it is: microseconds since 1970 UTC.
    pub(crate) time_us: i64,
}

/// What retention takes out of a repository next, by the rules that the sets have now. Retention follows upon a run: the snapshot
/// that this run makes is counted in.
///
/// # Errors
/// As opening; `InvalidInput` when a set's rules keep nothing.
pub(crate) async fn next(server: &Server, row: &RepositoryRow) -> Result<Vec<NextRetention>> {
    let repo = server.stores.open(server, row).await?;
    let listing = store::list(&repo).await?;
    let mut all = Vec::new();
    for set in server.db.sets(&row.account).await?.into_iter().filter(|set| set.repository == row.id) {
        let schedules = if set.enabled { server.db.schedules(&set.id).await? } else { Vec::new() };
        let next_us = schedules.iter().filter_map(|schedule| schedule.next_us).min();
        let own: Vec<Snapshot> =
            listing.snapshots.iter().filter(|snapshot| snapshot.file.set_name == set.name).cloned().collect();
        if !own.is_empty() {
            all.push(of_set(set, own, next_us, server.now_us())?);
        }
    }
    Ok(all)
}

fn of_set(set: SetRow, mut own: Vec<Snapshot>, next_us: Option<i64>, now_us: i64) -> Result<NextRetention> {
    let at_us = next_us.unwrap_or(now_us).max(now_us);
    let at = Timestamp::from_microsecond(at_us).map_err(|_| Error::internal("The clock is out of range"))?;
    let (policy, zone) = (set.choices.retention.clone(), set.choices.zone()?);
    if let Some(mut coming) = own.iter().max_by_key(|snapshot| snapshot.file.time_us).cloned() {
        coming.id = SnapshotId([0; 32]);
        (coming.file.time_us, coming.file.complete) = (at_us, true);
        coming.file.tags = Vec::new();
        own.push(coming);
    }
    let plans = forget::plan(&own, |_| Ok(Some((policy.clone(), zone.clone()))), at)?;
    let mut forgotten: Vec<ToForget> = plans
        .iter()
        .flat_map(|plan| &plan.plan.remove)
        .map(|facts| ToForget { id: facts.id.to_string(), time_us: facts.time_us })
        .collect();
    forgotten.sort_by_key(|gone| gone.time_us);
    let left = own.len() - forgotten.len();
    Ok(NextRetention { set: set.id, name: set.name, next_us, forgotten, left })
}
