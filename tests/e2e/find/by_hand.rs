//! A search that looks at every record of every snapshot, one by one.

use std::collections::BTreeMap;

use tenantvault::format::record::{ItemKind, Record};
use tenantvault::ops::find::{Field, Query, Term};
use tenantvault::ops::present::{Face, Mode, names};
use tenantvault::snapshot::store::Snapshot;

use super::world::{Items, World};

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub newest: usize,
    pub first: usize,
    pub last: usize,
    pub count: usize,
    pub in_latest: bool,
}

type Id = (String, String, String);

pub fn by_hand(world: &World, wanted: &dyn Fn(&Snapshot) -> bool, query: &Query) -> BTreeMap<Id, Answer> {
    let mut held: BTreeMap<Id, (Vec<usize>, Vec<usize>, bool)> = BTreeMap::new();
    let last = world.days.len().saturating_sub(1);
    for (day, of) in world.days.iter().enumerate() {
        for (key, items) in &of.collections {
            for record in items.1.values() {
                let id = (of.snapshot.file.set_name.clone(), key.clone(), record.id.clone());
                let (there, matching, in_latest) = held.entry(id).or_default();
                *in_latest |= day == last;
                if wanted(&of.snapshot) {
                    there.push(day);
                    if matches(query, record, items) {
                        matching.push(day);
                    }
                }
            }
        }
    }
    let answer = |(there, matching, in_latest): (Vec<usize>, Vec<usize>, bool)| {
        Some(Answer {
            newest: *matching.last()?,
            first: *there.first()?,
            last: *there.last()?,
            count: there.len(),
            in_latest,
        })
    };
    held.into_iter().filter_map(|(id, days)| Some((id, answer(days)?))).collect()
}

fn fold(text: &str) -> String {
    text.to_lowercase().replace("e\u{301}", "é")
}

fn matches(query: &Query, record: &Record, items: &Items) -> bool {
    match query {
        Query::All(parts) => parts.iter().all(|part| matches(part, record, items)),
        Query::Any(parts) => parts.iter().any(|part| matches(part, record, items)),
        Query::Not(part) => !matches(part, record, items),
        Query::Term(term) => term_matches(term, record, items),
    }
}

fn term_matches(term: &Term, record: &Record, items: &Items) -> bool {
    let part = |text: &str, of: &str| {
        let text = fold(text);
        if text.contains('*') { like(&format!("*{text}*"), &fold(of)) } else { fold(of).contains(&text) }
    };
    let fact = |name: &str, text: &str| record.fact(name).is_some_and(|value| part(text, value));
    let time = record.sort_us.or(record.modified_us);
    match term {
        Term::Word(text) => part(text, &record.name) || fact("from", text),
        Term::Text(Field::From, text) => fact("from", text),
        Term::Text(Field::To, text) => fact("to", text),
        Term::Text(Field::Subject, text) => {
            matches!(record.kind, ItemKind::Message | ItemKind::Event) && part(text, &record.name)
        }
        Term::Text(Field::Name, text) if text.contains(['*', '?']) => like(&fold(text), &fold(&record.name)),
        Term::Text(Field::Name, text) => part(text, &record.name),
        Term::Text(Field::In, text) => is_in(text, record, items),
        Term::Kind(word) if word == "folder" => record.kind == ItemKind::MailFolder,
        Term::Kind(word) => record.kind.word() == word,
        Term::HasAttachment => record.fact("attachments").is_some(),
        Term::Before(_, us) => time.is_some_and(|time| time < *us),
        Term::After(_, us) => time.is_some_and(|time| time >= *us),
        Term::Size(_, (least, most)) => (*least..=*most).contains(&record.size_bytes),
    }
}

fn is_in(pattern: &str, record: &Record, (name, items): &Items) -> bool {
    let mut folders = Vec::new();
    let mut parent = items.get(&record.parent);
    while let Some(folder) = parent {
        folders.push(names::component(folder, Face::Item, Mode::Presented));
        parent = items.get(&folder.parent);
    }
    let path: Vec<String> =
        name.split('/').map(str::to_owned).chain(folders.into_iter().rev()).map(|part| fold(&part)).collect();
    let wanted: Vec<String> = pattern.split('/').filter(|part| !part.is_empty()).map(fold).collect();
    let last = path.len().checked_sub(wanted.len()).map(|last| if pattern.starts_with('/') { 0 } else { last });
    last.is_some_and(|last| (0..=last).any(|at| wanted.iter().zip(&path[at..]).all(|(glob, part)| like(glob, part))))
}

fn like(glob: &str, text: &str) -> bool {
    let mut rest = glob.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| like(rest.as_str(), &text[at..]))
        }
        Some(c) => {
            text.chars().next().is_some_and(|d| (c == '?' || c == d) && like(rest.as_str(), &text[d.len_utf8()..]))
        }
    }
}
