//! What every collection that is read by walking promises, for each workload.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Tenant, steady};
use crate::format::record::StreamRole;
use crate::m365::testing::State;
use crate::m365::{Collection, CollectionKey};
use crate::sim::{Blob, ExpectedCollection, ExpectedThing, FaultKind, SimOptions};

/// The words of the workloads that are walked.
const WALKED: &[&str] = &[
    "contacts",
    "calendar",
    "settings",
    "tasks",
    "site",
    "list",
    "pages",
    "terms",
    "personal-site",
    "conversations",
    "planner",
    "team",
    "channel",
    "chats",
];

pub(super) fn truth(tenant: &Tenant, collection: &dyn Collection) -> Option<ExpectedCollection> {
    tenant.sim.expected().collections.remove(&collection.key().to_string())
}

fn without_annotations(json: &Value) -> BTreeMap<&str, &Value> {
    let fields = json.as_object().unwrap().iter();
    fields.filter(|(name, _)| !name.starts_with('@')).map(|(name, value)| (name.as_str(), value)).collect()
}

/// What two values say differently, by names.
fn differing(one: &Value, other: &Value) -> String {
    let (one, other) = (without_annotations(one), without_annotations(other));
    let names: BTreeSet<&str> = one.keys().chain(other.keys()).copied().collect();
    let told = |side: &BTreeMap<&str, &Value>, name: &str| side.get(name).map(|value| (*value).clone());
    let mut out = String::new();
    for name in names {
        match (told(&one, name), told(&other, name)) {
            (one, other) if one == other => {}
            (Some(one @ Value::Object(_)), Some(other @ Value::Object(_))) if !differing(&one, &other).is_empty() => {
                out += &format!("{name}.{}", differing(&one, &other));
            }
            (one, other) => out += &format!("{name}: {one:?} and not {other:?}\n"),
        }
    }
    out
}

/// Compares what a backup keeps with the tenant's truth: the tree, the JSON, every byte.
pub(super) fn assert_equal(state: &State, truth: &ExpectedCollection) {
    let wanted: BTreeMap<&str, &ExpectedThing> = truth.things.iter().map(|t| (t.id.as_str(), t)).collect();
    for (id, item) in &state.items {
        let name = &item.record.name;
        assert!(wanted.contains_key(id.as_str()), "{}: {} '{name}' is too many", truth.name, item.record.kind.word());
    }
    for (id, thing) in wanted {
        let item =
            state.items.get(id).unwrap_or_else(|| panic!("{}: missing is {} {}", truth.name, thing.kind, thing.json));
        assert_eq!(item.record.parent, thing.parent, "{}: {} '{}'", truth.name, thing.kind, item.record.name);
        let told: Value = serde_json::from_slice(&item.streams[&StreamRole::Properties]).unwrap();
        assert_eq!(differing(&told, &thing.json), "", "{}: {} {id}", truth.name, thing.kind);
        let content = item.streams.get(&StreamRole::Content).map(|bytes| bytes.to_vec());
        assert_eq!(content, thing.content.as_ref().map(Blob::bytes), "{}: {}", truth.name, item.record.name);
    }
    state.paths();
}

/// The collections of all walked workloads.
async fn walked(tenant: &Tenant) -> Vec<std::sync::Arc<dyn Collection>> {
    let all = tenant.collections("").await;
    let libraries = tenant.sim.expected().libraries;
    let is_library = |key: &CollectionKey| libraries.iter().any(|library| library.key == key.to_string());
    let is_walked = |key: &CollectionKey| WALKED.contains(&key.workload.word()) && !is_library(key);
    let walked: Vec<_> = all.into_iter().filter(|collection| is_walked(collection.key())).collect();
    for word in WALKED {
        assert!(walked.iter().any(|collection| collection.key().workload.word() == *word), "no {word}");
    }
    walked
}

/// The walked collections that are there today, with the truth of each. What the tenant tells is made once for all.
async fn today(tenant: &Tenant) -> Vec<(std::sync::Arc<dyn Collection>, ExpectedCollection)> {
    let mut truths = tenant.sim.expected().collections;
    let with_truth = |c: std::sync::Arc<dyn Collection>| truths.remove(&c.key().to_string()).map(|truth| (c, truth));
    walked(tenant).await.into_iter().filter_map(with_truth).collect()
}

#[tokio::test]
async fn every_day_equals_the_tenant_and_what_did_not_change_is_not_passed_on() {
    let tenant = Tenant::start(SimOptions { groups: 3, ..SimOptions::tiny() }).await;
    let mut states: BTreeMap<String, State> = BTreeMap::new();
    for _ in 0..5 {
        for (collection, truth) in today(&tenant).await {
            let state = states.entry(collection.key().to_string()).or_default();
            state.run(&*collection).await.unwrap();
            assert_equal(state, &truth);
            assert!(state.gaps.is_empty(), "{:?}", state.gaps);
            let again = state.run(&*collection).await.unwrap();
            assert_eq!(again.changes, [], "{}: nothing happened", truth.name);
        }
        tenant.sim.advance_day();
    }
}

#[tokio::test]
async fn faults_that_pass_change_nothing() {
    let tenant = Tenant::start(steady(4)).await;
    let mut states: BTreeMap<String, State> = BTreeMap::new();
    for _ in 0..3 {
        let today = today(&tenant).await;
        tenant.stormy();
        for (collection, truth) in today {
            let state = states.entry(collection.key().to_string()).or_default();
            state.run(&*collection).await.unwrap();
            assert_equal(state, &truth);
        }
        assert!(tenant.sim.stats().faults > 0);
        tenant.sim.clear_faults();
        tenant.sim.advance_day();
    }
}

#[tokio::test]
async fn after_expired_tokens_nothing_is_fetched_that_did_not_change() {
    let tenant = Tenant::tiny().await;
    for (collection, truth) in today(&tenant).await {
        let mut state = State::default();
        state.run(&*collection).await.unwrap();
        tenant.sim.expire_mail_deltas();
        tenant.sim.expire_drive_deltas();
        let run = state.run(&*collection).await.unwrap();
        assert_eq!((run.changes, run.fetched), (vec![], vec![]), "{}", collection.path());
        assert_equal(&state, &truth);
    }
}

#[tokio::test]
async fn a_reading_that_broke_off_anywhere_is_made_good_by_the_next() {
    let tenant = Tenant::tiny().await;
    let mut states: BTreeMap<String, State> = BTreeMap::new();
    for most in [3, 1, 7] {
        for (collection, _) in today(&tenant).await {
            let state = states.entry(collection.key().to_string()).or_default();
            state.run_part(&*collection, most).await.unwrap();
        }
        tenant.sim.advance_day();
    }
    for (collection, truth) in today(&tenant).await {
        let state = states.entry(collection.key().to_string()).or_default();
        state.run(&*collection).await.unwrap();
        assert_equal(state, &truth);
    }
}

#[tokio::test]
async fn what_cannot_be_read_stays_as_it_was_is_a_gap_and_is_read_when_it_is_well_again() {
    let tenant = Tenant::tiny().await;
    let mut states: BTreeMap<String, State> = BTreeMap::new();
    for (collection, _) in today(&tenant).await {
        states.entry(collection.key().to_string()).or_default().run(&*collection).await.unwrap();
    }
    tenant.sim.advance_day();
    let today = today(&tenant).await;
    for part in ["/delta?", "/$value", "%24value"] {
        tenant.inject(FaultKind::Status { status: 403 }, part, 0.5);
    }
    for (collection, _) in &today {
        let state = states.entry(collection.key().to_string()).or_default();
        let before: BTreeSet<String> = state.items.keys().cloned().collect();
        if state.run(&**collection).await.is_ok() {
            let known = |gap: &&crate::m365::Gap| gap.id.is_empty() || state.items.contains_key(&gap.id);
            assert!(state.gaps.iter().all(|gap| known(&gap)), "{:?}", state.gaps);
            for gap in state.gaps.iter().filter(|gap| before.contains(&gap.id)) {
                assert!(state.items.contains_key(&gap.id), "{gap:?}");
            }
        }
    }
    tenant.sim.clear_faults();
    for (collection, truth) in today {
        let state = states.entry(collection.key().to_string()).or_default();
        state.run(&*collection).await.unwrap();
        assert_equal(state, &truth);
        assert_eq!(state.gaps, []);
    }
}
