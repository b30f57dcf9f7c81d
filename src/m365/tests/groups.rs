//! What is special about groups, teams, plans and chats.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::walked::{assert_equal, truth};
use super::{Tenant, steady};
use crate::error::ErrorKind;
use crate::format::record::{ItemKind, StreamRole};
use crate::graph::{Client, ClientOptions, Cloud, Credential, Limits};
use crate::m365::discover::{CoverageState, Selection};
use crate::m365::testing::{Item, State};
use crate::m365::{Collection, Owner, Workload};
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
        assert_eq!(state.gaps, [], "{gaps} gaps before");
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
    let tenant = Tenant::start(steady(1)).await;
    let found = tenant.discover(&Selection::default()).await;
    let calendars = found.coverage.iter().filter(|c| {
        c.workload == Some(Workload::Calendar)
            && is_of_groups(&c.owner)
            && matches!(c.state, CoverageState::Impossible(_))
    });
    assert_eq!(calendars.count(), 3);
}

/// The channels' collections whose messages are more than none.
async fn channels(tenant: &Tenant) -> Vec<(Arc<dyn Collection>, State)> {
    let mut read = Vec::new();
    for collection in tenant.collections("/channel/").await {
        let mut state = State::default();
        state.run(&*collection).await.unwrap();
        if !state.items.is_empty() {
            read.push((collection, state));
        }
    }
    assert!(read.len() > 3);
    read
}

fn json(state: &State, id: &str) -> Value {
    serde_json::from_slice(&state.items[id].streams[&StreamRole::Properties]).unwrap()
}

#[tokio::test]
async fn an_idle_channel_costs_one_request_and_so_does_an_empty_one() {
    let tenant = Tenant::tiny().await;
    for collection in tenant.collections("/channel/").await {
        let mut state = State::default();
        state.run(&*collection).await.unwrap();
        tenant.sim.clear_stats();
        state.run(&*collection).await.unwrap();
        assert_eq!(tenant.sim.stats().requests, 1, "{} with {} items", collection.path(), state.items.len());
    }
}

#[tokio::test]
async fn messages_older_than_delta_reaches_are_read_and_stay_after_its_link_is_lost() {
    let tenant = Tenant::tiny().await;
    let mut old = 0;
    for (collection, mut state) in channels(&tenant).await {
        // The first of November 2026, less eight months.
        let is_old = |item: &&Item| item.record.sort_us.is_some_and(|us| us < 1_772_000_000_000_000);
        old += state.items.values().filter(is_old).count();
        tenant.sim.expire_mail_deltas();
        let run = state.run(&*collection).await.unwrap();
        assert!(run.resynced);
        assert_equal(&state, &truth(&tenant, &*collection).unwrap());
    }
    assert!(old > 10, "{old}");
}

#[tokio::test]
async fn what_changed_before_the_link_of_a_channel_was_lost_is_read() {
    let tenant = Tenant::tiny().await;
    let read = channels(&tenant).await;
    tenant.sim.advance_day();
    tenant.sim.expire_mail_deltas();
    let mut changes = 0;
    for (collection, mut state) in read {
        let Some(now) = truth(&tenant, &*collection) else { continue };
        let run = state.run(&*collection).await.unwrap();
        assert!(run.resynced);
        assert_equal(&state, &now);
        changes += run.changes.len();
    }
    assert!(changes > 3, "{changes} changes");
}

#[tokio::test]
async fn a_message_that_was_taken_away_stays_with_the_time_and_without_text() {
    let tenant = Tenant::tiny().await;
    let mut taken = 0;
    for (collection, mut state) in channels(&tenant).await {
        let before: BTreeSet<String> = state.items.keys().cloned().collect();
        for _ in 0..4 {
            tenant.sim.advance_day();
        }
        if truth(&tenant, &*collection).is_none() {
            continue;
        }
        state.run(&*collection).await.unwrap();
        for (id, item) in &state.items {
            if item.record.kind != ItemKind::ChatMessage || json(&state, id)["deletedDateTime"].is_null() {
                continue;
            }
            assert!(item.record.fact("deleted").is_some());
            assert_eq!(json(&state, id)["body"]["content"], "");
            taken += usize::from(before.contains(id));
        }
    }
    assert!(taken > 0);
}

#[tokio::test]
async fn newer_members_of_enumerations_are_told_by_name_and_nobody_may_be_the_author() {
    let tenant = Tenant::tiny().await;
    let (mut system, mut bots) = (0, 0);
    for (_, state) in channels(&tenant).await {
        for id in state.items.keys().filter(|id| state.items[*id].record.kind == ItemKind::ChatMessage) {
            let message = json(&state, id);
            assert_ne!(message["messageType"], "unknownFutureValue");
            system += usize::from(message["messageType"] == "systemEventMessage" && message["from"].is_null());
            bots += usize::from(!message["from"]["application"].is_null());
        }
    }
    assert!(system > 0 && bots > 0, "{system} {bots}");
    let shared = tenant.collections("/team").await;
    let mut kinds = BTreeSet::new();
    for team in shared.iter().filter(|collection| collection.key().workload == Workload::Team) {
        let mut state = State::default();
        state.run(&**team).await.unwrap();
        let facts = state.items.values().filter_map(|item| item.record.fact("membership").map(str::to_owned));
        kinds.extend(facts);
    }
    assert_eq!(kinds, ["private", "shared", "standard"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_channel_names_the_folder_of_its_files_and_is_asked_for_it_once() {
    let tenant = Tenant::tiny().await;
    let team = tenant.collections("/team").await.into_iter().find(|c| c.key().workload == Workload::Team).unwrap();
    let mut state = State::default();
    state.run(&*team).await.unwrap();
    let channels: Vec<&Item> = state.items.values().filter(|item| item.record.kind == ItemKind::Channel).collect();
    let drives = |membership: &str| -> Vec<&str> {
        let of_kind = channels.iter().filter(|item| item.record.fact("membership") == Some(membership));
        of_kind.filter_map(|item| item.record.fact("files_drive")).collect()
    };
    let standard = drives("standard");
    assert!(standard.len() >= 2 && standard.iter().all(|drive| *drive == standard[0]), "one library for all");
    let own: Vec<&str> = drives("private").into_iter().chain(drives("shared")).collect();
    assert!(!own.is_empty() && own.iter().all(|drive| *drive != standard[0]));
    let without = channels.iter().filter(|item| item.record.fact("files_item").is_none()).count() as u64;
    assert!(without > 0, "a folder that nobody used yet");
    tenant.sim.clear_stats();
    state.run(&*team).await.unwrap();
    assert_eq!(tenant.sim.stats().requests_to("/filesFolder"), without);
}

#[tokio::test]
async fn a_channel_of_another_organisation_is_told_and_one_of_another_team_is_read_there() {
    let tenant = Tenant::tiny().await;
    let found = tenant.discover(&Selection::default()).await;
    let foreign: Vec<_> = found
        .coverage
        .iter()
        .filter(|c| c.workload == Some(Workload::Channel) && matches!(c.state, CoverageState::Impossible(_)))
        .collect();
    assert_eq!(foreign.len(), 1);
    assert!(foreign[0].name.ends_with("/Partner project"), "{}", foreign[0].name);
    let mut keys: Vec<String> = found.collections.iter().map(|c| c.key().to_string()).collect();
    let count = keys.len();
    keys.sort();
    keys.dedup_by_key(|key| {
        key.rsplit('/').next().map(str::to_owned).filter(|id| id.starts_with("19:")).unwrap_or(key.clone())
    });
    assert_eq!(keys.len(), count, "no channel is read twice");
}

#[tokio::test]
async fn without_a_permission_of_teams_the_rest_of_them_is_read() {
    let mut options = steady(1);
    // Of these, groups' permission would give some as well.
    options.roles.retain(|role| {
        !["TeamMember.Read.All", "ChannelMember.Read.All", "TeamworkTag.Read.All"].contains(&role.as_str())
    });
    let tenant = Tenant::start(options).await;
    let mut gaps = BTreeSet::new();
    for team in tenant.collections("/team").await.iter().filter(|c| c.key().workload == Workload::Team) {
        let mut state = State::default();
        state.run(&**team).await.unwrap();
        let has = |kind: ItemKind| state.items.values().any(|item| item.record.kind == kind);
        assert!(has(ItemKind::Channel) && has(ItemKind::Tab) && has(ItemKind::App) && !has(ItemKind::Member));
        gaps.extend(state.gaps.iter().map(|gap| (gap.kind.unwrap().word(), gap.reason.clone())));
    }
    let denied = "access-denied".to_owned();
    assert_eq!(gaps, BTreeSet::from([("setting", denied.clone()), ("channel", denied)]));
}

/// The chats' collections, read once.
async fn chats(tenant: &Tenant) -> Vec<(Arc<dyn Collection>, State)> {
    let mut read = Vec::new();
    for collection in tenant.collections("/chats").await {
        let mut state = State::default();
        state.run(&*collection).await.unwrap();
        read.push((collection, state));
    }
    assert!(read.len() >= 2);
    read
}

#[tokio::test]
async fn chats_that_rest_cost_two_requests_and_another_page_for_more() {
    let tenant = Tenant::tiny().await;
    for (collection, mut state) in chats(&tenant).await {
        tenant.sim.clear_stats();
        state.run(&*collection).await.unwrap();
        let stats = tenant.sim.stats();
        assert_eq!(stats.requests_to("/users/{id}/chats/getAllMessages"), 1);
        assert_eq!(stats.requests, stats.requests_to("/users/{id}/chats"), "{:?}", stats.routes);
    }
}

#[tokio::test]
async fn a_crowded_chat_is_kept_with_all_its_members() {
    let tenant = Tenant::tiny().await;
    let members = |state: &State| {
        let chats = state.items.iter().filter(|(_, item)| item.record.kind == ItemKind::Chat);
        chats.map(|(id, _)| json(state, id)["members"].as_array().unwrap().len()).max().unwrap()
    };
    let most = chats(&tenant).await.iter().map(|(_, state)| members(state)).max().unwrap();
    assert!(most > 30, "{most}");
}

#[tokio::test]
async fn who_joins_a_chat_gets_what_was_said_before() {
    let mut options = SimOptions { users: 5, ..steady(3) };
    options.groups = 0;
    let tenant = Tenant::start(options).await;
    let mut states = chats(&tenant).await;
    tenant.sim.clear_stats();
    for _ in 0..6 {
        tenant.sim.advance_day();
        for (collection, state) in &mut states {
            state.run(&**collection).await.unwrap();
            assert_equal(state, &truth(&tenant, &**collection).unwrap());
        }
    }
    assert!(tenant.sim.stats().requests_to("/chats/{id}/messages") > 0);
}

#[tokio::test]
async fn an_export_that_refuses_bounds_is_read_whole() {
    let tenant = Tenant::tiny().await;
    let mut states = chats(&tenant).await;
    tenant.sim.advance_day();
    tenant.inject(FaultKind::Status { status: 400 }, "filter=lastModified", 1.0);
    for (collection, state) in &mut states {
        state.run(&**collection).await.unwrap();
        assert_equal(state, &truth(&tenant, &**collection).unwrap());
    }
}

#[tokio::test]
async fn a_picture_that_cannot_be_read_is_a_gap_and_only_its_message_is_asked_for_again() {
    let tenant = Tenant::tiny().await;
    let all = [tenant.collections("/channel/").await, tenant.collections("/chats").await].concat();
    let mut pictures = 0;
    for collection in all {
        let mut state = State::default();
        tenant.inject(FaultKind::Status { status: 403 }, "/hostedContents/", 0.3);
        state.run(&*collection).await.unwrap();
        tenant.sim.clear_faults();
        let gaps = state.gaps.clone();
        assert!(gaps.iter().all(|gap| gap.kind == Some(ItemKind::HostedContent)), "{gaps:?}");
        pictures += gaps.len();
        tenant.sim.clear_stats();
        let run = state.run(&*collection).await.unwrap();
        let mut again: Vec<String> = gaps.iter().map(|gap| gap.id.clone()).collect();
        let mut fetched = run.fetched.clone();
        again.sort();
        fetched.sort();
        assert_eq!(fetched, again);
        assert_equal(&state, &truth(&tenant, &*collection).unwrap());
        assert_eq!(state.gaps, []);
    }
    assert!(pictures > 0);
}

#[tokio::test]
async fn teams_are_read_within_their_limits() {
    const FASTER: f64 = 25.0;
    let mut options = steady(1);
    options.limits.teams = true;
    options.limits.time_scale = FASTER;
    let mut tenant = Tenant::start(options).await;
    let mut client = ClientOptions::new(Cloud::custom(tenant.sim.graph_url(), tenant.sim.login_url()).unwrap());
    client.limits = Limits::default().scaled(FASTER);
    let secret = Credential::secret(tenant.sim.client_secret());
    tenant.client = Client::new(client, tenant.sim.tenant_id(), tenant.sim.client_id(), secret).unwrap();
    let all = tenant.collections("teams/").await;
    let read = all.iter().map(|collection| async { State::default().run(&**collection).await.unwrap() });
    futures::future::join_all(read).await;
    let stats = tenant.sim.stats();
    assert!(stats.requests_to("/teams/{id}/") > 60, "{}", stats.requests);
    assert_eq!(stats.throttled(), 0, "{:?}", stats.routes);
}

#[tokio::test]
async fn a_team_that_is_archived_and_a_channel_that_goes_away_in_the_middle_of_a_run() {
    let tenant = Tenant::tiny().await;
    tenant.sim.advance_day();
    let mut archived = 0;
    for day in 2..=5 {
        let all = tenant.collections("teams/").await;
        tenant.sim.advance_day();
        let mut gone = 0;
        for collection in all {
            let mut state = State::default();
            let read = state.run(&*collection).await;
            match truth(&tenant, &*collection) {
                Some(truth) => {
                    read.unwrap();
                    assert_equal(&state, &truth);
                    archived += state.items.keys().filter(|id| json(&state, id)["isArchived"] == true).count();
                }
                None => {
                    assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound, "{}", collection.path());
                    gone += 1;
                }
            }
        }
        assert_eq!(gone > 0, day == 5);
    }
    assert!(archived > 0);
}

#[tokio::test]
async fn what_rests_of_a_group_costs_its_lists_and_no_more() {
    let tenant = Tenant::tiny().await;
    let all = [tenant.collections("/conversations").await, tenant.collections("/planner").await].concat();
    assert_eq!(all.len(), 6);
    let mut states = Vec::new();
    for again in [false, true] {
        tenant.sim.clear_stats();
        for (number, collection) in all.iter().enumerate() {
            if !again {
                states.push(State::default());
            }
            states[number].run(&**collection).await.unwrap();
        }
    }
    let stats = tenant.sim.stats();
    assert_eq!(stats.requests_to("/threads/{id}/posts"), 0, "{:?}", stats.routes);
    assert_eq!(stats.requests_to("/planner/tasks/{id}/details"), 0, "{:?}", stats.routes);
    assert!(stats.requests_to("/groups/{id}/threads") >= 3 && stats.requests_to("/planner/plans/{id}/tasks") >= 3);
}
