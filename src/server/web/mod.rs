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

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use futures::FutureExt as _;
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
    let is_of_api = is_of_api(&request);
    let Ok(answer) = tokio::time::timeout(SLOWEST, next.run(request)).await else {
        let text = "This takes too long";
        let e = Error::new(ErrorKind::Unavailable, text).with_hint("Try again later; what was begun goes on");
        return refused(is_of_api, e);
    };
    answer
}

/// Answers as about any error of the server's own, when a handler panics.
async fn caught(request: Request, next: Next) -> Response {
    let is_of_api = is_of_api(&request);
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it does not say why");
            refused(is_of_api, Error::internal(format!("A handler panicked: {text}")))
        }
    }
}

fn is_of_api(request: &Request) -> bool {
    request.uri().path().starts_with("/api/")
}

fn refused(is_of_api: bool, error: Error) -> Response {
    if is_of_api { ApiError(error).into_response() } else { super::pages::refusal(&error) }
}

/// What answers those who watch the process, and nothing else.
pub(crate) fn watched(server: &Arc<Server>) -> Router {
    let (usual, _) = health::add(Routes::new(server.clone())).into_routers();
    usual
        .layer(axum::middleware::from_fn(in_time))
        .layer(axum::middleware::from_fn(caught))
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
        .layer(axum::middleware::from_fn(caught))
        .layer(axum::middleware::from_fn_with_state(server.clone(), headers::add))
        .layer(Extension(peer::Proxies(server.options.trusted_proxies.clone().into())))
        .layer(CatchPanicLayer::new())
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    async fn panics() -> &'static str {
        panic!("for a test")
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_for_as_any_error_of_the_servers_own() {
        let router = Router::<()>::new().route("/api/v1/x", get(panics)).route("/x", get(panics));
        let router = router.layer(axum::middleware::from_fn(caught));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        let ask = async |path: &str| {
            let answer = reqwest::get(format!("http://{at}{path}")).await.expect("an answer");
            (answer.status().as_u16(), answer.text().await.expect("text"))
        };
        let (status, problem) = ask("/api/v1/x").await;
        let problem: serde_json::Value = serde_json::from_str(&problem).expect("JSON");
        assert_eq!((status, &problem["kind"]), (500, &"internal".into()), "{problem}");
        let (status, page) = ask("/x").await;
        assert!(status == 500 && page.contains("Something went wrong in the server"), "{page}");
        assert!(!page.contains("for a test") && !problem.to_string().contains("for a test"), "{page} {problem}");
    }
}
