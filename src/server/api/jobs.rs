//! Jobs and runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::{Extension, Json};
use futures::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{List, before};
use crate::server::audit::Deed;
use crate::server::auth::Actor;
use crate::server::db::{Job, JobKind, JobState, RunRow};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{Asked, At};

type Answer<T> = Result<T, ApiError>;

/// How often is looked how far a job is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks of one listener: ten minutes.
const MOST_LOOKS: u32 = 600;
/// The most on one page.
const MOST: i64 = 500;

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobView {
    id: Id,
    kind: JobKind,
    set: Option<Id>,
    repository: Option<Id>,
    /// The client that is to do it; none: a worker of the server.
    client: Option<Id>,
    state: JobState,
    /// "schedule", or a login.
    asked_by: String,
    created_us: i64,
    run_after_us: i64,
    started_us: Option<i64>,
    ended_us: Option<i64>,
    attempts: i64,
    worker: Option<String>,
    /// Somebody asked it to stop.
    cancel: bool,
    /// How far it is: counts, phase, what it waits for, problems.
    #[schema(value_type = Option<Object>)]
    progress: Option<Value>,
    /// What came of it.
    #[schema(value_type = Option<Object>)]
    outcome: Option<Value>,
    error: Option<String>,
}

impl From<Job> for JobView {
    fn from(mut job: Job) -> Self {
        // What a restore tells names items, which only those who may restore see: at the restore.
        if matches!(job.kind, JobKind::Plan | JobKind::Restore | JobKind::Undo) {
            for part in [&mut job.progress, &mut job.outcome].into_iter().flatten().filter_map(Value::as_object_mut) {
                part.retain(|name, value| name == "counts" || !(value.is_array() || value.is_object()));
            }
        }
        Self {
            id: job.id,
            kind: job.kind,
            set: job.set,
            repository: job.repository,
            client: job.client,
            state: job.state,
            asked_by: job.asked_by,
            created_us: job.created_us,
            run_after_us: job.run_after_us,
            started_us: job.started_us,
            ended_us: job.ended_us,
            attempts: job.attempts,
            worker: job.worker,
            cancel: job.cancel,
            progress: job.progress,
            outcome: job.outcome,
            error: job.error,
        }
    }
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichJobs {
    /// What was made before this time: microseconds since 1970 UTC.
    before_us: Option<i64>,
    /// Of what was made at that very time, what the list has after this one: with both of the last that was seen, none is left out.
    #[param(value_type = Option<Id>)]
    before_id: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 500)]
    most: Option<i64>,
}

/// Jobs of an account, the newest first
#[utoipa::path(get, path = "/api/v1/accounts/{account}/jobs", tag = "jobs", params(("account" = Id, Path), WhichJobs),
    responses((status = 200, body = List<JobView>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    At(account): At<Id>,
    Asked(page): Asked<WhichJobs>,
) -> Answer<Json<List<JobView>>> {
    let before = before(page.before_us, page.before_id.as_deref())?;
    let all = server.db.jobs(&account, &before, page.most.unwrap_or(100).clamp(1, MOST)).await?;
    Ok(List::of(all.into_iter().map(JobView::from)))
}

/// A job
#[utoipa::path(get, path = "/api/v1/accounts/{account}/jobs/{job}", tag = "jobs",
    params(("account" = Id, Path), ("job" = Id, Path)), responses(
    (status = 200, body = JobView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn get(State(server): State<Arc<Server>>, At((account, job)): At<(Id, Id)>) -> Answer<Json<JobView>> {
    Ok(Json(server.db.job(&account, &job).await?.into()))
}

/// Stop a job; what it has is kept
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/jobs/{job}", tag = "jobs",
    params(("account" = Id, Path), ("job" = Id, Path)), responses(
    (status = 202), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn cancel(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, job)): At<(Id, Id)>,
) -> Answer<StatusCode> {
    stop(&server, &actor, &account, &job).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Asks a job to stop, for pages too.
///
/// # Errors
/// `NotFound`; `InvalidInput` when it has ended.
pub(crate) async fn stop(server: &Server, actor: &Actor, account: &Id, job: &Id) -> crate::Result<()> {
    server.db.cancel_job(account, job, server.now_us()).await?;
    let deed = Deed { account: Some(account), action: "job.stop", object: job.as_str(), detail: json!({}) };
    server.db.note(actor, deed, server.now_us()).await
}

/// How far a job is, as it goes on (server-sent events); the last one says how it ended
#[utoipa::path(get, path = "/api/v1/accounts/{account}/jobs/{job}/events", tag = "jobs",
    params(("account" = Id, Path), ("job" = Id, Path)), responses(
    (status = 200, content_type = "text/event-stream", body = String), (status = 401, body = Problem),
    (status = 404, body = Problem)))]
pub(crate) async fn events(
    State(server): State<Arc<Server>>,
    At((account, id)): At<(Id, Id)>,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let first = server.db.job(&account, &id).await?;
    let steps = futures::stream::unfold(Some((server, account, first, MOST_LOOKS)), |state| async move {
        let (server, account, job, left) = state?;
        let (id, ended) = (job.id.clone(), job.state.has_ended());
        let event = Event::default()
            .event(if ended { "end" } else { "progress" })
            .json_data(JobView::from(job))
            .unwrap_or_default();
        if ended {
            return Some((Ok(event), None));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        let next = server.db.job(&account, &id).await.ok();
        // Who listens on comes again, and is looked at again.
        Some((Ok(event), next.filter(|_| left > 0).map(|job| (server, account, job, left.saturating_sub(1)))))
    });
    Ok(Sse::new(steps.fuse()).keep_alive(KeepAlive::default()))
}

/// Runs of a set, or of all
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichRuns {
    /// Of this set; left out: of all.
    #[param(value_type = Option<Id>)]
    set: Option<String>,
    /// What began before this time: microseconds since 1970 UTC.
    before_us: Option<i64>,
    /// Of what began at that very time, what the list has after this one: with both of the last that was seen, none is left out.
    #[param(value_type = Option<Id>)]
    before_id: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 500)]
    most: Option<i64>,
}

/// Runs of backup sets that ended, the newest first
#[utoipa::path(get, path = "/api/v1/accounts/{account}/runs", tag = "jobs", params(("account" = Id, Path), WhichRuns),
    responses((status = 200, body = List<RunRow>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn runs(
    State(server): State<Arc<Server>>,
    At(account): At<Id>,
    Asked(which): Asked<WhichRuns>,
) -> Answer<Json<List<RunRow>>> {
    let before = before(which.before_us, which.before_id.as_deref())?;
    let set = which.set.as_deref().map(Id::parse).transpose()?;
    let most = which.most.unwrap_or(100).clamp(1, MOST);
    Ok(List::of(server.db.runs(&account, set.as_ref(), &before, most).await?))
}
