//! To Do: lists, tasks, attachments.

use serde_json::{Map, Value, json};

use super::app::App;
use super::contacts::object;
use super::content::{Blob, Texture};
use super::letter::Cast;
use super::mail::mailbox;
use super::options::SimOptions;
use super::oracle::ExpectedThing;
use super::query::Request;
use super::reply::{Answer, Payload, Reply};
use super::rng::{Rng, guid, hash};
use super::shelf::{self, Kind, Shelf, ShelfLog, TOP};
use super::{shelf_http, times, words};

pub(super) static LIST: Kind =
    Kind { name: "todoTaskList", id: shelf::exchange_id, json: list_json, content: shelf::nothing };
pub(super) static TASK: Kind =
    Kind { name: "todoTask", id: shelf::exchange_id, json: task_json, content: shelf::nothing };
pub(super) static ATTACHMENT: Kind =
    Kind { name: "taskFileAttachment", id: shelf::exchange_id, json: attachment_json, content: bytes };

/// What a list is.
const DEFAULT: u32 = 0;
pub(super) const FLAGGED: u32 = 1;
pub(super) const OWN: u32 = 2;
/// Somebody else's.
const OF_ANOTHER: u32 = 3;

/// Fills the lists of a mailbox.
pub(super) fn populate(options: &SimOptions, seed: u64) -> Shelf {
    let mut shelf = Shelf::new(hash(seed, &[0x7a5c]));
    let mut rng = Rng::new(shelf.seed, &[1]);
    let born = times::EPOCH - 500 * times::DAY;
    let lists: Vec<u32> =
        [DEFAULT, FLAGGED, OWN, OF_ANOTHER].iter().map(|kind| shelf.add(&LIST, TOP, born, *kind)).collect();
    for n in 0..options.tasks {
        let age = (rng.unit() * 300.0 * times::DAY as f64) as i64;
        let list = lists[rng.index(lists.len())];
        let task = shelf.add(&TASK, list, times::EPOCH - 60 - age, 0);
        if n % 4 == 0 {
            shelf.add(&ATTACHMENT, task, times::EPOCH - 60, 0);
        }
    }
    shelf.begin();
    shelf
}

/// What a day brings.
pub(super) fn day(shelf: &mut Shelf, options: &SimOptions, now: i64, rng: &mut Rng) {
    let number = options.script.others;
    for _ in 0..number {
        if let Some(list) = shelf.any(&LIST, rng) {
            let task = shelf.add(&TASK, list, now - 60, 0);
            if rng.chance(0.5) {
                shelf.add(&ATTACHMENT, task, now, 0);
            }
        }
        if let Some(task) = shelf.any(&TASK, rng) {
            shelf.edit(task, now);
        }
        if let Some(task) = shelf.any(&TASK, rng) {
            shelf.add(&ATTACHMENT, task, now, 0);
            shelf.edit(task, now);
        }
    }
    for _ in 0..number.div_ceil(2) {
        if let (Some(task), Some(list)) = (shelf.any(&TASK, rng), shelf.any(&LIST, rng)) {
            shelf.relocate(task, list, now);
        }
        if let Some(task) = shelf.any(&TASK, rng) {
            shelf.delete(task);
        }
        if let Some(attachment) = shelf.any(&ATTACHMENT, rng) {
            let task = shelf.thing(attachment).parent;
            shelf.delete(attachment);
            shelf.edit(task, now);
        }
        match shelf.any(&LIST, rng).filter(|list| shelf.thing(*list).mark >= OWN) {
            Some(list) if rng.chance(0.3) => shelf.delete(list),
            Some(list) => shelf.edit(list, now),
            None => drop(shelf.add(&LIST, TOP, now, OWN)),
        }
    }
}

fn list_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mark = shelf.thing(number).mark;
    let (name, well_known) = match mark {
        DEFAULT => ("Tasks".to_owned(), "defaultList"),
        FLAGGED => ("Flagged Emails".to_owned(), "flaggedEmails"),
        _ => (words::title(&mut shelf.rng(number), 2), "none"),
    };
    object(json!({
        "@odata.etag": format!("W/\"{}\"", shelf.change_key(number)),
        "id": shelf.id(number),
        "displayName": name,
        "isOwner": mark != OF_ANOTHER,
        "isShared": mark == OF_ANOTHER,
        "wellknownListName": well_known,
    }))
}

fn task_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let mut rng = shelf.rng(number);
    let done = rng.chance(0.3);
    let day = json!({"dateTime": "2026-12-01T00:00:00.0000000", "timeZone": "UTC"});
    object(json!({
        "@odata.etag": format!("W/\"{}\"", shelf.change_key(number)),
        "id": shelf.id(number),
        "title": words::title(&mut rng, 3),
        "status": if done { "completed" } else { "notStarted" },
        "importance": "normal",
        "isReminderOn": false,
        "createdDateTime": times::graph(thing.created),
        "lastModifiedDateTime": times::graph(thing.changed),
        "bodyLastModifiedDateTime": times::graph(thing.changed),
        "hasAttachments": shelf.below(&ATTACHMENT, number).next().is_some(),
        "categories": [],
        "dueDateTime": if rng.chance(0.5) { day.clone() } else { Value::Null },
        "completedDateTime": if done { day } else { Value::Null },
        "body": {"content": words::title(&mut rng, 6), "contentType": "text"},
    }))
}

/// What of a task is told when it is named: what follows from its seed, and what clients added.
fn part(shelf: &Shelf, number: u32, name: &str) -> Value {
    let thing = shelf.thing(number);
    let made = if thing.is_written() { Vec::new() } else { made_part(shelf, number, name) };
    let added = thing.given.get(&format!("~{name}")).and_then(Value::as_array).cloned().unwrap_or_default();
    made.into_iter().chain(added).collect()
}

fn made_part(shelf: &Shelf, number: u32, name: &str) -> Vec<Value> {
    let mut rng = Rng::new(shelf.thing(number).seed, &[shelf.thing(number).revision.into(), 7]);
    let count = rng.below(4);
    let mut one = |i: u64| {
        let id = guid(hash(shelf.thing(number).seed, &[i]));
        match name {
            "checklistItems" => json!({
                "id": id, "displayName": words::title(&mut rng, 2), "isChecked": i == 1,
                "createdDateTime": "2026-10-01T08:00:00Z",
            }),
            _ => json!({
                "id": id, "webUrl": "https://example.org/ticket", "applicationName": "Partner App",
                "displayName": words::title(&mut rng, 2), "externalId": format!("t{i}"),
            }),
        }
    };
    (0..count).map(&mut one).collect()
}

fn attachment_json(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let size = shelf.content(cast, number).map_or(0, |blob| blob.len());
    object(json!({
        "@odata.type": "#microsoft.graph.taskFileAttachment",
        "id": shelf.id(number),
        "name": format!("{}.txt", words::title(&mut shelf.rng(number), 2)),
        "contentType": "text/plain",
        "size": size,
        "lastModifiedDateTime": times::graph(thing.created),
    }))
}

/// The first attachment of each mailbox is empty.
fn bytes(_: &Cast, shelf: &Shelf, number: u32) -> Option<Blob> {
    let seed = shelf.thing(number).seed;
    let first = shelf.things.iter().position(|thing| thing.kind.name == ATTACHMENT.name) == Some(number as usize);
    Some(Blob::new(Texture::Text, seed, if first { 0 } else { 200 + seed % 5_000 }))
}

/// Finds the route of a path below a user: its template, and where ids stand in the path.
pub(super) fn route(names: &[&str]) -> Option<(&'static str, &'static [usize])> {
    Some(match names {
        ["todo", "lists"] => ("/users/{id}/todo/lists", &[]),
        ["todo", "lists", "delta"] => ("/users/{id}/todo/lists/delta", &[]),
        ["todo", "lists", _] => ("/users/{id}/todo/lists/{id}", &[2]),
        ["todo", "lists", _, "tasks"] => ("/users/{id}/todo/lists/{id}/tasks", &[2]),
        ["todo", "lists", _, "tasks", "delta"] => ("/users/{id}/todo/lists/{id}/tasks/delta", &[2]),
        ["todo", "lists", _, "tasks", _] => ("/users/{id}/todo/lists/{id}/tasks/{id}", &[2, 4]),
        ["todo", "lists", _, "tasks", _, "attachments"] => {
            ("/users/{id}/todo/lists/{id}/tasks/{id}/attachments", &[2, 4])
        }
        ["todo", "lists", _, "tasks", _, "attachments", _, "$value"] => {
            ("/users/{id}/todo/lists/{id}/tasks/{id}/attachments/{id}/$value", &[2, 4, 6])
        }
        _ => return None,
    })
}

/// Runs the handler of a template.
pub(super) fn run(app: &App, request: &Request, template: &str, user: usize, ids: &[String]) -> Answer {
    let world = app.read();
    mailbox(&world, user)?;
    let shelf = &world.users[user].tasks;
    let owner = &world.users[user].id;
    let context = format!("users('{owner}')/todo/lists");
    let generation = world.mail_generation;
    let find = |kind: &Kind, i: usize, parent: u32| {
        let found = shelf.find(kind, ids.get(i).map_or("", String::as_str));
        found.filter(|number| shelf.thing(*number).parent == parent).ok_or_else(Reply::mail_not_found)
    };
    match template.trim_start_matches("/users/{id}/todo/lists") {
        "" => {
            let all: Vec<u32> = shelf.all(&LIST).collect();
            shelf_http::list(app, request, shelf, &LIST, (&all, 10), &context)
        }
        "/delta" => {
            let log = ShelfLog { shelf, kind: &LIST, parent: TOP, flat: true, hidden: None };
            shelf_http::delta(app, request, &log, &format!("users/{owner}/todo/lists/delta"), generation)
        }
        "/{id}" => shelf_http::get(app, request, shelf, &LIST, find(&LIST, 0, TOP)?, &context),
        "/{id}/tasks" => {
            let all: Vec<u32> = shelf.below(&TASK, find(&LIST, 0, TOP)?).collect();
            let mut reply = shelf_http::list(app, request, shelf, &TASK, (&all, 10), &context)?;
            if let Payload::Json(body) = &mut reply.payload {
                for row in body["value"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                    expand(request, shelf, row)?;
                }
            }
            Ok(reply)
        }
        "/{id}/tasks/delta" => {
            let list = find(&LIST, 0, TOP)?;
            let log = ShelfLog { shelf, kind: &TASK, parent: list, flat: false, hidden: None };
            let path = format!("users/{owner}/todo/lists/{}/tasks/delta", shelf.id(list));
            shelf_http::delta(app, request, &log, &path, generation)
        }
        "/{id}/tasks/{id}" => {
            let task = find(&TASK, 1, find(&LIST, 0, TOP)?)?;
            let mut reply = shelf_http::get(app, request, shelf, &TASK, task, &context)?;
            if let Payload::Json(Value::Object(row)) = &mut reply.payload {
                expand(request, shelf, row)?;
            }
            Ok(reply)
        }
        "/{id}/tasks/{id}/attachments" => {
            let all: Vec<u32> = shelf.below(&ATTACHMENT, find(&TASK, 1, find(&LIST, 0, TOP)?)?).collect();
            shelf_http::list(app, request, shelf, &ATTACHMENT, (&all, 10), &context)
        }
        _ => {
            let attachment = find(&ATTACHMENT, 2, find(&TASK, 1, find(&LIST, 0, TOP)?)?)?;
            shelf_http::content(app, shelf, attachment).ok_or_else(Reply::mail_not_found)
        }
    }
}

/// A list, or a task in it, by the ids of a path.
pub(super) fn find(shelf: &Shelf, ids: &[String]) -> Answer<u32> {
    let of = |kind: &Kind, place: usize, parent: u32| {
        let found = shelf.find(kind, ids.get(place).map_or("", String::as_str));
        found.filter(|number| shelf.thing(*number).parent == parent).ok_or_else(Reply::mail_not_found)
    };
    let list = of(&LIST, 0, TOP)?;
    if ids.len() < 2 { Ok(list) } else { of(&TASK, 1, list) }
}

/// Adds to a task what `$expand` names.
fn expand(request: &Request, shelf: &Shelf, row: &mut Map<String, Value>) -> Result<(), Reply> {
    let number = row.get("id").and_then(Value::as_str).and_then(|id| shelf.find(&TASK, id));
    let named = request.option("$expand").unwrap_or_default();
    for name in named.split(',').filter(|name| !name.is_empty()) {
        if !["checklistItems", "linkedResources"].contains(&name) {
            let text = format!("Could not find a property named '{name}' on type 'microsoft.graph.todoTask'.");
            return Err(Reply::fail(400, "RequestBroker--ParseUri", &text));
        }
        if let Some(number) = number {
            row.insert(format!("{name}@odata.context"), "…/$metadata#todo".into());
            row.insert(name.into(), part(shelf, number, name));
        }
    }
    Ok(())
}

/// What a backup of the tasks of a mailbox must hold.
pub(super) fn expected(cast: &Cast, shelf: &Shelf) -> Vec<ExpectedThing> {
    let alive = (0u32..).zip(&shelf.things).filter(|(_, thing)| thing.alive);
    let told = alive.map(|(number, thing)| {
        let mut json = shelf.json(cast, number);
        let parent = if thing.parent == TOP { String::new() } else { shelf.id(thing.parent) };
        let mut id = shelf.id(number);
        if thing.kind.name == TASK.name {
            for name in ["checklistItems", "linkedResources"] {
                json.insert(name.into(), part(shelf, number, name));
            }
        } else if thing.kind.name == ATTACHMENT.name {
            id = format!("{parent}/{id}");
        }
        ExpectedThing { id, parent, kind: thing.kind.name, json: json.into(), content: shelf.content(cast, number) }
    });
    told.collect()
}
