//! Receivers of reports and notices, what was sent to them, and the server's mail settings.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{List, PartOf, Span, before};
use crate::server::auth::{Actor, Password};
use crate::server::db::{Delivery, DeliveryState, Receiver, ReceiverDefinition};
use crate::server::deeds::receivers::{self, ReceiverToBe};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::notices::{self, MailSettings, Notice};
use crate::server::state::Server;
use crate::server::web::{Asked, At, Wanted};

type Answer<T> = Result<T, ApiError>;

/// Where reports and notices go, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReceiverView {
    id: Id,
    name: String,
    definition: ReceiverDefinition,
    /// Where the address that is called leads; what follows may be a secret, and is not told.
    address: Option<String>,
    /// Microseconds since 1970 UTC.
    created_us: i64,
    /// When its digest or ping is due.
    next_us: Option<i64>,
}

fn view(server: &Server, receiver: Receiver) -> crate::Result<ReceiverView> {
    Ok(ReceiverView {
        address: receivers::shown_address(server, &receiver)?,
        id: receiver.id,
        name: receiver.name,
        definition: receiver.definition,
        created_us: receiver.created_us,
        next_us: receiver.next_us,
    })
}

/// A receiver that was added or changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReceiverMade {
    receiver: ReceiverView,
    /// What posts are signed with, when a key was made: the one time that it can be read.
    key: Option<String>,
}

/// Something that was sent, or is to be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    id: Id,
    receiver: Id,
    state: DeliveryState,
    /// What kind of event it tells of.
    event: String,
    /// One sentence.
    title: String,
    /// How often it was tried.
    attempts: i64,
    /// Microseconds since 1970 UTC.
    created_us: i64,
    /// When it is tried next, while it waits.
    next_us: Option<i64>,
    /// When it was sent or given up.
    ended_us: Option<i64>,
    /// Why the last try did not work.
    error: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let notice: Option<Notice> = serde_json::from_str(&delivery.notice).ok();
        let (event, title) = notice.map(|notice| (notice.event, notice.title)).unwrap_or_default();
        Self {
            id: delivery.id,
            receiver: delivery.receiver,
            state: delivery.state,
            event,
            title,
            attempts: delivery.attempts,
            created_us: delivery.created_us,
            next_us: (delivery.state == DeliveryState::Waiting).then_some(delivery.next_us),
            ended_us: delivery.ended_us,
            error: delivery.error,
        }
    }
}

/// Receivers of reports and notices of an account
#[utoipa::path(get, path = "/api/v1/accounts/{account}/receivers", tag = "notices", params(("account" = Id, Path), Span),
    responses((status = 200, body = PartOf<ReceiverView>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn list(
    State(server): State<Arc<Server>>,
    At(account): At<Id>,
    Asked(span): Asked<Span>,
) -> Answer<Json<PartOf<ReceiverView>>> {
    let rows = server.db.receivers(&account).await?;
    let all = rows.len();
    let items: crate::Result<Vec<_>> = span.of(rows).map(|receiver| view(&server, receiver)).collect();
    Ok(Json(PartOf { items: items?, all }))
}

/// Add a receiver; a key that is made is shown this once
#[utoipa::path(post, path = "/api/v1/accounts/{account}/receivers", tag = "notices", params(("account" = Id, Path)),
    request_body = ReceiverToBe, responses(
    (status = 201, body = ReceiverMade), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Wanted(wanted): Wanted<ReceiverToBe>,
) -> Answer<(StatusCode, Json<ReceiverMade>)> {
    let (receiver, key) = receivers::add(&server, &actor, &account, &wanted).await?;
    Ok((StatusCode::CREATED, Json(ReceiverMade { receiver: view(&server, receiver)?, key })))
}

/// A receiver
#[utoipa::path(get, path = "/api/v1/accounts/{account}/receivers/{receiver}", tag = "notices",
    params(("account" = Id, Path), ("receiver" = Id, Path)), responses(
    (status = 200, body = ReceiverView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(server): State<Arc<Server>>,
    At((account, receiver)): At<(Id, Id)>,
) -> Answer<Json<ReceiverView>> {
    let receiver = server.db.receiver(&account, &receiver).await?;
    Ok(Json(view(&server, receiver)?))
}

/// Change a receiver
#[utoipa::path(put, path = "/api/v1/accounts/{account}/receivers/{receiver}", tag = "notices",
    params(("account" = Id, Path), ("receiver" = Id, Path)), request_body = ReceiverToBe, responses(
    (status = 200, body = ReceiverMade), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, receiver)): At<(Id, Id)>,
    Wanted(wanted): Wanted<ReceiverToBe>,
) -> Answer<Json<ReceiverMade>> {
    let (receiver, key) = receivers::change(&server, &actor, &account, &receiver, &wanted).await?;
    Ok(Json(ReceiverMade { receiver: view(&server, receiver)?, key }))
}

/// Remove a receiver
#[utoipa::path(delete, path = "/api/v1/accounts/{account}/receivers/{receiver}", tag = "notices",
    params(("account" = Id, Path), ("receiver" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, receiver)): At<(Id, Id)>,
) -> Answer<StatusCode> {
    receivers::remove(&server, &actor, &account, &receiver).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A test that is on its way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestAsked {
    /// The delivery, to see what becomes of it.
    delivery: Id,
}

/// Send a test to a receiver
#[utoipa::path(post, path = "/api/v1/accounts/{account}/receivers/{receiver}/test", tag = "notices",
    params(("account" = Id, Path), ("receiver" = Id, Path)), responses(
    (status = 202, body = TestAsked), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn test(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, receiver)): At<(Id, Id)>,
) -> Answer<(StatusCode, Json<TestAsked>)> {
    let delivery = receivers::test(&server, &actor, &account, &receiver).await?;
    Ok((StatusCode::ACCEPTED, Json(TestAsked { delivery })))
}

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Those that came up before: microseconds since 1970 UTC.
    #[serde(default)]
    before_us: Option<i64>,
    /// Of those that came up at that very time, those that the list has after this one: with both of the last that was seen, none is
    /// left out.
    #[param(value_type = Option<Id>)]
    before_id: Option<String>,
    /// At most so many.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000)]
    most: Option<u16>,
}

/// What was sent to receivers, and what waits to be, the newest first
#[utoipa::path(get, path = "/api/v1/accounts/{account}/deliveries", tag = "notices",
    params(("account" = Id, Path), Which), responses(
    (status = 200, body = List<DeliveryView>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn deliveries(
    State(server): State<Arc<Server>>,
    At(account): At<Id>,
    Asked(which): Asked<Which>,
) -> Answer<Json<List<DeliveryView>>> {
    let most = i64::from(which.most.unwrap_or(100).clamp(1, 1_000));
    let before = before(which.before_us, which.before_id.as_deref())?;
    let all = server.db.deliveries(&account, &before, most).await?;
    Ok(List::of(all.into_iter().map(DeliveryView::from)))
}

/// A delivery
#[utoipa::path(get, path = "/api/v1/accounts/{account}/deliveries/{delivery}", tag = "notices",
    params(("account" = Id, Path), ("delivery" = Id, Path)), responses(
    (status = 200, body = DeliveryView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(crate) async fn delivery(
    State(server): State<Arc<Server>>,
    At((account, delivery)): At<(Id, Id)>,
) -> Answer<Json<DeliveryView>> {
    Ok(Json(server.db.delivery(&account, &delivery).await?.into()))
}

/// The server's mail settings as they are to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MailToBe {
    /// The settings.
    settings: MailSettings,
    /// The password of the login there. Left out: the one that is there stays, unless server or login change.
    #[serde(default)]
    password: Option<Password>,
}

/// The server's mail settings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MailView {
    /// None: there are none yet.
    settings: Option<MailSettings>,
}

/// The server's mail settings, without the password
#[utoipa::path(get, path = "/api/v1/settings/mail", tag = "settings", responses(
    (status = 200, body = MailView), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(crate) async fn mail(State(server): State<Arc<Server>>) -> Answer<Json<MailView>> {
    Ok(Json(MailView { settings: notices::settings(&server).await? }))
}

/// Change the server's mail settings
#[utoipa::path(put, path = "/api/v1/settings/mail", tag = "settings", request_body = MailToBe, responses(
    (status = 200, body = MailView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn keep_mail(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Wanted(wanted): Wanted<MailToBe>,
) -> Answer<Json<MailView>> {
    receivers::keep_mail(&server, &actor, Some(&wanted.settings), wanted.password.as_ref()).await?;
    mail(State(server)).await
}

/// Let go of the server's mail settings
#[utoipa::path(delete, path = "/api/v1/settings/mail", tag = "settings", responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(crate) async fn remove_mail(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
) -> Answer<StatusCode> {
    receivers::keep_mail(&server, &actor, None, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestTo {
    /// A mail address.
    #[schema(max_length = 320, example = "it@example.com")]
    to: String,
}

/// What came of a test.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MailTested {
    /// The mail server took it.
    sent: bool,
    /// Why not.
    error: Option<String>,
}

/// Send a mail by the server's settings
#[utoipa::path(post, path = "/api/v1/settings/mail/test", tag = "settings", request_body = TestTo, responses(
    (status = 200, body = MailTested), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn test_mail(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Wanted(wanted): Wanted<TestTo>,
) -> Answer<Json<MailTested>> {
    let error = receivers::test_mail(&server, &actor, &wanted.to).await?;
    Ok(Json(MailTested { sent: error.is_none(), error }))
}
