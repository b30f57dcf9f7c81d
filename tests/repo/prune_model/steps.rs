//! What each party does, one step at a time, in the order in which the code does it. A step is one call to the store;
//! between any two, anybody else may come.

use super::state::{GRACE, IndexFile, P, Plan, Pruner, R, ROLES, RUNS, Reader, State, W, Writer, bit, each};

/// How the model is set up, and in what it differs from the code.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub writers: usize,
    pub runs: u8,
    /// How many prunes may be at work at once.
    pub at_once: usize,
    pub crashes: u8,
    pub last_tick: u8,
    /// Packs with holes, or many small ones, are copied. False: fewer states.
    pub holes: bool,
    pub reads: bool,
    /// Prune waits out the grace period. False: a broken prune.
    pub waits: bool,
    /// A writer looks at the marks before it saves. False: a broken writer.
    pub looks: bool,
    /// What only marked packs hold is copied before a snapshot is built upon it. False: a broken writer.
    pub rescues: bool,
    /// A pack is stored before an index file names it. False: a broken writer.
    pub pack_first: bool,
    /// A mark bears the time at which it is written, not at which the prune began. False: a broken prune.
    pub marks_when_written: bool,
    /// Index files that were replaced, and are seen still, are replaced again. False: a broken prune.
    pub minds_leftovers: bool,
    /// The index lets go of a pack before it is deleted. False: a broken prune.
    pub unlists_first: bool,
    /// The mark of a pack outlives it. False: a broken prune.
    pub marks_outlive: bool,
    /// A marked pack that is in use after all is unmarked, rather than copied. True: a broken prune.
    pub unmarks: bool,
    /// What this prune writes must be seen, and unmarked, before anything goes that relies upon it. False: a broken prune.
    pub looks_at_homes: bool,
}

pub const AS_THE_CODE_IS: Rules = Rules {
    writers: 2,
    runs: 2,
    at_once: 1,
    crashes: 1,
    last_tick: GRACE + 1,
    holes: true,
    reads: false,
    waits: true,
    looks: true,
    rescues: true,
    pack_first: true,
    marks_when_written: true,
    minds_leftovers: true,
    unlists_first: true,
    marks_outlive: true,
    unmarks: false,
    looks_at_homes: true,
};

/// Who does what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Tick,
    Forget(u8),
    Writer(usize, W),
    Pruner(usize, P),
    Reader(R),
    WriterDies(usize),
    PrunerDies(usize),
}

pub type Next = Vec<(Step, State)>;

impl Rules {
    /// All that can happen next.
    pub fn next(&self, state: &State, out: &mut Next) {
        self.tick(state, out);
        for snapshot in 0..3 {
            if state.snapshots & (1 << snapshot) != 0 {
                let snapshots = state.snapshots & !(1 << snapshot);
                out.push((Step::Forget(snapshot), State { snapshots, ..*state }));
            }
        }
        for n in 0..self.writers {
            self.writer(state, n, out);
        }
        for n in 0..3 {
            self.pruner(state, n, out);
        }
        if self.reads {
            reader(state, out);
        }
    }

    /// What order-of-writes.md assumes of time: from a writer's last look to its snapshot less than the grace period
    /// passes, and so between a stored pack and the index file that lists it (`LISTED_AFTER`), and between a reader's
    /// look at the index and its reading.
    fn tick(&self, state: &State, out: &mut Next) {
        let clock = state.clock + 1;
        let in_time = |since: u8| clock - since < GRACE;
        let writers = state.writers.iter().all(|w| match w.at {
            W::ListPack | W::StoreRescued | W::ListRescued | W::SaveSnapshot => in_time(w.since) || !self.looks,
            W::Load | W::Reuse | W::StorePack | W::Look | W::Done => true,
        });
        let reader = state.reader.at != R::ReadAgain || in_time(state.reader.since);
        if clock <= self.last_tick && writers && reader {
            out.push((Step::Tick, State { clock, ..*state }));
        }
    }

    /// A backup: `ops::backup::run`, `repo::Writer`, `ops::backup::finish`.
    fn writer(&self, state: &State, n: usize, out: &mut Next) {
        let (writer, own, rescued) = (state.writers[n], 1 + 2 * n, 2 + 2 * n);
        let mut s = *state;
        let w = &mut s.writers[n];
        match writer.at {
            // `Writer::new`, over `Repository::reload_index`.
            W::Load => w.at = if state.has_live(state.index) { W::Reuse } else { W::StorePack },
            // `Inner::store`: the index has it.
            W::Reuse => w.at = W::Look,
            // `upload::store_pack`.
            W::StorePack if self.pack_first => {
                s.packs |= bit(own);
                (w.since, w.at) = (state.clock, W::ListPack);
            }
            // `Listing::write`.
            W::ListPack if self.pack_first => {
                s.index |= bit(own);
                w.at = W::Look;
            }
            W::StorePack => {
                s.index |= bit(own);
                (w.since, w.at) = (state.clock, W::ListPack);
            }
            W::ListPack => {
                s.packs |= bit(own);
                w.at = W::Look;
            }
            // `Writer::finish` reloads the index; `Writer::has_lost_ground`; `finish::rescue_marked`.
            W::Look
                if !self.looks || state.has_live(state.index) || (!self.rescues && state.listed(state.index) != 0) =>
            {
                (w.since, w.at) = (state.clock, W::SaveSnapshot);
            }
            // `Repository::rescue` takes it from any pack that the index lists; none: the backup fails.
            W::Look => {
                for pack in each(state.listed(state.index)) {
                    let mut s = *state;
                    let w = &mut s.writers[n];
                    (w.since, w.from, w.at) = (state.clock, pack as u8, W::StoreRescued);
                    out.push((Step::Writer(n, W::Look), s));
                }
                w.at = W::Done;
                if state.listed(state.index) != 0 {
                    return self.writer_dies(state, n, out);
                }
            }
            // `Mover::take`, `Mover::finish`; the pack is gone: the backup fails.
            W::StoreRescued if state.packs & bit(writer.from.into()) == 0 => w.at = W::Done,
            W::StoreRescued => {
                s.packs |= bit(rescued);
                w.at = W::ListRescued;
            }
            W::ListRescued => {
                s.index |= bit(rescued);
                w.at = W::SaveSnapshot;
            }
            // `snapshot::store::save`.
            W::SaveSnapshot => {
                s.snapshots |= 2 << n;
                w.at = W::Done;
            }
            W::Done => return,
        }
        if s.writers[n].at == W::Done {
            // Equal states are one.
            s.writers[n] = Writer { at: W::Done, ..Default::default() };
        }
        out.push((Step::Writer(n, writer.at), s));
        self.writer_dies(state, n, out);
    }

    fn writer_dies(&self, state: &State, n: usize, out: &mut Next) {
        if state.crashes < self.crashes && !matches!(state.writers[n].at, W::Load | W::Done) {
            let mut s = *state;
            s.crashes += 1;
            s.writers[n] = Writer { at: W::Done, ..Default::default() };
            out.push((Step::WriterDies(n), s));
        }
    }

    /// A prune: `ops::prune::plan`, `PrunePlan::new`, `PrunePlan::execute`.
    pub fn pruner(&self, state: &State, n: usize, out: &mut Next) {
        let pruner = state.pruners[n];
        let mut s = *state;
        let p = &mut s.pruners[n];
        match pruner.at {
            P::Idle => {
                // All are alike: a run takes the first free place.
                let free = state.pruners.iter().position(|p| p.at == P::Idle);
                let busy = state.pruners.iter().filter(|p| p.at != P::Idle).count();
                if state.runs >= self.runs || free != Some(n) || busy >= self.at_once {
                    return;
                }
                (p.run, p.now, p.at) = (state.runs, state.clock, P::ListPacks);
                s.runs += 1;
            }
            // `Repository::stored_packs`.
            P::ListPacks => (p.before, p.at) = (state.packs, P::ListSnapshots),
            // `snapshot::store::list`: lists, then reads each; one that is forgotten meanwhile is none.
            P::ListSnapshots => (p.snapshots, p.at) = (state.snapshots, P::ReadSnapshots),
            P::ReadSnapshots => {
                let any = pruner.snapshots & state.snapshots != 0;
                (p.snapshots, p.at) = (any.into(), P::LoadIndex);
            }
            // `PrunePlan::new` reloads the index, lists the packs again, and decides.
            P::LoadIndex => (p.view, p.at) = (state.index, P::Decide),
            P::Decide => return self.decide(state, n, out),
            // `PrunePlan::move_blobs`; the pack is gone: it stops.
            P::StorePack if state.packs & bit(pruner.from.into()) == 0 => p.at = P::Idle,
            P::StorePack => {
                s.packs |= bit(5 + usize::from(pruner.run));
                p.at = if p.pending == 0 { P::LookAgain } else { P::WriteMarks };
            }
            // `PrunePlan::write_marks`.
            P::WriteMarks => {
                s.files[5 + usize::from(pruner.run)] = self.marks_file(state, &pruner);
                s.index |= bit(5 + usize::from(pruner.run));
                (p.mark, p.repacks, p.at) = (0, false, P::LoadMarks);
            }
            // `PrunePlan::look_at_homes`.
            P::LoadMarks => {
                p.view = state.index;
                if !self.looks_at_homes || p.homes & state.marked(p.view) == 0 {
                    p.packs_to_delete |= p.pending;
                }
                (p.homes, p.pending, p.at) = (0, 0, P::LookAgain);
            }
            // `PrunePlan::write_index`: what it loaded must still be there, else it loads again.
            P::LookAgain if state.counting(pruner.view) & !state.index != 0 => p.view = state.index,
            P::LookAgain => self.look_again(&mut s, n),
            P::WriteIndex => self.write_index(&mut s, n),
            P::DeleteIndex => {
                for file in each(pruner.index_to_delete) {
                    let mut s = *state;
                    s.index &= !bit(file);
                    s.pruners[n].index_to_delete &= !bit(file);
                    out.push((Step::Pruner(n, P::DeleteIndex), settled(s, n, self.unlists_first)));
                }
                return self.pruner_dies(state, n, out);
            }
            P::DeletePacks => {
                for pack in each(pruner.packs_to_delete) {
                    let mut s = *state;
                    s.packs &= !bit(pack);
                    s.pruners[n].packs_to_delete &= !bit(pack);
                    out.push((Step::Pruner(n, P::DeletePacks), settled(s, n, self.unlists_first)));
                }
                return self.pruner_dies(state, n, out);
            }
        }
        out.push((Step::Pruner(n, pruner.at), settled(s, n, self.unlists_first)));
        self.pruner_dies(state, n, out);
    }

    fn pruner_dies(&self, state: &State, n: usize, out: &mut Next) {
        // Before it writes anything, a death is as if it had never begun.
        let at = state.pruners[n].at;
        if state.crashes < self.crashes && matches!(at, P::WriteMarks | P::LookAgain | P::DeleteIndex | P::DeletePacks)
        {
            let mut s = *state;
            s.crashes += 1;
            s.pruners[n] = Default::default();
            out.push((Step::PrunerDies(n), s));
        }
    }

    /// Which pack the blob is counted to, whether that is copied, and whether there are many index files: all ways.
    fn decide(&self, state: &State, n: usize, out: &mut Next) {
        let mut p = state.pruners[n];
        p.stored = state.packs;
        let (used, marked) = (p.snapshots != 0, state.marked(p.view));
        let here = state.listed(p.view) & p.stored;
        let unmarked = here & !marked;
        if used && here == 0 {
            // A blob is missing: it stops.
            let stopped = State { pruners: without(state, n), ..*state };
            return out.push((Step::Pruner(n, P::Decide), stopped));
        }
        for claim in each(if !used {
            1
        } else if unmarked != 0 {
            unmarked
        } else {
            here
        }) {
            for (repacks, rewrites) in [(false, false), (false, true), (true, false), (true, true)] {
                let must_repack = used && marked & bit(claim) != 0 && !self.unmarks;
                if (repacks && !used) || (must_repack && !repacks) || (repacks && !must_repack && !self.holes) {
                    continue;
                }
                (p.repacks, p.rewrites) = (repacks, rewrites);
                let plan = Plan::new(state, &p, if used { bit(claim) } else { 0 }, self.waits, self.unmarks);
                // `PrunePlan::is_empty`: nothing to do, not even index files that were left over.
                let leftover = state.replaced(p.view) & p.view;
                let idle = plan.is_empty() && !repacks && !rewrites && leftover == 0;
                let own = bit(5 + usize::from(p.run));
                let decided = Pruner {
                    at: if repacks {
                        P::StorePack
                    } else if plan.pending != 0 {
                        P::WriteMarks
                    } else {
                        P::LookAgain
                    },
                    run: p.run,
                    now: if self.marks_when_written { 0 } else { p.now },
                    view: p.view,
                    stored: p.stored,
                    from: if repacks { claim as u8 } else { 0 },
                    repacks,
                    rewrites,
                    mark: plan.mark,
                    unmark: plan.unmark,
                    homes: if plan.pending == 0 || !used {
                        0
                    } else if repacks {
                        own
                    } else {
                        bit(claim)
                    },
                    pending: plan.pending,
                    packs_to_delete: plan.delete,
                    ..Pruner::default()
                };
                let mut s = *state;
                s.pruners[n] = if idle { Pruner::default() } else { decided };
                out.push((Step::Pruner(n, P::Decide), s));
            }
        }
    }

    fn look_again(&self, s: &mut State, n: usize) {
        let p = s.pruners[n];
        let leftover = if self.minds_leftovers { s.replaced(p.view) & s.index } else { 0 };
        let additive = p.packs_to_delete & s.listed(p.view) == 0 && p.unmark == 0 && !p.rewrites;
        let replaced = if additive { leftover } else { s.counting(p.view) | leftover };
        let next = &mut s.pruners[n];
        (next.rewrites, next.index_to_delete) = (!additive, replaced);
        next.at = P::WriteIndex;
    }

    /// New packs and marks: `PrunePlan::additions`.
    fn marks_file(&self, s: &State, p: &Pruner) -> IndexFile {
        let own = bit(5 + usize::from(p.run));
        let mut file = IndexFile { listed: if p.repacks { own } else { 0 }, ..IndexFile::default() };
        for pack in each(p.mark) {
            file.marks[pack] = 1 + if self.marks_when_written { s.clock } else { p.now };
        }
        file
    }

    fn write_index(&self, s: &mut State, n: usize) {
        let p = s.pruners[n];
        let mut file = self.marks_file(s, &p);
        if p.rewrites {
            let gone = p.packs_to_delete;
            file.listed |= s.listed(p.view) & !gone;
            file.replaces = p.index_to_delete;
            for pack in each(s.marked(p.view) & !p.unmark & !gone & !p.mark) {
                file.marks[pack] = s.mark(p.view, pack).map_or(0, |m| m + 1);
            }
            // The mark of what goes is kept, with the time of its going.
            for pack in each(if self.marks_outlive { gone } else { gone & !s.listed(p.view) }) {
                file.marks[pack] = 1 + s.clock;
            }
        }
        if file != IndexFile::default() {
            let role = ROLES + usize::from(p.run);
            s.files[role] = file;
            s.index |= bit(role);
        }
        // What it decided upon matters no more: equal states are one.
        let (run, index_to_delete, packs_to_delete) = (p.run, p.index_to_delete, p.packs_to_delete);
        s.pruners[n] = Pruner { at: P::DeleteIndex, run, index_to_delete, packs_to_delete, ..Pruner::default() };
    }
}

fn without(state: &State, n: usize) -> [Pruner; 3] {
    let mut pruners = state.pruners;
    pruners[n] = Pruner::default();
    pruners
}

/// Goes on to the next thing that there is to do, and forgets what mattered only till now.
fn settled(mut s: State, n: usize, unlists_first: bool) -> State {
    let p = &mut s.pruners[n];
    match p.at {
        P::WriteIndex if !unlists_first && p.packs_to_delete != 0 => p.at = P::DeletePacks,
        P::DeletePacks if p.packs_to_delete == 0 && !unlists_first && p.index_to_delete != 0 => p.at = P::WriteIndex,
        _ => {}
    }
    if p.at == P::DeleteIndex && p.index_to_delete == 0 {
        p.at = P::DeletePacks;
    }
    if p.at == P::DeletePacks && p.packs_to_delete == 0 {
        p.at = P::Idle;
    }
    if p.at == P::Idle {
        *p = Default::default();
    }
    s
}

/// A reader that opened the repository before, and reads later: `Repository::read_blob`.
fn reader(state: &State, out: &mut Next) {
    let reader = state.reader;
    let found = state.listed(reader.view) & state.packs != 0;
    let mut s = *state;
    match reader.at {
        R::Open => {
            for snapshot in (0..3).filter(|n| state.snapshots & (1 << n) != 0) {
                s.reader = Reader { at: R::Read, snapshot, view: state.index, since: 0 };
                out.push((Step::Reader(R::Open), s));
            }
            return;
        }
        R::Read if !found => {
            (s.reader.view, s.reader.since, s.reader.at) = (state.index, state.clock, R::ReadAgain);
        }
        R::ReadAgain if !found && state.snapshots & (1 << reader.snapshot) != 0 => s.reader.at = R::Failed,
        R::Read | R::ReadAgain => s.reader = Reader { at: R::Done, ..Default::default() },
        R::Done | R::Failed => return,
    }
    out.push((Step::Reader(reader.at), s));
}

/// What the packs and index files would be after two more prunes, each a grace period later.
pub fn tidied(state: &State) -> State {
    let rules = Rules { runs: RUNS as u8, crashes: 0, ..AS_THE_CODE_IS };
    let mut s = State { pruners: Default::default(), ..*state };
    for _ in 0..2 {
        s.clock += GRACE;
        loop {
            let mut next = Vec::new();
            rules.pruner(&s, 0, &mut next);
            s = next[0].1;
            if s.pruners[0].at == P::Idle {
                break;
            }
        }
    }
    s
}
