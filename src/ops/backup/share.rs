//! How much the collections of a run hold in memory before they change their trees: bounded over all of them.
//!
//! The more changes a batch has, the fewer nodes are written again and again, so a collection that is read alone has a
//! large share. Together they have a budget; when it is used up, those that hold more than the average make their changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{Error, Result};

/// What one collection may hold of noted changes, in bytes.
const BYTES_ALONE: usize = 32 << 20;
/// What all collections may hold together, in bytes.
const BYTES_IN_ALL: usize = 32 << 20;
/// Records of one collection that may wait for their segments.
const RECORDS_ALONE: usize = 8192;
/// Records of all collections that may wait for their segments, as long as each may have [`RECORDS_AT_LEAST`].
const RECORDS_IN_ALL: usize = 4 * RECORDS_ALONE;
const RECORDS_AT_LEAST: usize = 256;
/// Collections that change their trees at once: each holds the nodes that it reads and writes meanwhile.
const EDITS_AT_ONCE: usize = 16;

/// What the collections of a run hold together.
#[derive(Debug)]
pub(super) struct Shares {
    running: AtomicUsize,
    bytes: AtomicUsize,
    edits: Semaphore,
}

impl Default for Shares {
    fn default() -> Self {
        Self { running: AtomicUsize::new(0), bytes: AtomicUsize::new(0), edits: Semaphore::new(EDITS_AT_ONCE) }
    }
}

/// The share of one collection; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Shares>,
    bytes: usize,
}

impl Shares {
    /// Begins a collection, which holds nothing yet.
    pub(super) fn join(self: &Arc<Self>) -> Share {
        self.running.fetch_add(1, Ordering::Relaxed);
        Share { of: self.clone(), bytes: 0 }
    }
}

impl Share {
    /// How many records may wait for their segments.
    pub(super) fn records(&self) -> usize {
        let running = self.of.running.load(Ordering::Relaxed).max(1);
        (RECORDS_IN_ALL / running).clamp(RECORDS_AT_LEAST, RECORDS_ALONE)
    }

    /// Notes how many bytes of changes this collection holds now, and says whether it is to make them.
    pub(super) fn is_used_up(&mut self, bytes: usize) -> bool {
        self.hold(bytes);
        let in_all = self.of.bytes.load(Ordering::Relaxed);
        let average = in_all / self.of.running.load(Ordering::Relaxed).max(1);
        bytes > BYTES_ALONE || (in_all > BYTES_IN_ALL && bytes >= average)
    }

    /// Waits till this collection may change its trees. Who has a turn waits for no other collection.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.of.edits.acquire().await.map_err(|e| Error::internal("the run is over").with_source(e))
    }

    /// Notes how many bytes of changes this collection holds now.
    pub(super) fn hold(&mut self, bytes: usize) {
        // Added before the old ones are taken off: the sum never falls below zero.
        self.of.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold(0);
        self.of.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_alone_has_a_large_share() {
        let mut alone = Arc::new(Shares::default()).join();
        assert!(!alone.is_used_up(BYTES_ALONE) && alone.is_used_up(BYTES_ALONE + 1));
        assert_eq!(alone.records(), RECORDS_ALONE);
    }

    #[tokio::test]
    async fn a_few_collections_change_their_trees_at_once() {
        let shares = Arc::new(Shares::default());
        let all: Vec<_> = (0..=EDITS_AT_ONCE).map(|_| shares.join()).collect();
        let mut turns = Vec::new();
        for share in &all[..EDITS_AT_ONCE] {
            turns.push(share.turn().await.unwrap());
        }
        let mut last = std::pin::pin!(all[EDITS_AT_ONCE].turn());
        assert!(futures::poll!(&mut last).is_pending());
        turns.pop();
        assert!(futures::poll!(&mut last).is_ready());
    }

    #[test]
    fn many_collections_stay_within_the_budget_of_all() {
        let shares = Arc::new(Shares::default());
        let mut all: Vec<_> = (0..32).map(|_| (shares.join(), 0)).collect();
        assert_eq!(all[0].0.records(), RECORDS_IN_ALL / 32);
        let crowd: Vec<_> = (0..1000).map(|_| shares.join()).collect();
        assert_eq!(all[0].0.records(), RECORDS_AT_LEAST);
        drop(crowd);
        let (step, mut batches, mut most) = (1 << 20, 0, 0);
        for round in 0..10_000 {
            // Some grow faster than others; the last one stops in the middle, and holds what it has.
            let n = round * round % 31;
            let (share, held) = &mut all[if round < 300 && round % 10 == 0 { 31 } else { n }];
            *held += step;
            if share.is_used_up(*held) {
                batches += 1;
                *held = 0;
                share.hold(0);
            }
            most = most.max(shares.bytes.load(Ordering::Relaxed));
        }
        assert!(most <= BYTES_IN_ALL + 32 * step, "{most}");
        assert!(10_000 * step / batches > BYTES_IN_ALL / 32, "batches are larger than an even share");
        drop(all);
        assert_eq!((shares.bytes.load(Ordering::Relaxed), shares.running.load(Ordering::Relaxed)), (0, 0));
    }
}
