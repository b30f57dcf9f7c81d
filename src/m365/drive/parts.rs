//! What hangs below an item of a drive: who may do what with it, and the earlier versions of a file.
//!
//! Permissions cost five times as much as other requests, so they are asked for only where an item has rights of its own and is
//! told at all (that its sharing shrank is not always said), and once a week: see [`sharing`](super::sharing). What is shared by
//! the folder above it has none of its own: they stand at that folder, or at the top for the whole drive, whose root is told with
//! whatever changes, and so is asked for only if its sharing is said to have. Versions are asked for where anything about a file
//! changed, if the options want any: contents may be what they were, with others between. What cannot be read is left out, and the
//! rest is kept. The ids of parts are that of their item (of the root for the top's), a slash, and their own: a drive's own ids
//! hold no slash.
//!
//! Source: Microsoft Graph, "List permissions", "List versions of a DriveItem", "driveItem: delta".

use serde_json::Value;

use super::api::Api;
use super::model::{UNIQUE, has_own_rights};
use crate::error::{Error, Result};
use crate::format::collection::Gap;
use crate::format::record::{ItemKind, PARTS, Record, StreamRole};
use crate::m365::contents::{Trouble, trouble};
use crate::m365::facts::{CONTENT_FACT, at, flag, number, properties, same_facts, set_fact, short_hash, text};
use crate::m365::walk::{Told, id_of};

/// Says with which options the versions of a file were read.
const VERSIONS_READ: &str = "versions_read";
/// Says that the permissions of an item were read.
pub(super) const PERMISSIONS_READ: &str = "permissions_read";
/// The retention label of a file; "none": it was asked for, and there is none.
const LABEL: &str = "label";
/// Says that the label of a file is the one that it had before: it could not be asked for since.
const LABEL_KEPT: &str = "label_kept";
/// What hangs below items.
pub(super) const PART_KINDS: [ItemKind; 2] = [ItemKind::Permission, ItemKind::Version];
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
        Self {
            permissions: has_own_rights(now)
                && (sharing || !was_read(PERMISSIONS_READ) || !same("shared") || !same("etag")),
            versions: is_file
                && options.versions.most() > 0
                && (anew || !versions_known || !same_contents || !same("etag")),
            label: is_file && options.labels && (anew || !same("etag") || !was_read(LABEL) || was_read(LABEL_KEPT)),
        }
    }
}

/// Takes over from what is known of an item what was not listed again.
pub(super) fn keep_facts(now: &mut Record, known: Option<&Record>, needs: &Needs, options: DriveOptions) {
    let kept = |fact: &str| known.and_then(|known| known.fact(fact));
    if !needs.permissions && has_own_rights(now) {
        set_fact(now, PERMISSIONS_READ, kept(PERMISSIONS_READ));
    }
    if !needs.versions && now.kind == ItemKind::File && options.versions.most() > 0 {
        set_fact(now, VERSIONS_READ, kept(VERSIONS_READ));
    }
    if options.labels {
        // That of before, till another is told.
        let is_old = kept(LABEL).filter(|_| needs.label).map(|_| "true");
        set_fact(now, LABEL, kept(LABEL));
        set_fact(now, LABEL_KEPT, is_old.or(kept(LABEL_KEPT)));
    }
    if now.kind == ItemKind::File || now.kind == ItemKind::Shortcut {
        set_fact(now, PARTS, kept(PARTS));
    }
}

/// Takes over, into an item that was asked for again after it was listed, the facts that say which state of it what hangs
/// below it belongs to. If it changed meanwhile, the next listing tells it again, and has to see what changed.
pub(super) fn keep_listed(now: &mut Record, listed: &Record) {
    for fact in ["etag", "shared", UNIQUE, LABEL, LABEL_KEPT, PARTS, PERMISSIONS_READ] {
        set_fact(now, fact, listed.fact(fact));
    }
    let same_contents = !now.version.is_empty() && now.version == listed.version;
    set_fact(now, VERSIONS_READ, listed.fact(VERSIONS_READ).filter(|_| same_contents));
}

/// What was listed below an item.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) parts: Vec<Told>,
    /// What could not be read, each in words, with the reason of the first.
    pub(super) unread: Vec<String>,
    pub(super) reason: &'static str,
    /// Its label is refused: see [`Labels`].
    pub(super) label_refused: Option<String>,
}

impl Listed {
    /// Gives what was answered, or notes what was not.
    fn take<T>(&mut self, what: &str, answer: Result<T>) -> Result<Option<T>> {
        let error = match answer {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) => error,
        };
        let (reason, text) = match trouble(&error) {
            Trouble::Gap { reason, text } => (reason, text),
            // If the item is gone, the next reading says so, and the gap goes with it.
            Trouble::Gone => ("vanished", "the service does not find it".to_owned()),
            Trouble::Resync { .. } => ("resync", "the service gave up its list".to_owned()),
            Trouble::Fatal => return Err(error),
        };
        if self.unread.is_empty() {
            self.reason = reason;
        }
        self.unread.push(format!("{what} could not be read: {text}"));
        Ok(None)
    }
}

/// Lists what hangs below an item, and notes in its record that this was done. `above`: the parent that permissions get. What
/// could not be read is needed no more when this returns.
///
/// # Errors
/// Graph's, where it is no matter of one question.
pub(super) async fn list(
    api: &Api,
    options: DriveOptions,
    needs: &mut Needs,
    item: &mut Record,
    above: &str,
) -> Result<Listed> {
    let mut listed = Listed::default();
    if needs.permissions {
        let rows = listed.take("Who may use it", api.permissions(&item.id).await)?;
        needs.permissions = rows.is_some();
        set_fact(item, PERMISSIONS_READ, rows.is_some().then_some("true"));
        listed.parts.extend(rows.into_iter().flatten().filter_map(|row| permission(row, &item.id, above)));
    }
    if needs.versions {
        let rows = listed.take("Its earlier versions", api.versions(&item.id).await)?;
        needs.versions = rows.is_some();
        set_fact(item, VERSIONS_READ, rows.is_some().then(|| options.versions.word()).as_deref());
        // The newest comes first, and is the item itself.
        let rows = rows.into_iter().flatten().skip(1).take(options.versions.most());
        listed.parts.extend(rows.filter_map(|row| version(row, item)));
    }
    if needs.label {
        let answer = api.retention_label(&item.id).await;
        listed.label_refused = answer.as_ref().err().and_then(refusal);
        if listed.label_refused.is_none() {
            let label = listed.take("Its retention label", answer)?;
            needs.label = label.is_some();
            if let Some(label) = label {
                set_fact(item, LABEL, Some(text(&label, &["name"]).unwrap_or("none")));
                set_fact(item, LABEL_KEPT, None);
            }
        }
    }
    Ok(listed)
}

/// So many files' labels must be refused, and none read, before no further file is asked: in a drive of which none was ever
/// read, and in another. Some files refuse theirs though the drive does not.
const REFUSALS: [usize; 2] = [3, 100];

/// Whether a drive hands out labels, and whether that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Labels {
    /// None was read yet. The gaps of the files that refused theirs: they are told unless the drive turns out to refuse all.
    Unknown(Vec<Gap>),
    /// At least one was read.
    Read,
    /// They are refused: a file to ask the next time, and why.
    Refused(String, String),
}

impl Labels {
    /// Takes that a file's label was refused, and nothing else of it; `before`: some were read in earlier readings.
    pub(super) fn refused(&mut self, gap: Gap, why: String, before: bool) {
        let Self::Unknown(gaps) = self else { return };
        gaps.retain(|told| told.id != gap.id);
        gaps.push(gap);
        if gaps.len() >= REFUSALS[usize::from(before)] {
            let asked = gaps.pop().map(|gap| gap.id).unwrap_or_default();
            *self = Self::Refused(asked, why);
        }
    }

    /// The gaps that were not told so far.
    pub(super) fn gaps(&self) -> &[Gap] {
        match self {
            Self::Unknown(gaps) => gaps,
            Self::Read | Self::Refused(..) => &[],
        }
    }

    /// Gives them, to be told.
    pub(super) fn take_gaps(&mut self) -> Vec<Gap> {
        match self {
            Self::Unknown(gaps) => std::mem::take(gaps),
            Self::Read | Self::Refused(..) => Vec::new(),
        }
    }
}

/// Why a label is refused, if it is: mostly that the permission for labels is missing.
pub(super) fn refusal(error: &Error) -> Option<String> {
    match trouble(error) {
        Trouble::Gap { reason: "access-denied", text } => Some(text),
        _ => None,
    }
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

/// A permission as Graph tells it, below an item; `parent`: what it hangs below.
pub(in crate::m365) fn permission(row: Value, item: &str, parent: &str) -> Option<Told> {
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
            assert_eq!((needs.permissions, needs.versions, needs.label), (told.fact("shared").is_some(), true, true));
        }
        let needs = Needs::of(options, Some(&listed), &listed, (false, false));
        assert!(!needs.any(), "nothing changed");
        let mut unchanged = file("v1", &[("etag", "1"), ("shared", "users")]);
        keep_listed(&mut unchanged, &listed);
        assert_eq!(unchanged, listed);
    }
}
