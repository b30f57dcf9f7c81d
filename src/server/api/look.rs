//! Looking into snapshots.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::basket::Picked;
use super::repositories::OwnersKey;
use crate::server::auth::Actor;
use crate::server::deeds::look;
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{Asked, At, OfRepository, Wanted};

type Answer<T> = Result<T, ApiError>;

/// Unlock a repository for this token or session, in memory, for half an hour after the last look
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories/{repository}/unlock", tag = "look",
    params(("account" = Id, Path), ("repository" = Id, Path)), request_body = OwnersKey, responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn unlock(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Wanted(proof): Wanted<OwnersKey>,
) -> Answer<StatusCode> {
    look::unlock(&server, &actor, &account, &repository, &proof.key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lock it again
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/repositories/{repository}/unlock", tag = "look",
    params(("account" = Id, Path), ("repository" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn lock(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
) -> Answer<StatusCode> {
    look::lock(&server, &actor, &account, &repository).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where to look.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Where {
    /// Names with `/` between them; empty: the folder above all.
    #[serde(default)]
    path: String,
    /// The number of the first entry.
    #[serde(default)]
    from: u64,
}

/// A page of a folder.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FolderView {
    /// What is in it.
    items: Vec<ItemView>,
    /// The number of the first entry of the next page, if there is one.
    next: Option<u64>,
}

/// Something in a folder.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemView {
    name: String,
    is_folder: bool,
    /// Where it is known without making it.
    size_bytes: Option<u64>,
    /// Microseconds since 1970 UTC; 0 where the item tells no time.
    modified_us: i64,
    /// What kind of item it is, if it is one.
    kind: Option<&'static str>,
    /// Who sent, organised or made it.
    from: Option<String>,
}

/// What is in a folder of an unlocked repository
#[utoipa::path(get, path = "/api/v1/accounts/{account}/repositories/{repository}/contents", tag = "look",
    params(("account" = Id, Path), ("repository" = Id, Path), Where), responses(
    (status = 200, body = FolderView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn contents(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Asked(at): Asked<Where>,
) -> Answer<Json<FolderView>> {
    let row = server.db.repository(&account, &repository).await?;
    let (browser, node) = look::find(&server, &actor, &row, &at.path).await?;
    let listing = look::list(&browser, &node, at.from).await?;
    let item = |entry: look::Listed| ItemView {
        name: entry.name,
        is_folder: entry.is_folder,
        size_bytes: entry.size_bytes,
        modified_us: entry.modified_us,
        kind: entry.kind.map(crate::format::record::ItemKind::word),
        from: entry.from,
    };
    Ok(Json(FolderView { items: listing.entries.into_iter().map(item).collect(), next: listing.next }))
}

/// Where what a path of an unlocked repository names comes from: what a restore, a basket and an archive take
#[utoipa::path(get, path = "/api/v1/accounts/{account}/repositories/{repository}/origin", tag = "look",
    params(("account" = Id, Path), ("repository" = Id, Path), Where), responses(
    (status = 200, body = Picked), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn origin(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { row, .. }: OfRepository,
    Asked(at): Asked<Where>,
) -> Answer<Json<Picked>> {
    Ok(Json(look::origin(&server, &actor, &row, at.path.trim_matches('/')).await?.into()))
}

/// A file of an unlocked repository
#[utoipa::path(get, path = "/api/v1/accounts/{account}/repositories/{repository}/file", tag = "look",
    params(("account" = Id, Path), ("repository" = Id, Path), Where), responses(
    (status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn file(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Asked(at): Asked<Where>,
) -> Answer<Response> {
    Ok(look::download(&server, &actor, &account, &repository, &at.path).await?)
}
