//! To Do goes back: lists, tasks with their steps and links, attachments.
//!
//! The list of flagged mail follows from the mail: what is in it is not made. Source: Microsoft Graph, "Create todoTaskList",
//! "Create todoTask", "Create checklistItem", "Create linkedResource", "Create taskFileAttachment".

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::attachments::{self, ATTACHMENTS, Form};
use super::door::{Cost, Extras, Fit, Found, Made, Order, Present, Since, Source, Target, Undo};
use super::mailbox::Mailbox;
use super::rows;
use crate::error::Result;
use crate::format::record::{ItemKind, Record};
use crate::graph::Scope;
use crate::graph::links::segment;
use crate::m365::door::Workload;
use crate::m365::facts::{number, text};
use crate::m365::tasks::{list, task};
use crate::m365::walk::id_of;

/// What of a task can be set.
const TASK: &[&str] = &[
    "body",
    "categories",
    "completedDateTime",
    "dueDateTime",
    "importance",
    "isReminderOn",
    "recurrence",
    "reminderDateTime",
    "startDateTime",
    "status",
    "title",
];
/// What of a step can be set.
const STEP: &[&str] = &["displayName", "isChecked"];
/// What of a link can be set.
const LINK: &[&str] = &["applicationName", "displayName", "externalId", "webUrl"];
/// The parts of a task: their names in its JSON and in paths.
const PARTS: [(&str, &[&str]); 2] = [("checklistItems", STEP), ("linkedResources", LINK)];
/// Asks for them with the task.
const EXPAND: &str = "?$expand=checklistItems,linkedResources";
/// The part of a task that is its steps and links.
const STEPS: &str = "steps";
/// The list that follows from mail.
const FLAGGED: &str = "flaggedEmails";
/// Steps and links of a task, at most: no service that is known has more. What is beyond that is told.
const MOST_PARTS: usize = 500;

/// The tasks of a mailbox.
pub(super) struct Tasks(pub(super) Mailbox);

#[async_trait]
impl Target for Tasks {
    fn workload(&self) -> Workload {
        Workload::Tasks
    }

    fn path(&self) -> &str {
        self.0.path()
    }

    fn scope(&self) -> Scope {
        self.0.scope()
    }

    fn permission(&self) -> &'static str {
        "Tasks.ReadWrite.All"
    }

    fn is_flat(&self) -> bool {
        true
    }

    async fn probe(&self) -> Result<()> {
        self.0.client.get_page(self.0.get("todo/lists?$top=1")).await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::TaskList if record.fact("well_known") == Some(FLAGGED) => {
                Fit::Cannot("the list of flagged mail follows from the mail".to_owned())
            }
            ItemKind::TaskList => Fit::Takes(Cost { requests: 1, units: 1, bytes: 200 }),
            ItemKind::Task => Fit::Takes(Cost { requests: 4, units: 4, bytes: 1_000 }),
            kind => Fit::Cannot(format!("a {} goes with its task", kind.word())),
        }
    }

    async fn further(&self, record: &Record, _: Extras, source: &dyn Source) -> Result<Cost> {
        let attached = attachments::cost(record, Form::Task, source).await?;
        if record.kind != ItemKind::Task {
            return Ok(attached);
        }
        let json = rows::unless_damaged(source.properties(record).await)?;
        Ok(attached.and(cost_of_parts(&json)))
    }

    fn identity(&self, record: &Record) -> String {
        match record.fact("well_known") {
            Some(well_known) => format!("\n{well_known}"),
            None => record.name.to_lowercase(),
        }
    }

    fn state(&self, _: &Record) -> String {
        String::new()
    }

    async fn present(&self, parent: &str) -> Result<Vec<Present>> {
        let told: Vec<_> = match parent {
            "" => {
                let rows = self.0.client.get_all(self.0.get("todo/lists?$top=100")).await?;
                rows.into_iter().filter_map(list).collect()
            }
            id => {
                let request = self.0.get(&format!("todo/lists/{}/tasks?$top=100", segment(id)));
                let rows = self.0.client.get_all(request).await?;
                rows.into_iter().filter_map(|row| task(row, id, false)).collect()
            }
        };
        Ok(told.into_iter().map(|told| rows::present(self, told)).collect())
    }

    async fn create_top(&self, name: &str) -> Result<Made> {
        let answer = self.0.client.send(self.0.post("todo/lists", &json!({"displayName": name}))).await?;
        Ok(Made::new(ItemKind::TaskList, rows::new_id(&answer)?, ""))
    }

    async fn find_top(&self, name: &str) -> Result<Option<Made>> {
        let found = self.present("").await?.into_iter().find(|list| list.identity == name.to_lowercase());
        Ok(found.map(|list| Made::new(ItemKind::TaskList, list.id, "")))
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        if order.record.kind == ItemKind::TaskList {
            return self.create_top(order.name).await;
        }
        let json = source.properties(order.record).await?;
        let url = format!("todo/lists/{}/tasks", segment(order.parent));
        let answer = self.0.client.send(self.0.post(&url, &body(&json, order).into())).await?;
        let id = rows::new_id(&answer)?;
        let mut made = Made::new(ItemKind::Task, id.clone(), order.parent);
        rows::note(&made, order).await?;
        let url = format!("{url}/{}", segment(&id));
        let attached = self.complete(&url, order.record, &json, (source, &mut made)).await?;
        let attached = match attached {
            true => attachments::state(&self.0, &url, Form::Task).await.unwrap_or_default(),
            false => attachments::no_state(),
        };
        made.tell(ATTACHMENTS, &attached);
        Ok(made)
    }

    async fn overwrite(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        if order.record.kind == ItemKind::TaskList {
            return Ok(Made { id: present.to_owned(), ..Made::default() });
        }
        let json = source.properties(order.record).await?;
        let url = format!("todo/lists/{}/tasks/{}", segment(order.parent), segment(present));
        let before = self.0.client.get_json(self.0.get(&url)).await?;
        let before = json!({"list": order.parent, "values": rows::replacing(&before, TASK)});
        let undo = Undo::Values { kind: ItemKind::Task, id: present.to_owned(), before };
        let undo = order.log.note(undo).await?;
        self.0.client.send(self.0.patch(&url, &rows::replacing(&json, TASK).into())).await?;
        let mut made = Made::over(present, undo);
        self.complete(&url, order.record, &json, (source, &mut made)).await?;
        Ok(made)
    }

    async fn changed_us(&self, present: &str, parent: &str) -> Result<Option<i64>> {
        let url = format!("todo/lists/{}/tasks/{}", segment(parent), segment(present));
        rows::changed_us(&self.0.client, self.0.get(&url)).await
    }

    async fn find(&self, order: Order<'_>, source: &dyn Source) -> Result<Found> {
        if order.record.kind == ItemKind::TaskList {
            return Ok(self.find_top(order.name).await?.map_or(Found::Nothing, Found::Whole));
        }
        let json = source.properties(order.record).await?;
        let wanted = body(&json, order);
        let url = format!("todo/lists/{}/tasks", segment(order.parent));
        let rows = self.0.client.get_all(self.0.get(&format!("{url}?$top=100"))).await?;
        let same = |row: &&Value| wanted.iter().all(|(name, value)| row.get(name) == Some(value));
        // Tasks may hold the same.
        let alike = rows.iter().filter(same).filter_map(id_of).collect();
        let Some(id) = rows::free(alike, order, source).await? else { return Ok(Found::Nothing) };
        let mut made = Made::default();
        if !order.only_looks {
            self.complete(&format!("{url}/{}", segment(id)), order.record, &json, (source, &mut made)).await?;
        }
        Ok(match rows::as_it_should_be(id.to_owned()) {
            Found::Whole(found) => Found::Whole(Made { notes: [found.notes, made.notes].concat(), ..found }),
            other => other,
        })
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        let (list, id) = match undo {
            Undo::Delete { kind: ItemKind::Task, id, parent } => (parent.as_str(), id),
            Undo::Values { id, before, .. } => (text(before, &["list"]).unwrap_or_default(), id),
            _ => return Ok(false),
        };
        let url = format!("todo/lists/{}/tasks/{}", segment(list), segment(id));
        let differs = rows::differs(&self.0.client, self.0.get(&url), since, |now| rows::state(now, TASK)).await?;
        // Undo gives back values, and leaves what hangs on the task.
        if differs || !matches!(undo, Undo::Delete { .. }) {
            return Ok(differs);
        }
        let attached = attachments::state(&self.0, &url, Form::Task);
        let parts = async || self.0.client.get_json(self.0.get(&format!("{url}{EXPAND}"))).await.map(|now| parts(&now));
        Ok(rows::part_differs(since.of(ATTACHMENTS), attached).await?
            || rows::part_differs(since.of(STEPS), parts()).await?)
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        let client = &self.0.client;
        match undo {
            Undo::Delete { kind: ItemKind::Task, id, parent } => {
                let url = format!("todo/lists/{}/tasks/{}", segment(parent), segment(id));
                rows::delete(client, self.0.delete(&url)).await
            }
            Undo::Delete { id, .. } => {
                let url = format!("todo/lists/{}", segment(id));
                match self.0.is_empty(&format!("{url}/tasks")).await {
                    Ok(true) => rows::delete(client, self.0.delete(&url)).await,
                    Ok(false) => Ok(Some(rows::NOT_EMPTY.to_owned())),
                    Err(error) if rows::is_gone(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Undo::Values { id, before, .. } => {
                let list = text(before, &["list"]).unwrap_or_default();
                let url = format!("todo/lists/{}/tasks/{}", segment(list), segment(id));
                let values = before.get("values").cloned().unwrap_or_default();
                rows::delete(client, self.0.patch(&url, &values)).await
            }
            other => Ok(rows::left(other)),
        }
    }
}

/// The steps and links of a task, as a hash.
fn parts(task: &Value) -> String {
    let rows = |name: &str| task.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    PARTS.map(|(name, names)| rows::state_of_all(rows(name), names)).concat()
}

/// The steps or links of a task in the snapshot, as they are sent.
fn wanted(task: &Value, part: &str, names: &[&str]) -> Vec<Map<String, Value>> {
    let all = task.get(part).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    all.iter().take(MOST_PARTS).map(|row| rows::settable(row, names)).collect()
}

/// What it costs to make the steps and links of a task.
fn cost_of_parts(task: &Value) -> Cost {
    let all = PARTS.into_iter().flat_map(|(part, names)| wanted(task, part, names));
    let bytes = |row: Map<String, Value>| Value::Object(row).to_string().len() as u64;
    all.map(|row| Cost { requests: 1, units: 1, bytes: bytes(row) }).fold(Cost::default(), Cost::and)
}

/// The attachments that are not there: each that is there stands for one of its name, for that of its size if there are several.
fn lacking<'a>(mut wanted: Vec<&'a Record>, there: &[Value]) -> Vec<&'a Record> {
    let facts = |row: &Value| (text(row, &["name"]).unwrap_or_default().to_owned(), number(row, &["size"]));
    let mut there: Vec<(String, Option<u64>)> = there.iter().map(facts).collect();
    for exact in [true, false] {
        wanted.retain(|part| {
            let is_it = |one: &(String, Option<u64>)| one.0 == part.name && (!exact || one.1 == Some(part.size_bytes));
            match there.iter().position(is_it) {
                Some(place) => {
                    there.swap_remove(place);
                    false
                }
                None => true,
            }
        });
    }
    wanted
}

/// What is sent of a task.
fn body(json: &Value, order: Order<'_>) -> Map<String, Value> {
    let mut body = rows::settable(json, TASK);
    body.insert("title".into(), order.name.into());
    body
}

impl Tasks {
    /// Gives a task the steps, links and attachments that it lacks; takes note of what it holds. Says whether it has attachments.
    async fn complete(
        &self,
        url: &str,
        record: &Record,
        json: &Value,
        (source, made): (&dyn Source, &mut Made),
    ) -> Result<bool> {
        let whole = self.0.get(&format!("{url}{EXPAND}"));
        let mut there = self.0.client.get_json(whole.clone()).await?;
        let mut added = false;
        for (part, names) in PARTS {
            let all = json.get(part).and_then(Value::as_array).map_or(0, Vec::len);
            if all > MOST_PARTS {
                made.notes.push(format!("{} of its {all} {part} are left out", all - MOST_PARTS));
            }
            let mut have: Vec<Map<String, Value>> = there
                .get(part)
                .and_then(Value::as_array)
                .map(|all| all.iter().map(|row| rows::settable(row, names)).collect())
                .unwrap_or_default();
            for row in wanted(json, part, names) {
                // Two may be alike.
                match have.iter().position(|there| *there == row) {
                    Some(place) => drop(have.swap_remove(place)),
                    None => {
                        added = true;
                        self.0.client.send(self.0.post(&format!("{url}/{part}"), &row.into())).await?;
                    }
                }
            }
        }
        if added {
            there = self.0.client.get_json(whole).await?;
        }
        made.state = rows::state(&there, TASK);
        made.tell(STEPS, &parts(&there));
        let below = source.below(record).await?;
        let wanted: Vec<&Record> = below.iter().filter(|part| part.kind == ItemKind::Attachment).collect();
        if wanted.is_empty() {
            return Ok(false);
        }
        let have = self.0.client.get_all(self.0.get(&format!("{url}/attachments"))).await?;
        for part in lacking(wanted, &have) {
            attachments::attach(&self.0, url, Form::Task, part, source, made).await?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attachment_that_is_there_stands_for_one() {
        let part = |id: &str, name: &str, size_bytes: u64| Record {
            size_bytes,
            ..Record::new(ItemKind::Attachment, id, "task", name)
        };
        let all = [part("1", "a", 5), part("2", "a", 7), part("3", "b", 5)];
        let of = |there: &[(&str, u64)]| -> Vec<String> {
            let rows: Vec<Value> = there.iter().map(|(name, size)| json!({"name": name, "size": size})).collect();
            lacking(all.iter().collect(), &rows).into_iter().map(|part| part.id.clone()).collect()
        };
        assert_eq!(of(&[]), ["1", "2", "3"]);
        assert_eq!(of(&[("a", 7), ("c", 5)]), ["1", "3"]);
        // Microsoft may count another size.
        assert_eq!(of(&[("b", 9), ("a", 9)]), ["2"]);
        assert_eq!(of(&[("a", 9), ("a", 5), ("b", 5)]), [""; 0]);
    }
}
