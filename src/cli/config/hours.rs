//! The hours of a day in which a set may be read.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::error::{Error, Result};

/// From one time of day to another, over midnight where the second is the earlier one: `22:00-06:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: Time,
    to: Time,
}

impl Hours {
    /// How long they still last; `None`: it is outside of them.
    pub fn left(&self, now: Timestamp, zone: &TimeZone) -> Option<Duration> {
        let here = now.to_zoned_datetime(zone.clone());
        let time = here.time();
        let over_midnight = self.to <= self.from;
        let tomorrow = match over_midnight {
            false if self.from <= time && time < self.to => false,
            true if self.from <= time => true,
            true if time < self.to => false,
            _ => return None,
        };
        let day = if tomorrow { here.date().checked_add(1.day()).ok()? } else { here.date() };
        // Where clocks are set, the hour that does not exist ends with the next one that does.
        let end = zone.to_timestamp(day.to_datetime(self.to)).ok()?;
        Duration::try_from(end.duration_since(now)).ok()
    }
}

impl FromStr for Hours {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!("'{}' are no hours of a day", text.escape_debug()))
                .with_hint("Write them like \"22:00-06:00\"")
        };
        let time = |text: &str| -> Result<Time> {
            let (hour, minute) = text.trim().split_once(':').ok_or_else(wrong)?;
            let two_digits = |part: &str| part.len() <= 2 && part.chars().all(|c| c.is_ascii_digit());
            if !two_digits(hour) || !two_digits(minute) {
                return Err(wrong());
            }
            let (hour, minute) = (hour.parse().map_err(|_| wrong())?, minute.parse().map_err(|_| wrong())?);
            // The end of a day is the beginning of the next one.
            Time::new(if hour == 24 && minute == 0 { 0 } else { hour }, minute, 0, 0).map_err(|_| wrong())
        };
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (time(from)?, time(to)?);
        if from == to { Err(wrong()) } else { Ok(Self { from, to }) }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.hour(), from.minute(), to.hour(), to.minute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(hours: &str, now: &str, zone: &str) -> Option<u64> {
        let zone = TimeZone::get(zone).unwrap();
        let now = now.parse().unwrap();
        hours.parse::<Hours>().unwrap().left(now, &zone).map(|left| left.as_secs() / 60)
    }

    #[test]
    fn hours_end_on_their_own_day_or_the_next() {
        for (hours, now, expected) in [
            ("22:00-06:00", "2026-11-20T21:59:59Z", None),
            ("22:00-06:00", "2026-11-20T22:00:00Z", Some(480)),
            ("22:00-06:00", "2026-11-20T23:30:00Z", Some(390)),
            ("22:00-06:00", "2026-11-21T05:59:00Z", Some(1)),
            ("22:00-06:00", "2026-11-21T06:00:00Z", None),
            ("9:30-17:00", "2026-11-20T09:30:00Z", Some(450)),
            ("9:30-17:00", "2026-11-20T17:00:00Z", None),
            ("18:00-24:00", "2026-11-20T23:00:00Z", Some(60)),
            ("00:00-06:00", "2026-11-20T00:00:00Z", Some(360)),
        ] {
            assert_eq!(left(hours, now, "UTC"), expected, "{hours} {now}");
        }
        // Europe/Berlin: 23:00 local; on the night in March that is an hour shorter.
        assert_eq!(left("22:00-06:00", "2026-11-20T22:00:00Z", "Europe/Berlin"), Some(420));
        assert_eq!(left("22:00-06:00", "2026-03-28T22:00:00Z", "Europe/Berlin"), Some(360));
        assert_eq!(left("01:00-02:30", "2026-03-29T00:30:00Z", "Europe/Berlin"), Some(60));
    }

    #[test]
    fn what_are_no_hours_is_refused() {
        for text in ["", "22-6", "22:00", "22:00-22:00", "25:00-06:00", "22:60-06:00", "22:00-+6:00", "-", "24:30-1:00"]
        {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
        assert_eq!("9:05-24:00".parse::<Hours>().unwrap().to_string(), "09:05-00:00");
    }
}
