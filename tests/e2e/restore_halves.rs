//! Restores that end halfway, and what people do meanwhile: nothing of the run is left behind, nothing of theirs is taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
use tenantvault::graph::{GraphRequest, IMMUTABLE_IDS, Payload, Scope};
use tenantvault::monitor::{Counter, Monitor};
use tenantvault::ops::restore::{Conflict, Only, Plan, RestoreOptions, RestoreReport, run, undo};
use tenantvault::ops::view::View;
use tenantvault::sim::{ExpectedItem, ExpectedThing, Fault, FaultKind, SimOptions};
use tenantvault::snapshot::set::Versions;

use crate::restore::{ALICE, Restorer, client_of, in_folder, in_place, seen};

/// In the time of the simulated tenant, which is not that of the clock.
const RUN_OF_TENANT: &str = "20261102-235959-0000000000";

/// What is in a collection of the tenant now, by id.
pub fn things(r: &Restorer, name: &str) -> BTreeMap<String, ExpectedThing> {
    let all = r.setting.sim.expected().collections;
    let collection = all.into_values().find(|collection| collection.name == name).expect("a collection");
    collection.things.into_iter().map(|thing| (thing.id.clone(), thing)).collect()
}

/// Alice's files.
fn files(r: &Restorer) -> Vec<ExpectedItem> {
    let items = r.setting.sim.expected().user(ALICE).unwrap().clone().drive.unwrap().items;
    items.into_iter().filter(|item| item.content.as_ref().is_some_and(|blob| !blob.is_empty())).collect()
}

pub fn mailbox() -> Scope {
    Scope::Mailbox(ALICE.into())
}

pub fn strike(r: &Restorer, path: &str, status: u16, count: Option<u64>) {
    let kind = FaultKind::Status { status };
    r.setting.sim.inject(Fault { kind, path: path.into(), probability: 1.0, count });
}

/// Throws a switch at one of the requests.
struct At(AtomicI64, Arc<tokio::sync::Notify>);

impl Monitor for At {
    fn add(&self, counter: Counter, by: i64) {
        if counter == Counter::Requests && self.0.fetch_sub(by, Ordering::Relaxed) == 1 {
            self.1.notify_one();
        }
    }
}

/// Runs a plan and kills it at a request; says whether it came to its end before. Then goes on with it.
pub async fn killed_at(r: &Restorer, plan: &Plan, at: i64) -> (bool, RestoreReport) {
    killed_in(r, &r.view(0).await.1, plan, at).await
}

/// The same of a plan of any snapshot.
pub async fn killed_in(r: &Restorer, view: &View, plan: &Plan, at: i64) -> (bool, RestoreReport) {
    let switch = Arc::new(tokio::sync::Notify::new());
    let client = client_of(&r.setting, Arc::new(At(at.into(), switch.clone())));
    let around = r.around();
    let ended = tokio::select! {
        ended = run(plan, view, &client, &around) => ended.is_ok(),
        () = switch.notified() => false,
    };
    drop(client);
    // What was on its way when the run was killed comes to its end before anybody goes on.
    let (mut before, mut quiet) = (0, 0);
    while quiet < 5 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let now = r.setting.sim.stats().requests;
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
    loop {
        match run(plan, view, &r.client, &r.around()).await {
            // Whoever was killed holds the journal no longer than its last write.
            Err(e) if e.to_string().contains("Another process") => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            other => return (ended, other.unwrap()),
        }
    }
}

/// Something follows the first request of each of these, and fails.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_halfway_is_made_once_and_taken_back_whole() {
    let r = Restorer::new().await;
    for (part, door) in [
        ("Contacts", "/photo/$value"),
        ("Tasks", "/checklistItems "),
        ("Tasks", "/attachments "),
        ("Calendar", "/attachments "),
    ] {
        let name = format!("users/{ALICE}/{part}");
        let before = things(&r, &name);
        let clean = r.plan(&name, "original", in_folder()).await.unwrap();
        let report = r.run(&clean).await.unwrap();
        let made = things(&r, &name).len() - before.len();
        assert!(report.created == clean.counts().create && made > 3, "{name}: {report:?}");
        let back = undo(&clean.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "{name}: {:?}", back.left);
        // A refusal, a service that is away, and an answer of which nobody knows what became.
        for status in [400, 503, 500] {
            let plan = r.plan(&name, "original", in_folder()).await.unwrap();
            for _ in 0..2 {
                strike(&r, door, status, None);
                let report = r.run(&plan).await.unwrap();
                r.setting.sim.clear_faults();
                assert!(report.created < plan.counts().create, "{name}: nothing failed at {door}");
            }
            let report = r.run(&plan).await.unwrap();
            assert_eq!(report.created, plan.counts().create, "{name} {status}: {:?}", report.problems);
            assert_eq!(things(&r, &name).len() - before.len(), made, "{name} {status}: something is there twice");
            let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
            assert!(back.left.is_empty(), "{name} {status}: {:?}", back.left);
            assert!(things(&r, &name).keys().eq(before.keys()), "{name} {status}");
            // What failed is taken back also where the run never came to its end.
            let plan = r.plan(&name, "original", in_folder()).await.unwrap();
            strike(&r, door, status, None);
            r.run(&plan).await.unwrap();
            r.setting.sim.clear_faults();
            let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
            assert!(back.left.is_empty(), "{name} {status}: {:?}", back.left);
            assert!(things(&r, &name).keys().eq(before.keys()), "{name} {status}");
        }
    }
}

/// A file with many versions, its path, and a tenant in which it is gone.
async fn lost_file() -> (Restorer, String) {
    let mut tenant = SimOptions::tiny();
    tenant.script.edited_files = 8;
    let r = Restorer::with(tenant, 6, |options| options.versions = Versions::All).await;
    let drive = format!("users/{ALICE}/OneDrive");
    let kept = crate::restore_choices::kept(&r, 0, &drive).await;
    let file = files(&r).into_iter().find(|item| {
        let name = item.path.rsplit('/').next().unwrap_or_default();
        kept.get(name).is_some_and(|kept| kept.has_versions(3))
    });
    let path = format!("{drive}/{}", file.expect("a file with versions").path);
    r.setting.sim.wipe(ALICE);
    (r, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_second_version_found_no_room_is_not_left_as_its_first() {
    let (r, path) = lost_file().await;
    let options = RestoreOptions { versions: true, permissions: true, ..in_place(Conflict::Skip) };
    let plan = r.plan(&path, "original", options).await.unwrap();
    let before = seen(&r);
    // Room grows until the first version fits, and not all of them.
    let (mut room, mut half) = (1, false);
    while !half && room < 1 << 30 {
        r.setting.sim.limit_drive(ALICE, Some(room));
        let report = r.run(&plan).await.unwrap();
        assert!(report.stopped.len() == 1 && report.created < plan.counts().create, "{report:?}");
        let made = files(&r);
        assert!(made.is_empty(), "{room}: a part of it is left: {:?}", made[0].path);
        half = r.setting.sim.stats().requests_to("DELETE /drives/{id}/items/{id}") > 0;
        room *= 2;
    }
    assert!(half, "no version ever fitted");
    r.setting.sim.limit_drive(ALICE, None);
    let report = r.run(&plan).await.unwrap();
    assert_eq!((report.created, report.problems.as_slice()), (plan.counts().create, [].as_slice()));
    assert!(undo(&plan.run, None, &r.client, &r.around()).await.unwrap().left.is_empty());
    assert_eq!(seen(&r), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_versions_that_is_killed_at_any_request_comes_once() {
    let (r, path) = lost_file().await;
    let before = seen(&r);
    for at in 1.. {
        let options = RestoreOptions { versions: true, permissions: true, ..in_place(Conflict::Skip) };
        let plan = r.plan(&path, "original", options).await.unwrap();
        let (ended, report) = killed_at(&r, &plan, at).await;
        assert_eq!(report.created, plan.counts().create, "at {at}: {:?} {:?}", report.problems, report.stopped);
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "at {at}: {:?}", back.left);
        assert_eq!(seen(&r), before, "at {at}");
        if ended {
            assert!(at > 8, "{at}");
            break;
        }
    }
}

/// The run is killed before anything of its file is there, and its owner puts one of that name there.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_put_in_the_place_of_a_file_meanwhile_stays() {
    let r = Restorer::new().await;
    let file = files(&r).into_iter().find(|item| item.path.contains('/')).expect("a file in a folder");
    let path = format!("users/{ALICE}/OneDrive/{}", file.path);
    let (folder, name) = file.path.rsplit_once('/').unwrap();
    let drive = r.setting.sim.expected().user(ALICE).unwrap().clone().drive.unwrap().id;
    for (as_folder, goes_on) in [(false, true), (true, true), (false, false), (true, false)] {
        r.setting.sim.wipe(ALICE);
        let options = RestoreOptions { permissions: true, ..in_place(Conflict::Skip) };
        let plan = r.plan(&path, "original", options).await.unwrap();
        let (kind, door) = (FaultKind::Drop, "createUploadSession".to_owned());
        r.setting.sim.inject(Fault { kind, path: door, probability: 1.0, count: None });
        assert!(r.run(&plan).await.unwrap().created < plan.counts().create);
        r.setting.sim.clear_faults();
        let items = r.setting.sim.expected().user(ALICE).unwrap().clone().drive.unwrap().items;
        let parent = items.iter().find(|item| item.path == folder).expect("the folder came back").id.clone();
        let put = async |parent: &str, name: &str| {
            let url = format!("drives/{drive}/items/{parent}:/{}:/content", name.replace(' ', "%20"));
            let request = GraphRequest::put(Scope::Files, url, Payload::bytes(b"theirs".to_vec()));
            r.client.send(request).await.unwrap()
        };
        let theirs = match as_folder {
            false => put(&parent, name).await,
            true => {
                let body = json!({"name": name, "folder": {}, "@microsoft.graph.conflictBehavior": "fail"});
                let url = format!("drives/{drive}/items/{parent}/children");
                let made = r.client.send(GraphRequest::post(Scope::Files, url, &body)).await.unwrap();
                put(made["id"].as_str().unwrap(), "inside").await
            }
        };
        let is_there = || files(&r).iter().any(|item| theirs["id"] == item.id.as_str());
        if goes_on {
            let report = r.run(&plan).await.unwrap();
            assert!(is_there(), "{as_folder}: taken away by going on");
            assert!(report.problems.iter().any(|(of, _)| *of == path), "{as_folder}: {:?}", report.problems);
        }
        let (_, view) = r.view(0).await;
        undo(&plan.run, Some(&view), &r.client, &r.around()).await.unwrap();
        assert!(is_there(), "{as_folder}: taken away by undo");
    }
}

/// Overwrites what lies at a place of alice's, killed at each request in turn, goes on, and takes it back: all is as before.
async fn overwritten_and_back(r: &Restorer, place: &str, options: &RestoreOptions, while_there: impl AsyncFn(i64)) {
    let before = seen(r);
    for at in 1.. {
        let plan = r.plan(&format!("users/{ALICE}/{place}"), "original", options.clone()).await.unwrap();
        assert!(plan.counts().overwrite > 0, "{:?}", plan.steps);
        let (ended, report) = killed_at(r, &plan, at).await;
        assert_eq!(report.overwritten, plan.counts().overwrite, "at {at}: {:?}", report.problems);
        while_there(at).await;
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "at {at}: {:?}", back.left);
        assert_eq!(seen(r), before, "at {at}");
        if ended {
            break;
        }
    }
}

/// So many messages that some of them are drafts.
pub async fn with_drafts() -> Restorer {
    Restorer::with(SimOptions { messages: 300, ..SimOptions::tiny() }, 0, |_| ()).await
}

/// Where to change a thing of alice's mailbox, and how.
fn change(thing: &ExpectedThing) -> Option<(String, Value)> {
    let part = |id: &str| id.replace('+', "%2B").replace('/', "%2F");
    let (id, parent) = (part(&thing.id), part(&thing.parent));
    Some(match thing.kind {
        "contact" => (format!("contacts/{id}"), json!({"personalNotes": "Theirs"})),
        "todoTask" => {
            let body = json!({"body": {"content": "Theirs", "contentType": "text"}});
            (format!("todo/lists/{parent}/tasks/{id}"), body)
        }
        "event" => {
            let is_alone = thing.json["attendees"].as_array().is_none_or(Vec::is_empty)
                && thing.json["recurrence"].is_null()
                && thing.json["type"] == "singleInstance";
            return is_alone.then(|| (format!("events/{id}"), json!({"location": {"displayName": "Theirs"}})));
        }
        _ => return None,
    })
}

async fn patch(r: &Restorer, thing: &ExpectedThing) -> bool {
    let Some((url, body)) = change(thing) else { return false };
    let request = GraphRequest::patch(mailbox(), format!("users/{ALICE}/{url}"), &body);
    r.client.send(request.prefer(IMMUTABLE_IDS)).await.is_ok()
}

/// What people wrote of each thing.
fn theirs(all: &BTreeMap<String, ExpectedThing>) -> BTreeMap<String, String> {
    let text = |thing: &ExpectedThing| {
        let json = &thing.json;
        [&json["personalNotes"], &json["body"]["content"], &json["location"]["displayName"]]
            .map(Value::to_string)
            .join(" ")
    };
    all.iter().map(|(id, thing)| (id.clone(), text(thing))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_known_though_the_run_is_killed_at_any_request() {
    let r = Restorer::new().await;
    for part in ["Contacts", "Tasks"] {
        let name = format!("users/{ALICE}/{part}");
        let mut changed = 0;
        for thing in things(&r, &name).values() {
            changed += usize::from(patch(&r, thing).await);
        }
        assert!(changed > 3, "{name}");
        let before = theirs(&things(&r, &name));
        for at in (1..).step_by(2) {
            let plan = r.plan(&name, "original", in_place(Conflict::Replace)).await.unwrap();
            let (ended, report) = killed_at(&r, &plan, at).await;
            assert!(report.overwritten > 3 && report.problems.len() as u64 == plan.counts().cannot, "{report:?}");
            assert_ne!(theirs(&things(&r, &name)), before, "{name}");
            let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
            assert!(back.left.is_empty(), "{name} at {at}: {:?}", back.left);
            assert_eq!(theirs(&things(&r, &name)), before, "{name} at {at}");
            if ended {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gets_back_the_version_before_though_the_run_is_killed_at_any_request() {
    let r = Restorer::new().await;
    for _ in 0..3 {
        r.setting.next_day();
    }
    let before = seen(&r);
    let options = RestoreOptions { only: Only::Changed, ..in_place(Conflict::Replace) };
    overwritten_and_back(&r, "OneDrive", &options, async |at| assert_ne!(seen(&r), before, "at {at}")).await;
}

/// A run that never came to its end is taken back without it.
#[tokio::test(flavor = "multi_thread")]
async fn what_failed_to_be_overwritten_whole_is_put_back() {
    let r = Restorer::new().await;
    let name = format!("users/{ALICE}/Contacts");
    for thing in things(&r, &name).values() {
        patch(&r, thing).await;
    }
    let before = theirs(&things(&r, &name));
    for status in [400, 500] {
        let plan = r.plan(&name, "original", in_place(Conflict::Replace)).await.unwrap();
        strike(&r, "/photo/$value", status, None);
        let report = r.run(&plan).await.unwrap();
        r.setting.sim.clear_faults();
        assert!(report.overwritten < plan.counts().overwrite, "{report:?}");
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "{status}: {:?}", back.left);
        assert_eq!(theirs(&things(&r, &name)), before, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_whose_replacement_broke_off_is_not_there_twice() {
    let r = with_drafts().await;
    let mails = async || -> Vec<Value> {
        let url = format!("users/{ALICE}/mailFolders/drafts/messages?$top=100&$select=id,subject,isRead,categories");
        let request = GraphRequest::get(mailbox(), url).prefer(IMMUTABLE_IDS);
        r.client.get_all(request).await.unwrap()
    };
    let drafts = mails().await;
    assert!(!drafts.is_empty(), "no draft");
    for draft in &drafts {
        let url = format!("users/{ALICE}/messages/{}", draft["id"].as_str().unwrap());
        let body = json!({"categories": ["Theirs"]});
        let request = GraphRequest::patch(mailbox(), url, &body).prefer(IMMUTABLE_IDS);
        r.client.send(request).await.unwrap();
    }
    let options = in_place(Conflict::Replace);
    overwritten_and_back(&r, "Mail/Drafts", &options, async |at| {
        assert_eq!(mails().await.len(), drafts.len(), "at {at}: a draft is there twice");
    })
    .await;
}

/// The answers to what overwrites are lost, and the run never goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_overwritten_unheard_is_put_back_though_the_run_does_not_go_on() {
    let r = with_drafts().await;
    for _ in 0..3 {
        r.setting.next_day();
    }
    let drafts = in_place(Conflict::Replace);
    let files = RestoreOptions { only: Only::Changed, ..drafts.clone() };
    let url = format!("users/{ALICE}/mailFolders/drafts/messages?$top=100&$select=id");
    for draft in r.client.get_all(GraphRequest::get(mailbox(), url).prefer(IMMUTABLE_IDS)).await.unwrap() {
        let url = format!("users/{ALICE}/messages/{}", draft["id"].as_str().unwrap());
        let request = GraphRequest::patch(mailbox(), url, &json!({"categories": ["Theirs"]}));
        r.client.send(request.prefer(IMMUTABLE_IDS)).await.unwrap();
    }
    // What lies in a drive is looked at when nobody knows what came of it: that is not answered either.
    for (part, options, doors) in
        [("Mail/Drafts", drafts, &["/move "][..]), ("OneDrive", files, &["/_api/upload/", "select=id,name,size"])]
    {
        let before = seen(&r);
        let plan = r.plan(&format!("users/{ALICE}/{part}"), "original", options).await.unwrap();
        for door in doors {
            let (kind, path) = (FaultKind::Drop, (*door).to_owned());
            r.setting.sim.inject(Fault { kind, path, probability: 1.0, count: None });
        }
        let report = r.run(&plan).await.unwrap();
        r.setting.sim.clear_faults();
        assert!(report.overwritten < plan.counts().overwrite, "{part}: {report:?}");
        assert_ne!(seen(&r), before, "{part}");
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "{part}: {:?}", back.left);
        assert_eq!(seen(&r), before, "{part}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_what_somebody_changed_since() {
    let r = Restorer::new().await;
    for part in ["Contacts", "Tasks", "Calendar"] {
        let name = format!("users/{ALICE}/{part}");
        let at_first = things(&r, &name);
        for options in [in_folder(), in_place(Conflict::Replace)] {
            let replaces = options.conflict == Conflict::Replace;
            let before = things(&r, &name);
            let plan = r.plan(&name, "original", options).await.unwrap();
            let report = r.run(&plan).await.unwrap();
            assert!(report.created + report.overwritten > 1, "{name}: {report:?}");
            let touched = |id: &String| if replaces { at_first.contains_key(id) } else { !before.contains_key(id) };
            let mut changed = None;
            let now = things(&r, &name);
            // What follows from mail is not overwritten.
            let is_flagged = |thing: &ExpectedThing| {
                let list = now.get(&thing.parent);
                list.is_some_and(|list| list.json["wellknownListName"] == "flaggedEmails")
            };
            for (id, thing) in now.iter().filter(|(id, thing)| touched(id) && !is_flagged(thing)) {
                if patch(&r, thing).await {
                    changed = Some(id.clone());
                    break;
                }
            }
            let changed = changed.expect("something to change");
            let now = theirs(&things(&r, &name))[&changed].clone();
            assert!(now.contains("Theirs"), "{now}");
            let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
            let left: Vec<_> = back.left.iter().filter(|(_, why)| why.contains("changed after")).collect();
            assert_eq!(left.len(), 1, "{name}: {replaces}: {:?}", back.left);
            let after = theirs(&things(&r, &name));
            assert_eq!(after.get(&changed), Some(&now), "{name}: {replaces}");
            if !replaces {
                let leaves = after.keys().filter(|id| !before.contains_key(*id)).count();
                assert!(leaves <= 6, "{name}: {leaves} left: the thing with its parts, and what holds it");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_an_item_of_a_list_that_somebody_changed_since() {
    let r = Restorer::new().await;
    let all = r.setting.sim.expected().collections;
    let (key, list) = all.iter().find(|(_, c)| c.name.ends_with("/Lists/Issues and risks")).expect("a list");
    let site = key.split('/').nth(1).unwrap();
    let plan = r.plan(&list.name, "original", in_folder()).await.unwrap();
    r.run(&plan).await.unwrap();
    let is_new = |thing: &ExpectedThing, key: &String| thing.kind == "listItem" && !all.contains_key(key);
    let now = r.setting.sim.expected().collections;
    let mut made = now.iter().flat_map(|(key, c)| c.things.iter().map(move |thing| (key, thing)));
    let (key, item) = made.find(|(key, thing)| is_new(thing, key)).expect("an item that was made");
    let url = format!("sites/{site}/lists/{}/items/{}/fields", item.parent, item.id);
    let request = GraphRequest::patch(Scope::Files, url, &json!({"Title": "Theirs"}));
    r.client.send(request).await.unwrap();
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    let left = back.left.iter().filter(|(_, why)| why.contains("changed after"));
    assert_eq!(left.count(), 1, "{:?}", back.left);
    let there = &r.setting.sim.expected().collections[key].things;
    assert!(there.iter().any(|thing| thing.id == item.id), "their item is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_overwritten_and_changed_since_keeps_the_change() {
    let r = Restorer::new().await;
    for _ in 0..3 {
        r.setting.next_day();
    }
    let options = RestoreOptions { only: Only::Changed, ..in_place(Conflict::Replace) };
    let mut plan = r.plan(&format!("users/{ALICE}/OneDrive"), "original", options).await.unwrap();
    plan.run = RUN_OF_TENANT.into();
    r.run(&plan).await.unwrap();
    let drive = r.setting.sim.expected().user(ALICE).unwrap().clone().drive.unwrap().id;
    let overwritten = plan.steps.iter().find_map(|step| match step.action {
        tenantvault::ops::restore::Action::Overwrite(id) => Some(id),
        _ => None,
    });
    let id = overwritten.expect("a file");
    let url = format!("drives/{drive}/items/{id}/content");
    r.client.send(GraphRequest::put(Scope::Files, url, Payload::bytes(b"theirs".to_vec()))).await.unwrap();
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert_eq!(back.left.iter().filter(|(_, why)| why.contains("changed after")).count(), 1, "{:?}", back.left);
    let file = files(&r).into_iter().find(|item| item.id == id).expect("the file");
    assert_eq!(&*file.content.unwrap().bytes(), b"theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_does_not_open_keeps_nothing_else_from_being_taken_back() {
    let r = Restorer::new().await;
    let expected = r.setting.sim.expected();
    let bob = expected.users.iter().find(|u| u.upn != ALICE && u.mailbox.is_some()).unwrap().clone();
    let mails = |upn: &str| r.setting.sim.expected().user(upn).unwrap().mailbox.as_ref().unwrap().folders.len();
    let before = [mails(ALICE), mails(&bob.upn)];
    let paths = [ALICE, &bob.upn].map(|upn| format!("users/{upn}/Mail"));
    let plan = r.plan_of(&paths, "original", in_folder()).await.unwrap();
    assert_eq!(plan.targets.len(), 2);
    let report = r.run(&plan).await.unwrap();
    assert!(report.stopped.is_empty(), "{report:?}");
    for closed in [&bob.id, &expected.user(ALICE).unwrap().id] {
        strike(&r, &format!("/users/{closed}/mailFolders/"), 403, None);
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        r.setting.sim.clear_faults();
        let of_closed = plan.targets.iter().position(|target| target.owner.contains(closed.as_str())).unwrap();
        let of_closed = plan.steps.iter().filter(|step| step.target == of_closed).map(|step| step.path);
        let of_closed: Vec<String> = of_closed.collect();
        assert!(back.left.iter().all(|(path, _)| of_closed.contains(path)), "{:?}", back.left.first());
        assert!(back.undone > 0 && !back.left.is_empty() || closed != &bob.id, "{back:?}");
    }
    undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert_eq!([mails(ALICE), mails(&bob.upn)], before);
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_a_draft_that_somebody_wrote_on_and_the_state_that_somebody_set() {
    let r = with_drafts().await;
    let mail = async |url: &str| -> Vec<Value> {
        let request = GraphRequest::get(mailbox(), format!("users/{ALICE}/{url}"));
        r.client.get_all(request.prefer(IMMUTABLE_IDS)).await.unwrap()
    };
    let set = async |id: &Value, body: Value| {
        let url = format!("users/{ALICE}/messages/{}", id.as_str().unwrap());
        let request = GraphRequest::patch(mailbox(), url, &body).prefer(IMMUTABLE_IDS);
        r.client.send(request).await.unwrap();
    };
    let plan = r.plan(&format!("users/{ALICE}/Mail/Drafts"), "original", in_folder()).await.unwrap();
    let made = r.run(&plan).await.unwrap().created;
    let folders = mail("mailFolders/msgfolderroot/childFolders?$top=250").await;
    let folder = folders.iter().find(|folder| folder["displayName"] == "Restored 2026-11-20").unwrap();
    let mut drafts = mail(&format!("mailFolders/{}/messages?$top=100", folder["id"].as_str().unwrap())).await;
    if drafts.is_empty() {
        let below = mail(&format!("mailFolders/{}/childFolders", folder["id"].as_str().unwrap())).await;
        drafts = mail(&format!("mailFolders/{}/messages?$top=100", below[0]["id"].as_str().unwrap())).await;
    }
    set(&drafts[0]["id"], json!({"subject": "Theirs"})).await;
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert_eq!(back.left.iter().filter(|(_, why)| why.contains("changed after")).count(), 1, "{:?}", back.left);
    assert!(back.undone > 0 && back.undone < made, "{back:?}");
    // Mail that got back its state.
    let mut inbox = mail("mailFolders/inbox/messages?$select=id,categories").await;
    inbox.truncate(3);
    for message in &inbox {
        set(&message["id"], json!({"categories": ["Of before"]})).await;
    }
    let plan = r.plan(&format!("users/{ALICE}/Mail/Inbox"), "original", in_place(Conflict::Replace)).await.unwrap();
    assert_eq!(r.run(&plan).await.unwrap().overwritten, 3);
    set(&inbox[0]["id"], json!({"categories": ["Theirs"]})).await;
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert_eq!((back.undone, back.left.len()), (2, 1), "{:?}", back.left);
    let now = mail("mailFolders/inbox/messages?$select=id,categories").await;
    let categories: Vec<&Value> = now.iter().take(3).map(|message| &message["categories"][0]).collect();
    assert_eq!(categories, ["Theirs", "Of before", "Of before"]);
}
