//! The repository: open and init, blobs in and out, index and its local cache, check, prune, repair.
//!
//! Knows nothing of items or Graph. Order of writes is what makes it safe: packs are durable before an index file
//! names them, index files before a snapshot needs them; deletion goes the other way.

mod cache;
mod check;
mod chunker;
mod compress;
mod documents;
mod index;
mod merge;
mod mover;
mod neighbours;
mod prune;
mod read;
mod recent;
mod reload;
mod repair;
mod repository;
mod section;
mod seek;
mod segment;
mod slots;
mod stream;
mod table;
mod upload;
mod writer;

pub use check::{Finding, ReadData};
pub use chunker::Chunker;
pub use documents::{DocumentKind, DocumentName};
pub use index::{DamagedIndex, Index, Location};
pub use neighbours::{BlobPlace, StoredBlob};
pub use prune::{Clock, PruneOptions, PrunePlan, PruneSizes};
pub use recent::Recent;
pub use repository::Repository;
pub use seek::StoredBytes;
pub use segment::Segmenter;
pub use slots::Slot;
pub use stream::ByteStream;
pub use table::PackHead;
pub use writer::{Writer, WriterOptions, WriterStats};
