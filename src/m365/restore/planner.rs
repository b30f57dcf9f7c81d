//! Planner goes back: plans with their details, buckets, tasks with their details, in the plans of a group.
//!
//! Whoever is assigned a task may get a notice of Planner's, as with any task. Comments live in the group's conversations, and
//! attachments are links. Source: Microsoft Graph, "Create plannerPlan", "Create plannerBucket", "Create plannerTask", "Update
//! plannerTaskDetails".

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::Destination;
use super::door::{Cost, Fit, Found, Made, Order, Present, Since, Source, Target, Undo};
use super::rows;
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope};
use crate::m365::door::{Owner, Workload};
use crate::m365::facts::text;
use crate::m365::walk::{Told, id_of};

/// The maps of a task and of its details whose entries come and go one by one.
const MAPS: &[&str] = &[LABELS, "assignments", "checklist", "references"];
const LABELS: &str = "appliedCategories";
/// What of a task can be set.
const TASK: &[&str] = &[
    "appliedCategories",
    "assignments",
    "dueDateTime",
    "percentComplete",
    "previewType",
    "priority",
    "startDateTime",
    "title",
];
/// What of a task is looked at before it is taken back: not what Planner itself writes on.
const TASK_STATE: &[&str] = &["dueDateTime", "percentComplete", "priority", "startDateTime", "title"];
/// What of a task's details can be set.
const TASK_DETAILS: &[&str] = &["checklist", "description", "previewType", "references"];
/// What of them is looked at before the task is taken back; the part of a task that they are.
const HELD: &[&str] = &["checklist", "description", "references"];
const DETAILS: &str = "details";
/// The part of a task that tells in which bucket it was made.
const BUCKET: &str = "bucket";
/// What of a plan's details can be set.
const PLAN_DETAILS: &[&str] = &["categoryDescriptions", "sharedWith"];
/// The same where people are not sent.
const WITHOUT_PEOPLE: &[&str] = &["categoryDescriptions"];
/// Tells Planner to put something at the end of its list.
const AT_THE_END: &str = " !";

/// The plans of a group.
pub(super) struct Planner {
    client: Client,
    group: String,
    path: String,
    original: bool,
}

impl Planner {
    /// The plans of a destination.
    ///
    /// # Errors
    /// `InvalidInput` if the owner has no group.
    pub(super) fn new(client: &Client, to: &Destination) -> Result<Self> {
        let (Owner::Group(group) | Owner::Team(group)) = &to.owner else {
            return Err(Error::invalid(format!("Plans can go into a group or team only, not into {}", to.name))
                .with_hint("name a team with --to"));
        };
        let path = format!("{}/{}/{}", to.owner.word(), to.name, Workload::Planner.title());
        Ok(Self { client: client.clone(), group: group.clone(), path, original: to.original })
    }
}

fn get(url: &str) -> GraphRequest {
    GraphRequest::get(Scope::Planner, url)
}

fn url_of(kind: ItemKind, id: &str) -> String {
    let list = match kind {
        ItemKind::Plan => "plans",
        ItemKind::Bucket => "buckets",
        _ => "tasks",
    };
    format!("planner/{list}/{}", segment(id))
}

#[async_trait]
impl Target for Planner {
    fn workload(&self) -> Workload {
        Workload::Planner
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn scope(&self) -> Scope {
        Scope::Planner
    }

    fn permission(&self) -> &'static str {
        "Tasks.ReadWrite.All"
    }

    fn takes_folder(&self) -> bool {
        false
    }

    fn tells_changes(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<()> {
        self.client.get_page(get(&format!("groups/{}/planner/plans", segment(&self.group)))).await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::Plan | ItemKind::Task => Fit::Takes(Cost { requests: 3, units: 3, bytes: 1_000 }),
            ItemKind::Bucket => Fit::Takes(Cost { requests: 1, units: 1, bytes: 200 }),
            kind => Fit::Cannot(format!("a {} is no part of a plan", kind.word())),
        }
    }

    fn identity(&self, record: &Record) -> String {
        record.name.to_lowercase()
    }

    fn state(&self, _: &Record) -> String {
        String::new()
    }

    async fn present(&self, parent: &str) -> Result<Vec<Present>> {
        let told: Vec<Told> = match parent.split_once('/') {
            None if parent.is_empty() => {
                let url = format!("groups/{}/planner/plans", segment(&self.group));
                let rows = self.client.get_all(get(&url)).await?;
                rows.into_iter().filter_map(|row| told(ItemKind::Plan, row, "", "title")).collect()
            }
            None => {
                let of_plan = url_of(ItemKind::Plan, parent);
                let buckets = self.client.get_all(get(&format!("{of_plan}/buckets"))).await?;
                let tasks = self.tasks(parent, None).await?;
                let buckets = buckets.into_iter().filter_map(|row| told(ItemKind::Bucket, row, parent, "name"));
                buckets.chain(tasks.into_iter().filter_map(|row| told(ItemKind::Task, row, "", "title"))).collect()
            }
            Some((plan, bucket)) => {
                let tasks = self.tasks(plan, Some(bucket)).await?;
                tasks.into_iter().filter_map(|row| told(ItemKind::Task, row, "", "title")).collect()
            }
        };
        Ok(told.into_iter().map(|told| rows::present(self, told)).collect())
    }

    async fn create_top(&self, _: &str) -> Result<Made> {
        Err(rows::no_place(ItemKind::Plan))
    }

    async fn find_top(&self, _: &str) -> Result<Option<Made>> {
        Ok(None)
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let mut json = source.properties(order.record).await?;
        let notes = if self.original { Vec::new() } else { leave_people_out(&mut json) };
        let (url, body) = match order.record.kind {
            ItemKind::Plan => {
                let container = format!("https://graph.microsoft.com/v1.0/groups/{}", self.group);
                ("planner/plans", json!({"title": order.name, "container": {"url": container}}))
            }
            ItemKind::Bucket => {
                let body = json!({"name": order.name, "planId": order.parent, "orderHint": AT_THE_END});
                ("planner/buckets", body)
            }
            _ => ("planner/tasks", Value::Object(task(&json, order))),
        };
        let answer = self.client.send(GraphRequest::post(Scope::Planner, url, &body)).await?;
        let id = rows::new_id(&answer)?;
        let id = self.named(order, &id);
        let kind = order.record.kind;
        let mut made = Made { notes, ..Made::new(kind, &id, order.parent) };
        if kind != ItemKind::Bucket {
            rows::note(&made, order).await?;
        }
        let has_details = self.details(kind, &id, &json).await?;
        if kind == ItemKind::Task {
            made.state = rows::state(&answer, TASK_STATE);
            made.tell(BUCKET, text(&answer, &["bucketId"]).unwrap_or_default());
            let details = match has_details {
                true => self.details_now(&id).await.unwrap_or_default(),
                false => held(&Value::Null),
            };
            made.tell(DETAILS, &details);
        }
        Ok(made)
    }

    async fn overwrite(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let kind = order.record.kind;
        if kind != ItemKind::Task {
            return Ok(Made { id: present.to_owned(), ..Made::default() });
        }
        let json = source.properties(order.record).await?;
        let url = url_of(kind, present);
        let there = self.client.get_json(get(&url)).await?;
        let details = self.client.get_json(get(&format!("{url}/details"))).await?;
        let (mut values, mut values_before) = (rows::settable(&json, TASK), rows::settable(&there, TASK));
        clear_each_other(&mut values, &mut values_before);
        let mut details_before = rows::settable(&details, TASK_DETAILS);
        // Where the snapshot has no details of it, those that are there stay.
        let own = json.get("details").filter(|details| details.is_object());
        let mut wanted = own.map(|details| rows::settable(details, TASK_DETAILS));
        if let Some(wanted) = &mut wanted {
            clear_each_other(wanted, &mut details_before);
        }
        let before = json!({"values": values_before, "details": details_before});
        let undo = order.log.note(Undo::Values { kind, id: present.to_owned(), before }).await?;
        self.patch(&url, &there, &sent(values, &there).into()).await?;
        self.put_details(kind, present, wanted.unwrap_or_default()).await?;
        let now = self.client.get_json(get(&url)).await?;
        let mut made = Made { state: rows::state(&now, TASK_STATE), ..Made::over(present, undo) };
        made.tell(DETAILS, &self.details_now(present).await.unwrap_or_default());
        Ok(made)
    }

    async fn find(&self, order: Order<'_>, source: &dyn Source) -> Result<Found> {
        let wanted = order.name.to_lowercase();
        let there = self.present(order.parent).await?;
        // Tasks may bear one name.
        let is_it = |one: &&Present| one.identity == wanted && one.kind == order.record.kind;
        let alike = there.iter().filter(is_it).map(|one| one.id.as_str()).collect();
        let Some(id) = rows::free(alike, order, source).await? else { return Ok(Found::Nothing) };
        if !order.only_looks {
            let json = source.properties(order.record).await?;
            self.details(order.record.kind, id, &json).await?;
        }
        Ok(rows::as_it_should_be(id.to_owned()))
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        let (Undo::Delete { kind, id, .. } | Undo::Values { kind, id, .. }) = undo else { return Ok(false) };
        if *kind != ItemKind::Task {
            return Ok(false);
        }
        let now = match self.client.get_json(get(&url_of(*kind, id))).await {
            Err(error) if rows::is_gone(&error) => return Ok(false),
            other => other?,
        };
        let differs = !since.own().is_empty() && rows::state(&now, TASK_STATE) != since.own();
        let bucket = since.of(BUCKET);
        let was_moved = !bucket.is_empty() && text(&now, &["bucketId"]) != Some(bucket);
        Ok(differs || was_moved || rows::part_differs(since.of(DETAILS), self.details_now(id)).await?)
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        match undo {
            Undo::Delete { kind, id, .. } => self.remove(*kind, id).await,
            Undo::Values { kind, id, before } => {
                let url = url_of(*kind, id);
                let there = match self.client.get_json(get(&url)).await {
                    Err(error) if rows::is_gone(&error) => return Ok(None),
                    other => other?,
                };
                let of = |part: &str| before.get(part).and_then(Value::as_object).cloned().unwrap_or_default();
                self.patch(&url, &there, &sent(of("values"), &there).into()).await?;
                self.put_details(*kind, id, of("details")).await?;
                Ok(None)
            }
            other => Ok(rows::left(other)),
        }
    }
}

fn told(kind: ItemKind, row: Value, parent: &str, name: &str) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    // A bucket is named with its plan: its tasks are listed there.
    let id = if kind == ItemKind::Bucket { format!("{parent}/{id}") } else { id };
    let name = text(&row, &[name]).unwrap_or_default().to_owned();
    Some(Told::new(kind, id, parent, &name, row).dated())
}

/// Takes out whom a task is assigned to and a plan shared with: elsewhere their ids may be nobody's. Says who that was.
fn leave_people_out(json: &mut Value) -> Vec<String> {
    let mut notes = Vec::new();
    for (place, said) in
        [("/assignments", "it is assigned to nobody"), ("/details/sharedWith", "it is shared with nobody")]
    {
        if let Some(Value::Object(people)) = json.pointer_mut(place).map(Value::take) {
            let ids: Vec<&str> = people.iter().map(|(id, _)| id.as_str()).collect();
            if !ids.is_empty() {
                notes.push(format!("{said} here; there it was with {}", ids.join(", ")));
            }
        }
    }
    notes
}

/// What takes an entry out of a map: a label is set or not.
fn no_entry(map: &str) -> Value {
    if map == LABELS { false.into() } else { Value::Null }
}

/// Makes each of two sets of values clear what the other one has and it lacks: who is sent nothing keeps what it has.
fn clear_each_other(one: &mut Map<String, Value>, other: &mut Map<String, Value>) {
    clear(one, other);
    clear(other, one);
}

fn clear(values: &mut Map<String, Value>, other: &Map<String, Value>) {
    for map in MAPS {
        let Some(Value::Object(theirs)) = other.get(*map) else { continue };
        let Value::Object(own) = values.entry(*map).or_insert_with(|| json!({})) else { continue };
        for name in theirs.keys() {
            own.entry(name.clone()).or_insert_with(|| no_entry(map));
        }
    }
    rows::clear(values, other);
}

/// Values as they are sent to what is `there`: who has a task goes to the end of their list, a step or link to the end of its own, and
/// what is to be taken out and is not there is left out.
fn sent(mut values: Map<String, Value>, there: &Value) -> Map<String, Value> {
    for map in MAPS {
        let Some(Value::Object(entries)) = values.get_mut(*map) else { continue };
        let is_there = |name: &str| there.get(*map).and_then(|map| map.get(name)).is_some();
        entries.retain(|name, entry| *entry != no_entry(map) || is_there(name));
        for entry in entries.values_mut().filter(|entry| entry.is_object()) {
            match *map {
                "assignments" => *entry = typed("plannerAssignment", json!({"orderHint": AT_THE_END})),
                "checklist" => *entry = typed("plannerChecklistItem", entry.take()),
                "references" => *entry = typed("plannerExternalReference", entry.take()),
                _ => {}
            }
        }
    }
    values
}

/// An entry with its type, and without what its own list alone understands.
fn typed(kind: &str, mut entry: Value) -> Value {
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("@odata.type".into(), format!("#microsoft.graph.{kind}").into());
        if kind != "plannerAssignment" {
            entry.retain(is_own);
        }
    }
    entry
}

/// Says whether something of a step or link is its own. Where it stood is told in hints that only its own list understands.
// The shape that maps call.
#[allow(clippy::ptr_arg)]
fn is_own(name: &String, _: &mut Value) -> bool {
    !matches!(name.as_str(), "orderHint" | "previewPriority") && !name.starts_with("last")
}

/// What details of a task hold, as a hash: also of none something.
fn held(details: &Value) -> String {
    let mut values = rows::settable(details, HELD);
    for list in ["checklist", "references"] {
        let Some(Value::Object(all)) = values.get_mut(list) else { continue };
        all.values_mut().filter_map(Value::as_object_mut).for_each(|one| one.retain(is_own));
    }
    rows::state_of_all(&[values.into()], HELD)
}

fn task(json: &Value, order: Order<'_>) -> Map<String, Value> {
    let mut body = sent(rows::settable(json, TASK), &Value::Null);
    let (plan, bucket) =
        order.parent.split_once('/').map_or((order.parent, None), |(plan, bucket)| (plan, Some(bucket)));
    body.insert("title".into(), order.name.into());
    body.insert("planId".into(), plan.into());
    if let Some(bucket) = bucket {
        body.insert("bucketId".into(), bucket.into());
    }
    body
}

impl Planner {
    /// The id of what was made, as it is named here.
    fn named(&self, order: Order<'_>, id: &str) -> String {
        match order.record.kind {
            ItemKind::Bucket => format!("{}/{id}", order.parent),
            _ => id.to_owned(),
        }
    }

    /// The tasks of a plan that are in a bucket, or in none.
    async fn tasks(&self, plan: &str, bucket: Option<&str>) -> Result<Vec<Value>> {
        let mut rows = self.client.get_all(get(&format!("{}/tasks", url_of(ItemKind::Plan, plan)))).await?;
        rows.retain(|row| text(row, &["bucketId"]) == bucket);
        Ok(rows)
    }

    /// Sends values to what is there, if it is as it was read.
    async fn patch(&self, url: &str, there: &Value, body: &Value) -> Result<Value> {
        let tag = there.get("@odata.etag").and_then(Value::as_str).unwrap_or_default();
        self.client.send(GraphRequest::patch(Scope::Planner, url, body).header("If-Match", tag)).await
    }

    /// What the details of a task hold now.
    async fn details_now(&self, id: &str) -> Result<String> {
        self.client.get_json(get(&format!("{}/details", url_of(ItemKind::Task, id)))).await.map(|now| held(&now))
    }

    /// Gives a plan or task its details; says whether it has any.
    async fn details(&self, kind: ItemKind, id: &str, json: &Value) -> Result<bool> {
        let names = match kind {
            ItemKind::Plan if !self.original => WITHOUT_PEOPLE,
            ItemKind::Plan => PLAN_DETAILS,
            ItemKind::Task => TASK_DETAILS,
            _ => return Ok(false),
        };
        self.put_details(kind, id, rows::settable(json.get("details").unwrap_or(&Value::Null), names)).await
    }

    /// Sends details; says whether there were any.
    async fn put_details(&self, kind: ItemKind, id: &str, details: Map<String, Value>) -> Result<bool> {
        if details.is_empty() {
            return Ok(false);
        }
        let url = format!("{}/details", url_of(kind, id));
        let there = self.client.get_json(get(&url)).await?;
        self.patch(&url, &there, &sent(details, &there).into()).await.map(|_| true)
    }

    /// Deletes what was made, if nothing else came into it.
    async fn remove(&self, kind: ItemKind, id: &str) -> Result<Option<String>> {
        if kind != ItemKind::Task {
            match self.present(id).await {
                Ok(there) if !there.is_empty() => return Ok(Some(rows::NOT_EMPTY.to_owned())),
                Ok(_) => {}
                Err(error) if rows::is_gone(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let bare = id.rsplit_once('/').map_or(id, |(_, bare)| bare);
        let url = url_of(kind, bare);
        let there = match self.client.get_json(get(&url)).await {
            Err(error) if rows::is_gone(&error) => return Ok(None),
            other => other?,
        };
        let tag = there.get("@odata.etag").and_then(Value::as_str).unwrap_or_default();
        rows::delete(&self.client, GraphRequest::delete(Scope::Planner, url).header("If-Match", tag)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_of_another_group_is_sent_and_notes_say_who() {
        let mut json = json!({
            "title": "a", "assignments": {"u1": {"orderHint": "x"}},
            "details": {"sharedWith": {"u2": true}, "categoryDescriptions": {"category1": "b"}},
        });
        let notes = leave_people_out(&mut json);
        assert!(notes.len() == 2 && notes[0].contains("u1") && notes[1].contains("u2"), "{notes:?}");
        assert!(rows::settable(&json, TASK).get("assignments").is_none());
        let details = rows::settable(&json["details"], PLAN_DETAILS);
        assert_eq!(Value::from(details), json!({"categoryDescriptions": {"category1": "b"}}));
        assert!(leave_people_out(&mut json!({"assignments": {}})).is_empty());
    }

    #[test]
    fn what_one_lacks_of_the_other_is_taken_out_and_put_back() {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        let there = json!({
            "title": "a", "dueDateTime": "2026-12-24T10:00:00Z", "assignments": {"u1": {"orderHint": "x"}, "u2": {}},
            "appliedCategories": {"category1": true},
        });
        let (mut values, mut before) =
            (map(json!({"title": "b", "assignments": {"u2": {}, "u3": {}}})), map(there.clone()));
        clear_each_other(&mut values, &mut before);
        let own = json!({"@odata.type": "#microsoft.graph.plannerAssignment", "orderHint": AT_THE_END});
        let wanted = json!({
            "title": "b", "dueDateTime": null, "assignments": {"u1": null, "u2": own, "u3": own},
            "appliedCategories": {"category1": false},
        });
        assert_eq!(Value::from(sent(values, &there)), wanted);
        // Somebody took u3 out meanwhile.
        let now = json!({"assignments": {"u2": {}, "u4": {}}});
        let back = json!({
            "title": "a", "dueDateTime": "2026-12-24T10:00:00Z", "assignments": {"u1": own, "u2": own},
            "appliedCategories": {"category1": true},
        });
        assert_eq!(Value::from(sent(before.clone(), &now)), back);
        let now = json!({"assignments": {"u3": {}}});
        assert_eq!(sent(before, &now)["assignments"], json!({"u1": own, "u2": own, "u3": null}));
        let steps = map(json!({"checklist": {"s": {"title": "t", "orderHint": "x"}}, "references": {"r": null}}));
        let step = json!({"title": "t", "@odata.type": "#microsoft.graph.plannerChecklistItem"});
        assert_eq!(Value::from(sent(steps, &Value::Null)), json!({"checklist": {"s": step}, "references": {}}));
    }
}
