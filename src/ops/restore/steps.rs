//! The steps of a plan, packed: a million of them have ids and paths of half a gigabyte, and a tenth of that as they are kept
//! here. They are packed block by block, for they are read in order; to go back to a single one opens its block.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Step;
use crate::format::codec;

/// Steps that are packed together.
const BLOCK: usize = 512;
/// Targets of a block that are named; of more any may be meant.
const NAMED: usize = 16;

/// Steps, in order.
#[derive(Clone, Default)]
pub struct Steps {
    blocks: Vec<Arc<Block>>,
    /// Those that no block has yet, fewer than a block.
    last: Vec<Step>,
}

/// Steps that are packed together.
struct Block {
    packed: Vec<u8>,
    /// The targets of its steps; empty: more than are named.
    targets: BTreeSet<usize>,
    /// Its steps, of whoever asked for a single one.
    open: Mutex<Option<Arc<Vec<Step>>>>,
}

impl Block {
    fn pack(steps: &[Step]) -> Option<Self> {
        let mut targets: BTreeSet<usize> = steps.iter().map(|step| step.target).collect();
        if targets.len() > NAMED {
            targets.clear();
        }
        let text = serde_json::to_vec(steps).ok()?;
        Some(Self { packed: codec::compress_document(&text), targets, open: Mutex::default() })
    }

    fn unpack(&self) -> Vec<Step> {
        // It was packed here, in this process.
        let text = codec::decompress_document("A part of a plan", &self.packed).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn may_hold(&self, target: usize) -> bool {
        self.targets.is_empty() || self.targets.contains(&target)
    }
}

impl Steps {
    /// Adds a step at the end.
    pub fn push(&mut self, step: Step) {
        self.last.push(step);
        if self.last.len() == BLOCK
            && let Some(block) = Block::pack(&self.last)
        {
            self.blocks.push(Arc::new(block));
            self.last.clear();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.blocks.len() * BLOCK + self.last.len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = Step> + '_ {
        self.iter_from(0)
    }

    /// Those from a number on.
    pub fn iter_from(&self, from: usize) -> impl Iterator<Item = Step> + '_ {
        let blocks = self.blocks.iter().skip(from / BLOCK).flat_map(|block| block.unpack());
        let skip = from - (from / BLOCK).min(self.blocks.len()) * BLOCK;
        blocks.chain(self.last.iter().cloned()).skip(skip)
    }

    /// Those of a target, in order, with their numbers. They hold no borrow: the steps are shared.
    pub fn of_target(&self, target: usize) -> impl Iterator<Item = (usize, Step)> + Send + use<> {
        let blocks = self.blocks.clone().into_iter().enumerate().filter(move |(_, block)| block.may_hold(target));
        let packed = blocks.flat_map(|(n, block)| (n * BLOCK..).zip(block.unpack()));
        let last = (self.blocks.len() * BLOCK..).zip(self.last.clone());
        packed.chain(last).filter(move |(_, step)| step.target == target)
    }

    /// The step of a number. Its block stays open till another is asked for.
    pub fn get(&self, number: usize) -> Option<Step> {
        let Some(block) = self.blocks.get(number / BLOCK) else {
            return self.last.get(number.checked_sub(self.blocks.len() * BLOCK)?).cloned();
        };
        let open = block.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let steps = open.unwrap_or_else(|| {
            for other in &self.blocks {
                *other.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            let steps = Arc::new(block.unpack());
            *block.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(steps.clone());
            steps
        });
        steps.get(number % BLOCK).cloned()
    }

    /// Drops all from a number on.
    pub fn truncate(&mut self, length: usize) {
        if length >= self.len() {
            return;
        }
        if let Some(block) = self.blocks.get(length / BLOCK) {
            self.last = block.unpack();
            self.blocks.truncate(length / BLOCK);
        }
        self.last.truncate(length - self.blocks.len() * BLOCK);
    }
}

impl FromIterator<Step> for Steps {
    fn from_iter<I: IntoIterator<Item = Step>>(all: I) -> Self {
        let mut steps = Self::default();
        all.into_iter().for_each(|step| steps.push(step));
        steps
    }
}

impl PartialEq for Steps {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Steps {}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Steps;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of steps")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Steps, A::Error> {
                let mut steps = Steps::default();
                while let Some(step) = all.next_element()? {
                    steps.push(step);
                }
                Ok(steps)
            }
        }
        deserializer.deserialize_seq(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::m365::restore::Cost;
    use crate::ops::restore::Action;

    fn step(number: usize, target: usize) -> Step {
        Step {
            target,
            item: format!("item {number}"),
            parent: "folder".into(),
            name: format!("Letter {number}"),
            path: format!("users/alice@contoso.com/Mail/Inbox/Letter {number}"),
            container: number.is_multiple_of(7),
            action: if number.is_multiple_of(3) { Action::Create } else { Action::Skip("it is there".into()) },
            cost: Cost { requests: 1, units: 2, bytes: number as u64 },
        }
    }

    #[test]
    fn packed_steps_are_the_steps() {
        for count in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 17] {
            let plain: Vec<Step> = (0..count).map(|n| step(n, n / 700)).collect();
            let steps: Steps = plain.iter().cloned().collect();
            assert_eq!((steps.len(), steps.is_empty()), (count, count == 0));
            assert!(steps.iter().eq(plain.iter().cloned()));
            for from in [0, 1, BLOCK, count / 2, count, count + 5] {
                let wanted = plain.get(from..).unwrap_or_default();
                assert!(steps.iter_from(from).eq(wanted.iter().cloned()), "{count} {from}");
                assert_eq!(steps.get(from), plain.get(from).cloned());
                let mut cut = steps.clone();
                cut.truncate(from);
                assert!(cut.iter().eq(plain[..from.min(count)].iter().cloned()), "{count} {from}");
            }
            for target in 0..5 {
                let wanted = plain.iter().cloned().enumerate().filter(|(_, step)| step.target == target);
                assert!(steps.of_target(target).eq(wanted), "{count} {target}");
            }
            let text = serde_json::to_string(&steps).unwrap();
            assert_eq!(text, serde_json::to_string(&plain).unwrap(), "a saved plan is what it was");
            assert_eq!(serde_json::from_str::<Steps>(&text).unwrap(), steps);
        }
    }

    #[test]
    fn a_block_of_very_many_targets_may_hold_any() {
        let steps: Steps = (0..3 * BLOCK).map(|n| step(n, n)).collect();
        for target in [0, 700, 3 * BLOCK - 1, 3 * BLOCK] {
            assert_eq!(steps.of_target(target).count(), usize::from(target < 3 * BLOCK), "{target}");
        }
    }

    #[test]
    fn a_million_steps_take_little_memory() {
        let count = 20 * BLOCK;
        let id = |n: usize| blake3::hash(&n.to_le_bytes()).to_hex().to_string().repeat(2);
        let steps: Steps = (0..count).map(|n| Step { item: id(n), parent: id(n / 1000), ..step(n, 0) }).collect();
        let packed: usize = steps.blocks.iter().map(|block| block.packed.len()).sum();
        assert!(packed / count < 100, "{} bytes a step", packed / count);
    }
}
