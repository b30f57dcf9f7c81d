//! What the JSON of calendars means.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::format::record::{FORM, ItemKind, Record};
use crate::m365::facts::{Summary, at, flag, number, text};
use crate::m365::walk::{Told, bare, id_of};

/// Stands for the list of groups where that cannot be read.
pub(super) const GROUPS: &str = "groups";
/// The fact that says which version of a series its exceptions were read with.
pub(super) const CHANGE_KEY: &str = "change_key";
/// The fact that says what an event is, in Graph's words.
pub(super) const TYPE: &str = "type";
/// What it is for the master of a series.
pub(super) const MASTER: &str = "seriesMaster";
/// How many addresses of attendees are kept for searching.
const MOST_ATTENDEES: usize = 50;

/// Says whether an event is the master of a series.
pub(crate) fn is_series(record: &Record) -> bool {
    record.kind == ItemKind::Event && record.fact(TYPE) == Some(MASTER)
}

pub(super) fn group(row: Value) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    let name = text(&row, &["name"]).unwrap_or_default().to_owned();
    Some(Told::new(ItemKind::CalendarGroup, id, "", &name, bare(row)))
}

/// The owner's address, if a calendar is somebody else's.
pub(super) fn owner_if_other<'a>(row: &'a Value, mailbox: &str) -> Option<&'a str> {
    let owner = text(row, &["owner", "address"]).filter(|owner| !owner.is_empty())?;
    let own = mailbox.is_empty() || owner.eq_ignore_ascii_case(mailbox);
    (!own).then_some(owner)
}

pub(super) fn calendar(row: Value, id: &str, group: &str, shared_by: &str) -> Told {
    let name = text(&row, &["name"]).unwrap_or_default().to_owned();
    let default = flag(&row, &["isDefaultCalendar"]) == Some(true);
    Told::new(ItemKind::Calendar, id, group, &name, bare(row))
        .fact("shared_by", shared_by)
        .fact("default", if default { "true" } else { "" })
}

/// What the ids of a calendar's permissions begin with; stands for all of them where they cannot be read.
pub(super) fn sharing_of(calendar: &str) -> String {
    format!("{calendar}/permissions/")
}

pub(super) fn permission(row: Value, calendar: &str) -> Option<Told> {
    let id = format!("{}{}", sharing_of(calendar), id_of(&row)?);
    let address = text(&row, &["emailAddress", "address"]).unwrap_or_default().to_owned();
    let name = text(&row, &["emailAddress", "name"]).filter(|name| !name.is_empty()).unwrap_or(&address).to_owned();
    let role = text(&row, &["role"]).unwrap_or_default().to_owned();
    Some(Told::new(ItemKind::Permission, id, calendar, &name, bare(row)).fact("address", &address).fact("role", &role))
}

/// Says whether an event has attachments: Graph's own mark passes over those that stand inside the text.
pub(super) fn has_attachments(row: &Value) -> bool {
    flag(row, &["hasAttachments"]) == Some(true)
        || text(row, &["body", "content"]).is_some_and(|body| body.contains("cid:"))
}

/// An event; `parts` says how many hang below it, as far as that is known: attachments count as one.
pub(super) fn event(row: Value, parent: &str, parts: usize) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    let name = text(&row, &["subject"]).unwrap_or_default().to_owned();
    let start = time_us(&row, "start");
    let attendees = at(&row, &["attendees"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let attendees: Vec<&str> =
        attendees.iter().filter_map(|one| text(one, &["emailAddress", "address"])).take(MOST_ATTENDEES).collect();
    let mut facts = Summary::default();
    facts.add("organizer", text(&row, &["organizer", "emailAddress", "address"]).unwrap_or_default());
    facts.add("attendees", attendees.join("; "));
    facts.add("location", text(&row, &["location", "displayName"]).unwrap_or_default());
    facts.add(TYPE, text(&row, &["type"]).unwrap_or_default());
    facts.mark("all_day", flag(&row, &["isAllDay"]) == Some(true));
    facts.mark("cancelled", flag(&row, &["isCancelled"]) == Some(true));
    let mut told = Told::new(ItemKind::Event, id, parent, &name, bare(row)).dated().sorted_by(start);
    told.record.summary = facts.finish();
    Some(told.with_parts(parts))
}

/// The time of an event, which was asked for in UTC.
fn time_us(row: &Value, key: &str) -> Option<i64> {
    let time: DateTime = text(row, &[key, "dateTime"])?.trim_end_matches('Z').parse().ok()?;
    Some(time.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// Takes the exceptions out of a series: each is an item of its own.
pub(super) fn take_exceptions(series: &mut Value) -> Vec<Value> {
    match series.as_object_mut().and_then(|map| map.remove("exceptionOccurrences")) {
        Some(Value::Array(exceptions)) => exceptions,
        _ => Vec::new(),
    }
}

pub(super) fn attachment(row: Value, event: &str) -> Option<Told> {
    let id = format!("{event}/{}", id_of(&row)?);
    let name = text(&row, &["name"]).unwrap_or_default().to_owned();
    let kind = text(&row, &["@odata.type"]).unwrap_or_default().to_owned();
    let size = number(&row, &["size"]).unwrap_or(0);
    let inline = flag(&row, &["isInline"]) == Some(true);
    let mime = text(&row, &["contentType"]).unwrap_or_default().to_owned();
    let changed = text(&row, &["lastModifiedDateTime"]).unwrap_or_default().to_owned();
    let mut facts = Summary::default();
    facts.add("content_type", mime);
    facts.mark("inline", inline);
    let mut told = Told::new(ItemKind::Attachment, id, event, &name, row).dated();
    told.record.summary = facts.finish();
    // A link to a file elsewhere has no bytes here.
    if kind.ends_with("referenceAttachment") {
        Some(told.fact(FORM, "json"))
    } else {
        Some(told.sized(size).with_contents(changed))
    }
}

/// The id that Graph gives to an attachment.
pub(super) fn attachment_in(record: &Record) -> Option<&str> {
    record.id.strip_prefix(record.parent.as_str())?.strip_prefix('/')
}
