//! Time zones by the names that Microsoft 365 gives them: those of Windows, and those of the IANA.

use icu_time::zone::iana::IanaParserExtended;
use icu_time::zone::windows::WindowsParser;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Finds a zone by its name; `None`: it is one of its own making (`tzone://Microsoft/Custom`), or unknown here.
///
/// Source: Unicode CLDR, "windowsZones".
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" => None,
        "UTC" | "tzone://Microsoft/Utc" => Some(TimeZone::UTC),
        _ => {
            let iana = WindowsParser::new().parse(name, None).and_then(|found| {
                let all = IanaParserExtended::new();
                all.iter().find(|one| one.time_zone == found).map(|one| one.canonical)
            });
            TimeZone::get(iana.unwrap_or(name)).ok()
        }
    }
}

/// What the clocks of a zone show at a time.
pub(super) fn local(at: Timestamp, zone: &TimeZone) -> DateTime {
    zone.to_datetime(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_windows_and_of_the_iana_are_zones_and_others_are_none() {
        let at: Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
        for (name, hour) in [
            ("W. Europe Standard Time", Some(14)),
            ("Pacific Standard Time", Some(5)),
            ("India Standard Time", Some(17)),
            ("Europe/Kyiv", Some(15)),
            ("UTC", Some(12)),
            ("tzone://Microsoft/Utc", Some(12)),
            ("tzone://Microsoft/Custom", None),
            ("../../etc/passwd", None),
            ("", None),
        ] {
            let hour_there = zone(name).map(|zone| local(at, &zone).hour());
            assert_eq!(hour_there, hour, "{name}");
        }
    }
}
