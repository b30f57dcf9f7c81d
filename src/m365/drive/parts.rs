//! What hangs below an item of a drive: who may do what with it, and the earlier versions of a file.
//!
//! Permissions cost five times as much as other requests, so they are asked for only where an item is shared and it, or its
//! sharing, changed; an enumeration does not tell the latter, so after one all that is shared is asked for. What is shared by the
//! folder above it has none of its own: they stand at that folder, or at the top for the whole drive. Versions are asked for
//! where the contents changed, if the options want any. The ids of parts are that of their item (of the root for the top's), a
//! slash, and their own: a drive's own ids hold no slash.
//!
//! Source: Microsoft Graph, "List permissions", "List versions of a DriveItem", "driveItem: delta".

use serde_json::Value;

use super::api::Api;
use super::model::UNIQUE;
use crate::error::Result;
use crate::format::record::{ItemKind, PARTS, Record, StreamRole};
use crate::m365::facts::{CONTENT_FACT, at, flag, number, properties, same_facts, set_fact, short_hash, text};
use crate::m365::walk::{Told, id_of};

/// Says with which options the versions of a file were read.
const VERSIONS_READ: &str = "versions_read";
/// Says that the permissions of an item were read.
pub(super) const PERMISSIONS_READ: &str = "permissions_read";
/// What a delta says of an item whose sharing changed. Good for one telling, so it is not stored.
const SHARING_CHANGED: [&str; 2] = ["@microsoft.graph.sharedChanged", "@sharedChanged"];

/// Which earlier versions of files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// All that there are.
    All,
    /// So many of the newest; 0: none but the present one.
    Newest(u32),
}

impl Default for Versions {
    fn default() -> Self {
        Self::Newest(0)
    }
}

/// How drives are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DriveOptions {
    /// Which earlier versions of files are kept.
    pub versions: Versions,
    /// Retention labels are kept: a request more for each file that is new or changed.
    pub labels: bool,
}

impl DriveOptions {
    /// What is asked for of each file, in a word; empty: nothing.
    pub(super) fn word(self) -> String {
        let versions = if self.versions.most() > 0 { self.versions.word() } else { String::new() };
        if self.labels { format!("{versions}+labels") } else { versions }
    }
}

impl Versions {
    fn word(self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Newest(number) => number.to_string(),
        }
    }

    fn most(self) -> usize {
        match self {
            Self::All => usize::MAX,
            Self::Newest(number) => usize::try_from(number).unwrap_or(usize::MAX),
        }
    }
}

/// Takes out of an item's JSON whether its sharing changed.
pub(super) fn take_sharing_changed(value: &mut Value) -> bool {
    let changed = SHARING_CHANGED.iter().any(|name| flag(value, &[name]) == Some(true));
    if let Some(object) = value.as_object_mut() {
        SHARING_CHANGED.iter().for_each(|name| drop(object.shift_remove(*name)));
    }
    changed
}

/// What is to be listed below an item.
pub(super) struct Needs {
    pub(super) permissions: bool,
    pub(super) versions: bool,
    pub(super) label: bool,
}

impl Needs {
    pub(super) fn any(&self) -> bool {
        self.permissions || self.versions || self.label
    }

    /// Decides from what is known of an item. `anew`: what hangs below it may be missing; its sharing may have changed.
    pub(super) fn of(options: DriveOptions, known: Option<&Record>, now: &Record, anew: (bool, bool)) -> Self {
        let (anew, sharing) = anew;
        let same = |fact: &str| known.is_some_and(|known| known.fact(fact) == now.fact(fact));
        let was_read = |fact: &str| known.and_then(|known| known.fact(fact)).is_some();
        let same_contents = known.is_some_and(|known| !now.version.is_empty() && known.version == now.version);
        let is_file = now.kind == ItemKind::File;
        let word = options.versions.word();
        let versions_known = known.and_then(|known| known.fact(VERSIONS_READ)) == Some(&*word);
        let is_shared = now.fact("shared").is_some();
        Self {
            permissions: is_shared && (sharing || !was_read(PERMISSIONS_READ) || !same("shared") || !same("etag")),
            versions: is_file && options.versions.most() > 0 && (anew || !versions_known || !same_contents),
            label: is_file && options.labels && (anew || !same("etag") || !was_read("label")),
        }
    }
}

/// Takes over from what is known of an item what was not listed again.
pub(super) fn keep_facts(now: &mut Record, known: Option<&Record>, needs: &Needs, options: DriveOptions) {
    let kept = |fact: &str| known.and_then(|known| known.fact(fact));
    if !needs.permissions && now.fact("shared").is_some() {
        set_fact(now, PERMISSIONS_READ, kept(PERMISSIONS_READ));
    }
    if !needs.versions && now.kind == ItemKind::File && options.versions.most() > 0 {
        set_fact(now, VERSIONS_READ, kept(VERSIONS_READ));
    }
    if !needs.label && options.labels {
        set_fact(now, "label", kept("label"));
    }
    if now.kind == ItemKind::File || now.kind == ItemKind::Shortcut {
        set_fact(now, PARTS, kept(PARTS));
    }
}

/// Takes over, into an item that was asked for again after it was listed, the facts that say which state of it what hangs
/// below it belongs to. If it changed meanwhile, the next listing tells it again, and has to see what changed.
pub(super) fn keep_listed(now: &mut Record, listed: &Record) {
    for fact in ["etag", "shared", UNIQUE, "label", PARTS, PERMISSIONS_READ] {
        set_fact(now, fact, listed.fact(fact));
    }
    let same_contents = !now.version.is_empty() && now.version == listed.version;
    set_fact(now, VERSIONS_READ, listed.fact(VERSIONS_READ).filter(|_| same_contents));
}

/// Lists what hangs below an item, and notes in its record that this was done. `above`: the parent that permissions get.
///
/// # Errors
/// Graph's.
pub(super) async fn list(
    api: &Api,
    options: DriveOptions,
    needs: &Needs,
    item: &mut Record,
    above: &str,
) -> Result<Vec<Told>> {
    let mut parts = Vec::new();
    if needs.permissions {
        parts.extend(api.permissions(&item.id).await?.into_iter().filter_map(|row| permission(row, &item.id, above)));
        set_fact(item, PERMISSIONS_READ, Some("true"));
    }
    if needs.versions {
        // The newest comes first, and is the item itself.
        let rows = api.versions(&item.id).await?.into_iter().skip(1).take(options.versions.most());
        parts.extend(rows.filter_map(|row| version(row, item)));
        set_fact(item, VERSIONS_READ, Some(&options.versions.word()));
    }
    if needs.label {
        let label = api.retention_label(&item.id).await?;
        set_fact(item, "label", Some(text(&label, &["name"]).unwrap_or("none")));
    }
    Ok(parts)
}

/// Says whether a known part is of those that were listed anew.
pub(super) fn is_listed(kind: ItemKind, needs: &Needs) -> bool {
    match kind {
        ItemKind::Permission => needs.permissions,
        ItemKind::Version => needs.versions,
        _ => false,
    }
}

/// The id of the item that an id is a part of.
pub(super) fn item_of(id: &str) -> Option<&str> {
    id.split_once('/').map(|(item, _)| item)
}

/// A part as a change tells it; `None`: it is as it is known.
pub(super) fn changed(told: Told, known: Option<&Record>) -> Option<(Record, bytes::Bytes, bool)> {
    let Told { mut record, json, .. } = told;
    record.version = short_hash([Some(&json)]);
    let is_whole = record.kind != ItemKind::Version || known.is_some_and(|k| k.stream(StreamRole::Content).is_some());
    if is_whole && known.is_some_and(|known| same_facts(known, &record)) {
        return None;
    }
    let kept = is_whole && known.is_some_and(|known| known.fact(CONTENT_FACT) == record.fact(CONTENT_FACT));
    Some((record, properties(&json), kept))
}

fn permission(row: Value, item: &str, parent: &str) -> Option<Told> {
    let id = format!("{item}/{}", id_of(&row)?);
    let roles = row.get("roles").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let roles = roles.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let link = text(&row, &["link", "scope"]).map(|scope| format!("Link for {scope}"));
    let kinds = ["user", "group", "siteUser", "siteGroup", "application"];
    let to = kinds.iter().find_map(|kind| {
        text(&row, &["grantedToV2", kind, "displayName"]).or_else(|| text(&row, &["grantedTo", kind, "displayName"]))
    });
    let name = link.or_else(|| to.map(str::to_owned)).unwrap_or_else(|| "Permission".to_owned());
    Some(Told::new(ItemKind::Permission, id, parent, &name, row).fact("roles", &roles))
}

fn version(row: Value, item: &Record) -> Option<Told> {
    let own = id_of(&row)?.to_owned();
    let (stem, ending) = match item.name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => (stem, format!(".{ending}")),
        _ => (item.name.as_str(), String::new()),
    };
    let name = format!("{stem} ({own}){ending}");
    let size = number(&row, &["size"]).unwrap_or(0);
    // What a version holds never changes; its number might be used for other bytes all the same.
    let stamp =
        format!("{own} {size} {}", at(&row, &["lastModifiedDateTime"]).and_then(Value::as_str).unwrap_or_default());
    let mut told = Told::new(ItemKind::Version, format!("{}/{own}", item.id), &item.id, &name, row).dated().sized(size);
    set_fact(&mut told.record, CONTENT_FACT, Some(&stamp));
    set_fact(&mut told.record, "number", Some(&own));
    Some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: &str, facts: &[(&str, &str)]) -> Record {
        let mut file = Told::new(ItemKind::File, "f".to_owned(), "", "f.txt", Value::Null).record;
        version.clone_into(&mut file.version);
        facts.iter().for_each(|(name, value)| set_fact(&mut file, name, Some(value)));
        file
    }

    /// A file that is shared no more, and changed, between its listing and the reading of its contents: what is below
    /// it is of the state that was listed.
    #[test]
    fn what_changed_before_the_contents_came_is_noticed_by_the_next_listing() {
        let options = DriveOptions { versions: Versions::All, labels: true };
        let read = [("permissions_read", "true"), ("versions_read", "all"), ("label", "none"), ("parts", "3")];
        let listed = file("v1", &[&[("etag", "1"), ("shared", "users")], &read[..]].concat());
        for (version, facts) in [("v2", &[("etag", "2")][..]), ("v1", &[("etag", "2"), ("shared", "users")])] {
            let told = file(version, facts);
            let mut newer = told.clone();
            keep_listed(&mut newer, &listed);
            assert_eq!(newer.fact("shared"), Some("users"), "so it is seen that it is shared no more");
            let needs = Needs::of(options, Some(&newer), &told, (false, false));
            assert_eq!(
                (needs.permissions, needs.versions, needs.label),
                (told.fact("shared").is_some(), version == "v2", true)
            );
        }
        let mut unchanged = file("v1", &[("etag", "1"), ("shared", "users")]);
        keep_listed(&mut unchanged, &listed);
        assert_eq!(unchanged, listed);
    }
}
