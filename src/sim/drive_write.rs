//! Writing to drives: folders, files, times, permissions, versions, deletion.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::app::App;
use super::content::Blob;
use super::drive::{LIBRARIES, shown};
use super::drive_json::{self, Where};
use super::library::{Body, Drive, Kind, ROOT};
use super::query::{Fields, Request};
use super::reply::{Answer, Reply};
use super::state::World;
use super::times;
use super::uploads::{Into, Session};
use super::written::{object, only};

/// Signs that SharePoint takes in no name.
const FORBIDDEN: &[char] = &['"', '*', ':', '<', '>', '?', '/', '\\', '|'];

/// Where a file goes.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Beside others in a folder, by its name.
    New { parent: u32, name: String, conflict: String, created: Option<i64>, modified: Option<i64> },
    /// Into a file that is there.
    Known { item: u32, modified: Option<i64> },
}

fn writable(world: &mut World, index: usize) -> Result<&mut Drive, Reply> {
    shown(world, index)?;
    match index.checked_sub(LIBRARIES) {
        Some(number) => {
            let (site, library) = world.libraries[number];
            Ok(&mut world.sites[site].libraries[library].drive)
        }
        None => world.users[index].drive.as_deref_mut().ok_or_else(Reply::item_not_found),
    }
}

fn told(app: &App, index: usize, number: u32, status: u16) -> Answer {
    let world = app.read();
    let body = drive_json::item(app, shown(&world, index)?, number, &Fields::default(), Where::Plain);
    Ok(Reply { status, ..Reply::json(body) })
}

fn find(drive: &Drive, id: &str) -> Result<u32, Reply> {
    drive.find(id).ok_or_else(Reply::item_not_found)
}

fn check_name(name: &str) -> Result<(), Reply> {
    let bad = name.is_empty()
        || name.contains(FORBIDDEN)
        || name.starts_with(' ')
        || name.ends_with([' ', '.'])
        || name.starts_with("~$");
    if bad { Err(Reply::fail(400, "invalidRequest", "The provided name cannot contain that.")) } else { Ok(()) }
}

fn taken(drive: &Drive, parent: u32, name: &str) -> Option<u32> {
    let lower = name.to_lowercase();
    drive.children(parent).find(|child| drive.items[*child as usize].name.to_lowercase() == lower)
}

fn exists() -> Reply {
    Reply::fail(409, "nameAlreadyExists", "The specified item name already exists.")
}

/// `POST /drives/{id}/items/{id}/children`: a folder.
pub(super) fn create_folder(app: &App, request: &Request, index: usize, parent: &str) -> Answer {
    let map = object(&request.body)?;
    only(&map, &["name", "folder", "fileSystemInfo", "@microsoft.graph.conflictBehavior"], "driveItem")?;
    let name = map.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    check_name(&name)?;
    if !map.contains_key("folder") {
        return Err(Reply::fail(400, "invalidRequest", "Only folders are made this way."));
    }
    let number = {
        let mut world = app.write();
        let now = world.now();
        let drive = writable(&mut world, index)?;
        let parent = find(drive, parent)?;
        let name = match (taken(drive, parent, &name), behaviour(&map)) {
            (None, _) => name,
            (Some(_), "rename") => drive.free_name(parent, &name),
            (Some(_), _) => return Err(exists()),
        };
        let number = drive.add(parent, &name, Kind::Folder, "", now);
        drive.items[number as usize].shared = 0;
        number
    };
    told(app, index, number, 201)
}

fn behaviour(map: &Map<String, Value>) -> &str {
    map.get("@microsoft.graph.conflictBehavior").and_then(Value::as_str).unwrap_or("fail")
}

fn time(map: &Map<String, Value>, name: &str) -> Option<i64> {
    map.get("fileSystemInfo").and_then(|info| info.get(name)).and_then(Value::as_str).and_then(times::parse)
}

/// Puts bytes in their place.
pub(super) fn put_file(app: &App, index: usize, place: Place, bytes: Bytes) -> Answer {
    let (number, status) = {
        let mut world = app.write();
        let now = world.now();
        let room = world.room.get_mut(&index);
        if let Some(room) = room {
            let Some(left) = room.checked_sub(bytes.len()) else {
                return Err(Reply::fail(507, "quotaLimitReached", "Insufficient space available."));
            };
            *room = left;
        }
        let drive = writable(&mut world, index)?;
        let blob = Blob::kept(bytes);
        match place {
            Place::New { parent, name, conflict, created, modified } => {
                match (taken(drive, parent, &name), conflict.as_str()) {
                    (None, _) | (Some(_), "rename") => {
                        let number = drive.add_file(parent, &name, "application/octet-stream", blob, now);
                        let item = &mut drive.items[number as usize];
                        item.shared = 0;
                        item.created = created.unwrap_or(now);
                        item.modified = modified.unwrap_or(now);
                        (number, 201)
                    }
                    (Some(number), "replace") => {
                        drive.edit(number, blob, now);
                        drive.items[number as usize].modified = modified.unwrap_or(now);
                        (number, 200)
                    }
                    _ => return Err(exists()),
                }
            }
            Place::Known { item, modified } => {
                if !drive.items.get(item as usize).is_some_and(|i| i.alive && i.kind == Kind::File) {
                    return Err(Reply::item_not_found());
                }
                drive.edit(item, blob, now);
                drive.items[item as usize].modified = modified.unwrap_or(now);
                (item, 200)
            }
        }
    };
    told(app, index, number, status)
}

/// `PUT /drives/{id}/items/{parent}:/{name}:/content` and `PUT /drives/{id}/items/{id}/content`
pub(super) fn put_content(app: &App, request: &Request, index: usize, ids: &[String]) -> Answer {
    let conflict = request.option("@microsoft.graph.conflictbehavior").unwrap_or("replace").to_owned();
    let place = {
        let world = app.read();
        place(shown(&world, index)?.drive, ids, conflict, &Map::new())?
    };
    put_file(app, index, place, request.body.clone())
}

fn place(drive: &Drive, ids: &[String], conflict: String, item: &Map<String, Value>) -> Result<Place, Reply> {
    let (created, modified) = (time(item, "createdDateTime"), time(item, "lastModifiedDateTime"));
    match ids {
        [id] => Ok(Place::Known { item: find(drive, id)?, modified }),
        [parent, name] => {
            check_name(name)?;
            Ok(Place::New { parent: find(drive, parent)?, name: name.clone(), conflict, created, modified })
        }
        _ => Err(Reply::item_not_found()),
    }
}

/// `POST …/createUploadSession`
pub(super) fn session(app: &App, request: &Request, index: usize, ids: &[String]) -> Answer {
    let map = if request.body.is_empty() { Map::new() } else { object(&request.body)? };
    only(&map, &["item", "deferCommit"], "createUploadSession")?;
    let item = map.get("item").and_then(Value::as_object).cloned().unwrap_or_default();
    let known =
        ["@odata.type", "@microsoft.graph.conflictBehavior", "name", "description", "fileSize", "fileSystemInfo"];
    only(&item, &known, "driveItemUploadableProperties")?;
    let size = item.get("fileSize").and_then(Value::as_u64).filter(|size| *size > 0);
    let size = size.ok_or_else(|| Reply::fail(400, "invalidRequest", "This simulation wants fileSize."))?;
    let conflict = behaviour(&item).to_owned();
    let place = {
        let world = app.read();
        let drive = shown(&world, index)?.drive;
        let place = place(drive, ids, conflict, &item)?;
        if let Place::New { parent, name, conflict, .. } = &place
            && conflict == "fail"
            && taken(drive, *parent, name).is_some()
        {
            return Err(exists());
        }
        place
    };
    let url = app.uploads.begin(app, Session::new(size, Into::Drive { index, place }));
    Ok(Reply::json(json!({"uploadUrl": url, "expirationDateTime": "2099-01-01T00:00:00Z"})))
}

/// `PATCH /drives/{id}/items/{id}`: name, place, times, description.
pub(super) fn patch(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    let map = object(&request.body)?;
    only(&map, &["name", "fileSystemInfo", "description", "parentReference"], "driveItem")?;
    let number = {
        let mut world = app.write();
        let now = world.now();
        let drive = writable(&mut world, index)?;
        let number = find(drive, id)?;
        let (name, to) =
            (map.get("name").and_then(Value::as_str), map.get("parentReference").and_then(|p| p.get("id")));
        if name.is_some() || to.is_some() {
            let name = name.unwrap_or(&drive.items[number as usize].name).to_owned();
            let name = name.as_str();
            check_name(name)?;
            let parent = match to.and_then(Value::as_str) {
                Some(to) => find(drive, to)?,
                None => drive.items[number as usize].parent,
            };
            if taken(drive, parent, name).is_some_and(|other| other != number) {
                return Err(exists());
            }
            drive.relocate(number, parent, name, now);
        }
        drive.touch(number, now);
        let item = &mut drive.items[number as usize];
        item.created = time(&map, "createdDateTime").unwrap_or(item.created);
        item.modified = time(&map, "lastModifiedDateTime").unwrap_or(item.modified);
        number
    };
    told(app, index, number, 200)
}

/// `DELETE /drives/{id}/items/{id}`: into the recycle bin.
pub(super) fn delete(app: &App, index: usize, id: &str) -> Answer {
    let mut world = app.write();
    let now = world.now();
    let drive = writable(&mut world, index)?;
    let number = find(drive, id)?;
    if number == ROOT {
        return Err(Reply::fail(403, "accessDenied", "The root cannot be deleted."));
    }
    drive.delete(number, now);
    Ok(Reply::status(204))
}

/// `POST /drives/{id}/items/{id}/versions/{id}/restoreVersion`
pub(super) fn restore_version(app: &App, index: usize, id: &str, version: &str) -> Answer {
    let mut world = app.write();
    let now = world.now();
    let drive = writable(&mut world, index)?;
    let number = find(drive, id)?;
    let at = version.strip_suffix(".0").and_then(|v| v.parse::<usize>().ok()).and_then(|v| v.checked_sub(1));
    let bodies = &drive.items[number as usize].bodies;
    let body = at.and_then(|at| bodies.get(at)).ok_or_else(Reply::item_not_found)?;
    let (blob, modified) = (body.blob.clone(), body.modified);
    drive.edit(number, blob, now);
    let item = &mut drive.items[number as usize];
    item.modified = modified;
    if let Some(last) = item.bodies.last_mut() {
        *last = Body::new(last.blob.clone(), modified);
    }
    Ok(Reply::status(204))
}

/// `POST /drives/{id}/items/{id}/createLink`
pub(super) fn create_link(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    let map = object(&request.body)?;
    let known = [
        "type",
        "scope",
        "recipients",
        "expirationDateTime",
        "password",
        "retainInheritedPermissions",
        "sendNotification",
    ];
    only(&map, &known, "createLink")?;
    let is_one = |name: &str, all: &[&str]| map.get(name).and_then(Value::as_str).is_some_and(|it| all.contains(&it));
    if !is_one("type", &["view", "edit", "embed"]) || !is_one("scope", &["anonymous", "organization", "users"]) {
        return Err(Reply::fail(400, "invalidRequest", "The sharing link's type or scope is not valid."));
    }
    let mut world = app.write();
    if map.get("sendNotification") != Some(&Value::Bool(false)) {
        world.mails_sent += map.get("recipients").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    }
    let now = world.now();
    let drive = writable(&mut world, index)?;
    let number = find(drive, id)?;
    let link = json!({"type": map["type"], "scope": map["scope"]});
    let links = &mut drive.items[number as usize].links;
    let status = if links.contains(&link) { 200 } else { 201 };
    if status == 201 {
        links.push(link.clone());
        let shared = drive.items[number as usize].shared;
        drive.share(number, shared, now);
    }
    Ok(Reply { status, ..Reply::json(json!({"roles": ["read"], "link": link})) })
}

/// `POST /drives/{id}/items/{id}/invite`
pub(super) fn invite(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    let map = object(&request.body)?;
    let known = [
        "recipients",
        "roles",
        "requireSignIn",
        "sendInvitation",
        "message",
        "retainInheritedPermissions",
        "expirationDateTime",
        "password",
    ];
    only(&map, &known, "invite")?;
    let roles: Vec<&str> =
        map.get("roles").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if roles.is_empty() || roles.iter().any(|role| !["read", "write"].contains(role)) {
        return Err(Reply::fail(400, "invalidRequest", "One of the provided roles is not valid."));
    }
    let recipients = map.get("recipients").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut world = app.write();
    if map.get("sendInvitation") == Some(&Value::Bool(true)) {
        world.mails_sent += recipients.len() as u64;
    }
    let now = world.now();
    let drive = writable(&mut world, index)?;
    let number = find(drive, id)?;
    let shared = drive.items[number as usize].shared + recipients.len() as u32;
    drive.share(number, shared, now);
    Ok(Reply::json(json!({"value": recipients.iter().map(|_| json!({"roles": roles})).collect::<Vec<_>>()})))
}
