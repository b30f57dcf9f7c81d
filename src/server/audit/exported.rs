//! An exported audit log, looked through without the server: entries as the API gives them. Each carries its own hash and that
//! of the entry before it, so that also an account's entries, between which others' lie, can be held against their hashes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Entry;
use crate::error::{Error, Result};

/// What looking through a log found: every entry is as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFound {
    /// How many entries there are.
    pub entries: u64,
    /// The number of the first.
    pub first: i64,
    /// The number of the last.
    pub last: i64,
    /// The hash of the last. Who keeps it elsewhere sees later whether what was there then was changed.
    pub hash: String,
    /// Entries between the first and the last that were not given: other accounts', or left out.
    pub others: u64,
}

/// An entry as the API gives it.
#[derive(Deserialize)]
struct Line {
    number: i64,
    at_us: i64,
    account: Option<String>,
    actor: String,
    address: String,
    action: String,
    object: String,
    detail: Value,
    previous: String,
    hash: String,
}

impl From<Line> for Entry {
    fn from(line: Line) -> Self {
        Self {
            number: line.number,
            at_us: line.at_us,
            account: line.account,
            actor: line.actor,
            address: line.address,
            action: line.action,
            object: line.object,
            detail: line.detail.to_string(),
            previous: line.previous,
            hash: line.hash,
        }
    }
}

/// An answer of the API, a list, or an entry by itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Exported {
    Answer { items: Vec<Line> },
    List(Vec<Line>),
    One(Box<Line>),
}

/// Why an entry is not believed.
pub(super) fn broken(number: i64) -> Error {
    Error::corrupt(format!("Entry {number} of the audit log is not as it was written, or the one before it is missing"))
        .with_hint("Compare it with an export that somebody else keeps")
}

/// Why a whole log is not believed.
pub(super) fn cut() -> Error {
    Error::corrupt(
        "No entry has the hash that was kept: the log is another one, or was cut off before it and written anew",
    )
    .with_hint("Compare it with an export that somebody else keeps")
}

/// Looks through exported entries: texts of JSON, as the API answers, one after another, in any order. `known`: a hash that was
/// kept elsewhere, which one of the entries must have.
///
/// # Errors
/// `InvalidInput` for what is no export; `Corrupt` naming the first entry that is not as it was written.
pub fn look_through_exported(texts: &[(String, String)], known: Option<&str>) -> Result<AuditFound> {
    let mut all: BTreeMap<i64, Entry> = BTreeMap::new();
    for (name, text) in texts {
        for part in serde_json::Deserializer::from_str(text).into_iter::<Exported>() {
            let part = part.map_err(|e| {
                Error::invalid(format!("{name} is no export of an audit log"))
                    .with_hint("Give what GET /api/v1/audit, or an account's, answered")
                    .with_source(e)
            })?;
            let lines = match part {
                Exported::Answer { items } | Exported::List(items) => items,
                Exported::One(line) => vec![*line],
            };
            for entry in lines.into_iter().map(Entry::from) {
                // Pages that overlap have the same entry twice.
                let number = entry.number;
                if all.get(&number).is_some_and(|before| *before != entry) {
                    return Err(broken(number));
                }
                all.insert(number, entry);
            }
        }
    }
    // Who was given entries of several accounts was given them all.
    let of_one = all.values().all(|entry| all.values().next().is_some_and(|first| first.account == entry.account));
    let mut others = 0;
    let mut before: Option<&Entry> = None;
    for entry in all.values() {
        let follows = match before {
            Some(before) if before.number + 1 == entry.number => before.hash == entry.previous,
            Some(before) if of_one => {
                others += u64::try_from(entry.number - before.number - 1).unwrap_or_default();
                true
            }
            Some(_) => false,
            None => entry.number > 1 || entry.previous == super::BEGINNING,
        };
        if !follows || entry.hash != entry.digest() {
            return Err(broken(entry.number));
        }
        before = Some(entry);
    }
    if known.is_some_and(|known| !all.values().any(|entry| entry.hash == known)) {
        return Err(cut());
    }
    Ok(AuditFound {
        entries: all.len() as u64,
        first: all.keys().next().copied().unwrap_or_default(),
        last: before.map_or(0, |entry| entry.number),
        hash: before.map(|entry| entry.hash.clone()).unwrap_or_default(),
        others,
    })
}
