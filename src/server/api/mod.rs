//! The JSON API, version 1. Each handler's description becomes part of the OpenAPI document ([`description`]), and a test
//! holds the two lists against each other.

mod accounts;
mod me;
mod people;

use axum::Json;
use axum::http::Method;
use serde::Serialize;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use super::auth::Right;
use super::web::{Access, Routes};

/// What every route of the API begins with.
macro_rules! v1 {
    ($path:literal) => {
        concat!("/api/v1", $path)
    };
}

/// A list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct List<T: utoipa::ToSchema> {
    /// What is in it.
    pub(crate) items: Vec<T>,
}

impl<T: utoipa::ToSchema> List<T> {
    pub(crate) fn of(items: impl IntoIterator<Item = T>) -> Json<Self> {
        Json(Self { items: items.into_iter().collect() })
    }
}

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Tenantvault", description = "Everything that the pages of the backup server do.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    security(("token" = [])),
    paths(
        me::who, me::sessions, me::end_session, me::tokens, me::add_token, me::remove_token,
        accounts::list, accounts::add, accounts::get, accounts::change, accounts::remove,
        people::list, people::add, people::change, people::remove, people::invite,
        people::list_administrators, people::add_administrator,
    ),
)]
struct Document;

/// The OpenAPI description of the API, as JSON.
pub fn description() -> String {
    let mut document = Document::openapi();
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document.components.get_or_insert_with(Default::default).add_security_scheme("token", scheme);
    document.to_pretty_json().unwrap_or_default()
}

/// Adds the routes.
pub(crate) fn add(routes: Routes) -> Routes {
    use Access::{Anybody, Needs};
    let routes = routes
        .api(Method::GET, v1!("/openapi.json"), Anybody, || async {
            ([(axum::http::header::CONTENT_TYPE, "application/json")], description())
        })
        .api(Method::GET, v1!("/me"), Needs(Right::SignedIn), me::who)
        .api(Method::GET, v1!("/me/sessions"), Needs(Right::SignedIn), me::sessions)
        .api(Method::DELETE, v1!("/me/sessions/{session}"), Needs(Right::SignedIn), me::end_session)
        .api(Method::GET, v1!("/me/tokens"), Needs(Right::SignedIn), me::tokens)
        .api(Method::POST, v1!("/me/tokens"), Needs(Right::SignedIn), me::add_token)
        .api(Method::DELETE, v1!("/me/tokens/{token}"), Needs(Right::SignedIn), me::remove_token);
    let routes = routes
        .api(Method::GET, v1!("/accounts"), Needs(Right::SignedIn), accounts::list)
        .api(Method::POST, v1!("/accounts"), Needs(Right::Server), accounts::add)
        .api(Method::GET, v1!("/accounts/{account}"), Needs(Right::See), accounts::get)
        .api(Method::PUT, v1!("/accounts/{account}"), Needs(Right::Server), accounts::change)
        .api(Method::DELETE, v1!("/accounts/{account}"), Needs(Right::Server), accounts::remove);
    routes
        .api(Method::GET, v1!("/accounts/{account}/people"), Needs(Right::See), people::list)
        .api(Method::POST, v1!("/accounts/{account}/people"), Needs(Right::People), people::add)
        .api(Method::PUT, v1!("/accounts/{account}/people/{person}"), Needs(Right::People), people::change)
        .api(Method::DELETE, v1!("/accounts/{account}/people/{person}"), Needs(Right::People), people::remove)
        .api(Method::POST, v1!("/accounts/{account}/people/{person}/invitation"), Needs(Right::People), people::invite)
        .api(Method::GET, v1!("/administrators"), Needs(Right::Server), people::list_administrators)
        .api(Method::POST, v1!("/administrators"), Needs(Right::Server), people::add_administrator)
}
