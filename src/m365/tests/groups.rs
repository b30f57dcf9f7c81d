//! What is special about groups, teams, plans and chats.

use std::collections::BTreeSet;

use super::walked::{assert_equal, truth};
use super::{Tenant, steady};
use crate::m365::discover::{CoverageState, Selection};
use crate::m365::testing::State;
use crate::m365::{Owner, Workload};
use crate::sim::{FaultKind, SimOptions};

#[tokio::test]
async fn details_come_task_by_task_where_they_cannot_be_expanded() {
    let tenant = Tenant::tiny().await;
    tenant.inject(FaultKind::Status { status: 400 }, "expand=details", 1.0);
    for collection in tenant.collections("/planner").await {
        let mut state = State::default();
        for _ in 0..2 {
            state.run(&*collection).await.unwrap();
            assert_equal(&state, &truth(&tenant, &*collection).unwrap());
            assert_eq!(state.gaps, []);
            tenant.sim.advance_day();
        }
    }
    assert!(tenant.sim.stats().requests_to("/planner/tasks/{id}/details") > 0);
}

#[tokio::test]
async fn lists_that_are_refused_are_gaps_and_all_is_made_good_later() {
    let tenant = Tenant::tiny().await;
    for collection in tenant.collections("").await.iter().filter(|c| is_of_groups(&c.key().owner)) {
        let mut state = State::default();
        for part in
            ["/attachments?", "/posts?", "/details", "/buckets", "/replies", "/tabs", "/members", "/apps", "ages/16"]
        {
            tenant.inject(FaultKind::Status { status: 423 }, part, 0.3);
        }
        let mut gaps = 0;
        for _ in 0..2 {
            state.run(&**collection).await.unwrap();
            gaps += state.gaps.len();
            state.paths();
            tenant.sim.advance_day();
        }
        tenant.sim.clear_faults();
        state.run(&**collection).await.unwrap();
        assert_equal(&state, &truth(&tenant, &**collection).unwrap());
        assert_eq!(state.gaps, [], "{} gaps before", gaps);
    }
}

fn is_of_groups(owner: &Owner) -> bool {
    matches!(owner, Owner::Group(_) | Owner::Team(_))
}

#[tokio::test]
async fn without_the_permission_to_list_groups_the_others_go_on_and_the_coverage_says_so() {
    let mut options = steady(1);
    options.roles.retain(|role| role != "Group.Read.All");
    let tenant = Tenant::start(options).await;
    let found = tenant.discover(&Selection::default()).await;
    assert!(!found.collections.is_empty());
    assert!(found.collections.iter().all(|collection| !is_of_groups(&collection.key().owner)));
    let unreadable = found.coverage.iter().filter(|c| matches!(c.state, CoverageState::Unreadable(_)));
    let about: BTreeSet<(&str, &str)> =
        unreadable.filter(|c| is_of_groups(&c.owner)).map(|c| (c.owner.word(), c.workload.unwrap().word())).collect();
    let wanted = [("groups", "conversations"), ("groups", "planner"), ("teams", "channel"), ("teams", "team")];
    assert_eq!(about, BTreeSet::from(wanted));
}

#[tokio::test]
async fn group_calendars_are_told_as_impossible() {
    let tenant = Tenant::start(SimOptions::tiny()).await;
    let found = tenant.discover(&Selection::default()).await;
    let calendars = found.coverage.iter().filter(|c| {
        c.workload == Some(Workload::Calendar)
            && is_of_groups(&c.owner)
            && matches!(c.state, CoverageState::Impossible(_))
    });
    assert_eq!(calendars.count(), 3);
}
