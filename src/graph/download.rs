//! Downloads of any size: bytes in order, each once, whatever happens to the connection.
//!
//! A cut connection is resumed with `Range: bytes=a-` on the same pre-authenticated URL, which never sees the bearer token; an
//! expired URL is renewed. Where a server sends the whole again (it ignores the range, or the stream has none) what was
//! handed out already is skipped, after a hash has shown that it is still the same.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use futures::{Stream, stream};
use reqwest::header::{CONTENT_RANGE, ETAG, LOCATION};
use reqwest::{Response, StatusCode};
use url::Url;

use super::budget::Permit;
use super::client::Client;
use super::error::TransportError;
use super::http::timed;
use super::quickxor::QuickXor;
use super::request::GraphRequest;
use super::retry::text;
use super::transport::Tries;
use crate::error::{Error, ErrorKind, Result};

/// How often a URL is renewed without a byte of progress in between.
const RENEWALS: u32 = 3;
/// How many redirects of a download URL are followed.
const REDIRECTS: usize = 5;

/// Gives a fresh pre-authenticated URL.
#[async_trait]
pub trait UrlSource: Send + Sync {
    /// Asks for a fresh URL. Called at the start if none is known, and each time one has expired.
    async fn fresh_url(&self) -> Result<String>;
}

/// Where a fresh URL comes from.
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

    /// Starts with a URL that a listing gave; it costs one unit, and is renewed when it has expired.
    #[must_use]
    pub fn with_url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    fn shown(&self) -> String {
        match &self.renewal {
            Renewal::Content(request) => request.shown(),
            Renewal::By(_) => "a download".to_owned(),
        }
    }
}

/// A running download.
///
/// It holds one of the budget's places until it is read to its end or dropped, also while a cut connection is made
/// anew: reading more downloads by turns than there are places would wait for ever.
pub struct Download {
    client: Client,
    source: Source,
    what: String,
    offset: u64,
    length: Option<u64>,
    etag: Option<String>,
    handed_out: QuickXor,
    body: Option<Body>,
    permit: Option<Permit>,
    tries: Tries,
    renewals: u32,
}

enum Source {
    Plain { source: DownloadSource, units: u32 },
    Graph(GraphRequest),
}

struct Body {
    response: Response,
    skip: u64,
    skipped: QuickXor,
}

impl Download {
    pub(crate) async fn from_source(client: Client, source: DownloadSource) -> Result<Self> {
        let what = source.shown();
        // A URL out of a listing was not paid by a request of its own.
        let units = u32::from(source.url.is_some());
        Self::open(client, Source::Plain { source, units }, what).await
    }

    pub(crate) async fn from_graph(client: Client, request: GraphRequest) -> Result<Self> {
        let what = request.shown();
        Self::open(client, Source::Graph(request), what).await
    }

    async fn open(client: Client, source: Source, what: String) -> Result<Self> {
        let mut download = Self {
            client,
            source,
            what,
            offset: 0,
            length: None,
            etag: None,
            handed_out: QuickXor::new(),
            body: None,
            permit: None,
            tries: Tries::default(),
            renewals: 0,
        };
        download.body = Some(download.connect().await?);
        Ok(download)
    }

    /// The whole length in bytes, if the server said it.
    pub fn length_bytes(&self) -> Option<u64> {
        self.length
    }

    /// How many bytes were handed out so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives the next bytes; `None` at the end, which comes only when every byte did.
    ///
    /// [`ErrorKind::Unavailable`] if the contents changed meanwhile or attempts without progress are used up: the item
    /// is to be read again from the start.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.length == Some(self.offset) && self.body.as_ref().is_none_or(|b| b.skip == 0) {
                (self.body, self.permit) = (None, None);
                return Ok(None);
            }
            let limit = self.client.transport.retry.timeout;
            if self.body.is_none() {
                self.body = Some(self.connect().await?);
            }
            let Some(body) = &mut self.body else { continue };
            match timed(limit, body.response.chunk()).await {
                Ok(Some(part)) => {
                    self.client.transport.take_bytes(part.len()).await;
                    if let Some(part) = self.take(part)? {
                        return Ok(Some(part));
                    }
                }
                Ok(None) if self.length.is_none() && body.skip == 0 => {
                    self.length = Some(self.offset);
                }
                Ok(None) => self.cut(TransportError::cut("The contents ended early")).await?,
                Err(cause) => self.cut(cause).await?,
            }
        }
    }

    /// The same as a stream, which ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send {
        stream::try_unfold(
            self,
            |mut download| async move { Ok(download.next_chunk().await?.map(|part| (part, download))) },
        )
    }

    /// Takes over received bytes: skips what was handed out before, and keeps count.
    fn take(&mut self, mut part: Bytes) -> Result<Option<Bytes>> {
        let Some(body) = &mut self.body else { return Ok(None) };
        if body.skip > 0 {
            let known = part.split_to(usize::try_from(body.skip).unwrap_or(usize::MAX).min(part.len()));
            body.skip -= known.len() as u64;
            body.skipped.update(&known);
            if body.skip == 0 && body.skipped.clone().finish() != self.handed_out.clone().finish() {
                return Err(self.changed());
            }
        }
        if !part.has_remaining() {
            return Ok(None);
        }
        if self.length.is_some_and(|length| self.offset + part.len() as u64 > length) {
            return Err(self.changed());
        }
        self.offset += part.len() as u64;
        self.handed_out.update(&part);
        // Progress was made: what follows has all its attempts again.
        self.tries = Tries::default();
        self.renewals = 0;
        Ok(Some(part))
    }

    async fn cut(&mut self, cause: TransportError) -> Result<()> {
        self.body = None;
        self.client.transport.after_failure(&mut self.tries, cause, &self.what, true).await
    }

    fn changed(&self) -> Error {
        Error::new(ErrorKind::Unavailable, format!("The contents of {} changed while they were read", self.what))
            .with_source(TransportError::cut("changed while it was read"))
            .with_hint("It is read again at the next run")
    }

    async fn connect(&mut self) -> Result<Body> {
        let (response, permit) = match &self.source {
            Source::Graph(request) => {
                let transport = &self.client.transport;
                let answer = transport.open_in(self.permit.take(), request, "*/*", &mut self.tries).await?;
                let whole = answer.response.status() == StatusCode::OK;
                if !whole {
                    let status = answer.response.status().as_u16();
                    return Err(Error::corrupt(format!("Graph answered {status} to {}", self.what)));
                }
                (answer.response, answer.permit)
            }
            Source::Plain { .. } => self.connect_plain().await?,
        };
        self.permit = Some(permit);
        self.check_head(&response)?;
        let skip = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { self.offset };
        Ok(Body { response, skip, skipped: QuickXor::new() })
    }

    /// Asks the pre-authenticated URL, a fresh one if it has expired, until contents begin to come.
    async fn connect_plain(&mut self) -> Result<(Response, Permit)> {
        let client = self.client.clone();
        let transport = &client.transport;
        loop {
            let (url, units) = self.plain_url().await?;
            let mut permit = match self.permit.take() {
                Some(earlier) => transport.permit(transport.budget.acquire_again(earlier, units)).await,
                None => transport.permit(transport.budget.acquire_download(units)).await,
            };
            let sent = self.follow(url).await?;
            permit.answered();
            let mut response = match sent {
                Ok(response) => response,
                Err(cause) => {
                    self.permit = Some(permit);
                    transport.after_failure(&mut self.tries, cause, &self.what, true).await?;
                    continue;
                }
            };
            let status = response.status();
            if matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
                return Ok((response, permit));
            }
            let error = transport.read_error(&mut response).await;
            let headers = std::mem::take(response.headers_mut());
            drop(response);
            self.permit = Some(permit);
            match status.as_u16() {
                401 | 403 | 404 | 410 if !error.infected && self.renewals < RENEWALS => {
                    self.renewals += 1;
                    if let Source::Plain { source, .. } = &mut self.source {
                        source.url = None;
                    }
                }
                416 if self.offset > 0 => return Err(self.changed()),
                408 | 429 | 500..=599 => match transport.download_busy(&error, &headers, &mut self.tries) {
                    Some(wait) => transport.sleep(wait).await,
                    None => return Err(error.into_error(&self.what)),
                },
                _ => return Err(error.into_error(&self.what)),
            }
        }
    }

    /// The URL at hand, or a fresh one, and what asking it costs.
    async fn plain_url(&mut self) -> Result<(Url, u32)> {
        let Source::Plain { source, units } = &mut self.source else {
            return Err(Error::internal("A download without a URL"));
        };
        let fresh = match (&source.url, &source.renewal) {
            (Some(url), _) => return Ok((self.client.transport.plain_url(url)?, *units)),
            (None, Renewal::Content(request)) => self.client.content_url(request.clone()).await?,
            (None, Renewal::By(source)) => source.fresh_url().await?,
        };
        *units = 0;
        let url = self.client.transport.plain_url(&fresh)?;
        source.url = Some(fresh);
        Ok((url, 0))
    }

    /// Sends the GET, and follows redirects of the download host.
    async fn follow(&self, mut url: Url) -> Result<Result<Response, TransportError>> {
        let transport = &self.client.transport;
        for _ in 0..=REDIRECTS {
            let response = match transport.plain(&url, self.offset).await {
                Ok(response) => response,
                Err(cause) => return Ok(Err(cause)),
            };
            if !response.status().is_redirection() {
                return Ok(Ok(response));
            }
            let target = text(response.headers(), LOCATION.as_str()).and_then(|link| url.join(link).ok());
            let Some(target) = target else { break };
            url = transport.plain_url(target.as_str())?;
        }
        Err(Error::corrupt(format!("The download URL of {} leads nowhere", self.what)))
    }

    /// Compares an answer's head with what is known: same contents, same length, the offset asked for.
    fn check_head(&mut self, response: &Response) -> Result<()> {
        let headers = response.headers();
        let length = if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = text(headers, CONTENT_RANGE.as_str()).and_then(parse_range);
            let Some((_, total)) = range.filter(|(from, _)| *from == self.offset) else {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("The server sent another range of {}", self.what),
                )
                .with_source(TransportError::cut("wrong range")));
            };
            total
        } else {
            response.content_length()
        };
        let etag = text(headers, ETAG.as_str()).map(str::to_owned);
        let differs = |a: &Option<String>, b: &Option<String>| matches!((a, b), (Some(a), Some(b)) if a != b);
        if differs(&self.etag, &etag) || matches!((self.length, length), (Some(a), Some(b)) if a != b) {
            return Err(self.changed());
        }
        self.etag = self.etag.take().or(etag);
        self.length = self.length.or(length);
        Ok(())
    }
}

/// Reads `bytes 100-199/1000`: where it begins, and the whole length if told.
fn parse_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let (from, _) = range.split_once('-')?;
    let total = match total.trim() {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    Some((from.trim().parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_range("bytes 100-199/1000"), Some((100, Some(1000))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["bytes */1000", "100-199/1000", "bytes 1/2", "", "bytes -1-2/3"] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
    }
}
