//! Index tables: blobs sorted by id in records of 64 bytes behind a fan-out, memory-mapped from the local cache or
//! held in memory. A look-up touches one fan-out entry and some sixteen records, however large the table.
//!
//! A table is made from index files and can be made again from them: nothing here is the only copy of anything.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use bincode::{Decode, Encode};

use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::id::{BlobId, IndexId};
use crate::format::index::{IndexFile, IndexedBlob, IndexedPack, Mark};

const MAGIC: &[u8; 8] = b"TVTABLE2";
const HEAD_BYTES: usize = 32;
const RECORD_BYTES: usize = 64;
/// Blobs a fan-out entry should stand for.
const BUCKET: u64 = 16;

/// What a table knows beside its blobs.
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

/// A sorted table of blobs.
pub(crate) struct Table {
    backing: Backing,
    bits: u32,
    count: u64,
    records_at: usize,
    pub(crate) meta: TableMeta,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({} blobs, {} packs)", self.count, self.meta.packs.len())
    }
}

impl Table {
    /// Makes a table of one index file.
    pub(crate) fn from_index(id: IndexId, file: IndexFile) -> Self {
        let meta = TableMeta { covers: vec![id], packs: file.packs, marks: file.marks, replaces: file.replaces };
        let mut bytes = Vec::new();
        let count = file.blobs.len() as u64;
        // Writing into memory does not fail.
        let _ = write_table(&mut bytes, &meta, count, file.blobs.iter().copied());
        Self::parse(Backing::Memory(bytes), meta).unwrap_or_else(|_| Self::empty())
    }

    fn empty() -> Self {
        Self { backing: Backing::Memory(Vec::new()), bits: 0, count: 0, records_at: 0, meta: TableMeta::default() }
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
        let meta_bytes = usize::try_from(read_u64(&map, 24).ok_or_else(broken)?).map_err(|_| broken())?;
        let meta = map.get(HEAD_BYTES..).and_then(|rest| rest.get(..meta_bytes)).ok_or_else(broken)?;
        let meta: TableMeta = codec::decode("Cache file", meta)?;
        Self::parse(Backing::Mapped(map), meta)
    }

    /// Says whether the table lies in the local cache.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.backing, Backing::Mapped(_))
    }

    fn parse(backing: Backing, meta: TableMeta) -> Result<Self> {
        let broken = || Error::corrupt("An index table of the cache is damaged");
        let bytes = backing.bytes();
        if bytes.get(..8) != Some(&MAGIC[..]) {
            return Err(broken());
        }
        let count = read_u64(bytes, 8).ok_or_else(broken)?;
        let bits = u32::try_from(read_u64(bytes, 16).ok_or_else(broken)?).map_err(|_| broken())?;
        let meta_bytes = read_u64(bytes, 24).ok_or_else(broken)?;
        let fan_bytes = ((1u64 << bits.min(32)) + 1) * 4;
        let records_at = meta_bytes.saturating_add(HEAD_BYTES as u64 + fan_bytes);
        let total = count.checked_mul(RECORD_BYTES as u64).and_then(|n| n.checked_add(records_at));
        if bits > 28 || total != Some(bytes.len() as u64) {
            return Err(broken());
        }
        let records_at = usize::try_from(records_at).map_err(|_| broken())?;
        Ok(Self { bits, count, records_at, meta, backing })
    }

    /// Finds the entries of a blob: more than one where it is in several packs.
    pub(crate) fn find<'a>(&'a self, id: &BlobId) -> impl Iterator<Item = IndexedBlob> + use<'a> {
        let id = *id;
        let (from, to) = self.bucket(&id);
        let (mut low, mut high) = (from, to);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.id_at(middle).is_some_and(|found| found < &id.0[..]) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low..to).map_while(move |n| self.get(n).filter(|b| b.id == id))
    }

    /// Gives the n-th blob in the order of ids.
    pub(crate) fn get(&self, n: u64) -> Option<IndexedBlob> {
        let r = self.record(n)?;
        Some(IndexedBlob {
            id: BlobId(r.get(..32)?.try_into().ok()?),
            pack: read_u32(r, 32)?,
            offset: read_u32(r, 36)?,
            stored_bytes: read_u32(r, 40)?,
            plain_bytes: read_u32(r, 44)?,
            key: read_u32(r, 48)?,
            nonce: read_u64(r, 56)?,
        })
    }

    /// All blobs in the order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IndexedBlob> + '_ {
        (0..self.count).map_while(|n| self.get(n))
    }

    fn record(&self, n: u64) -> Option<&[u8]> {
        if n >= self.count {
            return None;
        }
        let at = self.records_at + usize::try_from(n).ok()? * RECORD_BYTES;
        self.backing.bytes().get(at..at + RECORD_BYTES)
    }

    fn id_at(&self, n: u64) -> Option<&[u8]> {
        self.record(n).and_then(|r| r.get(..32))
    }

    fn bucket(&self, id: &BlobId) -> (u64, u64) {
        if self.count == 0 {
            return (0, 0);
        }
        let fan_at = self.records_at - ((1usize << self.bits) + 1) * 4;
        let slot = fan_slot(id, self.bits);
        let bytes = self.backing.bytes();
        let read = |n: usize| read_u32(bytes, fan_at + n * 4).map_or(self.count, u64::from);
        (read(slot).min(self.count), read(slot + 1).min(self.count))
    }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The fan-out slot of an id: its first `bits` bits.
fn fan_slot(id: &BlobId, bits: u32) -> usize {
    let [a, b, c, d, ..] = id.0;
    let top = u64::from(u32::from_be_bytes([a, b, c, d]));
    ((top << bits) >> 32) as usize
}

/// Writes a table. `blobs` must be sorted by id and be `count` long.
fn write_table(
    out: &mut impl Write,
    meta: &TableMeta,
    count: u64,
    blobs: impl Iterator<Item = IndexedBlob> + Clone,
) -> std::io::Result<()> {
    let bits = (count / BUCKET).checked_ilog2().map_or(0, |b| b + 1).min(28);
    let meta = codec::encode(meta);
    out.write_all(MAGIC)?;
    out.write_all(&count.to_le_bytes())?;
    out.write_all(&u64::from(bits).to_le_bytes())?;
    out.write_all(&(meta.len() as u64).to_le_bytes())?;
    out.write_all(&meta)?;
    let mut slot = 0usize;
    let mut n = 0u32;
    for blob in blobs.clone() {
        let own = fan_slot(&blob.id, bits);
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
    for b in blobs {
        out.write_all(&b.id.0)?;
        for field in [b.pack, b.offset, b.stored_bytes, b.plain_bytes, b.key, 0] {
            out.write_all(&field.to_le_bytes())?;
        }
        out.write_all(&b.nonce.to_le_bytes())?;
    }
    Ok(())
}

/// Writes the union of tables into a file, under a name of its own first.
///
/// # Errors
/// An I/O kind.
pub(crate) fn write_merged(tables: &[&Table], temporary: &Path, path: &Path) -> Result<()> {
    let mut meta = TableMeta::default();
    let mut shifts = Vec::new();
    for table in tables {
        shifts.push(meta.packs.len() as u32);
        meta.covers.extend(&table.meta.covers);
        meta.packs.extend(table.meta.packs.iter().cloned());
        meta.marks.extend(&table.meta.marks);
        meta.replaces.extend(&table.meta.replaces);
    }
    let count = tables.iter().map(|t| t.count).sum();
    let merged = Merge { tables, shifts: &shifts, at: vec![0; tables.len()] };
    let failed = |e| Error::io(format!("Cache file {}", path.display()), e);
    let written = File::create(temporary).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 18, file);
        write_table(&mut out, &meta, count, merged)?;
        out.flush()?;
        std::fs::rename(temporary, path)
    });
    if written.is_err() {
        drop(std::fs::remove_file(temporary));
    }
    written.map_err(failed)
}

#[derive(Clone)]
struct Merge<'a> {
    tables: &'a [&'a Table],
    shifts: &'a [u32],
    at: Vec<u64>,
}

impl Iterator for Merge<'_> {
    type Item = IndexedBlob;

    fn next(&mut self) -> Option<IndexedBlob> {
        let heads = self.tables.iter().zip(&self.at).enumerate();
        let (n, _) = heads.filter_map(|(n, (t, &at))| Some((n, t.id_at(at)?))).min_by_key(|(_, id)| *id)?;
        let at = self.at.get_mut(n)?;
        let mut blob = self.tables.get(n)?.get(*at)?;
        *at += 1;
        blob.pack += self.shifts.get(n)?;
        Some(blob)
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
        IndexFile { packs: vec![pack], blobs, ..Default::default() }
    }

    #[test]
    fn every_blob_is_found_and_no_other() {
        for count in [0, 1, 15, 16, 17, 1000] {
            let file = index(1, count);
            let table = Table::from_index(IndexId([1; 32]), file.clone());
            for blob in &file.blobs {
                assert_eq!(table.find(&blob.id).collect::<Vec<_>>(), [*blob]);
            }
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
        assert_eq!((merged.count, merged.meta.covers.len()), (2000, 4));
        for (n, part) in parts.iter().enumerate() {
            for blob in part.iter() {
                let found: Vec<_> = merged.find(&blob.id).collect();
                assert_eq!(found, [IndexedBlob { pack: n as u32, ..blob }]);
            }
        }
        let bytes = std::fs::read(&path).unwrap();
        for cut in [0, 7, 31, 40, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(Table::open(&path).is_err());
        }
    }
}
