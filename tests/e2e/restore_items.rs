//! What is no mail and no file goes the same way: planned, made, backed up again, taken back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tenantvault::format::record::ItemKind;
use tenantvault::graph::{GraphRequest, IMMUTABLE_IDS, Scope};
use tenantvault::m365::restore::lost::{lost_of, take_lost};
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::restore::{Action, Asked, Conflict, Into, RestoreOptions, make, run, undo};
use tenantvault::sim::SimOptions;

use crate::restore::{ALICE, Restorer, Thing, in_folder, in_place};

/// Kinds of which every item comes back under its name.
const KINDS: &[ItemKind] = &[
    ItemKind::Calendar,
    ItemKind::Event,
    ItemKind::ContactFolder,
    ItemKind::Contact,
    ItemKind::Task,
    ItemKind::Rule,
    ItemKind::Category,
];

async fn names(r: &Restorer, snapshot: usize, path: &str) -> BTreeSet<(String, usize)> {
    let all = r.items(snapshot, path).await;
    let count = |things: &[crate::restore::Thing]| things.iter().filter(|thing| KINDS.contains(&thing.kind)).count();
    all.iter().map(|(name, things)| (name.clone(), count(things))).filter(|(_, count)| *count > 0).collect()
}

/// All that is promised to come back of what a snapshot holds: by place and kind, what the table of the docs does not except.
async fn promised(r: &Restorer, snapshot: usize, path: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (mut name, things) in r.items(snapshot, path).await {
        for mut thing in things {
            let lost = lost_of(thing.kind.word());
            match thing.properties["@odata.type"].as_str().unwrap_or_default() {
                // A link does not come back, an item as a file; what follows from flagged mail is not made.
                "#microsoft.graph.referenceAttachment" => continue,
                "#microsoft.graph.itemAttachment" => name = format!("{name}.eml"),
                _ if lost.contains(&"*") || name.contains("Flagged Emails") => continue,
                // A term that was used again comes back as one of its own.
                _ if name.contains("/Relation ") => continue,
                // The store itself is nothing that is made.
                _ if name == "Term store" => continue,
                _ => {}
            }
            take_lost(thing.kind.word(), &mut thing.properties);
            let content = thing.content.map(|bytes| blake3::hash(&bytes).to_hex().to_string());
            all.insert(format!("{name} {} {} {content:?}", thing.kind.word(), thing.properties));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_mailbox_gets_its_calendars_contacts_tasks_and_rules_back() {
    let r = Restorer::new().await;
    r.setting.sim.wipe_items(ALICE);
    let wiped = r.again().await;
    for part in ["Calendar", "Contacts", "Tasks", "Settings"] {
        let path = format!("users/{ALICE}/{part}");
        let before = names(&r, 0, &path).await;
        let then = names(&r, wiped, &path).await;
        assert!(then.len() < before.len(), "{part}: nothing was wiped");
        // Settings are always there.
        let conflict = if part == "Settings" { Conflict::Replace } else { Conflict::Skip };
        let plan = r.plan(&path, "original", in_place(conflict)).await.unwrap();
        let report = r.run(&plan).await.unwrap();
        assert!(report.stopped.is_empty() && !report.interrupted, "{part}: {report:?}");
        assert_eq!(report.created, plan.counts().create, "{part}: {:?}", report.problems);
        // What follows from flagged mail is not made.
        let after = names(&r, r.again().await, &path).await;
        let lost: Vec<_> = before.difference(&after).filter(|(name, _)| !name.contains("Flagged Emails")).collect();
        assert!(lost.is_empty(), "{part}: {lost:?}");
        // The two snapshots differ in nothing else than the table says.
        let now = r.setting.snapshots().await.len() - 1;
        let (was, is) = (promised(&r, 0, &path).await, promised(&r, now, &path).await);
        let differs: Vec<_> = was.difference(&is).collect();
        assert!(
            was.len() > 3 && differs.is_empty(),
            "{part}: {} of {}: {:#?}",
            differs.len(),
            was.len(),
            &differs[..1]
        );
        assert_eq!(r.setting.sim.mails_sent(), 0, "{part}: mail was sent");
        // A second time nothing is left to do.
        let again = r.plan(&path, "original", in_place(Conflict::Skip)).await.unwrap();
        assert_eq!(again.counts().create, 0, "{part}");
        // Undo takes back what was made.
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "{part}: {:?}", back.left);
        assert_eq!(names(&r, r.again().await, &path).await, then, "{part}");
        assert_eq!(r.setting.sim.mails_sent(), 0, "{part}: undo sent mail");
    }
}

/// Lists of tasks cannot lie in one another: those of a restore into a folder lie beside it and bear its name.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_go_into_lists_of_their_own_and_a_single_one_into_one_list() {
    let r = Restorer::new().await;
    let tasks = format!("users/{ALICE}/Tasks");
    let before = r.items(0, &tasks).await;
    let count = |items: &BTreeMap<String, Vec<Thing>>, mark: &str| {
        items
            .iter()
            .filter(|(path, _)| path.contains(mark))
            .flat_map(|(_, t)| t)
            .filter(|t| t.kind == ItemKind::Task)
            .count()
    };
    let plan = r.plan(&tasks, "original", in_folder()).await.unwrap();
    let report = r.run(&plan).await.unwrap();
    assert_eq!(report.created, plan.counts().create, "{:?}", report.problems);
    let now = r.items(r.again().await, &tasks).await;
    assert!(
        now.contains_key("Tasks (Restored 2026-11-20)") && !now.contains_key("Restored 2026-11-20"),
        "{:?}",
        now.keys()
    );
    let flagged = count(&before, "Flagged Emails/");
    assert_eq!(count(&now, " (Restored 2026-11-20)/"), count(&before, "") - flagged);
    assert_eq!(count(&now, ""), count(&before, "") * 2 - flagged);
    // A second time nothing is left to do.
    let again = r.plan(&tasks, "original", in_folder()).await.unwrap();
    assert_eq!(again.counts().create, 0, "{:?}", again.steps);
    let (_, view) = r.view(0).await;
    let (list, mut paths) = (view.resolve(&format!("{tasks}/Tasks")).await.unwrap(), Vec::new());
    view.list(&list, &mut |entry| {
        if !entry.is_container() {
            paths.push(entry.place(list.path()).path().to_owned());
        }
        Ok(())
    })
    .await
    .unwrap();
    let one = r.plan(&paths[0], "original", in_folder()).await.unwrap();
    assert_eq!(one.counts().create, 2, "the list and the task: {:?}", one.steps);
    // The same beside a whole list.
    let (beside, folder) = ([format!("{tasks}/Tasks"), paths[0].clone()], Into::Folder("Both".into()));
    let both = r.plan_of(&beside, "original", RestoreOptions { into: folder, ..in_folder() }).await.unwrap();
    let report = r.run(&both).await.unwrap();
    assert!(report.problems.is_empty() && report.created == both.counts().create, "{:?}", report.problems);
    assert!(undo(&both.run, None, &r.client, &r.around()).await.unwrap().left.is_empty());
    r.run(&one).await.unwrap();
    let now = r.items(r.again().await, &tasks).await;
    assert_eq!(count(&now, "Restored 2026-11-20/"), 1);
    for run in [&one.run, &plan.run] {
        assert!(undo(run, None, &r.client, &r.around()).await.unwrap().left.is_empty());
    }
    let after = r.items(r.again().await, &tasks).await;
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
}

/// What a restore put into its folder is there: the same restore again finds it, whatever it is called there, and makes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_folder_again_gets_nothing_twice() {
    let r = Restorer::new().await;
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let of = |part: &str| {
        let named = catalog.states.values().filter(|s| s.name.contains(part) && s.items.is_some());
        named.map(|s| s.name.clone()).min().unwrap()
    };
    let alice = ["Mail", "Calendar", "Contacts", "Tasks", "OneDrive"].map(|part| format!("users/{ALICE}/{part}"));
    for path in alice.into_iter().chain([of("/Files/"), of("/Lists/Issues and risks")]) {
        let plan = r.plan(&path, "original", in_folder()).await.unwrap();
        let report = r.run(&plan).await.unwrap();
        assert!(report.created == plan.counts().create && report.created > 3, "{path}: {:?}", report.problems);
        let again = r.plan(&path, "original", in_folder()).await.unwrap();
        let made: Vec<_> = again.steps.iter().filter(|step| step.action == Action::Create).collect();
        assert!(made.is_empty(), "{path}: {} of {} {:?}", made.len(), report.created, &made[..made.len().min(3)]);
        let second = r.run(&again).await.unwrap();
        assert_eq!((second.created, second.overwritten), (made.len() as u64, 0), "{path}");
        assert!(undo(&again.run, None, &r.client, &r.around()).await.unwrap().left.is_empty());
        assert!(undo(&plan.run, None, &r.client, &r.around()).await.unwrap().left.is_empty(), "{path}");
    }
}

/// A folder that comes back has a new id, which the rules of the same restore name.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_names_the_folder_that_came_back_with_it() {
    let r = Restorer::new().await;
    let request = |url: &str| format!("users/{ALICE}/{url}");
    let send = async |url: &str, body: Value| {
        let request = GraphRequest::post(Scope::Mailbox(ALICE.into()), request(url), &body);
        r.client.send(request.prefer(IMMUTABLE_IDS)).await.unwrap()
    };
    let rows = async |url: &str| {
        let request = GraphRequest::get(Scope::Mailbox(ALICE.into()), request(url));
        let rows: Vec<Value> = r.client.get_all(request.prefer(IMMUTABLE_IDS)).await.unwrap();
        rows.into_iter().find(|row| row["displayName"] == "Orders")
    };
    let (folders, rules) = ("mailFolders?$top=100", "mailFolders/inbox/messageRules");
    let old = send("mailFolders", json!({"displayName": "Orders"})).await["id"].clone();
    let rule = json!({
        "displayName": "Orders", "sequence": 90, "isEnabled": true, "conditions": {"subjectContains": ["Order"]},
        "actions": {"moveToFolder": old},
    });
    send(rules, rule).await;
    let (snapshot, view) = r.view(r.again().await).await;
    r.setting.sim.wipe(ALICE);
    r.setting.sim.wipe_items(ALICE);
    assert_eq!((rows(folders).await, rows(rules).await), (None, None));
    let asked = Asked {
        view: &view,
        snapshot,
        paths: ["Settings", "Mail"].map(request).to_vec(),
        to: "original".parse().unwrap(),
        tenant: "sim".into(),
        tenant_id: String::new(),
        options: in_place(Conflict::Skip),
        grantee: String::new(),
    };
    let plan = make(asked, &r.client, &r.around()).await.unwrap();
    let report = run(&plan, &view, &r.client, &r.around()).await.unwrap();
    let off: Vec<_> = report.notes.iter().filter(|(_, note)| note.contains("switched off")).collect();
    assert!(off.is_empty(), "{off:?}");
    let (folder, rule) = (rows(folders).await.expect("the folder"), rows(rules).await.expect("the rule"));
    assert_eq!((&rule["actions"]["moveToFolder"], &rule["isEnabled"]), (&folder["id"], &json!(true)));
    assert_ne!(folder["id"], old);
}

/// Everybody has an Inbox and an Archive: a rule that goes to somebody else names theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_goes_to_somebody_else_names_the_folder_of_that_name_there() {
    let r = Restorer::new().await;
    let junk = async |user: &str| {
        let request = GraphRequest::get(Scope::Mailbox(user.into()), format!("users/{user}/mailFolders/junkemail"));
        r.client.get_json(request.prefer(IMMUTABLE_IDS)).await.unwrap()["id"].clone()
    };
    // What the snapshot itself tells of folders is which one was the Archive; of others her mailbox is asked.
    let rule = json!({
        "displayName": "Offers", "sequence": 91, "isEnabled": true, "conditions": {"subjectContains": ["Offer"]},
        "actions": {"moveToFolder": junk(ALICE).await},
    });
    let url = format!("users/{ALICE}/mailFolders/inbox/messageRules");
    let request = GraphRequest::post(Scope::Mailbox(ALICE.into()), url, &rule);
    r.client.send(request.prefer(IMMUTABLE_IDS)).await.unwrap();
    let (snapshot, view) = r.view(r.again().await).await;
    let users = r.setting.sim.expected().users;
    let bob = users.iter().find(|user| user.upn != ALICE && user.mailbox.is_some()).unwrap();
    let folders = &bob.mailbox.as_ref().unwrap().folders;
    let archive = &folders.iter().find(|folder| folder.well_known == Some("archive")).expect("an archive").id;
    let url = format!("users/{}/mailFolders/inbox/messageRules", bob.id);
    let rules = async || {
        let request = GraphRequest::get(Scope::Mailbox(bob.id.clone()), url.clone());
        r.client.get_all(request.prefer(IMMUTABLE_IDS)).await.unwrap()
    };
    let before = rules().await;
    let asked = Asked {
        view: &view,
        snapshot,
        paths: vec![format!("users/{ALICE}/Settings")],
        to: bob.upn.parse().unwrap(),
        tenant: "sim".into(),
        tenant_id: String::new(),
        options: in_place(Conflict::Copy),
        grantee: String::new(),
    };
    let plan = make(asked, &r.client, &r.around()).await.unwrap();
    let report = run(&plan, &view, &r.client, &r.around()).await.unwrap();
    assert!(report.notes.iter().all(|(_, note)| !note.contains("switched off")), "{:?}", report.notes);
    let mut after = rules().await;
    after.retain(|rule| !before.iter().any(|old| old["id"] == rule["id"]));
    assert!(after.len() > 1, "{report:?}");
    let (archive, junk) = (json!(archive), junk(&bob.id).await);
    for rule in &after {
        let folder = if rule["displayName"] == "Offers" { &junk } else { &archive };
        assert_eq!(rule["actions"]["moveToFolder"], *folder, "{rule}");
    }
}

/// What belongs to groups and to the tenant, the whole way: two snapshots, and between them all was wiped and restored.
#[tokio::test(flavor = "multi_thread")]
async fn wiped_plans_teams_and_terms_come_back_as_the_table_says() {
    let r = Restorer::with(SimOptions { groups: 2, ..SimOptions::tiny() }, 2, |_| ()).await;
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let is_meant = |key: &str| ["/planner", "/team", "tenant/terms"].iter().any(|end| key.ends_with(end));
    let states: Vec<_> = catalog.states.values().filter(|s| is_meant(&s.key) && s.items.is_some()).collect();
    let ids: BTreeSet<&str> = states.iter().filter_map(|s| s.key.split('/').nth(1)).collect();
    ids.iter().filter(|id| id.len() > 20).for_each(|id| r.setting.sim.wipe_items(id));
    r.setting.sim.wipe_items("");
    let wiped = r.again().await;
    let mut kinds = BTreeSet::new();
    for state in states {
        let was = promised(&r, 0, &state.name).await;
        assert!(was != promised(&r, wiped, &state.name).await, "{}: nothing was wiped", state.name);
        let plan = r.plan(&state.name, "original", in_place(Conflict::Skip)).await.unwrap();
        let report = r.run(&plan).await.unwrap();
        assert!(report.stopped.is_empty() && !report.interrupted, "{}: {report:?}", state.name);
        let is = promised(&r, r.again().await, &state.name).await;
        let differs: Vec<_> = was.difference(&is).collect();
        assert!(
            differs.is_empty(),
            "{}: {} of {}: {:#?} {:?}",
            state.name,
            differs.len(),
            was.len(),
            &differs[..1],
            report.notes
        );
        kinds.extend(state.key.rsplit('/').next());
    }
    assert_eq!(kinds, BTreeSet::from(["planner", "team", "terms"]));
}

/// The columns of a list whose values Graph does not write as they are told.
const NOT_WRITTEN: &[&str] = &["hyperlinkOrPicture", "calculated", "term"];
/// Those of which the ids are written; what people see of them follows from it.
const BY_ID: &[&str] = &["lookup", "personOrGroup"];

/// The ids of several people or looked-up items that a field names.
fn ids(value: &Value) -> Option<Value> {
    let ids = value.as_array()?.iter().map(|one| one.get("LookupId").cloned());
    ids.collect::<Option<Vec<_>>>().map(Value::from)
}

/// What is promised of a list or of what a site is made of: as [`promised`], without the values that the docs except.
async fn promised_of_site(r: &Restorer, snapshot: usize, path: &str) -> Vec<String> {
    let items = r.items(snapshot, path).await;
    let things = || items.values().flatten();
    let of = |facets: &[&str]| -> BTreeSet<String> {
        let has = |thing: &&Thing| facets.iter().any(|facet| thing.properties.get(facet).is_some());
        let columns = things().filter(|thing| thing.kind == ItemKind::Column).filter(has);
        columns.filter_map(|thing| thing.properties["name"].as_str().map(str::to_owned)).collect()
    };
    let (left_out, terms) = (of(&[NOT_WRITTEN, BY_ID].concat()), of(&["term"]));
    let mut all = Vec::new();
    for (name, things) in &items {
        for thing in things {
            let (kind, mut json) = (thing.kind, thing.properties.clone());
            // A column that Graph cannot make is told as left out (below).
            if kind == ItemKind::Column && json["name"].as_str().is_some_and(|name| terms.contains(name)) {
                continue;
            }
            if let Some(fields) = json.get_mut("fields").and_then(|fields| fields.as_object_mut()) {
                fields.retain(|field, value| match ids(value) {
                    Some(ids) => {
                        *value = ids;
                        true
                    }
                    None => !left_out.contains(field),
                });
            }
            // What has no title is called by its id.
            let id = json["id"].as_str().map(|id| format!("Item {id}")).unwrap_or_default();
            let name = if kind == ItemKind::ListItem { name.replace(&id, "Item") } else { name.clone() };
            take_lost(kind.word(), &mut json);
            all.push(format!("{name} {} {json}", kind.word()));
        }
    }
    all.sort();
    all
}

/// What sites are made of, the whole way: two snapshots, and between them all was wiped and restored.
#[tokio::test(flavor = "multi_thread")]
async fn wiped_lists_pages_columns_and_types_of_sites_come_back_as_the_table_says() {
    let r = Restorer::with(SimOptions::tiny(), 2, |_| ()).await;
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let parts = |key: &str| key.split('/').map(str::to_owned).collect::<Vec<_>>();
    let is_meant = |key: &str| key.starts_with("sites/") && ["list", "pages", "site"].contains(&&*parts(key)[2]);
    let states: Vec<_> = catalog.states.values().filter(|s| is_meant(&s.key) && s.items.is_some()).collect();
    let ids: BTreeSet<String> = states.iter().map(|s| parts(&s.key)[1].clone()).collect();
    ids.iter().for_each(|id| r.setting.sim.wipe_items(id));
    let wiped = r.again().await;
    let (mut done, mut left_out, mut not_written) = (BTreeMap::<String, usize>::new(), 0, 0);
    let mut restored = Vec::new();
    for state in states {
        let was = promised_of_site(&r, 0, &state.name).await;
        // What SharePoint makes for itself was not wiped.
        if was == promised_of_site(&r, wiped, &state.name).await {
            continue;
        }
        let plan = r.plan(&state.name, "original", in_place(Conflict::Skip)).await.unwrap();
        let report = r.run(&plan).await.unwrap();
        assert!(report.stopped.is_empty() && !report.interrupted, "{}: {report:?}", state.name);
        assert_eq!(report.created, plan.counts().create, "{}: {:?}", state.name, report.problems);
        // A column that Graph does not make is no column that was made, and the reason is told.
        let told = |(_, why): &&(String, String)| why.contains("no columns of its kind (term)");
        let columns = report.problems.iter().filter(told).count();
        let cannot = |step: &tenantvault::ops::restore::Step| matches!(&step.action, Action::Cannot(why) if why.contains("(term)"));
        assert_eq!(columns, plan.steps.iter().filter(cannot).count());
        left_out += columns;
        not_written += report.notes.iter().filter(|(_, note)| note.ends_with(": not written")).count();
        *done.entry(parts(&state.key)[2].clone()).or_default() += 1;
        restored.push((state.name.clone(), was, plan));
    }
    let now = r.again().await;
    for (name, was, _) in &restored {
        let is = promised_of_site(&r, now, name).await;
        let differs: Vec<_> = was.iter().filter(|item| !is.contains(item)).collect();
        let other: Vec<_> = is.iter().filter(|item| !was.contains(item)).take(2).collect();
        assert!(
            was.len() == is.len() && differs.is_empty(),
            "{name}: {} of {}, {} now: {:#?} {other:#?}",
            differs.len(),
            was.len(),
            is.len(),
            differs.first()
        );
    }
    assert_eq!(done.keys().collect::<Vec<_>>(), ["list", "pages", "site"], "{done:?}");
    assert!(left_out > 0, "no column of a kind that Graph does not make");
    assert!(not_written > 0, "no value that Graph does not write");
    let several = |item: &String| item.contains(":[6");
    assert!(restored.iter().any(|(_, was, _)| was.iter().any(several)), "no item names several people");
    // A second time nothing is left to do, and undo takes all back.
    for (name, was, plan) in &restored {
        let again = r.plan(name, "original", in_place(Conflict::Skip)).await.unwrap();
        // An item without a title is known by its id alone, which is a new one.
        let untitled = was.iter().filter(|item| item.contains("/Item list_item ")).count();
        assert!(again.counts().create <= untitled as u64, "{name}: {} of {untitled}", again.counts().create);
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "{name}: {:?}", back.left);
    }
    let then = r.again().await;
    for (name, ..) in &restored {
        assert_eq!(promised_of_site(&r, then, name).await, promised_of_site(&r, wiped, name).await, "{name}");
    }
}
