//! HTTP: routes and what each needs, who asks, what every answer carries.
//!
//! A route is declared with its [`Access`] (`routes`), and `guard` holds every request against that before a handler
//! runs: who it is, whether their role has the right, whether the account in the path is theirs, and, for whatever is not
//! a reading, that a browser which sends a cookie was told to by a page of ours.

mod again;
mod guard;
mod headers;
mod health;
mod peer;
mod room;
mod routes;
mod take;
mod within;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use super::error::ApiError;
use super::state::Server;
use crate::error::{Error, ErrorKind};
pub(crate) use guard::{cookie, cookie_name};
pub(crate) use peer::Peer;
pub(crate) use room::Bodies;
pub(crate) use routes::{Access, Door, Routes};
pub(crate) use take::{Asked, Wanted};
pub(crate) use within::{At, OfAccount, OfRepository, OfRestore};

/// The longest body of a request of who is let in, but for files that clients store.
const MOST_BODY_BYTES: usize = 1024 * 1024;
/// The longest that an answer may take to begin.
const SLOWEST: Duration = Duration::from_secs(60);

/// Every route.
pub(crate) fn routes(server: &Arc<Server>) -> Routes {
    let routes = Routes::new(server.clone());
    let routes = health::add(routes);
    let routes = super::api::add(routes);
    let routes = super::endpoint::add(routes);
    super::pages::add(routes)
}

/// Files go out as they are, with their sizes; most are packed in themselves.
fn worth_packing() -> impl Predicate {
    DefaultPredicate::new()
        .and(NotForContentType::const_new("application/octet-stream"))
        .and(NotForContentType::const_new("application/zip"))
}

/// Answers that it takes too long, when it does.
async fn in_time(request: Request, next: Next) -> Response {
    let is_of_api = request.uri().path().starts_with("/api/");
    let Ok(answer) = tokio::time::timeout(SLOWEST, next.run(request)).await else {
        let text = "This takes too long";
        let e = Error::new(ErrorKind::Unavailable, text).with_hint("Try again later; what was begun goes on");
        return if is_of_api { ApiError(e).into_response() } else { super::pages::refusal(&e) };
    };
    answer
}

/// What answers those who watch the process, and nothing else.
pub(crate) fn watched(server: &Arc<Server>) -> Router {
    let (usual, _) = health::add(Routes::new(server.clone())).into_routers();
    usual
        .layer(axum::middleware::from_fn(in_time))
        .layer(axum::middleware::from_fn_with_state(server.clone(), headers::add))
        .layer(CatchPanicLayer::new())
}

/// The whole service.
pub(crate) fn service(server: &Arc<Server>) -> Router {
    let (usual, files) = routes(server).into_routers();
    // What stands before all routes at once can ask for another one.
    Router::<()>::new()
        .fallback_service(usual)
        .layer(axum::middleware::from_fn(again::show))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .layer(CompressionLayer::new().compress_when(worth_packing()))
        // Handlers take the body before they answer: one that trickles ends with the time of its answer.
        .layer(axum::middleware::from_fn(in_time))
        // Files have times of their own (see `endpoint`), and gain nothing by compression.
        .merge(files)
        .layer(axum::middleware::from_fn_with_state(server.clone(), headers::add))
        .layer(Extension(peer::Proxies(server.options.trusted_proxies.clone().into())))
        .layer(CatchPanicLayer::new())
}
