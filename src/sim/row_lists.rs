//! Plain lists over HTTP: pages with `$top` and a skip token, rows cut to what `$select` names.

use serde_json::{Map, Value};

use super::app::App;
use super::query::Request;
use super::reply::{Answer, Reply};

/// How a list is told.
pub(super) struct List<'a> {
    /// The entity: `channel`.
    pub(super) entity: &'a str,
    /// Rows of a page when the client does not say, and at most.
    pub(super) page: (usize, usize),
    /// What `@odata.context` names.
    pub(super) context: &'a str,
    /// The path after the version, for the link to the next page; empty: the request's own.
    pub(super) path: &'a str,
}

/// Keeps of a row what `$select` names; an unknown name is refused. `more`: names that come only when selected and are
/// null here.
pub(super) fn selected(request: &Request, entity: &str, row: Map<String, Value>, more: &[&str]) -> Answer<Value> {
    cut(request.option("$select").unwrap_or_default(), entity, row, more)
}

/// As [`selected`], with the text of a `$select`; without names the row stays whole.
pub(super) fn cut(select: &str, entity: &str, mut row: Map<String, Value>, more: &[&str]) -> Answer<Value> {
    if select.trim().is_empty() {
        return Ok(row.into());
    }
    let names: Vec<&str> = select.split(',').map(str::trim).collect();
    for name in &names {
        if row.contains_key(*name) {
            continue;
        }
        if !more.contains(name) {
            let message = format!("Could not find a property named '{name}' on type 'microsoft.graph.{entity}'.");
            return Err(Reply::fail(400, "RequestBroker--ParseUri", &message));
        }
        row.insert((*name).into(), Value::Null);
    }
    row.retain(|name, _| name.starts_with('@') || name == "id" || names.contains(&name.as_str()));
    Ok(row.into())
}

/// A page of numbered things, with `$top` and `$skip`; `usual` rows when the client does not say.
pub(super) fn skipped(
    app: &App,
    request: &Request,
    context: &Value,
    (all, usual): (&[u32], usize),
    show: impl Fn(u32) -> Answer<Value>,
) -> Answer {
    let n = request.top()?.unwrap_or_else(|| request.page_size(usual, 1_000)).clamp(1, 1_000);
    let skip: usize = request.option("$skip").and_then(|s| s.parse().ok()).unwrap_or(0);
    let mut body = Map::new();
    body.insert("@odata.context".into(), context.clone());
    if request.option("$count") == Some("true") {
        body.insert("@odata.count".into(), all.len().into());
    }
    let rows = all.iter().skip(skip).take(n).map(|number| show(*number));
    body.insert("value".into(), rows.collect::<Answer<Vec<Value>>>()?.into());
    if all.len() > skip + n {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let kept = query.split('&').filter(|p| !p.is_empty() && !p.starts_with("$skip=") && !p.starts_with("%24skip="));
        let query: Vec<String> = kept.map(str::to_string).chain([format!("$skip={}", skip + n)]).collect();
        body.insert("@odata.nextLink".into(), format!("{}{path}?{}", app.base_url, query.join("&")).into());
    }
    Ok(Reply::json(body.into()))
}

/// A page of rows that are cut already.
pub(super) fn page(app: &App, request: &Request, list: &List<'_>, rows: Vec<Value>) -> Answer {
    page_of(app, request, list, rows, Ok)
}

/// A page of rows of which only those of the page are made.
pub(super) fn page_of<T>(
    app: &App,
    request: &Request,
    list: &List<'_>,
    all: Vec<T>,
    show: impl FnMut(T) -> Answer<Value>,
) -> Answer {
    let top = request.top()?;
    if top.is_some_and(|n| n == 0 || n > list.page.1) {
        let message = format!("Invalid page size specified for {}: at most {}.", list.entity, list.page.1);
        return Err(Reply::fail(400, "BadRequest", &message));
    }
    let n = top.unwrap_or(list.page.0).clamp(1, list.page.1).min(app.options.largest_page.max(1));
    let skip: usize = match request.option("$skiptoken") {
        Some(token) => token
            .strip_prefix("skip-")
            .and_then(|skip| skip.parse().ok())
            .ok_or_else(|| Reply::fail(400, "BadRequest", "The skip token is invalid."))?,
        None => 0,
    };
    let mut body = Map::new();
    body.insert("@odata.context".into(), format!("{}/v1.0/$metadata#{}", app.base_url, list.context).into());
    if request.option("$count") == Some("true") {
        body.insert("@odata.count".into(), all.len().into());
    }
    if all.len() > skip + n {
        let (own, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let own = if list.path.is_empty() { own.to_owned() } else { format!("/v1.0/{}", list.path) };
        let kept = query.split('&').filter(|part| !part.is_empty() && !part.to_lowercase().contains("skiptoken="));
        let query: Vec<String> = kept.map(str::to_owned).chain([format!("$skiptoken=skip-{}", skip + n)]).collect();
        body.insert("@odata.nextLink".into(), format!("{}{own}?{}", app.base_url, query.join("&")).into());
    }
    let rows = all.into_iter().skip(skip).take(n).map(show);
    body.insert("value".into(), rows.collect::<Answer<Vec<Value>>>()?.into());
    Ok(Reply::json(body.into()))
}

/// One entity.
pub(super) fn single(app: &App, context: &str, mut row: Value) -> Reply {
    if let Some(map) = row.as_object_mut() {
        map.shift_insert(0, "@odata.context".into(), format!("{}/v1.0/$metadata#{context}", app.base_url).into());
    }
    Reply::json(row)
}
