//! Large files: written as they are read, while the next blobs are opened.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::ops::files::sink::{Sink, blocking, failed};
use crate::ops::files::{Made, NewFile};
use crate::ops::read;
use crate::repo::Repository;

/// Parts that were read and wait to be written.
const PARTS_AHEAD: usize = 2;

/// Makes one file.
pub(super) async fn make(repo: &Arc<Repository>, file: NewFile) -> Result<Made> {
    let NewFile { path, modified, contents } = file;
    let size = contents.size_bytes;
    let (send, mut parts) = mpsc::channel::<Bytes>(PARTS_AHEAD);
    let to = path.clone();
    let writing = tokio::spawn(blocking(move || {
        let mut sink = Sink::create(&to, size)?;
        while let Some(bytes) = parts.blocking_recv() {
            sink.write(&bytes)?;
        }
        Ok::<_, std::io::Error>(sink)
    }));
    let mut stream = read::read_stream(repo, &contents);
    let mut read = Ok(());
    while let Some(bytes) = stream.next().await {
        match bytes {
            // Nobody takes it when the writing has failed, which is told below.
            Ok(bytes) => {
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
