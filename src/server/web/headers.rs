//! What every answer carries, so that a browser does no more with it than was meant.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::server::state::Server;

/// Nothing but our own scripts, styles and pictures; no frames but those of mails (which say so themselves).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    font-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds the headers; what a handler set itself stays.
pub(super) async fn add(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    let mut add = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    add(header::CONTENT_SECURITY_POLICY, POLICY);
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(header::REFERRER_POLICY, "same-origin");
    add(HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()");
    add(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    // Pages hold what is not for a shared computer's cache; what may be kept says so.
    add(header::CACHE_CONTROL, "no-store");
    if server.is_secure() {
        add(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    answer
}
