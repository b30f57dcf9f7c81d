//! What all parts of a running server share.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::SignIn;
use super::basket::Baskets;
use super::contents::Asked;
use super::db::Db;
use super::endpoint::Endpoint;
use super::id::Id;
use super::jobs::download::Downloads;
use super::options::ServerOptions;
use super::pulse::Pulse;
use super::store::Stores;
use super::turns::Derivations;
use super::unlock::Unlocked;
use super::vault::Vault;
use super::web::Bodies;
use crate::error::{Error, Result};
use crate::graph::Budget;
use crate::reach::Reach;

/// Tells the time: microseconds since 1970 UTC.
pub(crate) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A running server.
pub(crate) struct Server {
    /// How it was started.
    pub(crate) options: ServerOptions,
    /// The database.
    pub(crate) db: Db,
    /// Seals secrets.
    pub(crate) vault: Vault,
    /// Checks sign-ins.
    pub(crate) sign_in: SignIn,
    /// Repositories that are open.
    pub(crate) stores: Stores,
    /// How keys are derived of passphrases.
    pub(crate) derivations: Derivations,
    /// What people have open to look into.
    pub(crate) unlocked: Unlocked,
    /// Where clients store.
    pub(crate) endpoint: Endpoint,
    /// Room for what requests bring.
    pub(crate) bodies: Bodies,
    /// Archives that are being sent.
    pub(crate) downloads: Downloads,
    /// The figures that were told last, and when.
    pub(crate) figures: tokio::sync::Mutex<Option<(i64, String)>>,
    /// What people have picked.
    pub(crate) baskets: Baskets,
    /// What tenants have, of those that somebody looked at.
    pub(crate) contents: Asked,
    /// Where it connects to on behalf of accounts, if that is bounded.
    pub(crate) reach: Option<Reach>,
    /// When what this process does in the background last went well.
    pub(crate) pulse: Pulse,
    /// What goes on beside jobs and answers: it is waited for when the server stops.
    pub(crate) aside: TaskTracker,
    /// The connections that are open.
    pub(crate) connections: axum_server::Control,
    /// How many connections were closed because their address had as many as it may.
    pub(crate) turned_away: Arc<AtomicU64>,
    /// The server stops.
    pub(crate) ending: CancellationToken,
    /// Where this process listens, once it does.
    pub(crate) address: std::sync::OnceLock<std::net::SocketAddr>,
    clock: Clock,
    /// The budgets of tenants: all jobs of this process share them.
    budgets: Mutex<HashMap<Id, Arc<Budget>>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server in {}", self.options.folder.display())
    }
}

impl Server {
    /// Opens the folder and the database of a server.
    ///
    /// # Errors
    /// When the folder, the master key or the database cannot be used.
    pub(crate) async fn open(options: ServerOptions, clock: Option<Clock>) -> Result<Arc<Self>> {
        let folder = &options.folder;
        let cannot = |e| Error::io(format!("The server's folder {} cannot be used", folder.display()), e);
        std::fs::create_dir_all(folder).map_err(cannot)?;
        // Nobody else on this machine has business in it.
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(cannot)?;
        let db = Db::open(options.database_url.as_deref(), folder).await?;
        db.forget_lent_keys().await?;
        let vault = Vault::open(&folder.join("master.key"), db.has_administrator().await?)?;
        Ok(Arc::new(Self {
            sign_in: SignIn::new(db.clone(), vault.clone()),
            db,
            vault,
            clock: clock.unwrap_or_else(|| Arc::new(|| Timestamp::now().as_microsecond())),
            stores: Stores::default(),
            derivations: Derivations::default(),
            unlocked: Unlocked::default(),
            endpoint: Endpoint::default(),
            bodies: Bodies::default(),
            downloads: Downloads::default(),
            figures: tokio::sync::Mutex::default(),
            baskets: Baskets::default(),
            contents: Asked::default(),
            reach: (!options.allow_private_targets).then(Reach::public),
            pulse: Pulse::default(),
            aside: TaskTracker::new(),
            connections: axum_server::Control::new(),
            turned_away: Arc::default(),
            ending: CancellationToken::new(),
            address: std::sync::OnceLock::new(),
            budgets: Mutex::default(),
            options,
        }))
    }

    /// The time now: microseconds since 1970 UTC.
    pub(crate) fn now_us(&self) -> i64 {
        (self.clock)()
    }

    /// What tells the time.
    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Where caches of repositories lie.
    pub(crate) fn cache_folder(&self) -> PathBuf {
        self.options.folder.join("cache")
    }

    /// Where the server's own storage lies: the repositories of an account, each in a folder.
    pub(crate) fn storage_folder(&self, account: &Id) -> PathBuf {
        self.options.folder.join("storage").join(account.as_str())
    }

    /// A page's address as it is handed to people: whole, where the server knows what it is reached under.
    pub(crate) fn link(&self, path: &str) -> String {
        let base = self.options.public_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        let own = || {
            let scheme = if self.options.tls.is_some() { "https" } else { "http" };
            self.address.get().map(|address| format!("{scheme}://{address}")).unwrap_or_default()
        };
        format!("{}{path}", base.unwrap_or_else(own))
    }

    /// Whether browsers reach the pages by HTTPS, so that cookies may be bound to it.
    pub(crate) fn is_secure(&self) -> bool {
        self.options.tls.is_some() || self.options.public_url.as_deref().is_some_and(|url| url.starts_with("https:"))
    }

    /// The budget of a tenant, once a client made one.
    pub(crate) fn budget(&self, tenant: &Id) -> Option<Arc<Budget>> {
        self.budgets.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(tenant).cloned()
    }

    /// Lets go of the budget of a tenant that was changed.
    pub(crate) fn forget_budget(&self, tenant: &Id) {
        self.budgets.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(tenant);
    }

    /// Keeps the budget that the first client of a tenant made, for those that follow.
    pub(crate) fn keep_budget(&self, tenant: &Id, budget: &Arc<Budget>) {
        let mut all = self.budgets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.entry(tenant.clone()).or_insert_with(|| budget.clone());
    }
}
