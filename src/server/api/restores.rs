//! Restores: a plan, its run, its undo.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::repositories::JobAsked;
use super::{List, before};
use crate::ops::restore::{Action, Known};
use crate::server::auth::{Actor, Right};
use crate::server::deeds::restore::{self, RestoreWanted, Stage, Standing, StepTold};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{Asked, OfAccount, OfRepository, OfRestore, Wanted};

type Answer<T> = Result<T, ApiError>;

/// Steps of a page.
const PAGE: usize = 500;

/// A restore.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RestoreView {
    id: Id,
    repository: Id,
    tenant: Id,
    snapshot: String,
    asked_by: String,
    created_us: i64,
    stage: Stage,
    /// It can be run, or gone on with.
    can_run: bool,
    /// It can be taken back.
    can_undo: bool,
    plan_job: Id,
    run_job: Option<Id>,
    undo_job: Option<Id>,
    /// How many steps of each kind the plan has, what they cost, and how long they take at least.
    #[schema(value_type = Option<Object>)]
    counts: Option<Value>,
    /// What was asked for, and where it goes: for those who may restore.
    #[schema(value_type = Option<Object>)]
    plan: Option<Value>,
    /// What came of the job that counts now.
    #[schema(value_type = Option<Object>)]
    outcome: Option<Value>,
    /// Why that job failed.
    error: Option<String>,
}

fn view(server: &Server, actor: &Actor, standing: Standing) -> Answer<RestoreView> {
    let (stage, can_run, can_undo) = (standing.stage(), standing.can_run(), standing.can_undo());
    let row = &standing.row;
    let may_see = actor.may(Right::Restore, Some(&row.account));
    let plan = match row.head(&server.vault)?.filter(|_| may_see) {
        Some(mut head) => {
            if let (Some(head), Value::Array(paths)) =
                (head.as_object_mut(), serde_json::json!(row.asking(&server.vault)?.paths))
            {
                head.remove("steps");
                head.insert("paths".to_owned(), Value::Array(paths));
            }
            Some(head)
        }
        None => None,
    };
    let job = standing.job();
    // Names of items stand in what came of it.
    let outcome = job.outcome.clone().filter(|_| may_see);
    Ok(RestoreView {
        id: row.id.clone(),
        repository: row.repository.clone(),
        tenant: row.tenant.clone(),
        snapshot: row.snapshot.clone(),
        asked_by: row.asked_by.clone(),
        created_us: row.created_us,
        stage,
        can_run,
        can_undo,
        plan_job: row.plan_job.clone(),
        run_job: row.run_job.clone(),
        undo_job: row.undo_job.clone(),
        counts: row.counts.clone(),
        plan,
        outcome,
        error: job.error.clone(),
    })
}

/// Plan a restore: the repository must be unlocked, or the server hold its key. The job of the plan is lent the key until it ends
#[utoipa::path(post, path = "/api/v1/accounts/{account}/repositories/{repository}/restores", tag = "restore",
    params(("account" = Id, Path), ("repository" = Id, Path)), request_body = RestoreWanted, responses(
    (status = 202, body = RestoreView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn ask(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { row, .. }: OfRepository,
    Wanted(wanted): Wanted<RestoreWanted>,
) -> Answer<(StatusCode, Json<RestoreView>)> {
    let standing = restore::ask(&server, &actor, &row, &wanted).await?;
    Ok((StatusCode::ACCEPTED, Json(view(&server, &actor, standing)?)))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichRestores {
    /// What was asked for before this time: microseconds since 1970 UTC.
    before_us: Option<i64>,
    /// Of what was asked for at that very time, what the list has after this one: with both of the last that was seen, none is left
    /// out.
    #[param(value_type = Option<Id>)]
    before_id: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100)]
    most: Option<i64>,
}

/// Restores of an account, the newest first
#[utoipa::path(get, path = "/api/v1/accounts/{account}/restores", tag = "restore", params(("account" = Id, Path), WhichRestores),
    responses((status = 200, body = List<RestoreView>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfAccount(account): OfAccount,
    Asked(page): Asked<WhichRestores>,
) -> Answer<Json<List<RestoreView>>> {
    let most = page.most.unwrap_or(50).clamp(1, 100);
    let before = before(page.before_us, page.before_id.as_deref())?;
    let mut all = Vec::new();
    for row in server.db.restores(&account.id, &before, most).await? {
        all.push(view(&server, &actor, restore::standing(&server, row).await?)?);
    }
    Ok(List::of(all))
}

/// A restore: its plan, and what came of it
#[utoipa::path(get, path = "/api/v1/accounts/{account}/restores/{restore}", tag = "restore",
    params(("account" = Id, Path), ("restore" = Id, Path)), responses(
    (status = 200, body = RestoreView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRestore { restore, .. }: OfRestore,
) -> Answer<Json<RestoreView>> {
    Ok(Json(view(&server, &actor, restore::standing(&server, restore).await?)?))
}

/// A step of a plan, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    number: usize,
    /// Where people find it in the snapshot.
    path: String,
    /// The name that it gets.
    name: String,
    /// It holds others.
    container: bool,
    /// `create`, `copy`, `overwrite`, `use`, `skip`, `cannot`.
    action: &'static str,
    /// Why it is left out, or cannot be made; why it failed.
    reason: Option<String>,
    requests: u64,
    bytes: u64,
    /// `begun`, `done`, `failed`, `undone`; nothing: not yet, or nothing is to be done.
    result: Option<&'static str>,
    /// What did not come back as it was.
    notes: Vec<String>,
}

/// What a step does, in a word, and why not.
pub(crate) fn action(action: &Action) -> (&'static str, Option<&str>) {
    match action {
        Action::Create => ("create", None),
        Action::Copy => ("copy", None),
        Action::Overwrite(_) => ("overwrite", None),
        Action::Use(_) => ("use", None),
        Action::Skip(why) => ("skip", Some(why)),
        Action::Cannot(why) | Action::Unknown(why) => ("cannot", Some(why)),
    }
}

impl From<StepTold> for StepView {
    fn from(told: StepTold) -> Self {
        let (word, why) = action(&told.step.action);
        let (result, failed, notes) = match told.known {
            None => (None, None, Vec::new()),
            Some(Known::Begun { .. }) => (Some("begun"), None, Vec::new()),
            Some(Known::Done { notes, .. }) => (Some("done"), None, notes),
            Some(Known::Failed { why, .. }) => (Some("failed"), Some(why), Vec::new()),
            Some(Known::Undone) => (Some("undone"), None, Vec::new()),
        };
        Self {
            number: told.number,
            reason: failed.or(why.map(str::to_owned)),
            path: told.step.path,
            name: told.step.name,
            container: told.step.container,
            action: word,
            requests: told.step.cost.requests,
            bytes: told.step.cost.bytes,
            result,
            notes,
        }
    }
}

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FromStep {
    /// The number of the first step.
    #[serde(default)]
    from: usize,
}

/// Steps of the plan of a restore, up to 500, with what came of each
#[utoipa::path(get, path = "/api/v1/accounts/{account}/restores/{restore}/steps", tag = "restore",
    params(("account" = Id, Path), ("restore" = Id, Path), FromStep), responses(
    (status = 200, body = List<StepView>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn steps(
    State(server): State<Arc<Server>>,
    OfRestore { restore, .. }: OfRestore,
    Asked(page): Asked<FromStep>,
) -> Answer<Json<List<StepView>>> {
    let steps = restore::steps(&server, &restore, page.from, PAGE).await?;
    Ok(List::of(steps.into_iter().map(StepView::from)))
}

/// Run a restore by its plan, or go on where it stopped. The job is lent the key until it ends
#[utoipa::path(post, path = "/api/v1/accounts/{account}/restores/{restore}/run", tag = "restore",
    params(("account" = Id, Path), ("restore" = Id, Path)), responses(
    (status = 202, body = JobAsked), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn run(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRestore { restore, .. }: OfRestore,
) -> Answer<(StatusCode, Json<JobAsked>)> {
    let job = restore::run(&server, &actor, restore).await?;
    Ok((StatusCode::ACCEPTED, Json(JobAsked { job })))
}

/// Take back what a restore made
#[utoipa::path(post, path = "/api/v1/accounts/{account}/restores/{restore}/undo", tag = "restore",
    params(("account" = Id, Path), ("restore" = Id, Path)), responses(
    (status = 202, body = JobAsked), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn undo(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRestore { restore, .. }: OfRestore,
) -> Answer<(StatusCode, Json<JobAsked>)> {
    let job = restore::undo(&server, &actor, restore).await?;
    Ok((StatusCode::ACCEPTED, Json(JobAsked { job })))
}

/// Stop what is under way of a restore; what it has done stays
#[utoipa::path(post, path = "/api/v1/accounts/{account}/restores/{restore}/stop", tag = "restore",
    params(("account" = Id, Path), ("restore" = Id, Path)), responses(
    (status = 202), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn stop(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRestore { restore, .. }: OfRestore,
) -> Answer<StatusCode> {
    restore::stop(&server, &actor, restore).await?;
    Ok(StatusCode::ACCEPTED)
}
