//! Time zones as `VTIMEZONE`s (RFC 5545, section 3.6.5).
//!
//! Rules of a zone are found in its own transitions: where they follow a yearly rule
//! they are written as one, elsewhere one by one.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan as _};

use super::lines::Lines;
use crate::m365::zones;

/// Transitions are written for so many years after the last time that is known to matter.
const YEARS_AHEAD: i16 = 12;
/// No more transitions than this are written of any zone.
const MOST_TRANSITIONS: usize = 120;
/// The form of a local time.
const LOCAL: &str = "%Y%m%dT%H%M%S";

/// A zone that programs know.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    /// IANA's name; `UTC` for that.
    pub(super) name: String,
    pub(super) rules: TimeZone,
}

impl Zone {
    /// UTC.
    pub(super) fn utc() -> Self {
        Self { name: "UTC".to_owned(), rules: TimeZone::UTC }
    }

    /// Finds a zone by the name that Graph has for it. `None`: a zone that somebody made up, or none.
    pub(super) fn of(name: &str) -> Option<Self> {
        zones::named(name).map(|(name, rules)| Self { name, rules })
    }

    /// Says whether times in it are written with a `Z`.
    pub(super) fn is_utc(&self) -> bool {
        self.name == "UTC"
    }

    /// The local time of an instant.
    pub(super) fn local(&self, at: Timestamp) -> DateTime {
        self.rules.to_datetime(at)
    }

    /// The instant of a local time; of one that a clock skips, the one after.
    pub(super) fn instant(&self, local: DateTime) -> Option<Timestamp> {
        self.rules.to_ambiguous_zoned_datetime(local).compatible().ok().map(|zoned| zoned.timestamp())
    }

    /// Writes the zone, for times between two days.
    pub(super) fn write(&self, lines: &mut Lines, from: DateTime, to: DateTime) {
        lines.begin("VTIMEZONE");
        lines.text("TZID", &self.name);
        let changes = self.changes(from, to);
        match yearly(&changes) {
            Some(rules) => rules.iter().for_each(|(change, rule)| observance(lines, change, Some(rule), &[])),
            None => one_by_one(lines, &changes),
        }
        lines.end("VTIMEZONE");
    }

    /// The changes of the clock that matter between two days, with what holds at the first.
    fn changes(&self, from: DateTime, to: DateTime) -> Vec<Change> {
        let (begin, end) = (start_of_year(from, -1), start_of_year(to, YEARS_AHEAD));
        let first = self.rules.to_offset_info(begin);
        let mut offset = first.offset();
        let mut changes = vec![Change {
            local: Offset::UTC.to_datetime(begin),
            from: offset,
            to: offset,
            name: first.abbreviation().to_string(),
            is_summer: first.dst().is_dst(),
        }];
        for found in self.rules.following(begin).take(MOST_TRANSITIONS).take_while(|found| found.timestamp() < end) {
            changes.push(Change {
                local: offset.to_datetime(found.timestamp()),
                from: offset,
                to: found.offset(),
                name: found.abbreviation().to_string(),
                is_summer: found.dst().is_dst(),
            });
            offset = found.offset();
        }
        changes
    }
}

fn start_of_year(of: DateTime, more: i16) -> Timestamp {
    let year = of.year().saturating_add(more).clamp(1, 9000);
    let date = Date::new(year, 1, 1).unwrap_or(Date::constant(1970, 1, 1));
    date.to_zoned_datetime(TimeZone::UTC).map(|at| at.timestamp()).unwrap_or_default()
}

/// A change of the clock.
#[derive(Debug, Clone)]
struct Change {
    /// When, by the clock as it was before.
    local: DateTime,
    from: Offset,
    to: Offset,
    name: String,
    is_summer: bool,
}

/// Writes each change; equal ones together.
fn one_by_one(lines: &mut Lines, changes: &[Change]) {
    let mut alike: BTreeMap<(i32, i32, &str, bool), Vec<&Change>> = BTreeMap::new();
    for change in changes {
        let key = (change.from.seconds(), change.to.seconds(), change.name.as_str(), change.is_summer);
        alike.entry(key).or_default().push(change);
    }
    for changes in alike.values() {
        let Some((first, more)) = changes.split_first() else { continue };
        let more: Vec<String> = more.iter().map(|change| change.local.strftime(LOCAL).to_string()).collect();
        observance(lines, first, None, &more);
    }
}

fn observance(lines: &mut Lines, change: &Change, rule: Option<&str>, more: &[String]) {
    let component = if change.is_summer { "DAYLIGHT" } else { "STANDARD" };
    lines.begin(component);
    lines.raw("DTSTART", &[], &change.local.strftime(LOCAL).to_string());
    lines.raw("TZOFFSETFROM", &[], &offset_text(change.from));
    lines.raw("TZOFFSETTO", &[], &offset_text(change.to));
    lines.text("TZNAME", &change.name);
    if let Some(rule) = rule {
        lines.raw("RRULE", &[], rule);
    }
    if !more.is_empty() {
        lines.raw("RDATE", &[], &more.join(","));
    }
    lines.end(component);
}

fn offset_text(offset: Offset) -> String {
    let (sign, seconds) = if offset.seconds() < 0 { ('-', -offset.seconds()) } else { ('+', offset.seconds()) };
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let rest = if rest == 0 { String::new() } else { format!("{rest:02}") };
    format!("{sign}{hours:02}{minutes:02}{rest}")
}

/// The two yearly rules that the changes follow, each with its first change; `None` where they do not.
fn yearly(changes: &[Change]) -> Option<Vec<(&Change, String)>> {
    // The first is no change, but what holds at the beginning.
    let (_, changes) = changes.split_first()?;
    let mut rules = Vec::new();
    for is_summer in [false, true] {
        let of_kind: Vec<&Change> = changes.iter().filter(|change| change.is_summer == is_summer).collect();
        let first = *of_kind.first()?;
        let same = |change: &&Change| {
            (change.from, change.to, &change.name) == (first.from, first.to, &first.name)
                && (change.local.month(), change.local.time()) == (first.local.month(), first.local.time())
                && change.local.weekday() == first.local.weekday()
        };
        let every_year = of_kind.iter().zip(first.local.year()..).all(|(change, year)| change.local.year() == year);
        if of_kind.len() < 3 || !every_year || !of_kind.iter().all(same) {
            return None;
        }
        let is_last =
            |change: &&Change| change.local.checked_add(7.days()).is_ok_and(|n| n.month() != change.local.month());
        let week = (first.local.day() - 1) / 7 + 1;
        let nth = if of_kind.iter().all(is_last) {
            -1
        } else if of_kind.iter().all(|change| (change.local.day() - 1) / 7 + 1 == week) {
            week
        } else {
            return None;
        };
        let rule = format!("FREQ=YEARLY;BYMONTH={};BYDAY={nth}{}", first.local.month(), weekday(first.local.weekday()));
        rules.push((first, rule));
    }
    Some(rules)
}

/// A day of the week in a rule.
pub(super) fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "MO",
        Weekday::Tuesday => "TU",
        Weekday::Wednesday => "WE",
        Weekday::Thursday => "TH",
        Weekday::Friday => "FR",
        Weekday::Saturday => "SA",
        Weekday::Sunday => "SU",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(zone: &str, from: &str, to: &str) -> String {
        let mut lines = Lines::default();
        Zone::of(zone).unwrap().write(&mut lines, from.parse().unwrap(), to.parse().unwrap());
        String::from_utf8(lines.finish()).unwrap().replace("\r\n ", "").replace("\r\n", "\n")
    }

    #[test]
    fn names_of_windows_and_of_iana_are_known_and_made_up_ones_are_not() {
        for (name, iana) in [
            ("Pacific Standard Time", "America/Los_Angeles"),
            ("W. Europe Standard Time", "Europe/Berlin"),
            ("India Standard Time", "Asia/Kolkata"),
            ("GMT Standard Time", "Europe/London"),
            ("Samoa Standard Time", "Pacific/Apia"),
            ("Europe/Paris", "Europe/Paris"),
            ("UTC", "UTC"),
            ("tzone://Microsoft/Utc", "UTC"),
        ] {
            assert_eq!(Zone::of(name).map(|zone| zone.name).as_deref(), Some(iana), "{name}");
        }
        for name in ["", "tzone://Microsoft/Custom", "Customized Time Zone", "../etc/passwd", "a/../b", "\0", "Local"] {
            assert!(Zone::of(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_zone_with_summer_time_is_two_yearly_rules() {
        let berlin = written("W. Europe Standard Time", "2026-11-01T00:00", "2026-11-01T00:00");
        assert_eq!(
            berlin,
            "BEGIN:VTIMEZONE\nTZID:Europe/Berlin\n\
             BEGIN:STANDARD\nDTSTART:20251026T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nTZNAME:CET\n\
             RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nEND:STANDARD\n\
             BEGIN:DAYLIGHT\nDTSTART:20250330T020000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nTZNAME:CEST\n\
             RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\nEND:DAYLIGHT\nEND:VTIMEZONE\n"
        );
        let york = written("Eastern Standard Time", "2026-01-01T00:00", "2026-01-01T00:00");
        assert!(
            york.contains("RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU") && york.contains("BYMONTH=3;BYDAY=2SU"),
            "{york}"
        );
    }

    #[test]
    fn a_zone_without_summer_time_and_one_with_odd_changes_are_written_one_by_one() {
        let india = written("India Standard Time", "2026-01-01T00:00", "2026-01-01T00:00");
        assert!(india.contains("TZOFFSETFROM:+0530\nTZOFFSETTO:+0530") && !india.contains("RRULE"), "{india}");
        // Its summer time ends for a month each year, by the moon.
        let morocco = written("Africa/Casablanca", "2026-01-01T00:00", "2026-01-01T00:00");
        assert!(morocco.contains("RDATE:") && !morocco.contains("RRULE"), "{morocco}");
        for zone in ["Europe/Berlin", "Africa/Casablanca", "Antarctica/Troll"] {
            written(zone, "-009999-01-01T00:00", "9999-12-31T23:59");
        }
    }
}
