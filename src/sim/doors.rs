//! Requests that write: which paths there are, which roles they take, and what their handlers share.

use serde_json::{Map, Value};

use super::app::App;
use super::letter::Cast;
use super::mail::mailbox;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::hash_text;
use super::route::{Answered, Route, made};
use super::schema::Entity;
use super::shelf::{Kind, Shelf, WRITTEN};
use super::state::User;
use super::throttle::{Charge, TeamsKind};
use super::{
    calendar_write, contacts_write, groups, lists_write, migration, pages_write, planner_write, settings_write,
    sites_http, sites_write, tasks_write, team, team_write, terms_write,
};

/// A path that takes a method.
pub(super) struct Door {
    pub(super) method: &'static str,
    /// `/users/{id}/contacts/{id}`
    pub(super) path: &'static str,
    pub(super) roles: &'static [&'static str],
    pub(super) run: fn(&App, &Request, &Route) -> Answer,
}

const DOORS: &[&[Door]] = &[
    calendar_write::DOORS,
    contacts_write::DOORS,
    settings_write::DOORS,
    tasks_write::DOORS,
    planner_write::DOORS,
    lists_write::DOORS,
    migration::DOORS,
    pages_write::DOORS,
    sites_write::DOORS,
    team_write::DOORS,
    terms_write::DOORS,
];

fn doors() -> impl Iterator<Item = &'static Door> {
    DOORS.iter().copied().flatten()
}

/// The ids in a path, if it is that of a door.
fn ids<'a>(path: &str, all: &[&'a str], names: &[&str]) -> Option<Vec<&'a str>> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let fits = |(part, name): (&&str, &&str)| *part == "{id}" || part.eq_ignore_ascii_case(name);
    let same = parts.len() == names.len() && parts.iter().zip(names).all(fits);
    same.then(|| parts.iter().zip(all).filter(|(part, _)| **part == "{id}").map(|(_, id)| *id).collect())
}

/// Finds the route of a request that writes; `None`: there is no such.
pub(super) fn resolve(app: &App, request: &Request, all: &[&str], names: &[&str]) -> Option<Answered> {
    let mut found = doors().filter(|door| door.method == request.method);
    let (door, ids) = found.find_map(|door| Some((door, ids(door.path, all, names)?)))?;
    let mut route = owned(app, door, &ids, names);
    if let Ok(route) = &mut route
        && migration::is_asked(request)
    {
        route.roles = migration::ROLES;
    }
    Some(route)
}

/// The route of a door, with whose data it is about.
fn owned(app: &App, door: &Door, ids: &[&str], names: &[&str]) -> Answered {
    let world = app.read();
    let (first, rest) = ids.split_first().map_or(("", ids), |(first, rest)| (*first, rest));
    let (charge, owner, ids) = match names.first().copied().unwrap_or_default() {
        "users" => {
            let text = format!("The requested user '{first}' is invalid.");
            let user = world.user(first).ok_or_else(|| Reply::fail(404, "ErrorInvalidUser", &text))?;
            (Charge::Mailbox(user), user, rest)
        }
        "sites" => (Charge::Files(2), sites_http::find(&world, first)?, rest),
        "groups" => (Charge::Directory(1), groups::find(&world, first)?, rest),
        "teams" if !first.is_empty() => {
            let of = ids.get(1).copied().unwrap_or(first);
            (Charge::Teams(TeamsKind::Team, hash_text(0, of) | 1), team::find(&world, first)?, rest)
        }
        _ => (Charge::Nothing, 0, ids),
    };
    made(door.path, charge, door.roles, owner, ids)
}

/// Runs the handler of such a route; `None`: it is no such.
pub(super) fn run(app: &App, request: &Request, route: &Route) -> Option<Answer> {
    let door = doors().find(|door| door.method == request.method && door.path == route.template);
    door.map(|door| (door.run)(app, request, route))
}

/// The navigation to further properties of an item of Exchange.
pub(super) const EXTENDED: &str = "singleValueExtendedProperties";

/// What is made of a body: the entity, its kind, parent and mark, and what it usually has where nothing is given.
pub(super) struct New<'a> {
    pub(super) entity: &'a Entity,
    pub(super) kind: &'static Kind,
    pub(super) parent: u32,
    pub(super) mark: u32,
    pub(super) usual: Value,
}

/// Makes a thing as a client wrote it; returns its number.
pub(super) fn create(cast: &Cast, shelf: &mut Shelf, new: New<'_>, body: Map<String, Value>, now: i64) -> u32 {
    let number = shelf.add(new.kind, new.parent, now, new.mark);
    let mut given = new.entity.defaults(&shelf.json(cast, number));
    if let Value::Object(usual) = new.usual {
        given.extend(usual);
    }
    given.extend(body);
    // Extended properties come only to who asks for them.
    if let Some(extended) = given.shift_remove(EXTENDED) {
        given.insert(format!("~{EXTENDED}"), extended);
    }
    given.insert(WRITTEN.into(), true.into());
    shelf.things[number as usize].given = given.into();
    number
}

/// The answer that shows a thing which was made (201) or changed (200).
pub(super) fn shown(app: &App, status: u16, context: &str, json: Map<String, Value>) -> Reply {
    let mut body = Map::new();
    body.insert("@odata.context".into(), format!("{}/v1.0/$metadata#{context}/$entity", app.base_url).into());
    body.extend(json);
    Reply { status, ..Reply::json(body.into()) }
}

/// Deletes a thing: 204.
pub(super) fn gone(shelf: &mut Shelf, number: u32) -> Reply {
    shelf.delete(number);
    Reply::status(204)
}

/// Does something in the mailbox of a route, at the tenant's present time.
pub(super) fn in_mailbox(app: &App, route: &Route, act: impl FnOnce(&mut User, i64) -> Answer) -> Answer {
    let mut world = app.write();
    mailbox(&world, route.user)?;
    let now = world.now();
    act(&mut world.users[route.user], now)
}

/// 409 of Exchange for a folder, calendar or list of that name.
pub(super) fn exists(name: &str) -> Reply {
    Reply::fail(409, "ErrorFolderExists", &format!("A folder with the specified name already exists., {name}"))
}
