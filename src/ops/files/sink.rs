//! A file under a name of its own while it is written, which gets its real one when it is whole.

use std::fs::{File, FileTimes};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::storage::LargeFile;

/// Files from this size on go past the page cache, in bytes.
const LARGE_BYTES: u64 = 1 << 20;

/// A file that is being written. It is taken away again when it is dropped unpublished.
pub(super) struct Sink {
    temporary: PathBuf,
    to: Option<To>,
}

enum To {
    Usual(File),
    Large(Box<LargeFile>),
}

impl Sink {
    /// Begins a file of so many bytes beside `path`.
    pub(super) fn create(path: &Path, size_bytes: u64) -> io::Result<Self> {
        let temporary = temporary_name(path);
        let to = if size_bytes < LARGE_BYTES {
            To::Usual(File::create(&temporary)?)
        } else {
            To::Large(Box::new(LargeFile::create(&temporary)?))
        };
        Ok(Self { temporary, to: Some(to) })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.to {
            Some(To::Usual(file)) => file.write_all(bytes),
            Some(To::Large(file)) => file.write(bytes),
            None => Ok(()),
        }
    }

    /// Gives the file its time and its name.
    pub(super) fn publish(mut self, path: &Path, modified: Option<SystemTime>) -> io::Result<()> {
        let Some(to) = self.to.take() else { return Ok(()) };
        let published = (|| {
            let file = match to {
                To::Usual(file) => file,
                To::Large(file) => file.finish()?,
            };
            if let Some(time) = modified {
                // Times are a courtesy: a disk that does not keep them still gets the contents.
                drop(file.set_times(FileTimes::new().set_modified(time).set_accessed(time)));
            }
            drop(file);
            std::fs::rename(&self.temporary, path)
        })();
        if published.is_err() {
            drop(std::fs::remove_file(&self.temporary));
        }
        published
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if self.to.take().is_some() {
            drop(std::fs::remove_file(&self.temporary));
        }
    }
}

/// What a disk's refusal means to the user.
pub(super) fn failed(path: &Path, e: io::Error) -> Error {
    let text = format!("{} cannot be written", path.display());
    Error::io(text, e).with_hint("make room or choose another folder, then export again: what is whole is skipped")
}

/// A name beside the target that no item can have: safe names never begin with a dot and end in `.part`.
fn temporary_name(to: &Path) -> PathBuf {
    let name = to.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let short = crate::format::id::PackId(crate::crypto::hash_buffers([name.as_bytes()])).short();
    to.with_file_name(format!(".tenantvault-{short}.part"))
}

/// Runs what blocks on a thread for that.
pub(super) async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal("A worker thread ended early").with_source(e))
}
