//! Index tables: packs, blobs and chunks, each sorted by id behind a fan-out ([`crate::repo::section`]); files of the local
//! cache, or held in memory.
//!
//! A table is made from index files and can be made again from them: nothing here is the only copy of anything. A table
//! of the cache that cannot be read says so once it is asked ([`Table::intact`]); look-ups find nothing in it then.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bincode::{Decode, Encode};

use crate::crypto::{BlobKind, SealedKey};
use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::id::{BlobId, ChunkId, IndexId, PackId};
use crate::format::index::{ChunkPlace, IndexFile, IndexedBlob, IndexedPack, Mark};
use crate::repo::section::{Backing, Records, SECTION_HEAD_BYTES, Section, cut_short};

const MAGIC: &[u8; 8] = b"TVTABLE4";
/// Magic; packs, blobs, chunks; places of the keys and of the rest, and its length; the length of all.
const HEAD_BYTES: usize = 8 + 3 * SECTION_HEAD_BYTES + 4 * 8;
/// A pack: id, salt, size, number of its first key, how many keys, kind, 3 bytes unused.
const PACK_BYTES: usize = 88;
/// A blob: id, pack, offset, stored, plain, key, 4 bytes unused, nonce.
const BLOB_BYTES: usize = 64;
/// A chunk: id, segment, offset, length.
const CHUNK_BYTES: usize = 56;
const KEY_BYTES: usize = 80;
/// Smaller tables of the cache are held in memory, in bytes: there a look-up costs a tenth.
const HELD_BYTES: u64 = 4 << 20;

/// What a table knows beside its packs, blobs and chunks.
#[derive(Debug, Clone, Default, Encode, Decode)]
pub(crate) struct TableMeta {
    /// The index files that the table was made from.
    pub(crate) covers: Vec<IndexId>,
    /// Packs marked for deletion.
    pub(crate) marks: Vec<Mark>,
    /// Index files that those covered stand in for.
    pub(crate) replaces: Vec<IndexId>,
}

/// What one needs to know of a pack for most ends.
#[derive(Debug, Clone, Copy)]
pub struct PackHead {
    /// The pack.
    pub id: PackId,
    /// What it holds.
    pub kind: BlobKind,
}

/// A sorted table of packs, one of blobs, and one of chunks.
pub(crate) struct Table {
    backing: Backing,
    /// The file of the cache that holds it.
    kept: Option<PathBuf>,
    packs: Section<PACK_BYTES>,
    blobs: Section<BLOB_BYTES>,
    chunks: Section<CHUNK_BYTES>,
    keys_at: u64,
    pub(crate) meta: TableMeta,
    /// The first failure to read it.
    failure: OnceLock<String>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (packs, blobs, chunks) = (self.packs.count, self.blobs.count, self.chunks.count);
        write!(f, "Table({packs} packs, {blobs} blobs, {chunks} chunks)")
    }
}

impl Table {
    /// Makes a table of one index file.
    pub(crate) fn from_index(id: IndexId, file: IndexFile) -> Self {
        let meta = TableMeta { covers: vec![id], marks: file.marks, replaces: file.replaces };
        let rest = IndexFile { packs: file.packs, blobs: file.blobs, chunks: file.chunks, ..IndexFile::default() };
        // Writing into memory does not fail.
        let bytes = bytes_of(&meta, &rest).unwrap_or_default();
        Self::parse(Backing::Memory(bytes), None).unwrap_or_else(|_| Self::empty(meta))
    }

    fn empty(meta: TableMeta) -> Self {
        let (packs, blobs, chunks) = (Section::default(), Section::default(), Section::default());
        let (backing, failure) = (Backing::Memory(Vec::new()), OnceLock::new());
        Self { backing, kept: None, packs, blobs, chunks, keys_at: 0, meta, failure }
    }

    /// Opens a table of the local cache.
    ///
    /// # Errors
    /// `Corrupt` when the file is no whole table; an I/O kind when it cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let opened = File::open(path).and_then(|file| {
            let backing = Backing::File { bytes: file.metadata()?.len(), file };
            let is_small = backing.len() <= HELD_BYTES;
            let bytes = is_small.then(|| backing.read_vec(0, backing.len())).transpose()?;
            Self::parse(bytes.map_or(backing, Backing::Memory), Some(path))
        });
        opened.map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Error::corrupt(format!("Cache file {} is damaged", path.display())).with_source(e)
            }
            _ => Error::io(path.display(), e),
        })
    }

    fn parse(backing: Backing, path: Option<&Path>) -> io::Result<Self> {
        let wrong = |text: &'static str| io::Error::new(io::ErrorKind::InvalidData, text);
        let mut head = [0; HEAD_BYTES];
        backing.read(0, &mut head)?;
        let rest = head.strip_prefix(MAGIC).ok_or_else(|| wrong("it is no table"))?;
        let (sections, numbers) = rest.split_at_checked(3 * SECTION_HEAD_BYTES).ok_or_else(cut_short)?;
        let ([packs, blobs, chunks], []) = sections.as_chunks() else { return Err(cut_short()) };
        let number = |n: usize| u64::from_le_bytes(std::array::from_fn(|i| numbers[n * 8 + i]));
        let (keys_at, meta_at, meta_bytes, length) = (number(0), number(1), number(2), number(3));
        if length != backing.len() {
            return Err(cut_short());
        }
        let meta = codec::decode("Cache file", &backing.read_vec(meta_at, meta_bytes)?);
        Ok(Self {
            packs: Section::open(&backing, packs)?,
            blobs: Section::open(&backing, blobs)?,
            chunks: Section::open(&backing, chunks)?,
            keys_at,
            meta: meta.map_err(|_| wrong("it does not decode"))?,
            kept: path.map(Path::to_owned),
            backing,
            failure: OnceLock::new(),
        })
    }

    /// Says whether the table lies in the local cache.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Removes its file from the cache; it can still be read.
    pub(crate) fn remove(&self) {
        if let Some(path) = &self.kept {
            drop(std::fs::remove_file(path));
        }
    }

    /// How many bytes it has, in memory or in the cache.
    pub(crate) fn len(&self) -> u64 {
        self.backing.len()
    }

    /// Fails if anything of the table could not be read so far: what was found is not all then.
    ///
    /// # Errors
    /// `Corrupt`, naming the file.
    pub(crate) fn intact(&self) -> Result<()> {
        let Some(text) = self.failure.get() else { return Ok(()) };
        let file = self.kept.as_deref().unwrap_or(Path::new("(in memory)"));
        Err(Error::corrupt(format!("Cache file {} cannot be read: {text}", file.display()))
            .with_hint("delete the cache folder: it is made anew"))
    }

    fn noted<T>(&self, result: io::Result<T>) -> Option<T> {
        result.inspect_err(|e| drop(self.failure.set(e.to_string()))).ok()
    }

    /// Finds the entries of a blob: more than one where it is in several packs.
    pub(crate) fn find(&self, id: &BlobId) -> Vec<IndexedBlob> {
        self.found(|found| self.blobs.find(&self.backing, &id.0, |_, record| found.push(read_blob(record))))
    }

    /// Finds the places of a chunk.
    pub(crate) fn find_chunk(&self, id: &ChunkId) -> Vec<ChunkPlace> {
        self.found(|found| self.chunks.find(&self.backing, &id.0, |_, record| found.push(read_chunk(record))))
    }

    /// Finds the number of a pack in this table.
    pub(crate) fn find_pack(&self, id: &PackId) -> Option<u32> {
        let found = self.found(|found| self.packs.find(&self.backing, &id.0, |n, _| found.push(n)));
        found.first().copied()
    }

    /// Nothing once the table has failed: what it says of marks, too, may not be all then.
    fn found<T>(&self, find: impl FnOnce(&mut Vec<T>) -> io::Result<()>) -> Vec<T> {
        let mut found = Vec::new();
        let is_whole = self.failure.get().is_none() && self.noted(find(&mut found)).is_some();
        if is_whole { found } else { Vec::new() }
    }

    /// Reads the pack of a number.
    pub(crate) fn pack(&self, n: u32) -> Option<IndexedPack> {
        self.pack_of(&self.noted(self.packs.record(&self.backing, n.into()))?)
    }

    /// Reads what a record of a pack stands for.
    pub(super) fn pack_of(&self, record: &[u8; PACK_BYTES]) -> Option<IndexedPack> {
        let PackHead { id, kind } = head_of(record);
        let keys = self.noted(self.key_bytes(record))?;
        let keys = keys.as_chunks().0.iter().map(|key| SealedKey(*key)).collect();
        Some(IndexedPack { id, kind, size_bytes: read_u64(record, 64), salt: array(record, 32), keys })
    }

    /// All packs' ids and kinds in the order of ids, which is that of their numbers.
    pub(crate) fn pack_heads(&self) -> impl Iterator<Item = PackHead> + '_ {
        self.pack_records().map_while(|r| self.noted(r)).map(|r| head_of(&r))
    }

    /// All blobs in the order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IndexedBlob> + '_ {
        self.blob_records().map_while(|r| self.noted(r)).map(|r| read_blob(&r))
    }

    /// Gives the n-th chunk in the order of ids.
    pub(crate) fn chunk(&self, n: u64) -> Option<ChunkPlace> {
        self.noted(self.chunks.record(&self.backing, n)).map(|r| read_chunk(&r))
    }

    /// All chunks in the order of ids.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = ChunkPlace> + '_ {
        self.chunk_records().map_while(|r| self.noted(r)).map(|r| read_chunk(&r))
    }

    pub(super) fn pack_count(&self) -> u64 {
        self.packs.count
    }

    pub(super) fn blob_count(&self) -> u64 {
        self.blobs.count
    }

    pub(super) fn chunk_count(&self) -> u64 {
        self.chunks.count
    }

    pub(super) fn pack_records(&self) -> Records<'_, PACK_BYTES> {
        self.packs.records(&self.backing)
    }

    pub(super) fn blob_records(&self) -> Records<'_, BLOB_BYTES> {
        self.blobs.records(&self.backing)
    }

    pub(super) fn chunk_records(&self) -> Records<'_, CHUNK_BYTES> {
        self.chunks.records(&self.backing)
    }

    /// The sealed keys of a pack, laid end to end.
    pub(super) fn key_bytes(&self, pack: &[u8; PACK_BYTES]) -> io::Result<Vec<u8>> {
        let (first, count) = (read_u64(pack, 72), u64::from(read_u32(pack, 80)));
        if count == 0 {
            return Ok(Vec::new());
        }
        let at = first.checked_mul(KEY_BYTES as u64).and_then(|at| at.checked_add(self.keys_at));
        self.backing.read_vec(at.ok_or_else(cut_short)?, count * KEY_BYTES as u64)
    }
}

/// Writes a table: keys, packs, blobs, chunks, in this order; then the rest.
pub(super) struct TableWriter<W> {
    out: W,
    at: u64,
    packs: Section<PACK_BYTES>,
    blobs: Section<BLOB_BYTES>,
    chunks: Section<CHUNK_BYTES>,
}

impl<W: Write + Seek> TableWriter<W> {
    pub(super) fn begin(mut out: W) -> io::Result<Self> {
        // The head comes last, so that a file cut short is seen to be one.
        out.write_all(&[0; HEAD_BYTES])?;
        let (packs, blobs, chunks) = (Section::default(), Section::default(), Section::default());
        Ok(Self { out, at: HEAD_BYTES as u64, packs, blobs, chunks })
    }

    /// Adds the keys of a pack. They come in the order of the packs.
    pub(super) fn keys(&mut self, keys: &[u8]) -> io::Result<()> {
        self.at += keys.len() as u64;
        self.out.write_all(keys)
    }

    /// Writes the packs, sorted by id. Their records say how many keys each has; where these are is put in here.
    pub(super) fn packs(
        &mut self,
        most: u64,
        packs: impl Iterator<Item = io::Result<[u8; PACK_BYTES]>>,
    ) -> io::Result<()> {
        let mut first_key = 0u64;
        let packs = packs.map(|pack| {
            let mut pack = pack?;
            pack[72..80].copy_from_slice(&first_key.to_le_bytes());
            first_key += u64::from(read_u32(&pack, 80));
            Ok(pack)
        });
        self.packs = Section::write(&mut self.out, &mut self.at, most, packs)?;
        Ok(())
    }

    pub(super) fn blobs(
        &mut self,
        most: u64,
        blobs: impl Iterator<Item = io::Result<[u8; BLOB_BYTES]>>,
    ) -> io::Result<()> {
        self.blobs = Section::write(&mut self.out, &mut self.at, most, blobs)?;
        Ok(())
    }

    pub(super) fn chunks(
        &mut self,
        most: u64,
        chunks: impl Iterator<Item = io::Result<[u8; CHUNK_BYTES]>>,
    ) -> io::Result<()> {
        self.chunks = Section::write(&mut self.out, &mut self.at, most, chunks)?;
        Ok(())
    }

    /// Writes the fan-outs, the rest, and the head.
    pub(super) fn finish(mut self, meta: &TableMeta) -> io::Result<()> {
        let mut head = MAGIC.to_vec();
        head.extend(self.packs.write_fan(&mut self.out, &mut self.at)?);
        head.extend(self.blobs.write_fan(&mut self.out, &mut self.at)?);
        head.extend(self.chunks.write_fan(&mut self.out, &mut self.at)?);
        let meta = codec::encode(meta);
        self.out.write_all(&meta)?;
        let end = self.at + meta.len() as u64;
        for number in [HEAD_BYTES as u64, self.at, meta.len() as u64, end] {
            head.extend(number.to_le_bytes());
        }
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&head)?;
        self.out.flush()
    }
}

/// The table of one index file.
fn bytes_of(meta: &TableMeta, file: &IndexFile) -> io::Result<Vec<u8>> {
    let mut packs: Vec<&IndexedPack> = file.packs.iter().collect();
    packs.sort_by_key(|p| p.id);
    packs.dedup_by_key(|p| p.id);
    let number: HashMap<PackId, u32> = packs.iter().map(|p| p.id).zip(0..).collect();
    let numbers: Vec<u32> = file.packs.iter().filter_map(|p| number.get(&p.id).copied()).collect();
    let mut bytes = Vec::new();
    let mut writer = TableWriter::begin(Cursor::new(&mut bytes))?;
    for key in packs.iter().flat_map(|p| &p.keys) {
        writer.keys(&key.0)?;
    }
    writer.packs(packs.len() as u64, packs.iter().map(|p| Ok(pack_record(p))))?;
    let blobs = file.blobs.iter().map(|b| moved(blob_record(b), &numbers));
    writer.blobs(file.blobs.len() as u64, blobs)?;
    writer.chunks(file.chunks.len() as u64, file.chunk_places().map(|c| Ok(chunk_record(&c))))?;
    writer.finish(meta)?;
    bytes.shrink_to_fit();
    Ok(bytes)
}

fn array<const N: usize>(r: &[u8], at: usize) -> [u8; N] {
    r.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn read_u32(r: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(r, at))
}

fn read_u64(r: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(r, at))
}

fn pack_record(p: &IndexedPack) -> [u8; PACK_BYTES] {
    let mut out = [0; PACK_BYTES];
    out[..32].copy_from_slice(&p.id.0);
    out[32..64].copy_from_slice(&p.salt);
    out[64..72].copy_from_slice(&p.size_bytes.to_le_bytes());
    out[80..84].copy_from_slice(&(p.keys.len() as u32).to_le_bytes());
    out[84] = u8::from(p.kind == BlobKind::Tree);
    out
}

fn head_of(r: &[u8; PACK_BYTES]) -> PackHead {
    let kind = if r[84] == 0 { BlobKind::Content } else { BlobKind::Tree };
    PackHead { id: PackId(array(r, 0)), kind }
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

/// A blob's record under its pack's new number.
pub(super) fn moved(mut record: [u8; BLOB_BYTES], numbers: &[u32]) -> io::Result<[u8; BLOB_BYTES]> {
    let number = numbers.get(read_u32(&record, 32) as usize);
    let number = number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a blob is in no pack"))?;
    record[32..36].copy_from_slice(&number.to_le_bytes());
    Ok(record)
}

fn read_blob(r: &[u8; BLOB_BYTES]) -> IndexedBlob {
    IndexedBlob {
        id: BlobId(array(r, 0)),
        pack: read_u32(r, 32),
        offset: read_u32(r, 36),
        stored_bytes: read_u32(r, 40),
        plain_bytes: read_u32(r, 44),
        key: read_u32(r, 48),
        nonce: read_u64(r, 56),
    }
}

fn chunk_record(c: &ChunkPlace) -> [u8; CHUNK_BYTES] {
    let mut out = [0; CHUNK_BYTES];
    out[..16].copy_from_slice(&c.id.0);
    out[16..48].copy_from_slice(&c.segment.0);
    out[48..52].copy_from_slice(&c.offset.to_le_bytes());
    out[52..].copy_from_slice(&c.length.to_le_bytes());
    out
}

fn read_chunk(r: &[u8; CHUNK_BYTES]) -> ChunkPlace {
    let (id, segment) = (ChunkId(array(r, 0)), BlobId(array(r, 16)));
    ChunkPlace { id, segment, offset: read_u32(r, 48), length: read_u32(r, 52) }
}

#[cfg(test)]
mod tests;
