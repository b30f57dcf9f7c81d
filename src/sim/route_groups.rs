//! Which handler a path of groups, teams, plans and chats leads to.

use super::app::App;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::hash_text;
use super::route::{Answered, Route, made};
use super::team::{self, Which};
use super::throttle::{Charge, GROUP_MAILBOXES, TeamsKind};
use super::{calendar_http, channels, chats, conversations, groups, planner};

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

const TEAMS: &[&str] = &[
    "TeamSettings.Read.All",
    "TeamSettings.ReadWrite.All",
    "Team.ReadBasic.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];
const TEAM_MEMBERS: &[&str] = &["TeamMember.Read.All", "TeamMember.ReadWrite.All"];
const CHANNELS: &[&str] = &[
    "Channel.ReadBasic.All",
    "ChannelSettings.Read.All",
    "ChannelSettings.ReadWrite.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];
const ALL_CHANNELS: &[&str] = &["Channel.ReadBasic.All", "ChannelSettings.Read.All", "ChannelSettings.ReadWrite.All"];
const CHANNEL_MEMBERS: &[&str] = &["ChannelMember.Read.All", "ChannelMember.ReadWrite.All"];
const TABS: &[&str] = &[
    "TeamsTab.Read.All",
    "TeamsTab.ReadWrite.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];
const APPS: &[&str] = &[
    "TeamsAppInstallation.ReadForTeam.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];
const TAGS: &[&str] = &["TeamworkTag.Read.All", "TeamworkTag.ReadWrite.All"];
const FILES: &[&str] = &[
    "Files.Read.All",
    "Files.ReadWrite.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Sites.Read.All",
    "Sites.ReadWrite.All",
];
const CHANNEL_MESSAGES: &[&str] = &["ChannelMessage.Read.All", "Group.Read.All", "Group.ReadWrite.All"];
const CHATS: &[&str] = &["Chat.ReadBasic.All", "Chat.Read.All", "Chat.ReadWrite.All"];
const CHAT_MESSAGES: &[&str] = &["Chat.Read.All", "Chat.ReadWrite.All"];

/// The events of a group's calendar: for members who sign in alone (REFERENCE section 6.7).
pub(super) const EVENTS: &str = "/groups/{id}/events";
const CALENDARS: &[&str] = &["Group.Read.All", "Group.ReadWrite.All"];

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
        ["transitivemembers"] => directory("/groups/{id}/transitiveMembers", 5 - selected),
        ["owners"] => directory("/groups/{id}/owners", 2 - selected),
        ["drives"] => made("/groups/{id}/drives", Charge::Files(2), FILES, group, &[]),
        ["planner", "plans"] => made("/groups/{id}/planner/plans", Charge::Nothing, TASKS, group, &[]),
        ["threads", ..] => threads(group, &all[2..], &names[2..]),
        ["events"] => made(EVENTS, Charge::Mailbox(GROUP_MAILBOXES + group), CALENDARS, group, &[]),
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

/// Finds the route of a path that begins with `planner`.
pub(super) fn resolve_planner(all: &[&str], names: &[&str]) -> Answered {
    // Planner publishes no limits.
    let route = |template| made(template, Charge::Nothing, TASKS, 0, &all[2..3]);
    match names[1..] {
        ["plans", _] => route("/planner/plans/{id}"),
        ["buckets", _] => route("/planner/buckets/{id}"),
        ["tasks", _] => route("/planner/tasks/{id}"),
        ["plans", _, "details"] => route("/planner/plans/{id}/details"),
        ["plans", _, "buckets"] => route("/planner/plans/{id}/buckets"),
        ["plans", _, "tasks"] => route("/planner/plans/{id}/tasks"),
        ["tasks", _, "details"] => route("/planner/tasks/{id}/details"),
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

/// Finds the route of a path that begins with `teams`.
pub(super) fn resolve_team(app: &App, all: &[&str], names: &[&str]) -> Answered {
    if names.len() < 2 {
        return Err(Reply::no_segment("teams"));
    }
    let group = team::find(&app.read(), all[1])?;
    let one = hash_text(0, all[1]) | 1;
    let route = |template, kind, roles, ids: &[&str]| made(template, Charge::Teams(kind, one), roles, group, ids);
    match names[2..] {
        [] => route("/teams/{id}", TeamsKind::Team, TEAMS, &[]),
        ["members"] => route("/teams/{id}/members", TeamsKind::Channels, TEAM_MEMBERS, &[]),
        ["channels"] => route("/teams/{id}/channels", TeamsKind::Channels, CHANNELS, &[]),
        ["allchannels"] => route("/teams/{id}/allChannels", TeamsKind::Channels, ALL_CHANNELS, &[]),
        ["installedapps"] => route("/teams/{id}/installedApps", TeamsKind::Team, APPS, &[]),
        ["tags"] => route("/teams/{id}/tags", TeamsKind::Other, TAGS, &[]),
        ["tags", _, "members"] => route("/teams/{id}/tags/{id}/members", TeamsKind::Other, TAGS, &all[3..4]),
        ["channels", _, ..] => channel_route(group, &all[3..], &names[3..]),
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

fn channel_route(group: usize, all: &[&str], names: &[&str]) -> Answered {
    let one = hash_text(0, all[0]) | 1;
    let route = |template, kind, roles, ids: &[&str]| made(template, Charge::Teams(kind, one), roles, group, ids);
    let message = |template, ids: &[&str]| route(template, TeamsKind::Message, CHANNEL_MESSAGES, ids);
    match names[1..] {
        ["members"] => route("/teams/{id}/channels/{id}/members", TeamsKind::Channels, CHANNEL_MEMBERS, &all[..1]),
        ["tabs"] => route("/teams/{id}/channels/{id}/tabs", TeamsKind::Team, TABS, &all[..1]),
        ["filesfolder"] => route("/teams/{id}/channels/{id}/filesFolder", TeamsKind::Other, FILES, &all[..1]),
        ["messages"] => message("/teams/{id}/channels/{id}/messages", &all[..1]),
        ["messages", "delta"] => message("/teams/{id}/channels/{id}/messages/delta", &all[..1]),
        ["messages", _] => message("/teams/{id}/channels/{id}/messages/{id}", &[all[0], all[2]]),
        ["messages", _, "replies"] => message("/teams/{id}/channels/{id}/messages/{id}/replies", &[all[0], all[2]]),
        ["messages", _, "replies", _] => {
            message("/teams/{id}/channels/{id}/messages/{id}/replies/{id}", &[all[0], all[2], all[4]])
        }
        ["messages", _, "hostedcontents", _, "$value"] => {
            message("/teams/{id}/channels/{id}/messages/{id}/hostedContents/{id}/$value", &[all[0], all[2], all[4]])
        }
        ["messages", _, "replies", _, "hostedcontents", _, "$value"] => {
            let template = "/teams/{id}/channels/{id}/messages/{id}/replies/{id}/hostedContents/{id}/$value";
            message(template, &[all[0], all[2], all[4], all[6]])
        }
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

/// Finds the route of a path that begins with `chats`.
pub(super) fn resolve_chat(all: &[&str], names: &[&str]) -> Answered {
    let route = |template, kind, roles, ids: &[&str]| made(template, Charge::Teams(kind, 0), roles, 0, ids);
    let message = |template, ids: &[&str]| route(template, TeamsKind::Message, CHAT_MESSAGES, ids);
    match names[1..] {
        [_] => route("/chats/{id}", TeamsKind::Other, CHATS, &all[1..2]),
        [_, "members"] => route("/chats/{id}/members", TeamsKind::Channels, CHATS, &all[1..2]),
        [_, "messages"] => message("/chats/{id}/messages", &all[1..2]),
        [_, "messages", _] => message("/chats/{id}/messages/{id}", &[all[1], all[3]]),
        [_, "messages", _, "hostedcontents", _, "$value"] => {
            message("/chats/{id}/messages/{id}/hostedContents/{id}/$value", &[all[1], all[3], all[5]])
        }
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

/// Finds the route of a user's chats.
pub(super) fn user_chats(user: usize, names: &[&str]) -> Answered {
    match names {
        ["chats"] => made("/users/{id}/chats", Charge::Teams(TeamsKind::Other, 0), CHATS, user, &[]),
        ["chats", "getallmessages"] => {
            let charge = Charge::Teams(TeamsKind::Export, 0);
            made("/users/{id}/chats/getAllMessages", charge, CHAT_MESSAGES, user, &[])
        }
        _ => Err(Reply::no_segment("chats")),
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
        // No group of this tenant is in another.
        "/groups/{id}/members" | "/groups/{id}/transitiveMembers" => groups::people(app, request, group, false),
        "/groups/{id}/owners" => groups::people(app, request, group, true),
        EVENTS => calendar_http::of_group(app, request, group),
        "/groups/{id}/threads" => conversations::threads(app, request, group),
        "/groups/{id}/threads/{id}" => conversations::thread(app, request, group, id(0)),
        "/groups/{id}/threads/{id}/posts" => conversations::thread_posts(app, request, group, id(0)),
        "/groups/{id}/threads/{id}/posts/{id}/attachments" => {
            conversations::attachments(app, request, group, (id(0), id(1)))
        }
        "/groups/{id}/threads/{id}/posts/{id}/attachments/{id}/$value" => {
            conversations::attachment_value(app, group, id(0), id(1), id(2))
        }
        "/groups/{id}/drives" => team::drives(app, request, group),
        "/groups/{id}/planner/plans" => planner::plans(app, request, group),
        "/planner/plans/{id}" => planner::one(app, request, &planner::PLAN, id(0)),
        "/planner/buckets/{id}" => planner::one(app, request, &planner::BUCKET, id(0)),
        "/planner/tasks/{id}" => planner::one(app, request, &planner::TASK, id(0)),
        "/planner/plans/{id}/details" => planner::details(app, request, &planner::PLAN, id(0)),
        "/planner/plans/{id}/buckets" => planner::of_plan(app, request, id(0), &planner::BUCKET),
        "/planner/plans/{id}/tasks" => planner::of_plan(app, request, id(0), &planner::TASK),
        "/planner/tasks/{id}/details" => planner::details(app, request, &planner::TASK, id(0)),
        other => run_teams(app, request, route, other),
    }
}

fn run_teams(app: &App, request: &Request, route: &Route, template: &str) -> Answer {
    let group = route.user;
    let id = |i: usize| route.ids.get(i).map_or("", String::as_str);
    let list = |which| team::list(app, request, group, which);
    let rest = route.ids.get(1..).unwrap_or_default();
    match template {
        "/teams/{id}" => team::team_get(app, request, group),
        "/teams/{id}/members" => list(Which::Members),
        "/teams/{id}/channels" => list(Which::Channels),
        "/teams/{id}/allChannels" => list(Which::AllChannels),
        "/teams/{id}/installedApps" => list(Which::Apps),
        "/teams/{id}/tags" => list(Which::Tags),
        "/teams/{id}/tags/{id}/members" => list(Which::TagMembers(id(0))),
        "/teams/{id}/channels/{id}/members" => list(Which::ChannelMembers(id(0))),
        "/teams/{id}/channels/{id}/tabs" => list(Which::Tabs(id(0))),
        "/teams/{id}/channels/{id}/filesFolder" => team::files_folder(app, request, group, id(0)),
        "/teams/{id}/channels/{id}/messages" => channels::messages(app, request, group, id(0)),
        "/teams/{id}/channels/{id}/messages/delta" => channels::delta(app, request, group, id(0)),
        "/teams/{id}/channels/{id}/messages/{id}" | "/teams/{id}/channels/{id}/messages/{id}/replies/{id}" => {
            channels::message(app, request, group, (id(0), rest))
        }
        "/teams/{id}/channels/{id}/messages/{id}/replies" => channels::replies(app, request, group, (id(0), id(1))),
        "/teams/{id}/channels/{id}/messages/{id}/hostedContents/{id}/$value"
        | "/teams/{id}/channels/{id}/messages/{id}/replies/{id}/hostedContents/{id}/$value" => {
            channels::hosted_value(app, group, id(0), rest)
        }
        "/users/{id}/chats" => chats::chats(app, request, route.user),
        "/users/{id}/chats/getAllMessages" => chats::all_messages(app, request, route.user),
        "/chats/{id}" => chats::chat(app, request, id(0)),
        "/chats/{id}/members" => chats::chat_members(app, request, id(0)),
        "/chats/{id}/messages" => chats::messages(app, request, id(0)),
        "/chats/{id}/messages/{id}" => chats::message(app, request, id(0), id(1)),
        "/chats/{id}/messages/{id}/hostedContents/{id}/$value" => chats::hosted_value(app, id(0), rest),
        other => Err(Reply::no_segment(other)),
    }
}
