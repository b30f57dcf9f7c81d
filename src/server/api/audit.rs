//! The audit log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::List;
use crate::server::audit::{Entry, Verified};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{Asked, At};

type Answer<T> = Result<T, ApiError>;

/// An entry of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryView {
    number: i64,
    at_us: i64,
    account: Option<String>,
    /// Who: a login, "schedule", "client NAME", "nobody".
    actor: String,
    address: String,
    action: String,
    object: String,
    #[schema(value_type = Object)]
    detail: Value,
    /// The hash of the entry before.
    previous: String,
    /// The hash of this one, over all its fields.
    hash: String,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self {
            detail: serde_json::from_str(&entry.detail).unwrap_or_default(),
            number: entry.number,
            at_us: entry.at_us,
            account: entry.account,
            actor: entry.actor,
            address: entry.address,
            action: entry.action,
            object: entry.object,
            previous: entry.previous,
            hash: entry.hash,
        }
    }
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Entries before this number.
    before: Option<i64>,
    /// How many at most.
    #[param(minimum = 1, maximum = 1000)]
    most: Option<i64>,
}

impl Which {
    fn limits(&self) -> (i64, i64) {
        (self.before.unwrap_or(i64::MAX), self.most.unwrap_or(100).clamp(1, 1_000))
    }
}

/// The audit log of an account, the newest first
#[utoipa::path(get, path = "/api/v1/accounts/{account}/audit", tag = "audit", params(("account" = Id, Path), Which),
    responses((status = 200, body = List<EntryView>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn of_account(
    State(server): State<Arc<Server>>,
    At(account): At<Id>,
    Asked(which): Asked<Which>,
) -> Answer<Json<List<EntryView>>> {
    let (before, most) = which.limits();
    let all = server.db.audit(Some(&account), before, most).await?;
    Ok(List::of(all.into_iter().map(EntryView::from)))
}

/// The whole audit log, the newest first
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Which),
    responses((status = 200, body = List<EntryView>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn all(
    State(server): State<Arc<Server>>,
    Asked(which): Asked<Which>,
) -> Answer<Json<List<EntryView>>> {
    let (before, most) = which.limits();
    Ok(List::of(server.db.audit(None, before, most).await?.into_iter().map(EntryView::from)))
}

/// What looking through the log found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifiedView {
    /// Every entry follows upon the one before.
    whole: bool,
    /// How many there are.
    entries: Option<u64>,
    /// The hash of the last: kept elsewhere, it shows later whether the end was cut off.
    last: Option<String>,
    /// The first that is not as it was written, or whose predecessor is missing.
    broken_at: Option<i64>,
}

impl From<Verified> for VerifiedView {
    fn from(verified: Verified) -> Self {
        match verified {
            Verified::Whole { entries, last } => {
                Self { whole: true, entries: Some(entries), last: Some(last), broken_at: None }
            }
            Verified::Broken { number } => Self { whole: false, entries: None, last: None, broken_at: Some(number) },
        }
    }
}

/// Look whether the audit log was tampered with
#[utoipa::path(get, path = "/api/v1/audit/verification", tag = "audit",
    responses((status = 200, body = VerifiedView), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(crate) async fn verify(State(server): State<Arc<Server>>) -> Answer<Json<VerifiedView>> {
    Ok(Json(server.db.verify_audit().await?.into()))
}
