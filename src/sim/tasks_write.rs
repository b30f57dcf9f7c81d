//! To Do as clients write it: lists, tasks, their steps and links, attachments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::app::App;
use super::content::Blob;
use super::doors::{Door, New, create, exists, gone, in_mailbox, shown};
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::{guid, hash};
use super::route::Route;
use super::schema::{self, Entity};
use super::shelf::TOP;
use super::state::User;
use super::tasks::{ATTACHMENT, FLAGGED, LIST, OWN, TASK, find};
use super::times;

const ROLES: &[&str] = &["Tasks.ReadWrite.All"];
/// Attachments from this size on need an upload session.
const INLINE_LIMIT: usize = 3 << 20;

static LIST_ENTITY: Entity = Entity {
    name: "todoTaskList",
    read_only: &["isOwner", "isShared", "wellknownListName"],
    required: &["displayName"],
    beside: &[],
};
static TASK_ENTITY: Entity = Entity {
    name: "todoTask",
    read_only: &["createdDateTime", "lastModifiedDateTime", "bodyLastModifiedDateTime", "hasAttachments"],
    required: &["title"],
    beside: &[],
};
static STEP_ENTITY: Entity = Entity { name: "checklistItem", read_only: &[], required: &["displayName"], beside: &[] };
static LINK_ENTITY: Entity = Entity { name: "linkedResource", read_only: &[], required: &[], beside: &[] };
static ATTACHMENT_ENTITY: Entity = Entity {
    name: "taskFileAttachment",
    read_only: &["lastModifiedDateTime", "size"],
    required: &["name", "contentBytes"],
    beside: &[],
};

const LISTS: &str = "/users/{id}/todo/lists";
const ONE_LIST: &str = "/users/{id}/todo/lists/{id}";
const TASKS: &str = "/users/{id}/todo/lists/{id}/tasks";
const ONE_TASK: &str = "/users/{id}/todo/lists/{id}/tasks/{id}";
const STEPS: &str = "/users/{id}/todo/lists/{id}/tasks/{id}/checklistItems";
const LINKS: &str = "/users/{id}/todo/lists/{id}/tasks/{id}/linkedResources";
const ATTACHMENTS: &str = "/users/{id}/todo/lists/{id}/tasks/{id}/attachments";
const ONE_ATTACHMENT: &str = "/users/{id}/todo/lists/{id}/tasks/{id}/attachments/{id}";

pub(super) const DOORS: &[Door] = &[
    Door { method: "POST", path: LISTS, roles: ROLES, run: add_list },
    Door { method: "PATCH", path: ONE_LIST, roles: ROLES, run: change },
    Door { method: "DELETE", path: ONE_LIST, roles: ROLES, run: remove },
    Door { method: "POST", path: TASKS, roles: ROLES, run: add_task },
    Door { method: "PATCH", path: ONE_TASK, roles: ROLES, run: change },
    Door { method: "DELETE", path: ONE_TASK, roles: ROLES, run: remove },
    Door { method: "POST", path: STEPS, roles: ROLES, run: add_part },
    Door { method: "POST", path: LINKS, roles: ROLES, run: add_part },
    Door { method: "POST", path: ATTACHMENTS, roles: ROLES, run: add_attachment },
    Door { method: "DELETE", path: ONE_ATTACHMENT, roles: ROLES, run: remove_attachment },
];

fn answer(app: &App, status: u16, user: &User, number: u32) -> Reply {
    let context = format!("users('{}')/todo/lists", user.id);
    shown(app, status, &context, user.tasks.json(&app.cast, number))
}

fn add_list(app: &App, request: &Request, route: &Route) -> Answer {
    let body = LIST_ENTITY.new_body(request)?;
    in_mailbox(app, route, |user, now| {
        let new = New { entity: &LIST_ENTITY, kind: &LIST, parent: TOP, mark: OWN, usual: Value::Null };
        let number = create(&app.cast, &mut user.tasks, new, body, now);
        Ok(answer(app, 201, user, number))
    })
}

fn add_task(app: &App, request: &Request, route: &Route) -> Answer {
    let body = TASK_ENTITY.new_body(request)?;
    in_mailbox(app, route, |user, now| {
        let list = find(&user.tasks, &route.ids)?;
        if user.tasks.thing(list).mark == FLAGGED {
            let text = "Tasks of the list of flagged mail follow from the mail.";
            return Err(Reply::fail(400, "invalidRequest", text));
        }
        let usual = json!({
            "status": "notStarted", "importance": "normal", "body": {"content": "", "contentType": "text"},
        });
        let new = New { entity: &TASK_ENTITY, kind: &TASK, parent: list, mark: 0, usual };
        let number = create(&app.cast, &mut user.tasks, new, body, now);
        Ok(answer(app, 201, user, number))
    })
}

/// Changes a list or a task.
fn change(app: &App, request: &Request, route: &Route) -> Answer {
    let entity = if route.template == ONE_LIST { &LIST_ENTITY } else { &TASK_ENTITY };
    let body = entity.body(request)?;
    in_mailbox(app, route, |user, now| {
        let number = find(&user.tasks, &route.ids)?;
        if route.template == ONE_LIST && user.tasks.thing(number).mark < OWN {
            let name = body.get("displayName").and_then(Value::as_str).unwrap_or_default();
            return Err(exists(name));
        }
        user.tasks.write(number, body, now);
        Ok(answer(app, 200, user, number))
    })
}

fn remove(app: &App, _: &Request, route: &Route) -> Answer {
    in_mailbox(app, route, |user, _| {
        let number = find(&user.tasks, &route.ids)?;
        if route.template == ONE_LIST && user.tasks.thing(number).mark < OWN {
            return Err(Reply::fail(400, "invalidRequest", "Well-known lists cannot be deleted."));
        }
        Ok(gone(&mut user.tasks, number))
    })
}

/// Adds a step or a link to a task.
fn add_part(app: &App, request: &Request, route: &Route) -> Answer {
    let (entity, name) =
        if route.template == STEPS { (&STEP_ENTITY, "checklistItems") } else { (&LINK_ENTITY, "linkedResources") };
    let body = entity.new_body(request)?;
    in_mailbox(app, route, |user, now| {
        let task = find(&user.tasks, &route.ids)?;
        let mut list = user.tasks.thing(task).given.get(&format!("~{name}")).cloned().unwrap_or_else(|| json!([]));
        let count = list.as_array().map_or(0, Vec::len) as u64;
        let mut row = Map::new();
        row.insert("id".into(), guid(hash(user.tasks.thing(task).seed, &[0xadd, count])).into());
        if entity.name == STEP_ENTITY.name {
            row.insert("isChecked".into(), false.into());
            row.insert("createdDateTime".into(), times::graph(now).into());
        }
        row.extend(body);
        if let Some(list) = list.as_array_mut() {
            list.push(row.clone().into());
        }
        let given = [(format!("~{name}"), list)].into_iter().collect();
        user.tasks.write(task, given, now);
        Ok(shown(app, 201, &format!("users('{}')/todo/{name}", user.id), row))
    })
}

/// The bytes of `contentBytes`, taken out of a body; those that are too many are refused.
pub(super) fn sent_bytes(body: &mut Map<String, Value>) -> Answer<Bytes> {
    let text = body.shift_remove("contentBytes");
    let text = text.as_ref().and_then(Value::as_str).unwrap_or_default();
    let bytes = STANDARD.decode(text).map_err(|_| {
        Reply::fail(400, "RequestBodyRead", "Cannot convert the value of 'contentBytes' to the expected type 'Binary'.")
    })?;
    if bytes.len() >= INLINE_LIMIT {
        return Err(Reply::fail(413, "RequestEntityTooLarge", "The attachment needs an upload session."));
    }
    Ok(bytes.into())
}

fn add_attachment(app: &App, request: &Request, route: &Route) -> Answer {
    if schema::object(request)?.get("@odata.type").is_none() {
        return Err(Reply::fail(400, "RequestBodyRead", "A type name was not found for an attachment."));
    }
    let mut body = ATTACHMENT_ENTITY.new_body(request)?;
    let bytes = sent_bytes(&mut body)?;
    in_mailbox(app, route, |user, now| {
        let task = find(&user.tasks, &route.ids)?;
        let new = New { entity: &ATTACHMENT_ENTITY, kind: &ATTACHMENT, parent: task, mark: 0, usual: Value::Null };
        let number = create(&app.cast, &mut user.tasks, new, body, now);
        user.tasks.things[number as usize].bytes = Some(Box::new(Blob::kept(bytes)));
        user.tasks.edit(task, now);
        Ok(answer(app, 201, user, number))
    })
}

fn remove_attachment(app: &App, _: &Request, route: &Route) -> Answer {
    in_mailbox(app, route, |user, now| {
        let task = find(&user.tasks, &route.ids)?;
        let number = user.tasks.find(&ATTACHMENT, route.id(2)).ok_or_else(Reply::mail_not_found)?;
        let reply = gone(&mut user.tasks, number);
        user.tasks.edit(task, now);
        Ok(reply)
    })
}
