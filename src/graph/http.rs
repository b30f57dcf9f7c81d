//! The HTTP client itself, and reading bodies within limits of length and time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Response, redirect};
use tokio::time::timeout;
use url::Url;
use zeroize::Zeroizing;

use super::error::TransportError;
use super::retry::asked_wait;
use crate::error::{Error, Result};
use crate::reach::Reach;

/// Decorated as Microsoft asks of backup programs: such traffic comes first at SharePoint.
const USER_AGENT: &str = concat!("ISV|Tenantvault|Tenantvault/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an error's body, and of a sign-in's answer, is read.
pub(crate) const SMALL_BODY: u64 = 256 * 1024;

/// Over how many connections requests are spread that go to one machine by HTTP/2: one carries as many at once as the
/// server says, usually 100, and as many bytes as its window, and what waits for others there waits unseen.
const CONNECTIONS: usize = 4;
/// So many requests go by one: who has few to send makes no more, for each reads all certificates that the system trusts.
const FEW: usize = 64;

/// What one answer may hold that nobody has read yet, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
/// What all answers of one connection may, which is more than they can: contents wait for room that others hold, and as long as
/// they do, those others must get their bytes by the same connection.
const CONNECTION_WINDOW: u32 = 256 << 20;

/// The HTTP client: one per [`super::Client`], without redirects and retries of its own.
#[derive(Clone)]
pub(crate) struct Http {
    first: reqwest::Client,
    /// One for each further connection, made when there is enough for it.
    further: Arc<[OnceLock<reqwest::Client>; CONNECTIONS - 1]>,
    turn: Arc<AtomicUsize>,
    reach: Option<Reach>,
    http2: bool,
}

/// Why a sign-in request has no answer to read.
pub(crate) enum CallError {
    Transport(TransportError),
    Busy { status: u16, retry_after: Option<Duration> },
}

impl Http {
    /// Makes it; `reach`: which machines it may connect to, if not all; `http2`: see [`super::ClientOptions::http2`].
    pub(crate) fn new(reach: Option<&Reach>, http2: bool) -> Result<Self> {
        let first = connection(reach, http2)?;
        Ok(Self { first, further: Arc::default(), turn: Arc::default(), reach: reach.cloned(), http2 })
    }

    /// The client whose turn it is.
    pub(crate) fn client(&self) -> &reqwest::Client {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let further = (turn % CONNECTIONS).checked_sub(1).filter(|_| turn >= FEW);
        let Some(further) = further.and_then(|number| self.further.get(number)) else { return &self.first };
        further.get_or_init(|| connection(self.reach.as_ref(), self.http2).unwrap_or_else(|_| self.first.clone()))
    }

    /// Looks at an address before it is asked: names are looked at when a connection is made.
    pub(crate) fn check(&self, url: &Url) -> Result<(), TransportError> {
        let checked = self.reach.as_ref().map_or(Ok(()), |reach| reach.check_literal(url));
        checked.map_err(|private| TransportError::cut(private.to_string()))
    }

    /// Posts a form to the sign-in server; gives status and body. Busy answers are errors of their own.
    pub(crate) async fn post_form(
        &self,
        url: &Url,
        form: String,
        limit: Duration,
    ) -> Result<(u16, Zeroizing<Vec<u8>>), CallError> {
        self.check(url).map_err(CallError::Transport)?;
        let request = self.client().post(url.clone()).header(ACCEPT, "application/json");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let mut response = timed(limit, request.send()).await.map_err(CallError::Transport)?;
        let status = response.status();
        if status.as_u16() == 429 || status.is_server_error() {
            let retry_after = asked_wait(response.headers(), Timestamp::now());
            return Err(CallError::Busy { status: status.as_u16(), retry_after });
        }
        let body = read_body(&mut response, SMALL_BODY, limit).await.map_err(|e| match e {
            ReadError::Cut(cause) => CallError::Transport(cause),
            ReadError::TooLong => CallError::Transport(TransportError::cut("The answer is too long")),
        })?;
        Ok((status.as_u16(), Zeroizing::new(body.to_vec())))
    }
}

/// Makes a client that leaves redirects and second attempts to its caller.
fn connection(reach: Option<&Reach>, http2: bool) -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder();
    let builder = match reach {
        Some(reach) => reach.guard(builder),
        None => builder,
    };
    let builder = if http2 { builder.http2_prior_knowledge() } else { builder };
    builder
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .build()
        .map_err(|e| Error::internal("The HTTP client cannot be made").with_source(e.without_url()))
}

/// The length of a body that takes room before it comes, in bytes.
const LONGEST_TRUSTED: u64 = 1 << 20;

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
    let mut body = BytesMut::with_capacity(expected.unwrap_or(0).min(LONGEST_TRUSTED) as usize);
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
        // A page is held while its rows are read: without the room that it grew into.
        _ if body.capacity() - body.len() > body.len() / 4 => Ok(Bytes::copy_from_slice(&body)),
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
