//! Storage on an OpenDAL service: object stores, servers, memory. Folders of this machine have their own, see `local.rs`.

use std::cell::Cell;
use std::fmt;
use std::future::Future;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use opendal::options::{ListOptions, WriteOptions};
use opendal::{Buffer, ErrorKind as Dal, Operator};
use tokio::sync::OnceCell;
use url::Url;

use super::failure::{Doing, Wording};
use super::layers::{self, RETRIED};
use super::options::StorageOptions;
use super::pace::Pace;
use super::path::{self, TMP};
use super::{Entry, Storage};
use crate::error::{ErrorKind, Result};
use crate::reach::{Private, Reach};

/// How long a file in `tmp/` is left alone: its writer may be alive.
const STALE_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// A storage on any OpenDAL service.
///
/// A put is one conditional write where the service knows that and shows no unfinished file (S3, Azure Blob, GCS,
/// memory). Elsewhere (WebDAV, SFTP) the file is written below `tmp/` and renamed; what killed writers leave there is
/// swept, when older than a day, by the first put of a later run. SFTP cannot be told to sync: there a put is as
/// durable as the server makes it.
pub struct OpendalStorage {
    operator: Operator,
    wording: Wording,
    conditional: bool,
    staged: bool,
    append_only: bool,
    piece_bytes: usize,
    retries: usize,
    upload: Option<Pace>,
    download: Option<Pace>,
    swept: OnceCell<()>,
    /// Looked at before each operation, for services that OpenDAL connects to by a program of their own.
    within: Option<(Reach, Url)>,
}

impl fmt::Debug for OpendalStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpendalStorage").field(&self.wording.place()).finish()
    }
}

impl OpendalStorage {
    /// Wraps an operator that has its layers. `conditional`: it can refuse to write over a file. `staged`: it must
    /// write aside and rename.
    pub(super) fn new(
        operator: Operator,
        wording: Wording,
        options: &StorageOptions,
        conditional: bool,
        staged: bool,
    ) -> Self {
        // What takes files only whole is paced before the write; the throttle would refuse a large one.
        let upload = options.upload_bytes_per_second.filter(|_| !layers::takes_pieces(&operator)).map(Pace::new);
        Self {
            conditional: conditional && operator.info().capability().write_with_if_not_exists,
            piece_bytes: layers::piece_bytes(&operator, options),
            retries: options.retries,
            upload,
            download: options.download_bytes_per_second.map(Pace::new),
            operator,
            wording,
            staged,
            append_only: false,
            swept: OnceCell::new(),
            within: None,
        }
    }

    /// The same for a service that guards what is there itself: see `append_only` at [`super::open`].
    #[must_use]
    pub(super) fn append_only(self) -> Self {
        Self { append_only: true, ..self }
    }

    /// The same, where the host of a URL may be reached.
    #[must_use]
    pub(super) fn within(self, reach: Reach, host: Url) -> Self {
        Self { within: Some((reach, host)), ..self }
    }

    /// Runs an operation, again where its connection does not come about.
    async fn on_line<T, F>(&self, operation: impl Fn() -> F) -> opendal::Result<T>
    where
        F: Future<Output = opendal::Result<T>>,
    {
        if let Some((reach, host)) = &self.within {
            reach.resolve(host).await.map_err(|e| match e.kind() {
                ErrorKind::Permission => opendal::Error::new(Dal::PermissionDenied, "connect").set_source(Private),
                _ => opendal::Error::new(Dal::Unexpected, "connect").set_source(e),
            })?;
        }
        layers::connected(self.retries, operation).await
    }

    /// Writes a file in pieces that share the given buffers.
    async fn write(&self, path: &str, data: &[Bytes], if_not_exists: bool) -> opendal::Result<()> {
        if let Some(pace) = &self.upload {
            pace.take(data.iter().map(Bytes::len).sum()).await;
        }
        self.on_line(|| self.write_once(path, data, if_not_exists)).await
    }

    async fn write_once(&self, path: &str, data: &[Bytes], if_not_exists: bool) -> opendal::Result<()> {
        let options = WriteOptions { if_not_exists, ..WriteOptions::default() };
        let mut writer = self.operator.writer_options(path, options).await?;
        let written = async {
            for piece in pieces(data, self.piece_bytes) {
                writer.write(piece).await?;
            }
            writer.close().await
        }
        .await;
        match written {
            Ok(_) => Ok(()),
            Err(error) => {
                // Gives back the parts of an unfinished multipart upload.
                let _ = writer.abort().await;
                Err(error)
            }
        }
    }

    async fn put_aside_and_rename(&self, path: &str, data: &[Bytes], size: u64) -> Result<()> {
        let failed = |error: opendal::Error| self.wording.error(Doing::Store, path, &error);
        let aside = format!("{TMP}/{:032x}", rand::random::<u128>());
        let moved = async {
            self.write(&aside, data, false).await.map_err(failed)?;
            // A retry in the middle of a stream could have sent a stretch twice.
            let arrived = self.on_line(|| self.operator.stat(&aside)).await.map_err(failed)?.content_length();
            if arrived != size {
                return Err(self
                    .wording
                    .of_kind(ErrorKind::Unavailable, Doing::Store, path)
                    .with_hint(format!("{arrived} bytes of {size} arrived; try again")));
            }
            self.swept.get_or_init(|| self.sweep(&aside)).await;
            self.on_line(|| self.operator.rename(&aside, path)).await.map_err(failed)
        }
        .await;
        if moved.is_err() {
            let _ = self.operator.delete(&aside).await;
        }
        moved
    }

    /// Removes what killed writers left in `tmp/`. Ages are measured against `own`, a file written just now, so that
    /// the service's clock alone counts. Failures are of no account.
    async fn sweep(&self, own: &str) {
        let folder = format!("{TMP}/");
        let Ok(entries) = self.on_line(|| self.operator.list(&folder)).await else { return };
        let seconds = |entry: &opendal::Entry| entry.metadata().last_modified().map(|t| t.into_inner().as_second());
        let Some(now) = entries.iter().find(|entry| entry.path() == own).and_then(seconds) else { return };
        for entry in entries.iter().filter(|entry| entry.metadata().is_file()) {
            if seconds(entry).is_some_and(|then| now.saturating_sub(then) > STALE_AFTER_SECONDS) {
                let _ = self.operator.delete(entry.path()).await;
            }
        }
    }

    /// Says whether exactly these bytes are there.
    async fn holds(&self, path: &str, data: &[Bytes], size: u64) -> bool {
        match self.stat(path).await {
            Ok(entry) if entry.size_bytes == size => {}
            _ => return false,
        }
        let Ok(stored) = self.get(path, size).await else { return false };
        let mut rest = &stored[..];
        data.iter().all(|part| match rest.split_at_checked(part.len()) {
            Some((head, tail)) => {
                rest = tail;
                head == part
            }
            None => false,
        })
    }

    /// Reads a range, or all there is, in one request, and stops at more than `limit` bytes.
    async fn read(&self, path: &str, range: Option<(u64, u64)>, limit: u64) -> Result<Bytes> {
        match self.on_line(|| self.read_once(path, range, limit)).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(self.wording.wrong_size(path, &format!("is larger than {limit} bytes"))),
            Err(error) => Err(self.wording.error(Doing::Read, path, &error)),
        }
    }

    /// The same; `None`: there is more.
    async fn read_once(&self, path: &str, range: Option<(u64, u64)>, limit: u64) -> opendal::Result<Option<Bytes>> {
        let reader = self.operator.reader(path).await?;
        let mut stream = match range {
            Some((from, to)) => reader.into_stream(from..to).await?,
            None => reader.into_stream(..).await?,
        };
        let mut size = 0u64;
        let mut parts: Vec<Buffer> = Vec::new();
        while let Some(part) = stream.try_next().await? {
            size += part.len() as u64;
            if size > limit {
                return Ok(None);
            }
            if let Some(pace) = &self.download {
                pace.take(part.len()).await;
            }
            parts.push(part);
        }
        Ok(Some(parts.into_iter().flatten().collect::<Buffer>().to_bytes()))
    }

    async fn list_once(&self, folder: &str) -> opendal::Result<Vec<Entry>> {
        let options = ListOptions { recursive: true, ..ListOptions::default() };
        let mut lister = self.operator.lister_options(&format!("{folder}/"), options).await?;
        let mut entries = Vec::new();
        loop {
            match lister.try_next().await {
                Ok(Some(entry)) if !entry.metadata().is_file() || !path::is_file(entry.path()) => {}
                Ok(Some(entry)) => {
                    entries
                        .push(Entry { path: entry.path().to_owned(), size_bytes: entry.metadata().content_length() });
                }
                Ok(None) => return Ok(entries),
                Err(e) if e.kind() == opendal::ErrorKind::NotFound && entries.is_empty() => return Ok(entries),
                Err(e) => return Err(e),
            }
        }
    }
}

/// Cuts buffers into pieces of at most `piece_bytes`, without copying.
pub(super) fn pieces(data: &[Bytes], piece_bytes: usize) -> Vec<Buffer> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Bytes> = Vec::new();
    let mut room = piece_bytes;
    for bytes in data {
        let mut bytes = bytes.clone();
        // Empty buffers are left out: OpenDAL's writers would take one for the end, or wait for it forever.
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(room));
            room -= part.len();
            piece.push(part);
            if room == 0 {
                pieces.push(Buffer::from(std::mem::take(&mut piece)));
                room = piece_bytes;
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(Buffer::from(piece));
    }
    pieces
}

async fn noting_retries<F: Future>(operation: F) -> (F::Output, bool) {
    RETRIED.scope(Cell::new(false), async { (operation.await, RETRIED.with(Cell::get)) }).await
}

#[async_trait]
impl Storage for OpendalStorage {
    async fn put(&self, path: &str, data: Vec<Bytes>) -> Result<()> {
        path::check_file(path)?;
        let size = data.iter().map(|bytes| bytes.len() as u64).sum();
        if !self.conditional && !self.append_only {
            match self.on_line(|| self.operator.stat(path)).await {
                Ok(_) => return Err(self.wording.of_kind(ErrorKind::AlreadyExists, Doing::Store, path)),
                Err(e) if e.kind() == opendal::ErrorKind::NotFound => {}
                Err(e) => return Err(self.wording.error(Doing::Store, path, &e)),
            }
        }
        let (stored, retried) = noting_retries(async {
            if self.staged {
                self.put_aside_and_rename(path, &data, size).await
            } else {
                let written = self.write(path, &data, self.conditional).await;
                written.map_err(|e| self.wording.error(Doing::Store, path, &e))
            }
        })
        .await;
        // A first try whose answer was lost may have stored the file, and made the second one fail.
        match stored {
            // Whose name is a hash that was looked at has the same bytes.
            Err(e) if retried && self.append_only && e.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(_) if retried && !self.append_only && self.holds(path, &data, size).await => Ok(()),
            stored => stored,
        }
    }

    async fn get(&self, path: &str, limit_bytes: u64) -> Result<Bytes> {
        path::check_file(path)?;
        match self.read(path, None, limit_bytes).await {
            // Asked for a folder, servers fail in their own ways or send a page about it.
            Err(error) if self.staged && error.kind() != ErrorKind::NotFound => match self.stat(path).await {
                Err(gone) if gone.kind() == ErrorKind::NotFound => Err(gone),
                _ => Err(error),
            },
            read => read,
        }
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        path::check_file(path)?;
        let short = || self.wording.wrong_size(path, &format!("ends before byte {}", offset.saturating_add(length)));
        let end = offset.checked_add(length).ok_or_else(short)?;
        let failure = if length == 0 {
            None
        } else {
            match self.read(path, Some((offset, end)), length).await {
                Ok(bytes) if bytes.len() as u64 == length => return Ok(bytes),
                Ok(_) => None,
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Permission) => return Err(e),
                Err(e) => Some(e),
            }
        };
        // Services word a range beyond the end in many ways; the size tells.
        match (self.stat(path).await, failure) {
            (Ok(entry), _) if entry.size_bytes < end => Err(short()),
            (Ok(_), None) if length == 0 => Ok(Bytes::new()),
            (_, Some(failure)) => Err(failure),
            (Ok(_), None) => Err(short()),
            (Err(error), None) => Err(error),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        path::check_folder(folder)?;
        let failed = |error: opendal::Error| self.wording.error(Doing::List, folder, &error);
        // Servers asked to list a file answer with the file itself, or an error; OpenDAL is ready for neither.
        if self.staged && !folder.is_empty() {
            match self.on_line(|| self.operator.stat(folder)).await {
                Ok(metadata) if metadata.is_file() => return Ok(Vec::new()),
                Err(e) if e.kind() == opendal::ErrorKind::NotFound => return Ok(Vec::new()),
                Ok(_) => {}
                Err(e) => return Err(failed(e)),
            }
        }
        match self.on_line(|| self.list_once(folder)).await {
            Err(e) if e.kind() == opendal::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(failed),
        }
    }

    async fn stat(&self, path: &str) -> Result<Entry> {
        path::check_file(path)?;
        let metadata = self
            .on_line(|| self.operator.stat(path))
            .await
            .map_err(|error| self.wording.error(Doing::LookUp, path, &error))?;
        if metadata.is_dir() {
            return Err(self.wording.of_kind(ErrorKind::NotFound, Doing::LookUp, path));
        }
        Ok(Entry { path: path.to_owned(), size_bytes: metadata.content_length() })
    }

    async fn delete(&self, path: &str) -> Result<()> {
        path::check_file(path)?;
        match self.on_line(|| self.operator.delete(path)).await {
            Err(e) if e.kind() != opendal::ErrorKind::NotFound => Err(self.wording.error(Doing::Delete, path, &e)),
            _ => Ok(()),
        }
    }

    fn describe(&self) -> String {
        self.wording.place().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_share_the_buffers_and_keep_their_order() {
        let data: Vec<Bytes> =
            ["", "abcdefg", "", "h", "ij", ""].iter().map(|s| Bytes::copy_from_slice(s.as_bytes())).collect();
        for piece_bytes in [1, 2, 3, 7, 10, 11, usize::MAX] {
            let cut = pieces(&data, piece_bytes);
            assert!(cut.iter().all(|piece| (1..=piece_bytes).contains(&piece.len())));
            let joined: Vec<u8> = cut.iter().flat_map(Buffer::to_vec).collect();
            assert_eq!(joined, b"abcdefghij");
        }
        let one = pieces(&data[1..2], 100);
        assert_eq!(one[0].to_bytes().as_ptr(), data[1].as_ptr(), "a copy was made");
        assert!(pieces(&[], 5).is_empty());
    }
}
