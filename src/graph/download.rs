//! Downloads of any size.
use super::request::GraphRequest;
use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use std::sync::Arc;
/// Gives a fresh pre-authenticated URL.
#[async_trait]
pub trait UrlSource: Send + Sync {
    /// Asks for a fresh URL. Called at the start if none is known, and each time one has expired.
    async fn fresh_url(&self) -> Result<String>;
}
/// Where a file's contents come from.
pub enum Renewal {
    /// A `…/content` request that redirects to it.
    Content(GraphRequest),
    /// Anything else.
    By(Arc<dyn UrlSource>),
}
/// What to download.
pub struct DownloadSource {
    /// A pre-authenticated URL that is known already (`@microsoft.graph.downloadUrl`).
    pub url: Option<String>,
    /// Where a fresh one comes from.
    pub renewal: Renewal,
}
impl DownloadSource {
    /// The contents behind a `…/content` request (Files scope, one unit).
    pub fn content(request: GraphRequest) -> Self {
        Self { url: None, renewal: Renewal::Content(request) }
    }
    /// Starts with a URL that a listing gave.
    #[must_use]
    pub fn with_url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }
}
/// A running download: bytes in order, each once, whatever happens to the connection.
pub struct Download {
    _x: (),
}
impl Download {
    /// The whole length in bytes, if the server said it.
    pub fn length_bytes(&self) -> Option<u64> {
        todo!()
    }
    /// How many bytes were handed out so far.
    pub fn offset(&self) -> u64 {
        todo!()
    }
    /// Gives the next bytes; `None` at the end, which comes only when every byte did.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        todo!()
    }
    /// The same as a stream, which ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        futures::stream::empty()
    }
}
