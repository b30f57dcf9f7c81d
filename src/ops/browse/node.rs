//! What a path can mean, and the number that tells it from all else.

use std::sync::Arc;

use crate::format::id::SnapshotId;
use crate::format::record::Record;
use crate::format::snapshot::CollectionState;
use crate::ops::present::{self, Face, Form};
use crate::ops::view::View;

/// The number of the root.
const ROOT: u64 = 1;

/// One snapshot.
pub(super) struct Shot {
    pub(super) id: SnapshotId,
    pub(super) set_name: String,
    pub(super) time_us: i64,
    pub(super) complete: bool,
    pub(super) view: View,
}

/// A folder or a file. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    number: u64,
    what: What,
}

/// What a node is.
#[derive(Clone)]
pub(super) enum What {
    Root,
    Snapshots,
    Sets,
    /// A set, by the name that it has in the repository.
    Set(Arc<str>),
    /// Above the collections of a snapshot.
    Above(Arc<AboveNode>),
    /// A folder of a collection.
    Inside(Arc<FolderNode>),
    File(Arc<FileNode>),
}

pub(super) struct AboveNode {
    pub(super) shot: Arc<Shot>,
    /// Without a slash at its end; empty: the snapshot itself.
    pub(super) path: String,
}

pub(super) struct FolderNode {
    pub(super) shot: Arc<Shot>,
    pub(super) state: Arc<CollectionState>,
    /// The item; empty: the top of the collection.
    pub(super) id: Box<str>,
    modified_us: i64,
}

pub(super) struct FileNode {
    pub(super) shot: Arc<Shot>,
    pub(super) state: Arc<CollectionState>,
    pub(super) id: Box<str>,
    pub(super) face: Face,
    /// `None`: its bytes are made, and how many is not known yet.
    pub(super) size_bytes: Option<u64>,
    /// The number of the folder that lists it, and where in the listing it stands.
    pub(super) folder: u64,
    pub(super) entry: u32,
    modified_us: i64,
}

impl Node {
    pub(super) fn root() -> Self {
        Self { number: ROOT, what: What::Root }
    }

    /// A node below this one that is not in a snapshot, or the snapshot itself. `key` tells it from its neighbours.
    pub(super) fn below(&self, key: &[u8], what: What) -> Self {
        Self { number: number(self.number, b'n', key), what }
    }

    /// Above the collections, or the top of one.
    pub(super) fn component(&self, shot: &Arc<Shot>, path: String, state: Option<CollectionState>) -> Self {
        let number = number(self.number, b'c', path.as_bytes());
        let shot = shot.clone();
        let what = match state {
            Some(state) => {
                let modified_us = state.read_us;
                What::Inside(Arc::new(FolderNode { shot, state: Arc::new(state), id: "".into(), modified_us }))
            }
            None => What::Above(Arc::new(AboveNode { shot, path })),
        };
        Self { number, what }
    }

    /// A face of an item in this folder, which stands there at `entry`.
    pub(super) fn item(&self, folder: &FolderNode, entry: u32, record: &Record, face: Face) -> Self {
        let (shot, state) = (folder.shot.clone(), folder.state.clone());
        let tag = match face {
            Face::Item => b'i',
            Face::Parts => b'p',
            Face::Beside => b'b',
        };
        let number = number(self.number, tag, record.id.as_bytes());
        let modified_us = present::time_us(record).unwrap_or(shot.time_us);
        let (id, mode) = (record.id.as_str().into(), shot.view.mode());
        let what = match present::form(record, face, mode) {
            Form::Folder => What::Inside(Arc::new(FolderNode { shot, state, id, modified_us })),
            _ => {
                let size_bytes = present::size_bytes(record, face, mode);
                let folder = self.number;
                What::File(Arc::new(FileNode { shot, state, id, face, size_bytes, folder, entry, modified_us }))
            }
        };
        Self { number, what }
    }

    pub(super) fn what(&self) -> &What {
        &self.what
    }

    /// A number that no other node has, the same at all times: 1 for the root, else a hash.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Says whether it can be listed.
    pub fn is_folder(&self) -> bool {
        !matches!(self.what, What::File(_))
    }

    /// Says whether it is in a snapshot, the snapshot's own folder included.
    pub fn is_in_snapshot(&self) -> bool {
        self.shot().is_some()
    }

    /// Says whether it is a snapshot's own folder.
    pub fn is_snapshot(&self) -> bool {
        matches!(&self.what, What::Above(above) if above.path.is_empty())
    }

    pub(super) fn shot(&self) -> Option<&Arc<Shot>> {
        match &self.what {
            What::Above(above) => Some(&above.shot),
            What::Inside(folder) => Some(&folder.shot),
            What::File(file) => Some(&file.shot),
            _ => None,
        }
    }

    /// When it was changed last: microseconds since 1970 UTC; 0 where nothing tells.
    pub fn modified_us(&self) -> i64 {
        match &self.what {
            What::Above(above) => above.shot.time_us,
            What::Inside(folder) => folder.modified_us,
            What::File(file) => file.modified_us,
            _ => 0,
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({:x})", self.number)
    }
}

/// 64 bits of a hash: among a million nodes two are the same once in 10^7.
fn number(parent: u64, tag: u8, key: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&parent.to_le_bytes()).update(&[tag]).update(key);
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    // 0 is nobody's, 1 the root's.
    u64::from_le_bytes(bytes).max(ROOT + 1)
}
