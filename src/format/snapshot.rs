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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode, serde::Serialize)]
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
