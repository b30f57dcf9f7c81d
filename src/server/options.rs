//! How a server is started.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::network::Network;

/// What a process of the server does. With several on one database each can have its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Role {
    /// All of it.
    #[default]
    All,
    /// Pages and API.
    Web,
    /// Puts jobs that are due into the queue.
    Scheduler,
    /// Takes jobs from the queue and does them.
    Worker,
}

impl Role {
    /// Answers requests.
    pub(crate) fn serves(self) -> bool {
        matches!(self, Self::All | Self::Web)
    }

    /// Starts what is due.
    pub(crate) fn schedules(self) -> bool {
        matches!(self, Self::All | Self::Scheduler)
    }

    /// Does jobs.
    pub(crate) fn works(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate, and those between it and its authority.
    pub certificate_file: PathBuf,
    /// The private key.
    pub private_key_file: PathBuf,
}

/// How a server is started.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The folder of all that it keeps: database, master key, repositories, caches. Made if it is not there.
    pub folder: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it tells whoever watches it how it is (`/healthz`, `/readyz`, `/metrics`), by HTTP and beside `listen`: for roles that
    /// serve nothing else. None: nowhere.
    pub health_listen: Option<SocketAddr>,
    /// The database: `postgres://…`; none: SQLite in the folder.
    pub database_url: Option<String>,
    /// What its pages are reached under from outside (`https://backup.example.com`); none: as it listens.
    pub public_url: Option<String>,
    /// TLS of its own; none: plain HTTP, for loopback or behind a proxy.
    pub tls: Option<Tls>,
    /// What this process does.
    pub role: Role,
    /// Jobs done at once by this process.
    pub jobs_at_once: usize,
    /// Connections open at once to this process; who comes over that waits. At most half of the files that it may open.
    pub connections_at_once: usize,
    /// Connections of one address (of IPv6: one /64) at once; what comes over that is closed. Loopback and proxies that are believed
    /// have no such bound.
    pub connections_per_address: usize,
    /// Proxies that are believed as to where requests come from, beside those on this machine.
    pub trusted_proxies: Vec<Network>,
    /// Destinations and webhooks may lie in private networks and on this machine. For whoever runs the server for
    /// others, they must not.
    pub allow_private_targets: bool,
    /// What this process is called in the queue; the machine's name and a random part, if it is empty.
    pub worker_name: String,
}

impl ServerOptions {
    /// A server in a folder, on a port of loopback that is free.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self {
            folder,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            health_listen: None,
            database_url: None,
            public_url: None,
            tls: None,
            role: Role::All,
            jobs_at_once: 4,
            connections_at_once: 4_096,
            connections_per_address: 256,
            trusted_proxies: Vec::new(),
            allow_private_targets: true,
            worker_name: String::new(),
        }
    }
}
