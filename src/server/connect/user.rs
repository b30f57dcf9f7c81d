//! A tenant that is one user's own account: signing in, and going on with it.
//!
//! The refresh token lies in the database, sealed as an app's secret is, and changes with each renewal. Whoever renews it
//! holds the tenant's row meanwhile (`db/held.rs`), so that several workers, and those after a restart, go on with the newest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::{bounds, cloud};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::user::{Held, Keeper, Kept, KeptSignIn, PERSONAL, RefreshToken};
use crate::graph::{
    AccessToken, Account, Caller, Client, ClientOptions, RetryOptions, TokenSource, UserOptions, UserSignIn,
};
use crate::ops::access;
use crate::server::auth::random_token;
use crate::server::db::{Db, Refused, Tenant, TenantDefinition, sign_in_changed};
use crate::server::id::Id;
use crate::server::state::{Clock, Server};
use crate::server::vault::Vault;
use crate::snapshot::set::Workload;

/// Where Microsoft leads browsers back to.
pub(crate) const CALLBACK: &str = "/sign-ins/callback";
/// What is asked for where nobody chose: what a user may consent to alone.
const USUAL: &[Workload] =
    &[Workload::Mail, Workload::Calendar, Workload::Contacts, Workload::Tasks, Workload::OneDrive, Workload::Settings];
/// How long a sign-in is held without a word, and how often word is given.
const LEASE_US: i64 = 30_000_000;
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How long one waits for another to have renewed it, and how often is looked.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the newest token is tried to be kept, and how long between.
const SAVE_TRIES: u32 = 8;
const BETWEEN_SAVES: Duration = Duration::from_secs(1);
/// The longest token that is kept.
const MOST_TOKEN: usize = 20_000;

/// Of which kind the account is.
pub(crate) fn caller(definition: &TenantDefinition) -> Caller {
    if definition.tenant_id.eq_ignore_ascii_case(PERSONAL) { Caller::Personal } else { Caller::Work }
}

/// The parts of the account that are asked for.
///
/// # Errors
/// `InvalidInput` for a word that is none of them.
pub(crate) fn parts(definition: &TenantDefinition) -> Result<Vec<Workload>> {
    let parts = match definition.parts.as_slice() {
        [] => USUAL.to_vec(),
        words => words.iter().map(|word| word.trim().parse::<Workload>()).collect::<Result<_>>()?,
    };
    let caller = caller(definition);
    Ok(parts.into_iter().filter(|part| access::can_have(caller, *part)).collect())
}

/// Looks at what somebody entered about such a tenant.
pub(super) fn check(definition: &TenantDefinition, secret: Option<&str>) -> Result<()> {
    if secret.is_some() || definition.certificate.is_some() {
        return Err(Error::invalid("A user's own account has neither secret nor certificate: the user signs in"));
    }
    if ["common", "organizations"].iter().any(|any| definition.tenant_id.eq_ignore_ascii_case(any)) {
        return Err(Error::invalid("This stands for any directory")
            .with_hint(format!("Give the directory's id or domain, or '{PERSONAL}' for a personal account")));
    }
    if caller(definition) == Caller::Personal && definition.restore.is_some() {
        return Err(Error::invalid("A personal account has no app that restores by itself")
            .with_hint("Let the sign-in ask for the right to restore"));
    }
    if parts(definition)?.is_empty() {
        return Err(Error::invalid("Nothing of what is asked for is in such an account"));
    }
    Ok(())
}

/// The address that Microsoft leads browsers back to, where there is one that it takes: it wants HTTPS, or this machine.
///
/// # Errors
/// `InvalidInput` when this server is reached by none.
pub(crate) fn redirect(server: &Server) -> Result<String> {
    let address = server.link(CALLBACK);
    let good =
        url::Url::parse(&address).is_ok_and(|url| url.scheme() == "https" || crate::graph::cloud::is_loopback(&url));
    if good {
        return Ok(address);
    }
    Err(Error::invalid("Microsoft leads back to addresses with https:// only, and this server is not known by one")
        .with_hint(
            "Tell the server its address (TENANTVAULT_SERVER_PUBLIC_URL), or sign in by device code or by pasting",
        ))
}

/// The ways to sign in to a tenant.
///
/// # Errors
/// When an address cannot be used.
pub(crate) fn sign_in(server: &Server, tenant: &Tenant, retry: RetryOptions) -> Result<UserSignIn> {
    let definition = &tenant.definition;
    let (parts, caller) = (parts(definition)?, caller(definition));
    let mut scopes = access::scopes(&parts, caller);
    if definition.may_restore {
        let more = access::restore_scopes(&parts, caller);
        scopes.extend(more);
    }
    UserSignIn::new(UserOptions {
        cloud: cloud(definition)?,
        tenant: definition.tenant_id.clone(),
        client_id: definition.client_id.clone(),
        scopes,
        again: format!("on the server's pages, Tenants, '{}', Sign in", tenant.name),
        retry,
        reach: bounds(server, definition).cloned(),
    })
}

/// For what somebody at a page waits for.
pub(crate) fn in_a_hurry() -> RetryOptions {
    RetryOptions {
        attempts: 2,
        attempts_internal: 2,
        attempts_throttled: 2,
        longest_asked: Duration::from_secs(5),
        timeout: Duration::from_secs(12),
        ..RetryOptions::default()
    }
}

/// Makes the client of such a tenant.
pub(super) fn client(server: &Server, tenant: &Tenant, options: ClientOptions) -> Result<Client> {
    let keeper = DbKeeper::of(server, tenant);
    let retry = RetryOptions { longest_asked: Duration::from_secs(60), ..RetryOptions::default() };
    let tokens = Noted { inner: KeptSignIn::new(sign_in(server, tenant, retry)?, Arc::new(keeper.clone())), keeper };
    Client::for_user(options, Arc::new(tokens), caller(&tenant.definition))
}

/// Asks Graph who signed in, by the token that was just given.
///
/// # Errors
/// When Graph refuses it, or does not answer.
pub(crate) async fn who(server: &Server, definition: &TenantDefinition, access: AccessToken) -> Result<Account> {
    let mut options = ClientOptions { retry: in_a_hurry(), ..ClientOptions::new(cloud(definition)?) };
    options.reach = bounds(server, definition).cloned();
    crate::graph::user::who(options, caller(definition), access).await
}

/// Notes at the tenant when its sign-in is refused, and when it goes on again.
struct Noted {
    inner: KeptSignIn,
    keeper: DbKeeper,
}

#[async_trait]
impl TokenSource for Noted {
    async fn fetch(&self, claims: Option<&str>) -> Result<AccessToken> {
        let fetched = self.inner.fetch(claims).await;
        let DbKeeper { db, tenant, clock, .. } = &self.keeper;
        let noted = match &fetched {
            Ok(_) => db.note_refused(tenant, None, clock()).await,
            Err(e) if e.kind() == ErrorKind::Permission => {
                let refused = Refused { error: e.to_string(), hint: e.hint().map(str::to_owned), since_us: 0 };
                db.note_refused(tenant, Some(&refused), clock()).await
            }
            Err(_) => Ok(()),
        };
        if let Err(e) = noted {
            tracing::warn!(tenant = tenant.as_str(), "How a sign-in goes on cannot be noted: {}", e.chain());
        }
        fetched
    }
}

/// What is kept of a sign-in, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Document {
    account: Account,
    scopes: Vec<String>,
    refresh_token: Zeroizing<String>,
    claims: Option<String>,
    signed_in_us: i64,
}

fn place(tenant: &Id) -> String {
    // Another than an app's secret has: neither is taken for the other.
    format!("tenants/{tenant}/sign_in")
}

/// Seals a sign-in for a tenant's row.
///
/// # Errors
/// `InvalidInput` for a token that is absurdly long.
pub(crate) fn seal(vault: &Vault, tenant: &Id, kept: &Kept) -> Result<String> {
    if kept.refresh.0.len() > MOST_TOKEN {
        return Err(Error::invalid("The sign-in server's token is too long to be kept"));
    }
    let document = Document {
        account: kept.account.clone(),
        scopes: kept.scopes.clone(),
        refresh_token: kept.refresh.0.clone(),
        claims: kept.claims.clone(),
        signed_in_us: kept.signed_in_us,
    };
    let text = serde_json::to_string(&document)
        .map(Zeroizing::new)
        .map_err(|_| Error::internal("A sign-in cannot be kept as JSON"))?;
    Ok(vault.seal(&place(tenant), &text))
}

fn opened(vault: &Vault, tenant: &Id, sealed: &str) -> Result<Kept> {
    let text = vault.open_sealed(&place(tenant), sealed)?;
    // The parser's words may repeat what stands there.
    let document: Document =
        serde_json::from_str(&text).map_err(|_| Error::corrupt("A sign-in in the database cannot be read"))?;
    Ok(Kept {
        account: document.account,
        scopes: document.scopes,
        refresh: RefreshToken(document.refresh_token),
        claims: document.claims,
        signed_in_us: document.signed_in_us,
    })
}

/// Keeps the sign-in of a tenant in its row.
#[derive(Clone)]
pub(crate) struct DbKeeper {
    db: Db,
    vault: Vault,
    clock: Clock,
    tenant: Id,
    aside: TaskTracker,
}

impl DbKeeper {
    /// That of a tenant.
    pub(crate) fn of(server: &Server, tenant: &Tenant) -> Self {
        Self {
            db: server.db.clone(),
            vault: server.vault.clone(),
            clock: server.clock(),
            tenant: tenant.id.clone(),
            aside: server.aside.clone(),
        }
    }
}

#[async_trait]
impl Keeper for DbKeeper {
    async fn hold(&self) -> Result<Box<dyn Held>> {
        let (holder, began) = (random_token(), Instant::now());
        loop {
            let now = (self.clock)();
            if self.db.hold_sign_in(&self.tenant, &holder, now + LEASE_US, now).await? {
                return Ok(Box::new(DbHeld::new(self.clone(), holder)));
            }
            if began.elapsed() > PATIENCE {
                let text = "Another process renews the tenant's sign-in, and does not come to an end";
                return Err(Error::new(ErrorKind::Unavailable, text).with_hint("Try again"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A sign-in that nobody else renews.
struct DbHeld {
    keeper: DbKeeper,
    holder: String,
    word: tokio::task::JoinHandle<()>,
}

impl DbHeld {
    fn new(keeper: DbKeeper, holder: String) -> Self {
        let word = {
            let (keeper, holder) = (keeper.clone(), holder.clone());
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(RENEW_EVERY).await;
                    let until = (keeper.clock)() + LEASE_US;
                    if let Err(e) = keeper.db.go_on_holding(&keeper.tenant, &holder, until).await {
                        tracing::warn!(tenant = keeper.tenant.as_str(), "No word can be given: {}", e.chain());
                    }
                }
            })
        };
        Self { keeper, holder, word }
    }
}

impl DbHeld {
    /// Keeps what is to be kept. The old token may be worth nothing any more: a database that is away for a moment is waited for.
    async fn put(&self, sealed: Option<&str>) -> Result<()> {
        let DbKeeper { db, tenant, .. } = &self.keeper;
        let mut tries = 1;
        loop {
            match db.renew_sign_in(tenant, &self.holder, sealed).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(sign_in_changed()),
                Err(e) if !e.is_retryable() || tries >= SAVE_TRIES => return Err(e),
                Err(_) => tokio::time::sleep(BETWEEN_SAVES).await,
            }
            tries += 1;
        }
    }
}

#[async_trait]
impl Held for DbHeld {
    async fn load(&self) -> Result<Option<Kept>> {
        let DbKeeper { db, vault, tenant, .. } = &self.keeper;
        let sealed = db.held_sign_in(tenant, &self.holder).await?;
        sealed.map(|sealed| opened(vault, tenant, &sealed)).transpose()
    }

    async fn save(&self, kept: &Kept) -> Result<()> {
        let sealed = seal(&self.keeper.vault, &self.keeper.tenant, kept)?;
        self.put(Some(&sealed)).await
    }

    async fn remove(&self) -> Result<bool> {
        let DbKeeper { db, tenant, .. } = &self.keeper;
        let was = db.held_sign_in(tenant, &self.holder).await?.is_some();
        self.put(None).await?;
        Ok(was)
    }
}

impl Drop for DbHeld {
    fn drop(&mut self) {
        self.word.abort();
        let (keeper, holder) = (self.keeper.clone(), std::mem::take(&mut self.holder));
        // Where nothing runs any more, the lease ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let let_go = async move {
                if let Err(e) = keeper.db.let_go_of_sign_in(&keeper.tenant, &holder).await {
                    tracing::warn!(tenant = keeper.tenant.as_str(), "A sign-in stays held: {}", e.chain());
                }
            };
            self.keeper.aside.spawn_on(let_go, &runtime);
        }
    }
}
