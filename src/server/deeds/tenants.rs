//! Tenants: adding, changing, testing, removing.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::note;
use crate::error::{Error, Result};
use crate::server::auth::{Actor, Password};
use crate::server::connect;
use crate::server::db::{Tenant, TenantDefinition};
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
    /// The app's client secret, or its private key (PEM). Left out: the one that is there stays.
    #[serde(default)]
    pub(crate) secret: Option<Password>,
}

impl fmt::Debug for TenantToBe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantToBe({:?})", self.name)
    }
}

/// Adds a tenant.
///
/// # Errors
/// `InvalidInput`, `AlreadyExists`, `Permission`.
pub(crate) async fn add(server: &Server, actor: &Actor, account: &Id, wanted: &TenantToBe) -> Result<Tenant> {
    let secret = wanted.secret.as_ref().ok_or_else(|| Error::invalid("The app's secret or private key is missing"))?;
    connect::check(server, &wanted.definition, Some(secret.expose())).await?;
    let (name, definition, secret) = (&wanted.name, &wanted.definition, Some(secret.expose().trim()));
    let tenant = server.db.add_tenant(&server.vault, account, name, definition, secret, server.now_us()).await?;
    note(server, actor, account, "tenant.add", &tenant.name, json!({"tenant_id": definition.tenant_id})).await?;
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
    server.db.change_tenant(&server.vault, &tenant, &wanted.name, &wanted.definition, secret).await?;
    server.forget_budget(id);
    let detail = json!({"tenant_id": wanted.definition.tenant_id, "new_secret": secret.is_some()});
    note(server, actor, account, "tenant.change", &wanted.name, detail).await?;
    server.db.tenant(account, id).await
}

/// Signs in to a tenant and finds out what may be read.
///
/// # Errors
/// When signing in does not work.
pub(crate) async fn test(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<Value> {
    let tenant = server.db.tenant(account, id).await?;
    let state = connect::test(server, &tenant).await?;
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
    note(server, actor, account, "tenant.remove", &tenant.name, json!({})).await
}
