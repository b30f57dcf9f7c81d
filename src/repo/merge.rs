//! Many index tables into one: what the local cache does so that a look-up asks few of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::repo::section::Records;
use crate::repo::table::{Table, TableMeta, TableWriter, moved};

/// The records of several sections in the order of ids, each with the number of its section. After an error it ends.
pub(super) struct Merge<'a, const N: usize> {
    parts: Vec<Records<'a, N>>,
    heads: BinaryHeap<Reverse<([u8; N], usize)>>,
    failed: Option<io::Error>,
}

impl<'a, const N: usize> Merge<'a, N> {
    pub(super) fn new(parts: impl Iterator<Item = Records<'a, N>>) -> Self {
        let mut merge = Self { parts: parts.collect(), heads: BinaryHeap::new(), failed: None };
        (0..merge.parts.len()).for_each(|part| merge.advance(part));
        merge
    }

    fn advance(&mut self, part: usize) {
        match self.parts.get_mut(part).and_then(Iterator::next) {
            Some(Ok(record)) => self.heads.push(Reverse((record, part))),
            Some(Err(e)) => self.failed = Some(e),
            None => {}
        }
    }
}

impl<const N: usize> Iterator for Merge<'_, N> {
    type Item = io::Result<(usize, [u8; N])>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(e) = self.failed.take() {
            self.heads.clear();
            return Some(Err(e));
        }
        let Reverse((record, part)) = self.heads.pop()?;
        self.advance(part);
        Some(Ok((part, record)))
    }
}

/// Leaves out records that came before, byte for byte: a pack may be listed twice, after a prune that was cut off.
fn distinct<const N: usize>(
    records: impl Iterator<Item = io::Result<[u8; N]>>,
) -> impl Iterator<Item = io::Result<[u8; N]>> {
    const SHORTEST_ID: usize = 16;
    let mut same: Vec<[u8; N]> = Vec::new();
    records.filter(move |record| {
        let Ok(record) = record else { return true };
        if same.first().is_none_or(|first| first.get(..SHORTEST_ID) != record.get(..SHORTEST_ID)) {
            same.clear();
        }
        let is_new = !same.contains(record);
        if is_new {
            same.push(*record);
        }
        is_new
    })
}

/// Writes the union of tables into a file, under a name of its own first.
///
/// # Errors
/// An I/O kind.
pub(crate) fn write_merged(tables: &[&Table], temporary: &Path, path: &Path) -> Result<()> {
    let written = File::create(temporary).and_then(|file| {
        merge_into(BufWriter::with_capacity(1 << 18, file), tables)?;
        std::fs::rename(temporary, path)
    });
    if written.is_err() {
        drop(std::fs::remove_file(temporary));
    }
    written.map_err(|e| Error::io(format!("Cache file {}", path.display()), e))
}

fn merge_into(out: impl Write + io::Seek, tables: &[&Table]) -> io::Result<()> {
    let mut meta = TableMeta::default();
    for table in tables {
        meta.covers.extend(&table.meta.covers);
        meta.marks.extend(&table.meta.marks);
        meta.replaces.extend(&table.meta.replaces);
    }
    let sum = |count: fn(&Table) -> u64| tables.iter().map(|t| count(t)).sum::<u64>();
    let mut writer = TableWriter::begin(out)?;
    // The keys of the packs, in the order of the packs, each pack's once.
    let mut last = None;
    for pack in Merge::new(tables.iter().map(|t| t.pack_records())) {
        let (part, record) = pack?;
        if last != Some(id_of(&record)) {
            last = Some(id_of(&record));
            let keys = tables.get(part).map(|t| t.key_bytes(&record)).transpose()?;
            writer.keys(&keys.unwrap_or_default())?;
        }
    }
    // The packs, and which number each has now.
    let mut numbers: Vec<Vec<u32>> = tables.iter().map(|t| Vec::with_capacity(t.pack_count() as usize)).collect();
    let (mut last, mut count) = (None, 0u32);
    let packs = Merge::new(tables.iter().map(|t| t.pack_records())).filter_map(|pack| match pack {
        Ok((part, record)) => {
            let is_new = last != Some(id_of(&record));
            count += u32::from(is_new);
            last = Some(id_of(&record));
            numbers.get_mut(part)?.push(count - 1);
            is_new.then_some(Ok(record))
        }
        Err(e) => Some(Err(e)),
    });
    writer.packs(sum(Table::pack_count), packs)?;
    let blobs = Merge::new(tables.iter().map(|t| t.blob_records())).map(|blob| {
        let (part, record) = blob?;
        moved(record, numbers.get(part).map_or(&[], Vec::as_slice))
    });
    writer.blobs(sum(Table::blob_count), distinct(blobs))?;
    let chunks = Merge::new(tables.iter().map(|t| t.chunk_records())).map(|chunk| chunk.map(|(_, record)| record));
    writer.chunks(sum(Table::chunk_count), distinct(chunks))?;
    writer.finish(&meta)
}

fn id_of<const N: usize>(record: &[u8; N]) -> [u8; 32] {
    record.first_chunk().copied().unwrap_or_default()
}
