//! Several destinations of one set: replicas of one repository, to which a run writes at once.
//!
//! Before a run all are brought to the same state, so that any of them may become the leader in the middle of it. During
//! the run packs and index files go to all; snapshots, sets and runs to the leader alone. After it the mirror brings them
//! to the others, and looks once more whether these have all that the snapshots need: a prune may have been at work there.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::monitor::Monitor;
use crate::ops::mirror::{MirrorOptions, MirrorReport, mirror, missing_snapshots};
use crate::repo::Repository;
use crate::storage::{ReplicatedStorage, Storage};

/// A destination of a set.
#[derive(Clone)]
pub struct Destination {
    /// Its name in the configuration.
    pub name: String,
    /// The repository there.
    pub repo: Arc<Repository>,
}

/// A destination that lacks something of what the others have.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Lagging {
    /// Its name in the configuration.
    pub destination: String,
    /// Why.
    pub message: String,
    /// What to do, where it is something else than to wait for the next run.
    pub hint: Option<String>,
}

impl Lagging {
    /// Says that an error keeps a destination behind.
    pub fn of(destination: &str, error: &Error) -> Self {
        let (message, hint) = (error.chain(), error.hint().map(str::to_owned));
        Self { destination: destination.to_owned(), message, hint }
    }
}

/// The destinations of a run.
pub struct Replicas {
    /// Those in the same state, the leader first.
    current: Vec<Destination>,
    /// The others.
    lagging: Vec<Lagging>,
    storage: Arc<ReplicatedStorage>,
    /// What a run writes to.
    joined: Arc<Repository>,
}

impl Replicas {
    /// Brings all destinations to the state of all of them together, and joins those where that works. The first one
    /// leads. `cache_root`: of the leader.
    ///
    /// # Errors
    /// Those of the leader.
    pub async fn join(
        mut destinations: Vec<Destination>,
        mut lagging: Vec<Lagging>,
        cache_root: Option<PathBuf>,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let (leader, current) = loop {
            if destinations.is_empty() {
                return Err(Error::internal("A set without destinations"));
            }
            let leader = destinations.remove(0);
            let (current, behind) = equal(&leader, &destinations, monitor).await;
            let gone = leader.repo.storage().stat("config").await.err();
            if let (Some(e), false) = (gone, destinations.is_empty()) {
                // It was the leader who failed: the next one leads.
                lagging.push(Lagging::of(&leader.name, &e));
                continue;
            }
            lagging.extend(behind);
            break (leader, current);
        };
        let members = current.iter().map(|d| (d.name.clone(), d.repo.storage().clone())).collect();
        let storage = Arc::new(ReplicatedStorage::new(members, goes_to_all));
        let joined = leader.repo.open_replica(storage.clone() as Arc<dyn Storage>, cache_root).await?;
        Ok(Self { current, lagging, storage, joined })
    }

    /// The repository that a run writes to.
    pub fn repository(&self) -> &Arc<Repository> {
        &self.joined
    }

    /// Brings the others what the run gave the leader alone, and says which destinations lag behind.
    pub async fn finish(self, monitor: &dyn Monitor) -> Vec<Lagging> {
        let mut lagging = self.lagging;
        let failed = self.storage.failures();
        let reason = |name: &str| failed.iter().find(|(failed, _)| failed == name).map(|(_, why)| why.clone());
        let mut leader: Option<Destination> = None;
        for destination in self.current {
            if let Some(message) = reason(&destination.name) {
                lagging.push(Lagging { destination: destination.name, message, hint: None });
                continue;
            }
            let Some(leader) = &leader else {
                leader = Some(destination);
                continue;
            };
            if let Err(e) = catch_up(leader, &destination, monitor).await {
                lagging.push(Lagging::of(&destination.name, &e));
            }
        }
        lagging
    }
}

/// Brings all to the state of all: first what the others have more, of runs for which the leader was away; then all of it
/// to all. Gives those for which that worked, the leader among them, and the others.
async fn equal(
    leader: &Destination,
    others: &[Destination],
    monitor: &dyn Monitor,
) -> (Vec<Destination>, Vec<Lagging>) {
    let (mut current, mut behind) = (vec![leader.clone()], Vec::new());
    for other in others {
        if let Err(e) = gather(other, leader, monitor).await {
            behind
                .push(Lagging::of(&leader.name, &e.context(format!("Not all could be copied from '{}'", other.name))));
        }
    }
    for other in others {
        match catch_up(leader, other, monitor).await {
            Ok(()) => current.push(other.clone()),
            Err(e) => behind.push(Lagging::of(&other.name, &e)),
        }
    }
    (current, behind)
}

/// Packs and index files: what adds to a repository and needs nothing else.
fn goes_to_all(path: &str) -> bool {
    path.starts_with("packs/") || path.starts_with("index/")
}

/// Brings the leader the snapshots that another destination has more.
async fn gather(from: &Destination, leader: &Destination, monitor: &dyn Monitor) -> Result<()> {
    if missing_snapshots(&from.repo, &leader.repo).await? == 0 {
        return Ok(());
    }
    let report = mirror(&from.repo, &leader.repo, MirrorOptions::default(), monitor).await?;
    whole(&report, &from.name)
}

async fn catch_up(leader: &Destination, to: &Destination, monitor: &dyn Monitor) -> Result<()> {
    let options = MirrorOptions { sets: true, ..MirrorOptions::default() };
    let report = mirror(&leader.repo, &to.repo, options, monitor).await?;
    whole(&report, &leader.name)
}

fn whole(report: &MirrorReport, from: &str) -> Result<()> {
    match report.findings.iter().find(|f| f.error) {
        None => Ok(()),
        Some(finding) => Err(Error::new(
            ErrorKind::Corrupt,
            format!("What '{from}' has cannot all be copied: {}", finding.sentence()),
        )
        .with_hint("run check on it, then repair packs --from another destination")),
    }
}
