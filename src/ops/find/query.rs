//! Queries: what people type after `find`, read into an expression, and written out again.
//!
//! ```text
//! query := all                      terms side by side: all of them
//! all   := any+
//! any   := one ("OR" one)*          OR binds closer than standing side by side, as in web searches
//! one   := "-" one | "(" all ")" | [filter ":"] (word | "quoted text")
//! ```

use std::fmt;

use crate::error::Error;
use crate::format::record::ItemKind;
use crate::ops::find::values::{self, Here};

/// Parentheses and minus signs deeper than this are refused.
const DEEPEST: usize = 50;

/// The filters, and what each takes.
const FILTERS: &[(&str, &str)] = &[
    ("from", "a part of a name or address"),
    ("to", "a part of a name or address"),
    ("subject", "a part of a subject"),
    ("name", "a part of a name, or a pattern for all of it: *.docx"),
    ("in", "a folder, a mailbox, or a path: Inbox, alice@contoso.com, /sites/*/Documents"),
    ("kind", "message, event, contact, file, folder, …"),
    ("has", "attachment"),
    ("before", "a day or time: 2026-11-01, 30d"),
    ("after", "a day or time: 2026-11-01, 30d"),
    ("size", "a size: >10MB, <1MB, 1MB..5MB"),
];

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// All of these, two or more.
    All(Vec<Self>),
    /// Any of these, two or more.
    Any(Vec<Self>),
    /// What this does not match.
    Not(Box<Self>),
    /// A term.
    Term(Term),
}

/// The smallest part of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// A text in the name, the subject or the sender.
    Word(String),
    /// A text in one place.
    Text(Field, String),
    /// A kind of item, by its word.
    Kind(String),
    /// It has attachments.
    HasAttachment,
    /// Its time is before this one (text as typed; microseconds since 1970 UTC).
    Before(String, i64),
    /// Its time is this one or later.
    After(String, i64),
    /// Its size is between these, both included (text as typed).
    Size(String, (u64, u64)),
}

/// Where a text is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Who sent, organised, made or changed it.
    From,
    /// Who got it.
    To,
    /// The subject of what has one.
    Subject,
    /// The name.
    Name,
    /// The path of what holds it.
    In,
}

impl Field {
    fn word(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
            Self::Subject => "subject",
            Self::Name => "name",
            Self::In => "in",
        }
    }
}

/// What is wrong with a query, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Where: characters before the spot.
    pub at: usize,
}

impl QueryError {
    /// Makes an `InvalidInput` error of it.
    pub fn into_error(self) -> Error {
        Error::invalid(format!("{}, at character {} of the query", self.message, self.at + 1)).with_hint(self.hint)
    }
}

/// Item kinds that have a subject.
pub(super) fn has_subject(kind: ItemKind) -> bool {
    use ItemKind::{ChatMessage, Event, Message, Post, Thread};
    matches!(kind, Message | Event | Post | Thread | ChatMessage)
}

/// The kinds that a word of `kind:` means; none: it is no such word.
pub(super) fn kinds_of(word: &str) -> Vec<ItemKind> {
    use ItemKind::{
        Calendar, CalendarGroup, ChatMessage, ContactFolder, Folder, MailFolder, MailSearchFolder, Message, Package,
    };
    match word.to_ascii_lowercase().replace('-', "_").as_str() {
        "mail" | "email" => vec![Message],
        "folder" => vec![MailFolder, MailSearchFolder, Folder, Package, ContactFolder, CalendarGroup, Calendar],
        "teams" | "chat_messages" => vec![ChatMessage],
        word => ItemKind::ALL.iter().copied().filter(|kind| kind.word() == word).collect(),
    }
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// What is wrong first, and where.
    pub fn parse(text: &str, here: &Here) -> Result<Self, QueryError> {
        let mut parser = Parser { chars: text.chars().collect(), at: 0, here };
        parser.skip_blanks();
        if parser.is_at_end() {
            return Err(parser.wrong(0, "The query is empty", "Say what to look for: invoice, from:dana, name:*.docx"));
        }
        let query = parser.all(0)?;
        match parser.peek() {
            None => Ok(query),
            Some(_) => {
                Err(parser.wrong(parser.at, "Nothing was opened that this closes", "Put it in quotes to search for it"))
            }
        }
    }
}

struct Parser<'a> {
    chars: Vec<char>,
    at: usize,
    here: &'a Here,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.chars.len()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn wrong(&self, at: usize, message: impl Into<String>, hint: impl Into<String>) -> QueryError {
        QueryError { message: message.into(), hint: hint.into(), at: at.min(self.chars.len()) }
    }

    fn all(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut parts = vec![self.any(depth)?];
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(')') => return Ok(if parts.len() > 1 { Query::All(parts) } else { parts.remove(0) }),
                Some(_) => parts.push(self.any(depth)?),
            }
        }
    }

    fn any(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut parts = vec![self.one(depth)?];
        while let Some(or) = self.take_or() {
            self.skip_blanks();
            if matches!(self.peek(), None | Some(')')) {
                return Err(self.wrong(or, "Nothing comes after this OR", "Put it in quotes to search for the word"));
            }
            parts.push(self.one(depth)?);
        }
        Ok(if parts.len() > 1 { Query::Any(parts) } else { parts.remove(0) })
    }

    /// Says whether an `OR` stands here.
    fn is_or(&self) -> bool {
        let ends = |c: Option<&char>| c.is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')'));
        self.chars.get(self.at..self.at + 2) == Some(&['O', 'R']) && ends(self.chars.get(self.at + 2))
    }

    fn take_or(&mut self) -> Option<usize> {
        let before = self.at;
        self.skip_blanks();
        if self.is_or() {
            self.at += 2;
            return Some(self.at - 2);
        }
        self.at = before;
        None
    }

    fn one(&mut self, depth: usize) -> Result<Query, QueryError> {
        self.skip_blanks();
        let start = self.at;
        if depth > DEEPEST {
            return Err(self.wrong(start, "The query is nested too deeply", "Write it flatter"));
        }
        if self.is_or() {
            let hint = "Put a term before and after OR, or put it in quotes to search for the word";
            return Err(self.wrong(start, "Nothing comes before this OR", hint));
        }
        match self.peek() {
            Some('-') => {
                self.at += 1;
                match self.peek() {
                    Some(c) if !c.is_whitespace() && c != ')' => Ok(Query::Not(Box::new(self.one(depth + 1)?))),
                    _ => Err(self.wrong(
                        start,
                        "Nothing comes after this minus",
                        "-draft leaves out what matches 'draft'",
                    )),
                }
            }
            Some('(') => {
                self.at += 1;
                self.skip_blanks();
                if self.peek() == Some(')') {
                    return Err(self.wrong(
                        start,
                        "Nothing is in these parentheses",
                        "Put them in quotes to search for them",
                    ));
                }
                if self.is_at_end() {
                    return Err(self.unclosed(start));
                }
                let inner = self.all(depth + 1)?;
                self.skip_blanks();
                if self.peek() != Some(')') {
                    return Err(self.unclosed(start));
                }
                self.at += 1;
                Ok(inner)
            }
            Some(')') => {
                Err(self.wrong(start, "Nothing was opened that this closes", "Put it in quotes to search for it"))
            }
            _ => self.term().map(Query::Term),
        }
    }

    fn unclosed(&self, start: usize) -> QueryError {
        self.wrong(start, "This parenthesis is never closed", "Close it with ), or put it in quotes to search for it")
    }

    fn term(&mut self) -> Result<Term, QueryError> {
        let start = self.at;
        let Some(filter) = self.filter() else {
            return self.value().map(Term::Word);
        };
        let known = FILTERS.iter().find(|(name, _)| filter.eq_ignore_ascii_case(name));
        let Some((name, takes)) = known else {
            let names: Vec<&str> = FILTERS.iter().map(|(name, _)| *name).collect();
            let hint = format!("There are {}; put it in quotes to search for the text", names.join(", "));
            return Err(self.wrong(start, format!("There is no filter '{filter}:'"), hint));
        };
        let place = self.at;
        if self.peek().is_none_or(|c| c.is_whitespace() || c == ')') {
            return Err(self.wrong(place, format!("Nothing comes after '{name}:'"), format!("It takes {takes}")));
        }
        let value = self.value()?;
        let refused = || self.wrong(place, format!("'{name}:' does not take '{value}'"), format!("It takes {takes}"));
        Ok(match *name {
            "from" => Term::Text(Field::From, value),
            "to" => Term::Text(Field::To, value),
            "subject" => Term::Text(Field::Subject, value),
            "name" => Term::Text(Field::Name, value),
            "in" if value.split('/').all(str::is_empty) => return Err(refused()),
            "in" => Term::Text(Field::In, value),
            "kind" if kinds_of(&value).is_empty() => {
                let words: Vec<&str> = ItemKind::ALL.iter().map(|kind| kind.word()).collect();
                return Err(QueryError { hint: format!("The kinds are mail, {}", words.join(", ")), ..refused() });
            }
            "kind" => Term::Kind(value),
            "has" if matches!(value.to_ascii_lowercase().as_str(), "attachment" | "attachments") => Term::HasAttachment,
            "before" => {
                values::moment(&value, self.here).map(|us| Term::Before(value.clone(), us)).ok_or_else(refused)?
            }
            "after" => {
                values::moment(&value, self.here).map(|us| Term::After(value.clone(), us)).ok_or_else(refused)?
            }
            "size" => values::size_range(&value).map(|range| Term::Size(value.clone(), range)).ok_or_else(refused)?,
            _ => return Err(refused()),
        })
    }

    /// Takes letters and the colon after them. `12:30` and `https://x` are words.
    fn filter(&mut self) -> Option<String> {
        let rest = self.chars.get(self.at..)?;
        let colon = rest.iter().position(|c| !c.is_alphabetic())?;
        if colon == 0 || rest.get(colon) != Some(&':') {
            return None;
        }
        let name: String = rest.iter().take(colon).collect();
        let is_known = FILTERS.iter().any(|(known, _)| name.eq_ignore_ascii_case(known));
        if !is_known && rest.get(colon + 1..colon + 3) == Some(&['/', '/']) {
            return None;
        }
        self.at += colon + 1;
        Some(name)
    }

    /// Takes a word, or a text in quotes. In a word, parentheses belong to it where they match; quotes never do.
    fn value(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        let mut out = String::new();
        if self.peek() == Some('"') {
            self.at += 1;
            while let Some(c) = self.peek() {
                self.at += 1;
                match c {
                    '"' if out.is_empty() => {
                        return Err(self.wrong(start, "These quotes are empty", "Put a text in them"));
                    }
                    '"' if self.peek().is_some_and(|c| !c.is_whitespace() && c != ')') => {
                        return Err(self.wrong(
                            self.at,
                            "A blank is missing after the quotes",
                            "In quotes, a quote is \\\"",
                        ));
                    }
                    '"' => return Ok(out),
                    '\\' if matches!(self.peek(), Some('"' | '\\')) => {
                        out.extend(self.peek());
                        self.at += 1;
                    }
                    c => out.push(c),
                }
            }
            return Err(self.wrong(
                start,
                "These quotes are never closed",
                "Close them with \", or write \\\" for a quote",
            ));
        }
        let mut open = Vec::new();
        while let Some(c) = self.peek() {
            match c {
                c if c.is_whitespace() => break,
                '(' => open.push(self.at),
                ')' if open.is_empty() => break,
                ')' => drop(open.pop()),
                '"' => {
                    let hint = "Put a blank before it, or all of it in quotes: in quotes, a quote is \\\"";
                    return Err(self.wrong(self.at, "This quote stands within a word", hint));
                }
                _ => {}
            }
            out.push(c);
            self.at += 1;
        }
        match open.first() {
            Some(first) => Err(self.unclosed(*first)),
            None => Ok(out),
        }
    }
}

impl fmt::Display for Query {
    /// Writes the query so that it reads as the same one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |f: &mut fmt::Formatter<'_>, part: &Self, closed: bool| {
            if closed { write!(f, "({part})") } else { write!(f, "{part}") }
        };
        match self {
            Self::All(parts) => {
                for (n, one) in parts.iter().enumerate() {
                    f.write_str(if n > 0 { " " } else { "" })?;
                    part(f, one, matches!(one, Self::All(_)))?;
                }
                Ok(())
            }
            Self::Any(parts) => {
                for (n, one) in parts.iter().enumerate() {
                    f.write_str(if n > 0 { " OR " } else { "" })?;
                    part(f, one, matches!(one, Self::All(_) | Self::Any(_)))?;
                }
                Ok(())
            }
            Self::Not(one) => {
                f.write_str("-")?;
                part(f, one, matches!(**one, Self::All(_) | Self::Any(_)))
            }
            Self::Term(term) => term.fmt(f),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) => f.write_str(&quoted(text)),
            Self::Text(field, text) => write!(f, "{}:{}", field.word(), quoted(text)),
            Self::Kind(word) => write!(f, "kind:{}", quoted(word)),
            Self::HasAttachment => f.write_str("has:attachment"),
            Self::Before(text, _) => write!(f, "before:{}", quoted(text)),
            Self::After(text, _) => write!(f, "after:{}", quoted(text)),
            Self::Size(text, _) => write!(f, "size:{}", quoted(text)),
        }
    }
}

/// A text in quotes, unless it is a plain word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '@' | '_' | '*' | '/' | '>' | '<' | '=');
    if !text.is_empty() && text != "OR" && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
