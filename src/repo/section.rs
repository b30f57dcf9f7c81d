//! Sections of an index table: records of one size, sorted by the id that each begins with, behind a fan-out of ids'
//! first bits. The fan-out is in memory; the records stay on disk, and a look-up reads the one stretch of them that may hold the
//! id, some eight to sixteen. So memory does not follow the size of the table, and it is the kernel that
//! decides how much of the file is kept at hand.

use std::fs::File;
use std::io::{self, Write};

use crate::storage::read_exact_at;

/// Records that a fan-out entry should stand for.
const BUCKET: u64 = 16;
/// What a look-up reads at once, in bytes.
const STRETCH_BYTES: usize = 2048;
/// What a walk through all records reads at once, in bytes.
const WALK_BYTES: usize = 64 << 10;

/// Where the bytes of a table are.
pub(super) enum Backing {
    Memory(Vec<u8>),
    File { file: File, bytes: u64 },
}

impl Backing {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
        }
    }

    /// Fills `out` from a place in the table.
    pub(super) fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Memory(bytes) => {
                out.copy_from_slice(slice(bytes, at, out.len())?);
                Ok(())
            }
            Self::File { file, .. } => read_exact_at(file, out, at),
        }
    }

    /// Reads a stretch of at least one byte that a length in the table itself tells.
    pub(super) fn read_vec(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        if at.checked_add(length).is_none_or(|end| end > self.len()) {
            return Err(cut_short());
        }
        let mut out = vec![0; usize::try_from(length).map_err(|_| cut_short())?];
        self.read(at, &mut out)?;
        Ok(out)
    }

    /// A stretch where it lies in memory, or read into the buffer.
    fn stretch<'a>(&'a self, at: u64, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        match self {
            Self::Memory(bytes) => slice(bytes, at, buffer.len()),
            Self::File { file, .. } => {
                read_exact_at(file, buffer, at)?;
                Ok(buffer)
            }
        }
    }
}

fn slice(bytes: &[u8], at: u64, length: usize) -> io::Result<&[u8]> {
    let found = usize::try_from(at).ok().and_then(|at| bytes.get(at..at.checked_add(length)?));
    found.ok_or_else(cut_short)
}

pub(super) fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut short")
}

/// Records of `N` bytes, sorted by the id that each begins with.
#[derive(Default)]
pub(super) struct Section<const N: usize> {
    pub(super) count: u64,
    records_at: u64,
    bits: u32,
    /// For each value of the ids' first bits the number of the first record that has it or a higher one; and the count.
    fan: Vec<u32>,
}

/// Bytes of a section's description in the head of a table: count, bits, place of the records, place of the fan-out.
pub(super) const SECTION_HEAD_BYTES: usize = 32;

impl<const N: usize> Section<N> {
    /// Reads a section's fan-out.
    pub(super) fn open(backing: &Backing, head: &[u8; SECTION_HEAD_BYTES]) -> io::Result<Self> {
        let field = |n: usize| u64::from_le_bytes(std::array::from_fn(|i| head[n * 8 + i]));
        let (count, bits, records_at, fan_at) = (field(0), field(1), field(2), field(3));
        let bits = u32::try_from(bits).ok().filter(|bits| *bits <= 28).ok_or_else(cut_short)?;
        let end = count.checked_mul(N as u64).and_then(|bytes| bytes.checked_add(records_at));
        if end.is_none_or(|end| end > backing.len()) {
            return Err(cut_short());
        }
        let bytes = backing.read_vec(fan_at, ((1 << bits) + 1) * 4)?;
        let fan: Vec<u32> = bytes.as_chunks().0.iter().map(|entry| u32::from_le_bytes(*entry)).collect();
        if !fan.is_sorted() || fan.last().map(|last| u64::from(*last)) != Some(count) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its fan-out is none"));
        }
        Ok(Self { count, records_at, bits, fan })
    }

    /// Writes records and notes where they are. `at` counts the bytes of the table; there are not more than `most` records.
    pub(super) fn write(
        out: &mut impl Write,
        at: &mut u64,
        most: u64,
        records: impl Iterator<Item = io::Result<[u8; N]>>,
    ) -> io::Result<Self> {
        let bits = (most / BUCKET).checked_ilog2().map_or(0, |b| b + 1).min(28);
        let mut fan = Vec::with_capacity((1 << bits) + 1);
        let (mut count, records_at) = (0u32, *at);
        for record in records {
            let record = record?;
            fan.resize(fan.len().max(fan_slot(&record, bits) + 1), count);
            out.write_all(&record)?;
            count = count.checked_add(1).ok_or_else(|| io::Error::other("a table is full"))?;
        }
        fan.resize((1 << bits) + 1, count);
        *at += u64::from(count) * N as u64;
        Ok(Self { count: count.into(), records_at, bits, fan })
    }

    /// Writes the fan-out; says the section's description.
    pub(super) fn write_fan(&self, out: &mut impl Write, at: &mut u64) -> io::Result<[u8; SECTION_HEAD_BYTES]> {
        let fan_at = *at;
        for entry in &self.fan {
            out.write_all(&entry.to_le_bytes())?;
        }
        *at += self.fan.len() as u64 * 4;
        let mut head = [0; SECTION_HEAD_BYTES];
        for (slot, field) in head.chunks_exact_mut(8).zip([self.count, self.bits.into(), self.records_at, fan_at]) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        Ok(head)
    }

    /// Calls `each` with the number and the bytes of every record that begins with an id.
    pub(super) fn find(&self, backing: &Backing, id: &[u8], mut each: impl FnMut(u32, &[u8; N])) -> io::Result<()> {
        let slot = fan_slot(id, self.bits);
        let (Some(&from), Some(&to)) = (self.fan.get(slot), self.fan.get(slot + 1)) else { return Ok(()) };
        let mut buffer = [0; STRETCH_BYTES];
        let mut next = from;
        while next < to {
            let count = (to - next).min((STRETCH_BYTES / N) as u32);
            let buffer = buffer.get_mut(..count as usize * N).ok_or_else(cut_short)?;
            let bytes = backing.stretch(self.records_at + u64::from(next) * N as u64, buffer)?;
            for (n, record) in (next..).zip(bytes.as_chunks::<N>().0) {
                match record.get(..id.len()).map(|found| found.cmp(id)) {
                    Some(std::cmp::Ordering::Less) => {}
                    Some(std::cmp::Ordering::Equal) => each(n, record),
                    _ => return Ok(()),
                }
            }
            next += count;
        }
        Ok(())
    }

    /// Reads the n-th record.
    pub(super) fn record(&self, backing: &Backing, n: u64) -> io::Result<[u8; N]> {
        let mut record = [0; N];
        if n >= self.count {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has fewer records than it names"));
        }
        backing.read(self.records_at + n * N as u64, &mut record)?;
        Ok(record)
    }

    /// Goes through all records in their order.
    pub(super) fn records<'a>(&self, backing: &'a Backing) -> Records<'a, N> {
        Records { backing, at: self.records_at, left: self.count, buffer: Vec::new(), taken: 0 }
    }
}

/// Goes through the records of a section. After an error it ends.
pub(super) struct Records<'a, const N: usize> {
    backing: &'a Backing,
    /// Where the records are that are not in the buffer yet, and how many.
    at: u64,
    left: u64,
    buffer: Vec<u8>,
    taken: usize,
}

impl<const N: usize> Iterator for Records<'_, N> {
    type Item = io::Result<[u8; N]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.taken == self.buffer.len() {
            let count = self.left.min((WALK_BYTES / N) as u64);
            if count == 0 {
                return None;
            }
            self.buffer.resize(count as usize * N, 0);
            self.taken = 0;
            if let Err(e) = self.backing.read(self.at, &mut self.buffer) {
                (self.left, self.buffer) = (0, Vec::new());
                return Some(Err(e));
            }
            self.at += self.buffer.len() as u64;
            self.left -= count;
        }
        let record = self.buffer.get(self.taken..)?.first_chunk().copied()?;
        self.taken += N;
        Some(Ok(record))
    }
}

/// The fan-out slot of an id: its first `bits` bits.
fn fan_slot(id: &[u8], bits: u32) -> usize {
    let top = id.first_chunk().map_or(0, |first| u64::from(u32::from_be_bytes(*first)));
    ((top << bits) >> 32) as usize
}
