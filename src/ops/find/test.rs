//! A query made ready for blocks of the search log: every test gives one bit a row.

use memchr::memmem::Finder;

use crate::error::Result;
use crate::format::record::ItemKind;
use crate::ops::find::fold::fold;
use crate::ops::find::places::PathPattern;
use crate::ops::find::query::{Field, Query, Term, has_subject, kinds_of};
use crate::ops::find::segment::{Block, Column, NO_TIME, TextColumn};
use crate::snapshot::set::Glob;

/// A bit a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mask {
    words: Vec<u64>,
    rows: usize,
}

impl Mask {
    pub(super) fn none(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)], rows }
    }

    fn of(rows: usize, is_in: impl Fn(usize) -> bool) -> Self {
        let mut mask = Self::none(rows);
        (0..rows).filter(|row| is_in(*row)).for_each(|row| mask.set(row));
        mask
    }

    fn set(&mut self, row: usize) {
        if let Some(word) = self.words.get_mut(row / 64) {
            *word |= 1 << (row % 64);
        }
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a = with(*a, *b));
    }

    fn invert(&mut self) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        if let (Some(last), rest @ 1..) = (self.words.last_mut(), self.rows % 64) {
            *last &= (1 << rest) - 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The rows that are in, ascending.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(n, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                (bit < 64).then(|| n * 64 + bit as usize)
            })
        })
    }
}

/// A query, compiled.
#[derive(Debug)]
pub(super) struct Matcher {
    root: Test,
    patterns: Vec<PathPattern>,
}

#[derive(Debug)]
enum Test {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Kinds(Vec<bool>),
    Attachments,
    Before(i64),
    After(i64),
    Size(u64, u64),
    Text(Column, Box<Needle>),
    /// A pattern for paths, by its number.
    In(usize),
}

#[derive(Debug)]
struct Needle {
    /// A piece without stars.
    literal: Finder<'static>,
    /// What the text as a whole must fit; the literal says all where there is none.
    glob: Option<Glob>,
}

impl Needle {
    /// `whole`: a pattern is one for the whole text, not for a part of it.
    fn new(text: &str, whole: bool) -> Self {
        let text = fold(text);
        let is_pattern = text.contains('*') || (whole && text.contains('?'));
        let pattern = if whole { text.to_string() } else { format!("*{text}*") };
        let glob = if is_pattern { pattern.parse::<Glob>().ok() } else { None };
        let literal = match glob {
            Some(_) => text.split(['*', '?']).max_by_key(|piece| piece.len()).unwrap_or_default(),
            None => &text,
        };
        Self { literal: Finder::new(literal.as_bytes()).into_owned(), glob }
    }

    fn rows(&self, texts: &TextColumn) -> Mask {
        let mut mask = Mask::none(texts.ends.len());
        let (mut row, mut at) = (0, 0);
        while let Some(found) = texts.bytes.get(at..).and_then(|rest| self.literal.find(rest)) {
            while texts.ends.get(row).is_some_and(|end| *end <= at + found) {
                row += 1;
            }
            let Some(end) = texts.ends.get(row) else { break };
            let fits = |glob: &Glob| texts.get(row).is_some_and(|text| glob.matches(text));
            if self.glob.as_ref().is_none_or(fits) {
                mask.set(row);
            }
            // Once a row.
            at = *end;
        }
        mask
    }
}

impl Test {
    fn of(query: &Query, patterns: &mut Vec<PathPattern>) -> Self {
        let mut parts = |parts: &[Query]| {
            let mut tests: Vec<Self> = parts.iter().map(|part| Self::of(part, patterns)).collect();
            // What costs little first: it may save the rest.
            tests.sort_by_key(Self::cost);
            tests
        };
        match query {
            Query::All(all) => Self::All(parts(all)),
            Query::Any(any) => Self::Any(parts(any)),
            Query::Not(one) => Self::Not(Box::new(Self::of(one, patterns))),
            Query::Term(term) => Self::of_term(term, patterns),
        }
    }

    fn of_term(term: &Term, patterns: &mut Vec<PathPattern>) -> Self {
        let text = |column, text: &str| Self::Text(column, Box::new(Needle::new(text, false)));
        match term {
            Term::Word(word) => {
                Self::Any(vec![text(Column::Name, word), text(Column::From, word), text(Column::Other, word)])
            }
            Term::Text(Field::From, from) => text(Column::From, from),
            Term::Text(Field::To, to) => text(Column::To, to),
            Term::Text(Field::Subject, subject) => {
                Self::All(vec![Self::kinds(has_subject), text(Column::Name, subject)])
            }
            Term::Text(Field::Name, name) => Self::Text(Column::Name, Box::new(Needle::new(name, true))),
            Term::Text(Field::In, path) => {
                patterns.push(PathPattern::new(path));
                Self::In(patterns.len() - 1)
            }
            Term::Kind(word) => {
                let kinds = kinds_of(word);
                Self::kinds(|kind| kinds.contains(&kind))
            }
            Term::HasAttachment => Self::Attachments,
            Term::Before(_, us) => Self::Before(*us),
            Term::After(_, us) => Self::After(*us),
            Term::Size(_, (least, most)) => Self::Size(*least, *most),
        }
    }

    fn kinds(is_in: impl Fn(ItemKind) -> bool) -> Self {
        Self::Kinds(ItemKind::ALL.iter().map(|kind| is_in(*kind)).collect())
    }

    fn cost(&self) -> u32 {
        match self {
            Self::Kinds(_) | Self::Attachments | Self::Before(_) | Self::After(_) | Self::Size(..) | Self::In(_) => 0,
            Self::Text(..) => 1,
            Self::Not(one) => one.cost(),
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::cost).sum(),
        }
    }

    /// `places`: for each pattern, whether each place of the block fits it.
    fn mask(&self, block: &mut Block<'_>, places: &[Vec<bool>]) -> Result<Mask> {
        let rows = block.rows();
        Ok(match self {
            Self::All(parts) => {
                let mut all = Mask::none(rows);
                all.invert();
                for part in parts {
                    all.combine(&part.mask(block, places)?, |a, b| a & b);
                    if all.is_empty() {
                        break;
                    }
                }
                all
            }
            Self::Any(parts) => {
                let mut any = Mask::none(rows);
                for part in parts {
                    any.combine(&part.mask(block, places)?, |a, b| a | b);
                }
                any
            }
            Self::Not(one) => {
                let mut mask = one.mask(block, places)?;
                mask.invert();
                mask
            }
            Self::Text(column, needle) => needle.rows(block.text(*column)?),
            Self::Attachments => {
                let columns = block.columns()?;
                Mask::of(rows, |row| columns.has_attachments(row))
            }
            Self::Kinds(kinds) => {
                let columns = block.columns()?;
                let kind = |row: usize| columns.kinds.get(row).and_then(|kind| kinds.get(usize::from(*kind)));
                Mask::of(rows, |row| kind(row) == Some(&true))
            }
            Self::Before(us) => {
                let columns = block.columns()?;
                Mask::of(rows, |row| columns.times.get(row).is_some_and(|time| *time != NO_TIME && time < us))
            }
            Self::After(us) => {
                let columns = block.columns()?;
                Mask::of(rows, |row| columns.times.get(row).is_some_and(|time| *time != NO_TIME && time >= us))
            }
            Self::Size(least, most) => {
                let columns = block.columns()?;
                Mask::of(rows, |row| columns.sizes.get(row).is_some_and(|size| (*least..=*most).contains(size)))
            }
            Self::In(number) => {
                let columns = block.columns()?;
                let fits = places.get(*number).map(Vec::as_slice).unwrap_or_default();
                let place = |row: usize| columns.places.get(row).and_then(|place| fits.get(usize::from(*place)));
                Mask::of(rows, |row| place(row) == Some(&true))
            }
        })
    }
}

impl Matcher {
    pub(super) fn new(query: &Query) -> Self {
        let mut patterns = Vec::new();
        Self { root: Test::of(query, &mut patterns), patterns }
    }

    /// The patterns for paths.
    pub(super) fn patterns(&self) -> &[PathPattern] {
        &self.patterns
    }

    /// Says which rows of a block match. `places`: for each pattern, whether each place of the block fits it.
    ///
    /// # Errors
    /// `Corrupt`; the disk's.
    pub(super) fn mask(&self, block: &mut Block<'_>, places: &[Vec<bool>]) -> Result<Mask> {
        self.root.mask(block, places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(needle: &str, whole: bool, texts: &[&str]) -> Vec<usize> {
        let mut column = TextColumn { bytes: Vec::new(), ends: Vec::new() };
        for text in texts {
            column.bytes.extend_from_slice(fold(text).as_bytes());
            column.bytes.push(0);
            column.ends.push(column.bytes.len());
        }
        Needle::new(needle, whole).rows(&column).rows().collect()
    }

    #[test]
    fn a_needle_is_found_in_each_text_by_itself() {
        let texts = ["Invoice 7", "", "an INVOICE, an invoice", "voice", "in", "Plan.docx", "docx plans", "50% off?"];
        for (needle, whole, found) in [
            ("invoice", false, &[0usize, 2][..]),
            ("VOICE", false, &[0, 2, 3]),
            ("in*7", false, &[0]),
            ("*.docx", true, &[5]),
            ("plan.do?x", true, &[5]),
            ("plan*", true, &[5]),
            ("*", true, &[0, 1, 2, 3, 4, 5, 6, 7]),
            ("off?", false, &[7]),
            ("7an", false, &[]),
        ] {
            assert_eq!(rows(needle, whole, &texts), found, "{needle}");
        }
    }

    #[test]
    fn an_inverted_mask_has_no_more_rows_than_there_are() {
        for rows in [0, 1, 63, 64, 65, 130] {
            let mut mask = Mask::of(rows, |row| row % 3 == 0);
            mask.invert();
            assert_eq!(mask.rows().collect::<Vec<_>>(), (0..rows).filter(|row| row % 3 != 0).collect::<Vec<_>>());
        }
    }
}
