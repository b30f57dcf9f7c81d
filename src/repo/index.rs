//! Which pack holds which blob: the tables of all index files, and what this process has written since.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::crypto::BlobKind;
use crate::format::id::{BlobId, ChunkId, IndexId, PackId};
use crate::format::index::{ChunkPlace, IndexedBlob, IndexedPack, Mark};
use crate::repo::table::Table;

/// Where a blob is.
#[derive(Debug, Clone)]
pub struct Location<'a> {
    /// The pack that holds it.
    pub pack: &'a IndexedPack,
    /// Where it is in there.
    pub blob: IndexedBlob,
    /// The pack is marked for deletion: readable now, not to be built upon.
    pub marked: bool,
}

/// An immutable view of a repository's index.
#[derive(Debug, Default)]
pub struct Index {
    pub(super) tables: Vec<Arc<Table>>,
    marks: HashMap<PackId, i64>,
    damaged: Vec<DamagedIndex>,
}

/// An index file that cannot be read: blobs that it alone lists cannot be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedIndex {
    /// The index file.
    pub id: IndexId,
    /// What is wrong with it, naming it.
    pub text: String,
}

impl Index {
    /// Joins tables. Those that others stand in for must have been left out.
    pub(crate) fn new(tables: Vec<Arc<Table>>, damaged: Vec<DamagedIndex>) -> Self {
        let mut marks: HashMap<PackId, i64> = HashMap::new();
        for mark in tables.iter().flat_map(|t| &t.meta.marks) {
            let at = marks.entry(mark.pack).or_insert(mark.marked_us);
            *at = (*at).min(mark.marked_us);
        }
        Self { tables, marks, damaged }
    }

    /// The same with one more table.
    pub(crate) fn with(&self, table: Table) -> Self {
        let mut tables = self.tables.clone();
        tables.push(Arc::new(table));
        Self::new(tables, self.damaged.clone())
    }

    /// The index files that could not be read.
    pub fn damaged(&self) -> &[DamagedIndex] {
        &self.damaged
    }

    /// The index files that those in this view stand in for.
    pub(crate) fn replaced(&self) -> impl Iterator<Item = IndexId> + '_ {
        self.tables.iter().flat_map(|t| &t.meta.replaces).copied()
    }

    /// Finds a blob for reading; a pack that is not marked is preferred.
    pub fn find(&self, id: &BlobId) -> Option<Location<'_>> {
        let mut last = None;
        for location in self.find_all(id) {
            if !location.marked {
                return Some(location);
            }
            last = Some(location);
        }
        last
    }

    /// Finds every place of a blob.
    pub fn find_all<'a>(&'a self, id: &BlobId) -> impl Iterator<Item = Location<'a>> + use<'a> {
        let id = *id;
        self.tables.iter().flat_map(move |table| {
            table.find(&id).filter_map(|blob| {
                let pack = table.meta.packs.get(blob.pack as usize)?;
                Some(Location { pack, blob, marked: self.marks.contains_key(&pack.id) })
            })
        })
    }

    /// Says whether a new snapshot may build upon a stored blob: it is in a pack that is not marked for deletion.
    pub fn has_live(&self, id: &BlobId) -> bool {
        self.find_all(id).any(|l| !l.marked)
    }

    /// Finds contents that are stored already and may be built upon: a chunk in a segment of a pack that is not marked.
    pub fn find_chunk(&self, id: &ChunkId) -> Option<ChunkPlace> {
        let places = self.tables.iter().flat_map(|table| table.find_chunk(id));
        places.into_iter().find(|place| self.has_live(&place.segment))
    }

    /// All chunks that are listed, with their segments, table by table.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = ChunkPlace> + '_ {
        self.tables.iter().flat_map(|t| t.chunks())
    }

    /// All packs, each once.
    pub fn packs(&self) -> impl Iterator<Item = &IndexedPack> {
        let mut seen = HashSet::new();
        self.tables.iter().flat_map(|t| &t.meta.packs).filter(move |p| seen.insert(p.id))
    }

    /// All blobs with their packs, table by table; a blob in several packs comes several times.
    pub fn blobs(&self) -> impl Iterator<Item = (&IndexedPack, IndexedBlob)> {
        self.tables.iter().flat_map(|t| t.iter().filter_map(move |b| Some((t.meta.packs.get(b.pack as usize)?, b))))
    }

    /// How many bytes of ciphertext each pack lists.
    pub(crate) fn blob_bytes(&self) -> HashMap<PackId, u64> {
        let mut all = HashMap::new();
        for table in &self.tables {
            let mut sums = vec![0u64; table.meta.packs.len()];
            for blob in table.iter() {
                if let Some(sum) = sums.get_mut(blob.pack as usize) {
                    *sum += u64::from(blob.stored_bytes);
                }
            }
            // A pack may be listed twice, after a prune that was cut off: once counts.
            for (pack, sum) in table.meta.packs.iter().zip(sums) {
                all.entry(pack.id).or_insert(sum);
            }
        }
        all
    }

    /// The packs marked for deletion, with the time in microseconds since 1970 UTC.
    pub fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        self.marks.iter().map(|(&pack, &marked_us)| Mark { pack, marked_us })
    }

    /// The index files that this view was made from.
    pub fn files(&self) -> impl Iterator<Item = IndexId> + '_ {
        self.tables.iter().flat_map(|t| &t.meta.covers).copied()
    }

    /// How many blobs are listed, and how many bytes of plaintext they have, by kind.
    pub fn totals(&self, kind: BlobKind) -> (u64, u64) {
        self.blobs()
            .filter(|(pack, _)| pack.kind == kind)
            .fold((0, 0), |(n, bytes), (_, b)| (n + 1, bytes + u64::from(b.plain_bytes)))
    }
}

/// The chunks of an index, found by the segment that holds them. Takes 24 bytes of memory a chunk.
pub(crate) struct ChunksBySegment {
    index: Arc<Index>,
    /// The first bytes of the segment's id, the table, the number in the table.
    places: Vec<(u64, usize, u64)>,
}

impl ChunksBySegment {
    pub(crate) fn new(index: Arc<Index>) -> Self {
        let tables = index.tables.iter().enumerate();
        let places =
            tables.flat_map(|(t, table)| (0..).zip(table.chunks()).map(move |(n, c)| (start(&c.segment), t, n)));
        let mut places: Vec<_> = places.collect();
        places.sort_unstable();
        Self { index, places }
    }

    /// The chunks that are listed in a segment.
    pub(crate) fn of(&self, segment: BlobId) -> impl Iterator<Item = ChunkPlace> + '_ {
        let first = self.places.partition_point(|(id, ..)| *id < start(&segment));
        let same = self.places.iter().skip(first).take_while(move |(id, ..)| *id == start(&segment));
        same.filter_map(|(_, t, n)| self.index.tables.get(*t)?.chunk(*n)).filter(move |c| c.segment == segment)
    }
}

fn start(id: &BlobId) -> u64 {
    id.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}
