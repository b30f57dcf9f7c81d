//! Backup sets.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::repositories::JobAsked;
use super::{PartOf, Span};
use crate::server::auth::Actor;
use crate::server::choices::Choices;
use crate::server::db::{ScheduleRow, SetRow};
use crate::server::deeds::sets::{self, SetWanted};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::schedule;
use crate::server::state::Server;
use crate::server::web::{Asked, At, Wanted};

type Answer<T> = Result<T, ApiError>;

/// A backup set.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SetView {
    id: Id,
    name: String,
    tenant: Id,
    repository: Id,
    choices: Choices,
    /// The client that runs it; none: the server.
    client: Option<Id>,
    enabled: bool,
    created_us: i64,
    schedules: Vec<ScheduleView>,
    /// How the last run ended: `complete`, `gaps`, `interrupted`, `failed`.
    last_state: Option<String>,
    last_us: Option<i64>,
    /// When the last run that was whole, or had gaps only, ended.
    last_good_us: Option<i64>,
}

/// When a set runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleView {
    #[serde(flatten)]
    row: ScheduleRow,
    /// The rule in words.
    words: String,
}

async fn view(server: &Server, set: SetRow) -> crate::Result<SetView> {
    let schedules = server.db.schedules(&set.id).await?;
    let schedules =
        schedules.into_iter().map(|row| ScheduleView { words: schedule::sentence(&row.timing), row }).collect();
    Ok(SetView {
        id: set.id,
        name: set.name,
        tenant: set.tenant,
        repository: set.repository,
        choices: set.choices,
        client: set.client,
        enabled: set.enabled,
        created_us: set.created_us,
        schedules,
        last_state: set.last_state,
        last_us: set.last_us,
        last_good_us: set.last_good_us,
    })
}

/// Backup sets of an account
#[utoipa::path(get, path = "/api/v1/accounts/{account}/sets", tag = "sets", params(("account" = Id, Path), Span),
    responses((status = 200, body = PartOf<SetView>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    At(account): At<Id>,
    Asked(span): Asked<Span>,
) -> Answer<Json<PartOf<SetView>>> {
    let sets = server.db.sets(&account).await?;
    let (all, mut items) = (sets.len(), Vec::new());
    for set in span.of(sets) {
        items.push(view(&server, set).await?);
    }
    Ok(Json(PartOf { items, all }))
}

/// Make a backup set
#[utoipa::path(post, path = "/api/v1/accounts/{account}/sets", tag = "sets", params(("account" = Id, Path)),
    request_body = SetWanted, responses(
    (status = 201, body = SetView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Wanted(wanted): Wanted<SetWanted>,
) -> Answer<(StatusCode, Json<SetView>)> {
    let set = sets::add(&server, &actor, &account, &wanted).await?;
    Ok((StatusCode::CREATED, Json(view(&server, set).await?)))
}

/// A backup set
#[utoipa::path(get, path = "/api/v1/accounts/{account}/sets/{set}", tag = "sets",
    params(("account" = Id, Path), ("set" = Id, Path)), responses(
    (status = 200, body = SetView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn get(State(server): State<Arc<Server>>, At((account, set)): At<(Id, Id)>) -> Answer<Json<SetView>> {
    let set = server.db.backup_set(&account, &set).await?;
    Ok(Json(view(&server, set).await?))
}

/// Change a backup set; its name, tenant and repository stay
#[utoipa::path(put, path = "/api/v1/accounts/{account}/sets/{set}", tag = "sets",
    params(("account" = Id, Path), ("set" = Id, Path)), request_body = SetWanted, responses(
    (status = 200, body = SetView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, set)): At<(Id, Id)>,
    Wanted(wanted): Wanted<SetWanted>,
) -> Answer<Json<SetView>> {
    let set = sets::change(&server, &actor, &account, &set, &wanted).await?;
    Ok(Json(view(&server, set).await?))
}

/// Remove a backup set; its snapshots stay
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/sets/{set}", tag = "sets",
    params(("account" = Id, Path), ("set" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem)))]
pub(crate) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, set)): At<(Id, Id)>,
) -> Answer<StatusCode> {
    sets::remove(&server, &actor, &account, &set).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Back up now
#[utoipa::path(post, path = "/api/v1/accounts/{account}/sets/{set}/runs", tag = "sets",
    params(("account" = Id, Path), ("set" = Id, Path)), responses(
    (status = 202, body = JobAsked), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(crate) async fn run(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, set)): At<(Id, Id)>,
) -> Answer<(StatusCode, Json<JobAsked>)> {
    let job = sets::run(&server, &actor, &account, &set).await?;
    Ok((StatusCode::ACCEPTED, Json(JobAsked { job })))
}
