//! The mailbox of a group: threads, posts, attachments.

use serde_json::{Map, Value, json};

use super::app::App;
use super::contacts::object;
use super::content::{Blob, Texture};
use super::letter::Cast;
use super::options::SimOptions;
use super::query::Request;
use super::reply::{Answer, Payload, Reply};
use super::rng::{Rng, hash};
use super::row_lists::{self, List};
use super::shelf::{self, Kind, Shelf, TOP};
use super::{times, words};

/// A thread; its mark counts how often it was locked and unlocked.
pub(super) static THREAD: Kind =
    Kind { name: "conversationThread", id: shelf::exchange_id, json: thread_json, content: shelf::nothing };
/// A post.
pub(super) static POST: Kind = Kind { name: "post", id: shelf::exchange_id, json: post_json, content: shelf::nothing };
/// What is attached to a post. Its mark says what it is: see [`attachment_json`].
pub(super) static ATTACHMENT: Kind =
    Kind { name: "attachment", id: shelf::exchange_id, json: attachment_json, content: bytes };

const FILE: u32 = 0;
const INLINE: u32 = 1;
const EMPTY: u32 = 2;
const ITEM: u32 = 3;
const REFERENCE: u32 = 4;

/// Fills the mailbox of a group.
pub(super) fn populate(options: &SimOptions, seed: u64) -> Shelf {
    let mut shelf = Shelf::new(hash(seed, &[0xc04]));
    let mut rng = Rng::new(shelf.seed, &[1]);
    for number in 0..(options.messages / 8).max(3) {
        let age = (rng.unit() * 300.0 * times::DAY as f64) as i64;
        let thread = shelf.add(&THREAD, TOP, times::EPOCH - times::DAY - age, 0);
        for reply in 0..1 + rng.below(4) {
            add_post(&mut shelf, thread, times::EPOCH - times::DAY - age + reply as i64 * 3_600, number % 6);
        }
    }
    shelf.begin();
    shelf
}

/// Adds a post; the first ones of the first threads have attachments of every kind.
fn add_post(shelf: &mut Shelf, thread: u32, time: i64, way: u32) {
    let post = shelf.add(&POST, thread, time, 0);
    let kinds: &[u32] = match way {
        1 => &[FILE, EMPTY],
        2 => &[INLINE],
        3 => &[ITEM, FILE],
        4 => &[REFERENCE, INLINE],
        _ => &[],
    };
    for kind in kinds {
        shelf.add(&ATTACHMENT, post, time, *kind);
    }
}

/// What a day brings.
pub(super) fn day(shelf: &mut Shelf, options: &SimOptions, now: i64, rng: &mut Rng) {
    for number in 0..options.script.others {
        let thread = shelf.add(&THREAD, TOP, now - 7_200, 0);
        add_post(shelf, thread, now - 7_200, rng.below(6) as u32);
        if let Some(thread) = shelf.any(&THREAD, rng) {
            add_post(shelf, thread, now - 60 - i64::from(number), rng.below(6) as u32);
        }
    }
    for _ in 0..options.script.others.div_ceil(2) {
        if let Some(thread) = shelf.any(&THREAD, rng) {
            shelf.delete(thread);
        }
        if let Some(thread) = shelf.any(&THREAD, rng) {
            shelf.things[thread as usize].mark += 1;
            shelf.edit(thread, now);
        }
    }
}

fn posts(shelf: &Shelf, thread: u32) -> Vec<u32> {
    shelf.below(&POST, thread).collect()
}

fn is_attached(shelf: &Shelf, post: u32) -> bool {
    // What is shown in the text does not count.
    shelf.below(&ATTACHMENT, post).any(|number| shelf.thing(number).mark != INLINE)
}

fn sender(cast: &Cast, shelf: &Shelf, post: u32) -> Value {
    let person = shelf.rng(post).pick(&cast.people).clone();
    json!({"emailAddress": {"name": person.name, "address": person.address}})
}

fn thread_json(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let posts = posts(shelf, number);
    let last = posts.iter().copied().max_by_key(|post| shelf.thing(*post).created);
    let mut senders: Vec<String> = Vec::new();
    for post in &posts {
        let name = sender(cast, shelf, *post)["emailAddress"]["name"].as_str().unwrap_or_default().to_owned();
        if !senders.contains(&name) {
            senders.push(name);
        }
    }
    // The topic of a thread never changes.
    let mut rng = Rng::new(shelf.thing(number).seed, &[7]);
    let topic = if rng.chance(0.15) { (*rng.pick(words::FOREIGN)).to_owned() } else { words::title(&mut rng, 4) };
    object(json!({
        "id": shelf.id(number),
        "toRecipients": [{"emailAddress": {"name": "Group", "address": format!("group@{}", cast.domain)}}],
        "ccRecipients": [],
        "topic": topic,
        "hasAttachments": posts.iter().any(|post| is_attached(shelf, *post)),
        "lastDeliveredDateTime": times::graph(last.map_or(0, |post| shelf.thing(post).created)),
        "uniqueSenders": senders,
        "preview": last.map(|post| words::title(&mut shelf.rng(post), 6)),
        "isLocked": shelf.thing(number).mark % 2 == 1,
    }))
}

fn post_json(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let mut rng = shelf.rng(number);
    let from = sender(cast, shelf, number);
    let inline = shelf.below(&ATTACHMENT, number).find(|number| shelf.thing(*number).mark == INLINE);
    let picture = inline.map_or(String::new(), |number| format!("<img src=\"cid:{}\">", content_id(number)));
    let text = words::title(&mut rng, 12);
    object(json!({
        "@odata.etag": format!("W/\"{}\"", shelf.change_key(number)),
        "id": shelf.id(number),
        "createdDateTime": times::graph(thing.created),
        "lastModifiedDateTime": times::graph(thing.changed),
        "changeKey": shelf.change_key(number),
        "categories": [],
        "receivedDateTime": times::graph(thing.created),
        "hasAttachments": is_attached(shelf, number),
        "body": {"contentType": "html", "content": format!("<html><body><div>{text}{picture}</div></body></html>")},
        "from": if thing.seed.is_multiple_of(11) { Value::Null } else { from.clone() },
        "sender": from,
        "conversationId": shelf::exchange_id(hash(shelf.seed, &[1]), thing.parent),
        "conversationThreadId": shelf.id(thing.parent),
        "newParticipants": [],
    }))
}

fn content_id(number: u32) -> String {
    format!("image{number:03}.png@01DC0000")
}

/// Without the bytes, which the list gives only when nothing is selected.
fn attachment_json(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let (kind, name, mime) = match thing.mark {
        FILE => ("file", format!("{}.pdf", words::title(&mut shelf.rng(number), 2)), Some("application/pdf")),
        EMPTY => ("file", "leer.txt".to_owned(), Some("text/plain")),
        INLINE => ("file", "image.png".to_owned(), Some("image/png")),
        ITEM => ("item", "Forwarded message".to_owned(), Some("message/rfc822")),
        _ => ("reference", "Plan.xlsx".to_owned(), None),
    };
    let mut row = object(json!({
        "@odata.type": format!("#microsoft.graph.{kind}Attachment"),
        "id": shelf.id(number),
        "lastModifiedDateTime": times::graph(thing.created),
        "name": name,
        "contentType": mime,
        "size": shelf.content(cast, number).map_or(0, |blob| blob.len()) + 120,
        "isInline": thing.mark == INLINE,
    }));
    if kind == "file" {
        let id = if thing.mark == INLINE { json!(content_id(number)) } else { Value::Null };
        row.insert("contentId".into(), id);
        row.insert("contentLocation".into(), Value::Null);
    }
    row
}

fn bytes(cast: &Cast, shelf: &Shelf, number: u32) -> Option<Blob> {
    let thing = shelf.thing(number);
    let most = cast.contents.attachment_max_bytes.max(1);
    let len = (cast.contents.attachment_bytes as u64 + thing.seed % 4_000).min(most);
    match thing.mark {
        EMPTY => Some(Blob::new(Texture::Text, 0, 0)),
        REFERENCE => None,
        ITEM => Some(Blob::new(Texture::Text, thing.seed, len)),
        _ => Some(Blob::new(Texture::Mixed, thing.seed, len)),
    }
}

fn find(shelf: &Shelf, kind: &Kind, id: &str, parent: u32) -> Answer<u32> {
    shelf.find(kind, id).filter(|number| shelf.thing(*number).parent == parent).ok_or_else(Reply::mail_not_found)
}

fn list(app: &App, request: &Request, shelf: &Shelf, (kind, numbers): (&Kind, Vec<u32>), context: &str) -> Answer {
    request.allow(&["$select", "$top", "$skip", "$skiptoken", "$orderby", "$count", "$expand"])?;
    let page = (app.options.pages.messages.min(20), 1_000);
    row_lists::page_of(app, request, &List { entity: kind.name, page, context, path: "" }, numbers, |number| {
        row_lists::selected(request, kind.name, shelf.json(&app.cast, number), &[])
    })
}

/// `GET /groups/{id}/threads`
pub(super) fn threads(app: &App, request: &Request, group: usize) -> Answer {
    let world = app.read();
    let group = &world.groups[group];
    let mut all: Vec<u32> = group.mail.all(&THREAD).collect();
    let last = |thread: u32| posts(&group.mail, thread).iter().map(|post| group.mail.thing(*post).created).max();
    all.sort_by_key(|thread| std::cmp::Reverse(last(*thread)));
    let context = format!("groups('{}')/threads", group.id);
    list(app, request, &group.mail, (&THREAD, all), &context)
}

/// `GET /groups/{id}/threads/{id}`
pub(super) fn thread(app: &App, request: &Request, group: usize, thread: &str) -> Answer {
    request.allow(&["$select"])?;
    let world = app.read();
    let group = &world.groups[group];
    let number = find(&group.mail, &THREAD, thread, TOP)?;
    let row = row_lists::selected(request, THREAD.name, group.mail.json(&app.cast, number), &[])?;
    Ok(row_lists::single(app, &format!("groups('{}')/threads/$entity", group.id), row))
}

/// `GET /groups/{id}/threads/{id}/posts`
pub(super) fn thread_posts(app: &App, request: &Request, group: usize, thread: &str) -> Answer {
    let world = app.read();
    let group = &world.groups[group];
    let number = find(&group.mail, &THREAD, thread, TOP)?;
    let context = format!("groups('{}')/threads('{thread}')/posts", group.id);
    list(app, request, &group.mail, (&POST, posts(&group.mail, number)), &context)
}

/// `GET /groups/{id}/threads/{id}/posts/{id}/attachments`
pub(super) fn attachments(app: &App, request: &Request, group: usize, (thread, post): (&str, &str)) -> Answer {
    request.allow(&["$select", "$top", "$skiptoken"])?;
    let world = app.read();
    let group = &world.groups[group];
    let thread = find(&group.mail, &THREAD, thread, TOP)?;
    let post = find(&group.mail, &POST, post, thread)?;
    let mut rows = Vec::new();
    for number in group.mail.below(&ATTACHMENT, post) {
        let mut row = group.mail.json(&app.cast, number);
        match request.option("$select") {
            Some(text) => cut(text, &mut row)?,
            None if row.contains_key("contentId") => {
                use base64::Engine as _;
                let blob = group.mail.content(&app.cast, number).map(|blob| blob.bytes()).unwrap_or_default();
                let text = base64::engine::general_purpose::STANDARD.encode(blob);
                row.insert("contentBytes".into(), text.into());
            }
            None => {}
        }
        rows.push(row.into());
    }
    let context = format!("groups('{}')/attachments", group.id);
    row_lists::page(app, request, &List { entity: "attachment", page: (100, 1_000), context: &context, path: "" }, rows)
}

/// Keeps what `$select` names; properties of one type of attachment are named with it.
fn cut(text: &str, row: &mut Map<String, Value>) -> Result<(), Reply> {
    const KNOWN: &[&str] = &["id", "lastModifiedDateTime", "name", "contentType", "size", "isInline"];
    const OF_FILES: &[&str] = &["contentId", "contentLocation", "contentBytes"];
    let mut names = Vec::new();
    for name in text.split(',').map(str::trim) {
        match name.strip_prefix("microsoft.graph.fileAttachment/") {
            Some(name) if OF_FILES.contains(&name) => names.push(name),
            None if KNOWN.contains(&name) => names.push(name),
            _ => {
                let text = format!("Could not find a property named '{name}' on type 'microsoft.graph.attachment'.");
                return Err(Reply::fail(400, "RequestBroker--ParseUri", &text));
            }
        }
    }
    row.retain(|name, _| name.starts_with('@') || name == "id" || names.contains(&name.as_str()));
    Ok(())
}

/// `GET /groups/{id}/threads/{id}/posts/{id}/attachments/{id}/$value`
pub(super) fn attachment_value(app: &App, group: usize, thread: &str, post: &str, id: &str) -> Answer {
    let world = app.read();
    let shelf = &world.groups[group].mail;
    let thread = find(shelf, &THREAD, thread, TOP)?;
    let post = find(shelf, &POST, post, thread)?;
    let number = find(shelf, &ATTACHMENT, id, post)?;
    let blob = shelf.content(&app.cast, number).ok_or_else(|| {
        Reply::fail(400, "ErrorInvalidRequest", "Raw contents of a reference attachment cannot be read.")
    })?;
    let len = blob.len();
    Ok(Reply { status: 200, headers: Vec::new(), payload: Payload::Blob(blob, 0, len) })
}
