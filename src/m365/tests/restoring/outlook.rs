//! Calendars, contacts, To Do, settings, plans.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::driver::{Done, Held, json, restore, take_back, told};
use crate::format::record::{ItemKind, Record, Stream, StreamRole};
use crate::graph::GraphRequest;
use crate::graph::links::segment;
use crate::m365::Collection;
use crate::m365::restore::{Destination, Extras, Found, Log, Order, Target, Undo, Unlogged, open};
use crate::m365::team::part;
use crate::m365::testing::{Item, State};
use crate::m365::tests::{Tenant, steady};
use crate::sim::{FaultKind, SimOptions};

/// A tenant whose one application may write as well.
async fn writable() -> Tenant {
    let mut options: SimOptions = steady(1);
    let more = [
        "Calendars.ReadWrite",
        "Contacts.ReadWrite",
        "Tasks.ReadWrite.All",
        "MailboxSettings.ReadWrite",
        "Mail.ReadWrite",
        "Group.ReadWrite.All",
        "TeamMember.ReadWrite.All",
        "ChannelMember.ReadWrite.All",
        "TeamsTab.ReadWrite.All",
        "Channel.Create",
        "TermStore.ReadWrite.All",
        "TeamworkTag.ReadWrite.All",
        "Files.ReadWrite.All",
    ];
    options.roles.extend(more.map(str::to_owned));
    Tenant::start(options).await
}

async fn of(tenant: &Tenant, word: &str) -> (Arc<dyn Collection>, Box<dyn Target>) {
    let collection = tenant.collections(word).await.remove(0);
    let key = collection.key().clone();
    let name = collection.path().split('/').nth(1).unwrap_or_default().to_owned();
    let to = Destination { owner: key.owner.clone(), name, from: key, title: String::new(), original: true };
    let target = open(&tenant.client, &to).await.unwrap();
    (collection, target)
}

/// Wipes, restores in place, restores once more, takes back; says what is not as it should be.
async fn round_trip(word: &str) {
    let mut problems = Vec::new();
    {
        let tenant = writable().await;
        let (collection, target) = of(&tenant, word).await;
        let mut before = State::default();
        before.run(&*collection).await.unwrap();
        tenant.sim.wipe_items(collection.key().owner.id());
        let mut wiped = State::default();
        wiped.run(&*collection).await.unwrap();
        assert!(wiped.items.len() < before.items.len(), "{word}: nothing was wiped");

        let done = restore(&*target, &Held::new(&before), None).await;
        let mut after = wiped.clone();
        after.run(&*collection).await.unwrap();
        assert!(done.made > 0 && after.gaps.is_empty(), "{word}: {:?}", after.gaps);
        let (was, is) = (told(&before), told(&after));
        for (path, value) in &was {
            // What follows from flagged mail is not made.
            let unmakable =
                done.refused.iter().any(|(kind, _)| path.ends_with(kind.word())) || path.contains("Flagged Emails");
            if is.get(path) != Some(value) && !unmakable {
                problems.push(format!("{word} {path}:\n  was {value:?}\n  is  {:?}", is.get(path)));
            }
        }
        problems.extend(is.keys().filter(|path| !was.contains_key(*path)).map(|path| format!("{word}: {path} is new")));
        if tenant.sim.mails_sent() > 0 {
            problems.push(format!("{word}: mail was sent"));
        }
        // Once more: all is there.
        let again = restore(&*target, &Held::new(&before), None).await;
        if again.made > usize::from(word == "/team") {
            problems.push(format!("{word}: a second restore made {}", again.made));
        }
        // Undo takes back what was made.
        let left = take_back(&*target, &done).await;
        after.run(&*collection).await.unwrap();
        let is = told(&after);
        let was = told(&wiped);
        for (path, value) in &was {
            if is.get(path) != Some(value) {
                problems.push(format!("{word} undo {path}:\n  was {value:?}\n  is  {:?}", is.get(path)));
            }
        }
        problems.extend(
            is.keys().filter(|path| !was.contains_key(*path)).map(|path| format!("{word} undo: {path} is left")),
        );
        problems.extend(left.into_iter().map(|why| format!("{word} undo: {why}")));
        if tenant.sim.mails_sent() > 0 {
            problems.push(format!("{word}: undo sent mail"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn wiped_calendars_come_back_and_nobody_is_invited() {
    round_trip("/calendar").await;
}

#[tokio::test]
async fn wiped_contacts_come_back_with_their_photos() {
    round_trip("/contacts").await;
}

#[tokio::test]
async fn wiped_tasks_come_back_with_steps_links_and_attachments() {
    round_trip("/tasks").await;
}

#[tokio::test]
async fn wiped_rules_categories_and_settings_come_back() {
    round_trip("/settings").await;
}

#[tokio::test]
async fn deleted_plans_come_back_with_details() {
    round_trip("/planner").await;
}

#[tokio::test]
async fn a_team_gets_back_what_it_lacks() {
    round_trip("/team").await;
}

/// What a step notes.
#[derive(Debug, Default)]
struct Noted(Mutex<Vec<Undo>>);

#[async_trait]
impl Log for Noted {
    async fn note(&self, undo: Undo) -> crate::Result<Undo> {
        self.0.lock().unwrap().push(undo.clone());
        Ok(undo)
    }
}

#[tokio::test]
async fn what_a_team_gets_back_is_noted_piece_by_piece() {
    let tenant = writable().await;
    let (collection, target) = of(&tenant, "/team").await;
    let mut before = State::default();
    before.run(&*collection).await.unwrap();
    tenant.sim.wipe_items(collection.key().owner.id());
    let team = before.items.values().find(|item| item.record.kind == ItemKind::Setting);
    let (record, log) = (&team.unwrap().record, Noted::default());
    let (name, extras) = (record.name.as_str(), Extras::default());
    let order = Order { record, parent: "", name, mark: "run-1", extras, log: &log, only_looks: false };
    let made = target.create(order, &Held::new(&before)).await.unwrap();
    let is_tag = |undo: &Undo| matches!(undo, Undo::Delete { kind: ItemKind::Tag, .. });
    assert!(made.undo.iter().any(is_tag), "{:?}", made.undo);
    assert_eq!(made.undo, *log.0.lock().unwrap());
}

#[tokio::test]
async fn deleted_terms_come_back_in_their_tree() {
    round_trip("tenant/terms").await;
}

#[tokio::test]
async fn a_container_of_its_own_holds_everything_and_goes_as_a_whole() {
    for word in ["/calendar", "/contacts"] {
        let tenant = writable().await;
        let (collection, target) = of(&tenant, word).await;
        let mut before = State::default();
        before.run(&*collection).await.unwrap();
        let done = restore(&*target, &Held::new(&before), Some("Restored 2026-11-26")).await;
        let mut after = before.clone();
        after.run(&*collection).await.unwrap();
        let leaves = |state: &State| {
            let all = state.items.values().map(|item| item.record.kind);
            all.filter(|kind| matches!(kind, ItemKind::Event | ItemKind::Contact)).count()
        };
        assert_eq!(leaves(&after), 2 * leaves(&before), "{word}");
        assert_eq!(tenant.sim.mails_sent(), 0, "{word}: mail was sent");
        assert_eq!(take_back(&*target, &done).await, Vec::<String>::new(), "{word}");
        after.run(&*collection).await.unwrap();
        assert_eq!(told(&after), told(&before), "{word}: undo left something");
    }
}

#[tokio::test]
async fn events_by_themselves_go_into_a_calendar_of_the_group() {
    let tenant = writable().await;
    let (collection, target) = of(&tenant, "/calendar").await;
    let mut before = State::default();
    before.run(&*collection).await.unwrap();
    let held = Held::new(&before);
    let top = target.create_top("Restored").await.unwrap();
    let mut done = Done { undo: top.undo, ..Done::default() };
    let single = |record: &&Record| record.kind == ItemKind::Event && record.fact("type") == Some("singleInstance");
    let events: Vec<&Record> = before.items.values().map(|item| &item.record).filter(single).take(3).collect();
    for (number, record) in events.iter().enumerate() {
        let mark = format!("one-{number}");
        let name = &record.name;
        let extras = Extras::default();
        let order = Order { record, parent: &top.id, name, mark: &mark, extras, log: &Unlogged, only_looks: false };
        let made = target.create(order, &held).await.unwrap();
        assert!(matches!(target.find(order, &held).await.unwrap(), Found::Part(found) if found.id == made.id));
        done.undo.extend(made.undo);
    }
    let mut after = before.clone();
    after.run(&*collection).await.unwrap();
    assert_eq!(
        after.items.len(),
        before.items.len() + 2 + events.len() + attached(&before, &events),
        "one calendar for all"
    );
    assert_eq!(take_back(&*target, &done).await, Vec::<String>::new());
    after.run(&*collection).await.unwrap();
    assert_eq!(told(&after), told(&before));
}

/// How many attachments of these events can be made.
fn attached(state: &State, events: &[&Record]) -> usize {
    let of_them = |item: &&Item| {
        let is_link = json(item)["@odata.type"] == "#microsoft.graph.referenceAttachment";
        item.record.kind == ItemKind::Attachment
            && !is_link
            && events.iter().any(|event| event.id == item.record.parent)
    };
    state.items.values().filter(of_them).count()
}

#[tokio::test]
async fn an_event_that_is_overwritten_keeps_what_was_attached_since() {
    let tenant = writable().await;
    let (collection, target) = of(&tenant, "/calendar").await;
    let mut before = State::default();
    before.run(&*collection).await.unwrap();
    let is_alone = |item: &&Item| {
        item.record.kind == ItemKind::Event
            && item.record.fact("type") == Some("singleInstance")
            && json(item)["attendees"].as_array().is_none_or(Vec::is_empty)
    };
    let record = before.items.values().find(is_alone).map(|item| &item.record).unwrap();
    let url = format!("users/{}/events/{}/attachments", collection.key().owner.id(), segment(&record.id));
    let kind = "#microsoft.graph.fileAttachment";
    let body = serde_json::json!({"@odata.type": kind, "name": "Since.txt", "contentBytes": "c2luY2U="});
    tenant.client.send(GraphRequest::post(target.scope(), url.as_str(), &body)).await.unwrap();
    let (parent, name, extras) = (record.parent.as_str(), record.name.as_str(), Extras::default());
    let order = Order { record, parent, name, mark: "run-1", extras, log: &Unlogged, only_looks: false };
    let made = target.overwrite(&record.id, order, &Held::new(&before)).await.unwrap();
    assert!(made.notes.iter().any(|note| note.contains("'Since.txt' is not in the snapshot")), "{:?}", made.notes);
    let there =
        tenant.client.get_all(GraphRequest::get(target.scope(), format!("{url}?$select=id,name,size"))).await.unwrap();
    assert!(there.iter().any(|row| row["name"] == "Since.txt"), "{there:?}");
}

/// How long what is held whole of an item is: its contents, or the longest of the files that are attached to an event.
fn held_bytes(before: &State, item: &Item) -> usize {
    let own = |item: &Item| {
        let contents = item.streams.iter().filter(|(role, _)| **role != StreamRole::Properties);
        contents.map(|(_, bytes)| bytes.len()).max().unwrap_or(0)
    };
    if item.record.kind != ItemKind::Event {
        return own(item);
    }
    let attached = || before.items.values().filter(|part| part.record.parent == item.record.id);
    let is_file = |part: &Item| json(part)["@odata.type"] == "#microsoft.graph.fileAttachment";
    if attached().all(is_file) { attached().map(own).max().unwrap_or(0) } else { 0 }
}

#[tokio::test]
async fn what_is_held_whole_waits_for_the_room_that_all_share() {
    let tenant = writable().await;
    for (word, kind, asked) in [
        ("/mail", ItemKind::Message, "/messages"),
        ("/contacts", ItemKind::Contact, "photo"),
        ("/calendar", ItemKind::Event, "/attachments"),
        ("/onedrive", ItemKind::File, "createUploadSession"),
    ] {
        let (collection, target) = of(&tenant, word).await;
        let mut before = State::default();
        before.run(&*collection).await.unwrap();
        let held = Held::new(&before);
        let is_one = |record: &Record| kind != ItemKind::Event || record.fact("type") == Some("singleInstance");
        let has_bytes =
            |item: &&Item| item.record.kind == kind && is_one(&item.record) && held_bytes(&before, item) > 0;
        let item = before.items.values().find(has_bytes).unwrap();
        let (record, bytes) = (&item.record, held_bytes(&before, item) as u64);
        let parent = match kind {
            // In a group of calendars there are no events.
            ItemKind::Event => record.parent.clone(),
            _ => target.create_top("Restored").await.unwrap().id,
        };
        let (name, extras) = (&record.name, Extras::default());
        let order = |mark| Order { record, parent: &parent, name, mark, extras, log: &Unlogged, only_looks: false };
        let sent = || tenant.sim.stats().routes.into_iter().filter(|(route, _)| route.contains(asked)).count();
        tenant.sim.clear_stats();
        let taken = held.room.take(u64::MAX).await.unwrap();
        let wait = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(wait, target.create(order("one"), &held)).await.is_err(), "{word}");
        assert_eq!(sent(), 0, "{word}");
        drop(taken);
        target.create(order("two"), &held).await.unwrap();
        assert!(sent() > 0, "{word}");
        // It is kept for all of the contents, as long as they are there.
        let (most, unheld) = (held.most.load(Ordering::Relaxed), held.unheld.load(Ordering::Relaxed));
        assert!(most >= bytes && unheld == 0, "{word}: {most} of {bytes}, {unheld}");
    }
}

#[tokio::test]
async fn a_contact_whose_photo_is_too_large_comes_back_without_it() {
    let tenant = writable().await;
    let (collection, target) = of(&tenant, "/contacts").await;
    let mut before = State::default();
    before.run(&*collection).await.unwrap();
    let item = before.items.values_mut().find(|item| item.record.kind == ItemKind::Contact).unwrap();
    let photo = vec![0xff; (4 << 20) + 1];
    let (size_bytes, source_hash, pieces) = (photo.len() as u64, String::new(), Vec::new());
    item.record.streams = vec![Stream { role: StreamRole::Content, size_bytes, source_hash, pieces }];
    item.streams.insert(StreamRole::Content, photo.into());
    let record = item.record.clone();
    let (parent, name, extras) = (record.parent.as_str(), record.name.as_str(), Extras::default());
    let order = Order { record: &record, parent, name, mark: "run-1", extras, log: &Unlogged, only_looks: false };
    let made = target.create(order, &Held::new(&before)).await.unwrap();
    assert!(made.notes.iter().any(|note| note.contains("photo is left out")), "{:?}", made.notes);
    let url = format!("users/{}/contacts/{}", collection.key().owner.id(), segment(&made.id));
    let there = tenant.client.get_json(GraphRequest::get(target.scope(), url)).await.unwrap();
    assert_eq!(there["id"], made.id.as_str());
}

/// In the first state of it a rule lacks its conditions.
#[tokio::test]
async fn a_rule_that_is_overwritten_has_no_conditions_that_it_lacked() {
    let tenant = writable().await;
    let (collection, target) = of(&tenant, "/settings").await;
    let mut whole = State::default();
    whole.run(&*collection).await.unwrap();
    let has = |item: &&Item| item.record.kind == ItemKind::Rule && json(item)["conditions"].is_object();
    let record = whole.items.values().find(has).map(|item| item.record.clone()).unwrap();
    let mut bare = whole.clone();
    let item = bare.items.get_mut(&record.id).unwrap();
    let mut values = json(item);
    values.as_object_mut().unwrap().remove("conditions");
    item.streams.insert(StreamRole::Properties, values.to_string().into());

    let url = format!("users/{}/mailFolders/inbox/messageRules", collection.key().owner.id());
    let (_, id) = record.id.split_once('/').unwrap();
    let there = async || {
        let rows = tenant.client.get_all(GraphRequest::get(target.scope(), url.as_str())).await.unwrap();
        let rule = rows.into_iter().find(|row| row["id"] == id).expect("the rule");
        rule["conditions"].clone()
    };
    let (name, extras) = (record.name.as_str(), Extras::default());
    let order = Order { record: &record, parent: "", name, mark: "run-1", extras, log: &Unlogged, only_looks: false };
    let before = there().await;
    let emptied = target.overwrite(&record.id, order, &Held::new(&bare)).await.unwrap();
    assert!(there().await.is_null(), "{}", there().await);
    // And the other way round: what came back is taken back.
    let filled = target.overwrite(&record.id, order, &Held::new(&whole)).await.unwrap();
    assert_eq!(there().await, before);
    target.undo(&filled.undo[0]).await.unwrap();
    assert!(there().await.is_null(), "{}", there().await);
    target.undo(&emptied.undo[0]).await.unwrap();
    assert_eq!(there().await, before);
}

/// In snapshots of before it was noted. The mailbox is asked, and where it does not answer, the settings tell of the Archive.
#[tokio::test]
async fn a_rule_of_which_no_folder_is_noted_names_the_archive_of_somebody_else_all_the_same() {
    let tenant = writable().await;
    let all = tenant.collections("/settings").await;
    let mut before = State::default();
    before.run(&*all[0]).await.unwrap();
    let (from, owner) = (all[0].key().clone(), all[1].key().owner.clone());
    let name = all[1].path().split('/').nth(1).unwrap_or_default().to_owned();
    let rule = before.items.values().find(|item| item.record.kind == ItemKind::Rule).expect("a rule");
    let record = Record { summary: Vec::new(), ..rule.record.clone() };
    let mailbox = tenant.sim.expected().user(owner.id()).unwrap().mailbox.clone().unwrap();
    let archive = mailbox.folders.iter().find(|folder| folder.well_known == Some("archive")).expect("an archive");
    let url = format!("users/{}/mailFolders/inbox/messageRules", owner.id());
    for is_gone in [false, true] {
        if is_gone {
            tenant.inject(FaultKind::Status { status: 404 }, &format!("/users/{}/mailFolders/", from.owner.id()), 1.0);
        }
        let (owner, name, from) = (owner.clone(), name.clone(), from.clone());
        let to = Destination { owner, name, from, title: String::new(), original: false };
        let target = open(&tenant.client, &to).await.unwrap();
        let (name, extras) = (record.name.as_str(), Extras::default());
        let order =
            Order { record: &record, parent: "", name, mark: "run-1", extras, log: &Unlogged, only_looks: false };
        let made = target.create(order, &Held::new(&before)).await.unwrap();
        assert!(made.notes.is_empty(), "{is_gone}: {:?}", made.notes);
        let rows = tenant.client.get_all(GraphRequest::get(target.scope(), url.as_str())).await.unwrap();
        let (_, id) = made.id.split_once('/').unwrap();
        let there = rows.iter().find(|row| row["id"] == id).expect("the rule");
        assert_eq!(there["actions"]["moveToFolder"], archive.id.as_str(), "{is_gone}");
    }
}

#[tokio::test]
async fn a_plan_of_another_group_takes_nobody_along() {
    let tenant = writable().await;
    let all = tenant.collections("/planner").await;
    let (mut before, mut there) = (State::default(), State::default());
    before.run(&*all[0]).await.unwrap();
    there.run(&*all[1]).await.unwrap();
    let (from, owner) = (all[0].key().clone(), all[1].key().owner.clone());
    let name = all[1].path().split('/').nth(1).unwrap_or_default().to_owned();
    let to = Destination { owner, name, from, title: String::new(), original: false };
    let target = open(&tenant.client, &to).await.unwrap();
    let done = restore(&*target, &Held::new(&before), None).await;
    for said in ["it is assigned to nobody here", "it is shared with nobody here"] {
        assert!(done.notes.iter().any(|note| note.starts_with(said)), "{said}: {:?}", done.notes);
    }
    let mut after = there.clone();
    after.run(&*all[1]).await.unwrap();
    let new: Vec<&Item> = after.items.values().filter(|item| !there.items.contains_key(&item.record.id)).collect();
    assert!(new.iter().any(|item| item.record.kind == ItemKind::Task));
    let is_empty = |value: &serde_json::Value| value.as_object().is_none_or(serde_json::Map::is_empty);
    for item in new {
        let values = json(item);
        assert!(is_empty(&values["assignments"]) && is_empty(&values["details"]["sharedWith"]), "{values}");
    }
}

/// Of two who are called alike only the one is found who is there.
#[tokio::test]
async fn members_of_a_channel_who_are_called_alike_are_told_apart() {
    let tenant = writable().await;
    let (collection, target) = of(&tenant, "/team").await;
    let mut before = State::default();
    before.run(&*collection).await.unwrap();
    let in_channel = |item: &&Item| {
        let above = before.items.get(&item.record.parent);
        item.record.kind == ItemKind::Member && above.is_some_and(|above| above.record.kind == ItemKind::Channel)
    };
    let member = &before.items.values().find(in_channel).unwrap().record;
    let row = serde_json::json!({"id": "x", "displayName": member.name, "userId": "x", "email": "x@contoso.com"});
    let other = part(row, ItemKind::Member, &member.parent).unwrap().record;
    assert_ne!(target.identity(member), target.identity(&other));
    for (record, is_there) in [(member, true), (&other, false)] {
        let (parent, name, extras) = (member.parent.as_str(), member.name.as_str(), Extras::default());
        let order = Order { record, parent, name, mark: "run-1", extras, log: &Unlogged, only_looks: false };
        let found = target.find(order, &Held::new(&before)).await.unwrap();
        assert_eq!(found != Found::Nothing, is_there, "{found:?}");
    }
}
