//! Clients of an account.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::{PartOf, Span};
use crate::server::auth::Actor;
use crate::server::db::{ClientRow, ClientToBe};
use crate::server::deeds::clients::{self, NewCode};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{Asked, At, Wanted};

type Answer<T> = Result<T, ApiError>;

/// A client: a machine that runs backup sets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClientView {
    id: Id,
    name: String,
    /// It has a token.
    enrolled: bool,
    /// Until when its one-time code is good, if it has one: microseconds since 1970 UTC.
    code_expires_us: Option<i64>,
    created_us: i64,
    /// When it was heard of last.
    seen_us: Option<i64>,
    /// The version of the program there.
    version: Option<String>,
    /// How many bytes the repositories that it writes to may hold before it may not add to them.
    most_bytes: Option<i64>,
}

impl From<ClientRow> for ClientView {
    fn from(row: ClientRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            enrolled: row.enrolled,
            code_expires_us: row.code_expires_us,
            created_us: row.created_us,
            seen_us: row.seen_us,
            version: row.version,
            most_bytes: row.most_bytes,
        }
    }
}

/// A one-time code. It is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct CodeView {
    /// The code, for `tenantvault agent enroll`.
    #[schema(example = "ABCD-EFGH-JKLM-NPQR-STUV")]
    code: String,
    /// Until when it is good: microseconds since 1970 UTC.
    expires_us: i64,
}

impl From<NewCode> for CodeView {
    fn from(new: NewCode) -> Self {
        Self { code: new.code, expires_us: new.expires_us }
    }
}

/// A client that was added, with the code to hand to it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClientAdded {
    client: ClientView,
    enrolment: CodeView,
}

/// Clients of an account
#[utoipa::path(get, path = "/api/v1/accounts/{account}/clients", tag = "clients", params(("account" = Id, Path), Span),
    responses((status = 200, body = PartOf<ClientView>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    At(account): At<Id>,
    Asked(span): Asked<Span>,
) -> Answer<Json<PartOf<ClientView>>> {
    let rows = server.db.clients(&account).await?;
    let all = rows.len();
    Ok(Json(PartOf { items: span.of(rows).map(ClientView::from).collect(), all }))
}

/// Add a client
#[utoipa::path(post, path = "/api/v1/accounts/{account}/clients", tag = "clients", params(("account" = Id, Path)),
    request_body = ClientToBe, responses(
    (status = 201, body = ClientAdded), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Wanted(wanted): Wanted<ClientToBe>,
) -> Answer<(StatusCode, Json<ClientAdded>)> {
    let (client, code) = clients::add(&server, &actor, &account, &wanted).await?;
    Ok((StatusCode::CREATED, Json(ClientAdded { client: client.into(), enrolment: code.into() })))
}

/// A client
#[utoipa::path(get, path = "/api/v1/accounts/{account}/clients/{client}", tag = "clients",
    params(("account" = Id, Path), ("client" = Id, Path)), responses(
    (status = 200, body = ClientView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(server): State<Arc<Server>>,
    At((account, client)): At<(Id, Id)>,
) -> Answer<Json<ClientView>> {
    Ok(Json(server.db.client(&account, &client).await?.into()))
}

/// Change a client's name and limit
#[utoipa::path(put, path = "/api/v1/accounts/{account}/clients/{client}", tag = "clients",
    params(("account" = Id, Path), ("client" = Id, Path)), request_body = ClientToBe, responses(
    (status = 200, body = ClientView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, client)): At<(Id, Id)>,
    Wanted(wanted): Wanted<ClientToBe>,
) -> Answer<Json<ClientView>> {
    Ok(Json(clients::change(&server, &actor, &account, &client, &wanted).await?.into()))
}

/// Remove a client: its token ends at once, and the server runs its backup sets
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/clients/{client}", tag = "clients",
    params(("account" = Id, Path), ("client" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, client)): At<(Id, Id)>,
) -> Answer<StatusCode> {
    clients::remove(&server, &actor, &account, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a new one-time code for a client
#[utoipa::path(post, path = "/api/v1/accounts/{account}/clients/{client}/code", tag = "clients",
    params(("account" = Id, Path), ("client" = Id, Path)), responses(
    (status = 201, body = CodeView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(crate) async fn give_code(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, client)): At<(Id, Id)>,
) -> Answer<(StatusCode, Json<CodeView>)> {
    let code = clients::give_code(&server, &actor, &account, &client).await?;
    Ok((StatusCode::CREATED, Json(code.into())))
}
