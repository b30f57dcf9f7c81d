//! ZIP archives, written as a stream: nothing is gone back to, and memory does not grow with the number of files.
//!
//! The central directory comes last, and says of each file what its header and its data descriptor said; till then it waits
//! in memory up to [`WAITING_BYTES`], and then in a nameless file. Sizes and places of 4 GiB and more have 64 bits.
//! Source: PKWARE, "APPNOTE.TXT - .ZIP File Format Specification", 4.3 and 4.5; Info-ZIP, "extended timestamp".

use std::io::{self, Read, Seek, SeekFrom, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tempfile::SpooledTempFile;

/// So much of the central directory waits in memory.
const WAITING_BYTES: usize = 2 << 20;
/// From this size on, and where it is unknown, a file has 64-bit sizes; what deflates badly grows a little.
const LARGE_BYTES: u64 = 3 << 30;
/// How hard is compressed, from 1 to 9: reading a tenant is never slower than this.
const LEVEL: u32 = 1;
/// Compressed bytes are handed on in so large parts.
const PART_BYTES: usize = 64 << 10;

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;
/// Names are UTF-8.
const UTF8: u16 = 1 << 11;
/// Sizes and checksum follow the bytes.
const FOLLOWS: u16 = 1 << 3;
const DEFLATED: u16 = 8;
/// Made by version 4.5 under Unix.
const MADE_BY: u16 = 3 << 8 | 45;
/// What a field of 32 bits says where one of 64 counts.
const ELSEWHERE: u32 = u32::MAX;

/// What the central directory says of an entry beside its sizes.
struct Entry {
    name: String,
    flags: u16,
    method: u16,
    /// Time and date as DOS has them, in UTC.
    dos: (u16, u16),
    /// Seconds since 1970, as Unix has them; `None`: before, or after what fits.
    seconds: Option<u32>,
    mode: u32,
    offset: u64,
    large: bool,
}

/// The sizes of an entry.
#[derive(Default)]
struct Sizes {
    crc: u32,
    stored: u64,
    plain: u64,
}

/// An archive that is being written.
pub(super) struct ZipStream<W: Write> {
    out: W,
    /// Bytes written so far.
    at: u64,
    waiting: SpooledTempFile,
    waiting_bytes: u64,
    entries: u64,
    deflate: Compress,
    part: Vec<u8>,
    open: Option<(Entry, Crc, u64)>,
}

impl<W: Write> ZipStream<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            at: 0,
            waiting: SpooledTempFile::new(WAITING_BYTES),
            waiting_bytes: 0,
            entries: 0,
            deflate: Compress::new(Compression::new(LEVEL), false),
            part: Vec::with_capacity(PART_BYTES),
            open: None,
        }
    }

    /// Adds a folder.
    pub(super) fn folder(&mut self, name: &str) -> io::Result<()> {
        let entry = Entry {
            name: format!("{name}/"),
            flags: UTF8,
            method: 0,
            dos: dos(0),
            seconds: None,
            mode: 0o040_755,
            offset: self.at,
            large: false,
        };
        self.local(&entry)?;
        self.central(&entry, &Sizes::default())
    }

    /// Begins a file; its bytes follow, and then [`Self::end_file`]. `seconds`: since 1970.
    pub(super) fn begin_file(&mut self, name: String, seconds: i64, size_bytes: Option<u64>) -> io::Result<()> {
        let entry = Entry {
            name,
            flags: UTF8 | FOLLOWS,
            method: DEFLATED,
            dos: dos(seconds),
            seconds: i32::try_from(seconds).ok().and_then(|s| u32::try_from(s).ok()).filter(|s| *s > 0),
            mode: 0o100_644,
            offset: self.at,
            large: size_bytes.is_none_or(|size| size >= LARGE_BYTES),
        };
        self.local(&entry)?;
        self.deflate.reset();
        self.open = Some((entry, Crc::new(), self.at));
        Ok(())
    }

    /// Adds bytes to the file that was begun.
    pub(super) fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Some((_, crc, _)) = &mut self.open {
            crc.update(bytes);
        }
        while !bytes.is_empty() {
            let before = self.deflate.total_in();
            self.squeeze(bytes, FlushCompress::None)?;
            let taken = usize::try_from(self.deflate.total_in() - before).unwrap_or(usize::MAX);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    pub(super) fn end_file(&mut self) -> io::Result<()> {
        while self.squeeze(&[], FlushCompress::Finish)? != Status::StreamEnd {}
        let Some((entry, crc, from)) = self.open.take() else { return Ok(()) };
        let sizes = Sizes { crc: crc.sum(), stored: self.at - from, plain: self.deflate.total_in() };
        let fits = sizes.stored.max(sizes.plain) < u64::from(ELSEWHERE);
        if !fits && !entry.large {
            return Err(io::Error::other(format!("{} is larger than was told", entry.name)));
        }
        let mut record = Record::of(DESCRIPTOR).u32(sizes.crc);
        record = match entry.large {
            true => record.u64(sizes.stored).u64(sizes.plain),
            false => record.u32(sizes.stored as u32).u32(sizes.plain as u32),
        };
        self.write(&record.0)?;
        self.central(&entry, &sizes)
    }

    /// Ends the archive, and gives what it was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let (offset, size) = (self.at, self.waiting_bytes);
        self.waiting.seek(SeekFrom::Start(0))?;
        let copied = io::copy(&mut Read::by_ref(&mut self.waiting), &mut self.out)?;
        if copied != size {
            return Err(io::Error::other("The directory of the archive was cut short"));
        }
        self.at += copied;
        let many = self.entries >= u64::from(u16::MAX);
        if many || offset.max(size) >= u64::from(ELSEWHERE) {
            let end = Record::of(END_64).u64(44).u16(MADE_BY).u16(45).u32(0).u32(0);
            let end = end.u64(self.entries).u64(self.entries).u64(size).u64(offset);
            let locator = Record::of(LOCATOR_64).u32(0).u64(self.at).u32(1);
            self.write(&end.0)?;
            self.write(&locator.0)?;
        }
        let entries = u16::try_from(self.entries).unwrap_or(u16::MAX);
        let end = Record::of(END).u16(0).u16(0).u16(entries).u16(entries).u32(narrow(size)).u32(narrow(offset)).u16(0);
        self.write(&end.0)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn squeeze(&mut self, bytes: &[u8], flush: FlushCompress) -> io::Result<Status> {
        self.part.clear();
        let status = self.deflate.compress_vec(bytes, &mut self.part, flush).map_err(io::Error::other)?;
        let part = std::mem::take(&mut self.part);
        let written = self.write(&part);
        self.part = part;
        written.map(|()| status)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn local(&mut self, entry: &Entry) -> io::Result<()> {
        // With sizes of 64 bits, what follows the bytes has them too.
        let sizes = if entry.large { Record::default().u16(1).u16(16).u64(0).u64(0) } else { Record::default() };
        let extra = [sizes.0, time(entry)].concat();
        let size = if entry.large { ELSEWHERE } else { 0 };
        let record = Record::of(LOCAL).begin(entry).u32(0).u32(size).u32(size);
        let record = record.u16(length(entry.name.len())?).u16(length(extra.len())?);
        self.write(&[&record.0, entry.name.as_bytes(), &extra].concat())
    }

    fn central(&mut self, entry: &Entry, sizes: &Sizes) -> io::Result<()> {
        let mut wide = Record::default();
        for value in [sizes.plain, sizes.stored, entry.offset] {
            if narrow(value) == ELSEWHERE {
                wide = wide.u64(value);
            }
        }
        if !wide.0.is_empty() {
            wide = Record([Record::default().u16(1).u16(length(wide.0.len())?).0, wide.0].concat());
        }
        let extra = [wide.0, time(entry)].concat();
        let record = Record::of(CENTRAL).u16(MADE_BY).begin(entry).u32(sizes.crc);
        let record = record.u32(narrow(sizes.stored)).u32(narrow(sizes.plain));
        let record = record.u16(length(entry.name.len())?).u16(length(extra.len())?).u16(0).u16(0).u16(0);
        let record = record.u32(entry.mode << 16).u32(narrow(entry.offset));
        let whole = [&record.0, entry.name.as_bytes(), &extra].concat();
        self.waiting.write_all(&whole)?;
        self.waiting_bytes += whole.len() as u64;
        self.entries += 1;
        Ok(())
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(ELSEWHERE)
}

fn length(bytes: usize) -> io::Result<u16> {
    u16::try_from(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a name is too long for a ZIP"))
}

/// The time as Unix has it.
fn time(entry: &Entry) -> Vec<u8> {
    entry.seconds.map_or(Vec::new(), |seconds| {
        let mut extra = Record::default().u16(0x5455).u16(5).0;
        extra.push(1);
        extra.extend(seconds.to_le_bytes());
        extra
    })
}

/// Time and date as DOS has them: from 1980 to 2107, in steps of two seconds.
fn dos(seconds: i64) -> (u16, u16) {
    let earliest = (0, 1 << 5 | 1);
    let Ok(at) = Timestamp::from_second(seconds) else { return earliest };
    let at = TimeZone::UTC.to_datetime(at);
    let Some(year) = u16::try_from(at.year()).ok().and_then(|year| year.checked_sub(1980)).filter(|y| *y < 128) else {
        return earliest;
    };
    let part = |n: i8| u16::try_from(n).unwrap_or_default();
    let time = part(at.hour()) << 11 | part(at.minute()) << 5 | (part(at.second()) / 2);
    (time, year << 9 | part(at.month()) << 5 | part(at.day()))
}

/// Numbers laid end to end, the lowest byte first.
#[derive(Default)]
struct Record(Vec<u8>);

impl Record {
    fn of(signature: u32) -> Self {
        Self::default().u32(signature)
    }

    /// Version needed, flags, method, time and date.
    fn begin(self, entry: &Entry) -> Self {
        let version = if entry.large { 45 } else { 20 };
        self.u16(version).u16(entry.flags).u16(entry.method).u16(entry.dos.0).u16(entry.dos.1)
    }

    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(bytes: Vec<u8>) -> Vec<(String, Vec<u8>, Option<u32>)> {
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        (0..archive.len())
            .map(|n| {
                let mut file = archive.by_index(n).unwrap();
                let mut content = Vec::new();
                file.read_to_end(&mut content).unwrap();
                let time = file.extra_data_fields().find_map(|field| match field {
                    zip::extra_fields::ExtraField::ExtendedTimestamp(time) => time.mod_time(),
                    _ => None,
                });
                (file.name().unwrap().into_owned(), content, time)
            })
            .collect()
    }

    fn noise(length: usize) -> Vec<u8> {
        (0..length as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    #[test]
    fn another_reader_finds_every_file_whole() {
        let long = noise(3_000_000);
        let files: [(&str, &[u8], i64, Option<u64>); 5] = [
            ("a/empty.txt", b"", 0, Some(0)),
            ("a/Grüße.txt", b"hello", 1_795_000_000, Some(5)),
            ("a/unknown size.bin", &long, -5, None),
            ("a/zeros", &[0; 500_000], i64::MAX, Some(500_000)),
            ("b", &long[..70_000], 1, Some(70_000)),
        ];
        let mut zip = ZipStream::new(Vec::new());
        zip.folder("a").unwrap();
        for (name, bytes, seconds, size) in files {
            zip.begin_file(name.to_owned(), seconds, size).unwrap();
            bytes.chunks(100_003).for_each(|part| zip.bytes(part).unwrap());
            zip.end_file().unwrap();
        }
        let bytes = zip.finish().unwrap();
        // Readers differ in what they take names for that are not said to be UTF-8.
        let file = bytes.windows(11).position(|w| w.starts_with(b"PK\x03\x04") && w[8] == 8).unwrap();
        assert_eq!(u16::from_le_bytes([bytes[file + 6], bytes[file + 7]]) & 1 << 11, 1 << 11);
        let told = read(bytes);
        assert_eq!(told.len(), 6);
        assert_eq!(told[0], ("a/".to_owned(), Vec::new(), None));
        for ((name, bytes, seconds, _), (told, content, time)) in files.iter().zip(&told[1..]) {
            assert!(name == told && content == bytes, "{name}");
            assert_eq!(*time, u32::try_from(*seconds).ok().filter(|s| *s > 0 && *s < 1 << 31), "{name}");
        }
    }

    #[test]
    fn more_files_than_sixteen_bits_count_are_all_there() {
        let mut zip = ZipStream::new(Vec::new());
        for n in 0..70_000 {
            zip.begin_file(format!("{n:0100}"), 1_795_000_000, Some(3)).unwrap();
            zip.bytes(b"abc").unwrap();
            zip.end_file().unwrap();
        }
        let bytes = zip.finish().unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        assert_eq!(archive.len(), 70_000);
        let mut last = String::new();
        archive.by_index(69_999).unwrap().read_to_string(&mut last).unwrap();
        assert_eq!(last, "abc");
    }

    #[test]
    fn what_does_not_fit_is_said_elsewhere_and_a_name_that_is_too_long_is_refused() {
        assert_eq!((narrow(u64::from(u32::MAX) - 1), narrow(u64::from(u32::MAX))), (u32::MAX - 1, ELSEWHERE));
        assert!(length(65_536).is_err() && length(65_535).is_ok());
        let mut zip = ZipStream::new(io::sink());
        assert!(zip.begin_file("x".repeat(70_000), 0, None).is_err());
    }

    #[test]
    fn times_of_dos_begin_in_1980() {
        assert_eq!(dos(0), (0, 33));
        assert_eq!(dos(i64::MIN), (0, 33));
        assert_eq!(dos(4_500_000_000), (0, 33), "after 2107");
        // 2026-11-25 13:46:40
        assert_eq!(dos(1_795_614_400), (13 << 11 | 46 << 5 | 20, 46 << 9 | 11 << 5 | 25));
    }
}
