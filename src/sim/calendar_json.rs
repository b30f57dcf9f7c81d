//! Calendars as Graph tells them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::calendar::{ATTACHMENT, CALENDAR, EVENT, above, attachments, calendars, events, is_series, kind_of};
use super::contacts::object;
use super::letter::{Cast, Person};
use super::oracle::ExpectedThing;
use super::rng::{Rng, hash};
use super::shelf::{Shelf, TOP};
use super::{times, words};

const WEEK: i64 = 7 * times::DAY;
/// Seconds that a meeting lasts.
pub(super) const LENGTH: i64 = 1_800;
/// 1601-01-01, where clocks of Windows begin.
const ANCIENT: i64 = -11_644_473_600;
/// The dates of occurrences that clients deleted, in what is given of a series.
pub(super) const CANCELLED: &str = "~cancelled";
/// What a body may hold and a careful service takes out.
pub(super) const UNSAFE: &str = "<script>count(1)</script>";

/// An immutable id in which anything of Base64 may stand.
pub(super) fn event_id(seed: u64, number: u32) -> String {
    let raw: Vec<u8> =
        (0..9u64).flat_map(|i| hash(seed, &[if i < 4 { 0 } else { number.into() }, i]).to_le_bytes()).collect();
    format!("AAkALg{}AAA=", STANDARD.encode(raw))
}

pub(super) fn permission_id(seed: u64, number: u32) -> String {
    STANDARD.encode(format!("perm/{:x}", hash(seed, &[number.into()])))
}

pub(super) fn group(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let names = ["My Calendars", "Other Calendars", "People's Calendars"];
    let name = names.get(number as usize).copied().unwrap_or("Further Calendars");
    object(json!({
        "id": shelf.id(number),
        "name": name,
        "classId": "0006f0b7-0000-0000-c000-000000000046",
        "changeKey": shelf.change_key(number),
    }))
}

fn person(cast: &Cast, number: u32) -> &Person {
    &cast.people[number as usize % cast.people.len()]
}

pub(super) fn calendar(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let kind = kind_of(thing.mark);
    let owner = person(cast, above(thing.mark));
    let name = match kind {
        calendars::DEFAULT => "Calendar".to_owned(),
        calendars::BIRTHDAYS => "Birthdays".to_owned(),
        calendars::SHARED => owner.name.clone(),
        _ => words::title(&mut shelf.rng(number), 2),
    };
    let mine = kind <= calendars::OWN;
    // Some are named by another address of theirs.
    let aka = if kind == calendars::SHARED && above(thing.mark) & 1 == 1 { "aka." } else { "" };
    object(json!({
        "id": shelf.id(number),
        "name": name,
        "color": "auto",
        "hexColor": "",
        "isDefaultCalendar": kind == calendars::DEFAULT,
        "changeKey": shelf.change_key(number),
        "canShare": mine,
        "canViewPrivateItems": kind != calendars::SHARED,
        "canEdit": mine,
        "allowedOnlineMeetingProviders": ["teamsForBusiness"],
        "defaultOnlineMeetingProvider": "teamsForBusiness",
        "isTallyingResponses": kind == calendars::DEFAULT,
        "isRemovable": kind != calendars::DEFAULT,
        "owner": {"name": owner.name, "address": format!("{aka}{}", owner.address)},
    }))
}

pub(super) fn permission(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut rng = shelf.rng(number);
    let all = json!(["none", "freeBusyRead", "limitedRead", "read", "write"]);
    if rng.chance(0.3) {
        return object(json!({
            "id": shelf.id(number), "emailAddress": {"name": "My Organization"}, "isRemovable": false,
            "isInsideOrganization": true, "role": "freeBusyRead", "allowedRoles": all,
        }));
    }
    let whom = person(cast, rng.below(1_000) as u32);
    object(json!({
        "id": shelf.id(number), "emailAddress": {"name": whom.name, "address": whom.address}, "isRemovable": true,
        "isInsideOrganization": true, "role": "write", "allowedRoles": all,
    }))
}

/// When an event begins, in seconds since 1970.
pub(super) fn start(shelf: &Shelf, number: u32) -> i64 {
    let thing = shelf.thing(number);
    let mut rng = Rng::new(thing.seed, &[]);
    let day = times::EPOCH - 200 * times::DAY + rng.below(300) as i64 * times::DAY;
    match kind_of(thing.mark) {
        events::EXCEPTION => occurrence(shelf, thing.parent, above(thing.mark)) + 3_600,
        events::ANCIENT => ANCIENT,
        events::ALL_DAY => day - 6 * 3_600,
        events::SERIES | events::ENDLESS => day + 1_800,
        // An edit moves it.
        _ => day + 1_800 * rng.below(20) as i64 + 3_600 * i64::from(thing.revision),
    }
}

/// The zone in which series are planned.
const ZONE: &str = "W. Europe Standard Time";

/// The clocks of that zone show the same at every occurrence.
pub(super) fn occurrence(shelf: &Shelf, series: u32, index: u32) -> i64 {
    let from = start(shelf, series);
    let Some(zone) = super::series::zone(ZONE) else { return from + i64::from(index) * WEEK };
    let first = super::series::local(from, &zone);
    let then = first.checked_add(jiff::Span::new().weeks(i64::from(index))).unwrap_or(first);
    super::series::seconds(then, &zone).unwrap_or(from)
}

fn date(at: i64) -> String {
    Timestamp::from_second(at).unwrap_or_default().strftime("%Y-%m-%d").to_string()
}

pub(super) fn moment(at: i64) -> Value {
    let text = Timestamp::from_second(at).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S.0000000").to_string();
    json!({"dateTime": text, "timeZone": "UTC"})
}

/// The occurrences of a series that were cancelled.
fn cancelled(shelf: &Shelf, number: u32) -> Value {
    let of = |date: &str| format!("OID.{}.{date}", shelf.id(number));
    cancelled_dates(shelf, number).iter().map(|date| of(date)).collect()
}

/// Their dates: those that were cancelled from the start, and those that clients deleted.
pub(super) fn cancelled_dates(shelf: &Shelf, number: u32) -> Vec<String> {
    let thing = shelf.thing(number);
    let planned = (0..above(thing.mark)).map(|n| date(occurrence(shelf, number, 1 + 2 * n)));
    let deleted = thing.given.get(CANCELLED).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    planned.chain(deleted.iter().filter_map(Value::as_str).map(str::to_owned)).collect()
}

fn recurrence(shelf: &Shelf, number: u32) -> Value {
    let from = start(shelf, number);
    let endless = kind_of(shelf.thing(number).mark) == events::ENDLESS;
    let weekday = Timestamp::from_second(from).unwrap_or_default().strftime("%A").to_string().to_lowercase();
    let until = if endless { "0001-01-01".to_owned() } else { date(from + 100 * WEEK) };
    json!({
        "pattern": {"type": "weekly", "interval": 1, "month": 0, "dayOfMonth": 0, "daysOfWeek": [weekday],
            "firstDayOfWeek": "sunday", "index": "first"},
        "range": {"type": if endless { "noEnd" } else { "endDate" }, "startDate": date(from), "endDate": until,
            "recurrenceTimeZone": ZONE, "numberOfOccurrences": 0},
    })
}

fn body(shelf: &Shelf, number: u32, rng: &mut Rng) -> String {
    let text = words::paragraphs(rng, 20).join("</p><p>");
    let inline = shelf.below(&ATTACHMENT, number).filter(|n| shelf.thing(*n).mark == attachments::INLINE);
    let pictures: String = inline.map(|n| format!("<img src=\"cid:{}\">", content_id(shelf, n))).collect();
    let script = if rng.chance(0.5) { UNSAFE } else { "" };
    format!("<html><head></head><body><p>{text}</p>{pictures}{script}</body></html>")
}

pub(super) fn event(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let (kind, mut rng) = (kind_of(thing.mark), shelf.rng(number));
    let (subject, from) = (words::title(&mut rng, 3), start(shelf, number));
    let length = if kind == events::ALL_DAY { times::DAY } else { LENGTH };
    let (series, exception) = (is_series(shelf, number), kind == events::EXCEPTION);
    let kind_word = if series {
        "seriesMaster"
    } else if exception {
        "exception"
    } else {
        "singleInstance"
    };
    let visible = shelf.below(&ATTACHMENT, number).any(|n| shelf.thing(n).mark != attachments::INLINE);
    let (whom, guest) = (person(cast, rng.below(1_000) as u32), person(cast, rng.below(1_000) as u32));
    let place = words::title(&mut rng, 2);
    let organizer = match kind {
        events::NOBODY => Value::Null,
        _ => json!({"emailAddress": {"name": whom.name, "address": whom.address}}),
    };
    let attendees = match kind {
        events::NOBODY | events::ANCIENT => json!([]),
        _ => json!([{
            "type": "required", "status": {"response": "none", "time": "0001-01-01T00:00:00Z"},
            "emailAddress": {"name": guest.name, "address": guest.address},
        }]),
    };
    let mut json = object(json!({
        "@odata.etag": format!("W/\"{}\"", shelf.change_key(number)),
        "id": shelf.id(number),
        "createdDateTime": times::graph(thing.created),
        "lastModifiedDateTime": times::graph(thing.changed),
        "changeKey": shelf.change_key(number),
        "categories": if rng.chance(0.1) { json!(["Blue category"]) } else { json!([]) },
        "transactionId": null,
        "originalStartTimeZone": "W. Europe Standard Time",
        "originalEndTimeZone": "W. Europe Standard Time",
        "originalStart": if exception { json!(times::graph(occurrence(shelf, thing.parent, above(thing.mark)))) } else { Value::Null },
        "iCalUId": format!("040000008200E00074C5B7101A82E008{:016x}", thing.seed),
        "reminderMinutesBeforeStart": 15,
        "isReminderOn": true,
        "hasAttachments": visible,
        "subject": if kind == events::CANCELLED { format!("Canceled: {subject}") } else { subject },
        "bodyPreview": place,
        "importance": "normal",
        "sensitivity": if rng.chance(0.1) { "private" } else { "normal" },
        "isAllDay": kind == events::ALL_DAY,
        "isCancelled": kind == events::CANCELLED,
        "isOrganizer": kind != events::CANCELLED,
    }));
    json.extend(object(json!({
        "isDraft": false,
        "responseRequested": true,
        "seriesMasterId": if exception { json!(shelf.id(thing.parent)) } else { Value::Null },
        "showAs": "busy",
        "type": kind_word,
        "webLink": format!("https://outlook.office365.com/owa/?itemid={:016x}&path=/calendar/item", thing.seed),
        "onlineMeetingUrl": null,
        "isOnlineMeeting": false,
        "onlineMeetingProvider": "unknown",
        "allowNewTimeProposals": true,
        "hideAttendees": false,
        "recurrence": if series { recurrence(shelf, number) } else { Value::Null },
        "responseStatus": {"response": "organizer", "time": "0001-01-01T00:00:00Z"},
        "body": {"contentType": "html", "content": body(shelf, number, &mut rng)},
        "start": moment(from),
        "end": moment(from + length),
        "location": {"displayName": place, "locationType": "default", "uniqueId": place, "uniqueIdType": "private"},
        "locations": [{"displayName": place, "locationType": "default", "uniqueIdType": "unknown"}],
        "attendees": attendees,
        "organizer": organizer,
        "onlineMeeting": null,
    })));
    json
}

/// What is told of a single event when its name is asked for: beside the usual, its cancelled occurrences.
pub(super) fn event_alone(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut json = shelf.json(cast, number);
    let dates = if is_series(shelf, number) { cancelled(shelf, number) } else { Value::Null };
    json.insert("cancelledOccurrences".into(), dates);
    json
}

fn content_id(shelf: &Shelf, number: u32) -> String {
    let given = shelf.thing(number).given.get("contentId").and_then(Value::as_str);
    if let Some(given) = given {
        return given.to_owned();
    }
    format!("image{:08x}@01DC", shelf.thing(number).seed as u32)
}

/// An attachment with all its properties, the bytes among them.
pub(super) fn attachment(cast: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let mut rng = shelf.rng(number);
    let blob = shelf.content(cast, number);
    let name = words::title(&mut rng, 2);
    let (kind, name, mime) = match thing.mark {
        attachments::ITEM => ("itemAttachment", name, Value::Null),
        attachments::REFERENCE => ("referenceAttachment", format!("{name}.docx"), Value::Null),
        attachments::INLINE => ("fileAttachment", format!("{name}.png"), json!("image/png")),
        _ => ("fileAttachment", format!("{name}.pdf"), json!("application/pdf")),
    };
    let mut json = object(json!({
        "@odata.type": format!("#microsoft.graph.{kind}"),
        "id": shelf.id(number),
        "lastModifiedDateTime": times::graph(thing.created),
        "name": name,
        "contentType": mime,
        "size": blob.as_ref().map_or(1_060, |blob| blob.len() + 250),
        "isInline": thing.mark == attachments::INLINE,
    }));
    if let ("fileAttachment", Some(blob)) = (kind, blob) {
        let id = if thing.mark == attachments::INLINE { json!(content_id(shelf, number)) } else { Value::Null };
        json.insert("contentId".into(), id);
        json.insert("contentLocation".into(), Value::Null);
        json.insert("contentBytes".into(), STANDARD.encode(blob.bytes()).into());
    }
    json
}

/// What a backup of the calendars of a mailbox must hold: of a series its cancelled occurrences as well, of an attachment
/// its bytes beside it.
pub(super) fn expected(cast: &Cast, shelf: &Shelf) -> Vec<ExpectedThing> {
    let alive = (0u32..).zip(&shelf.things).filter(|(_, thing)| thing.alive);
    let told = alive.map(|(number, thing)| {
        let mut json = shelf.json(cast, number);
        let parent = if thing.parent == TOP { String::new() } else { shelf.id(thing.parent) };
        let mut id = shelf.id(number);
        if thing.kind.name == ATTACHMENT.name {
            id = format!("{parent}/{id}");
            json.retain(|name, _| !matches!(name.as_str(), "contentBytes" | "contentLocation"));
        } else if thing.kind.name == EVENT.name && is_series(shelf, number) {
            json = event_alone(cast, shelf, number);
        } else if thing.parent != TOP && thing.kind.name != EVENT.name && thing.kind.name != CALENDAR.name {
            id = format!("{parent}/permissions/{id}");
        }
        let content = shelf.content(cast, number);
        ExpectedThing { id, parent, kind: thing.kind.name, json: json.into(), content }
    });
    told.collect()
}
