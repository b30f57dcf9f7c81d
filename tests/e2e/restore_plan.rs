//! What a plan looks at before it says what a restore will do: who takes it, what is there, what was moved; and at what cost.

use std::collections::BTreeSet;

use serde_json::json;
use tenantvault::format::record::ItemKind;
use tenantvault::graph::{GraphRequest, IMMUTABLE_IDS, Payload, Scope};
use tenantvault::ops::restore::{Action, Asked, Conflict, Only, Plan, RestoreOptions, Step, make, undo};
use tenantvault::ops::view::Entry;
use tenantvault::sim::{ExpectedMailbox, Fault, FaultKind, SimOptions};

use crate::restore::{ALICE, Restorer, in_folder, in_place};
use crate::restore_halves::strike;

fn deleted() -> RestoreOptions {
    RestoreOptions { only: Only::Deleted, ..in_place(Conflict::Skip) }
}

fn mailbox(r: &Restorer) -> ExpectedMailbox {
    r.setting.sim.expected().user(ALICE).unwrap().mailbox.clone().unwrap()
}

/// The ids of what lies in a folder of Alice's mailbox.
fn mails(r: &Restorer, folder: &str) -> Vec<String> {
    let mailbox = mailbox(r);
    let folder = mailbox.folders.iter().find(|f| f.well_known == Some(folder)).unwrap().id.clone();
    let there = mailbox.messages.iter().filter(|m| m.folder_id == folder && !m.recoverable);
    there.map(|m| m.id.clone()).collect()
}

async fn move_mail(r: &Restorer, id: &str, to: &str) {
    let url = format!("users/{ALICE}/messages/{id}/move");
    let request = GraphRequest::post(Scope::Mailbox(ALICE.into()), url, &json!({"destinationId": to}));
    r.client.send(request.prefer(IMMUTABLE_IDS)).await.unwrap();
}

async fn delete_mail(r: &Restorer, id: &str) {
    let url = format!("users/{ALICE}/messages/{id}");
    let request = GraphRequest::delete(Scope::Mailbox(ALICE.into()), url).prefer(IMMUTABLE_IDS);
    r.client.send(request).await.unwrap();
}

/// The URL of something in Alice's OneDrive.
async fn in_drive(r: &Restorer, rest: &str) -> String {
    let drive = r.client.get_json(GraphRequest::get(Scope::Files, format!("users/{ALICE}/drive"))).await.unwrap();
    format!("drives/{}/{rest}", drive["id"].as_str().unwrap())
}

/// The paths of the messages and files in a place.
async fn paths_in(r: &Restorer, path: &str) -> Vec<String> {
    let (_, view) = r.view(0).await;
    let mut paths = Vec::new();
    let mut collect = |entry: Entry| {
        let kind = entry.record.as_ref().map(|record| record.kind);
        if !entry.is_container() && matches!(kind, Some(ItemKind::Message | ItemKind::File)) {
            paths.push(format!("{path}/{}", entry.name));
        }
        Ok(())
    };
    view.list(&view.resolve(path).await.unwrap(), &mut collect).await.unwrap();
    paths
}

pub async fn plan_at(r: &Restorer, snapshot: usize, path: &str, options: RestoreOptions) -> Plan {
    let (snapshot, view) = r.view(snapshot).await;
    let asked = Asked {
        view: &view,
        snapshot,
        paths: vec![path.to_owned()],
        to: "original".parse().unwrap(),
        tenant: "sim".into(),
        tenant_id: String::new(),
        options,
        grantee: "whoever the caller names".into(),
    };
    make(asked, &r.client, &r.around()).await.unwrap()
}

fn items(plan: &Plan) -> usize {
    plan.steps.iter().filter(|step| !step.container && step.action == Action::Create).count()
}

/// Everything of three people goes to a fourth, each thing into a folder that nothing else goes into.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_several_owners_is_not_mixed() {
    let options = SimOptions { users: 4, messages: 14, drive_items: 10, ..SimOptions::tiny() };
    let r = Restorer::with(options, 0, |_| ()).await;
    let expected = r.setting.sim.expected();
    let people = expected.users.iter().filter(|user| user.mailbox.is_some() && user.drive.is_some());
    let mut people: Vec<String> = people.map(|user| user.upn.clone()).take(4).collect();
    let taker = people.pop().unwrap();
    assert_eq!(people.len(), 3);
    let paths: Vec<String> = people.iter().map(|upn| format!("users/{upn}")).collect();
    let plan = r.plan_of(&paths, &taker, in_folder()).await.unwrap();
    let mut folders = BTreeSet::new();
    for top in plan.steps.iter().filter(|step| step.item.is_empty()) {
        assert!(folders.insert(top.path.to_lowercase()), "two go into {}", top.path);
    }
    let report = r.run(&plan).await.unwrap();
    assert_eq!(
        (report.created, report.stopped.as_slice()),
        (plan.counts().create, [].as_slice()),
        "{:?}",
        report.problems
    );
    assert_eq!(report.problems.len() as u64, plan.counts().cannot, "{:?}", report.problems);
    let now = r.again().await;
    let (mail, files) =
        (r.items(now, &format!("users/{taker}/Mail")).await, r.items(now, &format!("users/{taker}/OneDrive")).await);
    let mut looked = 0;
    for (number, target) in plan.targets.iter().enumerate() {
        let there = match target.path.strip_prefix(&format!("users/{taker}/")) {
            Some("Mail") => &mail,
            Some("OneDrive") => &files,
            _ => continue,
        };
        let steps = || plan.steps.iter().filter(|step| step.target == number);
        let top = format!("{}/", steps().find(|step| step.item.is_empty()).unwrap().name);
        let wanted = steps().filter(|step| !step.container && step.action == Action::Create).count();
        let within = there.iter().filter(|(path, _)| path.starts_with(&top)).flat_map(|(_, things)| things);
        let came = within.filter(|thing| matches!(thing.kind, ItemKind::Message | ItemKind::File)).count();
        assert_eq!(came, wanted, "{} in {top}", target.from);
        looked += 1;
    }
    assert!(looked >= 6, "{:?}", plan.targets);
    assert!(undo(&plan.run, None, &r.client, &r.around()).await.unwrap().left.is_empty());
}

/// Each folder that something was picked in is listed once, and each above it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_picked_in_one_folder_costs_one_look_at_it() {
    let r = Restorer::new().await;
    let cost = async |paths: &[String], options: RestoreOptions| {
        r.setting.sim.clear_stats();
        let plan = r.plan_of(paths, "original", options).await.unwrap();
        assert_eq!(plan.steps.iter().filter(|step| !step.container).count(), paths.len());
        r.setting.sim.stats().requests
    };
    let inbox = paths_in(&r, &format!("users/{ALICE}/Mail/Inbox")).await;
    let below = format!("users/{ALICE}/OneDrive/Documents/Committee");
    let (deep, mut both) = (paths_in(&r, &format!("{below}/Minutes")).await, paths_in(&r, &below).await);
    both.extend(deep.clone());
    assert!(inbox.len() > 5 && !deep.is_empty() && both.len() > deep.len(), "{inbox:?} {both:?}");
    let options = in_place(Conflict::Skip);
    // The first one signs in.
    cost(&inbox[..1], options.clone()).await;
    assert_eq!(cost(&inbox, options.clone()).await, cost(&inbox[..1], options.clone()).await);
    assert_eq!(cost(&both, options.clone()).await, cost(&deep[..1], options).await);
}

/// A copy does not take the name of something that is made after it.
#[tokio::test(flavor = "multi_thread")]
async fn copies_leave_their_names_to_what_has_them_in_the_snapshot() {
    let r = Restorer::new().await;
    let root = r.client.get_json(GraphRequest::get(Scope::Files, in_drive(&r, "root").await)).await.unwrap();
    let root = root["id"].as_str().unwrap();
    for (name, text) in [("Plan", "a"), ("Plan (restored)", "b")] {
        let name = name.replace(' ', "%20");
        let url = in_drive(&r, &format!("items/{root}:/{name}:/content")).await;
        r.client.send(GraphRequest::put(Scope::Files, url, Payload::bytes(text.as_bytes()))).await.unwrap();
    }
    let drive = format!("users/{ALICE}/OneDrive");
    let now = r.again().await;
    let second = r.setting.sim.expected().user(ALICE).unwrap().drive.clone().unwrap().items;
    let second = second.into_iter().find(|item| item.path == "Plan (restored)").unwrap().id;
    let url = in_drive(&r, &format!("items/{second}")).await;
    r.client.send(GraphRequest::delete(Scope::Files, url)).await.unwrap();
    let plan = plan_at(&r, now, &drive, in_place(Conflict::Copy)).await;
    let of = |path: &str| plan.steps.iter().find(|step| step.path == format!("{drive}/{path}")).unwrap();
    assert_eq!((of("Plan").name, of("Plan").action), ("Plan (restored 2)".to_owned(), Action::Copy));
    assert_eq!(
        (of("Plan (restored)").name, of("Plan (restored)").action),
        ("Plan (restored)".to_owned(), Action::Create)
    );
}

/// What is gone is asked for one by one only as long as that is cheaper than to list what is left.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_from_a_mailbox_or_drive_that_was_emptied_is_known_by_few_requests() {
    let r =
        Restorer::with(SimOptions { users: 1, messages: 900, drive_items: 500, ..SimOptions::tiny() }, 0, |_| ()).await;
    let inbox = mails(&r, "inbox");
    assert!(inbox.len() > 200, "{}", inbox.len());
    // What was moved is there all the same, but for what lies in the bin.
    move_mail(&r, &inbox[0], "sentitems").await;
    move_mail(&r, &inbox[1], "deleteditems").await;
    for id in &inbox[2..] {
        delete_mail(&r, id).await;
    }
    r.setting.sim.clear_stats();
    let plan = r.plan(&format!("users/{ALICE}/Mail/Inbox"), "original", deleted()).await.unwrap();
    let asked = r.setting.sim.stats().requests_to("GET /users/{id}/messages/{id}");
    assert_eq!((items(&plan), asked), (inbox.len() - 1, 0));

    r.setting.sim.wipe(ALICE);
    let paths = ["Mail", "OneDrive"].map(|part| format!("users/{ALICE}/{part}"));
    let all = r.plan_of(&paths, "original", in_place(Conflict::Skip)).await.unwrap();
    r.setting.sim.clear_stats();
    let plan = r.plan_of(&paths, "original", deleted()).await.unwrap();
    assert_eq!(items(&plan), items(&all), "all of it is gone");
    let stats = r.setting.sim.stats();
    for route in ["GET /users/{id}/messages/{id}", "GET /drives/{id}/items/{id}"] {
        let asked: u64 = stats.routes.iter().filter(|(known, _)| *known == route).map(|(_, n)| n).sum();
        assert!(asked <= 200, "{route}: {asked}");
    }
}

/// What Microsoft gives no answer for is told, and holds up nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_which_nobody_says_whether_it_was_deleted_is_told() {
    let r = Restorer::new().await;
    delete_mail(&r, &mails(&r, "inbox")[0]).await;
    let files = r.setting.sim.expected().user(ALICE).unwrap().drive.clone().unwrap().items;
    let file = files.iter().find(|item| item.path == "Documents/Committee/Agenda.txt").unwrap();
    let url = in_drive(&r, &format!("items/{}", file.id)).await;
    r.client.send(GraphRequest::delete(Scope::Files, url)).await.unwrap();
    let paths = ["Mail/Inbox", "OneDrive/Documents/Committee"].map(|part| format!("users/{ALICE}/{part}"));
    for status in [403, 423, 500] {
        let kind = FaultKind::Status { status };
        r.setting.sim.inject(Fault { kind, path: "/messages/".into(), probability: 1.0, count: None });
        let plan = r.plan_of(&paths, "original", deleted()).await.unwrap();
        r.setting.sim.clear_faults();
        let cannot =
            |step: &Step| matches!(&step.action, Action::Unknown(why) if why.contains("or moved is not known"));
        assert_eq!((items(&plan), plan.steps.iter().filter(cannot).count()), (1, 1), "{status}: {:?}", plan.steps);
    }
    assert_eq!(items(&r.plan_of(&paths, "original", deleted()).await.unwrap()), 2);
}

fn unknown(plan: &Plan) -> Vec<Step> {
    plan.steps.iter().filter(|step| matches!(step.action, Action::Unknown(_))).collect()
}

/// One folder or plan that Graph does not list is told as what is not known; a collection of which it does not list the top as
/// one that refuses. All others are planned as ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_not_listed_is_told_and_ends_no_plan() {
    let r = Restorer::with(SimOptions { groups: 2, ..SimOptions::tiny() }, 2, |_| ()).await;
    let collections = r.setting.sim.expected().collections;
    let part = |end: &str| collections.iter().find(|(key, c)| key.ends_with(end) && c.things.len() > 3).unwrap();
    let (_, planner) = part("/planner");
    let planned = planner.things.iter().find(|thing| thing.kind == "plannerPlan").unwrap();
    let inbox = mailbox(&r).folders.iter().find(|f| f.well_known == Some("inbox")).unwrap().id.clone();
    let mail = format!("users/{ALICE}/Mail");
    let of_folder = format!("mailFolders/{}", inbox.trim_end_matches('='));
    let doors = [(&mail, of_folder), (&planner.name, format!("planner/plans/{}/buckets", planned.id))];
    for (name, door) in &doors {
        let all = r.plan(name, "original", in_place(Conflict::Replace)).await.unwrap();
        for status in [403, 404, 500] {
            strike(&r, door, status, None);
            let plan = r.plan(name, "original", in_place(Conflict::Replace)).await.unwrap();
            r.setting.sim.clear_faults();
            let [told] = &unknown(&plan)[..] else { panic!("{name} {status}: {:?}", unknown(&plan)) };
            let below = format!("{}/", told.path);
            assert!(told.container && all.steps.iter().any(|step| step.path.starts_with(&below)), "{told:?}");
            let beside = |step: &Step| step.path != told.path && !step.path.starts_with(&below);
            assert!(all.steps.iter().filter(beside).eq(plan.steps.iter().filter(beside)), "{name} {status}");
            assert!(plan.steps.iter().all(|step| !step.path.starts_with(&below)), "{name} {status}");
        }
    }
    // What is told stays, though nothing else is to be done; the run says it.
    strike(&r, &doors[0].1, 403, None);
    let plan = r.plan(&mail, "original", deleted()).await.unwrap();
    assert_eq!((unknown(&plan).len(), items(&plan)), (1, 0), "{:?}", plan.steps);
    let picked = paths_in(&r, &format!("{mail}/Inbox")).await;
    let others = paths_in(&r, &format!("users/{ALICE}/OneDrive/Documents/Committee")).await;
    let paths = [&picked[..2], &others[..1]].concat();
    let plan = r.plan_of(&paths, "original", in_place(Conflict::Replace)).await.unwrap();
    r.setting.sim.clear_faults();
    let told: Vec<String> = unknown(&plan).into_iter().map(|step| step.path).collect();
    assert_eq!(told, {
        let mut paths = picked[..2].to_vec();
        paths.sort();
        paths
    });
    assert!(plan.steps.iter().any(|step| step.path == others[0]), "{:?}", plan.steps);
    assert_eq!(r.run(&plan).await.unwrap().problems.len(), 2);
    // The top of a collection.
    let (_, list) = collections.iter().find(|(_, c)| c.name.ends_with("/Lists/Issues and risks")).unwrap();
    let (site, _) = list.name.split_once("/Lists/").unwrap();
    strike(&r, "/lists?", 403, None);
    let plan = r.plan(site, "original", in_place(Conflict::Skip)).await.unwrap();
    let alone = r.plan(&list.name, "original", in_place(Conflict::Skip)).await;
    r.setting.sim.clear_faults();
    assert!(plan.refused.iter().any(|(path, _)| *path == list.name), "{:?}", plan.refused);
    assert!(plan.steps.iter().any(|step| step.path.contains("/Pages/")), "{:?}", plan.targets);
    assert!(alone.is_err());
}
