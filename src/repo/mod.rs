//! The repository: open and init, blobs in and out, index and its local cache, check, prune, repair.
//!
//! Knows nothing of items or Graph. Order of writes is what makes it safe: packs are durable before an index file
//! names them, index files before a snapshot needs them; deletion goes the other way.

mod cache;
mod check;
mod chunker;
mod compress;
mod documents;
mod elsewhere;
mod heal;
mod index;
mod merge;
mod mirror;
mod mover;
mod neighbours;
mod opened;
mod prune;
mod raw_copy;
mod read;
mod recent;
mod reload;
mod repair;
mod replica;
mod repository;
mod sealed;
mod section;
mod seek;
mod segment;
mod slots;
mod stream;
mod table;
mod upload;
mod vet;
mod writer;

pub use check::{Finding, ReadData};
pub use chunker::Chunker;
pub use documents::{DocumentKind, DocumentName};
pub use elsewhere::{ReadReplica, Tell};
pub use heal::{DamagedPacks, HealedFiles};
pub use index::{DamagedIndex, Index, Location};
pub use mirror::{CopiedPacks, CopyOptions};
pub use neighbours::{BlobPlace, StoredBlob};
pub use prune::{Clock, PruneOptions, PrunePlan, PruneSizes};
pub use raw_copy::{RawCopy, copy_without_key};
pub use recent::Recent;
pub use replica::{CopiedSlots, Kinship, copy_slots, kinship, make_replica};
pub use repository::Repository;
pub use sealed::{Piece, Scratch, SealedFile, SealedReader, SealedWriter};
pub use seek::StoredBytes;
pub use segment::Segmenter;
pub(crate) use slots::Deriving;
pub use slots::Slot;
pub use stream::ByteStream;
pub use table::PackHead;
pub use writer::{Writer, WriterOptions, WriterStats};
