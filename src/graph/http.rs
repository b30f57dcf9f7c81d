//! The HTTP client itself, and reading bodies within limits of length and time.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, redirect};
use tokio::time::timeout;

use super::error::TransportError;
use super::retry::asked_wait;
use crate::error::{Error, Result};

/// Decorated as Microsoft asks of backup programs: such traffic comes first at SharePoint.
const USER_AGENT: &str = concat!("ISV|Tenantvault|Tenantvault/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an error's body, and of a sign-in's answer, is read.
pub(crate) const SMALL_BODY: u64 = 256 * 1024;

/// The HTTP client: one per [`super::Client`], without redirects and retries of its own.
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) client: reqwest::Client,
}

/// Why a sign-in request has no answer to read.
#[derive(Debug)]
pub(crate) enum CallError {
    Transport(TransportError),
    Busy { status: u16, retry_after: Option<Duration> },
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(e) => e.fmt(f),
            Self::Busy { status, .. } => write!(f, "HTTP {status}"),
        }
    }
}

impl std::error::Error for CallError {}

impl Http {
    pub(crate) fn new() -> Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|e| Error::internal("The HTTP client cannot be made").with_source(e.without_url()))?;
        Ok(Self { client })
    }

    /// Sends a sign-in request for the oauth2 crate.
    pub(crate) async fn sign_in(
        &self,
        request: oauth2::HttpRequest,
        limit: Duration,
    ) -> Result<oauth2::HttpResponse, CallError> {
        let failed = |e| CallError::Transport(TransportError::from_reqwest(e));
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let mut response = timed(limit, self.client.execute(request)).await.map_err(CallError::Transport)?;
        let status = response.status();
        if status.as_u16() == 429 || status.is_server_error() {
            let retry_after = asked_wait(response.headers(), Timestamp::now());
            return Err(CallError::Busy { status: status.as_u16(), retry_after });
        }
        let mut answer = oauth2::HttpResponse::new(Vec::new());
        *answer.status_mut() = status;
        if let Some(kind) = response.headers().get(CONTENT_TYPE) {
            answer.headers_mut().insert(CONTENT_TYPE, kind.clone());
        }
        let body = read_body(&mut response, SMALL_BODY, limit).await.map_err(|e| match e {
            ReadError::Cut(cause) => CallError::Transport(cause),
            ReadError::TooLong => CallError::Transport(TransportError::cut("The answer is too long")),
        })?;
        *answer.body_mut() = body.to_vec();
        Ok(answer)
    }
}

/// Why a body could not be read.
pub(crate) enum ReadError {
    Cut(TransportError),
    TooLong,
}

/// Reads a body of at most so many bytes; each part must come within the limit of time.
pub(crate) async fn read_body(response: &mut Response, limit_bytes: u64, limit: Duration) -> Result<Bytes, ReadError> {
    let expected = response.content_length();
    if expected.is_some_and(|length| length > limit_bytes) {
        return Err(ReadError::TooLong);
    }
    let mut body = BytesMut::new();
    while let Some(part) = timed(limit, response.chunk()).await.map_err(ReadError::Cut)? {
        if body.len() as u64 + part.len() as u64 > limit_bytes {
            return Err(ReadError::TooLong);
        }
        body.extend_from_slice(&part);
    }
    match expected {
        Some(length) if length != body.len() as u64 => {
            Err(ReadError::Cut(TransportError::cut(format!("{} of {length} bytes came", body.len()))))
        }
        _ => Ok(body.freeze()),
    }
}

pub(crate) async fn timed<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, reqwest::Error>>,
) -> Result<T, TransportError> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(TransportError::from_reqwest),
        Err(_) => Err(TransportError::cut(format!("Nothing came for {} s", limit.as_secs_f32()))),
    }
}
