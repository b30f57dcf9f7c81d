//! Calendars as clients write them. Whoever makes, changes or deletes an event that has attendees sends them mail.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::app::App;
use super::calendar::{ATTACHMENT, CALENDAR, EVENT, GROUP, above, attachments, calendars, events, kind_of};
use super::calendar_http::serve;
use super::calendar_json::moment;
use super::calendar_series::{Named, cancel, date_of, except, named};
use super::contacts::object;
use super::content::Blob;
use super::doors::{Door, EXTENDED, New, create, exists, gone, in_mailbox, shown};
use super::query::Request;
use super::reply::{Answer, Payload, Reply};
use super::route::Route;
use super::schema::{self, Entity};
use super::series;
use super::settings::merge;
use super::shelf::{Shelf, TOP};
use super::state::User;
use super::tasks_write::sent_bytes;
use super::uploads::{self, Session};

const ROLES: &[&str] = &["Calendars.ReadWrite"];

static CALENDAR_ENTITY: Entity = Entity {
    name: "calendar",
    read_only: &[
        "allowedOnlineMeetingProviders",
        "canEdit",
        "canShare",
        "canViewPrivateItems",
        "changeKey",
        "hexColor",
        "isRemovable",
        "isTallyingResponses",
        "owner",
    ],
    required: &["name"],
    beside: &[],
};
static GROUP_ENTITY: Entity =
    Entity { name: "calendarGroup", read_only: &["changeKey", "classId"], required: &["name"], beside: &[] };
static EVENT_ENTITY: Entity = Entity {
    name: "event",
    read_only: &[
        "bodyPreview",
        "cancelledOccurrences",
        "changeKey",
        "createdDateTime",
        "hasAttachments",
        "iCalUId",
        "isCancelled",
        "isDraft",
        "isOrganizer",
        "lastModifiedDateTime",
        "onlineMeeting",
        "onlineMeetingUrl",
        "organizer",
        "originalEndTimeZone",
        "originalStart",
        "originalStartTimeZone",
        "responseStatus",
        "seriesMasterId",
        "type",
        "webLink",
    ],
    required: &["start", "end"],
    beside: &[EXTENDED],
};
static ATTACHMENT_ENTITY: Entity = Entity {
    name: "fileAttachment",
    read_only: &["lastModifiedDateTime", "size"],
    required: &["name", "contentBytes"],
    beside: &[],
};

const CALENDARS: &str = "/users/{id}/calendars";
const ONE_CALENDAR: &str = "/users/{id}/calendars/{id}";
const GROUPS: &str = "/users/{id}/calendarGroups";
const IN_GROUP: &str = "/users/{id}/calendarGroups/{id}/calendars";
const EVENTS: &str = "/users/{id}/calendars/{id}/events";
const ONE_EVENT: &str = "/users/{id}/events/{id}";
const ATTACHMENTS: &str = "/users/{id}/events/{id}/attachments";
const SESSION: &str = "/users/{id}/events/{id}/attachments/createUploadSession";
const ONE_ATTACHMENT: &str = "/users/{id}/events/{id}/attachments/{id}";

pub(super) const DOORS: &[Door] = &[
    Door { method: "POST", path: GROUPS, roles: ROLES, run: add_group },
    Door { method: "DELETE", path: "/users/{id}/calendarGroups/{id}", roles: ROLES, run: remove_group },
    Door { method: "POST", path: CALENDARS, roles: ROLES, run: add_calendar },
    Door { method: "POST", path: IN_GROUP, roles: ROLES, run: add_calendar },
    Door { method: "PATCH", path: ONE_CALENDAR, roles: ROLES, run: change_calendar },
    Door { method: "DELETE", path: ONE_CALENDAR, roles: ROLES, run: remove_calendar },
    Door { method: "POST", path: EVENTS, roles: ROLES, run: add_event },
    Door { method: "PATCH", path: ONE_EVENT, roles: ROLES, run: change_event },
    Door { method: "DELETE", path: ONE_EVENT, roles: ROLES, run: remove_event },
    Door { method: "POST", path: ATTACHMENTS, roles: ROLES, run: add_attachment },
    Door { method: "POST", path: SESSION, roles: ROLES, run: begin_attachment },
    Door { method: "DELETE", path: ONE_ATTACHMENT, roles: ROLES, run: remove_attachment },
];

fn answer(app: &App, status: u16, user: &User, what: &str, number: u32) -> Reply {
    shown(app, status, &format!("users('{}')/{what}", user.id), user.calendars.json(&app.cast, number))
}

fn add_group(app: &App, request: &Request, route: &Route) -> Answer {
    let body = GROUP_ENTITY.new_body(request)?;
    in_mailbox(app, route, |user, now| {
        taken(app, &user.calendars, &GROUP, &body)?;
        let new = New { entity: &GROUP_ENTITY, kind: &GROUP, parent: TOP, mark: 0, usual: Value::Null };
        let number = create(&app.cast, &mut user.calendars, new, body, now);
        Ok(answer(app, 201, user, "calendarGroups", number))
    })
}

fn remove_group(app: &App, _: &Request, route: &Route) -> Answer {
    in_mailbox(app, route, |user, _| {
        let number = user.calendars.find(&GROUP, route.id(0)).ok_or_else(Reply::mail_not_found)?;
        if user.calendars.below(&CALENDAR, number).next().is_some() {
            return Err(Reply::fail(400, "ErrorCalendarGroupNotEmpty", "The group still holds calendars."));
        }
        Ok(gone(&mut user.calendars, number))
    })
}

/// Refuses a name that is there already.
fn taken(app: &App, shelf: &Shelf, kind: &'static super::shelf::Kind, body: &Map<String, Value>) -> Answer<()> {
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
    let same = |number: u32| {
        shelf.json(&app.cast, number)["name"].as_str().is_some_and(|other| other.eq_ignore_ascii_case(name))
    };
    if shelf.all(kind).any(same) { Err(exists(name)) } else { Ok(()) }
}

fn add_calendar(app: &App, request: &Request, route: &Route) -> Answer {
    let body = CALENDAR_ENTITY.new_body(request)?;
    if body.contains_key("isDefaultCalendar") {
        return Err(Reply::fail(400, "ErrorInvalidPropertySet", "The default calendar cannot be made."));
    }
    in_mailbox(app, route, |user, now| {
        taken(app, &user.calendars, &CALENDAR, &body)?;
        let group = match route.ids.first() {
            Some(id) => user.calendars.find(&GROUP, id),
            None => user.calendars.all(&GROUP).next(),
        };
        let parent = group.ok_or_else(Reply::mail_not_found)?;
        // The owner is that of the default calendar.
        let default = user.calendars.all(&CALENDAR).next().ok_or_else(Reply::mail_not_found)?;
        let mark = above(user.calendars.thing(default).mark) << 8 | calendars::OWN;
        let usual = json!({"color": "auto", "defaultOnlineMeetingProvider": "teamsForBusiness"});
        let new = New { entity: &CALENDAR_ENTITY, kind: &CALENDAR, parent, mark, usual };
        let number = create(&app.cast, &mut user.calendars, new, body, now);
        Ok(answer(app, 201, user, "calendars", number))
    })
}

fn change_calendar(app: &App, request: &Request, route: &Route) -> Answer {
    let body = CALENDAR_ENTITY.body(request)?;
    in_mailbox(app, route, |user, now| {
        let number = user.calendars.find(&CALENDAR, route.id(0)).ok_or_else(Reply::mail_not_found)?;
        user.calendars.write(number, body, now);
        Ok(answer(app, 200, user, "calendars", number))
    })
}

fn remove_calendar(app: &App, _: &Request, route: &Route) -> Answer {
    in_mailbox(app, route, |user, _| {
        let number = user.calendars.find(&CALENDAR, route.id(0)).ok_or_else(Reply::mail_not_found)?;
        if kind_of(user.calendars.thing(number).mark) == calendars::DEFAULT {
            return Err(Reply::fail(400, "ErrorDeleteDistinguishedFolder", "The default calendar cannot be deleted."));
        }
        Ok(gone(&mut user.calendars, number))
    })
}

/// Puts times as the service keeps them: in UTC, the zone beside them; an all-day event's as days.
fn place(body: &mut Map<String, Value>, all_day: bool) -> Answer<()> {
    for (key, zone_key) in [("start", "originalStartTimeZone"), ("end", "originalEndTimeZone")] {
        let Some(time) = body.get(key) else { continue };
        let name = time["timeZone"].as_str().unwrap_or("UTC").to_owned();
        let zone = series::zone(&name).ok_or_else(|| {
            let text = format!("A valid TimeZone value must be specified. The value '{name}' is not supported.");
            Reply::fail(400, "TimeZoneNotSupportedException", &text)
        })?;
        let bad =
            || Reply::fail(400, "ErrorPropertyValidationFailure", &format!("At least one property failed: {key}"));
        let text = time["dateTime"].as_str().ok_or_else(bad)?;
        let local: jiff::civil::DateTime = text.trim_end_matches('Z').parse().map_err(|_| bad())?;
        let at = if all_day {
            if local.time() != jiff::civil::Time::midnight() {
                let text = "The start and end of an all-day event need to be set to midnight.";
                return Err(Reply::fail(400, "ErrorPropertyValidationFailure", text));
            }
            series::seconds(local, &jiff::tz::TimeZone::UTC)
        } else {
            series::seconds(local, &zone)
        };
        body.insert(key.into(), moment(at.ok_or_else(bad)?));
        body.insert(zone_key.into(), name.into());
    }
    Ok(())
}

/// What follows from what is given: places, and the beginning of the text.
fn derive(body: &mut Map<String, Value>) {
    let start_zone = body.get("originalStartTimeZone").and_then(Value::as_str).map(str::to_owned);
    let first = body.get("locations").and_then(|all| all.get(0)).cloned();
    if let Some(Value::Object(mut location)) = first {
        let name = location.get("displayName").cloned().unwrap_or_default();
        location.insert("uniqueId".into(), name);
        location.insert("uniqueIdType".into(), "private".into());
        body.insert("location".into(), location.into());
    } else if let Some(Value::Object(mut location)) = body.get("location").cloned() {
        location.shift_remove("uniqueId");
        location.insert("uniqueIdType".into(), "unknown".into());
        body.insert("locations".into(), json!([location]));
    }
    if let Some(Value::Object(recurrence)) = body.get_mut("recurrence") {
        let zone = recurrence.get("range").and_then(|range| range.get("recurrenceTimeZone")).cloned();
        let zone = zone.or_else(|| start_zone.clone().map(Value::from)).unwrap_or_default();
        let whole = json!({
            "pattern": {"type": null, "interval": 1, "month": 0, "dayOfMonth": 0, "daysOfWeek": [],
                "firstDayOfWeek": "sunday", "index": "first"},
            "range": {"type": null, "startDate": null, "endDate": "0001-01-01", "recurrenceTimeZone": zone,
                "numberOfOccurrences": 0},
        });
        let given = Value::Object(std::mem::take(recurrence));
        let mut filled = whole;
        merge(&mut filled, given);
        *recurrence = object(filled);
    }
    if let Some(text) = body.get("body").and_then(|body| body["content"].as_str()) {
        let plain: String = text.split('<').map(|part| part.split_once('>').map_or(part, |(_, rest)| rest)).collect();
        let preview: String = plain.trim().chars().take(255).collect();
        body.insert("bodyPreview".into(), preview.into());
    }
}

/// Counts the mails that go to the attendees of an event.
fn invite(app: &App, attendees: Option<&Value>) {
    let number = attendees.and_then(Value::as_array).map_or(0, Vec::len) as u64;
    app.counts.invitations.fetch_add(number, Ordering::Relaxed);
}

fn add_event(app: &App, request: &Request, route: &Route) -> Answer {
    let mut body = EVENT_ENTITY.new_body(request)?;
    let all_day = body.get("isAllDay") == Some(&Value::Bool(true));
    place(&mut body, all_day)?;
    derive(&mut body);
    in_mailbox(app, route, |user, now| {
        let calendar = user.calendars.find(&CALENDAR, route.id(0)).ok_or_else(Reply::mail_not_found)?;
        if kind_of(user.calendars.thing(calendar).mark) > calendars::OWN {
            return Err(Reply::fail(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again."));
        }
        let transaction = body.get("transactionId").filter(|id| !id.is_null());
        let known = |number: u32| user.calendars.thing(number).given.get("transactionId") == transaction;
        if transaction.is_some() && user.calendars.all(&EVENT).any(known) {
            let text = "Your request can't be completed. The transactionId is that of an event which exists.";
            return Err(Reply::fail(409, "ErrorDuplicateTransactionId", text));
        }
        invite(app, body.get("attendees"));
        let series = body.get("recurrence").is_some_and(|recurrence| !recurrence.is_null());
        let mark = if series { events::SERIES } else { events::SINGLE };
        let owner = json!({"emailAddress": {"name": user.person.name, "address": user.person.address}});
        let usual = json!({
            "body": {"contentType": "html", "content": ""}, "bodyPreview": "", "importance": "normal",
            "sensitivity": "normal", "showAs": "busy", "isReminderOn": true, "reminderMinutesBeforeStart": 15,
            "allowNewTimeProposals": true, "responseRequested": true, "onlineMeetingProvider": "unknown",
            "location": {"displayName": "", "locationType": "default", "uniqueIdType": "unknown", "address": {}},
            "organizer": owner, "isCancelled": false, "isOrganizer": true, "originalStart": null,
        });
        let new = New { entity: &EVENT_ENTITY, kind: &EVENT, parent: calendar, mark, usual };
        let number = create(&app.cast, &mut user.calendars, new, body, now);
        Ok(told(app, 201, request, user, number))
    })
}

fn told(app: &App, status: u16, request: &Request, user: &User, number: u32) -> Reply {
    let mut json = user.calendars.json(&app.cast, number);
    serve(request, &mut json);
    shown(app, status, &format!("users('{}')/events", user.id), json)
}

fn change_event(app: &App, request: &Request, route: &Route) -> Answer {
    let mut body = EVENT_ENTITY.body(request)?;
    in_mailbox(app, route, |user, now| {
        let shelf = &mut user.calendars;
        let named = named(&app.cast, shelf, route.id(0))?;
        let json = match &named {
            Named::Event(number) | Named::Occurrence(number, ..) => shelf.json(&app.cast, *number),
        };
        let part = !matches!(named, Named::Event(number) if kind_of(shelf.thing(number).mark) != events::EXCEPTION);
        if part && body.get("recurrence").is_some_and(|recurrence| !recurrence.is_null()) {
            let text = "The recurrence of an occurrence cannot be set.";
            return Err(Reply::fail(400, "ErrorInvalidPropertySet", text));
        }
        let all_day = body.get("isAllDay").or_else(|| json.get("isAllDay")) == Some(&Value::Bool(true));
        place(&mut body, all_day)?;
        derive(&mut body);
        invite(app, body.get("attendees").or_else(|| json.get("attendees")));
        let number = match named {
            Named::Event(number) => number,
            Named::Occurrence(series, _, at) => except(&app.cast, shelf, series, at, now),
        };
        shelf.write(number, body, now);
        touch_series(shelf, number, now);
        Ok(told(app, 200, request, user, number))
    })
}

/// What is changed of an exception is changed of its series.
fn touch_series(shelf: &mut Shelf, event: u32, now: i64) {
    if kind_of(shelf.thing(event).mark) == events::EXCEPTION {
        shelf.edit(shelf.thing(event).parent, now);
    }
}

fn remove_event(app: &App, _: &Request, route: &Route) -> Answer {
    in_mailbox(app, route, |user, now| {
        let shelf = &mut user.calendars;
        let named = named(&app.cast, shelf, route.id(0))?;
        let (Named::Event(number) | Named::Occurrence(number, ..)) = &named;
        invite(app, shelf.json(&app.cast, *number).get("attendees"));
        match named {
            Named::Occurrence(series, date, _) => cancel(shelf, series, date, now),
            Named::Event(number) if kind_of(shelf.thing(number).mark) == events::EXCEPTION => {
                let (series, date) = (shelf.thing(number).parent, date_of(&app.cast, shelf, number));
                shelf.delete(number);
                cancel(shelf, series, date.unwrap_or_default(), now);
            }
            Named::Event(number) => shelf.delete(number),
        }
        Ok(Reply::status(204))
    })
}

fn add_attachment(app: &App, request: &Request, route: &Route) -> Answer {
    let kind = schema::object(request)?.shift_remove("@odata.type");
    if kind.as_ref().and_then(Value::as_str) != Some("#microsoft.graph.fileAttachment") {
        return Err(Reply::fail(400, "ErrorInvalidRequest", "Attachments of that type cannot be made."));
    }
    let mut body = ATTACHMENT_ENTITY.new_body(request)?;
    let bytes = sent_bytes(&mut body)?;
    in_mailbox(app, route, |user, now| {
        let Named::Event(event) = named(&app.cast, &user.calendars, route.id(0))? else {
            return Err(Reply::fail(400, "ErrorInvalidRequest", "The occurrence is as planned: change it first."));
        };
        Ok(attach(app, user, event, body, bytes, now))
    })
}

/// Puts an attachment with its bytes to an event.
pub(super) fn attach(
    app: &App,
    user: &mut User,
    event: u32,
    given: Map<String, Value>,
    bytes: Bytes,
    now: i64,
) -> Reply {
    let inline = given.get("isInline") == Some(&Value::Bool(true));
    let mark = if inline { attachments::INLINE } else { attachments::FILE };
    let usual = json!({"contentId": null, "contentType": "application/octet-stream"});
    let new = New { entity: &ATTACHMENT_ENTITY, kind: &ATTACHMENT, parent: event, mark, usual };
    let number = create(&app.cast, &mut user.calendars, new, given, now);
    let thing = &mut user.calendars.things[number as usize];
    thing.bytes = Some(Box::new(Blob::kept(bytes)));
    thing.given.shift_remove("contentBytes");
    user.calendars.edit(event, now);
    touch_series(&mut user.calendars, event, now);
    answer(app, 201, user, "events/attachments", number)
}

fn begin_attachment(app: &App, request: &Request, route: &Route) -> Answer {
    let body = schema::object(request)?;
    let mut given = body.get("AttachmentItem").cloned().map(object).unwrap_or_default();
    let size = given.shift_remove("size").and_then(|size| size.as_u64()).unwrap_or(0);
    let is_file = given.shift_remove("attachmentType") == Some(json!("file"));
    ATTACHMENT_ENTITY.check(&given)?;
    if !is_file || size == 0 || !given.contains_key("name") || body.len() != 1 {
        return Err(Reply::fail(400, "ErrorInvalidParameter", "attachmentType, name and size are needed."));
    }
    let event = in_mailbox(app, route, |user, _| match named(&app.cast, &user.calendars, route.id(0))? {
        Named::Event(event) => Ok(Reply::json(event.into())),
        Named::Occurrence(..) => Err(Reply::mail_not_found()),
    })?;
    let Payload::Json(event) = event.payload else { return Err(Reply::mail_not_found()) };
    let event = event.as_u64().unwrap_or(0) as u32;
    let url = app.uploads.begin(app, Session::new(size, uploads::Into::Event { index: route.user, event, given }));
    let json = json!({"uploadUrl": url, "expirationDateTime": "2099-01-01T00:00:00Z", "nextExpectedRanges": ["0-"]});
    Ok(Reply { status: 201, ..Reply::json(json) })
}

fn remove_attachment(app: &App, _: &Request, route: &Route) -> Answer {
    in_mailbox(app, route, |user, now| {
        let event = user.calendars.find(&EVENT, route.id(0)).ok_or_else(Reply::mail_not_found)?;
        let number = user.calendars.find(&ATTACHMENT, route.id(1)).ok_or_else(Reply::mail_not_found)?;
        if user.calendars.thing(number).parent != event {
            return Err(Reply::mail_not_found());
        }
        let reply = gone(&mut user.calendars, number);
        user.calendars.edit(event, now);
        touch_series(&mut user.calendars, event, now);
        Ok(reply)
    })
}
