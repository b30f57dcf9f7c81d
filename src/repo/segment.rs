//! Segments: many small streams laid end to end in one blob, so that small items compress and index together.
//!
//! A segment's id is known only when it is full; until then its streams' extents carry a provisional id, which
//! [`Segmenter::resolve`] turns into the real one after [`Segmenter::settle`].

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::crypto::{BlobKind, random_bytes};
use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::format::record::Extent;
use crate::repo::writer::Writer;

/// Small streams remembered for deduplication within a run.
const REMEMBERED_STREAMS: usize = 250_000;
/// Segments of one segmenter that may be on their way at once.
const SEGMENTS_AHEAD: usize = 3;

/// What all segmenters of a writer share.
pub(super) struct Segments {
    tag: [u8; 16],
    next: AtomicU64,
    settled: Mutex<HashMap<u64, BlobId>>,
    streams: Mutex<HashMap<[u8; 16], Extent>>,
}

impl Segments {
    pub(super) fn new() -> Self {
        Self {
            tag: random_bytes(),
            next: AtomicU64::new(0),
            settled: Mutex::new(HashMap::new()),
            streams: Mutex::new(HashMap::new()),
        }
    }

    fn provisional(&self, number: u64) -> BlobId {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&self.tag);
        id[24..].copy_from_slice(&number.to_be_bytes());
        BlobId(id)
    }

    fn number(&self, id: &BlobId) -> Option<u64> {
        let rest = id.0.strip_prefix(&self.tag[..])?;
        Some(u64::from_be_bytes(rest.get(8..)?.try_into().ok()?))
    }
}

/// Lays small streams end to end. One for each task; the segments of all go to one writer.
pub struct Segmenter {
    writer: Writer,
    number: u64,
    buffer: Vec<u8>,
    /// The segment in hand has streams, if only empty ones.
    used: bool,
    own: HashMap<[u8; 16], Extent>,
    running: Vec<(u64, JoinHandle<Result<BlobId>>)>,
    limit: usize,
}

impl std::fmt::Debug for Segmenter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segmenter({} bytes)", self.buffer.len())
    }
}

impl Segmenter {
    /// Starts with an empty segment.
    pub fn new(writer: Writer) -> Self {
        let number = writer.inner.segments.next.fetch_add(1, Ordering::Relaxed);
        let limit = writer.inner.repo.config.segment_bytes as usize;
        Self { writer, number, buffer: Vec::new(), used: false, own: HashMap::new(), running: Vec::new(), limit }
    }

    /// Adds a stream and says where it will be, under a provisional id. A stream that was added before is not added again.
    ///
    /// # Errors
    /// The storage's, when an upload has failed.
    pub async fn add(&mut self, stream: &[u8]) -> Result<Extent> {
        let key = stream_key(stream);
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        if self.buffer.len() + stream.len() > self.limit {
            self.close().await?;
        }
        let extent = Extent {
            blob: self.writer.inner.segments.provisional(self.number),
            offset: self.buffer.len() as u32,
            length: stream.len() as u32,
        };
        self.buffer.extend_from_slice(stream);
        self.used = true;
        self.own.insert(key, extent);
        Ok(extent)
    }

    fn known(&self, key: &[u8; 16]) -> Option<Extent> {
        let shared = || self.writer.inner.segments.streams.lock().ok().and_then(|s| s.get(key).copied());
        self.own.get(key).copied().or_else(shared)
    }

    async fn close(&mut self) -> Result<()> {
        if !self.used {
            return Ok(());
        }
        self.used = false;
        self.writer.check_alive()?;
        let plain = Bytes::from(std::mem::take(&mut self.buffer));
        // Paid before it is sent on its way: however many segmenters there are, what they have sent is bounded.
        let (writer, paid) = (self.writer.clone(), self.writer.pay(plain.len()).await?);
        let job = tokio::spawn(async move { writer.put_paid(BlobKind::Content, plain, paid).await });
        self.running.push((self.number, job));
        self.number = self.writer.inner.segments.next.fetch_add(1, Ordering::Relaxed);
        if self.running.len() > SEGMENTS_AHEAD {
            let (number, job) = self.running.remove(0);
            self.await_one(number, job).await?;
        }
        Ok(())
    }

    async fn await_one(&self, number: u64, job: JoinHandle<Result<BlobId>>) -> Result<()> {
        let id = job.await.map_err(|e| Error::internal("A segment got lost").with_source(e))??;
        if let Ok(mut settled) = self.writer.inner.segments.settled.lock() {
            settled.insert(number, id);
        }
        Ok(())
    }

    /// Closes the segment in hand and waits till all ids are known.
    ///
    /// # Errors
    /// The storage's, when an upload has failed.
    pub async fn settle(&mut self) -> Result<()> {
        self.close().await?;
        for (number, job) in std::mem::take(&mut self.running) {
            self.await_one(number, job).await?;
        }
        let own: Vec<_> = std::mem::take(&mut self.own).into_iter().collect();
        let resolved: Result<Vec<_>> = own.into_iter().map(|(k, e)| Ok((k, self.resolve(e)?))).collect();
        if let Ok(mut streams) = self.writer.inner.segments.streams.lock() {
            if streams.len() > REMEMBERED_STREAMS {
                streams.clear();
            }
            streams.extend(resolved?);
        }
        Ok(())
    }

    /// Turns a provisional extent into the real one; others stay as they are.
    ///
    /// # Errors
    /// `Internal` before [`Self::settle`].
    pub fn resolve(&self, extent: Extent) -> Result<Extent> {
        let segments = &self.writer.inner.segments;
        let Some(number) = segments.number(&extent.blob) else { return Ok(extent) };
        let id = segments.settled.lock().ok().and_then(|s| s.get(&number).copied());
        let blob = id.ok_or_else(|| Error::internal("A segment's id was asked for before it was known"))?;
        Ok(Extent { blob, ..extent })
    }
}

/// The key by which equal small streams are known within a run: half a BLAKE3 hash, never stored.
fn stream_key(stream: &[u8]) -> [u8; 16] {
    let hash = blake3::hash(stream);
    std::array::from_fn(|i| hash.as_bytes()[i])
}
