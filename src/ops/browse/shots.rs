//! The snapshots of the repository as folders, looked at again now and then: `latest` follows new ones, and what was
//! forgotten goes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::error::Result;
use crate::format::id::SnapshotId;
use crate::ops::browse::folder::Listed;
use crate::ops::browse::node::{AboveNode, Node, Shot, What};
use crate::ops::names::FolderNames;
use crate::ops::view::View;
use crate::repo::Repository;
use crate::snapshot::store;

/// The folder of the newest snapshot of a set.
pub(super) const LATEST: &str = "latest";

/// After a failure that a vanished snapshot may be the reason of, the list is read again at most so often.
const CHECKED_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Shots {
    repo: Arc<Repository>,
    look_again_after: Duration,
    now: RwLock<Arc<Now>>,
    /// Held while the list is read, with the time when it was read last.
    looked: tokio::sync::Mutex<Instant>,
}

/// The snapshots as they were when they were listed last, the oldest first.
#[derive(Default)]
struct Now {
    shots: Vec<Arc<Shot>>,
}

impl Shots {
    pub(super) async fn open(repo: Arc<Repository>, look_again_after: Duration) -> Result<Self> {
        let looked = tokio::sync::Mutex::new(Instant::now());
        let shots = Self { repo, look_again_after, now: RwLock::default(), looked };
        shots.look().await?;
        Ok(shots)
    }

    fn now(&self) -> Arc<Now> {
        self.now.read().map_or_else(|e| e.into_inner().clone(), |now| now.clone())
    }

    /// Lists the snapshots. Those that were known stay the same ones.
    async fn look(&self) -> Result<()> {
        let listing = store::list(&self.repo).await?;
        let known: HashMap<SnapshotId, Arc<Shot>> =
            self.now().shots.iter().map(|shot| (shot.id, shot.clone())).collect();
        let shot = |snapshot: store::Snapshot| match known.get(&snapshot.id) {
            Some(shot) => shot.clone(),
            None => Arc::new(Shot {
                id: snapshot.id,
                set_name: snapshot.file.set_name.clone(),
                time_us: snapshot.file.time_us,
                complete: snapshot.file.complete,
                view: View::new(self.repo.clone(), snapshot.file),
            }),
        };
        let now = Arc::new(Now { shots: listing.snapshots.into_iter().map(shot).collect() });
        match self.now.write() {
            Ok(mut slot) => *slot = now,
            Err(e) => *e.into_inner() = now,
        }
        Ok(())
    }

    /// Lists the snapshots again, if that was long ago. While one looks, others go on with what is known.
    async fn look_again(&self, after: Duration) -> Result<()> {
        let Ok(mut looked) = self.looked.try_lock() else { return Ok(()) };
        if looked.elapsed() < after {
            return Ok(());
        }
        *looked = Instant::now();
        self.look().await
    }

    /// The snapshots, the oldest first; read again if that was long ago.
    pub(super) async fn all(&self) -> Vec<Arc<Shot>> {
        if let Err(e) = self.look_again(self.look_again_after).await {
            tracing::warn!("The snapshots cannot be listed again: {}", e.chain());
        }
        self.now().shots.clone()
    }

    /// Says whether a snapshot is still there.
    pub(super) async fn still_has(&self, shot: &Shot) -> Result<bool> {
        self.look_again(CHECKED_AGAIN_AFTER.min(self.look_again_after)).await?;
        Ok(self.now().shots.iter().any(|s| s.id == shot.id))
    }

    /// What is in a folder above the snapshots, as far as is known; read again if that was long ago. That it cannot be read
    /// again is no failure: what is known stays.
    pub(super) async fn listing(&self, folder: &Node) -> Result<Vec<Listed>> {
        if let Err(e) = self.look_again(self.look_again_after).await {
            tracing::warn!("The snapshots cannot be listed again: {}", e.chain());
        }
        let now = self.now();
        Ok(match folder.what() {
            What::Root => vec![
                Listed { name: "sets".into(), node: folder.below(b"sets", What::Sets) },
                Listed { name: "snapshots".into(), node: folder.below(b"snapshots", What::Snapshots) },
            ],
            What::Snapshots => named(folder, &now.shots, true),
            What::Sets => sets(folder, &now.shots),
            What::Set(name) => {
                let of_set: Vec<Arc<Shot>> = now.shots.iter().filter(|s| *s.set_name == **name).cloned().collect();
                let mut listed = named(folder, &of_set, false);
                if let Some(shot) = of_set.iter().rev().find(|shot| shot.complete).or(of_set.last()) {
                    let key = [LATEST.as_bytes(), &shot.id.0].concat();
                    listed.push(Listed { name: LATEST.into(), node: folder.below(&key, above(shot)) });
                }
                listed
            }
            _ => Vec::new(),
        })
    }
}

fn above(shot: &Arc<Shot>) -> What {
    What::Above(Arc::new(AboveNode { shot: shot.clone(), path: String::new() }))
}

/// The folders of snapshots: their time in UTC; with the beginning of their id, where it is wanted or another has that time.
fn named(folder: &Node, shots: &[Arc<Shot>], with_id: bool) -> Vec<Listed> {
    let mut taken = HashSet::new();
    let mut listed = Vec::with_capacity(shots.len());
    for shot in shots {
        let time = Timestamp::from_microsecond(shot.time_us).unwrap_or(Timestamp::UNIX_EPOCH);
        let time = time.strftime("%Y-%m-%dT%H%M%SZ").to_string();
        let longer = [format!("{time}-{}", shot.id.short()), format!("{time}-{}", shot.id)];
        let names = (!with_id).then_some(time).into_iter().chain(longer);
        // The whole id is nobody else's.
        if let Some(name) = names.into_iter().find(|name| taken.insert(name.clone())) {
            listed.push(Listed { name: name.into(), node: folder.below(&shot.id.0, above(shot)) });
        }
    }
    listed
}

fn sets(folder: &Node, shots: &[Arc<Shot>]) -> Vec<Listed> {
    let mut names = FolderNames::new();
    let sets: BTreeMap<&str, ()> = shots.iter().map(|shot| (shot.set_name.as_str(), ())).collect();
    let listed = |name: &str| Listed {
        name: names.allocate(name).into(),
        node: folder.below(name.as_bytes(), What::Set(name.into())),
    };
    sets.into_keys().map(listed).collect()
}
