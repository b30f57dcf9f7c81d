//! Which handler a Graph path leads to, what it is counted against, and which roles it takes.

use super::app::App;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::throttle::Charge;
use super::{
    calendar_http, contacts, directory, doors, drive, login, mail, mail_delta, registration, route_groups, settings,
    sites, sites_http, tasks, writes,
};

const USERS: &[&str] = &["User.Read.All", "User.ReadBasic.All", "User.ReadWrite.All", "Directory.Read.All"];
const ORGANIZATION: &[&str] = &["Organization.Read.All", "Directory.Read.All", "User.Read.All"];
const APPLICATIONS: &[&str] = &["Application.Read.All", "Application.ReadWrite.OwnedBy", "Directory.Read.All"];
const LICENCES: &[&str] = &["LicenseAssignment.Read.All", "Organization.Read.All", "Directory.Read.All"];
const SETTINGS: &[&str] = &["MailboxSettings.Read", "MailboxSettings.ReadWrite"];
const MAIL_BASIC: &[&str] = &["Mail.ReadBasic.All", "Mail.Read", "Mail.ReadWrite"];
const MAIL: &[&str] = &["Mail.Read", "Mail.ReadWrite"];
const CONTACTS: &[&str] = &["Contacts.Read", "Contacts.ReadWrite"];
const CALENDARS: &[&str] = &["Calendars.Read", "Calendars.ReadWrite"];
const TASKS: &[&str] = &["Tasks.Read.All", "Tasks.ReadWrite.All"];
const FILES: &[&str] =
    &["Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All", "Sites.ReadWrite.All", "Sites.FullControl.All"];
const SITES: &[&str] = &["Sites.Read.All", "Sites.ReadWrite.All", "Sites.Manage.All", "Sites.FullControl.All"];
const RECORDS: &[&str] = &["RecordsManagement.Read.All", "RecordsManagement.ReadWrite.All"];
const SITES_FULL: &[&str] = &["Sites.FullControl.All"];
const TERMS: &[&str] = &["TermStore.Read.All", "TermStore.ReadWrite.All"];

/// A resolved path.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) template: &'static str,
    pub(super) charge: Charge,
    pub(super) roles: &'static [&'static str],
    /// The user whose data it is (0 where none is meant).
    pub(super) user: usize,
    /// The ids in the path after the user or drive.
    pub(super) ids: Vec<String>,
}

/// The delta of a list's items.
pub(super) const LIST_DELTA: &str = "/sites/{id}/lists/{id}/items/delta";

impl Route {
    /// One of the ids in the path.
    pub(super) fn id(&self, number: usize) -> &str {
        self.ids.get(number).map_or("", String::as_str)
    }

    /// 403 as the service of that route words it.
    pub(super) fn forbidden(&self) -> Reply {
        match self.charge {
            Charge::Mailbox(_) => {
                Reply::fail(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
            }
            Charge::Files(_) => Reply::fail(403, "accessDenied", "Access denied"),
            Charge::Teams(..) => {
                let text = format!(
                    "Missing role permissions on the request. API requires one of '{}'.",
                    self.roles.join(", ")
                );
                Reply::fail(403, "Forbidden", &text)
            }
            _ => Reply::fail(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
        }
    }
}

/// Puts a route together.
pub(super) fn made(
    template: &'static str,
    charge: Charge,
    roles: &'static [&'static str],
    user: usize,
    ids: &[&str],
) -> Answered {
    Ok(Route { template, charge, roles, user, ids: ids.iter().map(ToString::to_string).collect() })
}

/// A route, or the refusal.
pub(super) type Answered = Result<Route, Reply>;

/// Finds the route of a request.
pub(super) fn resolve(app: &App, request: &Request) -> Answered {
    let all: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let lower: Vec<String> = all.iter().map(|s| plain(s)).collect();
    let names: Vec<&str> = lower.iter().map(String::as_str).collect();
    if names == ["$batch"] && request.method == "POST" {
        return made("/$batch", Charge::Nothing, &[], 0, &[]);
    }
    if request.method != "GET" {
        if let Some(door) = doors::resolve(app, request, &all, &names) {
            return door;
        }
        return writes::resolve(app, request, &all, &names);
    }
    let selected = u64::from(request.option("$select").is_some());
    match names[..] {
        ["organization"] => made("/organization", Charge::Directory(1), ORGANIZATION, 0, &[]),
        ["subscribedskus"] => made("/subscribedSkus", Charge::Directory(3), LICENCES, 0, &[]),
        ["users"] => made("/users", Charge::Directory(2 - selected), USERS, 0, &[]),
        ["applications"] => made("/applications", Charge::Directory(1), APPLICATIONS, 0, &[]),
        ["users", _] => made("/users/{id}", Charge::Directory(1), USERS, directory::find(&app.read(), all[1])?, &[]),
        ["users", _, ..] => user_route(app, &all[1..], &names[1..], request),
        ["drives", _, ..] => drive_route(drive::owner(&app.read(), all[1])?, &all[2..], &names[2..], request),
        ["sites"] => made("/sites", Charge::Files(2), SITES, 0, &[]),
        ["sites", "getallsites"] => made("/sites/getAllSites", Charge::Files(2), SITES, 0, &[]),
        ["sites", host, .., _] if host.ends_with(':') => {
            let site = sites_http::find_by_path(&app.read(), host.trim_end_matches(':'), &all[2..])?;
            site_route(site, &[], &[], request)
        }
        ["sites", _, ..] => site_route(sites_http::find(&app.read(), all[1])?, &all[2..], &names[2..], request),
        ["groups", ..] => route_groups::resolve(app, &all, &names, request),
        ["teams", ..] => route_groups::resolve_team(app, &all, &names),
        ["chats", ..] => route_groups::resolve_chat(&all, &names),
        ["planner", ..] => route_groups::resolve_planner(&all, &names),
        ["me", ..] => {
            let text = "/me request is only valid with delegated authentication flow.";
            Err(Reply::fail(400, "BadRequest", text))
        }
        [] => Err(Reply::fail(400, "BadRequest", "Empty path.")),
        [..] => Err(Reply::no_segment(all[0])),
    }
}

/// A segment of a path in small letters; `graph` is another name of Microsoft's for its namespace.
fn plain(segment: &str) -> String {
    let lower = segment.to_ascii_lowercase();
    lower.strip_prefix("graph.").map_or_else(|| lower.clone(), |name| format!("microsoft.graph.{name}"))
}

fn user_route(app: &App, all: &[&str], names: &[&str], request: &Request) -> Answered {
    let world = app.read();
    let user = |code: &str, text: &str| world.user(all[0]).ok_or_else(|| Reply::fail(404, code, text));
    let mail_user = || user("ErrorInvalidUser", &format!("The requested user '{}' is invalid.", all[0]));
    match names[1..] {
        ["transitivememberof", "microsoft.graph.directoryrole"] => {
            let user = directory::find(&world, all[0])?;
            made("/users/{id}/transitiveMemberOf/directoryRole", Charge::Directory(1), USERS, user, &[])
        }
        ["licensedetails"] => {
            let user = directory::find(&world, all[0])?;
            made("/users/{id}/licenseDetails", Charge::Directory(2), USERS, user, &[])
        }
        ["mailboxsettings"] => {
            let user = mail_user()?;
            made("/users/{id}/mailboxSettings", Charge::Mailbox(user), SETTINGS, user, &[])
        }
        ["mailfolders", "inbox", "messagerules"] => {
            let user = mail_user()?;
            made("/users/{id}/mailFolders/inbox/messageRules", Charge::Mailbox(user), SETTINGS, user, &[])
        }
        ["outlook", "mastercategories"] => {
            let user = mail_user()?;
            made("/users/{id}/outlook/masterCategories", Charge::Mailbox(user), SETTINGS, user, &[])
        }
        ["inferenceclassification", "overrides"] => {
            let user = mail_user()?;
            made("/users/{id}/inferenceClassification/overrides", Charge::Mailbox(user), MAIL, user, &[])
        }
        ["todo", ..] => in_mailbox(mail_user()?, TASKS, tasks::route(&names[1..]), &all[1..]),
        ["mailfolders" | "messages", ..] => mail_route(mail_user()?, &all[1..], &names[1..]),
        ["contactfolders" | "contacts", ..] => contacts_route(mail_user()?, &all[1..], &names[1..]),
        ["calendars" | "calendargroups" | "events", ..] => {
            in_mailbox(mail_user()?, CALENDARS, calendar_http::route(&names[1..]), &all[1..])
        }
        ["chats", ..] => route_groups::user_chats(directory::find(&world, all[0])?, &names[1..]),
        ["drive", ..] => {
            let user = user("ResourceNotFound", "Resource could not be discovered.")?;
            drive_route(user, &all[2..], &names[2..], request)
        }
        ["drives"] => {
            let user = user("ResourceNotFound", "Resource could not be discovered.")?;
            made("/users/{id}/drives", Charge::Files(2), FILES, user, &[])
        }
        [_, ..] => Err(Reply::no_segment(all[1])),
        [] => Err(Reply::no_segment("users")),
    }
}

/// A route of a mailbox that a table of its own knows: template, and where ids stand.
fn in_mailbox(
    user: usize,
    roles: &'static [&'static str],
    found: Option<(&'static str, &'static [usize])>,
    all: &[&str],
) -> Answered {
    let (template, places) = found.ok_or_else(|| Reply::no_segment(all.last().copied().unwrap_or_default()))?;
    let ids: Vec<&str> = places.iter().filter_map(|place| all.get(*place).copied()).collect();
    made(template, Charge::Mailbox(user), roles, user, &ids)
}

fn mail_route(user: usize, all: &[&str], names: &[&str]) -> Answered {
    let charge = Charge::Mailbox(user);
    let at = |i: usize| all.get(i).copied().unwrap_or_default();
    let basic = |template, ids: &[&str]| made(template, charge, MAIL_BASIC, user, ids);
    let full = |template, ids: &[&str]| made(template, charge, MAIL, user, ids);
    match names {
        ["mailfolders"] => basic("/users/{id}/mailFolders", &[]),
        ["mailfolders", "delta"] => basic("/users/{id}/mailFolders/delta", &[]),
        ["mailfolders", _] => basic("/users/{id}/mailFolders/{id}", &[at(1)]),
        ["mailfolders", _, "childfolders"] => basic("/users/{id}/mailFolders/{id}/childFolders", &[at(1)]),
        ["mailfolders", _, "childfolders", _] => basic("/users/{id}/mailFolders/{id}", &[at(3)]),
        ["mailfolders", _, "messages"] => full("/users/{id}/mailFolders/{id}/messages", &[at(1)]),
        ["mailfolders", _, "messages", "delta"] => full("/users/{id}/mailFolders/{id}/messages/delta", &[at(1)]),
        ["mailfolders", _, "messages", ..] => mail_route(user, &all[2..], &names[2..]),
        ["messages"] => full("/users/{id}/messages", &[]),
        ["messages", _] => full("/users/{id}/messages/{id}", &[at(1)]),
        ["messages", _, "$value"] => full("/users/{id}/messages/{id}/$value", &[at(1)]),
        ["messages", _, "attachments"] => full("/users/{id}/messages/{id}/attachments", &[at(1)]),
        ["messages", _, "attachments", _] => full("/users/{id}/messages/{id}/attachments/{id}", &[at(1), at(3)]),
        ["messages", _, "attachments", _, "$value"] => {
            full("/users/{id}/messages/{id}/attachments/{id}/$value", &[at(1), at(3)])
        }
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

fn contacts_route(user: usize, all: &[&str], names: &[&str]) -> Answered {
    let at = |i: usize| all.get(i).copied().unwrap_or_default();
    let route = |template, ids: &[&str]| made(template, Charge::Mailbox(user), CONTACTS, user, ids);
    match names {
        ["contactfolders"] => route("/users/{id}/contactFolders", &[]),
        ["contactfolders", "delta"] => route("/users/{id}/contactFolders/delta", &[]),
        ["contactfolders", _] => route("/users/{id}/contactFolders/{id}", &[at(1)]),
        ["contactfolders", _, "childfolders"] => route("/users/{id}/contactFolders/{id}/childFolders", &[at(1)]),
        ["contactfolders", _, "contacts"] => route("/users/{id}/contactFolders/{id}/contacts", &[at(1)]),
        ["contactfolders", _, "contacts", "delta"] => route("/users/{id}/contactFolders/{id}/contacts/delta", &[at(1)]),
        ["contactfolders", _, "contacts", ..] => contacts_route(user, &all[2..], &names[2..]),
        ["contacts"] => route("/users/{id}/contactFolders/{id}/contacts", &["contacts"]),
        ["contacts", _] => route("/users/{id}/contacts/{id}", &[at(1)]),
        ["contacts", _, "photo", "$value"] => route("/users/{id}/contacts/{id}/photo/$value", &[at(1)]),
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

fn drive_route(user: usize, all: &[&str], names: &[&str], request: &Request) -> Answered {
    let at = |i: usize| all.get(i).copied().unwrap_or_default();
    let route = |template, units, ids: &[&str]| made(template, Charge::Files(units), FILES, user, ids);
    let delta_units = if drive::has_token(request) { 1 } else { 2 };
    match names {
        [] => route("/drives/{id}", 1, &[]),
        ["root"] => route("/drives/{id}/root", 1, &["root"]),
        ["root", "delta"] => route("/drives/{id}/root/delta", delta_units, &[]),
        ["root", "children"] => route("/drives/{id}/items/{id}/children", 2, &["root"]),
        ["items", _] => route("/drives/{id}/items/{id}", 1, &[at(1)]),
        ["items", "root", "delta"] => route("/drives/{id}/root/delta", delta_units, &[]),
        ["items", _, "children"] => route("/drives/{id}/items/{id}/children", 2, &[at(1)]),
        ["items", _, "content"] => route("/drives/{id}/items/{id}/content", 1, &[at(1)]),
        ["items", _, "permissions"] => route("/drives/{id}/items/{id}/permissions", 5, &[at(1)]),
        ["items", _, "retentionlabel"] => {
            made("/drives/{id}/items/{id}/retentionLabel", Charge::Files(1), RECORDS, user, &[at(1)])
        }
        ["items", _, "versions"] => route("/drives/{id}/items/{id}/versions", 2, &[at(1)]),
        ["items", _, "versions", _, "content"] => {
            route("/drives/{id}/items/{id}/versions/{id}/content", 1, &[at(1), at(3)])
        }
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

fn site_route(site: usize, all: &[&str], names: &[&str], request: &Request) -> Answered {
    let at = |i: usize| all.get(i).copied().unwrap_or_default();
    let route = |template, units, ids: &[&str]| made(template, Charge::Files(units), SITES, site, ids);
    let terms = |template, units, ids: &[&str]| made(template, Charge::Files(units), TERMS, site, ids);
    match names {
        [] => route("/sites/{id}", 1, &[]),
        ["sites"] => route("/sites/{id}/sites", 2, &[]),
        ["drives"] => made("/sites/{id}/drives", Charge::Files(2), FILES, site, &[]),
        ["columns"] => route("/sites/{id}/columns", 2, &[]),
        ["contenttypes"] => route("/sites/{id}/contentTypes", 2, &[]),
        ["permissions"] => made("/sites/{id}/permissions", Charge::Files(5), SITES_FULL, site, &[]),
        ["pages"] => route("/sites/{id}/pages", 2, &[]),
        ["pages", _, "microsoft.graph.sitepage"] => {
            route("/sites/{id}/pages/{id}/microsoft.graph.sitePage", 1, &[at(1)])
        }
        ["lists"] => route("/sites/{id}/lists", 2, &[]),
        ["lists", _] => route("/sites/{id}/lists/{id}", 1, &[at(1)]),
        ["lists", _, "columns"] => route("/sites/{id}/lists/{id}/columns", 2, &[at(1)]),
        ["lists", _, "contenttypes"] => route("/sites/{id}/lists/{id}/contentTypes", 2, &[at(1)]),
        ["lists", _, "permissions"] => route("/sites/{id}/lists/{id}/permissions", 5, &[at(1)]),
        ["lists", _, "items"] => route("/sites/{id}/lists/{id}/items", 2, &[at(1)]),
        ["lists", _, "items", "delta"] => {
            let units = if drive::has_token(request) { 1 } else { 2 };
            route(LIST_DELTA, units, &[at(1)])
        }
        ["lists", _, "items", _] => route("/sites/{id}/lists/{id}/items/{id}", 1, &[at(1), at(3)]),
        ["lists", _, "items", _, "versions"] => route("/sites/{id}/lists/{id}/items/{id}/versions", 2, &[at(1), at(3)]),
        ["termstore"] => terms("/sites/{id}/termStore", 1, &["store"]),
        ["termstore", "groups"] => terms("/sites/{id}/termStore/groups", 2, &["groups"]),
        ["termstore", "groups", _] => terms("/sites/{id}/termStore/groups/{id}", 1, &["group", at(2)]),
        ["termstore", "sets", _] => terms("/sites/{id}/termStore/sets/{id}", 1, &["set", at(2)]),
        ["termstore", "groups", _, "sets"] => terms("/sites/{id}/termStore/groups/{id}/sets", 2, &["sets", at(2)]),
        ["termstore", "sets", _, "children"] => {
            terms("/sites/{id}/termStore/sets/{id}/children", 2, &["children", at(2)])
        }
        ["termstore", "sets", _, "terms", _] => {
            terms("/sites/{id}/termStore/sets/{id}/terms/{id}", 1, &["term", at(2), at(4)])
        }
        ["termstore", "sets", _, "terms"] => terms("/sites/{id}/termStore/sets/{id}/terms", 2, &["terms", at(2)]),
        ["termstore", "sets", _, "relations"] => {
            terms("/sites/{id}/termStore/sets/{id}/relations", 2, &["relations", at(2)])
        }
        ["termstore", "sets", _, "terms", _, "children"] => {
            terms("/sites/{id}/termStore/sets/{id}/terms/{id}/children", 2, &["below", at(2), at(4)])
        }
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

/// Runs the handler of a route.
pub(super) fn run(app: &App, request: &Request, route: &Route) -> Answer {
    if let Some(answer) = doors::run(app, request, route) {
        return answer;
    }
    let user = route.user;
    let id = |i: usize| route.id(i);
    if request.method != "GET" {
        return writes::run(app, request, route);
    }
    match route.template {
        "/organization" => directory::organization(app, request),
        "/subscribedSkus" => directory::subscribed_skus(app, request),
        "/users" => directory::users(app, request),
        "/users/{id}" => directory::user(app, request, user),
        "/applications" => registration::applications(app, request),
        "/users/{id}/transitiveMemberOf/directoryRole" => Ok(login::directory_roles(app, user)),
        "/users/{id}/licenseDetails" => directory::license_details(app, request, user),
        "/users/{id}/mailboxSettings" => settings::get(app, request, user),
        "/users/{id}/mailFolders" => mail::folders(app, request, user, "msgfolderroot"),
        "/users/{id}/mailFolders/delta" => mail_delta::folders_delta(app, request, user),
        "/users/{id}/mailFolders/{id}" => mail::folder_get(app, request, user, id(0)),
        "/users/{id}/mailFolders/{id}/childFolders" => mail::folders(app, request, user, id(0)),
        "/users/{id}/mailFolders/{id}/messages" => mail::messages(app, request, user, Some(id(0))),
        "/users/{id}/mailFolders/{id}/messages/delta" => mail_delta::messages_delta(app, request, user, id(0)),
        "/users/{id}/messages" => mail::messages(app, request, user, None),
        "/users/{id}/messages/{id}" => mail::message(app, request, user, id(0)),
        "/users/{id}/messages/{id}/$value" => mail::message_mime(app, request, user, id(0)),
        "/users/{id}/messages/{id}/attachments" => mail::attachments(app, request, user, id(0)),
        "/users/{id}/messages/{id}/attachments/{id}" => mail::attachment(app, request, user, (id(0), id(1)), false),
        "/users/{id}/messages/{id}/attachments/{id}/$value" => {
            mail::attachment(app, request, user, (id(0), id(1)), true)
        }
        "/users/{id}/contactFolders" => contacts::folders(app, request, user, None),
        "/users/{id}/contactFolders/delta" => contacts::folders_delta(app, request, user),
        "/users/{id}/contactFolders/{id}" => contacts::folder_get(app, request, user, id(0)),
        "/users/{id}/contactFolders/{id}/childFolders" => contacts::folders(app, request, user, Some(id(0))),
        "/users/{id}/contactFolders/{id}/contacts" => contacts::contacts(app, request, user, id(0)),
        "/users/{id}/contactFolders/{id}/contacts/delta" => contacts::contacts_delta(app, request, user, id(0)),
        "/users/{id}/contacts/{id}" => contacts::contact_get(app, request, user, id(0)),
        "/users/{id}/contacts/{id}/photo/$value" => contacts::photo_value(app, user, id(0)),
        "/users/{id}/mailFolders/inbox/messageRules"
        | "/users/{id}/outlook/masterCategories"
        | "/users/{id}/inferenceClassification/overrides" => settings::list(app, request, route.template, user),
        path if path.starts_with("/users/{id}/todo/") => tasks::run(app, request, path, user, &route.ids),
        path if path.starts_with("/users/{id}/calendar") || path.starts_with("/users/{id}/events") => {
            calendar_http::run(app, request, path, user, &route.ids)
        }
        "/users/{id}/drives" => drive::drives(app, request, user),
        "/drives/{id}" => drive::drive_get(app, request, user),
        "/drives/{id}/root" | "/drives/{id}/items/{id}" => drive::item_get(app, request, user, id(0)),
        "/drives/{id}/root/delta" => drive::delta(app, request, user),
        "/drives/{id}/items/{id}/children" => drive::children(app, request, user, id(0)),
        "/drives/{id}/items/{id}/content" => drive::content(app, request, user, id(0)),
        "/drives/{id}/items/{id}/permissions" => drive::permissions(app, request, user, id(0)),
        "/drives/{id}/items/{id}/retentionLabel" => drive::retention_label(app, request, user, id(0)),
        "/drives/{id}/items/{id}/versions" => drive::versions(app, request, user, id(0)),
        "/drives/{id}/items/{id}/versions/{id}/content" => drive::version_content(app, request, user, id(0), id(1)),
        "/sites" => sites_http::found_sites(app, request),
        "/sites/getAllSites" => sites_http::all_sites(app, request),
        template if template.starts_with("/sites/") => run_site(app, request, route),
        _ => route_groups::run(app, request, route),
    }
}

fn run_site(app: &App, request: &Request, route: &Route) -> Answer {
    let site = route.user;
    let id = |i: usize| route.id(i);
    match route.template {
        "/sites/{id}" => sites_http::site(app, request, site),
        "/sites/{id}/sites" => sites_http::subsites(app, request, site),
        "/sites/{id}/drives" => sites_http::drives(app, request, site),
        "/sites/{id}/columns" => sites_http::facts(app, request, site, &sites::COLUMN),
        "/sites/{id}/contentTypes" => sites_http::facts(app, request, site, &sites::TYPE),
        "/sites/{id}/permissions" => sites_http::facts(app, request, site, &sites::GRANT),
        "/sites/{id}/pages" => sites_http::pages(app, request, site),
        "/sites/{id}/pages/{id}/microsoft.graph.sitePage" => sites_http::page(app, request, site, id(0)),
        "/sites/{id}/lists" => sites_http::lists(app, request, site),
        "/sites/{id}/lists/{id}" => sites_http::of_list(app, request, site, id(0), "list"),
        "/sites/{id}/lists/{id}/columns" => sites_http::of_list(app, request, site, id(0), "columns"),
        "/sites/{id}/lists/{id}/contentTypes" => sites_http::of_list(app, request, site, id(0), "contentTypes"),
        "/sites/{id}/lists/{id}/permissions" => sites_http::of_list(app, request, site, id(0), "permissions"),
        "/sites/{id}/lists/{id}/items" => sites_http::items(app, request, site, id(0)),
        LIST_DELTA => sites_http::delta(app, request, site, id(0)),
        "/sites/{id}/lists/{id}/items/{id}" => sites_http::of_item(app, request, site, (id(0), id(1)), false),
        "/sites/{id}/lists/{id}/items/{id}/versions" => sites_http::of_item(app, request, site, (id(0), id(1)), true),
        _ => sites_http::term_store(app, request, site, id(0), (id(1), id(2))),
    }
}
