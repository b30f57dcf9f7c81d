//! Looking through the trees for what is left out now: a folder above was renamed, items have grown too old, or the rules
//! are others than last time.

use std::collections::{HashMap, HashSet};

use super::memory::{Key, Memory};
use super::{Excluding, Rules};
use crate::error::Result;
use crate::format::record::Record;
use crate::tree::NodeStore;
use crate::tree::collection::{CollectionReader, CollectionRoots};

/// Folders deeper than this are no folders: parents that run in a circle end here.
const DEEPEST: usize = 1000;

impl Excluding {
    /// Finds what is in the trees and is left out, remembers its folders, and judges the folders left out so far once
    /// more. Does nothing unless something may have changed.
    ///
    /// # Errors
    /// The destination's.
    pub(in crate::ops::backup) async fn sweep(
        &mut self,
        nodes: &dyn NodeStore,
        roots: CollectionRoots,
    ) -> Result<HashSet<String>> {
        let mut gone = HashSet::new();
        if !self.sweep {
            return Ok(gone);
        }
        self.due_us = None;
        let mut places = Places { reader: CollectionReader::new(nodes, roots), found: HashMap::new() };
        let mut records = CollectionReader::new(nodes, roots).records();
        while let Some(record) = records.next().await? {
            if self.is_out(&mut places, &record).await? {
                if record.kind.is_container() {
                    match places.path(&self.rules, &self.memory, &record.parent).await? {
                        Place::Out => self.memory.add_below(&record.id),
                        _ => self.memory.add_named(&record.id, &record.parent, &record.name),
                    }
                }
                self.exact &= self.from_start;
                self.left_out += u64::from(!self.from_start || self.out.insert(Key::of(&record.id)));
                gone.insert(record.id);
            } else {
                // What was left out for the sake of a folder that turns out to be elsewhere belongs in.
                self.again |= record.kind.is_container() && self.memory.remove(&record.id);
                self.notice_due(&record);
            }
        }
        let named: Vec<(String, String)> =
            self.memory.named().map(|(_, parent, name)| (parent.to_owned(), name.to_owned())).collect();
        for (parent, name) in named {
            if let Place::In(path) = places.path(&self.rules, &self.memory, &parent).await? {
                self.again |= !self.memory.contains(&parent) && !self.rules.fit_folder(&join(&path, &name));
            }
        }
        self.sweep = false;
        Ok(gone)
    }

    async fn is_out(&self, places: &mut Places<'_>, record: &Record) -> Result<bool> {
        if self.rules.fit_item(record) || self.out_with_parts.contains(&Key::of(&record.parent)) {
            return Ok(true);
        }
        let path = match places.path(&self.rules, &self.memory, &record.parent).await? {
            Place::Out => return Ok(true),
            Place::Unknown => return Ok(false),
            Place::In(path) => path,
        };
        Ok(record.kind.is_container() && self.rules.fit_folder(&join(&path, &record.name)))
    }
}

/// The path of what is called `name` in a folder.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Where a folder is.
#[derive(Debug, Clone)]
enum Place {
    In(String),
    /// It, or one above it, is left out.
    Out,
    /// It, or one above it, is not in the trees.
    Unknown,
}

/// Finds the paths of folders in the trees.
struct Places<'a> {
    reader: CollectionReader<'a>,
    found: HashMap<String, Place>,
}

impl Places<'_> {
    async fn path(&mut self, rules: &Rules, memory: &Memory, id: &str) -> Result<Place> {
        let mut chain: Vec<Record> = Vec::new();
        let mut at = id.to_owned();
        let mut place = loop {
            if at.is_empty() {
                break Place::In(String::new());
            }
            if let Some(found) = self.found.get(&at) {
                break found.clone();
            }
            if memory.contains(&at) {
                break Place::Out;
            }
            match self.reader.get(&at).await? {
                Some(record) if chain.len() < DEEPEST => {
                    at.clone_from(&record.parent);
                    chain.push(record);
                }
                _ => break Place::Unknown,
            }
        };
        for record in chain.into_iter().rev() {
            if let Place::In(path) = &place {
                if record.kind.is_container() {
                    let path = join(path, &record.name);
                    place = if rules.fit_folder(&path) { Place::Out } else { Place::In(path) };
                } else if rules.fit_item(&record) {
                    place = Place::Out;
                }
            }
            if record.kind.is_container() {
                self.found.insert(record.id, place.clone());
            }
        }
        Ok(place)
    }
}
