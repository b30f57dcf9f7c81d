//! Taking over a repository that is there already.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::repositories::{RepositoryView, view};
use crate::server::auth::Actor;
use crate::server::deeds::adopt::{self, AdoptedSet, AdoptedTenant, RepositoryToAdopt};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{At, Wanted};

/// What was taken over from a repository.
#[derive(Serialize, ToSchema)]
pub(crate) struct AdoptedView {
    repository: RepositoryView,
    /// Sets that were made anew from their definitions; when they run has to be entered.
    sets: Vec<AdoptedSet>,
    /// The tenants that they read.
    tenants: Vec<AdoptedTenant>,
    /// Snapshots in it.
    snapshots: usize,
    /// What could not be taken over as it was, in words.
    remarks: Vec<String>,
}

/// Take over a repository that is there already, with its sets, history and snapshots
#[utoipa::path(post, path = "/api/v1/accounts/{account}/adoptions", tag = "repositories",
    params(("account" = Id, Path)), request_body = RepositoryToAdopt, responses(
    (status = 201, body = AdoptedView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 500, body = Problem), (status = 503, body = Problem),
    (status = 507, body = Problem)))]
pub(crate) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Wanted(wanted): Wanted<RepositoryToAdopt>,
) -> Result<(StatusCode, Json<AdoptedView>), ApiError> {
    let adopted = adopt::adopt(&server, &actor, &account, &wanted).await?;
    let (sets, tenants) = (adopted.sets, adopted.tenants);
    let (snapshots, remarks) = (adopted.snapshots, adopted.remarks);
    let repository = view(&server, adopted.row).await?;
    Ok((StatusCode::CREATED, Json(AdoptedView { repository, sets, tenants, snapshots, remarks })))
}
