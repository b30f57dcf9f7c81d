//! Lists, deltas and single things of a shelf, over HTTP.

use serde_json::{Map, Value};

use super::app::App;
use super::mail_delta::{page_body, stand};
use super::query::Request;
use super::reply::{Answer, Payload, Reply};
use super::shelf::{Kind, Shelf, ShelfLog};
use super::token::{self, Token};

/// Keeps of a thing what `$select` names; an unknown name is refused.
pub(super) fn selected(request: &Request, kind: &Kind, json: Map<String, Value>) -> Result<Value, Reply> {
    let Some(text) = request.option("$select").filter(|text| !text.trim().is_empty()) else { return Ok(json.into()) };
    cut(text, kind, json)
}

fn cut(text: &str, kind: &Kind, mut json: Map<String, Value>) -> Result<Value, Reply> {
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    for name in &names {
        if !json.contains_key(*name) {
            let message = format!("Could not find a property named '{name}' on type 'microsoft.graph.{}'.", kind.name);
            return Err(Reply::fail(400, "RequestBroker--ParseUri", &message));
        }
    }
    json.retain(|name, _| name.starts_with('@') || name == "id" || names.contains(&name.as_str()));
    Ok(json.into())
}

/// A page of a plain list of things, with `$top` and `$skip`; `usual` rows when the client does not say.
pub(super) fn list(
    app: &App,
    request: &Request,
    shelf: &Shelf,
    kind: &'static Kind,
    (all, usual): (&[u32], usize),
    context: &str,
) -> Answer {
    request.allow(&["$select", "$top", "$skip", "$count", "$expand", "$orderby"])?;
    let n = request.top()?.unwrap_or_else(|| request.page_size(usual, 1_000)).clamp(1, 1_000);
    let skip: usize = request.option("$skip").and_then(|s| s.parse().ok()).unwrap_or(0);
    let mut body = Map::new();
    body.insert("@odata.context".into(), format!("{}/v1.0/$metadata#{context}", app.base_url).into());
    if request.option("$count") == Some("true") {
        body.insert("@odata.count".into(), all.len().into());
    }
    let page = all.iter().skip(skip).take(n);
    let rows = page.map(|number| selected(request, kind, shelf.json(&app.cast, *number)));
    body.insert("value".into(), rows.collect::<Result<Vec<Value>, Reply>>()?.into());
    if all.len() > skip + n {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let kept = query.split('&').filter(|p| !p.is_empty() && !p.starts_with("$skip=") && !p.starts_with("%24skip="));
        let query: Vec<String> = kept.map(str::to_string).chain([format!("$skip={}", skip + n)]).collect();
        body.insert("@odata.nextLink".into(), format!("{}{path}?{}", app.base_url, query.join("&")).into());
    }
    Ok(Reply::json(body.into()))
}

/// A page of a delta. `path` follows the version; `generation` grows when tokens expire.
pub(super) fn delta(app: &App, request: &Request, log: &ShelfLog<'_>, path: &str, generation: u32) -> Answer {
    request.allow(&["$select", "$skiptoken", "$deltatoken"])?;
    let scope = token::scope(log.shelf.seed, &format!("{} {}", log.kind.name, log.parent));
    let asked = request.option("$select").unwrap_or_default().to_string();
    let since = token::Logged::log_len(log);
    let (stand, options) = stand(app, request, scope, generation, (since, asked))?;
    let n = request.page_size(app.options.pages.messages, 500);
    let (rows, stand) = token::page(log, &stand, n, app.options.quirks);
    let row = |number: u32| {
        if !log.has(number) {
            let id = log.shelf.id(number);
            return Ok(serde_json::json!({"id": id, "@removed": {"reason": "deleted"}}));
        }
        let json = log.shelf.json(&app.cast, number);
        if options.is_empty() { Ok(json.into()) } else { cut(&options, log.kind, json) }
    };
    let rows = rows.into_iter().map(row).collect::<Result<Vec<Value>, Reply>>()?;
    let token = Token { scope, generation, stand, options };
    Ok(page_body(app, path, log.kind.name, &token, rows))
}

/// One thing.
pub(super) fn get(
    app: &App,
    request: &Request,
    shelf: &Shelf,
    kind: &'static Kind,
    number: u32,
    context: &str,
) -> Answer {
    request.allow(&["$select", "$expand"])?;
    let mut body = selected(request, kind, shelf.json(&app.cast, number))?;
    if let Some(map) = body.as_object_mut() {
        let context = format!("{}/v1.0/$metadata#{context}/$entity", app.base_url);
        map.shift_insert(0, "@odata.context".into(), context.into());
    }
    Ok(Reply::json(body))
}

/// The bytes of a thing; `None`: it has none.
pub(super) fn content(app: &App, shelf: &Shelf, number: u32) -> Option<Reply> {
    let blob = shelf.content(&app.cast, number)?;
    let len = blob.len();
    Some(Reply { status: 200, headers: Vec::new(), payload: Payload::Blob(blob, 0, len) })
}
