//! Tasks of Planner that are there and are overwritten: they hold what the snapshot's hold and nothing else, and undo puts that back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tenantvault::graph::{GraphRequest, Scope};
use tenantvault::ops::restore::{Conflict, undo};
use tenantvault::sim::SimOptions;

use crate::restore::{Restorer, in_place};
use crate::restore_halves::things;

fn url(id: &str) -> String {
    format!("planner/tasks/{id}")
}

fn details(id: &str) -> String {
    format!("planner/tasks/{id}/details")
}

async fn get(r: &Restorer, url: String) -> Value {
    r.client.get_json(GraphRequest::get(Scope::Planner, url)).await.unwrap()
}

async fn patch(r: &Restorer, url: String, body: Value) {
    let there = get(r, url.clone()).await;
    let tag = there["@odata.etag"].as_str().unwrap();
    r.client.send(GraphRequest::patch(Scope::Planner, url, &body).header("If-Match", tag)).await.unwrap();
}

/// What people see of a task, but for the order of what is in it.
async fn held(r: &Restorer, id: &str) -> Value {
    let (task, details) = (get(r, url(id)).await, get(r, details(id)).await);
    let names = |map: &Value| map.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let shown = |map: &Value, key: &str| -> BTreeMap<String, Value> {
        map.as_object().unwrap().iter().map(|(name, one)| (name.clone(), one[key].clone())).collect()
    };
    json!({
        "title": task["title"], "start": task["startDateTime"], "due": task["dueDateTime"],
        "who": names(&task["assignments"]), "labels": task["appliedCategories"], "text": details["description"],
        "steps": shown(&details["checklist"], "title"), "links": shown(&details["references"], "alias"),
    })
}

/// Changes all of a task: what it had goes, and it gets what it had not.
async fn change(r: &Restorer, id: &str) {
    let (task, inside) = (get(r, url(id)).await, get(r, details(id)).await);
    let without = |map: &Value, more: (&str, Value)| {
        let mut map = map.as_object().unwrap().clone();
        map.values_mut().for_each(|one| *one = Value::Null);
        map.insert(more.0.to_owned(), more.1);
        Value::from(map)
    };
    let date = |name: &str| if task[name].is_null() { json!("2026-12-01T08:00:00Z") } else { Value::Null };
    let kind = |name: &str| json!(format!("#microsoft.graph.{name}"));
    let who = json!({"@odata.type": kind("plannerAssignment"), "orderHint": " !"});
    let body = json!({
        "startDateTime": date("startDateTime"), "dueDateTime": date("dueDateTime"),
        "assignments": without(&task["assignments"], ("6f1d6c3a-0000-4000-8000-000000000001", who)),
        "appliedCategories": {"category1": false, "category2": true},
    });
    patch(r, url(id), body).await;
    let step = json!({"@odata.type": kind("plannerChecklistItem"), "title": "Theirs", "isChecked": false});
    let link = json!({"@odata.type": kind("plannerExternalReference"), "alias": "Theirs", "type": "Other"});
    let body = json!({
        "description": "Theirs",
        "checklist": without(&inside["checklist"], ("6f1d6c3a-0000-4000-8000-000000000002", step)),
        "references": without(&inside["references"], ("https%3A//theirs%2Eexample", link)),
    });
    patch(r, details(id), body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_overwritten_holds_what_the_snapshot_held_and_undo_puts_back_the_rest() {
    let r = Restorer::with(SimOptions { groups: 2, ..SimOptions::tiny() }, 2, |_| ()).await;
    let all = r.setting.sim.expected().collections;
    let is_task = |kind: &str| kind == "plannerTask";
    let plans = all.iter().find(|(key, c)| key.ends_with("/planner") && c.things.iter().any(|one| is_task(one.kind)));
    let name = plans.expect("plans").1.name.clone();
    let tasks: Vec<String> =
        things(&r, &name).into_values().filter(|one| is_task(one.kind)).map(|one| one.id).take(6).collect();
    let (mut was, mut theirs) = (Vec::new(), Vec::new());
    for id in &tasks {
        was.push(held(&r, id).await);
        change(&r, id).await;
        theirs.push(held(&r, id).await);
    }
    assert!(was.iter().any(|task| task["due"].is_null()) && was.iter().any(|task| task["due"].is_string()), "{was:?}");
    for (was, theirs) in was.iter().zip(&theirs) {
        for name in ["start", "due", "who", "labels", "text", "steps", "links"] {
            assert_ne!(was[name], theirs[name], "{name}");
        }
    }
    let plan = r.plan(&name, "original", in_place(Conflict::Replace)).await.unwrap();
    let report = r.run(&plan).await.unwrap();
    assert!(report.problems.is_empty() && report.overwritten >= tasks.len() as u64, "{report:?}");
    for (id, was) in tasks.iter().zip(&was) {
        assert_eq!(held(&r, id).await, *was);
    }
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert!(back.left.is_empty(), "{:?}", back.left);
    for (id, theirs) in tasks.iter().zip(&theirs) {
        assert_eq!(held(&r, id).await, *theirs);
    }
}
