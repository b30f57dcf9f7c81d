//! A repository as a read-only file system: one model, over which the mount and the WebDAV server stand as thin adapters.
//!
//! ```text
//! snapshots/2026-11-20T090000Z-1a2b3c4d/users/alice@contoso.com/Mail/Inbox/2026-11-01 0914 Plan.eml
//! sets/everyone/2026-11-20T090000Z/...
//! sets/everyone/latest/...
//! ```
//!
//! Below a snapshot stand the paths of `ls`, each name made safe as an export makes it, and two names of a folder that some
//! file system takes for one are told apart in the order of the listing: so the same entry always has the same name.
//!
//! | file | holds |
//! |---|---|
//! | `node` | what a path can mean, and the number that tells it from all else |
//! | `shots` | the snapshots, looked at again now and then |
//! | `folder` | a folder's entries, read page by page as they are asked for |
//! | `file`, `stored`, `made` | the bytes of a file, from any place |
//! | `ahead` | what is opened before who reads file after file comes to it |
//! | `origin` | from a node to its place in the snapshot, and back |
//!
//! Memory is bounded: of folders, records and contents only what was used lately is kept. Numbers of nodes are hashes of
//! what they stand for, so nothing need be kept to give the same ones again.

mod ahead;
mod file;
mod folder;
mod made;
mod node;
mod origin;
mod shots;
mod stored;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::crypto::KeyRight;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::Record;
use crate::monitor::Monitor;
use crate::ops::present;
use crate::repo::{Recent, Repository};
use file::OpenFile;
use folder::{Block, Folder, LONGEST_STRIDE, PAGE_STRIDE};
use node::What;
use shots::Shots;

pub use folder::Listed;
pub use node::Node;
pub use origin::Origin;

/// Names of folders that are kept, in all; each takes some 30 bytes.
const NAMES_KEPT: usize = 1 << 20;
/// Entries of folders that are kept, in bytes.
const BLOCK_BYTES: usize = 24 << 20;
/// Records that are kept for whoever reads what was just listed, in bytes.
const RECORD_BYTES: usize = 12 << 20;
/// Files that are kept open, in bytes of what is known of them, made ones with their contents.
const OPEN_BYTES: usize = 32 << 20;
/// Sizes of made files that are kept.
const SIZES_KEPT: usize = 1 << 17;

/// How a repository is looked into.
#[derive(Debug, Clone, Copy)]
pub struct BrowseOptions {
    /// After so long the list of snapshots is read again, when somebody looks at it.
    pub look_again_after: Duration,
}

impl Default for BrowseOptions {
    fn default() -> Self {
        Self { look_again_after: Duration::from_secs(10) }
    }
}

/// What is known of a node without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// It can be listed.
    pub is_folder: bool,
    /// The bytes that reading gives; 0 for folders.
    pub size_bytes: u64,
    /// When it was changed last: microseconds since 1970 UTC.
    pub modified_us: i64,
}

/// A repository, open for looking around in. Clones are one.
#[derive(Clone)]
pub struct Browser {
    repo: Arc<Repository>,
    shots: Arc<Shots>,
    kept: Arc<Kept>,
    monitor: Arc<dyn Monitor>,
}

/// What was used lately.
struct Kept {
    folders: Mutex<Recent<u64, Arc<Folder>>>,
    blocks: Mutex<Recent<(u64, u32), Arc<Block>>>,
    records: Mutex<Recent<u64, Arc<Record>>>,
    files: Mutex<Recent<u64, Arc<OpenFile>>>,
    sizes: Mutex<Recent<u64, u64>>,
    /// Held while somebody is read ahead of.
    ahead: Arc<Semaphore>,
}

impl Browser {
    /// Opens a repository for looking around in, and lists its snapshots. `monitor` hears of what cannot be shown.
    ///
    /// # Errors
    /// `WrongKey` under a write-only key; the storage's.
    pub async fn open(repo: Arc<Repository>, options: BrowseOptions, monitor: Arc<dyn Monitor>) -> Result<Self> {
        if repo.right() == KeyRight::WriteOnly {
            return Err(Error::new(ErrorKind::WrongKey, "This key may add snapshots but not read contents")
                .with_hint("Give the passphrase of an owner's key; key list shows which keys there are"));
        }
        let kept = Kept {
            folders: Mutex::new(Recent::new(NAMES_KEPT)),
            blocks: Mutex::new(Recent::new(BLOCK_BYTES)),
            records: Mutex::new(Recent::new(RECORD_BYTES)),
            files: Mutex::new(Recent::new(OPEN_BYTES)),
            sizes: Mutex::new(Recent::new(SIZES_KEPT)),
            ahead: Arc::new(Semaphore::new(1)),
        };
        let shots = Arc::new(Shots::open(repo.clone(), options.look_again_after).await?);
        Ok(Self { repo, shots, kept: Arc::new(kept), monitor })
    }

    /// The repository.
    pub fn repository(&self) -> &Arc<Repository> {
        &self.repo
    }

    /// The folder above all.
    pub fn root(&self) -> Node {
        Node::root()
    }

    /// Finds what has a name in a folder; `None`: nothing has.
    ///
    /// # Errors
    /// `Corrupt`; the storage's; `NotFound` when the snapshot is no more.
    pub async fn find(&self, folder: &Node, name: &str) -> Result<Option<Node>> {
        match folder.what() {
            What::File(_) => Ok(None),
            What::Above(_) | What::Inside(_) => self.noted(folder, self.folder(folder).find(self, name).await).await,
            _ => Ok(self.shots.listing(folder).await?.into_iter().find(|l| &*l.name == name).map(|l| l.node)),
        }
    }

    /// Finds what a path names: components with `/` between them; the empty path is the root.
    ///
    /// # Errors
    /// `NotFound`; as [`Self::find`].
    pub async fn resolve(&self, path: &str) -> Result<Node> {
        let mut node = self.root();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let found = self.find(&node, name).await?;
            node = found.ok_or_else(|| Error::not_found(format!("There is no '{name}' on the way to '{path}'")))?;
        }
        Ok(node)
    }

    /// Lists up to `limit` entries of a folder, the first of them the one with the number `from` (0: the first of all). The
    /// entry after them has the number `from` + their count; none: there are no more. What is read of the tree is what is
    /// listed, about.
    ///
    /// # Errors
    /// As [`Self::find`]; `InvalidInput` for a file.
    pub async fn list(&self, folder: &Node, from: u64, limit: usize) -> Result<Vec<Listed>> {
        self.list_by(folder, from, limit, LONGEST_STRIDE).await
    }

    /// As [`Self::list`], for who looks at a page and may look no further: little is read ahead of it, so that no page waits
    /// for what many others need.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn list_page(&self, folder: &Node, from: u64, limit: usize) -> Result<Vec<Listed>> {
        self.list_by(folder, from, limit, PAGE_STRIDE).await
    }

    async fn list_by(&self, folder: &Node, from: u64, limit: usize, longest: usize) -> Result<Vec<Listed>> {
        match folder.what() {
            What::File(_) => Err(Error::invalid("A file cannot be listed")),
            What::Above(_) | What::Inside(_) => {
                self.noted(folder, self.folder(folder).list(self, from, limit, longest).await).await
            }
            _ => {
                let from = usize::try_from(from).unwrap_or(usize::MAX);
                Ok(self.shots.listing(folder).await?.into_iter().skip(from).take(limit).collect())
            }
        }
    }

    /// What is known of a node; what is made is made for it, once.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn meta(&self, node: &Node) -> Result<Meta> {
        let modified_us = node.modified_us();
        let What::File(file) = node.what() else { return Ok(Meta { is_folder: true, size_bytes: 0, modified_us }) };
        let size_bytes = match self.known_size(node) {
            Some(size) => size,
            None => {
                let size = self.noted(node, self.opened(node, file).await?.size(self, file).await).await?;
                locked(&self.kept.sizes).insert(node.number(), size, 1);
                size
            }
        };
        Ok(Meta { is_folder: false, size_bytes, modified_us })
    }

    /// The size of a file, if it is known without making it; 0 for folders.
    pub fn known_size(&self, node: &Node) -> Option<u64> {
        match node.what() {
            What::File(file) => file.size_bytes.or_else(|| locked(&self.kept.sizes).get(&node.number())),
            _ => Some(0),
        }
    }

    /// Reads up to `length` bytes of a file from a place on; fewer only at its end.
    ///
    /// # Errors
    /// `NotFound` when its contents are not in this snapshot or the snapshot is no more; `Corrupt`; the storage's;
    /// `InvalidInput` for a folder.
    pub async fn read(&self, node: &Node, offset: u64, length: usize) -> Result<Bytes> {
        let What::File(file) = node.what() else { return Err(Error::invalid("A folder has no bytes")) };
        let read = async { self.opened(node, file).await?.read(self, file, offset, length).await };
        let read = read.await;
        self.noted(node, read).await
    }

    /// Says whether what is in a folder never changes.
    pub fn is_lasting(&self, folder: &Node) -> bool {
        matches!(folder.what(), What::Above(_) | What::Inside(_))
    }

    /// Tells what could not be shown: whoever asked is told little.
    pub(super) fn failed(&self, doing: &str, error: &Error) {
        tracing::warn!("{doing} failed: {}", error.chain());
        self.monitor.problem(doing, &error.chain());
    }

    fn folder(&self, node: &Node) -> Arc<Folder> {
        let mut folders = locked(&self.kept.folders);
        folders.get(&node.number()).unwrap_or_else(|| {
            let folder = Arc::new(Folder::new(node.clone()));
            folders.insert(node.number(), folder.clone(), 1);
            folder
        })
    }

    async fn opened(&self, node: &Node, file: &node::FileNode) -> Result<Arc<OpenFile>> {
        if let Some(open) = locked(&self.kept.files).get(&node.number()) {
            return Ok(open);
        }
        let record = self.noted(node, self.kept_record(node, file).await).await?;
        let open = Arc::new(OpenFile::new(node, file, record));
        self.keep_open(node.number(), &open);
        // What is made is made of its record.
        if file.size_bytes.is_some() {
            self.look_ahead(file);
        }
        Ok(open)
    }

    /// The record of a file, kept for whoever asks next.
    async fn kept_record(&self, node: &Node, file: &node::FileNode) -> Result<Arc<Record>> {
        let known = locked(&self.kept.records).get(&node.number());
        if let Some(record) = known {
            return Ok(record);
        }
        let found = file.shot.view.record(&file.state, &file.id).await?;
        let found = found.ok_or_else(|| Error::corrupt(format!("Item {} is listed and has no record", file.id)))?;
        let record = Arc::new(found);
        folder::keep_record(self, node, &record);
        Ok(record)
    }

    fn keep_open(&self, number: u64, open: &Arc<OpenFile>) {
        locked(&self.kept.files).insert(number, open.clone(), open.weight());
    }

    /// What failed in a snapshot that is no more failed for that.
    async fn noted<T>(&self, node: &Node, result: Result<T>) -> Result<T> {
        let Err(error) = result else { return result };
        let Some(shot) = node.shot().filter(|_| error.is_loss()) else { return Err(error) };
        match self.shots.still_has(shot).await {
            Ok(false) => Err(Error::not_found(format!("Snapshot {} is no more", shot.id)).with_source(error)),
            _ => Err(error),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says whether an entry is a file whose contents are not in the snapshot: an export leaves it out, and so does this view.
fn is_lost(record: &Record, face: present::Face, mode: present::Mode) -> bool {
    present::form(record, face, mode) == present::Form::Stored && crate::ops::read::main_stream(record).is_err()
}
