//! Which handler a Graph path leads to, what it is counted against, and which roles it takes.

use super::app::App;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::throttle::Charge;
use super::{contacts, directory, drive, login, mail, mail_delta, registration};

const USERS: &[&str] = &["User.Read.All", "User.ReadBasic.All", "User.ReadWrite.All", "Directory.Read.All"];
const ORGANIZATION: &[&str] = &["Organization.Read.All", "Directory.Read.All", "User.Read.All"];
const APPLICATIONS: &[&str] = &["Application.Read.All", "Application.ReadWrite.OwnedBy", "Directory.Read.All"];
const LICENCES: &[&str] = &["LicenseAssignment.Read.All", "Organization.Read.All", "Directory.Read.All"];
const SETTINGS: &[&str] = &["MailboxSettings.Read", "MailboxSettings.ReadWrite"];
const MAIL_BASIC: &[&str] = &["Mail.ReadBasic.All", "Mail.Read", "Mail.ReadWrite"];
const MAIL: &[&str] = &["Mail.Read", "Mail.ReadWrite"];
const CONTACTS: &[&str] = &["Contacts.Read", "Contacts.ReadWrite"];
const FILES: &[&str] =
    &["Files.Read.All", "Files.ReadWrite.All", "Sites.Read.All", "Sites.ReadWrite.All", "Sites.FullControl.All"];

/// A resolved path.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) template: &'static str,
    pub(super) charge: Charge,
    pub(super) roles: &'static [&'static str],
    /// The user whose data it is (0 where none is meant).
    pub(super) user: usize,
    /// The ids in the path after the user or drive.
    ids: Vec<String>,
}

impl Route {
    /// 403 as the service of that route words it.
    pub(super) fn forbidden(&self) -> Reply {
        match self.charge {
            Charge::Mailbox(_) => {
                Reply::fail(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
            }
            Charge::Files(_) => Reply::fail(403, "accessDenied", "Access denied"),
            _ => Reply::fail(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
        }
    }
}

fn made(template: &'static str, charge: Charge, roles: &'static [&'static str], user: usize, ids: &[&str]) -> Answered {
    Ok(Route { template, charge, roles, user, ids: ids.iter().map(ToString::to_string).collect() })
}

type Answered = Result<Route, Reply>;

/// Finds the route of a request.
pub(super) fn resolve(app: &App, request: &Request) -> Answered {
    let all: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let lower: Vec<String> = all.iter().map(|s| s.to_ascii_lowercase()).collect();
    let names: Vec<&str> = lower.iter().map(String::as_str).collect();
    if names == ["$batch"] && request.method == "POST" {
        return made("/$batch", Charge::Nothing, &[], 0, &[]);
    }
    if request.method != "GET" {
        let text = "Specified HTTP method is not allowed for the request target.";
        return Err(Reply::fail(405, "Request_BadRequest", text).header("Allow", "GET"));
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
        ["me", ..] => {
            let text = "/me request is only valid with delegated authentication flow.";
            Err(Reply::fail(400, "BadRequest", text))
        }
        [] => Err(Reply::fail(400, "BadRequest", "Empty path.")),
        [..] => Err(Reply::no_segment(all[0])),
    }
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
        ["mailfolders" | "messages", ..] => mail_route(mail_user()?, &all[1..], &names[1..]),
        ["contactfolders" | "contacts", ..] => contacts_route(mail_user()?, &all[1..], &names[1..]),
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
        ["items", _, "versions"] => route("/drives/{id}/items/{id}/versions", 2, &[at(1)]),
        ["items", _, "versions", _, "content"] => {
            route("/drives/{id}/items/{id}/versions/{id}/content", 1, &[at(1), at(3)])
        }
        _ => Err(Reply::no_segment(all.last().copied().unwrap_or_default())),
    }
}

/// Runs the handler of a route.
pub(super) fn run(app: &App, request: &Request, route: &Route) -> Answer {
    let user = route.user;
    let id = |i: usize| route.ids.get(i).map_or("", String::as_str);
    match route.template {
        "/organization" => directory::organization(app, request),
        "/subscribedSkus" => directory::subscribed_skus(app, request),
        "/users" => directory::users(app, request),
        "/users/{id}" => directory::user(app, request, user),
        "/applications" => registration::applications(app, request),
        "/users/{id}/transitiveMemberOf/directoryRole" => Ok(login::directory_roles(app, user)),
        "/users/{id}/licenseDetails" => directory::license_details(app, request, user),
        "/users/{id}/mailboxSettings" => directory::mailbox_settings(app, request, user),
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
        "/users/{id}/drives" => drive::drives(app, request, user),
        "/drives/{id}" => drive::drive_get(app, request, user),
        "/drives/{id}/root" | "/drives/{id}/items/{id}" => drive::item_get(app, request, user, id(0)),
        "/drives/{id}/root/delta" => drive::delta(app, request, user),
        "/drives/{id}/items/{id}/children" => drive::children(app, request, user, id(0)),
        "/drives/{id}/items/{id}/content" => drive::content(app, request, user, id(0)),
        "/drives/{id}/items/{id}/versions" => drive::versions(app, request, user, id(0)),
        "/drives/{id}/items/{id}/versions/{id}/content" => drive::version_content(app, request, user, id(0), id(1)),
        other => Err(Reply::no_segment(other)),
    }
}
