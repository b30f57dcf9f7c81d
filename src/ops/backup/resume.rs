//! Where a first reading that was broken off goes on, kept beside the cursors of its last checkpoint.
//!
//! What this proves. A delta promises to tell, in the pages that follow and from the link at the end, what becomes of
//! everything that its pages told. The promise is about the link, not about the process that follows it, so it holds for
//! a reading with a pause in it as for one that takes as long without. Two things make it fit what is stored:
//!
//! - The trees hold nothing but what this one enumeration told: only a reading that began with nothing known may be
//!   gone on with. Any other is compared with what is known, from the beginning.
//! - What came after the checkpoint the service does not take for told: if it vanishes, no page will say so. The ids of
//!   these, a page or two, are kept, and each that is not told again is asked for by itself, as gaps are.
//!
//! So the end needs no comparison. The link at the end of a resumed enumeration is followed once more in the same
//! reading, so that what vanished between the two runs is not in the snapshot. A link that is no longer honoured: the
//! workload enumerates from the beginning and compares.

use crate::format::collection::Cursors;

/// The name of the ids among the cursors.
const NAME: &str = "!resume";
/// With more ids than this the reading begins from the start.
pub(super) const MOST: usize = 4000;

/// Takes away from cursors what is kept of a checkpoint: the doubtful ids. `None`: they are those of a whole reading.
pub(super) fn take(cursors: &mut Cursors) -> Option<Vec<String>> {
    let place = cursors.links.iter().position(|(name, _)| name == NAME)?;
    let (_, text) = cursors.links.remove(place);
    serde_json::from_str(&text).ok()
}

/// Puts the doubtful ids of a checkpoint beside its cursors.
pub(super) fn put(cursors: &mut Cursors, doubtful: &[String]) {
    // A list of texts always has a form.
    cursors.set(NAME, serde_json::to_string(doubtful).unwrap_or_default());
}

/// Says whether cursors are those of a reading that was broken off.
pub(crate) fn is_part(cursors: &Cursors) -> bool {
    cursors.get(NAME).is_some()
}

/// What a reading that is broken off now would be gone on with.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Nothing but this enumeration's items is in the trees.
    pub(super) allowed: bool,
    last: Option<(Cursors, Vec<String>)>,
    /// What was put since.
    since: Vec<String>,
}

impl Checkpoints {
    /// Notes an item that came after the last checkpoint.
    pub(super) fn put(&mut self, id: &str) {
        if self.allowed {
            self.since.push(id.to_owned());
            // No checkpoint comes: then none is made any more.
            if self.since.len() > MOST {
                *self = Self::default();
            }
        }
    }

    /// Takes a checkpoint, after everything before it was stored.
    pub(super) fn take(&mut self, cursors: Cursors, doubtful: Vec<String>) {
        if self.allowed {
            self.last = Some((cursors, doubtful));
            self.since.clear();
        }
    }

    /// The cursors to go on from, and what is doubtful with them.
    pub(super) fn finish(self) -> Option<(Cursors, Vec<String>)> {
        let (cursors, mut doubtful) = self.last.filter(|_| self.allowed)?;
        doubtful.extend(self.since);
        Some((cursors, doubtful))
    }
}
