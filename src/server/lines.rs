//! Connections: how many are open at once, and how long one may hold its place without taking what it asked for.
//!
//! Who comes when all places are taken is not refused: it waits in the system's queue until a connection goes. That places come free
//! is seen to by times: of who asks nothing by those in `run`, of who takes no answer by the one here. That one alone holds not all
//! of them is seen to by a bound of each address: what comes over that is closed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::extract::connect_info::Connected;
use axum_server::{AddrListener, Address};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::network::Network;

/// How long nothing of an answer may be taken. Downloads end before (`jobs::download`), and say why.
const LONGEST_STANDSTILL: Duration = Duration::from_secs(if cfg!(test) { 8 } else { 120 });
/// How often is told that all places are taken, and that an address has as many as it may.
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

/// How many connections may be open.
#[derive(Debug)]
pub(super) struct Bounds {
    /// At once; fewer, where the process may not open files enough.
    pub(super) at_once: usize,
    /// Of these of one address; of IPv6: of one /64.
    pub(super) per_address: usize,
    /// Who speaks for many, and has no bound of its own.
    pub(super) spared: Vec<Network>,
    /// Counts what was closed because its address had as many.
    pub(super) turned_away: Arc<AtomicU64>,
}

/// Takes connections, as many at once as there are places.
#[derive(Debug)]
pub(super) struct Lines {
    listener: TcpListener,
    places: Arc<Semaphore>,
    shares: Arc<Shares>,
    bounds: Bounds,
    told_full: Told,
    told_away: Told,
}

impl Lines {
    /// Takes what comes to a socket that listens, within bounds.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub(super) fn of(listener: std::net::TcpListener, bounds: Bounds) -> io::Result<Self> {
        let bounds = Bounds { at_once: within(bounds.at_once, files()), ..bounds };
        let places = Arc::new(Semaphore::new(bounds.at_once.min(Semaphore::MAX_PERMITS)));
        let listener = TcpListener::from_std(listener)?;
        let (shares, told_full, told_away) = (Arc::default(), Told::default(), Told::default());
        Ok(Self { listener, places, shares, bounds, told_full, told_away })
    }

    async fn place(&self) -> io::Result<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        if self.told_full.is_due() {
            let most = self.bounds.at_once;
            tracing::warn!(most, "All connections that may be open are: who comes waits until one goes");
        }
        self.places.clone().acquire_owned().await.map_err(io::Error::other)
    }

    /// A share for one more connection of an address; none when it has as many as it may.
    fn share(&self, from: IpAddr) -> Option<Share> {
        if self.bounds.spared.iter().any(|network| network.contains(from)) {
            return Some(Share(None));
        }
        let (sender, most) = (sender(from), self.bounds.per_address.max(1));
        if self.shares.take(sender, most) {
            return Some(Share(Some((self.shares.clone(), sender))));
        }
        self.bounds.turned_away.fetch_add(1, Ordering::Relaxed);
        if self.told_away.is_due() {
            tracing::warn!(%sender, most, "An address has as many connections as it may: what more comes is closed");
        }
        None
    }
}

/// When something was told last.
#[derive(Debug, Default)]
struct Told(Mutex<Option<Instant>>);

impl Told {
    /// Says whether it is to be told again, and takes it for told then.
    fn is_due(&self) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if is_due {
            *told = Some(Instant::now());
        }
        is_due
    }
}

/// Whose a connection is, as far as an address tells: who has one of IPv6 has 2^64 of them.
fn sender(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        from @ IpAddr::V4(_) => from,
        IpAddr::V6(from) => {
            let [a, b, c, d, ..] = from.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// How many connections are open of each sender that has any.
#[derive(Debug, Default)]
struct Shares(Mutex<HashMap<IpAddr, usize>>);

impl Shares {
    /// Counts one more, unless there are as many as there may be; says whether it did.
    fn take(&self, sender: IpAddr, most: usize) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let many = open.entry(sender).or_default();
        let is_free = *many < most;
        *many += usize::from(is_free);
        is_free
    }

    fn give_back(&self, sender: IpAddr) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut many) = open.entry(sender) {
            *many.get_mut() -= 1;
            if *many.get() == 0 {
                many.remove();
            }
        }
    }
}

/// What a connection takes of its sender's bound, until it goes; nothing of who has none.
#[derive(Debug)]
struct Share(Option<(Arc<Shares>, IpAddr)>);

impl Drop for Share {
    fn drop(&mut self) {
        if let Some((shares, sender)) = &self.0 {
            shares.give_back(*sender);
        }
    }
}

impl AddrListener<Line, Caller> for Lines {
    async fn bind_to(_: Caller) -> io::Result<Self> {
        Err(io::Error::other("Connections are taken from a socket that listens already"))
    }

    async fn accept_stream(&self) -> io::Result<(Line, Caller)> {
        let place = self.place().await?;
        loop {
            let (stream, from) = self.listener.accept().await?;
            if let Some(share) = self.share(from.ip()) {
                return Ok((Line { stream, standstill: None, _place: place, _share: share }, Caller(from)));
            }
        }
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
    _share: Share,
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

    #[test]
    fn who_has_a_network_of_ipv6_is_one_sender() {
        for (from, one) in [
            ("203.0.113.9", "203.0.113.9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::9", "2001:db8:1:2::"),
            ("2001:db8:1:3::9", "2001:db8:1:3::"),
        ] {
            assert_eq!(sender(from.parse().expect(from)).to_string(), one, "{from}");
        }
    }

    #[test]
    fn nothing_is_kept_of_who_has_no_connection() {
        let (shares, one) = (Arc::new(Shares::default()), IpAddr::from([203, 0, 113, 9]));
        let first = shares.take(one, 1).then(|| Share(Some((shares.clone(), one))));
        assert!(first.is_some() && !shares.take(one, 1));
        drop(first);
        assert!(shares.0.lock().expect("unharmed").is_empty());
    }
}
