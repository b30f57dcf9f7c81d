//! Lists, deltas and single things of a shelf, over HTTP.

use serde_json::Value;

use super::app::App;
use super::mail_delta::{page_body, stand};
use super::query::Request;
use super::reply::{Answer, Payload, Reply};
use super::row_lists;
use super::shelf::{Kind, Shelf, ShelfLog};
use super::token::{self, Token};

/// A page of a plain list of things, with `$top` and `$skip`; `usual` rows when the client does not say.
pub(super) fn list(
    app: &App,
    request: &Request,
    shelf: &Shelf,
    kind: &'static Kind,
    (all, usual): (&[u32], usize),
    context: &str,
) -> Answer {
    request.allow(&["$select", "$top", "$skip", "$count", "$expand", "$orderby", "$filter"])?;
    let chosen: Vec<u32>;
    let all = match request.option("$filter") {
        None => all,
        Some(filter) => {
            let (id, value) = extended(filter)?;
            let has = |number: &u32| {
                let given = shelf.thing(*number).given.get(&format!("~{}", super::doors::EXTENDED));
                let mut pairs = given.and_then(Value::as_array).into_iter().flatten();
                pairs.any(|pair| pair["id"] == id && pair["value"] == value)
            };
            chosen = all.iter().copied().filter(has).collect();
            &chosen
        }
    };
    let context = format!("{}/v1.0/$metadata#{context}", app.base_url).into();
    row_lists::skipped(app, request, &context, (all, usual), |number| {
        row_lists::selected(request, kind.name, shelf.json(&app.cast, number), &[])
    })
}

/// Reads a filter by one extended property: its id and value.
fn extended(filter: &str) -> Result<(&str, &str), Reply> {
    let inner = filter.strip_prefix("singleValueExtendedProperties/any(ep:ep/id eq '");
    let pair = inner.and_then(|rest| rest.strip_suffix("')")).and_then(|rest| rest.split_once("' and ep/value eq '"));
    pair.ok_or_else(|| {
        Reply::fail(400, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.")
    })
}

/// A page of a delta. `path` follows the version; `generation` grows when tokens expire.
pub(super) fn delta(app: &App, request: &Request, log: &ShelfLog<'_>, path: &str, generation: u32) -> Answer {
    request.allow(&["$select", "$skiptoken", "$deltatoken"])?;
    let scope = token::scope(log.shelf.seed, &format!("{} {}", log.kind.name, log.parent));
    let asked = request.option("$select").unwrap_or_default().to_string();
    let since = token::Logged::log_len(log);
    let (stand, options) = stand(app, request, scope, generation, (since, asked))?;
    let n = request.page_size(app.options.pages.messages, 500.min(app.options.largest_page));
    let (rows, stand) = token::page(log, &stand, n, app.options.quirks);
    let row = |number: u32| {
        if !log.has(number) {
            let id = log.shelf.id(number);
            return Ok(serde_json::json!({"id": id, "@removed": {"reason": "deleted"}}));
        }
        row_lists::cut(&options, log.kind.name, log.shelf.json(&app.cast, number), &[])
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
    let mut body = row_lists::selected(request, kind.name, shelf.json(&app.cast, number), &[])?;
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
