//! Shows a form again that was refused: its page is asked for as whoever sent the form would ask for it, and is the answer, under
//! the status of the refusal.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::server::pages::{self, Refused};

/// The longest page that is shown again.
const MOST_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Passes requests on; where a form was refused and its page can be shown, that is the answer, else the page of the error.
pub(super) async fn show(request: Request, next: Next) -> Response {
    if request.method() != Method::POST || request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let asking = asking(&request);
    let mut answer = next.clone().run(request).await;
    let Some(refused) = answer.extensions_mut().remove::<Refused>() else { return answer };
    match page(asking, &refused, next).await {
        Some(mut page) => {
            *page.status_mut() = answer.status();
            page
        }
        None => answer,
    }
}

/// A request for a page, by whoever sends another request.
fn asking(request: &Request) -> Request {
    let mut asking = Request::new(Body::empty());
    *asking.uri_mut() = request.uri().clone();
    *asking.version_mut() = request.version();
    *asking.headers_mut() = request.headers().clone();
    *asking.extensions_mut() = request.extensions().clone();
    for of_body in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT] {
        asking.headers_mut().remove(of_body);
    }
    asking
}

async fn page(mut asking: Request, refused: &Refused, next: Next) -> Option<Response> {
    let mut uri = asking.uri().clone().into_parts();
    uri.path_and_query = Some(refused.page.parse::<PathAndQuery>().ok()?);
    *asking.uri_mut() = Uri::from_parts(uri).ok()?;
    let answer = next.run(asking).await;
    if answer.status() != StatusCode::OK || !pages::is_page(&answer) {
        return None;
    }
    let (mut parts, body) = answer.into_parts();
    let bytes = to_bytes(body, MOST_PAGE_BYTES).await.ok()?;
    let filled = pages::filled(std::str::from_utf8(&bytes).ok()?, refused)?;
    parts.headers.remove(header::CONTENT_LENGTH);
    Some(Response::from_parts(parts, filled.into()))
}
