//! Numbers and times as people read them.

use jiff::Timestamp;
use maud::{Markup, html};

/// A time as an element: in UTC in the page, in the reader's own zone where scripts run.
pub(crate) fn time(us: i64) -> Markup {
    let stamp = Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH);
    html! { time datetime=(stamp.strftime("%Y-%m-%dT%H:%M:%SZ")) { (stamp.strftime("%Y-%m-%d %H:%M UTC")) } }
}

/// A count of bytes: "1.2 GiB".
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit_name = UNITS.get(unit).unwrap_or(&"B");
    if unit == 0 || value >= 100.0 { format!("{value:.0} {unit_name}") } else { format!("{value:.1} {unit_name}") }
}

/// A number with its thousands apart: "1,234,567".
pub(crate) fn number(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

/// How many times the one is the other: "3.2 times"; a dash where there is nothing of it.
pub(crate) fn times(whole: i64, part: i64) -> String {
    if part <= 0 {
        return "–".to_owned();
    }
    format!("{:.1} times", whole as f64 / part as f64)
}

/// A count with its noun: "1 tenant", "2 tenants".
pub(crate) fn count(many: usize, one: &str) -> String {
    let many = i64::try_from(many).unwrap_or(i64::MAX);
    if many == 1 {
        format!("1 {one}")
    } else if let Some(stem) = one.strip_suffix('y') {
        format!("{} {stem}ies", number(many))
    } else {
        format!("{} {one}s", number(many))
    }
}

/// A hint as a sentence: it begins large, and ends with a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// The end of a path, about so many letters of it: whole names, or of a name that is longer by itself whole words.
pub(crate) fn end_of_path(path: &str, most: usize) -> String {
    let over = path.chars().count().saturating_sub(most);
    let Some((at, _)) = path.char_indices().nth(over).filter(|_| over > 0) else { return path.to_owned() };
    let (before, end) = path.split_at(at);
    if before.ends_with('/') {
        return format!("…/{end}");
    }
    let name = || end.split_once('/').filter(|(_, names)| !names.is_empty()).map(|(_, names)| format!("…/{names}"));
    let word = || end.split_once(' ').filter(|(_, words)| !words.is_empty()).map(|(_, words)| format!("… {words}"));
    name().or_else(word).unwrap_or_else(|| format!("…{end}"))
}

/// A stretch of time: "3 min 20 s".
pub(crate) fn duration(us: i64) -> String {
    let seconds = us.max(0) / 1_000_000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([number(0), number(999), number(1_000), number(-1_234_567)], ["0", "999", "1,000", "-1,234,567"]);
        assert_eq!([size(0), size(1023), size(1536), size(200 << 30)], ["0 B", "1023 B", "1.5 KiB", "200 GiB"]);
        assert_eq!([times(16, 5), times(7, 0)], ["3.2 times", "–"]);
        assert_eq!(["check the place", "Über", ""].map(sentence), ["Check the place.", "Über.", "."]);
        assert_eq!([duration(0), duration(200_000_000), duration(7_300_000_000)], ["0 s", "3 min 20 s", "2 h 1 min"]);
    }

    #[test]
    fn a_path_that_is_cut_begins_with_a_whole_name_or_word() {
        let path = "sets/everyone/2026-11-28 1637/users/alice@contoso.com/Mail/Inbox";
        assert_eq!(end_of_path(path, 64), path);
        // The cut falls into the date, before a name, between two, into one.
        for most in [45, 40, 35, 34] {
            assert_eq!(end_of_path(path, most), "…/users/alice@contoso.com/Mail/Inbox", "{most}");
        }
        assert_eq!(end_of_path(path, 30), "…/alice@contoso.com/Mail/Inbox");
        assert_eq!(end_of_path("Mail/2026-08-03 1730 Übersicht.eml", 16), "… Übersicht.eml");
        assert_eq!(end_of_path("Mail/Übersicht.eml", 5), "…t.eml");
        assert_eq!(end_of_path("", 5), "");
    }
}
