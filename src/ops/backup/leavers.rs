//! Owners who are no longer in the tenant: whether new snapshots still have what was theirs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::merged::Merged;
use crate::format::snapshot::{CollectionState, CoverageEntry, Protection};
use crate::m365::discover::{Coverage, CoverageState, Discovery};
use crate::m365::{CollectionKey, Owner, Workload};
use crate::ops::catalog::Catalog;
use crate::snapshot::set::Leavers;

const DAY_US: i64 = 86_400_000_000;
/// So long a part that was there, and is nothing now, counts as one that cannot be read: the service errs at times.
const DOUBT_US: i64 = 7 * DAY_US;

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
/// nothing: who had left has left, and of others nothing is said.
pub(super) async fn ask<'a>(
    merged: &Merged,
    before: &'a Catalog,
    discovery: &Discovery,
    leavers: Leavers,
    now_us: i64,
) -> Missed<'a> {
    let mut missed = Missed::default();
    if leavers == Leavers::DropAfterDays(0) {
        return missed;
    }
    let (left_before, frozen) = (left_before(before), frozen(before, leavers));
    let is_there = |state: &CoverageState| !matches!(state, CoverageState::NoSuchUser(_));
    let there: BTreeSet<&Owner> =
        discovery.coverage.iter().filter(|found| is_there(&found.state)).map(|found| &found.owner).collect();
    let mut left: BTreeMap<Owner, bool> = BTreeMap::new();
    for earlier in before.states.values().filter(|state| !merged.states.contains_key(&state.key)) {
        let Ok(CollectionKey { owner, .. }) = earlier.key.parse::<CollectionKey>() else { continue };
        let is_frozen = frozen.contains(owner.to_string().as_str());
        if !is_frozen && there.contains(&owner) {
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
            left.insert(owner.clone(), answer.unwrap_or(false));
        }
        if left[&owner] && stays(earlier, leavers, now_us) {
            missed.left.push(earlier);
        }
    }
    missed
}

/// Looks at parts of which discovery says that there is nothing, and of which the snapshot before has something: nobody has a
/// mailbox any more, say, who is in the tenant still. For a week that is doubted; then they stay as those of leavers do.
pub(super) fn vanished<'a>(
    before: &'a Catalog,
    discovery: &mut Discovery,
    leavers: Leavers,
    now_us: i64,
) -> Vec<&'a CollectionState> {
    let mut earlier: HashMap<(Owner, Workload), Vec<&CollectionState>> = HashMap::new();
    for state in before.states.values() {
        if let Ok(CollectionKey { owner, workload, .. }) = state.key.parse() {
            earlier.entry((owner, workload)).or_default().push(state);
        }
    }
    for collection in &discovery.collections {
        let key = collection.key();
        earlier.remove(&(key.owner.clone(), key.workload));
    }
    let mut kept = Vec::new();
    for found in &mut discovery.coverage {
        let (CoverageState::Nothing(reason), Some(workload)) = (&found.state, found.workload) else { continue };
        let Some(states) = earlier.get(&(found.owner.clone(), workload)) else { continue };
        if states.iter().any(|state| now_us.saturating_sub(state.read_us) <= DOUBT_US) {
            found.state = CoverageState::Unreadable(format!("{reason}, though there was something before"));
        } else if states.iter().all(|state| stays(state, leavers, now_us)) {
            found.state = CoverageState::Vanished(format!("{reason} any more; kept as it was read last"));
            kept.extend(states.iter().copied());
        }
    }
    kept
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
