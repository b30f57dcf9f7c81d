//! Storage in a folder of this machine.
//!
//! OpenDAL's `fs` service writes the bytes, through the same layers as every other service, and syncs the file; large
//! files go past the page cache where the system can ([`super::direct`]). What it
//! does not do is done here, beside it: a file takes its name by a rename that refuses to replace, then its folder is
//! synced, and so is the parent of every folder made. A reader sees a file whole or not at all; when `put` returns, a
//! power cut takes nothing of it away. Reading is one `pread` into one buffer (OpenDAL would read in steps of 2 MiB and
//! join them), and a folder that is only read is not created.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind as Io};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opendal::Operator;
use tempfile::TempPath;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::failure::{Doing, Wording};
use super::layers;
use super::object::pieces;
use super::options::StorageOptions;
use super::pace::Pace;
use super::path::{self, TMP};
use super::{Entry, Storage, direct};
use crate::error::{Error, ErrorKind, Result};

/// How long a file in `tmp/` is left alone: its writer may be alive.
const STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A storage in a folder. The folder is made by the first `put`.
///
/// Unfinished files lie in `tmp/` below it; what killed writers left there is removed, when older than a day, by the
/// first `put` of a later run.
#[derive(Debug)]
pub struct LocalStorage {
    folder: Arc<Folder>,
    permits: Semaphore,
    download: Option<Pace>,
}

/// What the blocking calls need. Methods here block, and run on the threads for that.
#[derive(Debug)]
struct Folder {
    root: PathBuf,
    wording: Wording,
    options: StorageOptions,
    writer: OnceLock<Operator>,
    /// Which folder the root was when it was used first.
    identity: OnceLock<Identity>,
    /// Folders known to be on disk, so that each is synced into its parent only once.
    durable: Mutex<HashSet<PathBuf>>,
    /// What was done to the disk, in order.
    #[cfg(test)]
    journal: Mutex<Vec<String>>,
}

/// Device and number of a folder, where the system has them.
type Identity = (u64, u64);

impl LocalStorage {
    /// Names a folder; it need not be there yet. A relative path is taken from the current folder, now.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a path that cannot name a folder.
    pub fn new(root: &Path, options: &StorageOptions) -> Result<Self> {
        let root = std::path::absolute(root)
            .map_err(|e| Error::invalid(format!("\"{}\" cannot name a folder", root.display())).with_source(e))?;
        let wording = Wording::new(format!("fs:{}", root.display()), []);
        let folder = Folder {
            root,
            wording,
            options: options.clone(),
            writer: OnceLock::new(),
            identity: OnceLock::new(),
            durable: Mutex::default(),
            #[cfg(test)]
            journal: Mutex::default(),
        };
        Ok(Self {
            folder: Arc::new(folder),
            permits: Semaphore::new(options.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            download: options.download_bytes_per_second.map(Pace::new),
        })
    }

    /// Runs something that blocks where blocking is allowed.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Folder) -> Result<T> + Send + 'static) -> Result<T> {
        let _permit =
            self.permits.acquire().await.map_err(|e| Error::internal("Semaphore is closed").with_source(e))?;
        let folder = Arc::clone(&self.folder);
        tokio::task::spawn_blocking(move || work(&folder))
            .await
            .map_err(|e| Error::internal("A disk access was broken off").with_source(e))?
    }

    async fn pass(&self, bytes: Bytes) -> Bytes {
        if let Some(pace) = &self.download {
            pace.take(bytes.len()).await;
        }
        bytes
    }
}

#[async_trait]
impl Storage for LocalStorage {
    async fn put(&self, path: &str, data: Vec<Bytes>) -> Result<()> {
        path::check_file(path)?;
        let (path, runtime) = (path.to_owned(), Handle::current());
        self.blocking(move |folder| folder.put(&runtime, &path, &data)).await
    }

    async fn get(&self, path: &str, limit_bytes: u64) -> Result<Bytes> {
        path::check_file(path)?;
        let path = path.to_owned();
        let bytes = self.blocking(move |folder| folder.get(&path, limit_bytes)).await?;
        Ok(self.pass(bytes).await)
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        path::check_file(path)?;
        let path = path.to_owned();
        let bytes = self.blocking(move |folder| folder.get_range(&path, offset, length)).await?;
        Ok(self.pass(bytes).await)
    }

    async fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        path::check_folder(folder)?;
        let path = folder.to_owned();
        self.blocking(move |folder| {
            let entries = folder.list(&path).map_err(|e| folder.wording.io(Doing::List, &path, e))?;
            // A folder that is not there is empty; one that was there is gone.
            folder.same_root()?;
            Ok(entries)
        })
        .await
    }

    async fn stat(&self, path: &str) -> Result<Entry> {
        path::check_file(path)?;
        let path = path.to_owned();
        self.blocking(move |folder| match fs::metadata(folder.root.join(&path)) {
            Ok(metadata) if metadata.is_file() => Ok(Entry { size_bytes: metadata.len(), path }),
            Ok(_) => Err(folder.wording.of_kind(ErrorKind::NotFound, Doing::LookUp, &path)),
            Err(e) => Err(folder.failed(Doing::LookUp, &path, e)),
        })
        .await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        path::check_file(path)?;
        let path = path.to_owned();
        self.blocking(move |folder| {
            if !folder.remove(&path)? {
                return Ok(());
            }
            // A removed key or a forgotten snapshot must not be back after a power cut.
            let synced = parent(&folder.root.join(&path)).and_then(|above| folder.sync_folder(above));
            synced.map_err(|e| folder.failed(Doing::Delete, &path, e))
        })
        .await
    }

    async fn discard(&self, path: &str) -> Result<()> {
        path::check_file(path)?;
        let path = path.to_owned();
        self.blocking(move |folder| folder.remove(&path).map(drop)).await
    }

    fn describe(&self) -> String {
        self.folder.wording.place().to_owned()
    }
}

impl Folder {
    fn failed(&self, doing: Doing, path: &str, error: io::Error) -> Error {
        match error.kind() {
            Io::NotFound => self.same_root().err().unwrap_or_else(|| self.wording.io(doing, path, error)),
            Io::NotADirectory => self.wording.of_kind(ErrorKind::NotFound, doing, path),
            _ => self.wording.io(doing, path, error),
        }
    }

    /// Refuses to go on where the folder in use was moved away or its disk unmounted: what has its name now is another,
    /// where a file is not stored and none is missing. The first call remembers which folder it is.
    fn same_root(&self) -> Result<()> {
        let now = fs::metadata(&self.root).ok().filter(fs::Metadata::is_dir).map(|metadata| identity(&metadata));
        match (self.identity.get(), now) {
            (Some(then), now) if Some(then) != now.as_ref() => Err(self.wording.vanished()),
            (None, Some(now)) => {
                self.identity.get_or_init(|| now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn put(&self, runtime: &Handle, path: &str, data: &[Bytes]) -> Result<()> {
        let failed = |e| self.wording.io(Doing::Store, path, e);
        self.same_root()?;
        let target = self.root.join(path);
        if target.symlink_metadata().is_ok() {
            return Err(self.wording.of_kind(ErrorKind::AlreadyExists, Doing::Store, path));
        }
        let first = self.writer.get().is_none();
        let name = format!("{TMP}/{:032x}", rand::random::<u128>());
        self.make_durable(&self.root.join(TMP)).map_err(failed)?;
        // Removes the file again unless it is published.
        let aside = TempPath::try_from_path(self.root.join(&name)).map_err(failed)?;
        let writer = self.writer()?;
        if !self.write_directly(&aside, data).map_err(failed)? {
            runtime
                .block_on(self.write(writer, &name, data))
                .map_err(|e| self.wording.error(Doing::Store, path, &e))?;
        }
        if first {
            self.sweep(&aside);
        }
        self.publish(aside, &target).map_err(failed)?;
        self.same_root()
    }

    /// Writes and syncs one file. OpenDAL's `fs` syncs when it closes (`tests/storage/strace.rs` watches it).
    async fn write(&self, operator: &Operator, name: &str, data: &[Bytes]) -> opendal::Result<()> {
        let mut writer = operator.writer(name).await?;
        for piece in pieces(data, layers::piece_bytes(operator, &self.options)) {
            writer.write(piece).await?;
        }
        writer.close().await?;
        self.note("write and sync", Path::new(TMP));
        Ok(())
    }

    /// Writes and syncs a large file past the page cache; says whether it did.
    fn write_directly(&self, aside: &Path, data: &[Bytes]) -> io::Result<bool> {
        let is_large = data.iter().map(Bytes::len).sum::<usize>() >= direct::LARGE;
        // A limit to the speed is OpenDAL's business.
        let written = is_large && self.options.upload_bytes_per_second.is_none() && direct::write_new(aside, data)?;
        if written {
            self.note("write and sync", Path::new(TMP));
        }
        Ok(written)
    }

    /// Removes a file; says whether it was there.
    fn remove(&self, path: &str) -> Result<bool> {
        match fs::remove_file(self.root.join(path)) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.kind(), Io::NotFound | Io::NotADirectory | Io::IsADirectory) => Ok(false),
            Err(e) => Err(self.failed(Doing::Delete, path, e)),
        }
    }

    fn writer(&self) -> Result<&Operator> {
        if let Some(writer) = self.writer.get() {
            return Ok(writer);
        }
        let Some(root) = self.root.to_str() else {
            return Err(Error::invalid(format!("\"{}\" is not UTF-8", self.root.display())));
        };
        let operator = Operator::new(opendal::services::Fs::default().root(root))
            .map_err(|e| self.wording.error(Doing::Store, "", &e))?;
        Ok(self.writer.get_or_init(|| layers::on_disk(operator, &self.options)))
    }

    /// Gives a finished file its name, unless that is taken, and makes the name durable.
    fn publish(&self, aside: TempPath, target: &Path) -> io::Result<()> {
        let parent = parent(target)?;
        self.make_durable(parent)?;
        let renamed = aside.persist_noclobber(target).or_else(|e| {
            if e.error.kind() != Io::NotFound {
                return Err(e.error);
            }
            // Someone took the folder away since we made it.
            self.known().remove(parent);
            self.make_durable(parent)?;
            e.path.persist_noclobber(target).map_err(|e| e.error)
        });
        renamed?;
        self.note("rename to", target);
        self.sync_folder(parent)
    }

    /// Makes a folder and what is missing above it, and syncs each into its parent. Folders of ours that were there
    /// already are synced too, once: another process may have made them a moment ago.
    fn make_durable(&self, folder: &Path) -> io::Result<()> {
        if self.known().contains(folder) {
            return Ok(());
        }
        let is_ours = folder != self.root && folder.starts_with(&self.root);
        if is_ours {
            self.make_durable(parent(folder)?)?;
        }
        let made = match fs::create_dir(folder) {
            Ok(()) => true,
            Err(_) if folder.is_dir() => false,
            Err(e) if e.kind() == Io::AlreadyExists => {
                return Err(io::Error::new(Io::NotADirectory, format!("{} is not a folder", folder.display())));
            }
            Err(e) if e.kind() == Io::NotFound && !is_ours => {
                self.make_durable(parent(folder)?)?;
                match fs::create_dir(folder) {
                    Err(_) if folder.is_dir() => {}
                    made => made?,
                }
                true
            }
            Err(e) => return Err(e),
        };
        if made || is_ours {
            self.sync_folder(parent(folder)?)?;
        }
        self.known().insert(folder.to_owned());
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if cfg!(unix) {
            match File::open(folder)?.sync_all() {
                // Some network file systems cannot sync a folder; their servers keep renames in order.
                Err(e) if !matches!(e.kind(), Io::InvalidInput | Io::Unsupported) => return Err(e),
                _ => {}
            }
        }
        self.note("sync", folder);
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what killed writers left. Ages are measured against a file written just now, by the file system's own
    /// clock. Failures are of no account.
    fn sweep(&self, own: &Path) {
        let modified = |path: &Path| fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
        let (Ok(now), Ok(entries)) = (modified(own), fs::read_dir(self.root.join(TMP))) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let age = modified(&path).ok().and_then(|then| now.duration_since(then).ok());
            if age.is_some_and(|age| age > STALE_AFTER) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn open(&self, path: &str) -> Result<(File, u64)> {
        let opened = File::open(self.root.join(path)).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((metadata, file)) if metadata.is_file() => {
                if self.identity.get().is_none() {
                    self.same_root()?;
                }
                Ok((file, metadata.len()))
            }
            Ok(_) => Err(self.wording.of_kind(ErrorKind::NotFound, Doing::Read, path)),
            Err(e) => Err(self.failed(Doing::Read, path, e)),
        }
    }

    fn get(&self, path: &str, limit_bytes: u64) -> Result<Bytes> {
        let (file, size) = self.open(path)?;
        if size > limit_bytes {
            return Err(self.wording.wrong_size(path, &format!("is larger than {limit_bytes} bytes: {size}")));
        }
        self.read(path, &file, 0, size)
    }

    fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        let (file, size) = self.open(path)?;
        // Looked at before the buffer is made: a length from a damaged index may be anything.
        if offset.checked_add(length).is_none_or(|end| end > size) {
            let end = offset.saturating_add(length);
            return Err(self.wording.wrong_size(path, &format!("ends at byte {size}, before {end}")));
        }
        self.read(path, &file, offset, length)
    }

    fn read(&self, path: &str, file: &File, offset: u64, length: u64) -> Result<Bytes> {
        let length = usize::try_from(length).map_err(|_| self.wording.wrong_size(path, "does not fit into memory"))?;
        // Fresh zeroed memory of this size costs nothing until it is written to.
        let mut buffer = vec![0; length];
        read_exact_at(file, &mut buffer, offset).map_err(|e| match e.kind() {
            Io::UnexpectedEof => self.wording.wrong_size(path, "became shorter while it was read"),
            _ => self.failed(Doing::Read, path, e),
        })?;
        Ok(Bytes::from(buffer))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let children = match fs::read_dir(self.root.join(&folder)) {
                // Never there, or gone since we saw it.
                Err(e) if matches!(e.kind(), Io::NotFound | Io::NotADirectory) => continue,
                children => children?,
            };
            for child in children {
                let child = child?;
                let name = child.file_name();
                let Some(name) = name.to_str() else { continue };
                let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                if !path::is_file(&path) {
                    continue;
                }
                // Follows links to files, not to folders, which could lead in circles.
                match (child.file_type(), child.path().metadata()) {
                    (Ok(kind), _) if kind.is_dir() => folders.push(path),
                    (_, Ok(metadata)) if metadata.is_file() => {
                        entries.push(Entry { path, size_bytes: metadata.len() });
                    }
                    (_, Err(e)) if e.kind() != Io::NotFound => return Err(e),
                    _ => {}
                }
            }
        }
        Ok(entries)
    }

    #[cfg(test)]
    fn note(&self, what: &str, path: &Path) {
        let path = path.strip_prefix(&self.root).unwrap_or(path).display();
        self.journal.lock().unwrap().push(format!("{what} {path}"));
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self)]
    fn note(&self, _what: &str, _path: &Path) {}
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::from(Io::InvalidInput))
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_metadata: &fs::Metadata) -> Identity {
    (0, 0)
}

/// Fills a buffer from a place in a file, whatever others read from it meanwhile.
#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills a buffer from a place in a file, whatever others read from it meanwhile.
#[cfg(windows)]
pub(crate) fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if n == 0 {
            return Err(Io::UnexpectedEof.into());
        }
        buffer = &mut buffer[n..];
        offset += n as u64;
    }
    Ok(())
}

/// Writes a buffer at a place in a file, whatever others read from it meanwhile.
#[cfg(unix)]
pub(crate) fn write_all_at(file: &File, buffer: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, buffer, offset)
}

/// Writes a buffer at a place in a file, whatever others read from it meanwhile.
#[cfg(windows)]
pub(crate) fn write_all_at(file: &File, mut buffer: &[u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_write(file, buffer, offset)?;
        if n == 0 {
            return Err(Io::WriteZero.into());
        }
        buffer = &buffer[n..];
        offset += n as u64;
    }
    Ok(())
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
