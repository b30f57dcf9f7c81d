//! Waiting on this machine for the browser to come back (RFC 8252, section 7.3).
//!
//! Anything on this machine, and any page in its browser, can knock here: what does not carry this sign-in's state is shown
//! the door, and waiting goes on.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::browser::{AuthorizationCode, Back, CodeRequest};
use super::{SignedIn, UserSignIn};
use crate::error::{Error, ErrorKind, Result};

/// The most of a request that is read: a code has up to some KiB, browsers add cookies.
const HEAD_LIMIT: usize = 64 * 1024;
/// How long one visitor may take.
const VISIT: Duration = Duration::from_secs(10);
/// How long the user may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A port of this machine that waits for the browser.
#[derive(Debug)]
pub struct Loopback {
    listener: TcpListener,
    redirect: String,
}

impl Loopback {
    /// Takes any free port of the loopback interface.
    ///
    /// # Errors
    /// When there is none.
    pub async fn listen() -> Result<Self> {
        let failed = |e| {
            Error::io("No port of this machine can be opened for the browser to come back to", e)
                .with_hint("Sign in with --device-code or --paste")
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self { listener, redirect: format!("http://localhost:{port}") })
    }

    /// The address that the browser is to come back to. To be registered as `http://localhost`: any port fits.
    pub fn redirect(&self) -> &str {
        &self.redirect
    }
}

impl UserSignIn {
    /// Waits for the browser to come back, and ends the sign-in.
    ///
    /// # Errors
    /// [`ErrorKind::Permission`] if the user declined or did not come back in a quarter of an hour; a refusal, explained.
    pub async fn finish_code(&self, request: &CodeRequest, loopback: &Loopback) -> Result<SignedIn> {
        let waited = timeout(PATIENCE, wait(request, loopback)).await.map_err(|_| {
            Error::new(ErrorKind::Permission, "Nobody signed in within a quarter of an hour")
                .with_hint(self.endpoint.asker.begin_anew())
        })?;
        let (back, mut visitor) = waited?;
        let result = match back {
            Back::Refused(refused) => Err(self.declined(*refused)),
            Back::Code(code) => self.redeem(request, &AuthorizationCode(code)).await,
            Back::Foreign => Err(Error::internal("A foreign visitor was let in")),
        };
        // The browser may be gone: what counts is known already.
        let _ = timeout(VISIT, answer(&mut visitor, if result.is_ok() { Page::Done } else { Page::Failed })).await;
        result
    }
}

async fn wait(request: &CodeRequest, loopback: &Loopback) -> Result<(Back, TcpStream)> {
    loop {
        let (mut visitor, _) = match loopback.listener.accept().await {
            Ok(visitor) => visitor,
            // A visitor who left while knocking.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionAborted => continue,
            Err(e) => return Err(Error::io("Waiting for the browser failed", e)),
        };
        let asked = timeout(VISIT, head(&mut visitor)).await.ok().flatten();
        let page = match asked.as_deref().and_then(|head| target(head)).map(|query| request.read(query)) {
            Some(Some(Back::Foreign)) => Page::Foreign,
            Some(Some(back)) => return Ok((back, visitor)),
            _ => Page::Nothing,
        };
        let _ = timeout(VISIT, answer(&mut visitor, page)).await;
    }
}

/// Reads the head of a request; `None`: it is too long, or broke off.
async fn head(visitor: &mut TcpStream) -> Option<Zeroizing<Vec<u8>>> {
    let mut head = Zeroizing::new(Vec::with_capacity(HEAD_LIMIT));
    loop {
        let mut part = Zeroizing::new([0; 4096]);
        let length = visitor.read(part.as_mut_slice()).await.ok().filter(|length| *length > 0)?;
        head.extend_from_slice(part.get(..length)?);
        if memchr::memmem::find(&head, b"\r\n\r\n").is_some() {
            return Some(head);
        }
        if head.len() + part.len() > HEAD_LIMIT {
            return None;
        }
    }
}

/// The query of what is asked for, if it is the page that the browser was sent to.
fn target(head: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let path = line.strip_prefix("GET ")?.split(' ').next()?;
    path.strip_prefix("/?")
}

enum Page {
    Done,
    Failed,
    Foreign,
    Nothing,
}

async fn answer(visitor: &mut TcpStream, page: Page) -> std::io::Result<()> {
    let (status, text) = match page {
        Page::Done => ("200 OK", "You are signed in. Close this page and go back to Tenantvault."),
        Page::Failed => ("200 OK", "The sign-in failed. Tenantvault says why."),
        Page::Foreign => ("400 Bad Request", "This sign-in was not begun by the Tenantvault that is waiting here."),
        Page::Nothing => ("404 Not Found", "There is nothing here."),
    };
    let body = format!("<!doctype html><meta charset=utf-8><title>Tenantvault</title><p>{text}</p>\n");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n",
        body.len()
    );
    visitor.write_all(head.as_bytes()).await?;
    visitor.write_all(body.as_bytes()).await?;
    visitor.shutdown().await
}
