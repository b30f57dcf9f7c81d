//! Drives and their items as Graph shows them.

use serde_json::{Map, Value, json};

use super::app::App;
use super::download;
use super::faults::FaultKind;
use super::library::{Drive, Kind, ROOT};
use super::query::Fields;
use super::rng::{guid, hash};
use super::state::User;
use super::times;

/// In which answer an item shows up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// In delta: no paths, no cTag.
    Delta,
    /// In delta with `Prefer: hierarchicalsharing`: sharing is told where it begins, and not of what lies below.
    Hierarchy,
    /// In a list or alone.
    Plain,
}

/// The GUID of an item in its list.
pub(super) fn unique_id(drive: &Drive, number: u32) -> String {
    guid(hash(drive.seed, &[0x9d, number.into()]))
}

/// A drive, and what answers say of it beside its items.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) drive: &'a Drive,
    /// Who put in what is in it.
    pub(super) by: &'a User,
    pub(super) name: &'a str,
    /// The address of its site.
    pub(super) site_url: &'a str,
    /// A library that is nobody's OneDrive.
    pub(super) library: bool,
}

impl Shown<'_> {
    fn identity(&self) -> Value {
        let user = self.by;
        json!({"user": {"email": user.person.address, "id": user.id, "displayName": user.person.name}})
    }

    fn url(&self) -> String {
        let name = if self.library { self.name } else { "Documents" };
        format!("{}/{}", self.site_url, name.replace(' ', "%20"))
    }

    fn kind(&self) -> &'static str {
        if self.library { "documentLibrary" } else { "business" }
    }
}

/// The id of a drive's list.
pub(super) fn list_id(drive: &Drive) -> String {
    guid(hash(drive.seed, &[0x115f]))
}

/// A drive.
pub(super) fn drive(shown: Shown<'_>) -> Value {
    let drive = shown.drive;
    let used = drive.size(ROOT);
    json!({
        "id": drive.id,
        "name": shown.name,
        "driveType": shown.kind(),
        "createdDateTime": times::graph(drive.items[ROOT as usize].created),
        "lastModifiedDateTime": times::graph(drive.items[ROOT as usize].modified),
        "webUrl": shown.url(),
        "createdBy": {"user": {"displayName": "System Account"}},
        "owner": if shown.library { Value::Null } else { shown.identity() },
        "sharePointIds": {
            "siteId": guid(drive.home), "webId": guid(hash(drive.home, &[1])), "listId": list_id(drive),
            "siteUrl": shown.site_url,
        },
        "quota": {
            "deleted": 0, "remaining": 1_099_511_627_776u64.saturating_sub(used), "state": "normal",
            "total": 1_099_511_627_776u64, "used": used,
        },
    })
}

/// An item; a deleted one only as its marker.
pub(super) fn item(app: &App, shown: Shown<'_>, number: u32, fields: &Fields, place: Where) -> Value {
    let drive = shown.drive;
    let item = &drive.items[number as usize];
    if !item.alive {
        return deleted(shown, number);
    }
    let mut out = Map::new();
    download_url(app, drive, number, fields, &mut out);
    let id = unique_id(drive, number).to_uppercase();
    let mut put = |name: &str, value: &dyn Fn() -> Value| {
        if fields.wants(name) {
            out.insert(name.into(), value());
        }
    };
    put("createdBy", &|| shown.identity());
    put("createdDateTime", &|| times::graph(item.created).into());
    put("eTag", &|| format!("\"{{{id}}},{}\"", item.version).into());
    put("id", &|| drive.item_id(number).into());
    put("lastModifiedBy", &|| shown.identity());
    put("lastModifiedDateTime", &|| times::graph(item.modified).into());
    put("name", &|| item.name.clone().into());
    put("parentReference", &|| parent(shown, number, place));
    put("webUrl", &|| format!("{}/{}", shown.url(), drive.path(number).replace(' ', "%20")).into());
    if place == Where::Plain {
        put("cTag", &|| format!("\"c:{{{id}}},{}\"", item.content_version).into());
    }
    put(
        "fileSystemInfo",
        &|| json!({"createdDateTime": times::graph(item.created), "lastModifiedDateTime": times::graph(item.modified)}),
    );
    match item.kind {
        Kind::File => put("file", &|| file(app, drive, number)),
        Kind::Folder => put("folder", &|| json!({"childCount": drive.children(number).count()})),
        Kind::Notebook => put("package", &|| json!({"type": "oneNote"})),
        Kind::Shortcut => put("remoteItem", &|| {
            let id = format!("01{}", unique_id(drive, number).replace('-', "").to_uppercase());
            json!({"id": id, "folder": {"childCount": 3}, "parentReference": {"driveId": format!("b!{id}")}})
        }),
    }
    if number == ROOT {
        put("root", &|| json!({}));
    }
    if item.malware {
        put("malware", &|| json!({"description": "Virus:DOS/EICAR_Test_File"}));
    }
    if number.is_multiple_of(7) && item.kind == Kind::File {
        put("description", &|| format!("Described, as number {number}").into());
    }
    if let Some(facet) = sharing(drive, number, place) {
        put("shared", &|| facet.clone());
    }
    if fields.asks("sharepointIds") {
        put("sharepointIds", &|| json!({"listItemId": number.to_string(), "listItemUniqueId": id.to_lowercase()}));
    }
    put("size", &|| drive.size(number).into());
    out.into()
}

/// The facet that tells of sharing; it is empty where an item has rights of its own and is shared with nobody.
fn sharing(drive: &Drive, number: u32, place: Where) -> Option<Value> {
    let item = &drive.items[number as usize];
    let shared = match place {
        Where::Hierarchy => item.is_shared(),
        Where::Delta | Where::Plain => drive.sharer(number).is_some(),
    };
    match shared {
        true => Some(json!({"scope": "users"})),
        false => (place == Where::Hierarchy && (item.has_own_rights() || number == ROOT)).then(|| json!({})),
    }
}

/// What delta says of an item that is gone: neither name nor size.
fn deleted(shown: Shown<'_>, number: u32) -> Value {
    let drive = shown.drive;
    let item = &drive.items[number as usize];
    let facet = if item.kind == Kind::File { "file" } else { "folder" };
    json!({
        "id": drive.item_id(number),
        "deleted": {"state": "deleted"},
        "parentReference": parent(shown, number, Where::Delta),
        facet: {},
    })
}

fn parent(shown: Shown<'_>, number: u32, place: Where) -> Value {
    let drive = shown.drive;
    let mut out = Map::new();
    out.insert("driveType".into(), shown.kind().into());
    out.insert("driveId".into(), drive.id.clone().into());
    if number != ROOT {
        let above = drive.items[number as usize].parent;
        out.insert("id".into(), drive.item_id(above).into());
        if place == Where::Plain {
            let path = drive.path(above);
            let slash = if path.is_empty() { "" } else { "/" };
            out.insert("name".into(), drive.items[above as usize].name.clone().into());
            out.insert("path".into(), format!("/drives/{}/root:{slash}{path}", drive.id).into());
        }
    }
    out.insert("siteId".into(), guid(drive.home).into());
    out.into()
}

fn file(app: &App, drive: &Drive, number: u32) -> Value {
    let item = &drive.items[number as usize];
    let mut out = Map::new();
    out.insert("mimeType".into(), item.mime.into());
    if let Some(body) = item.bodies.last().filter(|_| !item.without_hash) {
        let wrong = app.faults.afflicts(&FaultKind::WrongHash, &drive.item_id(number), "");
        let hash = if wrong { "AAAAAAAAAAAAAAAAAAAAAAAAAAE=" } else { body.quick_xor() };
        out.insert("hashes".into(), json!({"quickXorHash": hash}));
    }
    out.into()
}

/// The pre-authenticated URL: by default, or when selected (then under another name).
fn download_url(app: &App, drive: &Drive, number: u32, fields: &Fields, out: &mut Map<String, Value>) {
    let item = &drive.items[number as usize];
    if item.kind != Kind::File || item.malware {
        return;
    }
    let url = || Value::from(download::url(app, drive, number, None, false));
    if fields.asks("content.downloadUrl") {
        out.insert("@content.downloadUrl".into(), url());
    }
    if fields.0.is_none() || fields.asks("@microsoft.graph.downloadUrl") {
        out.insert("@microsoft.graph.downloadUrl".into(), url());
    }
}

/// Who may use an item: its owner always, others by grants and a link, be it for the sake of a folder above it.
pub(super) fn permissions(shown: Shown<'_>, number: u32) -> Vec<Value> {
    let drive = shown.drive;
    let Some(above) = drive.sharer(number).filter(|above| *above != number) else {
        return own_permissions(shown, number);
    };
    let path = drive.path(above);
    let slash = if path.is_empty() { "" } else { "/" };
    let from = json!({
        "driveId": drive.id, "id": drive.item_id(above), "path": format!("/drives/{}/root:{slash}{path}", drive.id),
    });
    let mut all = own_permissions(shown, number);
    all.extend(own_permissions(shown, above).into_iter().skip(1).map(|mut inherited| {
        inherited["inheritedFrom"] = from.clone();
        inherited
    }));
    all
}

/// Its owner comes first.
fn own_permissions(shown: Shown<'_>, number: u32) -> Vec<Value> {
    let (drive, item) = (shown.drive, &shown.drive.items[number as usize]);
    let id = |n: u32| format!("aTowIy5mfG1lbWJlcnNoaXB8{:x}", hash(drive.seed, &[0x9e, number.into(), n.into()]));
    let grant = |n: u32| {
        let name = format!("Guest {n} (§{})", item.sharing);
        json!({"id": id(n), "roles": ["read"], "grantedToV2": {"user": {"id": guid(n.into()), "displayName": name}}})
    };
    let owner = json!({"id": id(99), "roles": ["owner"], "grantedToV2": {"user": shown.identity()["user"]}});
    let link = json!({
        "id": id(100 + item.sharing), "roles": ["write"], "shareId": format!("u!{}", id(7)),
        "link": {"type": "edit", "scope": "organization", "webUrl": "https://contoso.sharepoint.com/:t:/g/x", "preventsDownload": false},
        "hasPassword": false, "grantedToIdentitiesV2": [],
    });
    let made = item.links.iter().enumerate().map(|(n, link)| {
        json!({
            "id": id(200 + n as u32), "roles": [if link["type"] == "edit" { "write" } else { "read" }],
            "link": link, "hasPassword": false, "grantedToIdentitiesV2": [],
        })
    });
    let links = (item.shared > 1).then_some(link).into_iter().chain(made);
    [owner].into_iter().chain((0..item.shared).map(grant)).chain(links).collect()
}

/// The retention label of an item, if it has one.
pub(super) fn label(drive: &Drive, number: u32) -> Option<Value> {
    let has = number.is_multiple_of(5) && drive.items[number as usize].kind == Kind::File;
    has.then(
        || json!({"id": guid(hash(drive.seed, &[0x1a])), "name": "Keep 7 years", "isLabelAppliedExplicitly": true}),
    )
}

/// The versions of a file, newest first.
pub(super) fn versions(shown: Shown<'_>, number: u32) -> Vec<Value> {
    let bodies = shown.drive.items[number as usize].bodies.iter().enumerate().rev();
    let row = |(i, body): (usize, &std::sync::Arc<super::library::Body>)| {
        json!({
            "id": format!("{}.0", i + 1),
            "lastModifiedBy": shown.identity(),
            "lastModifiedDateTime": times::graph(body.modified),
            "size": body.blob.len(),
        })
    };
    bodies.map(row).collect()
}
