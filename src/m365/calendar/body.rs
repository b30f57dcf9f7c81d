//! What is sent of an event.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::m365::facts::{at, flag, text};
use crate::m365::restore::rows;
use crate::m365::zones::{local, zone};

/// What of an event can be set as it is told; times, places, text and recurrence besides.
const EVENT: &[&str] = &[
    "allowNewTimeProposals",
    "categories",
    "hideAttendees",
    "importance",
    "isAllDay",
    "isReminderOn",
    "reminderMinutesBeforeStart",
    "responseRequested",
    "sensitivity",
    "showAs",
    "subject",
];
/// Attendees that are noted by name.
const MOST_NOTED: usize = 200;
/// The parts of a recurrence's pattern.
const PATTERN: &[&str] = &["type", "interval", "month", "dayOfMonth", "daysOfWeek", "firstDayOfWeek", "index"];

/// What is sent to make an event.
pub(super) fn event(json: &Value) -> Map<String, Value> {
    let mut body = rows::settable(json, EVENT);
    times(json, &mut body);
    places(json, &mut body);
    if let Some(content) = content(json) {
        body.insert("body".into(), content);
    }
    if let Some(recurrence) = recurrence(json) {
        body.insert("recurrence".into(), recurrence);
    }
    body
}

/// What is sent to make an exception of an occurrence.
pub(super) fn exception(json: &Value) -> Map<String, Value> {
    let mut body = event(json);
    body.remove("recurrence");
    body
}

/// What is sent to an event that is there, so that it holds just this.
pub(super) fn whole(json: &Value) -> Map<String, Value> {
    let mut body = rows::replacing(json, EVENT);
    body.retain(|name, value| !value.is_null() || name == "subject");
    body.extend(exception(json));
    if !body.contains_key("location") && !body.contains_key("locations") {
        body.insert("locations".into(), json!([]));
    }
    body
}

/// A time that is kept in UTC.
fn utc(json: &Value, key: &str) -> Option<DateTime> {
    text(json, &[key, "dateTime"])?.trim_end_matches('Z').parse().ok()
}

fn instant(time: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_ambiguous_zoned_datetime(time).compatible().ok().map(|zoned| zoned.timestamp())
}

/// Begin and end in the event's own zone. Days are days everywhere: what is midnight as it is kept stays so.
fn times(json: &Value, body: &mut Map<String, Value>) {
    let all_day = flag(json, &["isAllDay"]) == Some(true);
    for (key, zone_key) in [("start", "originalStartTimeZone"), ("end", "originalEndTimeZone")] {
        let Some(kept) = utc(json, key) else { continue };
        let name = text(json, &[zone_key]).unwrap_or_default();
        let (time, name) = match zone(name) {
            Some(_) if all_day && kept.time() == Time::midnight() => (kept, name),
            Some(zone) => (instant(kept).map_or(kept, |at| local(at, &zone)), name),
            None => (kept, "UTC"),
        };
        let time = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        body.insert(key.to_owned(), json!({"dateTime": time, "timeZone": name}));
    }
}

/// Places: the list if there is one, else the one place.
fn places(json: &Value, body: &mut Map<String, Value>) {
    let one = rows::settable(json, &["location"]).remove("location");
    let all = rows::settable(json, &["locations"]).remove("locations");
    if let Some(all) = all.filter(|all| all.as_array().is_some_and(|all| !all.is_empty())) {
        body.insert("locations".into(), all);
    } else if let Some(one) = one.filter(|one| text(one, &["displayName"]).is_some_and(|name| !name.is_empty())) {
        body.insert("location".into(), one);
    }
}

/// The text, with the attendees noted at its end.
fn content(json: &Value) -> Option<Value> {
    let content = text(json, &["body", "content"])?;
    let is_html = text(json, &["body", "contentType"]).is_some_and(|kind| kind.eq_ignore_ascii_case("html"));
    let attendees = at(json, &["attendees"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names: Vec<String> = attendees.iter().take(MOST_NOTED).filter_map(attendee).collect();
    let content = if names.is_empty() {
        content.to_owned()
    } else if is_html {
        let note = format!("<p>Attendees: {}</p>", escaped(&names.join("; ")));
        match content.rfind("</body>") {
            Some(place) => {
                let (before, after) = content.split_at(place);
                format!("{before}{note}{after}")
            }
            None => format!("{content}{note}"),
        }
    } else {
        format!("{content}\n\nAttendees: {}", names.join("; "))
    };
    Some(json!({"contentType": if is_html { "html" } else { "text" }, "content": content}))
}

fn attendee(attendee: &Value) -> Option<String> {
    let address = text(attendee, &["emailAddress", "address"]).unwrap_or_default();
    match text(attendee, &["emailAddress", "name"]).unwrap_or_default() {
        "" if address.is_empty() => None,
        "" => Some(address.to_owned()),
        name => Some(format!("{name} <{address}>")),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A recurrence: of its range what its type knows.
fn recurrence(json: &Value) -> Option<Value> {
    let recurrence = at(json, &["recurrence"])?;
    let kind = text(recurrence, &["range", "type"])?;
    let mut names = vec!["type", "startDate", "recurrenceTimeZone"];
    match kind {
        "endDate" => names.push("endDate"),
        "numbered" => names.push("numberOfOccurrences"),
        _ => {}
    }
    let range = rows::settable(recurrence.get("range")?, &names);
    Some(json!({"pattern": rows::settable(recurrence.get("pattern")?, PATTERN), "range": range}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(start: &str, end: &str, zone: &str, all_day: bool) -> Value {
        json!({
            "subject": "x", "isAllDay": all_day, "originalStartTimeZone": zone, "originalEndTimeZone": zone,
            "start": {"dateTime": start, "timeZone": "UTC"}, "end": {"dateTime": end, "timeZone": "UTC"},
        })
    }

    #[test]
    fn times_go_out_in_the_zone_of_the_event() {
        let berlin = "W. Europe Standard Time";
        for (start, zone, all_day, time, name) in [
            ("2026-07-01T06:30:00.0000000", berlin, false, "2026-07-01T08:30:00", berlin),
            ("2026-12-01T06:30:00.0000000", berlin, false, "2026-12-01T07:30:00", berlin),
            // A day, as it is told: at midnight of UTC, or of the zone.
            ("2026-07-01T00:00:00.0000000", berlin, true, "2026-07-01T00:00:00", berlin),
            ("2026-06-30T22:00:00.0000000", berlin, true, "2026-07-01T00:00:00", berlin),
            ("2026-07-01T06:30:00.0000000", "tzone://Microsoft/Custom", false, "2026-07-01T06:30:00", "UTC"),
        ] {
            let body = event(&kept(start, start, zone, all_day));
            assert_eq!(body["start"], json!({"dateTime": time, "timeZone": name}), "{start} {zone}");
        }
    }

    #[test]
    fn attendees_are_noted_and_not_sent() {
        let mut json = kept("2026-07-01T06:30:00", "2026-07-01T07:30:00", "UTC", false);
        json["attendees"] = json!([{"emailAddress": {"name": "A <b>", "address": "a@b.c"}}]);
        json["body"] = json!({"contentType": "html", "content": "<html><body>Hi</body></html>"});
        let body = event(&json);
        assert!(!body.contains_key("attendees"));
        let note = "<html><body>Hi<p>Attendees: A &lt;b&gt; &lt;a@b.c&gt;</p></body></html>";
        assert_eq!(body["body"]["content"], note);
    }
}
