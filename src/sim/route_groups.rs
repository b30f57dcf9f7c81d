//! Which handler a path of groups, teams, plans and chats leads to.

use super::app::App;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::route::{Answered, Route, made};
use super::throttle::{Charge, GROUP_MAILBOXES};
use super::{conversations, groups, planner};

const GROUPS: &[&str] = &[
    "Group.Read.All",
    "Group.ReadBasic.All",
    "GroupMember.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];

const CONVERSATIONS: &[&str] =
    &["Group-Conversation.Read.All", "Group-Conversation.ReadWrite.All", "Group.Read.All", "Group.ReadWrite.All"];

const TASKS: &[&str] = &["Tasks.Read.All", "Tasks.ReadWrite.All"];

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
        ["planner", "plans"] => made("/groups/{id}/planner/plans", Charge::Nothing, TASKS, group, &[]),
        ["threads", ..] => threads(group, &all[2..], &names[2..]),
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

/// Finds the route of a path that begins with `planner`.
pub(super) fn resolve_planner(all: &[&str], names: &[&str]) -> Answered {
    // Planner publishes no limits.
    let route = |template| made(template, Charge::Nothing, TASKS, 0, &all[2..3]);
    match names[1..] {
        ["plans", _, "details"] => route("/planner/plans/{id}/details"),
        ["plans", _, "buckets"] => route("/planner/plans/{id}/buckets"),
        ["plans", _, "tasks"] => route("/planner/plans/{id}/tasks"),
        ["tasks", _, "details"] => route("/planner/tasks/{id}/details"),
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

fn threads(group: usize, all: &[&str], names: &[&str]) -> Answered {
    let route =
        |template, ids: &[&str]| made(template, Charge::Mailbox(GROUP_MAILBOXES + group), CONVERSATIONS, group, ids);
    match names {
        ["threads"] => route("/groups/{id}/threads", &[]),
        ["threads", _] => route("/groups/{id}/threads/{id}", &all[1..2]),
        ["threads", _, "posts"] => route("/groups/{id}/threads/{id}/posts", &all[1..2]),
        ["threads", _, "posts", _, "attachments"] => {
            route("/groups/{id}/threads/{id}/posts/{id}/attachments", &[all[1], all[3]])
        }
        ["threads", _, "posts", _, "attachments", _, "$value"] => {
            route("/groups/{id}/threads/{id}/posts/{id}/attachments/{id}/$value", &[all[1], all[3], all[5]])
        }
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

/// Runs the handler of such a route.
pub(super) fn run(app: &App, request: &Request, route: &Route) -> Answer {
    let group = route.user;
    let id = |i: usize| route.ids.get(i).map_or("", String::as_str);
    match route.template {
        "/groups" => groups::groups(app, request),
        "/groups/{id}" => groups::group(app, request, group),
        "/groups/{id}/members" => groups::people(app, request, group, false),
        "/groups/{id}/owners" => groups::people(app, request, group, true),
        "/groups/{id}/threads" => conversations::threads(app, request, group),
        "/groups/{id}/threads/{id}" => conversations::thread(app, request, group, id(0)),
        "/groups/{id}/threads/{id}/posts" => conversations::thread_posts(app, request, group, id(0)),
        "/groups/{id}/threads/{id}/posts/{id}/attachments" => {
            conversations::attachments(app, request, group, (id(0), id(1)))
        }
        "/groups/{id}/threads/{id}/posts/{id}/attachments/{id}/$value" => {
            conversations::attachment_value(app, group, id(0), id(1), id(2))
        }
        "/groups/{id}/planner/plans" => planner::plans(app, request, group),
        "/planner/plans/{id}/details" => planner::details(app, request, &planner::PLAN, id(0)),
        "/planner/plans/{id}/buckets" => planner::of_plan(app, request, id(0), &planner::BUCKET),
        "/planner/plans/{id}/tasks" => planner::of_plan(app, request, id(0), &planner::TASK),
        "/planner/tasks/{id}/details" => planner::details(app, request, &planner::TASK, id(0)),
        other => Err(Reply::no_segment(other)),
    }
}
