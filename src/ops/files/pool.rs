//! Items that wait for their contents, and which blob is opened next.
//!
//! Blobs that most items wait for come first: bodies lie there, and whoever needs nothing else is done. Whoever needs an
//! older blob too (an attachment that was sent before) keeps its body, which is small, till that blob has its turn; then
//! all who wait for it are served at once. What is kept beyond a bound is laid aside on the disk; where that cannot be,
//! blobs come first that free most memory, and nothing new is held meanwhile.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::format::record::{Encoding, Extent};
use crate::ops::files::NewFile;
use crate::ops::files::job::{Arrived, Order};
use crate::ops::files::spool::Held;
use crate::repo::BlobPlace;

/// A stretch of an item's contents; with its bytes, once they are there.
#[derive(Debug)]
pub(super) struct Stretch {
    extent: Extent,
    pub(super) held: Option<Held>,
}

/// A piece of an item's stream.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) encoding: Encoding,
    pub(super) stretches: Vec<Stretch>,
}

/// A file to be made, and what is there of its contents.
#[derive(Debug)]
pub(super) struct Item<T> {
    pub(super) path: PathBuf,
    pub(super) modified: Option<SystemTime>,
    pub(super) size_bytes: u64,
    pub(super) known_by: T,
    pub(super) parts: Vec<Part>,
    /// Blobs whose stretches are not there yet.
    missing: usize,
    /// Bytes that are held for it in memory, or on their way there.
    held: usize,
}

impl<T> Item<T> {
    pub(super) fn new(file: NewFile, known_by: T) -> Self {
        let stretch = |extent| Stretch { extent, held: None };
        let pieces = file.contents.pieces.into_iter();
        let parts = pieces
            .map(|p| Part { encoding: p.encoding, stretches: p.extents.list.into_iter().map(stretch).collect() })
            .collect();
        let size_bytes = file.contents.size_bytes;
        Self { path: file.path, modified: file.modified, size_bytes, known_by, parts, missing: 0, held: 0 }
    }

    fn extents(&self) -> impl Iterator<Item = &Extent> {
        self.parts.iter().flat_map(|part| &part.stretches).map(|stretch| &stretch.extent)
    }

    fn extents_in(&self, blob: &BlobId) -> Vec<Extent> {
        self.extents().filter(|extent| extent.blob == *blob).copied().collect()
    }

    /// Puts the stretches of a blob in their places.
    pub(super) fn fill(&mut self, blob: &BlobId, get: impl Fn(&Extent) -> Result<Bytes>) -> Result<()> {
        for stretch in self.parts.iter_mut().flat_map(|part| &mut part.stretches) {
            if stretch.extent.blob == *blob {
                stretch.held = Some(Held::Memory(get(&stretch.extent)?));
            }
        }
        Ok(())
    }
}

/// Who waits for a blob.
#[derive(Debug)]
struct Waiting {
    place: Option<BlobPlace>,
    items: Vec<u64>,
}

/// A blob that is to be opened, and for whom.
#[derive(Debug)]
pub(super) struct Planned {
    blob: BlobId,
    place: Option<BlobPlace>,
    serves: Serves,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serves {
    All,
    /// Who lacks nothing else, so that less is held afterwards.
    Last,
    /// These, and one that lacks more.
    LastAnd(u64),
}

/// Items that wait.
#[derive(Debug)]
pub(super) struct Pool<T> {
    items: HashMap<u64, Item<T>>,
    next: u64,
    blobs: HashMap<BlobId, Waiting>,
    ready: Vec<Item<T>>,
    held: usize,
}

impl<T> Pool<T> {
    pub(super) fn new() -> Self {
        Self { items: HashMap::new(), next: 0, blobs: HashMap::new(), ready: Vec::new(), held: 0 }
    }

    /// How many items lack something.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// How many items have all they need.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Bytes that are held in memory for items that lack something, or are on their way to them.
    pub(super) fn held_bytes(&self) -> usize {
        self.held
    }

    pub(super) fn take_ready(&mut self) -> Vec<Item<T>> {
        std::mem::take(&mut self.ready)
    }

    pub(super) fn add(&mut self, mut item: Item<T>, place: impl Fn(&BlobId) -> Option<BlobPlace>) {
        let number = self.next;
        self.next += 1;
        let blobs: HashSet<BlobId> = item.extents().map(|extent| extent.blob).collect();
        item.missing = blobs.len();
        for blob in blobs {
            let waiting = self.blobs.entry(blob);
            let new = || Waiting { place: place(&blob), items: Vec::new() };
            waiting.or_insert_with(new).items.push(number);
        }
        if item.missing == 0 {
            self.ready.push(item);
        } else {
            self.items.insert(number, item);
        }
    }

    /// The blobs to open, the first of them last. Within a class of those that pay alike, neighbours follow each other.
    pub(super) fn plan(&self, pressed: bool) -> Vec<Planned> {
        let serves = if pressed { Serves::Last } else { Serves::All };
        let weigh = |waiting: &Waiting| {
            let freed = |number| self.items.get(number).filter(|item| item.missing == 1).map_or(0, |item| item.held);
            if pressed { waiting.items.iter().map(freed).sum() } else { waiting.items.len() }
        };
        let mut weighed: Vec<(u32, Planned)> = self
            .blobs
            .iter()
            .filter_map(|(blob, waiting)| {
                let class = weigh(waiting).checked_ilog2()?;
                Some((class, Planned { blob: *blob, place: waiting.place, serves }))
            })
            .collect();
        if pressed && weighed.is_empty() {
            return self.plan_for_one();
        }
        weighed.sort_by_key(|(class, planned)| (*class, Reverse((planned.place, planned.blob))));
        weighed.into_iter().map(|(_, planned)| planned).collect()
    }

    /// No single blob frees anything: all that the item with most in hand waits for.
    fn plan_for_one(&self) -> Vec<Planned> {
        let waits = |number: u64, blob: &BlobId| self.blobs.get(blob).is_some_and(|w| w.items.contains(&number));
        let open = |(number, item): (&u64, &Item<T>)| item.extents().any(|extent| waits(*number, &extent.blob));
        let most = self.items.iter().filter(|entry| open(*entry)).max_by_key(|(_, item)| item.held);
        let Some((number, item)) = most else { return Vec::new() };
        let blobs: HashSet<BlobId> = item.extents().map(|extent| extent.blob).collect();
        let planned = |blob: BlobId| Planned {
            place: self.blobs.get(&blob).and_then(|waiting| waiting.place),
            blob,
            serves: Serves::LastAnd(*number),
        };
        blobs.into_iter().filter(|blob| waits(*number, blob)).map(planned).collect()
    }

    /// Takes the next blob from the end of a plan, and what lies beside it and comes next too. What must be held goes to the
    /// disk, if `aside` is said.
    pub(super) fn next_orders(&mut self, plan: &mut Vec<Planned>, aside: bool) -> Vec<Order<T>> {
        let mut orders = Vec::new();
        let mut run: Option<(BlobPlace, BlobPlace)> = None;
        while let Some(next) = plan.last() {
            if !orders.is_empty() {
                let Some((place, (first, last))) = next.place.zip(run) else { break };
                if !place.joins(&first, &last) {
                    break;
                }
            }
            let Some(planned) = plan.pop() else { break };
            let Some(order) = self.order(&planned, aside) else { continue };
            orders.push(order);
            run = planned.place.map(|place| (run.map_or(place, |(first, _)| first), place));
        }
        orders
    }

    fn order(&mut self, planned: &Planned, aside: bool) -> Option<Order<T>> {
        let blob = planned.blob;
        let mut order = Order { blob, last_of: Vec::new(), held: Vec::new(), aside };
        let waiting = self.blobs.get_mut(&blob)?;
        let mut left = Vec::new();
        for number in std::mem::take(&mut waiting.items) {
            // One that is not there any more lost another of its blobs.
            let Some(item) = self.items.get_mut(&number) else { continue };
            if item.missing == 1 {
                self.held -= item.held;
                order.last_of.extend(self.items.remove(&number));
            } else if planned.serves == Serves::All || planned.serves == Serves::LastAnd(number) {
                let extents = item.extents_in(&blob);
                let bytes = if aside { 0 } else { extents.iter().map(|extent| extent.length as usize).sum() };
                item.held += bytes;
                self.held += bytes;
                order.held.push((number, extents));
            } else {
                left.push(number);
            }
        }
        if left.is_empty() {
            self.blobs.remove(&blob);
        } else {
            waiting.items = left;
        }
        (!order.last_of.is_empty() || !order.held.is_empty()).then_some(order)
    }

    /// Takes stretches of one blob that came for an item. Gives the item back, with the reason, if they are lost.
    pub(super) fn arrive(&mut self, number: u64, arrived: Arrived) -> Option<(T, Error)> {
        let item = self.items.get_mut(&number)?;
        let lost = match arrived {
            Ok(stretches) => {
                for (extent, held) in stretches {
                    let places = item.parts.iter_mut().flat_map(|part| &mut part.stretches);
                    for place in places.filter(|place| place.extent == extent) {
                        place.held = Some(held.clone());
                    }
                }
                item.missing -= 1;
                None
            }
            Err(e) => Some(e),
        };
        if lost.is_none() && item.missing > 0 {
            return None;
        }
        self.held -= item.held;
        let item = self.items.remove(&number)?;
        match lost {
            Some(e) => Some((item.known_by, e)),
            None => {
                self.ready.push(item);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
