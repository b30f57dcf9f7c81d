//! TLS by files, and what is told to who speaks without it.

use std::io;
use std::time::Duration;

use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::lines::Line;
use super::options::Tls;
use crate::error::{Error, Result};

/// How long the first byte of a connection may take to come, and who spoke without TLS to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is told to them.
const TOLD: &str = "Only HTTPS is spoken here: write https:// before the address\n";

/// Reads the certificate and its key; what comes in on a connection has to be TLS.
///
/// # Errors
/// `NotFound` and `Permission` of a file; `InvalidInput` when what is in them cannot be used, or does not belong together.
pub(super) async fn acceptor(tls: &Tls) -> Result<RustlsAcceptor<TlsAlone>> {
    let config = RustlsConfig::from_pem_file(&tls.certificate_file, &tls.private_key_file).await.map_err(|e| {
        let (certificate, key) = (tls.certificate_file.display(), tls.private_key_file.display());
        let text = format!("The certificate {certificate} and the key {key} cannot be used");
        match e.kind() {
            io::ErrorKind::Other | io::ErrorKind::InvalidData => Error::invalid(text)
                .with_source(e)
                .with_hint("Both are PEM; the key is that of the first certificate, and has no passphrase"),
            _ => Error::io(text, e),
        }
    })?;
    Ok(RustlsAcceptor::new(config).acceptor(TlsAlone))
}

/// Lets through what begins like TLS. Who asks in plain HTTP is told what to do; of a closed connection nobody learns it.
#[derive(Debug, Clone, Copy)]
pub(super) struct TlsAlone;

impl<S: Send + 'static> Accept<Line, S> for TlsAlone {
    type Stream = Line;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Line, S)>>;

    fn accept(&self, stream: Line, service: S) -> Self::Future {
        Box::pin(async move {
            let mut first = [0];
            timeout(PATIENCE, stream.peek(&mut first)).await??;
            // A request begins with its method, TLS with the number 22.
            if first.iter().all(u8::is_ascii_alphabetic) {
                timeout(PATIENCE, tell(stream)).await??;
                return Err(io::Error::other("Plain HTTP where TLS is spoken"));
            }
            Ok((stream, service))
        })
    }
}

/// Answers one request, whatever it is.
async fn tell(mut stream: Line) -> io::Result<()> {
    let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n";
    let answer = format!("{head}content-length: {}\r\n\r\n{TOLD}", TOLD.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What was sent and is not read would make the other end drop the answer.
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
