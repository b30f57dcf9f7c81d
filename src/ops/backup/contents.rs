//! From an item's byte streams to what is stored: small ones are handed on to be laid into the collection's segments,
//! larger ones are laid there at once, large ones go into segments of their own as they come; messages are taken apart,
//! so that attachments are kept decoded and once.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::room::{Place, Room};
use crate::error::{Error, Result};
use crate::format::pieces::{Part, Splitter};
use crate::format::record::{Encoding, ExtentList, Piece, Stream, StreamRole};
use crate::m365::ContentSink;
use crate::repo::{Segmenter, Writer};

/// Messages up to this size are taken apart; larger ones are kept as they are, cut like files.
const MESSAGE_LIMIT_BYTES: usize = 48 << 20;
/// Pieces up to this size, of one stream together, wait in memory till their item is whole, to be laid into segments together
/// with it. Streams up to this size are read without asking for room.
const HELD_BYTES: usize = 64 << 10;

/// A collection's segmenter, shared by all who fetch for it.
pub(crate) type SharedSegmenter = Arc<Mutex<Segmenter>>;

/// The bytes of a piece: laid down already (if in shared segments, under provisional ids), or small and still in hand.
#[derive(Debug)]
enum Body {
    Laid(ExtentList),
    Small(Bytes),
}

#[derive(Debug)]
struct PendingPiece {
    encoding: Encoding,
    body: Body,
}

/// A stream whose small pieces still have to be laid into segments.
#[derive(Debug)]
pub(crate) struct PendingStream {
    role: StreamRole,
    size_bytes: u64,
    pieces: Vec<PendingPiece>,
}

impl PendingStream {
    /// A small stream as it is.
    pub(crate) fn small(role: StreamRole, bytes: Bytes) -> Self {
        let size_bytes = bytes.len() as u64;
        Self { role, size_bytes, pieces: vec![PendingPiece { encoding: Encoding::Raw, body: Body::Small(bytes) }] }
    }

    /// Lays the small pieces into segments. Extents are provisional till the segmenter has settled.
    pub(crate) async fn place(self, segmenter: &mut Segmenter, source_hash: &str) -> Result<Stream> {
        let mut pieces = Vec::with_capacity(self.pieces.len());
        for pending in self.pieces {
            let extents = match pending.body {
                Body::Laid(extents) => extents,
                Body::Small(bytes) if bytes.is_empty() => continue,
                // No two items have equal properties.
                Body::Small(bytes) if self.role == StreamRole::Properties && bytes.len() <= HELD_BYTES => {
                    ExtentList { depth: 0, list: vec![segmenter.append(&bytes).await?] }
                }
                Body::Small(bytes) => ExtentList { depth: 0, list: segmenter.add(&bytes).await? },
            };
            pieces.push(Piece { encoding: pending.encoding, extents });
        }
        Ok(Stream { role: self.role, size_bytes: self.size_bytes, source_hash: source_hash.to_owned(), pieces })
    }
}

/// The beginning of a stream. Most come in one part, which is not copied.
#[derive(Default)]
struct Head {
    first: Bytes,
    more: BytesMut,
    /// How much will come, as far as is known.
    expected: usize,
}

impl Head {
    fn len(&self) -> usize {
        self.first.len().max(self.more.len())
    }

    fn push(&mut self, bytes: Bytes) {
        if self.len() == 0 {
            self.first = bytes;
            return;
        }
        if self.more.is_empty() {
            // Grown step by step it would take up to twice its size.
            self.more.reserve(self.expected.max(self.first.len() + bytes.len()));
            self.more.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.more.extend_from_slice(&bytes);
    }

    fn whole(self) -> Bytes {
        if self.more.is_empty() { self.first } else { self.more.freeze() }
    }
}

/// Takes the streams of one item.
pub(crate) struct ItemSink {
    writer: Writer,
    segmenter: SharedSegmenter,
    room: Arc<Room>,
    pub(crate) streams: Vec<PendingStream>,
    /// Bytes that came from the source, also of transfers that were tried again.
    pub(crate) bytes_read: u64,
}

impl ItemSink {
    /// Starts with no streams. `room` bounds what all streams of a run hold.
    pub(crate) fn new(writer: Writer, segmenter: SharedSegmenter, room: Arc<Room>) -> Self {
        Self { writer, segmenter, room, streams: Vec::new(), bytes_read: 0 }
    }

    async fn read(
        &mut self,
        role: StreamRole,
        expected: Option<u64>,
        mut source: BoxStream<'static, Result<Bytes>>,
    ) -> Result<PendingStream> {
        let small_limit = self.writer.repository().config().small_stream_bytes as usize;
        let limit = if role == StreamRole::Mime { MESSAGE_LIMIT_BYTES } else { small_limit };
        let expected = expected.and_then(|bytes| usize::try_from(bytes).ok()).map(|bytes| bytes.min(limit));
        let mut head = Head { expected: expected.unwrap_or_default(), ..Head::default() };
        // A message is longer than its mailbox says, and is taken apart beside itself.
        let needed = if role == StreamRole::Mime { expected.map(|bytes| bytes + bytes / 2) } else { expected };
        let mut place = Place::default();
        while head.len() <= limit {
            match source.next().await {
                Some(bytes) => head.push(bytes?),
                None => {
                    self.bytes_read += head.len() as u64;
                    return self.take_whole(role, head.whole()).await;
                }
            }
            if head.len() > HELD_BYTES {
                place.grow(&self.room, head.len(), needed).await?;
            }
        }
        let head = BytesMut::from(head.whole());
        let (extents, size_bytes) = self.writer.put_stream(head, Some(source)).await?;
        self.bytes_read += size_bytes;
        drop(place);
        let pieces = vec![PendingPiece { encoding: Encoding::Raw, body: Body::Laid(extents) }];
        Ok(PendingStream { role, size_bytes, pieces })
    }

    async fn take_whole(&self, role: StreamRole, bytes: Bytes) -> Result<PendingStream> {
        let size_bytes = bytes.len() as u64;
        let mut pieces = Vec::new();
        let mut held = 0;
        match role {
            // A hop to another thread costs more than taking a small message apart.
            StreamRole::Mime if bytes.len() > HELD_BYTES => {
                let (mut parts, splitting) = take_apart(bytes);
                while let Some((encoding, bytes)) = parts.recv().await {
                    pieces.push(PendingPiece { encoding, body: self.lay(bytes, &mut held).await? });
                }
                splitting.await.map_err(|e| Error::internal("A worker thread ended early").with_source(e))?;
            }
            StreamRole::Mime => {
                for (encoding, bytes) in parts_of(&bytes) {
                    pieces.push(PendingPiece { encoding, body: self.lay(bytes, &mut held).await? });
                }
            }
            _ => pieces.push(PendingPiece { encoding: Encoding::Raw, body: self.lay(bytes, &mut held).await? }),
        }
        Ok(PendingStream { role, size_bytes, pieces })
    }

    /// Keeps a piece in hand when it, and what is `held` of its stream already, is small, and lays it down when not.
    async fn lay(&self, bytes: Bytes, held: &mut usize) -> Result<Body> {
        if *held + bytes.len() <= HELD_BYTES {
            *held += bytes.len();
            return Ok(Body::Small(bytes));
        }
        if bytes.len() <= self.writer.repository().config().small_stream_bytes as usize {
            let list = self.segmenter.lock().await.add(&bytes).await?;
            return Ok(Body::Laid(ExtentList { depth: 0, list }));
        }
        Ok(Body::Laid(self.writer.put_stream(BytesMut::from(bytes), None).await?.0))
    }
}

/// A message's parts, one by one: runs of Base64 decoded, the rest as it is.
fn parts_of(bytes: &Bytes) -> impl Iterator<Item = (Encoding, Bytes)> {
    let mut at = 0;
    Splitter::new(bytes, MIN_DECODED_BYTES).map(move |part| match part {
        Part::Raw(raw) => {
            // A small piece of a large message is copied: as a slice it would keep all of the message in memory.
            let apart = raw.len() <= HELD_BYTES && bytes.len() > 4 * HELD_BYTES;
            let piece = if apart { Bytes::copy_from_slice(raw) } else { bytes.slice(at..at + raw.len()) };
            at += raw.len();
            (Encoding::Raw, piece)
        }
        Part::Base64 { decoded, line, crlf, source_len } => {
            at += source_len;
            (Encoding::Base64 { line, crlf }, Bytes::from(decoded))
        }
    })
}

/// Takes a message apart on another thread, which ends when it has given all parts, or when nobody takes them any more.
fn take_apart(bytes: Bytes) -> (mpsc::Receiver<(Encoding, Bytes)>, JoinHandle<()>) {
    let (parts, taken) = mpsc::channel(1);
    let give = move || {
        for part in parts_of(&bytes) {
            if parts.blocking_send(part).is_err() {
                break;
            }
        }
    };
    (taken, tokio::task::spawn_blocking(give))
}

/// Runs of Base64 smaller than this, decoded, are not worth a piece of their own.
const MIN_DECODED_BYTES: usize = 1024;

#[async_trait]
impl ContentSink for ItemSink {
    async fn store(
        &mut self,
        role: StreamRole,
        expected_bytes: Option<u64>,
        bytes: BoxStream<'static, Result<Bytes>>,
    ) -> Result<()> {
        let stream = self.read(role, expected_bytes, bytes).await?;
        self.streams.retain(|s| s.role != role);
        self.streams.push(stream);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Ten parts that are worth decoding, with text between them.
    fn message() -> Bytes {
        let mut text = String::new();
        for n in 0..10 {
            let line = "QUJD".repeat(19);
            write!(text, "--b{n}\r\nContent-Transfer-Encoding: base64\r\n\r\n").unwrap();
            (0..100).for_each(|_| write!(text, "{line}\r\n").unwrap());
        }
        text.into()
    }

    #[tokio::test]
    async fn the_parts_of_a_large_message_come_one_by_one() {
        let (mut parts, splitting) = take_apart(message());
        let (mut encodings, mut bytes) = (Vec::new(), 0);
        while let Some((encoding, part)) = parts.recv().await {
            encodings.push(encoding);
            bytes += part.len();
        }
        splitting.await.unwrap();
        assert_eq!(encodings.iter().filter(|encoding| **encoding != Encoding::Raw).count(), 10);
        assert!(encodings.first() == Some(&Encoding::Raw) && bytes > 10 * 5_000, "{bytes}");
    }

    /// The thread that takes the message apart does not wait for somebody who met an error and takes no more.
    #[tokio::test]
    async fn a_message_of_which_a_part_cannot_be_stored_leaves_no_thread_behind() {
        let (mut parts, splitting) = take_apart(message());
        assert!(parts.recv().await.is_some());
        drop(parts);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), splitting);
        ended.await.expect("it ends").unwrap();
    }
}
