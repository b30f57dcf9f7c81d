//! Large files, and those whose bytes are made: written as they are read, while the next blobs are opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::ops::files::sink::{Sink, blocking, failed};
use crate::ops::files::{Made, NewFile};
use crate::ops::read;
use crate::repo::{ByteStream, Repository};

/// Parts that were read and wait to be written.
const PARTS_AHEAD: usize = 2;
/// What is made and no longer than this is written at once, in bytes.
const SHORT_BYTES: usize = 1 << 20;

/// Makes one file.
pub(super) async fn make(repo: &Arc<Repository>, file: NewFile) -> Result<Made> {
    let NewFile { path, modified, contents } = file;
    write(path, modified, contents.size_bytes, read::read_stream(repo, &contents)).await
}

/// Makes one file of bytes that are made while they are read; how many there are nobody knows yet.
pub(super) async fn make_of(path: PathBuf, modified: Option<SystemTime>, mut bytes: ByteStream) -> Result<Made> {
    let mut begin = Vec::new();
    while begin.len() <= SHORT_BYTES {
        match bytes.next().await {
            Some(Ok(part)) => begin.extend_from_slice(&part),
            Some(Err(e)) if e.is_loss() => return Ok(Made::Lost(e)),
            Some(Err(e)) => return Err(e),
            None => {
                let size = begin.len() as u64;
                let written = blocking(move || {
                    let mut sink = Sink::create(&path, size).map_err(|e| failed(&path, e))?;
                    sink.write(&begin).and_then(|()| sink.publish(&path, modified)).map_err(|e| failed(&path, e))
                });
                return written.await?.map(|()| Made::Whole(size));
            }
        }
    }
    let begin = futures::stream::iter([Ok(Bytes::from(begin))]);
    write(path, modified, u64::MAX, begin.chain(bytes).boxed()).await
}

/// Writes a stream; `about_bytes` says how long it will be, as far as that is known.
async fn write(path: PathBuf, modified: Option<SystemTime>, about_bytes: u64, mut stream: ByteStream) -> Result<Made> {
    let mut size = 0u64;
    let (send, mut parts) = mpsc::channel::<Bytes>(PARTS_AHEAD);
    let to = path.clone();
    let writing = tokio::spawn(blocking(move || {
        let mut sink = Sink::create(&to, about_bytes)?;
        while let Some(bytes) = parts.blocking_recv() {
            sink.write(&bytes)?;
        }
        Ok::<_, std::io::Error>(sink)
    }));
    let mut read = Ok(());
    while let Some(bytes) = stream.next().await {
        match bytes {
            // Nobody takes it when the writing has failed, which is told below.
            Ok(bytes) => {
                size = size.saturating_add(bytes.len() as u64);
                if send.send(bytes).await.is_err() {
                    break;
                }
            }
            Err(e) => {
                read = Err(e);
                break;
            }
        }
    }
    drop((send, stream));
    let written = writing.await.map_err(|e| Error::internal("A worker thread ended early").with_source(e))??;
    blocking(move || {
        let sink = written.map_err(|e| failed(&path, e))?;
        match read {
            Ok(()) => sink.publish(&path, modified).map(|()| Made::Whole(size)).map_err(|e| failed(&path, e)),
            Err(e) if e.is_loss() => Ok(Made::Lost(e)),
            Err(e) => Err(e),
        }
    })
    .await?
}
