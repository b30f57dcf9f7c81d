//! Connections: how many are open at once, and how long one may hold its place without taking what it asked for.
//!
//! Who comes when all places are taken is not refused: it waits in the system's queue until a connection goes. That places come free
//! is seen to by times: of who asks nothing by those in `run`, of who takes no answer by the one here.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::extract::connect_info::Connected;
use axum_server::{AddrListener, Address};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// How long nothing of an answer may be taken. Downloads end before (`jobs::download`), and say why.
const LONGEST_STANDSTILL: Duration = Duration::from_secs(if cfg!(test) { 8 } else { 120 });
/// How often is told that all places are taken.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Who connects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller(SocketAddr);

impl Connected<Caller> for SocketAddr {
    fn connect_info(caller: Caller) -> Self {
        caller.0
    }
}

impl Address for Caller {
    type Stream = Line;
    type Listener = Lines;
}

/// Takes connections, as many at once as there are places.
#[derive(Debug)]
pub(super) struct Lines {
    listener: TcpListener,
    places: Arc<Semaphore>,
    most: usize,
    told: Mutex<Option<Instant>>,
}

impl Lines {
    /// Takes so many at once from a socket that listens; fewer, where the process may not open files enough.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub(super) fn of(listener: std::net::TcpListener, most: usize) -> io::Result<Self> {
        let most = within(most, files());
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Ok(Self { listener: TcpListener::from_std(listener)?, places, most, told: Mutex::default() })
    }

    async fn place(&self) -> io::Result<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        self.tell();
        self.places.clone().acquire_owned().await.map_err(io::Error::other)
    }

    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(most = self.most, "All connections that may be open are: who comes waits until one goes");
        }
    }
}

impl AddrListener<Line, Caller> for Lines {
    async fn bind_to(_: Caller) -> io::Result<Self> {
        Err(io::Error::other("Connections are taken from a socket that listens already"))
    }

    async fn accept_stream(&self) -> io::Result<(Line, Caller)> {
        let place = self.place().await?;
        let (stream, from) = self.listener.accept().await?;
        Ok((Line { stream, standstill: None, _place: place }, Caller(from)))
    }

    fn get_local_addr(&self) -> io::Result<Caller> {
        self.listener.local_addr().map(Caller)
    }
}

/// As many as are asked for, and at most half of the files that the process may open: a request may need one beside its connection.
fn within(asked: usize, files: Option<usize>) -> usize {
    match files.map(|files| files / 2) {
        Some(most) if most < asked => {
            tracing::warn!(most, asked, "The process may not open files enough (ulimit -n) for so many connections");
            most.max(1)
        }
        _ => asked.max(1),
    }
}

/// How many files the process may open, where the system says so.
fn files() -> Option<usize> {
    most_open(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

fn most_open(limits: &str) -> Option<usize> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

/// A connection, with its place.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    /// Until when something must be taken of what waits to be; none: nothing waits.
    standstill: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Line {
    /// The first bytes that came; they stay to be read.
    ///
    /// # Errors
    /// As reading.
    pub(super) async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.peek(bytes).await
    }

    /// Ends the wait for a place in the line to write to, when it takes too long.
    fn in_time(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.standstill = None;
            return written;
        }
        let end = self.standstill.get_or_insert_with(|| Box::pin(tokio::time::sleep(LONGEST_STANDSTILL)));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "The answer is not taken")))
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.in_time(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_half_of_the_files_that_a_process_may_open() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(most_open(limits), Some(1024));
        assert_eq!(most_open(&limits.replace("1024 ", "unlimited ")), None);
        assert_eq!(most_open(""), None);
        assert_eq!([within(4096, Some(1024)), within(4096, None), within(4096, Some(65_536))], [512, 4096, 4096]);
        assert_eq!([within(9, Some(1)), within(0, None)], [1, 1]);
    }
}
