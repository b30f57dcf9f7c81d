//! The occurrences of a series over HTTP: each can be seen, changed (it becomes an exception) and deleted.

use serde_json::{Map, Value, json};

use super::app::App;
use super::calendar::{ATTACHMENT, EVENT, events, is_series, kind_of};
use super::calendar_json::{CANCELLED, cancelled_dates, moment};
use super::letter::Cast;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::series::{Series, zone};
use super::shelf::{Shelf, WRITTEN};
use super::{row_lists, times};

/// Rows of a page when the client does not say.
const USUAL: usize = 10;
/// Parts the id of a series from the date of one of its occurrences.
const DATED: char = '.';

/// A time of an event that is told in UTC, as seconds since 1970.
pub(super) fn utc(time: &Value) -> Option<i64> {
    let time: jiff::civil::DateTime = time["dateTime"].as_str()?.trim_end_matches('Z').parse().ok()?;
    super::series::seconds(time, &jiff::tz::TimeZone::UTC)
}

/// The occurrences of a series that begin before `end`, cancelled ones and exceptions among them: date and begin.
fn planned(master: &Map<String, Value>, end: i64) -> Vec<(String, i64)> {
    let own = master.get("originalStartTimeZone").and_then(Value::as_str).and_then(zone);
    let own = own.unwrap_or(jiff::tz::TimeZone::UTC);
    let start = master.get("start").and_then(utc).unwrap_or(0);
    let series = master.get("recurrence").and_then(|recurrence| Series::read(recurrence, start, &own));
    let all = series.map(|series| series.before(end)).unwrap_or_default();
    all.into_iter().map(|(date, at)| (date.to_string(), at)).collect()
}

/// The exception that was made of an occurrence.
fn exception(cast: &Cast, shelf: &Shelf, series: u32, at: i64) -> Option<u32> {
    let original = times::graph(at);
    shelf.below(&EVENT, series).find(|number| shelf.json(cast, *number)["originalStart"] == original.as_str())
}

/// An occurrence as it was planned.
fn occurrence(master: &Map<String, Value>, id: &str, at: i64) -> Map<String, Value> {
    let mut json = master.clone();
    let length = master.get("end").and_then(utc).zip(master.get("start").and_then(utc)).map_or(0, |(e, s)| e - s);
    let series = master.get("id").cloned().unwrap_or_default();
    let own = json!({
        "id": id, "type": "occurrence", "seriesMasterId": series, "recurrence": null,
        "start": moment(at), "end": moment(at + length), "originalStart": times::graph(at), "hasAttachments": false,
    });
    json.extend(super::contacts::object(own));
    json
}

/// `GET …/events/{id}/instances`: the occurrences of a series between two times, exceptions among them and cancelled ones
/// left out; of a single event nothing.
pub(super) fn instances(
    app: &App,
    request: &Request,
    shelf: &Shelf,
    series: u32,
    (context, serve): (&str, impl Fn(&mut Map<String, Value>)),
) -> Answer {
    request.allow(&["$select", "$top", "$skip"])?;
    let (from, to) = (time(request, "startdatetime")?, time(request, "enddatetime")?);
    let mut rows = Vec::new();
    if is_series(shelf, series) {
        let master = shelf.json(&app.cast, series);
        let cancelled = cancelled_dates(shelf, series);
        for (date, at) in planned(&master, to + times::DAY).into_iter().filter(|(date, _)| !cancelled.contains(date)) {
            let row = match exception(&app.cast, shelf, series, at) {
                Some(number) => shelf.json(&app.cast, number),
                None => occurrence(&master, &format!("{}{DATED}{date}", shelf.id(series)), at),
            };
            let time = |key: &str| row.get(key).and_then(utc).unwrap_or(at);
            if time("start") < to && time("end") > from {
                rows.push(row);
            }
        }
    }
    let context = format!("{}/v1.0/$metadata#{context}", app.base_url).into();
    let all: Vec<u32> = (0u32..).take(rows.len()).collect();
    row_lists::skipped(app, request, &context, (&all, USUAL), |index| {
        let mut row = rows[index as usize].clone();
        serve(&mut row);
        row_lists::selected(request, EVENT.name, row, &[])
    })
}

/// A time of the query, in seconds since 1970: with an offset, or UTC.
fn time(request: &Request, name: &str) -> Answer<i64> {
    let text = request.option(name).ok_or_else(|| {
        let text = "This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.";
        Reply::fail(400, "ErrorInvalidParameter", text)
    })?;
    let at = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    at.or_else(|| utc(&json!({"dateTime": text}))).ok_or_else(|| {
        Reply::fail(400, "ErrorInvalidParameter", &format!("The value '{text}' of parameter '{name}' is invalid."))
    })
}

/// What an id of an event names.
pub(super) enum Named {
    /// An event that is kept as such.
    Event(u32),
    /// An occurrence of a series as planned: its date and begin.
    Occurrence(u32, String, i64),
}

/// Finds what an id names.
pub(super) fn named(cast: &Cast, shelf: &Shelf, id: &str) -> Answer<Named> {
    if let Some(number) = shelf.find(&EVENT, id) {
        return Ok(Named::Event(number));
    }
    let (series, date) = id.rsplit_once(DATED).ok_or_else(Reply::mail_not_found)?;
    let series = shelf.find(&EVENT, series).ok_or_else(Reply::mail_not_found)?;
    let day: jiff::civil::Date = date.parse().map_err(|_| Reply::mail_not_found())?;
    let day = super::series::seconds(day.to_datetime(jiff::civil::Time::midnight()), &jiff::tz::TimeZone::UTC);
    let end = day.unwrap_or(0) + 2 * times::DAY;
    let planned = planned(&shelf.json(cast, series), end);
    let (date, at) = planned.into_iter().find(|(other, _)| other == date).ok_or_else(Reply::mail_not_found)?;
    if cancelled_dates(shelf, series).contains(&date) {
        return Err(Reply::mail_not_found());
    }
    Ok(match exception(cast, shelf, series, at) {
        Some(number) => Named::Event(number),
        None => Named::Occurrence(series, date, at),
    })
}

/// Makes an exception of an occurrence: it begins as what it was, with the attachments of its series.
pub(super) fn except(cast: &Cast, shelf: &mut Shelf, series: u32, at: i64, now: i64) -> u32 {
    let master = shelf.json(cast, series);
    let mut given = occurrence(&master, "", at);
    for name in ["@odata.etag", "id", "changeKey", "createdDateTime", "lastModifiedDateTime", "hasAttachments"] {
        given.shift_remove(name);
    }
    given.insert("type".into(), "exception".into());
    given.insert(WRITTEN.into(), true.into());
    let number = shelf.add(&EVENT, series, now, events::EXCEPTION);
    shelf.things[number as usize].given = given.into();
    let attachments: Vec<u32> = shelf.below(&ATTACHMENT, series).collect();
    for attachment in attachments {
        let (json, bytes) = (shelf.json(cast, attachment), shelf.content(cast, attachment));
        let copy = shelf.add(&ATTACHMENT, number, now, kind_of(shelf.thing(attachment).mark));
        let kept = ["name", "contentType", "isInline", "contentId"];
        let mut given: Map<String, Value> =
            json.into_iter().filter(|(name, _)| kept.contains(&name.as_str())).collect();
        given.insert(WRITTEN.into(), true.into());
        shelf.things[copy as usize].given = given.into();
        shelf.things[copy as usize].bytes = bytes.map(Box::new);
    }
    shelf.edit(series, now);
    number
}

/// Cancels an occurrence.
pub(super) fn cancel(shelf: &mut Shelf, series: u32, date: String, now: i64) {
    let mut dates = shelf.thing(series).given.get(CANCELLED).cloned().unwrap_or_else(|| json!([]));
    if let Some(dates) = dates.as_array_mut() {
        dates.push(date.into());
    }
    shelf.write(series, [(CANCELLED.to_owned(), dates)].into_iter().collect(), now);
}

/// The date of an exception in its series.
pub(super) fn date_of(cast: &Cast, shelf: &Shelf, exception: u32) -> Option<String> {
    let original: jiff::Timestamp = shelf.json(cast, exception)["originalStart"].as_str()?.parse().ok()?;
    let at = original.as_second();
    let master = shelf.json(cast, shelf.thing(exception).parent);
    planned(&master, at + 1).into_iter().find(|(_, other)| *other == at).map(|(date, _)| date)
}
