//! How items read as components of a path.
//!
//! A message reads `2026-11-01 0914 Subject.eml` (its time of sorting, in UTC), a file by its name, and what is kept as
//! Graph's JSON alone ends in `.json`. What has others below it and is no folder has a folder `.parts` beside it. A component
//! never holds `/` or control characters and is never empty, `.` or `..`; it is no safe file name on every disk yet: that
//! is the business of an export. Two items of one folder may read alike: [`tagged`] then tells them apart.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::format::record::{ItemKind, Record};

const MESSAGE_ENDING: &str = ".eml";
const JSON_ENDING: &str = ".json";
const PARTS_ENDING: &str = ".parts";
const MINUTE_US: i64 = 60_000_000;
const STAMP: &str = "%Y-%m-%d %H%M";
/// Subjects are cut after so many characters.
const SUBJECT_CHARACTERS: usize = 120;

/// How an item reads in a path.
pub fn component(record: &Record) -> String {
    let (stem, ending) = halves(record);
    stem + &ending
}

/// How an item reads in a path where another of its folder reads the same: with a mark made from its id.
///
/// The mark depends on the id alone, so that an item keeps its place whatever stands beside it.
pub fn tagged(record: &Record) -> String {
    let (stem, ending) = halves(record);
    format!("{stem} ~{}{ending}", mark(record))
}

/// How the folder reads that holds what hangs below an item which is no folder itself.
pub fn parts_component(record: &Record) -> String {
    format!("{}{PARTS_ENDING}", halves(record).0)
}

/// The same where another item of the folder has it.
pub fn parts_tagged(record: &Record) -> String {
    format!("{} ~{}{PARTS_ENDING}", halves(record).0, mark(record))
}

fn mark(record: &Record) -> String {
    let hash = blake3::hash(record.id.as_bytes());
    hash.as_bytes().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// What an item reads as, before and after the place where a mark goes.
fn halves(record: &Record) -> (String, String) {
    match record.kind {
        ItemKind::Message => (dated_stem(record), MESSAGE_ENDING.to_owned()),
        ItemKind::Event | ItemKind::Post | ItemKind::ChatMessage => (dated_stem(record), JSON_ENDING.to_owned()),
        _ if record.is_told_in_json() => (plain(record), JSON_ENDING.to_owned()),
        ItemKind::File | ItemKind::Attachment | ItemKind::Version | ItemKind::HostedContent => {
            let mut name = plain(record);
            let ending = name.split_off(name.rfind('.').filter(|place| *place > 0).unwrap_or(name.len()));
            (name, ending)
        }
        _ => (plain(record), String::new()),
    }
}

fn plain(record: &Record) -> String {
    cleaned(&record.name).unwrap_or_else(|| "_".to_owned())
}

/// Says whether a component of a path means this item.
pub fn matches(component_asked: &str, record: &Record) -> bool {
    component(record) == component_asked || tagged(record) == component_asked
}

/// Says whether a component of a path means the folder of what hangs below this item.
pub fn matches_parts(component_asked: &str, record: &Record) -> bool {
    record.has_parts() && (parts_component(record) == component_asked || parts_tagged(record) == component_asked)
}

/// The name that an item of this component may have, where something was added to it.
pub fn name_of(component: &str) -> Option<&str> {
    component.strip_suffix(JSON_ENDING).or_else(|| component.strip_suffix(PARTS_ENDING))
}

/// The times of sorting that a message of this component can have: from (included) and to (excluded), in microseconds
/// since 1970 UTC. `None`: the component is not that of a dated message.
pub fn minute_of(component: &str) -> Option<(i64, i64)> {
    let stamp = component.get(..15)?;
    let minute = DateTime::strptime(STAMP, stamp).ok()?;
    let from = minute.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp().as_microsecond();
    Some((from, from.checked_add(MINUTE_US)?))
}

fn dated_stem(record: &Record) -> String {
    let subject = cleaned(&record.name).unwrap_or_else(|| "(no subject)".to_owned());
    let subject: String = subject.chars().take(SUBJECT_CHARACTERS).collect();
    match record.sort_us.and_then(|us| Timestamp::from_microsecond(us).ok()) {
        Some(time) => format!("{} {}", time.strftime(STAMP), subject.trim_end()),
        None => format!("undated {}", subject.trim_end()),
    }
}

/// The name without what a component must not hold; `None` when nothing is left of it.
fn cleaned(name: &str) -> Option<String> {
    let replaced: String = name.chars().map(|c| if c.is_control() || c == '/' { '_' } else { c }).collect();
    match replaced.trim() {
        "" => None,
        "." => Some("_".to_owned()),
        ".." => Some("__".to_owned()),
        trimmed => Some(trimmed.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::m365::testing::record;

    fn message(subject: &str, sort_us: Option<i64>) -> Record {
        Record { sort_us, ..record("id1", "f", subject, ItemKind::Message) }
    }

    #[test]
    fn a_message_reads_by_its_minute_and_subject() {
        let at = 1_793_524_440_000_000; // 2026-11-01 09:14 UTC
        for (subject, reads) in [
            ("Quarterly plan", "2026-11-01 0914 Quarterly plan.eml"),
            ("  a/b\r\nc\u{7f} ", "2026-11-01 0914 a_b__c_.eml"),
            ("", "2026-11-01 0914 (no subject).eml"),
            ("..", "2026-11-01 0914 __.eml"),
        ] {
            assert_eq!(component(&message(subject, Some(at))), reads);
        }
        assert_eq!(component(&message("x", None)), "undated x.eml");
        assert_eq!(component(&message(&"ä".repeat(300), Some(at))).chars().count(), 16 + 120 + 4);
    }

    #[test]
    fn a_component_is_never_a_way_out_of_its_folder() {
        for name in ["..", ".", "", "/", "../x", "a/../../b", "\0", " "] {
            let reads = component(&record("i", "", name, ItemKind::File));
            assert!(!reads.contains('/') && !reads.contains('\0'), "{reads}");
            assert!(!["", ".", ".."].contains(&reads.as_str()), "{name:?}");
        }
    }

    #[test]
    fn the_minute_in_a_component_finds_the_message() {
        for at in [1_793_524_440_000_000, 1_793_524_499_999_999] {
            let (from, to) = minute_of(&component(&message("x", Some(at)))).unwrap();
            assert!((from..to).contains(&at), "{from} {at} {to}");
        }
        for component in ["", "x", "undated x.eml", "2026-13-01 0914 x.eml", "2026-11-01 091é x.eml", "Plan.docx"] {
            assert_eq!(minute_of(component), None, "{component}");
        }
    }

    #[test]
    fn items_that_read_alike_are_told_apart_by_their_ids() {
        let one = record("id1", "", "Plan.docx", ItemKind::File);
        let two = record("id2", "", "Plan.docx", ItemKind::File);
        assert_eq!(component(&one), component(&two));
        assert_ne!(tagged(&one), tagged(&two));
        assert!(tagged(&one).ends_with(".docx") && tagged(&one).starts_with("Plan ~"));
        assert!(matches("Plan.docx", &one) && matches(&tagged(&one), &one) && !matches(&tagged(&two), &one));
        assert!(tagged(&message("x", None)).ends_with(".eml"));
        assert!(tagged(&record("i", "", ".profile", ItemKind::File)).starts_with(".profile ~"));
    }
}
