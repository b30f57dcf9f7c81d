//! Which handler a Graph request that writes leads to, and which roles it takes.

use super::app::App;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::route::{Answered, Route, made};
use super::throttle::Charge;
use super::{drive, drive_write, mail_write};

const MAIL: &[&str] = &["Mail.ReadWrite"];
const FILES: &[&str] = &["Files.ReadWrite.All", "Sites.ReadWrite.All", "Sites.FullControl.All"];

fn not_allowed() -> Reply {
    let text = "Specified HTTP method is not allowed for the request target.";
    Reply::fail(405, "Request_BadRequest", text).header("Allow", "GET")
}

/// Finds the route of a request that writes.
pub(super) fn resolve(app: &App, request: &Request, all: &[&str], names: &[&str]) -> Answered {
    let method = request.method.as_str();
    match names {
        ["users", _, "mailfolders" | "messages", ..] => {
            let world = app.read();
            let text = format!("The requested user '{}' is invalid.", all[1]);
            let user = world.user(all[1]).ok_or_else(|| Reply::fail(404, "ErrorInvalidUser", &text))?;
            mail_route(method, user, &all[2..], &names[2..])
        }
        ["drives", _, ..] => {
            let number = drive::owner(&app.read(), all[1])?;
            drive_route(method, number, &all[2..], &names[2..])
        }
        _ => Err(not_allowed()),
    }
}

fn mail_route(method: &str, user: usize, all: &[&str], names: &[&str]) -> Answered {
    let route = |template, ids: &[&str]| made(template, Charge::Mailbox(user), MAIL, user, ids);
    let at = |i: usize| all.get(i).copied().unwrap_or_default();
    match (method, names) {
        ("POST", ["mailfolders"]) => route("/users/{id}/mailFolders", &["msgfolderroot"]),
        ("POST", ["mailfolders", _, "childfolders"]) => route("/users/{id}/mailFolders/{id}/childFolders", &[at(1)]),
        ("DELETE", ["mailfolders", _]) => route("/users/{id}/mailFolders/{id}", &[at(1)]),
        ("POST", ["mailfolders", _, "messages"]) => route("/users/{id}/mailFolders/{id}/messages", &[at(1)]),
        ("POST", ["messages"]) => route("/users/{id}/mailFolders/{id}/messages", &["drafts"]),
        ("PATCH" | "DELETE", ["messages", _]) => route("/users/{id}/messages/{id}", &[at(1)]),
        ("POST", ["messages", _, "move"]) => route("/users/{id}/messages/{id}/move", &[at(1)]),
        ("POST", ["messages", _, "attachments"]) => route("/users/{id}/messages/{id}/attachments", &[at(1)]),
        ("POST", ["messages", _, "attachments", "createuploadsession"]) => {
            route("/users/{id}/messages/{id}/attachments/createUploadSession", &[at(1)])
        }
        _ => Err(not_allowed()),
    }
}

fn drive_route(method: &str, number: usize, all: &[&str], names: &[&str]) -> Answered {
    let route = |template, units, ids: &[&str]| made(template, Charge::Files(units), FILES, number, ids);
    let at = |i: usize| all.get(i).copied().unwrap_or_default();
    // `items/{parent}:/{name}:/content` names a file that may not be there yet.
    let by_path = |i: usize| at(i).strip_suffix(':');
    match (method, names) {
        ("POST", ["root", "children"]) => route("/drives/{id}/items/{id}/children", 2, &["root"]),
        ("POST", ["items", _, "children"]) => route("/drives/{id}/items/{id}/children", 2, &[at(1)]),
        ("PATCH" | "DELETE", ["items", _]) => route("/drives/{id}/items/{id}", 2, &[at(1)]),
        ("PUT", ["items", _, "content"]) => route("/drives/{id}/items/{id}/content", 2, &[at(1)]),
        ("POST", ["items", _, "createuploadsession"]) => {
            route("/drives/{id}/items/{id}/createUploadSession", 2, &[at(1)])
        }
        ("PUT", ["items", _, _, "content"]) => match (by_path(1), by_path(2)) {
            (Some(parent), Some(name)) => route("/drives/{id}/items/{id}/content", 2, &[parent, name]),
            _ => Err(not_allowed()),
        },
        ("POST", ["items", _, _, "createuploadsession"]) => match (by_path(1), by_path(2)) {
            (Some(parent), Some(name)) => route("/drives/{id}/items/{id}/createUploadSession", 2, &[parent, name]),
            _ => Err(not_allowed()),
        },
        ("POST", ["items", _, "invite"]) => route("/drives/{id}/items/{id}/invite", 5, &[at(1)]),
        ("POST", ["items", _, "createlink"]) => route("/drives/{id}/items/{id}/createLink", 5, &[at(1)]),
        ("POST", ["items", _, "versions", _, "restoreversion"]) => {
            route("/drives/{id}/items/{id}/versions/{id}/restoreVersion", 2, &[at(1), at(3)])
        }
        _ => Err(not_allowed()),
    }
}

/// Runs the handler of a route that writes.
pub(super) fn run(app: &App, request: &Request, route: &Route) -> Answer {
    let (user, id) = (route.user, |i: usize| route.id(i));
    match (request.method.as_str(), route.template) {
        ("POST", "/users/{id}/mailFolders" | "/users/{id}/mailFolders/{id}/childFolders") => {
            mail_write::create_folder(app, request, user, id(0))
        }
        ("DELETE", "/users/{id}/mailFolders/{id}") => mail_write::delete_folder(app, user, id(0)),
        ("POST", "/users/{id}/mailFolders/{id}/messages") => mail_write::create_message(app, request, user, id(0)),
        ("PATCH", "/users/{id}/messages/{id}") => mail_write::patch_message(app, request, user, id(0)),
        ("DELETE", "/users/{id}/messages/{id}") => mail_write::delete_message(app, user, id(0)),
        ("POST", "/users/{id}/messages/{id}/move") => mail_write::move_message(app, request, user, id(0)),
        ("POST", "/users/{id}/messages/{id}/attachments") => mail_write::create_attachment(app, request, user, id(0)),
        ("POST", "/users/{id}/messages/{id}/attachments/createUploadSession") => {
            mail_write::attachment_session(app, request, user, id(0))
        }
        ("POST", "/drives/{id}/items/{id}/children") => drive_write::create_folder(app, request, user, id(0)),
        ("PATCH", "/drives/{id}/items/{id}") => drive_write::patch(app, request, user, id(0)),
        ("DELETE", "/drives/{id}/items/{id}") => drive_write::delete(app, user, id(0)),
        ("PUT", "/drives/{id}/items/{id}/content") => drive_write::put_content(app, request, user, &route.ids),
        ("POST", "/drives/{id}/items/{id}/createUploadSession") => drive_write::session(app, request, user, &route.ids),
        ("POST", "/drives/{id}/items/{id}/invite") => drive_write::invite(app, request, user, id(0)),
        ("POST", "/drives/{id}/items/{id}/createLink") => drive_write::create_link(app, request, user, id(0)),
        ("POST", "/drives/{id}/items/{id}/versions/{id}/restoreVersion") => {
            drive_write::restore_version(app, user, id(0), id(1))
        }
        _ => Err(not_allowed()),
    }
}
