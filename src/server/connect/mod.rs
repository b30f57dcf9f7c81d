//! From a tenant of the database to a Graph client.

pub(crate) mod user;

use std::sync::Arc;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::db::{SignInWay, Tenant, TenantDefinition};
use super::state::Server;
use super::targets;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Budget, Client, ClientOptions, Cloud, Credential, SpeedLimit, certificate_end};
use crate::monitor::{Monitor, Silent};
use crate::ops::access::{self, SecretEnd, State};
use crate::reach::Reach;
use crate::snapshot::set::Workload;

/// Makes the client of a tenant. All clients of one tenant in this process share its budget.
///
/// # Errors
/// When the secret does not open, or an address or certificate cannot be used.
pub(crate) fn client(
    server: &Server,
    tenant: &Tenant,
    speed: Option<u64>,
    monitor: Arc<dyn Monitor>,
) -> Result<Client> {
    let budget = server.budget(&tenant.id);
    let client = match tenant.is_of_user() {
        true => user::client(
            server,
            tenant,
            client_options(&tenant.definition, bounds(server, &tenant.definition), budget, speed, monitor)?,
        )?,
        false => {
            let secret = tenant.secret(&server.vault)?;
            signed_in(&tenant.definition, &secret, bounds(server, &tenant.definition), budget, speed, monitor)?
        }
    };
    server.keep_budget(&tenant.id, client.budget());
    Ok(client)
}

/// Makes a client from how a tenant is reached and the app's secret, on whichever machine.
///
/// # Errors
/// When an address or certificate cannot be used.
pub(crate) fn signed_in(
    definition: &TenantDefinition,
    secret: &str,
    reach: Option<&Reach>,
    budget: Option<Arc<Budget>>,
    speed: Option<u64>,
    monitor: Arc<dyn Monitor>,
) -> Result<Client> {
    let options = client_options(definition, reach, budget, speed, monitor)?;
    let credential = credential(definition.sign_in, definition.certificate.as_deref(), secret)?;
    Client::new(options, &definition.tenant_id, &definition.client_id, credential)
}

fn client_options(
    definition: &TenantDefinition,
    reach: Option<&Reach>,
    budget: Option<Arc<Budget>>,
    speed: Option<u64>,
    monitor: Arc<dyn Monitor>,
) -> Result<ClientOptions> {
    let mut options = ClientOptions::new(cloud(definition)?);
    options.budget = budget;
    options.reach = reach.cloned();
    options.monitor = monitor;
    options.speed = speed.map(SpeedLimit::new).map(Arc::new).into_iter().collect();
    Ok(options)
}

/// What proves an app.
fn credential(way: SignInWay, certificate: Option<&str>, secret: &str) -> Result<Credential> {
    Ok(match way {
        SignInWay::Secret => Credential::secret(secret),
        SignInWay::Certificate => Credential::certificate(certificate.unwrap_or_default(), secret.to_owned()),
        SignInWay::User => return Err(of_user_alone()),
    })
}

/// Why a machine elsewhere does not get a user's sign-in: each renewal changes it, and the server must have the newest.
pub(crate) fn of_user_alone() -> Error {
    Error::invalid("The tenant is one user's own account: its backup sets run on the server, not on a client")
        .with_hint("Let the server run the set, or connect the tenant by an app of its own")
}

/// Makes the client that restores to a tenant: by the app that was made for it, else by the one that backs up. An app has
/// limits of its own, and restores of one tenant run one after another.
///
/// # Errors
/// As [`client`].
pub(crate) fn restore_client(server: &Server, tenant: &Tenant, monitor: Arc<dyn Monitor>) -> Result<Client> {
    let definition = &tenant.definition;
    let Some(app) = &definition.restore else { return client(server, tenant, None, monitor) };
    let mut options = ClientOptions::new(cloud(definition)?);
    options.monitor = monitor;
    options.reach = bounds(server, definition).cloned();
    let secret = tenant.restore_secret(&server.vault)?;
    let credential = credential(app.sign_in, app.certificate.as_deref(), &secret)?;
    Client::new(options, &definition.tenant_id, &app.client_id, credential)
}

/// What Microsoft, or what stands in its place, answered oddly: nothing here is damaged, and it may answer better later.
pub(crate) fn foreign(e: Error) -> Error {
    if e.kind() != ErrorKind::Corrupt {
        return e;
    }
    tracing::warn!("A foreign answer is not understood: {}", e.chain());
    let hint =
        e.hint().unwrap_or("Check the tenant's addresses, and whether a proxy stands in between; then try again");
    Error::new(ErrorKind::Unavailable, e.to_string()).with_hint(hint)
}

/// Where a tenant's client may connect to: addresses that somebody entered are bounded, Microsoft's own clouds are not, also not by
/// way of a proxy.
pub(crate) fn bounds<'a>(server: &'a Server, definition: &TenantDefinition) -> Option<&'a Reach> {
    let entered = definition.graph_url.is_some() || definition.login_url.is_some();
    server.reach.as_ref().filter(|_| entered)
}

/// The cloud of a tenant.
pub(crate) fn cloud(definition: &TenantDefinition) -> Result<Cloud> {
    let named = Cloud::named(&definition.cloud)?;
    match (&definition.graph_url, &definition.login_url) {
        (None, None) => Ok(named),
        (graph, login) => Cloud::custom(
            graph.as_deref().unwrap_or(named.graph_root().as_str()),
            login.as_deref().unwrap_or(named.login_root().as_str()),
        ),
    }
}

/// Looks at the addresses of a tenant: this server must be allowed to reach them.
///
/// # Errors
/// `InvalidInput`; `Permission` for addresses that this server does not reach out to.
pub(crate) async fn reach(server: &Server, definition: &TenantDefinition) -> Result<()> {
    for address in [&definition.graph_url, &definition.login_url].into_iter().flatten() {
        targets::reach(server, address).await?;
    }
    cloud(definition).map(drop)
}

/// Looks at what somebody entered about a tenant.
///
/// # Errors
/// `InvalidInput`; `Permission` for addresses that this server does not reach out to.
pub(crate) async fn check(server: &Server, definition: &TenantDefinition, secret: Option<&str>) -> Result<()> {
    let restoring = definition.restore.as_ref();
    let ids = [("directory id", &definition.tenant_id), ("client id", &definition.client_id)];
    for (what, text) in
        ids.into_iter().chain(restoring.map(|app| ("client id of the app that restores", &app.client_id)))
    {
        let good = !text.is_empty()
            && text.len() <= 200
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
        if !good {
            return Err(Error::invalid(format!("This cannot be a {what}"))
                .with_hint("It stands in the app registration's overview"));
        }
    }
    reach(server, definition).await?;
    if restoring.is_some_and(|app| app.sign_in == SignInWay::User) {
        return Err(Error::invalid("The app that restores signs in by itself, with a secret or a certificate"));
    }
    if definition.sign_in == SignInWay::User {
        user::check(definition, secret)?;
    } else if !definition.parts.is_empty() || definition.may_restore {
        return Err(Error::invalid("What is asked for at a sign-in is of tenants that a user signs in to"));
    }
    if secret.is_some_and(|secret| secret.trim().is_empty() || secret.len() > 20_000) {
        return Err(Error::invalid("The secret is empty, or too long"));
    }
    if let Some(app) = restoring.filter(|app| app.sign_in == SignInWay::Certificate) {
        certificate_end(app.certificate.as_deref().unwrap_or_default())?;
    }
    if definition.sign_in == SignInWay::Certificate {
        let certificate = definition.certificate.as_deref().unwrap_or_default();
        certificate_end(certificate)?;
        if let Some(secret) = secret {
            Credential::certificate(certificate.to_owned(), secret.to_owned());
        }
    }
    Ok(())
}

/// Signs in to a tenant and finds out what the app, or its user, may read; keeps what it found.
///
/// # Errors
/// When signing in does not work.
pub(crate) async fn test(server: &Server, tenant: &Tenant) -> Result<Value> {
    let client = client(server, tenant, None, Arc::new(Silent))?;
    let parts = if tenant.is_of_user() { user::parts(&tenant.definition)? } else { Workload::ALL.to_vec() };
    let mut found = access::look(&client, &parts).await?;
    let sets = server.db.sets(&tenant.account).await?;
    if sets.iter().any(|set| set.tenant == tenant.id && set.choices.retention_labels) {
        found.push(access::look_labels(&client).await?);
    }
    let mut permissions = Vec::new();
    for (permission, state) in &found {
        let (word, text) = match state {
            State::Granted => ("granted", format!("to {}", permission.purpose)),
            State::Missing => ("missing", format!("without it {}", permission.cost)),
            State::Refused(reason) => {
                ("refused", format!("Graph refuses everybody asked ({reason}): {}", permission.cost))
            }
            State::Unknown => ("unknown", format!("nobody could be asked; without it {}", permission.cost)),
        };
        let workload = permission.workload.map(Workload::word);
        permissions.push(json!({"name": permission.name, "state": word, "message": text, "workload": workload}));
    }
    let missing = found.iter().filter(|(_, state)| matches!(state, State::Missing | State::Refused(_))).count();
    let consent = cloud(&tenant.definition)?
        .admin_consent_url(&tenant.definition.tenant_id, &tenant.definition.client_id)?
        .to_string();
    let of = &tenant.definition;
    let proof = (of.sign_in, of.certificate.as_deref());
    let end_us = proof_end_us(&client, &of.client_id, proof, || tenant.secret(&server.vault)).await?;
    let restore_end_us = match &of.restore {
        Some(app) => {
            let proof = (app.sign_in, app.certificate.as_deref());
            let found = proof_end_us(&client, &app.client_id, proof, || tenant.restore_secret(&server.vault)).await;
            // What keeps it from being found out keeps nothing from being backed up.
            found.ok().flatten()
        }
        None => None,
    };
    let restoring = match restore_client(server, tenant, Arc::new(Silent)) {
        Ok(client) => restore_permissions(&client, &parts).await,
        Err(e) => Err(e),
    };
    let (restore, restore_error) = match restoring {
        Ok(found) => (found, None),
        Err(e) => (Vec::new(), Some(e.chain())),
    };
    let state = json!({
        "restore": restore,
        "restore_error": restore_error,
        "permissions": permissions,
        "missing": missing,
        "consent": consent,
        "secret_end_us": end_us,
        "restore_secret_end_us": restore_end_us,
        "plans": access::plans(&client).await?,
    });
    server.db.keep_tenant_state(&tenant.id, &state.to_string(), server.now_us()).await?;
    Ok(state)
}

/// What the app that restores may write. Without any of it, all is backed up all the same.
async fn restore_permissions(client: &Client, parts: &[Workload]) -> Result<Vec<Value>> {
    let mut found = access::look_restore(client).await?;
    found.retain(|(permission, _)| permission.workload.is_none_or(|part| parts.contains(&part)));
    let told = |(permission, state): (access::Permission, State)| {
        let word = match state {
            State::Granted => "granted",
            State::Unknown => "unknown",
            State::Missing if permission.is_optional() => "optional",
            State::Missing | State::Refused(_) => "missing",
        };
        let text = match state {
            State::Granted => format!("to {}", permission.purpose),
            _ => format!("without it {}", permission.cost),
        };
        json!({"name": permission.name, "state": word, "message": text})
    };
    Ok(found.into_iter().map(told).collect())
}

/// When an app's proof ends, if that is known: microseconds since 1970 UTC. `client`: of the app that backs up, also for the other
/// one, which has no need to read registrations.
async fn proof_end_us(
    client: &Client,
    client_id: &str,
    (way, certificate): (SignInWay, Option<&str>),
    secret: impl FnOnce() -> Result<Zeroizing<String>>,
) -> Result<Option<i64>> {
    let end = match way {
        SignInWay::Secret => {
            // The registration tells secrets apart by their first three characters.
            let begins: String = secret()?.chars().take(3).collect();
            access::secret_end(client, client_id, &begins).await?
        }
        SignInWay::Certificate => SecretEnd::At(certificate_end(certificate.unwrap_or_default())?),
        SignInWay::User => return Ok(None),
    };
    Ok(match end {
        SecretEnd::At(end) => Some(end.as_microsecond()),
        SecretEnd::Unknown(_) => None,
    })
}
