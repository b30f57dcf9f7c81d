//! What clients ask: enrolling, work, giving word of it. The other side is `agent`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use crate::error::Error;
use crate::server::agent::wire::{Asking, Ending, Enrolled, Enrolling, Known, Offer, Reply, Word};
use crate::server::db::ClientRow;
use crate::server::deeds::{clients, work};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{At, Peer, Wanted};

type Answer<T> = Result<T, ApiError>;

fn version(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// Enroll a client: a one-time code for a token
#[utoipa::path(post, path = "/api/v1/agent/enrolment", tag = "agent", request_body = Enrolling, security(()), responses(
    (status = 201, body = Enrolled), (status = 403, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn enroll(
    State(server): State<Arc<Server>>,
    peer: Peer,
    Wanted(wanted): Wanted<Enrolling>,
) -> Answer<(StatusCode, Json<Enrolled>)> {
    let (client, token) = clients::enroll(&server, &wanted.code, &version(&wanted.version), &peer.address).await?;
    Ok((StatusCode::CREATED, Json(Enrolled { id: client.id, name: client.name, token: token.into() })))
}

/// Who the client is that asks
#[utoipa::path(get, path = "/api/v1/agent", tag = "agent", responses(
    (status = 200, body = Known), (status = 401, body = Problem)))]
pub(crate) async fn who(Extension(client): Extension<ClientRow>) -> Json<Known> {
    Json(Known { id: client.id, name: client.name })
}

/// Take a job, with all that it takes
#[utoipa::path(post, path = "/api/v1/agent/jobs", tag = "agent", request_body = Asking, responses(
    (status = 200, body = Offer), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn take(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<ClientRow>,
    Wanted(asking): Wanted<Asking>,
) -> Answer<Json<Offer>> {
    let said = version(&asking.version);
    if client.version.as_deref() != Some(said.as_str()) {
        server.db.note_version(&client.id, &said).await?;
    }
    let handout = work::take(&server, &client).await?;
    let waits = handout.is_none() && server.db.has_due(&client.id, server.now_us()).await?;
    Ok(Json(Offer { handout, waits }))
}

/// Give word of a job, and hear whether it is to stop
#[utoipa::path(post, path = "/api/v1/agent/jobs/{job}/progress", tag = "agent", params(("job" = Id, Path)),
    request_body = Word, responses((status = 200, body = Reply), (status = 401, body = Problem),
    (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn progress(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<ClientRow>,
    At(job): At<Id>,
    Wanted(word): Wanted<Word>,
) -> Answer<Json<Reply>> {
    let cancel = work::renew(&server, &client, &job, &word).await?;
    Ok(Json(Reply { cancel: cancel.ok_or_else(gone)? }))
}

/// End a job
#[utoipa::path(post, path = "/api/v1/agent/jobs/{job}/end", tag = "agent", params(("job" = Id, Path)),
    request_body = Ending, responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn end(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<ClientRow>,
    At(job): At<Id>,
    Wanted(ending): Wanted<Ending>,
) -> Answer<StatusCode> {
    if !work::end(&server, &client, &job, ending).await? {
        return Err(gone().into());
    }
    Ok(StatusCode::NO_CONTENT)
}

fn gone() -> Error {
    Error::not_found("The job is not this client's, or not any more").with_hint("Ask for work again")
}
