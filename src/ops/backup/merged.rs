//! What becomes of the parts of a run: the collections, gaps and coverage of the new snapshot.

use std::collections::HashMap;

use super::collection::Outcome;
use super::exclude;
use crate::format::collection::Gap;
use crate::format::snapshot::{CollectionState, CoverageEntry, Protection};
use crate::m365::Workload;
use crate::m365::discover::{Coverage, CoverageState};
use crate::ops::catalog::Catalog;
use crate::tree::collection::EditCounts;

/// The collections of the new snapshot: what was read now, and what stays as it was.
pub(super) struct Merged {
    pub(super) states: HashMap<String, CollectionState>,
    pub(super) gaps: Vec<Gap>,
    pub(super) counts: EditCounts,
    pub(super) bytes_read: u64,
    pub(super) complete: bool,
    pub(super) stopped: bool,
    pub(super) coverage: Vec<CoverageEntry>,
}

impl Merged {
    pub(super) fn new(before: &Catalog, outcomes: Vec<Outcome>, coverage: &[Coverage], now_us: i64) -> Self {
        let mut merged = Self {
            states: HashMap::new(),
            gaps: Vec::new(),
            counts: EditCounts::default(),
            bytes_read: 0,
            complete: true,
            stopped: false,
            coverage: Vec::new(),
        };
        for outcome in outcomes {
            merged.complete &= outcome.state.complete;
            merged.stopped |= outcome.stopped;
            merged.counts.added += outcome.counts.added;
            merged.counts.changed += outcome.counts.changed;
            merged.counts.removed += outcome.counts.removed;
            merged.bytes_read += outcome.bytes_read;
            merged.gaps.extend(outcome.gaps);
            merged.states.insert(outcome.state.key.clone(), outcome.state);
        }
        merged.keep_unreadable(before, coverage, now_us);
        merged
    }

    /// Says how everything that was found stands in the snapshot.
    pub(super) fn cover(&mut self, before: &Catalog, found: &[Coverage], now_us: i64) {
        self.coverage = found.iter().filter_map(|found| self.entry(found)).collect();
        self.date_coverage(before, now_us);
    }

    /// How what was found stands in the snapshot.
    fn entry(&self, found: &Coverage) -> Option<CoverageEntry> {
        let owner = found.owner.to_string();
        let workload = found.workload.map_or("", Workload::word);
        let place = format!("{owner}/{workload}");
        let is_of = |key: &str| key.strip_prefix(&place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let states: Vec<&CollectionState> = self.states.values().filter(|state| is_of(&state.key)).collect();
        let gaps: Vec<&Gap> = self.gaps.iter().filter(|gap| is_of(&gap.collection)).collect();
        let (state, reason) = match &found.state {
            CoverageState::Covered(_) if gaps.is_empty() && states.iter().all(|s| s.complete) => {
                (Protection::Protected, String::new())
            }
            CoverageState::Covered(_) => {
                let why = gaps.first().map_or("it was not read to its end".to_owned(), |gap| gap.text.clone());
                (Protection::Partly, why)
            }
            CoverageState::Unreadable(reason) if states.is_empty() => (Protection::Unreadable, reason.clone()),
            CoverageState::Unreadable(reason) => (Protection::Partly, format!("as it was read last: {reason}")),
            CoverageState::Nothing(reason) => (Protection::Nothing, reason.clone()),
            CoverageState::Impossible(reason) => (Protection::Impossible, reason.clone()),
            CoverageState::NotSelected => (Protection::NotSelected, String::new()),
            // Nobody has this name: that is said in the run, and there is no owner to list.
            CoverageState::NoSuchUser(_) => return None,
        };
        let left_out = match state {
            Protection::Protected | Protection::Partly => left_out(states.iter().copied()),
            _ => String::new(),
        };
        let reason =
            if reason.is_empty() || left_out.is_empty() { reason + &left_out } else { format!("{reason}; {left_out}") };
        let items = states.iter().map(|s| s.items.map_or(0, |tree| tree.count)).sum();
        let (name, workload) = (found.name.clone(), workload.to_owned());
        Some(CoverageEntry { owner, name, workload, state, reason, items, gaps: gaps.len() as u64, since_us: 0 })
    }

    /// An entry that says what it said before keeps its date.
    fn date_coverage(&mut self, before: &Catalog, now_us: i64) {
        let old: HashMap<(&str, &str), &CoverageEntry> =
            before.coverage.iter().map(|entry| ((entry.owner.as_str(), entry.workload.as_str()), entry)).collect();
        for entry in self.coverage.iter_mut().filter(|entry| entry.since_us == 0) {
            let same = old.get(&(entry.owner.as_str(), entry.workload.as_str())).filter(|old| old.state == entry.state);
            entry.since_us = same.map_or(now_us, |old| old.since_us);
        }
    }

    /// Collections of users who could not be looked at stay as they were, with a gap that says so.
    fn keep_unreadable(&mut self, before: &Catalog, coverage: &[Coverage], now_us: i64) {
        for found in coverage {
            let CoverageState::Unreadable(reason) = &found.state else { continue };
            let word = found.workload.map_or("", |w| w.word());
            let prefix = format!("{}/{word}", found.owner);
            let is_of = |key: &str| {
                key.strip_prefix(&prefix)
                    .is_some_and(|rest| word.is_empty() || rest.is_empty() || rest.starts_with('/'))
            };
            let kept: Vec<&CollectionState> = before.states.values().filter(|s| is_of(&s.key)).collect();
            for state in &kept {
                if self.states.contains_key(&state.key) {
                    continue;
                }
                self.gaps.extend(before.gaps_of(&state.key).into_iter().filter(|g| !g.id.is_empty()));
                self.states.insert(state.key.clone(), CollectionState { complete: false, ..(*state).clone() });
            }
            let key = kept.first().map_or(prefix.trim_end_matches('/').to_owned(), |s| s.key.clone());
            let since_us = before.gaps_of(&key).iter().find(|g| g.id.is_empty()).map_or(now_us, |g| g.since_us);
            let title = found.workload.map_or("", |w| w.title());
            self.gaps.push(Gap {
                collection: key,
                id: String::new(),
                name: format!("{}/{}/{title}", found.owner.word(), found.name),
                kind: None,
                reason: "unreadable".to_owned(),
                text: reason.clone(),
                since_us,
            });
        }
    }

    /// After a stop, collections that were not reached stay as they were.
    pub(super) fn keep_unreached(&mut self, before: &Catalog) {
        for (key, state) in &before.states {
            if !self.states.contains_key(key) {
                self.states.insert(key.clone(), CollectionState { complete: false, ..state.clone() });
                self.gaps.extend(before.gaps_of(key));
            }
        }
        self.complete = false;
    }

    /// What the exclusions leave out of all collections, in words.
    pub(super) fn left_out(&self) -> String {
        left_out(self.states.values())
    }

    pub(super) fn items(&self) -> u64 {
        self.states.values().map(|s| s.items.map_or(0, |t| t.count)).sum()
    }
}

fn left_out<'a>(states: impl Iterator<Item = &'a CollectionState>) -> String {
    let (count, exact) = states.filter_map(exclude::left_out).fold((0, true), |(n, e), (m, f)| (n + m, e && f));
    exclude::sentence(count, exact)
}
