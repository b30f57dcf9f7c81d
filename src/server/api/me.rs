//! Who asks, and their sessions and tokens.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::List;
use crate::server::audit::Deed;
use crate::server::auth::{Actor, Password, Role, to_scan, way_of_session, way_of_token};
use crate::server::deeds::me as deeds;
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{At, Wanted};

type Answer<T> = Result<T, ApiError>;

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// The login.
    login: String,
    /// What they may do.
    role: Role,
    /// The account that they belong to; administrators of the server belong to none.
    account: Option<Id>,
}

/// Who the token or session belongs to
#[utoipa::path(get, path = "/api/v1/me", tag = "me", responses(
    (status = 200, body = Me), (status = 401, body = Problem)))]
pub(crate) async fn who(Extension(actor): Extension<Actor>) -> Json<Me> {
    Json(Me { login: actor.login, role: actor.role, account: actor.account })
}

/// A sign-in that lasts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    id: Id,
    /// Microseconds since 1970 UTC.
    created_us: i64,
    /// When something was last done in it.
    seen_us: i64,
    address: String,
    /// The browser, as it calls itself.
    agent: String,
    /// It is the one that asks.
    this: bool,
}

/// Sessions of whoever asks
#[utoipa::path(get, path = "/api/v1/me/sessions", tag = "me", responses(
    (status = 200, body = List<SessionView>), (status = 401, body = Problem)))]
pub(crate) async fn sessions(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
) -> Answer<Json<List<SessionView>>> {
    let all = server.db.sessions(&actor.person, server.now_us()).await?;
    Ok(List::of(all.into_iter().map(|session| SessionView {
        this: actor.session.as_ref() == Some(&session.id),
        id: session.id,
        created_us: session.created_us,
        seen_us: session.seen_us,
        address: session.address,
        agent: session.agent,
    })))
}

/// End a session
#[utoipa::path(delete, path = "/api/v1/me/sessions/{session}", tag = "me", params(("session" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn end_session(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(session): At<Id>,
) -> Answer<StatusCode> {
    server.db.end_session(&actor.person, &session).await?;
    server.unlocked.lock_way(&way_of_session(&session));
    let deed =
        Deed { account: actor.account.as_ref(), action: "session.end", object: session.as_str(), detail: json!({}) };
    server.db.note(&actor, deed, server.now_us()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A token, without itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenView {
    id: Id,
    label: String,
    created_us: i64,
    /// When it was last used, to the minute.
    used_us: Option<i64>,
    expires_us: Option<i64>,
}

/// Tokens of whoever asks
#[utoipa::path(get, path = "/api/v1/me/tokens", tag = "me", responses(
    (status = 200, body = List<TokenView>), (status = 401, body = Problem)))]
pub(crate) async fn tokens(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
) -> Answer<Json<List<TokenView>>> {
    let all = server.db.tokens(&actor.person).await?;
    Ok(List::of(all.into_iter().map(|token| TokenView {
        id: token.id,
        label: token.label,
        created_us: token.created_us,
        used_us: token.used_us,
        expires_us: token.expires_us,
    })))
}

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenToMake {
    /// What it is for.
    #[schema(min_length = 1, max_length = 100)]
    label: String,
    /// After how many days it ends; none: never.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3650)]
    days: Option<u16>,
}

/// A token that was made. It is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenMade {
    id: Id,
    token: String,
}

/// Make a token that acts as whoever asks
#[utoipa::path(post, path = "/api/v1/me/tokens", tag = "me", request_body = TokenToMake, responses(
    (status = 201, body = TokenMade), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn add_token(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Wanted(wanted): Wanted<TokenToMake>,
) -> Answer<(StatusCode, Json<TokenMade>)> {
    let now = server.now_us();
    let expires = wanted.days.map(|days| now + i64::from(days) * 86_400_000_000);
    let made = server.db.add_token(&server.vault, &actor.person, &wanted.label, expires, now).await?;
    let detail = json!({"label": wanted.label, "days": wanted.days});
    let deed = Deed { account: actor.account.as_ref(), action: "token.add", object: made.id.as_str(), detail };
    server.db.note(&actor, deed, now).await?;
    Ok((StatusCode::CREATED, Json(TokenMade { id: made.id, token: made.token })))
}

/// End a token
#[utoipa::path(delete, path = "/api/v1/me/tokens/{token}", tag = "me", params(("token" = Id, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn remove_token(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(token): At<Id>,
) -> Answer<StatusCode> {
    server.db.remove_token(&actor.person, &token).await?;
    server.unlocked.lock_way(&way_of_token(&token));
    let deed =
        Deed { account: actor.account.as_ref(), action: "token.remove", object: token.as_str(), detail: json!({}) };
    server.db.note(&actor, deed, server.now_us()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A password to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordToBe {
    /// The one until now.
    old: Password,
    /// The new one: at least 12 characters.
    password: Password,
}

/// Change the password of whoever asks; all their sessions end
#[utoipa::path(put, path = "/api/v1/me/password", tag = "me", request_body = PasswordToBe, responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn change_password(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Wanted(wanted): Wanted<PasswordToBe>,
) -> Answer<StatusCode> {
    deeds::change_password(&server, &actor, &wanted.old, &wanted.password).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A second factor that is being set up. It is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct FactorBegun {
    /// What is typed into an authenticator app.
    secret: String,
    /// The same as an address, of which a picture to scan can be made.
    address: String,
}

/// Begin to set up the second factor of whoever asks
#[utoipa::path(post, path = "/api/v1/me/factor", tag = "me", request_body = OldPassword, responses(
    (status = 201, body = FactorBegun), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem),
    (status = 503, body = Problem)))]
pub(crate) async fn begin_factor(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Wanted(wanted): Wanted<OldPassword>,
) -> Answer<(StatusCode, Json<FactorBegun>)> {
    let secret = deeds::begin_factor(&server, &actor, &wanted.old).await?;
    let (address, _) = to_scan(&secret, &actor.login)?;
    Ok((
        StatusCode::CREATED,
        Json(FactorBegun { secret: secret.as_str().to_owned(), address: address.as_str().to_owned() }),
    ))
}

/// A code of an authenticator app, with the password of who turns it on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FactorCode {
    /// The password.
    old: Password,
    /// Six digits.
    #[schema(max_length = 100)]
    code: String,
}

/// Turn the second factor on, by a code of it
#[utoipa::path(post, path = "/api/v1/me/factor/confirmation", tag = "me", request_body = FactorCode, responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn confirm_factor(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Wanted(wanted): Wanted<FactorCode>,
) -> Answer<StatusCode> {
    deeds::confirm_factor(&server, &actor, &wanted.old, &wanted.code).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A password that proves who asks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OldPassword {
    /// It.
    old: Password,
}

/// Turn the second factor off
#[utoipa::path(post, path = "/api/v1/me/factor/removal", tag = "me", request_body = OldPassword, responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 413, body = Problem),
    (status = 422, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn end_factor(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Wanted(wanted): Wanted<OldPassword>,
) -> Answer<StatusCode> {
    deeds::end_factor(&server, &actor, &wanted.old).await?;
    Ok(StatusCode::NO_CONTENT)
}
