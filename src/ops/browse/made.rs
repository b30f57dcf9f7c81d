//! The bytes of a file that is made when somebody asks, from any place.
//!
//! Small ones are made once and kept. Long ones are made as they are read: who reads on gets what is made next, who goes
//! back beyond what is still held has it made from the beginning again. Memory does not grow with their length.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use tokio::sync::{Mutex, OnceCell};

use crate::error::{Error, Result};
use crate::ops::browse::stored::joined;
use crate::repo::ByteStream;

/// Files up to this length are kept whole, in bytes.
const KEPT_BYTES: usize = 4 << 20;
/// So much of a longer one is held behind its reader, in bytes: those that read ahead ask out of order.
const HELD_BYTES: usize = 2 << 20;

/// Begins to make the bytes, from the first.
pub(super) type Source<'a> = dyn Fn() -> BoxFuture<'a, Result<ByteStream>> + Send + Sync + 'a;

/// A file that is made.
#[derive(Default)]
pub(super) struct MadeFile {
    whole: OnceCell<Whole>,
    running: Mutex<Option<Running>>,
}

/// What is known once it was made.
enum Whole {
    Kept(Bytes),
    Long(u64),
}

/// The making of a long file, as far as it has come.
struct Running {
    source: ByteStream,
    /// Where `held` begins.
    start: u64,
    held: VecDeque<Bytes>,
    held_bytes: usize,
}

impl MadeFile {
    /// About how many bytes it takes in memory.
    pub(super) fn held_bytes(&self) -> usize {
        match self.whole.get() {
            Some(Whole::Kept(bytes)) => bytes.len(),
            Some(Whole::Long(_)) => HELD_BYTES,
            None => 0,
        }
    }

    /// Counts the bytes. Makes them, the first time.
    pub(super) async fn size(&self, source: &Source<'_>) -> Result<u64> {
        let make = || async {
            let (mut source, mut parts, mut size) = (source().await?, Vec::new(), 0u64);
            while let Some(part) = source.next().await {
                let part = part?;
                size = size.saturating_add(part.len() as u64);
                if size <= KEPT_BYTES as u64 {
                    parts.push(part);
                } else {
                    parts.clear();
                }
            }
            let is_kept = size <= KEPT_BYTES as u64;
            Ok::<_, Error>(if is_kept { Whole::Kept(joined(parts)) } else { Whole::Long(size) })
        };
        Ok(match self.whole.get_or_try_init(make).await? {
            Whole::Kept(bytes) => bytes.len() as u64,
            Whole::Long(size) => *size,
        })
    }

    /// Reads up to `length` bytes from a place on; fewer only at the end. [`Self::size`] must have been asked for.
    pub(super) async fn read(&self, source: &Source<'_>, offset: u64, length: usize) -> Result<Bytes> {
        match self.whole.get() {
            Some(Whole::Kept(bytes)) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                return Ok(bytes.slice(from..from.saturating_add(length).min(bytes.len())));
            }
            Some(Whole::Long(size)) if offset < *size => {}
            _ => return Ok(Bytes::new()),
        }
        let mut running = self.running.lock().await;
        let mut now = match running.take() {
            Some(now) if now.start <= offset => now,
            _ => Running { source: source().await?, start: 0, held: VecDeque::new(), held_bytes: 0 },
        };
        let read = now.read(offset, length).await;
        // One that failed is begun anew.
        if read.is_ok() {
            *running = Some(now);
        }
        read
    }
}

impl Running {
    async fn read(&mut self, offset: u64, length: usize) -> Result<Bytes> {
        let end = offset.saturating_add(length as u64);
        while self.start.saturating_add(self.held_bytes as u64) < end {
            let Some(part) = self.source.next().await else { break };
            let part = part?;
            self.held_bytes += part.len();
            self.held.push_back(part);
            // Nothing that this read needs goes.
            while let Some(first) = self.held.front().map(Bytes::len)
                && self.held_bytes - first >= HELD_BYTES
                && self.start.saturating_add(first as u64) <= offset
            {
                self.held.pop_front();
                self.held_bytes -= first;
                self.start += first as u64;
            }
        }
        let (mut at, mut parts) = (self.start, Vec::new());
        for part in &self.held {
            let part_end = at.saturating_add(part.len() as u64);
            if part_end > offset && at < end {
                let from = offset.saturating_sub(at).min(part.len() as u64) as usize;
                let to = (end - at).min(part.len() as u64) as usize;
                parts.push(part.slice(from..to));
            }
            at = part_end;
        }
        Ok(joined(parts))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::stream;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n / 7 % 251) as u8).collect()
    }

    async fn check(length: usize, reads: &[(u64, usize)]) -> usize {
        let (whole, begun) = (bytes(length), AtomicUsize::new(0));
        let source = || -> BoxFuture<'_, Result<ByteStream>> {
            begun.fetch_add(1, Ordering::Relaxed);
            let parts: Vec<Result<Bytes>> = whole.chunks(70_001).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
            Box::pin(std::future::ready(Ok(stream::iter(parts).boxed())))
        };
        let made = MadeFile::default();
        assert_eq!(made.size(&source).await.unwrap(), length as u64);
        for (offset, size) in reads {
            let from = (*offset as usize).min(length);
            let wanted = &whole[from..(from + size).min(length)];
            assert_eq!(made.read(&source, *offset, *size).await.unwrap(), wanted, "{length} {offset} {size}");
        }
        assert!(made.held_bytes() <= KEPT_BYTES);
        begun.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn any_place_of_a_made_file_reads_and_small_ones_are_made_once() {
        let reads = [(0, 10), (90_000, 100_000), (5, 0), (299_990, 100), (300_000, 5), (u64::MAX, 5), (70_000, 3)];
        assert_eq!(check(300_000, &reads).await, 1);
        assert_eq!(check(0, &reads).await, 1);
    }

    #[tokio::test]
    async fn a_long_one_is_made_on_for_who_reads_on() {
        let step = 131_072;
        let mut reads: Vec<(u64, usize)> = (0..60).map(|n| (n * step, step as usize)).collect();
        // Two that were asked for together may come the other way round.
        reads.swap(20, 21);
        assert_eq!(check(7_000_000, &reads).await, 2, "once to count, once to read");
        reads.push((0, 100));
        reads.push((6_999_999, 100));
        assert_eq!(check(7_000_000, &reads).await, 3, "who goes back far has it made again");
    }
}
