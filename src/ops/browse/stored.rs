//! The bytes of a stored stream from any place: pieces laid end to end, each raw or Base64 of what is stored.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::error::{Error, Result};
use crate::format::pieces::{LineEncoder, MAX_LINE};
use crate::format::record::{Encoding, Stream};
use crate::repo::{Repository, StoredBytes};

/// A stored stream, open for reading.
pub(super) struct StoredStream {
    size_bytes: u64,
    pieces: Vec<PlacedPiece>,
}

/// A piece, and where it stands in the stream.
struct PlacedPiece {
    start: u64,
    length: u64,
    /// How many bytes of it are stored.
    stored: u64,
    encoding: Encoding,
    bytes: StoredBytes,
}

impl StoredStream {
    /// Opens a stream. One of a single raw piece (a file) is opened without reading anything.
    ///
    /// # Errors
    /// `Corrupt` when it is not as long as its record says; the repository's.
    pub(super) async fn open(repo: &Arc<Repository>, stream: &Stream) -> Result<Self> {
        let (mut pieces, mut start) = (Vec::with_capacity(stream.pieces.len()), 0u64);
        for piece in &stream.pieces {
            let bytes = StoredBytes::open(repo, &piece.extents).await?;
            let is_alone = stream.pieces.len() == 1 && piece.encoding == Encoding::Raw;
            let stored = if is_alone { stream.size_bytes } else { bytes.length(repo).await? };
            let length = match piece.encoding {
                Encoding::Raw => stored,
                Encoding::Base64 { line, crlf } => Lines::new(line, crlf)?.encoded(stored),
            };
            pieces.push(PlacedPiece { start, length, stored, encoding: piece.encoding, bytes });
            start = start.saturating_add(length);
        }
        if start == stream.size_bytes {
            Ok(Self { size_bytes: start, pieces })
        } else {
            Err(Error::corrupt(format!("A stream of {} bytes has {start}", stream.size_bytes))
                .with_hint("run check --read-data"))
        }
    }

    /// Reads up to `length` bytes from a place on; fewer only at the end.
    ///
    /// # Errors
    /// `Corrupt` when the stored bytes end before the stream; the repository's.
    pub(super) async fn read(&self, repo: &Arc<Repository>, offset: u64, length: usize) -> Result<Bytes> {
        let end = offset.saturating_add(length as u64).min(self.size_bytes);
        let (mut at, mut parts) = (offset, Vec::new());
        let first = self.pieces.partition_point(|piece| piece.start.saturating_add(piece.length) <= at);
        for piece in self.pieces.iter().skip(first) {
            if at >= end {
                break;
            }
            let within = at - piece.start;
            let wanted = (end - at).min(piece.length - within);
            let got = parts.len();
            match piece.encoding {
                Encoding::Raw => parts.extend(piece.raw(repo, within, wanted).await?),
                Encoding::Base64 { line, crlf } => {
                    parts.push(piece.encoded(repo, Lines::new(line, crlf)?, within, wanted).await?);
                }
            }
            let got = parts.iter().skip(got).map(|part| part.len() as u64).sum::<u64>();
            if got != wanted {
                return Err(Error::corrupt(format!("A stream of {} bytes ends early", self.size_bytes))
                    .with_hint("run check --read-data"));
            }
            at += got;
        }
        Ok(joined(parts))
    }
}

impl PlacedPiece {
    async fn raw(&self, repo: &Arc<Repository>, offset: u64, length: u64) -> Result<Vec<Bytes>> {
        self.bytes.read(repo, offset, usize::try_from(length).unwrap_or(usize::MAX)).await
    }

    /// Reads a stretch of Base64: the lines around it are encoded whole.
    async fn encoded(&self, repo: &Arc<Repository>, lines: Lines, offset: u64, length: u64) -> Result<Bytes> {
        let first = offset / lines.width;
        let last = offset.saturating_add(length).div_ceil(lines.width);
        let from = first.saturating_mul(lines.bytes).min(self.stored);
        let to = last.saturating_mul(lines.bytes).min(self.stored);
        let mut out = Vec::new();
        let mut encoder = LineEncoder::new(lines.line, lines.crlf);
        for part in self.raw(repo, from, to - from).await? {
            encoder.push(&part, &mut out);
        }
        encoder.finish(&mut out);
        let skip = usize::try_from(offset - first * lines.width).unwrap_or(usize::MAX);
        let take = usize::try_from(length).unwrap_or(usize::MAX);
        let mut bytes = Bytes::from(out);
        if skip > bytes.len() {
            return Ok(Bytes::new());
        }
        let mut bytes = bytes.split_off(skip);
        bytes.truncate(take);
        Ok(bytes)
    }
}

/// Lines of Base64 (RFC 4648, section 4).
#[derive(Clone, Copy)]
struct Lines {
    line: u16,
    crlf: bool,
    /// Characters a line, with its end.
    width: u64,
    /// Bytes that a line encodes.
    bytes: u64,
}

impl Lines {
    fn new(line: u16, crlf: bool) -> Result<Self> {
        if line < 4 || !line.is_multiple_of(4) || usize::from(line) > MAX_LINE {
            return Err(Error::corrupt(format!("A piece has lines of {line} characters of Base64")));
        }
        let end = if crlf { 2 } else { 1 };
        Ok(Self { line, crlf, width: u64::from(line) + end, bytes: u64::from(line) / 4 * 3 })
    }

    /// How many characters so many bytes become, ends of lines included.
    fn encoded(self, stored: u64) -> u64 {
        let characters = stored.div_ceil(3).saturating_mul(4);
        let ends = characters.div_ceil(u64::from(self.line)).saturating_mul(self.width - u64::from(self.line));
        characters.saturating_add(ends)
    }
}

/// Parts as one; a single one is not copied.
pub(super) fn joined(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() <= 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    for part in parts {
        all.extend_from_slice(&part);
    }
    all.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_lengths_are_those_of_the_encoder() {
        for (line, crlf) in [(4, true), (76, true), (76, false), (996, true)] {
            for stored in (0..200usize).chain([2241, 100_000]) {
                let mut out = Vec::new();
                let mut encoder = LineEncoder::new(line, crlf);
                encoder.push(&vec![7; stored], &mut out);
                encoder.finish(&mut out);
                assert_eq!(Lines::new(line, crlf).unwrap().encoded(stored as u64), out.len() as u64, "{line} {stored}");
            }
        }
        for line in [0, 2, 6, 1000] {
            assert!(Lines::new(line, true).is_err());
        }
    }
}
