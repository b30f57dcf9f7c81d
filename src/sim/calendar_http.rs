//! Calendars over HTTP.

use serde_json::{Map, Value};

use super::app::App;
use super::calendar::{ATTACHMENT, CALENDAR, EVENT, GROUP, PERMISSION, is_series};
use super::mail::mailbox;
use super::mail_delta::{page_body, stand};
use super::query::Request;
use super::reply::{Answer, Payload, Reply};
use super::shelf::{Shelf, ShelfLog, TOP};
use super::state::World;
use super::token::{self, Logged, Token};
use super::{calendar_json, calendar_series, series, shelf_http};

/// How ids begin that stay when a thing is moved, and how the others do.
const IMMUTABLE: &str = "AAkALg";
const MUTABLE: &str = "AAMkAD";

/// Finds the route of a path below a user: its template, and where ids stand in the path.
pub(super) fn route(names: &[&str]) -> Option<(&'static str, &'static [usize])> {
    Some(match names {
        ["calendars"] => ("/users/{id}/calendars", &[]),
        ["calendars", _] => ("/users/{id}/calendars/{id}", &[1]),
        ["calendars", _, "calendarpermissions"] => ("/users/{id}/calendars/{id}/calendarPermissions", &[1]),
        ["calendars", _, "events"] => ("/users/{id}/calendars/{id}/events", &[1]),
        ["calendars", _, "events", "delta"] => ("/users/{id}/calendars/{id}/events/delta", &[1]),
        ["calendargroups"] => ("/users/{id}/calendarGroups", &[]),
        ["calendargroups", _, "calendars"] => ("/users/{id}/calendarGroups/{id}/calendars", &[1]),
        ["events", _] => ("/users/{id}/events/{id}", &[1]),
        ["events", _, "calendar"] => ("/users/{id}/events/{id}/calendar", &[1]),
        ["events", _, "instances"] => ("/users/{id}/events/{id}/instances", &[1]),
        ["calendars", _, "events", _, "instances"] => ("/users/{id}/events/{id}/instances", &[3]),
        ["events", _, "attachments"] => ("/users/{id}/events/{id}/attachments", &[1]),
        ["events", _, "attachments", _] => ("/users/{id}/events/{id}/attachments/{id}", &[1, 3]),
        ["events", _, "attachments", _, "$value"] => ("/users/{id}/events/{id}/attachments/{id}/$value", &[1, 3]),
        _ => return None,
    })
}

/// Runs the handler of a template.
pub(super) fn run(app: &App, request: &Request, template: &str, user: usize, ids: &[String]) -> Answer {
    let world = app.read();
    mailbox(&world, user)?;
    let shelf = &world.users[user].calendars;
    let of_user = |what: &str| format!("users('{}')/{what}", world.users[user].id);
    // Either spelling of an id is understood.
    let id = |i: usize| ids.get(i).map_or(String::new(), |id| id.replacen(MUTABLE, IMMUTABLE, 1));
    let find = |kind, i: usize| shelf.find(kind, &id(i)).ok_or_else(Reply::mail_not_found);
    let list =
        |all: Vec<u32>, kind, what: &str| shelf_http::list(app, request, shelf, kind, (&all, 10), &of_user(what));
    match template.trim_start_matches("/users/{id}/") {
        "calendars" => list(shelf.all(&CALENDAR).collect(), &CALENDAR, "calendars"),
        "calendars/{id}" => shelf_http::get(app, request, shelf, &CALENDAR, find(&CALENDAR, 0)?, &of_user("calendars")),
        "calendars/{id}/calendarPermissions" => {
            let calendar = find(&CALENDAR, 0)?;
            list(shelf.below(&PERMISSION, calendar).collect(), &PERMISSION, "calendarPermissions")
        }
        "calendars/{id}/events" => {
            let all: Vec<u32> = shelf.below(&EVENT, find(&CALENDAR, 0)?).collect();
            let mut reply = list(all, &EVENT, "events")?;
            serve_rows(request, &mut reply);
            Ok(reply)
        }
        "calendars/{id}/events/delta" => delta(app, request, &world, user, find(&CALENDAR, 0)?),
        "calendarGroups" => list(shelf.below(&GROUP, TOP).collect(), &GROUP, "calendarGroups"),
        "calendarGroups/{id}/calendars" => {
            list(shelf.below(&CALENDAR, find(&GROUP, 0)?).collect(), &CALENDAR, "calendars")
        }
        "events/{id}" => event(app, request, shelf, find(&EVENT, 0)?, &of_user("events")),
        "events/{id}/calendar" => {
            let mut above = find(&EVENT, 0)?;
            while shelf.thing(above).kind.name != CALENDAR.name {
                above = shelf.thing(above).parent;
            }
            shelf_http::get(app, request, shelf, &CALENDAR, above, &of_user("calendars"))
        }
        "events/{id}/instances" => {
            let serve = |row: &mut Map<String, Value>| serve(request, row);
            calendar_series::instances(app, request, shelf, find(&EVENT, 0)?, (&of_user("instances"), serve))
        }
        "events/{id}/attachments" => attachments(app, request, shelf, find(&EVENT, 0)?, &of_user("attachments")),
        other => {
            let (event, attachment) = (find(&EVENT, 0)?, find(&ATTACHMENT, 1)?);
            if shelf.thing(attachment).parent != event {
                return Err(Reply::mail_not_found());
            }
            if other.ends_with("$value") {
                let text = "The attachment is a link and has no contents.";
                return shelf_http::content(app, shelf, attachment)
                    .ok_or_else(|| Reply::fail(405, "ErrorInvalidRequest", text));
            }
            shelf_http::get(app, request, shelf, &ATTACHMENT, attachment, &of_user("attachments"))
        }
    }
}

/// What preferences make of an event.
pub(super) fn serve(request: &Request, event: &mut Map<String, Value>) {
    if let Some((name, zone)) = request.time_zone().and_then(|name| Some((name, series::zone(name)?)))
        && name != "UTC"
        && event.get("isAllDay") != Some(&Value::Bool(true))
    {
        for time in ["start", "end"].map(|key| event.get(key).and_then(calendar_series::utc).zip(Some(key))) {
            let Some((at, key)) = time else { continue };
            let text = series::local(at, &zone).strftime("%Y-%m-%dT%H:%M:%S.0000000").to_string();
            event.insert(key.into(), serde_json::json!({"dateTime": text, "timeZone": name}));
        }
    }
    if !request.prefers("outlook.allow-unsafe-html")
        && let Some(Value::String(body)) = event.get_mut("body").and_then(|body| body.get_mut("content"))
    {
        *body = body.replace(calendar_json::UNSAFE, "");
    }
    for name in ["id", "seriesMasterId"] {
        if let (false, Some(Value::String(id))) = (request.immutable_ids(), event.get_mut(name)) {
            *id = id.replacen(IMMUTABLE, MUTABLE, 1);
        }
    }
}

/// `GET /groups/{id}/events`
pub(super) fn of_group(app: &App, request: &Request, group: usize) -> Answer {
    let world = app.read();
    let group = &world.groups[group];
    let all: Vec<u32> = group.events.all(&EVENT).collect();
    let context = format!("groups('{}')/events", group.id);
    let mut reply = shelf_http::list(app, request, &group.events, &EVENT, (&all, 10), &context)?;
    serve_rows(request, &mut reply);
    Ok(reply)
}

fn serve_rows(request: &Request, reply: &mut Reply) {
    if let Payload::Json(body) = &mut reply.payload {
        let rows = body["value"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
        rows.for_each(|row| serve(request, row));
    }
}

/// `GET …/calendars/{id}/events/delta`: single events and masters; exceptions beside their masters at times.
fn delta(app: &App, request: &Request, world: &World, user: usize, calendar: u32) -> Answer {
    request.allow(&["$skiptoken", "$deltatoken"])?;
    if app.options.national_cloud && !request.is_beta() {
        return Err(Reply::no_segment("delta"));
    }
    let shelf = &world.users[user].calendars;
    let log = ShelfLog { shelf, kind: &EVENT, parent: calendar, flat: false, hidden: None };
    let scope = token::scope(shelf.seed, &format!("events {calendar}"));
    let generation = world.mail_generation;
    let (stand, options) = stand(app, request, scope, generation, (log.log_len(), String::new()))?;
    let n = request.page_size(app.options.pages.messages, 500.min(app.options.largest_page));
    let (numbers, stand) = token::page(&log, &stand, n, app.options.quirks);
    let mut rows = Vec::new();
    for number in numbers {
        if !log.has(number) {
            rows.push(serde_json::json!({"id": shelf.id(number), "@removed": {"reason": "deleted"}}));
            continue;
        }
        let with_exceptions =
            app.options.quirks && is_series(shelf, number) && shelf.thing(number).seed.is_multiple_of(2);
        let exceptions: Vec<u32> = if with_exceptions { shelf.below(&EVENT, number).collect() } else { vec![] };
        for number in [number].into_iter().chain(exceptions) {
            let mut row = shelf.json(&app.cast, number);
            row.insert("@odata.type".into(), "#microsoft.graph.event".into());
            rows.push(row.into());
        }
    }
    let path = format!("users/{}/calendars/{}/events/delta", world.users[user].id, encoded(&shelf.id(calendar)));
    let mut reply = page_body(app, &path, "event", &Token { scope, generation, stand, options }, rows);
    if let (true, Payload::Json(body)) = (request.is_beta(), &mut reply.payload) {
        for name in ["@odata.nextLink", "@odata.deltaLink"] {
            if let Some(Value::String(link)) = body.get_mut(name) {
                *link = link.replacen("/v1.0/", "/beta/", 1);
            }
        }
    }
    serve_rows(request, &mut reply);
    Ok(reply)
}

fn encoded(id: &str) -> String {
    id.replace('=', "%3D")
}

/// `GET …/events/{id}`: with `$select` the cancelled occurrences, with `$expand` the exceptions of a series.
fn event(app: &App, request: &Request, shelf: &Shelf, number: u32, context: &str) -> Answer {
    request.allow(&["$select", "$expand"])?;
    let unknown = |name: &str| {
        let text = format!("Could not find a property named '{name}' on type 'microsoft.graph.event'.");
        Reply::fail(400, "RequestBroker--ParseUri", &text)
    };
    let old = app.options.national_cloud && !request.is_beta();
    let names: Vec<&str> =
        request.option("$select").map(|text| text.split(',').map(str::trim).collect()).unwrap_or_default();
    let expand = request.option("$expand").unwrap_or_default();
    if !["", "exceptionOccurrences"].contains(&expand) {
        return Err(unknown(expand));
    }
    let all = calendar_json::event_alone(&app.cast, shelf, number);
    for name in names.iter().chain(&[expand]).filter(|name| !name.is_empty()) {
        let series = ["cancelledOccurrences", "exceptionOccurrences"].contains(name);
        if (series && old) || (!series && !all.contains_key(*name)) {
            return Err(unknown(name));
        }
    }
    let mut body = Map::new();
    body.insert("@odata.context".into(), format!("{}/v1.0/$metadata#{context}/$entity", app.base_url).into());
    let named = |name: &str| names.contains(&name) || name.starts_with('@') || name == "id";
    body.extend(all.into_iter().filter(|(name, _)| match names.is_empty() {
        true => name != "cancelledOccurrences",
        false => named(name),
    }));
    serve(request, &mut body);
    if expand == "exceptionOccurrences" {
        let exceptions = shelf.below(&EVENT, number).map(|exception| {
            let mut json = shelf.json(&app.cast, exception);
            serve(request, &mut json);
            Value::Object(json)
        });
        body.insert("exceptionOccurrences".into(), exceptions.collect());
    }
    Ok(Reply::json(body.into()))
}

/// `GET …/events/{id}/attachments`; what only files have is named with their type.
fn attachments(app: &App, request: &Request, shelf: &Shelf, event: u32, context: &str) -> Answer {
    const OF_ALL: &[&str] = &["id", "lastModifiedDateTime", "name", "contentType", "size", "isInline"];
    const OF_FILES: &[&str] = &["contentId", "contentLocation", "contentBytes"];
    request.allow(&["$select", "$top", "$skip", "$expand"])?;
    let names: Option<Vec<&str>> = request.option("$select").map(|text| text.split(',').map(str::trim).collect());
    let mut kept = Vec::new();
    for name in names.iter().flatten() {
        let of_file = name.strip_prefix("microsoft.graph.fileAttachment/").filter(|name| OF_FILES.contains(name));
        match of_file.or_else(|| OF_ALL.contains(name).then_some(*name)) {
            Some(name) => kept.push(name),
            None => {
                let text = format!("Could not find a property named '{name}' on type 'microsoft.graph.attachment'.");
                return Err(Reply::fail(400, "RequestBroker--ParseUri", &text));
            }
        }
    }
    let rows = shelf.below(&ATTACHMENT, event).map(|number| {
        let mut json = shelf.json(&app.cast, number);
        json.retain(|name, _| names.is_none() || name.starts_with('@') || kept.contains(&name.as_str()));
        Value::Object(json)
    });
    let mut body = Map::new();
    body.insert("@odata.context".into(), format!("{}/v1.0/$metadata#{context}", app.base_url).into());
    body.insert("value".into(), rows.collect());
    Ok(Reply::json(body.into()))
}
