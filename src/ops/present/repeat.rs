//! On which days a series is, from Graph's `patternedRecurrence`.
//!
//! Not by a library of rules (RFC 5545): the one there is panics where a clock skips an hour, and all of this is foreign.
//! Days are those of the zone that the series repeats in; every number is taken for possible, and what no calendar has ends it.

use jiff::civil::{Date, Weekday};
use jiff::{Span, ToSpan as _};
use serde_json::Value;

use super::rule;
use crate::m365::facts::{at, number, text};

/// Steps of a pattern that are taken at most: days, weeks, months.
const MOST_STEPS: i64 = 20_000;

/// A recurrence, read.
#[derive(Debug, Clone)]
pub(super) struct Repeat {
    step: Step,
    interval: i64,
    days: Vec<Weekday>,
    start: Date,
    last: Option<Date>,
    count: Option<u64>,
}

#[derive(Debug, Clone)]
enum Step {
    Days,
    /// The first day of the week that the series begins in.
    Weeks(Date),
    /// From the month of this day on.
    Months(Date, On),
}

/// Which day of a month.
#[derive(Debug, Clone, Copy)]
enum On {
    /// This, or the last that the month has.
    Day(i8),
    /// Of the wanted days of the week that one; `None`: the last.
    Nth(Option<usize>),
}

impl Repeat {
    /// Reads a recurrence; `None`: there is none, or none that reads.
    pub(super) fn read(recurrence: &Value) -> Option<Self> {
        let pattern = at(recurrence, &["pattern"])?;
        let start: Date = text(recurrence, &["range", "startDate"])?.parse().ok()?;
        let interval = i64::try_from(rule::counted(pattern, "interval", rule::MOST).unwrap_or(1)).ok()?;
        let months = |first: Date, on| Some((Step::Months(first.first_of_month(), on), interval));
        let years = |on| {
            let month = i8::try_from(rule::counted(pattern, "month", 12)?).ok()?;
            Some((Step::Months(Date::new(start.year(), month, 1).ok()?, on), interval.checked_mul(12)?))
        };
        let day = || Some(On::Day(i8::try_from(rule::counted(pattern, "dayOfMonth", 31)?).ok()?));
        let nth = || match text(pattern, &["index"]).unwrap_or("first") {
            "last" => Some(On::Nth(None)),
            name => Some(On::Nth(Some(["first", "second", "third", "fourth"].iter().position(|n| *n == name)?))),
        };
        let mut days = rule::weekdays(pattern);
        let (step, interval) = match text(pattern, &["type"])? {
            "daily" => (Step::Days, interval),
            "weekly" => {
                let first = text(pattern, &["firstDayOfWeek"]).and_then(rule::weekday).unwrap_or(Weekday::Sunday);
                if days.is_empty() {
                    days.push(start.weekday());
                }
                let back = i64::from(first.until(start.weekday()));
                (Step::Weeks(start.checked_sub(back.days()).ok()?), interval)
            }
            "absoluteMonthly" => months(start, day()?)?,
            "absoluteYearly" => years(day()?)?,
            "relativeMonthly" => months(start, nth()?)?,
            "relativeYearly" => years(nth()?)?,
            _ => return None,
        };
        let is_numbered = text(recurrence, &["range", "type"]) == Some("numbered");
        let count = number(recurrence, &["range", "numberOfOccurrences"]).filter(|_| is_numbered);
        Some(Self { step, interval, days, start, last: rule::last_day(recurrence), count })
    }

    /// The days from one to another, both included, in order.
    pub(super) fn days_between(&self, from: Date, to: Date) -> Vec<Date> {
        let mut found = Vec::new();
        let mut left = self.count.unwrap_or(u64::MAX);
        // What is counted is counted from the first day on.
        let first = if self.count.is_some() { 0 } else { self.step_before(from) };
        let to = self.last.map_or(to, |last| last.min(to));
        for step in first..first + MOST_STEPS {
            let Some((_, dates)) = self.at_step(step).filter(|(begin, _)| *begin <= to) else { break };
            for date in dates.into_iter().filter(|date| *date >= self.start) {
                if left == 0 || date > to {
                    return found;
                }
                left -= 1;
                if date >= from {
                    found.push(date);
                }
            }
        }
        found
    }

    /// A step no day of which is after this one, close before it.
    fn step_before(&self, day: Date) -> i64 {
        let days = |from: Date| from.until(day).map_or(0, |span| i64::from(span.get_days()));
        let units = match self.step {
            Step::Days => days(self.start),
            Step::Weeks(first) => days(first) / 7,
            Step::Months(first, _) => {
                i64::from(day.year() - first.year()) * 12 + i64::from(day.month()) - i64::from(first.month())
            }
        };
        (units / self.interval - 1).max(0)
    }

    /// The first day that a step is about, and the days of the series in it; `None`: no calendar has it.
    fn at_step(&self, step: i64) -> Option<(Date, Vec<Date>)> {
        let by = step.checked_mul(self.interval)?;
        let after = |date: Date, span: Result<Span, jiff::Error>| date.checked_add(span.ok()?).ok();
        match self.step {
            Step::Days => after(self.start, Span::new().try_days(by)).map(|date| (date, vec![date])),
            Step::Weeks(first) => {
                let week = after(first, Span::new().try_weeks(by))?;
                Some((week, self.wanted(week, 7)))
            }
            Step::Months(first, on) => {
                let month = after(first, Span::new().try_months(by))?;
                let day = match on {
                    On::Day(day) => month.with().day(day.min(month.days_in_month())).build().ok(),
                    On::Nth(nth) => {
                        let all = self.wanted(month, i64::from(month.days_in_month()));
                        nth.map_or(all.last(), |nth| all.get(nth)).copied()
                    }
                };
                Some((month, day.into_iter().collect()))
            }
        }
    }

    /// Of so many days from one on those of the wanted days of the week.
    fn wanted(&self, from: Date, many: i64) -> Vec<Date> {
        let days = (0..many).filter_map(|day| from.checked_add(day.days()).ok());
        days.filter(|date| self.days.contains(&date.weekday())).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn days(pattern: &Value, range: &Value, from: Date, to: Date) -> Vec<String> {
        let repeat = Repeat::read(&json!({"pattern": pattern, "range": range})).expect("it reads");
        repeat.days_between(from, to).iter().map(|day| day.strftime("%m-%d").to_string()).collect()
    }

    #[test]
    fn all_six_patterns_and_three_ranges_fall_on_their_days() {
        let from = |start: &str| json!({"type": "noEnd", "startDate": start, "endDate": "0001-01-01"});
        let working = json!(["monday", "tuesday", "wednesday", "thursday", "friday"]);
        for (pattern, range, expected) in [
            (json!({"type": "daily", "interval": 10}), from("2020-01-01"), vec!["02-08", "02-18", "02-28"]),
            // Every other week, counted from the week that the series begins in: of a week that begins on Sunday its last day.
            (
                json!({"type": "weekly", "interval": 2, "daysOfWeek": ["saturday", "monday"], "firstDayOfWeek": "sunday"}),
                from("2026-01-31"),
                vec!["02-09", "02-14", "02-23", "02-28"],
            ),
            (json!({"type": "weekly", "interval": 1}), from("2026-02-19"), vec!["02-19", "02-26"]),
            (json!({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31}), from("2020-01-31"), vec!["02-28"]),
            (
                json!({"type": "relativeMonthly", "interval": 1, "daysOfWeek": working, "index": "last"}),
                from("2020-01-31"),
                vec!["02-27"],
            ),
            (
                json!({"type": "relativeMonthly", "interval": 3, "daysOfWeek": ["tuesday"], "index": "second"}),
                from("2025-11-11"),
                vec!["02-10"],
            ),
            (json!({"type": "absoluteYearly", "month": 2, "dayOfMonth": 29}), from("2024-02-29"), vec!["02-28"]),
            (
                json!({"type": "absoluteYearly", "interval": 4, "month": 2, "dayOfMonth": 29}),
                from("2024-02-29"),
                vec![],
            ),
            (
                json!({"type": "relativeYearly", "month": 2, "daysOfWeek": ["sunday"], "index": "fourth"}),
                from("2020-03-01"),
                vec!["02-22"],
            ),
            (
                json!({"type": "daily"}),
                json!({"type": "endDate", "startDate": "2026-01-01", "endDate": "2026-02-02"}),
                vec!["02-01", "02-02"],
            ),
            // The 31st day of January is the 31st time.
            (
                json!({"type": "daily"}),
                json!({"type": "numbered", "startDate": "2026-01-01", "numberOfOccurrences": 33}),
                vec!["02-01", "02-02"],
            ),
            (json!({"type": "daily"}), from("2026-02-27"), vec!["02-27", "02-28"]),
            (json!({"type": "daily"}), from("2026-03-01"), vec![]),
        ] {
            let found = days(&pattern, &range, date(2026, 2, 1), date(2026, 2, 28));
            assert_eq!(found, expected, "{pattern} {range}");
        }
    }

    #[test]
    fn what_no_calendar_has_is_no_series() {
        let range = json!({"startDate": "2026-01-01"});
        for pattern in [
            json!({"type": "hourly"}),
            json!({"type": "absoluteMonthly", "dayOfMonth": 32}),
            json!({"type": "absoluteYearly", "dayOfMonth": 1, "month": 13}),
            json!({"type": "relativeMonthly", "daysOfWeek": ["monday"], "index": "fifth"}),
        ] {
            assert!(Repeat::read(&json!({"pattern": pattern, "range": range})).is_none(), "{pattern}");
        }
        assert!(Repeat::read(&json!({"pattern": {"type": "daily"}, "range": {"startDate": "soon"}})).is_none());
        // No day of the week: never.
        let never = json!({"type": "relativeMonthly", "index": "first"});
        assert!(days(&never, &range, date(2026, 1, 1), date(2030, 1, 1)).is_empty());
    }

    proptest! {
        /// However far the numbers go, it ends, and every day is one that was asked for, later than the one before.
        #[test]
        fn any_numbers_end(
            kind in prop::sample::select(vec!["daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly", "relativeYearly"]),
            interval in prop_oneof![0u64..5, any::<u64>()],
            (month, day) in (0u64..14, 0u64..33),
            start in prop::sample::select(vec!["-9999-01-01", "0001-01-01", "1999-12-31", "2026-06-15", "9999-12-31"]),
            count in prop::option::of(prop_oneof![0u64..50, any::<u64>()]),
            index in prop::sample::select(vec!["first", "fourth", "last"]),
            from in prop::sample::select(vec![date(-9999, 1, 1), date(2026, 6, 1), date(9999, 12, 1)]),
        ) {
            let range = json!({"type": if count.is_some() { "numbered" } else { "noEnd" }, "numberOfOccurrences": count, "startDate": start});
            let pattern = json!({
                "type": kind, "interval": interval, "month": month, "dayOfMonth": day, "index": index, "daysOfWeek": ["monday", "sunday"],
            });
            if let Some(repeat) = Repeat::read(&json!({"pattern": pattern, "range": range})) {
                let to = from.saturating_add(30.days());
                let found = repeat.days_between(from, to);
                prop_assert!(found.len() <= 31 && found.is_sorted_by(|a, b| a < b), "{found:?}");
                prop_assert!(found.iter().all(|day| (from..=to).contains(day)), "{found:?}");
            }
        }
    }
}
