//! OneDrive: drives, items, delta, contents and versions.

use serde_json::{Map, Value, json};

use super::app::App;
use super::download;
use super::drive_json::{self, Shown, Where};
use super::faults::FaultKind;
use super::library::{Drive, Kind};
use super::properties;
use super::query::{Fields, Request};
use super::reply::{Answer, Payload, Reply};
use super::sites;
use super::state::{UserKind, World};
use super::times;
use super::token::{self, Logged, Stand, Token};

/// Numbers of drives from here on are those of libraries; below, of users.
pub(super) const LIBRARIES: usize = 1 << 40;

/// A drive as answers show it, or why there is none.
pub(super) fn shown(world: &World, index: usize) -> Result<Shown<'_>, Reply> {
    if let Some(number) = index.checked_sub(LIBRARIES) {
        let (site, library) = world.libraries[number];
        let site = &world.sites[site];
        sites::open(site)?;
        let library = &site.libraries[library];
        let by = &world.users[site.owner.unwrap_or(0)];
        return Ok(Shown { drive: &library.drive, by, name: &library.name, site_url: &site.url, library: true });
    }
    let user = &world.users[index];
    if user.kind == UserKind::Blocked {
        return Err(Reply::fail_inner(403, "notAllowed", "Access to this site has been blocked.", "resourceLocked"));
    }
    let none = || Reply::fail(404, "ResourceNotFound", "User's mysite not found.");
    let drive = user.drive.as_deref().ok_or_else(none)?;
    let site_url = world.sites.iter().find(|site| site.owner == Some(index)).map_or("", |site| site.url.as_str());
    Ok(Shown { drive, by: user, name: "OneDrive", site_url, library: false })
}

/// The number of the drive with that id.
pub(super) fn owner(world: &World, id: &str) -> Result<usize, Reply> {
    let present = |index: &usize| match index.checked_sub(LIBRARIES) {
        Some(number) => world.sites[world.libraries[number].0].owner.is_none_or(|user| world.users[user].present),
        None => world.users[*index].present,
    };
    let index = world.by_drive.get(id).copied().filter(present);
    index.ok_or_else(|| {
        if id.starts_with("b!") && id.len() == 66 {
            Reply::item_not_found()
        } else {
            Reply::fail(
                400,
                "invalidRequest",
                "The provided drive id appears to be malformed, or does not represent a valid drive.",
            )
        }
    })
}

fn item(drive: &Drive, id: &str) -> Result<u32, Reply> {
    drive.find(id).ok_or_else(Reply::item_not_found)
}

fn with_context(app: &App, what: &str, body: Value) -> Reply {
    let mut map = Map::new();
    map.insert("@odata.context".into(), format!("{}/v1.0/$metadata#{what}", app.base_url).into());
    if let Value::Object(rest) = body {
        map.extend(rest);
    }
    Reply::json(map.into())
}

/// Keeps of a drive what was asked for.
fn selected(shown: Shown<'_>, fields: &Fields) -> Value {
    let mut body = drive_json::drive(shown);
    if let Some(map) = body.as_object_mut() {
        map.retain(|name, _| match name.as_str() {
            "id" => true,
            "sharePointIds" => fields.asks(name),
            _ => fields.wants(name),
        });
    }
    body
}

/// `GET /users/{id}/drive` and `/drives/{id}`
pub(super) fn drive_get(app: &App, request: &Request, index: usize) -> Answer {
    request.allow(&["$select", "$expand"])?;
    let fields = request.select("drive", properties::DRIVE)?;
    let world = app.read();
    Ok(with_context(app, "drives/$entity", selected(shown(&world, index)?, &fields)))
}

/// The libraries of a site.
pub(super) fn libraries(world: &World, site: usize) -> impl Iterator<Item = usize> + '_ {
    let all = world.libraries.iter().enumerate();
    all.filter(move |(_, (of, _))| *of == site).map(|(number, _)| LIBRARIES + number)
}

/// `GET /users/{id}/drives`
pub(super) fn drives(app: &App, request: &Request, index: usize) -> Answer {
    let world = app.read();
    shown(&world, index)?;
    let personal = world.sites.iter().position(|site| site.owner == Some(index));
    let others = personal.into_iter().flat_map(|site| libraries(&world, site));
    // Which one is the default is not to be seen: neither by its place nor by its type.
    let all: Vec<usize> = others.chain([index]).collect();
    let mut answer = drive_list(app, request, &world, &all)?;
    if let Payload::Json(json) = &mut answer.payload {
        let rows = json["value"].as_array_mut().into_iter().flatten();
        rows.filter(|row| row.get("driveType").is_some()).for_each(|row| row["driveType"] = "business".into());
    }
    Ok(answer)
}

/// A list of drives.
pub(super) fn drive_list(app: &App, request: &Request, world: &World, all: &[usize]) -> Answer {
    request.allow(&["$select", "$top", "$orderby", "$expand"])?;
    let fields = request.select("drive", properties::DRIVE)?;
    let rows = all.iter().map(|index| Ok(selected(shown(world, *index)?, &fields)));
    Ok(with_context(app, "drives", json!({"value": rows.collect::<Result<Vec<Value>, Reply>>()?})))
}

/// `GET /drives/{id}/items/{id}` and `/root`
pub(super) fn item_get(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    request.allow(&["$select", "$expand"])?;
    let fields = request.select("driveItem", properties::DRIVE_ITEM)?;
    let world = app.read();
    let shown = shown(&world, index)?;
    let drive = shown.drive;
    let number = readable(app, request, drive, id)?;
    let body = drive_json::item(app, shown, number, &fields, Where::Plain);
    Ok(with_context(app, "drives/items/$entity", body))
}

/// Finds an item, unless a lasting fault made it vanish.
fn readable(app: &App, request: &Request, drive: &Drive, id: &str) -> Result<u32, Reply> {
    let number = item(drive, id)?;
    if drive.items[number as usize].kind == Kind::File && app.faults.afflicts(&FaultKind::Vanish, id, &request.target) {
        return Err(Reply::item_not_found());
    }
    Ok(number)
}

/// `GET …/children`
pub(super) fn children(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    request.allow(&["$select", "$top", "$orderby", "$expand", "$skiptoken", "$count"])?;
    let fields = request.select("driveItem", properties::DRIVE_ITEM)?;
    let world = app.read();
    let shown = shown(&world, index)?;
    let drive = shown.drive;
    let parent = item(drive, id)?;
    let n = request.top()?.unwrap_or(app.options.pages.drive).clamp(1, 999);
    let start: usize = request.option("$skiptoken").and_then(|t| t.parse().ok()).unwrap_or(0);
    let all: Vec<u32> = drive.children(parent).collect();
    let rows = all.iter().skip(start).take(n);
    let rows: Vec<Value> = rows.map(|c| drive_json::item(app, shown, *c, &fields, Where::Plain)).collect();
    let mut body = Map::new();
    if all.len() > start + n {
        let select = if fields.0.is_some() { format!("&$select={}", fields.text()) } else { String::new() };
        let path = format!("drives/{}/items/{}/children", drive.id, drive.item_id(parent));
        let link = format!("{}/v1.0/{path}?$top={n}&$skiptoken={}{select}", app.base_url, start + n);
        body.insert("@odata.nextLink".into(), link.into());
    }
    body.insert("value".into(), rows.into());
    Ok(with_context(app, "drives/items", body.into()))
}

fn malware() -> Reply {
    Reply::fail(403, "malwareDetected", "Malware was detected in the requested resource.")
        .header("X-Virus-Infected", "true")
}

/// `GET …/content`: 302 to the pre-authenticated URL.
pub(super) fn content(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    request.allow(&[])?;
    let world = app.read();
    let shown = shown(&world, index)?;
    let drive = shown.drive;
    let number = readable(app, request, drive, id)?;
    let item = &drive.items[number as usize];
    if item.kind != Kind::File {
        return Err(Reply::fail(400, "invalidRequest", "You cannot get content for a folder."));
    }
    if item.malware {
        return Err(malware());
    }
    Ok(Reply::status(302).header("Location", download::url(app, drive, number, None, true)))
}

/// `GET …/versions`
pub(super) fn versions(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    request.allow(&["$select", "$top"])?;
    request.select("driveItemVersion", properties::DRIVE_ITEM_VERSION)?;
    let world = app.read();
    let shown = shown(&world, index)?;
    let drive = shown.drive;
    let number = readable(app, request, drive, id)?;
    let rows = drive_json::versions(shown, number);
    Ok(with_context(app, "Collection(driveItemVersion)", json!({"value": rows})))
}

/// `GET …/permissions`
pub(super) fn permissions(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    request.allow(&["$select"])?;
    let world = app.read();
    let shown = shown(&world, index)?;
    let number = item(shown.drive, id)?;
    Ok(with_context(app, "Collection(permission)", json!({"value": drive_json::permissions(shown, number)})))
}

/// `GET …/retentionLabel`
pub(super) fn retention_label(app: &App, request: &Request, index: usize, id: &str) -> Answer {
    request.allow(&["$select"])?;
    let world = app.read();
    let drive = shown(&world, index)?.drive;
    let label = drive_json::label(drive, item(drive, id)?).ok_or_else(Reply::item_not_found)?;
    Ok(with_context(app, "itemRetentionLabel/$entity", label))
}

/// `GET …/versions/{id}/content`
pub(super) fn version_content(app: &App, request: &Request, index: usize, id: &str, version: &str) -> Answer {
    request.allow(&[])?;
    let world = app.read();
    let shown = shown(&world, index)?;
    let drive = shown.drive;
    let number = readable(app, request, drive, id)?;
    let item = &drive.items[number as usize];
    let at: Option<usize> = version.strip_suffix(".0").and_then(|v| v.parse().ok()).filter(|v| *v > 0);
    match at {
        Some(v) if v == item.bodies.len() => {
            Err(Reply::fail(400, "invalidRequest", "You cannot get the content of the current version."))
        }
        Some(_) if item.malware => Err(malware()),
        Some(v) if v < item.bodies.len() => {
            Ok(Reply::status(302).header("Location", download::url(app, drive, number, Some(v - 1), true)))
        }
        _ => Err(Reply::item_not_found()),
    }
}

/// The log of a drive; with what says who may use an item, or without.
struct DriveLog<'a>(&'a Drive, bool);

impl Logged for DriveLog<'_> {
    type Row = u32;

    fn log_len(&self) -> u64 {
        self.0.log.len() as u64
    }

    fn walk(&self, next: u64, n: usize) -> (Vec<u32>, Option<u64>) {
        let alive = |number: &u32| self.0.items[*number as usize].alive;
        let mut rows = (next as u32..self.0.items.len() as u32).filter(alive);
        (rows.by_ref().take(n).collect(), rows.next().map(u64::from))
    }

    fn entry(&self, at: u64) -> Option<u32> {
        let item = self.0.log.get(at as usize)?.item;
        let told = self.1 || self.0.items[item as usize].sharing_at != Some(at);
        told.then_some(item)
    }
}

fn resync(app: &App, drive: &Drive) -> Reply {
    let location = format!("{}/v1.0/drives/{}/root/delta?token=", app.base_url, drive.id);
    let reply = if drive.seed & 1 == 0 {
        Reply::fail(410, "resyncChangesApplyDifferences", "Resync required.")
    } else {
        Reply::fail_inner(410, "resyncRequired", "Resync required.", "resyncChangesUploadDifferences")
    };
    reply.header("Location", location)
}

/// Where the client stands, by its token: none, `latest`, a time, or one of ours.
fn stand(app: &App, request: &Request, world: &World, drive: &Drive) -> Result<(Stand, String), Reply> {
    let now = drive.log.len() as u64;
    let select = request.option("$select").unwrap_or_default().to_string();
    let token =
        request.option("token").or_else(|| request.option("$deltatoken")).or_else(|| request.option("$skiptoken"));
    let token = match token {
        None | Some("") => return Ok((Stand::Walk { since: now, next: 0, paused: false }, select)),
        Some("latest") => return Ok((Stand::Synced { at: now }, select)),
        Some(token) => token,
    };
    if let Some(time) = times::parse(token) {
        let at = drive.log.iter().position(|e| e.at > time).unwrap_or(drive.log.len());
        return Ok((Stand::Synced { at: at as u64 }, select));
    }
    let scope = token::scope(drive.seed, "drive");
    let Some(token) = Token::open(&app.auth.key, token).filter(|t| t.scope == scope) else {
        return Err(Reply::fail(400, "invalidRequest", "The provided token is not valid."));
    };
    if token.generation != world.drive_generation {
        return Err(resync(app, drive));
    }
    Ok((token.stand, token.options))
}

/// Answers a delta request as if its token had expired.
pub(super) fn delta_gone(app: &App, index: usize) -> Reply {
    let world = app.read();
    shown(&world, index).map_or_else(|refusal| refusal, |shown| resync(app, shown.drive))
}

/// Whether a delta request carries a token (it costs less then).
pub(super) fn has_token(request: &Request) -> bool {
    ["token", "$deltatoken", "$skiptoken"].iter().any(|n| request.option(n).is_some_and(|t| !t.is_empty()))
}

/// `GET /drives/{id}/root/delta`
pub(super) fn delta(app: &App, request: &Request, index: usize) -> Answer {
    request.allow(&["$select", "$top", "$expand", "$skiptoken", "$deltatoken"])?;
    let world = app.read();
    let shown = shown(&world, index)?;
    let drive = shown.drive;
    let (stand, options) = stand(app, request, &world, drive)?;
    let fields = Fields::parse(Some(&options), "driveItem", properties::DRIVE_ITEM)?;
    let n = request.top()?.unwrap_or(app.options.pages.drive).clamp(1, 1_000);
    let sharing = ["deltashowremovedasdeleted", "deltatraversepermissiongaps", "deltashowsharingchanges"];
    let sharing = sharing.iter().all(|name| request.prefers(name));
    let since = match stand {
        Stand::Synced { at } | Stand::Round { from: at, .. } => at,
        Stand::Walk { .. } => u64::MAX,
    };
    let (rows, stand) = token::page(&DriveLog(drive, sharing), &stand, n, app.options.quirks);
    let place = if request.prefers("hierarchicalsharing") { Where::Hierarchy } else { Where::Delta };
    let row = |number: u32| {
        let mut row = drive_json::item(app, shown, number, &fields, place);
        let item = &drive.items[number as usize];
        if sharing && item.alive && item.sharing_at.is_some_and(|at| at >= since) {
            row["@microsoft.graph.sharedChanged"] = "True".into();
        }
        row
    };
    let rows: Vec<Value> = rows.into_iter().map(row).collect();
    let scope = token::scope(drive.seed, "drive");
    let last = matches!(stand, Stand::Synced { .. });
    let token = Token { scope, generation: world.drive_generation, stand, options };
    let link = format!("{}/v1.0/drives/{}/root/delta?token={}", app.base_url, drive.id, token.seal(&app.auth.key));
    let name = if last { "@odata.deltaLink" } else { "@odata.nextLink" };
    Ok(with_context(app, "Collection(driveItem)", json!({name: link, "value": rows})))
}
