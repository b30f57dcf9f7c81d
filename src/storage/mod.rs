//! Named immutable files on any object store. Knows nothing of keys or blobs.
//!
//! [`open`] turns a URL into a [`Storage`]: [`OpendalStorage`] for object stores and servers,
//! [`LocalStorage`] for folders, which adds to OpenDAL's `fs` what a crash-safe store needs. What each
//! operation passes on its way out (retries, limits) is composed in one place, `layers.rs`.
//! [`ReadOnlyStorage`] and [`fault::FaultStorage`] wrap any other storage, [`ReplicatedStorage`] several.

mod direct;
mod failure;
pub mod fault;
mod layers;
mod local;
mod location;
mod object;
mod open;
mod options;
mod pace;
mod path;
mod read_only;
mod replicated;

pub(crate) use direct::LargeFile;
pub use local::LocalStorage;
pub(crate) use local::{read_exact_at, write_all_at};
pub use object::OpendalStorage;
pub use open::{SCHEMES, open};
pub use options::{Credentials, StorageOptions};
pub use read_only::ReadOnlyStorage;
pub use replicated::ReplicatedStorage;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;

/// A file as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path from the storage's root: `packs/3f/3f9a…`.
    pub path: String,
    /// The size in bytes.
    pub size_bytes: u64,
}

/// A place for immutable files, named by relative paths of the characters `a-z 0-9 / . _ -`.
///
/// A path that is empty, absolute, longer than 512 bytes or 200 a part, has other characters or a part that is
/// empty, `.` or `..`, or lies in `tmp/` (where unfinished files are kept, which no listing shows) is `InvalidInput`.
///
/// The contract, which the suite in `tests/storage/` proves for every implementation and wrapper:
/// - [`put`](Storage::put) is durable when it returns, and atomic: no reader ever sees a part of a file.
///   A file that is there already is never changed: `AlreadyExists`. (Where a service cannot refuse, the
///   names, hashes or random, make that case impossible.)
/// - [`list`](Storage::list) sees every file whose `put` returned before it began.
/// - Errors carry kinds: `NotFound`, `AlreadyExists`, `Permission`, `StorageFull`, and `Unavailable` for what
///   a later try may cure. They name the path.
#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug {
    /// Stores a file, whole, whose bytes are the buffers of `data` laid end to end.
    async fn put(&self, path: &str, data: Vec<Bytes>) -> Result<()>;
    /// Reads a whole file. A file larger than `limit_bytes` is `Corrupt`, and is not read.
    async fn get(&self, path: &str, limit_bytes: u64) -> Result<Bytes>;
    /// Reads `length` bytes from `offset` on. A file that ends before is `Corrupt`.
    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Bytes>;
    /// Lists every file below a folder (`"packs"`; `""`: all), in no order. A folder that is not there is empty.
    async fn list(&self, folder: &str) -> Result<Vec<Entry>>;
    /// Looks up one file.
    async fn stat(&self, path: &str) -> Result<Entry>;
    /// Removes a file, durably when it returns; that it is not there is no error.
    async fn delete(&self, path: &str) -> Result<()>;
    /// Removes a file that nothing refers to any more: as [`Storage::delete`], but after a crash it may be there again.
    async fn discard(&self, path: &str) -> Result<()> {
        self.delete(path).await
    }
    /// Says in a few words where this is, without secrets: `fs:/srv/backup`.
    fn describe(&self) -> String;
}
