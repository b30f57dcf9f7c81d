//! Contacts: folders, contacts, photos.

use serde_json::{Map, Value, json};

use super::app::App;
use super::content::{Blob, Texture};
use super::letter::Cast;
use super::mail::mailbox;
use super::options::SimOptions;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::{Rng, hash};
use super::shelf::{self, Kind, Shelf, ShelfLog, TOP};
use super::state::{User, World};
use super::{shelf_http, times, words};

/// A folder of contacts; the first one is the default folder.
pub(super) static FOLDER: Kind =
    Kind { name: "contactFolder", id: shelf::exchange_id, json: folder_json, content: shelf::nothing };
/// A contact.
pub(super) static CONTACT: Kind = Kind { name: "contact", id: shelf::exchange_id, json: contact_json, content: photo };

/// The default folder's number.
pub(super) const DEFAULT: u32 = 0;

/// Fills the contacts of a mailbox.
pub(super) fn populate(options: &SimOptions, seed: u64) -> Shelf {
    let mut shelf = Shelf::new(hash(seed, &[0xc0]));
    let mut rng = Rng::new(shelf.seed, &[1]);
    let mut folders = vec![shelf.add(&FOLDER, TOP, times::EPOCH - 700 * times::DAY, 0)];
    for _ in 0..(options.contacts / 20).min(8) + 1 {
        let parent = if rng.chance(0.3) { folders[rng.index(folders.len())] } else { TOP };
        let parent = if parent == DEFAULT { TOP } else { parent };
        folders.push(shelf.add(&FOLDER, parent, times::EPOCH - 300 * times::DAY, 0));
    }
    for _ in 0..options.contacts {
        let folder = if rng.chance(0.6) { DEFAULT } else { folders[rng.index(folders.len())] };
        let age = (rng.unit() * 600.0 * times::DAY as f64) as i64;
        shelf.add(&CONTACT, folder, times::EPOCH - 60 - age, 0);
    }
    shelf.begin();
    shelf
}

/// What a day brings.
pub(super) fn day(shelf: &mut Shelf, options: &SimOptions, now: i64, rng: &mut Rng) {
    let number = options.script.others;
    for _ in 0..number {
        let folder = shelf.any(&FOLDER, rng).unwrap_or(DEFAULT);
        shelf.add(&CONTACT, folder, now - 60, 0);
        if let Some(contact) = shelf.any(&CONTACT, rng) {
            shelf.edit(contact, now);
        }
    }
    for _ in 0..number.div_ceil(2) {
        if let (Some(contact), Some(folder)) = (shelf.any(&CONTACT, rng), shelf.any(&FOLDER, rng)) {
            shelf.relocate(contact, folder, now);
        }
        if let Some(contact) = shelf.any(&CONTACT, rng) {
            shelf.delete(contact);
        }
        match shelf.any(&FOLDER, rng).filter(|folder| *folder != DEFAULT) {
            Some(folder) if rng.chance(0.3) => shelf.delete(folder),
            Some(folder) => shelf.edit(folder, now),
            None => drop(shelf.add(&FOLDER, TOP, now, 0)),
        }
    }
}

fn folder_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let name = match number {
        DEFAULT => "Contacts".to_owned(),
        _ => words::title(&mut shelf.rng(number), 2),
    };
    let parent = match thing.parent {
        TOP => shelf::exchange_id(shelf.seed, TOP),
        parent => shelf.id(parent),
    };
    object(json!({"id": shelf.id(number), "parentFolderId": parent, "displayName": name}))
}

fn contact_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let mut rng = shelf.rng(number);
    let (given, family) = (*rng.pick(words::GIVEN), *rng.pick(words::FAMILY));
    let company = words::title(&mut rng, 2);
    let address = format!("{}@example.org", given.to_lowercase());
    let mail = match rng.below(4) {
        0 => json!([]),
        1 => json!([{"name": given, "address": address}, {"name": "old", "address": format!("old-{address}")}]),
        _ => json!([{"name": format!("{given} {family}"), "address": address}]),
    };
    // Some are a company, without a person's name.
    let person = rng.chance(0.9);
    let name = if person { format!("{given} {family}") } else { String::new() };
    let notes = if rng.chance(0.3) { json!(rng.pick(words::FOREIGN)) } else { json!(null) };
    object(json!({
        "@odata.etag": format!("W/\"{}\"", shelf.change_key(number)),
        "id": shelf.id(number),
        "createdDateTime": times::graph(thing.created),
        "lastModifiedDateTime": times::graph(thing.changed),
        "changeKey": shelf.change_key(number),
        "categories": if rng.chance(0.1) { json!(["Red category"]) } else { json!([]) },
        "parentFolderId": shelf.id(thing.parent),
        "birthday": if rng.chance(0.2) { json!("1974-07-22T11:59:00Z") } else { json!(null) },
        "fileAs": if person { format!("{family}, {given}") } else { company.clone() },
        "displayName": name,
        "givenName": if person { json!(given) } else { json!(null) },
        "surname": if person { json!(family) } else { json!(null) },
        "middleName": null,
        "nickName": null,
        "title": null,
        "jobTitle": words::title(&mut rng, 1),
        "companyName": company,
        "department": "",
        "officeLocation": null,
        "businessHomePage": null,
        "personalNotes": notes,
        "emailAddresses": mail,
        "imAddresses": [],
        "homePhones": [],
        "mobilePhone": format!("+49 170 {:07}", rng.below(10_000_000)),
        "businessPhones": [format!("+1 918 555 {:04}", rng.below(10_000))],
        "homeAddress": {},
        "businessAddress": {"street": "10 Contoso Way", "city": "Redmond", "countryOrRegion": "USA"},
        "otherAddress": {},
        "children": [],
    }))
}

/// A third of the contacts have a photo.
fn photo(_: &Cast, shelf: &Shelf, number: u32) -> Option<Blob> {
    let seed = shelf.thing(number).seed;
    seed.is_multiple_of(3).then(|| Blob::new(Texture::Random, seed, 2_000 + seed % 6_000))
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn shelf_of(world: &World, index: usize) -> Result<&Shelf, Reply> {
    mailbox(world, index)?;
    Ok(&world.users[index].contacts)
}

pub(super) fn folder(shelf: &Shelf, id: &str) -> Result<u32, Reply> {
    if id.eq_ignore_ascii_case("contacts") {
        return Ok(DEFAULT);
    }
    shelf.find(&FOLDER, id).ok_or_else(Reply::mail_not_found)
}

pub(super) fn contact(shelf: &Shelf, id: &str) -> Result<u32, Reply> {
    shelf.find(&CONTACT, id).ok_or_else(Reply::mail_not_found)
}

pub(super) fn context(user: &User, what: &str) -> String {
    format!("users('{}')/{what}", user.id)
}

/// `GET /users/{id}/contactFolders` and `…/childFolders`: without the default folder.
pub(super) fn folders(app: &App, request: &Request, index: usize, parent: Option<&str>) -> Answer {
    let world = app.read();
    let shelf = shelf_of(&world, index)?;
    let parent = parent.map_or(Ok(TOP), |id| folder(shelf, id))?;
    let all: Vec<u32> = shelf.below(&FOLDER, parent).filter(|number| *number != DEFAULT).collect();
    shelf_http::list(app, request, shelf, &FOLDER, (&all, 10), &context(&world.users[index], "contactFolders"))
}

/// `GET /users/{id}/contactFolders/delta`: the tree, flat, without the default folder.
pub(super) fn folders_delta(app: &App, request: &Request, index: usize) -> Answer {
    let world = app.read();
    let log =
        ShelfLog { shelf: shelf_of(&world, index)?, kind: &FOLDER, parent: TOP, flat: true, hidden: Some(DEFAULT) };
    let path = format!("users/{}/contactFolders/delta", world.users[index].id);
    shelf_http::delta(app, request, &log, &path, world.mail_generation)
}

/// `GET /users/{id}/contactFolders/{id}`
pub(super) fn folder_get(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    let world = app.read();
    let shelf = shelf_of(&world, index)?;
    let number = folder(shelf, id)?;
    shelf_http::get(app, request, shelf, &FOLDER, number, &context(&world.users[index], "contactFolders"))
}

/// `GET /users/{id}/contactFolders/{id}/contacts` and `/users/{id}/contacts`
pub(super) fn contacts(app: &App, request: &Request, index: usize, within: &str) -> Answer {
    let world = app.read();
    let shelf = shelf_of(&world, index)?;
    let all: Vec<u32> = shelf.below(&CONTACT, folder(shelf, within)?).collect();
    shelf_http::list(app, request, shelf, &CONTACT, (&all, 10), &context(&world.users[index], "contacts"))
}

/// `GET /users/{id}/contactFolders/{id}/contacts/delta`
pub(super) fn contacts_delta(app: &App, request: &Request, index: usize, within: &str) -> Answer {
    let world = app.read();
    let shelf = shelf_of(&world, index)?;
    let parent = folder(shelf, within)?;
    let log = ShelfLog { shelf, kind: &CONTACT, parent, flat: false, hidden: None };
    let path = format!("users/{}/contactFolders/{}/contacts/delta", world.users[index].id, shelf.id(parent));
    shelf_http::delta(app, request, &log, &path, world.mail_generation)
}

/// `GET /users/{id}/contacts/{id}`
pub(super) fn contact_get(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    let world = app.read();
    let shelf = shelf_of(&world, index)?;
    let number = contact(shelf, id)?;
    shelf_http::get(app, request, shelf, &CONTACT, number, &context(&world.users[index], "contacts"))
}

/// `GET /users/{id}/contacts/{id}/photo/$value`
pub(super) fn photo_value(app: &App, index: usize, id: &str) -> Answer {
    let world = app.read();
    let shelf = shelf_of(&world, index)?;
    let number = contact(shelf, id)?;
    shelf_http::content(app, shelf, number).ok_or_else(|| {
        Reply::fail(
            404,
            "ErrorItemNotFound",
            "The specified object was not found in the store., The photo wasn't found.",
        )
    })
}
