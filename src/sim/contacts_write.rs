//! Contacts that clients write: folders, contacts, photos.

use serde_json::{Map, Value, json};

use super::app::App;
use super::contacts::{CONTACT, DEFAULT, FOLDER, contact, context, folder};
use super::content::Blob;
use super::doors::{Door, EXTENDED, New, create, exists, gone, in_mailbox, shown};
use super::letter::Cast;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::route::Route;
use super::schema::Entity;
use super::shelf::{Shelf, TOP};

const ROLES: &[&str] = &["Contacts.ReadWrite"];
/// Largest photo that Exchange takes.
const PHOTO_LIMIT: usize = 4 << 20;

static CONTACT_ENTITY: Entity = Entity {
    name: "contact",
    read_only: &["changeKey", "createdDateTime", "lastModifiedDateTime", "parentFolderId"],
    required: &[],
    beside: &[EXTENDED],
};
static FOLDER_ENTITY: Entity =
    Entity { name: "contactFolder", read_only: &["parentFolderId"], required: &["displayName"], beside: &[] };

pub(super) const DOORS: &[Door] = &[
    Door { method: "POST", path: "/users/{id}/contactFolders", roles: ROLES, run: add_folder },
    Door { method: "POST", path: "/users/{id}/contactFolders/{id}/childFolders", roles: ROLES, run: add_folder },
    Door { method: "PATCH", path: "/users/{id}/contactFolders/{id}", roles: ROLES, run: change_folder },
    Door { method: "DELETE", path: "/users/{id}/contactFolders/{id}", roles: ROLES, run: remove_folder },
    Door { method: "POST", path: "/users/{id}/contactFolders/{id}/contacts", roles: ROLES, run: add_contact },
    Door { method: "POST", path: "/users/{id}/contacts", roles: ROLES, run: add_contact },
    Door { method: "PATCH", path: "/users/{id}/contacts/{id}", roles: ROLES, run: change_contact },
    Door { method: "DELETE", path: "/users/{id}/contacts/{id}", roles: ROLES, run: remove_contact },
    Door { method: "PUT", path: "/users/{id}/contacts/{id}/photo/$value", roles: ROLES, run: put_photo },
];

/// Refuses a name that a folder beside it has.
fn free(cast: &Cast, shelf: &Shelf, parent: u32, body: &Map<String, Value>) -> Answer<()> {
    let name = body.get("displayName").and_then(Value::as_str).unwrap_or_default();
    let same = |number: u32| {
        let json = shelf.json(cast, number);
        json["displayName"].as_str().is_some_and(|other| other.eq_ignore_ascii_case(name))
    };
    if shelf.below(&FOLDER, parent).any(same) { Err(exists(name)) } else { Ok(()) }
}

fn add_folder(app: &App, request: &Request, route: &Route) -> Answer {
    let body = FOLDER_ENTITY.new_body(request)?;
    in_mailbox(app, route, |user, now| {
        let parent = route.ids.first().map_or(Ok(TOP), |id| folder(&user.contacts, id))?;
        free(&app.cast, &user.contacts, parent, &body)?;
        let new = New { entity: &FOLDER_ENTITY, kind: &FOLDER, parent, mark: 0, usual: Value::Null };
        let number = create(&app.cast, &mut user.contacts, new, body, now);
        Ok(shown(app, 201, &context(user, "contactFolders"), user.contacts.json(&app.cast, number)))
    })
}

fn change_folder(app: &App, request: &Request, route: &Route) -> Answer {
    let body = FOLDER_ENTITY.body(request)?;
    in_mailbox(app, route, |user, now| {
        let number = folder(&user.contacts, route.id(0))?;
        user.contacts.write(number, body, now);
        Ok(shown(app, 200, &context(user, "contactFolders"), user.contacts.json(&app.cast, number)))
    })
}

fn remove_folder(app: &App, _: &Request, route: &Route) -> Answer {
    in_mailbox(app, route, |user, _| match folder(&user.contacts, route.id(0))? {
        DEFAULT => Err(Reply::fail(400, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")),
        number => Ok(gone(&mut user.contacts, number)),
    })
}

fn add_contact(app: &App, request: &Request, route: &Route) -> Answer {
    let body = CONTACT_ENTITY.new_body(request)?;
    in_mailbox(app, route, |user, now| {
        let parent = folder(&user.contacts, route.ids.first().map_or("contacts", String::as_str))?;
        let empty = json!({"homeAddress": {}, "businessAddress": {}, "otherAddress": {}});
        let new = New { entity: &CONTACT_ENTITY, kind: &CONTACT, parent, mark: 0, usual: empty };
        let number = create(&app.cast, &mut user.contacts, new, body, now);
        Ok(shown(app, 201, &context(user, "contacts"), user.contacts.json(&app.cast, number)))
    })
}

fn change_contact(app: &App, request: &Request, route: &Route) -> Answer {
    let body = CONTACT_ENTITY.body(request)?;
    in_mailbox(app, route, |user, now| {
        let number = contact(&user.contacts, route.id(0))?;
        user.contacts.write(number, body, now);
        Ok(shown(app, 200, &context(user, "contacts"), user.contacts.json(&app.cast, number)))
    })
}

fn remove_contact(app: &App, _: &Request, route: &Route) -> Answer {
    in_mailbox(app, route, |user, _| {
        let number = contact(&user.contacts, route.id(0))?;
        Ok(gone(&mut user.contacts, number))
    })
}

fn put_photo(app: &App, request: &Request, route: &Route) -> Answer {
    let mime = request.header("content-type").unwrap_or_default();
    if !mime.starts_with("image/") || request.body.is_empty() || request.body.len() >= PHOTO_LIMIT {
        return Err(Reply::fail(400, "ErrorInvalidImage", "The photo could not be read as an image."));
    }
    in_mailbox(app, route, |user, now| {
        let number = contact(&user.contacts, route.id(0))?;
        user.contacts.things[number as usize].bytes = Some(Box::new(Blob::kept(request.body.clone())));
        user.contacts.edit(number, now);
        Ok(Reply::status(200))
    })
}
