//! Segments that were opened for one small stream of many. Who reads single items in an order that is not theirs (a program
//! that goes through a mounted folder) comes back to each segment again and again, and opening it costs what reading a
//! hundred messages does. So it is laid aside in a nameless file in the cache folder, and a message then costs reading a
//! page or two.
//!
//! Nothing of it can be read off the disk: pages are encrypted under a key that is made for the file and is nowhere but in
//! this process' memory. Every (key, nonce) pair is used once, for pages are numbered through and no number is given again.
//! The file is a ring, the oldest segments are overwritten; a page that changed under its reader does not open, and is then
//! as if it were not there.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::crypto::{self, BlobKind, Secret, TAG_BYTES, random_bytes};
use crate::error::Result;
use crate::format::id::BlobId;
use crate::format::record::Extent;
use crate::repo::repository::Repository;
use crate::repo::stream::stretch;
use crate::storage::{read_exact_at, write_all_at};

/// How long the file gets at most, in bytes.
const FILE_BYTES: u64 = 1 << 30;
/// What is encrypted as one, in bytes: a message lies in one or two.
const PAGE_BYTES: usize = 16 << 10;
const SEALED_PAGE_BYTES: usize = PAGE_BYTES + TAG_BYTES;
/// Segments being written at once: each takes its room in memory twice.
const WRITERS: usize = 2;

/// Opened segments in a file.
#[derive(Debug)]
pub(super) struct OpenedSegments {
    file: File,
    key: Secret,
    ring: Mutex<Ring>,
    writers: Arc<Semaphore>,
}

/// What is where.
#[derive(Debug)]
struct Ring {
    limit: u64,
    places: HashMap<BlobId, Place>,
    /// In the order in which they lie, from the one that is overwritten next.
    order: VecDeque<BlobId>,
    next_at: u64,
    next_page: u64,
    /// The disk took something not.
    is_broken: bool,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    at: u64,
    first_page: u64,
    plain_bytes: usize,
    is_written: bool,
}

impl Repository {
    /// Reads `length` bytes of an extent of contents, from `from` on: from memory, from what was laid aside, from its pack.
    ///
    /// # Errors
    /// As [`Repository::read_blob`].
    pub(super) async fn read_part(self: &Arc<Self>, extent: &Extent, from: usize, length: usize) -> Result<Bytes> {
        let part = |blob: &Bytes| {
            let named = stretch(blob, extent)?;
            let from = from.min(named.len());
            Ok(blob.slice_ref(&named[from..from.saturating_add(length).min(named.len())]))
        };
        if let Some(blob) = self.content_in_memory(&extent.blob) {
            return part(&blob);
        }
        let opened = self.opened_segments();
        let begin = (extent.offset as usize).saturating_add(from);
        let length = (extent.length as usize).saturating_sub(from).min(length);
        if let Some(bytes) = opened.and_then(|opened| opened.read(&extent.blob, begin, length)) {
            return Ok(bytes);
        }
        let blob = self.read_blob(BlobKind::Content, &extent.blob).await?;
        self.lay_aside(extent, &blob).await;
        part(&blob)
    }

    /// Opens what an extent of contents lies in, for who reads it next, and lays it aside as reading does. What fails is met by
    /// who reads it.
    pub(crate) async fn open_ahead(self: &Arc<Self>, extent: &Extent) {
        let Ok(blob) = self.read_blob(BlobKind::Content, &extent.blob).await else { return };
        self.lay_aside(extent, &blob).await;
    }

    /// Lays aside what an extent lies in, if most of that belongs to others. A long stream's segments are its own, and read once.
    async fn lay_aside(&self, extent: &Extent, blob: &Bytes) {
        if let Some(opened) = self.opened_segments().filter(|_| (extent.length as usize) < blob.len() / 2) {
            opened.lay_aside(extent.blob, blob.clone()).await;
        }
    }

    /// Says whether reading a blob of contents takes no opening.
    pub(crate) fn is_opened(&self, id: &BlobId) -> bool {
        self.has_in_memory(BlobKind::Content, id) || self.opened_segments().is_some_and(|opened| opened.has(id))
    }

    fn opened_segments(&self) -> Option<&Arc<OpenedSegments>> {
        let make = || {
            let cache = self.cache.as_ref()?;
            OpenedSegments::new(cache.folder(), FILE_BYTES).ok().map(Arc::new)
        };
        self.opened.get_or_init(make).as_ref()
    }
}

impl OpenedSegments {
    /// Makes the file, empty, in a folder.
    fn new(folder: &Path, limit: u64) -> io::Result<Self> {
        let ring =
            Ring { limit, places: HashMap::new(), order: VecDeque::new(), next_at: 0, next_page: 0, is_broken: false };
        let file = tempfile::tempfile_in(folder)?;
        let key = Secret::new(random_bytes());
        Ok(Self { file, key, ring: Mutex::new(ring), writers: Arc::new(Semaphore::new(WRITERS)) })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether a segment is there.
    fn has(&self, id: &BlobId) -> bool {
        self.ring().places.get(id).is_some_and(|place| place.is_written)
    }

    /// Reads a stretch of a segment; `None`: it is not there.
    fn read(&self, id: &BlobId, from: usize, length: usize) -> Option<Bytes> {
        let place = self.ring().places.get(id).copied().filter(|place| place.is_written)?;
        let end = from.checked_add(length).filter(|end| *end <= place.plain_bytes)?;
        let (first, last) = (from / PAGE_BYTES, end.div_ceil(PAGE_BYTES));
        let stored_end = sealed_bytes(place.plain_bytes).min(last * SEALED_PAGE_BYTES);
        let mut pages = vec![0; stored_end.saturating_sub(first * SEALED_PAGE_BYTES)];
        let opened = read_exact_at(&self.file, &mut pages, place.at + (first * SEALED_PAGE_BYTES) as u64).is_ok()
            && self.open_pages(place.first_page + first as u64, &mut pages);
        if !opened {
            self.ring().places.remove(id);
            return None;
        }
        // Each page's plaintext stands at its beginning: they are moved together.
        for n in 1..last - first {
            let page = n * SEALED_PAGE_BYTES;
            let end = pages.len().min(page + PAGE_BYTES);
            pages.copy_within(page..end, n * PAGE_BYTES);
        }
        let skip = from - first * PAGE_BYTES;
        Some(Bytes::from(pages).slice(skip..skip + length))
    }

    fn open_pages(&self, first: u64, pages: &mut [u8]) -> bool {
        let opens = |(n, page)| crypto::open_slice("A page", &self.key, n, b"", page).is_ok();
        (first..).zip(pages.chunks_mut(SEALED_PAGE_BYTES)).all(opens)
    }

    /// Lays a segment aside. Waits for nothing but for earlier ones, of which few are written at once.
    async fn lay_aside(self: &Arc<Self>, id: BlobId, plain: Bytes) {
        let Ok(turn) = self.writers.clone().acquire_owned().await else { return };
        let Some(place) = self.ring().reserve(id, plain.len()) else { return };
        let me = self.clone();
        drop(tokio::task::spawn_blocking(move || {
            me.write(id, place, &plain);
            drop(turn);
        }));
    }

    fn write(&self, id: BlobId, place: Place, plain: &[u8]) {
        let mut sealed = Vec::with_capacity(sealed_bytes(plain.len()));
        for (n, page) in (place.first_page..).zip(plain.chunks(PAGE_BYTES)) {
            crypto::seal_append(&self.key, n, b"", page, &mut sealed);
        }
        let written = write_all_at(&self.file, &sealed, place.at);
        let mut ring = self.ring();
        if written.is_err() {
            // What is there stays readable; a full disk is not asked again.
            ring.is_broken = true;
            ring.places.remove(&id);
        } else if let Some(here) = ring.places.get_mut(&id).filter(|here| here.first_page == place.first_page) {
            here.is_written = true;
        }
    }
}

impl Ring {
    /// Makes room for a segment; `None`: it is there, or being written, or cannot be taken.
    fn reserve(&mut self, id: BlobId, plain_bytes: usize) -> Option<Place> {
        let bytes = sealed_bytes(plain_bytes) as u64;
        if self.is_broken || bytes > self.limit || self.places.contains_key(&id) {
            return None;
        }
        if self.next_at + bytes > self.limit {
            self.make_room(u64::MAX);
            self.next_at = 0;
        }
        self.make_room(self.next_at + bytes);
        let place = Place { at: self.next_at, first_page: self.next_page, plain_bytes, is_written: false };
        self.next_at += bytes;
        self.next_page += plain_bytes.div_ceil(PAGE_BYTES) as u64;
        // One whose pages did not open stands in the order still; what it stood for is here now.
        self.order.retain(|other| *other != id);
        self.order.push_back(id);
        self.places.insert(id, place);
        Some(place)
    }

    /// Forgets what lies between the place where is written next and `end`.
    fn make_room(&mut self, end: u64) {
        while let Some(id) = self.order.front() {
            match self.places.get(id) {
                Some(place) if !(self.next_at..end).contains(&place.at) => break,
                _ => {
                    self.places.remove(id);
                    self.order.pop_front();
                }
            }
        }
    }
}

/// How many bytes a segment takes in the file.
fn sealed_bytes(plain_bytes: usize) -> usize {
    plain_bytes + plain_bytes.div_ceil(PAGE_BYTES) * TAG_BYTES
}

#[cfg(test)]
mod tests;
