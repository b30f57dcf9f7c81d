//! Large files past the page cache, where the system can: to copy a gibibyte into it costs one to two seconds of CPU
//! (`docs/performance.md`), and pushes out of it what other programs read again, which a pack or an exported file is not.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Smaller files go through the page cache, in bytes.
pub(super) const LARGE: usize = 1 << 20;
/// What memory, places in the file and lengths must be multiples of. A disk that wants more refuses.
const BLOCK: usize = 4096;
/// So much is written at once, in bytes.
const PIECE: usize = 1 << 20;

/// Writes a new file and syncs it. `false`: this file system does not do that; then there is no file.
///
/// # Errors
///
/// Those of the system.
pub(super) fn write_new(path: &Path, data: &[Bytes]) -> io::Result<bool> {
    let Some(file) = open_direct(path, true)? else {
        // Also open may have made the file before it refuses.
        return match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(false),
        };
    };
    let mut file = LargeFile::of(path, file, true);
    data.iter().try_for_each(|bytes| file.write(bytes))?;
    file.finish()?.sync_all()?;
    Ok(true)
}

/// Opens a file for writing past the page cache: one that must be new, or one in the place of what is there. None where
/// the file system does not do that.
fn open_direct(path: &Path, new: bool) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.write(true);
    if new {
        options.create_new(true)
    } else {
        options.create(true).truncate(true)
    };
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        match options.custom_flags(libc::O_DIRECT).open(path) {
            Err(e) if refuses(&e) => Ok(None),
            opened => opened.map(Some),
        }
    }
    #[cfg(not(target_os = "linux"))]
    Ok(None)
}

fn refuses(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// A large file that is written from its beginning to its end: past the page cache, or through it where the system does
/// not do that.
#[derive(Debug)]
pub(crate) struct LargeFile {
    path: PathBuf,
    file: File,
    direct: bool,
    /// Room for a piece, which begins at `start`.
    memory: Vec<u8>,
    start: usize,
    filled: usize,
    /// Whole pieces that are written, in bytes.
    written: u64,
}

impl LargeFile {
    /// Begins a file; what was there under its name is replaced.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        match open_direct(path, false)? {
            Some(file) => Ok(Self::of(path, file, true)),
            None => Ok(Self::of(path, File::create(path)?, false)),
        }
    }

    fn of(path: &Path, file: File, direct: bool) -> Self {
        let memory = vec![0; PIECE + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self { path: path.to_owned(), file, direct, memory, start, filled: 0, written: 0 }
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn write(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PIECE - self.filled));
            let at = self.start + self.filled;
            let room = self.memory.get_mut(at..at + now.len()).ok_or(io::ErrorKind::InvalidInput)?;
            room.copy_from_slice(now);
            (self.filled, rest) = (self.filled + now.len(), later);
            if self.filled == PIECE {
                self.write_piece(PIECE)?;
                (self.filled, self.written) = (0, self.written + PIECE as u64);
            }
        }
        Ok(())
    }

    /// Ends it; nothing is synced.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn finish(mut self) -> io::Result<File> {
        let whole_blocks = self.filled.next_multiple_of(BLOCK);
        if let Some(rest) = self.memory.get_mut(self.start + self.filled..self.start + whole_blocks) {
            rest.fill(0);
        }
        self.write_piece(whole_blocks)?;
        self.file.set_len(self.written + self.filled as u64)?;
        Ok(self.file)
    }

    /// Writes the piece in memory, and where the system refuses to do so past the page cache, through it.
    fn write_piece(&mut self, length: usize) -> io::Result<()> {
        let piece = self.memory.get(self.start..self.start + length).ok_or(io::ErrorKind::InvalidInput)?;
        match write_all(&mut self.file, piece) {
            Err(e) if self.direct && refuses(&e) => {
                self.file = OpenOptions::new().write(true).open(&self.path)?;
                self.file.seek(SeekFrom::Start(self.written))?;
                self.direct = false;
                write_all(&mut self.file, piece)
            }
            written => written,
        }
    }
}

/// As `Write::write_all`; after a short write the system refuses what does not begin at a whole block.
fn write_all(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_what_was_given_whatever_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..(3 << 20) + 5000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let all = Bytes::from(all);
        for (number, length) in
            [0, 1, 4095, 4096, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 4096, all.len()]
                .iter()
                .enumerate()
        {
            let path = dir.path().join(number.to_string());
            let (head, tail) = (all.slice(..length / 3), all.slice(length / 3..*length));
            if write_new(&path, &[head, Bytes::new(), tail]).unwrap() {
                assert!(std::fs::read(&path).unwrap() == all[..*length], "{length} bytes");
            } else {
                assert!(!path.exists(), "a file was left behind");
            }
            for direct in [true, false] {
                // A second time in its place; and the way that is taken where the system refuses in the middle.
                let mut file = LargeFile::create(&path).unwrap();
                file.write(&all[..length / 2]).unwrap();
                if !direct {
                    file.file = OpenOptions::new().write(true).open(&path).unwrap();
                    file.file.seek(SeekFrom::Start(file.written)).unwrap();
                }
                file.write(&all[length / 2..*length]).unwrap();
                drop(file.finish().unwrap());
                assert!(std::fs::read(&path).unwrap() == all[..*length], "{length} bytes");
            }
        }
    }

    #[test]
    fn a_name_that_is_taken_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        std::fs::write(&path, "mine").unwrap();
        let written = write_new(&path, &[Bytes::from_static(b"yours")]);
        assert!(matches!(written, Err(_) | Ok(false)), "{written:?}");
        assert!(!path.exists() || std::fs::read(&path).unwrap() == b"mine");
    }
}
