//! Repositories and their places.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{List, Span};
use crate::server::auth::{Actor, Password};
use crate::server::db::{DestinationRow, JobKind, LeftBehind, RepositoryRow};
use crate::server::deeds::repositories::{self, PlaceAnew, PlaceToBe, RepositoryToMake};
use crate::server::deeds::retention::{self, NextRetention};
use crate::server::deeds::{keys, own_storage};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{Asked, At, Wanted};

type Answer<T> = Result<T, ApiError>;

/// A repository.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RepositoryView {
    id: Id,
    name: String,
    /// The id that stands in the repository itself.
    repository: String,
    created_us: i64,
    /// The owner has typed back a part of the key.
    confirmed: bool,
    /// The server holds the owner's key.
    holds_owner_key: bool,
    /// As last counted.
    stored_bytes: i64,
    destinations: Vec<DestinationView>,
}

/// A place that holds a repository or a replica of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DestinationView {
    id: Id,
    name: String,
    url: String,
    /// The first one leads; the others are replicas.
    position: i64,
    created_us: i64,
    /// Why it lags behind, if it does.
    lag: Option<String>,
}

impl From<DestinationRow> for DestinationView {
    fn from(row: DestinationRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            url: row.url,
            position: row.position,
            created_us: row.created_us,
            lag: row.lag,
        }
    }
}

pub(super) async fn view(server: &Server, row: RepositoryRow) -> crate::Result<RepositoryView> {
    let destinations = server.db.destinations(&row.id).await?.into_iter().map(DestinationView::from).collect();
    Ok(RepositoryView {
        id: row.id,
        name: row.name,
        repository: row.repository,
        created_us: row.created_us,
        confirmed: row.confirmed,
        holds_owner_key: row.holds_owner_key,
        stored_bytes: row.stored_bytes,
        destinations,
    })
}

/// A repository that was made, with its key: the one time that it can be read.
#[derive(Serialize, ToSchema)]
pub(crate) struct RepositoryMade {
    repository: RepositoryView,
    /// The owner's key; none when the passphrase was chosen.
    key: Option<String>,
}

/// The repositories of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RepositoryList {
    items: Vec<RepositoryView>,
    /// How many there are in all.
    all: usize,
    /// Those that were taken off the list and lie in the server's own storage still. They count towards the account's bytes, and
    /// are taken over again from `server:` and their id.
    left_behind: Vec<LeftBehind>,
}

/// Repositories of an account
#[utoipa::path(get, path = "/api/v1/accounts/{account}/repositories", tag = "repositories",
    params(("account" = Id, Path), Span), responses(
    (status = 200, body = RepositoryList), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    At(account): At<Id>,
    Asked(span): Asked<Span>,
) -> Answer<Json<RepositoryList>> {
    let rows = server.db.repositories(&account).await?;
    let (all, mut items) = (rows.len(), Vec::new());
    for row in span.of(rows) {
        items.push(view(&server, row).await?);
    }
    let left_behind = own_storage::left_behind(&server, &account).await?;
    Ok(Json(RepositoryList { items, all, left_behind }))
}

/// Make a repository; its key is shown this once
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories", tag = "repositories",
    params(("account" = Id, Path)), request_body = RepositoryToMake, responses(
    (status = 201, body = RepositoryMade), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem),
    (status = 503, body = Problem), (status = 507, body = Problem)))]
pub(crate) async fn make(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Wanted(wanted): Wanted<RepositoryToMake>,
) -> Answer<(StatusCode, Json<RepositoryMade>)> {
    let made = repositories::make(&server, &actor, &account, &wanted).await?;
    let key = wanted.passphrase.is_none().then(|| made.key.expose_text().to_owned());
    Ok((StatusCode::CREATED, Json(RepositoryMade { repository: view(&server, made.row).await?, key })))
}

/// A repository
#[utoipa::path(get, path = "/api/v1/accounts/{account}/repositories/{repository}", tag = "repositories",
    params(("account" = Id, Path), ("repository" = Id, Path)), responses(
    (status = 200, body = RepositoryView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(server): State<Arc<Server>>,
    At((account, repository)): At<(Id, Id)>,
) -> Answer<Json<RepositoryView>> {
    let row = server.db.repository(&account, &repository).await?;
    Ok(Json(view(&server, row).await?))
}

/// Take a repository off the list; what is stored stays, and in the server's own storage counts as before
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/repositories/{repository}", tag = "repositories",
    params(("account" = Id, Path), ("repository" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem)))]
pub(crate) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
) -> Answer<StatusCode> {
    repositories::remove(&server, &actor, &account, &repository).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Proof that the owner has the key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proof {
    /// The key.
    key: Password,
    /// Its last four characters, as somebody typed them.
    #[schema(min_length = 4, max_length = 8)]
    last_four: String,
}

/// Confirm that the owner has the key
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories/{repository}/confirmation", tag = "repositories",
    params(("account" = Id, Path), ("repository" = Id, Path)), request_body = Proof, responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn confirm(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Wanted(proof): Wanted<Proof>,
) -> Answer<StatusCode> {
    keys::confirm(&server, &actor, &account, &repository, &proof.key, &proof.last_four).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A key of an owner.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnersKey {
    /// The key.
    pub(super) key: Password,
}

/// Add a further place: a replica
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories/{repository}/destinations", tag = "repositories",
    params(("account" = Id, Path), ("repository" = Id, Path)), request_body = PlaceToBe, responses(
    (status = 201, body = DestinationView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn add_place(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Wanted(place): Wanted<PlaceToBe>,
) -> Answer<(StatusCode, Json<DestinationView>)> {
    let added = repositories::add_place(&server, &actor, &account, &repository, &place).await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}

/// Change a place: its name, its secrets, its address. The same repository must be found there
#[utoipa::path(put, path = "/api/v1/accounts/{account}/destinations/{destination}", tag = "repositories",
    params(("account" = Id, Path), ("destination" = Id, Path)), request_body = PlaceAnew, responses(
    (status = 200, body = DestinationView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn change_place(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, destination)): At<(Id, Id)>,
    Wanted(wanted): Wanted<PlaceAnew>,
) -> Answer<Json<DestinationView>> {
    let changed = repositories::change_place(&server, &actor, &account, &destination, &wanted).await?;
    Ok(Json(changed.into()))
}

/// Let go of a further place; what lies there stays
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/destinations/{destination}", tag = "repositories",
    params(("account" = Id, Path), ("destination" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn remove_place(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, destination)): At<(Id, Id)>,
) -> Answer<StatusCode> {
    repositories::remove_place(&server, &actor, &account, &destination).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is to be done to a repository.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Upkeep {
    /// Give back the space that nothing refers to.
    Prune,
    /// Look whether everything is there.
    Check,
    /// Bring replicas up to date.
    Mirror,
}

/// What to ask for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpkeepWanted {
    kind: Upkeep,
    /// A check reads every byte, not only names and sizes.
    #[serde(default)]
    read_data: bool,
}

/// A job that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobAsked {
    pub(super) job: Id,
}

/// Ask for upkeep of a repository
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories/{repository}/upkeep", tag = "repositories",
    params(("account" = Id, Path), ("repository" = Id, Path)), request_body = UpkeepWanted, responses(
    (status = 202, body = JobAsked), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn upkeep(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, repository)): At<(Id, Id)>,
    Wanted(wanted): Wanted<UpkeepWanted>,
) -> Answer<(StatusCode, Json<JobAsked>)> {
    let kind = match wanted.kind {
        Upkeep::Prune => JobKind::Prune,
        Upkeep::Check => JobKind::Check,
        Upkeep::Mirror => JobKind::Mirror,
    };
    let job = repositories::upkeep(&server, &actor, &account, &repository, kind, wanted.read_data).await?;
    Ok((StatusCode::ACCEPTED, Json(JobAsked { job })))
}

/// What retention takes out after the next run of each set
#[utoipa::path(get, path = "/api/v1/accounts/{account}/repositories/{repository}/retention", tag = "repositories",
    params(("account" = Id, Path), ("repository" = Id, Path)), responses(
    (status = 200, body = List<NextRetention>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn retention(
    State(server): State<Arc<Server>>,
    At((account, repository)): At<(Id, Id)>,
) -> Answer<Json<List<NextRetention>>> {
    let row = server.db.repository(&account, &repository).await?;
    Ok(List::of(retention::next(&server, &row).await?))
}
