//! A simulated tenant with a repository beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tenantvault::crypto::Passphrase;
use tenantvault::error::Result;
use tenantvault::graph::{Client, ClientOptions, Cloud, Credential, Limits, RetryOptions};
use tenantvault::monitor::{Counter, Monitor, Silent};
use tenantvault::ops::backup::{BackupOptions, BackupReport, Stop, Surroundings, backup};
use tenantvault::repo::{Repository, WriterOptions};
use tenantvault::sim::{SimHandle, SimOptions, SimTenant};
use tenantvault::snapshot::policy::Policy;
use tenantvault::snapshot::set::{Selection, SetDefinition, SetOptions, TenantRef, Workload};
use tenantvault::snapshot::store::{self, Snapshot};
use tenantvault::storage::{Storage, StorageOptions};

/// 2026-11-20 09:00 UTC.
pub const START_US: i64 = 1_795_165_200_000_000;

pub struct Setting {
    pub sim: SimHandle,
    pub client: Client,
    pub storage: Arc<dyn Storage>,
    pub repo: Arc<Repository>,
    pub cache: tempfile::TempDir,
    pub clock: Arc<AtomicI64>,
    pub stop: Stop,
    pub options: BackupOptions,
}

/// Throws a switch after so many items.
pub struct StopAfter(AtomicI64, Stop);

impl StopAfter {
    /// Hears of items, and throws that switch.
    pub fn new(items: i64, stop: &Stop) -> Arc<Self> {
        Arc::new(Self(items.into(), stop.clone()))
    }
}

impl Monitor for StopAfter {
    fn add(&self, counter: Counter, by: i64) {
        if counter == Counter::Items && self.0.fetch_sub(by, Ordering::Relaxed) <= by {
            self.1.stop();
        }
    }
}

pub fn passphrase() -> Passphrase {
    Passphrase::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()
}

pub fn client(sim: &SimHandle) -> Client {
    client_with(sim, |_| ())
}

pub fn client_with(sim: &SimHandle, edit: impl FnOnce(&mut ClientOptions)) -> Client {
    let cloud = Cloud::custom(sim.graph_url(), sim.login_url()).unwrap();
    // Waits are shortened: what is tested is what is repeated, not how long that takes.
    let wait = std::time::Duration::from_millis(2);
    let timeout = std::time::Duration::from_secs(3);
    let retry = RetryOptions { base: wait, longest: wait, attempts_internal: 8, timeout, ..RetryOptions::default() };
    let limits = Limits::for_licences(100).scaled(1e6);
    let mut options = ClientOptions { limits, retry, http2: true, ..ClientOptions::new(cloud) };
    edit(&mut options);
    Client::new(options, sim.tenant_id(), sim.client_id(), Credential::secret(sim.client_secret())).unwrap()
}

pub fn set(recoverable_items: bool) -> SetDefinition {
    let all = "*".parse().unwrap();
    SetDefinition {
        name: "everyone".into(),
        tenant: TenantRef { name: "sim".into(), id: "sim".into() },
        selection: Selection::of_users(vec![all], vec![], Workload::ALL),
        options: SetOptions { recoverable_items, ..SetOptions::default() },
        destinations: vec![],
        retention: Policy::default(),
        time_zone: "UTC".into(),
    }
}

impl Setting {
    pub async fn new(options: SimOptions) -> Self {
        let storage = tenantvault::storage::open("memory:", &StorageOptions::default()).unwrap();
        Self::with_storage(options, storage).await
    }

    pub async fn with_storage(options: SimOptions, storage: Arc<dyn Storage>) -> Self {
        // A group with a team, and one without.
        let sim = SimTenant::start(SimOptions { groups: 2, ..options }).await.unwrap();
        let cache = tempfile::tempdir().unwrap();
        let root: Option<PathBuf> = Some(cache.path().to_owned());
        let repo = Repository::init(storage.clone(), &passphrase(), "test", START_US, root).await.unwrap();
        let options = BackupOptions {
            set: set(false),
            host: "test".into(),
            program: "test".into(),
            tags: vec![],
            writer: WriterOptions::default(),
            collections_at_once: 0,
        };
        let client = client(&sim);
        let clock = Arc::new(AtomicI64::new(START_US));
        Self { sim, client, storage, repo, cache, clock, stop: Stop::new(), options }
    }

    pub async fn backup(&self) -> Result<BackupReport> {
        self.backup_with(Arc::new(Silent), self.stop.clone()).await
    }

    /// Backs up until so many items were read.
    pub async fn backup_stopped_after(&self, items: i64) -> Result<BackupReport> {
        let stop = Stop::new();
        self.backup_with(StopAfter::new(items, &stop), stop).await
    }

    async fn backup_with(&self, monitor: Arc<dyn Monitor>, stop: Stop) -> Result<BackupReport> {
        let clock = self.clock.clone();
        let now_us = Arc::new(move || clock.fetch_add(1000, Ordering::Relaxed));
        backup(&self.repo, &self.client, &self.options, &Surroundings { monitor, now_us, stop }).await
    }

    /// The next day comes, for the tenant and for the clock.
    pub fn next_day(&self) {
        self.sim.advance_day();
        self.clock.fetch_add(86_400_000_000, Ordering::Relaxed);
    }

    pub async fn snapshots(&self) -> Vec<Snapshot> {
        let listing = store::list(&self.repo).await.unwrap();
        assert!(listing.broken.is_empty(), "{:?}", listing.broken);
        listing.snapshots
    }

    /// Opens the repository anew, as another process would.
    pub async fn reopen(&self, cached: bool) -> Arc<Repository> {
        let root = cached.then(|| self.cache.path().to_owned());
        Repository::open(self.storage.clone(), &passphrase(), root).await.unwrap()
    }
}
