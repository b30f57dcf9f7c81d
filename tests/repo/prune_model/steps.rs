//! What each party does, one step at a time, in the order in which the code does it. A step is one call to the store;
//! between any two, anybody else may come.

use super::state::{GRACE, IndexFile, P, Plan, Pruner, R, RUNS, Reader, State, W, Writer, bit, each};

/// How the model is set up, and in what it differs from the code.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub writers: usize,
    pub runs: u8,
    /// A second prune may begin before the first has ended.
    pub prunes_overlap: bool,
    pub crashes: u8,
    pub last_tick: u8,
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
}

pub const AS_THE_CODE_IS: Rules = Rules {
    writers: 2,
    runs: 2,
    prunes_overlap: false,
    crashes: 1,
    last_tick: GRACE + 1,
    reads: false,
    waits: true,
    looks: true,
    rescues: true,
    pack_first: true,
    marks_when_written: true,
    minds_leftovers: true,
    unlists_first: true,
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
        for n in 0..2 {
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
                let other = state.pruners[1 - n].at != P::Idle;
                // Both are alike: the second begins only beside the first.
                if state.runs >= self.runs || (n == 1 && !(self.prunes_overlap && other)) {
                    return;
                }
                if other && !self.prunes_overlap {
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
            P::StorePack if state.packs & bit(pruner.claim.into()) == 0 => p.at = P::Idle,
            P::StorePack => {
                s.packs |= bit(5 + usize::from(pruner.run));
                p.at = P::LookAgain;
            }
            // `PrunePlan::write_index`: what it loaded must still be there.
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
        if state.crashes < self.crashes && matches!(at, P::LookAgain | P::DeleteIndex | P::DeletePacks) {
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
        let here = state.listed(p.view) & p.stored;
        let unmarked = here & !state.marked(p.view);
        let claims = if p.snapshots == 0 || here == 0 {
            1
        } else if unmarked != 0 {
            unmarked
        } else {
            here
        };
        for claim in each(claims) {
            for (repacks, rewrites) in [(false, false), (false, true), (true, false), (true, true)] {
                p.claim = claim as u8;
                (p.repacks, p.rewrites) = (repacks && p.snapshots != 0, rewrites);
                if repacks != p.repacks {
                    continue;
                }
                let plan = Plan::new(state, &p, self.waits);
                // `PrunePlan::is_empty`: nothing to do, not even index files that were left over.
                let leftover = state.replaced(p.view) & p.view;
                let idle = plan.is_empty() && !rewrites && leftover == 0;
                let mut s = *state;
                p.at = if repacks { P::StorePack } else { P::LookAgain };
                s.pruners[n] = if plan.missing || idle { Default::default() } else { p };
                out.push((Step::Pruner(n, P::Decide), s));
            }
        }
    }

    fn look_again(&self, s: &mut State, n: usize) {
        let present = s.index;
        let (p, old) = (s.pruners[n], s.counting(s.pruners[n].view));
        if old & !present != 0 {
            s.pruners[n] = Default::default();
            return;
        }
        let plan = Plan::new(s, &p, self.waits);
        let leftover = if self.minds_leftovers { s.replaced(p.view) & present } else { 0 };
        let additive = plan.delete & s.listed(p.view) == 0 && plan.unmark == 0 && !p.rewrites;
        let next = &mut s.pruners[n];
        next.rewrites = !additive;
        next.index_to_delete = if additive { leftover } else { old | leftover };
        next.packs_to_delete = plan.delete;
        next.at = P::WriteIndex;
    }

    fn write_index(&self, s: &mut State, n: usize) {
        let p = s.pruners[n];
        let role = 5 + usize::from(p.run);
        let plan = Plan::new(s, &p, self.waits);
        let stamp = if self.marks_when_written { s.clock } else { p.now };
        let mut file = IndexFile { listed: if p.repacks { bit(role) } else { 0 }, ..IndexFile::default() };
        for pack in each(plan.mark & !plan.delete) {
            file.marks[pack] = stamp + 1;
        }
        if p.rewrites {
            file.listed |= s.listed(p.view) & !plan.delete;
            file.replaces = p.index_to_delete;
            let listed_gone = plan.delete & s.listed(p.view);
            for pack in each(s.marked(p.view) & !plan.unmark & !listed_gone & !plan.mark) {
                file.marks[pack] = s.mark(p.view, pack).map_or(0, |m| m + 1);
            }
        }
        if file != IndexFile::default() {
            s.files[role] = file;
            s.index |= bit(role);
        }
        // What it decided upon matters no more: equal states are one.
        let (run, index_to_delete, packs_to_delete) = (p.run, p.index_to_delete, p.packs_to_delete);
        s.pruners[n] = Pruner { at: P::DeleteIndex, run, index_to_delete, packs_to_delete, ..Pruner::default() };
    }
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
