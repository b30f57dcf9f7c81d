//! What a snapshot keeps of a collection beside its trees: where reading goes on, and what is missing.

use bincode::{Decode, Encode};

use crate::format::record::ItemKind;

/// Where the next reading of a collection goes on: named links of the service, in order.
///
/// A link is kept as it came and is never taken apart. It stands for the items that were stored with it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Cursors {
    /// Pairs of name and link. What the names mean is the workload's own affair.
    pub links: Vec<(String, String)>,
}

impl Cursors {
    /// Finds a link by its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.links.iter().find(|(n, _)| n == name).map(|(_, link)| link.as_str())
    }

    /// Sets a link, in place of one of the same name.
    pub fn set(&mut self, name: impl Into<String>, link: impl Into<String>) {
        let (name, link) = (name.into(), link.into());
        match self.links.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = link,
            None => self.links.push((name, link)),
        }
    }
}

/// An item that should be in a snapshot, or whose contents should, and is not, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Gap {
    /// The collection's key in text form: `users/<id>/mail`.
    pub collection: String,
    /// The item's id; empty when the collection as a whole could not be read.
    pub id: String,
    /// The item's name as people see it: a subject, a file's or folder's name.
    pub name: String,
    /// What kind of item it is, where that is known.
    pub kind: Option<ItemKind>,
    /// A short, stable reason: `malware`, `locked`, `corrupt-at-source`, `hash-differs`, ….
    pub reason: String,
    /// The reason in words.
    pub text: String,
    /// When the item was missed first: microseconds since 1970 UTC. 0 until the run that found it dates it.
    pub since_us: i64,
}
