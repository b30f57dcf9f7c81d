//! Our times, as the library of cron rules asks for them: it knows an older version of the same library of times.

use std::cmp::Ordering;

use croner::errors::CronError;
use croner::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::AmbiguousOffset;
use jiff::{SignedDuration, ZonedDateTime};

/// A time in a zone.
#[derive(Debug, Clone)]
pub(super) struct LocalTime(pub(super) ZonedDateTime);

fn unsigned(part: i8) -> u32 {
    u32::from(part.unsigned_abs())
}

fn part(value: u32) -> Result<i8, CronError> {
    i8::try_from(value).map_err(|_| CronError::InvalidDate)
}

fn to_jiff(civil: CivilDateTime) -> Result<DateTime, CronError> {
    let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
    DateTime::new(
        year,
        part(civil.month())?,
        part(civil.day())?,
        part(civil.hour())?,
        part(civil.minute())?,
        part(civil.second())?,
        0,
    )
    .map_err(|_| CronError::InvalidDate)
}

impl CronDateTime for LocalTime {
    fn to_civil(&self) -> CivilDateTime {
        let time = self.0.datetime();
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(i32::from(time.year()), unsigned(time.month()), unsigned(time.day())),
            CivilTime::from_parts_unchecked(unsigned(time.hour()), unsigned(time.minute()), unsigned(time.second())),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(unsigned(self.0.weekday().to_sunday_zero_offset()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let found = self.0.time_zone().to_ambiguous_zoned_datetime(to_jiff(civil)?);
        let good = |time: Result<ZonedDateTime, jiff::Error>| time.map(Self).map_err(|_| CronError::InvalidTime);
        Ok(match found.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(good(found.unambiguous())?),
            AmbiguousOffset::Fold { .. } => Resolution::Ambiguous(good(found.clone().earlier())?, good(found.later())?),
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}
