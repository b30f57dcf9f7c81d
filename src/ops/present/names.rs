//! How items read as components of a path.
//!
//! A message reads `2026-11-01 0914 Subject.eml` (its time of sorting, in UTC), a file by its name, and whatever else ends in
//! what programs know it by: `.ics`, `.vcf`, `.html`, and `.json` where Graph's JSON is all there is. What has others below
//! it and is no folder has a folder `.parts` beside it; what reads better as a whole (a chat, a list) has a file for that
//! beside it. A component never holds `/` or control characters and is never empty, `.` or `..`; it is no safe file name on
//! every disk yet: that is the business of an export. Two items of one folder may read alike: [`tagged`] then tells them apart.

use std::collections::HashSet;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{Face, Form, Mode, beside, form};
use crate::format::record::{ItemKind, Record};

const MESSAGE_ENDING: &str = ".eml";
const JSON_ENDING: &str = ".json";
const PARTS_ENDING: &str = ".parts";
/// What is added to the name of an item, or takes the place of a page's own ending.
const ENDINGS: [&str; 6] = [JSON_ENDING, PARTS_ENDING, ".ics", ".vcf", ".html", ".csv"];
const PAGE_ENDING: &str = ".aspx";
const MINUTE_US: i64 = 60_000_000;
const STAMP: &str = "%Y-%m-%d %H%M";
/// Subjects are cut after so many characters.
const SUBJECT_CHARACTERS: usize = 120;

/// How a face of an item reads in a path.
pub fn component(record: &Record, face: Face, mode: Mode) -> String {
    let (stem, ending) = halves(record, face, mode);
    stem + &ending
}

/// How it reads where another of its folder reads the same: with a mark made from its id.
///
/// The mark depends on the id alone, so that an item keeps its place whatever stands beside it.
pub fn tagged(record: &Record, face: Face, mode: Mode) -> String {
    let (stem, ending) = halves(record, face, mode);
    format!("{stem} ~{}{ending}", mark(record))
}

/// A hash of a name, the same in every run.
pub(in crate::ops) fn hash_of(name: &str) -> u64 {
    let mut bytes = [0; 8];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

fn mark(record: &Record) -> String {
    let hash = blake3::hash(record.id.as_bytes());
    hash.as_bytes().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// What an item reads as, before and after the place where a mark goes.
fn halves(record: &Record, face: Face, mode: Mode) -> (String, String) {
    let (stem, ending) = item_halves(record, mode);
    match (face, beside(record)) {
        (Face::Parts, _) => (stem, PARTS_ENDING.to_owned()),
        (Face::Beside, Some(make)) => {
            (stem + if record.kind.is_container() { &ending } else { "" }, make.ending().to_owned())
        }
        _ => (stem, ending),
    }
}

fn item_halves(record: &Record, mode: Mode) -> (String, String) {
    let ending = match form(record, Face::Item, mode) {
        Form::Made(make) => make.ending(),
        _ => JSON_ENDING,
    };
    match record.kind {
        ItemKind::Message => (dated_stem(record), MESSAGE_ENDING.to_owned()),
        ItemKind::Event | ItemKind::Post | ItemKind::ChatMessage => (dated_stem(record), ending.to_owned()),
        ItemKind::Page if ending != JSON_ENDING => {
            let name = plain(record);
            (
                name.strip_suffix(PAGE_ENDING).filter(|stem| !stem.is_empty()).unwrap_or(&name).to_owned(),
                ending.to_owned(),
            )
        }
        _ if record.is_told_in_json() => (plain(record), ending.to_owned()),
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

/// Which face of this item a component of a path means, if any.
pub fn matches(asked: &str, record: &Record, mode: Mode) -> Option<Face> {
    let means = |face: &Face| {
        component(record, *face, mode) == asked || (asked.contains('~') && tagged(record, *face, mode) == asked)
    };
    Face::of(record, mode).find(means)
}

/// The names that an item of this component may have, where something was added to it.
pub fn names_of(component: &str) -> Vec<String> {
    let Some(stem) = ENDINGS.iter().find_map(|ending| component.strip_suffix(ending)) else { return Vec::new() };
    vec![stem.to_owned(), format!("{stem}{PAGE_ENDING}")]
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

/// Gives the items of one folder names that differ: the second of a name gets a mark made from its id.
#[derive(Debug, Default)]
pub struct Naming {
    /// Hashes of the names: of a folder of a million items they take a tenth of what the names do. Two names of one hash would
    /// only give one of them a mark that it does not need.
    taken: HashSet<u64>,
}

impl Naming {
    /// The name of the next face of an item.
    pub fn name(&mut self, record: &Record, face: Face, mode: Mode) -> String {
        let name = component(record, face, mode);
        if self.taken.insert(hash_of(&name)) { name } else { tagged(record, face, mode) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::m365::testing::record;

    fn message(subject: &str, sort_us: Option<i64>) -> Record {
        Record { sort_us, ..record("id1", "f", subject, ItemKind::Message) }
    }

    const MODE: Mode = Mode::Presented;

    fn item(record: &Record) -> String {
        component(record, Face::Item, MODE)
    }

    fn tag(record: &Record) -> String {
        tagged(record, Face::Item, MODE)
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
            assert_eq!(item(&message(subject, Some(at))), reads);
        }
        assert_eq!(item(&message("x", None)), "undated x.eml");
        assert_eq!(item(&message(&"ä".repeat(300), Some(at))).chars().count(), 16 + 120 + 4);
    }

    #[test]
    fn a_component_is_never_a_way_out_of_its_folder() {
        for name in ["..", ".", "", "/", "../x", "a/../../b", "\0", " "] {
            let reads = item(&record("i", "", name, ItemKind::File));
            assert!(!reads.contains('/') && !reads.contains('\0'), "{reads}");
            assert!(!["", ".", ".."].contains(&reads.as_str()), "{name:?}");
        }
    }

    #[test]
    fn the_minute_in_a_component_finds_the_message() {
        for at in [1_793_524_440_000_000, 1_793_524_499_999_999] {
            let (from, to) = minute_of(&item(&message("x", Some(at)))).unwrap();
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
        assert_eq!(item(&one), item(&two));
        assert_ne!(tag(&one), tag(&two));
        assert!(tag(&one).ends_with(".docx") && tag(&one).starts_with("Plan ~"));
        assert!(
            matches("Plan.docx", &one, MODE).is_some()
                && matches(&tag(&one), &one, MODE).is_some()
                && matches(&tag(&two), &one, MODE).is_none()
        );
        assert!(tag(&message("x", None)).ends_with(".eml"));
        assert!(tag(&record("i", "", ".profile", ItemKind::File)).starts_with(".profile ~"));
    }

    #[test]
    fn items_end_in_what_programs_know_them_by_and_are_found_by_it() {
        let kinds = [
            (ItemKind::Contact, "Ada Lovelace", "Ada Lovelace.vcf", "Ada Lovelace.json"),
            (ItemKind::Event, "Plan", "undated Plan.ics", "undated Plan.json"),
            (ItemKind::Page, "Home.aspx", "Home.html", "Home.aspx.json"),
            (ItemKind::Page, ".aspx", ".aspx.html", ".aspx.json"),
            (ItemKind::Rule, "Move", "Move.json", "Move.json"),
            (ItemKind::Chat, "a.b", "a.b", "a.b"),
        ];
        for (kind, name, presented, raw) in kinds {
            let record = record("id", "f", name, kind);
            assert_eq!(component(&record, Face::Item, Mode::Presented), presented);
            assert_eq!(component(&record, Face::Item, Mode::Raw), raw);
            assert_eq!(matches(presented, &record, Mode::Presented), Some(Face::Item));
            if presented != name && !presented.starts_with("undated") {
                assert!(names_of(presented).contains(&name.to_owned()), "{presented}");
            }
        }
        let task = record("id", "f", "Buy", ItemKind::Task);
        assert_eq!(item(&task), "Buy.json", "of Planner");
        let todo = Record { summary: vec![("status".into(), "notStarted".into())], ..task };
        assert_eq!(item(&todo), "Buy.ics");
        let chat = record("id", "", "a.b", ItemKind::Chat);
        assert_eq!(matches("a.b.html", &chat, Mode::Presented), Some(Face::Beside));
        assert_eq!(matches("a.b.html", &chat, Mode::Raw), None);
        let (root, reply) =
            (record("1", "", "Hi", ItemKind::ChatMessage), record("1/2", "1", "Hi", ItemKind::ChatMessage));
        assert_eq!(matches("undated Hi.html", &root, Mode::Presented), Some(Face::Beside));
        assert_eq!(matches("undated Hi.html", &reply, Mode::Presented), None);
    }
}
