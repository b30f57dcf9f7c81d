//! When the occurrences of a series are, from its recurrence: in the time of its own zone, as calendars count.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;

/// Zones in the names of Windows, as far as the simulation knows them.
const ZONES: &[(&str, &str)] = &[
    ("UTC", "UTC"),
    ("W. Europe Standard Time", "Europe/Berlin"),
    ("GMT Standard Time", "Europe/London"),
    ("Pacific Standard Time", "America/Los_Angeles"),
    ("Eastern Standard Time", "America/New_York"),
    ("Tokyo Standard Time", "Asia/Tokyo"),
    ("India Standard Time", "Asia/Kolkata"),
];
/// Occurrences looked at, at most: a daily series over fifty years.
const MOST: usize = 20_000;

/// A zone by its name of Windows, or by that of the IANA.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    let known = ZONES.iter().find(|(windows, _)| *windows == name).map(|(_, iana)| *iana);
    TimeZone::get(known.or_else(|| name.contains('/').then_some(name))?).ok()
}

/// A time in a zone, as seconds since 1970.
pub(super) fn seconds(time: DateTime, zone: &TimeZone) -> Option<i64> {
    Some(zone.to_ambiguous_zoned_datetime(time).compatible().ok()?.timestamp().as_second())
}

/// What the clocks of a zone show.
pub(super) fn local(at: i64, zone: &TimeZone) -> DateTime {
    zone.to_datetime(Timestamp::from_second(at).unwrap_or_default())
}

/// A recurrence, read.
pub(super) struct Series {
    kind: String,
    interval: i64,
    days: Vec<Weekday>,
    first_day: Weekday,
    day_of_month: i8,
    month: i8,
    index: usize,
    from: Date,
    until: Option<Date>,
    count: Option<usize>,
    time: Time,
    zone: TimeZone,
}

fn weekday(name: &str) -> Option<Weekday> {
    Some(match name {
        "monday" => Weekday::Monday,
        "tuesday" => Weekday::Tuesday,
        "wednesday" => Weekday::Wednesday,
        "thursday" => Weekday::Thursday,
        "friday" => Weekday::Friday,
        "saturday" => Weekday::Saturday,
        "sunday" => Weekday::Sunday,
        _ => return None,
    })
}

impl Series {
    /// Reads a recurrence of an event that begins at `start`, in seconds since 1970, in `zone`.
    pub(super) fn read(recurrence: &Value, start: i64, own: &TimeZone) -> Option<Self> {
        let (pattern, range) = (&recurrence["pattern"], &recurrence["range"]);
        let date = |key: &str| range[key].as_str()?.parse::<Date>().ok();
        let number = |value: &Value| value.as_i64().unwrap_or(0);
        let zone = range["recurrenceTimeZone"].as_str().and_then(zone).unwrap_or_else(|| own.clone());
        let days = pattern["daysOfWeek"].as_array().map(Vec::as_slice).unwrap_or_default();
        let kind = range["type"].as_str()?;
        Some(Self {
            kind: pattern["type"].as_str()?.to_owned(),
            interval: number(&pattern["interval"]).max(1),
            days: days.iter().filter_map(|day| weekday(day.as_str()?)).collect(),
            first_day: pattern["firstDayOfWeek"].as_str().and_then(weekday).unwrap_or(Weekday::Sunday),
            day_of_month: number(&pattern["dayOfMonth"]).clamp(1, 31) as i8,
            month: number(&pattern["month"]).clamp(1, 12) as i8,
            index: ["first", "second", "third", "fourth", "last"]
                .iter()
                .position(|name| pattern["index"] == **name)
                .unwrap_or(0),
            from: date("startDate")?,
            until: if kind == "endDate" { Some(date("endDate")?) } else { None },
            count: (kind == "numbered").then(|| number(&range["numberOfOccurrences"]).max(1) as usize),
            time: local(start, &zone).time(),
            zone,
        })
    }

    /// The occurrences that begin before `end`, in order: date, and seconds since 1970.
    pub(super) fn before(&self, end: i64) -> Vec<(Date, i64)> {
        let last = local(end, &self.zone).date();
        let mut out = Vec::new();
        for step in 0..MOST as i64 {
            let (dates, begun) = self.step(step);
            let Some(begun) = begun.filter(|begun| *begun <= last) else { break };
            if self.until.is_some_and(|until| begun > until) {
                break;
            }
            for date in dates {
                let over = self.until.is_some_and(|until| date > until) || self.count.is_some_and(|n| out.len() >= n);
                if date < self.from || over {
                    continue;
                }
                match seconds(date.to_datetime(self.time), &self.zone) {
                    Some(at) if at < end => out.push((date, at)),
                    _ => {}
                }
            }
        }
        out
    }

    /// The dates of one step of the pattern, and the first day that step is about.
    fn step(&self, step: i64) -> (Vec<Date>, Option<Date>) {
        let by = step * self.interval;
        match self.kind.as_str() {
            "daily" => {
                let date = self.from.checked_add(by.days()).ok();
                (date.into_iter().collect(), date)
            }
            "weekly" => {
                let back = i64::from(self.first_day.until(self.from.weekday()));
                let week = self.from.checked_sub(back.days()).and_then(|date| date.checked_add(by.weeks())).ok();
                let days = (0..7i64).filter_map(|day| week?.checked_add(day.days()).ok());
                (days.filter(|date| self.days.contains(&date.weekday())).collect(), week)
            }
            kind => {
                let yearly = kind.ends_with("Yearly");
                let first = self.from.first_of_month();
                let month = if yearly {
                    let year = first.checked_add(by.years()).ok();
                    year.and_then(|date| Date::new(date.year(), self.month, 1).ok())
                } else {
                    first.checked_add(by.months()).ok()
                };
                let date = month.and_then(|month| match kind.starts_with("absolute") {
                    true => Date::new(month.year(), month.month(), self.day_of_month.min(month.days_in_month())).ok(),
                    false => self.nth(month),
                });
                (date.into_iter().collect(), month)
            }
        }
    }

    /// The first, second, … or last of the days in a month.
    fn nth(&self, month: Date) -> Option<Date> {
        let days = (0..i64::from(month.days_in_month())).filter_map(|day| month.checked_add(day.days()).ok());
        let all: Vec<Date> = days.filter(|date| self.days.contains(&date.weekday())).collect();
        if self.index == 4 { all.last().copied() } else { all.get(self.index).copied() }
    }
}
