//! Starts a server, and brings it to an end.

use std::fs::{File, TryLockError};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lines::{Bounds, Caller, Lines};
use super::network::Network;
use super::options::{Role, ServerOptions};
use super::state::{Clock, Server};
use super::{setup, web};
use crate::error::{Error, ErrorKind, Result};

/// How long requests that are being answered may take to end when the server stops.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// How long jobs and passes may take to come to an end that can be gone on from, when the server stops: what does not end by then waits
/// for a database or a storage that is gone. Less than those who stop servers wait (`TimeoutStopSec`, `stop_grace_period`).
const LAST_JOBS: Duration = Duration::from_secs(90);

/// How long the head of a request may take to come, also the next one of a connection: who holds connections open without asking
/// anything is let go.
const LONGEST_HEAD: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 30 });

/// How long a connection of HTTP/2, on which nothing came for so long, may take to answer a ping. It waits its turn behind what is
/// on its way: on a slow line, for a while.
const LONGEST_SILENCE: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 60 });

/// Connections at once of those who watch the process: they are few, and take none of the places of others.
const MOST_WATCHERS: usize = 64;

/// Requests of one connection of HTTP/2 at once.
const MOST_STREAMS: u32 = 100;

/// The longest head of a request of HTTP/2.
const MOST_HEAD_BYTES: u32 = 16 * 1024;

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    server: Arc<Server>,
    address: Option<SocketAddr>,
    health_address: Option<SocketAddr>,
    handle: Handle<Caller>,
    tasks: TaskTracker,
    stop: CancellationToken,
    first_link: Option<String>,
    /// Keeps others off the folder, as long as it is open.
    _lock: Option<File>,
}

impl Running {
    /// Where it listens; a process that answers no requests listens nowhere.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where it tells whoever watches it how it is, and nothing else; none where that was not asked for.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health_address
    }

    /// The address of its pages.
    pub fn url(&self) -> String {
        self.server.link("")
    }

    /// The link by which the first administrator chooses a password; none when there is an administrator.
    pub fn first_link(&self) -> Option<&str> {
        self.first_link.as_deref()
    }

    /// What all its parts share.
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Lets no job be begun in the background any more: for tests that are the workers themselves.
    #[cfg(test)]
    pub(crate) async fn pause_workers(&self) {
        self.stop.cancel();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    /// Stops it: takes no more requests and no more jobs, lets what is under way come to an end that can be gone on from, and waits no
    /// more than two minutes for that.
    pub async fn stop(self) {
        self.stop.cancel();
        self.server.ending.cancel();
        self.handle.graceful_shutdown(Some(LAST_REQUESTS));
        self.tasks.close();
        wait("jobs are still under way", LAST_JOBS, self.tasks.wait()).await;
        self.server.aside.close();
        wait("something is still under way", LAST_REQUESTS, self.server.aside.wait()).await;
        wait("its database does not answer", LAST_REQUESTS, self.server.db.close()).await;
    }
}

/// Waits for the end of something, for so long and no longer.
async fn wait(what: &str, longest: Duration, end: impl Future<Output = ()>) {
    if tokio::time::timeout(longest, end).await.is_err() {
        tracing::warn!("The server ends while {what}");
    }
}

/// Starts a server.
///
/// # Errors
/// When the folder, the database, the certificate or the address cannot be used.
pub async fn start(options: ServerOptions) -> Result<Running> {
    start_at(options, None).await
}

/// As [`start`], with a clock of the caller's.
///
/// # Errors
/// As [`start`].
pub(crate) async fn start_at(options: ServerOptions, clock: Option<Clock>) -> Result<Running> {
    let lock = lock(&options)?;
    let server = Server::open(options, clock).await?;
    let handle = Handle::with_control(server.connections.clone());
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut address = None;
    if server.options.role.serves() {
        let (listener, bound) = listen(server.options.listen)?;
        address = Some(bound);
        let _ = server.address.set(bound);
        let (service, tls) = (web::service(&server), server.options.tls.as_ref());
        serve(&server, service, (listener, server.options.connections_at_once), tls, &handle, &tasks).await?;
    }
    let mut health_address = None;
    if let Some(at) = server.options.health_listen {
        let (listener, bound) = listen(at)?;
        health_address = Some(bound);
        let handle = Handle::with_control(server.connections.clone());
        serve(&server, web::watched(&server), (listener, MOST_WATCHERS), None, &handle, &tasks).await?;
    }
    super::jobs::start(&server, &tasks, &stop);
    super::notices::start(&server, &tasks, &stop);
    // Each link ends the one before: a worker that starts must not end the one that somebody was shown.
    let token = match server.options.role.serves() {
        true => setup::first_administrator(&server).await?,
        false => None,
    };
    let first_link = token.map(|token| server.link(&format!("/welcome/{token}")));
    Ok(Running { server, address, health_address, handle, tasks, stop, first_link, _lock: lock })
}

/// Takes a folder with SQLite in it: two servers there would each schedule and keep in order what is the other's. Parts of one server
/// may share it.
///
/// # Errors
/// `Unavailable` when another one works there.
fn lock(options: &ServerOptions) -> Result<Option<File>> {
    if options.database_url.as_deref().is_some_and(|url| !url.starts_with("sqlite")) {
        return Ok(None);
    }
    let path = options.folder.join("server.lock");
    let open = || {
        std::fs::create_dir_all(&options.folder)?;
        File::options().create(true).truncate(false).write(true).open(&path)
    };
    let file =
        open().map_err(|e| Error::io(format!("The server's folder {} cannot be used", options.folder.display()), e))?;
    let locked = match options.role {
        Role::All => file.try_lock(),
        Role::Web | Role::Scheduler | Role::Worker => file.try_lock_shared(),
    };
    match locked {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            let text = format!("Another backup server works in {}", options.folder.display());
            Err(Error::new(ErrorKind::Unavailable, text).with_hint(
                "Stop it first. Several servers share the work on PostgreSQL: TENANTVAULT_SERVER_DATABASE_URL",
            ))
        }
        // Some network drives know no locks.
        Err(TryLockError::Error(e)) => {
            tracing::warn!("The server's folder cannot be locked: {e}");
            Ok(None)
        }
    }
}

/// A socket that listens, and where it does.
fn listen(at: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let cannot = |e| Error::io(format!("Cannot listen on {at}"), e);
    let listener = TcpListener::bind(at).map_err(cannot)?;
    listener.set_nonblocking(true).map_err(cannot)?;
    let bound = listener.local_addr().map_err(cannot)?;
    Ok((listener, bound))
}

/// Answers what comes to a socket, from so many connections at once.
async fn serve(
    server: &Arc<Server>,
    service: Router,
    (listener, at_once): (TcpListener, usize),
    tls: Option<&super::options::Tls>,
    handle: &Handle<Caller>,
    tasks: &TaskTracker,
) -> Result<()> {
    let service = service.into_make_service_with_connect_info::<SocketAddr>();
    let bounds = Bounds {
        at_once,
        per_address: server.options.connections_per_address,
        // Behind a proxy many share its address.
        spared: Network::LOOPBACK.iter().chain(&server.options.trusted_proxies).copied().collect(),
        turned_away: server.turned_away.clone(),
    };
    let lines = Lines::of(listener, bounds);
    let lines = lines.map_err(|e| Error::io("The server's socket cannot be used", e))?;
    let http = bounded(axum_server::Server::<Caller>::from_listener(lines).handle(handle.clone()));
    match tls {
        None => {
            tasks.spawn(async move { tell(http.serve(service).await) });
        }
        Some(tls) => {
            let https = http.acceptor(super::tls::acceptor(tls).await?);
            tasks.spawn(async move { tell(https.serve(service).await) });
        }
    }
    Ok(())
}

/// Bounds what a connection may take up without asking anything.
fn bounded(http: axum_server::Server<Caller>) -> axum_server::Server<Caller> {
    let mut http = http.first_request_timeout(LONGEST_HEAD);
    http.http_builder().http1().header_read_timeout(LONGEST_HEAD);
    // A head that comes in parts lets nothing else through, the answer to a ping neither.
    http.http_builder()
        .http2()
        .keep_alive_interval(LONGEST_HEAD)
        .keep_alive_timeout(LONGEST_SILENCE)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(MOST_HEAD_BYTES);
    http
}

fn tell(ended: std::io::Result<()>) {
    if let Err(e) = ended {
        tracing::error!("The server's socket ended: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_never_ends_does_not_keep_a_server_from_stopping() {
        wait("nothing happens", Duration::from_millis(1), std::future::pending()).await;
        // What comes to an end is waited for.
        let ends = async { tokio::time::sleep(Duration::from_millis(20)).await };
        wait("it goes on", Duration::from_secs(3_600), ends).await;
    }
}
