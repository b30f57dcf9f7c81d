//! What one reading of a collection has seen so far. An item may be told twice, by two folders, or again after a
//! restart; the last telling counts, and an item told twice alike is passed on once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::facts::IdKey;
use crate::format::record::Record;

/// Between ids that are kept as one text.
const BETWEEN: char = '\0';

/// Items seen in this reading: about 50 bytes an item, whatever the length of its id.
#[derive(Default)]
pub(super) struct SeenItems {
    items: HashMap<IdKey, Seen>,
    walk: u32,
}

/// How an item was seen last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Where: the number of a folder, or what stands for its id ([`place_of`]).
    pub(super) place: u32,
    /// A fingerprint of what was told.
    pub(super) print: u64,
    fetched: bool,
    gone: bool,
    walk: u32,
}

impl SeenItems {
    /// Says how an item was seen last; `None` if it was not seen, or is no longer there.
    pub(super) fn get(&self, id: &str) -> Option<Seen> {
        self.items.get(&IdKey::of(id)).copied().filter(|seen| !seen.gone)
    }

    /// Says whether an item was told at all in this reading, and be it that it has gone since.
    pub(super) fn was_told(&self, id: &str) -> bool {
        self.items.contains_key(&IdKey::of(id))
    }

    /// Says whether the contents of an item were asked for in this reading: the previous snapshot lacks them.
    pub(super) fn was_fetched(&self, id: &str) -> bool {
        self.items.get(&IdKey::of(id)).is_some_and(|seen| seen.fetched)
    }

    /// Notes that an item is at a place.
    pub(super) fn put(&mut self, id: &str, place: u32, print: u64, fetched: bool) {
        let (walk, key) = (self.walk, IdKey::of(id));
        let fetched = fetched || self.items.get(&key).is_some_and(|seen| seen.fetched);
        self.items.insert(key, Seen { place, print, fetched, gone: false, walk });
    }

    /// Notes that an item is no longer there.
    pub(super) fn forget(&mut self, id: &str) {
        if let Some(seen) = self.items.get_mut(&IdKey::of(id)) {
            seen.gone = true;
        }
    }

    /// Begins to enumerate again: what was seen before counts no longer as seen by the walk.
    pub(super) fn begin_walk(&mut self) {
        self.walk += 1;
    }

    /// Says whether the current walk saw the item.
    pub(super) fn in_walk(&self, id: &str) -> bool {
        self.get(id).is_some_and(|seen| seen.walk == self.walk)
    }

    /// Says whether items of a place were seen before the current walk began, and not by it.
    pub(super) fn has_phantoms(&self, place: u32, since_walk: u32) -> bool {
        since_walk < self.walk
            && self
                .items
                .values()
                .any(|seen| !seen.gone && seen.place == place && seen.walk >= since_walk && seen.walk < self.walk)
    }

    /// The number of the current walk.
    pub(super) fn walk(&self) -> u32 {
        self.walk
    }
}

/// What a reading told below items that are no folders (attachments, versions, exceptions of a series): an item told a
/// second time may have less below it, or be gone with all of it. Held small: one text an item.
#[derive(Default)]
pub(super) struct ToldBelow {
    items: HashMap<IdKey, String>,
}

impl ToldBelow {
    /// Begins to note what is told below an item.
    pub(super) fn open(&mut self, item: &str) {
        self.items.entry(IdKey::of(item)).or_default();
    }

    /// Notes that something is told below an item, if that was begun. Told again, it is noted again.
    pub(super) fn note(&mut self, item: &str, id: &str) {
        let Some(told) = self.items.get_mut(&IdKey::of(item)) else { return };
        told.push_str(shortened(item, id));
        told.push(BETWEEN);
    }

    /// Notes all that is below an item now, in the place of what was.
    pub(super) fn set<'a>(&mut self, item: &str, ids: impl Iterator<Item = &'a str>) {
        self.items.remove(&IdKey::of(item));
        for id in ids {
            self.open(item);
            self.note(item, id);
        }
    }

    /// The ids of what was told below an item.
    pub(super) fn of(&self, item: &str) -> Vec<String> {
        let told = self.items.get(&IdKey::of(item)).map(|told| told.split(BETWEEN)).into_iter().flatten();
        told.filter(|id| !id.is_empty())
            .map(|id| if id.starts_with('/') { format!("{item}{id}") } else { id.to_owned() })
            .collect()
    }
}

/// Most ids of parts begin with that of their item, and a slash.
fn shortened<'a>(item: &str, id: &'a str) -> &'a str {
    id.strip_prefix(item).filter(|rest| rest.len() > 1 && rest.starts_with('/')).unwrap_or(id)
}

/// The place of what hangs directly below a parent; good within one process only.
pub(super) fn place_of(parent: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    parent.hash(&mut hasher);
    (hasher.finish() >> 32) as u32
}

/// A fingerprint of what is told of an item; good within one process only.
pub(super) fn print_of(record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&record.parent, &record.name, record.kind, &record.version).hash(&mut hasher);
    (record.created_us, record.modified_us, record.sort_us, record.size_bytes).hash(&mut hasher);
    record.summary.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_below_an_item_is_kept_apart_from_other_items() {
        let mut told = ToldBelow::default();
        told.note("a", "a/0");
        assert!(told.of("a").is_empty(), "it was not begun");
        told.open("a");
        told.open("ab");
        ["a/1", "x", "a/1", "a/"].iter().for_each(|id| told.note("a", id));
        told.note("ab", "ab/3");
        assert_eq!(
            (told.of("a"), told.of("ab")),
            (vec!["a/1".into(), "x".into(), "a/1".into(), "a/".into()], vec!["ab/3".into()])
        );
        told.set("a", ["a/2"].into_iter());
        assert_eq!(told.of("a"), ["a/2"]);
        told.set("a", std::iter::empty());
        assert!(told.of("a").is_empty() && told.items.len() == 1);
    }

    #[test]
    fn only_what_an_aborted_walk_saw_and_the_next_did_not_is_a_phantom() {
        let mut seen = SeenItems::default();
        seen.put("elsewhere", 1, 0, false);
        seen.begin_walk();
        let first = seen.walk();
        seen.put("a", 7, 0, true);
        seen.put("b", 7, 0, true);
        assert!(!seen.has_phantoms(7, first));
        seen.begin_walk();
        seen.put("a", 7, 0, true);
        assert!(seen.has_phantoms(7, first) && !seen.in_walk("b") && seen.in_walk("a"));
        seen.put("b", 7, 0, true);
        assert!(!seen.has_phantoms(7, first) && !seen.has_phantoms(1, first));
        seen.forget("a");
        assert!(seen.get("a").is_none() && seen.was_told("a") && seen.was_fetched("a") && !seen.was_told("c"));
        seen.put("a", 7, 0, false);
        assert!(seen.was_fetched("a"), "its contents differ from those of the previous snapshot since");
    }
}
