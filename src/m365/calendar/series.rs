//! Which occurrences of a series were changed or cancelled, and where they are in the series that was made.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;

use super::api::UTC;
use crate::graph::GraphRequest;
use crate::m365::facts::{at, flag, text};
use crate::m365::walk::id_of;
use crate::m365::zones::{local, zone};

/// Occurrences that are cancelled one by one, at most.
const MOST_CANCELLED: usize = 5_000;

/// Asks for times in UTC.
pub(super) fn in_utc(request: GraphRequest) -> GraphRequest {
    request.prefer(UTC)
}

/// When a changed occurrence was planned.
pub(super) fn original_start(exception: &Value) -> Option<Timestamp> {
    text(exception, &["originalStart"])?.parse().ok()
}

/// The dates of the cancelled occurrences of a series: `OID.<id>.<date>`, in the series' own zone.
pub(super) fn cancelled(master: &Value) -> Vec<Date> {
    let all = at(master, &["cancelledOccurrences"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let date = |one: &Value| one.as_str()?.rsplit_once('.')?.1.parse().ok();
    all.iter().take(MOST_CANCELLED).filter_map(date).collect()
}

/// The query of the window that holds all of these; `None` if there are none.
pub(super) fn window(changed: impl Iterator<Item = Timestamp>, cancelled: &[Date]) -> Option<String> {
    let dates = cancelled.iter().copied().chain(changed.map(|at| local(at, &TimeZone::UTC).date()));
    let (mut first, mut last): (Option<Date>, Option<Date>) = (None, None);
    for date in dates {
        first = Some(first.map_or(date, |first| first.min(date)));
        last = Some(last.map_or(date, |last| last.max(date)));
    }
    let (first, last) = (first?.checked_sub(2.days()).ok()?, last?.checked_add(2.days()).ok()?);
    Some(format!("startDateTime={first}T00:00:00Z&endDateTime={last}T00:00:00Z"))
}

/// The occurrences of a series that was made.
pub(super) struct Instances(Vec<(Timestamp, Date, String)>);

impl Instances {
    /// Reads them; dates are those of the zone in which the series recurs.
    pub(super) fn of(rows: &[Value], master: &Value) -> Self {
        let names = [&["recurrence", "range", "recurrenceTimeZone"][..], &["originalStartTimeZone"]];
        let zone = names.iter().find_map(|path| zone(text(master, path)?)).unwrap_or(TimeZone::UTC);
        let all = rows.iter().filter_map(|row| {
            let time: DateTime = text(row, &["start", "dateTime"])?.trim_end_matches('Z').parse().ok()?;
            let begin = TimeZone::UTC.to_ambiguous_zoned_datetime(time).compatible().ok()?.timestamp();
            let there = local(begin, &zone);
            // All-day occurrences are told at midnight of UTC.
            let date = if flag(row, &["isAllDay"]) == Some(true) { time.date() } else { there.date() };
            Some((begin, date, id_of(row)?.to_owned()))
        });
        Self(all.collect())
    }

    /// The one that begins then.
    pub(super) fn beginning(&self, at: Timestamp) -> Option<&str> {
        self.0.iter().find(|(begin, ..)| *begin == at).map(|(_, _, id)| id.as_str())
    }

    /// The one on that date.
    pub(super) fn on(&self, date: &Date) -> Option<&str> {
        self.0.iter().find(|(_, day, _)| day == date).map(|(_, _, id)| id.as_str())
    }
}
