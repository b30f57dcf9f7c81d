//! The nodes that the kernel holds on to, by number.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::ops::browse::Node;

/// Nodes that were told to the kernel and not forgotten by it, with how often they were told.
#[derive(Debug)]
pub(super) struct Table {
    root: Node,
    held: Mutex<HashMap<u64, (Node, u64)>>,
}

impl Table {
    pub(super) fn new(root: Node) -> Self {
        Self { root, held: Mutex::default() }
    }

    /// The node of a number; `None`: the kernel does not hold it.
    pub(super) fn get(&self, number: u64) -> Option<Node> {
        if number == self.root.number() {
            return Some(self.root.clone());
        }
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(&number).map(|(node, _)| node.clone())
    }

    /// Notes that the kernel is told of a node.
    pub(super) fn hold(&self, node: &Node) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.entry(node.number()).or_insert_with(|| (node.clone(), 0)).1 += 1;
    }

    /// Notes that the kernel forgets a node that it was told of so many times.
    pub(super) fn forget(&self, number: u64, times: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, told)) = held.get_mut(&number) {
            *told = told.saturating_sub(times);
            if *told == 0 {
                held.remove(&number);
            }
        }
    }
}
