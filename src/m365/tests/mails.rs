use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Tenant, steady, user_of};
use crate::format::record::{ItemKind, StreamRole};
use crate::m365::mail::{Mail, MailOptions};
use crate::m365::testing::State;
use crate::m365::{Change, Collection, Contents};
use crate::sim::{ExpectedMailbox, FaultKind, SimOptions};

/// The mailbox as the simulated tenant knows it.
fn truth(tenant: &Tenant, mail: &dyn Collection) -> ExpectedMailbox {
    tenant.sim.expected().user(&user_of(mail)).unwrap().mailbox.clone().unwrap()
}

/// Compares what a backup keeps with the tenant's truth: folders, messages, facts, MIME bytes.
fn assert_equal(state: &State, truth: &ExpectedMailbox, with_recoverable: bool) {
    let folders: BTreeMap<&str, _> =
        truth.folders.iter().filter(|f| with_recoverable || !f.recoverable).map(|f| (f.id.as_str(), f)).collect();
    let kept: BTreeMap<&str, _> =
        state.items.iter().filter(|(_, i)| i.record.kind.is_container()).map(|(id, i)| (id.as_str(), i)).collect();
    assert_eq!(kept.keys().collect::<Vec<_>>(), folders.keys().collect::<Vec<_>>(), "folders");
    for (id, folder) in &folders {
        let record = &kept[id].record;
        let parent = if folders.contains_key(folder.parent_id.as_str()) { folder.parent_id.as_str() } else { "" };
        assert_eq!((record.name.as_str(), record.parent.as_str()), (folder.name.as_str(), parent));
        assert_eq!(record.kind == ItemKind::MailSearchFolder, folder.search, "{}", folder.name);
        assert_eq!(record.fact("hidden").is_some(), folder.hidden);
    }
    let messages: BTreeMap<&str, _> =
        truth.messages.iter().filter(|m| with_recoverable || !m.recoverable).map(|m| (m.id.as_str(), m)).collect();
    let kept: BTreeMap<&str, _> = state
        .items
        .iter()
        .filter(|(_, i)| i.record.kind == ItemKind::Message)
        .map(|(id, i)| (id.as_str(), i))
        .collect();
    assert_eq!(kept.keys().collect::<Vec<_>>(), messages.keys().collect::<Vec<_>>(), "messages");
    assert!(!messages.is_empty());
    for (id, message) in &messages {
        let item = kept[id];
        assert_eq!(item.record.parent, message.folder_id, "{}", message.subject);
        assert_eq!(item.record.name, message.subject);
        assert_eq!(item.record.sort_us, Some(message.received * 1_000_000));
        assert_eq!(item.record.fact("read").is_some(), message.is_read);
        assert_eq!(item.record.version, message.change_key);
        assert_eq!(item.streams[&StreamRole::Mime], message.mime.bytes(), "{}", message.subject);
        let told: serde_json::Value = serde_json::from_slice(&item.streams[&StreamRole::Properties]).unwrap();
        assert_eq!((told["id"].as_str(), told["isRead"].as_bool()), (Some(*id), Some(message.is_read)));
    }
    state.paths();
}

/// The messages whose MIME form is new or other than before.
fn changed_contents(before: &ExpectedMailbox, now: &ExpectedMailbox) -> BTreeSet<String> {
    let before: BTreeMap<&str, _> =
        before.messages.iter().filter(|m| !m.recoverable).map(|m| (m.id.as_str(), &m.mime)).collect();
    let changed = now.messages.iter().filter(|m| !m.recoverable && before.get(m.id.as_str()) != Some(&&m.mime));
    changed.map(|m| m.id.clone()).collect()
}

/// All changed contents were fetched, and no others but those whose new change key says nothing: of drafts, and where
/// neither state nor folder changed (read and unread again on one day).
fn assert_only_needed(before: &State, state: &State, fetched: &[String], needed: &BTreeSet<String>) {
    let fetched = ids(fetched);
    assert_eq!(needed.difference(&fetched).collect::<Vec<_>>(), Vec::<&String>::new(), "not fetched");
    for id in fetched.difference(needed) {
        let (then, now) = (&before.items[id].record, &state.items[id].record);
        let unexplained = then.fact("state") == now.fact("state") && then.parent == now.parent;
        assert_ne!(then.version, now.version);
        assert!(unexplained || now.fact("draft").is_some(), "{} was fetched for nothing", now.name);
    }
    assert!(fetched.len() < needed.len() + 5, "that is rare");
}

fn ids(fetched: &[String]) -> BTreeSet<String> {
    fetched.iter().cloned().collect()
}

#[tokio::test]
async fn every_day_equals_the_mailbox_and_only_new_contents_are_fetched() {
    let tenant = Tenant::start(SimOptions::tiny()).await;
    let mails = tenant.collections("/mail").await;
    assert!(mails.len() >= 2);
    let mut states = vec![State::default(); mails.len()];
    let mut before: Vec<Option<ExpectedMailbox>> = vec![None; mails.len()];
    for day in 0..9 {
        for ((mail, state), before) in mails.iter().zip(&mut states).zip(&mut before) {
            if tenant.sim.expected().user(&user_of(&**mail)).is_none() {
                continue;
            }
            let known = state.clone();
            let run = state.run(&**mail).await.unwrap();
            let now = truth(&tenant, &**mail);
            assert_equal(state, &now, false);
            assert!(!run.resynced && state.gaps.is_empty());
            if let Some(before) = before.as_ref() {
                let needed = changed_contents(before, &now);
                assert_only_needed(&known, state, &run.fetched, &needed);
                assert_eq!(run.fetched.len(), ids(&run.fetched).len(), "each once, day {day}");
            }
            *before = Some(now);
        }
        tenant.sim.advance_day();
    }
}

#[tokio::test]
async fn an_idle_mailbox_costs_one_request_a_folder_and_one_more() {
    let tenant = Tenant::tiny().await;
    let mail = tenant.collections("/mail").await.remove(0);
    let mut state = State::default();
    state.run(&*mail).await.unwrap();
    tenant.sim.clear_stats();
    let run = state.run(&*mail).await.unwrap();
    assert_eq!(run.changes, []);
    let folders = truth(&tenant, &*mail).folders.iter().filter(|f| !f.recoverable && !f.search).count();
    assert_eq!(tenant.sim.stats().requests, folders as u64 + 1);
    assert!(folders > 8);
}

#[tokio::test]
async fn after_expired_tokens_nothing_is_fetched_that_did_not_change() {
    let tenant = Tenant::tiny().await;
    let mail = tenant.collections("/mail").await.remove(0);
    let mut state = State::default();
    state.run(&*mail).await.unwrap();
    tenant.sim.expire_mail_deltas();
    let run = state.run(&*mail).await.unwrap();
    assert!(run.resynced && run.changes.is_empty(), "{:?}", run.changes);
    for _ in 0..4 {
        let before = truth(&tenant, &*mail);
        tenant.sim.expire_mail_deltas();
        tenant.sim.advance_day();
        let known = state.clone();
        let run = state.run(&*mail).await.unwrap();
        let now = truth(&tenant, &*mail);
        assert!(run.resynced);
        assert_equal(&state, &now, false);
        assert_only_needed(&known, &state, &run.fetched, &changed_contents(&before, &now));
    }
}

#[tokio::test]
async fn one_folder_that_lost_its_token_is_compared_alone() {
    let tenant = Tenant::tiny().await;
    let mail = tenant.collections("/mail").await.remove(0);
    let mut state = State::default();
    state.run(&*mail).await.unwrap();
    for _ in 0..4 {
        let before = truth(&tenant, &*mail);
        tenant.sim.advance_day();
        tenant.inject(FaultKind::Gone, "messages/delta", 0.3);
        let known = state.clone();
        let run = state.run(&*mail).await.unwrap();
        tenant.sim.clear_faults();
        // What an aborted walk left open is settled at the latest now.
        let settled = state.run(&*mail).await.unwrap();
        let now = truth(&tenant, &*mail);
        assert_equal(&state, &now, false);
        let fetched: BTreeSet<String> = ids(&run.fetched).union(&ids(&settled.fetched)).cloned().collect();
        let fetched: Vec<String> = fetched.into_iter().collect();
        assert_only_needed(&known, &state, &fetched, &changed_contents(&before, &now));
    }
}

#[tokio::test]
async fn recoverable_items_are_read_when_asked_for() {
    let tenant = Tenant::tiny().await;
    let user = tenant.sim.expected().users.iter().find(|u| u.mailbox.is_some()).unwrap().clone();
    let mail =
        |recoverable_items| Mail::new(tenant.client.clone(), &user.id, &user.upn, MailOptions { recoverable_items });
    let mut state = State::default();
    for _ in 0..4 {
        state.run(&mail(true)).await.unwrap();
        let truth = truth(&tenant, &mail(true));
        assert!(truth.messages.iter().any(|m| m.recoverable));
        assert_equal(&state, &truth, true);
        tenant.sim.advance_day();
    }
    state.run(&mail(false)).await.unwrap();
    assert_equal(&state, &truth(&tenant, &mail(false)), false);
}

#[tokio::test]
async fn a_damaged_message_is_a_gap_and_is_tried_again_until_it_can_be_read() {
    let tenant = Tenant::tiny().await;
    let mail = tenant.collections("/mail").await.remove(0);
    tenant.inject(FaultKind::Corrupt, "", 0.2);
    let mut state = State::default();
    state.run(&*mail).await.unwrap();
    let gaps = state.gaps.clone();
    assert!(
        gaps.len() > 2 && gaps.iter().all(|g| g.reason == "damaged-at-source" && g.kind == Some(ItemKind::Message))
    );
    assert!(gaps.iter().all(|g| state.items[&g.id].record.version.is_empty()), "listed, without contents");
    let run = state.run(&*mail).await.unwrap();
    let missing: BTreeSet<String> = gaps.iter().map(|g| g.id.clone()).collect();
    assert!(ids(&run.fetched).is_subset(&missing), "the gaps and nothing else");
    assert_eq!(state.gaps.len(), gaps.len());
    assert!(state.gaps.iter().all(|g| g.since_us == 2));
    tenant.sim.clear_faults();
    state.run(&*mail).await.unwrap();
    assert_eq!(state.gaps, []);
    assert_equal(&state, &truth(&tenant, &*mail), false);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_again_keeps_its_older_contents() {
    let tenant = Tenant::tiny().await;
    let mail = tenant.collections("/mail").await.remove(0);
    let mut state = State::default();
    state.run(&*mail).await.unwrap();
    let before = truth(&tenant, &*mail);
    let known: BTreeMap<&str, _> = before.messages.iter().map(|m| (m.id.as_str(), &m.mime)).collect();
    tenant.inject(FaultKind::Corrupt, "", 1.0);
    let mut edited = Vec::new();
    for _ in 0..5 {
        tenant.sim.advance_day();
        state.run(&*mail).await.unwrap();
        edited = state.gaps.iter().filter(|g| known.contains_key(g.id.as_str())).collect();
        if !edited.is_empty() {
            break;
        }
    }
    assert!(!edited.is_empty(), "a draft was edited");
    for gap in edited {
        let item = &state.items[&gap.id];
        assert_eq!(item.streams[&StreamRole::Mime], known[gap.id.as_str()].bytes());
        assert_eq!(item.record.version, "");
    }
    tenant.sim.clear_faults();
    state.run(&*mail).await.unwrap();
    assert_equal(&state, &truth(&tenant, &*mail), false);
}

#[tokio::test]
async fn a_vanished_message_is_not_in_the_snapshot() {
    let tenant = Tenant::tiny().await;
    let mail = tenant.collections("/mail").await.remove(0);
    tenant.inject(FaultKind::Vanish, "", 0.2);
    let mut state = State::default();
    let run = state.run(&*mail).await.unwrap();
    assert_eq!(state.gaps, []);
    let messages = state.items.values().filter(|i| i.record.kind == ItemKind::Message).count();
    assert!(messages < run.fetched.len() && messages > 0);
}

#[tokio::test]
async fn a_full_mailbox_is_listed_without_delta() {
    let tenant = Tenant::tiny().await;
    let mail = tenant.collections("/mail").await.remove(0);
    let mut state = State::default();
    for _ in 0..3 {
        tenant.inject(FaultKind::Status { status: 507 }, "/delta", 1.0);
        let before = truth(&tenant, &*mail);
        let first = state.items.is_empty();
        let run = state.run(&*mail).await.unwrap();
        let now = truth(&tenant, &*mail);
        assert_eq!(state.gaps, []);
        assert_equal(&state, &now, false);
        assert!(first || run.fetched.len() < before.messages.len() / 2);
        tenant.sim.clear_faults();
        tenant.sim.advance_day();
    }
    state.run(&*mail).await.unwrap();
    assert_equal(&state, &truth(&tenant, &*mail), false);
}

#[tokio::test]
async fn a_folder_that_fails_is_a_gap_and_comes_back() {
    let tenant = Tenant::tiny().await;
    let mail = tenant.collections("/mail").await.remove(0);
    let inbox = truth(&tenant, &*mail).folders.iter().find(|f| f.well_known == Some("inbox")).unwrap().clone();
    let path = format!("{}/messages/delta", crate::graph::links::segment(&inbox.id));
    tenant.inject(FaultKind::Status { status: 500 }, &path, 1.0);
    let mut state = State::default();
    state.run(&*mail).await.unwrap();
    assert_eq!(state.gaps.len(), 1);
    assert_eq!((state.gaps[0].id.as_str(), state.gaps[0].reason.as_str()), (inbox.id.as_str(), "service-failing"));
    tenant.sim.clear_faults();
    tenant.sim.advance_day();
    state.run(&*mail).await.unwrap();
    assert_eq!(state.gaps, []);
    assert_equal(&state, &truth(&tenant, &*mail), false);
}

#[tokio::test]
async fn the_newest_messages_of_a_folder_are_read_first() {
    let tenant = Tenant::start(SimOptions { messages: 400, quirks: false, ..SimOptions::tiny() }).await;
    let mail = tenant.collections("/mail").await.remove(0);
    let mut state = State::default();
    let run = state.run(&*mail).await.unwrap();
    let truth = truth(&tenant, &*mail);
    let inbox = truth.folders.iter().find(|f| f.well_known == Some("inbox")).unwrap();
    let of_inbox: HashMap<&str, i64> =
        truth.messages.iter().filter(|m| m.folder_id == inbox.id).map(|m| (m.id.as_str(), m.received)).collect();
    let read: Vec<i64> = run.fetched.iter().filter_map(|id| of_inbox.get(id.as_str())).copied().collect();
    assert!(read.len() == of_inbox.len() && read.len() > 40, "{} of {}", read.len(), of_inbox.len());
    // Some are read at once, so that neighbours may change places.
    let (first, last) = (&read[..read.len() / 4], &read[read.len() / 4 * 3..]);
    assert!(first.iter().min() >= last.iter().max(), "{read:?}");
}

#[tokio::test]
async fn faults_of_the_network_and_the_service_change_nothing() {
    let tenant = Tenant::start(steady(7)).await;
    let mail = tenant.collections("/mail").await.remove(0);
    tenant.stormy();
    let mut state = State::default();
    for _ in 0..4 {
        state.run(&*mail).await.unwrap();
        assert_eq!(state.gaps, []);
        assert_equal(&state, &truth(&tenant, &*mail), false);
        tenant.sim.advance_day();
    }
    // Some twenty on average: how many is chance, that there were any is not.
    assert!(tenant.sim.stats().faults > 0);
}

#[tokio::test]
async fn reading_and_moving_keep_the_contents() {
    let tenant = Tenant::tiny().await;
    let mail = tenant.collections("/mail").await.remove(0);
    let mut state = State::default();
    state.run(&*mail).await.unwrap();
    tenant.sim.advance_day();
    let run = state.run(&*mail).await.unwrap();
    let kept = run.changes.iter().filter(|change| match change {
        Change::Put { record, contents, .. } => record.kind == ItemKind::Message && *contents == Contents::Keep,
        _ => false,
    });
    assert!(kept.count() > 1, "the script reads, flags and moves messages");
}

#[tokio::test]
async fn a_reading_that_broke_off_is_made_whole_by_the_next() {
    let tenant = Tenant::tiny().await;
    let mail = tenant.collections("/mail").await.remove(0);
    for most in [3, 20, 60] {
        let mut state = State::default();
        for _ in 0..3 {
            state.run_part(&*mail, most).await.unwrap();
            let kept = state.items.values().filter(|item| item.streams.contains_key(&StreamRole::Mime)).count();
            tenant.sim.advance_day();
            let run = state.run(&*mail).await.unwrap();
            assert_equal(&state, &truth(&tenant, &*mail), false);
            assert!(run.fetched.len() + kept < state.items.len() + 20, "what was kept is not fetched again");
            tenant.sim.advance_day();
        }
    }
}
