//! Writing mail: folders, messages, their state, attachments. Times are the tenant's own.

use std::sync::Arc;

use serde_json::{Value, json};

use super::app::App;
use super::mail::{folder, mailbox};
use super::mail_json::{self, MessageView};
use super::mailbox::{DRAFT, FLAGGED, GONE, Mailbox, READ};
use super::query::{Fields, Request};
use super::reply::{Answer, Reply};
use super::state::World;
use super::uploads::{Into, Session};
use super::written::{self, Enclosure, object, only};

/// Attachments of 3 MB and more come in a session, up to this.
const SESSION_BYTES: u64 = 150 << 20;

fn created(body: Value) -> Answer {
    Ok(Reply { status: 201, ..Reply::json(body) })
}

/// The mailbox of a user for writing.
fn writable(world: &mut World, index: usize) -> Result<&mut Mailbox, Reply> {
    mailbox(world, index)?;
    world.users[index].mailbox.as_deref_mut().ok_or_else(Reply::mail_not_found)
}

fn takes(mailbox: &mut Mailbox, bytes: usize) -> Result<(), Reply> {
    let Some(room) = &mut mailbox.room else { return Ok(()) };
    match room.checked_sub(bytes) {
        Some(left) => {
            *room = left;
            Ok(())
        }
        None => Err(Reply::fail(507, "ErrorQuotaExceeded", "The mailbox has reached its maximum size.")),
    }
}

/// `POST /users/{id}/mailFolders` and `…/childFolders`
pub(super) fn create_folder(app: &App, request: &Request, index: usize, parent: &str) -> Answer {
    let map = object(&request.body)?;
    only(&map, &["displayName", "isHidden"], "mailFolder")?;
    let name = map.get("displayName").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(Reply::fail(400, "ErrorFolderNameRequired", "The folder needs a name."));
    }
    let mut world = app.write();
    let mailbox = writable(&mut world, index)?;
    let parent = folder(mailbox, parent)?;
    let same = |child: u32| mailbox.folders[child as usize].name.to_lowercase() == name.to_lowercase();
    if mailbox.children(parent).any(same) {
        return Err(Reply::fail(409, "ErrorFolderExists", "A folder with the specified name already exists."));
    }
    let number = mailbox.add_folder(&name, parent, None);
    mailbox.folders[number as usize].hidden = map.get("isHidden") == Some(&Value::Bool(true));
    mailbox.folder_log.push(parent);
    created(mail_json::folder(mailbox, number, &Fields::default()))
}

/// `DELETE /users/{id}/mailFolders/{id}`
pub(super) fn delete_folder(app: &App, index: usize, id: &str) -> Answer {
    let mut world = app.write();
    let now = world.now();
    let mailbox = writable(&mut world, index)?;
    let number = folder(mailbox, id)?;
    if mailbox.folders[number as usize].well_known.is_some() {
        return Err(Reply::fail(400, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted."));
    }
    mailbox.delete_folder(number, now);
    Ok(Reply::status(204))
}

/// `POST /users/{id}/mailFolders/{id}/messages`: a draft dated now, unless extended properties say otherwise.
pub(super) fn create_message(app: &App, request: &Request, index: usize, within: &str) -> Answer {
    if !request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(Reply::fail(415, "RequestBodyRead", "A missing or unsupported content type."));
    }
    let mut world = app.write();
    let now = world.now();
    let posted = written::posted(&request.body, now)?;
    let cast = world.cast.clone();
    let mailbox = writable(&mut world, index)?;
    let number = folder(mailbox, within)?;
    takes(mailbox, posted.written.store_size())?;
    let mut flags = if posted.read { READ } else { 0 };
    if posted.written.draft {
        flags |= DRAFT;
    }
    let key = mailbox.add_message(number, posted.received, flags);
    let mut written = posted.written;
    if written.text("internetMessageId").is_empty() {
        let id = format!("<{:016X}.{key}@made.prod.outlook.com>", mailbox.seed);
        written.properties.insert("internetMessageId".into(), id.into());
    }
    if written.properties.get("flag").is_some_and(|flag| flag["flagStatus"] == "flagged") {
        mailbox.messages[key as usize].flags |= FLAGGED;
    }
    mailbox.messages[key as usize].changed = now as u32;
    mailbox.written.insert(key, Arc::new(written));
    created(mail_json::message(&cast, mailbox, key, &view(request)))
}

fn view(request: &Request) -> MessageView {
    MessageView { immutable: request.immutable_ids(), ..MessageView::default() }
}

fn key_of(mailbox: &Mailbox, id: &str) -> Result<u32, Reply> {
    mailbox.find(id).ok_or_else(Reply::mail_not_found)
}

/// `PATCH /users/{id}/messages/{id}`: state; of a draft that a client made also the subject.
pub(super) fn patch_message(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    let map = object(&request.body)?;
    only(&map, &["isRead", "categories", "flag", "importance", "inferenceClassification", "subject"], "message")?;
    let mut world = app.write();
    let now = world.now();
    let cast = world.cast.clone();
    let mailbox = writable(&mut world, index)?;
    let key = key_of(mailbox, id)?;
    if let Some(subject) = map.get("subject") {
        let draft = mailbox.written.get_mut(&key).filter(|written| written.draft);
        let fixed = || Reply::fail(400, "ErrorInvalidPropertySet", "The subject can be set of a draft alone.");
        Arc::make_mut(draft.ok_or_else(fixed)?).properties.insert("subject".to_owned(), subject.clone());
    }
    let state = mailbox.states.entry(key).or_default();
    for name in ["categories", "flag", "importance", "inferenceClassification"] {
        if let Some(value) = map.get(name) {
            state.insert(name.to_owned(), value.clone());
        }
    }
    let read = map.get("isRead").and_then(Value::as_bool);
    mailbox.change(key, now, |message| {
        if let Some(read) = read {
            message.flags = if read { message.flags | READ } else { message.flags & !READ };
        }
    });
    Ok(Reply::json(mail_json::message(&cast, mailbox, key, &view(request))))
}

/// `POST /users/{id}/messages/{id}/move`
pub(super) fn move_message(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    let map = object(&request.body)?;
    only(&map, &["destinationId"], "move")?;
    let mut world = app.write();
    let now = world.now();
    let cast = world.cast.clone();
    let mailbox = writable(&mut world, index)?;
    let key = key_of(mailbox, id)?;
    let to = folder(mailbox, map.get("destinationId").and_then(Value::as_str).unwrap_or_default())?;
    mailbox.relocate(key, to, now);
    created(mail_json::message(&cast, mailbox, key, &view(request)))
}

/// `DELETE /users/{id}/messages/{id}`: into the Recoverable Items, out of sight.
pub(super) fn delete_message(app: &App, index: usize, id: &str) -> Answer {
    let mut world = app.write();
    let now = world.now();
    let mailbox = writable(&mut world, index)?;
    let key = key_of(mailbox, id)?;
    let bin = mailbox.find_folder("recoverableitemsdeletions");
    let inside = bin == Some(mailbox.messages[key as usize].folder);
    mailbox.relocate(key, bin.filter(|_| !inside).unwrap_or(GONE), now);
    Ok(Reply::status(204))
}

/// Adds a file to a written message.
pub(super) fn attach(app: &App, index: usize, key: u32, file: Enclosure) -> Answer<Value> {
    let mut world = app.write();
    let now = world.now();
    let cast = world.cast.clone();
    let mailbox = writable(&mut world, index)?;
    takes(mailbox, file.bytes.len())?;
    let old = mailbox.written.get(&key).cloned().ok_or_else(|| {
        Reply::fail(400, "ErrorInvalidOperation", "This simulation takes attachments at messages that were written.")
    })?;
    let new = written::Written {
        properties: old.properties.clone(),
        draft: old.draft,
        sent: old.sent,
        attachments: old.attachments.iter().cloned().chain([file]).collect(),
        extended: old.extended.clone(),
    };
    mailbox.written.insert(key, Arc::new(new));
    mailbox.change(key, now, |_| ());
    Ok(mail_json::attachments(&cast, mailbox, key, &Fields::default(), true).pop().unwrap_or(Value::Null))
}

/// `POST /users/{id}/messages/{id}/attachments`
pub(super) fn create_attachment(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    let file = written::enclosure(&Value::Object(object(&request.body)?))?;
    let key = key_of(mailbox(&app.read(), index)?, id)?;
    created(attach(app, index, key, file)?)
}

/// `POST /users/{id}/messages/{id}/attachments/createUploadSession`
pub(super) fn attachment_session(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    let map = object(&request.body)?;
    only(&map, &["AttachmentItem"], "createUploadSession")?;
    let item = map.get("AttachmentItem").and_then(Value::as_object).cloned().unwrap_or_default();
    let known = ["attachmentType", "name", "size", "isInline", "contentId", "contentType"];
    only(&item, &known, "attachmentItem")?;
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    let size = item.get("size").and_then(Value::as_u64).unwrap_or(0);
    if item.get("attachmentType") != Some(&json!("file")) || text("name").is_none() || size == 0 {
        return Err(Reply::fail(400, "ErrorInvalidParameter", "attachmentType, name and size are needed."));
    }
    if size > SESSION_BYTES {
        return Err(Reply::fail(413, "ErrorAttachmentSizeLimitExceeded", "The attachment is too large."));
    }
    let key = key_of(mailbox(&app.read(), index)?, id)?;
    let file = Enclosure {
        name: text("name").unwrap_or_default(),
        mime: text("contentType").unwrap_or_else(|| "application/octet-stream".into()),
        bytes: bytes::Bytes::new(),
        inline: item.get("isInline") == Some(&Value::Bool(true)),
        content_id: text("contentId"),
    };
    let url = app.uploads.begin(app, Session::new(size, Into::Message { index, key, file }));
    created(json!({"uploadUrl": url, "expirationDateTime": "2099-01-01T00:00:00Z", "nextExpectedRanges": ["0-"]}))
}
