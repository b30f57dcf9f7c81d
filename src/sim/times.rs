//! Times of the simulated tenant, in the spellings that Graph and mail use. Data follow the tenant's own
//! calendar, never the machine's clock.

use jiff::Timestamp;

/// The first day: 2026-11-02 (a Monday), 06:00 UTC.
pub(super) const EPOCH: i64 = 1_793_599_200;

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or_default()
}

/// `2026-11-02T06:00:00Z`
pub(super) fn graph(seconds: i64) -> String {
    at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `Mon, 2 Nov 2026 06:00:00 +0000`
pub(super) fn rfc5322(seconds: i64) -> String {
    at(seconds).strftime("%a, %-d %b %Y %H:%M:%S +0000").to_string()
}

/// `20261102T060000Z`
pub(super) fn ical(seconds: i64) -> String {
    at(seconds).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Reads a time as Graph's filters have it.
pub(super) fn parse(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_day_is_the_second_of_november() {
        assert_eq!(graph(EPOCH), "2026-11-02T06:00:00Z");
        assert_eq!(rfc5322(EPOCH), "Mon, 2 Nov 2026 06:00:00 +0000");
        assert_eq!(ical(EPOCH), "20261102T060000Z");
        assert_eq!(parse("2026-11-02T06:00:00Z"), Some(EPOCH));
    }
}
