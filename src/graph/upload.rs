//! Upload sessions: files of any size in fragments, in order, each sent till it has arrived.
//!
//! A session is a pre-authenticated URL, which never sees the bearer token. After a break the server is asked which bytes it
//! expects, and the source is opened again from there; a session that is gone begins anew. Where the last fragment's answer was
//! lost and the session is gone, nobody knows whether it arrived: [`Uploaded::Doubtful`], and the caller has to look.
//!
//! Source: Microsoft Graph, "Upload large files with an upload session", "Attach large files to Outlook messages".

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::header::LOCATION;
use serde_json::Value;
use url::Url;

use super::client::Client;
use super::http::{ReadError, SMALL_BODY, read_body};
use super::request::GraphRequest;
use super::retry::text;
use super::transport::Tries;
use crate::error::{Error, ErrorKind, Result};

/// What all fragments but the last are a multiple of, for drives.
const DRIVE_MULTIPLE: usize = 320 * 1024;
/// How often a session is begun anew without a fragment arriving in between.
const SESSIONS: u32 = 4;

/// Which kind of session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadKind {
    /// A file of a drive: fragments are multiples of 320 KiB.
    Drive,
    /// An attachment of a message or event: fragments of at most 4 MB.
    Attachment,
}

impl UploadKind {
    fn fragment_bytes(self) -> usize {
        match self {
            Self::Drive => 32 * DRIVE_MULTIPLE,
            Self::Attachment => 12 * DRIVE_MULTIPLE,
        }
    }
}

/// Gives the bytes to upload.
#[async_trait]
pub trait UploadSource: Send + Sync {
    /// Opens the bytes from an offset on. Called again after a break.
    async fn open(&self, from: u64) -> Result<BoxStream<'static, Result<Bytes>>>;
}

/// What to upload.
pub struct Upload<'a> {
    /// The request that makes the session; its scope pays.
    pub session: GraphRequest,
    /// Which kind of session it makes.
    pub kind: UploadKind,
    /// How many bytes there are; not 0.
    pub size_bytes: u64,
    /// Where they come from.
    pub source: &'a dyn UploadSource,
}

/// How an upload ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Uploaded {
    /// It is there: the last answer's JSON (null if it was empty) and `Location`.
    Done(Value, Option<String>),
    /// The last answer was lost, and the session is gone.
    Doubtful,
}

/// What the server said to a fragment, or about the session.
enum Said {
    Expects(u64),
    Done(Value, Option<String>),
    Gone,
    Lost,
}

impl Client {
    /// Uploads through a session.
    ///
    /// # Errors
    /// Graph's: `AlreadyExists` if the name is taken, `StorageFull`; the source's; `Corrupt` if that ends early.
    pub async fn upload(&self, upload: Upload<'_>) -> Result<Uploaded> {
        let mut run = Run { client: self, upload: &upload, url: None, at: 0, tries: Tries::default(), sessions: 0 };
        run.run().await
    }
}

struct Run<'a> {
    client: &'a Client,
    upload: &'a Upload<'a>,
    url: Option<Url>,
    at: u64,
    tries: Tries,
    sessions: u32,
}

impl Run<'_> {
    async fn run(&mut self) -> Result<Uploaded> {
        loop {
            let url = match &self.url {
                Some(url) => url.clone(),
                None => self.begin().await?,
            };
            if let Some(done) = self.send_from(&url).await? {
                return Ok(done);
            }
        }
    }

    /// Begins a session.
    async fn begin(&mut self) -> Result<Url> {
        self.sessions += 1;
        if self.sessions > SESSIONS {
            let text = format!("{} gave {SESSIONS} sessions, and none of them lasted", self.upload.session.shown());
            return Err(Error::new(ErrorKind::Unavailable, text).with_hint("Run again later"));
        }
        // A session that nobody uses goes away by itself.
        let answer = self.client.send(self.upload.session.clone().repeatable()).await?;
        let url = answer.get("uploadUrl").and_then(Value::as_str);
        let url = url.ok_or_else(|| Error::corrupt(format!("{} gave no URL", self.upload.session.shown())))?;
        let url = self.client.transport.plain_url(url)?;
        (self.url, self.at) = (Some(url.clone()), 0);
        Ok(url)
    }

    /// Sends fragments till all have arrived, or something broke: then `None`.
    async fn send_from(&mut self, url: &Url) -> Result<Option<Uploaded>> {
        let size = self.upload.size_bytes;
        let mut bytes = self.upload.source.open(self.at).await?;
        let mut held = BytesMut::new();
        loop {
            let wanted = u64::try_from(self.upload.kind.fragment_bytes()).unwrap_or(u64::MAX).min(size - self.at);
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            while held.len() < wanted {
                let part = bytes.next().await.ok_or_else(|| Error::corrupt("The contents end early"))??;
                held.extend_from_slice(&part);
            }
            let fragment = held.split_to(wanted).freeze();
            let end = self.at + fragment.len() as u64;
            let range = format!("bytes {}-{}/{size}", self.at, end.saturating_sub(1));
            let mut said = self.put(url, Some((range, fragment))).await?;
            if matches!(said, Said::Lost) {
                said = self.put(url, None).await?;
                if matches!(said, Said::Gone) && end == size {
                    return Ok(Some(Uploaded::Doubtful));
                }
            }
            match said {
                Said::Done(value, location) => return Ok(Some(Uploaded::Done(value, location))),
                Said::Expects(next) if next == end && end < size => {
                    self.progress(end);
                }
                Said::Expects(next) if next <= size => {
                    // It kept more or less than was sent: the source is opened where it goes on.
                    if next > self.at {
                        self.progress(next);
                    } else {
                        self.at = next;
                    }
                    return Ok(None);
                }
                Said::Expects(_) | Said::Lost => return Ok(None),
                Said::Gone => {
                    self.url = None;
                    return Ok(None);
                }
            }
        }
    }

    fn progress(&mut self, at: u64) {
        self.at = at;
        self.tries = Tries::default();
        self.sessions = 1;
    }

    /// Sends a fragment, or asks after the session; repeated where the server surely took nothing.
    async fn put(&mut self, url: &Url, part: Option<(String, Bytes)>) -> Result<Said> {
        let transport = &self.client.transport;
        let what = self.upload.session.shown();
        let scope = &self.upload.session.scope;
        let is_question = part.is_none();
        loop {
            let bytes = part.as_ref().map_or(0, |(_, bytes)| bytes.len());
            let mut permit = transport.permit(transport.budget.acquire_upload(scope, 1, bytes)).await;
            let sent = transport.plain_upload(url, part.clone()).await;
            permit.answered();
            let mut response = match sent {
                Ok(response) => response,
                Err(cause) => {
                    transport.after_failure(&mut self.tries, cause, &what, true).await?;
                    if is_question {
                        continue;
                    }
                    return Ok(Said::Lost);
                }
            };
            let status = response.status().as_u16();
            if response.status().is_success() {
                let location = text(response.headers(), LOCATION.as_str()).map(str::to_owned);
                return match read_body(&mut response, SMALL_BODY, transport.retry.timeout).await {
                    Ok(body) => Ok(said(status, &body, location)),
                    Err(ReadError::Cut(cause)) => {
                        transport.after_failure(&mut self.tries, cause, &what, true).await?;
                        if is_question {
                            continue;
                        }
                        Ok(Said::Lost)
                    }
                    Err(ReadError::TooLong) => Err(Error::corrupt(format!("The answer to {what} is too long"))),
                };
            }
            let error = transport.read_error(&mut response).await;
            let headers = std::mem::take(response.headers_mut());
            drop((response, permit));
            match status {
                401 | 404 | 410 => return Ok(Said::Gone),
                416 if !is_question => return Ok(Said::Lost),
                408 | 429 | 500..=506 | 508..=599 => {
                    match transport.plain_busy(scope, &error, &headers, &mut self.tries) {
                        Some(wait) => transport.sleep(wait).await,
                        None => return Err(error.into_error(&what)),
                    }
                    // What was answered busy was not taken; of the others it is not known.
                    if !is_question && !matches!(status, 429 | 503) {
                        return Ok(Said::Lost);
                    }
                }
                _ => return Err(error.into_error(&what)),
            }
        }
    }
}

/// Reads an answer: where to go on (drives say `nextExpectedRanges`, Outlook `NextExpectedRanges`), else the end.
fn said(status: u16, body: &[u8], location: Option<String>) -> Said {
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let ranges = value.get("nextExpectedRanges").or_else(|| value.get("NextExpectedRanges")).and_then(Value::as_array);
    let first = ranges.and_then(|ranges| ranges.first()).and_then(Value::as_str);
    let next = first.and_then(|range| range.split('-').next()?.parse().ok());
    match next {
        Some(next) if status != 201 => Said::Expects(next),
        _ => Said::Done(value, location),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_where_to_go_on() {
        let at = |status, body: &str| match said(status, body.as_bytes(), None) {
            Said::Expects(next) => Some(next),
            _ => None,
        };
        assert_eq!(at(202, r#"{"nextExpectedRanges": ["26-"]}"#), Some(26));
        assert_eq!(at(202, r#"{"nextExpectedRanges": ["327680-655359", "700000-"]}"#), Some(327_680));
        assert_eq!(at(200, r#"{"NextExpectedRanges": ["2097152"]}"#), Some(2_097_152));
        assert_eq!(at(201, r#"{"id": "1"}"#), None);
        assert_eq!(at(201, ""), None);
    }
}
