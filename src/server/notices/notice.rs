//! What is told, as mails, webhooks and pages show it.

use maud::{DOCTYPE, html};
use serde::{Deserialize, Serialize};

/// Longer texts are cut: some come from far.
const LONGEST: usize = 2_000;

/// Something that a receiver is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notice {
    /// What kind of event it is: `run.complete`, `run.failed`, `secret.ends`, …
    pub(crate) event: String,
    /// When it was: microseconds since 1970 UTC.
    pub(crate) at_us: i64,
    /// The account's name.
    pub(crate) account: String,
    /// One sentence.
    pub(crate) title: String,
    /// Names and values.
    #[serde(default)]
    pub(crate) facts: Vec<(String, String)>,
    /// More, a line each.
    #[serde(default)]
    pub(crate) details: Vec<String>,
    /// The page that says more: its path.
    #[serde(default)]
    pub(crate) path: String,
}

impl Notice {
    /// One with a title alone.
    pub(crate) fn new(event: &str, at_us: i64, account: &str, title: String) -> Self {
        Self {
            event: event.to_owned(),
            at_us,
            account: account.to_owned(),
            title,
            facts: Vec::new(),
            details: Vec::new(),
            path: String::new(),
        }
    }

    /// Adds a fact.
    pub(super) fn fact(mut self, name: &str, value: impl Into<String>) -> Self {
        self.facts.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a line.
    pub(super) fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// Names the page that says more.
    pub(super) fn page(mut self, path: String) -> Self {
        self.path = path;
        self
    }

    /// The subject of its mail: one line, whatever names hold.
    pub(super) fn subject(&self) -> String {
        let line = one_line(&format!("{}: {}", self.account, self.title));
        line.chars().take(200).collect()
    }

    /// The text of its mail.
    pub(super) fn text(&self, link: &str) -> String {
        let mut text = format!("{}\n", one_line(&self.title));
        if !self.facts.is_empty() {
            text.push('\n');
        }
        for (name, value) in &self.facts {
            text.push_str(&format!("{}: {}\n", one_line(name), one_line(value)));
        }
        if !self.details.is_empty() {
            text.push('\n');
        }
        for line in &self.details {
            text.push_str(&format!("- {}\n", one_line(line)));
        }
        if !link.is_empty() {
            text.push_str(&format!("\n{link}\n"));
        }
        text.push_str(&format!("\nTenantvault, for the account {}\n", one_line(&self.account)));
        text
    }

    /// The same for those who read mails as HTML. No picture, nothing that is loaded, nothing that counts readers.
    pub(super) fn html(&self, link: &str) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head { meta charset="utf-8"; title { (self.title) } }
                body style="font-family: sans-serif; line-height: 1.5; max-width: 40rem" {
                    h1 style="font-size: 1.2rem" { (self.title) }
                    @if !self.facts.is_empty() {
                        table { @for (name, value) in &self.facts { tr {
                            th scope="row" style="text-align: left; padding-right: 1rem; font-weight: normal" { (name) }
                            td { (value) }
                        } } }
                    }
                    @if !self.details.is_empty() { ul { @for line in &self.details { li { (one_line(line)) } } } }
                    @if !link.is_empty() { p { a href=(link) { "Open in Tenantvault" } } }
                    p style="font-size: .85rem" { "Tenantvault, for the account " (self.account) }
                }
            }
        }
        .into_string()
    }
}

/// Text without line ends and other signs that are none of a line's, and not without end.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .take(LONGEST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_mail_is_of_one_line_each() {
        let notice = Notice::new("x", 0, "Con\r\nBcc: a@b.c", "no\nX: y\u{2028}z".to_owned()).fact("a\nb", "c\rd");
        assert_eq!(notice.subject(), "Con  Bcc: a@b.c: no X: y z");
        let text = notice.text("");
        assert!(text.contains("a b: c d\n") && !text.contains('\r') && !text.contains("\nX"), "{text:?}");
    }
}
