//! What a set leaves out of what it selects: folders by paths, files by names, items by size and age.
//!
//! A layer between a collection's changes and the intake, so that every workload obeys. What has to be trusted:
//!
//! - An excluded item is never passed on, so its contents are never asked for; what the last snapshot had of it goes. Parts
//!   that are told before their item (who may use it, its versions) wait for it. What was taken out and comes back in the
//!   same reading had something to keep that is no longer there: the collection is read once more.
//! - A folder that moves or is renamed takes what is below it along, and no delta tells of that. So folders that are
//!   left out are remembered beside the cursors ([`memory`]), and when one is left out no longer, the collection is read
//!   once more from the beginning, in the same run. When one that was there may be left out now, or items have grown too
//!   old, the trees are looked through ([`sweep`]).
//! - Other rules than last time: everything is read from the beginning, and compared.
//!
//! In an incremental reading everything waits for the end, where all folders are known. In a reading from the beginning
//! only what is told before its folder waits.

mod filter;
mod memory;
mod sweep;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{HashMap, HashSet};

use self::filter::{Held, Told};
use self::memory::{Key, Memory, Notes};
use crate::format::codec;
use crate::format::collection::Cursors;
use crate::format::record::{ItemKind, Record};
use crate::format::snapshot::CollectionState;
use crate::snapshot::set::Exclusions;

pub(super) use self::filter::Filter;

const DAY_US: i64 = 86_400_000_000;

/// What is left out, at the time of a run.
pub(super) struct Rules {
    exclusions: Exclusions,
    now_us: i64,
}

impl Rules {
    /// Says whether a folder with this path is left out, with all below it.
    fn fit_folder(&self, path: &str) -> bool {
        self.exclusions.folders.iter().any(|glob| glob.matches(path))
    }

    /// Says whether an item is left out for what it is itself.
    fn fit_item(&self, record: &Record) -> bool {
        if record.kind.is_container() {
            return false;
        }
        let named =
            record.kind == ItemKind::File && self.exclusions.files.iter().any(|glob| glob.matches(&record.name));
        let large = self.exclusions.larger_than_bytes.is_some_and(|most| record.size_bytes > most);
        named || large || self.due_us(record).is_some_and(|due| due < self.now_us)
    }

    /// When an item will have grown too old, if there is a rule about that.
    fn due_us(&self, record: &Record) -> Option<i64> {
        let days = self.exclusions.older_than_days?;
        let time = match record.kind {
            ItemKind::Message => record.sort_us.or(record.modified_us).or(record.created_us),
            ItemKind::File => record.modified_us.or(record.created_us),
            _ => None,
        };
        Some(time?.saturating_add(i64::from(days) * DAY_US))
    }

    /// Changes whenever the rules do.
    fn print(&self) -> String {
        let hash = blake3::hash(&codec::encode(&self.exclusions));
        hash.to_hex().as_str().chars().take(16).collect()
    }
}

/// The exclusions at work in one reading of a collection.
pub(super) struct Excluding {
    rules: Rules,
    /// The folders that are left out.
    memory: Memory,
    /// The workload was given no cursors.
    from_start: bool,
    /// What is told waits for the end of the reading: an enumeration would be too much.
    waits_for_end: bool,
    /// When the collection was read last.
    last_read_us: i64,
    /// Something that is in the trees may have to go.
    sweep: bool,
    /// Something that was left out belongs in: the collection must be read once more, from the beginning.
    pub(super) again: bool,
    /// More had to wait for their folders than there is memory for.
    overflowed: bool,
    /// How many items are left out, and whether that is more than an estimate.
    left_out: u64,
    exact: bool,
    /// When the next item will have grown too old.
    due_us: Option<i64>,
    /// What was left out in this reading from the beginning.
    out: HashSet<Key>,
    /// Items that may have others below them, and were left out in this reading.
    out_with_parts: HashSet<Key>,
    /// What is known and was left out in this reading.
    taken_out: HashSet<Key>,
    /// Items with others below them that were passed on in this reading.
    passed: HashSet<Key>,
    /// The item whose parts are being told.
    telling: String,
    /// Parts that wait for their items.
    parts: Held,
    /// Folders, and items with others below them, as they were told last in this reading.
    told: HashMap<String, Told>,
    /// Folders that are in the trees, were told by nobody in this reading, and were taken to be left out for where they were.
    doubted: HashSet<String>,
    /// Paths of folders found so far; `None`: left out.
    paths: HashMap<String, Option<String>>,
    held: Held,
}

impl Excluding {
    /// Begins a reading from cursors, those of a reading that was broken off (`resumed`) or of a whole one; gives also the
    /// cursors that the workload is to go on from. `None`: nothing is left out.
    pub(super) fn begin(
        exclusions: &Exclusions,
        now_us: i64,
        previous: Option<&CollectionState>,
        mut cursors: Option<Cursors>,
        resumed: bool,
    ) -> (Option<Self>, Option<Cursors>) {
        let noted = cursors.as_mut().and_then(Notes::take);
        if exclusions.is_empty() {
            // What was left out so far is to be read.
            return (None, cursors.filter(|_| noted.is_none()));
        }
        let rules = Rules { exclusions: exclusions.clone(), now_us };
        let notes = noted.flatten().filter(|notes| notes.print == rules.print());
        let known = previous.is_some_and(|state| state.items.is_some());
        let is_usable = notes.as_ref().is_some_and(Notes::is_whole);
        let cursors = cursors.filter(|cursors| is_usable && !cursors.links.is_empty());
        let due = notes.as_ref().and_then(|notes| notes.due_us);
        let excluding = Self {
            from_start: cursors.is_none(),
            waits_for_end: cursors.is_some() && !resumed,
            last_read_us: previous.map_or(0, |state| state.read_us),
            sweep: known && (notes.is_none() || due.is_some_and(|due| due < now_us)),
            again: false,
            overflowed: false,
            left_out: notes.as_ref().filter(|_| cursors.is_some()).map_or(0, |notes| notes.left_out),
            exact: cursors.is_none() || notes.as_ref().is_none_or(|notes| notes.exact),
            due_us: due,
            memory: notes.map(Notes::memory).unwrap_or_default(),
            rules,
            out: HashSet::new(),
            out_with_parts: HashSet::new(),
            taken_out: HashSet::new(),
            passed: HashSet::new(),
            telling: String::new(),
            parts: Held::default(),
            told: HashMap::new(),
            doubted: HashSet::new(),
            paths: HashMap::new(),
            held: Held::default(),
        };
        (Some(excluding), cursors)
    }

    /// Puts beside the cursors of a finished reading what the next one has to know. If all is to be read once more, the
    /// cursors are dropped.
    pub(super) fn note(&self, cursors: &mut Cursors) {
        if self.again {
            cursors.links.clear();
        }
        Notes {
            print: self.rules.print(),
            left_out: self.left_out,
            exact: self.exact,
            due_us: self.due_us,
            // Everything will be told once more: folders wait to be told rather than be taken for what they were. Where too
            // many wait, what they were is all there is to go by.
            folders: if self.again && !self.overflowed { Memory::default().encode() } else { self.memory.encode() },
        }
        .put(cursors);
    }

    /// Says whether all that was told so far has been passed on or is left out for good.
    pub(super) fn is_settled(&self) -> bool {
        self.held.is_empty() && !self.sweep && !self.again
    }

    fn notice_due(&mut self, record: &Record) {
        self.due_us = self.due_us.into_iter().chain(self.rules.due_us(record)).min();
    }
}

/// How many items the exclusions of a set left out of a collection, and whether that is more than an estimate.
pub(super) fn left_out(state: &CollectionState) -> Option<(u64, bool)> {
    let mut cursors = state.cursors.clone()?;
    let notes = Notes::take(&mut cursors)??;
    Some((notes.left_out, notes.exact))
}

/// How many items are left out, in words; nothing for none.
pub(super) fn sentence(left_out: u64, exact: bool) -> String {
    let about = if exact { "" } else { "about " };
    match left_out {
        0 => String::new(),
        1 => format!("{about}1 item is left out by the set's exclusions"),
        many => format!("{about}{many} items are left out by the set's exclusions"),
    }
}
