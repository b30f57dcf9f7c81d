//! Sizes and times as people write them in a query.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::error::{Error, Result};

/// What "now" and "midnight" mean where a query is read.
#[derive(Debug, Clone)]
pub struct Here {
    /// The time now: microseconds since 1970 UTC.
    pub now_us: i64,
    /// The zone in which days begin.
    pub zone: TimeZone,
}

/// Reads a point in time: `2026`, `2026-11`, `2026-11-01` (their beginnings), `2026-11-01T09:30`, the same with `Z` or
/// an offset, `today`, `yesterday`, or so long ago: `12h`, `30d`, `2w`, `6mo`, `1y`. Microseconds since 1970 UTC.
pub(super) fn moment(text: &str, here: &Here) -> Option<i64> {
    let word = text.to_ascii_lowercase();
    let now = Timestamp::from_microsecond(here.now_us).ok()?.to_zoned_datetime(here.zone.clone());
    let day = |date: Date| Some(date.to_zoned_datetime(here.zone.clone()).ok()?.timestamp().as_microsecond());
    match word.as_str() {
        "today" => return day(now.date()),
        "yesterday" => return day(now.date().yesterday().ok()?),
        _ => {}
    }
    if let Some(span) = ago(&word) {
        return Some(now.checked_sub(span).ok()?.timestamp().as_microsecond());
    }
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i8>().ok())?;
    let year = |digits: &str| match digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => digits.parse::<i16>().ok(),
        false => None,
    };
    match text.split('-').collect::<Vec<_>>()[..] {
        [y] if text.len() == 4 => return day(Date::new(year(y)?, 1, 1).ok()?),
        [y, m] if m.len() <= 2 => return day(Date::new(year(y)?, number(m)?, 1).ok()?),
        [y, m, d] if d.len() <= 2 => return day(Date::new(year(y)?, number(m)?, number(d)?).ok()?),
        _ => {}
    }
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Some(exact.as_microsecond());
    }
    let local: DateTime = text.contains(['T', 't']).then(|| text.parse().ok())??;
    Some(local.to_zoned_datetime(here.zone.clone()).ok()?.timestamp().as_microsecond())
}

fn ago(word: &str) -> Option<Span> {
    let digits = word.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = word.split_at(digits);
    let number: i64 = number.parse().ok()?;
    let span = Span::new();
    match unit {
        "h" => span.try_hours(number),
        "d" => span.try_days(number),
        "w" => span.try_weeks(number),
        "mo" => span.try_months(number),
        "y" => span.try_years(number),
        _ => return None,
    }
    .ok()
}

/// Reads what `size:` may say: `>10MB`, `>=1k`, `<2GiB`, `<=5M`, `100`, `1MB..5MB`. The least and the most, both included.
pub(super) fn size_range(text: &str) -> Option<(u64, u64)> {
    let size = |text: &str| if text == "0" { Some(0) } else { parse_size(text).ok() };
    let range = if let Some(more) = text.strip_prefix(">=") {
        (size(more)?, u64::MAX)
    } else if let Some(less) = text.strip_prefix("<=") {
        (0, size(less)?)
    } else if let Some(more) = text.strip_prefix('>') {
        (size(more)?.checked_add(1)?, u64::MAX)
    } else if let Some(less) = text.strip_prefix('<') {
        (0, size(less)?.checked_sub(1)?)
    } else if let Some((least, most)) = text.split_once("..") {
        (size(least)?, size(most)?)
    } else {
        (size(text)?, size(text)?)
    };
    (range.0 <= range.1).then_some(range)
}

/// Reads a number of bytes: digits, perhaps with a fraction, then perhaps `B`, `K`, `KB`, `KiB` (all 1024), and
/// so on to `T`.
///
/// # Errors
/// `InvalidInput`, naming the text; also for zero.
pub fn parse_size(text: &str) -> Result<u64> {
    let bad = || {
        Error::invalid(format!("'{}' is not a size", text.escape_debug()))
            .with_hint("Write bytes, or a number with KiB, MiB, GiB or TiB: 10MiB")
    };
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit.is_empty() || unit == "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(bad()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9
        || !fraction.bytes().all(|b| b.is_ascii_digit())
        || (number.contains('.') && fraction.is_empty())
    {
        return Err(bad());
    }
    let whole: u128 = whole.parse().map_err(|_| bad())?;
    let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| bad())? };
    let bytes =
        whole.checked_mul(scale).and_then(|n| n.checked_add(fraction)?.checked_shl(shift)).ok_or_else(bad)? / scale;
    u64::try_from(bytes).ok().filter(|&bytes| bytes > 0 && whole < 1 << 64).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn here() -> Here {
        // 2026-11-20 09:00 UTC.
        Here { now_us: 1_795_165_200_000_000, zone: TimeZone::get("Europe/Berlin").unwrap() }
    }

    #[test]
    fn days_begin_where_the_reader_is() {
        for (text, utc) in [
            ("2026-11-01", "2026-10-31T23:00:00Z"),
            ("2026-7", "2026-06-30T22:00:00Z"),
            ("2026", "2025-12-31T23:00:00Z"),
            ("2026-11-01T09:30", "2026-11-01T08:30:00Z"),
            ("2026-11-01T09:30:00Z", "2026-11-01T09:30:00Z"),
            ("2026-11-01T09:30+02:00", "2026-11-01T07:30:00Z"),
            ("today", "2026-11-19T23:00:00Z"),
            ("Yesterday", "2026-11-18T23:00:00Z"),
            ("30d", "2026-10-21T08:00:00Z"),
            ("2w", "2026-11-06T09:00:00Z"),
            ("12h", "2026-11-19T21:00:00Z"),
            ("1mo", "2026-10-20T08:00:00Z"),
            ("1y", "2025-11-20T09:00:00Z"),
        ] {
            let wanted: Timestamp = utc.parse().unwrap();
            assert_eq!(moment(text, &here()), Some(wanted.as_microsecond()), "{text}");
        }
        for bad in [
            "",
            "soon",
            "2026-13",
            "2026-02-30",
            "26-1-1",
            "30",
            "30x",
            "d",
            "99999999999d",
            "2026-",
            "-1d",
            "2026-11-01 09",
        ] {
            assert_eq!(moment(bad, &here()), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_a_least_and_a_most() {
        for (text, range) in [
            (">10MB", ((10 << 20) + 1, u64::MAX)),
            (">=1k", (1024, u64::MAX)),
            ("<2GiB", (0, (2 << 30) - 1)),
            ("<=5M", (0, 5 << 20)),
            ("100", (100, 100)),
            ("0", (0, 0)),
            (">0", (1, u64::MAX)),
            ("1MB..5MB", (1 << 20, 5 << 20)),
        ] {
            assert_eq!(size_range(text), Some(range), "{text}");
        }
        for bad in ["", ">", "<0", "5MB..1MB", "..", "10XB", "> 10MB x", "-1"] {
            assert_eq!(size_range(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,20}") {
            let _ = (moment(&text, &here()), size_range(&text));
        }
    }
}
