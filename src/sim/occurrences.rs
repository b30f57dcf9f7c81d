//! The occurrences of a series, which are computed when they are asked for.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::app::App;
use super::calendar::{EVENT, above, events, is_series, kind_of};
use super::calendar_json::{moment, occurrence};
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::hash_text;
use super::shelf::Shelf;
use super::{calendar_json, row_lists};

/// Weeks that a series with an end lasts.
pub(super) const WEEKS: u32 = 100;
/// Weeks after its beginning for which a series without an end is told.
const ENDLESS_WEEKS: u32 = 10_000;
/// Rows of a page when the client does not say.
const USUAL: usize = 10;

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
    let all: Vec<u32> = match is_series(shelf, series) {
        true => within(shelf, series, from, to),
        false => Vec::new(),
    };
    let context = format!("{}/v1.0/$metadata#{context}", app.base_url).into();
    row_lists::skipped(app, request, &context, (&all, USUAL), |index| {
        let mut row = one(app, shelf, series, index);
        serve(&mut row);
        row_lists::selected(request, EVENT.name, row, &[])
    })
}

/// The numbers of the occurrences that touch a time, cancelled ones left out.
fn within(shelf: &Shelf, series: u32, from: i64, to: i64) -> Vec<u32> {
    let mark = shelf.thing(series).mark;
    let last = if kind_of(mark) == events::ENDLESS { ENDLESS_WEEKS } else { WEEKS };
    let cancelled = |index: &u32| index % 2 == 1 && index / 2 < above(mark);
    let inside = |index: &u32| {
        let start = exception(shelf, series, *index)
            .map_or(occurrence(shelf, series, *index), |number| calendar_json::start(shelf, number));
        start < to && start + calendar_json::LENGTH > from
    };
    (0..=last)
        .take_while(|index| occurrence(shelf, series, *index) < to)
        .filter(|i| !cancelled(i) && inside(i))
        .collect()
}

/// The exception that stands for an occurrence.
fn exception(shelf: &Shelf, series: u32, index: u32) -> Option<u32> {
    shelf.below(&EVENT, series).find(|number| above(shelf.thing(*number).mark) == index)
}

/// An occurrence: as its master, but for what makes it one.
fn one(app: &App, shelf: &Shelf, series: u32, index: u32) -> Map<String, Value> {
    if let Some(number) = exception(shelf, series, index) {
        return shelf.json(&app.cast, number);
    }
    let mut json = shelf.json(&app.cast, series);
    let at = occurrence(shelf, series, index);
    let master = std::mem::replace(&mut json["id"], Value::Null);
    let id = calendar_json::event_id(hash_text(shelf.seed, master.as_str().unwrap_or_default()), index);
    for (name, value) in [
        ("id", json!(id)),
        ("type", json!("occurrence")),
        ("seriesMasterId", master),
        ("recurrence", Value::Null),
        ("start", moment(at)),
        ("end", moment(at + calendar_json::LENGTH)),
    ] {
        json.insert(name.into(), value);
    }
    json
}

/// A time of the query, in seconds since 1970: with an offset, or UTC.
fn time(request: &Request, name: &str) -> Result<i64, Reply> {
    let text = request.option(name).ok_or_else(|| {
        let text = "This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.";
        Reply::fail(400, "ErrorInvalidParameter", text)
    })?;
    let utc = |text: &str| TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    let time = text.parse::<Timestamp>().ok().or_else(|| utc(text));
    time.map(Timestamp::as_second).ok_or_else(|| {
        Reply::fail(400, "ErrorInvalidParameter", &format!("The value '{text}' of parameter '{name}' is invalid."))
    })
}
