//! How an event or task repeats: from Graph's `patternedRecurrence` to an `RRULE` (RFC 5545, section 3.3.10).
//!
//! Where a month is too short for the day of a pattern, Exchange takes its last day and a rule would leave the month out: so a
//! day after the 28th is written as the last of those from the 28th to it.

use jiff::civil::{Date, Weekday};
use serde_json::Value;

use super::zone::{self, Zone};
use crate::m365::facts::{at, number, text};

/// The longest interval and count that are believed.
pub(super) const MOST: u64 = 100_000;

/// How `UNTIL` is written: as the start is (RFC 5545: "the value of the UNTIL rule part MUST have the same value type as
/// DTSTART", and UTC where that has a zone).
#[derive(Debug, Clone, Copy)]
pub(super) enum Until<'a> {
    /// The start is a day.
    Day,
    /// The start is a time of day in this zone.
    In(&'a Zone),
}

/// The last day of a recurrence, if it has one.
pub(super) fn last_day(recurrence: &Value) -> Option<Date> {
    let is_dated = text(recurrence, &["range", "type"]) == Some("endDate");
    text(recurrence, &["range", "endDate"]).filter(|_| is_dated)?.parse().ok()
}

/// Writes the rule; `None`: there is none, or none that reads.
pub(super) fn rrule(recurrence: &Value, until: Until<'_>) -> Option<String> {
    let pattern = at(recurrence, &["pattern"])?;
    let interval = counted(pattern, "interval", MOST).unwrap_or(1);
    let (month, day) = (counted(pattern, "month", 12), counted(pattern, "dayOfMonth", 31));
    let by_month = || month.map(|month| format!(";BYMONTH={month}"));
    let kind = text(pattern, &["type"])?;
    let (frequency, parts) = match kind {
        "daily" => ("DAILY", String::new()),
        "weekly" => {
            let first = text(pattern, &["firstDayOfWeek"]).and_then(weekday);
            let first = first.map_or(String::new(), |day| format!(";WKST={}", zone::weekday(day)));
            let days = codes(pattern);
            let days = if days.is_empty() { String::new() } else { format!(";BYDAY={}", days.join(",")) };
            ("WEEKLY", days + &first)
        }
        "absoluteMonthly" => ("MONTHLY", day_of_month(day?)),
        "absoluteYearly" => ("YEARLY", by_month()? + &day_of_month(day?)),
        "relativeMonthly" => ("MONTHLY", day_of_week(pattern)?),
        "relativeYearly" => ("YEARLY", by_month()? + &day_of_week(pattern)?),
        _ => return None,
    };
    let interval = if interval == 1 { String::new() } else { format!(";INTERVAL={interval}") };
    Some(format!("FREQ={frequency}{interval}{parts}{}", end(recurrence, until)))
}

fn end(recurrence: &Value, until: Until<'_>) -> String {
    if text(recurrence, &["range", "type"]) == Some("numbered") {
        let count = number(recurrence, &["range", "numberOfOccurrences"]).filter(|n| (1..=MOST).contains(n));
        return count.map_or(String::new(), |count| format!(";COUNT={count}"));
    }
    let Some(day) = last_day(recurrence) else { return String::new() };
    match until {
        Until::Day => format!(";UNTIL={}", day.strftime("%Y%m%d")),
        Until::In(zone) => match zone.instant(day.at(23, 59, 59, 0)) {
            Some(at) => format!(";UNTIL={}", at.strftime("%Y%m%dT%H%M%SZ")),
            None => String::new(),
        },
    }
}

fn day_of_month(day: u64) -> String {
    match day {
        31 => ";BYMONTHDAY=-1".to_owned(),
        29.. => {
            let days: Vec<String> = (28..=day).map(|day| day.to_string()).collect();
            format!(";BYMONTHDAY={};BYSETPOS=-1", days.join(","))
        }
        _ => format!(";BYMONTHDAY={day}"),
    }
}

/// The second Tuesday, the last working day: with one day the number stands before it, with several it picks one of them.
fn day_of_week(pattern: &Value) -> Option<String> {
    let nth = match text(pattern, &["index"]).unwrap_or("first") {
        "first" => 1,
        "second" => 2,
        "third" => 3,
        "fourth" => 4,
        "last" => -1,
        _ => return None,
    };
    match codes(pattern).as_slice() {
        [] => None,
        [day] => Some(format!(";BYDAY={nth}{day}")),
        days => Some(format!(";BYDAY={};BYSETPOS={nth}", days.join(","))),
    }
}

fn codes(pattern: &Value) -> Vec<&'static str> {
    weekdays(pattern).into_iter().map(zone::weekday).collect()
}

/// A number of a pattern from 1 up to the most that there can be.
pub(super) fn counted(pattern: &Value, key: &str, most: u64) -> Option<u64> {
    number(pattern, &[key]).filter(|n| (1..=most).contains(n))
}

/// The days of the week of a pattern, each once.
pub(super) fn weekdays(pattern: &Value) -> Vec<Weekday> {
    let told = at(pattern, &["daysOfWeek"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut days = Vec::new();
    for day in told.iter().filter_map(Value::as_str).filter_map(weekday) {
        if !days.contains(&day) {
            days.push(day);
        }
    }
    days
}

/// A day of the week by Graph's name.
pub(super) fn weekday(name: &str) -> Option<Weekday> {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let number = DAYS.iter().position(|day| name.eq_ignore_ascii_case(day))?;
    Weekday::from_monday_zero_offset(i8::try_from(number).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_six_patterns_and_three_ranges_read_as_rules() {
        let no_end = json!({"type": "noEnd", "startDate": "2026-11-02", "endDate": "0001-01-01"});
        let dated = json!({"type": "endDate", "endDate": "2026-12-31"});
        let numbered = json!({"type": "numbered", "numberOfOccurrences": 10, "endDate": "0001-01-01"});
        let berlin = Zone::of("W. Europe Standard Time").unwrap();
        for (pattern, range, rule) in [
            (json!({"type": "daily", "interval": 1}), &no_end, "FREQ=DAILY"),
            (json!({"type": "daily", "interval": 3}), &numbered, "FREQ=DAILY;INTERVAL=3;COUNT=10"),
            (
                json!({"type": "weekly", "interval": 2, "daysOfWeek": ["monday", "Friday", "monday"], "firstDayOfWeek": "sunday"}),
                &dated,
                "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR;WKST=SU;UNTIL=20261231T225959Z",
            ),
            (
                json!({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 15}),
                &no_end,
                "FREQ=MONTHLY;BYMONTHDAY=15",
            ),
            (
                json!({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31}),
                &no_end,
                "FREQ=MONTHLY;BYMONTHDAY=-1",
            ),
            (
                json!({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 30}),
                &no_end,
                "FREQ=MONTHLY;BYMONTHDAY=28,29,30;BYSETPOS=-1",
            ),
            (
                json!({"type": "relativeMonthly", "interval": 1, "daysOfWeek": ["tuesday"], "index": "second"}),
                &no_end,
                "FREQ=MONTHLY;BYDAY=2TU",
            ),
            (
                json!({"type": "relativeMonthly", "interval": 1, "daysOfWeek": ["monday", "tuesday", "wednesday", "thursday", "friday"], "index": "last"}),
                &no_end,
                "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            ),
            (
                json!({"type": "absoluteYearly", "interval": 1, "month": 2, "dayOfMonth": 29}),
                &no_end,
                "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=28,29;BYSETPOS=-1",
            ),
            (
                json!({"type": "relativeYearly", "interval": 1, "month": 11, "daysOfWeek": ["thursday"], "index": "fourth"}),
                &numbered,
                "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;COUNT=10",
            ),
        ] {
            let recurrence = json!({"pattern": pattern, "range": range});
            assert_eq!(rrule(&recurrence, Until::In(&berlin)).as_deref(), Some(rule));
        }
        let daily = json!({"pattern": {"type": "daily"}, "range": dated});
        assert_eq!(rrule(&daily, Until::Day).as_deref(), Some("FREQ=DAILY;UNTIL=20261231"));
        for odd in [
            json!(null),
            json!({"pattern": {"type": "hourly"}}),
            json!({"pattern": {"type": "absoluteMonthly", "dayOfMonth": 99}}),
        ] {
            assert_eq!(rrule(&odd, Until::Day), None);
        }
    }
}
