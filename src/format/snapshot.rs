//! Snapshots: `snapshots/<set>/<id>`, and the values of the trees that they name.

use bincode::{Decode, Encode};

use crate::format::collection::Cursors;
use crate::format::id::{SetId, SnapshotId};
use crate::format::node::TreeRoot;

/// A snapshot: the state of one backup set at one time.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotFile {
    /// The backup set.
    pub set: SetId,
    /// The set's name, for people.
    pub set_name: String,
    /// The tenant's id.
    pub tenant: String,
    /// When the run began: microseconds since 1970 UTC. The snapshot's time.
    pub time_us: i64,
    /// When the run ended: microseconds since 1970 UTC.
    pub ended_us: i64,
    /// The machine that made it.
    pub host: String,
    /// The program that made it: "tenantvault 0.1.0".
    pub program: String,
    /// Marks that people put on it.
    pub tags: Vec<String>,
    /// The snapshot that this one was built upon.
    pub parent: Option<SnapshotId>,
    /// Every collection was read to its end. False after an interruption.
    pub complete: bool,
    /// The collections: key -> [`CollectionState`], and name -> key (see [`catalog_key`] and [`catalog_name`]).
    pub catalog: Option<TreeRoot>,
    /// The gaps: collection key, 0, item id -> [`crate::format::collection::Gap`].
    pub gaps: Option<TreeRoot>,
    /// Counts.
    pub totals: Totals,
}

/// What a snapshot holds and what its run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Collections in the snapshot.
    pub collections: u64,
    /// Items in the snapshot.
    pub items: u64,
    /// Items that were not in the snapshot before.
    pub items_added: u64,
    /// Items that changed.
    pub items_changed: u64,
    /// Items that were in the snapshot before and are not now.
    pub items_removed: u64,
    /// Items that could not be read.
    pub gaps: u64,
    /// Bytes of contents read from the source.
    pub bytes_read: u64,
    /// Bytes of plaintext that were new to the repository.
    pub bytes_new: u64,
    /// Bytes written to the destination.
    pub bytes_stored: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests answered 429 or 503.
    pub throttled: u64,
}

/// The state of one collection in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CollectionState {
    /// The key that stays the same when names change: "users/<user id>/mail".
    pub key: String,
    /// The name that people see: "users/alice@contoso.com/Mail".
    pub name: String,
    /// Item id -> record.
    pub items: Option<TreeRoot>,
    /// (Parent, sort key, id) -> nothing.
    pub children: Option<TreeRoot>,
    /// Where the next run goes on; `None`: it reads everything and compares.
    pub cursors: Option<Cursors>,
    /// When it was read: microseconds since 1970 UTC.
    pub read_us: i64,
    /// It was read to its end at that time.
    pub complete: bool,
}

/// The catalog's key of a collection's state.
pub fn catalog_key(collection: &str) -> Vec<u8> {
    [b"k", collection.as_bytes()].concat()
}

/// The catalog's key of a collection's name; its value is the collection's key.
pub fn catalog_name(name: &str) -> Vec<u8> {
    [b"n", name.as_bytes()].concat()
}

/// How one owner's part of one workload stands in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CoverageEntry {
    /// Whose it is, as in keys of collections: "users/<user id>", "tenant".
    pub owner: String,
    /// The owner's name as people know it.
    pub name: String,
    /// The workload's word: "mail"; empty: all of the owner's.
    pub workload: String,
    /// How it stands.
    pub state: Protection,
    /// Why, in words, where it is not protected whole.
    pub reason: String,
    /// Items in the snapshot.
    pub items: u64,
    /// Items, or whole collections, that are missing.
    pub gaps: u64,
    /// Since when it stands so: microseconds since 1970 UTC.
    pub since_us: i64,
}

impl CoverageEntry {
    /// Adds what else is told of the same part: some of it may be protected, and some not.
    pub fn add(&mut self, other: Self) {
        use Protection::{NotSelected, Nothing, Partly};
        self.state = match (self.state, other.state) {
            (one, other) if one == other => one,
            // What is not there, or not wanted, takes nothing away from the rest.
            (Nothing | NotSelected, state) | (state, Nothing | NotSelected) => state,
            _ => Partly,
        };
        if !other.reason.is_empty() && !self.reason.contains(&other.reason) {
            let sign = if self.reason.is_empty() { "" } else { "; " };
            self.reason = format!("{}{sign}{}", self.reason, other.reason);
        }
        self.items = self.items.max(other.items);
        self.gaps = self.gaps.max(other.gaps);
    }
}

/// How a part of the tenant stands in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[non_exhaustive]
pub enum Protection {
    /// All of it is in the snapshot.
    Protected,
    /// Something is missing, or it is older than the snapshot.
    Partly,
    /// It cannot be read now, and the snapshot has nothing of it.
    Unreadable,
    /// No application can read it.
    Impossible,
    /// There is nothing to protect.
    Nothing,
    /// The set leaves it out.
    NotSelected,
    /// The owner left the tenant; the snapshot has it as it was last read.
    Left,
}

impl Protection {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Partly => "partly",
            Self::Unreadable => "unreadable",
            Self::Impossible => "impossible",
            Self::Nothing => "nothing",
            Self::NotSelected => "not-selected",
            Self::Left => "left",
        }
    }
}

/// The catalog's key of an entry of the coverage.
pub fn catalog_coverage(owner: &str, workload: &str) -> Vec<u8> {
    [b"c", owner.as_bytes(), b"\0", workload.as_bytes()].concat()
}

/// The key of a gap.
pub fn gap_key(collection: &str, item: &str) -> Vec<u8> {
    [collection.as_bytes(), b"\0", item.as_bytes()].concat()
}

/// The facts of one run: `runs/<set>/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RunFile {
    /// The backup set.
    pub set: SetId,
    /// When it began: microseconds since 1970 UTC.
    pub started_us: i64,
    /// When it ended.
    pub ended_us: i64,
    /// How it ended: "complete", "gaps", "interrupted", "failed".
    pub outcome: String,
    /// Why it failed; empty otherwise.
    pub error: String,
    /// The snapshot that it wrote.
    pub snapshot: Option<SnapshotId>,
    /// Counts.
    pub totals: Totals,
    /// Microseconds spent waiting, by what was waited for.
    pub waits: Vec<(String, u64)>,
}
