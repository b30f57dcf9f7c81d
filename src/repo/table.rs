//! Index tables: blobs and chunks, each sorted by id behind a fan-out, memory-mapped from the local cache or held in
//! memory. A look-up touches one fan-out entry and some sixteen records, however large the table.
//!
//! A table is made from index files and can be made again from them: nothing here is the only copy of anything.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use bincode::{Decode, Encode};

use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::id::{BlobId, ChunkId, IndexId};
use crate::format::index::{ChunkPlace, IndexFile, IndexedBlob, IndexedPack, Mark};

const MAGIC: &[u8; 8] = b"TVTABLE3";
const HEAD_BYTES: usize = 48;
/// A blob: id, pack, offset, stored, plain, key, 4 bytes unused, nonce.
const BLOB_BYTES: usize = 64;
/// A chunk: id, segment, offset, length.
const CHUNK_BYTES: usize = 56;
/// Records a fan-out entry should stand for.
const BUCKET: u64 = 16;

/// What a table knows beside its blobs and chunks.
#[derive(Debug, Clone, Default, Encode, Decode)]
pub(crate) struct TableMeta {
    /// The index files that the table was made from.
    pub(crate) covers: Vec<IndexId>,
    /// The packs; blobs refer to them by number.
    pub(crate) packs: Vec<IndexedPack>,
    /// Packs marked for deletion.
    pub(crate) marks: Vec<Mark>,
    /// Index files that those covered stand in for.
    pub(crate) replaces: Vec<IndexId>,
}

enum Backing {
    Memory(Vec<u8>),
    Mapped(memmap2::Mmap),
}

impl Backing {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

/// Records of `N` bytes, sorted by the id that each begins with, behind a fan-out of ids' first bits.
#[derive(Debug, Clone, Copy, Default)]
struct Section<const N: usize> {
    bits: u32,
    count: u64,
    fan_at: usize,
    records_at: usize,
}

impl<const N: usize> Section<N> {
    /// Finds a section that begins at `at`, and where it ends.
    fn parse(at: u64, count: u64, bits: u64) -> Option<(Self, u64)> {
        let bits = u32::try_from(bits).ok().filter(|bits| *bits <= 28)?;
        let records_at = at.checked_add(((1u64 << bits) + 1) * 4)?;
        let end = count.checked_mul(N as u64)?.checked_add(records_at)?;
        let (fan_at, records_at) = (usize::try_from(at).ok()?, usize::try_from(records_at).ok()?);
        Some((Self { bits, count, fan_at, records_at }, end))
    }

    fn record<'a>(&self, bytes: &'a [u8], n: u64) -> Option<&'a [u8; N]> {
        if n >= self.count {
            return None;
        }
        let at = self.records_at.checked_add(usize::try_from(n).ok()?.checked_mul(N)?)?;
        bytes.get(at..)?.first_chunk()
    }

    /// The records that begin with an id.
    fn find<const K: usize>(self, bytes: &[u8], id: [u8; K]) -> impl Iterator<Item = &[u8; N]> + use<'_, N, K> {
        let section = self;
        let (mut low, to) = section.bucket(bytes, &id);
        let mut high = to;
        while low < high {
            let middle = low + (high - low) / 2;
            if section.record(bytes, middle).is_some_and(|r| r.get(..K).is_some_and(|found| found < &id[..])) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low..to).map_while(move |n| section.record(bytes, n).filter(|r| r.starts_with(&id)))
    }

    fn bucket(&self, bytes: &[u8], id: &[u8]) -> (u64, u64) {
        if self.count == 0 {
            return (0, 0);
        }
        let slot = fan_slot(id, self.bits);
        let read = |n: usize| read_u32(bytes, self.fan_at + n * 4).map_or(self.count, u64::from);
        (read(slot).min(self.count), read(slot + 1).min(self.count))
    }
}

/// A sorted table of blobs, and one of chunks.
pub(crate) struct Table {
    backing: Backing,
    blobs: Section<BLOB_BYTES>,
    chunks: Section<CHUNK_BYTES>,
    pub(crate) meta: TableMeta,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (blobs, chunks) = (self.blobs.count, self.chunks.count);
        write!(f, "Table({blobs} blobs, {chunks} chunks, {} packs)", self.meta.packs.len())
    }
}

impl Table {
    /// Makes a table of one index file.
    pub(crate) fn from_index(id: IndexId, mut file: IndexFile) -> Self {
        let meta = TableMeta {
            covers: vec![id],
            packs: std::mem::take(&mut file.packs),
            marks: std::mem::take(&mut file.marks),
            replaces: std::mem::take(&mut file.replaces),
        };
        let mut bytes = Vec::new();
        let counts = (file.blobs.len() as u64, file.chunks.len() as u64);
        // Writing into memory does not fail.
        let blobs = file.blobs.iter().map(blob_record);
        let _ = write_table(&mut bytes, &meta, counts, blobs, file.chunk_places().map(|c| chunk_record(&c)));
        Self::parse(Backing::Memory(bytes), meta).unwrap_or_else(|_| Self::empty())
    }

    fn empty() -> Self {
        let (blobs, chunks) = (Section::default(), Section::default());
        Self { backing: Backing::Memory(Vec::new()), blobs, chunks, meta: TableMeta::default() }
    }

    /// Maps a table of the local cache.
    ///
    /// # Errors
    /// `Corrupt` when the file is no whole table; an I/O kind when it cannot be read.
    #[allow(unsafe_code)]
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path.display(), e))?;
        // SAFETY: tables are written under a temporary name, renamed into place and never changed; the cache folder is
        // this user's own. A file cut short by somebody else would end the process, not corrupt it.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| Error::io(path.display(), e))?;
        let broken = || Error::corrupt(format!("Cache file {} is damaged", path.display()));
        let meta_bytes = usize::try_from(read_u64(&map, 40).ok_or_else(broken)?).map_err(|_| broken())?;
        let meta = map.get(HEAD_BYTES..).and_then(|rest| rest.get(..meta_bytes)).ok_or_else(broken)?;
        let meta: TableMeta = codec::decode("Cache file", meta)?;
        Self::parse(Backing::Mapped(map), meta)
    }

    /// Says whether the table lies in the local cache.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.backing, Backing::Mapped(_))
    }

    fn parse(backing: Backing, meta: TableMeta) -> Result<Self> {
        let parsed = parse_sections(backing.bytes());
        let (blobs, chunks) = parsed.ok_or_else(|| Error::corrupt("An index table of the cache is damaged"))?;
        Ok(Self { blobs, chunks, meta, backing })
    }

    /// Finds the entries of a blob: more than one where it is in several packs.
    pub(crate) fn find<'a>(&'a self, id: &BlobId) -> impl Iterator<Item = IndexedBlob> + use<'a> {
        self.blobs.find(self.backing.bytes(), id.0).filter_map(read_blob)
    }

    /// Finds the places of a chunk.
    pub(crate) fn find_chunk<'a>(&'a self, id: &ChunkId) -> impl Iterator<Item = ChunkPlace> + use<'a> {
        self.chunks.find(self.backing.bytes(), id.0).filter_map(read_chunk)
    }

    /// All blobs in the order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IndexedBlob> + '_ {
        (0..self.blobs.count).map_while(|n| read_blob(self.blobs.record(self.backing.bytes(), n)?))
    }

    /// Gives the n-th chunk in the order of ids.
    pub(crate) fn chunk(&self, n: u64) -> Option<ChunkPlace> {
        read_chunk(self.chunks.record(self.backing.bytes(), n)?)
    }

    /// All chunks in the order of ids.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = ChunkPlace> + '_ {
        (0..self.chunks.count).map_while(|n| self.chunk(n))
    }
}

fn parse_sections(bytes: &[u8]) -> Option<(Section<BLOB_BYTES>, Section<CHUNK_BYTES>)> {
    if bytes.get(..8)? != MAGIC {
        return None;
    }
    let at = read_u64(bytes, 40)?.checked_add(HEAD_BYTES as u64)?;
    let (blobs, at) = Section::parse(at, read_u64(bytes, 8)?, read_u64(bytes, 16)?)?;
    let (chunks, end) = Section::parse(at, read_u64(bytes, 24)?, read_u64(bytes, 32)?)?;
    (end == bytes.len() as u64).then_some((blobs, chunks))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn blob_record(b: &IndexedBlob) -> [u8; BLOB_BYTES] {
    let mut out = [0; BLOB_BYTES];
    out[..32].copy_from_slice(&b.id.0);
    for (slot, field) in out[32..52].chunks_exact_mut(4).zip([b.pack, b.offset, b.stored_bytes, b.plain_bytes, b.key]) {
        slot.copy_from_slice(&field.to_le_bytes());
    }
    out[56..].copy_from_slice(&b.nonce.to_le_bytes());
    out
}

fn read_blob(r: &[u8; BLOB_BYTES]) -> Option<IndexedBlob> {
    Some(IndexedBlob {
        id: BlobId(*r.first_chunk()?),
        pack: read_u32(r, 32)?,
        offset: read_u32(r, 36)?,
        stored_bytes: read_u32(r, 40)?,
        plain_bytes: read_u32(r, 44)?,
        key: read_u32(r, 48)?,
        nonce: read_u64(r, 56)?,
    })
}

fn chunk_record(c: &ChunkPlace) -> [u8; CHUNK_BYTES] {
    let mut out = [0; CHUNK_BYTES];
    out[..16].copy_from_slice(&c.id.0);
    out[16..48].copy_from_slice(&c.segment.0);
    out[48..52].copy_from_slice(&c.offset.to_le_bytes());
    out[52..].copy_from_slice(&c.length.to_le_bytes());
    out
}

fn read_chunk(r: &[u8; CHUNK_BYTES]) -> Option<ChunkPlace> {
    let segment = BlobId(r.get(16..48)?.try_into().ok()?);
    Some(ChunkPlace { id: ChunkId(*r.first_chunk()?), segment, offset: read_u32(r, 48)?, length: read_u32(r, 52)? })
}

/// The fan-out slot of an id: its first `bits` bits.
fn fan_slot(id: &[u8], bits: u32) -> usize {
    let top = id.first_chunk().map_or(0, |first| u64::from(u32::from_be_bytes(*first)));
    ((top << bits) >> 32) as usize
}

fn fan_bits(count: u64) -> u32 {
    (count / BUCKET).checked_ilog2().map_or(0, |b| b + 1).min(28)
}

/// Writes a table. Records must be sorted by id, and be as many as `counts` says.
fn write_table(
    out: &mut impl Write,
    meta: &TableMeta,
    counts: (u64, u64),
    blobs: impl Iterator<Item = [u8; BLOB_BYTES]> + Clone,
    chunks: impl Iterator<Item = [u8; CHUNK_BYTES]> + Clone,
) -> std::io::Result<()> {
    let meta = codec::encode(meta);
    out.write_all(MAGIC)?;
    for (count, bits) in [(counts.0, fan_bits(counts.0)), (counts.1, fan_bits(counts.1))] {
        out.write_all(&count.to_le_bytes())?;
        out.write_all(&u64::from(bits).to_le_bytes())?;
    }
    out.write_all(&(meta.len() as u64).to_le_bytes())?;
    out.write_all(&meta)?;
    write_section(out, fan_bits(counts.0), blobs)?;
    write_section(out, fan_bits(counts.1), chunks)
}

fn write_section<const N: usize>(
    out: &mut impl Write,
    bits: u32,
    records: impl Iterator<Item = [u8; N]> + Clone,
) -> std::io::Result<()> {
    let mut slot = 0usize;
    let mut n = 0u32;
    for record in records.clone() {
        let own = fan_slot(&record, bits);
        while slot <= own {
            out.write_all(&n.to_le_bytes())?;
            slot += 1;
        }
        n += 1;
    }
    while slot <= 1usize << bits {
        out.write_all(&n.to_le_bytes())?;
        slot += 1;
    }
    records.into_iter().try_for_each(|record| out.write_all(&record))
}

/// Writes the union of tables into a file, under a name of its own first.
///
/// # Errors
/// An I/O kind.
pub(crate) fn write_merged(tables: &[&Table], temporary: &Path, path: &Path) -> Result<()> {
    let mut meta = TableMeta::default();
    let (mut blobs, mut chunks) = (Vec::new(), Vec::new());
    let mut shifts = Vec::new();
    for table in tables {
        shifts.push(meta.packs.len() as u32);
        meta.covers.extend(&table.meta.covers);
        meta.packs.extend(table.meta.packs.iter().cloned());
        meta.marks.extend(&table.meta.marks);
        meta.replaces.extend(&table.meta.replaces);
        blobs.push((table.backing.bytes(), table.blobs));
        chunks.push((table.backing.bytes(), table.chunks));
    }
    let counts = (blobs.iter().map(|(_, s)| s.count).sum(), chunks.iter().map(|(_, s)| s.count).sum());
    let at = vec![0; tables.len()];
    let shifted = Merge { parts: &blobs, at: at.clone() }.filter_map(|(n, record)| {
        let mut blob = read_blob(&record)?;
        blob.pack += shifts.get(n)?;
        Some(blob_record(&blob))
    });
    let chunks = Merge { parts: &chunks, at }.map(|(_, record)| record);
    let failed = |e| Error::io(format!("Cache file {}", path.display()), e);
    let written = File::create(temporary).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 18, file);
        write_table(&mut out, &meta, counts, shifted, chunks)?;
        out.flush()?;
        std::fs::rename(temporary, path)
    });
    if written.is_err() {
        drop(std::fs::remove_file(temporary));
    }
    written.map_err(failed)
}

/// The records of several sections in the order of ids, each with the number of its section.
#[derive(Clone)]
struct Merge<'a, const N: usize> {
    parts: &'a [(&'a [u8], Section<N>)],
    at: Vec<u64>,
}

impl<const N: usize> Iterator for Merge<'_, N> {
    type Item = (usize, [u8; N]);

    fn next(&mut self) -> Option<Self::Item> {
        let heads = self.parts.iter().zip(&self.at).enumerate();
        let heads = heads.filter_map(|(n, ((bytes, section), at))| Some((n, section.record(bytes, *at)?)));
        let (n, record) = heads.min_by_key(|(_, record)| *record)?;
        *self.at.get_mut(n)? += 1;
        Some((n, *record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::BlobKind;
    use crate::format::id::PackId;

    fn index(seed: u8, count: u32) -> IndexFile {
        let pack = IndexedPack {
            id: PackId([seed; 32]),
            kind: BlobKind::Tree,
            size_bytes: 1 << 40,
            salt: [0; 32],
            keys: Vec::new(),
        };
        let mut blobs: Vec<_> = (0..count)
            .map(|n| IndexedBlob {
                id: BlobId(*blake3::hash(&[&[seed], &n.to_le_bytes()[..]].concat()).as_bytes()),
                pack: 0,
                offset: n,
                stored_bytes: 20,
                plain_bytes: 4,
                key: 0,
                nonce: u64::from(n),
            })
            .collect();
        blobs.sort_by_key(|b| b.id);
        let chunk = |n: u8| ChunkPlace {
            id: ChunkId(std::array::from_fn(|i| blake3::hash(&[seed, n, 1]).as_bytes()[i])),
            segment: blobs[n as usize % blobs.len()].id,
            offset: u32::from(n) % 4,
            length: 0,
        };
        let chunks = if blobs.is_empty() { Vec::new() } else { (0..100).map(chunk).collect() };
        IndexFile::of([(pack, blobs.clone())], chunks)
    }

    #[test]
    fn every_blob_is_found_and_no_other() {
        for count in [0, 1, 15, 16, 17, 1000] {
            let file = index(1, count);
            let table = Table::from_index(IndexId([1; 32]), file.clone());
            for blob in &file.blobs {
                assert_eq!(table.find(&blob.id).collect::<Vec<_>>(), [*blob]);
            }
            let places: Vec<_> = file.chunk_places().collect();
            for place in &places {
                assert_eq!(table.find_chunk(&place.id).collect::<Vec<_>>(), [*place]);
            }
            assert_eq!(table.chunks().collect::<Vec<_>>(), places);
            assert_eq!(table.find_chunk(&ChunkId([0; 16])).count() + table.find_chunk(&ChunkId([255; 16])).count(), 0);
            for n in 0..100u8 {
                assert_eq!(table.find(&BlobId(*blake3::hash(&[n]).as_bytes())).count(), 0);
            }
            assert_eq!(table.find(&BlobId([0; 32])).count() + table.find(&BlobId([255; 32])).count(), 0);
        }
    }

    #[test]
    fn a_merged_table_holds_all_of_its_parts() {
        let folder = tempfile::tempdir().unwrap();
        let parts: Vec<_> = (1..5u8).map(|s| Table::from_index(IndexId([s; 32]), index(s, 500))).collect();
        let path = folder.path().join("merged");
        write_merged(&parts.iter().collect::<Vec<_>>(), &folder.path().join("new"), &path).unwrap();
        let merged = Table::open(&path).unwrap();
        assert_eq!((merged.blobs.count, merged.chunks.count, merged.meta.covers.len()), (2000, 400, 4));
        for (n, part) in parts.iter().enumerate() {
            for blob in part.iter() {
                let found: Vec<_> = merged.find(&blob.id).collect();
                assert_eq!(found, [IndexedBlob { pack: n as u32, ..blob }]);
            }
            for place in part.chunks() {
                assert_eq!(merged.find_chunk(&place.id).collect::<Vec<_>>(), [place]);
            }
        }
        let bytes = std::fs::read(&path).unwrap();
        for cut in [0, 7, 31, 40, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(Table::open(&path).is_err());
        }
    }
}
