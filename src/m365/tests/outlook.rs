//! What is special about calendars, settings and tasks; what all walked collections promise is in `walked`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::walked::{assert_equal, truth};
use super::{Tenant, steady};
use crate::format::record::{ItemKind, StreamRole};
use crate::m365::Collection;
use crate::m365::testing::{Item, State};
use crate::sim::{Fault, FaultKind, SimOptions};
use crate::snapshot::set::Workload as Part;

async fn first(tenant: &Tenant, word: &str) -> Arc<dyn Collection> {
    tenant.collections(word).await.remove(0)
}

fn kinds(state: &State, kind: ItemKind) -> Vec<&Item> {
    state.items.values().filter(|item| item.record.kind == kind).collect()
}

fn json(item: &Item) -> Value {
    serde_json::from_slice(&item.streams[&StreamRole::Properties]).unwrap()
}

fn refuse(tenant: &Tenant, status: u16, path: &str) {
    let kind = FaultKind::Status { status };
    tenant.sim.inject(Fault { kind, path: path.to_owned(), probability: 1.0, count: None });
}

/// Runs twice against a refusal and once without, a day between each; in the end the tenant's truth is there.
async fn comes_back(word: &str, status: u16, path: &str) {
    let tenant = Tenant::tiny().await;
    let collection = first(&tenant, word).await;
    for well_at_first in [true, false] {
        let mut state = State::default();
        if well_at_first {
            state.run(&*collection).await.unwrap();
            tenant.sim.advance_day();
        }
        refuse(&tenant, status, path);
        for _ in 0..2 {
            let before = state.items.len();
            state.run(&*collection).await.unwrap();
            assert!(!state.gaps.is_empty(), "{path}: nothing says that something is missing");
            assert!(before == 0 || state.items.len() > before / 2, "{path}: what cannot be read was removed");
        }
        tenant.sim.clear_faults();
        let run = state.run(&*collection).await.unwrap();
        assert_eq!(state.gaps, [], "{path}");
        assert_equal(&state, &truth(&tenant, &*collection).unwrap());
        assert!(!run.resynced);
    }
}

#[tokio::test]
async fn what_is_refused_for_a_while_is_a_gap_and_comes_back() {
    for (word, path) in [
        ("/calendar", "/calendarGroups?"),
        ("/calendar", "/calendarPermissions"),
        ("/calendar", "/attachments?"),
        ("/calendar", "/attachments/"),
        ("/calendar", "cancelledOccurrences"),
        ("/calendar", "/events/delta"),
        ("/settings", "messageRules"),
        ("/settings", "masterCategories"),
        ("/settings", "overrides"),
        ("/settings", "mailboxSettings"),
        ("/tasks", "/tasks/delta"),
        ("/tasks", "/tasks?"),
        ("/tasks", "/attachments"),
    ] {
        comes_back(word, 403, path).await;
    }
}

#[tokio::test]
async fn a_list_of_settings_that_is_refused_stays_as_it_was_known() {
    let tenant = Tenant::tiny().await;
    let settings = first(&tenant, "/settings").await;
    let mut state = State::default();
    state.run(&*settings).await.unwrap();
    let before = state.items.clone();
    assert!(before.keys().filter(|id| id.starts_with("categories/")).count() > 1);
    refuse(&tenant, 403, "/masterCategories");
    state.run(&*settings).await.unwrap();
    assert_eq!(state.items, before);
    assert_eq!(state.gaps.iter().map(|gap| gap.id.as_str()).collect::<Vec<_>>(), ["categories/"]);
}

/// Which folder is which is asked until Graph tells it, and then no more.
#[tokio::test]
async fn rules_tell_which_of_their_folders_every_mailbox_has() {
    let tenant = Tenant::tiny().await;
    let settings = first(&tenant, "/settings").await;
    let mut state = State::default();
    let told = |state: &State| -> Vec<Option<String>> {
        let rules = kinds(state, ItemKind::Rule).into_iter();
        rules.map(|rule| rule.record.fact("moves_to").map(str::to_owned)).collect()
    };
    refuse(&tenant, 403, "mailFolders/archive");
    state.run(&*settings).await.unwrap();
    assert_eq!(state.gaps, [], "it is no part of the settings");
    assert!(told(&state).len() > 1 && told(&state).iter().all(Option::is_none), "{:?}", told(&state));
    tenant.sim.clear_faults();
    state.run(&*settings).await.unwrap();
    assert!(told(&state).iter().all(|name| name.as_deref() == Some("archive")), "{:?}", told(&state));
    tenant.sim.clear_stats();
    assert_eq!(state.run(&*settings).await.unwrap().changes, []);
    assert_eq!(tenant.sim.stats().requests_to("/users/{id}/mailFolders/{id}"), 0);
    assert_equal(&state, &truth(&tenant, &*settings).unwrap());
}

#[tokio::test]
async fn idle_calendars_and_tasks_keep_to_their_requests() {
    let tenant = Tenant::tiny().await;
    for (word, kinds_of) in [
        ("/calendar", vec![ItemKind::Calendar, ItemKind::CalendarGroup]),
        ("/tasks", vec![ItemKind::TaskList]),
        ("/settings", vec![]),
    ] {
        let collection = first(&tenant, word).await;
        let mut state = State::default();
        state.run(&*collection).await.unwrap();
        tenant.sim.clear_stats();
        for _ in 0..7 {
            assert_eq!(state.run(&*collection).await.unwrap().changes, []);
        }
        let folders: usize = kinds_of.iter().map(|kind| kinds(&state, *kind).len()).sum();
        // What is asked for beside the folders: the list of them, or the four lists that settings are.
        let most = match word {
            "/calendar" => 7 * folders as u64,
            "/tasks" => 7 * (folders as u64 + 1),
            _ => 7 * 4,
        };
        let stats = tenant.sim.stats();
        assert!(stats.requests <= most, "{word}: {} requests, {folders} folders", stats.requests);
        let batches = stats.requests_to("$batch");
        // Once in seven times the three groups of calendars and who may see three calendars besides.
        let most = if word == "/calendar" { 7 + 6 } else { 7 };
        assert_eq!(batches, most, "{word}: settings, lists of calendars, groups and task lists come in one round trip");
    }
}

#[tokio::test]
async fn events_of_every_kind_are_told_as_they_are() {
    let tenant = Tenant::tiny().await;
    let calendar = first(&tenant, "/calendar").await;
    let mut state = State::default();
    state.run(&*calendar).await.unwrap();
    let events = kinds(&state, ItemKind::Event);
    assert!(events.iter().any(|event| event.record.id.contains('/') && event.record.id.contains('+')));
    let ancient = events.iter().find(|event| event.record.sort_us.is_some_and(|us| us < 0)).unwrap();
    assert_eq!(ancient.record.sort_us, Some(-11_644_473_600_000_000));
    assert!(events.iter().any(|event| json(event)["organizer"].is_null() && event.record.fact("organizer").is_none()));
    assert!(events.iter().any(|event| event.record.fact("all_day") == Some("true")));
    assert!(events.iter().any(|event| event.record.fact("cancelled") == Some("true")));
    assert!(events.iter().any(|event| json(event)["recurrence"]["range"]["type"] == "noEnd"));
    assert!(events.iter().any(|event| !json(event)["cancelledOccurrences"].as_array().is_none_or(Vec::is_empty)));
    assert!(events.iter().all(|event| json(event)["originalStartTimeZone"] == "W. Europe Standard Time"));
    let exceptions: Vec<_> = events.iter().filter(|e| e.record.fact("type") == Some("exception")).collect();
    assert!(exceptions.iter().all(|e| state.items[&e.record.parent].record.fact("type") == Some("seriesMaster")));
    let attachments = kinds(&state, ItemKind::Attachment);
    assert!(attachments.iter().any(|a| exceptions.iter().any(|e| e.record.id == a.record.parent)));
    assert!(attachments.iter().any(|a| a.streams.get(&StreamRole::Content).is_some_and(bytes::Bytes::is_empty)));
    assert!(attachments.iter().any(|a| !a.streams.contains_key(&StreamRole::Content)), "a reference");
    assert!(attachments.iter().any(|a| json(a)["contentId"].is_string()), "inside a text");
}

#[tokio::test]
async fn of_a_calendar_that_is_somebody_elses_only_the_entry_is_kept() {
    let tenant = Tenant::tiny().await;
    let calendar = first(&tenant, "/calendar").await;
    let mut state = State::default();
    state.run(&*calendar).await.unwrap();
    let calendars = kinds(&state, ItemKind::Calendar);
    let shared: Vec<_> = calendars.iter().filter(|c| c.record.fact("shared_by").is_some()).collect();
    assert_eq!((calendars.len(), shared.len()), (5, 1));
    assert_ne!(shared[0].record.fact("shared_by"), json(calendars[0])["owner"]["name"].as_str());
    assert!(state.items.values().all(|item| item.record.parent != shared[0].record.id));
    assert_eq!(tenant.sim.stats().requests_to("/calendars/{id}/events/delta"), 4);
    assert_eq!(tenant.sim.stats().requests_to("/calendarPermissions"), 3, "birthdays cannot be shared");
}

#[tokio::test]
async fn where_v1_lacks_it_events_and_their_exceptions_are_read_in_beta() {
    let tenant = Tenant::start(crate::sim::SimOptions { national_cloud: true, ..steady(2) }).await;
    let calendar = first(&tenant, "/calendar").await;
    let mut state = State::default();
    for _ in 0..3 {
        state.run(&*calendar).await.unwrap();
        assert_equal(&state, &truth(&tenant, &*calendar).unwrap());
        assert_eq!(state.run(&*calendar).await.unwrap().changes, []);
        tenant.sim.advance_day();
    }
    assert_eq!(state.gaps, []);
}

#[tokio::test]
async fn a_calendar_whose_delta_fails_is_listed_plainly_and_remembered() {
    for status in [503, 507] {
        let tenant = Tenant::tiny().await;
        let calendar = first(&tenant, "/calendar").await;
        let mut state = State::default();
        refuse(&tenant, status, "/events/delta");
        for day in 0..4 {
            let before = tenant.sim.stats().requests_to("/events/delta");
            state.run(&*calendar).await.unwrap();
            assert_equal(&state, &truth(&tenant, &*calendar).unwrap());
            assert_eq!(state.gaps, []);
            assert!(
                day == 0 || tenant.sim.stats().requests_to("/events/delta") - before <= 40,
                "calendars that are new"
            );
            assert_eq!(state.run(&*calendar).await.unwrap().changes, [], "day {day}");
            tenant.sim.advance_day();
        }
        tenant.sim.clear_faults();
        for _ in 0..28 {
            state.run(&*calendar).await.unwrap();
        }
        assert_equal(&state, &truth(&tenant, &*calendar).unwrap());
        tenant.sim.clear_stats();
        state.run(&*calendar).await.unwrap();
        assert!(tenant.sim.stats().requests_to("/events/delta") > 0, "the best way is never tried again");
    }
}

#[tokio::test]
async fn large_pages_that_fail_are_asked_for_again_smaller() {
    // Pages of ten are answered, larger ones are not: what fails is told apart by the preference alone.
    let tenant = Tenant::tiny().await;
    let calendar = first(&tenant, "/calendar").await;
    let mut state = State::default();
    let kind = FaultKind::Status { status: 503 };
    // Six attempts of the client are one failure; the four calendars fail once each.
    tenant.sim.inject(Fault { kind, path: "/events/delta".to_owned(), probability: 1.0, count: Some(6) });
    state.run(&*calendar).await.unwrap();
    assert_equal(&state, &truth(&tenant, &*calendar).unwrap());
    let ways: Vec<_> = state.cursors.unwrap().links.into_iter().filter(|(name, _)| name.starts_with("way:")).collect();
    assert_eq!(ways.iter().filter(|(_, way)| way == "small").count(), 1, "{ways:?}");
    assert_eq!(ways.iter().filter(|(_, way)| way == "delta").count(), 3, "{ways:?}");
}

#[tokio::test]
async fn a_mailbox_without_delta_of_tasks_is_listed_plainly() {
    let tenant = Tenant::tiny().await;
    let tasks = first(&tenant, "/tasks").await;
    let mut state = State::default();
    refuse(&tenant, 507, "/delta");
    for _ in 0..3 {
        state.run(&*tasks).await.unwrap();
        assert_equal(&state, &truth(&tenant, &*tasks).unwrap());
        assert_eq!(state.run(&*tasks).await.unwrap().changes, []);
        tenant.sim.advance_day();
    }
}

/// Of folders and contacts, then of contacts alone.
#[tokio::test]
async fn contacts_of_a_mailbox_without_delta_are_listed_plainly() {
    for path in ["/delta", "/contacts/delta"] {
        let tenant = Tenant::tiny().await;
        let contacts = first(&tenant, "/contacts").await;
        let mut state = State::default();
        refuse(&tenant, 507, path);
        for _ in 0..5 {
            state.run(&*contacts).await.unwrap();
            assert_equal(&state, &truth(&tenant, &*contacts).unwrap());
            assert_eq!(state.gaps, [], "{path}");
            assert_eq!(state.run(&*contacts).await.unwrap().changes, [], "{path}");
            tenant.sim.advance_day();
        }
        tenant.sim.clear_faults();
        state.run(&*contacts).await.unwrap();
        assert_equal(&state, &truth(&tenant, &*contacts).unwrap());
    }
}

/// Nor does it list anything.
#[tokio::test]
async fn a_full_mailbox_that_lists_nothing_either_is_not_asked_for_ever() {
    let tenant = Tenant::tiny().await;
    let (contacts, tasks) = (first(&tenant, "/contacts").await, first(&tenant, "/tasks").await);
    let mut state = State::default();
    refuse(&tenant, 507, "/contacts?");
    refuse(&tenant, 507, "/contacts/delta");
    state.run(&*contacts).await.unwrap();
    assert!(state.gaps.iter().all(|gap| gap.kind == Some(ItemKind::ContactFolder)) && !state.gaps.is_empty());
    refuse(&tenant, 507, "");
    assert!(State::default().run(&*contacts).await.is_err());
    assert!(State::default().run(&*tasks).await.is_err());
}

#[tokio::test]
async fn tasks_carry_their_steps_and_links_and_lists_what_they_are() {
    let tenant = Tenant::tiny().await;
    let tasks = first(&tenant, "/tasks").await;
    let mut state = State::default();
    state.run(&*tasks).await.unwrap();
    let filled = |name: &str| {
        kinds(&state, ItemKind::Task).iter().any(|t| json(t)[name].as_array().is_some_and(|a| !a.is_empty()))
    };
    assert!(filled("checklistItems") && filled("linkedResources"));
    let facts = |key: &str| {
        let lists = kinds(&state, ItemKind::TaskList);
        lists.iter().filter_map(|l| l.record.fact(key).map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut well_known = facts("well_known");
    well_known.sort();
    assert_eq!(well_known, ["defaultList", "flaggedEmails"]);
    assert_eq!((facts("shared"), facts("of_another")), (vec!["true".to_owned()], vec!["true".to_owned()]));
}

#[tokio::test]
async fn a_permission_that_is_missing_for_one_workload_stops_no_other() {
    let mut options = steady(1);
    options.roles.retain(|role| role != "Mail.Read" && role != "Tasks.Read.All");
    let tenant = Tenant::start(options).await;
    let found = tenant.discover(&crate::m365::discover::Selection::default()).await;
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    for collection in &found.collections {
        *words.entry(collection.key().workload.word()).or_default() += 1;
    }
    assert!(words["calendar"] > 2 && words["contacts"] > 2 && words["settings"] > 2, "{words:?}");
    assert!(!words.contains_key("mail") && !words.contains_key("tasks"), "{words:?}");
    let calendar = found.collections.iter().find(|c| c.key().workload.word() == "calendar").unwrap();
    let mut state = State::default();
    state.run(&**calendar).await.unwrap();
    assert_equal(&state, &truth(&tenant, &**calendar).unwrap());
}

#[tokio::test]
async fn what_hangs_on_no_change_is_looked_at_again_after_some_readings() {
    let tenant = Tenant::tiny().await;
    let calendar = first(&tenant, "/calendar").await;
    let mut state = State::default();
    state.run(&*calendar).await.unwrap();
    // As if the sharing had changed, and then the group of a calendar, without a word in the entry of the calendar.
    let permission = kinds(&state, ItemKind::Permission)[0].record.id.clone();
    state.items.remove(&permission);
    for _ in 0..7 {
        state.run(&*calendar).await.unwrap();
    }
    assert_equal(&state, &truth(&tenant, &*calendar).unwrap());
    let groups = kinds(&state, ItemKind::CalendarGroup);
    let group = groups[0].record.id.clone();
    let calendars = kinds(&state, ItemKind::Calendar);
    let elsewhere = calendars.iter().find(|c| c.record.parent != group).unwrap().record.id.clone();
    state.items.get_mut(&elsewhere).unwrap().record.parent = group;
    for _ in 0..7 {
        state.run(&*calendar).await.unwrap();
    }
    assert_equal(&state, &truth(&tenant, &*calendar).unwrap());
}

#[tokio::test]
async fn what_was_told_before_a_calendar_broke_off_keeps_what_hangs_below_it() {
    let mut options = steady(1);
    options.script.others = 12;
    let tenant = Tenant::start(options).await;
    let calendar = first(&tenant, "/calendar").await;
    let mut state = State::default();
    state.run(&*calendar).await.unwrap();
    for (name, way) in &mut state.cursors.as_mut().unwrap().links {
        if name.starts_with("way:") {
            *way = "small".to_owned();
        }
    }
    tenant.sim.advance_day();
    refuse(&tenant, 403, "skiptoken");
    state.run(&*calendar).await.unwrap();
    assert!(state.gaps.iter().any(|gap| gap.kind == Some(ItemKind::Calendar)), "{:?}", state.gaps);
    tenant.sim.clear_faults();
    state.run(&*calendar).await.unwrap();
    assert_eq!(state.gaps, []);
    assert_equal(&state, &truth(&tenant, &*calendar).unwrap());
}

#[tokio::test]
async fn after_expired_tokens_no_series_is_asked_for_that_did_not_change() {
    let tenant = Tenant::tiny().await;
    let calendar = first(&tenant, "/calendar").await;
    let mut state = State::default();
    state.run(&*calendar).await.unwrap();
    tenant.sim.expire_mail_deltas();
    tenant.sim.clear_stats();
    assert_eq!(state.run(&*calendar).await.unwrap().changes, []);
    assert_eq!(tenant.sim.stats().routes.get("GET /users/{id}/events/{id}"), None);
    assert_eq!(tenant.sim.stats().requests_to("/attachments"), 0);
}

/// The calendar that somebody shares with the first user: its owner's address, and how many events are told of it.
fn shared_with(state: &State) -> (String, usize) {
    let shared = kinds(state, ItemKind::Calendar).into_iter().find(|item| item.record.fact("shared_by").is_some());
    let shared = &shared.unwrap().record;
    let events = kinds(state, ItemKind::Event).into_iter().filter(|event| event.record.parent == shared.id).count();
    (shared.fact("shared_by").unwrap().to_owned(), events)
}

#[tokio::test]
async fn what_people_outside_the_backup_share_is_read_and_what_others_in_it_share_is_not() {
    let tenant = Tenant::start(SimOptions { shared_events: 3, ..steady(1) }).await;
    let user = tenant.sim.expected().users[0].clone();
    let calendar = |at_owners: &[&str]| {
        let at_owners: HashMap<_, _> = at_owners.iter().map(|it| ((*it).to_owned(), "owner".to_owned())).collect();
        let at_owners = Arc::new(OnceLock::from(at_owners));
        crate::m365::calendar::calendar(tenant.client.clone(), &user.id, &user.upn, at_owners)
    };
    let mut state = State::default();
    state.run(&calendar(&[])).await.unwrap();
    let (owner, events) = shared_with(&state);
    assert_eq!((events, state.gaps.len()), (3, 0));
    assert_eq!(state.run(&calendar(&[])).await.unwrap().changes, []);
    // The owner is taken into the backup, and out of it again.
    state.run(&calendar(&[&owner.to_lowercase()])).await.unwrap();
    assert_eq!(shared_with(&state), (owner.clone(), 0));
    let collection = calendar(&[&owner.to_lowercase()]);
    let mut truth = truth(&tenant, &collection).unwrap();
    truth.things.retain(|thing| thing.kind != "event" || state.items.contains_key(&thing.id));
    assert_equal(&state, &truth);
    state.run(&calendar(&[])).await.unwrap();
    assert_eq!(shared_with(&state), (owner.clone(), 3));
    // What may not be seen is told as missing, and no more than that.
    let id = kinds(&state, ItemKind::Calendar).into_iter().find(|item| item.record.fact("shared_by").is_some());
    let id = id.unwrap().record.id.clone();
    let own_events = kinds(&state, ItemKind::Event).len();
    refuse(&tenant, 403, &format!("calendars/{}/events", crate::graph::links::segment(&id)));
    let mut refused = State::default();
    refused.run(&calendar(&[])).await.unwrap();
    assert_eq!(refused.gaps.iter().map(|gap| gap.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    assert_eq!(kinds(&refused, ItemKind::Event).len(), own_events - 3);
    refused.run(&calendar(&[&owner.to_lowercase()])).await.unwrap();
    assert_eq!(refused.gaps, []);
}

/// A discovery knows whom it takes in by name and by address.
#[tokio::test]
async fn calendars_of_users_whom_the_selection_takes_in_are_read_at_themselves_alone() {
    let tenant = Tenant::start(SimOptions { users: 4, shared_events: 2, ..steady(1) }).await;
    let with_events = async |names: &[&str]| {
        let found = tenant.discover(&super::discovery::selected(names, &[], &[Part::Calendar])).await;
        let (mut told, mut read) = (Vec::new(), Vec::new());
        for collection in found.collections.iter().filter(|c| c.key().workload == crate::m365::Workload::Calendar) {
            let mut state = State::default();
            state.run(&**collection).await.unwrap();
            told.push(shared_with(&state));
            read.push(collection.key().owner.id().to_owned());
        }
        (told, read)
    };
    let (all, read) = with_events(&["*"]).await;
    // One of the tenant's cannot be read.
    let users: Vec<_> = tenant.sim.expected().users.into_iter().filter(|user| read.contains(&user.id)).collect();
    let of = |owner: &str| {
        let owner = owner.to_lowercase();
        users.iter().find(|user| user.upn.to_lowercase() == owner.trim_start_matches("aka."))
    };
    for (owner, events) in &all {
        assert_eq!(*events, if of(owner).is_some() { 0 } else { 2 }, "{owner}");
    }
    let inside = all.iter().filter(|(owner, _)| of(owner).is_some());
    let (other_name, own_name): (Vec<_>, Vec<_>) = inside.partition(|(owner, _)| owner.starts_with("aka."));
    assert!(!other_name.is_empty() && !own_name.is_empty(), "by either address: {all:?}");
    // Of whom nothing can be read, what others see of it is read.
    let owner = of(&own_name[0].0).unwrap();
    for what in ["mailFolders", "calendars"] {
        refuse(&tenant, 403, &format!("users/{}/{what}", owner.id));
    }
    let (without, _) = with_events(&["*"]).await;
    let seen = without.iter().find(|(other, _)| *other == own_name[0].0).unwrap();
    assert_eq!((seen.1, without.len()), (2, all.len() - 1));
    tenant.sim.clear_faults();
    let (alone, _) = with_events(&[&tenant.sim.expected().users[0].upn]).await;
    assert_eq!(alone.iter().map(|(_, events)| *events).collect::<Vec<_>>(), [2]);
}
