//! Keys of repositories.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::List;
use crate::server::auth::{Actor, Password};
use crate::server::deeds::keys::{self, KeySlot};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::store;
use crate::server::web::{At, Wanted};

type Answer<T> = Result<T, ApiError>;

/// Key slots of a repository
#[utoipa::path(get, path = "/api/v1/accounts/{account}/repositories/{repository}/keys", tag = "keys",
    params(("account" = Id, Path), ("repository" = Id, Path)), responses(
    (status = 200, body = List<KeySlot>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    At((account, repository)): At<(Id, Id)>,
) -> Answer<Json<List<KeySlot>>> {
    let row = server.db.repository(&account, &repository).await?;
    Ok(List::of(keys::slots(&server, &row).await?))
}

/// An owner's key to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyToAdd {
    /// A key of an owner; left out: the one that the repository is unlocked with.
    #[serde(default)]
    key: Option<Password>,
    /// What the new one is called.
    #[schema(max_length = 100)]
    label: String,
}

/// A key that was made. It is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyMade {
    key: String,
    /// The id of its slot.
    id: String,
    /// What the list of keys shows of it, to tell later which key this is.
    checksum: String,
}

/// Add an owner's key
///
/// A key is replaced by adding one, confirming that it is kept, and removing the old one with the new one.
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories/{repository}/keys", tag = "keys",
    params(("account" = Id, Path), ("repository" = Id, Path)), request_body = KeyToAdd, responses(
    (status = 201, body = KeyMade), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Wanted(wanted): Wanted<KeyToAdd>,
) -> Answer<(StatusCode, Json<KeyMade>)> {
    let made = keys::add(&server, &actor, &account, &repository, wanted.key.as_ref(), &wanted.label).await?;
    let key = made.key.expose_text().to_owned();
    Ok((StatusCode::CREATED, Json(KeyMade { checksum: store::checksum(&key), id: made.slot, key })))
}

/// Proof that whoever asks has a key of an owner.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnerProof {
    /// The key; left out: the one that the repository is unlocked with.
    #[serde(default)]
    key: Option<Password>,
}

/// Remove a key
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories/{repository}/keys/{slot}/removal",
    tag = "keys", params(("account" = Id, Path), ("repository" = Id, Path), ("slot" = String, Path)),
    request_body = OwnerProof, responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository, slot)): At<(Id, Id, String)>,
    Wanted(proof): Wanted<OwnerProof>,
) -> Answer<StatusCode> {
    keys::remove(&server, &actor, &account, &repository, proof.key.as_ref(), &slot).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a new write-only key for the server, and remove the one that it had
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories/{repository}/server-key", tag = "keys",
    params(("account" = Id, Path), ("repository" = Id, Path)), request_body = OwnerProof, responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn renew_of_server(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Wanted(proof): Wanted<OwnerProof>,
) -> Answer<StatusCode> {
    keys::renew_of_server(&server, &actor, &account, &repository, proof.key.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let the server hold the owner's key: it can read everything then
#[utoipa::path(put, path = "/api/v1/accounts/{account}/repositories/{repository}/held-key", tag = "keys",
    params(("account" = Id, Path), ("repository" = Id, Path)), request_body = OwnerProof, responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn hold(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Wanted(proof): Wanted<OwnerProof>,
) -> Answer<StatusCode> {
    keys::hold(&server, &actor, &account, &repository, proof.key.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take the owner's key from the server
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/repositories/{repository}/held-key", tag = "keys",
    params(("account" = Id, Path), ("repository" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn let_go(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
) -> Answer<StatusCode> {
    keys::let_go(&server, &actor, &account, &repository).await?;
    Ok(StatusCode::NO_CONTENT)
}
