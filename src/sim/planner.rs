//! Planner: the plans of a group, buckets, tasks, and the details of both.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Map, Value, json};

use super::app::App;
use super::contacts::object;
use super::letter::Cast;
use super::options::SimOptions;
use super::query::Request;
use super::reply::{Answer, Reply};
use super::rng::{Rng, guid, hash};
use super::row_lists::{self, List};
use super::shelf::{self, Kind, Shelf, TOP};
use super::state::World;
use super::{times, words};

/// A plan.
pub(super) static PLAN: Kind = Kind { name: "plannerPlan", id, json: plan_json, content: shelf::nothing };
/// A bucket of a plan.
pub(super) static BUCKET: Kind = Kind { name: "plannerBucket", id, json: bucket_json, content: shelf::nothing };
/// A task: in a bucket, or in none. Its mark counts changes of its details that the task itself does not show.
pub(super) static TASK: Kind = Kind { name: "plannerTask", id, json: task_json, content: shelf::nothing };

/// The number of the plan that always stays.
const FIRST_PLAN: u32 = 0;

/// An id of Planner: 28 characters.
fn id(seed: u64, number: u32) -> String {
    let raw: Vec<u8> = (0..3u64).flat_map(|i| hash(seed, &[number.into(), i]).to_le_bytes()).take(21).collect();
    B64.encode(raw)
}

/// Makes the plans of a group.
pub(super) fn populate(options: &SimOptions, seed: u64) -> Shelf {
    let mut shelf = Shelf::new(seed);
    let mut rng = Rng::new(shelf.seed, &[1]);
    for _ in 0..1 + rng.below(3) {
        let plan = shelf.add(&PLAN, TOP, times::EPOCH - 200 * times::DAY, 0);
        let buckets: Vec<u32> = (0..3).map(|_| shelf.add(&BUCKET, plan, times::EPOCH - 190 * times::DAY, 0)).collect();
        for _ in 0..options.contacts.min(40) {
            let parent = if rng.chance(0.1) { plan } else { *rng.pick(&buckets) };
            shelf.add(&TASK, parent, times::EPOCH - 60 - rng.below(150) as i64 * times::DAY, 0);
        }
    }
    shelf.begin();
    shelf
}

/// What a day brings.
pub(super) fn day(shelf: &mut Shelf, options: &SimOptions, now: i64, rng: &mut Rng) {
    for _ in 0..options.script.others {
        let bucket = shelf.any(&BUCKET, rng).unwrap_or(FIRST_PLAN);
        shelf.add(&TASK, bucket, now - 60, 0);
        if let Some(task) = shelf.any(&TASK, rng) {
            shelf.edit(task, now);
        }
        if let Some(task) = shelf.any(&TASK, rng) {
            shelf.things[task as usize].mark += 1;
        }
    }
    for _ in 0..options.script.others.div_ceil(2) {
        if let (Some(task), Some(bucket)) = (shelf.any(&TASK, rng), shelf.any(&BUCKET, rng)) {
            shelf.relocate(task, bucket, now);
        }
        if let Some(task) = shelf.any(&TASK, rng) {
            shelf.delete(task);
        }
        match shelf.any(&PLAN, rng) {
            Some(plan) if rng.chance(0.5) => shelf.edit(plan, now),
            _ => drop(shelf.add(&BUCKET, FIRST_PLAN, now, 0)),
        }
        let second = shelf.all(&PLAN).find(|plan| *plan != FIRST_PLAN);
        if let Some(plan) = second.filter(|_| rng.chance(0.1)) {
            shelf.delete(plan);
        }
    }
}

fn plan_of(shelf: &Shelf, number: u32) -> u32 {
    match shelf.thing(number).parent {
        TOP => number,
        parent => plan_of(shelf, parent),
    }
}

fn etag(shelf: &Shelf, number: u32) -> String {
    format!("W/\"{}\"", shelf.change_key(number))
}

fn plan_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut rng = shelf.rng(number);
    let group = guid(hash(shelf.seed, &[0x1d]));
    let who = guid(rng.next());
    object(json!({
        "@odata.etag": etag(shelf, number),
        "createdDateTime": times::graph(shelf.thing(number).created),
        "owner": group,
        "title": words::title(&mut rng, 2),
        "id": shelf.id(number),
        "createdBy": {"user": {"displayName": null, "id": who}, "application": {"displayName": null, "id": guid(9)}},
        "container": {"containerId": group, "type": "group", "url": format!("https://graph.microsoft.com/v1.0/groups/{group}")},
        "details": {
            "@odata.etag": etag(shelf, number),
            "id": shelf.id(number),
            "sharedWith": {guid(rng.next()): true},
            "categoryDescriptions": {"category1": words::title(&mut rng, 1), "category2": null},
        },
    }))
}

fn bucket_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    object(json!({
        "@odata.etag": etag(shelf, number),
        "name": words::title(&mut shelf.rng(number), 1),
        "planId": shelf.id(plan_of(shelf, number)),
        "orderHint": format!("85752723360752{number}+"),
        "id": shelf.id(number),
    }))
}

fn task_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let mut rng = shelf.rng(number);
    let plan = plan_of(shelf, number);
    let bucket = if thing.parent == plan { Value::Null } else { json!(shelf.id(thing.parent)) };
    let title = words::title(&mut rng, 3);
    let who = guid(rng.next());
    let percent = *rng.pick(&[0, 50, 100]);
    let done = (percent == 100).then(|| times::graph(thing.changed));
    object(json!({
        "@odata.etag": etag(shelf, number),
        "planId": shelf.id(plan),
        "bucketId": bucket,
        "title": title,
        "orderHint": format!("92233706095461{number:05}W"),
        "assigneePriority": "90057581\"",
        "percentComplete": percent,
        "startDateTime": null,
        "createdDateTime": times::graph(thing.created),
        "dueDateTime": if rng.chance(0.5) { json!("2026-12-24T10:00:00Z") } else { json!(null) },
        "hasDescription": true,
        "previewType": "automatic",
        "completedDateTime": done,
        "completedBy": null,
        "referenceCount": 1,
        "checklistItemCount": 1,
        "activeChecklistItemCount": 1,
        "conversationThreadId": null,
        "priority": 5,
        "id": shelf.id(number),
        "createdBy": {"user": {"displayName": null, "id": who}},
        "appliedCategories": {"category1": true},
        "assignments": {who: {"@odata.type": "#microsoft.graph.plannerAssignment", "assignedDateTime": times::graph(thing.created), "orderHint": "RWk1"}},
        "details": {
            "@odata.etag": format!("W/\"details-{}\"", thing.mark),
            "id": shelf.id(number),
            // The text changes without the task.
            "description": format!("Step {} of many\n{}", thing.mark, words::FOREIGN[number as usize % words::FOREIGN.len()]),
            "previewType": "automatic",
            "references": {"https%3A//contoso%2Ecom/a": {"@odata.type": "#microsoft.graph.plannerExternalReference", "alias": "Site", "type": "Other"}},
            "checklist": {guid(number.into()): {"@odata.type": "#microsoft.graph.plannerChecklistItem", "isChecked": false, "title": "Check", "orderHint": "85870947P]"}},
        },
    }))
}

fn not_found() -> Reply {
    Reply::fail(404, "", "The requested item is not found.")
}

/// The group and number of a plan or task that is there.
pub(super) fn find(world: &World, kind: &Kind, id: &str) -> Answer<(usize, u32)> {
    let groups = world.groups.iter().enumerate().filter(|(_, group)| group.present);
    let mut found = groups.filter_map(|(index, group)| Some((index, group.plans.find(kind, id)?)));
    found.next().ok_or_else(not_found)
}

/// Numbers as rows; without details unless they are asked for.
fn rows(app: &App, request: &Request, (shelf, kind): (&Shelf, &Kind), numbers: Vec<u32>) -> Answer<Vec<Value>> {
    request.allow(&["$select", "$top", "$skiptoken", "$expand", "$count"])?;
    let details = match request.option("$expand") {
        None => false,
        Some("details") if kind.name != BUCKET.name => true,
        Some(other) => {
            let text = format!("Could not find a property named '{other}' on type 'microsoft.graph.{}'.", kind.name);
            return Err(Reply::fail(400, "", &text));
        }
    };
    let row = |number: u32| {
        let mut row = shelf.json(&app.cast, number);
        if !details {
            row.shift_remove("details");
        }
        row_lists::selected(request, kind.name, row, &[])
    };
    numbers.into_iter().map(row).collect()
}

/// `GET /groups/{id}/planner/plans`
pub(super) fn plans(app: &App, request: &Request, group: usize) -> Answer {
    let world = app.read();
    let shelf = &world.groups[group].plans;
    let rows = rows(app, request, (shelf, &PLAN), shelf.all(&PLAN).collect())?;
    let context = format!("groups('{}')/planner/plans", world.groups[group].id);
    row_lists::page(app, request, &List { entity: PLAN.name, page: (100, 400), context: &context, path: "" }, rows)
}

/// `GET /planner/plans/{id}/buckets` and `…/tasks`
pub(super) fn of_plan(app: &App, request: &Request, plan: &str, kind: &'static Kind) -> Answer {
    let world = app.read();
    let (group, plan) = find(&world, &PLAN, plan)?;
    let shelf = &world.groups[group].plans;
    let numbers: Vec<u32> = shelf.all(kind).filter(|number| plan_of(shelf, *number) == plan).collect();
    let rows = rows(app, request, (shelf, kind), numbers)?;
    row_lists::page(app, request, &List { entity: kind.name, page: (5, 400), context: "planner", path: "" }, rows)
}

/// `GET /planner/plans/{id}`, `/planner/buckets/{id}`, `/planner/tasks/{id}`
pub(super) fn one(app: &App, request: &Request, kind: &'static Kind, id: &str) -> Answer {
    let world = app.read();
    let (group, number) = find(&world, kind, id)?;
    let mut rows = rows(app, request, (&world.groups[group].plans, kind), vec![number])?;
    Ok(row_lists::single(app, &format!("planner/{}s/$entity", kind.name), rows.swap_remove(0)))
}

/// `GET /planner/plans/{id}/details` and `/planner/tasks/{id}/details`
pub(super) fn details(app: &App, request: &Request, kind: &Kind, id: &str) -> Answer {
    request.allow(&["$select"])?;
    let world = app.read();
    let (group, number) = find(&world, kind, id)?;
    let mut row = world.groups[group].plans.json(&app.cast, number);
    let details = row.shift_remove("details").unwrap_or_default();
    Ok(row_lists::single(app, &format!("planner/{}Details/$entity", kind.name), details))
}
