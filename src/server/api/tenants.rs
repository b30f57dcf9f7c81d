//! Tenants.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{PartOf, Span};
use crate::server::auth::Actor;
use crate::server::db::{Refused, SignedInUser, Tenant, TenantDefinition};
use crate::server::deeds::tenants::{self, TenantToBe};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{Asked, At, Wanted};

type Answer<T> = Result<T, ApiError>;

/// A tenant, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantView {
    id: Id,
    name: String,
    definition: TenantDefinition,
    created_us: i64,
    /// What the last test found.
    #[schema(value_type = Option<Object>)]
    state: Option<Value>,
    /// When that was.
    checked_us: Option<i64>,
    /// Who signed in, where it is a user's own account.
    user: Option<SignedInUser>,
    /// Why that sign-in no longer goes on: the user has to sign in again.
    refused: Option<Refused>,
    /// When an administrator consented to the app, as far as that was asked for from here.
    consented_us: Option<i64>,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id,
            name: tenant.name,
            definition: tenant.definition,
            created_us: tenant.created_us,
            state: tenant.state.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            checked_us: tenant.checked_us,
            user: tenant.user,
            refused: tenant.refused,
            consented_us: tenant.consented_us,
        }
    }
}

/// Tenants of an account
#[utoipa::path(get, path = "/api/v1/accounts/{account}/tenants", tag = "tenants", params(("account" = Id, Path), Span),
    responses((status = 200, body = PartOf<TenantView>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    At(account): At<Id>,
    Asked(span): Asked<Span>,
) -> Answer<Json<PartOf<TenantView>>> {
    let rows = server.db.tenants(&account).await?;
    let all = rows.len();
    Ok(Json(PartOf { items: span.of(rows).map(TenantView::from).collect(), all }))
}

/// Add a tenant
#[utoipa::path(post, path = "/api/v1/accounts/{account}/tenants", tag = "tenants", params(("account" = Id, Path)),
    request_body = TenantToBe, responses(
    (status = 201, body = TenantView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Wanted(wanted): Wanted<TenantToBe>,
) -> Answer<(StatusCode, Json<TenantView>)> {
    let tenant = tenants::add(&server, &actor, &account, &wanted).await?;
    Ok((StatusCode::CREATED, Json(tenant.into())))
}

/// A tenant
#[utoipa::path(get, path = "/api/v1/accounts/{account}/tenants/{tenant}", tag = "tenants",
    params(("account" = Id, Path), ("tenant" = Id, Path)), responses(
    (status = 200, body = TenantView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(server): State<Arc<Server>>,
    At((account, tenant)): At<(Id, Id)>,
) -> Answer<Json<TenantView>> {
    Ok(Json(server.db.tenant(&account, &tenant).await?.into()))
}

/// Change a tenant
#[utoipa::path(put, path = "/api/v1/accounts/{account}/tenants/{tenant}", tag = "tenants",
    params(("account" = Id, Path), ("tenant" = Id, Path)), request_body = TenantToBe, responses(
    (status = 200, body = TenantView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, tenant)): At<(Id, Id)>,
    Wanted(wanted): Wanted<TenantToBe>,
) -> Answer<Json<TenantView>> {
    Ok(Json(tenants::change(&server, &actor, &account, &tenant, &wanted).await?.into()))
}

/// Remove a tenant that no backup set reads
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/tenants/{tenant}", tag = "tenants",
    params(("account" = Id, Path), ("tenant" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem)))]
pub(crate) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, tenant)): At<(Id, Id)>,
) -> Answer<StatusCode> {
    tenants::remove(&server, &actor, &account, &tenant).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sign in to a tenant and find out what may be read
#[utoipa::path(post, path = "/api/v1/accounts/{account}/tenants/{tenant}/test", tag = "tenants",
    params(("account" = Id, Path), ("tenant" = Id, Path)), responses(
    (status = 200, body = Object), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn test(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, tenant)): At<(Id, Id)>,
) -> Answer<Json<Value>> {
    Ok(Json(tenants::test(&server, &actor, &account, &tenant).await?))
}
