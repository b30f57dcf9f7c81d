//! Going through a search log: first for the rows that match, then for when the items that they tell of were there.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::ops::find::log::Epoch;
use crate::ops::find::places::{Collections, NEVER, Places};
use crate::ops::find::segment::{Block, BlockPieces, Columns, Key, keys};
use crate::ops::find::test::{Mask, Matcher};
use crate::repo::{Piece, SealedReader};

/// Threads at most.
const MOST_THREADS: usize = 8;
/// So many items are held in any case.
const LEAST_HELD: usize = 4096;

/// A row that matches, from an epoch on and before another, if its item is still there and tells the same.
#[derive(Debug, Clone, Copy)]
struct Hit {
    key: Key,
    time: i64,
    collection: u32,
    epoch: u32,
    block: u32,
    row: u32,
    from: u32,
    to: u32,
}

/// Items that were found.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// How many there are.
    pub(super) count: u64,
    /// The newest of them, in no order.
    pub(super) newest: Vec<Item>,
}

impl Items {
    /// Adds one. No more than twice `limit` are held.
    fn add(&mut self, item: Item, limit: usize) {
        self.count += 1;
        self.newest.push(item);
        if self.newest.len() >= limit.saturating_mul(2).max(LEAST_HELD) {
            self.cut(limit);
        }
    }

    fn cut(&mut self, limit: usize) {
        if limit < self.newest.len() {
            self.newest.select_nth_unstable_by_key(limit, Item::order);
            self.newest.truncate(limit);
        }
    }
}

/// An item that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) time: i64,
    /// Its collection's number.
    pub(super) collection: u32,
    /// The row that tells of it: epoch, block, row.
    pub(super) row: (u32, u32, u32),
    /// The newest epoch of those asked for in which it matches.
    pub(super) matches_at: u32,
    /// The first and last epochs in which it is, whether it matches there or not, and how many.
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) count: u32,
    /// It is in the latest epoch.
    pub(super) in_latest: bool,
}

impl Item {
    /// The newest first; what has no time last.
    pub(super) fn order(&self) -> (Reverse<i64>, u32, (u32, u32, u32)) {
        (Reverse(self.time), self.collection, self.row)
    }
}

/// Does pieces of work on all processors. The results are in no order.
fn spread<W: Sync, R: Send, S>(
    work: &[W],
    state: impl Fn() -> S + Sync,
    each: impl Fn(&W, &mut S, &mut Vec<R>) -> Result<()> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let one = || {
        let (mut state, mut out) = (state(), Vec::new());
        while let Some(piece) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            each(piece, &mut state, &mut out)?;
        }
        Ok(out)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(work.len().max(1));
    let parts: Vec<Result<Vec<R>>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (1..threads).map(|_| scope.spawn(one)).collect();
        let mine = one();
        let ended = |_| Err(Error::internal("A thread of the search ended early"));
        std::iter::once(mine).chain(handles.into_iter().map(|handle| handle.join().unwrap_or_else(ended))).collect()
    });
    let mut all = Vec::new();
    for part in parts {
        all.append(&mut part?);
    }
    Ok(all)
}

/// The file that a thread has open.
#[derive(Default)]
struct Open(Option<(u32, SealedReader)>);

impl Open {
    fn at(&mut self, epochs: &[Epoch], epoch: u32) -> Result<&SealedReader> {
        if self.0.as_ref().is_none_or(|(at, _)| *at != epoch) {
            let told =
                epochs.get(epoch as usize).ok_or_else(|| Error::internal("There is no such part of a search log"))?;
            self.0 = Some((epoch, told.segment.file.open()?));
        }
        self.0.as_ref().map(|(_, reader)| reader).ok_or_else(|| Error::internal("A search log is not open"))
    }
}

/// Finds the items of a log that match in an epoch which is `wanted`, and gives the newest `limit` of them. `latest`: the
/// epoch that is the latest of its set.
///
/// # Errors
/// `Corrupt` when the log is not what it was; the disk's.
pub(super) fn search(
    epochs: &[Epoch],
    collections: &Collections,
    wanted: &[bool],
    latest: Option<u32>,
    matcher: &Matcher,
    limit: usize,
) -> Result<Items> {
    let places = if matcher.patterns().is_empty() { Places::default() } else { Places::of(epochs)? };
    let end = u32::try_from(epochs.len()).unwrap_or(NEVER);
    let scan = Scan { epochs, collections, places: &places, matcher, end };
    let mut hits = scan.hits()?;
    hits.sort_unstable_by_key(|hit| hit.key);
    let events = events(epochs, &hits)?;
    Ok(items(&hits, &events, collections, &Wanted::new(wanted), latest, limit))
}

struct Scan<'a> {
    epochs: &'a [Epoch],
    collections: &'a Collections,
    places: &'a Places,
    matcher: &'a Matcher,
    /// The number of epochs.
    end: u32,
}

/// What a thread remembers: where each folder fits, from an epoch on and until another.
type Remembered = HashMap<(usize, u32, Key, u32), (bool, u32)>;

impl Scan<'_> {
    fn hits(&self) -> Result<Vec<Hit>> {
        let mut work = Vec::new();
        for (epoch, told) in (0u32..).zip(self.epochs) {
            work.extend((0u32..).zip(&told.segment.directory.blocks).map(|(block, pieces)| (epoch, block, *pieces)));
        }
        let state = || (Open::default(), Remembered::new());
        spread(&work, state, |(epoch, block, pieces), (open, remembered), hits| {
            let reader = open.at(self.epochs, *epoch)?;
            self.block(reader, (*epoch, *block), *pieces, remembered, hits)
        })
    }

    fn block(
        &self,
        reader: &SealedReader,
        (epoch, number): (u32, u32),
        pieces: BlockPieces,
        remembered: &mut Remembered,
        hits: &mut Vec<Hit>,
    ) -> Result<()> {
        let mut block = Block::new(reader, pieces);
        let mut from = epoch;
        let mut rows: Vec<(Mask, u32, u32)> = Vec::new();
        // Folders above may have got other names or places while the rows stayed as they are.
        while from < self.end {
            let (fits, to) = self.fitting(&mut block, epoch, from, remembered)?;
            let mask = self.matcher.mask(&mut block, &fits)?;
            if !mask.is_empty() {
                rows.push((mask, from, to));
            }
            from = to;
        }
        if rows.is_empty() {
            return Ok(());
        }
        let keys = block.keys()?;
        let columns = block.columns()?;
        for (mask, from, to) in rows {
            hits.extend(mask.rows().filter_map(|row| {
                let place = columns.places.get(row).and_then(|place| columns.parents.get(usize::from(*place)))?;
                Some(Hit {
                    key: *keys.get(row)?,
                    time: *columns.times.get(row)?,
                    collection: self.collections.number(epoch, place.0),
                    epoch,
                    block: number,
                    row: u32::try_from(row).ok()?,
                    from,
                    to,
                })
            }));
        }
        Ok(())
    }

    /// Which places of a block fit each pattern at an epoch, and until when that is so for all.
    fn fitting(
        &self,
        block: &mut Block<'_>,
        epoch: u32,
        at: u32,
        remembered: &mut Remembered,
    ) -> Result<(Vec<Vec<bool>>, u32)> {
        if self.matcher.patterns().is_empty() {
            return Ok((Vec::new(), NEVER));
        }
        let Columns { parents, .. } = block.columns()?;
        let (mut all, mut until) = (Vec::new(), NEVER);
        for (number, pattern) in self.matcher.patterns().iter().enumerate() {
            let mut fits = Vec::with_capacity(parents.len());
            for (local, parent) in parents {
                let collection = self.collections.number(epoch, *local);
                let (fit, to) = *remembered.entry((number, collection, *parent, at)).or_insert_with(|| {
                    let Some(of) = self.collections.get(collection) else { return (false, NEVER) };
                    let (path, to) = self.places.path(of, *parent, at);
                    (pattern.matches(&path), to)
                });
                fits.push(fit);
                until = until.min(to);
            }
            all.push(fits);
        }
        Ok((all, until.max(at + 1)))
    }
}

/// Something that a log tells of an item among the hits: its number among their keys, when, and whether it is gone.
type Event = (u32, u32, bool);

/// Which of some keys, sorted, is this one? A table by the first two bytes makes most answers one look.
struct Numbers<'a> {
    keys: &'a [Key],
    starts: Vec<u32>,
}

impl<'a> Numbers<'a> {
    fn new(keys: &'a [Key]) -> Self {
        let bucket = |key: &Key| usize::from(u16::from_be_bytes([key[0], key[1]]));
        let mut starts = vec![0u32; (1 << 16) + 1];
        for key in keys {
            if let Some(start) = starts.get_mut(bucket(key) + 1) {
                *start += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { keys, starts }
    }

    fn get(&self, key: &Key) -> Option<u32> {
        let bucket = usize::from(u16::from_be_bytes([key[0], key[1]]));
        let (from, to) = (*self.starts.get(bucket)?, *self.starts.get(bucket + 1)?);
        let keys = self.keys.get(from as usize..to as usize)?;
        keys.binary_search(key).ok().and_then(|at| u32::try_from(from as usize + at).ok())
    }
}

/// Reads when the items of the hits, which are sorted by key, came, changed and went. By item, then by time.
fn events(epochs: &[Epoch], hits: &[Hit]) -> Result<Vec<Event>> {
    let mut distinct: Vec<Key> = hits.iter().map(|hit| hit.key).collect();
    distinct.dedup();
    let numbers = Numbers::new(&distinct);
    let mut work: Vec<(u32, Piece, bool)> = Vec::new();
    if !distinct.is_empty() {
        for (epoch, told) in (0u32..).zip(epochs) {
            work.extend(told.segment.directory.blocks.iter().map(|block| (epoch, block.keys, false)));
            work.extend(told.segment.directory.gone.iter().map(|piece| (epoch, *piece, true)));
        }
    }
    let mut events = spread(&work, Open::default, |(epoch, piece, gone), open, events| {
        let found = keys(open.at(epochs, *epoch)?, *piece)?;
        events.extend(found.iter().filter_map(|key| Some((numbers.get(key)?, *epoch, *gone))));
        Ok(())
    })?;
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

/// The epochs that were asked for.
struct Wanted<'a> {
    wanted: &'a [bool],
    /// How many are before each epoch.
    before: Vec<u32>,
}

impl<'a> Wanted<'a> {
    fn new(wanted: &'a [bool]) -> Self {
        let mut sum = 0;
        let mut before = vec![0];
        before.extend(wanted.iter().map(|wanted| {
            sum += u32::from(*wanted);
            sum
        }));
        Self { wanted, before }
    }

    fn end(&self, to: u32) -> usize {
        usize::try_from(to).unwrap_or(usize::MAX).min(self.wanted.len())
    }

    fn count(&self, from: u32, to: u32) -> u32 {
        let at = |epoch: usize| self.before.get(epoch).copied().unwrap_or(0);
        at(self.end(to)).saturating_sub(at(self.end(from)))
    }

    fn first(&self, from: u32, to: u32) -> Option<u32> {
        let (from, to) = (self.end(from), self.end(to));
        let at = self.wanted.get(from..to)?.iter().position(|wanted| *wanted)?;
        u32::try_from(from + at).ok()
    }

    fn last(&self, from: u32, to: u32) -> Option<u32> {
        let (from, to) = (self.end(from), self.end(to));
        let at = self.wanted.get(from..to)?.iter().rposition(|wanted| *wanted)?;
        u32::try_from(from + at).ok()
    }
}

/// Makes items of hits, which are sorted by key, and events, which come in the same order.
fn items(
    hits: &[Hit],
    mut events: &[Event],
    collections: &Collections,
    wanted: &Wanted<'_>,
    latest: Option<u32>,
    limit: usize,
) -> Items {
    let mut found = Items::default();
    for (number, hits) in (0u32..).zip(hits.chunk_by(|a, b| a.key == b.key)) {
        let (mine, rest) = events.split_at(events.partition_point(|(of, ..)| *of <= number));
        events = rest;
        let Some(collection) = hits.first().map(|hit| hit.collection) else { continue };
        // An item is there from an event on until the next one, or until all of its collection is told anew.
        let until = |at: usize, epoch: u32| {
            let next = mine.get(at + 1).map_or(NEVER, |(_, next, _)| *next);
            collections.get(collection).map_or(next, |of| next.min(of.next_anew(epoch)))
        };
        let mut best: Option<(u32, &Hit)> = None;
        let (mut first, mut last, mut count, mut in_latest) = (None, None, 0, false);
        for (at, (_, epoch, gone)) in mine.iter().enumerate() {
            let to = until(at, *epoch);
            if *gone {
                continue;
            }
            first = first.or_else(|| wanted.first(*epoch, to));
            last = wanted.last(*epoch, to).or(last);
            count += wanted.count(*epoch, to);
            in_latest |= latest.is_some_and(|latest| (*epoch..to).contains(&latest));
            for hit in hits.iter().filter(|hit| hit.epoch == *epoch) {
                let newest = wanted.last(hit.from.max(*epoch), hit.to.min(to));
                best = newest.filter(|newest| best.is_none_or(|(at, _)| at < *newest)).map(|at| (at, hit)).or(best);
            }
        }
        if let (Some((matches_at, hit)), Some(first), Some(last)) = (best, first, last) {
            let row = (hit.epoch, hit.block, hit.row);
            let item = Item { time: hit.time, collection, row, matches_at, first, last, count, in_latest };
            found.add(item, limit);
        }
    }
    found.cut(limit);
    found
}
