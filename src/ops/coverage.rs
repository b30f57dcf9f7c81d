//! How the parts of a tenant stand in a snapshot, and what changed since another one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::format::snapshot::{CoverageEntry, Protection};
use crate::ops::catalog::Catalog;
use crate::repo::Repository;
use crate::snapshot::store::Snapshot;

/// What changed for one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// How it stands now; `None`: it is no longer known.
    pub now: Option<CoverageEntry>,
    /// How it stood before; `None`: it was not known.
    pub before: Option<CoverageEntry>,
}

/// Reads the coverage of a snapshot, sorted by owner and workload.
///
/// # Errors
/// `Corrupt`; the storage's.
pub async fn of(repo: &Arc<Repository>, snapshot: &Snapshot) -> Result<Vec<CoverageEntry>> {
    Ok(Catalog::load(repo, Some(&snapshot.file)).await?.coverage)
}

/// The snapshot of the same set before this one, if there is one.
pub fn previous<'a>(snapshots: &'a [Snapshot], of: &Snapshot) -> Option<&'a Snapshot> {
    let earlier = snapshots.iter().filter(|s| s.file.set == of.file.set && s.file.time_us < of.file.time_us);
    earlier.max_by_key(|s| s.file.time_us)
}

/// Finds the parts whose state or reason is another one.
pub fn changes(before: &[CoverageEntry], now: &[CoverageEntry]) -> Vec<Change> {
    let key = |entry: &CoverageEntry| (entry.owner.clone(), entry.workload.clone());
    let mut all: BTreeMap<(String, String), Change> =
        before.iter().map(|old| (key(old), Change { now: None, before: Some(old.clone()) })).collect();
    for new in now {
        all.entry(key(new)).or_insert(Change { now: None, before: None }).now = Some(new.clone());
    }
    // Of what is protected the reason tells how much the set leaves out: that is another number every day.
    let reason = |e: &CoverageEntry| match e.state {
        Protection::Protected => e.reason.replace(|c: char| c.is_ascii_digit(), "").replace("items are", "item is"),
        _ => e.reason.clone(),
    };
    let facts = |entry: &Option<CoverageEntry>| entry.as_ref().map(|e| (e.state, reason(e)));
    all.into_values().filter(|change| facts(&change.now) != facts(&change.before)).collect()
}

/// Counts entries by workload and state.
pub fn counts(entries: &[CoverageEntry]) -> BTreeMap<(String, Protection), u64> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        *counts.entry((entry.workload.clone(), entry.state)).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(owner: &str, state: Protection) -> CoverageEntry {
        let (name, workload) = (owner.to_owned(), "mail".to_owned());
        let owner = owner.to_owned();
        CoverageEntry { owner, name, workload, state, reason: String::new(), items: 0, gaps: 0, since_us: 0 }
    }

    #[test]
    fn what_came_went_or_stands_otherwise_is_told() {
        let before =
            [entry("a", Protection::Protected), entry("b", Protection::Protected), entry("c", Protection::Nothing)];
        let now =
            [entry("a", Protection::Protected), entry("b", Protection::Partly), entry("d", Protection::Protected)];
        let told: Vec<(Option<Protection>, Option<Protection>)> = changes(&before, &now)
            .into_iter()
            .map(|change| (change.before.map(|e| e.state), change.now.map(|e| e.state)))
            .collect();
        use Protection::{Nothing, Partly, Protected};
        assert_eq!(told, [(Some(Protected), Some(Partly)), (Some(Nothing), None), (None, Some(Protected))]);
        assert_eq!(counts(&now)[&("mail".to_owned(), Protected)], 2);
    }

    #[test]
    fn another_reason_is_a_change_and_another_number_of_what_is_left_out_is_none() {
        let with = |state, reason: &str| CoverageEntry { reason: reason.to_owned(), ..entry("a", state) };
        let changed = |before, now| !changes(&[before], &[now]).is_empty();
        use Protection::{Partly, Protected};
        assert!(changed(with(Partly, "a file is infected"), with(Partly, "a folder could not be listed")));
        assert!(changed(with(Protected, ""), with(Protected, "3 items are left out by the set's rules")));
        let less = |items: u32| with(Protected, &format!("{items} items are left out by the set's rules"));
        assert!(!changed(less(3), less(4)));
        let told = |reason: &str| with(Protected, &format!("views are not in Graph{reason}"));
        assert!(changed(told(""), told("; 3 items are left out by the set's exclusions")));
        let (one, many) =
            ("; 1 item is left out by the set's exclusions", "; 20 items are left out by the set's exclusions");
        assert!(!changed(told(one), told(many)));
    }
}
