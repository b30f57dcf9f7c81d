//! What a missing permission costs, whichever it is: nothing is missing without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Tenant, steady};
use crate::m365::discover::{Coverage, CoverageState, Selection};
use crate::m365::drive::{DriveOptions, Versions};
use crate::m365::testing::State;
use crate::m365::{Collection, CollectionKey, Owner};
use crate::sim::{BACKUP_ROLES, SimOptions};

fn options(without: &[&str]) -> SimOptions {
    let small = SimOptions { users: 2, shared_mailboxes: 0, messages: 4, drive_items: 8, groups: 2, ..steady(1) };
    let mut options = small;
    options.roles.retain(|role| !without.contains(&role.as_str()));
    options
}

fn everything() -> Selection {
    let drive_options = DriveOptions { versions: Versions::All, labels: true };
    Selection { drive_options, ..Selection::default() }
}

/// What is kept of a collection: the ids of its items, and the labels of files.
fn kept(state: &State) -> BTreeSet<String> {
    let label = |id: &String| state.items[id].record.fact("label").map(|label| format!("{id} is {label}"));
    state.items.keys().cloned().chain(state.items.keys().filter_map(label)).collect()
}

/// Says whether the coverage tells that something of a collection is not read.
fn is_told(coverage: &[Coverage], key: &CollectionKey) -> bool {
    coverage.iter().any(|found| {
        let of_all = found.owner == Owner::Tenant || found.owner.id().is_empty();
        let of_it = found.owner == key.owner || (of_all && found.workload.is_some());
        of_it
            && found.workload.is_none_or(|workload| workload == key.workload)
            && !matches!(found.state, CoverageState::Covered(_) | CoverageState::NotSelected)
    })
}

/// How much is missing of a collection, compared with what is kept of it with all permissions, and whether there is a gap.
async fn missing(collection: Option<&Arc<dyn Collection>>, whole: &BTreeSet<String>) -> (usize, bool) {
    let Some(collection) = collection else { return (whole.len(), false) };
    let mut state = State::default();
    match state.run(&**collection).await {
        Ok(_) => (whole.difference(&kept(&state)).count(), !state.gaps.is_empty()),
        // The gap of a whole collection.
        Err(_) => (whole.len(), true),
    }
}

#[tokio::test]
async fn whichever_permission_is_missing_nothing_is_missing_silently() {
    let tenant = Tenant::start(options(&[])).await;
    let mut whole: BTreeMap<CollectionKey, BTreeSet<String>> = BTreeMap::new();
    for collection in tenant.discover(&everything()).await.collections {
        let mut state = State::default();
        state.run(&*collection).await.unwrap();
        whole.insert(collection.key().clone(), kept(&state));
    }
    let of_files = &["Files.Read.All", "Sites.Read.All", "Sites.FullControl.All"][..];
    let of_groups = &["Group.Read.All", "Group-Conversation.Read.All"][..];
    // Without the list of users there is no backup.
    let each = BACKUP_ROLES.iter().filter(|role| **role != "User.Read.All").map(std::slice::from_ref);
    let mut silent = Vec::new();
    let mut lost = BTreeSet::new();
    for roles in each.chain([of_files, of_groups]) {
        let tenant = Tenant::start(options(roles)).await;
        let found = tenant.discover(&everything()).await;
        for (key, items) in &whole {
            let collection = found.collections.iter().find(|collection| collection.key() == key);
            match missing(collection, items).await {
                (0, _) => {}
                (_, gap) if gap || is_told(&found.coverage, key) => drop(lost.insert(key.workload.word())),
                (number, _) => silent.push(format!("{roles:?}: {number} of {key}")),
            }
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
    assert!(
        ["mail", "calendar", "contacts", "tasks", "settings", "onedrive", "terms"]
            .iter()
            .all(|word| lost.contains(word)),
        "{lost:?}"
    );
}
