//! What events and tasks share as iCalendar (RFC 5545).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use super::html;
use super::lines::{Lines, percent};
use super::stored::{Attached, What, texts, word};
use super::zone::Zone;
use crate::m365::facts::{at, text};

/// The form of an instant.
const UTC: &str = "%Y%m%dT%H%M%SZ";
/// The form of a local time.
const LOCAL: &str = "%Y%m%dT%H%M%S";
/// The form of a day.
const DAY: &str = "%Y%m%d";

/// When something begins or ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    Day(Date),
    At(Timestamp),
}

/// Begins a calendar.
pub(super) fn begin(lines: &mut Lines) {
    lines.begin("VCALENDAR");
    lines.raw("VERSION", &[], "2.0");
    lines.raw("PRODID", &[], "-//Tenantvault//Tenantvault//EN");
    lines.raw("CALSCALE", &[], "GREGORIAN");
}

/// A `dateTimeTimeZone` of Graph, as it stands there.
pub(super) fn civil(json: &Value, key: &str) -> Option<DateTime> {
    text(json, &[key, "dateTime"])?.trim_end_matches('Z').parse().ok()
}

/// The instant of a `dateTimeTimeZone` of Graph.
pub(super) fn instant(json: &Value, key: &str) -> Option<Timestamp> {
    let zone = text(json, &[key, "timeZone"]).and_then(Zone::of).unwrap_or_else(Zone::utc);
    zone.instant(civil(json, key)?)
}

/// An instant that Graph tells with its offset.
pub(super) fn stamp(json: &Value, key: &str) -> Option<Timestamp> {
    text(json, &[key])?.parse().ok()
}

/// A line that says when.
pub(super) fn when(lines: &mut Lines, name: &str, when: When, zone: &Zone) {
    match when {
        When::Day(day) => lines.raw(name, &[("VALUE", "DATE")], &day.strftime(DAY).to_string()),
        When::At(at) if zone.is_utc() => lines.raw(name, &[], &utc(at)),
        When::At(at) => lines.raw(name, &[("TZID", &zone.name)], &zone.local(at).strftime(LOCAL).to_string()),
    }
}

/// An instant.
pub(super) fn utc(at: Timestamp) -> String {
    at.strftime(UTC).to_string()
}

/// The day of an instant, in UTC.
pub(super) fn day_of(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}

/// The lines that any item has: what it is called, when it was made and changed.
pub(super) fn common(lines: &mut Lines, json: &Value, uid: &str, title: &str) {
    lines.text("UID", uid);
    let (created, modified) = (stamp(json, "createdDateTime"), stamp(json, "lastModifiedDateTime"));
    lines.raw("DTSTAMP", &[], &utc(modified.or(created).unwrap_or(Timestamp::UNIX_EPOCH)));
    for (name, time) in [("CREATED", created), ("LAST-MODIFIED", modified)] {
        if let Some(time) = time {
            lines.raw(name, &[], &utc(time));
        }
    }
    lines.text("SUMMARY", title);
    match word(json, &["importance"]) {
        "high" => lines.raw("PRIORITY", &[], "1"),
        "low" => lines.raw("PRIORITY", &[], "9"),
        _ => {}
    }
    lines.texts("CATEGORIES", &[], ',', &texts(json, "categories"));
}

/// The text of an item, with `more` below it; beside it as HTML, where it is that.
pub(super) fn body(lines: &mut Lines, json: &Value, more: &str) {
    let content = word(json, &["body", "content"]);
    let is_html = word(json, &["body", "contentType"]).eq_ignore_ascii_case("html");
    let mut plain = if is_html { html::text(content) } else { content.trim_end().to_owned() };
    if !more.is_empty() {
        plain.push_str(if plain.trim().is_empty() { "" } else { "\n\n" });
        plain.push_str(more);
    }
    lines.text("DESCRIPTION", &plain);
    if is_html && !plain.trim().is_empty() {
        lines.text_with("X-ALT-DESC", &[("FMTTYPE", "text/html")], &html::clean(content, &html::Pictures::default()));
    }
}

/// What is attached.
pub(super) fn attach(lines: &mut Lines, attached: &[Attached]) {
    for Attached { name, media, what } in attached {
        // RFC 6838: a media type is two tokens.
        let is_media = |c: char| c.is_ascii_alphanumeric() || "/!#$&-^_.+".contains(c);
        let media = if media.chars().all(is_media) && media.contains('/') { media } else { "application/octet-stream" };
        let file = [("FMTTYPE", media), ("FILENAME", name), ("X-FILENAME", name)];
        match what {
            What::Bytes(bytes) => {
                let [media, name, x_name] = file;
                let params = [("VALUE", "BINARY"), ("ENCODING", "BASE64"), media, name, x_name];
                lines.raw("ATTACH", &params, &STANDARD.encode(bytes));
            }
            What::Path(path) => lines.raw("ATTACH", &file, &percent(path, "-._~/!$&'()+=@")),
            What::Link(link) => lines.uri("ATTACH", &file, link),
        }
    }
}

/// An alarm; `trigger` is written by the caller.
pub(super) fn alarm(lines: &mut Lines, title: &str, trigger: impl FnOnce(&mut Lines)) {
    lines.begin("VALARM");
    lines.raw("ACTION", &[], "DISPLAY");
    lines.text("DESCRIPTION", if title.trim().is_empty() { "Reminder" } else { title });
    trigger(lines);
    lines.end("VALARM");
}

/// How an item repeats, if it does.
pub(super) fn recurrence(json: &Value) -> Option<&Value> {
    at(json, &["recurrence"])
}
