//! Writers, prunes and a reader in every order that there is: a model of the two-phase prune, searched depth first.
//!
//! The model stands for `src/repo/prune.rs`, `writer.rs`, `mover.rs`, `reload.rs` and `src/ops/prune.rs`,
//! `src/ops/backup/finish.rs`; each step names the function it stands for. Whoever changes the order of calls there
//! changes it here. The search is by hand: a hundred lines, where a model checker would be a dependency with a web
//! server in it.

mod state;
mod steps;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use state::{GRACE, R, State};
use steps::{AS_THE_CODE_IS, Rules, tidied};

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

/// Besides, where one prune is at work at a time, no index file names a pack that is not there, marked or not.
fn is_safe_and_neat(state: &State) -> Option<&'static str> {
    let neat = state.listed(state.index) & !state.packs == 0;
    is_safe_and_tidy(state).or((!neat).then_some("an index file names a pack that is gone"))
}

struct Search {
    states: usize,
    /// The first state found that must not be, and the way there.
    counterexample: Option<String>,
}

impl Search {
    /// Visits every state that can be reached, depth first: that takes little memory.
    fn run(rules: &Rules, judge: Judge) -> Self {
        let first = State::first();
        let mut seen = HashSet::from([key(&first)]);
        let (mut stack, mut way, mut next) = (vec![(0, None, first)], Vec::new(), Vec::new());
        while let Some((depth, step, state)) = stack.pop() {
            way.truncate(depth);
            way.extend(step);
            if let Some(why) = judge(&state) {
                let way = way.iter().fold(String::new(), |text, step| format!("{text}  {step:?}\n"));
                return Self { states: seen.len(), counterexample: Some(format!("{why}, after\n{way}{state:#?}")) };
            }
            rules.next(&state, &mut next);
            let new = next.drain(..).filter(|(_, after)| seen.insert(key(after)));
            stack.extend(new.map(|(step, after)| (way.len(), Some(step), after)));
        }
        Self { states: seen.len(), counterexample: None }
    }
}

/// 64 bits of hash stand for a state: of a million states, some two are alike with a chance of one in thirty million.
fn key(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
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
    holds(&Rules { crashes: 0, ..AS_THE_CODE_IS }, is_safe_and_neat, 1_000_000);
}

#[test]
fn two_writers_and_a_prune_of_which_one_dies_lose_nothing_and_leave_nothing() {
    holds(&Rules { runs: 1, ..AS_THE_CODE_IS }, is_safe_and_neat, 20_000);
}

#[test]
fn a_reader_that_opened_before_reads_all_that_is_there() {
    holds(&Rules { writers: 1, reads: true, ..AS_THE_CODE_IS }, is_safe_and_neat, 250_000);
}

#[test]
fn three_prunes_and_a_writer_lose_nothing_and_leave_nothing() {
    holds(&Rules { writers: 1, runs: 3, crashes: 0, ..AS_THE_CODE_IS }, is_safe_and_neat, 300_000);
}

/// `cargo test --release --test repo prune_model -- --ignored`: half a minute.
#[test]
#[ignore = "many states; see docs/testing.md"]
fn all_that_and_deaths_lose_nothing_and_leave_nothing() {
    holds(&AS_THE_CODE_IS, is_safe_and_neat, 2_800_000);
    holds(&Rules { writers: 1, runs: 3, ..AS_THE_CODE_IS }, is_safe_and_neat, 1_000_000);
    holds(&Rules { writers: 1, last_tick: 4, ..AS_THE_CODE_IS }, is_safe_and_neat, 100_000);
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
        is_safe_and_neat,
        "an index file names a pack that is gone",
    );
}

#[test]
fn a_pack_that_is_deleted_while_it_is_listed_is_found_out() {
    breaks(
        &Rules { unlists_first: false, ..AS_THE_CODE_IS },
        is_safe_and_neat,
        "an index file names a pack that is gone",
    );
}

/// Two prunes at once, of which one may die, and a writer.
const OVERLAP: Rules = Rules { writers: 1, at_once: 2, ..AS_THE_CODE_IS };

#[test]
fn two_prunes_that_overlap_lose_nothing_and_leave_nothing() {
    holds(&OVERLAP, is_safe_and_tidy, 400_000);
}

/// No backup may be running then, but other prunes may.
#[test]
fn two_prunes_that_overlap_and_do_not_wait_lose_nothing() {
    holds(&Rules { writers: 0, waits: false, crashes: 0, last_tick: 0, ..OVERLAP }, is_safe, 10_000);
}

/// `cargo test --release --test repo prune_model -- --ignored`: minutes.
#[test]
#[ignore = "many states; see docs/testing.md"]
fn three_prunes_that_overlap_lose_nothing_and_leave_nothing() {
    let three = Rules { runs: 3, at_once: 3, crashes: 0, holes: false, last_tick: GRACE, ..OVERLAP };
    holds(&three, is_safe_and_tidy, 25_000_000);
}

#[test]
#[ignore = "many states; see docs/testing.md"]
fn three_prunes_of_which_two_overlap_lose_nothing_and_leave_nothing() {
    holds(&Rules { runs: 3, crashes: 0, holes: false, ..OVERLAP }, is_safe_and_tidy, 15_000_000);
}

/// So it was: an index file of a prune that tarried listed a pack again which another had deleted with its mark.
#[test]
fn a_mark_that_goes_with_its_pack_is_found_out() {
    let rules = Rules { runs: 3, crashes: 0, holes: false, last_tick: GRACE, marks_outlive: false, ..OVERLAP };
    breaks(&rules, is_safe, "a snapshot needs a blob that is gone");
}

/// So it was: one prune lifted a mark upon which another was acting.
#[test]
fn a_mark_that_is_lifted_is_found_out() {
    let rules = Rules { runs: 3, crashes: 0, holes: false, last_tick: GRACE, unmarks: true, ..OVERLAP };
    breaks(&rules, is_safe, "a snapshot needs a blob that is gone");
}

#[test]
fn a_prune_that_does_not_look_at_what_it_relies_upon_is_found_out() {
    let rules = Rules { writers: 0, waits: false, crashes: 0, last_tick: 0, looks_at_homes: false, ..OVERLAP };
    breaks(&rules, is_safe, "a snapshot needs a blob that is gone");
}
