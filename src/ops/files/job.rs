//! One piece of work: blobs that lie side by side are read, and their stretches go into the files that wait for them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::crypto::BlobKind;
use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::format::record::Extent;
use crate::ops::files::pool::Item;
use crate::ops::files::sink::blocking;
use crate::ops::files::spool::{Held, Spool};
use crate::ops::files::{Made, small};
use crate::repo::{Repository, StoredBlob};

/// What a blob is opened for.
#[derive(Debug)]
pub(super) struct Order<T> {
    pub(super) blob: BlobId,
    /// Items that lack nothing else: they are written.
    pub(super) last_of: Vec<Item<T>>,
    /// Stretches for items, by their numbers, that wait for others too.
    pub(super) held: Vec<(u64, Vec<Extent>)>,
    /// They are laid aside on the disk rather than held in memory.
    pub(super) aside: bool,
}

/// Stretches of one blob, or why they do not come.
pub(super) type Arrived = Result<Vec<(Extent, Held)>>;

/// What came of a job.
#[derive(Debug)]
pub(super) struct Done<T> {
    pub(super) told: Vec<(T, Made)>,
    pub(super) arrived: Vec<(u64, Arrived)>,
}

/// Opening some blobs.
pub(super) struct Job<T> {
    pub(super) repo: Arc<Repository>,
    pub(super) spool: Arc<Spool>,
    pub(super) orders: Vec<Order<T>>,
}

impl<T: Send + 'static> Job<T> {
    pub(super) async fn run(self) -> Result<Done<T>> {
        let mut done = Done { told: Vec::new(), arrived: Vec::new() };
        let ids: Vec<BlobId> = self.orders.iter().map(|order| order.blob).collect();
        let stored = self.repo.read_neighbours(&ids).await?;
        for (order, stored) in self.orders.into_iter().zip(stored) {
            let spool = self.spool.clone();
            let first = blocking(move || match stored.map(StoredBlob::open) {
                Some(Ok(plain)) => serve(order, &plain, &spool).map(Ok),
                _ => Ok(Err(order)),
            });
            let served = match first.await?? {
                Ok(served) => served,
                // Not where it should be, or damaged there.
                Err(order) => match self.repo.read_blob(BlobKind::Content, &order.blob).await {
                    Ok(plain) => {
                        let spool = self.spool.clone();
                        blocking(move || serve(order, &plain, &spool)).await??
                    }
                    Err(e) if e.is_loss() => lose(order, &e),
                    Err(e) => return Err(e),
                },
            };
            done.told.extend(served.told);
            done.arrived.extend(served.arrived);
        }
        Ok(done)
    }
}

/// Writes items that have all they need.
pub(super) async fn write<T: Send + 'static>(items: Vec<Item<T>>) -> Result<Done<T>> {
    let told = blocking(move || write_all(items)).await??;
    Ok(Done { told, arrived: Vec::new() })
}

fn write_all<T>(items: Vec<Item<T>>) -> Result<Vec<(T, Made)>> {
    let mut room = small::Room::default();
    let mut told = Vec::with_capacity(items.len());
    for item in items {
        let made = small::make(&item, &mut room)?;
        told.push((item.known_by, made));
    }
    Ok(told)
}

/// Gives out the stretches of an opened blob. What is held is copied, so that it does not keep the whole blob in memory,
/// once, however many wait for it.
fn serve<T>(order: Order<T>, plain: &Bytes, spool: &Spool) -> Result<Done<T>> {
    let (mut copies, mut arrived) = (HashMap::new(), Vec::with_capacity(order.held.len()));
    for (number, extents) in order.held {
        let copy = |extent: Extent| {
            let bytes = stretch(plain, &extent)?;
            let copied = copies.entry((extent.offset, extent.length)).or_insert_with(|| match order.aside {
                true => spool.put(&bytes),
                false => Held::Memory(Bytes::copy_from_slice(&bytes)),
            });
            Ok((extent, copied.clone()))
        };
        arrived.push((number, extents.into_iter().map(copy).collect()));
    }
    let (mut whole, mut told) = (Vec::with_capacity(order.last_of.len()), Vec::new());
    for mut item in order.last_of {
        match item.fill(&order.blob, |extent| stretch(plain, extent)) {
            Ok(()) => whole.push(item),
            Err(e) => told.push((item.known_by, Made::Lost(e))),
        }
    }
    told.extend(write_all(whole)?);
    Ok(Done { told, arrived })
}

/// Tells all who wait for a blob that it is lost.
fn lose<T>(order: Order<T>, why: &Error) -> Done<T> {
    let lost = || {
        let e = Error::new(why.kind(), why.chain());
        match why.hint() {
            Some(hint) => e.with_hint(hint),
            None => e,
        }
    };
    Done {
        told: order.last_of.into_iter().map(|item| (item.known_by, Made::Lost(lost()))).collect(),
        arrived: order.held.into_iter().map(|(number, _)| (number, Err(lost()))).collect(),
    }
}

fn stretch(plain: &Bytes, extent: &Extent) -> Result<Bytes> {
    let start = extent.offset as usize;
    match start.checked_add(extent.length as usize).filter(|end| *end <= plain.len()) {
        Some(end) => Ok(plain.slice(start..end)),
        None => Err(Error::corrupt(format!("An extent reaches beyond its blob {}", extent.blob))),
    }
}
