//! Segments: chunks laid end to end in one blob, so that small items compress and index together.
//!
//! A chunk is the unit of deduplication, a segment that of compression and encryption. A segment's id is known only
//! when it is closed; until then extents carry a provisional id, which [`Segmenter::resolve`] turns into the real one
//! after [`Segmenter::settle`]. All segmenters of a writer know each other's chunks, also those in segments that are
//! still open: who builds upon such a one closes it when it settles, whoever filled it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::crypto::random_bytes;
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::{BlobId, ChunkId};
use crate::format::record::Extent;
use crate::repo::writer::Writer;

/// Shorter chunks are not looked for: that they are stored again costs less than to remember them.
const SHORTEST_REMEMBERED: usize = 1 << 10;
/// The room that all open segments may take together, in bytes. Beyond it, those that hold more than the average are closed early: they
/// compress a little worse, and memory does not grow with the number of segmenters.
const OPEN_BYTES: usize = 24 << 20;
/// The room that a segment gets first where many are open.
const FIRST_ROOM: usize = 64 << 10;
/// No segment is closed early that is shorter.
const SHORTEST_CLOSED_EARLY: usize = 128 << 10;

/// What all segmenters of a writer share.
pub(super) struct Segments {
    tag: [u8; 16],
    next: AtomicU64,
    remembered_chunks: usize,
    /// The room that the open segments take, in bytes.
    open_bytes: AtomicUsize,
    /// How many there are that hold something.
    open_count: AtomicUsize,
    state: Mutex<State>,
    /// Some segment's id became known, or never will.
    closed: Notify,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Arc<Mutex<Building>>>,
    /// The ids of closed segments; none for one that could not be stored. Kept as long as a remembered chunk lies there, or
    /// somebody owes it.
    settled: HashMap<u64, Option<BlobId>>,
    /// How many segmenters owe a segment.
    owed: HashMap<u64, u32>,
    chunks: HashMap<ChunkId, Place>,
    /// Some of them were forgotten.
    forgot: bool,
}

/// Where a chunk of this run lies.
#[derive(Clone, Copy)]
struct Place {
    segment: u64,
    offset: u32,
    length: u32,
}

/// A segment that is being filled.
#[derive(Default)]
struct Building {
    bytes: Vec<u8>,
    /// The chunks that an index file is to list, with their places.
    listed: Vec<(ChunkId, u32, u32)>,
    used: bool,
    closed: bool,
}

impl Segments {
    pub(super) fn new(remembered_chunks: usize) -> Self {
        Self {
            tag: random_bytes(),
            next: AtomicU64::new(0),
            remembered_chunks,
            open_bytes: AtomicUsize::new(0),
            open_count: AtomicUsize::new(0),
            state: Mutex::default(),
            closed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a segment.
    fn open(&self) -> (u64, Arc<Mutex<Building>>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let building = Arc::new(Mutex::new(Building::default()));
        self.state().open.insert(number, building.clone());
        (number, building)
    }

    /// Says whether a segment that holds `length` of a room of `room` bytes may take `more`. While all that are open take too
    /// much, none is to grow that is worth storing, and those that hold more than the average are closed.
    fn is_full(&self, length: usize, room: usize, more: usize, limit: usize) -> bool {
        let bytes = self.open_bytes.load(Ordering::Relaxed);
        if length + more > limit || bytes <= OPEN_BYTES || length < SHORTEST_CLOSED_EARLY {
            return length + more > limit;
        }
        let average = bytes / self.open_count.load(Ordering::Relaxed).max(1);
        length + more > room.min(average)
    }

    /// Puts a chunk into a segment; nothing if it is closed, or too full for the chunk.
    fn fill(
        &self,
        building: &Mutex<Building>,
        segment: u64,
        chunk: &[u8],
        id: Option<ChunkId>,
        (limit, shortest_listed): (usize, usize),
    ) -> Option<Place> {
        let mut building = building.lock().unwrap_or_else(PoisonError::into_inner);
        let (length, room) = (building.bytes.len(), building.bytes.capacity());
        if building.closed || (building.used && self.is_full(length, room, chunk.len(), limit)) {
            return None;
        }
        let place = Place { segment, offset: building.bytes.len() as u32, length: chunk.len() as u32 };
        if !building.used {
            self.open_count.fetch_add(1, Ordering::Relaxed);
        }
        self.grow(&mut building.bytes, chunk.len(), limit);
        building.used = true;
        building.bytes.extend_from_slice(chunk);
        if let Some(id) = id.filter(|_| chunk.len() >= shortest_listed) {
            building.listed.push((id, place.offset, place.length));
        }
        Some(place)
    }

    /// Makes room for a chunk. A few segments get all their room at once, for growing step by step copies all of it once
    /// more; where many are open, most are closed before they are full.
    fn grow(&self, bytes: &mut Vec<u8>, chunk: usize, limit: usize) {
        let (before, needed) = (bytes.capacity(), bytes.len() + chunk);
        if needed <= before {
            return;
        }
        let crowded = self.open_count.load(Ordering::Relaxed) > OPEN_BYTES / 2 / limit.max(1);
        let step = if crowded { (2 * before).max(FIRST_ROOM).min(limit) } else { limit };
        bytes.reserve_exact(step.max(needed) - bytes.len());
        self.open_bytes.fetch_add(bytes.capacity() - before, Ordering::Relaxed);
    }

    /// Closes a segment, and gives what it holds.
    fn close(&self, building: &Mutex<Building>) -> (Vec<u8>, Vec<(ChunkId, u32, u32)>) {
        let mut building = building.lock().unwrap_or_else(PoisonError::into_inner);
        building.closed = true;
        self.open_bytes.fetch_sub(building.bytes.capacity(), Ordering::Relaxed);
        self.open_count.fetch_sub(usize::from(building.used), Ordering::Relaxed);
        (std::mem::take(&mut building.bytes), std::mem::take(&mut building.listed))
    }

    fn extent(&self, place: Place) -> Extent {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&self.tag);
        id[24..].copy_from_slice(&place.segment.to_be_bytes());
        Extent { blob: BlobId(id), offset: place.offset, length: place.length }
    }

    fn number(&self, id: &BlobId) -> Option<u64> {
        let rest = id.0.strip_prefix(&self.tag[..])?;
        Some(u64::from_be_bytes(rest.get(8..)?.try_into().ok()?))
    }

    fn settle(&self, number: u64, id: Option<BlobId>) {
        self.state().settled.insert(number, id);
        self.closed.notify_waiters();
    }

    fn remember(&self, id: ChunkId, place: Place) {
        let mut state = self.state();
        if state.chunks.len() >= self.remembered_chunks {
            let State { chunks, settled, owed, forgot, .. } = &mut *state;
            chunks.retain(|_, place| !settled.contains_key(&place.segment));
            settled.retain(|number, _| owed.contains_key(number));
            *forgot = true;
        }
        state.chunks.insert(id, place);
    }

    /// Notes that a segmenter owes a segment: till it does no more, the segment's id is not forgotten.
    fn owe(state: &mut State, owed: &mut HashSet<u64>, number: u64) {
        if owed.insert(number) {
            *state.owed.entry(number).or_default() += 1;
        }
    }

    fn owe_no_more(&self, numbers: impl IntoIterator<Item = u64>) {
        let mut state = self.state();
        for number in numbers {
            if let Entry::Occupied(mut count) = state.owed.entry(number) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    async fn wait(&self, number: u64) -> Option<BlobId> {
        loop {
            let closed = self.closed.notified();
            if let Some(id) = self.state().settled.get(&number) {
                return *id;
            }
            closed.await;
        }
    }
}

/// Lays chunks end to end. One for each task; the segments of all go to one writer.
pub struct Segmenter {
    writer: Writer,
    current: Option<(u64, Arc<Mutex<Building>>)>,
    /// Segments that extents were given for since the last time of settling.
    owed: HashSet<u64>,
    /// The ids of those that were settled.
    settled: HashMap<u64, BlobId>,
    limit: usize,
    shortest_listed: usize,
}

impl std::fmt::Debug for Segmenter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segmenter({} segments owed)", self.owed.len())
    }
}

impl Segmenter {
    /// Starts with nothing in hand.
    pub fn new(writer: Writer) -> Self {
        let config = &writer.inner.repo.config;
        let (limit, shortest_listed) = (config.segment_bytes as usize, config.chunk_min_bytes as usize / 2);
        Self { writer, current: None, owed: HashSet::new(), settled: HashMap::new(), limit, shortest_listed }
    }

    /// Adds a stream: cuts it into chunks where it is long. Says where they will be, under provisional ids; what is
    /// stored already, by this run or an earlier one, is not added again.
    ///
    /// # Errors
    /// The storage's, when an upload has failed.
    pub async fn add(&mut self, stream: &[u8]) -> Result<Vec<Extent>> {
        let chunker = self.writer.inner.chunker.clone();
        let mut extents = Vec::new();
        let mut rest = stream;
        loop {
            let (chunk, tail) = rest.split_at(chunker.next_length(rest));
            let extent = self.add_chunk(None, chunk).await?;
            push_extent(&mut extents, extent);
            if tail.is_empty() {
                return Ok(extents);
            }
            rest = tail;
        }
    }

    /// Adds a stream that nothing else is equal to, without looking for it. It must fit a segment.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn append(&mut self, stream: &[u8]) -> Result<Extent> {
        self.lay(None, stream).await
    }

    /// Adds one chunk, of which the id may be known already.
    pub(super) async fn add_chunk(&mut self, id: Option<ChunkId>, chunk: &[u8]) -> Result<Extent> {
        if chunk.len() < SHORTEST_REMEMBERED.min(self.shortest_listed) {
            return self.lay(None, chunk).await;
        }
        let id = id.unwrap_or_else(|| self.writer.chunk_id(chunk));
        match self.known(&id, chunk.len()) {
            Some(extent) => Ok(extent),
            None => self.lay(Some(id), chunk).await,
        }
    }

    fn known(&mut self, id: &ChunkId, length: usize) -> Option<Extent> {
        let inner = &self.writer.inner;
        let (found, forgot) = {
            let mut state = inner.segments.state();
            let found = state.chunks.get(id).copied().filter(|p| p.length as usize == length);
            // Under the same lock: the segment's id must not be forgotten between.
            found.iter().for_each(|place| Segments::owe(&mut state, &mut self.owed, place.segment));
            (found, state.forgot)
        };
        if let Some(place) = found {
            inner.uploads.counts.known_chunks.fetch_add(1, Ordering::Relaxed);
            return Some(inner.segments.extent(place));
        }
        if length < self.shortest_listed {
            return None;
        }
        let place = inner.known.find_chunk(id);
        let place = if forgot { place.or_else(|| self.writer.find_own_chunk(id)) } else { place };
        let place = place.filter(|p| p.length as usize == length)?;
        inner.uploads.counts.known_chunks.fetch_add(1, Ordering::Relaxed);
        Some(Extent { blob: place.segment, offset: place.offset, length: place.length })
    }

    /// Lays a chunk into the segment in hand, or into a new one.
    async fn lay(&mut self, id: Option<ChunkId>, chunk: &[u8]) -> Result<Extent> {
        loop {
            let (number, building) = self.current.get_or_insert_with(|| self.writer.inner.segments.open()).clone();
            let segments = &self.writer.inner.segments;
            if !self.owed.contains(&number) {
                Segments::owe(&mut segments.state(), &mut self.owed, number);
            }
            if let Some(place) = segments.fill(&building, number, chunk, id, (self.limit, self.shortest_listed)) {
                if let Some(id) = id {
                    segments.remember(id, place);
                }
                return Ok(segments.extent(place));
            }
            self.current = None;
            self.writer.close_segment(number).await?;
        }
    }

    /// Closes the segments that extents were given for, and waits till all ids are known.
    ///
    /// # Errors
    /// The storage's, when an upload has failed.
    pub async fn settle(&mut self) -> Result<()> {
        self.current = None;
        for number in &self.owed {
            self.writer.close_segment(*number).await?;
        }
        for number in &self.owed {
            let Some(id) = self.writer.inner.segments.wait(*number).await else {
                self.writer.check_alive()?;
                return Err(Error::new(ErrorKind::Unavailable, "A segment could not be stored"));
            };
            self.settled.insert(*number, id);
        }
        self.writer.inner.segments.owe_no_more(self.owed.drain());
        Ok(())
    }

    /// Forgets the ids of what was settled so far: no extent is left that was given before.
    pub(super) fn forget_settled(&mut self) {
        self.settled.clear();
    }

    /// Turns a provisional extent into the real one; others stay as they are.
    ///
    /// # Errors
    /// `Internal` before [`Self::settle`].
    pub fn resolve(&self, extent: Extent) -> Result<Extent> {
        let segments = &self.writer.inner.segments;
        let Some(number) = segments.number(&extent.blob) else { return Ok(extent) };
        let id = self.settled.get(&number).copied();
        let blob = id.ok_or_else(|| Error::internal("A segment's id was asked for before it was known"))?;
        Ok(Extent { blob, ..extent })
    }

    /// Resolves a list, and joins what lies end to end.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_all(&self, extents: &[Extent]) -> Result<Vec<Extent>> {
        let mut resolved = Vec::with_capacity(extents.len());
        for extent in extents {
            push_extent(&mut resolved, self.resolve(*extent)?);
        }
        Ok(resolved)
    }
}

impl Drop for Segmenter {
    fn drop(&mut self) {
        self.writer.inner.segments.owe_no_more(self.owed.drain());
    }
}

/// Adds an extent to a list, as a longer last one where it follows on that.
pub(super) fn push_extent(extents: &mut Vec<Extent>, extent: Extent) {
    if let Some(last) = extents.last_mut()
        && last.blob == extent.blob
        && last.offset.checked_add(last.length) == Some(extent.offset)
        && let Some(length) = last.length.checked_add(extent.length)
    {
        last.length = length;
    } else {
        extents.push(extent);
    }
}

impl Writer {
    /// A chunk's id.
    pub(super) fn chunk_id(&self, chunk: &[u8]) -> ChunkId {
        ChunkId(self.inner.repo.keys.chunk_id(chunk))
    }

    /// Closes an open segment and sends it on its way; one that is closed stays as it is.
    async fn close_segment(&self, number: u64) -> Result<()> {
        self.check_alive()?;
        let Some(building) = self.inner.segments.state().open.remove(&number) else { return Ok(()) };
        let (bytes, listed) = self.inner.segments.close(&building);
        // A task of its own from here on: who gives up waiting (a fetch that is stopped) takes no segment along that
        // others have laid chunks into. Whoever waits for the segment hears of it, however this ends.
        let told = Told { writer: self.clone(), number, id: None };
        let (sent, paid) = oneshot::channel();
        let at_once = self.pay_at_once(bytes.len());
        let waits = at_once.is_none();
        tokio::spawn(async move {
            let mut told = told;
            let permit = match at_once {
                Some(permit) => permit,
                None => match told.writer.pay(bytes.len()).await {
                    Ok(permit) => permit,
                    Err(_) => return,
                },
            };
            let _ = sent.send(());
            told.id = told.writer.put_segment(bytes.into(), permit, listed).await.ok();
        });
        // Waits till it is paid for: however many segmenters there are, what they have sent is bounded.
        if waits && paid.await.is_err() {
            self.check_alive()?;
        }
        Ok(())
    }
}

/// Tells the id of a segment when it is dropped: none, if it could not be stored.
struct Told {
    writer: Writer,
    number: u64,
    id: Option<BlobId>,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.writer.inner.segments.settle(self.number, self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run stores segments without end: what is kept of each must go when nobody asks for it any more.
    #[test]
    fn ids_of_segments_are_forgotten_with_their_chunks_unless_somebody_owes_them() {
        let segments = Segments::new(100);
        let chunk = |number: u64| ChunkId([number.to_le_bytes(), [0; 8]].concat().try_into().unwrap());
        let (mut owed, mut most) = (HashSet::new(), 0);
        for number in 0..10_000 {
            let place = Place { segment: number, offset: 0, length: 1 };
            if number == 50 {
                Segments::owe(&mut segments.state(), &mut owed, number);
            }
            segments.remember(chunk(number), place);
            segments.settle(number, Some(BlobId([7; 32])));
            most = most.max(segments.state().settled.len());
        }
        assert!(most <= 102, "{most}");
        assert!(segments.state().settled.contains_key(&50), "whoever owes it will ask");
        segments.owe_no_more(owed.drain());
        (10_000..10_200)
            .for_each(|number| segments.remember(chunk(number), Place { segment: number, offset: 0, length: 1 }));
        assert!(segments.state().owed.is_empty() && !segments.state().settled.contains_key(&50));
    }

    #[test]
    fn open_segments_hold_a_bounded_sum_however_many_there_are() {
        let (segments, limit, chunk) = (Segments::new(0), 2 << 20, vec![7; 64 << 10]);
        let mut all: Vec<_> = (0..400).map(|_| segments.open()).collect();
        let (mut most, mut closed, mut stored) = (0, 0, 0);
        for round in 0..20_000 {
            // Some are filled faster than others.
            let at = round * round % 331;
            let (number, building) = &mut all[at];
            if segments.fill(building, *number, &chunk, None, (limit, 0)).is_none() {
                stored += segments.close(building).0.len();
                closed += 1;
                (*number, *building) = segments.open();
                assert!(
                    segments.fill(building, *number, &chunk, None, (limit, 0)).is_some(),
                    "an empty one takes any chunk"
                );
            }
            most = most.max(segments.open_bytes.load(Ordering::Relaxed));
        }
        assert!(most <= OPEN_BYTES + 400 * 2 * (SHORTEST_CLOSED_EARLY + chunk.len()), "{most}");
        assert!(most > OPEN_BYTES, "{most}");
        assert!(stored / closed >= SHORTEST_CLOSED_EARLY, "segments of {} bytes", stored / closed);
        for (_, building) in &all {
            stored += segments.close(building).0.len();
        }
        assert_eq!(stored, 20_000 * chunk.len());
        let left = (segments.open_bytes.load(Ordering::Relaxed), segments.open_count.load(Ordering::Relaxed));
        assert_eq!(left, (0, 0));
    }
}
