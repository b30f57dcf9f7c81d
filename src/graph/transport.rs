//! Sending: the one place where the bearer token is attached, where attempts are repeated, and where budgets are paid.
//!
//! The token goes to Graph's own origin only: [`Transport::graph_url`] compares before anything is sent. Pre-authenticated
//! URLs go through [`Transport::plain`], which has no token to give away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, LOCATION, RANGE,
};
use reqwest::{Method, Response};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::batch::Gathering;
use super::budget::{Budget, Permit};
use super::cloud;
use super::error::{GraphError, TransportError};
use super::http::{Http, ReadError, SMALL_BODY, read_body, timed};
use super::links;
use super::me::Me;
use super::request::{GraphRequest, Scope};
use super::retry::{RetryOptions, asked_wait, random_id, rate_limit, text};
use super::speed::SpeedLimit;
use super::stats::StatsCells;
use super::token::{AccessToken, TokenCache};
use crate::error::{Error, ErrorKind, Result};
use crate::monitor::{Counter, Monitor};

const JSON: &str = "application/json";

/// What is needed to send; shared by all clones of a client.
pub(crate) struct Transport {
    pub(crate) http: Http,
    pub(crate) root: Url,
    pub(crate) tokens: TokenCache,
    pub(crate) budget: Arc<Budget>,
    pub(crate) retry: RetryOptions,
    pub(crate) monitor: Arc<dyn Monitor>,
    pub(crate) stats: StatsCells,
    pub(crate) speed: Vec<Arc<SpeedLimit>>,
    pub(crate) me: Me,
    pub(crate) gathering: Gathering,
}

/// An answer whose head has come; the permit is held until the body is read.
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) url: Url,
    pub(crate) permit: Permit,
}

/// A whole answer.
pub(crate) struct Whole {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// How often one request was tried, by reason.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    failures: u32,
    internal: u32,
    throttled: u32,
    renewed: bool,
    odd_bad_request: bool,
}

/// What follows from an answer that is an error.
pub(super) enum Verdict {
    Final,
    /// Again after this wait of this request alone.
    Again(Duration),
    /// Again; the scope is paused.
    Paused,
    Renew(Option<String>),
}

impl Transport {
    /// Makes the URL of a request, and refuses every URL that is not Graph's: the token would go there.
    pub(crate) fn graph_url(&self, url: &str) -> Result<Url> {
        // A "://" in the query makes no absolute link.
        let head = url.split(['?', '#']).next().unwrap_or_default();
        let parsed = if head.contains("://") {
            Url::parse(url)
        } else {
            let (version, path) = match url.strip_prefix("/beta/") {
                Some(path) => ("beta", path),
                None => ("v1.0", url.trim_start_matches('/')),
            };
            Url::parse(&format!("{}{version}/{}", self.root, self.me.own(path)))
        };
        let parsed =
            parsed.map_err(|e| Error::invalid(format!("The link {} is no URL", links::shown(url))).with_source(e))?;
        if !links::same_origin(&parsed, &self.root) || !parsed.path().starts_with(self.root.path()) {
            let host = parsed.host_str().unwrap_or("nowhere").to_owned();
            return Err(Error::invalid(format!("A link leads away from Graph, to {host}: it is not followed"))
                .with_hint("The sign-in is meant for Graph alone; check the cloud setting and any proxy"));
        }
        Ok(parsed)
    }

    /// Checks a pre-authenticated URL: https, or this machine if Graph itself is simulated on it.
    pub(crate) fn plain_url(&self, url: &str) -> Result<Url> {
        let parsed = Url::parse(url).map_err(|e| Error::corrupt("A download URL is no URL").with_source(e))?;
        let safe = cloud::is_safe(&parsed) && (parsed.scheme() == "https" || cloud::is_loopback(&self.root));
        if safe { Ok(parsed) } else { Err(Error::corrupt("A download URL is not https: it is not followed")) }
    }

    /// Sends until an answer begins that is no error (2xx or 3xx).
    pub(crate) async fn open(&self, request: &GraphRequest, accept: &str, tries: &mut Tries) -> Result<Answer> {
        self.open_in(None, request, accept, tries).await
    }

    /// Like [`Transport::open`], in the place of an earlier permit if there is one.
    pub(crate) async fn open_in(
        &self,
        mut place: Option<Permit>,
        request: &GraphRequest,
        accept: &str,
        tries: &mut Tries,
    ) -> Result<Answer> {
        let url = self.graph_url(&request.url)?;
        let what = request.shown();
        let stays = place.is_some();
        loop {
            let mut permit = match place.take() {
                Some(earlier) => self.permit(self.budget.acquire_again(earlier, request.units)).await,
                None => {
                    let load = self.budget.acquire_upload(&request.scope, request.units, request.body_bytes());
                    self.permit(load).await
                }
            };
            let token = self.tokens.get().await?;
            let sent = self.send(request, &url, accept, &token).await;
            permit.answered();
            let mut response = match sent {
                Ok(response) => response,
                Err(cause) => {
                    place = stays.then_some(permit);
                    // A POST may have been carried out although no answer came.
                    let may_repeat = request.is_idempotent() || cause.connect;
                    self.after_failure(tries, cause, &what, may_repeat).await?;
                    continue;
                }
            };
            let status = response.status();
            if let Some(seen) = rate_limit(response.headers()) {
                self.budget.observe(&request.scope, seen);
            }
            if status.is_success() || status.is_redirection() {
                return Ok(Answer { response, url, permit });
            }
            let error = self.read_error(&mut response).await;
            let headers = std::mem::take(response.headers_mut());
            drop(response);
            place = stays.then_some(permit);
            match self.judge(request, &error, &headers, tries) {
                Verdict::Final => return Err(error.into_error(&what)),
                Verdict::Again(wait) => self.sleep(wait).await,
                Verdict::Paused => {}
                Verdict::Renew(claims) => {
                    self.tokens.replace(&token, claims.as_deref()).await?;
                }
            }
            self.stats.retried.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends until a whole answer is there; one that breaks off is asked for again.
    ///
    /// It is a task of its own, ended when the caller no longer waits: a request that waits in a lane or holds a place
    /// in it goes on while the caller, who may have asked for several pages ahead, is busy with something that waits
    /// for the same lane.
    pub(crate) async fn whole(
        self: &Arc<Self>,
        request: &GraphRequest,
        accept: &'static str,
        limit_bytes: u64,
    ) -> Result<Whole> {
        let (transport, request) = (self.clone(), request.clone());
        let task = tokio::spawn(async move { transport.whole_here(&request, accept, limit_bytes).await });
        let ended = AbortOnDropHandle::new(task).await;
        ended.map_err(|e| Error::internal("A request ended early").with_source(e))?
    }

    async fn whole_here(&self, request: &GraphRequest, accept: &str, limit_bytes: u64) -> Result<Whole> {
        let mut tries = Tries::default();
        loop {
            let mut answer = self.open(request, accept, &mut tries).await?;
            let read = read_body(&mut answer.response, limit_bytes, self.retry.timeout).await;
            let headers = std::mem::take(answer.response.headers_mut());
            let status = answer.response.status();
            drop(answer);
            match read {
                Ok(body) => {
                    self.take_bytes(body.len()).await;
                    if status.is_redirection() {
                        let text = format!(
                            "Graph answered {} to {}: an unexpected redirect",
                            status.as_u16(),
                            request.shown()
                        );
                        return Err(Error::corrupt(text));
                    }
                    return Ok(Whole { headers, body });
                }
                Err(ReadError::TooLong) => {
                    return Err(Error::corrupt(format!(
                        "The answer to {} is longer than {limit_bytes} bytes",
                        request.shown()
                    )));
                }
                Err(ReadError::Cut(cause)) => {
                    self.after_failure(&mut tries, cause, &request.shown(), request.is_idempotent()).await?;
                }
            }
        }
    }

    /// Sends a GET without a token to a pre-authenticated URL, from the offset on.
    pub(crate) async fn plain(&self, url: &Url, offset: u64) -> Result<Response, TransportError> {
        self.http.check(url)?;
        let mut request = self.http.files().get(url.clone()).header(ACCEPT, "*/*").header(ACCEPT_ENCODING, "identity");
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        self.count_request();
        timed(self.retry.timeout, request.send()).await
    }

    /// Sends a part of an upload, or asks after it, without a token, to a pre-authenticated URL.
    pub(crate) async fn plain_upload(
        &self,
        url: &Url,
        part: Option<(String, Bytes)>,
    ) -> Result<Response, TransportError> {
        self.http.check(url)?;
        let mut request = match part {
            Some((range, bytes)) => self.http.client().put(url.clone()).header(CONTENT_RANGE, range).body(bytes),
            None => self.http.client().get(url.clone()),
        };
        request = request.header(ACCEPT, JSON);
        self.count_request();
        timed(self.retry.timeout, request.send()).await
    }

    /// Waits out a failure of the network; gives it back as the error if attempts are used up.
    pub(crate) async fn after_failure(
        &self,
        tries: &mut Tries,
        cause: TransportError,
        what: &str,
        may_repeat: bool,
    ) -> Result<()> {
        tries.failures += 1;
        if !may_repeat || tries.failures >= self.retry.attempts {
            return Err(cause.into_error(what));
        }
        self.stats.retried.fetch_add(1, Ordering::Relaxed);
        self.sleep(self.retry.wait(tries.failures, None)).await;
        Ok(())
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.stats.add_waited(time);
        tokio::time::sleep(time).await;
    }

    /// Waits for a permit and counts the time.
    pub(crate) async fn permit(&self, permit: impl Future<Output = Permit>) -> Permit {
        let from = Instant::now();
        let permit = permit.await;
        self.stats.add_waited(from.elapsed());
        permit
    }

    /// Counts bytes that came, and waits as long as the limits on their speed ask for.
    pub(crate) async fn take_bytes(&self, bytes: usize) {
        self.count_bytes(bytes);
        for limit in &self.speed {
            let until = limit.reserve(Instant::now(), bytes);
            if until > Instant::now() {
                self.budget.wait_for_speed(limit.bytes_per_second(), until).await;
            }
        }
    }

    fn count_bytes(&self, bytes: usize) {
        self.stats.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count_request(&self) {
        self.stats.round_trips.fetch_add(1, Ordering::Relaxed);
        self.count_requests(1);
    }

    /// Counts the parts of a batch, which was counted as one request.
    pub(super) fn count_parts(&self, parts: usize) {
        self.count_requests(parts.saturating_sub(1));
    }

    fn count_requests(&self, sent: usize) {
        self.stats.requests.fetch_add(sent as u64, Ordering::Relaxed);
        self.monitor.add(Counter::Requests, sent as i64);
    }

    fn count_throttled(&self) {
        self.stats.throttled.fetch_add(1, Ordering::Relaxed);
        self.monitor.add(Counter::Throttled, 1);
    }

    pub(super) async fn send(
        &self,
        request: &GraphRequest,
        url: &Url,
        accept: &str,
        token: &AccessToken,
    ) -> Result<Response, TransportError> {
        let odd = |_| TransportError::cut("A header cannot be sent");
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.secret())).map_err(odd)?;
        bearer.set_sensitive(true);
        self.http.check(url)?;
        let mut builder = self.http.client().request(request.method.clone(), url.clone());
        builder = match &request.body {
            Some(body) => builder.header(CONTENT_TYPE, body.content_type).body(body.bytes.clone()),
            None if request.method == Method::POST => builder.header(CONTENT_LENGTH, 0),
            None => builder,
        };
        builder = builder.header(AUTHORIZATION, bearer).header(ACCEPT, accept).header("client-request-id", random_id());
        if !request.prefer.is_empty() {
            builder = builder.header("prefer", request.prefer.join(", "));
        }
        for (name, value) in &request.headers {
            let name =
                HeaderName::try_from(name.as_ref()).map_err(|_| TransportError::cut("A header cannot be sent"))?;
            builder = builder.header(name, value);
        }
        self.count_request();
        timed(self.retry.timeout, builder.send()).await
    }

    /// Reads the error that a response holds.
    pub(crate) async fn read_error(&self, response: &mut Response) -> GraphError {
        let body = read_body(response, SMALL_BODY, self.retry.timeout).await.unwrap_or_default();
        self.count_bytes(body.len());
        let mut error = GraphError::parse(response.status().as_u16(), &body);
        let headers = response.headers();
        if error.request_id.is_empty() {
            error.request_id = text(headers, "request-id").unwrap_or_default().to_owned();
        }
        error.location = text(headers, LOCATION.as_str()).map(str::to_owned);
        error.infected = text(headers, "x-virus-infected").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        error
    }

    /// Decides what follows from an error, and pauses the scope if the server asks for that.
    fn judge(&self, request: &GraphRequest, error: &GraphError, headers: &HeaderMap, tries: &mut Tries) -> Verdict {
        let idempotent = request.is_idempotent();
        match error.status {
            429 | 503 => self.judge_busy(&request.scope, error, headers, tries),
            401 if !tries.renewed => {
                tries.renewed = true;
                Verdict::Renew(text(headers, "www-authenticate").and_then(claims_challenge))
            }
            400 if idempotent
                && request.scope == Scope::Files
                && error.has_code("invalidRequest")
                && !tries.odd_bad_request =>
            {
                tries.odd_bad_request = true;
                Verdict::Again(self.retry.wait(1, None))
            }
            500 if idempotent && !error.is_damaged_item() => {
                tries.internal += 1;
                if tries.internal >= self.retry.attempts_internal {
                    return Verdict::Final;
                }
                Verdict::Again(self.retry.wait(tries.internal, asked_wait(headers, Timestamp::now())))
            }
            408 | 502 | 504 | 509 if idempotent => {
                tries.failures += 1;
                if tries.failures >= self.retry.attempts {
                    return Verdict::Final;
                }
                Verdict::Again(self.retry.wait(tries.failures, asked_wait(headers, Timestamp::now())))
            }
            _ => Verdict::Final,
        }
    }

    pub(super) fn judge_busy(
        &self,
        scope: &Scope,
        error: &GraphError,
        headers: &HeaderMap,
        tries: &mut Tries,
    ) -> Verdict {
        self.count_throttled();
        let asked = asked_wait(headers, Timestamp::now());
        let (tried, most) = if error.status == 429 {
            tries.throttled += 1;
            (tries.throttled, self.retry.attempts_throttled)
        } else {
            tries.failures += 1;
            (tries.failures, self.retry.attempts)
        };
        let wait = self.retry.wait(tried, asked);
        let pauses = error.status == 429 || asked.is_some();
        if pauses {
            // Others of the scope wait too, also when this request gives up.
            let concurrency = error.message.to_ascii_lowercase().contains("concurren");
            self.budget.throttled(scope, wait, concurrency);
        }
        match (tried >= most, pauses) {
            (true, _) => Verdict::Final,
            (false, true) => Verdict::Paused,
            (false, false) => Verdict::Again(wait),
        }
    }

    /// Like [`Transport::judge_busy`] for a download URL's answer: whether to go on, and after which wait.
    pub(crate) fn download_busy(&self, error: &GraphError, headers: &HeaderMap, tries: &mut Tries) -> Option<Duration> {
        self.plain_busy(&Scope::Files, error, headers, tries)
    }

    /// Like [`Transport::judge_busy`] for the answer of a pre-authenticated URL that this scope pays for.
    pub(crate) fn plain_busy(
        &self,
        scope: &Scope,
        error: &GraphError,
        headers: &HeaderMap,
        tries: &mut Tries,
    ) -> Option<Duration> {
        if matches!(error.status, 429 | 503) {
            return match self.judge_busy(scope, error, headers, tries) {
                Verdict::Again(wait) => Some(wait),
                Verdict::Paused => Some(Duration::ZERO),
                Verdict::Final | Verdict::Renew(_) => None,
            };
        }
        tries.failures += 1;
        (tries.failures < self.retry.attempts)
            .then(|| self.retry.wait(tries.failures, asked_wait(headers, Timestamp::now())))
    }
}

/// Reads the claims that a 401 asks to pass on (continuous access evaluation).
fn claims_challenge(header: &str) -> Option<String> {
    let (_, rest) = header.split_once("claims=\"")?;
    let (encoded, _) = rest.split_once('"')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().filter(|text| text.trim_start().starts_with('{'))
}

/// Says that an answer's contents are not what was asked for.
pub(crate) fn unreadable(request: &GraphRequest) -> Error {
    Error::new(ErrorKind::Corrupt, format!("The answer to {} is not the JSON expected", request.shown()))
        .with_hint("Check the Graph address and whether a proxy stands in between")
}
