//! The state of the model, and what the code makes of it: which index files count, and what a prune decides.

use std::hash::{Hash, Hasher};

/// Roles of packs and index files: 0 was there at first, 1 and 2 are the first writer's own and rescued, 3 and 4 the
/// second's, then one for each run of prune. So no order of allocation multiplies the states.
pub const ROLES: usize = 5 + RUNS;
/// A run of prune may write two index files.
pub const INDEX_ROLES: usize = ROLES + RUNS;
/// Runs of prune: those that are explored, and those that tidy up after them.
pub const RUNS: usize = 5;
/// The grace period, in ticks of the clock.
pub const GRACE: u8 = 1;

/// A set of roles.
pub type Mask = u16;

pub fn bit(role: usize) -> Mask {
    1 << role
}

pub fn each(mask: Mask) -> impl Iterator<Item = usize> {
    (0..Mask::BITS as usize).filter(move |n| mask & (1 << n) != 0)
}

/// An index file. Never changes once it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct IndexFile {
    pub listed: Mask,
    pub replaces: Mask,
    /// For each pack: 0, or one more than the time of its mark.
    pub marks: [u8; ROLES],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Writer {
    pub at: W,
    /// When it stored a pack that no index file lists yet, or looked at the marks.
    pub since: u8,
    /// The marked pack that it rescues its blob from.
    pub from: u8,
}

/// What a writer does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum W {
    #[default]
    Load,
    Reuse,
    StorePack,
    ListPack,
    Look,
    StoreRescued,
    ListRescued,
    SaveSnapshot,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Pruner {
    pub at: P,
    /// Which run of all.
    pub run: u8,
    /// When it began.
    pub now: u8,
    /// Packs that were there before it looked at the snapshots.
    pub before: Mask,
    /// The snapshots that it listed; once it has read them, whether there was any.
    pub snapshots: u8,
    /// The index files that it loaded.
    pub view: Mask,
    pub stored: Mask,
    /// The pack that the blob is copied from, if it is.
    pub from: u8,
    pub repacks: bool,
    pub rewrites: bool,
    pub mark: Mask,
    pub unmark: Mask,
    /// Where the blob is to be found when all that goes is gone.
    pub homes: Mask,
    /// What goes if nobody marks a home.
    pub pending: Mask,
    pub index_to_delete: Mask,
    pub packs_to_delete: Mask,
}

/// What a prune does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum P {
    #[default]
    Idle,
    ListPacks,
    ListSnapshots,
    ReadSnapshots,
    LoadIndex,
    Decide,
    StorePack,
    WriteMarks,
    LoadMarks,
    LookAgain,
    WriteIndex,
    DeleteIndex,
    DeletePacks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reader {
    pub at: R,
    pub snapshot: u8,
    pub view: Mask,
    pub since: u8,
}

/// What a reader does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum R {
    #[default]
    Open,
    Read,
    ReadAgain,
    Done,
    /// It could not read a snapshot that is there.
    Failed,
}

/// One blob, which every snapshot needs and every pack holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub clock: u8,
    /// The packs that are stored.
    pub packs: Mask,
    /// The index files that are stored.
    pub index: Mask,
    /// What each index file says; of those that were never written, nothing.
    pub files: [IndexFile; INDEX_ROLES],
    /// The snapshots that are stored: 0 was there at first, the others are the writers'.
    pub snapshots: u8,
    pub writers: [Writer; 2],
    pub pruners: [Pruner; 3],
    pub reader: Reader,
    pub runs: u8,
    pub crashes: u8,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // What the index files of writers say is always the same.
        let runs = usize::from(self.runs);
        let written = [&self.files[5..5 + runs], &self.files[ROLES..ROLES + runs]];
        (self.clock, self.packs, self.index, written, self.snapshots).hash(hasher);
        (self.writers, self.pruners, self.reader, self.runs, self.crashes).hash(hasher);
    }
}

impl State {
    /// One snapshot, whose blob lies in one pack.
    pub fn first() -> Self {
        let mut files = [IndexFile::default(); INDEX_ROLES];
        for (role, file) in files.iter_mut().enumerate().take(5) {
            file.listed = bit(role);
        }
        Self {
            clock: 0,
            packs: bit(0),
            index: bit(0),
            files,
            snapshots: 1,
            writers: Default::default(),
            pruners: Default::default(),
            reader: Reader::default(),
            runs: 0,
            crashes: 0,
        }
    }

    /// Index files that others of a view stand in for: `Index::replaced`.
    pub fn replaced(&self, view: Mask) -> Mask {
        each(self.counting(view)).fold(0, |all, n| all | self.files[n].replaces)
    }

    /// The index files of a view that count: `Repository::reload_index`.
    pub fn counting(&self, view: Mask) -> Mask {
        view & !each(view).fold(0, |all, n| all | self.files[n].replaces)
    }

    /// The packs that a view lists: `Index::packs`.
    pub fn listed(&self, view: Mask) -> Mask {
        each(self.counting(view)).fold(0, |all, n| all | self.files[n].listed)
    }

    /// The time of a pack's mark; the earliest counts: `Index::new`.
    pub fn mark(&self, view: Mask, pack: usize) -> Option<u8> {
        let marks = each(self.counting(view)).map(|n| self.files[n].marks[pack]);
        marks.filter(|m| *m > 0).min().map(|m| m - 1)
    }

    pub fn marked(&self, view: Mask) -> Mask {
        each(self.counting(view))
            .fold(0, |all, n| (0..ROLES).filter(|p| self.files[n].marks[*p] > 0).fold(all, |all, p| all | bit(p)))
    }

    /// Whether the blob is in a pack that may be built upon: `Index::has_live`.
    pub fn has_live(&self, view: Mask) -> bool {
        self.listed(view) & !self.marked(view) != 0
    }

    /// The promise: what a snapshot needs is in a pack that is stored and listed.
    pub fn is_readable(&self) -> bool {
        self.snapshots == 0 || self.listed(self.index) & self.packs != 0
    }

    /// What check wants beyond that: a pack that is listed and not there is marked.
    pub fn is_clean(&self) -> bool {
        self.listed(self.index) & !self.packs & !self.marked(self.index) == 0
    }

    pub fn is_quiet(&self) -> bool {
        self.writers.iter().all(|w| matches!(w.at, W::Load | W::Done)) && self.pruners.iter().all(|p| p.at == P::Idle)
    }
}

/// What a prune wants: `PrunePlan`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    pub mark: Mask,
    pub unmark: Mask,
    /// Marked, due, and nothing in them is used.
    pub delete: Mask,
    /// Due as soon as what this prune writes first can be seen.
    pub pending: Mask,
}

impl Plan {
    /// `PrunePlan::new`, from what a prune has seen. `claim`: the pack that the blob is counted to, if it is in use.
    pub fn new(state: &State, pruner: &Pruner, claim: Mask, grace: bool, unmarks: bool) -> Self {
        let (listed, marked) = (state.listed(pruner.view), state.marked(pruner.view));
        let mut plan = Self::default();
        let is_due = |mark: u8| !grace || pruner.now.saturating_sub(mark) >= GRACE;
        let fresh = pruner.stored & !pruner.before;
        for pack in each(listed | pruner.stored) {
            let mark = state.mark(pruner.view, pack);
            if claim == bit(pack) && !pruner.repacks {
                plan.unmark |= if unmarks { marked & bit(pack) } else { 0 };
            } else if claim == bit(pack) || fresh & bit(pack) == 0 || marked & listed & bit(pack) != 0 {
                plan.mark |= if mark.is_none() { bit(pack) } else { 0 };
                if mark.map_or(!grace, is_due) {
                    let waits = claim == bit(pack) || mark.is_none();
                    *(if waits { &mut plan.pending } else { &mut plan.delete }) |= bit(pack);
                }
            }
        }
        if marked & claim != 0 {
            // The blob has no place but marked packs: none of them goes before the copy can be seen.
            (plan.pending, plan.delete) = (plan.pending | plan.delete, 0);
        }
        plan
    }

    pub fn is_empty(&self) -> bool {
        self.mark | self.unmark | self.delete | self.pending == 0
    }
}
