//! Which pack holds which blob: the tables of all index files, and what this process has written since.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::crypto::BlobKind;
use crate::error::Result;
use crate::format::id::{BlobId, ChunkId, IndexId, PackId};
use crate::format::index::{ChunkPlace, IndexedBlob, IndexedPack, Mark};
use crate::repo::merge::Merge;
use crate::repo::table::{PackHead, Table};

/// Where a blob is.
#[derive(Debug, Clone)]
pub struct Location {
    /// The pack that holds it.
    pub pack: IndexedPack,
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
    /// The marked packs of each table, by their numbers there.
    marked: Vec<HashSet<u32>>,
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
        let marked_of = |t: &Arc<Table>| marks.keys().filter_map(|pack| t.find_pack(pack)).collect();
        Self { marked: tables.iter().map(marked_of).collect(), tables, marks, damaged }
    }

    /// The same with one more table.
    pub(crate) fn with(&self, table: Table) -> Self {
        let mut tables = self.tables.clone();
        tables.push(Arc::new(table));
        Self::new(tables, self.damaged.clone())
    }

    /// The same with tables in the place of others.
    pub(crate) fn with_instead(&self, old: &[Arc<Table>], new: Vec<Arc<Table>>) -> Self {
        let rest = self.tables.iter().filter(|t| !old.iter().any(|o| Arc::ptr_eq(o, t))).cloned();
        Self::new(new.into_iter().chain(rest).collect(), self.damaged.clone())
    }

    /// The index files that could not be read.
    pub fn damaged(&self) -> &[DamagedIndex] {
        &self.damaged
    }

    /// Fails if a table of the local cache could not be read: what was found or gone through is not all then. Who decides
    /// about deleting or rewriting asks this afterwards.
    ///
    /// # Errors
    /// `Corrupt`, naming the file.
    pub fn intact(&self) -> Result<()> {
        self.tables.iter().try_for_each(|t| t.intact())
    }

    /// The index files that those in this view stand in for.
    pub(crate) fn replaced(&self) -> impl Iterator<Item = IndexId> + '_ {
        self.tables.iter().flat_map(|t| &t.meta.replaces).copied()
    }

    /// Finds a blob for reading; a pack that is not marked is preferred.
    pub fn find(&self, id: &BlobId) -> Option<Location> {
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
    pub fn find_all(&self, id: &BlobId) -> impl Iterator<Item = Location> + use<'_> {
        let id = *id;
        self.tables.iter().zip(&self.marked).flat_map(move |(table, marked)| {
            table.find(&id).into_iter().filter_map(|blob| {
                let pack = table.pack(blob.pack)?;
                Some(Location { pack, marked: marked.contains(&blob.pack), blob })
            })
        })
    }

    /// Says whether a new snapshot may build upon a stored blob: it is in a pack that is not marked for deletion.
    pub fn has_live(&self, id: &BlobId) -> bool {
        let mut tables = self.tables.iter().zip(&self.marked);
        tables.any(|(table, marked)| table.find(id).iter().any(|blob| !marked.contains(&blob.pack)))
    }

    /// Says whether a pack is listed and not marked for deletion.
    pub(crate) fn has_live_pack(&self, id: &PackId) -> bool {
        !self.marks.contains_key(id) && self.tables.iter().any(|table| table.find_pack(id).is_some())
    }

    /// Says whether a pack is marked for deletion. It may be gone already: a mark outlives its pack.
    pub fn is_marked(&self, id: &PackId) -> bool {
        self.marks.contains_key(id)
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

    /// All packs, each once, in the order of their ids.
    pub fn packs(&self) -> impl Iterator<Item = IndexedPack> + '_ {
        let mut last = None;
        Merge::new(self.tables.iter().map(|t| t.pack_records())).filter_map(move |pack| {
            // What cannot be read is noted by the table: see `intact`.
            let (table, record) = pack.ok()?;
            let id: [u8; 32] = *record.first_chunk()?;
            let is_new = last.replace(id) != Some(id);
            is_new.then(|| self.tables.get(table)?.pack_of(&record)).flatten()
        })
    }

    /// The ids of all packs, table by table; one that several tables list comes several times.
    pub(crate) fn pack_ids(&self) -> impl Iterator<Item = PackId> + '_ {
        self.tables.iter().flat_map(|t| t.pack_heads().map(|pack| pack.id))
    }

    /// All blobs with their packs, table by table; a blob in several packs comes several times.
    pub fn blobs(&self) -> impl Iterator<Item = (PackHead, IndexedBlob)> + '_ {
        self.tables.iter().flat_map(|table| {
            let packs: Vec<PackHead> = table.pack_heads().collect();
            table.iter().filter_map(move |blob| Some((*packs.get(blob.pack as usize)?, blob)))
        })
    }

    /// How many bytes of ciphertext each pack lists.
    pub(crate) fn blob_bytes(&self) -> HashMap<PackId, u64> {
        let mut all = HashMap::new();
        for table in &self.tables {
            let packs: Vec<PackHead> = table.pack_heads().collect();
            let mut sums = vec![0u64; packs.len()];
            for blob in table.iter() {
                if let Some(sum) = sums.get_mut(blob.pack as usize) {
                    *sum += u64::from(blob.stored_bytes);
                }
            }
            // A pack may be listed twice, after a prune that was cut off: once counts.
            for (pack, sum) in packs.iter().zip(sums) {
                all.entry(pack.id).or_insert(sum);
            }
        }
        all
    }

    /// The packs marked for deletion, also those that were deleted of late, with the time in microseconds since 1970 UTC.
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
