use std::collections::BTreeSet;

use super::{Tenant, steady};
use crate::m365::discover::{CoverageState, Discovery, Selection, all_users};
use crate::m365::door::{Owner, Workload};
use crate::sim::{FaultKind, SimOptions};
use crate::snapshot::set::{Selection as Rules, Workload as Part};

pub(super) fn selected(include: &[&str], exclude: &[&str], parts: &[Part]) -> Selection {
    let subjects = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Selection { rules: Rules::of(subjects(include), subjects(exclude), parts), ..Selection::default() }
}

fn selection(users: &[&str]) -> Selection {
    selected(users, &[], &[Part::Mail, Part::OneDrive])
}

#[tokio::test]
async fn everybody_with_a_mailbox_or_a_drive_is_found_and_the_rest_has_a_reason() {
    let tenant = Tenant::tiny().await;
    let found = tenant.discover(&Selection::default()).await;
    let paths: BTreeSet<String> = found.collections.iter().map(|c| c.path().to_owned()).collect();
    let mut expected = BTreeSet::new();
    for user in tenant.sim.expected().users {
        expected.extend(user.mailbox.iter().map(|_| format!("users/{}/Mail", user.upn)));
        expected.extend(user.drive.map(|_| format!("users/{}/OneDrive", user.upn)));
    }
    expected.extend(tenant.sim.expected().collections.into_values().map(|collection| collection.name));
    expected.extend(tenant.sim.expected().libraries.into_iter().map(|library| library.name));
    assert_eq!(paths, expected);
    let nothing = found.coverage.iter().filter(|c| matches!(&c.state, CoverageState::Nothing(why) if !why.is_empty()));
    assert!(nothing.count() >= 2, "{:?}", found.coverage);
}

#[tokio::test]
async fn a_selection_is_names_and_globs_less_exclusions() {
    let tenant = Tenant::tiny().await;
    let users = tenant.sim.expected().users;
    let (one, two) = (&users[0], &users[1]);
    let paths = async |selection: Selection| -> Vec<String> {
        tenant.discover(&selection).await.collections.iter().map(|c| c.path().to_owned()).collect()
    };
    let both = |upn: &str| vec![format!("users/{upn}/Mail"), format!("users/{upn}/OneDrive")];
    assert_eq!(paths(selection(&[&one.upn])).await, both(&one.upn));
    assert_eq!(paths(selection(&[&two.id, &two.upn])).await, both(&two.upn), "by id; each once");
    let glob = format!("{}*", one.upn.split('@').next().unwrap().to_uppercase());
    assert_eq!(paths(selection(&[&glob])).await, both(&one.upn));
    let less = paths(selected(&["*"], &[&one.upn], &[Part::Mail])).await;
    assert!(!less.iter().any(|p| p.contains(&one.upn) || p.ends_with("OneDrive")) && less.len() > 1);
}

#[tokio::test]
async fn a_named_user_who_does_not_exist_is_told_and_stops_nobody() {
    let tenant = Tenant::tiny().await;
    let upn = tenant.sim.expected().users[0].upn.clone();
    for users in [vec!["nobody@contoso.com", &upn], vec!["nobody@contoso.com", &upn, "zz*"]] {
        let found = tenant.discover(&selection(&users)).await;
        let unknown: Vec<_> =
            found.coverage.iter().filter(|c| matches!(c.state, CoverageState::NoSuchUser(_))).collect();
        assert_eq!(unknown.len(), 1);
        assert_eq!((unknown[0].name.as_str(), unknown[0].workload), ("nobody@contoso.com", None));
        assert_eq!(found.collections.len(), 2);
    }
}

#[tokio::test]
async fn a_question_that_is_refused_for_no_known_reason_is_one_owners_matter() {
    let tenant = Tenant::tiny().await;
    let users = tenant.sim.expected().users;
    let (one, two) = (&users[0], &users[1]);
    let wanted = selection(&[&one.upn, &two.upn]);
    let all = tenant.discover(&wanted).await.collections.len();
    for door in ["mailFolders/inbox", "drives"] {
        tenant.inject(FaultKind::Status { status: 400 }, &format!("{}/{door}", one.id), 1.0);
        let found = tenant.discover(&wanted).await;
        tenant.sim.clear_faults();
        let refused = found.coverage.iter().filter(|c| matches!(c.state, CoverageState::Unreadable(_)));
        let refused: Vec<&str> = refused.map(|c| c.name.as_str()).collect();
        assert!(!refused.is_empty() && refused.iter().all(|name| *name == one.upn), "{door}: {refused:?}");
        assert_eq!(found.collections.len() + 1, all, "{door}");
    }
}

#[tokio::test]
async fn a_whole_idle_run_keeps_to_its_requests() {
    let tenant = Tenant::tiny().await;
    let user = tenant.sim.expected().users[1].clone();
    let mut states = Vec::new();
    for first in [true, false] {
        tenant.sim.clear_stats();
        let found = tenant.discover(&selection(&[&user.upn])).await;
        if first {
            states = vec![crate::m365::testing::State::default(); found.collections.len()];
        }
        for (collection, state) in found.collections.iter().zip(&mut states) {
            state.run(&**collection).await.unwrap();
        }
    }
    let folders = user.mailbox.unwrap().folders.iter().filter(|f| !f.recoverable && !f.search).count() as u64;
    // The user, the inbox, the drives; the folders, each folder; the drive.
    assert_eq!(tenant.sim.stats().requests, 3 + 1 + folders + 1);
    assert_eq!(states.len(), 2);
}

#[tokio::test]
async fn what_a_selection_takes_nothing_of_is_told_for_each_kind() {
    let tenant = Tenant::tiny().await;
    let upn = tenant.sim.expected().users[0].upn.clone();
    let left_out = async |selection: Selection| -> BTreeSet<(String, &'static str)> {
        let found = tenant.discover(&selection).await.coverage.into_iter();
        let of_tenant = found.filter(|c| c.owner == Owner::Tenant && c.state == CoverageState::NotSelected);
        of_tenant.filter_map(|c| Some((c.name, c.workload?.word()))).collect()
    };
    assert_eq!(left_out(Selection::default()).await, BTreeSet::new());
    let mail = left_out(selected(&["*"], &[], &[Part::Mail])).await;
    for (whose, workload) in [
        ("users", "calendar"),
        ("users", "onedrive"),
        ("groups", "conversations"),
        ("teams", "channel"),
        ("sites", "files"),
    ] {
        assert!(mail.iter().any(|(name, word)| name == whose && word.starts_with(&workload[..4])), "{whose} {mail:?}");
    }
    assert!(!mail.iter().any(|(_, word)| *word == "mail"), "{mail:?}");
    let one = left_out(selection(&[&upn])).await;
    assert!(one.contains(&("other users".to_owned(), "mail")), "{one:?}");
}

/// Microsoft's limits follow from the licences of a tenant, which the list of its users tells.
#[tokio::test]
async fn the_licences_of_a_large_tenant_make_its_budget_larger() {
    let options = SimOptions { users: 1_010, messages: 1, folders: 1, drive_items: 1, ..steady(1) };
    let tenant = Tenant::start(options).await;
    assert_eq!(tenant.client.budget().files_units(), [1_250, 1_200_000]);
    assert!(all_users(&tenant.client).await.unwrap().len() > 1_005);
    assert_eq!(tenant.client.budget().files_units(), [2_500, 2_400_000]);
}

/// The simulated tenant tells the drives of a user in an order, and of a type, that do not say which is the default.
#[tokio::test]
async fn the_onedrive_is_the_one_that_graph_calls_the_default() {
    let tenant = Tenant::tiny().await;
    let found = tenant.discover(&selected(&["*"], &[], &[Part::OneDrive])).await;
    let mut drives = 0;
    for collection in found.collections.iter().filter(|c| c.key().workload == Workload::OneDrive) {
        let user = tenant.sim.expected().user(collection.key().owner.id()).unwrap().clone();
        assert_eq!(collection.key().id, user.drive.unwrap().id, "{}", collection.path());
        drives += 1;
    }
    assert!(drives > 1);
}

#[tokio::test]
async fn no_library_stands_in_for_the_onedrive_where_it_is_not_told_which_it_is() {
    let tenant = Tenant::tiny().await;
    let wanted = selected(&["*"], &[], &[Part::OneDrive, Part::PersonalSite]);
    let keys = |found: &Discovery| found.collections.iter().map(|c| c.key().clone()).collect::<BTreeSet<_>>();
    let all = keys(&tenant.discover(&wanted).await);
    for status in [403, 503] {
        tenant.inject(FaultKind::Status { status }, "/drive?", 1.0);
        let found = tenant.discover(&wanted).await;
        tenant.sim.clear_faults();
        let missing: BTreeSet<_> = all.difference(&keys(&found)).cloned().collect();
        assert!(keys(&found).is_subset(&all) && !missing.is_empty());
        for key in missing {
            let states = found.coverage.iter().filter(|c| c.owner == key.owner && c.workload == Some(key.workload));
            let states: Vec<_> = states.map(|c| &c.state).collect();
            assert!(matches!(&states[..], [CoverageState::Unreadable(_)]), "{key}: {states:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_said_of_meetings_where_only_sites_are_meant() {
    let tenant = Tenant::tiny().await;
    let said = async |include: &str| {
        let found = tenant.discover(&selected(&[include], &[], &[])).await;
        found.coverage.iter().any(|found| found.name == "meetings")
    };
    assert!(said("*").await && !said("site:https://contoso.sharepoint.com/sites/site1").await);
}
