//! Which handler a path of groups, teams, plans and chats leads to.

use super::app::App;
use super::groups;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::route::{Answered, Route, made};
use super::throttle::Charge;

const GROUPS: &[&str] = &[
    "Group.Read.All",
    "Group.ReadBasic.All",
    "GroupMember.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];

/// Finds the route of a path that begins with `groups`.
pub(super) fn resolve(app: &App, all: &[&str], names: &[&str], request: &Request) -> Answered {
    let selected = u64::from(request.option("$select").is_some());
    if names.len() == 1 {
        return made("/groups", Charge::Directory(2 - selected), GROUPS, 0, &[]);
    }
    let world = app.read();
    let group = groups::find(&world, all[1])?;
    let directory = |template, units| made(template, Charge::Directory(units), GROUPS, group, &[]);
    match names[2..] {
        [] => directory("/groups/{id}", 1),
        ["members"] => directory("/groups/{id}/members", 3 - selected),
        ["owners"] => directory("/groups/{id}/owners", 2 - selected),
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

/// Runs the handler of such a route.
pub(super) fn run(app: &App, request: &Request, route: &Route) -> Answer {
    let group = route.user;
    match route.template {
        "/groups" => groups::groups(app, request),
        "/groups/{id}" => groups::group(app, request, group),
        "/groups/{id}/members" => groups::people(app, request, group, false),
        "/groups/{id}/owners" => groups::people(app, request, group, true),
        other => Err(Reply::no_segment(other)),
    }
}
