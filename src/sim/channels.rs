//! What is said in channels and chats: messages, replies, pictures. A message's parent is nothing (in a channel), the
//! message that it answers, or a chat.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use serde_json::{Map, Value, json};

use super::app::App;
use super::chats::CHAT;
use super::contacts::object;
use super::content::{Blob, Texture};
use super::letter::Cast;
use super::mail_delta::{page_body, stand};
use super::options::SimOptions;
use super::query::Request;
use super::reply::{Answer, Payload, Reply};
use super::rng::{Rng, guid, hash, hash_text};
use super::row_lists::{self, List};
use super::shelf::{self, Kind, Shelf, ShelfLog, TOP};
use super::state::user_id;
use super::team::{self, knows_unknown};
use super::token::{self, Logged, Token};
use super::{times, words};

/// A message or reply; its mark: see below. Its id is a number that other channels have too.
pub(super) static MESSAGE: Kind = Kind {
    name: "chatMessage",
    id: |_, number| (1_616_963_377_068 + u64::from(number) * 1_111).to_string(),
    json: message_json,
    content: shelf::nothing,
};
/// A picture in a message.
pub(super) static HOSTED: Kind =
    Kind { name: "chatMessageHostedContent", id: hosted_id, json: hosted_json, content: picture };

/// Its author took it away.
const DELETED: u32 = 1;
/// The service wrote it: somebody joined.
const SYSTEM: u32 = 2;
/// A bot wrote it, with a card.
const BOT: u32 = 4;
/// Delta tells only of messages that are not older than this (eight months).
const DELTA_REACH: i64 = 240 * times::DAY;

fn hosted_id(seed: u64, number: u32) -> String {
    let name = hash(seed, &[0x405, number.into()]);
    B64.encode(format!("id=x_0-wus-d1-{name:016x},type=1,url=https://us-api.asm.skype.com/v1/objects/{number}?>~"))
}

/// Fills a channel. `path` is that of the channel, as Graph has it.
pub(super) fn populate(options: &SimOptions, seed: u64, path: String, messages: u32) -> Shelf {
    let mut shelf = Shelf::named(seed, path);
    let mut rng = Rng::new(seed, &[1]);
    let mut times: Vec<i64> =
        (0..messages).map(|_| times::EPOCH - times::DAY - rng.below(480) as i64 * times::DAY).collect();
    times.sort_unstable();
    for (number, time) in times.into_iter().enumerate() {
        let root = add(&mut shelf, TOP, time, &mut rng);
        let replies = if number == 1 { options.pages.messages as u64 + 3 } else { rng.below(4) };
        for reply in 0..replies.min(60) {
            add(&mut shelf, root, time + 60 * (reply as i64 + 1), &mut rng);
        }
    }
    shelf.begin();
    shelf
}

/// Adds a message.
pub(super) fn add(shelf: &mut Shelf, parent: u32, time: i64, rng: &mut Rng) -> u32 {
    let mark = match rng.below(16) {
        0 => SYSTEM,
        1 => BOT,
        2 => DELETED,
        _ => 0,
    };
    let message = shelf.add(&MESSAGE, parent, time, mark);
    let pictures = match mark {
        BOT => 1,
        0 if rng.chance(0.08) => 1 + rng.below(2),
        _ => 0,
    };
    for _ in 0..pictures {
        shelf.add(&HOSTED, message, time, 0);
    }
    message
}

/// What a day brings to a channel: messages and replies, edits, reactions, messages taken away.
pub(super) fn day(shelf: &mut Shelf, options: &SimOptions, now: i64, rng: &mut Rng) {
    for number in 0..options.script.others {
        if shelf.any(&MESSAGE, rng).is_some() || rng.chance(0.3) {
            add(shelf, TOP, now - 600 - i64::from(number), rng);
        }
        let roots: Vec<u32> = shelf.below(&MESSAGE, TOP).collect();
        if !roots.is_empty() {
            let root = *rng.pick(&roots);
            add(shelf, root, now - 300 - i64::from(number), rng);
            shelf.touch(root);
        }
        change(shelf, now, rng, |thing| thing.mark &= !DELETED);
    }
    for _ in 0..options.script.others.div_ceil(2) {
        change(shelf, now, rng, |thing| thing.mark |= DELETED);
    }
}

/// Changes a message, or a reply, by chance.
pub(super) fn change(shelf: &mut Shelf, now: i64, rng: &mut Rng, how: impl Fn(&mut shelf::Thing)) {
    let Some(number) = shelf.any(&MESSAGE, rng) else { return };
    let before = shelf.thing(number).mark;
    how(&mut shelf.things[number as usize]);
    let after = shelf.thing(number).mark;
    if after & DELETED != 0 && before & DELETED == 0 {
        let pictures: Vec<u32> = shelf.below(&HOSTED, number).collect();
        pictures.into_iter().for_each(|picture| shelf.delete(picture));
    }
    shelf.edit(number, now);
    let parent = shelf.thing(number).parent;
    if parent != TOP {
        shelf.touch(parent);
    }
}

/// The path of a message.
pub(super) fn path(shelf: &Shelf, number: u32) -> String {
    let id = shelf.id(number);
    match shelf.thing(number).parent {
        TOP => format!("{}/messages/{id}", shelf.name),
        chat if shelf.thing(chat).kind.name == CHAT.name => format!("chats/{}/messages/{id}", shelf.id(chat)),
        root => format!("{}/replies/{id}", path(shelf, root)),
    }
}

/// As it is told to who asks for unknown members of enumerations; without replies.
fn message_json(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let mut rng = shelf.rng(number);
    let parent = (thing.parent != TOP).then_some(thing.parent);
    let chat = parent.filter(|parent| shelf.thing(*parent).kind.name == CHAT.name);
    let root = parent.filter(|_| chat.is_none());
    let deleted = thing.mark & DELETED != 0;
    let ids: Vec<&str> = shelf.name.split('/').collect();
    let channel = match (chat, &ids[..]) {
        (None, ["teams", team, "channels", channel]) => json!({"teamId": team, "channelId": channel}),
        _ => Value::Null,
    };
    let (kind, from, event) = author(cast, thing);
    let time = |seconds: i64| times::graph(seconds).replace('Z', ".068Z");
    let edited = thing.revision > 0 && !deleted;
    let subject = rng.chance(0.2).then(|| words::title(&mut rng, 3));
    let reactions = match thing.revision {
        0 => json!([]),
        n => {
            json!([{"reactionType": if n % 2 == 0 { "like" } else { "💘" }, "displayName": "Like", "createdDateTime": time(thing.changed), "user": {"user": person(&guid(n.into()), None)}}])
        }
    };
    let (text, attachments) = text(shelf, number, &mut rng);
    object(json!({
        "id": shelf.id(number),
        "replyToId": root.map(|root| shelf.id(root)),
        "etag": (thing.changed * 1_000 + i64::from(thing.revision)).to_string(),
        "messageType": kind,
        "createdDateTime": time(thing.created),
        "lastModifiedDateTime": time(thing.changed),
        "lastEditedDateTime": edited.then(|| time(thing.changed)),
        "deletedDateTime": deleted.then(|| time(thing.changed)),
        "subject": subject.filter(|_| !deleted && root.is_none()),
        "summary": null,
        "chatId": chat.map(|chat| shelf.id(chat)),
        "importance": "normal",
        "locale": "en-us",
        "webUrl": null,
        "policyViolation": null,
        "eventDetail": event,
        "from": from,
        "body": {"contentType": "html", "content": if deleted { String::new() } else { text }},
        "channelIdentity": channel,
        "attachments": if deleted { json!([]) } else { attachments },
        "mentions": [],
        "reactions": if deleted { json!([]) } else { reactions },
    }))
}

/// A user as Teams tells one: of a type that says more than others' users.
pub(super) fn person(id: &str, name: Option<&str>) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.teamworkUserIdentity",
        "id": id, "displayName": name, "userIdentityType": "aadUser",
    })
}

/// Kind, author and event of a message.
fn author(cast: &Cast, thing: &shelf::Thing) -> (&'static str, Value, Value) {
    let nobody = json!({"application": null, "device": null, "user": null});
    let with = |who: &str, what: Value| {
        let mut from = nobody.clone();
        from[who] = what;
        from
    };
    match thing.mark & (SYSTEM | BOT) {
        SYSTEM => {
            let event = json!({"@odata.type": "#microsoft.graph.membersAddedEventMessageDetail", "visibleHistoryStartDateTime": "0001-01-01T00:00:00Z", "members": [person(&guid(thing.seed), None)]});
            ("systemEventMessage", Value::Null, event)
        }
        BOT => (
            "message",
            with(
                "application",
                json!({"@odata.type": "#microsoft.graph.teamworkApplicationIdentity", "id": guid(5), "displayName": "Bot", "applicationIdentityType": "bot"}),
            ),
            Value::Null,
        ),
        _ => {
            let number = thing.seed as usize % cast.people.len().max(1);
            let name = cast.people.get(number).map(|person| person.name.as_str());
            ("message", with("user", person(&user_id(cast.seed, number as u32), name)), Value::Null)
        }
    }
}

/// The text and attachments of a message: pictures stand in the text, those of bots in a card.
fn text(shelf: &Shelf, number: u32, rng: &mut Rng) -> (String, Value) {
    let words = if rng.chance(0.2) { (*rng.pick(words::FOREIGN)).to_owned() } else { words::title(rng, 9) };
    let source = |hosted: u32| {
        let id = shelf.id(hosted);
        format!("https://graph.microsoft.com/v1.0/{}/hostedContents/{id}/$value", path(shelf, number))
    };
    let sources: Vec<String> = shelf.below(&HOSTED, number).map(source).collect();
    let mark = shelf.thing(number).mark;
    if mark & SYSTEM != 0 {
        return ("<systemEventMessage/>".to_owned(), json!([]));
    }
    if mark & BOT != 0 {
        let images: Vec<Value> = sources.iter().map(|url| json!({"type": "Image", "url": url})).collect();
        let card = json!({"type": "AdaptiveCard", "body": images, "text": words}).to_string();
        let text = "<attachment id=\"74d20c7f34aa4a7fb74e2b30004247c5\"></attachment>".to_owned();
        let attachment = json!({"id": "74d20c7f34aa4a7fb74e2b30004247c5", "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card, "name": null, "thumbnailUrl": null});
        return (text, json!([attachment]));
    }
    let images: String = sources.iter().map(|url| format!("<img height=\"250\" src=\"{url}\">")).collect();
    let attachments = match rng.below(6) {
        0 => {
            json!([{"id": guid(rng.next()), "contentType": "reference", "contentUrl": "https://contoso.sharepoint.com/sites/a/Shared%20Documents/General/Budget.docx", "content": null, "name": "Budget.docx", "thumbnailUrl": null}])
        }
        _ => json!([]),
    };
    (format!("<div><div>{words}</div>{images}</div>"), attachments)
}

fn hosted_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    object(json!({"id": shelf.id(number)}))
}

/// A picture begins as a PNG does; what comes after it no program shows.
fn picture(_: &Cast, shelf: &Shelf, number: u32) -> Option<Blob> {
    let seed = shelf.thing(number).seed;
    let noise = Blob::new(Texture::Random, seed, 500 + seed % 4_000).bytes();
    Some(Blob::kept([&b"\x89PNG\r\n\x1a\n"[..], &noise].concat().into()))
}

/// A message or picture below a parent, by its id.
pub(super) fn below(shelf: &Shelf, kind: &Kind, parent: u32, id: &str) -> Answer<u32> {
    let found = shelf.below(kind, parent).find(|number| shelf.id(*number) == id);
    found.ok_or_else(|| Reply::fail(404, "NotFound", "NotFound"))
}

/// A message as this client gets it.
pub(super) fn told(app: &App, request: &Request, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut row = shelf.json(&app.cast, number);
    if !knows_unknown(request) && row.get("messageType").is_some_and(|kind| kind == "systemEventMessage") {
        row.insert("messageType".into(), "unknownFutureValue".into());
    }
    row
}

/// A message with its replies, if they are asked for; those beyond a page by a link.
fn chain(app: &App, request: &Request, shelf: &Shelf, root: u32, expand: &str) -> Value {
    let mut row = told(app, request, shelf, root);
    if expand == "replies" {
        let replies: Vec<u32> = shelf.below(&MESSAGE, root).collect();
        let n = app.options.pages.messages.clamp(1, 1_000);
        row.insert("replies@odata.context".into(), "replies".into());
        let rows = replies.iter().take(n).map(|reply| told(app, request, shelf, *reply).into());
        row.insert("replies".into(), rows.collect::<Vec<Value>>().into());
        if replies.len() > n {
            let link = format!("{}/v1.0/{}/replies?$top=50&$skiptoken=skip-{n}", app.base_url, path(shelf, root));
            row.insert("replies@odata.nextLink".into(), link.into());
        }
    }
    row.into()
}

fn expanded(text: &str) -> Result<(), Reply> {
    match text {
        "" | "replies" => Ok(()),
        other => Err(Reply::fail(400, "BadRequest", &format!("Could not expand '{other}' of a chatMessage."))),
    }
}

/// `GET /teams/{id}/channels/{id}/messages`
pub(super) fn messages(app: &App, request: &Request, group: usize, channel: &str) -> Answer {
    request.allow(&["$top", "$skiptoken", "$expand"])?;
    let expand = request.option("$expand").unwrap_or_default();
    expanded(expand)?;
    let world = app.read();
    let team = team::team(&world, group)?;
    let shelf = of_channel(team, channel)?;
    let mut roots: Vec<u32> = shelf.below(&MESSAGE, TOP).collect();
    roots.sort_by_key(|root| std::cmp::Reverse((shelf.thing(*root).created, *root)));
    let page = (app.options.pages.messages.min(20), 50);
    let list = List { entity: MESSAGE.name, page, context: "messages", path: "" };
    row_lists::page_of(app, request, &list, roots, |root| Ok(chain(app, request, shelf, root, expand)))
}

fn of_channel<'a>(team: &'a team::Team, id: &str) -> Answer<&'a Shelf> {
    let number = team::channel(team, id)?;
    team.channels.get(&number).ok_or_else(|| Reply::fail(404, "NotFound", "No channel was found with that id."))
}

/// `GET …/messages/{id}`, `…/messages/{id}/replies/{id}`
pub(super) fn message(app: &App, request: &Request, group: usize, (channel, ids): (&str, &[String])) -> Answer {
    request.allow(&[])?;
    let world = app.read();
    let team = team::team(&world, group)?;
    let shelf = of_channel(team, channel)?;
    let number = follow(shelf, TOP, ids)?;
    Ok(row_lists::single(app, "messages/$entity", told(app, request, shelf, number).into()))
}

fn follow(shelf: &Shelf, from: u32, ids: &[String]) -> Answer<u32> {
    ids.iter().try_fold(from, |parent, id| below(shelf, &MESSAGE, parent, id))
}

/// `GET …/messages/{id}/replies`
pub(super) fn replies(app: &App, request: &Request, group: usize, (channel, id): (&str, &str)) -> Answer {
    request.allow(&["$top", "$skiptoken"])?;
    let world = app.read();
    let team = team::team(&world, group)?;
    let shelf = of_channel(team, channel)?;
    let root = below(shelf, &MESSAGE, TOP, id)?;
    let rows = shelf.below(&MESSAGE, root).map(|reply| told(app, request, shelf, reply).into()).collect();
    let page = (app.options.pages.messages.min(20), 50);
    row_lists::page(app, request, &List { entity: MESSAGE.name, page, context: "replies", path: "" }, rows)
}

/// `…/messages/{id}[/replies/{id}]/hostedContents/{id}/$value` of a channel.
pub(super) fn hosted_value(app: &App, group: usize, channel: &str, ids: &[String]) -> Answer {
    let world = app.read();
    let team = team::team(&world, group)?;
    hosted(app, of_channel(team, channel)?, TOP, ids)
}

/// The bytes of a picture: the ids of messages from `from` on, then its own.
pub(super) fn hosted(app: &App, shelf: &Shelf, from: u32, ids: &[String]) -> Answer {
    let (id, messages) = ids.split_last().ok_or_else(|| Reply::no_segment("hostedContents"))?;
    let message = follow(shelf, from, messages)?;
    let number = below(shelf, &HOSTED, message, id)?;
    let blob = shelf.content(&app.cast, number).ok_or_else(|| Reply::fail(404, "NotFound", "NotFound"))?;
    let len = blob.len();
    Ok(Reply { status: 200, headers: Vec::new(), payload: Payload::Blob(blob, 0, len) })
}

/// The root messages of a channel, as delta tells them.
struct Roots<'a> {
    log: ShelfLog<'a>,
    /// Only chains of which something changed after this.
    after: i64,
}

impl Roots<'_> {
    fn admits(&self, root: u32) -> bool {
        let shelf = self.log.shelf;
        let replies = shelf.below(&MESSAGE, root).map(|reply| shelf.thing(reply).changed);
        replies.chain([shelf.thing(root).changed]).any(|changed| changed > self.after)
    }
}

impl Logged for Roots<'_> {
    type Row = u32;

    fn log_len(&self) -> u64 {
        self.log.log_len()
    }

    fn walk(&self, next: u64, n: usize) -> (Vec<u32>, Option<u64>) {
        let all = self.log.shelf.below(&MESSAGE, TOP).filter(|root| u64::from(*root) >= next && self.admits(*root));
        let rows: Vec<u32> = all.take(n + 1).collect();
        let then = rows.get(n).map(|number| u64::from(*number));
        (rows.into_iter().take(n).collect(), then)
    }

    fn entry(&self, at: u64) -> Option<u32> {
        self.log.entry(at)
    }
}

/// `GET /teams/{id}/channels/{id}/messages/delta`
pub(super) fn delta(app: &App, request: &Request, group: usize, id: &str) -> Answer {
    request.allow(&["$top", "$filter", "$expand", "$skiptoken", "$deltatoken"])?;
    if request.top()?.is_some_and(|top| top == 0 || top > 50) {
        return Err(Reply::fail(400, "BadRequest", "The limit of '50' for Top query has been exceeded."));
    }
    let world = app.read();
    let team = team::team(&world, group)?;
    let shelf = of_channel(team, id)?;
    if shelf.below(&MESSAGE, TOP).next().is_none() {
        return Err(Reply::fail(400, "BadRequest", "Parameter 'DeltaToken' not supported for this request."));
    }
    let option = |name| request.option(name).unwrap_or_default();
    expanded(option("$expand"))?;
    let asked = [option("$top"), option("$expand"), option("$filter")].join("|");
    let log = ShelfLog { shelf, kind: &MESSAGE, parent: TOP, flat: false, hidden: None };
    let scope = token::scope(shelf.seed, &format!("messages {}", hash_text(0, id)));
    let generation = world.mail_generation;
    let (stand, options) = stand(app, request, scope, generation, (log.log_len(), asked))?;
    let parts: Vec<&str> = options.splitn(3, '|').collect();
    let part = |i: usize| parts.get(i).copied().unwrap_or_default();
    let after = match part(2) {
        "" => i64::MIN,
        filter => changed_after(filter)?,
    };
    let roots = Roots { log, after: after.max(world.now() - DELTA_REACH) };
    let n = part(0).parse().unwrap_or(app.options.pages.messages).clamp(1, 50);
    let (rows, stand) = token::page(&roots, &stand, n, app.options.quirks);
    let rows = rows.into_iter().map(|root| chain(app, request, shelf, root, part(1))).collect();
    let path = format!("{}/messages/delta", shelf.name);
    let token = Token { scope, generation, stand, options };
    Ok(page_body(app, &path, MESSAGE.name, &token, rows))
}

/// Reads `lastModifiedDateTime gt TIME`.
pub(super) fn changed_after(filter: &str) -> Answer<i64> {
    let time = filter.trim().strip_prefix("lastModifiedDateTime gt ").and_then(|time| times::parse(time.trim()));
    time.ok_or_else(|| Reply::fail(400, "BadRequest", &format!("Filter '{filter}' is not supported.")))
}
