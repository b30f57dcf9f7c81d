//! A server that answers what a test tells it to, and remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::graph::{Client, ClientOptions, Cloud, Credential, GraphRequest, RetryOptions, Scope};

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// An answer; `cut_at`: the connection breaks after so many bytes.
pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    cut_at: Option<usize>,
    pub(super) delay: Duration,
}

impl Reply {
    pub(super) fn bytes(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut_at: None, delay: Duration::ZERO }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::bytes(status, body.to_string()).header("content-type", "application/json")
    }

    pub(super) fn error(status: u16, code: &str) -> Self {
        Self::json(status, &json!({"error": {"code": code, "message": "made for the test"}}))
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn cut(mut self, at: usize) -> Self {
        self.cut_at = Some(at);
        self
    }

    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        let body = match self.cut_at {
            None => Body::from(self.body),
            Some(at) => {
                response = response.header("content-length", self.body.len());
                let parts = vec![Ok(self.body.slice(..at)), Err(std::io::Error::other("cut for the test"))];
                // The pause lets the first part leave before the connection is torn down.
                let parts = futures::StreamExt::then(futures::stream::iter(parts), |part| async {
                    tokio::task::yield_now().await;
                    part
                });
                Body::from_stream(parts)
            }
        };
        response.body(body).unwrap()
    }
}

#[derive(Clone)]
pub(super) struct Server {
    pub(super) root: String,
    log: Arc<Mutex<Vec<Seen>>>,
}

/// What the app's secret is in these tests; it must turn up nowhere.
pub(super) const SECRET: &str = "s3cr3t-value-of-the-app";

impl Server {
    /// Starts a server. The answer may depend on the request and on how many of the same path came before.
    pub(super) async fn start(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let log: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let server = Self { root, log: log.clone() };
        let answer = Arc::new(answer);
        let app = axum::Router::new().fallback(move |request: Request| {
            let (log, answer) = (log.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, 1 << 20).await.unwrap();
                let seen = Seen {
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    headers: parts
                        .headers
                        .iter()
                        .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
                        .collect(),
                    body: String::from_utf8_lossy(&body).into_owned(),
                };
                let before = {
                    let mut log = log.lock().unwrap();
                    log.push(seen.clone());
                    log.iter().filter(|s| s.path == seen.path).count() - 1
                };
                let reply = answer(&seen, before);
                tokio::time::sleep(reply.delay).await;
                reply.into_response()
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    /// Starts a server that signs everyone in, and answers the rest as told.
    pub(super) async fn graph(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |seen, n| if seen.path.ends_with("/token") { token(n, 3600) } else { answer(seen, n) }).await
    }

    /// The requests with this in their path, in order.
    pub(super) fn seen(&self, part: &str) -> Vec<Seen> {
        self.log.lock().unwrap().iter().filter(|s| s.path.contains(part)).cloned().collect()
    }

    pub(super) fn options(&self) -> ClientOptions {
        let mut options = ClientOptions::new(Cloud::custom(&self.root, &self.root).unwrap());
        options.retry = RetryOptions {
            base: Duration::from_millis(1),
            attempts: 5,
            attempts_internal: 3,
            ..RetryOptions::default()
        };
        options
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.options(), "contoso.onmicrosoft.com", "app-1", Credential::secret(SECRET)).unwrap()
    }
}

/// A sign-in's answer; the token tells its number.
pub(super) fn token(number: usize, seconds: u64) -> Reply {
    Reply::json(200, &json!({"token_type": "Bearer", "expires_in": seconds, "access_token": format!("token-{number}")}))
}

pub(super) fn mail(url: &str) -> GraphRequest {
    GraphRequest::get(Scope::Mailbox("alice".into()), url)
}

pub(super) fn files(url: &str) -> GraphRequest {
    GraphRequest::get(Scope::Files, url)
}

/// Bytes without a pattern that repeats soon.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as u8
    };
    (0..length).map(step).collect()
}
