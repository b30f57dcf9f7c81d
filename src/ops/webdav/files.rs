//! Files and folders of the model, as the WebDAV library asks for them.

use std::io::SeekFrom;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use dav_server::davpath::DavPath;
use dav_server::fs::{
    DavDirEntry, DavFile, DavFileSystem, DavMetaData, FsError, FsFuture, FsResult, FsStream, OpenOptions, ReadDirMeta,
};
use futures::StreamExt as _;
use futures::stream;

use crate::error::{Error, ErrorKind};
use crate::ops::browse::{Browser, Listed, Meta, Node};

/// Entries asked of the model at once.
const AT_ONCE: usize = 256;

/// A repository as a WebDAV library sees it.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) browser: Browser,
}

impl Files {
    /// What a client is told of a failure; the monitor hears the rest.
    fn refusal(&self, doing: &str, error: &Error) -> FsError {
        self.browser.failed(doing, error);
        FsError::GeneralFailure
    }
}

impl Files {
    async fn resolve(&self, path: &DavPath) -> FsResult<Node> {
        // All names are Unicode, so what is none names nothing.
        let path = std::str::from_utf8(path.as_bytes()).map_err(|_| FsError::NotFound)?;
        self.browser.resolve(path).await.map_err(|e| match e.kind() {
            ErrorKind::NotFound => FsError::NotFound,
            _ => self.refusal("Looking up a path", &e),
        })
    }

    async fn attributes(&self, node: &Node) -> FsResult<Box<dyn DavMetaData>> {
        let meta = self.browser.meta(node).await.map_err(|e| self.refusal("Looking at a file", &e))?;
        Ok(Box::new(Attributes { meta, number: node.number() }))
    }
}

impl DavFileSystem for Files {
    fn open<'a>(&'a self, path: &'a DavPath, options: OpenOptions) -> FsFuture<'a, Box<dyn DavFile>> {
        Box::pin(async move {
            if options.write || options.append || options.truncate || options.create || options.create_new {
                return Err(FsError::Forbidden);
            }
            let node = self.resolve(path).await?;
            if node.is_folder() {
                return Err(FsError::Forbidden);
            }
            // What cannot be read is told before an answer begins.
            self.browser.read(&node, 0, 1).await.map_err(|e| self.refusal("Reading a file", &e))?;
            let file: Box<dyn DavFile> = Box::new(OpenFile { files: self.clone(), node, place: 0 });
            Ok(file)
        })
    }

    fn read_dir<'a>(&'a self, path: &'a DavPath, _: ReadDirMeta) -> FsFuture<'a, FsStream<Box<dyn DavDirEntry>>> {
        Box::pin(async move {
            let folder = self.resolve(path).await?;
            let files = self.clone();
            let pages = stream::unfold(Some(0u64), move |from| {
                let (files, folder) = (files.clone(), folder.clone());
                async move {
                    let from = from?;
                    match files.browser.list(&folder, from, AT_ONCE).await {
                        Ok(page) if page.is_empty() => None,
                        Ok(page) => {
                            let next = from + page.len() as u64;
                            let entry = |listed| -> FsResult<Box<dyn DavDirEntry>> {
                                Ok(Box::new(Entry { files: files.clone(), listed }))
                            };
                            let page: Vec<_> = page.into_iter().map(entry).collect();
                            Some((page, Some(next)))
                        }
                        Err(e) => Some((vec![Err(files.refusal("Listing a folder", &e))], None)),
                    }
                }
            });
            let entries: FsStream<Box<dyn DavDirEntry>> = Box::pin(pages.flat_map(stream::iter));
            Ok(entries)
        })
    }

    fn metadata<'a>(&'a self, path: &'a DavPath) -> FsFuture<'a, Box<dyn DavMetaData>> {
        Box::pin(async move { self.attributes(&self.resolve(path).await?).await })
    }
}

/// A line of a listing.
struct Entry {
    files: Files,
    listed: Listed,
}

impl DavDirEntry for Entry {
    fn name(&self) -> Vec<u8> {
        self.listed.name.as_bytes().to_vec()
    }

    fn metadata(&'_ self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        Box::pin(self.files.attributes(&self.listed.node))
    }

    fn is_dir(&'_ self) -> FsFuture<'_, bool> {
        Box::pin(std::future::ready(Ok(self.listed.node.is_folder())))
    }

    fn is_file(&'_ self) -> FsFuture<'_, bool> {
        Box::pin(std::future::ready(Ok(!self.listed.node.is_folder())))
    }
}

#[derive(Debug, Clone)]
struct Attributes {
    meta: Meta,
    number: u64,
}

impl DavMetaData for Attributes {
    fn len(&self) -> u64 {
        self.meta.size_bytes
    }

    fn modified(&self) -> FsResult<SystemTime> {
        let by = Duration::from_micros(u64::try_from(self.meta.modified_us).unwrap_or(0));
        SystemTime::UNIX_EPOCH.checked_add(by).ok_or(FsError::NotImplemented)
    }

    fn is_dir(&self) -> bool {
        self.meta.is_folder
    }

    // What a path leads to in a snapshot never changes; where it leads through `latest`, the number changes with it.
    fn etag(&self) -> Option<String> {
        Some(format!("{:x}", self.number))
    }
}

/// A file, and where it is read next.
struct OpenFile {
    files: Files,
    node: Node,
    place: u64,
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {}", self.node, self.place)
    }
}

impl DavFile for OpenFile {
    fn metadata(&'_ mut self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        Box::pin(self.files.attributes(&self.node))
    }

    fn read_bytes(&'_ mut self, count: usize) -> FsFuture<'_, Bytes> {
        Box::pin(async move {
            let bytes = self.files.browser.read(&self.node, self.place, count).await;
            let bytes = bytes.map_err(|e| self.files.refusal("Reading a file", &e))?;
            // The library fills up with zeros what comes short; nothing may come short.
            if bytes.is_empty() && count > 0 {
                return Err(FsError::GeneralFailure);
            }
            self.place = self.place.saturating_add(bytes.len() as u64);
            Ok(bytes)
        })
    }

    fn seek(&'_ mut self, place: SeekFrom) -> FsFuture<'_, u64> {
        Box::pin(async move {
            let from_end = || async {
                let meta = self.files.browser.meta(&self.node).await;
                meta.map(|meta| meta.size_bytes).map_err(|e| self.files.refusal("Looking at a file", &e))
            };
            let place = match place {
                SeekFrom::Start(place) => Some(place),
                SeekFrom::Current(by) => self.place.checked_add_signed(by),
                SeekFrom::End(by) => from_end().await?.checked_add_signed(by),
            };
            self.place = place.ok_or(FsError::GeneralFailure)?;
            Ok(self.place)
        })
    }

    fn write_buf(&'_ mut self, _: Box<dyn Buf + Send>) -> FsFuture<'_, ()> {
        Box::pin(std::future::ready(Err(FsError::Forbidden)))
    }

    fn write_bytes(&'_ mut self, _: Bytes) -> FsFuture<'_, ()> {
        Box::pin(std::future::ready(Err(FsError::Forbidden)))
    }

    fn flush(&'_ mut self) -> FsFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}
