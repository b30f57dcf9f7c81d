//! Turns: of those who are about the same thing one (or so many) is at it at a time, and nobody waits for those about another.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::id::Id;
use crate::crypto::KdfLimit;
use crate::error::{Error, Result};
use crate::repo::Deriving;

/// The most that trying a key slot may cost here. Slots lie in storages of strangers, and what one asks for is spent before it is
/// known whose it is: this is twice the memory that a chosen passphrase of ours takes, and more time.
const MOST: KdfLimit = KdfLimit { memory_kib: 128 * 1024, work_kib: 512 * 1024 };
/// Keys derived at once in this process: each takes a core.
const AT_ONCE: usize = 2;

/// Turns, by what they are about.
#[derive(Debug)]
pub(crate) struct Turns<K> {
    gates: Mutex<HashMap<K, Weak<Semaphore>>>,
    at_once: usize,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self::of(1)
    }
}

impl<K> Turns<K> {
    /// Turns that so many have at once who are about the same thing.
    pub(crate) fn of(at_once: usize) -> Self {
        Self { gates: Mutex::default(), at_once }
    }
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// Where those wait who are about a thing.
    pub(crate) fn gate(&self, about: &K) -> Arc<Semaphore> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(about).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Semaphore::new(self.at_once));
        gates.insert(about.clone(), Arc::downgrade(&gate));
        gate
    }

    /// Waits for a turn, to be held until it is over.
    ///
    /// # Errors
    /// None that comes to pass.
    pub(crate) async fn take(&self, about: &K) -> Result<OwnedSemaphorePermit> {
        let turn = self.gate(about).acquire_owned().await;
        turn.map_err(|e| Error::internal("A gate is closed").with_source(e))
    }
}

/// How keys are derived of passphrases: two at once in all, and one of an account, so that none stands in the way of others.
#[derive(Debug)]
pub(crate) struct Derivations {
    all: Arc<Semaphore>,
    of: Turns<Id>,
}

impl Default for Derivations {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(AT_ONCE)), of: Turns::default() }
    }
}

impl Derivations {
    /// How they are derived for an account.
    pub(crate) fn of(&self, account: &Id) -> Deriving {
        Deriving::new(MOST, self.gates(account).to_vec())
    }

    /// Where they wait: for the account's turn first, so that it has one in the queue of all.
    pub(crate) fn gates(&self, account: &Id) -> [Arc<Semaphore>; 2] {
        [self.of.gate(account), self.all.clone()]
    }
}
