//! Complaints about a configuration: file, line, key, and what to write instead. Values are never repeated,
//! except names that refer to something, because a value can be a secret.

use std::ops::Range;
use std::path::Path;

use crate::error::Error;

/// Makes errors that name file and line.
pub(in crate::cli) struct Complaints<'a> {
    text: &'a str,
    path: &'a Path,
}

impl<'a> Complaints<'a> {
    pub(in crate::cli) fn new(text: &'a str, path: &'a Path) -> Self {
        Self { text, path }
    }

    /// The number of the line that holds the byte, from 1.
    pub(in crate::cli) fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        before.iter().filter(|&&b| b == b'\n').count() + 1
    }

    pub(in crate::cli) fn at(&self, span: Range<usize>, text: &str, hint: &str) -> Error {
        let place = format!("{}, line {}", self.path.display(), self.line(span.start));
        Error::invalid(format!("{place}: {text}")).with_hint(hint)
    }

    /// Adds file and line to an error about a value.
    pub(super) fn wrap(&self, span: Range<usize>, error: &Error) -> Error {
        let place = format!("{}, line {}", self.path.display(), self.line(span.start));
        let wrapped = Error::new(error.kind(), format!("{place}: {error}"));
        match error.hint() {
            Some(hint) => wrapped.with_hint(hint),
            None => wrapped,
        }
    }

    pub(in crate::cli) fn unknown_key(&self, span: Range<usize>, key: &str, known: &[&str]) -> Error {
        self.at(span, &format!("unknown key '{}'", key.escape_debug()), &suggestion(key, known))
    }

    /// Puts what the TOML reader found into our words.
    pub(in crate::cli) fn explain(&self, error: &toml::de::Error) -> Error {
        let span = error.span().unwrap_or_default();
        let message = error.message();
        if let Some((key, known)) = unknown(message, "unknown field ") {
            return self.unknown_key(span, key, &known);
        }
        if let Some((value, known)) = unknown(message, "unknown variant ") {
            let value = format!("'{}' is not one of the values of this key", value.escape_debug());
            return self.at(span, &value, &suggestion("", &known));
        }
        if let Some(key) = message.strip_prefix("missing field ") {
            let text = format!("the key '{}' is missing", key.trim_matches('`'));
            return self.at(span, &text, "Add it; docs/config.toml explains every key");
        }
        if let Some(rest) = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: ")) {
            // The found value stands in the message and may be a secret: only its type is repeated.
            let found = rest.split([' ', ',']).next().unwrap_or_default();
            let wanted = rest.rsplit_once(", expected ").map_or("something else", |(_, wanted)| wanted);
            return self.at(
                span,
                &format!("the value must be {wanted}; found: {found}"),
                "docs/config.toml explains every key",
            );
        }
        if message == "duplicate key" {
            // The span is the key's.
            let key = self.text.get(span.clone()).unwrap_or_default();
            return self.at(span, &format!("the key '{}' stands here twice", key.escape_debug()), "Keep one of them");
        }
        self.at(span, message, "docs/config.toml is a complete example")
    }
}

/// Takes "unknown field `a`, expected one of `b`, `c`" apart.
fn unknown<'m>(message: &'m str, prefix: &str) -> Option<(&'m str, Vec<&'m str>)> {
    let mut quoted = message.strip_prefix(prefix)?.split('`').skip(1).step_by(2);
    let found = quoted.next()?;
    Some((found, quoted.collect()))
}

/// Says what may have been meant, and what there is.
pub(super) fn suggestion(name: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|other| (distance(name, other), other)).min();
    let close = |distance: usize| !name.is_empty() && distance <= (name.chars().count() / 3).max(1);
    let all = known.join(", ");
    match nearest {
        None => "There are none".into(),
        Some((d, other)) if close(d) => format!("Did you mean '{other}'? Known here: {all}"),
        Some(_) => format!("Known here: {all}"),
    }
}

/// Counts the letters to insert, remove, replace or swap with their neighbour to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_fewest_edits() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("tenant", "tennant", 1), ("tenant", "teannt", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        assert!(suggestion("tennant", &["tenant", "destination"]).starts_with("Did you mean 'tenant'?"));
        assert_eq!(suggestion("colour", &["tenant", "destination"]), "Known here: tenant, destination");
        assert_eq!(suggestion("x", &[]), "There are none");
    }
}
