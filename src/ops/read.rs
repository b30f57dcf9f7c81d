//! The bytes of an item's stream: its pieces read, joined, and where they were decoded, encoded again.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};

use crate::error::{Error, Result};
use crate::format::pieces::LineEncoder;
use crate::format::record::{Encoding, Piece, Record, Stream, StreamRole};
use crate::repo::{ByteStream, Repository};

/// The stream that stands for an item on a disk: a message's MIME form, a file's contents, Graph's JSON of what is kept
/// as that alone.
///
/// # Errors
/// `NotFound` when the item has none, or its contents are a gap.
pub fn main_stream(record: &Record) -> Result<&Stream> {
    let roles: &[StreamRole] = match record.is_told_in_json() {
        true => &[StreamRole::Properties],
        false => &[StreamRole::Mime, StreamRole::Content],
    };
    roles.iter().find_map(|role| record.stream(*role)).ok_or_else(|| {
        if record.kind.is_container() {
            Error::invalid(format!("'{}' is a folder", record.name)).with_hint("ls lists it, export writes it out")
        } else {
            Error::not_found(format!("The contents of '{}' are not in this snapshot", record.name))
                .with_hint("they could not be read when it was made; an earlier snapshot may have them")
        }
    })
}

/// Reads a stream. It ends in an error when it is not as long as its record says.
pub fn read_stream(repo: &Arc<Repository>, of: &Stream) -> ByteStream {
    let (repo, size) = (repo.clone(), of.size_bytes);
    held_to(size, stream::iter(of.pieces.clone()).flat_map(move |piece| read_piece(&repo, piece)).boxed())
}

fn held_to(size: u64, bytes: ByteStream) -> ByteStream {
    let differs = move |n: u64, more: &str| {
        Error::corrupt(format!("A stream of {size} bytes has {more} {n}")).with_hint("run check --read-data")
    };
    stream::unfold(Some((bytes, 0u64)), move |state| async move {
        let (mut bytes, before) = state?;
        match bytes.next().await {
            Some(Ok(part)) => {
                let now = before.saturating_add(part.len() as u64);
                if now > size {
                    return Some((Err(differs(now, "at least")), None));
                }
                Some((Ok(part), Some((bytes, now))))
            }
            Some(Err(e)) => Some((Err(e), None)),
            None if before < size => Some((Err(differs(before, "only")), None)),
            None => None,
        }
    })
    .boxed()
}

fn read_piece(repo: &Arc<Repository>, piece: Piece) -> ByteStream {
    let stored = repo.read_extents(piece.extents);
    let Encoding::Base64 { line, crlf } = piece.encoding else { return stored };
    let encoder = Some(LineEncoder::new(line, crlf));
    stream::unfold((stored, encoder), |(mut stored, encoder)| async move {
        let mut encoder = encoder?;
        let mut out = Vec::new();
        match stored.next().await {
            Some(Ok(bytes)) => {
                encoder.push(&bytes, &mut out);
                Some((Ok(Bytes::from(out)), (stored, Some(encoder))))
            }
            Some(Err(e)) => Some((Err(e), (stored, None))),
            None => {
                encoder.finish(&mut out);
                Some((Ok(Bytes::from(out)), (stored, None)))
            }
        }
    })
    .boxed()
}

/// Reads a whole stream into memory, up to a limit.
///
/// # Errors
/// `InvalidInput` when it is longer; the repository's.
pub async fn read_whole(repo: &Arc<Repository>, of: &Stream, limit_bytes: u64) -> Result<Vec<u8>> {
    if of.size_bytes > limit_bytes {
        return Err(Error::invalid(format!("The stream has {} bytes, more than {limit_bytes}", of.size_bytes)));
    }
    let mut out = Vec::new();
    let mut stream = read_stream(repo, of);
    while let Some(bytes) = stream.next().await {
        out.extend_from_slice(&bytes?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_stream_is_as_long_as_its_record_says_or_ends_in_an_error() {
        let read = |size: u64, parts: &[&'static [u8]]| {
            let parts: Vec<Result<Bytes>> = parts.iter().map(|p| Ok(Bytes::from_static(p))).collect();
            block_on(held_to(size, stream::iter(parts).boxed()).collect::<Vec<_>>())
        };
        let fine = |parts: &[Result<Bytes>]| parts.iter().filter(|p| p.is_ok()).count();
        let whole = read(5, &[b"abc", b"", b"de"]);
        assert_eq!((whole.len(), fine(&whole)), (3, 3));
        for (size, given, ends_after) in [(4, 2, 1), (6, 2, 2), (0, 1, 0), (1, 0, 0)] {
            let parts: &[&'static [u8]] = &[b"abc", b"de"];
            let got = read(size, &parts[..given]);
            assert_eq!((fine(&got), got.len()), (ends_after, ends_after + 1), "{size}");
            assert_eq!(got.last().unwrap().as_ref().unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
