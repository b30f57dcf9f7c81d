//! People of accounts, and administrators.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PartOf, Span};
use crate::server::auth::{Actor, Invitation, NewPerson, Person, Role};
use crate::server::deeds::people as deeds;
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{Asked, At, Wanted};

type Answer<T> = Result<T, ApiError>;

/// Somebody who can sign in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonView {
    id: Id,
    login: String,
    role: Role,
    /// They have chosen a password.
    has_password: bool,
    /// A code is asked for too.
    second_factor: bool,
    /// They may not sign in.
    disabled: bool,
    created_us: i64,
}

impl From<Person> for PersonView {
    fn from(person: Person) -> Self {
        Self {
            id: person.id,
            login: person.login,
            role: person.role,
            has_password: person.has_password,
            second_factor: person.second_factor,
            disabled: person.disabled,
            created_us: person.created_us,
        }
    }
}

/// Somebody to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonToAdd {
    /// What they sign in by: an e-mail address is best.
    #[schema(min_length = 1, max_length = 254)]
    login: String,
    role: Role,
}

/// Somebody to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonToBe {
    role: Role,
    /// They may not sign in; their sessions and tokens end.
    disabled: bool,
}

/// A link by which somebody chooses a password. It is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct InvitationView {
    /// The path of the link at this server.
    path: String,
    expires_us: i64,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        Self { path: format!("/welcome/{}", invitation.token), expires_us: invitation.expires_us }
    }
}

/// Somebody who was added, with the link to hand to them.
#[derive(Serialize, ToSchema)]
pub(crate) struct PersonAdded {
    person: PersonView,
    invitation: InvitationView,
}

/// People of an account
#[utoipa::path(get, path = "/api/v1/accounts/{account}/people", tag = "people", params(("account" = Id, Path), Span),
    responses((status = 200, body = PartOf<PersonView>), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    At(account): At<Id>,
    Asked(span): Asked<Span>,
) -> Answer<Json<PartOf<PersonView>>> {
    people(&server, Some(&account), &span).await
}

async fn people(server: &Server, account: Option<&Id>, span: &Span) -> Answer<Json<PartOf<PersonView>>> {
    let people = server.db.people(account).await?;
    let all = people.len();
    Ok(Json(PartOf { items: span.of(people).map(PersonView::from).collect(), all }))
}

/// Add somebody to an account
#[utoipa::path(post, path = "/api/v1/accounts/{account}/people", tag = "people", params(("account" = Id, Path)),
    request_body = PersonToAdd, responses(
    (status = 201, body = PersonAdded), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Wanted(wanted): Wanted<PersonToAdd>,
) -> Answer<(StatusCode, Json<PersonAdded>)> {
    add_to(&server, &actor, Some(&account), &wanted).await
}

async fn add_to(
    server: &Server,
    actor: &Actor,
    account: Option<&Id>,
    wanted: &PersonToAdd,
) -> Answer<(StatusCode, Json<PersonAdded>)> {
    let new = NewPerson { account, login: &wanted.login, role: wanted.role };
    let (person, invitation) = deeds::add(server, actor, &new).await?;
    Ok((StatusCode::CREATED, Json(PersonAdded { person: person.into(), invitation: invitation.into() })))
}

/// Change what somebody may do
#[utoipa::path(put, path = "/api/v1/accounts/{account}/people/{person}", tag = "people",
    params(("account" = Id, Path), ("person" = Id, Path)), request_body = PersonToBe, responses(
    (status = 200, body = PersonView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, person)): At<(Id, Id)>,
    Wanted(wanted): Wanted<PersonToBe>,
) -> Answer<Json<PersonView>> {
    let person = deeds::find(&server, Some(&account), &person).await?;
    let person = deeds::change(&server, &actor, &person, wanted.role, wanted.disabled).await?;
    Ok(Json(person.into()))
}

/// Remove somebody
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/people/{person}", tag = "people",
    params(("account" = Id, Path), ("person" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, person)): At<(Id, Id)>,
) -> Answer<StatusCode> {
    let person = deeds::find(&server, Some(&account), &person).await?;
    deeds::remove(&server, &actor, &person).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a new link by which somebody chooses a password; who takes it has no second factor and no tokens any more
#[utoipa::path(post, path = "/api/v1/accounts/{account}/people/{person}/invitation", tag = "people",
    params(("account" = Id, Path), ("person" = Id, Path)), responses(
    (status = 201, body = InvitationView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn invite(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, person)): At<(Id, Id)>,
) -> Answer<(StatusCode, Json<InvitationView>)> {
    let person = deeds::find(&server, Some(&account), &person).await?;
    let invitation = deeds::invite(&server, &actor, &person).await?;
    Ok((StatusCode::CREATED, Json(invitation.into())))
}

/// Administrators of the server
#[utoipa::path(get, path = "/api/v1/administrators", tag = "people", params(Span), responses(
    (status = 200, body = PartOf<PersonView>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 422, body = Problem)))]
pub(crate) async fn list_administrators(
    State(server): State<Arc<Server>>,
    Asked(span): Asked<Span>,
) -> Answer<Json<PartOf<PersonView>>> {
    people(&server, None, &span).await
}

/// Add an administrator of the server
#[utoipa::path(post, path = "/api/v1/administrators", tag = "people", request_body = PersonToAdd, responses(
    (status = 201, body = PersonAdded), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn add_administrator(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Wanted(wanted): Wanted<PersonToAdd>,
) -> Answer<(StatusCode, Json<PersonAdded>)> {
    add_to(&server, &actor, None, &wanted).await
}

/// Change an administrator
#[utoipa::path(put, path = "/api/v1/administrators/{person}", tag = "people", params(("person" = Id, Path)),
    request_body = PersonToBe, responses(
    (status = 200, body = PersonView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn change_administrator(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(person): At<Id>,
    Wanted(wanted): Wanted<PersonToBe>,
) -> Answer<Json<PersonView>> {
    let person = deeds::find(&server, None, &person).await?;
    Ok(Json(deeds::change(&server, &actor, &person, wanted.role, wanted.disabled).await?.into()))
}

/// Remove an administrator
#[utoipa::path(delete, path = "/api/v1/administrators/{person}", tag = "people", params(("person" = Id, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn remove_administrator(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(person): At<Id>,
) -> Answer<StatusCode> {
    let person = deeds::find(&server, None, &person).await?;
    deeds::remove(&server, &actor, &person).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a new link by which an administrator chooses a password; who takes it has no second factor and no tokens any more
#[utoipa::path(post, path = "/api/v1/administrators/{person}/invitation", tag = "people", params(("person" = Id, Path)),
    responses((status = 201, body = InvitationView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn invite_administrator(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(person): At<Id>,
) -> Answer<(StatusCode, Json<InvitationView>)> {
    let person = deeds::find(&server, None, &person).await?;
    let invitation = deeds::invite(&server, &actor, &person).await?;
    Ok((StatusCode::CREATED, Json(invitation.into())))
}
