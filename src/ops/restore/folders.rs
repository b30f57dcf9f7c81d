//! What became of the folders of mail, for the rules that name them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Pairs of ids: in the snapshot, and there.
type Pairs = Vec<(String, String)>;

/// What became of the folders of mail, by who takes them.
#[derive(Clone, Default)]
pub(super) struct Folders(Arc<Mutex<HashMap<String, Pairs>>>);

impl Folders {
    /// Notes which folder one of the snapshot's became.
    pub(super) fn add(&self, owner: &str, item: &str, made: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(owner.to_owned()).or_default().push((item.to_owned(), made.to_owned()));
    }

    /// All that is noted of an owner.
    pub(super) fn of(&self, owner: &str) -> Pairs {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(owner).cloned().unwrap_or_default()
    }
}
