//! From Graph's JSON to records, and what a changed version of a file means for its contents.

use bytes::Bytes;
use serde_json::{Value, json};

use super::parts::take_sharing_changed;
use crate::format::record::{ItemKind, Record, StreamRole};
use crate::m365::facts::{Summary, at, number, properties, same_facts, set_fact, text, time_us};
use crate::m365::walk::id_of;

/// Pre-authenticated URLs: secrets while they are good, useless afterwards. Never stored.
const DOWNLOAD_URLS: [&str; 3] = ["@microsoft.graph.downloadUrl", "@content.downloadUrl", "content.downloadUrl"];

/// The fact of a file whose stored contents do not have the hash that the source gives.
const HASH_DIFFERS: &str = "hash_differs";

/// The fact of an item that has rights of its own of which no scope is told: it inherits nothing from the folder above it.
pub(super) const UNIQUE: &str = "unique";
/// What stands for the scope of a root with rights of its own of which no scope is told.
pub(super) const OWN: &str = "own";

/// An item of a drive as a page tells it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) record: Record,
    pub(super) properties: Bytes,
    /// Where its contents can be downloaded for a while.
    pub(super) download_url: Option<String>,
    /// The hash of its contents, as "quickXorHash:BASE64"; empty if the source gives none.
    pub(super) source_hash: String,
    /// Microsoft found malware in it; its description.
    pub(super) malware: Option<String>,
    /// Who may do what with it changed.
    pub(super) sharing_changed: bool,
}

/// What a row of a page tells.
pub(super) enum Row {
    /// The drive's root: the top, no item. With whom it is shared (empty: nobody), and whether that changed.
    Root(String, bool),
    /// An item is no longer there.
    Deleted(String),
    /// An item is there.
    There(Box<Told>),
}

/// Reads a row. `None`: it has no id.
pub(super) fn row(mut value: Value, root: &str) -> Option<Row> {
    let id = id_of(&value)?;
    if at(&value, &["deleted"]).is_some() || at(&value, &["@removed"]).is_some() {
        return Some(Row::Deleted(id.to_owned()));
    }
    if id == root || at(&value, &["root"]).is_some() {
        let scope = at(&value, &["shared"]).map(|facet| text(facet, &["scope"]).unwrap_or(OWN).to_owned());
        let scope = scope.unwrap_or_default();
        return Some(Row::Root(scope, take_sharing_changed(&mut value)));
    }
    Some(Row::There(Box::new(item(value, root)?)))
}

/// Says whether who may use an item stands at it, and not at a folder above it.
pub(super) fn has_own_rights(record: &Record) -> bool {
    record.fact("shared").is_some() || record.fact(UNIQUE).is_some()
}

/// Gives the JSON of an item that was asked for alone the facet of sharing that its listing tells, or told last.
pub(super) fn keep_facet(value: &mut Value, listed: &Record) {
    let facet = match (listed.fact("shared"), listed.fact(UNIQUE)) {
        (Some(scope), _) => Some(json!({"scope": scope})),
        (None, Some(_)) => Some(json!({})),
        (None, None) => None,
    };
    let scope = |facet: Option<&Value>| facet.map(|facet| text(facet, &["scope"]).unwrap_or_default().to_owned());
    if scope(at(value, &["shared"])) == scope(facet.as_ref()) {
        return;
    }
    if let Some(object) = value.as_object_mut() {
        object.shift_remove("shared");
        object.extend(facet.map(|facet| ("shared".to_owned(), facet)));
    }
}

fn item(mut value: Value, root: &str) -> Option<Told> {
    let mut download_url = None;
    if let Some(object) = value.as_object_mut() {
        for name in DOWNLOAD_URLS {
            let url = object.shift_remove(name).and_then(|url| url.as_str().map(str::to_owned));
            download_url = download_url.or(url);
        }
    }
    let sharing_changed = take_sharing_changed(&mut value);
    let kind = kind(&value);
    let is_file = kind == ItemKind::File;
    let source_hash = if is_file { source_hash(&value) } else { String::new() };
    let size = number(&value, &["size"]).unwrap_or(0);
    let record = Record {
        id: id_of(&value)?.to_owned(),
        parent: text(&value, &["parentReference", "id"]).filter(|id| *id != root).unwrap_or_default().to_owned(),
        name: text(&value, &["name"]).unwrap_or_default().to_owned(),
        kind,
        created_us: time_us(&value, &["fileSystemInfo", "createdDateTime"])
            .or_else(|| time_us(&value, &["createdDateTime"])),
        modified_us: time_us(&value, &["fileSystemInfo", "lastModifiedDateTime"])
            .or_else(|| time_us(&value, &["lastModifiedDateTime"])),
        sort_us: None,
        // A folder's size is the sum of what is in it, and changes with that.
        size_bytes: if is_file { size } else { 0 },
        version: if is_file { version(&value, &source_hash, size) } else { String::new() },
        summary: facts(&value, kind),
        streams: Vec::new(),
    };
    let malware = at(&value, &["malware"]).map(|facet| text(facet, &["description"]).unwrap_or_default().to_owned());
    Some(Told { record, properties: properties(&value), download_url, source_hash, malware, sharing_changed })
}

fn kind(value: &Value) -> ItemKind {
    let has = |facet: &str| at(value, &[facet]).is_some();
    if has("remoteItem") {
        ItemKind::Shortcut
    } else if has("package") {
        ItemKind::Package
    } else if has("folder") || has("bundle") {
        ItemKind::Folder
    } else {
        ItemKind::File
    }
}

fn source_hash(value: &Value) -> String {
    let given = ["quickXorHash", "sha256Hash"].into_iter().find_map(|name| {
        let hash = text(value, &["file", "hashes", name]).filter(|hash| !hash.is_empty())?;
        Some(if name == "sha256Hash" { format!("{name}:{}", hash.to_uppercase()) } else { format!("{name}:{hash}") })
    });
    given.unwrap_or_default()
}

/// The version of a file's contents: its hash and size if the source gives a hash, else its cTag. Empty: unknown.
fn version(value: &Value, source_hash: &str, size: u64) -> String {
    match text(value, &["cTag"]) {
        _ if !source_hash.is_empty() => format!("{source_hash}:{size}"),
        Some(tag) => format!("cTag:{tag}"),
        None => String::new(),
    }
}

fn facts(value: &Value, kind: ItemKind) -> Vec<(String, String)> {
    let fact = |path: &[&str]| text(value, path).unwrap_or_default();
    let mut summary = Summary::default();
    if kind != ItemKind::Folder && kind != ItemKind::Package {
        // A folder's tag changes with what is in it.
        summary.add("etag", fact(&["eTag"]));
    }
    summary.add("mime", fact(&["file", "mimeType"]));
    summary.add("package", fact(&["package", "type"]));
    summary.add("special", fact(&["specialFolder", "name"]));
    summary.add("shared", fact(&["shared", "scope"]));
    summary.mark(UNIQUE, at(value, &["shared"]).is_some() && text(value, &["shared", "scope"]).is_none());
    summary.add("created_by", person(value, "createdBy"));
    summary.add("modified_by", person(value, "lastModifiedBy"));
    if kind == ItemKind::Shortcut {
        let (drive, id) = (fact(&["remoteItem", "parentReference", "driveId"]), fact(&["remoteItem", "id"]));
        summary.add("target", format!("{drive}/{id}"));
    }
    if at(value, &["malware"]).is_some() {
        summary.mark("malware", true);
    }
    summary.finish()
}

fn person<'a>(value: &'a Value, role: &str) -> &'a str {
    let facts = [["user", "email"], ["user", "displayName"], ["application", "displayName"]];
    facts.iter().find_map(|[who, what]| text(value, &[role, who, what])).unwrap_or_default()
}

/// What a file that was told means for what is stored of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing changed.
    Nothing,
    /// Its facts changed, its contents did not.
    Keep,
    /// Its contents are new or changed.
    Fetch,
}

/// Decides whether the contents of a file must be fetched, from what the previous snapshot knew of it.
///
/// Renames and moves leave hash and size as they are. The fact that stored contents differ from their hash goes over
/// into `now`, as long as they are kept.
pub(super) fn plan(known: Option<&Record>, now: &mut Record) -> Plan {
    let Some(known) = known.filter(|known| known.kind == ItemKind::File && known.stream(StreamRole::Content).is_some())
    else {
        return Plan::Fetch;
    };
    if now.version.is_empty() || known.version != now.version {
        return Plan::Fetch;
    }
    if differs(known) {
        mark_differing(now);
    }
    if same_facts(known, now) { Plan::Nothing } else { Plan::Keep }
}

/// Says whether a file's stored contents differ from the hash that the source gives.
pub(super) fn differs(record: &Record) -> bool {
    record.fact(HASH_DIFFERS).is_some()
}

/// Notes that a file's stored contents differ from the hash that the source gives.
pub(super) fn mark_differing(record: &mut Record) {
    set_fact(record, HASH_DIFFERS, Some("true"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::m365::testing::with_stream;

    fn sample() -> Value {
        json!({"id": "f1", "name": "Plan.docx", "size": 12, "eTag": "e1", "cTag": "c1",
            "file": {"mimeType": "x/y", "hashes": {"quickXorHash": "AAAA"}}, "parentReference": {"id": "root1"},
            "@content.downloadUrl": "https://host/secret",
            "fileSystemInfo": {"createdDateTime": "2020-01-01T00:00:00Z", "lastModifiedDateTime": "2021-01-01T00:00:00Z"},
            "createdDateTime": "2026-01-01T00:00:00Z"})
    }

    fn told(value: Value) -> Told {
        match row(value, "root1") {
            Some(Row::There(told)) => *told,
            _ => panic!("no item"),
        }
    }

    fn planned(edit: impl FnOnce(&mut Value)) -> Plan {
        let known = with_stream(told(sample()).record, StreamRole::Content);
        let mut value = sample();
        edit(&mut value);
        plan(Some(&known), &mut told(value).record)
    }

    #[test]
    fn facts_of_a_file_are_read_and_its_url_is_not_stored() {
        let told = told(sample());
        assert_eq!(told.download_url.as_deref(), Some("https://host/secret"));
        assert!(!String::from_utf8_lossy(&told.properties).contains("secret"));
        assert_eq!((told.record.parent.as_str(), told.record.created_us), ("", Some(1_577_836_800_000_000)));
        assert_eq!(
            (told.record.version.as_str(), told.source_hash.as_str()),
            ("quickXorHash:AAAA:12", "quickXorHash:AAAA")
        );
    }

    #[test]
    fn renames_and_moves_keep_the_contents() {
        assert_eq!(planned(|_| ()), Plan::Nothing);
        assert_eq!(planned(|f| f["name"] = json!("Plan 2.docx")), Plan::Keep);
        assert_eq!(planned(|f| f["parentReference"]["id"] = json!("other")), Plan::Keep);
        assert_eq!(planned(|f| f["cTag"] = json!("c2")), Plan::Nothing);
    }

    #[test]
    fn changed_hash_or_size_is_fetched() {
        assert_eq!(planned(|f| f["size"] = json!(13)), Plan::Fetch);
        assert_eq!(planned(|f| f["file"]["hashes"]["quickXorHash"] = json!("BBBB")), Plan::Fetch);
        assert_eq!(planned(|f| f["file"] = json!({})), Plan::Fetch, "no hash any more");
    }

    #[test]
    fn without_a_hash_the_tag_of_the_contents_decides() {
        let hashless = |tag: Value| {
            let mut value = sample();
            value["file"] = json!({});
            value["cTag"] = tag;
            told(value).record
        };
        let known = with_stream(hashless(json!("c1")), StreamRole::Content);
        assert_eq!(plan(Some(&known), &mut hashless(json!("c1"))), Plan::Nothing);
        assert_eq!(plan(Some(&known), &mut hashless(json!("c2"))), Plan::Fetch);
        assert_eq!(plan(Some(&known), &mut hashless(Value::Null)), Plan::Fetch);
    }

    #[test]
    fn kinds_are_told_by_their_facets() {
        for (facet, kind) in [
            (json!({"folder": {}}), ItemKind::Folder),
            (json!({"package": {"type": "oneNote"}, "folder": {}}), ItemKind::Package),
            (json!({"remoteItem": {"id": "x"}, "folder": {}}), ItemKind::Shortcut),
            (json!({"file": {}}), ItemKind::File),
        ] {
            let mut value = facet;
            value["id"] = json!("i");
            assert_eq!(told(value).record.kind, kind);
        }
        assert!(matches!(row(json!({"id": "x", "deleted": {}, "folder": {}}), "r"), Some(Row::Deleted(_))));
        assert!(matches!(row(json!({"id": "r", "folder": {}}), "r"), Some(Row::Root(..))));
    }
}
