//! Accounts.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{List, PartOf, Span};
use crate::server::audit::Deed;
use crate::server::auth::Actor;
use crate::server::db::{Account, Entitlements, Grown, Used};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{Asked, At, Wanted};

type Answer<T> = Result<T, ApiError>;

/// How far back growth is looked at: 26 weeks.
pub(crate) const GROWTH_US: i64 = 26 * 7 * 86_400_000_000;

/// A customer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountView {
    id: Id,
    name: String,
    /// Microseconds since 1970 UTC.
    created_us: i64,
    limits: Entitlements,
    /// How much of it is used.
    used: Used,
}

impl AccountView {
    fn of(account: Account, used: &HashMap<Id, Used>) -> Self {
        let used = used.get(&account.id).copied().unwrap_or_default();
        Self { id: account.id, name: account.name, created_us: account.created_us, limits: account.limits, used }
    }

    async fn whole(server: &Server, account: Account) -> crate::Result<Self> {
        let used = server.db.used(Some(&account.id)).await?;
        Ok(Self::of(account, &used))
    }
}

/// An account as it is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountToBe {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// What it may protect; whatever is left out is not limited.
    #[serde(default)]
    limits: Entitlements,
}

/// Accounts: one's own, or, for administrators, all
#[utoipa::path(get, path = "/api/v1/accounts", tag = "accounts", params(Span), responses(
    (status = 200, body = PartOf<AccountView>), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Asked(span): Asked<Span>,
) -> Answer<Json<PartOf<AccountView>>> {
    let accounts = match &actor.account {
        Some(own) => vec![server.db.account(own).await?],
        None => server.db.accounts().await?,
    };
    let used = server.db.used(actor.account.as_ref()).await?;
    let all = accounts.len();
    let items = span.of(accounts).map(|account| AccountView::of(account, &used)).collect();
    Ok(Json(PartOf { items, all }))
}

/// Add an account
#[utoipa::path(post, path = "/api/v1/accounts", tag = "accounts", request_body = AccountToBe, responses(
    (status = 201, body = AccountView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Wanted(wanted): Wanted<AccountToBe>,
) -> Answer<(StatusCode, Json<AccountView>)> {
    let now = server.now_us();
    let account = server.db.add_account(&wanted.name, wanted.limits, now).await?;
    note(&server, &actor, &account, "account.add").await?;
    Ok((StatusCode::CREATED, Json(AccountView::whole(&server, account).await?)))
}

/// An account
#[utoipa::path(get, path = "/api/v1/accounts/{account}", tag = "accounts", params(("account" = Id, Path)), responses(
    (status = 200, body = AccountView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn get(State(server): State<Arc<Server>>, At(account): At<Id>) -> Answer<Json<AccountView>> {
    let account = server.db.account(&account).await?;
    Ok(Json(AccountView::whole(&server, account).await?))
}

/// Change an account's name and limits
#[utoipa::path(put, path = "/api/v1/accounts/{account}", tag = "accounts", params(("account" = Id, Path)),
    request_body = AccountToBe, responses(
    (status = 200, body = AccountView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Wanted(wanted): Wanted<AccountToBe>,
) -> Answer<Json<AccountView>> {
    let id = account;
    server.db.change_account(&id, &wanted.name, wanted.limits).await?;
    let account = server.db.account(&id).await?;
    note(&server, &actor, &account, "account.change").await?;
    Ok(Json(AccountView::whole(&server, account).await?))
}

/// Remove an account that holds nothing any more
#[utoipa::path(delete, path = "/api/v1/accounts/{account}", tag = "accounts", params(("account" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem)))]
pub(crate) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
) -> Answer<StatusCode> {
    let account = server.db.account(&account).await?;
    server.db.remove_account(&account.id).await?;
    note(&server, &actor, &account, "account.remove").await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How what an account stores grew, day by day, in the last half year
#[utoipa::path(get, path = "/api/v1/accounts/{account}/growth", tag = "accounts", params(("account" = Id, Path)),
    responses((status = 200, body = List<Grown>), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn growth(State(server): State<Arc<Server>>, At(account): At<Id>) -> Answer<Json<List<Grown>>> {
    let now_us = server.now_us();
    Ok(List::of(server.db.growth(&account, now_us - GROWTH_US, now_us).await?))
}

async fn note(server: &Server, actor: &Actor, account: &Account, action: &'static str) -> crate::Result<()> {
    let detail = json!({"limits": account.limits});
    let deed = Deed { account: Some(&account.id), action, object: &account.name, detail };
    server.db.note(actor, deed, server.now_us()).await
}
