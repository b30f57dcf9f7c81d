//! Reading stored bytes from the middle: which stretch of which blob holds the byte at a place.
//!
//! A list of extents says how long each stretch is, not where it begins, and a long one lies in blobs of its own. Those
//! are read in order, each once, no further than the places asked for need; of each is kept where it begins, and the
//! blobs themselves stay in the repository's cache of tree nodes. So a map of a 100 GiB stream takes kilobytes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::crypto::BlobKind;
use crate::error::{Error, Result};
use crate::format::id::BlobId;
use crate::format::record::{Extent, ExtentList};
use crate::repo::Repository;
use crate::repo::stream::{MAX_DEPTH, parse_extents, stretch};

/// Blobs that are fetched ahead of a reader that goes on where it was.
const BLOBS_AHEAD: usize = 3;
/// So near the end of the last read one goes on from it, in bytes.
const NEAR_BYTES: u64 = 1 << 20;

/// The bytes that a list of extents names, to be read from any place.
#[derive(Debug)]
pub struct StoredBytes {
    /// Stretches of content blobs, or of blobs that list them.
    outer: Vec<Extent>,
    lists: bool,
    /// Where each of the outer ones ends, in bytes of the data, as far as is known.
    ends: Mutex<Vec<u64>>,
    /// Where the last read ends.
    last: std::sync::Mutex<Option<u64>>,
}

impl StoredBytes {
    /// Opens a list; reads only what deep lists are made of.
    ///
    /// # Errors
    /// `Corrupt` when the list is damaged or too deep; the storage's.
    pub async fn open(repo: &Arc<Repository>, list: &ExtentList) -> Result<Self> {
        if list.depth > MAX_DEPTH {
            return Err(Error::corrupt("A list of extents is too deep"));
        }
        let mut outer = list.list.clone();
        for _ in 1..list.depth {
            let mut inner = Vec::new();
            for extent in outer {
                inner.extend(read_list(repo, &extent).await?);
            }
            outer = inner;
        }
        let lists = list.depth > 0;
        let mut ends = Vec::new();
        if !lists {
            let mut end = 0u64;
            for extent in &outer {
                end = end.saturating_add(u64::from(extent.length));
                ends.push(end);
            }
        }
        Ok(Self { outer, lists, ends: Mutex::new(ends), last: std::sync::Mutex::new(None) })
    }

    /// The length in bytes. Reads all lists.
    ///
    /// # Errors
    /// `Corrupt`; the storage's.
    pub async fn length(&self, repo: &Arc<Repository>) -> Result<u64> {
        let mut ends = self.ends.lock().await;
        while self.learn(repo, &mut ends).await? {}
        Ok(ends.last().copied().unwrap_or(0))
    }

    /// Reads up to `length` bytes from a place on; fewer, perhaps none, at the end. A reader that goes on where the one
    /// before ended finds the next blobs under way.
    ///
    /// # Errors
    /// As [`Repository::read_blob`].
    pub async fn read(&self, repo: &Arc<Repository>, offset: u64, length: usize) -> Result<Vec<Bytes>> {
        let goes_on = self.goes_on(offset, length);
        let (mut at, mut left, mut parts) = (offset, length, Vec::new());
        let mut ahead: Vec<Extent> = Vec::new();
        while left > 0 {
            let Some((extents, first, start)) = self.find(repo, at).await? else { break };
            let mut start = start;
            for (n, extent) in extents.iter().enumerate().skip(first) {
                let end = start.saturating_add(u64::from(extent.length));
                if left > 0 && at < end {
                    let from = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
                    let part = repo.read_part(extent, from, left).await?;
                    at += part.len() as u64;
                    left -= part.len();
                    parts.push(part);
                }
                start = end;
                if left == 0 {
                    ahead = extents.iter().skip(n + 1).copied().collect();
                    break;
                }
            }
        }
        if goes_on {
            fetch_ahead(repo, &ahead);
        }
        Ok(parts)
    }

    /// Says whether a read begins about where the last one ends. Readers that read ahead ask for several stretches at once,
    /// which may come in any order.
    fn goes_on(&self, offset: u64, length: usize) -> bool {
        let Ok(mut last) = self.last.lock() else { return false };
        let before = last.replace(offset.saturating_add(length as u64));
        before.is_some_and(|before| before.abs_diff(offset) <= NEAR_BYTES)
    }

    /// The data extents around a place, which of them holds it, and where that one begins; `None`: beyond the end.
    async fn find(&self, repo: &Arc<Repository>, at: u64) -> Result<Option<(Vec<Extent>, usize, u64)>> {
        let mut ends = self.ends.lock().await;
        while self.lists && ends.last().is_none_or(|end| *end <= at) && self.learn(repo, &mut ends).await? {}
        let outer = ends.partition_point(|end| *end <= at);
        let Some(extent) = self.outer.get(outer).filter(|_| outer < ends.len()) else { return Ok(None) };
        let begin = outer.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
        drop(ends);
        if !self.lists {
            // Only what may be needed: a read is short.
            return Ok(Some((self.outer.iter().skip(outer).take(MAX_AROUND).copied().collect(), 0, begin)));
        }
        let inner = read_list(repo, extent).await?;
        let (mut start, mut first) = (begin, 0);
        for (n, extent) in inner.iter().enumerate() {
            let end = start.saturating_add(u64::from(extent.length));
            first = n;
            if at < end {
                break;
            }
            start = end;
        }
        Ok(Some((inner, first, start)))
    }

    /// Reads the next list whose length is not known yet; says whether there was one.
    async fn learn(&self, repo: &Arc<Repository>, ends: &mut Vec<u64>) -> Result<bool> {
        let Some(extent) = self.outer.get(ends.len()).filter(|_| self.lists) else { return Ok(false) };
        let inner = read_list(repo, extent).await?;
        let begin = ends.last().copied().unwrap_or(0);
        ends.push(inner.iter().fold(begin, |sum, extent| sum.saturating_add(u64::from(extent.length))));
        Ok(true)
    }
}

/// Lets the blobs that follow be read.
fn fetch_ahead(repo: &Arc<Repository>, ahead: &[Extent]) {
    let mut wanted: Vec<BlobId> = Vec::new();
    for extent in ahead {
        if wanted.len() == BLOBS_AHEAD {
            break;
        }
        if !wanted.contains(&extent.blob) {
            wanted.push(extent.blob);
        }
    }
    for blob in wanted.into_iter().filter(|blob| !repo.is_opened(blob)) {
        let repo = repo.clone();
        // What it fails with, the reader meets when it comes there.
        tokio::spawn(async move { drop(repo.read_blob(BlobKind::Content, &blob).await) });
    }
}

/// Stretches looked at together when a list is in memory as a whole.
const MAX_AROUND: usize = 64;

async fn read_list(repo: &Arc<Repository>, extent: &Extent) -> Result<Vec<Extent>> {
    let blob = repo.read_blob(BlobKind::Tree, &extent.blob).await?;
    parse_extents(stretch(&blob, extent)?)
}
