//! Telling what is there: PROPFIND (RFC 4918, 9.1), for one file, or a folder with what lies right in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::names::{Name, read};
use super::visit::Visit;
use super::{ROOT, may_see, not_here, nothing};
use crate::error::Result;

/// Something in a listing: a file's size; none for a folder.
type Size = Option<u64>;

/// Answers a PROPFIND.
pub(super) async fn answer(
    visit: &Visit,
    repository: &str,
    path: &str,
    name: Name<'_>,
    headers: &HeaderMap,
) -> Result<Response> {
    let path = path.trim_end_matches('/');
    let mut found = BTreeMap::new();
    if name != Name::Folder {
        if !may_see(visit, name) {
            return Err(nothing());
        }
        found.insert(path.to_owned(), Some(visit.storage().stat(path).await?.size_bytes));
        return Ok(told(repository, &found));
    }
    found.insert(path.to_owned(), None);
    let depth = headers.get("depth").and_then(|value| value.to_str().ok()?.parse::<u8>().ok());
    if depth.is_none_or(|depth| depth > 1) {
        // RFC 4918, 9.1: a server may refuse to go through all of it at once.
        return Ok(not_here("A folder is listed with Depth 0 or 1"));
    }
    if depth == Some(1) {
        if path.starts_with("packs") {
            // There are very many, and no backup goes through them.
            return Ok(not_here("A client does not list packs"));
        }
        children(visit, path, &mut found).await?;
    }
    Ok(told(repository, &found))
}

/// What lies right in a folder, as far as the client may see it.
async fn children(visit: &Visit, folder: &str, found: &mut BTreeMap<String, Size>) -> Result<()> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    if folder.is_empty() {
        for name in ["keys", "packs", "index", "snapshots", "sets", "runs"] {
            found.insert(name.to_owned(), None);
        }
        found.insert("config".to_owned(), Some(visit.storage().stat("config").await?.size_bytes));
        return Ok(());
    }
    for entry in visit.storage().list(folder).await? {
        let Some(rest) = entry.path.strip_prefix(&prefix) else { continue };
        let seen = read(&entry.path).is_some_and(|name| name != Name::Folder && may_see(visit, name));
        if !seen {
            continue;
        }
        match rest.split_once('/') {
            Some((folder, _)) => found.insert(format!("{prefix}{folder}"), None),
            None => found.insert(entry.path.clone(), Some(entry.size_bytes)),
        };
    }
    Ok(())
}

/// The answer: names are of letters, digits and slashes, so that nothing in it needs escaping.
fn told(repository: &str, found: &BTreeMap<String, Size>) -> Response {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><D:multistatus xmlns:D=\"DAV:\">");
    for (path, size) in found {
        let slash = if size.is_none() && !path.is_empty() { "/" } else { "" };
        let _ = write!(text, "<D:response><D:href>{ROOT}{repository}/{path}{slash}</D:href><D:propstat><D:prop>");
        let _ = match size {
            Some(size) => write!(text, "<D:resourcetype/><D:getcontentlength>{size}</D:getcontentlength>"),
            None => write!(text, "<D:resourcetype><D:collection/></D:resourcetype>"),
        };
        // Files never change: there is no time to tell, but clients ask for one.
        text.push_str("<D:getlastmodified>Thu, 01 Jan 1970 00:00:00 GMT</D:getlastmodified></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>");
    }
    text.push_str("</D:multistatus>");
    (StatusCode::MULTI_STATUS, [(header::CONTENT_TYPE, "application/xml; charset=utf-8")], text).into_response()
}
