//! The storage endpoint: where clients store. WebDAV (RFC 4918) as far as a backup needs it, one root a repository
//! (`/storage/{repository}/`), **append-only**: nothing is written over and nothing deleted, a file comes in only under the name that
//! its bytes have, and a client gets in only for the time of a job that it has in hand, to the repository of that job.
//!
//! What has to be trusted: whose token it is was looked up before (`web::guard`); which paths there are is told letter by
//! letter (`names`); what a client may see is told in one place ([`may_see`]); the rest of the house is the storage room,
//! which writes whole files or none.

mod listing;
mod names;
mod put;
mod visit;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::db::ClientRow;
use super::error::ApiError;
use super::state::Server;
use super::web::Routes;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::Storage;
use names::{Kind, Name};
use put::Put;
pub(crate) use visit::Endpoint;
use visit::Visit;

/// Where the roots of repositories lie.
const ROOT: &str = "/storage/";
/// What the endpoint answers.
const ALLOW: &str = "OPTIONS, PROPFIND, GET, HEAD, PUT, MKCOL";
/// How much of a file is read at a time.
const STEP: u64 = 4 << 20;

/// Adds the routes.
pub(crate) fn add(routes: Routes) -> Routes {
    let routes = routes.files("/storage/{repository}", answer);
    let routes = routes.files("/storage/{repository}/", answer);
    routes.files("/storage/{repository}/{*path}", answer)
}

/// The path of a repository's root.
pub(crate) fn root(repository: &super::id::Id) -> String {
    format!("{ROOT}{repository}")
}

async fn answer(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<ClientRow>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    // The path as it was sent: an escaped letter is none that a name has.
    let path = parts.uri.path().to_owned();
    match handle(&server, &client, Verb::of(&parts.method), path, parts.headers, body).await {
        Ok(answer) => answer,
        Err(e) => ApiError(e).into_response(),
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Options,
    Put,
    Get,
    Head,
    List,
    Folder,
    Other,
}

impl Verb {
    fn of(method: &Method) -> Self {
        match method.as_str() {
            "OPTIONS" => Self::Options,
            "PUT" => Self::Put,
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PROPFIND" => Self::List,
            "MKCOL" => Self::Folder,
            _ => Self::Other,
        }
    }
}

fn nothing() -> Error {
    Error::not_found("There is no such file")
}

async fn handle(
    server: &Server,
    client: &ClientRow,
    verb: Verb,
    path: String,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let rest = path.strip_prefix(ROOT).ok_or_else(nothing)?;
    let (repository, path) = rest.split_once('/').unwrap_or((rest, ""));
    let visit = server.endpoint.enter(server, client, repository).await?;
    let name = names::read(path).ok_or_else(nothing)?;
    let readable = may_see(&visit, name) && name != Name::Folder;
    match verb {
        Verb::Options => Ok((StatusCode::NO_CONTENT, [("dav", "1"), ("allow", ALLOW)]).into_response()),
        Verb::Put => {
            let Name::File { kind, set, id } = name else {
                return Ok(not_here("This is nothing that a client writes"));
            };
            if !may_see(&visit, name) && kind != Kind::Key {
                return Err(Error::invalid("A client writes to its own set's folder only"));
            }
            Ok(Put { server, client, visit: &visit, path, kind, set, id }.take(&headers, body).await)
        }
        Verb::Get | Verb::Head if !readable => Err(nothing()),
        Verb::Get => read(&visit, path, &headers).await,
        Verb::Head => {
            let size = visit.storage().stat(path).await?.size_bytes;
            Ok(([(header::CONTENT_LENGTH, size.to_string())], ()).into_response())
        }
        Verb::List => listing::answer(&visit, repository, path, name, &headers).await,
        // Folders come about with what lies in them.
        Verb::Folder => Ok(not_here("Folders need not be made")),
        Verb::Other => Ok(not_here("Nothing here is changed, moved or deleted by a client")),
    }
}

/// Says whether a client may see a file, or a folder: its own key slot alone of all keys, and of snapshots and runs those of
/// its set.
fn may_see(visit: &Visit, name: Name<'_>) -> bool {
    match name {
        Name::File { kind: Kind::Key, id, .. } => visit.slot.as_deref() == Some(id),
        Name::File { set: Some(set), .. } => visit.set == set,
        _ => true,
    }
}

/// The answer to a method that is not for this place.
fn not_here(text: &str) -> Response {
    let mut answer = ApiError(Error::new(ErrorKind::Permission, text)).into_response();
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOW));
    answer
}

/// Sends a file, or a stretch of it, piece by piece.
async fn read(visit: &Visit, path: &str, headers: &HeaderMap) -> Result<Response> {
    let storage = visit.storage().clone();
    let size = storage.stat(path).await?.size_bytes;
    let wanted = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let (status, from, end) = match wanted.map(|text| range(text, size)) {
        None => (StatusCode::OK, 0, size),
        Some(Some((from, end))) => (StatusCode::PARTIAL_CONTENT, from, end),
        Some(None) => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
    };
    // What cannot be read is told as an error, not as half a file.
    let first = piece(&*storage, path, from, end).await?;
    let path = path.to_owned();
    let pieces = futures::stream::unfold(Some((storage, path, from, Some(first))), move |state| async move {
        let (storage, path, at, first) = state?;
        if at >= end {
            return None;
        }
        let read = match first {
            Some(first) => Ok(first),
            None => piece(&*storage, &path, at, end).await,
        };
        match read {
            Ok(bytes) => {
                let next = at + bytes.len() as u64;
                Some((Ok(bytes), Some((storage, path, next, None))))
            }
            Err(e) => Some((Err::<Bytes, _>(std::io::Error::other(e.to_string())), None)),
        }
    });
    let mut answer =
        (status, [(header::CONTENT_LENGTH, (end - from).to_string())], Body::from_stream(pieces)).into_response();
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = HeaderValue::from_str(&format!("bytes {from}-{}/{size}", end.saturating_sub(1)))
    {
        answer.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    Ok(answer)
}

async fn piece(storage: &dyn Storage, path: &str, at: u64, end: u64) -> Result<Bytes> {
    storage.get_range(path, at, end.saturating_sub(at).min(STEP)).await
}

/// One range of bytes (RFC 9110, 14.1.2): where it begins, and where it has ended.
fn range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (from, end) = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(from), Some(last)) => (from, last.checked_add(1)?.min(size)),
        (Some(from), None) if last.is_empty() => (from, size),
        (None, Some(many)) if first.is_empty() => (size.saturating_sub(many), size),
        _ => return None,
    };
    (from < end).then_some((from, end))
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_stay_within_the_file() {
        for (text, expected) in [
            ("bytes=0-9", Some((0, 10))),
            ("bytes=5-", Some((5, 100))),
            ("bytes=-7", Some((93, 100))),
            ("bytes=90-1000", Some((90, 100))),
            ("bytes=100-", None),
            ("bytes=9-5", None),
            ("bytes=0-18446744073709551615", None),
            ("bytes=-0", None),
            ("bytes=a-b", None),
            ("bytes=-", None),
            ("lines=1-2", None),
            ("bytes=0-1,5-6", None),
        ] {
            assert_eq!(range(text, 100), expected, "{text}");
        }
    }
}
