//! Values that arguments can have, and how they are written.

use std::path::PathBuf;
use std::str::FromStr;

use crate::cli::output;
use crate::error::{Error, Result};

/// A snapshot and a path in it: `SNAPSHOT[:PATH]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// An id's beginning, `latest`, `SET@latest` or `SET@2026-11-20`.
    pub(crate) snapshot: String,
    /// The path; empty: the whole snapshot.
    pub(crate) path: String,
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (snapshot, path) = text.split_once(':').unwrap_or((text, ""));
        if snapshot.is_empty() {
            return Err(Error::invalid(format!("'{text}' names no snapshot")).with_hint("Write latest:PATH"));
        }
        Ok(Self { snapshot: snapshot.to_owned(), path: unescaped(path.trim_matches('/')) })
    }
}

/// Takes back what [`output::plain`] made of a path that was printed.
fn unescaped(path: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(path.len()), path);
    while let Some((before, after)) = rest.split_once("\\u{") {
        out.push_str(before);
        let escaped = after.split_once('}').and_then(|(number, after)| {
            let c = u32::from_str_radix(number, 16).ok().and_then(char::from_u32)?;
            output::is_escaped(c).then_some((c, after))
        });
        match escaped {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push_str("\\u{");
                rest = after;
            }
        }
    }
    out + rest
}

/// A stretch of time as arguments write it: `24h`, `90m`, `2d12h`, `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Microseconds.
    pub(crate) us: i64,
}

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!("'{}' is not a duration", text.escape_debug()))
                .with_hint("Write weeks, days, hours, minutes and seconds like 1w2d12h30m10s; 0 is none")
        };
        if text == "0" {
            return Ok(Self { us: 0 });
        }
        let (mut rest, mut us) = (text, 0i64);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let (number, tail) = rest.split_at(digits);
            let mut units = tail.chars();
            let seconds = match units.next() {
                Some('w') => 7 * 86_400,
                Some('d') => 86_400,
                Some('h') => 3_600,
                Some('m') => 60,
                Some('s') => 1,
                _ => return Err(bad()),
            };
            let number: i64 = number.parse().map_err(|_| bad())?;
            us = number.checked_mul(seconds * 1_000_000).and_then(|n| us.checked_add(n)).ok_or_else(bad)?;
            rest = units.as_str();
        }
        if text.is_empty() { Err(bad()) } else { Ok(Self { us }) }
    }
}

/// A share in percent: `5%`, `2.5%`, `5`; 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Percent(pub f64);

impl FromStr for Percent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = text.trim().trim_end_matches('%').trim_end();
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match number.parse::<f64>() {
            Ok(percent) if digits && (0.0..=100.0).contains(&percent) => Ok(Self(percent)),
            _ => {
                Err(Error::invalid(format!("'{}' is not a percentage", text.escape_debug()))
                    .with_hint("Write 0% to 100%"))
            }
        }
    }
}

/// Makes a parser for clap that tells message and hint in one line.
pub(crate) fn parser<T: FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e: Error| match e.hint() {
        Some(hint) => format!("{e}. {hint}"),
        None => e.to_string(),
    })
}

/// Makes a path absolute, from a folder on.
pub(crate) fn absolute(folder: &std::path::Path, path: &std::path::Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { folder.join(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_and_its_path_part_at_the_first_colon() {
        let target = |text: &str| text.parse::<Target>().map(|t| (t.snapshot, t.path)).ok();
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(target("latest"), pair("latest", ""));
        assert_eq!(target("latest:"), pair("latest", ""));
        assert_eq!(target("all@2026-11-20:/users/a@b/Mail/x: y/"), pair("all@2026-11-20", "users/a@b/Mail/x: y"));
        assert_eq!(target(":users"), None);
        assert_eq!(target(""), None);
    }

    #[test]
    fn a_path_that_was_printed_is_taken_back() {
        for path in [
            "users/a/Files/\u{200e}list\u{202e}.txt",
            "a/\u{7}",
            "a\\u{7}",
            "a\\u{5c}u{7}",
            "a\\u{",
            "a\\u{zz}\\x",
            "ü 😀",
        ] {
            let printed = format!("latest:{}", output::plain(path));
            assert!(!printed.chars().any(char::is_control), "{printed}");
            assert_eq!(printed.parse::<Target>().map(|t| t.path).ok().as_deref(), Some(path), "{printed}");
        }
    }

    #[test]
    fn durations_and_percentages_are_read_as_written() {
        for (text, seconds) in
            [("0", 0), ("24h", 86_400), ("90m", 5_400), ("2d12h", 216_000), ("1w", 604_800), ("0s", 0)]
        {
            assert_eq!(text.parse::<Span>().expect(text).us, seconds * 1_000_000, "{text}");
        }
        for bad in ["", "24", "h", "1x", "-1h", "1.5h", "99999999999999999999h", "9999999999999w"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        for (text, percent) in [("5%", 5.0), ("2.5", 2.5), ("100 %", 100.0), ("0%", 0.0)] {
            assert_eq!(text.parse::<Percent>().expect(text), Percent(percent));
        }
        for bad in ["", "%", "-1%", "101%", "x", "1e1", "nan", "inf"] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
    }
}
