//! The way of a request: sign-in, count, faults, throttling, handler, and out again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request as HttpRequest, Response, StatusCode};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};

use super::app::App;
use super::batch::BATCH;
use super::content::Blob;
use super::faults::FaultKind;
use super::query::Request;
use super::reply::{Payload, Reply};
use super::rng::guid;
use super::route::{self, Route};
use super::throttle::Charge;
use super::{batch, control, download, drive, login, login_pages, sites_http, uploads};

/// Largest request body (REFERENCE section 10).
const BODY_LIMIT: usize = 4 << 20;

/// Largest file that is put in one request.
const FILE_LIMIT: usize = 250 << 20;
/// Largest fragment of an upload session.
const FRAGMENT_LIMIT: usize = 60 << 20;

fn body_limit(method: &axum::http::Method, path: &str) -> usize {
    match path {
        _ if method != axum::http::Method::PUT => BODY_LIMIT,
        _ if path.starts_with(uploads::PATH) => FRAGMENT_LIMIT,
        _ if path.ends_with("/content") => FILE_LIMIT,
        _ => BODY_LIMIT,
    }
}

/// How an answer is spoiled on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoil {
    No,
    Drop,
    Truncate,
}

/// Answers one HTTP request.
pub(super) async fn serve(State(app): State<Arc<App>>, request: HttpRequest<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let limit = body_limit(&parts.method, parts.uri.path());
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_string();
    let method = parts.method.as_str().to_string();
    let Ok(body) = axum::body::to_bytes(body, limit).await else {
        return out(&app, Reply::fail(413, "RequestEntityTooLarge", "The request is too large."), Spoil::No, None);
    };
    let id = parts.headers.get("client-request-id").and_then(|v| v.to_str().ok()).map(str::to_string);
    // Of beta there is what stands in for v1.0 in national clouds.
    let beta = target.strip_prefix("/beta/").filter(|path| path.contains("/events/"));
    let graph = target.strip_prefix("/v1.0/").or(beta);
    let request = Request::new(&method, &target, graph.unwrap_or(&target), parts.headers, body);
    let (reply, spoil) = if graph.is_some() { graph_request(&app, request).await } else { other(&app, request).await };
    out(&app, reply, spoil, id)
}

/// Everything that is not Graph: sign-in, downloads, control.
async fn other(app: &Arc<App>, request: Request) -> (Reply, Spoil) {
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    match (request.method.as_str(), &segments[..]) {
        ("POST", [tenant, "oauth2", "v2.0", "token"]) => {
            app.counts.route("POST", "/{tenant}/oauth2/v2.0/token");
            if let Some(reply) = plain_fault(app, &request, false).await {
                return reply;
            }
            let by_user = request.form("grant_type").is_some_and(|grant| grant != "client_credentials");
            let reply = match by_user {
                true => login::token(app, tenant, &request.body).unwrap_or_else(|refusal| refusal),
                false => app.auth.token(tenant, &request.body),
            };
            if let (true, Payload::Json(body)) = (app.options.remembers, &reply.payload)
                && let Some(token) = body["access_token"].as_str()
            {
                app.counts.gives_out(token);
            }
            (reply, Spoil::No)
        }
        ("POST", [tenant, "oauth2", "v2.0", "devicecode"]) => {
            app.counts.route("POST", "/{tenant}/oauth2/v2.0/devicecode");
            (login::device_code(app, tenant, &request.body).unwrap_or_else(|refusal| refusal), Spoil::No)
        }
        ("GET", [tenant, "oauth2", "v2.0", "authorize"]) => (login_pages::authorize(app, tenant, &request), Spoil::No),
        ("GET", ["common", "oauth2", "nativeclient"]) => (login_pages::native_client(), Spoil::No),
        ("GET" | "POST", ["devicelogin"]) => (login_pages::device_login(app, &request), Spoil::No),
        ("GET", [tenant, "v2.0", "adminconsent"]) => (login_pages::admin_consent_v2(app, tenant, &request), Spoil::No),
        ("GET", [tenant, "adminconsent"]) => (login_pages::admin_consent(app, tenant, &request), Spoil::No),
        ("GET", [tenant, "v2.0", ".well-known", "openid-configuration"]) => (app.auth.metadata(tenant), Spoil::No),
        ("GET" | "HEAD", ["_layouts", "15", "download.aspx"]) => download_request(app, &request).await,
        (_, ["_api", "upload", token]) => upload_request(app, &request, token).await,
        (_, ["sim", rest @ ..]) => (control::answer(app, &request, rest), Spoil::No),
        (_, [version, ..]) if version.starts_with('v') || *version == "beta" => {
            (Reply::fail(400, "BadRequest", &format!("Invalid version: {version}")), Spoil::No)
        }
        _ => (Reply::status(404), Spoil::No),
    }
}

async fn download_request(app: &Arc<App>, request: &Request) -> (Reply, Spoil) {
    app.counts.route("GET", download::PATH);
    let spoil = match plain_fault(app, request, true).await {
        Some((reply, Spoil::No)) => return (reply, Spoil::No),
        Some((_, spoil)) => spoil,
        None => Spoil::No,
    };
    let licences = app.read().licences();
    let headers = match app.throttle.admit(Charge::Files(download::units(app, request)), licences) {
        Ok((_pass, headers)) => headers,
        Err(refusal) => return (refusal, Spoil::No),
    };
    tokio::time::sleep(app.options.latency).await;
    let mut reply = download::serve(app, request).unwrap_or_else(|refusal| refusal);
    reply.headers.extend(headers);
    (reply, spoil)
}

async fn upload_request(app: &Arc<App>, request: &Request, token: &str) -> (Reply, Spoil) {
    app.counts.route(&request.method, uploads::PATH);
    let spoil = match plain_fault(app, request, true).await {
        Some((reply, Spoil::No)) => return (reply, Spoil::No),
        Some((_, spoil)) => spoil,
        None => Spoil::No,
    };
    let licences = app.read().licences();
    let charge = app.uploads.charge(token);
    let (_pass, headers) = match app.throttle.admit_upload(charge, licences, request.body.len()) {
        Ok(admitted) => admitted,
        Err(refusal) => return (refusal, Spoil::No),
    };
    tokio::time::sleep(app.options.latency).await;
    let mut reply = uploads::answer(app, request, token).unwrap_or_else(|refusal| refusal);
    reply.headers.extend(headers);
    (reply, spoil)
}

/// The fault that strikes, as an answer or as a way to spoil the right one.
async fn plain_fault(app: &Arc<App>, request: &Request, download: bool) -> Option<(Reply, Spoil)> {
    let delta = request.segments.last().is_some_and(|s| s.eq_ignore_ascii_case("delta"));
    let graph = request.target.starts_with("/v1.0/") || request.is_beta();
    let kind = app.faults.strike(&request.target, |kind| match kind {
        FaultKind::Gone => delta,
        FaultKind::UrlExpired => download,
        FaultKind::TokenExpired => graph,
        FaultKind::Drop | FaultKind::Truncate => graph || download,
        _ => true,
    })?;
    let reply = match kind {
        FaultKind::TooManyRequests { retry_after } => {
            let reply = Reply::fail(429, "TooManyRequests", "Please retry again later.");
            if retry_after < 0.0 { reply } else { reply.header("Retry-After", format!("{retry_after}")) }
        }
        FaultKind::Status { status: 503 } => Reply::status(503),
        FaultKind::Status { status: 504 } => Reply::fail(504, "UnknownError", "The gateway did not answer in time."),
        FaultKind::Status { status } => Reply::fail(status, "generalException", "General exception while processing"),
        FaultKind::UrlExpired => Reply::status(401),
        FaultKind::TokenExpired => {
            Reply::fail(401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.")
        }
        FaultKind::Gone => return Some((Reply::status(410), Spoil::No)),
        FaultKind::Drop => return Some((Reply::status(200), Spoil::Drop)),
        FaultKind::Truncate => return Some((Reply::status(200), Spoil::Truncate)),
        FaultKind::Slow { millis } => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            return None;
        }
        FaultKind::Vanish | FaultKind::Corrupt | FaultKind::WrongHash => return None,
    };
    Some((reply, Spoil::No))
}

/// Answers a Graph request, or a part of a batch.
pub(super) async fn graph_request(app: &Arc<App>, mut request: Request) -> (Reply, Spoil) {
    let checked = app.auth.check(request.header("authorization"));
    let mut access = match checked.and_then(|access| login::read_as(&mut request, &access).map(|()| access)) {
        Ok(access) => access,
        Err(refusal) => {
            app.counts.route_of(&request, "(unauthenticated)");
            return (refusal, Spoil::No);
        }
    };
    let route = match route::resolve(app, &request) {
        Ok(route) => route,
        Err(refusal) => {
            app.counts.route_of(&request, "(unknown)");
            // A service that is down does not know what it lacks.
            return match plain_fault(app, &request, false).await {
                Some((reply, spoil)) if reply.status != 410 => (reply, spoil),
                _ => (refusal, Spoil::No),
            };
        }
    };
    app.counts.route_of(&request, route.template);
    if route.template == BATCH {
        return (batch::answer(app, &request).await, Spoil::No);
    }
    if let Err(refusal) = login::may(app, &route, &mut access) {
        return (refusal, Spoil::No);
    }
    admitted(app, &request, &route, &access.roles).await
}

async fn admitted(app: &Arc<App>, request: &Request, route: &Route, roles: &[String]) -> (Reply, Spoil) {
    let mut spoil = Spoil::No;
    match plain_fault(app, request, false).await {
        Some((reply, Spoil::No)) if reply.status == 410 => return (gone(app, route), Spoil::No),
        Some((reply, Spoil::No)) => return (reply, Spoil::No),
        Some((_, how)) => spoil = how,
        None => {}
    }
    if !route.roles.iter().any(|r| roles.iter().any(|have| have == r)) {
        return (route.forbidden(), Spoil::No);
    }
    let licences = app.read().licences();
    let (pass, headers) = match app.throttle.admit_upload(route.charge, licences, request.body.len()) {
        Ok(admitted) => admitted,
        Err(refusal) => return (refusal, Spoil::No),
    };
    if !app.options.latency.is_zero() {
        tokio::time::sleep(app.options.latency).await;
    } else {
        // Lets requests that came together be in flight together, as over a real network.
        tokio::task::yield_now().await;
    }
    let mut reply = route::run(app, request, route).unwrap_or_else(|refusal| refusal);
    drop(pass);
    reply.headers.extend(headers);
    (reply, spoil)
}

/// 410 as the service of that route words it.
fn gone(app: &App, route: &Route) -> Reply {
    match route.charge {
        _ if route.template == route::LIST_DELTA => sites_http::delta_gone(app, route.user, route.id(0)),
        Charge::Files(_) => drive::delta_gone(app, route.user),
        _ => Reply::fail(410, "SyncStateNotFound", "The sync state generation is not found."),
    }
}

/// Turns an answer into HTTP.
fn out(app: &App, mut reply: Reply, spoil: Spoil, client_request_id: Option<String>) -> Response<Body> {
    let request_id = app.counts.request_id();
    let client_id = client_request_id.unwrap_or_else(|| guid(u64::from(reply.status)));
    let date = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
    reply.sign(&request_id, &client_id, &date);
    app.counts.status(reply.status);
    let mut response = Response::builder()
        .status(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header("request-id", &request_id)
        .header("client-request-id", &client_id)
        .header("x-ms-ags-diagnostic", r#"{"ServerInfo":{"DataCenter":"Simulated","Slice":"E","Ring":"5"}}"#);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    let (mime, len, body) = match reply.payload {
        Payload::Empty => return finish(response.header("content-length", "0").body(Body::empty())),
        Payload::Json(value) => {
            let bytes = Bytes::from(value.to_string());
            let mime =
                "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";
            (mime, bytes.len() as u64, spoiled(bytes, spoil))
        }
        Payload::Bytes(mime, bytes) => (mime, bytes.len() as u64, spoiled(bytes, spoil)),
        Payload::Blob(blob, from, len) => ("application/octet-stream", len, blob_body(blob, from, len, spoil)),
    };
    let sent = if spoil == Spoil::No { len } else { len / 2 };
    app.counts.bytes.fetch_add(sent, Ordering::Relaxed);
    finish(response.header("content-type", mime).header("content-length", len.to_string()).body(body))
}

fn finish(response: Result<Response<Body>, axum::http::Error>) -> Response<Body> {
    response.unwrap_or_else(|_| Response::new(Body::from("internal error")))
}

fn broken() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection dropped on purpose")
}

fn spoiled(bytes: Bytes, spoil: Spoil) -> Body {
    if spoil == Spoil::No {
        return Body::from(bytes);
    }
    let half = bytes.slice(..bytes.len() / 2);
    Body::from_stream(stream::iter([Ok(half)]).chain(early_end(spoil)))
}

/// The end of a spoiled body. It waits a moment, so that head and first half are on their way before it.
fn early_end(spoil: Spoil) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::once(async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        (spoil == Spoil::Drop).then(|| Err(broken()))
    })
    .filter_map(std::future::ready)
}

/// Streams a range of a blob in portions.
fn blob_body(blob: Blob, from: u64, len: u64, spoil: Spoil) -> Body {
    const PORTION: u64 = 256 << 10;
    let sent = if spoil == Spoil::No { len } else { len / 2 };
    let portions = stream::unfold(0u64, move |done| {
        let blob = blob.clone();
        async move {
            let n = PORTION.min(sent - done);
            let portion = Bytes::from(blob.read_at(from + done, n as usize));
            (n > 0).then_some((Ok::<_, std::io::Error>(portion), done + n))
        }
    });
    if spoil == Spoil::No { Body::from_stream(portions) } else { Body::from_stream(portions.chain(early_end(spoil))) }
}
