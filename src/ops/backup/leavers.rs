//! Owners who are no longer in the tenant: whether new snapshots still have what was theirs.

use std::collections::BTreeSet;

use super::merged::Merged;
use crate::error::Result;
use crate::format::snapshot::{CollectionState, CoverageEntry, Protection};
use crate::m365::discover::{CoverageState, Discovery};
use crate::m365::{CollectionKey, Owner};
use crate::ops::catalog::Catalog;
use crate::snapshot::set::Leavers;

const DAY_US: i64 = 86_400_000_000;

/// The owners whose data stay as they are, even though they are back: they left while the set froze leavers.
pub(super) fn frozen(before: &Catalog, leavers: Leavers) -> BTreeSet<String> {
    let left = before.coverage.iter().filter(|entry| entry.state == Protection::Left);
    left.filter(|_| leavers == Leavers::Freeze).map(|entry| entry.owner.clone()).collect()
}

/// Takes over from the snapshot before what belongs to owners who left.
pub(super) async fn keep(
    merged: &mut Merged,
    before: &Catalog,
    discovery: &Discovery,
    leavers: Leavers,
    now_us: i64,
) -> Result<()> {
    if leavers == Leavers::DropAfterDays(0) {
        return Ok(());
    }
    let frozen = frozen(before, leavers);
    let is_there = |state: &CoverageState| !matches!(state, CoverageState::NoSuchUser(_));
    let there: BTreeSet<&Owner> =
        discovery.coverage.iter().filter(|found| is_there(&found.state)).map(|found| &found.owner).collect();
    let mut asked: BTreeSet<Owner> = BTreeSet::new();
    let mut left: BTreeSet<Owner> = BTreeSet::new();
    for state in before.states.values() {
        if merged.states.contains_key(&state.key) {
            continue;
        }
        let Ok(CollectionKey { owner, .. }) = state.key.parse::<CollectionKey>() else { continue };
        let is_frozen = frozen.contains(&owner.to_string());
        if !is_frozen && there.contains(&owner) {
            continue;
        }
        if asked.insert(owner.clone()) && (is_frozen || discovery.has_left(&owner).await?) {
            left.insert(owner.clone());
        }
        if left.contains(&owner) && stays(state, leavers, now_us) {
            keep_one(merged, before, state, &owner, now_us);
        }
    }
    Ok(())
}

fn stays(state: &CollectionState, leavers: Leavers, now_us: i64) -> bool {
    match leavers {
        Leavers::Keep | Leavers::Freeze => true,
        Leavers::DropAfterDays(days) => now_us.saturating_sub(state.read_us) <= i64::from(days) * DAY_US,
    }
}

fn keep_one(merged: &mut Merged, before: &Catalog, state: &CollectionState, owner: &Owner, now_us: i64) {
    merged.gaps.extend(before.gaps_of(&state.key));
    merged.states.insert(state.key.clone(), state.clone());
    let word = state.key.parse::<CollectionKey>().map_or("", |key| key.workload.word());
    let (owner, workload) = (owner.to_string(), word.to_owned());
    let items = state.items.map_or(0, |tree| tree.count);
    // What is told of the owner as a whole gives way to what is told of each part.
    merged.coverage.retain(|entry| entry.owner != owner || entry.state == Protection::Left);
    if let Some(entry) = merged.coverage.iter_mut().find(|e| e.owner == owner && e.workload == workload) {
        entry.items += items;
        return;
    }
    let name = state.name.split('/').nth(1).unwrap_or_default().to_owned();
    let reason = "the owner is no longer in the tenant; kept as it was read last".to_owned();
    let mut entry =
        CoverageEntry { owner, name, workload, state: Protection::Left, reason, items, gaps: 0, since_us: now_us };
    let same = |old: &&CoverageEntry| old.owner == entry.owner && old.workload == entry.workload;
    if let Some(old) = before.coverage.iter().find(same).filter(|old| old.state == Protection::Left) {
        entry.since_us = old.since_us;
    }
    merged.coverage.push(entry);
}
