//! Posts that an app imports: a channel in migration mode takes them, with their authors and times, and nothing else until the
//! app says that it is done. Source: Microsoft Graph, "Import messages into Microsoft Teams chats and channels".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as B64;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::app::App;
use super::channels::{self, HOSTED, MESSAGE, person};
use super::contacts::object;
use super::content::Blob;
use super::doors::{Door, shown};
use super::query::Request;
use super::reply::{Answer, Reply};
use super::route::Route;
use super::schema;
use super::shelf::{Shelf, TOP, WRITTEN};
use super::state::World;
use super::team::{CHANNEL, Team, not_found};
use super::team_write::team_of;
use super::times;

/// What all of it takes. No user can have it.
pub(super) const ROLES: &[&str] = &["Teamwork.Migrate.All"];
/// What says that a channel is made for an import.
const CREATION_MODE: &str = "@microsoft.graph.channelCreationMode";
const MODE: &str = "migrationMode";
const IN_PROGRESS: &str = "inProgress";
const CREATED: &str = "createdDateTime";
/// What a post may hold: mentions, reactions and the like are not imported.
const POST: &[&str] = &[CREATED, "from", "body", "subject", "importance", "hostedContents", "attachments"];

pub(super) const DOORS: &[Door] = &[
    Door { method: "POST", path: "/teams/{id}/channels/{id}/messages", roles: ROLES, run: post },
    Door { method: "POST", path: "/teams/{id}/channels/{id}/messages/{id}/replies", roles: ROLES, run: post },
    Door { method: "POST", path: "/teams/{id}/channels/{id}/startMigration", roles: ROLES, run: start },
    Door { method: "POST", path: "/teams/{id}/channels/{id}/completeMigration", roles: ROLES, run: complete },
];

fn bad(text: &str) -> Reply {
    Reply::fail(400, "BadRequest", text)
}

/// Whether a request makes a channel for an import.
pub(super) fn is_asked(request: &Request) -> bool {
    String::from_utf8_lossy(&request.body).contains(CREATION_MODE)
}

/// Takes out of the body of a new channel that it is made for an import; gives when it is to have begun.
pub(super) fn begin(body: &mut Map<String, Value>, now: i64) -> Answer<Option<Value>> {
    let Some(mode) = body.shift_remove(CREATION_MODE) else { return Ok(None) };
    let begun = body.shift_remove(CREATED).unwrap_or_default();
    let is_past = ms_of(&begun).is_some_and(|ms| ms < now * 1_000);
    if mode == "migration" && is_past { Ok(Some(begun)) } else { Err(bad("The creation mode or time is not valid.")) }
}

/// Puts a new channel into migration mode.
pub(super) fn put(parts: &mut Shelf, channel: u32, begun: Value) {
    let given = &mut parts.things[channel as usize].given;
    given.insert(CREATED.into(), begun);
    given.insert(MODE.into(), IN_PROGRESS.into());
}

/// Whether members may use a channel.
pub(super) fn is_open(parts: &Shelf, channel: u32) -> bool {
    mode(parts, channel) != Some(IN_PROGRESS)
}

fn mode(parts: &Shelf, channel: u32) -> Option<&str> {
    parts.thing(channel).given.get(MODE)?.as_str()
}

fn ms_of(time: &Value) -> Option<i64> {
    time.as_str()?.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// When something began or was written: milliseconds since 1970.
fn time_of(shelf: &Shelf, number: u32) -> i64 {
    let thing = shelf.thing(number);
    // What people write has the milliseconds that it is shown with.
    thing.given.get(CREATED).and_then(ms_of).unwrap_or(thing.created * 1_000 + 68)
}

fn channel_of(team: &Team, route: &Route) -> Answer<u32> {
    team.parts.find(&CHANNEL, route.id(0)).ok_or_else(|| not_found("channel"))
}

/// Who wrote a post: a user of the tenant.
fn author(world: &World, body: &Map<String, Value>) -> Answer<Value> {
    let user = body.get("from").map_or(&Value::Null, |from| &from["user"]);
    let known = user["id"].as_str().filter(|id| world.user(id).is_some());
    match known {
        Some(id) if user["userIdentityType"] == "aadUser" => Ok(person(id, user["displayName"].as_str())),
        _ => Err(bad("The author is no user of the tenant.")),
    }
}

/// `POST …/messages`, `POST …/messages/{id}/replies`
fn post(app: &App, request: &Request, route: &Route) -> Answer {
    let body = schema::object(request)?;
    if let Some(unknown) = body.keys().find(|key| !POST.contains(&key.as_str())) {
        return Err(bad(&format!("The property '{unknown}' cannot be imported.")));
    }
    let mut world = app.write();
    let now = world.now();
    let from = author(&world, &body)?;
    let team = team_of(&mut world, route)?;
    let channel = channel_of(team, route)?;
    if is_open(&team.parts, channel) {
        return Err(Reply::fail(403, "Forbidden", "The channel is not in migration mode."));
    }
    let begun = time_of(&team.parts, channel);
    let said = team.channels.get_mut(&channel).ok_or_else(|| not_found("channel"))?;
    let parent = match route.ids.get(1) {
        Some(root) => channels::below(said, &MESSAGE, TOP, root)?,
        None => TOP,
    };
    let ms = body.get(CREATED).and_then(ms_of).ok_or_else(|| bad("createdDateTime"))?;
    if ms <= begun || ms > now * 1_000 {
        return Err(bad("The time must be later than that of the channel, and not in the future."));
    }
    if said.all(&MESSAGE).any(|other| time_of(said, other) == ms) {
        return Err(Reply::fail(409, "Conflict", "A message with that createdDateTime exists."));
    }
    let number = said.add(&MESSAGE, parent, ms.div_euclid(1_000), 0);
    let content = hosted(said, number, &body)?;
    let value = |key: &str| body.get(key).cloned().unwrap_or_default();
    let given = object(json!({
        WRITTEN: true,
        CREATED: value(CREATED),
        "subject": value("subject"),
        "importance": "normal",
        "from": {"application": null, "device": null, "user": from},
        "body": {"contentType": "html", "content": content},
        "attachments": body.get("attachments").cloned().unwrap_or_else(|| json!([])),
    }));
    let thing = &mut said.things[number as usize];
    (thing.given, thing.changed) = (given.into(), now);
    if parent != TOP {
        said.touch(parent);
    }
    let json = said.json(&app.cast, number);
    Ok(shown(app, 201, &format!("{}/messages", said.name), json))
}

/// Keeps the pictures of a post; gives its text with their addresses.
fn hosted(said: &mut Shelf, message: u32, body: &Map<String, Value>) -> Answer<String> {
    let mut content = body.get("body").and_then(|body| body["content"].as_str()).unwrap_or_default().to_owned();
    let all = body.get("hostedContents").and_then(Value::as_array).cloned().unwrap_or_default();
    for one in all {
        let id = one["@microsoft.graph.temporaryId"].as_str().unwrap_or_default();
        let bytes = one["contentBytes"].as_str().and_then(|text| B64.decode(text).ok());
        let bytes = bytes.ok_or_else(|| bad("contentBytes"))?;
        let picture = said.add(&HOSTED, message, said.thing(message).created, 0);
        said.things[picture as usize].bytes = Some(Box::new(Blob::kept(bytes.into())));
        let (path, id_there) = (channels::path(said, message), said.id(picture));
        let address = format!("https://graph.microsoft.com/v1.0/{path}/hostedContents/{id_there}/$value");
        content = content.replace(&format!("../hostedContents/{id}/$value"), &address);
    }
    Ok(content)
}

/// `POST …/startMigration`
fn start(app: &App, request: &Request, route: &Route) -> Answer {
    let body = if request.body.is_empty() { Map::new() } else { schema::object(request)? };
    let mut world = app.write();
    let now = world.now();
    let team = team_of(&mut world, route)?;
    let channel = channel_of(team, route)?;
    if !is_open(&team.parts, channel) {
        return Err(bad("The channel is in migration mode already."));
    }
    let begun = body.get("conversationCreationDateTime").cloned().unwrap_or_else(|| times::graph(now).into());
    match ms_of(&begun) {
        Some(ms) if ms < time_of(&team.parts, channel) => put(&mut team.parts, channel, begun),
        _ => return Err(bad("The time must be older than that of the channel.")),
    }
    Ok(Reply::status(204))
}

/// `POST …/completeMigration`
fn complete(app: &App, _: &Request, route: &Route) -> Answer {
    let mut world = app.write();
    let team = team_of(&mut world, route)?;
    let channel = channel_of(team, route)?;
    if is_open(&team.parts, channel) {
        return Err(bad("The channel is not in migration mode."));
    }
    team.parts.things[channel as usize].given.insert(MODE.into(), "completed".into());
    Ok(Reply::status(204))
}
