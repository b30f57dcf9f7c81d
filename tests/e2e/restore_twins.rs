//! Restores of what is alike: each that is there, or is found when the run goes on, stands for one and for no more.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tenantvault::graph::{GraphRequest, IMMUTABLE_IDS};
use tenantvault::ops::restore::{Action, Conflict, Plan, Step, run, undo};
use tenantvault::sim::{Fault, FaultKind};

use crate::restore::{ALICE, Restorer, in_place};
use crate::restore_halves::{killed_in, mailbox, strike, things};
use crate::restore_plan::plan_at;
use crate::restore_policies::{id, post, rows};

const RULES: &str = "mailFolders/inbox/messageRules";

/// Where Alice's tasks are.
async fn tasks(r: &Restorer) -> String {
    let lists = rows(r, "todo/lists?$top=100").await;
    let list = lists.iter().find(|list| list["wellknownListName"] == "defaultList").expect("a list");
    format!("todo/lists/{}/tasks", id(list))
}

/// What is called so in a collection of the tenant.
fn called(r: &Restorer, collection: &str, name: &str) -> usize {
    let is_it = |json: &Value| json["title"] == name || json["displayName"] == name;
    things(r, collection).values().filter(|thing| is_it(&thing.json)).count()
}

/// Of a plan what is called so, and what is there to hold it.
fn only(mut plan: Plan, name: &str) -> Plan {
    let stays = |step: &Step| step.name == name || matches!(step.action, Action::Use(_));
    plan.steps = plan.steps.iter().filter(stays).collect();
    plan
}

/// Nobody knows what became of the copies, and nothing did. What they come beside bears the name that they had.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_not_taken_for_what_it_comes_beside() {
    let r = Restorer::new().await;
    let name = format!("users/{ALICE}/Settings");
    let before = things(&r, &name);
    let plan = r.plan(&name, "original", in_place(Conflict::Copy)).await.unwrap();
    let whole = plan.counts().create;
    for door in ["/messageRules ", "/masterCategories "] {
        strike(&r, door, 500, None);
    }
    let report = r.run(&plan).await.unwrap();
    r.setting.sim.clear_faults();
    assert!(whole > 2 && report.created < whole, "{report:?}");
    let report = r.run(&plan).await.unwrap();
    assert_eq!(report.created, whole, "{:?}", report.problems);
    assert_eq!(things(&r, &name).len() as u64, before.len() as u64 + whole, "{:?}", report.notes);
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert!(back.left.is_empty(), "{:?}", back.left);
    assert!(things(&r, &name).keys().eq(before.keys()));
}

/// Tasks and rules bear no mark of the restore.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_are_alike_come_back_as_two_though_the_run_is_killed_at_any_request() {
    let r = Restorer::new().await;
    let url = tasks(&r).await;
    let archive = rows(&r, RULES).await[0]["actions"]["moveToFolder"].clone();
    let rule = json!({
        "displayName": "Alike", "sequence": 90, "isEnabled": true, "conditions": {"subjectContains": ["Alike"]},
        "actions": {"moveToFolder": archive},
    });
    for _ in 0..2 {
        post(&r, &url, &json!({"title": "Alike"})).await;
        post(&r, RULES, &rule).await;
    }
    let now = r.again().await;
    let (_, view) = r.view(now).await;
    for part in ["Tasks", "Settings"] {
        let name = format!("users/{ALICE}/{part}");
        for at in 1.. {
            r.setting.sim.wipe_items(ALICE);
            assert_eq!(called(&r, &name, "Alike"), 0);
            let plan = only(plan_at(&r, now, &name, in_place(Conflict::Skip)).await, "Alike");
            assert_eq!(plan.counts().create, 2, "{:?}", plan.steps);
            let (ended, report) = killed_in(&r, &view, &plan, at).await;
            assert_eq!(report.created, 2, "{name} at {at}: {:?}", report.problems);
            assert_eq!(called(&r, &name, "Alike"), 2, "{name} at {at}: {:?}", report.notes);
            if ended {
                assert!(at > 2, "{name}");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_attachments_of_one_name_the_one_that_a_task_lacks_comes_back() {
    let r = Restorer::new().await;
    let (url, name) = (tasks(&r).await, format!("users/{ALICE}/Tasks"));
    let task = format!("{url}/{}", id(&post(&r, &url, &json!({"title": "Attached"})).await));
    for bytes in ["YQ==", "YmI="] {
        let kind = "#microsoft.graph.taskFileAttachment";
        let body = json!({"@odata.type": kind, "name": "a.txt", "contentBytes": bytes});
        post(&r, &format!("{task}/attachments"), &body).await;
    }
    let attached = || -> BTreeSet<Vec<u8>> {
        let all = things(&r, &name).into_values().filter(|thing| thing.json["name"] == "a.txt");
        all.map(|thing| thing.content.expect("contents").bytes()).collect()
    };
    let (now, both) = (r.again().await, attached());
    assert_eq!(both.len(), 2);
    let (_, view) = r.view(now).await;
    // First the one, then the other.
    for place in 0..2 {
        let mut there = rows(&r, &format!("{task}/attachments")).await;
        there.sort_by_key(|row| row["size"].as_u64());
        let gone = format!("users/{ALICE}/{task}/attachments/{}", id(&there[place]));
        r.client.send(GraphRequest::delete(mailbox(), gone).prefer(IMMUTABLE_IDS)).await.unwrap();
        assert_eq!(attached().len(), 1);
        let plan = only(plan_at(&r, now, &name, in_place(Conflict::Replace)).await, "Attached");
        assert_eq!(plan.counts().overwrite, 1, "{:?}", plan.steps);
        let report = run(&plan, &view, &r.client, &r.around()).await.unwrap();
        assert_eq!(report.overwritten, 1, "{report:?}");
        assert_eq!(attached(), both, "{place}");
    }
}

/// Answers to what is posted where an address ends so are lost on their way.
fn lose(r: &Restorer, path: &str, count: Option<u64>) {
    r.setting.sim.inject(Fault { kind: FaultKind::Drop, path: path.into(), probability: 1.0, count });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_looked_for_is_looked_for_again_and_comes_once() {
    let r = Restorer::new().await;
    let (url, name) = (tasks(&r).await, format!("users/{ALICE}/Tasks"));
    post(&r, &url, &json!({"title": "Lost"})).await;
    let now = r.again().await;
    let (_, view) = r.view(now).await;
    r.setting.sim.wipe_items(ALICE);
    let plan = only(plan_at(&r, now, &name, in_place(Conflict::Skip)).await, "Lost");
    let mut created = Vec::new();
    for door in ["/tasks ", "/tasks?", ""] {
        match door {
            "/tasks " => lose(&r, door, None),
            "/tasks?" => strike(&r, door, 403, None),
            _ => {}
        }
        created.push(run(&plan, &view, &r.client, &r.around()).await.unwrap().created);
        r.setting.sim.clear_faults();
        assert_eq!(called(&r, &name, "Lost"), 1, "{created:?}");
    }
    assert_eq!(created, [0, 0, 1]);
}

/// Somebody with two tasks that are alike: the address of the tasks, the name of what holds them, and the snapshot's day.
async fn two_alike() -> (Restorer, String, String, usize) {
    let r = Restorer::new().await;
    let (url, name) = (tasks(&r).await, format!("users/{ALICE}/Tasks"));
    for _ in 0..2 {
        post(&r, &url, &json!({"title": "Alike"})).await;
    }
    let now = r.again().await;
    (r, url, name, now)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_are_alike_and_in_doubt_the_one_that_was_made_stands_for_one_however_often_the_run_goes_on() {
    let (r, _, name, now) = two_alike().await;
    let (_, view) = r.view(now).await;
    r.setting.sim.wipe_items(ALICE);
    let plan = only(plan_at(&r, now, &name, in_place(Conflict::Skip)).await, "Alike");
    lose(&r, "/tasks ", Some(1));
    let mut seen = Vec::new();
    for fails in [true, true, false] {
        if fails {
            strike(&r, "/tasks ", 500, None);
        }
        let created = run(&plan, &view, &r.client, &r.around()).await.unwrap().created;
        r.setting.sim.clear_faults();
        seen.push((created, called(&r, &name, "Alike")));
    }
    assert_eq!(seen, [(0, 1), (1, 1), (2, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_went_is_not_taken_for_the_one_that_is_missing() {
    let r = Restorer::new().await;
    let (url, name) = (tasks(&r).await, format!("users/{ALICE}/Tasks"));
    post(&r, &url, &json!({"title": "Alike"})).await;
    let gone = format!("users/{ALICE}/{url}/{}", id(&post(&r, &url, &json!({"title": "Alike"})).await));
    let now = r.again().await;
    let (_, view) = r.view(now).await;
    r.client.send(GraphRequest::delete(mailbox(), gone).prefer(IMMUTABLE_IDS)).await.unwrap();
    let plan = only(plan_at(&r, now, &name, in_place(Conflict::Skip)).await, "Alike");
    assert_eq!(plan.counts().create, 1, "{:?}", plan.steps);
    strike(&r, "/tasks ", 500, None);
    assert_eq!(run(&plan, &view, &r.client, &r.around()).await.unwrap().created, 0);
    r.setting.sim.clear_faults();
    let report = run(&plan, &view, &r.client, &r.around()).await.unwrap();
    assert_eq!((report.created, called(&r, &name, "Alike")), (1, 2), "{:?}", report.notes);
}

/// One is there under another id when the plan is made, and nothing came till its run a day later.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_are_alike_and_one_there_the_other_comes_back_also_by_an_old_plan() {
    let (r, url, name, now) = two_alike().await;
    let (_, view) = r.view(now).await;
    for has_step in [true, false] {
        r.setting.sim.wipe_items(ALICE);
        post(&r, &url, &json!({"title": "Alike"})).await;
        let mut plan = only(plan_at(&r, now, &name, in_place(Conflict::Skip)).await, "Alike");
        assert_eq!((plan.counts().create, plan.counts().skip), (1, 1), "{:?}", plan.steps);
        if !has_step {
            plan.steps = plan.steps.iter().filter(|step| !matches!(step.action, Action::Skip(_))).collect();
        }
        plan.run.replace_range(.."20261120".len(), "20261119");
        let report = run(&plan, &view, &r.client, &r.around()).await.unwrap();
        assert_eq!((report.created, called(&r, &name, "Alike")), (1, 2), "{report:?}");
    }
}

/// None of them is there when the run goes on.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_are_alike_and_in_doubt_what_is_made_for_one_is_not_taken_for_the_other() {
    let (r, _, name, now) = two_alike().await;
    let (_, view) = r.view(now).await;
    r.setting.sim.wipe_items(ALICE);
    let plan = only(plan_at(&r, now, &name, in_place(Conflict::Skip)).await, "Alike");
    strike(&r, "/tasks ", 500, None);
    assert_eq!(run(&plan, &view, &r.client, &r.around()).await.unwrap().created, 0);
    r.setting.sim.clear_faults();
    let report = run(&plan, &view, &r.client, &r.around()).await.unwrap();
    assert_eq!((report.created, called(&r, &name, "Alike")), (2, 2), "{:?}", report.notes);
}

/// The list came after the plan was made, and is used; nobody knows what became of the task in it.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_looked_for_when_it_was_taken_back_is_looked_for_when_it_is_taken_back_again() {
    let r = Restorer::new().await;
    let name = format!("users/{ALICE}/Tasks");
    let list = json!({"displayName": "Club"});
    let url = format!("todo/lists/{}/tasks", id(&post(&r, "todo/lists", &list).await));
    post(&r, &url, &json!({"title": "Lost"})).await;
    let now = r.again().await;
    let (_, view) = r.view(now).await;
    r.setting.sim.wipe_items(ALICE);
    let mut plan = plan_at(&r, now, &name, in_place(Conflict::Skip)).await;
    plan.steps = plan.steps.iter().filter(|step| ["Club", "Lost"].contains(&step.name.as_str())).collect();
    assert_eq!(plan.counts().create, 2, "{:?}", plan.steps);
    plan.run.replace_range(.."20261120".len(), "20261119");
    post(&r, "todo/lists", &list).await;
    lose(&r, "/tasks ", None);
    assert_eq!(run(&plan, &view, &r.client, &r.around()).await.unwrap().problems.len(), 1);
    r.setting.sim.clear_faults();
    assert_eq!(called(&r, &name, "Lost"), 1);
    for is_seen in [false, true] {
        if !is_seen {
            strike(&r, "/tasks?", 403, None);
        }
        let back = undo(&plan.run, Some(&view), &r.client, &r.around()).await.unwrap();
        r.setting.sim.clear_faults();
        assert_eq!((back.undone, back.left.len(), called(&r, &name, "Lost")), (0, 1, 1), "{is_seen}: {back:?}");
    }
}
