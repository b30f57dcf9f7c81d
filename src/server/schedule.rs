//! When sets run: cron rules in a time zone. A day that has 23 or 25 hours runs each rule of a day once.

use std::str::FromStr as _;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod local;

use super::choices::zone;
use crate::error::{Error, Result};
use local::LocalTime;

/// The longest delay by chance: an hour less than a day.
const MOST_JITTER_S: u32 = 23 * 3_600;

/// A set that had no good run this long after its time had come is late.
const LATE_US: i64 = 24 * 3_600_000_000;

/// When a set runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Timing {
    /// Minute, hour, day of the month, month, day of the week: `0 22 * * *`; or `@daily` and kin.
    #[schema(example = "0 22 * * *", min_length = 1, max_length = 100)]
    pub(crate) cron: String,
    /// The time zone (IANA name) in which it counts.
    #[schema(example = "Europe/Berlin")]
    pub(crate) zone: String,
    /// It begins up to so many seconds later, each time by chance, so that not all sets begin at once.
    #[serde(default)]
    #[schema(maximum = 82_800)]
    pub(crate) jitter_s: u32,
    /// A run that was missed while the server stood still is caught up, once.
    #[serde(default = "yes")]
    pub(crate) catch_up: bool,
}

fn yes() -> bool {
    true
}

fn read(timing: &Timing) -> Result<Cron> {
    if timing.jitter_s > MOST_JITTER_S {
        return Err(Error::invalid("The delay by chance is too long").with_hint(format!("At most {MOST_JITTER_S} s")));
    }
    let text = &timing.cron;
    let bad = |why: String| {
        Error::invalid(format!("'{}' is not a schedule: {why}", text.escape_debug()))
            .with_hint("Write minute, hour, day of the month, month, day of the week: 0 22 * * *")
    };
    if text.len() > 100 {
        return Err(bad("it is too long".to_owned()));
    }
    CronParser::builder()
        .seconds(Seconds::Disallowed)
        .build()
        .parse(text)
        .map_err(|_| bad("it does not have the five fields, or one of them is out of range".to_owned()))
}

/// When a rule is due next after a time: microseconds since 1970 UTC; never, if the calendar never comes to it.
///
/// # Errors
/// `InvalidInput` for a rule or zone that is none.
pub(crate) fn next(timing: &Timing, after_us: i64) -> Result<Option<i64>> {
    let (cron, zone) = (read(timing)?, zone(&timing.zone)?);
    let after = Timestamp::from_microsecond(after_us).map_err(|_| Error::invalid("The clock is out of range"))?;
    let after = LocalTime(after.to_zoned_datetime(zone));
    Ok(cron.find_next_occurrence(&after, false).ok().map(|next| next.0.timestamp().as_microsecond()))
}

/// Says whether a set that had its last good run at a time should have had another one by its rules long since. One that somebody
/// starts by hand is never late.
pub(crate) fn is_overdue<'a>(timings: impl IntoIterator<Item = &'a Timing>, good_us: i64, now_us: i64) -> bool {
    // The first time after it cannot be longer ago.
    if now_us - good_us <= LATE_US {
        return false;
    }
    let due = timings.into_iter().filter_map(|timing| next(timing, good_us).ok().flatten()).min();
    due.is_some_and(|due| now_us - due > LATE_US)
}

/// The rule in words: "At 22:00, every day".
pub(crate) fn sentence(timing: &Timing) -> String {
    Cron::from_str(&timing.cron)
        .map_or_else(|_| timing.cron.clone(), |cron| cron.describe().trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(cron: &str, zone: &str) -> Timing {
        Timing { cron: cron.into(), zone: zone.into(), jitter_s: 0, catch_up: true }
    }

    fn us(text: &str) -> i64 {
        text.parse::<Timestamp>().expect(text).as_microsecond()
    }

    fn runs(timing: &Timing, from: &str, many: usize) -> Vec<String> {
        let mut at = us(from);
        let step = |_| {
            at = next(timing, at).expect("a rule").expect("a time");
            Timestamp::from_microsecond(at).expect("a time").to_string()
        };
        (0..many).map(step).collect()
    }

    #[test]
    fn a_rule_of_a_day_runs_once_on_days_of_23_and_25_hours() {
        let rule = timing("30 2 * * *", "Europe/Berlin");
        // 2026-03-29 has no 02:30, 2026-10-25 has it twice.
        let spring = runs(&rule, "2026-03-27T12:00:00Z", 3);
        assert_eq!(spring.len(), 3);
        assert_eq!(spring[0], "2026-03-28T01:30:00Z");
        assert!(spring[1].starts_with("2026-03-29T0"), "{spring:?}");
        assert_eq!(spring[2], "2026-03-30T00:30:00Z");
        let autumn = runs(&rule, "2026-10-23T12:00:00Z", 3);
        assert_eq!(autumn[0], "2026-10-24T00:30:00Z");
        assert!(autumn[1].starts_with("2026-10-25T0"), "{autumn:?}");
        assert_eq!(autumn[2], "2026-10-26T01:30:00Z", "once on the day of 25 hours");
    }

    #[test]
    fn rules_that_are_none_are_refused_and_some_never_come() {
        for bad in ["", "every day", "61 * * * *", "* * * * * *", &"*".repeat(200)] {
            next(&timing(bad, "UTC"), 0).expect_err(bad);
        }
        next(&timing("0 0 * * *", "Nowhere/Nix"), 0).expect_err("a zone");
        assert_eq!(next(&timing("0 0 30 2 *", "UTC"), 0).expect("a rule"), None);
        assert_eq!(
            next(&timing("@daily", "UTC"), us("2026-01-01T10:00:00Z")).expect("a rule"),
            Some(us("2026-01-02T00:00:00Z"))
        );
        assert!(sentence(&timing("0 22 * * *", "UTC")).contains("22:00"));
    }
}
