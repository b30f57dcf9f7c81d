//! What commands print: one summary as JSON or text, tables, and numbers as people read them.
//!
//! Results go to stdout, everything else to stderr. With `--json` every line is one JSON object with a
//! `message_type`: `status` while it runs, `error`, and one `summary` last; as restic does it.

use std::io::Write;
use std::time::Duration;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
pub use crate::ops::find::parse_size;

/// Writes a line of JSON: the fields of `value` after `"message_type"`.
///
/// # Errors
/// If the value is no JSON object, or writing fails.
pub fn write_json(out: &mut dyn Write, message_type: &str, value: &impl Serialize) -> Result<()> {
    let value = serde_json::to_value(value).map_err(|e| Error::internal("Output is not JSON").with_source(e))?;
    let Value::Object(fields) = value else {
        return Err(Error::internal("Output is not a JSON object"));
    };
    let mut line = Map::new();
    line.insert("message_type".into(), message_type.into());
    line.extend(fields);
    writeln!(out, "{}", Value::Object(line)).map_err(|e| Error::io(CANNOT_WRITE, e))
}

/// The message of an error when stdout does not take what is printed.
pub(crate) const CANNOT_WRITE: &str = "Output cannot be written";

/// An error as JSON: kind, message, causes, and what to do next.
pub fn error_json(error: &Error) -> Value {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        causes.push(e.to_string());
        cause = e.source();
    }
    json!({
        "kind": kind_word(error.kind()),
        "message": error.to_string(),
        "causes": causes,
        "hint": error.hint(),
        "retryable": error.is_retryable(),
    })
}

/// The word for a kind of error in JSON; it does not change between versions.
fn kind_word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not_found",
        ErrorKind::NoRepository => "no_repository",
        ErrorKind::AlreadyExists => "already_exists",
        ErrorKind::Permission => "permission",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::WrongKey => "wrong_key",
        ErrorKind::InvalidInput => "invalid_input",
        ErrorKind::UnsupportedVersion => "unsupported_version",
        ErrorKind::StorageFull => "storage_full",
        ErrorKind::Interrupted => "interrupted",
        ErrorKind::ResyncRequired => "resync_required",
        ErrorKind::Internal => "internal",
    }
}

/// An error as text: message, causes and hint, a line each.
pub fn error_text(error: &Error) -> String {
    let mut text = format!("Error: {}\n", plain(&error.to_string()));
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        text.push_str(&format!("  Because: {}\n", plain(&e.to_string())));
        cause = e.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("Hint: {}\n", plain(hint)));
    }
    text
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    /// Text, to the left; wraps where the terminal is narrow.
    Text(&'static str),
    /// Text that is useless in pieces: an id, a time.
    Fixed(&'static str),
    /// A number, to the right.
    Number(&'static str),
}

/// Draws a table without borders. `width`: the terminal's, in columns, that long cells wrap to fit; `None` (the
/// output is piped): as wide as the contents, one line a row. So it is too where the rest leaves too little for text
/// to wrap in: the terminal wraps whole lines more readably than a table wraps words.
pub fn table(columns: &[Column], rows: &[Vec<String>], width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    match width.filter(|width| leaves_room(columns, rows, *width)) {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.max(20)),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(columns.iter().map(|column| match column {
        Column::Text(name) | Column::Fixed(name) | Column::Number(name) => *name,
    }));
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(drawn) = table.column_mut(index) {
            drawn.set_padding((0, 2));
            if !matches!(column, Column::Text(_)) {
                drawn.set_constraint(ColumnConstraint::ContentWidth);
            }
            if matches!(column, Column::Number(_)) {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The least that a column of text needs, in columns of the terminal.
const LEAST_TEXT: usize = 10;

/// Says whether columns of text can wrap to fit a terminal.
fn leaves_room(columns: &[Column], rows: &[Vec<String>], width: u16) -> bool {
    let widest = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index));
        cells.map(|cell| plain(cell).chars().count()).max().unwrap_or(0)
    };
    let needs = columns.iter().enumerate().map(|(index, column)| match column {
        Column::Text(name) => LEAST_TEXT.min(widest(index).max(name.len()) + 2),
        Column::Fixed(name) | Column::Number(name) => widest(index).max(name.len()) + 2,
    });
    needs.sum::<usize>() <= usize::from(width)
}

/// Makes foreign text safe to print: control and direction characters (which could move the cursor or turn text
/// round) become `\u{…}`, line ends spaces. A path without line ends is taken back as it is printed.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            // What reads as an escape, and is none.
            '\\' if !text.get(at + 1..).is_some_and(|rest| rest.starts_with("u{")) => out.push(c),
            c if is_escaped(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Says whether a character may be printed as its number.
pub(crate) fn is_escaped(c: char) -> bool {
    c == '\\' || c.is_control() || is_direction(c)
}

/// Says whether a character changes the direction of the text after it.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A number of bytes as restic writes it: `812 B`, `1.500 KiB`, `2.000 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let exponent = (bytes.ilog2() / 10).min(6);
    let unit = UNITS.get(exponent as usize - 1).unwrap_or(&"EiB");
    // Thousandths, cut rather than rounded, so that no size reads as 1024.000 of a unit.
    let thousandths = (u128::from(bytes) * 1000) >> (10 * exponent);
    format!("{}.{:03} {unit}", thousandths / 1000, thousandths % 1000)
}

/// A number with its thousands apart: `1,234,567`.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of things: `1 item`, `1,234 items`.
pub fn count(value: u64, one: &str, many: &str) -> String {
    if value == 1 { format!("1 {one}") } else { format!("{} {many}", number(value)) }
}

/// A duration as restic writes it: `0:07`, `12:34`, `1:02:03`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A moment in a time zone: `2026-11-20 09:14:05`. `-` if it is beyond the calendar.
pub fn time(time_us: i64, zone: &TimeZone) -> String {
    match Timestamp::from_microsecond(time_us) {
        Ok(time) => time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_of_json_begins_with_its_type() {
        let mut out = Vec::new();
        write_json(&mut out, "summary", &json!({"b": 1, "a": "x\ny"})).expect("it writes");
        assert_eq!(String::from_utf8(out).expect("text"), "{\"message_type\":\"summary\",\"b\":1,\"a\":\"x\\ny\"}\n");
        assert!(write_json(&mut Vec::new(), "summary", &[1]).is_err());
    }

    #[test]
    fn errors_are_shown_with_causes_and_hint() {
        let error = Error::io("Folder /x", std::io::Error::other("disk on fire"))
            .context("Backup failed")
            .with_hint("Put it out");
        assert_eq!(
            error_text(&error),
            "Error: Backup failed\n  Because: Folder /x\n  Because: disk on fire\nHint: Put it out\n"
        );
        let value = error_json(&error);
        assert_eq!(value["kind"], "internal");
        assert_eq!(value["causes"], json!(["Folder /x", "disk on fire"]));
        assert_eq!(value["hint"], "Put it out");
        assert_eq!(error_json(&Error::not_found("x"))["hint"], Value::Null);
    }

    #[test]
    fn a_piped_table_is_one_line_a_row() {
        let rows = vec![vec!["a".repeat(100), "7".into()], vec!["b".into(), "1,234".into()]];
        let text = table(&[Column::Text("Name"), Column::Number("Size")], &rows, None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("Name") && lines[0].ends_with(" Size"));
        assert!(lines[1].ends_with("      7") && lines[2].ends_with("  1,234"), "{text}");
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let rows = vec![vec!["word ".repeat(40), "7".into()]];
        for width in [20, 40, 80] {
            let text = table(&[Column::Text("Name"), Column::Number("Size")], &rows, Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{text}");
            assert!(text.lines().count() > 2);
        }
    }

    #[test]
    fn ids_and_times_stay_whole_in_a_narrow_terminal() {
        let columns = [Column::Fixed("ID"), Column::Text("Set"), Column::Number("Size")];
        let rows = vec![vec!["0123456789abcdef".into(), "a set with a long name".into(), "1,234.567 KiB".into()]];
        for width in [20, 30, 45, 60, 100] {
            let text = table(&columns, &rows, Some(width));
            assert!(text.contains("0123456789abcdef") && text.contains("1,234.567 KiB"), "{width}:\n{text}");
            let fits = text.lines().all(|line| line.chars().count() <= usize::from(width));
            assert_eq!(fits, width >= 45, "{width}:\n{text}");
        }
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(plain("a\x1b[31mb\u{202e}c\nd\u{9b}e"), "a\\u{1b}[31mb\\u{202e}c d\\u{9b}e");
        assert_eq!(plain("Grüße 日本 👋"), "Grüße 日本 👋");
        let text = table(&[Column::Text("Name")], &[vec!["x\x1b]0;y\x07".into()]], None);
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn sizes_read_as_in_restic() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.000 KiB"),
            (1536, "1.500 KiB"),
            ((1 << 20) - 1, "1023.999 KiB"),
            (1 << 20, "1.000 MiB"),
            (5 << 30, "5.000 GiB"),
            (u64::MAX, "15.999 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("1", 1),
            ("10MiB", 10 << 20),
            ("10 M", 10 << 20),
            ("1.5k", 1536),
            ("2GB", 2 << 30),
            ("7b", 7),
            ("3TiB", 3 << 40),
        ] {
            assert_eq!(parse_size(text).expect(text), bytes, "{text}");
        }
        for bad in [
            "",
            "0",
            "x",
            "1x",
            "1ib",
            "-1",
            "1..5k",
            "1.k",
            ".5k",
            "1e3",
            "99999999999999999999",
            "99999999999T",
            "1 k b",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_counts_durations_and_times_are_for_people() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(count(1, "item", "items"), "1 item");
        assert_eq!(count(1000, "item", "items"), "1,000 items");
        assert_eq!(duration(Duration::from_millis(7_900)), "0:07");
        assert_eq!(duration(Duration::from_secs(754)), "12:34");
        assert_eq!(duration(Duration::from_secs(3723)), "1:02:03");
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        assert_eq!(time(1_795_162_445_000_000, &TimeZone::UTC), "2026-11-20 08:14:05");
        assert_eq!(time(1_795_162_445_000_000, &berlin), "2026-11-20 09:14:05");
        assert_eq!(time(i64::MAX, &TimeZone::UTC), "-");
    }

    proptest! {
        #[test]
        fn sizes_of_any_text_never_panic(text in ".{0,30}") {
            let _ = parse_size(&text);
        }

        #[test]
        fn printed_text_has_no_control_characters(text in any::<String>()) {
            prop_assert!(!plain(&text).chars().any(|c| c.is_control() || is_direction(c)));
        }
    }
}
