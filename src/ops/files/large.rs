//! Large files: written as they are read, past the page cache where the system can, while the next blobs are opened.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::ops::files::small::{failed, publish, temporary_name};
use crate::ops::files::{Made, NewFile};
use crate::ops::read;
use crate::repo::Repository;
use crate::storage::LargeFile;

/// Files from this size on go past the page cache, in bytes.
const DIRECT_FROM: u64 = 4 << 20;
/// Parts that were read and wait to be written.
const PARTS_AHEAD: usize = 2;

enum Sink {
    Usual(File),
    Large(LargeFile),
}

impl Sink {
    fn create(path: &Path, size_bytes: u64) -> io::Result<Self> {
        if size_bytes < DIRECT_FROM {
            return File::create(path).map(Self::Usual);
        }
        LargeFile::create(path).map(Self::Large)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Usual(file) => file.write_all(bytes),
            Self::Large(file) => file.write(bytes),
        }
    }

    fn finish(self) -> io::Result<File> {
        match self {
            Self::Usual(file) => Ok(file),
            Self::Large(file) => file.finish(),
        }
    }
}

/// Makes one file.
pub(super) async fn make(repo: &Arc<Repository>, file: &NewFile) -> Result<Made> {
    let (temporary, path, size) = (temporary_name(&file.path), file.path.clone(), file.contents.size_bytes);
    let (send, mut parts) = mpsc::channel::<Bytes>(PARTS_AHEAD);
    let aside = temporary.clone();
    let writing = tokio::task::spawn_blocking(move || {
        let mut sink = Sink::create(&aside, size)?;
        while let Some(bytes) = parts.blocking_recv() {
            sink.write(&bytes)?;
        }
        sink.finish()
    });
    let mut stream = read::read_stream(repo, &file.contents);
    let mut read = Ok(());
    while let Some(bytes) = stream.next().await {
        match bytes {
            // It fails when the writing has failed, which is told below.
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
    let written = writing.await.map_err(|e| Error::internal("A worker thread ended early").with_source(e))?;
    let modified = file.modified;
    let finish = move || match (read, written) {
        (Ok(()), Ok(written)) => publish(written, &temporary, &path, modified).map(|()| Made::Whole(size)),
        (read, written) => {
            drop(std::fs::remove_file(&temporary));
            written.map_err(|e| failed(&path, e))?;
            match read {
                Err(e) if e.is_loss() => Ok(Made::Lost(e)),
                Err(e) => Err(e),
                Ok(()) => Err(Error::internal(format!("{} was written in part", path.display()))),
            }
        }
    };
    tokio::task::spawn_blocking(finish)
        .await
        .map_err(|e| Error::internal("A worker thread ended early").with_source(e))?
}
