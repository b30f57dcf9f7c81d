//! What a reading leaves for the next one to know about exclusions: kept beside the cursors, under a name that no
//! workload uses.
//!
//! Folders that are left out are not in the trees, and a delta that tells a file names only its folder's id. So all of
//! them are remembered: those that a rule names with parent and name, so that they can be judged again when a folder
//! above is renamed; those below by a hash. Where they are too many to be kept, the next reading begins from the start.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::format::collection::Cursors;

/// The name of the notes among the cursors.
const NAME: &str = "!exclusions";
/// Notes larger than this are not kept: a value of a tree holds 1 MiB at most.
const MOST_BYTES: usize = 384 << 10;
/// Bytes of a hash. With a hundred thousand folders two are alike once in 10^12 collections.
const KEY_BYTES: usize = 9;

/// A stand-in for an item's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key([u8; KEY_BYTES]);

impl Key {
    pub(super) fn of(id: &str) -> Self {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(blake3::hash(id.as_bytes()).as_bytes().split_at(KEY_BYTES).0);
        Self(key)
    }
}

/// The folders that are left out.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Memory {
    /// Those that a rule names: id -> parent and name.
    named: BTreeMap<String, (String, String)>,
    /// Those below others that are left out.
    below: HashSet<Key>,
}

/// The folders as they are kept; `None`: they were too many.
pub(super) type KeptFolders = Option<(Vec<(String, String, String)>, String)>;

impl Memory {
    pub(super) fn contains(&self, id: &str) -> bool {
        self.named.contains_key(id) || self.below.contains(&Key::of(id))
    }

    /// Remembers a folder that a rule names.
    pub(super) fn add_named(&mut self, id: &str, parent: &str, name: &str) {
        self.below.remove(&Key::of(id));
        self.named.insert(id.to_owned(), (parent.to_owned(), name.to_owned()));
    }

    /// Remembers a folder below one that is left out.
    pub(super) fn add_below(&mut self, id: &str) {
        self.named.remove(id);
        self.below.insert(Key::of(id));
    }

    /// Forgets a folder; says whether it was known.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        self.named.remove(id).is_some() | self.below.remove(&Key::of(id))
    }

    /// Forgets all but these.
    pub(super) fn retain<'a>(&mut self, ids: impl Iterator<Item = &'a String>) {
        let ids: HashSet<Key> = ids.map(|id| Key::of(id)).collect();
        self.named.retain(|id, _| ids.contains(&Key::of(id)));
        self.below.retain(|key| ids.contains(key));
    }

    /// The folders that a rule names: id, parent, name.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.named.iter().map(|(id, (parent, name))| (id.as_str(), parent.as_str(), name.as_str()))
    }

    /// The folders as they are kept, if they are not too many.
    pub(super) fn encode(&self) -> KeptFolders {
        let size: usize = self.named().map(|(id, parent, name)| id.len() + parent.len() + name.len() + 16).sum();
        if size + self.below.len() * (KEY_BYTES * 4 / 3) > MOST_BYTES {
            return None;
        }
        let mut below: Vec<Key> = self.below.iter().copied().collect();
        below.sort_unstable();
        let bytes: Vec<u8> = below.iter().flat_map(|key| key.0).collect();
        let named = self.named().map(|(id, parent, name)| (id.to_owned(), parent.to_owned(), name.to_owned()));
        Some((named.collect(), STANDARD_NO_PAD.encode(bytes)))
    }

    fn decode((named, below): (Vec<(String, String, String)>, String)) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(below).ok()?;
        let (keys, []) = bytes.as_chunks::<KEY_BYTES>() else { return None };
        let below = keys.iter().map(|key| Key(*key)).collect();
        let named = named.into_iter().map(|(id, parent, name)| (id, (parent, name))).collect();
        Some(Self { named, below })
    }
}

/// What is kept beside the cursors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Says which rules it belongs to.
    pub(super) print: String,
    /// How many items are left out.
    pub(super) left_out: u64,
    /// They were counted, not estimated.
    pub(super) exact: bool,
    /// When the next item will have grown too old.
    pub(super) due_us: Option<i64>,
    /// The folders that are left out.
    pub(super) folders: KeptFolders,
}

impl Notes {
    /// Takes the notes away from cursors. `None`: there are none; `Some(None)`: they cannot be read.
    pub(super) fn take(cursors: &mut Cursors) -> Option<Option<Self>> {
        let place = cursors.links.iter().position(|(name, _)| name == NAME)?;
        let (_, text) = cursors.links.remove(place);
        Some(serde_json::from_str(&text).ok())
    }

    /// Puts the notes beside cursors.
    pub(super) fn put(&self, cursors: &mut Cursors) {
        // Numbers and texts always have a form.
        cursors.set(NAME, serde_json::to_string(self).unwrap_or_default());
    }

    /// Says whether they tell all folders.
    pub(super) fn is_whole(&self) -> bool {
        self.folders.clone().is_some_and(|folders| Memory::decode(folders).is_some())
    }

    pub(super) fn memory(self) -> Memory {
        self.folders.and_then(Memory::decode).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_back_as_they_were_unless_they_are_too_many() {
        let mut memory = Memory::default();
        memory.add_named("a", "", "A");
        memory.add_below("b");
        memory.add_below("c");
        memory.add_named("c", "a", "Ü");
        assert!(memory.contains("a") && memory.contains("b") && memory.contains("c") && !memory.contains("d"));
        assert!(memory.remove("b") && !memory.remove("b"));
        memory.add_below("e");
        assert_eq!(memory.encode().and_then(Memory::decode), Some(memory));
        let mut many = Memory::default();
        (0..40_000).for_each(|n| many.add_below(&n.to_string()));
        assert_eq!(many.encode(), None);
    }

    #[test]
    fn notes_that_are_no_notes_are_none() {
        for text in ["", "7", "{}", "{\"print\":\"x\",\"left_out\":-1}"] {
            let mut cursors = Cursors::default();
            cursors.set(NAME, text);
            assert!(matches!(Notes::take(&mut cursors), Some(None)), "{text}");
            assert!(cursors.links.is_empty());
        }
        assert!(Memory::decode((Vec::new(), "AAAA".into())).is_none(), "no whole hash");
    }
}
