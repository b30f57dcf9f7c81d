//! Large files past the page cache, where the system can: to copy a gibibyte into it costs one to two seconds of CPU
//! (`docs/performance.md`), and pushes out of it what other programs read again, which a pack is not.

use std::io;
use std::path::Path;

use bytes::Bytes;

/// Smaller files go through the page cache, in bytes.
pub(super) const LARGE: usize = 1 << 20;

/// Writes a new file and syncs it. `false`: this file system does not do that; then there is no file.
///
/// # Errors
///
/// Those of the system.
#[cfg(not(target_os = "linux"))]
pub(super) fn write_new(_path: &Path, _data: &[Bytes]) -> io::Result<bool> {
    Ok(false)
}

/// Writes a new file and syncs it. `false`: this file system does not do that; then there is no file.
///
/// # Errors
///
/// Those of the system.
#[cfg(target_os = "linux")]
pub(super) fn write_new(path: &Path, data: &[Bytes]) -> io::Result<bool> {
    match linux::write_new(path, data) {
        // Also from open, which may have made the file before it refuses; also in the middle, after a short write.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(false),
            }
        }
        written => written.map(|()| true),
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{File, OpenOptions};
    use std::io::{self, Write as _};
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::Path;

    use bytes::Bytes;

    /// What memory, places in the file and lengths must be multiples of. A disk that wants more refuses.
    const BLOCK: usize = 4096;
    /// So much is written at once, in bytes.
    const PIECE: usize = 1 << 20;

    pub(super) fn write_new(path: &Path, data: &[Bytes]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).custom_flags(libc::O_DIRECT).open(path)?;
        let mut memory = vec![0; PIECE + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        let Some(piece) = memory.get_mut(start..start + PIECE) else { return Err(io::ErrorKind::InvalidInput.into()) };
        let (mut filled, mut total) = (0, 0u64);
        for bytes in data {
            let mut rest = &bytes[..];
            total += rest.len() as u64;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(PIECE - filled));
                piece[filled..filled + now.len()].copy_from_slice(now);
                (filled, rest) = (filled + now.len(), later);
                if filled == PIECE {
                    write_all(&mut file, piece)?;
                    filled = 0;
                }
            }
        }
        let whole_blocks = filled.next_multiple_of(BLOCK);
        piece[filled..whole_blocks].fill(0);
        write_all(&mut file, &piece[..whole_blocks])?;
        file.set_len(total)?;
        file.sync_all()
    }

    fn write_all(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
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
