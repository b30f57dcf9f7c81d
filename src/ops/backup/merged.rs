//! What becomes of the parts of a run: the collections, gaps and coverage of the new snapshot.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::collection::Outcome;
use super::{exclude, leavers, unread};
use crate::format::collection::Gap;
use crate::format::snapshot::{CollectionState, CoverageEntry, Protection};
use crate::m365::discover::{Coverage, CoverageState};
use crate::m365::{CollectionKey, Owner, Workload, kinds};
use crate::ops::catalog::Catalog;
use crate::tree::collection::EditCounts;

/// The collections of the new snapshot: what was read now, and what stays as it was.
pub(super) struct Merged {
    pub(super) states: HashMap<String, CollectionState>,
    pub(super) gaps: Vec<Gap>,
    pub(super) counts: EditCounts,
    pub(super) bytes_read: u64,
    /// The logical bytes of collections that were read now: those without cursors have no other place for them.
    pub(super) logical: HashMap<String, u64>,
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
            logical: HashMap::new(),
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
            merged.logical.extend(outcome.logical.map(|bytes| (outcome.state.key.clone(), bytes)));
            merged.states.insert(outcome.state.key.clone(), outcome.state);
        }
        merged.keep_unreadable(before, coverage, now_us);
        merged
    }

    /// Says how everything that was found stands in the snapshot.
    pub(super) fn cover(&mut self, before: &Catalog, found: &[Coverage], now_us: i64) {
        let states = by_owner(self.states.values(), |state| &state.key);
        let gaps = by_owner(&self.gaps, |gap| &gap.collection);
        let mut coverage: BTreeMap<(String, String), CoverageEntry> = BTreeMap::new();
        for told in found.iter().filter_map(|found| entry(found, &states, &gaps)) {
            match coverage.entry((told.owner.clone(), told.workload.clone())) {
                Entry::Vacant(place) => drop(place.insert(told)),
                Entry::Occupied(mut place) => place.get_mut().add(told),
            }
        }
        self.coverage = coverage.into_values().collect();
        self.date_coverage(before, now_us);
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

    /// Collections of owners who could not be looked at stay as they were, with a gap that says so.
    pub(super) fn keep_unreadable(&mut self, before: &Catalog, coverage: &[Coverage], now_us: i64) {
        let earlier = by_owner(before.states.values(), |state| &state.key);
        for found in coverage {
            let (reason, text) = match &found.state {
                CoverageState::Unreadable(text) => ("unreadable", text),
                CoverageState::Doubted(text) => (leavers::DOUBTED, text),
                _ => continue,
            };
            let title = found.workload.map_or("", |w| w.title());
            let prefix = format!("{}/{}", found.owner, found.workload.map_or("", |w| w.word()));
            let kept = of(found, &earlier, |state| &state.key);
            let keys = || kept.iter().map(|state| state.key.as_str());
            let new = keys().filter(|key| !self.states.contains_key(*key)).min();
            let key = new.or_else(|| keys().min()).unwrap_or(prefix.trim_end_matches('/')).to_owned();
            for state in &kept {
                if self.states.contains_key(&state.key) {
                    continue;
                }
                self.gaps.extend(before.gaps_of(&state.key).into_iter().filter(|g| !g.id.is_empty()));
                self.states.insert(state.key.clone(), CollectionState { complete: false, ..(*state).clone() });
            }
            // That something is told to be gone is doubted from that day on, however long it could not be read before.
            let same = |gap: &Gap| gap.id.is_empty() && gap.reason == reason;
            let since_us = before.gaps_of(&key).into_iter().find(same).map_or(now_us, |gap| gap.since_us);
            self.gaps.push(Gap {
                collection: key,
                id: String::new(),
                name: format!("{}/{}/{title}", found.owner.word(), found.name),
                kind: None,
                reason: reason.to_owned(),
                text: text.clone(),
                since_us,
            });
        }
    }

    /// Takes over collections of the snapshot before, which nobody tries to read any more.
    pub(super) fn keep_as_they_are(&mut self, before: &Catalog, states: &[&CollectionState]) {
        for state in states {
            self.gaps.extend(before.gaps_of(&state.key).into_iter().filter(|gap| !gap.id.is_empty()));
            self.states.insert(state.key.clone(), (*state).clone());
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

    /// Counts the items of collections that are in the snapshot no more.
    pub(super) fn items_gone(&self, before: &Catalog) -> u64 {
        let gone = before.states.values().filter(|state| !self.states.contains_key(&state.key));
        gone.map(|state| state.items.map_or(0, |tree| tree.count)).sum()
    }
}

/// Says whether a collection is of what could not be looked at.
fn is_meant(found: &Coverage, key: &str) -> bool {
    let Ok(key) = key.parse::<CollectionKey>() else { return false };
    let whose = match (&found.owner, &key.owner) {
        // Nobody's part could be looked at.
        (Owner::Tenant, _) => found.workload.is_some() || key.owner == Owner::Tenant,
        // Groups or teams could not be listed: all of them.
        (Owner::Group(one), Owner::Group(_)) | (Owner::Team(one), Owner::Team(_)) if one.is_empty() => true,
        // Of a site collection, all sites: their ids begin with its.
        (Owner::Site(whole), Owner::Site(part)) => {
            part == whole || part.strip_prefix(whole.as_str()).is_some_and(|rest| rest.starts_with(','))
        }
        (of, owner) => of == owner,
    };
    whose && found.workload.is_none_or(|workload| workload == key.workload)
}

fn left_out<'a>(states: impl Iterator<Item = &'a CollectionState>) -> String {
    let (count, exact) = states.filter_map(exclude::left_out).fold((0, true), |(n, e), (m, f)| (n + m, e && f));
    exclude::sentence(count, exact)
}

/// Things by the owner in their collections' keys.
type ByOwner<'a, T> = BTreeMap<String, Vec<&'a T>>;

fn by_owner<'a, T>(things: impl IntoIterator<Item = &'a T>, key: impl Fn(&T) -> &str) -> ByOwner<'a, T> {
    let owner_of =
        |key: &str| key.parse::<CollectionKey>().map_or_else(|_| key.to_owned(), |key| key.owner.to_string());
    let mut all = ByOwner::new();
    for thing in things {
        all.entry(owner_of(key(thing))).or_default().push(thing);
    }
    all
}

/// The things that belong to what was found. What could not be looked at may reach beyond its owner: to owners whose
/// names begin alike, and from the tenant to everybody.
fn of<'a, T>(found: &Coverage, all: &ByOwner<'a, T>, key: impl Fn(&T) -> &str) -> Vec<&'a T> {
    let owner = found.owner.to_string();
    let (from, reaches) = match (&found.state, &found.owner) {
        (CoverageState::Unreadable(_) | CoverageState::Doubted(_), Owner::Tenant) => ("", true),
        (CoverageState::Unreadable(_) | CoverageState::Doubted(_), _) => (owner.as_str(), true),
        _ => (owner.as_str(), false),
    };
    let near = all.range::<str, _>((Bound::Included(from), Bound::Unbounded));
    let near = near.take_while(|(one, _)| if reaches { one.starts_with(from) } else { **one == owner });
    near.flat_map(|(_, things)| things).copied().filter(|thing| is_meant(found, key(thing))).collect()
}

/// How what was found stands in the snapshot.
fn entry(found: &Coverage, states: &ByOwner<'_, CollectionState>, gaps: &ByOwner<'_, Gap>) -> Option<CoverageEntry> {
    // What stands for no workload and is not there, or cannot be read, is nothing that collections hold.
    let is_empty = |state: &CoverageState| {
        matches!(state, CoverageState::Nothing(_) | CoverageState::Impossible(_) | CoverageState::NotSelected)
    };
    let states = match found.workload {
        None if is_empty(&found.state) => Vec::new(),
        _ => of(found, states, |state| &state.key),
    };
    let gaps = of(found, gaps, |gap| &gap.collection);
    let unread = unread::reason(states.iter().copied());
    let (state, reason) = match &found.state {
        CoverageState::Covered(_) if gaps.is_empty() && !unread.is_empty() && states.iter().all(|s| s.complete) => {
            (Protection::Partly, unread.to_owned())
        }
        CoverageState::Covered(_) if gaps.is_empty() && states.iter().all(|s| s.complete) => (
            Protection::Protected,
            found.workload.map_or(String::new(), |workload| kinds::not_told(&found.owner, workload).to_owned()),
        ),
        CoverageState::Covered(_) => {
            let why = gaps.first().map_or("it was not read to its end".to_owned(), |gap| gap.text.clone());
            (Protection::Partly, why)
        }
        CoverageState::Unreadable(reason) | CoverageState::Doubted(reason) if states.is_empty() => {
            (Protection::Unreadable, reason.clone())
        }
        CoverageState::Unreadable(reason) | CoverageState::Doubted(reason) => {
            (Protection::Partly, format!("as it was read last: {reason}"))
        }
        CoverageState::Nothing(reason) => (Protection::Nothing, reason.clone()),
        CoverageState::Vanished(reason) => (Protection::Partly, reason.clone()),
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
    let workload = found.workload.map_or("", Workload::word).to_owned();
    let (owner, name) = (found.owner.to_string(), found.name.clone());
    Some(CoverageEntry { owner, name, workload, state, reason, items, gaps: gaps.len() as u64, since_us: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_looked_at_is_kept_and_nothing_else() {
        let found = |owner: Owner, workload| Coverage {
            owner,
            name: String::new(),
            workload,
            state: CoverageState::Unreadable(String::new()),
        };
        let site = |id: &str| Owner::Site(id.to_owned());
        for (found, key, meant) in [
            (found(Owner::User("a".into()), Some(Workload::Mail)), "users/a/mail", true),
            (found(Owner::User("a".into()), Some(Workload::Mail)), "users/ab/mail", false),
            (found(Owner::User("a".into()), Some(Workload::Mail)), "users/a/contacts", false),
            (found(Owner::User("a".into()), None), "users/a/onedrive/x", true),
            (found(site("h,1,2"), Some(Workload::Site)), "sites/h,1,2/site", true),
            (found(site("h,1,2"), Some(Workload::List)), "sites/h,1,2/site", false),
            // A whole collection, with the sites below.
            (found(site("h,1"), None), "sites/h,1,2/list/7", true),
            (found(site("h,1"), None), "sites/h,1,3/pages", true),
            (found(site("h,1"), None), "sites/h,12,3/pages", false),
            // Groups and teams that nobody could list.
            (found(Owner::Group(String::new()), Some(Workload::Planner)), "groups/a/planner", true),
            (found(Owner::Group(String::new()), Some(Workload::Planner)), "groups/a/conversations", false),
            (found(Owner::Team(String::new()), Some(Workload::Channel)), "teams/a/channel/7", true),
            (found(Owner::Team(String::new()), Some(Workload::Channel)), "groups/a/planner", false),
            // Nobody's.
            (found(Owner::Tenant, Some(Workload::List)), "sites/h,1,2/list/7", true),
            (found(Owner::Tenant, Some(Workload::List)), "sites/h,1,2/pages", false),
            (found(Owner::Tenant, Some(Workload::TermStore)), "tenant/terms", true),
            (found(Owner::Tenant, None), "users/a/mail", false),
        ] {
            let key = key.to_owned();
            let of_it = of(&found, &by_owner([&key], |key| key), |key| key);
            assert_eq!(!of_it.is_empty(), meant, "{found:?} {key}");
        }
    }
}
