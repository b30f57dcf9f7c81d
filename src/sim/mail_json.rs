//! Messages, folders and attachments as Graph shows them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::letter::{Attachment, Cast, Letter, Person, Shape};
use super::mailbox::{CATEGORIES, DRAFT, FLAGGED, Mailbox, READ};
use super::mime;
use super::query::Fields;
use super::rng::{hash, mix};
use super::times;
use super::written::Written;

/// Which properties and extras of messages an answer carries.
#[derive(Debug, Clone, Default)]
pub(super) struct MessageView {
    pub(super) fields: Fields,
    /// The id under which the message size was asked for: `Integer 0xe08`.
    pub(super) size: Option<&'static str>,
    pub(super) attachments: bool,
    pub(super) immutable: bool,
}

fn recipient(person: &Person) -> Value {
    json!({"emailAddress": {"name": person.name, "address": person.address}})
}

fn recipients(people: &[Person]) -> Value {
    people.iter().map(recipient).collect()
}

/// A message.
pub(super) fn message(cast: &Cast, mailbox: &Mailbox, key: u32, view: &MessageView) -> Value {
    let state = &mailbox.messages[key as usize];
    if let Some(written) = mailbox.written.get(&key) {
        return written_message(mailbox, key, written, view);
    }
    let letter = mailbox.letter(cast, key);
    let given = |name: &str| mailbox.states.get(&key).and_then(|state| state.get(name)).cloned();
    let mut out = Map::new();
    match letter.shape {
        Shape::Meeting => out.insert("@odata.type".into(), "#microsoft.graph.eventMessageRequest".into()),
        _ => out.insert("@odata.type".into(), "#microsoft.graph.message".into()),
    };
    let change_key = mailbox.change_key(key);
    out.insert("@odata.etag".into(), format!("W/\"{change_key}\"").into());
    let id = mailbox.message_id(key, state.moves, view.immutable);
    let mut put = |name: &str, make: &dyn Fn() -> Value| {
        if view.fields.wants(name) {
            out.insert(name.into(), make());
        }
    };
    put("createdDateTime", &|| times::graph(state.received.into()).into());
    put("lastModifiedDateTime", &|| times::graph(state.changed.into()).into());
    put("changeKey", &|| change_key.clone().into());
    put("categories", &|| match (given("categories"), state.category) {
        (Some(given), _) => given,
        (None, 0) => json!([]),
        (None, n) => json!([CATEGORIES.get(usize::from(n)).copied().unwrap_or_default()]),
    });
    put("receivedDateTime", &|| times::graph(state.received.into()).into());
    put("sentDateTime", &|| times::graph(i64::from(state.received) - 4).into());
    put("hasAttachments", &|| letter.has_attachments().into());
    put("internetMessageId", &|| letter.message_id.clone().into());
    put("subject", &|| letter.subject.clone().into());
    put("bodyPreview", &|| letter.preview().into());
    let importance = if letter.high_importance { "high" } else { "normal" };
    put("importance", &|| given("importance").unwrap_or_else(|| importance.into()));
    put("parentFolderId", &|| mailbox.folder_id(state.folder).into());
    put("conversationId", &|| format!("AAQkAD{:016x}{:016x}=", mix(letter.conversation), mailbox.seed).into());
    put("conversationIndex", &|| STANDARD.encode(mix(letter.conversation).to_be_bytes()).into());
    put("isDeliveryReceiptRequested", &|| false.into());
    put("isReadReceiptRequested", &|| false.into());
    put("isRead", &|| (state.flags & READ != 0).into());
    put("isDraft", &|| (state.flags & DRAFT != 0).into());
    put("webLink", &|| {
        format!("https://outlook.office365.com/owa/?ItemID={id}&exvsurl=1&viewmodel=ReadMessageItem").into()
    });
    let inference = if key.is_multiple_of(4) { "other" } else { "focused" };
    put("inferenceClassification", &|| given("inferenceClassification").unwrap_or_else(|| inference.into()));
    if letter.shape == Shape::Meeting {
        put("meetingMessageType", &|| "meetingRequest".into());
    }
    put("body", &|| body(&letter));
    put("sender", &|| recipient(&letter.sender));
    put("from", &|| recipient(&letter.sender));
    put("toRecipients", &|| recipients(&letter.to));
    put("ccRecipients", &|| recipients(&letter.cc));
    put("bccRecipients", &|| json!([]));
    put("replyTo", &|| json!([]));
    let flag = json!({"flagStatus": if state.flags & FLAGGED != 0 { "flagged" } else { "notFlagged" }});
    put("flag", &|| given("flag").unwrap_or_else(|| flag.clone()));
    if view.fields.asks("internetMessageHeaders") {
        out.insert("internetMessageHeaders".into(), headers(cast, &letter));
    }
    if view.fields.asks("uniqueBody") {
        out.insert("uniqueBody".into(), body(&letter));
    }
    out.insert("id".into(), id.clone().into());
    if let Some(name) = view.size {
        let size = letter.store_size().to_string();
        out.insert("singleValueExtendedProperties".into(), json!([{"id": name, "value": size}]));
    }
    if view.attachments {
        out.insert("attachments".into(), attachments(cast, mailbox, key, &Fields(None), view.immutable).into());
    }
    out.into()
}

/// A message that a client wrote.
fn written_message(mailbox: &Mailbox, key: u32, written: &Written, view: &MessageView) -> Value {
    let state = &mailbox.messages[key as usize];
    let given = |name: &str| mailbox.states.get(&key).and_then(|state| state.get(name)).cloned();
    let get = |name: &str, usual: Value| given(name).unwrap_or_else(|| written.get(name, usual));
    let change_key = mailbox.change_key(key);
    let id = mailbox.message_id(key, state.moves, view.immutable);
    let conversation = hash(mailbox.seed, &[0xc0, key.into()]);
    let all = json!({
        "createdDateTime": times::graph(state.changed.into()),
        "lastModifiedDateTime": times::graph(state.changed.into()),
        "changeKey": change_key,
        "categories": get("categories", json!([])),
        "receivedDateTime": times::graph(state.received.into()),
        "sentDateTime": times::graph(written.sent),
        "hasAttachments": written.has_attachments(),
        "internetMessageId": written.text("internetMessageId"),
        "subject": written.text("subject"),
        "bodyPreview": written.preview(),
        "importance": get("importance", json!("normal")),
        "parentFolderId": mailbox.folder_id(state.folder),
        "conversationId": format!("AAQkAD{conversation:016x}{:016x}=", mailbox.seed),
        "conversationIndex": STANDARD.encode(conversation.to_be_bytes()),
        "isDeliveryReceiptRequested": get("isDeliveryReceiptRequested", json!(false)),
        "isReadReceiptRequested": get("isReadReceiptRequested", json!(false)),
        "isRead": state.flags & READ != 0,
        "isDraft": written.draft,
        "webLink": format!("https://outlook.office365.com/owa/?ItemID={id}&exvsurl=1&viewmodel=ReadMessageItem"),
        "inferenceClassification": get("inferenceClassification", json!("focused")),
        "body": get("body", json!({"contentType": "text", "content": ""})),
        "sender": written.get("sender", written.get("from", Value::Null)),
        "from": get("from", Value::Null),
        "toRecipients": get("toRecipients", json!([])),
        "ccRecipients": get("ccRecipients", json!([])),
        "bccRecipients": get("bccRecipients", json!([])),
        "replyTo": get("replyTo", json!([])),
        "flag": get("flag", json!({"flagStatus": "notFlagged"})),
    });
    let mut out = Map::new();
    out.insert("@odata.type".into(), "#microsoft.graph.message".into());
    out.insert("@odata.etag".into(), format!("W/\"{change_key}\"").into());
    let all = all.as_object().cloned().unwrap_or_default();
    out.extend(all.into_iter().filter(|(name, _)| view.fields.wants(name)));
    out.insert("id".into(), id.into());
    if let Some(name) = view.size {
        let size = written.store_size().to_string();
        out.insert("singleValueExtendedProperties".into(), json!([{"id": name, "value": size}]));
    }
    if view.attachments {
        out.insert(
            "attachments".into(),
            written_attachments(mailbox, key, written, &Fields(None), view.immutable).into(),
        );
    }
    out.into()
}

fn written_attachments(mailbox: &Mailbox, key: u32, written: &Written, fields: &Fields, immutable: bool) -> Vec<Value> {
    let at = times::graph(mailbox.messages[key as usize].changed.into());
    let row = |(number, file)| {
        let mut map = Written::attachment_json(file, &at);
        map.retain(|name, _| name.starts_with('@') || fields.wants(name));
        map.insert("id".into(), attachment_id(mailbox, key, number, immutable).into());
        map.into()
    };
    written.attachments.iter().enumerate().map(row).collect()
}

fn body(letter: &Letter) -> Value {
    match letter.shape {
        Shape::Empty => json!({"contentType": "text", "content": ""}),
        Shape::Plain => json!({"contentType": "text", "content": letter.paragraphs().join("\r\n\r\n")}),
        _ => json!({"contentType": "html", "content": mime::html(letter)}),
    }
}

/// The headers of the MIME stream, unfolded.
fn headers(cast: &Cast, letter: &Letter) -> Value {
    let bytes = mime::render(cast, letter);
    let text = String::from_utf8_lossy(&bytes);
    let head = text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ").replace("\r\n\t", " ");
    let pairs = head.split("\r\n").filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| json!({"name": name, "value": value.trim()})).collect()
}

/// A message that left its folder.
pub(super) fn removed(mailbox: &Mailbox, key: u32, moves: u16, immutable: bool) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.message",
        "id": mailbox.message_id(key, moves, immutable),
        "@removed": {"reason": "deleted"},
    })
}

/// A mail folder.
pub(super) fn folder(mailbox: &Mailbox, number: u32, fields: &Fields) -> Value {
    let state = &mailbox.folders[number as usize];
    let mut out = Map::new();
    if state.search {
        out.insert("@odata.type".into(), "#microsoft.graph.mailSearchFolder".into());
    }
    out.insert("id".into(), mailbox.folder_id(number).into());
    let shown = mailbox.children(number).filter(|c| !mailbox.folders[*c as usize].recoverable || state.recoverable);
    let children = shown.count();
    let counted = if state.search { &mailbox.folders[1] } else { state };
    let mut put = |name: &str, value: Value| {
        if fields.wants(name) {
            out.insert(name.into(), value);
        }
    };
    put("displayName", state.name.clone().into());
    put("parentFolderId", mailbox.folder_id(state.parent).into());
    put("childFolderCount", children.into());
    put("unreadItemCount", counted.unread.into());
    put("totalItemCount", counted.keys.len().into());
    put("isHidden", state.hidden.into());
    if state.search {
        put("isSupported", true.into());
        put("includeNestedFolders", true.into());
        put("sourceFolderIds", json!([mailbox.folder_id(1)]));
        put("filterQuery", "contains(subject, 'weekly digest')".into());
    }
    out.into()
}

/// The id of an attachment: that of its message and more.
fn attachment_id(mailbox: &Mailbox, key: u32, number: usize, immutable: bool) -> String {
    let message = mailbox.message_id(key, mailbox.messages[key as usize].moves, immutable);
    let end = hash(mailbox.seed, &[key.into(), number as u64]).to_be_bytes();
    let end = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(end);
    format!("{}ABEgAQ{end}AQ=", message.trim_end_matches('='))
}

/// The attachments of a message; a forwarded message comes last.
pub(super) fn attachments(cast: &Cast, mailbox: &Mailbox, key: u32, fields: &Fields, immutable: bool) -> Vec<Value> {
    if let Some(written) = mailbox.written.get(&key) {
        return written_attachments(mailbox, key, written, fields, immutable);
    }
    let letter = mailbox.letter(cast, key);
    let at = times::graph(mailbox.messages[key as usize].received.into());
    let mut out: Vec<Value> = letter.attachments.iter().map(|a| file_attachment(a, fields, &at)).collect();
    if letter.shape == Shape::Forward {
        let inner = letter.inner(cast);
        let mut map = Map::new();
        map.insert("@odata.type".into(), "#microsoft.graph.itemAttachment".into());
        let size: Value = inner.store_size().into();
        for (name, value) in [("name", inner.subject.into()), ("contentType", Value::Null), ("size", size)] {
            if fields.wants(name) {
                map.insert(name.into(), value);
            }
        }
        if fields.wants("isInline") {
            map.insert("isInline".into(), false.into());
        }
        out.push(map.into());
    }
    for (number, value) in out.iter_mut().enumerate() {
        if let Some(map) = value.as_object_mut() {
            map.insert("id".into(), attachment_id(mailbox, key, number, immutable).into());
        }
    }
    out
}

fn file_attachment(file: &Attachment, fields: &Fields, at: &str) -> Value {
    let mut map = Map::new();
    map.insert("@odata.type".into(), "#microsoft.graph.fileAttachment".into());
    map.insert("@odata.mediaContentType".into(), file.mime.into());
    let mut put = |name: &str, value: Value| {
        if fields.wants(name) {
            map.insert(name.into(), value);
        }
    };
    put("lastModifiedDateTime", at.into());
    put("name", file.name.clone().into());
    put("contentType", file.mime.into());
    put("size", (file.blob.len() + 250).into());
    put("isInline", file.content_id.is_some().into());
    put("contentId", file.content_id.clone().into());
    put("contentLocation", Value::Null);
    if fields.wants("contentBytes") {
        put("contentBytes", STANDARD.encode(file.blob.bytes()).into());
    }
    map.into()
}

/// The bytes of an attachment: a file's, or a forwarded message's MIME stream.
pub(super) fn attachment_bytes(cast: &Cast, mailbox: &Mailbox, key: u32, number: usize) -> Option<Vec<u8>> {
    if let Some(written) = mailbox.written.get(&key) {
        return written.attachments.get(number).map(|file| file.bytes.to_vec());
    }
    let letter = mailbox.letter(cast, key);
    match letter.attachments.get(number) {
        Some(file) => Some(file.blob.bytes()),
        None if letter.shape == Shape::Forward && number == letter.attachments.len() => {
            Some(mime::render(cast, &letter.inner(cast)))
        }
        None => None,
    }
}
