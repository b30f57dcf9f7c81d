//! What becomes of what is there already: of what bears the same title, of what is older or newer, of what a copy comes beside.

use serde_json::{Value, json};
use tenantvault::error::ErrorKind;
use tenantvault::format::record::ItemKind;
use tenantvault::graph::{GraphRequest, IMMUTABLE_IDS, Payload, Scope};
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::restore::{Action, Conflict, Only, Plan, RestoreOptions, undo};
use tenantvault::sim::{Fault, FaultKind, SimOptions};

use crate::restore::{ALICE, Restorer, in_folder, in_place};
use crate::restore_plan::plan_at;

fn mailbox() -> Scope {
    Scope::Mailbox(ALICE.into())
}

/// The id of a row, as it stands in an address.
pub fn id(row: &Value) -> String {
    row["id"].as_str().expect("an id").replace('+', "%2B").replace('/', "%2F")
}

pub async fn rows(r: &Restorer, url: &str) -> Vec<Value> {
    let request = GraphRequest::get(mailbox(), format!("users/{ALICE}/{url}"));
    r.client.get_all(request.prefer(IMMUTABLE_IDS)).await.unwrap()
}

pub async fn post(r: &Restorer, url: &str, body: &Value) -> Value {
    let request = GraphRequest::post(mailbox(), format!("users/{ALICE}/{url}"), body);
    r.client.send(request.prefer(IMMUTABLE_IDS)).await.unwrap()
}

async fn patch(r: &Restorer, url: &str, body: &Value) {
    let request = GraphRequest::patch(mailbox(), format!("users/{ALICE}/{url}"), body);
    r.client.send(request.prefer(IMMUTABLE_IDS)).await.unwrap();
}

async fn delete(r: &Restorer, url: &str) {
    let request = GraphRequest::delete(mailbox(), format!("users/{ALICE}/{url}"));
    r.client.send(request.prefer(IMMUTABLE_IDS)).await.unwrap();
}

/// The list that Alice's tasks are in.
async fn tasks(r: &Restorer) -> String {
    let lists = rows(r, "todo/lists?$top=100").await;
    let list = lists.iter().find(|list| list["wellknownListName"] == "defaultList").expect("a list");
    format!("todo/lists/{}/tasks", id(list))
}

/// What a plan says of all that is called so.
fn named(plan: &Plan, name: &str) -> Vec<Action> {
    let end = format!("/{name}");
    plan.steps.iter().filter(|step| step.path.ends_with(&end)).map(|step| step.action).collect()
}

/// Two of one title were deleted, and another one bears it now.
#[tokio::test(flavor = "multi_thread")]
async fn a_title_stands_for_one_item_and_nothing_is_overwritten_for_it() {
    let r = Restorer::new().await;
    let url = tasks(&r).await;
    let body = json!({"title": "Call back"});
    let made = [post(&r, &url, &body).await, post(&r, &url, &body).await];
    let now = r.again().await;
    for task in &made {
        delete(&r, &format!("{url}/{}", id(task))).await;
    }
    post(&r, &url, &body).await;
    let path = format!("users/{ALICE}/Tasks");
    let deleted = RestoreOptions { only: Only::Deleted, ..in_place(Conflict::Skip) };
    assert_eq!(named(&plan_at(&r, now, &path, deleted).await, "Call back"), [Action::Create]);
    let mut replaced = named(&plan_at(&r, now, &path, in_place(Conflict::Replace)).await, "Call back");
    replaced.retain(|action| *action != Action::Create);
    let why = "what is there bears its title, and may be another";
    assert_eq!(replaced, [Action::Skip(why.to_owned())]);
}

/// Of what nothing tells but its time, the time tells.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_changed_since_counts_as_changed() {
    let r = Restorer::new().await;
    let options = || RestoreOptions { only: Only::Changed, ..in_place(Conflict::Replace) };
    let overwritten = async |part: &str| {
        let plan = r.plan(&format!("users/{ALICE}/{part}"), "original", options()).await.unwrap();
        plan.counts().overwrite
    };
    let url = tasks(&r).await;
    let task = format!("{url}/{}", id(&rows(&r, &format!("{url}?$top=100")).await[0]));
    let contact = format!("contacts/{}", id(&rows(&r, "contacts?$top=100").await[0]));
    let body = json!({"body": {"content": "Theirs", "contentType": "text"}});
    for (part, url, body) in [("Tasks", task, body), ("Contacts", contact, json!({"personalNotes": "Theirs"}))] {
        assert_eq!(overwritten(part).await, 0, "{part}");
        patch(&r, &url, &body).await;
        assert_eq!(overwritten(part).await, 1, "{part}");
    }
    let e = r.plan(&format!("users/{ALICE}/Settings"), "original", options()).await.unwrap_err();
    assert!(e.to_string().contains("cannot be told"), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_refuses_an_app_that_may_write_is_told_as_such() {
    let r = Restorer::new().await;
    let plan = r.plan(&format!("users/{ALICE}/Mail/Inbox"), "original", in_folder()).await.unwrap();
    let kind = FaultKind::Status { status: 403 };
    r.setting.sim.inject(Fault { kind, path: "/messages".into(), probability: 1.0, count: None });
    let report = r.run(&plan).await.unwrap();
    r.setting.sim.clear_faults();
    let [(_, why)] = report.stopped.as_slice() else { panic!("{report:?}") };
    assert!(why.contains("the app has Mail.ReadWrite") && why.contains("on hold"), "{why}");
    assert!(!report.problems.is_empty(), "what was tried when it stopped is told");
    assert_eq!(r.run(&plan).await.unwrap().created, plan.counts().create, "it goes on when the target takes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_it_does_not_count_and_what_keeps_its_versions() {
    let r = Restorer::new().await;
    // Mail that was sent gets its state alone.
    let mails = rows(&r, "mailFolders/inbox/messages?$select=id").await;
    patch(&r, &format!("messages/{}", id(&mails[0])), &json!({"categories": ["Theirs"]})).await;
    let plan = r.plan(&format!("users/{ALICE}/Mail/Inbox"), "original", in_place(Conflict::Replace)).await.unwrap();
    let over = plan.steps.iter().find(|step| matches!(step.action, Action::Overwrite(_))).expect("the mail");
    assert!(over.cost.requests == 2 && over.cost.bytes < 1_000, "{over:?}");
    for _ in 0..3 {
        r.setting.next_day();
    }
    for versions in [true, false] {
        let options = RestoreOptions { versions, only: Only::Changed, ..in_place(Conflict::Replace) };
        let plan = r.plan(&format!("users/{ALICE}/OneDrive"), "original", options).await.unwrap();
        let overwrite = plan.counts().overwrite;
        assert!(overwrite > 0, "{:?}", plan.steps);
        assert_eq!(plan.keep_versions(), if versions { overwrite } else { 0 });
        // What is counted is not told as left out.
        assert!(plan.not_counted().is_empty(), "{:?}", plan.not_counted());
    }
    let plan = r.plan(&format!("users/{ALICE}/Tasks"), "original", in_place(Conflict::Replace)).await.unwrap();
    assert!(plan.counts().overwrite > 0);
    let said = ["steps and links of tasks that are overwritten", "attachments of what is overwritten"];
    assert_eq!(plan.not_counted(), said);
    let plan = r.plan(&format!("users/{ALICE}/Tasks"), "original", in_folder()).await.unwrap();
    assert!(plan.not_counted().is_empty(), "{:?}", plan.not_counted());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_newer_only_what_is_older_there_is_overwritten() {
    let r = Restorer::new().await;
    let path = "Documents/Committee/Agenda.txt";
    let drive = || r.setting.sim.expected().user(ALICE).unwrap().drive.clone().unwrap();
    let contents = || {
        let file = drive().items.into_iter().find(|item| item.path == path).expect("the file");
        file.content.expect("contents").bytes()
    };
    let (before, known) = (contents(), drive());
    let file = known.items.iter().find(|item| item.path == path).expect("the file");
    let url = format!("drives/{}/items/{}", known.id, file.id);
    let write = async || {
        let theirs = Payload::bytes(b"theirs".to_vec());
        r.client.send(GraphRequest::put(Scope::Files, format!("{url}/content"), theirs)).await.unwrap();
    };
    write().await;
    let newer = async || {
        let plan = r.plan(&format!("users/{ALICE}/OneDrive/{path}"), "original", in_place(Conflict::Newer)).await;
        plan.unwrap()
    };
    let counts = newer().await.counts();
    assert_eq!((counts.overwrite, counts.skip), (0, 1));
    // An old one was put there.
    let times = json!({"fileSystemInfo": {"lastModifiedDateTime": "2010-01-01T00:00:00Z"}});
    let age = async || r.client.send(GraphRequest::patch(Scope::Files, url.clone(), &times)).await.unwrap();
    age().await;
    // What was changed after the plan was made stays.
    let stale = newer().await;
    write().await;
    let report = r.run(&stale).await.unwrap();
    assert_eq!((report.overwritten, report.problems.len()), (0, 1), "{report:?}");
    assert!(report.problems[0].1.contains("changed later, after the plan"), "{report:?}");
    age().await;
    let plan = newer().await;
    assert_eq!((plan.counts().overwrite, plan.counts().skip), (1, 0));
    assert_eq!(r.run(&plan).await.unwrap().overwritten, 1);
    assert_eq!(contents(), before);
    assert!(undo(&plan.run, None, &r.client, &r.around()).await.unwrap().left.is_empty());
    assert_eq!(contents(), b"theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_come_beside_what_is_there_and_are_taken_back() {
    let r = Restorer::new().await;
    let kinds = [ItemKind::Message, ItemKind::Event, ItemKind::Contact, ItemKind::Task];
    for (path, kind) in ["Mail/Inbox", "Calendar", "Contacts", "Tasks"].into_iter().zip(kinds) {
        let collection = format!("users/{ALICE}/{}", path.split('/').next().unwrap_or_default());
        let count = async |snapshot: usize| {
            let items = r.items(snapshot, &collection).await;
            items.values().flatten().filter(|thing| thing.kind == kind).count()
        };
        let before = count(r.again().await).await;
        let plan = r.plan(&format!("users/{ALICE}/{path}"), "original", in_place(Conflict::Copy)).await.unwrap();
        let copies = plan.steps.iter().filter(|step| step.action == Action::Copy).count();
        assert!(copies > 2 && plan.counts().overwrite == 0, "{path}: {:?}", plan.counts());
        let report = r.run(&plan).await.unwrap();
        assert_eq!((report.created, report.overwritten), (plan.counts().create, 0), "{path}: {:?}", report.problems);
        // The changed occurrences of a series come along.
        let come = count(r.again().await).await - before;
        assert!(come == copies || come > copies && kind == ItemKind::Event, "{path}: {come} of {copies}");
        assert!(undo(&plan.run, None, &r.client, &r.around()).await.unwrap().left.is_empty(), "{path}");
        assert_eq!(count(r.again().await).await, before, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_taker_has_no_place_for_is_refused_and_who_has_is_named() {
    let r = Restorer::with(SimOptions { groups: 1, ..SimOptions::tiny() }, 0, |_| ()).await;
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let (bob, team) = ("bob@contoso.com", "Sales");
    for (begin, part, to, says) in [
        ("sites/", "/Lists/", bob, "A list can go into a site only"),
        ("sites/", "/Pages", bob, "Pages can go into a site only"),
        ("", "/Planner", bob, "Plans can go into a group or team only"),
        ("teams/", "/Team", bob, "A team's shape can go into a team only"),
        ("users/", "/Contacts", team, "Contacts can go into the mailbox of a user only"),
        ("users/", "/Mail", team, "Mail cannot be restored into teams/"),
    ] {
        let is_meant = |name: &str| {
            name.starts_with(begin) && if part.ends_with('/') { name.contains(part) } else { name.ends_with(part) }
        };
        let mut states = catalog.states.values().filter(|state| state.items.is_some());
        let name = &states.find(|state| is_meant(&state.name)).unwrap_or_else(|| panic!("{part}")).name;
        let e = r.plan(name, to, in_place(Conflict::Skip)).await.unwrap_err();
        assert!(e.kind() == ErrorKind::InvalidInput && e.to_string().contains(says), "{name}: {e}");
        let hint = e.hint().unwrap_or_default();
        assert!(hint.contains("--to") || hint.contains("export"), "{name}: {hint}");
    }
}
