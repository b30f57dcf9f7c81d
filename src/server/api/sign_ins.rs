//! Signing in to a tenant as its user, and an administrator's consent.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::server::auth::{Actor, Password};
use crate::server::db::SignInKind;
use crate::server::deeds::consent::{self as consents, ConsentWanted};
use crate::server::deeds::sign_in::{self, SignInView};
use crate::server::error::{ApiError, Problem};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::{At, Wanted};

type Answer<T> = Result<T, ApiError>;

/// Which way to sign in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInWanted {
    /// `redirect` is of sessions on the pages; with a token, `device-code` or `paste`.
    way: SignInKind,
}

/// What came back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pasted {
    /// The whole address of the last page, or the code in it.
    code: Password,
}

impl std::fmt::Debug for Pasted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pasted(…)")
    }
}

/// Begin to sign in to a tenant that is one user's own account
#[utoipa::path(post, path = "/api/v1/accounts/{account}/tenants/{tenant}/sign-ins", tag = "tenants",
    params(("account" = Id, Path), ("tenant" = Id, Path)), request_body = SignInWanted, responses(
    (status = 201, body = SignInView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn begin(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, tenant)): At<(Id, Id)>,
    Wanted(wanted): Wanted<SignInWanted>,
) -> Answer<(StatusCode, Json<SignInView>)> {
    let view = sign_in::begin(&server, &actor, &account, &tenant, wanted.way).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// Ask for an administrator's consent to an app, as a browser's session does: Microsoft leads it back to the server
#[utoipa::path(post, path = "/api/v1/accounts/{account}/consents", tag = "tenants", params(("account" = Id, Path)),
    request_body = ConsentWanted, responses(
    (status = 201, body = SignInView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn consent(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Wanted(wanted): Wanted<ConsentWanted>,
) -> Answer<(StatusCode, Json<SignInView>)> {
    let view = consents::begin(&server, &actor, &account, &wanted).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// A sign-in or consent that this session or token began: how it stands. While a device code is open, Microsoft is asked
#[utoipa::path(get, path = "/api/v1/accounts/{account}/sign-ins/{sign_in}", tag = "tenants",
    params(("account" = Id, Path), ("sign_in" = Id, Path)), responses(
    (status = 200, body = SignInView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn get(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, id)): At<(Id, Id)>,
) -> Answer<Json<SignInView>> {
    Ok(Json(sign_in::look(&server, &actor, &account, &id).await?))
}

/// End a sign-in of the way `paste` with the code
#[utoipa::path(post, path = "/api/v1/accounts/{account}/sign-ins/{sign_in}/code", tag = "tenants",
    params(("account" = Id, Path), ("sign_in" = Id, Path)), request_body = Pasted, responses(
    (status = 200, body = SignInView), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn code(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, id)): At<(Id, Id)>,
    Wanted(pasted): Wanted<Pasted>,
) -> Answer<Json<SignInView>> {
    Ok(Json(sign_in::paste(&server, &actor, &account, &id, &pasted.code).await?))
}
