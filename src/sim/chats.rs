//! Chats: one to one, groups, meetings; what is said in them is [`super::channels`]'s kind of message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use serde_json::{Map, Value, json};

use super::app::App;
use super::channels::{self, HOSTED, MESSAGE};
use super::contacts::object;
use super::letter::Cast;
use super::options::SimOptions;
use super::oracle::ExpectedThing;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::{Rng, guid, hash};
use super::row_lists::{self, List};
use super::shelf::{self, Kind, Shelf, TOP};
use super::state::{User, UserKind, World, tenant_id, user_id};
use super::{times, words};

/// A chat. Its number says which kind it is; its mark: people to choose members from (from bit 8 on), and how many joined
/// later.
pub(super) static CHAT: Kind = Kind { name: "chat", id: chat_id, json: chat_json, content: shelf::nothing };

const PEOPLE: u32 = 8;
/// The chat that many people of other organisations take part in.
const CROWDED: u32 = 2;
const CROWD: u64 = 31;
/// Expanded members are at most so many.
const MOST_EXPANDED: usize = 25;

fn chat_id(seed: u64, number: u32) -> String {
    let part = |i: u64| hash(seed, &[0xc4a7, number.into(), i]);
    match number % 3 {
        0 => format!("19:{}_{}@unq.gbl.spaces", guid(part(1)), guid(part(2))),
        1 => format!("19:{:016x}{:016x}@thread.v2", part(1), part(2)),
        _ => format!("19:meeting_{}@thread.v2", B64.encode(guid(part(1))).replace('=', "")),
    }
}

/// Makes the chats of the tenant. `people`: so many users, from the first on, chat.
pub(super) fn populate(options: &SimOptions, people: u32) -> Shelf {
    let mut shelf = Shelf::new(hash(options.seed, &[0xc4a7]));
    let mut rng = Rng::new(shelf.seed, &[1]);
    if people == 0 {
        return shelf;
    }
    let mut chats = Vec::new();
    for _ in 0..people * 2 + 2 {
        let time = times::EPOCH - (400 - rng.below(300) as i64) * times::DAY;
        chats.push(shelf.add(&CHAT, TOP, time, people << PEOPLE));
    }
    for chat in chats {
        // In one nobody said anything yet.
        let messages = if chat == 1 { 0 } else { options.messages / 6 };
        let time = shelf.thing(chat).created;
        for message in 0..messages {
            let time = (time + i64::from(message) * times::DAY / 2).min(times::EPOCH - 3_600);
            channels::add(&mut shelf, chat, time, &mut rng);
        }
    }
    shelf.begin();
    shelf
}

/// What a day brings.
pub(super) fn day(shelf: &mut Shelf, options: &SimOptions, people: u32, now: i64, rng: &mut Rng) {
    for number in 0..options.script.others {
        let Some(chat) = shelf.any(&CHAT, rng) else { return };
        channels::add(shelf, chat, now - 900 - i64::from(number), rng);
        channels::change(shelf, now, rng, |_| {});
    }
    for _ in 0..options.script.others.div_ceil(2) {
        let chat = shelf.add(&CHAT, TOP, now - 5_000, people << PEOPLE);
        channels::add(shelf, chat, now - 4_000, rng);
        channels::change(shelf, now, rng, |thing| thing.mark |= 1);
        if let Some(chat) = shelf.any(&CHAT, rng) {
            // Somebody joins, who sees what was said before.
            shelf.things[chat as usize].mark += 1;
            shelf.edit(chat, now);
        }
        if let Some(chat) = shelf.any(&CHAT, rng).filter(|chat| *chat != CROWDED && rng.chance(0.3)) {
            shelf.delete(chat);
        }
    }
}

/// Says whether a user chats.
pub(super) fn has_teams(user: &User) -> bool {
    matches!(user.kind, UserKind::Regular)
}

/// The numbers of the users in a chat.
fn members(shelf: &Shelf, chat: u32) -> Vec<u32> {
    let thing = shelf.thing(chat);
    let (people, joined) = (thing.mark >> PEOPLE, thing.mark & 0xff);
    let mut rng = Rng::new(thing.seed, &[3]);
    let first = rng.below(people.into()) as u32;
    let count = match chat % 3 {
        0 => 2,
        _ => 1 + rng.below(4) as u32 + joined,
    };
    (0..count.min(people)).map(|i| (first + i) % people).collect()
}

fn member_json(cast: &Cast, shelf: &Shelf, chat: u32, user: u32) -> Value {
    let person = cast.people.get(user as usize);
    json!({
        "@odata.type": "#microsoft.graph.aadUserConversationMember",
        "id": B64.encode(format!("{}##{user:05}", shelf.id(chat))),
        "roles": ["owner"],
        "displayName": person.map(|person| person.name.clone()),
        "visibleHistoryStartDateTime": "0001-01-01T00:00:00Z",
        "userId": user_id(cast.seed, user),
        "email": person.map(|person| person.address.clone()),
        "tenantId": tenant_id(cast.seed),
    })
}

/// With all members, sorted by id.
fn chat_json(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let mut rng = shelf.rng(number);
    let mut all: Vec<Value> = members(shelf, number).iter().map(|n| member_json(cast, shelf, number, *n)).collect();
    if number == CROWDED {
        all.extend((0..CROWD).map(|n| json!({
            "@odata.type": "#microsoft.graph.aadUserConversationMember",
            "id": B64.encode(format!("{}##outside{n:03}", shelf.id(number))),
            "roles": ["guest"], "displayName": format!("Guest {n}"), "visibleHistoryStartDateTime": "0001-01-01T00:00:00Z",
            "userId": guid(n), "email": null, "tenantId": guid(4711),
        })));
    }
    all.sort_by(|a, b| a["id"].as_str().cmp(&b["id"].as_str()));
    let (kind, topic) = match number % 3 {
        0 => ("oneOnOne", Value::Null),
        1 => ("group", json!(words::title(&mut rng, 3))),
        _ => ("meeting", json!(words::title(&mut rng, 2))),
    };
    let meeting = (kind == "meeting").then(|| json!({"calendarEventId": null, "joinWebUrl": "https://teams.microsoft.com/l/meetup-join/x", "organizer": channels::person(&guid(3), None)}));
    object(json!({
        "id": shelf.id(number),
        "topic": topic,
        "createdDateTime": times::graph(thing.created),
        "lastUpdatedDateTime": times::graph(thing.changed),
        "chatType": kind,
        "webUrl": format!("https://teams.microsoft.com/l/chat/{}/0", shelf.id(number)),
        "tenantId": tenant_id(cast.seed),
        "onlineMeetingInfo": meeting,
        "viewpoint": null,
        "isHiddenForAllMembers": false,
        "members": all,
    }))
}

/// The chats of a user.
fn of_user(world: &World, user: usize) -> Vec<u32> {
    let shelf = &world.chats;
    shelf.below(&CHAT, TOP).filter(|chat| members(shelf, *chat).contains(&(user as u32))).collect()
}

/// All that a user's chats hold.
pub(super) fn things(world: &World, user: usize) -> Vec<ExpectedThing> {
    let (shelf, cast) = (&world.chats, &world.cast);
    let mut all = Vec::new();
    let mut add = |number: u32, id: &str, parent: &str| {
        all.push(ExpectedThing {
            id: id.to_owned(),
            parent: parent.to_owned(),
            kind: shelf.thing(number).kind.name,
            json: shelf.json(cast, number).into(),
            content: shelf.content(cast, number),
        });
    };
    for chat in of_user(world, user) {
        let of_chat = shelf.id(chat);
        add(chat, &of_chat, "");
        for message in shelf.below(&MESSAGE, chat) {
            let of_message = format!("{of_chat}/{}", shelf.id(message));
            add(message, &of_message, &of_chat);
            for picture in shelf.below(&HOSTED, message) {
                add(picture, &format!("{of_message}/{}", shelf.id(picture)), &of_message);
            }
        }
    }
    all
}

fn user(world: &World, index: usize) -> Answer<usize> {
    let user = &world.users[index];
    if user.kind == UserKind::Blocked {
        return Err(Reply::fail(403, "Forbidden", "Access to this user's chats is blocked by a policy."));
    }
    match has_teams(user) {
        true => Ok(index),
        false => Err(Reply::fail(404, "NotFound", "No user with Teams was found for the id.")),
    }
}

fn find(world: &World, id: &str) -> Answer<u32> {
    world.chats.find(&CHAT, id).ok_or_else(|| Reply::fail(404, "NotFound", "No chat was found with that id."))
}

/// A chat as this client gets it.
fn told(app: &App, request: &Request, shelf: &Shelf, chat: u32) -> Answer<Value> {
    let mut row = shelf.json(&app.cast, chat);
    let expanded: Vec<&str> = request.option("$expand").map_or(vec![], |text| text.split(',').map(str::trim).collect());
    if let Some(other) = expanded.iter().find(|name| !["members", "lastMessagePreview"].contains(name)) {
        return Err(Reply::fail(400, "BadRequest", &format!("Could not expand '{other}' of a chat.")));
    }
    match row.get_mut("members").and_then(Value::as_array_mut).filter(|_| expanded.contains(&"members")) {
        Some(members) => {
            members.reverse();
            members.truncate(MOST_EXPANDED);
        }
        None => drop(row.shift_remove("members")),
    }
    if expanded.contains(&"lastMessagePreview") {
        let last = shelf.below(&MESSAGE, chat).max_by_key(|number| shelf.thing(*number).created);
        let preview = last.map(|number| {
            let message = shelf.json(&app.cast, number);
            let some = ["id", "createdDateTime", "messageType", "from", "body"];
            some.iter()
                .filter_map(|name| Some(((*name).to_owned(), message.get(*name)?.clone())))
                .collect::<Map<_, _>>()
        });
        row.insert("lastMessagePreview".into(), preview.map_or(Value::Null, Value::Object));
    }
    row_lists::selected(request, CHAT.name, row, &[])
}

/// `GET /users/{id}/chats`
pub(super) fn chats(app: &App, request: &Request, index: usize) -> Answer {
    request.allow(&["$top", "$expand", "$skiptoken", "$select"])?;
    let world = app.read();
    let of = of_user(&world, user(&world, index)?);
    let rows = of.into_iter().map(|chat| told(app, request, &world.chats, chat)).collect::<Answer<Vec<Value>>>()?;
    let page = (app.options.pages.messages.min(20), 50);
    row_lists::page(app, request, &List { entity: CHAT.name, page, context: "chats", path: "" }, rows)
}

/// `GET /chats/{id}`
pub(super) fn chat(app: &App, request: &Request, id: &str) -> Answer {
    request.allow(&["$expand", "$select"])?;
    let world = app.read();
    let row = told(app, request, &world.chats, find(&world, id)?)?;
    Ok(row_lists::single(app, "chats/$entity", row))
}

/// `GET /chats/{id}/members`
pub(super) fn chat_members(app: &App, request: &Request, id: &str) -> Answer {
    request.allow(&["$top", "$skiptoken"])?;
    let world = app.read();
    let chat = world.chats.json(&app.cast, find(&world, id)?);
    let rows = chat.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
    let list = List { entity: "conversationMember", page: (10, 999), context: "members", path: "" };
    row_lists::page(app, request, &list, rows)
}

/// `GET /chats/{id}/messages`
pub(super) fn messages(app: &App, request: &Request, id: &str) -> Answer {
    request.allow(&["$top", "$skiptoken", "$orderby", "$filter"])?;
    let after = match (request.option("$filter"), request.option("$orderby")) {
        (None, _) => i64::MIN,
        (Some(filter), Some("lastModifiedDateTime desc")) => channels::changed_after(filter)?,
        (Some(_), _) => {
            let text = "A filter of lastModifiedDateTime needs the same property in $orderby.";
            return Err(Reply::fail(400, "BadRequest", text));
        }
    };
    let world = app.read();
    let shelf = &world.chats;
    let chat = find(&world, id)?;
    let changed = shelf.below(&MESSAGE, chat).filter(|n| shelf.thing(*n).changed > after);
    let page = (app.options.pages.messages.min(20), 50);
    let list = List { entity: MESSAGE.name, page, context: "messages", path: "" };
    row_lists::page_of(app, request, &list, changed.collect(), |n| Ok(channels::told(app, request, shelf, n).into()))
}

/// `GET /chats/{id}/messages/{id}`
pub(super) fn message(app: &App, request: &Request, chat: &str, id: &str) -> Answer {
    request.allow(&[])?;
    let world = app.read();
    let number = channels::below(&world.chats, &MESSAGE, find(&world, chat)?, id)?;
    let row = channels::told(app, request, &world.chats, number).into();
    Ok(row_lists::single(app, "messages/$entity", row))
}

/// `GET /chats/{id}/messages/{id}/hostedContents/{id}/$value`
pub(super) fn hosted_value(app: &App, chat: &str, ids: &[String]) -> Answer {
    let world = app.read();
    channels::hosted(app, &world.chats, find(&world, chat)?, ids)
}

/// Reads `lastModifiedDateTime gt A and lastModifiedDateTime lt B`; both bounds must be there.
fn between(filter: Option<&str>) -> Answer<(i64, i64)> {
    let Some(filter) = filter else { return Ok((i64::MIN, i64::MAX)) };
    let bad = || {
        let text = "Filter must have both bounds of lastModifiedDateTime: 'lastModifiedDateTime gt A and lastModifiedDateTime lt B'.";
        Reply::fail(400, "BadRequest", text)
    };
    let (after, before) = filter.split_once(" and ").ok_or_else(bad)?;
    let before = before.trim().strip_prefix("lastModifiedDateTime lt ").ok_or_else(bad)?;
    Ok((channels::changed_after(after)?, times::parse(before.trim()).ok_or_else(bad)?))
}

/// `GET /users/{id}/chats/getAllMessages`
pub(super) fn all_messages(app: &App, request: &Request, index: usize) -> Answer {
    request.allow(&["$top", "$filter", "$skiptoken"])?;
    let (after, before) = between(request.option("$filter"))?;
    let world = app.read();
    let shelf = &world.chats;
    let admits = |number: &u32| (after + 1..before).contains(&shelf.thing(*number).changed);
    let chats = of_user(&world, user(&world, index)?);
    let mut numbers: Vec<u32> = chats.into_iter().flat_map(|chat| shelf.below(&MESSAGE, chat)).filter(admits).collect();
    numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
    let path = format!("users('{}')/chats/getallMessages", world.users[index].id);
    let page = (app.options.pages.messages.min(50), 1_000);
    let list = List { entity: MESSAGE.name, page, context: "Collection(chatMessage)", path: &path };
    row_lists::page_of(app, request, &list, numbers, |n| Ok(channels::told(app, request, shelf, n).into()))
}
