//! Bytes that are made while they are read: whoever makes them waits till they are taken, so that little is in memory.

use std::pin::Pin;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt as _, StreamExt as _, stream};

use crate::error::Result;
use crate::repo::ByteStream;

/// So much is handed over at once, in bytes.
const PART_BYTES: usize = 64 << 10;
/// Parts that wait to be read.
const PARTS_AHEAD: usize = 1;

/// Where what is made goes.
pub(super) struct Out {
    send: mpsc::Sender<Result<Bytes>>,
    waiting: Vec<u8>,
}

impl Out {
    /// Adds bytes.
    pub(super) async fn push(&mut self, bytes: impl AsRef<[u8]>) {
        self.waiting.extend_from_slice(bytes.as_ref());
        if self.waiting.len() >= PART_BYTES {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        let part = Bytes::from(std::mem::take(&mut self.waiting));
        if !part.is_empty() {
            // Nobody reads on when the stream was dropped, and then nobody asks for this future either.
            drop(self.send.send(Ok(part)).await);
        }
    }
}

/// Work that ends in all bytes being made.
pub(super) type Making<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Gives the bytes that `make` makes, then its error, if it ends in one.
pub(super) fn made(make: impl for<'a> FnOnce(&'a mut Out) -> Making<'a> + Send + 'static) -> ByteStream {
    let (send, receive) = mpsc::channel(PARTS_AHEAD);
    let work = async move {
        let mut out = Out { send, waiting: Vec::new() };
        let ended = make(&mut out).await;
        if ended.is_ok() {
            out.flush().await;
        }
        ended
    };
    let end = stream::once(work).filter_map(|ended| async move { ended.err().map(Err) });
    stream::select(receive, end).boxed()
}
