//! Content lines, as iCalendar (RFC 5545, section 3.1) and vCard (RFC 6350, section 3.2) share them: `NAME;PARAM=x:value`,
//! folded at 75 octets, ended by CR LF.

/// The longest line, in octets without its end.
const LINE_OCTETS: usize = 75;

/// Writes content lines. Names of properties and parameters are ours; values may be anybody's.
#[derive(Debug, Default)]
pub(super) struct Lines {
    out: Vec<u8>,
}

impl Lines {
    /// The bytes written so far.
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn begin(&mut self, component: &str) {
        self.raw("BEGIN", &[], component);
    }

    pub(super) fn end(&mut self, component: &str) {
        self.raw("END", &[], component);
    }

    /// A line whose value is of the type TEXT; nothing, if the text is empty.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.text_with(name, &[], value);
    }

    /// The same with parameters.
    pub(super) fn text_with(&mut self, name: &str, params: &[(&str, &str)], value: &str) {
        if !value.trim().is_empty() {
            self.raw(name, params, &escape(value));
        }
    }

    /// A line whose value is several TEXTs; `between` is `,` or `;`. Nothing, if all are empty.
    pub(super) fn texts(&mut self, name: &str, params: &[(&str, &str)], between: char, values: &[&str]) {
        if values.iter().any(|value| !value.trim().is_empty()) {
            let escaped: Vec<String> = values.iter().map(|value| escape(value)).collect();
            self.raw(name, params, &escaped.join(between.encode_utf8(&mut [0; 4])));
        }
    }

    /// A line whose value is a URI; nothing, if it is none.
    pub(super) fn uri(&mut self, name: &str, params: &[(&str, &str)], value: &str) {
        let value = value.trim();
        let has_scheme = value.split_once(':').is_some_and(|(scheme, rest)| {
            !rest.is_empty()
                && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        });
        if has_scheme {
            self.raw(name, params, &percent(value, "!#$%&'()*+,-./:;=?@[]_~"));
        }
    }

    /// A line whose value stands as it is, but for what would break the line.
    pub(super) fn raw(&mut self, name: &str, params: &[(&str, &str)], value: &str) {
        let mut fold = Fold { out: &mut self.out, octets: 0 };
        fold.push(name);
        for (param, value) in params {
            fold.push(";");
            fold.push(param);
            fold.push("=");
            fold.push(&parameter(value));
        }
        fold.push(":");
        if value.chars().any(|c| c.is_control() && c != '\t') {
            fold.push(&value.replace(|c: char| c.is_control() && c != '\t', ""));
        } else {
            fold.push(value);
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

struct Fold<'a> {
    out: &'a mut Vec<u8>,
    octets: usize,
}

impl Fold<'_> {
    /// Adds text, folded between characters.
    fn push(&mut self, text: &str) {
        for c in text.chars() {
            if self.octets + c.len_utf8() > LINE_OCTETS {
                self.out.extend_from_slice(b"\r\n ");
                self.octets = 1;
            }
            self.octets += c.len_utf8();
            self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// A value of the type TEXT.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\\' | ';' | ',' => out.extend(['\\', c]),
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => out.push_str("\\n"),
            c if c.is_control() && c != '\t' => {}
            c => out.push(c),
        }
    }
    out
}

/// The value of a parameter: it has no way to hold a quotation mark (RFC 6868's is not known everywhere).
fn parameter(value: &str) -> String {
    let clean: String = value.chars().filter(|c| !c.is_control()).map(|c| if c == '"' { '\'' } else { c }).collect();
    if clean.contains([':', ';', ',']) { format!("\"{clean}\"") } else { clean }
}

/// Percent-encodes all but letters, digits and what `kept` names (RFC 3986).
pub(super) fn percent(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || kept.contains(c) {
            out.push(c);
        } else {
            c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
        }
    }
    out
}

/// The address of a mailbox as a URI (RFC 6068).
pub(super) fn mailto(address: &str) -> String {
    format!("mailto:{}", percent(address.trim(), "!#$'*+-./=?^_`{|}~@"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unfold(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n ", "")
    }

    proptest! {
        #[test]
        fn lines_are_at_most_75_octets_and_unfold_to_what_was_written(value in "\\PC{0,400}", param in "\\PC{0,90}") {
            let mut lines = Lines::default();
            lines.text_with("DESCRIPTION", &[("CN", &param)], &value);
            let bytes = lines.finish();
            for line in bytes.split(|byte| *byte == b'\n') {
                prop_assert!(line.len() <= LINE_OCTETS + 1, "{}", line.len());
                prop_assert!(std::str::from_utf8(line).is_ok(), "a character was cut");
            }
            if !value.trim().is_empty() {
                let whole = format!("DESCRIPTION;CN={}:{}\r\n", parameter(&param), escape(&value));
                prop_assert_eq!(unfold(&bytes), whole);
            }
        }

        #[test]
        fn no_value_begins_a_line_of_its_own(value in any::<String>(), param in any::<String>()) {
            let mut lines = Lines::default();
            lines.text_with("A", &[("B", &param)], &value);
            lines.uri("A", &[], &value);
            lines.raw("A", &[], &value);
            for line in unfold(&lines.finish()).split("\r\n").filter(|line| !line.is_empty()) {
                prop_assert!(line.starts_with('A') && !line.contains(['\r', '\n']), "{line:?}");
            }
        }
    }

    #[test]
    fn text_is_escaped_as_the_standards_say() {
        assert_eq!(escape("a,b;c\\d\r\ne\nf\u{7}"), "a\\,b\\;c\\\\d\\ne\\nf");
        assert_eq!(parameter("Doe, \"J\""), "\"Doe, 'J'\"");
        assert_eq!(mailto("a b@x.org"), "mailto:a%20b@x.org");
        let mut lines = Lines::default();
        lines.uri("URL", &[], "javascript");
        lines.uri("URL", &[], "https://x.org/a b\r\nX:1");
        assert_eq!(unfold(&lines.finish()), "URL:https://x.org/a%20b%0D%0AX:1\r\n");
    }
}
