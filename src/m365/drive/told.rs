//! What one reading told below the items of a drive, held small: a line a part, a text an item.

use std::collections::HashMap;

use crate::format::record::ItemKind;
use crate::m365::facts::IdKey;

/// The parts that were told below items; of each its own id and its kind.
#[derive(Default)]
pub(super) struct ToldParts {
    items: HashMap<IdKey, Box<str>>,
}

impl ToldParts {
    /// The ids and kinds of what was told below an item last.
    pub(super) fn of(&self, item: &str) -> Vec<(String, ItemKind)> {
        let lines = self.items.get(&IdKey::of(item)).map(|text| text.lines()).into_iter().flatten();
        let part = |line: &str| {
            let (letter, own) = line.split_at_checked(1)?;
            let kind = if letter == "P" { ItemKind::Permission } else { ItemKind::Version };
            Some((format!("{item}/{own}"), kind))
        };
        lines.filter_map(part).collect()
    }

    /// Notes what hangs below an item now.
    pub(super) fn note(&mut self, item: &str, parts: &[(String, ItemKind)]) {
        if parts.is_empty() {
            self.items.remove(&IdKey::of(item));
            return;
        }
        let line = |(id, kind): &(String, ItemKind)| {
            let own = id.strip_prefix(item)?.strip_prefix('/')?;
            Some(format!("{}{own}", if *kind == ItemKind::Permission { 'P' } else { 'V' }))
        };
        let lines: Vec<String> = parts.iter().filter_map(line).collect();
        self.items.insert(IdKey::of(item), lines.join("\n").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_last_below_an_item_is_kept_apart_from_other_items() {
        let mut told = ToldParts::default();
        let parts = vec![("a/1".to_owned(), ItemKind::Permission), ("a/2.0".to_owned(), ItemKind::Version)];
        told.note("a", &parts);
        told.note("ab", &[("ab/3".to_owned(), ItemKind::Permission)]);
        assert_eq!(told.of("a"), parts);
        assert_eq!(told.of("ab").len(), 1);
        told.note("a", &[]);
        assert!(told.of("a").is_empty() && told.items.len() == 1);
    }
}
