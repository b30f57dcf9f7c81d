//! Files that this machine keeps for itself beside the local cache and that would tell names in the clear: written piece
//! by piece, each piece compressed and encrypted under a key of the file (state key, own kind, random salt).
//!
//! Every (key, nonce) pair is used once: the salt is fresh for each file, pieces are numbered, and the directory, written
//! last, has the last number. Nothing here is the only copy of anything; what does not read is an error to the caller,
//! who makes it anew.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use tempfile::TempDir;

use crate::crypto::{self, Secret, random_bytes};
use crate::error::{Error, Result};
use crate::format::codec;
use crate::repo::repository::Repository;
use crate::storage::read_exact_at;

const MAGIC: &[u8; 8] = b"TVSEALD1";
/// No kind of file of a repository has this number, so keys of both never coincide.
const KIND: u8 = 0xc1;
const HEAD_BYTES: u64 = 8 + 32;
/// Where the directory is and how long: the last bytes of a file.
const TAIL_BYTES: u64 = 8 + 4;
/// A directory may have so many bytes on the disk.
const LONGEST_DIRECTORY: u32 = 256 << 20;
/// The directory's number.
const DIRECTORY: u64 = u64::MAX;
/// What nobody names and is older than this is nobody's.
const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);
/// The folder of the cache.
pub(super) const FOLDER: &str = "search";

/// Where a piece is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Piece {
    offset: u64,
    length: u32,
    number: u32,
}

/// A folder for sealed files that is removed when nobody has it any more: where there is no cache, or it takes nothing.
#[derive(Debug, Clone)]
pub struct Scratch(Arc<TempDir>);

/// A sealed file, by its place; opened for as long as it is read from.
#[derive(Clone)]
pub struct SealedFile {
    path: PathBuf,
    key: Secret,
    /// Keeps the folder.
    _scratch: Option<Scratch>,
}

impl std::fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedFile({})", self.path.display())
    }
}

/// A sealed file, open.
pub struct SealedReader {
    file: File,
    key: Secret,
}

/// Writes a sealed file. What is not finished goes.
pub struct SealedWriter {
    out: std::io::BufWriter<File>,
    key: Secret,
    temporary: PathBuf,
    path: PathBuf,
    scratch: Option<Scratch>,
    offset: u64,
    number: u32,
    finished: bool,
}

impl Drop for SealedWriter {
    fn drop(&mut self) {
        if !self.finished {
            drop(std::fs::remove_file(&self.temporary));
        }
    }
}

fn what(path: &std::path::Path) -> String {
    format!("Search log {}", path.display())
}

impl Repository {
    /// Begins a sealed file of a name: in the cache, or in `scratch`. Where both fail it is the error of the second.
    ///
    /// # Errors
    /// The disk's.
    pub fn write_sealed(&self, name: &str, scratch: Option<&Scratch>) -> Result<SealedWriter> {
        let folder = match (scratch, &self.cache) {
            (Some(scratch), _) => scratch.0.path().to_owned(),
            (None, Some(cache)) => cache.folder().join(FOLDER),
            (None, None) => return Err(Error::internal("There is no cache to write to")),
        };
        let (path, temporary) = (folder.join(name), folder.join(format!("tmp-{}-{name}", std::process::id())));
        let salt: [u8; 32] = random_bytes();
        let key = self.keys.state_sub_key(KIND, &salt);
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&temporary).map_err(|e| Error::io(what(&temporary), e))?;
        let mut writer = SealedWriter {
            out: std::io::BufWriter::with_capacity(256 << 10, file),
            key,
            temporary,
            path,
            scratch: scratch.cloned(),
            offset: HEAD_BYTES,
            number: 0,
            finished: false,
        };
        writer.write(&[MAGIC, &salt[..]].concat())?;
        Ok(writer)
    }

    /// Opens a sealed file of the cache and reads its directory; nothing if it is not there or not whole.
    pub fn open_sealed(&self, name: &str) -> Option<(SealedFile, Vec<u8>)> {
        let path = self.cache.as_ref()?.folder().join(FOLDER).join(name);
        let file = File::open(&path).ok()?;
        let length = file.metadata().ok()?.len();
        let mut head = [0; HEAD_BYTES as usize];
        read_exact_at(&file, &mut head, 0).ok()?;
        let salt: [u8; 32] = head.strip_prefix(MAGIC)?.try_into().ok()?;
        let mut tail = [0; TAIL_BYTES as usize];
        let tail_at = length.checked_sub(TAIL_BYTES)?;
        read_exact_at(&file, &mut tail, tail_at).ok()?;
        let (offset, bytes) = tail.split_first_chunk::<8>()?;
        let (offset, bytes) = (u64::from_le_bytes(*offset), u32::from_le_bytes(bytes.try_into().ok()?));
        if bytes > LONGEST_DIRECTORY || offset.checked_add(bytes.into())? != tail_at {
            return None;
        }
        let reader = SealedReader { file, key: self.keys.state_sub_key(KIND, &salt) };
        let directory = reader.open_at(offset, bytes, DIRECTORY).ok()?;
        Some((SealedFile { path, key: reader.key, _scratch: None }, directory))
    }

    /// Says whether sealed files can be kept from one run to the next.
    pub fn keeps_sealed(&self) -> bool {
        self.cache.is_some()
    }

    /// Makes a folder for sealed files of this run alone.
    ///
    /// # Errors
    /// The disk's.
    pub fn scratch(&self) -> Result<Scratch> {
        let made = tempfile::Builder::new().prefix("tenantvault-").tempdir();
        made.map(|folder| Scratch(Arc::new(folder))).map_err(|e| Error::io("A temporary folder cannot be made", e))
    }

    /// Removes sealed files of the cache that are not named and not new: another process may have just begun one.
    pub fn sweep_sealed(&self, keep: &HashSet<String>) {
        let Some(cache) = &self.cache else { return };
        for entry in std::fs::read_dir(cache.folder().join(FOLDER)).into_iter().flatten().flatten() {
            let age = entry.metadata().ok().and_then(|m| m.modified().ok()?.elapsed().ok());
            let named = entry.file_name().to_str().is_some_and(|name| keep.contains(name));
            if !named && age.is_some_and(|age| age > ABANDONED_AFTER) {
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }
}

impl SealedWriter {
    /// Writes a piece and says where it is.
    ///
    /// # Errors
    /// The disk's.
    pub fn push(&mut self, plain: &[u8]) -> Result<Piece> {
        let number = self.number;
        self.number += 1;
        let (offset, length) = self.seal(plain, number.into())?;
        Ok(Piece { offset, length, number })
    }

    /// Writes the directory, which tells what the pieces are, and gives the file its name. It need not be durable.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(mut self, directory: &[u8]) -> Result<SealedFile> {
        let (offset, length) = self.seal(directory, DIRECTORY)?;
        let tail = [&offset.to_le_bytes()[..], &length.to_le_bytes()].concat();
        self.write(&tail)?;
        self.out.flush().map_err(|e| Error::io(what(&self.temporary), e))?;
        std::fs::rename(&self.temporary, &self.path).map_err(|e| Error::io(what(&self.path), e))?;
        self.finished = true;
        Ok(SealedFile { path: self.path.clone(), key: self.key.clone(), _scratch: self.scratch.take() })
    }

    fn seal(&mut self, plain: &[u8], number: u64) -> Result<(u64, u32)> {
        let mut sealed = codec::compress_document(plain);
        crypto::seal_in_place(&self.key, number, b"", &mut sealed, 0);
        let too_long = || Error::invalid(format!("{} would have a piece of 4 GiB", what(&self.path)));
        let length = u32::try_from(sealed.len()).map_err(|_| too_long())?;
        let offset = self.offset;
        self.write(&sealed)?;
        self.offset += u64::from(length);
        Ok((offset, length))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io(what(&self.temporary), e))
    }
}

impl SealedFile {
    /// Opens it.
    ///
    /// # Errors
    /// `NotFound` when somebody removed it; the disk's.
    pub fn open(&self) -> Result<SealedReader> {
        let file = File::open(&self.path).map_err(|e| Error::io(what(&self.path), e))?;
        Ok(SealedReader { file, key: self.key.clone() })
    }
}

impl SealedReader {
    /// Reads a piece.
    ///
    /// # Errors
    /// `Corrupt` when it is not what was written; the disk's.
    pub fn read(&self, piece: Piece) -> Result<Vec<u8>> {
        self.open_at(piece.offset, piece.length, piece.number.into())
    }

    fn open_at(&self, offset: u64, length: u32, number: u64) -> Result<Vec<u8>> {
        const WHAT: &str = "A search log";
        let length = usize::try_from(length).map_err(|_| Error::corrupt(format!("{WHAT} has too long a piece")))?;
        let mut sealed = vec![0; length];
        read_exact_at(&self.file, &mut sealed, offset)
            .map_err(|e| Error::corrupt(format!("{WHAT} is cut short")).with_source(e))?;
        crypto::open_in_place(WHAT, &self.key, number, b"", &mut sealed)?;
        codec::decompress_document(WHAT, &sealed)
    }
}
