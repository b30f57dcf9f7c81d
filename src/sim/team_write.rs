//! Teams as clients write them: settings, channels, members, tabs, tags.

use serde_json::{Map, Value, json};

use super::app::App;
use super::channels;
use super::doors::{Door, New, create, gone, shown};
use super::migration;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::hash;
use super::route::Route;
use super::schema::{self, Entity};
use super::settings::merge;
use super::shelf::{Kind, Shelf, TOP};
use super::state::World;
use super::team::{CHANNEL, MEMBER, OWNER, PRIVATE, SHARED, STANDARD, TAB, TAG, TAG_MEMBER, Team, not_found};

const SETTINGS: &[&str] = &["TeamSettings.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"];
const CREATE: &[&str] = &["Channel.Create", "Group.ReadWrite.All", "Directory.ReadWrite.All", "Teamwork.Migrate.All"];
const CHANNEL_SETTINGS: &[&str] = &["ChannelSettings.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"];
const DELETE: &[&str] = &["Channel.Delete.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"];
const MEMBERS: &[&str] = &["TeamMember.ReadWrite.All"];
const CHANNEL_MEMBERS: &[&str] = &["ChannelMember.ReadWrite.All"];
const TABS: &[&str] = &["TeamsTab.ReadWrite.All", "TeamsTab.Create", "Group.ReadWrite.All", "Directory.ReadWrite.All"];
const TAGS: &[&str] = &["TeamworkTag.ReadWrite.All"];

static TEAM_ENTITY: Entity = Entity {
    name: "team",
    read_only: &["createdDateTime", "internalId", "isArchived", "specialization", "summary", "tenantId", "webUrl"],
    required: &[],
    beside: &[],
};
static CHANNEL_ENTITY: Entity = Entity {
    name: "channel",
    read_only: &[
        "email",
        "isArchived",
        "migrationMode",
        "originalCreatedDateTime",
        "summary",
        "tenantId",
        "webUrl",
        "createdDateTime",
    ],
    required: &["displayName"],
    beside: &["members"],
};
static TAB_ENTITY: Entity = Entity {
    name: "teamsTab",
    read_only: &["webUrl"],
    required: &["displayName", "teamsApp@odata.bind"],
    beside: &["teamsApp@odata.bind"],
};
static TAG_ENTITY: Entity = Entity {
    name: "teamworkTag",
    read_only: &["memberCount", "tagType", "teamId"],
    required: &["displayName", "members"],
    beside: &["members"],
};

pub(super) const DOORS: &[Door] = &[
    Door { method: "PATCH", path: "/teams/{id}", roles: SETTINGS, run: change_team },
    Door { method: "POST", path: "/teams/{id}/members", roles: MEMBERS, run: add_member },
    Door { method: "PATCH", path: "/teams/{id}/members/{id}", roles: MEMBERS, run: change_member },
    Door { method: "DELETE", path: "/teams/{id}/members/{id}", roles: MEMBERS, run: remove_member },
    Door { method: "POST", path: "/teams/{id}/channels", roles: CREATE, run: add_channel },
    Door { method: "PATCH", path: "/teams/{id}/channels/{id}", roles: CHANNEL_SETTINGS, run: change_channel },
    Door { method: "DELETE", path: "/teams/{id}/channels/{id}", roles: DELETE, run: remove_channel },
    Door { method: "POST", path: "/teams/{id}/channels/{id}/members", roles: CHANNEL_MEMBERS, run: add_channel_member },
    Door {
        method: "DELETE",
        path: "/teams/{id}/channels/{id}/members/{id}",
        roles: CHANNEL_MEMBERS,
        run: remove_channel_member,
    },
    Door { method: "POST", path: "/teams/{id}/channels/{id}/tabs", roles: TABS, run: add_tab },
    Door { method: "PATCH", path: "/teams/{id}/channels/{id}/tabs/{id}", roles: TABS, run: change_tab },
    Door { method: "DELETE", path: "/teams/{id}/channels/{id}/tabs/{id}", roles: TABS, run: remove_tab },
    Door { method: "POST", path: "/teams/{id}/tags", roles: TAGS, run: add_tag },
    Door { method: "PATCH", path: "/teams/{id}/tags/{id}", roles: TAGS, run: change_tag },
    Door { method: "DELETE", path: "/teams/{id}/tags/{id}", roles: TAGS, run: remove_tag },
];

fn bad(text: &str) -> Reply {
    Reply::fail(400, "BadRequest", text)
}

pub(super) fn team_of<'a>(world: &'a mut World, route: &Route) -> Answer<&'a mut Team> {
    world.groups[route.user].team.as_mut().ok_or_else(|| not_found("team"))
}

fn answer(app: &App, status: u16, parts: &Shelf, number: u32) -> Reply {
    shown(app, status, &format!("teams('{}')", parts.id(0)), parts.json(&app.cast, number))
}

fn change_team(app: &App, request: &Request, route: &Route) -> Answer {
    let body = TEAM_ENTITY.body(request)?;
    let mut world = app.write();
    let now = world.now();
    let parts = &mut team_of(&mut world, route)?.parts;
    let mut whole = Value::Object(parts.json(&app.cast, 0));
    merge(&mut whole, Value::Object(body.clone()));
    let given = body.keys().map(|key| (key.clone(), whole[key.as_str()].clone())).collect();
    parts.write(0, given, now);
    Ok(Reply::status(204))
}

/// A member as a body names them: the number of the user, and whether they own.
fn member(world: &World, body: &Map<String, Value>) -> Answer<u32> {
    if body.get("@odata.type") != Some(&json!("#microsoft.graph.aadUserConversationMember")) {
        return Err(bad("The type of the member is not valid."));
    }
    let known = ["@odata.type", "roles", "user@odata.bind"];
    if let Some(unknown) = body.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(bad(&format!("The property '{unknown}' does not exist on the member.")));
    }
    let bind = body.get("user@odata.bind").and_then(Value::as_str).unwrap_or_default();
    let id = bind.split_once("/users('").and_then(|(_, rest)| rest.strip_suffix("')"));
    let user = id.and_then(|id| world.user(id)).ok_or_else(|| Reply::fail(404, "NotFound", "No such user."))?;
    let owns = body.get("roles").and_then(Value::as_array).is_some_and(|roles| roles.contains(&json!("owner")));
    Ok(user as u32 | if owns { OWNER } else { 0 })
}

fn put_member(parts: &mut Shelf, parent: u32, mark: u32, now: i64) -> Answer<u32> {
    let same = |number: u32| parts.thing(number).mark & !OWNER == mark & !OWNER;
    if parts.below(&MEMBER, parent).any(same) {
        return Err(Reply::fail(409, "Conflict", "The user is a member already."));
    }
    Ok(parts.add(&MEMBER, parent, now, mark))
}

fn add_member(app: &App, request: &Request, route: &Route) -> Answer {
    let body = schema::object(request)?;
    let mut world = app.write();
    let (mark, now) = (member(&world, &body)?, world.now());
    let parts = &mut team_of(&mut world, route)?.parts;
    let number = put_member(parts, 0, mark, now)?;
    Ok(answer(app, 201, parts, number))
}

fn add_channel_member(app: &App, request: &Request, route: &Route) -> Answer {
    let body = schema::object(request)?;
    let mut world = app.write();
    let (mark, now) = (member(&world, &body)?, world.now());
    let parts = &mut team_of(&mut world, route)?.parts;
    let channel = parts.find(&CHANNEL, route.id(0)).ok_or_else(|| not_found("channel"))?;
    if !migration::is_open(parts, channel) {
        return Err(Reply::fail(403, "Forbidden", "The channel is in migration mode."));
    }
    let in_team = parts.below(&MEMBER, 0).any(|number| parts.thing(number).mark & !OWNER == mark & !OWNER);
    if parts.thing(channel).mark == STANDARD || (!in_team && parts.thing(channel).mark == PRIVATE) {
        return Err(bad("Members of a private channel must be members of the team."));
    }
    let number = put_member(parts, channel, mark, now)?;
    Ok(answer(app, 201, parts, number))
}

/// Changes what a part of a team says.
fn change(app: &App, route: &Route, (kind, id): (&'static Kind, &str), body: Map<String, Value>) -> Answer {
    let mut world = app.write();
    let now = world.now();
    let parts = &mut team_of(&mut world, route)?.parts;
    let number = parts.find(kind, id).ok_or_else(|| not_found(kind.name))?;
    parts.write(number, body, now);
    Ok(answer(app, 200, parts, number))
}

fn change_channel(app: &App, request: &Request, route: &Route) -> Answer {
    change(app, route, (&CHANNEL, route.id(0)), CHANNEL_ENTITY.body(request)?)?;
    Ok(Reply::status(204))
}

fn change_tab(app: &App, request: &Request, route: &Route) -> Answer {
    change(app, route, (&TAB, route.id(1)), TAB_ENTITY.body(request)?)
}

fn change_tag(app: &App, request: &Request, route: &Route) -> Answer {
    change(app, route, (&TAG, route.id(0)), TAG_ENTITY.body(request)?)
}

/// Makes a member an owner, or no owner.
fn change_member(app: &App, request: &Request, route: &Route) -> Answer {
    let body = schema::object(request)?;
    let known = body.keys().all(|key| matches!(key.as_str(), "@odata.type" | "roles"));
    let roles = body.get("roles").and_then(Value::as_array).filter(|_| known).ok_or_else(|| bad("roles"))?;
    let owns = if roles.contains(&json!("owner")) { OWNER } else { 0 };
    let mut world = app.write();
    let now = world.now();
    let parts = &mut team_of(&mut world, route)?.parts;
    let number = parts.find(&MEMBER, route.id(0)).ok_or_else(|| not_found("member"))?;
    parts.things[number as usize].mark = parts.thing(number).mark & !OWNER | owns;
    parts.edit(number, now);
    Ok(answer(app, 200, parts, number))
}

fn remove(world: &mut World, route: &Route, kind: &'static Kind, id: &str) -> Answer {
    let parts = &mut team_of(world, route)?.parts;
    let number = parts.find(kind, id).ok_or_else(|| not_found(kind.name))?;
    Ok(gone(parts, number))
}

fn remove_member(app: &App, _: &Request, route: &Route) -> Answer {
    remove(&mut app.write(), route, &MEMBER, route.id(0))
}

fn remove_channel_member(app: &App, _: &Request, route: &Route) -> Answer {
    remove(&mut app.write(), route, &MEMBER, route.id(1))
}

fn remove_channel(app: &App, _: &Request, route: &Route) -> Answer {
    remove(&mut app.write(), route, &CHANNEL, route.id(0))
}

fn remove_tab(app: &App, _: &Request, route: &Route) -> Answer {
    remove(&mut app.write(), route, &TAB, route.id(1))
}

fn remove_tag(app: &App, _: &Request, route: &Route) -> Answer {
    remove(&mut app.write(), route, &TAG, route.id(0))
}

fn add_channel(app: &App, request: &Request, route: &Route) -> Answer {
    let mut body = schema::object(request)?;
    let begun = migration::begin(&mut body, app.read().now())?;
    let mut body = CHANNEL_ENTITY.of_new(body)?;
    let members = body.shift_remove("members").and_then(|all| all.as_array().cloned()).unwrap_or_default();
    let mut world = app.write();
    let mut marks = Vec::new();
    for one in &members {
        marks.push(member(&world, &one.as_object().cloned().unwrap_or_default())?);
    }
    let mark = match body.get("membershipType").and_then(Value::as_str).unwrap_or("standard") {
        "standard" => STANDARD,
        "private" => PRIVATE,
        _ => SHARED,
    };
    if mark != STANDARD && !marks.iter().any(|mark| mark & OWNER != 0) {
        return Err(bad("A private or shared channel needs an owner among its members."));
    }
    let now = world.now();
    let team = team_of(&mut world, route)?;
    let name = body["displayName"].as_str().unwrap_or_default().to_owned();
    let taken = |number: u32| {
        let json = team.parts.json(&app.cast, number);
        json["displayName"].as_str().is_some_and(|other| other.eq_ignore_ascii_case(&name))
    };
    if team.parts.all(&CHANNEL).any(taken) {
        return Err(bad("Channel name already existed, please use other name."));
    }
    let new =
        New { entity: &CHANNEL_ENTITY, kind: &CHANNEL, parent: TOP, mark, usual: json!({"isFavoriteByDefault": null}) };
    let number = create(&app.cast, &mut team.parts, new, body, now);
    for mark in marks.into_iter().filter(|_| mark != STANDARD) {
        put_member(&mut team.parts, number, mark, now)?;
    }
    let path = format!("teams/{}/channels/{}", team.parts.id(0), team.parts.id(number));
    let seed = hash(team.parts.seed, &[0x4e55, number.into()]);
    let mut messages = channels::populate(&app.options, seed, path, 0);
    messages.begin();
    team.channels.insert(number, messages);
    if let Some(begun) = begun {
        migration::put(&mut team.parts, number, begun);
    }
    Ok(answer(app, 201, &team.parts, number))
}

/// The id of an app that a body is bound to.
fn bound(body: &mut Map<String, Value>) -> Option<String> {
    let bind = body.shift_remove("teamsApp@odata.bind")?;
    bind.as_str()?.rsplit_once("/teamsApps/").map(|(_, id)| id.to_owned())
}

fn add_tab(app: &App, request: &Request, route: &Route) -> Answer {
    let mut body = TAB_ENTITY.new_body(request)?;
    let teams_app = bound(&mut body).ok_or_else(|| bad("teamsApp"))?;
    let mut world = app.write();
    let now = world.now();
    let parts = &mut team_of(&mut world, route)?.parts;
    let channel = parts.find(&CHANNEL, route.id(0)).ok_or_else(|| not_found("channel"))?;
    let json = json!({"id": teams_app, "externalId": null, "displayName": "Contoso", "distributionMethod": "store"});
    let usual: Value = [("teamsApp".to_owned(), json)].into_iter().collect::<Map<_, _>>().into();
    let new = New { entity: &TAB_ENTITY, kind: &TAB, parent: channel, mark: 0, usual };
    let number = create(&app.cast, parts, new, body, now);
    Ok(answer(app, 201, parts, number))
}

fn add_tag(app: &App, request: &Request, route: &Route) -> Answer {
    let mut body = TAG_ENTITY.new_body(request)?;
    let members = body.shift_remove("members").and_then(|all| all.as_array().cloned()).unwrap_or_default();
    let mut world = app.write();
    let users: Vec<usize> = members.iter().filter_map(|one| world.user(one["userId"].as_str()?)).collect();
    if users.is_empty() || users.len() != members.len() {
        return Err(bad("A tag needs members of the team."));
    }
    let now = world.now();
    let parts = &mut team_of(&mut world, route)?.parts;
    let new = New { entity: &TAG_ENTITY, kind: &TAG, parent: 0, mark: 0, usual: json!({"description": ""}) };
    let tag = create(&app.cast, parts, new, body, now);
    for user in users {
        parts.add(&TAG_MEMBER, tag, now, user as u32);
    }
    Ok(answer(app, 201, parts, tag))
}

/// Deletes of a team what an owner can delete: all channels but the first, tags, tabs.
pub(super) fn wipe(team: &mut Team) {
    let general = team.parts.all(&CHANNEL).next();
    let kinds: [&'static Kind; 3] = [&CHANNEL, &TAG, &TAB];
    for kind in kinds {
        let numbers: Vec<u32> = team.parts.all(kind).filter(|number| Some(*number) != general).collect();
        for number in numbers {
            if team.parts.thing(number).alive {
                team.parts.delete(number);
            }
        }
    }
}
