//! The bytes of an archive, written in one go on a thread of their own.

use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::ArchiveKind;
use super::zip::ZipStream;

/// Bytes are handed to the disk in so large parts.
const BUFFER_BYTES: usize = 1 << 20;

/// What is to be written next.
pub(super) enum Order {
    Folder(String),
    /// A file; its bytes follow. A tar needs to know how many there will be.
    File {
        name: String,
        modified: Option<SystemTime>,
        size_bytes: Option<u64>,
    },
    Bytes(Bytes),
    /// The file ends here.
    End,
    /// The archive is whole.
    Finish,
}

/// Writes an archive as it is ordered; says whether it was ordered to its end.
pub(super) fn run(kind: ArchiveKind, out: Box<dyn Write + Send>, orders: mpsc::Receiver<Order>) -> io::Result<bool> {
    let broken = Arc::new(AtomicBool::new(false));
    let gate = Gate { out, broken: broken.clone() };
    let out = BufWriter::with_capacity(BUFFER_BYTES, gate);
    let written = match kind {
        ArchiveKind::Zip => zip(out, orders, &broken),
        ArchiveKind::Tar => tar(out, orders, &broken),
    };
    // What is dropped now would end the archive as if it were whole.
    broken.store(true, Ordering::Relaxed);
    written
}

/// Lets nothing through any more once something failed.
struct Gate {
    out: Box<dyn Write + Send>,
    broken: Arc<AtomicBool>,
}

impl Gate {
    fn checked<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if let Err(e) = &done
            && e.kind() != io::ErrorKind::Interrupted
        {
            self.broken.store(true, Ordering::Relaxed);
        }
        done
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken.load(Ordering::Relaxed) {
            return Ok(bytes.len());
        }
        let done = self.out.write(bytes);
        self.checked(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Ok(());
        }
        let done = self.out.flush();
        self.checked(done)
    }
}

fn seconds(modified: Option<SystemTime>) -> i64 {
    modified.and_then(|time| Timestamp::try_from(time).ok()).map_or(0, Timestamp::as_second)
}

fn zip(out: BufWriter<Gate>, mut orders: mpsc::Receiver<Order>, broken: &AtomicBool) -> io::Result<bool> {
    let mut zip = ZipStream::new(out);
    while let Some(order) = orders.blocking_recv() {
        let done = match order {
            Order::Folder(name) => zip.folder(&name),
            Order::File { name, modified, size_bytes } => zip.begin_file(name, seconds(modified), size_bytes),
            Order::Bytes(bytes) => zip.bytes(&bytes),
            Order::End => zip.end_file(),
            Order::Finish => return zip.finish().map(|_| true),
        };
        if done.is_err() {
            broken.store(true, Ordering::Relaxed);
            return done.map(|()| false);
        }
    }
    broken.store(true, Ordering::Relaxed);
    Ok(false)
}

fn tar(out: BufWriter<Gate>, mut orders: mpsc::Receiver<Order>, broken: &AtomicBool) -> io::Result<bool> {
    let mut tar = tar::Builder::new(out);
    let mut whole = false;
    while let Some(order) = orders.blocking_recv() {
        let done = match order {
            Order::Folder(name) => {
                let mut header = tar_header(tar::EntryType::Directory, 0o755, None, 0);
                tar.append_data(&mut header, format!("{name}/"), io::empty())
            }
            Order::File { name, modified, size_bytes } => {
                let size = size_bytes.unwrap_or_default();
                let mut header = tar_header(tar::EntryType::Regular, 0o644, modified, size);
                let mut contents = Contents { orders: &mut orders, part: Bytes::new(), left: size, ended: false };
                let done = tar.append_data(&mut header, name, &mut contents);
                contents.skip();
                done
            }
            Order::Bytes(_) | Order::End => Ok(()),
            Order::Finish => {
                whole = true;
                break;
            }
        };
        if done.is_err() {
            broken.store(true, Ordering::Relaxed);
            return done.map(|()| false);
        }
    }
    if whole {
        tar.into_inner()?.flush()?;
    } else {
        broken.store(true, Ordering::Relaxed);
    }
    Ok(whole)
}

fn tar_header(kind: tar::EntryType, mode: u32, modified: Option<SystemTime>, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(seconds(modified)).unwrap_or_default());
    header.set_size(size);
    header
}

/// The bytes of a file, as long as its header says whatever comes: what lacks is zeros, what is too much is left out. Either
/// is told by who gave the orders.
struct Contents<'a> {
    orders: &'a mut mpsc::Receiver<Order>,
    part: Bytes,
    left: u64,
    ended: bool,
}

impl Contents<'_> {
    /// Takes what is left of the file.
    fn skip(&mut self) {
        while !self.ended {
            match self.orders.blocking_recv() {
                Some(Order::Bytes(_)) => {}
                _ => self.ended = true,
            }
        }
    }
}

impl Read for Contents<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() && !self.ended {
            match self.orders.blocking_recv() {
                Some(Order::Bytes(bytes)) => self.part = bytes,
                Some(_) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let Some(into) = into.get_mut(..most) else { return Ok(0) };
        let count = if self.part.is_empty() {
            into.fill(0);
            into.len()
        } else {
            let part = self.part.split_to(into.len().min(self.part.len()));
            into.iter_mut().zip(part.iter()).for_each(|(to, from)| *to = *from);
            part.len()
        };
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}
