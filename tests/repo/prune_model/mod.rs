//! Writers, prunes and a reader in every order that there is: a model of the two-phase prune, searched breadth first.
//!
//! The model stands for `src/repo/prune.rs`, `writer.rs`, `mover.rs`, `reload.rs` and `src/ops/prune.rs`,
//! `src/ops/backup/finish.rs`; each step names the function it stands for. Whoever changes the order of calls there
//! changes it here. The search is by hand: a hundred lines, where a model checker would be a dependency with a web
//! server in it.

mod state;
mod steps;

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use state::{R, State};
use steps::{AS_THE_CODE_IS, Rules, Step, tidied};

/// What must hold in a state, or why it does not.
type Judge = fn(&State) -> Option<&'static str>;

/// Every durable snapshot can be read in full, also by who opened the repository before.
fn is_safe(state: &State) -> Option<&'static str> {
    if !state.is_readable() {
        return Some("a snapshot needs a blob that is gone");
    }
    (state.reader.at == R::Failed).then_some("a reader failed to read a snapshot that is there")
}

/// Besides, a check would find nothing at any time, and in the end all garbage goes.
fn is_safe_and_tidy(state: &State) -> Option<&'static str> {
    if let Some(why) = is_safe(state) {
        return Some(why);
    }
    if !state.is_clean() {
        return Some("an index file names a pack that is not there");
    }
    if !state.is_quiet() {
        return None;
    }
    let end = tidied(state);
    if is_safe(&end).is_some() {
        return Some("tidying up lost a snapshot");
    }
    let (packs, leftover) = (end.packs.count_ones(), end.replaced(end.index) & end.index);
    (packs != u32::from(end.snapshots != 0) || leftover != 0).then_some("garbage stays for ever")
}

struct Search {
    states: usize,
    /// The first state found that must not be, and the way there.
    counterexample: Option<String>,
}

impl Search {
    /// Visits every state that can be reached.
    fn run(rules: &Rules, judge: Judge) -> Self {
        let first = State::first();
        let mut came: HashMap<u64, Option<(u64, Step)>> = HashMap::from([(key(&first), None)]);
        let mut queue = VecDeque::from([first]);
        let mut next = Vec::new();
        while let Some(state) = queue.pop_front() {
            if let Some(why) = judge(&state) {
                let way = way_to(&came, &state);
                return Self { states: came.len(), counterexample: Some(format!("{why}, after\n{way}{state:#?}")) };
            }
            let from = key(&state);
            rules.next(&state, &mut next);
            for (step, after) in next.drain(..) {
                came.entry(key(&after)).or_insert_with(|| {
                    queue.push_back(after);
                    Some((from, step))
                });
            }
        }
        Self { states: came.len(), counterexample: None }
    }
}

/// 64 bits of hash stand for a state: of a million states, some two
/// are alike with a chance of one in thirty million.
fn key(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

fn way_to(came: &HashMap<u64, Option<(u64, Step)>>, state: &State) -> String {
    let (mut steps, mut at) = (Vec::new(), key(state));
    while let Some(Some((from, step))) = came.get(&at) {
        steps.push(*step);
        at = *from;
    }
    let mut text = String::new();
    for step in steps.iter().rev() {
        writeln!(text, "  {step:?}").unwrap();
    }
    text
}

/// No order breaks a promise, and there were many.
fn holds(rules: &Rules, judge: Judge, at_least: usize) {
    let search = Search::run(rules, judge);
    if let Some(text) = search.counterexample {
        panic!("{text}");
    }
    println!("{} states", search.states);
    assert!(search.states >= at_least, "only {} states were reached: the model does little", search.states);
}

/// The search finds what is wrong with a broken rule.
fn breaks(rules: &Rules, judge: Judge, why: &str) {
    let found = Search::run(rules, judge).counterexample.expect("the broken rule went unnoticed");
    assert!(found.starts_with(why), "{found}");
}

#[test]
fn two_writers_and_two_prunes_lose_nothing_and_leave_nothing() {
    holds(&Rules { crashes: 0, ..AS_THE_CODE_IS }, is_safe_and_tidy, 1_200_000);
}

#[test]
fn two_writers_and_a_prune_of_which_one_dies_lose_nothing_and_leave_nothing() {
    holds(&Rules { runs: 1, ..AS_THE_CODE_IS }, is_safe_and_tidy, 20_000);
}

#[test]
fn a_reader_that_opened_before_reads_all_that_is_there() {
    holds(&Rules { writers: 1, reads: true, ..AS_THE_CODE_IS }, is_safe_and_tidy, 300_000);
}

#[test]
fn three_prunes_and_a_writer_lose_nothing_and_leave_nothing() {
    holds(&Rules { writers: 1, runs: 3, crashes: 0, ..AS_THE_CODE_IS }, is_safe_and_tidy, 300_000);
}

/// `cargo test --release --test repo prune_model -- --ignored`: half a minute.
#[test]
#[ignore = "many states; see docs/testing.md"]
fn all_that_and_deaths_lose_nothing_and_leave_nothing() {
    holds(&AS_THE_CODE_IS, is_safe_and_tidy, 3_000_000);
    holds(&Rules { writers: 1, runs: 3, ..AS_THE_CODE_IS }, is_safe_and_tidy, 1_300_000);
    holds(&Rules { writers: 1, last_tick: 4, ..AS_THE_CODE_IS }, is_safe_and_tidy, 100_000);
}

#[test]
fn a_prune_that_does_not_wait_is_found_out() {
    breaks(&Rules { waits: false, crashes: 0, ..AS_THE_CODE_IS }, is_safe, "a snapshot needs a blob that is gone");
}

#[test]
fn a_writer_that_does_not_look_at_the_marks_is_found_out() {
    breaks(&Rules { looks: false, crashes: 0, ..AS_THE_CODE_IS }, is_safe, "a snapshot needs a blob that is gone");
}

#[test]
fn a_writer_that_builds_upon_marked_packs_is_found_out() {
    breaks(&Rules { rescues: false, crashes: 0, ..AS_THE_CODE_IS }, is_safe, "a snapshot needs a blob that is gone");
}

#[test]
fn an_index_file_before_its_pack_is_found_out() {
    breaks(&Rules { pack_first: false, ..AS_THE_CODE_IS }, is_safe, "a snapshot needs a blob that is gone");
}

/// So it was: a prune that took longer than the grace period wrote marks that were due at once.
#[test]
fn a_mark_with_the_time_at_which_the_prune_began_is_found_out() {
    breaks(
        &Rules { marks_when_written: false, crashes: 0, ..AS_THE_CODE_IS },
        is_safe,
        "a snapshot needs a blob that is gone",
    );
}

#[test]
fn an_index_file_that_comes_back_is_found_out() {
    breaks(
        &Rules { minds_leftovers: false, writers: 1, runs: 3, ..AS_THE_CODE_IS },
        is_safe,
        "a snapshot needs a blob that is gone",
    );
}

#[test]
fn a_pack_that_is_deleted_while_it_is_listed_is_found_out() {
    breaks(
        &Rules { unlists_first: false, ..AS_THE_CODE_IS },
        is_safe_and_tidy,
        "an index file names a pack that is not there",
    );
}

/// Why there is to be one prune at a time: three, of which the second and the third begin while the first tarries between
/// its last look and its writing, can take a pack from under a writer. (Two alone cannot.)
#[test]
fn prunes_that_overlap_are_not_safe() {
    use state::{P, W};
    let rules = Rules { writers: 1, runs: 3, prunes_overlap: true, ..AS_THE_CODE_IS };
    let plans = [P::Idle, P::ListPacks, P::ListSnapshots, P::ReadSnapshots, P::LoadIndex, P::Decide, P::LookAgain];
    let all = |n: usize, steps: &[P]| steps.iter().map(|p| Step::Pruner(n, *p)).collect::<Vec<_>>();
    let way = [
        vec![Step::Writer(0, W::Load), Step::Writer(0, W::Reuse)],
        all(0, &plans[..4]),
        vec![Step::Forget(0)],
        all(0, &plans[4..]),
        all(1, &plans),
        all(1, &[P::WriteIndex]),
        vec![Step::Tick],
        all(1, &plans[..5]),
        all(0, &[P::WriteIndex]),
        all(1, &plans[5..]),
        all(1, &[P::WriteIndex]),
        vec![Step::Writer(0, W::Look), Step::Writer(0, W::SaveSnapshot)],
        all(1, &[P::DeleteIndex, P::DeleteIndex, P::DeletePacks]),
    ];
    // A step may have several outcomes: all are followed.
    let mut states = vec![State::first()];
    for step in way.concat() {
        let mut next = Vec::new();
        states.iter().for_each(|state| rules.next(state, &mut next));
        states = next.into_iter().filter(|(taken, _)| *taken == step).map(|(_, state)| state).collect();
        assert!(!states.is_empty(), "{step:?} cannot be taken");
    }
    assert!(states.iter().any(|state| is_safe(state).is_some()));
}
