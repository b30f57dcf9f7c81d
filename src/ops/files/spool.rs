//! Stretches of contents that wait for the rest of their items in a nameless file beside those that are made, so that they
//! take no memory. To write a stretch out and read it again costs far less than to open its segment a second time.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// A file takes so many bytes; the next stretch goes into another.
const FILE_BYTES: u64 = 256 << 20;
/// So many files at most hold stretches that are waited for.
const FILES: usize = 4;

/// A stretch that is there.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Memory(Bytes),
    Spooled { file: Arc<SpoolFile>, at: u64, length: usize },
}

impl Held {
    /// The bytes, if they are in memory.
    pub(super) fn in_memory(&self) -> Option<&[u8]> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::Spooled { .. } => None,
        }
    }

    /// Adds the bytes to a buffer.
    pub(super) fn read_to(&self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Memory(bytes) => out.extend_from_slice(bytes),
            Self::Spooled { file, at, length } => {
                let mut file = file.file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(*at))?;
                let read = (&*file).take(*length as u64).read_to_end(out)?;
                if read != *length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(())
    }
}

/// One nameless file. It goes with the last stretch in it.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: Mutex<File>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<(Arc<SpoolFile>, u64)>,
    older: Vec<Weak<SpoolFile>>,
    broken: bool,
}

/// Where stretches are laid aside.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    state: Mutex<State>,
}

impl Spool {
    /// `folder` is on the disk that is to hold them. Nothing is made before it is needed.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, state: Mutex::default() }
    }

    /// Says whether more can be laid aside.
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.older.retain(|file| file.strong_count() > 0);
        !state.broken && state.older.len() < FILES
    }

    /// Lays a stretch aside. Where the disk does not take it, it stays in memory, and there is no more room.
    pub(super) fn put(&self, bytes: &[u8]) -> Held {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.try_put(&mut state, bytes).unwrap_or_else(|_| {
            state.broken = true;
            Held::Memory(Bytes::copy_from_slice(bytes))
        })
    }

    fn try_put(&self, state: &mut State, bytes: &[u8]) -> io::Result<Held> {
        let (file, at) = match state.current.take() {
            Some((file, end)) if end < FILE_BYTES => (file, end),
            full => {
                state.older.extend(full.map(|(file, _)| Arc::downgrade(&file)));
                (Arc::new(SpoolFile { file: Mutex::new(tempfile::tempfile_in(&self.folder)?) }), 0)
            }
        };
        {
            let mut open = file.file.lock().unwrap_or_else(PoisonError::into_inner);
            open.seek(SeekFrom::Start(at))?;
            open.write_all(bytes)?;
        }
        state.current = Some((file.clone(), at + bytes.len() as u64));
        Ok(Held::Spooled { file, at, length: bytes.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_laid_aside_comes_back_and_a_disk_that_refuses_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path().to_owned());
        let parts: Vec<Vec<u8>> = (0..50u8).map(|n| vec![n; usize::from(n) * 1000]).collect();
        let held: Vec<Held> = parts.iter().map(|part| spool.put(part)).collect();
        for (part, held) in parts.iter().zip(&held).rev() {
            let mut out = vec![9];
            held.read_to(&mut out).unwrap();
            assert!(out[1..] == part[..] && held.in_memory().is_none());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it has no name");
        assert!(spool.has_room());
        let nowhere = Spool::new(dir.path().join("nowhere"));
        assert_eq!(nowhere.put(b"abc").in_memory(), Some(&b"abc"[..]));
        assert!(!nowhere.has_room());
    }
}
