//! What was used lately, up to a weight: the longest unused leaves first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Values by key, of a bounded weight together. What each weighs (bytes, say) is told when it is put in.
#[derive(Debug)]
pub struct Recent<K, V> {
    limit: usize,
    weight: usize,
    tick: u64,
    entries: HashMap<K, Entry<V>>,
    order: BTreeMap<u64, K>,
}

#[derive(Debug)]
struct Entry<V> {
    tick: u64,
    weight: usize,
    value: V,
}

impl<K: Copy + Eq + Hash, V: Clone> Recent<K, V> {
    /// Starts empty.
    pub fn new(limit: usize) -> Self {
        Self { limit, weight: 0, tick: 0, entries: HashMap::new(), order: BTreeMap::new() }
    }

    /// Finds a value; it is now the one that was used last.
    pub fn get(&mut self, key: &K) -> Option<V> {
        self.tick += 1;
        let entry = self.entries.get_mut(key)?;
        self.order.remove(&entry.tick);
        entry.tick = self.tick;
        self.order.insert(self.tick, *key);
        Some(entry.value.clone())
    }

    /// Says whether there is a value, without using it.
    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Puts a value in, in place of what was under its key. Others leave while all weigh too much, and in the end this one.
    pub fn insert(&mut self, key: K, value: V, weight: usize) {
        self.tick += 1;
        self.weight += weight;
        self.order.insert(self.tick, key);
        if let Some(old) = self.entries.insert(key, Entry { tick: self.tick, weight, value }) {
            self.order.remove(&old.tick);
            self.weight -= old.weight;
        }
        self.shed();
    }

    /// Holds no more than a weight from now on.
    pub fn limit(&mut self, limit: usize) {
        self.limit = limit;
        self.shed();
    }

    fn shed(&mut self) {
        while self.weight > self.limit {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some(gone) = self.entries.remove(&oldest) {
                self.weight -= gone.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_leaves_when_all_weigh_too_much() {
        let mut recent = Recent::new(10);
        for (key, weight) in [(1, 4), (2, 4), (3, 2)] {
            recent.insert(key, key * 10, weight);
        }
        assert_eq!(recent.get(&1), Some(10));
        recent.insert(4, 40, 3);
        assert_eq!([1, 2, 3, 4].map(|key| recent.get(&key)), [Some(10), None, Some(30), Some(40)]);
        // What is put in again weighs what it weighs now.
        recent.insert(1, 11, 1);
        recent.insert(5, 50, 4);
        assert_eq!([1, 3, 4, 5].map(|key| recent.get(&key)), [Some(11), Some(30), Some(40), Some(50)]);
        recent.limit(5);
        assert_eq!([1, 3, 4, 5].map(|key| recent.get(&key)), [None, None, None, Some(50)]);
        recent.limit(10);
        recent.insert(6, 60, 11);
        assert_eq!([1, 3, 4, 5, 6].map(|key| recent.get(&key)), [None; 5]);
    }
}
