//! Streams in and out: large ones cut into chunks on the way in; extents joined on the way out.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt};

use crate::crypto::BlobKind;
use crate::error::{Error, Result};
use crate::format::id::{BlobId, ChunkId};
use crate::format::record::{Extent, ExtentList};
use crate::repo::repository::{Repository, run_blocking};
use crate::repo::segment::{Segmenter, push_extent};
use crate::repo::writer::Writer;

/// Extents kept in a record itself; longer lists go to blobs.
const INLINE_EXTENTS: usize = 64;
/// Bytes of an extent in a list blob.
const EXTENT_BYTES: usize = 40;
/// Extents in one list blob.
const EXTENTS_PER_BLOB: usize = 4096;
/// After so many a stream's segments are closed, and the extents leave memory for list blobs.
const SETTLED_AFTER: usize = 4 * EXTENTS_PER_BLOB;
/// Deeper lists than this are damage: each level multiplies the length by thousands.
pub(super) const MAX_DEPTH: u8 = 5;
/// So much of a stream is cut at a time, in bytes.
const CUT_BYTES: usize = 1 << 20;
/// Blobs fetched ahead of a reader.
const BLOBS_AHEAD: usize = 4;

/// A stream of bytes from a source.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

impl Writer {
    /// Cuts a stream into chunks and stores them. `head` is what was already read of it.
    /// Says the extents, and the stream's length in bytes. Memory does not depend on the length.
    ///
    /// # Errors
    /// The source's, or the storage's.
    pub async fn put_stream(&self, head: BytesMut, source: Option<ByteStream>) -> Result<(ExtentList, u64)> {
        // Segments of its own: what belongs together is read together.
        let mut segmenter = Segmenter::new(self.clone());
        let mut list = GrowingList::new(self);
        let laid = self.lay_stream(&mut segmenter, &mut list, head, source).await;
        // Also of a stream that broke off: a segment left open would stay in memory, and the next try finds its chunks.
        let settled = segmenter.settle().await;
        let (extents, total) = laid?;
        settled?;
        list.extend(segmenter.resolve_all(&extents)?).await?;
        Ok((list.finish().await?, total))
    }

    /// Cuts a stream into chunks and lays them into segments. Says the last extents, provisional ones, and the length; those
    /// before are in `list`.
    async fn lay_stream(
        &self,
        segmenter: &mut Segmenter,
        list: &mut GrowingList<'_>,
        head: BytesMut,
        source: Option<ByteStream>,
    ) -> Result<(Vec<Extent>, u64)> {
        let (mut buffer, mut source) = (head, source);
        let (mut extents, mut total) = (Vec::new(), 0u64);
        loop {
            let ended = match source.as_mut() {
                Some(s) => match s.next().await {
                    Some(bytes) => {
                        buffer.extend_from_slice(&bytes?);
                        false
                    }
                    None => true,
                },
                None => true,
            };
            if ended || buffer.len() >= (self.inner.chunker.max_bytes() * 2).max(CUT_BYTES) {
                let (chunks, rest) = self.cut(buffer, ended).await?;
                buffer = rest;
                for (id, chunk) in chunks {
                    total += chunk.len() as u64;
                    push_extent(&mut extents, segmenter.add_chunk(Some(id), &chunk).await?);
                }
                if extents.len() >= SETTLED_AFTER {
                    segmenter.settle().await?;
                    list.extend(segmenter.resolve_all(&std::mem::take(&mut extents))?).await?;
                    segmenter.forget_settled();
                }
            }
            if ended {
                return Ok((extents, total));
            }
        }
    }

    /// Cuts what can be cut from the front of a buffer, and names the chunks. Gives back the rest of the buffer.
    async fn cut(&self, mut buffer: BytesMut, ended: bool) -> Result<(Vec<(ChunkId, Bytes)>, BytesMut)> {
        let writer = self.clone();
        run_blocking(move || {
            let chunks = writer.inner.chunker.cut(&mut buffer, ended);
            // The rest moves to a buffer of its own, so that the chunks' memory is free as soon as they are laid down.
            let rest = BytesMut::from(&buffer[..]);
            (chunks.into_iter().map(|chunk| (writer.chunk_id(&chunk), chunk)).collect(), rest)
        })
        .await
    }

    /// Keeps a list of extents: short ones as they are, long ones in tree blobs.
    ///
    /// # Errors
    /// The storage's.
    pub async fn put_extents(&self, extents: Vec<Extent>) -> Result<ExtentList> {
        let mut list = GrowingList::new(self);
        list.extend(extents).await?;
        list.finish().await
    }
}

/// A list of extents that is kept while it grows: of each level, what fills a blob goes into one.
struct GrowingList<'a> {
    writer: &'a Writer,
    levels: Vec<Vec<Extent>>,
}

impl<'a> GrowingList<'a> {
    fn new(writer: &'a Writer) -> Self {
        Self { writer, levels: vec![Vec::new()] }
    }

    /// Adds extents at the end, as longer last ones where they follow on these.
    async fn extend(&mut self, extents: Vec<Extent>) -> Result<()> {
        for extent in extents {
            let mut next = Some(extent);
            let mut level = 0;
            while let Some(extent) = next.take() {
                if self.levels.len() == level {
                    self.levels.push(Vec::new());
                }
                let Some(list) = self.levels.get_mut(level) else { break };
                push_extent(list, extent);
                if list.len() > EXTENTS_PER_BLOB {
                    let full: Vec<Extent> = list.drain(..EXTENTS_PER_BLOB).collect();
                    next = Some(self.put(&full).await?);
                }
                level += 1;
            }
        }
        Ok(())
    }

    async fn put(&self, part: &[Extent]) -> Result<Extent> {
        let bytes: Vec<u8> = part.iter().flat_map(extent_bytes).collect();
        let length = bytes.len() as u32;
        let blob = self.writer.put_blob(BlobKind::Tree, bytes.into()).await?;
        Ok(Extent { blob, offset: 0, length })
    }

    async fn finish(mut self) -> Result<ExtentList> {
        for depth in 0u8.. {
            let level = usize::from(depth);
            let list = self.levels.get_mut(level).map(std::mem::take).unwrap_or_default();
            if level + 1 >= self.levels.len() && list.len() <= INLINE_EXTENTS {
                return Ok(ExtentList { depth, list });
            }
            for part in list.chunks(EXTENTS_PER_BLOB) {
                let outer = self.put(part).await?;
                match self.levels.get_mut(level + 1) {
                    Some(above) => above.push(outer),
                    None => self.levels.push(vec![outer]),
                }
            }
        }
        Err(Error::internal("A list of extents is too deep"))
    }
}

fn extent_bytes(extent: &Extent) -> [u8; EXTENT_BYTES] {
    let mut out = [0; EXTENT_BYTES];
    out[..32].copy_from_slice(&extent.blob.0);
    out[32..36].copy_from_slice(&extent.offset.to_le_bytes());
    out[36..].copy_from_slice(&extent.length.to_le_bytes());
    out
}

pub(super) fn parse_extents(bytes: &[u8]) -> Result<Vec<Extent>> {
    let (whole, rest) = bytes.as_chunks::<EXTENT_BYTES>();
    if !rest.is_empty() {
        return Err(Error::corrupt("A list of extents is cut"));
    }
    let number = |c: &[u8; EXTENT_BYTES], at: usize| u32::from_le_bytes(std::array::from_fn(|i| c[at + i]));
    let parse = |c: &[u8; EXTENT_BYTES]| Extent {
        blob: BlobId(std::array::from_fn(|i| c[i])),
        offset: number(c, 32),
        length: number(c, 36),
    };
    Ok(whole.iter().map(parse).collect())
}

impl Repository {
    /// Follows a list to the extents of the data, calling `visit` with each stretch in order. List blobs are given to
    /// `visit_list` first.
    ///
    /// # Errors
    /// `Corrupt` when the list is damaged or too deep; what the callbacks return.
    pub async fn expand_extents(
        self: &Arc<Self>,
        list: &ExtentList,
        visit: &mut (dyn FnMut(Extent) -> Result<()> + Send),
        visit_list: &mut (dyn FnMut(BlobId) + Send),
    ) -> Result<()> {
        if list.depth > MAX_DEPTH {
            return Err(Error::corrupt("A list of extents is too deep"));
        }
        // Extents still to follow, the next one last, with their depth.
        let mut open: Vec<(u8, Extent)> = list.list.iter().rev().map(|e| (list.depth, *e)).collect();
        while let Some((depth, extent)) = open.pop() {
            if depth == 0 {
                visit(extent)?;
                continue;
            }
            visit_list(extent.blob);
            let blob = self.read_blob(BlobKind::Tree, &extent.blob).await?;
            let inner = parse_extents(stretch(&blob, &extent)?)?;
            open.extend(inner.into_iter().rev().map(|e| (depth - 1, e)));
        }
        Ok(())
    }

    /// Reads the stored bytes of a list of extents as a stream, a few blobs ahead of the reader.
    pub fn read_extents(self: &Arc<Self>, list: ExtentList) -> ByteStream {
        let repo = self.clone();
        let extents = async move {
            let mut extents = Vec::new();
            let mut push = |e| {
                extents.push(e);
                Ok(())
            };
            repo.expand_extents(&list, &mut push, &mut |_| {}).await?;
            Ok::<_, Error>(extents)
        };
        let repo = self.clone();
        futures::stream::once(extents)
            .flat_map(move |extents| {
                let (extents, error) = match extents {
                    Ok(extents) => (extents, None),
                    Err(e) => (Vec::new(), Some(Err(e))),
                };
                let repo = repo.clone();
                let data = futures::stream::iter(extents)
                    .map(move |extent| {
                        let repo = repo.clone();
                        async move { repo.read_part(&extent, 0, extent.length as usize).await }
                    })
                    .buffered(BLOBS_AHEAD);
                data.chain(futures::stream::iter(error))
            })
            .boxed()
    }
}

/// The bytes of a blob that an extent names.
pub(super) fn stretch<'a>(blob: &'a [u8], extent: &Extent) -> Result<&'a [u8]> {
    let start = extent.offset as usize;
    start
        .checked_add(extent.length as usize)
        .and_then(|end| blob.get(start..end))
        .ok_or_else(|| Error::corrupt(format!("An extent reaches beyond its blob {}", extent.blob)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_survive_their_list_blob() {
        let extents: Vec<Extent> =
            (0..5u8).map(|n| Extent { blob: BlobId([n; 32]), offset: u32::from(n) * 7, length: 1 << n }).collect();
        let bytes: Vec<u8> = extents.iter().flat_map(extent_bytes).collect();
        assert_eq!(parse_extents(&bytes).unwrap(), extents);
        assert!(parse_extents(&bytes[..bytes.len() - 1]).is_err());
    }
}
