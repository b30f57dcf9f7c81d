//! What this machine remembers of the snapshots it saw: a storage that was set back to an older state, or that holds
//! something back, cannot prove that there was more. Kept beside the local cache, safe to delete.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::format::id::SnapshotId;
use crate::repo::Repository;
use crate::snapshot::store::{Listing, Snapshot};

const NOTE: &str = "snapshots-seen.json";
/// Snapshots forgotten by this machine that are remembered, the last ones.
const FORGOTTEN: usize = 10_000;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    /// The newest snapshot of each set, by the set's id.
    newest: BTreeMap<String, Seen>,
    /// Those that were once the newest, and are gone without a word.
    missed: Vec<Seen>,
    /// Those that this machine forgot, the last ones last.
    forgotten: Vec<Forgotten>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Forgotten {
    id: String,
    /// When it was gone for certain: what was listed before that time may still show it. Nothing while it is being
    /// deleted.
    #[serde(default, alias = "at_us")]
    gone_us: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seen {
    id: String,
    set_name: String,
    time_us: i64,
    /// When it was noted here: what was listed before that time may lack it.
    #[serde(default)]
    noted_us: i64,
}

/// A snapshot that is not where this machine saw it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surprise {
    /// "Snapshot 3f9a…".
    pub object: String,
    /// What is strange about it, and what it may mean.
    pub text: String,
}

impl Surprise {
    /// Object and text as one sentence.
    pub fn sentence(&self) -> String {
        format!("{} {}", self.object, self.text)
    }
}

/// Holds a listing against what this machine saw before, and remembers it. Says the same again till [`accept`].
pub fn compare(repo: &Repository, listing: &Listing) -> Vec<Surprise> {
    let _alone = repo.lock_notes();
    let before = load(repo);
    let mut memory = before.clone();
    let broken: BTreeSet<String> = listing.broken.iter().map(|b| b.id.to_string()).collect();
    let there: BTreeSet<String> = listing.snapshots.iter().map(|s| s.id.to_string()).chain(broken.clone()).collect();
    let forgotten: BTreeSet<&String> = before.forgotten.iter().map(|gone| &gone.id).collect();
    let is_younger = |seen: &Seen| seen.noted_us >= listing.began_us;
    let is_missed = |seen: &&Seen| !there.contains(&seen.id) && !forgotten.contains(&seen.id) && !is_younger(seen);
    let missed = before.newest.values().filter(is_missed);
    memory.missed.retain(|seen| !there.contains(&seen.id));
    memory.missed.extend(missed.cloned());
    // A file that cannot be read now is there all the same.
    memory.newest.retain(|_, seen| broken.contains(&seen.id) || there.contains(&seen.id) || is_younger(seen));
    // The oldest first, so that the newest stays.
    for snapshot in &listing.snapshots {
        memory.see(snapshot.file.set.to_string(), seen(snapshot));
    }
    let long_gone = before.forgotten.iter().filter(|gone| gone.gone_us.is_some_and(|at| at < listing.began_us));
    let long_gone: BTreeSet<&String> = long_gone.map(|gone| &gone.id).collect();
    let back = listing.snapshots.iter().filter(|s| long_gone.contains(&s.id.to_string()));
    let back = back.map(|s| surprise(&seen(s), "was forgotten by this machine and is back"));
    let gone =
        memory.missed.iter().map(|s| surprise(s, "was here, and is gone without this machine having forgotten it"));
    let surprises: Vec<Surprise> = gone.chain(back).collect();
    if memory != before {
        save(repo, &memory);
    }
    surprises
}

/// Remembers a snapshot that this machine wrote.
pub(super) fn note_written(repo: &Repository, snapshot: &Snapshot) {
    let _alone = repo.lock_notes();
    let mut memory = load(repo);
    memory.see(snapshot.file.set.to_string(), seen(snapshot));
    save(repo, &memory);
}

impl Memory {
    /// Keeps the newer one of a set's two.
    fn see(&mut self, set: String, seen: Seen) {
        if self.newest.get(&set).is_none_or(|known| known.time_us <= seen.time_us && known.id != seen.id) {
            self.newest.insert(set, seen);
        }
    }
}

/// Takes things as they are: what was strange till now was told.
pub fn accept(repo: &Repository, listing: &Listing) {
    let _alone = repo.lock_notes();
    let mut memory = load(repo);
    memory.missed.clear();
    let there: BTreeSet<String> = listing.snapshots.iter().map(|s| s.id.to_string()).collect();
    memory.forgotten.retain(|gone| !there.contains(&gone.id));
    save(repo, &memory);
}

/// Remembers that this machine forgets a snapshot. To be noted before it is deleted: who looks in between misses it.
pub(super) fn note_forgetting(repo: &Repository, id: SnapshotId) {
    change_forgotten(repo, |forgotten| {
        if !forgotten.iter().any(|gone| gone.id == id.to_string()) {
            forgotten.push(Forgotten { id: id.to_string(), gone_us: None });
        }
        let surplus = forgotten.len().saturating_sub(FORGOTTEN);
        forgotten.drain(..surplus);
    });
}

/// Remembers that it is deleted: who sees it in what is listed from now on sees what came back.
pub(super) fn note_forgotten(repo: &Repository, id: SnapshotId) {
    change_forgotten(repo, |forgotten| {
        let of_it = forgotten.iter_mut().filter(|gone| gone.id == id.to_string());
        of_it.for_each(|gone| gone.gone_us = Some(now_us()));
    });
}

/// Takes that back: it could not be deleted.
pub(super) fn note_kept(repo: &Repository, id: SnapshotId) {
    change_forgotten(repo, |forgotten| {
        forgotten.retain(|gone| gone.id != id.to_string() || gone.gone_us.is_some());
    });
}

fn change_forgotten(repo: &Repository, change: impl FnOnce(&mut Vec<Forgotten>)) {
    let _alone = repo.lock_notes();
    let mut memory = load(repo);
    change(&mut memory.forgotten);
    save(repo, &memory);
}

/// The time, by the clock of this machine alone.
pub(super) fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn seen(snapshot: &Snapshot) -> Seen {
    let (id, set_name, time_us) = (snapshot.id.to_string(), snapshot.file.set_name.clone(), snapshot.file.time_us);
    Seen { id, set_name, time_us, noted_us: now_us() }
}

fn surprise(seen: &Seen, what: &str) -> Surprise {
    let time = jiff::Timestamp::from_microsecond(seen.time_us).map(|t| t.to_string()).unwrap_or_default();
    Surprise {
        object: format!("Snapshot {}", seen.id),
        text: format!(
            "of set '{}', made {time}, {what}: another machine did that, or the storage was set back to an older state",
            seen.set_name
        ),
    }
}

/// What cannot be read is nothing: a memory is a help, not a need.
fn load(repo: &Repository) -> Memory {
    repo.read_note(NOTE).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn save(repo: &Repository, memory: &Memory) {
    if let Ok(bytes) = serde_json::to_vec(memory) {
        repo.write_note(NOTE, &bytes);
    }
}
