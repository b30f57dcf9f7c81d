//! The HTTP around the files: the password, and what is refused before anything is looked at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use dav_server::{DavHandler, DavMethodSet};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::files::Files;
use crate::crypto::random_bytes;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::backup::Stop;
use crate::ops::browse::Browser;

/// The methods that are answered; all else would change something.
const METHODS: [&str; 4] = ["OPTIONS", "GET", "HEAD", "PROPFIND"];
/// So much of a file is read at once, in bytes.
const READ_BYTES: usize = 256 << 10;
/// How long who gave a wrong password waits for the answer.
const WRONG_PASSWORD_WAITS: Duration = Duration::from_millis(500);
/// The shortest password that is taken, in bytes.
const SHORTEST_PASSWORD: usize = 8;
/// How long answers under way may take to end when serving ends.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// What RFC 4918, section 9.1, has a server say that lists one folder at a time.
const FINITE_DEPTH: &str =
    r#"<?xml version="1.0" encoding="utf-8"?><D:error xmlns:D="DAV:"><D:propfind-finite-depth/></D:error>"#;

/// A password, of which only a hash under a key of this process is kept.
#[derive(Clone)]
pub struct Password {
    key: [u8; 32],
    hash: blake3::Hash,
}

impl Password {
    /// Takes a password.
    ///
    /// # Errors
    /// `InvalidInput` when it is shorter than 8 bytes.
    pub fn new(text: &str) -> Result<Self> {
        if text.len() < SHORTEST_PASSWORD {
            return Err(Error::invalid("The password for looking inside is too short")
                .with_hint(format!("Take {SHORTEST_PASSWORD} characters or more; without one, one is made")));
        }
        Ok(Self::of(text))
    }

    /// Makes a password of 24 characters, and gives it to be shown.
    pub fn generate() -> (Self, String) {
        let text = URL_SAFE_NO_PAD.encode(random_bytes::<18>());
        (Self::of(&text), text)
    }

    fn of(text: &str) -> Self {
        let key = random_bytes();
        Self { key, hash: blake3::keyed_hash(&key, text.as_bytes()) }
    }

    /// Says whether this is the password; takes as long for every one. Hashes are compared in constant time.
    fn is(&self, text: &[u8]) -> bool {
        blake3::keyed_hash(&self.key, text) == self.hash
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    stop: Stop,
    task: JoinHandle<std::io::Result<()>>,
}

impl Serving {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits till it fails; it never ends by itself.
    ///
    /// # Errors
    /// What it ended in.
    pub async fn failed(&mut self) -> Error {
        let error = Error::new(ErrorKind::Unavailable, format!("Serving at {} ended", self.address));
        match (&mut self.task).await {
            Ok(Err(e)) => error.with_source(e),
            Err(e) => error.with_source(e),
            Ok(Ok(())) => error,
        }
    }

    /// Ends it: answers under way get a moment to end.
    pub async fn stop(self) {
        self.stop.stop();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(LAST_ANSWERS, self.task).await.is_err() {
            abort.abort();
        }
    }
}

struct Shared {
    dav: DavHandler,
    password: Password,
}

/// Serves a repository over WebDAV. The port 0 takes any that is free.
///
/// # Errors
/// `Unavailable` when the address cannot be listened to.
pub async fn serve(browser: &Browser, address: SocketAddr, password: Password) -> Result<Serving> {
    let failed = |e: std::io::Error| {
        let text = format!("{address} cannot be listened to");
        Error::new(ErrorKind::Unavailable, text)
            .with_hint("Name another with --listen; port 0 takes any")
            .with_source(e)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let methods =
        DavMethodSet::from_vec(METHODS.to_vec()).map_err(|_| Error::internal("A method of WebDAV is not known"))?;
    let dav = DavHandler::builder()
        .filesystem(Box::new(Files { browser: browser.clone() }))
        .methods(methods)
        .autoindex(false)
        .read_buf_size(READ_BYTES)
        .build_handler();
    let router = Router::new().fallback(answer).with_state(Arc::new(Shared { dav, password }));
    let stop = Stop::new();
    let stopped = stop.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { stopped.stopped().await });
    Ok(Serving { address, stop, task: tokio::spawn(server.into_future()) })
}

async fn answer(State(shared): State<Arc<Shared>>, mut request: Request) -> Response<Body> {
    match shared.permit(&request) {
        Permit::Granted => {}
        Permit::Unasked => return unauthorized(),
        Permit::Wrong => {
            tokio::time::sleep(WRONG_PASSWORD_WAITS).await;
            return unauthorized();
        }
    }
    let (method, depth) = (request.method().clone(), request.headers().get("depth"));
    if !METHODS.contains(&method.as_str()) {
        // Clients take 405 on MKCOL to mean that the folder is there already (RFC 4918, section 9.3.1).
        let mut refused = plain(StatusCode::FORBIDDEN, "Nothing can be changed here\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("OPTIONS, GET, HEAD, PROPFIND"));
        return refused;
    }
    if method.as_str() == "PROPFIND" && depth.is_some_and(|depth| depth.as_bytes().eq_ignore_ascii_case(b"infinity")) {
        let mut refused = plain(StatusCode::FORBIDDEN, FINITE_DEPTH);
        let xml = HeaderValue::from_static("application/xml; charset=utf-8");
        refused.headers_mut().insert(header::CONTENT_TYPE, xml);
        return refused;
    }
    if !request.headers().contains_key("depth") {
        // It would mean all there is; clients that leave it out look for the folder itself and what is in it.
        request.headers_mut().insert("depth", HeaderValue::from_static("1"));
    }
    let mut response = shared.dav.handle(request).await.map(Body::new);
    let headers = response.headers_mut();
    if method == Method::OPTIONS {
        // Without locks and changes it is class 1, whatever the library can do elsewhere.
        headers.insert("dav", HeaderValue::from_static("1"));
    }
    // What people kept may be a page with a program in it: in a browser it may do nothing here.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

enum Permit {
    Granted,
    /// No password was given yet.
    Unasked,
    Wrong,
}

impl Shared {
    /// Looks at the password of a request (Basic, RFC 7617); the user's name is any.
    fn permit(&self, request: &Request) -> Permit {
        let Some(given) = request.headers().get(header::AUTHORIZATION) else { return Permit::Unasked };
        let given = given.as_bytes().split_at_checked(6).filter(|(word, _)| word.eq_ignore_ascii_case(b"basic "));
        let given = given.and_then(|(_, coded)| STANDARD.decode(coded.trim_ascii()).ok()).unwrap_or_default();
        let password = given.iter().position(|byte| *byte == b':').and_then(|colon| given.get(colon + 1..));
        if password.is_some_and(|password| self.password.is(password)) { Permit::Granted } else { Permit::Wrong }
    }
}

fn unauthorized() -> Response<Body> {
    let mut refused = plain(StatusCode::UNAUTHORIZED, "The password is shown where serve webdav was started\n");
    let challenge = HeaderValue::from_static(r#"Basic realm="tenantvault", charset="UTF-8""#);
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    refused
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
