//! The bytes of a file, from any place.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::error::Result;
use crate::format::record::Record;
use crate::ops::browse::Browser;
use crate::ops::browse::made::{MadeFile, Source};
use crate::ops::browse::node::{FileNode, Node};
use crate::ops::browse::stored::StoredStream;
use crate::ops::present::{self, Form};
use crate::ops::read;

/// A file that is being read, by however many readers.
pub(super) struct OpenFile {
    number: u64,
    record: Arc<Record>,
    body: Body,
}

enum Body {
    Stored(OnceCell<StoredStream>),
    Made(MadeFile),
}

impl OpenFile {
    /// Opens a file; reads nothing yet.
    pub(super) fn new(node: &Node, file: &FileNode, record: Arc<Record>) -> Self {
        let body = match present::form(&record, file.face, file.shot.view.mode()) {
            Form::Made(_) => Body::Made(MadeFile::default()),
            _ => Body::Stored(OnceCell::new()),
        };
        Self { number: node.number(), record, body }
    }

    /// About how many bytes it takes in memory.
    pub(super) fn weight(&self) -> usize {
        let extents = self.record.streams.iter().flat_map(|s| &s.pieces).map(|piece| piece.extents.list.len() * 100);
        let made = match &self.body {
            Body::Made(made) => made.held_bytes(),
            Body::Stored(_) => 0,
        };
        2000 + extents.sum::<usize>() + made
    }

    /// Counts the bytes of a made file, which is made for it; those of a stored one are known.
    ///
    /// # Errors
    /// As [`Browser::read`].
    pub(super) async fn size(self: &Arc<Self>, browser: &Browser, file: &FileNode) -> Result<u64> {
        match &self.body {
            Body::Stored(_) => Ok(read::main_stream(&self.record)?.size_bytes),
            Body::Made(made) => {
                let size = made.size(&*self.source(file)).await?;
                // What was made counts from now on.
                browser.keep_open(self.number, self);
                Ok(size)
            }
        }
    }

    /// Reads up to `length` bytes from a place on; fewer only at the end.
    ///
    /// # Errors
    /// As [`Browser::read`].
    pub(super) async fn read(
        self: &Arc<Self>,
        browser: &Browser,
        file: &FileNode,
        offset: u64,
        length: usize,
    ) -> Result<Bytes> {
        match &self.body {
            Body::Stored(stream) => {
                let open = || async { StoredStream::open(&browser.repo, read::main_stream(&self.record)?).await };
                stream.get_or_try_init(open).await?.read(&browser.repo, offset, length).await
            }
            Body::Made(made) => {
                self.size(browser, file).await?;
                made.read(&*self.source(file), offset, length).await
            }
        }
    }

    fn source<'a>(&'a self, file: &'a FileNode) -> Box<Source<'a>> {
        Box::new(move || Box::pin(present::open(&file.shot.view, &file.state, &self.record, file.face)))
    }
}
