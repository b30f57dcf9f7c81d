//! Owners who are no longer in the tenant: whether new snapshots still have what was theirs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::merged::Merged;
use crate::format::collection::Gap;
use crate::format::snapshot::{CollectionState, CoverageEntry, Protection};
use crate::m365::discover::{Coverage, CoverageState, Discovery};
use crate::m365::{CollectionKey, Owner, Workload};
use crate::ops::catalog::Catalog;
use crate::snapshot::set::Leavers;

const DAY_US: i64 = 86_400_000_000;
/// So long a part that was there, and is nothing now, counts as one that cannot be read: the service errs at times.
const DOUBT_US: i64 = 7 * DAY_US;
/// The reason of a gap that says so.
pub(super) const DOUBTED: &str = "doubted";
const UNLISTED: &str = "it exists, but the tenant did not list it this time";

/// The owners of whom the snapshot before says that they left.
fn left_before(before: &Catalog) -> BTreeSet<&str> {
    let left = before.coverage.iter().filter(|entry| entry.state == Protection::Left);
    left.map(|entry| entry.owner.as_str()).collect()
}

/// The owners whose data stay as they are, even though they are back: they left while the set froze leavers.
pub(super) fn frozen(before: &Catalog, leavers: Leavers) -> BTreeSet<&str> {
    if leavers == Leavers::Freeze { left_before(before) } else { BTreeSet::new() }
}

/// What became of owners of the snapshot before whom discovery did not find.
#[derive(Default)]
pub(super) struct Missed<'a> {
    /// Collections of those who left that stay as they are.
    pub(super) left: Vec<&'a CollectionState>,
    /// Of whom could not be told whether they left.
    pub(super) unknown: Vec<Coverage>,
}

/// Asks after the owners of the snapshot before whose collections the new one does not have yet. A stopped run asks
/// nothing: who had left has left, and of others nothing is said. Whoever is there, and was to be listed and was not, is kept
/// as what cannot be read.
pub(super) async fn ask<'a>(
    merged: &Merged,
    before: &'a Catalog,
    discovery: &Discovery,
    leavers: Leavers,
    now_us: i64,
) -> Missed<'a> {
    let mut missed = Missed::default();
    let (left_before, frozen) = (left_before(before), frozen(before, leavers));
    let is_there = |state: &CoverageState| !matches!(state, CoverageState::NoSuchUser(_));
    let there: BTreeSet<&Owner> =
        discovery.coverage.iter().filter(|found| is_there(&found.state)).map(|found| &found.owner).collect();
    let mut left: BTreeMap<Owner, Option<bool>> = BTreeMap::new();
    let mut unlisted: BTreeSet<(Owner, Workload)> = BTreeSet::new();
    for earlier in before.states.values().filter(|state| !merged.states.contains_key(&state.key)) {
        let Ok(key) = earlier.key.parse::<CollectionKey>() else { continue };
        let is_listed = discovery.lists(&key);
        let CollectionKey { owner, workload, .. } = key;
        let is_frozen = frozen.contains(owner.to_string().as_str());
        if !is_frozen && (there.contains(&owner) || (leavers == Leavers::DropAfterDays(0) && !is_listed)) {
            continue;
        }
        if !left.contains_key(&owner) {
            let answer = match is_frozen || merged.stopped {
                true => Ok(left_before.contains(owner.to_string().as_str())),
                false => discovery.has_left(&owner).await,
            };
            if let Err(error) = &answer {
                let reason = format!("whether the owner left the tenant is not known: {}", error.chain());
                let state = CoverageState::Unreadable(reason);
                let (owner, name) = (owner.clone(), name_in(earlier));
                missed.unknown.push(Coverage { owner, name, workload: None, state });
            }
            left.insert(owner.clone(), answer.ok());
        }
        match left[&owner] {
            Some(true) if stays(earlier, leavers, now_us) => missed.left.push(earlier),
            Some(false) if is_listed && !is_frozen && !merged.stopped && unlisted.insert((owner.clone(), workload)) => {
                let state = CoverageState::Unreadable(UNLISTED.to_owned());
                let (name, workload) = (name_in(earlier), Some(workload));
                missed.unknown.push(Coverage { owner, name, workload, state });
            }
            _ => {}
        }
    }
    missed
}

/// Looks at parts of which discovery says that there is nothing, and of which the snapshot before has something: nobody has a
/// mailbox any more, say, who is in the tenant still. For a week that is doubted; then they stay as those of leavers do. The
/// week begins when it is told first: when they were read last may be long ago.
pub(super) fn vanished<'a>(
    before: &'a Catalog,
    discovery: &mut Discovery,
    leavers: Leavers,
    now_us: i64,
) -> Vec<&'a CollectionState> {
    let there: HashSet<String> = discovery.collections.iter().map(|collection| collection.key().to_string()).collect();
    let frozen = frozen(before, leavers);
    let mut earlier: HashMap<Owner, Vec<(Workload, &CollectionState)>> = HashMap::new();
    for state in before.states.values().filter(|state| !there.contains(&state.key)) {
        match state.key.parse() {
            Ok(CollectionKey { owner, workload, .. }) if !frozen.contains(owner.to_string().as_str()) => {
                earlier.entry(owner).or_default().push((workload, state));
            }
            _ => {}
        }
    }
    let beside = sites_beside(discovery, &earlier);
    discovery.coverage.extend(beside);
    let mut kept = Vec::new();
    for found in &mut discovery.coverage {
        let CoverageState::Nothing(reason) = &found.state else { continue };
        let of_it = earlier.get(&found.owner).into_iter().flatten();
        let states: Vec<&CollectionState> =
            of_it.filter(|(workload, _)| found.workload.is_none_or(|of| of == *workload)).map(|(_, s)| *s).collect();
        if states.is_empty() {
            continue;
        }
        if doubted_since(before, &states).is_none_or(|since| now_us.saturating_sub(since) <= DOUBT_US) {
            found.state = CoverageState::Doubted(format!("{reason}, though there was something before"));
            continue;
        }
        let staying: Vec<&CollectionState> = states.into_iter().filter(|s| stays(s, leavers, now_us)).collect();
        if !staying.is_empty() {
            found.state = CoverageState::Vanished(format!("{reason} any more; kept as it was read last"));
            kept.extend(staying);
        }
    }
    kept
}

/// The sites that could not be looked for, because one of their collection, below which they may lie, is told to be gone.
fn sites_beside(discovery: &Discovery, earlier: &HashMap<Owner, Vec<(Workload, &CollectionState)>>) -> Vec<Coverage> {
    let collection = |id: &str| id.rsplit_once(',').map_or(id, |(collection, _)| collection).to_owned();
    let looked_at: HashSet<&Owner> = discovery.coverage.iter().map(|found| &found.owner).collect();
    let gone: HashMap<String, &CoverageState> = discovery
        .coverage
        .iter()
        .filter_map(|found| match (&found.owner, &found.workload, &found.state) {
            (Owner::Site(id), None, state @ CoverageState::Nothing(_)) => Some((collection(id), state)),
            _ => None,
        })
        .collect();
    let beside = earlier.iter().filter_map(|(owner, states)| {
        let Owner::Site(id) = owner else { return None };
        let state = gone.get(&collection(id)).filter(|_| !looked_at.contains(owner))?;
        let name = states.first().map(|(_, state)| name_in(state)).unwrap_or_default();
        Some(Coverage { owner: owner.clone(), name, workload: None, state: (*state).clone() })
    });
    beside.collect()
}

/// Since when it is told of collections that they are gone, if that was told before.
fn doubted_since(before: &Catalog, states: &[&CollectionState]) -> Option<i64> {
    let of_them = |gap: &&Gap| gap.reason == DOUBTED && states.iter().any(|state| state.key == gap.collection);
    before.gaps.iter().filter(of_them).map(|gap| gap.since_us).min()
}

fn stays(state: &CollectionState, leavers: Leavers, now_us: i64) -> bool {
    match leavers {
        Leavers::Keep | Leavers::Freeze => true,
        Leavers::DropAfterDays(days) => now_us.saturating_sub(state.read_us) <= i64::from(days) * DAY_US,
    }
}

/// Says of collections that they are of owners who left.
pub(super) fn tell(merged: &mut Merged, before: &Catalog, left: &[&CollectionState], now_us: i64) {
    for state in left {
        let Ok(CollectionKey { owner, workload, .. }) = state.key.parse::<CollectionKey>() else { continue };
        let (owner, workload) = (owner.to_string(), workload.word().to_owned());
        let items = state.items.map_or(0, |tree| tree.count);
        // What is told of the owner as a whole gives way to what is told of each part.
        merged.coverage.retain(|entry| entry.owner != owner || entry.state == Protection::Left);
        if let Some(entry) = merged.coverage.iter_mut().find(|e| e.owner == owner && e.workload == workload) {
            entry.items += items;
            continue;
        }
        let name = name_in(state);
        let reason = "the owner is no longer in the tenant; kept as it was read last".to_owned();
        let mut entry =
            CoverageEntry { owner, name, workload, state: Protection::Left, reason, items, gaps: 0, since_us: now_us };
        let same = |old: &&CoverageEntry| old.owner == entry.owner && old.workload == entry.workload;
        if let Some(old) = before.coverage.iter().find(same).filter(|old| old.state == Protection::Left) {
            entry.since_us = old.since_us;
        }
        merged.coverage.push(entry);
    }
}

/// The owner's name in the name of a collection.
fn name_in(state: &CollectionState) -> String {
    state.name.split('/').nth(1).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::set::Selection;

    const NOW_US: i64 = 100 * DAY_US;

    fn state(key: &str, read_us: i64) -> CollectionState {
        CollectionState {
            key: key.to_owned(),
            name: "sites/name/Lists".to_owned(),
            items: None,
            children: None,
            cursors: None,
            read_us,
            complete: true,
        }
    }

    fn before(keys: &[&str]) -> Catalog {
        let mut before = Catalog::default();
        before.states = keys.iter().map(|key| ((*key).to_owned(), state(key, 3))).collect();
        before
    }

    fn nothing(owner: Owner, workload: Option<Workload>) -> Coverage {
        Coverage { owner, name: String::new(), workload, state: CoverageState::Nothing("no such thing".to_owned()) }
    }

    fn found(coverage: Vec<Coverage>) -> Discovery {
        let mut discovery = Discovery::default();
        discovery.coverage = coverage;
        let all = crate::snapshot::set::Workload::ALL;
        discovery.rules = Some(Selection::of_users(vec!["*".parse().unwrap()], vec![], all));
        discovery
    }

    /// What the new snapshot has that was not read, and its gaps.
    fn kept(before: &Catalog, discovery: &mut Discovery, leavers: Leavers, now_us: i64) -> (Vec<String>, Vec<Gap>) {
        let vanished = vanished(before, discovery, leavers, now_us);
        let mut merged = Merged::new(before, Vec::new(), &discovery.coverage, now_us);
        merged.keep_as_they_are(before, &vanished);
        let mut keys: Vec<String> = merged.states.into_keys().collect();
        keys.sort();
        (keys, merged.gaps)
    }

    #[test]
    fn a_whole_owner_is_doubted_as_a_part_is_with_the_sites_that_may_lie_below() {
        let before = before(&["sites/h,1,2/list/7", "sites/h,1,3/pages", "sites/h,2,4/pages", "users/u/mail"]);
        let site = || nothing(Owner::Site("h,1,2".into()), None);
        let of_sites = ["sites/h,1,2/list/7", "sites/h,1,3/pages"];
        let (keys, gaps) = kept(&before, &mut found(vec![site()]), Leavers::DropAfterDays(0), NOW_US);
        assert_eq!(keys, of_sites);
        assert!(gaps.len() == 2 && gaps.iter().all(|gap| gap.reason == DOUBTED), "{gaps:?}");
        // Of one that was looked at only what it has now is believed.
        let beside = Coverage { state: CoverageState::Covered(1), ..nothing(Owner::Site("h,1,3".into()), None) };
        let (keys, _) = kept(&before, &mut found(vec![site(), beside]), Leavers::DropAfterDays(0), NOW_US);
        assert_eq!(keys, ["sites/h,1,2/list/7"]);
        // A user who is a guest now.
        let guest = nothing(Owner::User("u".into()), None);
        let (keys, _) = kept(&before, &mut found(vec![guest]), Leavers::DropAfterDays(0), NOW_US);
        assert_eq!(keys, ["users/u/mail"]);
    }

    #[test]
    fn the_week_of_doubt_begins_when_it_is_told_first() {
        let coverage = || vec![nothing(Owner::User("u".into()), Some(Workload::Mail))];
        let mut before = before(&["users/u/mail"]);
        // It could not be read for long: that is no doubt.
        before.gaps = vec![Gap {
            collection: "users/u/mail".to_owned(),
            id: String::new(),
            name: String::new(),
            kind: None,
            reason: "unreadable".to_owned(),
            text: "refused".to_owned(),
            since_us: 5,
        }];
        let mut days = Vec::new();
        for day in 0..12 {
            let now_us = NOW_US + day * DAY_US;
            let (keys, gaps) = kept(&before, &mut found(coverage()), Leavers::DropAfterDays(0), now_us);
            if keys.is_empty() {
                break;
            }
            assert!(gaps.len() == 1 && gaps[0].since_us == NOW_US, "{gaps:?}");
            before.gaps = gaps;
            days.push(day);
        }
        assert_eq!(days, [0, 1, 2, 3, 4, 5, 6, 7]);
        let (keys, gaps) = kept(&before, &mut found(coverage()), Leavers::Keep, NOW_US + 9 * DAY_US);
        assert_eq!((keys, gaps), (vec!["users/u/mail".to_owned()], vec![]));
    }

    /// Without a client every owner is there.
    #[tokio::test]
    async fn who_is_there_and_was_not_listed_is_kept_with_a_gap() {
        let before = before(&["sites/h,1,2/list/7", "sites/h,1,2/pages", "teams/t/team", "users/u/mail"]);
        for leavers in [Leavers::Keep, Leavers::DropAfterDays(0)] {
            let discovery = found(Vec::new());
            let mut merged = Merged::new(&before, Vec::new(), &[], NOW_US);
            let missed = ask(&merged, &before, &discovery, leavers, NOW_US).await;
            assert!(missed.left.is_empty() && missed.unknown.len() == 3, "{:?}", missed.unknown);
            merged.keep_unreadable(&before, &missed.unknown, NOW_US);
            assert_eq!(merged.states.len(), 3, "users are asked for one by one, or all are listed");
            assert!(merged.gaps.len() == 3 && merged.gaps.iter().all(|gap| gap.text == UNLISTED));
            // What the selection does not read any more is to go.
            let users = Selection::of_users(vec!["u".parse().unwrap()], vec![], crate::snapshot::set::Workload::ALL);
            let mut discovery = found(Vec::new());
            discovery.rules = Some(users);
            let missed =
                ask(&Merged::new(&before, Vec::new(), &[], NOW_US), &before, &discovery, leavers, NOW_US).await;
            assert!(missed.unknown.is_empty(), "{:?}", missed.unknown);
        }
    }
}
