//! Mail: folders, messages, MIME and attachments. Their delta is in `mail_delta`.

use serde_json::Value;

use super::app::App;
use super::faults::FaultKind;
use super::mail_json::{self, MessageView};
use super::mailbox::{Mailbox, READ};
use super::mime;
use super::properties;
use super::query::{Fields, Request};
use super::reply::{Answer, Reply};
use super::row_lists;
use super::state::{UserKind, World};
use super::times;

/// The mailbox of a user, or why there is none.
pub(super) fn mailbox(world: &World, index: usize) -> Result<&Mailbox, Reply> {
    let user = &world.users[index];
    if user.kind == UserKind::Blocked {
        let message =
            "Access to OData is disabled: [RAOP] : Blocked by tenant configured AppOnly AccessPolicy settings.";
        return Err(Reply::fail(403, "ErrorAccessDenied", message));
    }
    user.mailbox.as_deref().ok_or_else(|| {
        let message = "The mailbox is either inactive, soft-deleted, or is hosted on-premise.";
        Reply::fail(404, "MailboxNotEnabledForRESTAPI", message)
    })
}

pub(super) fn folder(mailbox: &Mailbox, id: &str) -> Result<u32, Reply> {
    mailbox.find_folder(id).ok_or_else(Reply::mail_not_found)
}

/// Finds a message by id; malformed ids are told apart from unknown ones.
fn message_key(mailbox: &Mailbox, id: &str) -> Result<u32, Reply> {
    if let Some(key) = mailbox.find(id) {
        return Ok(key);
    }
    if id.len() < 20 {
        return Err(Reply::fail(400, "ErrorInvalidIdMalformed", "Id is malformed."));
    }
    Err(Reply::mail_not_found())
}

fn context(app: &App, world: &World, index: usize, what: &str) -> Value {
    format!("{}/v1.0/$metadata#users('{}')/{what}", app.base_url, world.users[index].id).into()
}

/// `GET /users/{id}/mailFolders` and `…/childFolders`
pub(super) fn folders(app: &App, request: &Request, index: usize, parent: &str) -> Answer {
    request.allow(&["$select", "$top", "$skip", "$count", "$filter", "$orderby", "$expand"])?;
    let fields = request.select("mailFolder", properties::MAIL_FOLDER)?;
    let world = app.read();
    let mailbox = mailbox(&world, index)?;
    let parent = folder(mailbox, parent)?;
    let inside = mailbox.folders[parent as usize].recoverable;
    let hidden = request.option("includehiddenfolders").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let all: Vec<u32> = mailbox
        .children(parent)
        .filter(|c| {
            let f = &mailbox.folders[*c as usize];
            f.recoverable == inside && (inside || hidden || !f.hidden)
        })
        .collect();
    let context = context(app, &world, index, "mailFolders");
    row_lists::skipped(app, request, &context, (&all, 10), |number| Ok(mail_json::folder(mailbox, number, &fields)))
}

/// `GET /users/{id}/mailFolders/{id}`
pub(super) fn folder_get(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    request.allow(&["$select", "$expand"])?;
    let fields = request.select("mailFolder", properties::MAIL_FOLDER)?;
    let world = app.read();
    let mailbox = mailbox(&world, index)?;
    let number = folder(mailbox, id)?;
    let mut body = mail_json::folder(mailbox, number, &fields);
    if let Some(map) = body.as_object_mut() {
        map.shift_insert(0, "@odata.context".into(), context(app, &world, index, "mailFolders/$entity"));
    }
    Ok(Reply::json(body))
}

/// Which properties of messages are wanted.
fn view(request: &Request) -> Result<MessageView, Reply> {
    let fields = request.select("message", properties::MESSAGE)?;
    expanded(fields, request.option("$expand").unwrap_or_default(), request.immutable_ids())
}

pub(super) fn expanded(fields: Fields, expand: &str, immutable: bool) -> Result<MessageView, Reply> {
    let lower = expand.to_ascii_lowercase();
    let size = if lower.contains("'integer 0x0e08'") || lower.contains("'integer 0xe08'") {
        Some("Integer 0xe08")
    } else if lower.contains("'long 0x0e08'") || lower.contains("'long 0xe08'") {
        Some("Long 0xe08")
    } else {
        None
    };
    let attachments = lower.split(',').any(|p| p.trim().starts_with("attachments"));
    if !expand.is_empty() && !attachments && !lower.contains("singlevalueextendedproperties") {
        let name = expand.split(['(', ',']).next().unwrap_or_default();
        let message = format!("Could not find a property named '{name}' on type 'microsoft.graph.message'.");
        return Err(Reply::fail(400, "RequestBroker--ParseUri", &message));
    }
    Ok(MessageView { fields, size, attachments, immutable })
}

/// Says whether a message passes a filter.
pub(super) type Admits = Box<dyn Fn(&Mailbox, u32) -> bool>;

/// `receivedDateTime ge 2026-01-01T00:00:00Z`, `isRead eq false`
pub(super) fn filter(text: Option<&str>) -> Result<Admits, Reply> {
    let Some(text) = text else { return Ok(Box::new(|_, _| true)) };
    if let Some((id, value)) = extended(text) {
        let has = move |m: &Mailbox, k: u32| m.written.get(&k).and_then(|w| w.extended.get(&id)) == Some(&value);
        return Ok(Box::new(has));
    }
    let parts: Vec<&str> = text.split(' ').collect();
    let received = |m: &Mailbox, key: u32| i64::from(m.messages[key as usize].received);
    match (&parts[..], parts.get(2).and_then(|v| times::parse(v))) {
        (["receivedDateTime", "ge", _], Some(at)) => Ok(Box::new(move |m, k| received(m, k) >= at)),
        (["receivedDateTime", "gt", _], Some(at)) => Ok(Box::new(move |m, k| received(m, k) > at)),
        (["receivedDateTime", "le", _], Some(at)) => Ok(Box::new(move |m, k| received(m, k) <= at)),
        (["receivedDateTime", "lt", _], Some(at)) => Ok(Box::new(move |m, k| received(m, k) < at)),
        (["isRead", "eq", "true"], _) => Ok(Box::new(|m, k| m.messages[k as usize].flags & READ != 0)),
        (["isRead", "eq", "false"], _) => Ok(Box::new(|m, k| m.messages[k as usize].flags & READ == 0)),
        _ => {
            Err(Reply::fail(400, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes."))
        }
    }
}

/// `singleValueExtendedProperties/Any(ep: ep/id eq 'String {…} Name X' and ep/value eq 'Y')`
fn extended(filter: &str) -> Option<(String, String)> {
    let rest = filter.strip_prefix("singleValueExtendedProperties/Any(ep: ep/id eq '")?;
    let (id, rest) = rest.split_once("' and ep/value eq '")?;
    Some((id.to_ascii_lowercase(), rest.strip_suffix("')")?.to_owned()))
}

/// `GET /users/{id}/messages` and `/users/{id}/mailFolders/{id}/messages`
pub(super) fn messages(app: &App, request: &Request, index: usize, within: Option<&str>) -> Answer {
    request.allow(&["$select", "$top", "$skip", "$count", "$filter", "$orderby", "$expand"])?;
    let view = view(request)?;
    let admits = filter(request.option("$filter"))?;
    let world = app.read();
    let mailbox = mailbox(&world, index)?;
    let mut all: Vec<u32> = match within {
        Some(id) => shown_keys(mailbox, folder(mailbox, id)?),
        None => {
            let all = mailbox.messages.iter().enumerate();
            all.filter(|(_, m)| mailbox.in_tree(m.folder)).map(|(key, _)| key as u32).collect()
        }
    };
    all.retain(|key| admits(mailbox, *key));
    all.sort_by_key(|key| (std::cmp::Reverse(mailbox.messages[*key as usize].received), *key));
    if request.option("$orderby").is_some_and(|o| o.trim() == "receivedDateTime" || o.ends_with(" asc")) {
        all.reverse();
    }
    let context = context(app, &world, index, "messages");
    row_lists::skipped(app, request, &context, (&all, 10), |key| Ok(mail_json::message(&app.cast, mailbox, key, &view)))
}

/// The messages that a folder shows; a search folder shows the Inbox's.
fn shown_keys(mailbox: &Mailbox, number: u32) -> Vec<u32> {
    let number = if mailbox.folders[number as usize].search { 1 } else { number };
    mailbox.folders[number as usize].keys.iter().copied().collect()
}

/// `GET /users/{id}/messages/{id}`
pub(super) fn message(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    request.allow(&["$select", "$expand"])?;
    let view = view(request)?;
    let world = app.read();
    let mailbox = mailbox(&world, index)?;
    let key = readable(app, request, mailbox, id)?;
    let mut body = mail_json::message(&app.cast, mailbox, key, &view);
    if let Some(map) = body.as_object_mut() {
        map.shift_insert(0, "@odata.context".into(), context(app, &world, index, "messages/$entity"));
        if !map["@odata.type"].as_str().unwrap_or_default().contains("event") {
            map.shift_remove("@odata.type");
        }
    }
    Ok(Reply::json(body))
}

/// Finds a message, unless a lasting fault keeps it from being read.
fn readable(app: &App, request: &Request, mailbox: &Mailbox, id: &str) -> Result<u32, Reply> {
    let key = message_key(mailbox, id)?;
    let lasting = mailbox.message_id(key, 0, true);
    if app.faults.afflicts(&FaultKind::Vanish, &lasting, &request.target) {
        return Err(Reply::mail_not_found());
    }
    if app.faults.afflicts(&FaultKind::Corrupt, &lasting, &request.target) {
        return Err(Reply::fail(500, "ErrorCorruptData", "Data is corrupt., Value cannot be read."));
    }
    Ok(key)
}

/// `GET /users/{id}/messages/{id}/$value`
pub(super) fn message_mime(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    request.allow(&[])?;
    let letter = {
        let world = app.read();
        let mailbox = mailbox(&world, index)?;
        let key = readable(app, request, mailbox, id)?;
        if let Some(written) = mailbox.written.get(&key) {
            return Ok(Reply::bytes("text/plain", written.mime()));
        }
        mailbox.letter(&app.cast, key)
    };
    Ok(Reply::bytes("text/plain", mime::render(&app.cast, &letter)))
}

/// `GET …/attachments`
pub(super) fn attachments(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    request.allow(&["$select", "$top", "$skip", "$count", "$expand"])?;
    let fields = request.select("attachment", properties::ATTACHMENT)?;
    let world = app.read();
    let mailbox = mailbox(&world, index)?;
    let key = readable(app, request, mailbox, id)?;
    let all = mail_json::attachments(&app.cast, mailbox, key, &fields, request.immutable_ids());
    let numbers: Vec<u32> = (0..all.len() as u32).collect();
    let context = context(app, &world, index, "messages/attachments");
    row_lists::skipped(app, request, &context, (&numbers, 1_000), |n| Ok(all[n as usize].clone()))
}

/// `GET …/attachments/{id}` and `…/$value`
pub(super) fn attachment(app: &App, request: &Request, index: usize, ids: (&str, &str), raw: bool) -> Answer {
    request.allow(&["$select", "$expand"])?;
    let world = app.read();
    let mailbox = mailbox(&world, index)?;
    let key = readable(app, request, mailbox, ids.0)?;
    let find = |immutable| {
        let all = mail_json::attachments(&app.cast, mailbox, key, &Fields(None), immutable);
        all.into_iter().enumerate().find(|(_, a)| a["id"] == ids.1)
    };
    let (number, value) = find(false).or_else(|| find(true)).ok_or_else(Reply::mail_not_found)?;
    if raw {
        let bytes = mail_json::attachment_bytes(&app.cast, mailbox, key, number).ok_or_else(Reply::mail_not_found)?;
        return Ok(Reply::bytes("application/octet-stream", bytes));
    }
    Ok(Reply::json(value))
}
