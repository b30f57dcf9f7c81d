//! Planner as clients write it: plans, buckets, tasks and their details. Changing and deleting needs the present tag.

use serde_json::{Map, Value, json};

use super::app::App;
use super::contacts::object;
use super::doors::{Door, New, create, gone, shown};
use super::groups;
use super::planner::{BUCKET, PLAN, TASK, find};
use super::query::Request;
use super::reply::{Answer, Reply};
use super::route::Route;
use super::schema::Entity;
use super::settings::merge;
use super::shelf::{Kind, Shelf, TOP};

const ROLES: &[&str] = &["Tasks.ReadWrite.All"];

static PLAN_ENTITY: Entity = Entity {
    name: "plannerPlan",
    read_only: &["createdBy", "createdDateTime", "owner"],
    required: &["title"],
    beside: &[],
};
static BUCKET_ENTITY: Entity =
    Entity { name: "plannerBucket", read_only: &[], required: &["name", "planId"], beside: &[] };
static TASK_ENTITY: Entity = Entity {
    name: "plannerTask",
    read_only: &[
        "activeChecklistItemCount",
        "checklistItemCount",
        "completedBy",
        "completedDateTime",
        "createdBy",
        "createdDateTime",
        "hasDescription",
        "referenceCount",
    ],
    required: &["title", "planId"],
    beside: &[],
};
static PLAN_DETAILS: Entity = Entity { name: "plannerPlanDetails", read_only: &[], required: &[], beside: &[] };
static TASK_DETAILS: Entity = Entity { name: "plannerTaskDetails", read_only: &[], required: &[], beside: &[] };

pub(super) const DOORS: &[Door] = &[
    Door { method: "POST", path: "/planner/plans", roles: ROLES, run: add_plan },
    Door { method: "POST", path: "/planner/buckets", roles: ROLES, run: add_bucket },
    Door { method: "POST", path: "/planner/tasks", roles: ROLES, run: add_task },
    Door { method: "PATCH", path: "/planner/plans/{id}/details", roles: ROLES, run: change_details },
    Door { method: "PATCH", path: "/planner/tasks/{id}/details", roles: ROLES, run: change_details },
    Door { method: "PATCH", path: "/planner/tasks/{id}", roles: ROLES, run: change_task },
    Door { method: "DELETE", path: "/planner/plans/{id}", roles: ROLES, run: remove },
    Door { method: "DELETE", path: "/planner/buckets/{id}", roles: ROLES, run: remove },
    Door { method: "DELETE", path: "/planner/tasks/{id}", roles: ROLES, run: remove },
];

fn answer(app: &App, status: u16, shelf: &Shelf, number: u32) -> Reply {
    let mut json = shelf.json(&app.cast, number);
    json.shift_remove("details");
    shown(app, status, &format!("planner/{}s", shelf.thing(number).kind.name), json)
}

fn refused(text: &str) -> Reply {
    Reply::fail(400, "", text)
}

/// Refuses a request that does not name the present tag of what it changes.
fn unchanged(request: &Request, json: &Value) -> Answer<()> {
    let given = request.header("if-match").ok_or_else(|| refused("The If-Match header must be specified."))?;
    if json["@odata.etag"] == given {
        return Ok(());
    }
    Err(Reply::fail(412, "", "The requested item has been modified. Please refresh and try again."))
}

fn add_plan(app: &App, request: &Request, _: &Route) -> Answer {
    let mut body = PLAN_ENTITY.new_body(request)?;
    let container = body.shift_remove("container").unwrap_or_default();
    let url = container["url"].as_str().unwrap_or_default();
    let id = url.rsplit_once("/groups/").map(|(_, id)| id).ok_or_else(|| refused("The container is not valid."))?;
    let mut world = app.write();
    let group = groups::find(&world, id)?;
    let now = world.now();
    let shelf = &mut world.groups[group].plans;
    let number = create(&app.cast, shelf, new(&PLAN_ENTITY, &PLAN, TOP), body, now);
    let made = shelf.json(&app.cast, number);
    // A plan begins without any of what random ones have.
    let mut details = made["details"].clone();
    details["sharedWith"] = json!({});
    details["categoryDescriptions"] = json!({});
    let container = plan_container(&world.groups[group].id);
    let shelf = &mut world.groups[group].plans;
    let given = &mut shelf.things[number as usize].given;
    given.insert("details".into(), details);
    given.insert("container".into(), container);
    Ok(answer(app, 201, shelf, number))
}

fn plan_container(group: &str) -> Value {
    json!({"containerId": group, "type": "group", "url": format!("https://graph.microsoft.com/v1.0/groups/{group}")})
}

fn new(entity: &'static Entity, kind: &'static Kind, parent: u32) -> New<'static> {
    New { entity, kind, parent, mark: 0, usual: Value::Null }
}

fn add_bucket(app: &App, request: &Request, _: &Route) -> Answer {
    let body = BUCKET_ENTITY.new_body(request)?;
    let mut world = app.write();
    let (group, plan) = find(&world, &PLAN, body["planId"].as_str().unwrap_or_default())?;
    let now = world.now();
    let shelf = &mut world.groups[group].plans;
    let mut new = new(&BUCKET_ENTITY, &BUCKET, plan);
    new.usual = json!({"orderHint": "8585000000000000000P|"});
    let number = create(&app.cast, shelf, new, body, now);
    Ok(answer(app, 201, shelf, number))
}

fn add_task(app: &App, request: &Request, _: &Route) -> Answer {
    let body = TASK_ENTITY.new_body(request)?;
    let mut world = app.write();
    let (group, plan) = find(&world, &PLAN, body["planId"].as_str().unwrap_or_default())?;
    let now = world.now();
    let shelf = &mut world.groups[group].plans;
    let parent = match body.get("bucketId").and_then(Value::as_str) {
        Some(id) => shelf.find(&BUCKET, id).filter(|bucket| shelf.thing(*bucket).parent == plan),
        None => Some(plan),
    };
    let parent = parent.ok_or_else(|| refused("The bucket is not one of the plan."))?;
    let mut new = new(&TASK_ENTITY, &TASK, parent);
    new.usual = json!({
        "percentComplete": 0, "priority": 5, "previewType": "automatic", "orderHint": "8585000000000000000P|",
        "assigneePriority": "", "assignments": {}, "appliedCategories": {},
    });
    let number = create(&app.cast, shelf, new, body, now);
    let id = shelf.id(number);
    let details = json!({
        "@odata.etag": "W/\"details-new\"", "id": id, "description": "", "previewType": "automatic", "references": {},
        "checklist": {},
    });
    let done = shelf.thing(number).given.get("percentComplete") == Some(&json!(100));
    let completed = if done { json!(super::times::graph(now)) } else { Value::Null };
    let given = &mut shelf.things[number as usize].given;
    given.insert("details".into(), details);
    given.insert("completedDateTime".into(), completed);
    Ok(answer(app, 201, shelf, number))
}

/// What something says now, without what goes its own way: a change of one thing leaves all others as they are.
fn kept(mut json: Map<String, Value>) -> Map<String, Value> {
    json.retain(|name, _| {
        !matches!(name.as_str(), "@odata.etag" | "bucketId" | "details" | "id" | "orderHint" | "planId")
    });
    json
}

/// Puts entries over those of a map: a null takes one out, and so does `false` with a label.
fn put_entries(there: &mut Value, entries: Value) {
    merge(there, entries);
    if let Value::Object(all) = there {
        all.retain(|_, one| !one.is_null() && *one != json!(false));
    }
}

/// What a task tells of its details.
fn counts(details: &Value) -> Map<String, Value> {
    let all = |list: &str| details[list].as_object().into_iter().flat_map(Map::values).collect::<Vec<_>>();
    let (steps, references) = (all("checklist"), all("references"));
    let open = steps.iter().filter(|step| step["isChecked"] != json!(true)).count();
    object(json!({
        "activeChecklistItemCount": open,
        "checklistItemCount": steps.len(),
        "hasDescription": details["description"].as_str().is_some_and(|text| !text.is_empty()),
        "referenceCount": references.len(),
    }))
}

fn change_details(app: &App, request: &Request, route: &Route) -> Answer {
    let (kind, entity) = match route.template.starts_with("/planner/plans") {
        true => (&PLAN, &PLAN_DETAILS),
        false => (&TASK, &TASK_DETAILS),
    };
    let mut body = entity.body(request)?;
    let mut world = app.write();
    let (group, number) = find(&world, kind, route.id(0))?;
    let now = world.now();
    let shelf = &mut world.groups[group].plans;
    let there = shelf.json(&app.cast, number);
    let mut details = there.get("details").cloned().unwrap_or_default();
    unchanged(request, &details)?;
    for list in ["checklist", "references"] {
        if let Some(entries) = body.shift_remove(list) {
            put_entries(&mut details[list], entries);
        }
    }
    merge(&mut details, Value::Object(body));
    let revision = shelf.thing(number).revision + 1;
    details["@odata.etag"] = format!("W/\"details-{number}-{revision}\"").into();
    let mut given = kept(there);
    if kind.name == TASK.name {
        given.extend(counts(&details));
    }
    given.insert("details".to_owned(), details.clone());
    shelf.write(number, given, now);
    Ok(shown(app, 200, &format!("planner/{}", entity.name), object(details)))
}

fn change_task(app: &App, request: &Request, route: &Route) -> Answer {
    let body: Map<String, Value> = TASK_ENTITY.body(request)?;
    let mut world = app.write();
    let (group, number) = find(&world, &TASK, route.id(0))?;
    let now = world.now();
    let shelf = &mut world.groups[group].plans;
    let there = shelf.json(&app.cast, number);
    unchanged(request, &Value::Object(there.clone()))?;
    let mut given = kept(there);
    if let Some(percent) = body.get("percentComplete").filter(|percent| given.get("percentComplete") != Some(*percent))
    {
        let completed = if *percent == json!(100) { json!(super::times::graph(now)) } else { Value::Null };
        given.insert("completedDateTime".into(), completed);
    }
    let mut bucket = None;
    for (name, value) in body {
        match name.as_str() {
            "appliedCategories" | "assignments" => put_entries(given.entry(name).or_insert(Value::Null), value),
            "bucketId" => bucket = value.as_str().map(str::to_owned),
            _ => drop(given.insert(name, value)),
        }
    }
    shelf.write(number, given, now);
    if let Some(bucket) = bucket {
        // Where it is says its bucket, and no longer what it was made with.
        shelf.things[number as usize].given.shift_remove("bucketId");
        shelf.carry(route.id(0), &bucket, now);
    }
    Ok(answer(app, 200, shelf, number))
}

fn remove(app: &App, request: &Request, route: &Route) -> Answer {
    let kind = match route.template {
        "/planner/plans/{id}" => &PLAN,
        "/planner/buckets/{id}" => &BUCKET,
        _ => &TASK,
    };
    let mut world = app.write();
    let (group, number) = find(&world, kind, route.id(0))?;
    let shelf = &mut world.groups[group].plans;
    unchanged(request, &Value::Object(shelf.json(&app.cast, number)))?;
    Ok(gone(shelf, number))
}
