//! The bytes of an item's stream: its pieces read, joined, and where they were decoded, encoded again.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};

use crate::error::{Error, Result};
use crate::format::pieces::LineEncoder;
use crate::format::record::{Encoding, Piece, Record, Stream, StreamRole};
use crate::repo::{ByteStream, Repository};

/// The stream that stands for an item on a disk: a message's MIME form, a file's contents.
///
/// # Errors
/// `NotFound` when the item has none, or its contents are a gap.
pub fn main_stream(record: &Record) -> Result<&Stream> {
    let role = [StreamRole::Mime, StreamRole::Content].into_iter().find_map(|role| record.stream(role));
    role.ok_or_else(|| {
        if record.kind.is_container() {
            Error::invalid(format!("'{}' is a folder", record.name)).with_hint("ls lists it, export writes it out")
        } else {
            Error::not_found(format!("The contents of '{}' are not in this snapshot", record.name))
                .with_hint("they could not be read when it was made; an earlier snapshot may have them")
        }
    })
}

/// Reads a stream.
pub fn read_stream(repo: &Arc<Repository>, of: &Stream) -> ByteStream {
    let repo = repo.clone();
    stream::iter(of.pieces.clone()).flat_map(move |piece| read_piece(&repo, piece)).boxed()
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
