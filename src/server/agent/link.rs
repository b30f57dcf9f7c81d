//! The client's line to its server.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::wire::{Asking, Ending, Enrolled, Enrolling, Offer, Reply, Word};
use crate::error::{Error, ErrorKind, Result};
use crate::server::id::Id;

const LONGEST: Duration = Duration::from_secs(60);
/// The longest answer, in bytes.
const MOST: usize = 4 << 20;

/// A server's address as it is used: without a slash at its end.
///
/// # Errors
/// `InvalidInput` when it is none; `Permission` for one without TLS on another machine, unless that will do.
pub(super) fn base(url: &str, insecure_http: bool) -> Result<String> {
    let parsed = Url::parse(url.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
        .filter(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none());
    let parsed = parsed.ok_or_else(|| {
        Error::invalid("This is not a server's address").with_hint("Write it like https://backup.example.com")
    })?;
    let own = match parsed.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if parsed.scheme() == "http" && !own && !insecure_http {
        let text = "The server's address has no TLS: keys and the tenant's secret would come in the clear";
        return Err(Error::new(ErrorKind::Permission, text)
            .with_hint("Use https://, or say --insecure-http where everybody in the network may read them"));
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

/// The line.
pub(super) struct Link {
    http: reqwest::Client,
    base: String,
    /// What the client shows.
    pub(super) token: Zeroizing<String>,
}

impl Link {
    pub(super) fn new(base: &str, token: Zeroizing<String>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(LONGEST)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tenantvault/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::internal("No HTTP client can be made").with_source(e))?;
        Ok(Self { http, base: base.to_owned(), token })
    }

    /// The address of a storage's root at this server, as `storage::open` takes it.
    pub(super) fn storage_url(&self, path: &str) -> String {
        let place = self.base.strip_prefix("https://").map(|place| format!("webdav://{place}"));
        let place = place.unwrap_or_else(|| self.base.replacen("http://", "webdav+http://", 1));
        format!("{place}{path}?append_only=true")
    }

    /// Takes the one-time code to the server.
    pub(super) async fn enroll(&self, enrolling: &Enrolling) -> Result<Enrolled> {
        self.post("enrolment", enrolling).await?.ok_or_else(|| unreadable("nothing"))
    }

    /// Asks for work.
    pub(super) async fn take(&self, version: &str) -> Result<Offer> {
        let offer = self.post("jobs", &Asking { version: version.to_owned() }).await?;
        offer.ok_or_else(|| unreadable("nothing"))
    }

    /// Gives word of a job; nothing: it is not ours any more.
    pub(super) async fn renew(&self, job: &Id, lease: &str, progress: Value) -> Result<Option<bool>> {
        let word = Word { lease: lease.to_owned(), progress };
        match self.post::<Reply>(&format!("jobs/{job}/progress"), &word).await {
            Ok(Some(reply)) => Ok(Some(reply.cancel)),
            Ok(None) => Err(unreadable("nothing")),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Ends a job. Says whether it was ours.
    pub(super) async fn end(&self, job: &Id, ending: &Ending) -> Result<bool> {
        match self.post::<Value>(&format!("jobs/{job}/end"), ending).await {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &(impl Serialize + Sync)) -> Result<Option<T>> {
        let url = format!("{}/api/v1/agent/{path}", self.base);
        let mut request = self.http.request(Method::POST, url).json(body);
        if !self.token.is_empty() {
            request = request.bearer_auth(self.token.as_str());
        }
        let away = |e: reqwest::Error| {
            Error::new(ErrorKind::Unavailable, format!("The server {} does not answer", self.base))
                .with_hint("Check the address and the network")
                .with_source(e.without_url())
        };
        let mut answer = request.send().await.map_err(away)?;
        let status = answer.status();
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(part) = answer.chunk().await.map_err(away)? {
            bytes.extend_from_slice(&part);
            if bytes.len() > MOST {
                return Err(unreadable("too much"));
            }
        }
        match status {
            StatusCode::NO_CONTENT => Ok(None),
            status if status.is_success() => {
                // The parser's words may repeat what stands there.
                serde_json::from_slice(&bytes).map(Some).map_err(|_| unreadable("something that cannot be read"))
            }
            status => Err(self.refused(status, &bytes)),
        }
    }

    /// What the server says in place of an answer.
    fn refused(&self, status: StatusCode, bytes: &[u8]) -> Error {
        let problem: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let text = |name: &str| problem.get(name).and_then(Value::as_str).map(plain);
        let kind = match status.as_u16() {
            401 | 403 => ErrorKind::Permission,
            404 => ErrorKind::NotFound,
            408 | 429 | 500..=599 => ErrorKind::Unavailable,
            _ => ErrorKind::InvalidInput,
        };
        if status == StatusCode::UNAUTHORIZED {
            let text = format!("The server {} does not know this client any more", self.base);
            return Error::new(kind, text).with_hint("Ask for a one-time code there, and enroll with --again");
        }
        let message = text("message").unwrap_or_else(|| format!("The server {} answers {status}", self.base));
        let error = Error::new(kind, message);
        match text("hint") {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// A server's words, as they may stand on a terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

fn unreadable(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("The server answers {what}"))
        .with_hint("Use the same version of tenantvault here as there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_over_tls_or_stay_on_the_machine() {
        for good in ["https://backup.example.com", "http://127.0.0.1:8484/", "http://[::1]:1", "http://localhost:1"] {
            assert!(!base(good, false).expect(good).ends_with('/'));
        }
        for (bad, kind) in [
            ("http://backup.example.com", ErrorKind::Permission),
            ("http://10.0.0.1", ErrorKind::Permission),
            ("http://localhost.example.com", ErrorKind::Permission),
            ("ftp://x", ErrorKind::InvalidInput),
            ("x", ErrorKind::InvalidInput),
            ("https://user:secret@x", ErrorKind::InvalidInput),
        ] {
            assert_eq!(base(bad, false).expect_err(bad).kind(), kind, "{bad}");
        }
        base("http://10.0.0.1", true).expect("it was said to do");
    }

    #[test]
    fn the_storage_is_where_the_server_is() {
        let link = |base: &str| Link::new(base, Zeroizing::default()).expect("a link");
        assert_eq!(link("https://x:1/y").storage_url("/storage/z"), "webdav://x:1/y/storage/z?append_only=true");
        assert_eq!(
            link("http://[::1]:8").storage_url("/storage/z"),
            "webdav+http://[::1]:8/storage/z?append_only=true"
        );
    }
}
