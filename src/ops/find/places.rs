//! Where items lie, at any time of a log: the names of collections and the folders that things hang below.

use std::collections::HashMap;

use crate::error::Result;
use crate::ops::find::fold::fold;
use crate::ops::find::log::Epoch;
use crate::ops::find::segment::{Key, TOP};
use crate::snapshot::set::Glob;

/// Paths deeper than this are cut: parents that run in a circle end here.
const DEEPEST: usize = 200;
/// After the last epoch.
pub(super) const NEVER: u32 = u32::MAX;

/// A collection in a log. Its number is its place in the list of all.
#[derive(Debug, Default)]
pub(super) struct Collection {
    pub(super) key: String,
    /// Its names, and since when, ascending.
    names: Vec<(u32, String)>,
    /// When all that was known of it was told anew, or gone, ascending.
    anew: Vec<u32>,
}

impl Collection {
    /// The first time after an epoch when all of it was told anew.
    pub(super) fn next_anew(&self, epoch: u32) -> u32 {
        self.anew.get(self.anew.partition_point(|at| *at <= epoch)).copied().unwrap_or(NEVER)
    }
}

/// All collections of a log.
#[derive(Debug, Default)]
pub(super) struct Collections {
    pub(super) list: Vec<Collection>,
    /// For each epoch: the numbers of the collections that its segment tells of.
    numbers: Vec<Vec<u32>>,
}

impl Collections {
    pub(super) fn of(epochs: &[Epoch]) -> Self {
        let mut all = Self::default();
        let mut known: HashMap<String, u32> = HashMap::new();
        for (epoch, told) in (0u32..).zip(epochs) {
            let directory = &told.segment.directory;
            if directory.all {
                all.list.iter_mut().for_each(|collection| collection.anew.push(epoch));
            }
            let mut numbers = Vec::with_capacity(directory.collections.len());
            for told in &directory.collections {
                let number = *known.entry(told.key.clone()).or_insert_with(|| {
                    all.list.push(Collection { key: told.key.clone(), ..Collection::default() });
                    u32::try_from(all.list.len() - 1).unwrap_or(u32::MAX)
                });
                numbers.push(number);
                let Some(collection) = all.list.get_mut(number as usize) else { continue };
                if told.anew && collection.anew.last() != Some(&epoch) {
                    collection.anew.push(epoch);
                }
                if collection.names.last().is_none_or(|(_, name)| *name != told.name) {
                    collection.names.push((epoch, told.name.clone()));
                }
            }
            all.numbers.push(numbers);
        }
        all
    }

    /// The number of a collection that a segment tells of.
    pub(super) fn number(&self, epoch: u32, local: u32) -> u32 {
        self.numbers.get(epoch as usize).and_then(|numbers| numbers.get(local as usize)).copied().unwrap_or(u32::MAX)
    }

    pub(super) fn get(&self, number: u32) -> Option<&Collection> {
        self.list.get(number as usize)
    }
}

/// Since when something hangs below a parent and reads so; `None`: it is gone.
type Version = (u32, Option<(Key, String)>);

/// What things hang below, at any time.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The parent and the folded component of each, and since when; `None`: it is gone.
    versions: HashMap<Key, Vec<Version>>,
}

impl Places {
    /// Reads the places of a log.
    ///
    /// # Errors
    /// `Corrupt`; the disk's.
    pub(super) fn of(epochs: &[Epoch]) -> Result<Self> {
        let mut places = Self::default();
        for (epoch, told) in (0u32..).zip(epochs) {
            told.segment.places(&mut |row| {
                let place = row.component.map(|component| (row.parent, component));
                places.versions.entry(row.key).or_default().push((epoch, place));
            })?;
        }
        Ok(places)
    }

    /// The folded components of a path, from the collection's name down to `parent`, at an epoch; and until when they are
    /// these.
    pub(super) fn path(&self, collection: &Collection, parent: Key, epoch: u32) -> (Vec<String>, u32) {
        let named = collection.names.partition_point(|(at, _)| *at <= epoch);
        let name = named.checked_sub(1).and_then(|at| collection.names.get(at)).map_or("", |(_, name)| name);
        let mut until = collection.names.get(named).map_or(NEVER, |(at, _)| *at).min(collection.next_anew(epoch));
        let told = collection.anew.partition_point(|at| *at <= epoch);
        let since = told.checked_sub(1).and_then(|at| collection.anew.get(at)).copied().unwrap_or(0);
        let (mut parts, mut key) = (Vec::new(), parent);
        while key != TOP && parts.len() < DEEPEST {
            let Some(versions) = self.versions.get(&key) else { break };
            let next = versions.partition_point(|(at, _)| *at <= epoch);
            until = until.min(versions.get(next).map_or(NEVER, |(at, _)| *at));
            let now = next.checked_sub(1).and_then(|at| versions.get(at)).filter(|(at, _)| *at >= since);
            let Some((_, Some((above, component)))) = now else { break };
            parts.push(component.clone());
            key = *above;
        }
        let mut path: Vec<String> = name.split('/').map(|part| fold(part).into_owned()).collect();
        path.extend(parts.into_iter().rev());
        (path, until)
    }
}

/// A pattern for paths: components that stand side by side somewhere in the path, or, after a slash, at its beginning.
#[derive(Debug, Clone)]
pub(super) struct PathPattern {
    anchored: bool,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Glob(Glob),
}

impl PathPattern {
    pub(super) fn new(text: &str) -> Self {
        let part = |text: &str| {
            let folded = fold(text).into_owned();
            match folded.parse::<Glob>() {
                Ok(glob) if glob.is_pattern() => Part::Glob(glob),
                _ => Part::Text(folded),
            }
        };
        Self {
            anchored: text.starts_with('/'),
            parts: text.split('/').filter(|part| !part.is_empty()).map(part).collect(),
        }
    }

    pub(super) fn matches(&self, path: &[String]) -> bool {
        let fits = |(part, component): (&Part, &String)| match part {
            Part::Text(text) => text == component,
            Part::Glob(glob) => glob.matches(component),
        };
        let mut windows = path.windows(self.parts.len().max(1));
        let here = |window: &[String]| self.parts.iter().zip(window).all(fits);
        if self.anchored { windows.next().is_some_and(here) } else { windows.any(here) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_components_side_by_side() {
        let path: Vec<String> = "users/alice@contoso.com/mail/inbox/2026".split('/').map(str::to_owned).collect();
        for (pattern, fits) in [
            ("Inbox", true),
            ("alice@contoso.com", true),
            ("alice*", true),
            ("mail/INBOX", true),
            ("/users/*/Mail", true),
            ("/users", true),
            ("users/", true),
            ("In", false),
            ("mail/2026", false),
            ("/mail", false),
            ("users/alice@contoso.com/mail/inbox/2026/x", false),
        ] {
            assert_eq!(PathPattern::new(pattern).matches(&path), fits, "{pattern}");
        }
    }
}
