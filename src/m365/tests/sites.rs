//! Sites and personal sites: what is special about them beside what every walked collection promises.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Tenant, steady};
use crate::format::record::{ItemKind, StreamRole};
use crate::m365::discover::{CoverageState, Discovery, Selection};
use crate::m365::testing::State;
use crate::m365::{Collection, Owner, Workload};
use crate::sim::{FaultKind, SimOptions};
use crate::snapshot::set::Selection as Rules;

/// A tenant whose app lacks a role.
async fn without(role: &str) -> Tenant {
    let mut options = steady(1);
    options.roles.retain(|has| has != role);
    Tenant::start(options).await
}

fn unreadable(found: &Discovery) -> Vec<(Owner, Option<Workload>, String)> {
    let states = found.coverage.iter().filter_map(|c| match &c.state {
        CoverageState::Unreadable(why) => Some((c.owner.clone(), c.workload, why.clone())),
        _ => None,
    });
    // A blocked user is nothing of sites.
    states.filter(|(owner, _, _)| !matches!(owner, Owner::User(_))).collect()
}

async fn discovered(tenant: &Tenant) -> Discovery {
    tenant.discover(&Selection::default()).await
}

async fn one(tenant: &Tenant, path: &str) -> Arc<dyn Collection> {
    let all = discovered(tenant).await.collections;
    all.into_iter().find(|collection| collection.path() == path).unwrap_or_else(|| panic!("no {path}"))
}

const SITE: &str = "sites/contoso.sharepoint.com_sites_site1";

fn list(name: &str) -> String {
    format!("{SITE}/Lists/{name}")
}

fn kinds(state: &State, kind: ItemKind) -> Vec<&str> {
    let of = state.items.iter().filter(|(_, item)| item.record.kind == kind);
    of.map(|(id, _)| id.as_str()).collect()
}

fn json(state: &State, id: &str) -> serde_json::Value {
    serde_json::from_slice(&state.items[id].streams[&StreamRole::Properties]).unwrap()
}

#[tokio::test]
async fn a_locked_or_archived_site_is_told_and_the_others_go_on() {
    let tenant = Tenant::tiny().await;
    let found = discovered(&tenant).await;
    let locked = unreadable(&found);
    assert_eq!(locked.len(), 2, "{locked:?}");
    assert!(locked.iter().all(|(_, workload, why)| workload.is_none() && why.contains("locked")), "{locked:?}");
    let paths: BTreeSet<&str> = found.collections.iter().map(|collection| collection.path()).collect();
    for site in [
        "contoso.sharepoint.com",
        "contoso.sharepoint.com_sites_site1_sub",
        "contoso.sharepoint.com_sites_site1_sub_deep",
    ] {
        assert!(paths.contains(&*format!("sites/{site}/Site")), "{site}");
    }
    assert!(!paths.iter().any(|path| path.contains("closed") || path.contains("archive")));
}

#[tokio::test]
async fn sites_are_read_where_everybody_is_meant_and_personal_ones_with_their_users() {
    let tenant = Tenant::tiny().await;
    let user = tenant.sim.expected().users[0].clone();
    let rules = Rules::of(vec![user.upn.parse().unwrap()], vec![], &[]);
    let selection = Selection { rules, ..Selection::default() };
    let found = tenant.discover(&selection).await;
    let owners: BTreeSet<String> = found.collections.iter().map(|c| c.key().owner.to_string()).collect();
    assert_eq!(owners, BTreeSet::from([format!("users/{}", user.id)]));
    let personal = |c: &&Arc<dyn Collection>| c.key().workload == Workload::PersonalSite;
    let paths: Vec<&str> = found.collections.iter().filter(personal).map(|c| c.path()).collect();
    for name in ["Private papers", "Pages", "Issues and risks", "users"] {
        assert!(paths.contains(&&*format!("users/{}/Personal Site/{name}", user.upn)), "{name}: {paths:?}");
    }
    assert!(!paths.iter().any(|path| path.ends_with("Composed Looks")), "{paths:?}");
    // No drive is read twice, and of the personal sites none as a site.
    let all = discovered(&tenant).await;
    let keys: Vec<&str> =
        all.collections.iter().map(|c| c.key().id.as_str()).filter(|id| id.starts_with("b!")).collect();
    assert_eq!(keys.len(), keys.iter().collect::<BTreeSet<_>>().len());
    assert!(!all.collections.iter().any(|c| c.path().starts_with("sites/contoso-my")));
}

#[tokio::test]
async fn who_has_no_onedrive_has_no_personal_site_and_that_is_no_error() {
    let tenant = Tenant::tiny().await;
    let found = discovered(&tenant).await;
    let nothing = found.coverage.iter().filter(|c| c.workload == Some(Workload::PersonalSite));
    let nothing = nothing.filter(|c| matches!(&c.state, CoverageState::Nothing(why) if why.contains("OneDrive")));
    assert!(nothing.count() >= 1, "{:?}", found.coverage);
}

#[tokio::test]
async fn a_personal_site_of_somebody_who_left_is_told() {
    let tenant = Tenant::start(SimOptions::tiny()).await;
    (0..3).for_each(|_| tenant.sim.advance_day());
    let found = discovered(&tenant).await;
    let left =
        found.coverage.iter().filter(|c| c.name.contains("-my.") && matches!(c.state, CoverageState::Nothing(_)));
    assert_eq!(left.count(), 1, "{:?}", found.coverage);
}

#[tokio::test]
async fn who_may_use_a_list_is_kept_and_asked_again_within_a_week() {
    const DAY_US: i64 = 86_400_000_000;
    let tenant = Tenant::tiny().await;
    let path = list("Issues and risks");
    // Others tell, and this one does not.
    let refusing = one(&tenant, &path).await;
    tenant.inject(FaultKind::Status { status: 404 }, "/permissions", 1.0);
    let mut state = State { now_us: 20_000 * DAY_US, ..State::default() };
    state.run(&*refusing).await.unwrap();
    assert_eq!(state.gaps.iter().map(|gap| gap.kind).collect::<Vec<_>>(), [Some(ItemKind::Permission)]);
    tenant.sim.clear_faults();
    state.run(&*one(&tenant, &path).await).await.unwrap();
    assert_eq!(
        (kinds(&state, ItemKind::Permission), &*state.gaps),
        (vec!["permissions/owners", "permissions/p0"], &[][..])
    );
    // Somebody is taken out, and nothing else tells it.
    tenant.sim.share_lists(0);
    let mut asked = Vec::new();
    for hours in 0..15 {
        let list = one(&tenant, &path).await;
        state.now_us = 20_000 * DAY_US + hours * DAY_US / 2;
        tenant.sim.clear_stats();
        state.run(&*list).await.unwrap();
        asked.push(tenant.sim.stats().requests_to("/permissions"));
    }
    assert_eq!((asked[0], asked.iter().sum::<u64>()), (0, 1), "{asked:?}");
    assert_eq!(kinds(&state, ItemKind::Permission), ["permissions/owners"]);
}

#[tokio::test]
async fn where_lists_do_not_tell_who_may_use_them_none_is_asked_and_that_is_said_once() {
    let tenant = Tenant::tiny().await;
    let path = list("Issues and risks");
    let mut state = State::default();
    state.run(&*one(&tenant, &path).await).await.unwrap();
    let known = state.items.len();
    // A cloud that does not know the question, an app that may not put it.
    for status in [400, 403, 404, 501] {
        tenant.inject(FaultKind::Status { status }, "/permissions", 1.0);
        let found = discovered(&tenant).await;
        let told = found.coverage.iter().filter(|c| match &c.state {
            CoverageState::Nothing(why) => why.contains("who may use lists"),
            _ => false,
        });
        let told: Vec<_> = told.map(|c| (c.owner.clone(), c.workload)).collect();
        let each = [Workload::PersonalSite, Workload::List].map(|workload| (Owner::Tenant, Some(workload)));
        assert_eq!(told, each, "{status}");
        tenant.sim.clear_stats();
        let list = found.collections.iter().find(|collection| collection.path() == path).unwrap();
        let mut elsewhere = State::default();
        elsewhere.run(&**list).await.unwrap();
        assert_eq!((kinds(&elsewhere, ItemKind::Permission).len(), elsewhere.gaps.len()), (0, 0));
        // Not even where it is asked for all else.
        state.cursors.as_mut().unwrap().links.retain(|(name, _)| name != "fields");
        state.run(&**list).await.unwrap();
        assert_eq!((state.items.len(), state.gaps.len()), (known, 0), "what is known stays");
        assert_eq!(tenant.sim.stats().requests_to("/permissions"), 0);
        tenant.sim.clear_faults();
        // As soon as they tell.
        elsewhere.run(&*one(&tenant, &path).await).await.unwrap();
        assert_eq!(kinds(&elsewhere, ItemKind::Permission), ["permissions/owners", "permissions/p0"]);
    }
}

#[tokio::test]
async fn the_terms_of_a_site_are_read_where_only_the_site_is_meant() {
    let tenant = Tenant::tiny().await;
    let terms = |found: &Discovery| {
        let of = found.collections.iter().filter(|c| c.key().workload == Workload::TermStore);
        of.map(|c| c.path().to_owned()).collect::<BTreeSet<_>>()
    };
    let all = terms(&discovered(&tenant).await);
    let of_site = all.iter().find(|path| path.starts_with("sites/")).unwrap().clone();
    let address = of_site.strip_prefix("sites/").unwrap().strip_suffix("/Term Store").unwrap().replace('_', "/");
    let rules = Rules::of(vec![format!("site:https://{address}").parse().unwrap()], vec![], &[]);
    let found = tenant.discover(&Selection { rules, ..Selection::default() }).await;
    assert_eq!(terms(&found), BTreeSet::from([of_site]));
}

#[tokio::test]
async fn without_full_control_all_but_the_grants_of_apps_is_read() {
    let tenant = without("Sites.FullControl.All").await;
    let found = discovered(&tenant).await;
    let told = found.coverage.iter().find(|c| c.owner == Owner::Tenant && c.workload == Some(Workload::Site)).unwrap();
    assert!(matches!(&told.state, CoverageState::Nothing(why) if why.contains("Sites.FullControl.All")), "{told:?}");
    let site = one(&tenant, &format!("{SITE}/Site")).await;
    let mut state = State::default();
    state.run(&*site).await.unwrap();
    assert_eq!(state.gaps, []);
    assert_eq!(kinds(&state, ItemKind::Permission), [""; 0]);
    assert_eq!((kinds(&state, ItemKind::Column).len(), kinds(&state, ItemKind::ContentType).len()), (4, 2));
}

#[tokio::test]
async fn without_the_permission_for_sites_nothing_counts_as_gone() {
    let tenant = without("Sites.Read.All").await;
    // Full control contains it.
    assert!(discovered(&tenant).await.collections.iter().any(|c| c.key().workload == Workload::List));
    let mut options = steady(1);
    options.roles.retain(|has| !has.starts_with("Sites."));
    let tenant = Tenant::start(options).await;
    let found = discovered(&tenant).await;
    let lacking: BTreeSet<_> = unreadable(&found).into_iter().map(|(owner, workload, _)| (owner, workload)).collect();
    for workload in [Workload::Site, Workload::Files, Workload::List, Workload::Pages] {
        assert!(lacking.contains(&(Owner::Tenant, Some(workload))), "{lacking:?}");
    }
    assert!(found.collections.iter().any(|c| c.key().workload == Workload::OneDrive), "others go on");
}

#[tokio::test]
async fn without_the_permission_for_terms_sites_go_on() {
    let tenant = without("TermStore.Read.All").await;
    let found = discovered(&tenant).await;
    let terms = unreadable(&found).into_iter().filter(|(owner, _, _)| *owner == Owner::Tenant);
    assert_eq!(terms.map(|(_, workload, _)| workload).collect::<Vec<_>>(), [Some(Workload::TermStore)]);
    assert!(found.collections.iter().any(|c| c.key().workload == Workload::List));
    assert!(!found.collections.iter().any(|c| c.key().workload == Workload::TermStore));
}

#[tokio::test]
async fn an_idle_list_costs_one_request_and_an_idle_site_few_more() {
    let tenant = Tenant::tiny().await;
    let first = discovered(&tenant).await.collections;
    let of_site = |all: Vec<Arc<dyn Collection>>| -> Vec<_> {
        all.into_iter().filter(|c| c.path().starts_with(&format!("{SITE}/"))).collect()
    };
    let mut states = Vec::new();
    for collection in of_site(first) {
        let mut state = State::default();
        state.run(&*collection).await.unwrap();
        states.push(state);
    }
    let again = of_site(discovered(&tenant).await.collections);
    for (collection, state) in again.iter().zip(&mut states) {
        tenant.sim.clear_stats();
        let run = state.run(&**collection).await.unwrap();
        assert_eq!(run.changes, [], "{}", collection.path());
        let stats = tenant.sim.stats();
        match collection.key().workload {
            Workload::List | Workload::Pages => {
                assert_eq!(stats.requests, 1, "{}: {:?}", collection.path(), stats.routes);
            }
            Workload::Site => assert_eq!(stats.requests, 3, "{:?}", stats.routes),
            // The groups, their sets, and of each set its terms (one has two pages of them) and relations.
            Workload::TermStore => assert_eq!(stats.requests, 2 + 2 * 2 + 1, "{:?}", stats.routes),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_list_with_300_columns_is_read_with_all_of_them() {
    let tenant = Tenant::tiny().await;
    let wide = one(&tenant, &list("Wide")).await;
    let mut state = State::default();
    state.run(&*wide).await.unwrap();
    assert!(kinds(&state, ItemKind::Column).len() > 300);
    let items = kinds(&state, ItemKind::ListItem);
    assert!(!items.is_empty());
    for id in items {
        // One in six is empty.
        assert!(json(&state, id)["fields"].as_object().unwrap().len() > 230);
    }
    for id in kinds(&state, ItemKind::Version) {
        assert!(json(&state, id)["fields"].as_object().unwrap().len() > 230);
    }
    // Part of the fields cannot be read: what is known stays.
    tenant.sim.advance_day();
    tenant.inject(FaultKind::Status { status: 403 }, "/items/", 1.0);
    let before = state.items.clone();
    state.run(&*one(&tenant, &list("Wide")).await).await.unwrap();
    assert!(!state.gaps.is_empty());
    for (id, item) in before.iter().filter(|(_, item)| item.record.kind == ItemKind::ListItem) {
        assert!(state.items.get(id).is_none_or(|now| now.streams == item.streams), "{id}");
    }
    tenant.sim.clear_faults();
    state.run(&*one(&tenant, &list("Wide")).await).await.unwrap();
    assert_eq!(state.gaps, []);
}

/// Reads a collection while requests to a part of it fail, and then again: nothing is lost, and all is made good.
async fn heals(path: &str, part: &str, status: u16) -> (State, Vec<crate::m365::Gap>) {
    let tenant = Tenant::tiny().await;
    let mut state = State::default();
    state.run(&*one(&tenant, path).await).await.unwrap();
    let before = state.clone();
    tenant.sim.advance_day();
    tenant.inject(FaultKind::Status { status }, part, 1.0);
    state.run(&*one(&tenant, path).await).await.unwrap();
    let gaps = state.gaps.clone();
    assert!(!gaps.is_empty(), "{path}: {part} is missing, and nothing tells");
    assert!(gaps.iter().all(|gap| state.items.contains_key(&gap.id)), "{gaps:?}");
    let while_failing = state.clone();
    tenant.sim.clear_faults();
    state.run(&*one(&tenant, path).await).await.unwrap();
    assert_eq!(state.gaps, [], "{path}");
    let mut fresh = State::default();
    fresh.run(&*one(&tenant, path).await).await.unwrap();
    for (id, item) in &fresh.items {
        assert_eq!(state.items.get(id), Some(item), "{path}: {part}");
    }
    assert_eq!(state.items.len(), fresh.items.len(), "{path}: {part}");
    assert!(!before.items.is_empty());
    (while_failing, gaps)
}

#[tokio::test]
async fn parts_of_a_list_that_cannot_be_read_are_gaps_and_stay_as_they_were() {
    let (state, _) = heals(&list("Issues and risks"), "/versions", 403).await;
    assert!(!kinds(&state, ItemKind::Version).is_empty());
    let (state, gaps) = heals(&list("Issues and risks"), "/columns", 403).await;
    assert!(kinds(&state, ItemKind::Column).len() >= 20 && gaps[0].kind == Some(ItemKind::Column));
    let (state, _) = heals(&list("Issues and risks"), "/contentTypes", 423).await;
    assert_eq!(kinds(&state, ItemKind::ContentType).len(), 2);
    let (state, _) = heals(&list("Issues and risks"), "/items/delta", 403).await;
    assert!(kinds(&state, ItemKind::ListItem).len() >= 9);
}

#[tokio::test]
async fn parts_of_a_site_its_pages_and_terms_that_cannot_be_read_are_gaps_and_stay_as_they_were() {
    for (part, kind, least) in [
        ("/columns", ItemKind::Column, 4),
        ("/contentTypes", ItemKind::ContentType, 2),
        ("/permissions", ItemKind::Permission, 1),
    ] {
        let (state, gaps) = heals(&format!("{SITE}/Site"), part, 423).await;
        assert!(
            kinds(&state, kind).len() >= least && gaps.iter().all(|gap| gap.kind == Some(kind)),
            "{part}: {gaps:?}"
        );
    }
    let (state, _) = heals(&format!("{SITE}/Pages"), "sitePage", 403).await;
    assert!(kinds(&state, ItemKind::Page).len() >= 3);
    for part in ["/sets?", "/groups/", "/terms", "/children", "/relations"] {
        if part != "/sets?" {
            let (state, _) = heals("tenant/Term Store", part, 403).await;
            assert!(kinds(&state, ItemKind::Term).len() >= 30, "{part}");
        }
    }
}

#[tokio::test]
async fn where_the_service_refuses_the_names_of_fields_they_come_unnamed_and_a_gap_tells() {
    let tenant = Tenant::tiny().await;
    tenant.inject(FaultKind::Status { status: 400 }, "delta?$expand=fields(", 1.0);
    let mut state = State::default();
    state.run(&*one(&tenant, &list("Kalender")).await).await.unwrap();
    let items = kinds(&state, ItemKind::ListItem);
    assert!(!items.is_empty() && !json(&state, items[0])["fields"].is_null());
    assert_eq!(state.gaps.len(), 1, "{:?}", state.gaps);
    tenant.sim.clear_faults();
    state.run(&*one(&tenant, &list("Kalender")).await).await.unwrap();
    assert_eq!(state.gaps, []);
    assert!(!json(&state, kinds(&state, ItemKind::ListItem)[0])["fields"]["AuthorLookupId"].is_null());
}

#[tokio::test]
async fn the_sites_below_one_that_cannot_be_listed_are_not_taken_for_gone() {
    let tenant = Tenant::tiny().await;
    tenant.inject(FaultKind::Status { status: 500 }, "/sites?$select", 1.0);
    let found = discovered(&tenant).await;
    let below: Vec<_> = unreadable(&found).into_iter().filter(|(_, workload, _)| workload.is_none()).collect();
    // Each of four collections, whole.
    assert_eq!(below.len(), 4, "{below:?}");
    assert!(below.iter().all(|(owner, _, _)| owner.id().matches(',').count() == 1), "{below:?}");
}
