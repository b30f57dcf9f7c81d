//! Tenants: adding, changing, testing, removing.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{consent, note};
use crate::error::{Error, Result};
use crate::server::auth::{Actor, Password};
use crate::server::connect;
use crate::server::db::{SignInWay, Tenant, TenantDefinition};
use crate::server::id::Id;
use crate::server::state::Server;

/// A tenant as it is to be.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantToBe {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// How to reach it.
    pub(crate) definition: TenantDefinition,
    /// The app's client secret, or its private key (PEM). Left out: the one that is there stays; where a user signs in there
    /// is none.
    #[serde(default)]
    pub(crate) secret: Option<Password>,
    /// The same of the app that restores, where the definition names one.
    #[serde(default)]
    pub(crate) restore_secret: Option<Password>,
    /// The administrator's consent that was asked for before, so that it is noted at the tenant.
    #[serde(default)]
    pub(crate) consent: Option<Id>,
}

impl fmt::Debug for TenantToBe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantToBe({:?})", self.name)
    }
}

/// The secret of the app that restores, if one is given. `stays`: there is one already.
fn check_restoring(wanted: &TenantToBe, stays: bool) -> Result<Option<&str>> {
    let secret = wanted.restore_secret.as_ref().map(|secret| secret.expose().trim());
    match (&wanted.definition.restore, secret) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::invalid("There is a secret of an app that restores, and no such app")),
        (Some(_), None) if stays => Ok(None),
        (Some(_), None) => Err(Error::invalid("The secret or private key of the app that restores is missing")),
        (Some(_), Some(secret)) if secret.is_empty() || secret.len() > 20_000 => {
            Err(Error::invalid("The secret of the app that restores is empty, or too long"))
        }
        (Some(_), Some(secret)) => Ok(Some(secret)),
    }
}

/// Adds a tenant.
///
/// # Errors
/// `InvalidInput`, `AlreadyExists`, `Permission`.
pub(crate) async fn add(server: &Server, actor: &Actor, account: &Id, wanted: &TenantToBe) -> Result<Tenant> {
    let secret = wanted.secret.as_ref().map(Password::expose);
    if secret.is_none() && wanted.definition.sign_in != SignInWay::User {
        return Err(Error::invalid("The app's secret or private key is missing"));
    }
    connect::check(server, &wanted.definition, secret).await?;
    let (name, definition, secret) = (&wanted.name, &wanted.definition, secret.map(str::trim));
    let restoring = check_restoring(wanted, false)?;
    if let Some(consent) = &wanted.consent {
        consent::is_to(server, actor, account, consent, definition).await?;
    }
    let tenant = server.db.add_tenant(&server.vault, account, name, definition, secret, server.now_us()).await?;
    if let Some(secret) = restoring {
        server.db.keep_restore_secret(&server.vault, &tenant.id, secret).await?;
    }
    if wanted.consent.is_some() {
        server.db.keep_consent(&tenant.id, &actor.login, server.now_us()).await?;
    }
    let detail = json!({"tenant_id": definition.tenant_id, "sign_in": definition.sign_in});
    note(server, actor, account, "tenant.add", &tenant.name, detail).await?;
    Ok(tenant)
}

/// Changes a tenant.
///
/// # Errors
/// As [`add`]; `NotFound`.
pub(crate) async fn change(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    wanted: &TenantToBe,
) -> Result<Tenant> {
    let tenant = server.db.tenant(account, id).await?;
    let secret = wanted.secret.as_ref().map(Password::expose);
    connect::check(server, &wanted.definition, secret).await?;
    let secret = secret.map(str::trim);
    let had = tenant.definition.restore.as_ref().map(|app| &app.client_id);
    let stays = had.is_some() && had == wanted.definition.restore.as_ref().map(|app| &app.client_id);
    let restoring = check_restoring(wanted, stays && same_place(&tenant.definition, &wanted.definition))?;
    let sign_in_stays = stays_signed_in(&tenant.definition, &wanted.definition);
    if !sign_in_stays && secret.is_none() && wanted.definition.sign_in != SignInWay::User {
        return Err(Error::invalid("The app's secret or private key is missing"));
    }
    if wanted.definition.sign_in == SignInWay::User && !tenant.is_of_user() {
        let sets = server.db.sets(account).await?;
        if sets.iter().any(|set| set.tenant == *id && set.client.is_some()) {
            return Err(connect::of_user_alone());
        }
    }
    let (name, definition) = (&wanted.name, &wanted.definition);
    server.db.change_tenant(&server.vault, &tenant, name, definition, (secret, restoring), sign_in_stays).await?;
    server.forget_budget(id);
    server.contents.forget(id);
    let detail = json!({"tenant_id": wanted.definition.tenant_id, "new_secret": secret.is_some()});
    note(server, actor, account, "tenant.change", &wanted.name, detail).await?;
    server.db.tenant(account, id).await
}

/// Whether it is the same directory, asked at the same addresses: a secret is shown nowhere else.
fn same_place(was: &TenantDefinition, is: &TenantDefinition) -> bool {
    was.tenant_id == is.tenant_id
        && was.cloud == is.cloud
        && was.graph_url == is.graph_url
        && was.login_url == is.login_url
}

/// Whether what is kept of a sign-in fits the tenant as it is to be: it is good for one app in one directory.
fn stays_signed_in(was: &TenantDefinition, is: &TenantDefinition) -> bool {
    let of_user = |definition: &TenantDefinition| definition.sign_in == SignInWay::User;
    of_user(was) == of_user(is) && was.client_id == is.client_id && same_place(was, is)
}

/// Tests a tenant, and keeps what was found, also that it does not work: it stands on the tenant's page.
///
/// # Errors
/// As any query.
pub(crate) async fn test_and_tell(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<()> {
    if let Err(e) = test(server, actor, account, id).await {
        let state = json!({"error": e.chain(), "hint": e.hint()});
        server.db.tenant(account, id).await?;
        server.db.keep_tenant_state(id, &state.to_string(), server.now_us()).await?;
    }
    Ok(())
}

/// Signs in to a tenant and finds out what may be read.
///
/// # Errors
/// When signing in does not work.
pub(crate) async fn test(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<Value> {
    let tenant = server.db.tenant(account, id).await?;
    let state = connect::test(server, &tenant).await.map_err(connect::foreign)?;
    note(server, actor, account, "tenant.test", &tenant.name, json!({"missing": state.get("missing")})).await?;
    Ok(state)
}

/// Removes a tenant that no backup set reads.
///
/// # Errors
/// `AlreadyExists` when one does; `NotFound`.
pub(crate) async fn remove(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<()> {
    let tenant = server.db.tenant(account, id).await?;
    server.db.remove_tenant(account, id).await?;
    server.contents.forget(id);
    note(server, actor, account, "tenant.remove", &tenant.name, json!({})).await
}
