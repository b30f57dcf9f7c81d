//! What is restored into another tenant, where nobody and nothing has the ids that the snapshot knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tenantvault::format::record::ItemKind;
use tenantvault::graph::{Client, GraphRequest, IMMUTABLE_IDS, Scope};
use tenantvault::m365::restore::lost::take_lost;
use tenantvault::monitor::Silent;
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::restore::{Asked, Conflict, Plan, RestoreOptions, RestoreReport, make, run, undo};
use tenantvault::sim::SimOptions;

use crate::restore::{ALICE, Restorer, Thing, client_of, in_folder, in_place};
use crate::restore_choices::kept;

fn options() -> SimOptions {
    let mut options = SimOptions { users: 3, sites: 1, groups: 1, ..SimOptions::tiny() };
    // Who joins later is in a team already, and nobody's tag yet.
    options.script.staff = false;
    options
}

/// A tenant with a snapshot, and another one into which its restores go.
async fn two() -> (Restorer, Restorer) {
    let mut here = Restorer::with(options(), 1, |_| ()).await;
    let abroad = Restorer::with(SimOptions { seed: 4711, ..options() }, 0, |_| ()).await;
    let ids = |r: &Restorer| r.setting.sim.expected().users.into_iter().map(|user| user.id).collect::<Vec<_>>();
    assert!(here.setting.sim.tenant_id() != abroad.setting.sim.tenant_id());
    assert!(ids(&here).iter().all(|id| !ids(&abroad).contains(id)));
    here.client = client_of(&abroad.setting, Arc::new(Silent));
    (here, abroad)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_moves_to_another_tenant() {
    let (here, abroad) = two().await;
    let plan = here.plan(&format!("users/{ALICE}"), ALICE, in_folder()).await.unwrap();
    let counts = plan.counts();
    let report = here.run(&plan).await.unwrap();
    assert_eq!((report.created, report.problems.len() as u64), (counts.create, counts.cannot), "{:?}", report.problems);
    let after = abroad.again().await;
    for (name, kind) in [("Mail", ItemKind::Message), ("OneDrive", ItemKind::File)] {
        let name = format!("users/{ALICE}/{name}");
        let (was, is) = (here.items(0, &name).await, abroad.items(after, &name).await);
        let mut compared = 0;
        for (path, things) in &was {
            // What is infected has no contents here and is not restored.
            let is_whole = |thing: &&Thing| thing.content.is_some() || thing.letter.is_some();
            for thing in things.iter().filter(|thing| thing.kind == kind).filter(is_whole) {
                let now = is.get(&format!("Restored 2026-11-20/{path}")).unwrap_or_else(|| panic!("{path} is lacking"));
                let same = |other: &Thing| other.content == thing.content && other.letter == thing.letter;
                assert!(now.iter().any(same), "{path}");
                compared += 1;
            }
        }
        assert!(compared > 10, "{name}: {compared}");
    }
    for (name, kind) in [("Calendar", ItemKind::Event), ("Contacts", ItemKind::Contact), ("Tasks", ItemKind::Task)] {
        let name = format!("users/{ALICE}/{name}");
        let names = |items: BTreeMap<String, Vec<Thing>>, marked: bool| {
            let mut names = Vec::new();
            for (path, things) in items.into_iter().filter(|(path, _)| path.contains("Restored 2026-11-20") == marked) {
                let own = path.rsplit('/').next().unwrap_or_default().to_owned();
                names.extend(things.iter().filter(|t| t.kind == kind).map(|_| own.clone()));
            }
            names.sort();
            names
        };
        let was = names(here.items(0, &name).await, false);
        let is = names(abroad.items(after, &name).await, true);
        // Graph makes no task in the list of flagged mail.
        let lacking = was.iter().filter(|name| !is.contains(name)).count();
        assert!(was.len() > 2 && lacking * 3 <= was.len() && is.len() == was.len() - lacking, "{name}: {was:?} {is:?}");
    }
    assert_eq!(abroad.setting.sim.mails_sent(), 0);
}

/// The simulated tenants know every guest; who has no account abroad is told in a note.
#[tokio::test(flavor = "multi_thread")]
async fn rights_go_abroad_without_a_mail() {
    let (here, abroad) = two().await;
    let with_rights = RestoreOptions { permissions: true, ..in_folder() };
    let plan = here.plan(&format!("users/{ALICE}/OneDrive"), ALICE, with_rights).await.unwrap();
    let report = here.run(&plan).await.unwrap();
    assert!(!report.interrupted && report.stopped.is_empty(), "{report:?}");
    let drive = format!("users/{ALICE}/OneDrive");
    let theirs = kept(&abroad, abroad.again().await, &drive).await;
    let ours = kept(&here, 0, &drive).await;
    let mut granted = 0;
    for (name, _) in ours.iter().filter(|(_, file)| file.granted.len() > 1) {
        granted += theirs[name].granted.len().saturating_sub(1);
    }
    assert!(granted > 0);
    assert_eq!(abroad.setting.sim.mails_sent(), 0);
}

/// The name of the first collection in the newest snapshot that begins and ends so, and is not empty.
async fn collection(r: &Restorer, begin: &str, end: &str) -> String {
    let file = r.setting.snapshots().await.pop().unwrap().file;
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let filled = catalog.states.values().filter(|state| state.items.is_some());
    let mut names: Vec<String> = filled.map(|state| state.name.clone()).collect();
    names.retain(|name| name.starts_with(begin) && name.ends_with(end));
    names.sort();
    assert!(!names.is_empty(), "no {begin}…{end}");
    names.remove(0)
}

async fn library(r: &Restorer) -> String {
    collection(r, "sites/", "/Files/Documents").await
}

/// The address of the site of a collection.
fn address(name: &str) -> String {
    format!("https://{}", owner(name).replace('_', "/"))
}

fn owner(name: &str) -> &str {
    name.split('/').nth(1).unwrap_or_default()
}

/// All things of a kind, with their paths.
fn of_kind(items: &BTreeMap<String, Vec<Thing>>, kind: ItemKind) -> Vec<(&str, &Thing)> {
    let all = items.iter().flat_map(|(path, things)| things.iter().map(move |thing| (path.as_str(), thing)));
    all.filter(|(_, thing)| thing.kind == kind).collect()
}

/// Runs a plan of `here` abroad, which comes to its end; gives what it told, and what is in a collection there now.
async fn moved(
    (here, abroad): (&Restorer, &Restorer),
    plan: &Plan,
    to: &str,
) -> (RestoreReport, BTreeMap<String, Vec<Thing>>) {
    let report = here.run(plan).await.unwrap();
    assert!(report.stopped.is_empty() && !report.interrupted, "{report:?}");
    let counts = plan.counts();
    assert!(counts.create > 0 && report.created == counts.create, "{counts:?} {:?}", report.problems);
    assert_eq!(abroad.setting.sim.mails_sent(), 0);
    (report, abroad.items(abroad.again().await, to).await)
}

/// Takes a run back, and looks whether a collection abroad holds what it held.
async fn taken_back((here, abroad): (&Restorer, &Restorer), plan: &Plan, to: &str) {
    let back = undo(&plan.run, None, &here.client, &here.around()).await.unwrap();
    assert!(back.left.is_empty(), "{:?}", back.left);
    let paths = async |snapshot| abroad.items(snapshot, to).await.into_keys().collect::<Vec<_>>();
    assert_eq!(paths(abroad.again().await).await, paths(0).await, "{to}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_moves_to_a_site_of_another_tenant() {
    let (here, abroad) = two().await;
    let (from, to) = (library(&here).await, library(&abroad).await);
    let plan = here.plan(&from, &address(&to), in_folder()).await.unwrap();
    let report = here.run(&plan).await.unwrap();
    assert_eq!(report.created, plan.counts().create, "{:?}", report.problems);
    let (was, is) = (here.items(0, &from).await, abroad.items(abroad.again().await, &to).await);
    let mut compared = 0;
    for (path, things) in &was {
        let Some(content) = &things[0].content else { continue };
        let now = is.get(&format!("Restored 2026-11-20/{path}")).unwrap_or_else(|| panic!("{path} is lacking"));
        assert!(now[0].content.as_ref() == Some(content), "{path}");
        compared += 1;
    }
    assert!(compared > 3, "{compared}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_moves_to_a_site_of_another_tenant() {
    let (here, abroad) = two().await;
    let (from, site) = (collection(&here, "sites/", "/Lists/Issues and risks").await, library(&abroad).await);
    let to = format!("{}/Lists/Issues and risks (Restored 2026-11-20)", site.trim_end_matches("/Files/Documents"));
    let plan = here.plan(&from, &address(&site), in_folder()).await.unwrap();
    let (report, is) = moved((&here, &abroad), &plan, &to).await;
    let was = here.items(0, &from).await;
    let columns = of_kind(&was, ItemKind::Column);
    let plain = ["text", "number", "currency", "boolean", "dateTime", "choice"];
    let is_written = |column: &Value| {
        let is_own = |name: &str| column[name] == true;
        plain.iter().any(|facet| column.get(facet).is_some()) && !is_own("readOnly") && !is_own("isSealed")
    };
    let written: Vec<&str> = columns
        .iter()
        .filter(|(_, column)| is_written(&column.properties))
        .filter_map(|(_, column)| column.properties["name"].as_str())
        .filter(|name| !name.starts_with('_') && !["Attachments", "ContentType", "Edit"].contains(name))
        .collect();
    assert!(written.len() > 3, "{written:?}");
    let rows = |items: &BTreeMap<String, Vec<Thing>>| {
        let row = |thing: &Thing| -> Vec<String> {
            written.iter().map(|name| thing.properties["fields"][name].to_string()).collect()
        };
        let mut rows: Vec<_> = of_kind(items, ItemKind::ListItem).iter().map(|(_, thing)| row(thing)).collect();
        rows.sort();
        rows
    };
    assert!(rows(&was).len() > 2);
    assert_eq!(rows(&was), rows(&is));
    // Whom and what items name by ids they do not name there, where others have these.
    let is_id = |column: &Value| ["lookup", "personOrGroup"].iter().any(|facet| column.get(facet).is_some());
    let ids: Vec<String> = columns
        .iter()
        .filter(|(_, column)| is_id(&column.properties) && column.properties["readOnly"] != true)
        .filter_map(|(_, column)| column.properties["name"].as_str())
        .flat_map(|name| [name.to_owned(), format!("{name}LookupId")])
        .collect();
    let naming = |items: &BTreeMap<String, Vec<Thing>>| {
        let names = |thing: &Thing| ids.iter().any(|id| !thing.properties["fields"][id].is_null());
        of_kind(items, ItemKind::ListItem).iter().filter(|(_, thing)| names(thing)).count()
    };
    assert!(naming(&was) > 0 && naming(&is) == 0, "{} {}", naming(&was), naming(&is));
    let noted = report.notes.iter().filter(|(_, note)| note.ends_with(": not written")).count();
    assert!(noted >= naming(&was), "{:?}", report.notes);
    taken_back((&here, &abroad), &plan, &to).await;
}

/// What people read on a page.
fn texts(page: &Value, all: &mut Vec<String>) {
    match page {
        Value::Object(map) => {
            all.extend(map.get("innerHtml").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| texts(value, all));
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, all)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_move_to_a_site_of_another_tenant() {
    let (here, abroad) = two().await;
    let (from, to) = (collection(&here, "sites/", "/Pages").await, collection(&abroad, "sites/", "/Pages").await);
    let plan = here.plan(&from, &address(&to), in_place(Conflict::Skip)).await.unwrap();
    let (_, is) = moved((&here, &abroad), &plan, &to).await;
    let (was, before) = (here.items(0, &from).await, abroad.items(0, &to).await);
    let mut compared = 0;
    for (path, page) in of_kind(&was, ItemKind::Page) {
        // One of that name was there, and a link is none that Graph makes.
        if before.contains_key(path) || !path.ends_with(".aspx") {
            continue;
        }
        let now = is.get(path).unwrap_or_else(|| panic!("{path} is lacking"));
        let read = |thing: &Thing| {
            let (mut json, mut all) = (thing.properties.clone(), Vec::new());
            texts(&json, &mut all);
            take_lost("page", &mut json);
            (all, json["title"].clone(), json["publishingState"]["level"].clone())
        };
        assert_eq!(read(page), read(&now[0]), "{path}");
        compared += usize::from(!read(page).0.is_empty());
    }
    assert!(compared > 0, "{compared}");
    taken_back((&here, &abroad), &plan, &to).await;
}

/// The same people are there under the same addresses, with other ids.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_team_is_made_of_moves_to_a_team_of_another_tenant() {
    let (here, abroad) = two().await;
    let (from, to) = (collection(&here, "teams/", "/Team").await, collection(&abroad, "teams/", "/Team").await);
    let plan = here.plan(&from, owner(&to), in_place(Conflict::Skip)).await.unwrap();
    let (report, is) = moved((&here, &abroad), &plan, &to).await;
    let was = here.items(0, &from).await;
    for kind in [ItemKind::Channel, ItemKind::Tab, ItemKind::Tag, ItemKind::Member] {
        let (was, is) = (of_kind(&was, kind), of_kind(&is, kind));
        assert!(!was.is_empty());
        for (path, thing) in was {
            let email = &thing.properties["email"];
            let is_there = is.iter().any(|(there, now)| *there == path && now.properties["email"] == *email);
            assert!(is_there, "{path} is lacking: {:?}", report.notes);
        }
    }
    taken_back((&here, &abroad), &plan, &to).await;
}

/// Tasks come without the people who had them, and the run says who that was.
#[tokio::test(flavor = "multi_thread")]
async fn plans_move_to_a_group_of_another_tenant() {
    let (here, abroad) = two().await;
    let (from, to) = (collection(&here, "groups/", "/Planner").await, collection(&abroad, "groups/", "/Planner").await);
    let plan = here.plan(&from, owner(&to), in_place(Conflict::Skip)).await.unwrap();
    let (report, is) = moved((&here, &abroad), &plan, &to).await;
    let was = here.items(0, &from).await;
    let (plans, buckets) = (of_kind(&was, ItemKind::Plan), of_kind(&was, ItemKind::Bucket));
    assert!(!plans.is_empty() && buckets.iter().chain(&plans).all(|(path, _)| is.contains_key(*path)));
    for (path, one) in &plans {
        let labels = &one.properties["details"]["categoryDescriptions"]["category1"];
        assert_eq!(is[*path][0].properties["details"]["categoryDescriptions"]["category1"], *labels, "{path}");
        assert_eq!(is[*path][0].properties["details"]["sharedWith"], serde_json::json!({}), "{path}");
    }
    let tasks = of_kind(&was, ItemKind::Task);
    let shown = |thing: &Thing| {
        let mut json = thing.properties.clone();
        take_lost("task", &mut json);
        let people = json.as_object_mut().and_then(|json| json.remove("assignments")).unwrap_or_default();
        (json, people)
    };
    let mut left_out = 0;
    for (path, task) in &tasks {
        let (wanted, people) = shown(task);
        let now: Vec<_> = is[*path].iter().map(shown).collect();
        assert!(now.iter().any(|(json, _)| *json == wanted), "{path}: {wanted} {now:?}");
        assert!(now.iter().all(|(_, people)| people.as_object().is_none_or(serde_json::Map::is_empty)), "{path}");
        left_out += usize::from(people.as_object().is_some_and(|people| !people.is_empty()));
    }
    let told = report.notes.iter().filter(|(_, note)| note.contains("assigned to nobody here")).count();
    assert!(tasks.len() > 3 && left_out > 0 && told == left_out, "{told} of {left_out}");
    taken_back((&here, &abroad), &plan, &to).await;
}

/// Nobody there can be asked which folder it was: the snapshot tells which was the Archive.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_names_the_archive_of_another_tenant() {
    let (here, abroad) = two().await;
    let settings = format!("users/{ALICE}/Settings");
    let plan = here.plan(&settings, ALICE, in_place(Conflict::Copy)).await.unwrap();
    let (report, is) = moved((&here, &abroad), &plan, &settings).await;
    assert!(report.notes.iter().all(|(_, note)| !note.contains("switched off")), "{:?}", report.notes);
    let archive = |r: &Restorer| {
        let folders = r.setting.sim.expected().user(ALICE).unwrap().mailbox.clone().unwrap().folders;
        folders.into_iter().find(|folder| folder.well_known == Some("archive")).expect("an archive").id
    };
    let moves = |items: &BTreeMap<String, Vec<Thing>>, archive: String| {
        let rules = of_kind(items, ItemKind::Rule).into_iter();
        rules.filter(|(_, rule)| rule.properties["actions"]["moveToFolder"] == archive.as_str()).count()
    };
    let (was, before) = (here.items(0, &settings).await, abroad.items(0, &settings).await);
    let (was, before) = (moves(&was, archive(&here)), moves(&before, archive(&abroad)));
    assert!(was > 0);
    assert_eq!(moves(&is, archive(&abroad)), was + before);
    taken_back((&here, &abroad), &plan, &settings).await;
}

/// The folders of Alice's mailbox that every mailbox has: their ids, by the names that Graph knows them by.
fn well_known(r: &Restorer) -> BTreeMap<&'static str, String> {
    let mailbox = r.setting.sim.expected().user(ALICE).unwrap().mailbox.clone().unwrap();
    mailbox.folders.into_iter().filter_map(|folder| Some((folder.well_known?, folder.id))).collect()
}

/// What a request to make something in Alice's mailbox gives.
async fn made(client: &Client, url: &str, body: Value) -> Value {
    let request = GraphRequest::post(Scope::Mailbox(ALICE.into()), format!("users/{ALICE}/{url}"), &body);
    client.send(request.prefer(IMMUTABLE_IDS)).await.unwrap()
}

/// Nobody there can be asked either: the backup took note of which folder was which.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_names_the_folders_of_another_tenant_that_every_mailbox_has() {
    let (here, abroad) = two().await;
    let (ours, theirs) = (well_known(&here), well_known(&abroad));
    let (own, rules) = (client_of(&here.setting, Arc::new(Silent)), "mailFolders/inbox/messageRules");
    let rule = |name: &str, to: &str, copy: &str| {
        json!({
            "displayName": format!("To {name}"), "sequence": 90, "isEnabled": true,
            "conditions": {"subjectContains": [name]}, "actions": {"moveToFolder": to, "copyToFolder": copy},
        })
    };
    let names = "inbox drafts sentitems deleteditems junkemail outbox archive conversationhistory".split(' ');
    for name in names.clone() {
        made(&own, rules, rule(name, &ours[name], &ours["inbox"])).await;
    }
    let folder = made(&own, "mailFolders", json!({"displayName": "Orders"})).await;
    made(&own, rules, rule("orders", folder["id"].as_str().unwrap(), &ours["sentitems"])).await;
    let (snapshot, view) = here.view(here.again().await).await;
    let asked = Asked {
        view: &view,
        snapshot,
        paths: vec![format!("users/{ALICE}/Settings")],
        to: ALICE.parse().unwrap(),
        tenant: "sim".into(),
        tenant_id: String::new(),
        options: in_place(Conflict::Copy),
        grantee: String::new(),
    };
    let plan = make(asked, &here.client, &here.around()).await.unwrap();
    let report = run(&plan, &view, &here.client, &here.around()).await.unwrap();
    assert!(report.stopped.is_empty() && report.created == plan.counts().create, "{report:?}");
    let request = GraphRequest::get(Scope::Mailbox(ALICE.into()), format!("users/{ALICE}/{rules}"));
    let there = here.client.get_all(request.prefer(IMMUTABLE_IDS)).await.unwrap();
    let named = |name: &str| there.iter().find(|rule| rule["displayName"] == format!("To {name}")).expect("the rule");
    for name in names {
        let (rule, inbox) = (named(name), &theirs["inbox"]);
        let folders = (&rule["actions"]["moveToFolder"], &rule["actions"]["copyToFolder"]);
        assert_eq!((folders, &rule["isEnabled"]), ((&json!(theirs[name]), &json!(inbox)), &json!(true)), "{name}");
    }
    // What people made is not there.
    let rule = named("orders");
    assert_eq!((&rule["isEnabled"], &rule["actions"]["moveToFolder"]), (&json!(false), &Value::Null));
    assert_eq!(rule["actions"]["copyToFolder"], theirs["sentitems"].as_str());
    let off = report.notes.iter().filter(|(_, note)| note.contains("switched off")).count();
    assert_eq!(off, 1, "{:?}", report.notes);
}
