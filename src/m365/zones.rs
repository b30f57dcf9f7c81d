//! Time zones by the names that Microsoft 365 gives them: those of Windows, and those of the IANA.

use icu_time::zone::iana::IanaParserExtended;
use icu_time::zone::windows::WindowsParser;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The longest name of a zone that is looked for.
const LONGEST_NAME: usize = 64;

/// Finds a zone by its name, with the IANA's name for it; `None`: it is one of its own making (`tzone://Microsoft/Custom`), or
/// unknown here. The name is foreign: what is no plain name is not looked for.
///
/// Source: Unicode CLDR, "windowsZones".
pub(crate) fn named(name: &str) -> Option<(String, TimeZone)> {
    let name = name.trim();
    if matches!(name, "UTC" | "Etc/UTC" | "Etc/GMT" | "tzone://Microsoft/Utc") {
        return Some(("UTC".to_owned(), TimeZone::UTC));
    }
    if name.is_empty() || name.len() >= LONGEST_NAME || name.contains("//") || name.contains("..") {
        return None;
    }
    let known = |name: &str| TimeZone::get(name).ok().map(|rules| (name.to_owned(), rules));
    from_windows(name).and_then(known).or_else(|| known(name).filter(|_| name.contains('/')))
}

/// IANA's name for what Windows calls a zone.
fn from_windows(name: &str) -> Option<&'static str> {
    let zone = WindowsParser::new().parse(name, None)?;
    let iana = IanaParserExtended::new();
    iana.iter().find(|known| known.time_zone == zone).map(|known| known.canonical)
}

/// Finds a zone by its name.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    named(name).map(|(_, rules)| rules)
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
