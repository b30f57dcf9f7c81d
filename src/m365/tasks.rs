//! To Do: the lists of a mailbox, tasks with their steps and links, attachments.
//!
//! Delta tells which tasks changed, a list by a list, and nothing of what a task is made of: each that changed is asked for with
//! its steps and links in one answer, and where everything is to be told, the plain list brings them along. Lists that others
//! share with the user are read as well, for Graph does not say whose they are; the list of flagged mail is derived from mail
//! and kept as it is told.
//!
//! Source: Microsoft Graph, "todoTaskList: delta", "todoTask: delta", "List tasks", "List taskFileAttachments".

use std::collections::{BTreeSet, HashSet};

use async_trait::async_trait;
use futures::StreamExt;
use serde_json::Value;

use super::contents::{Trouble, trouble};
use super::door::{Owner, Workload};
use super::facts::{flag, number, text};
use super::walk::{Row, Rows, Source, Told, Walk, Walked, bare, id_of, unfold};
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, IMMUTABLE_IDS, Scope, graph_error};

const PAGE: &str = "odata.maxpagesize=250";
/// The cursor of the lists.
const LISTS: &str = "lists";
/// Cursors of the tasks of a list begin with this, and end in the list's id.
const IN_LIST: &str = "list:";
/// The parts of a task that are told of it when they are named.
const PARTS: &str = "$expand=checklistItems,linkedResources";
/// The fact of an attachment that says which list its task is in.
const LIST: &str = "list";
/// Tasks asked for at once; the mailbox has four lanes for all.
const AT_ONCE: usize = 4;

/// Names the tasks of a user.
pub(super) fn tasks(client: Client, user_id: &str, user_name: &str) -> Walked<Tasks> {
    let source = Tasks { client: client.clone(), user: user_id.to_owned() };
    Walked::new(client, Owner::User(user_id.to_owned()), user_name, Workload::Tasks, source)
}

/// The tasks of one mailbox.
pub(super) struct Tasks {
    client: Client,
    user: String,
}

#[async_trait]
impl Source for Tasks {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        for list in self.lists(walk).await? {
            if let Err(error) = self.tasks(walk, &list).await {
                let name = walk.known(&list).await?.map(|known| known.name).unwrap_or_default();
                walk.keep_cursor(&format!("{IN_LIST}{list}"));
                walk.gap(&list, &name, ItemKind::TaskList, error).await?;
            }
        }
        for id in walk.left_to_list() {
            self.ask(walk, id).await?;
        }
        Ok(())
    }

    fn contents(&self, record: &Record) -> Option<GraphRequest> {
        let attachment = record.id.strip_prefix(record.parent.as_str())?.strip_prefix('/')?;
        let list = record.fact(LIST)?;
        Some(self.get(&format!("{}/attachments/{}/$value", of_task(list, &record.parent), segment(attachment))))
    }
}

fn of_task(list: &str, task: &str) -> String {
    format!("todo/lists/{}/tasks/{}", segment(list), segment(task))
}

/// Says whether an error means that there is no delta here: a plain list is to be read.
fn lacks_delta(error: &Error) -> bool {
    Rows::needs_plain_list(error) || graph_error(error).is_some_and(|answer| matches!(answer.status, 400 | 405 | 501))
}

impl Tasks {
    fn get(&self, url: &str) -> GraphRequest {
        let url = format!("users/{}/{url}", segment(&self.user));
        GraphRequest::get(Scope::Mailbox(self.user.clone()), url).prefer(IMMUTABLE_IDS)
    }

    /// Tells the lists; gives the ids of all.
    async fn lists(&self, walk: &mut Walk<'_>) -> Result<BTreeSet<String>> {
        let saved: Vec<String> =
            walk.before.links.iter().filter_map(|(name, _)| name.strip_prefix(IN_LIST)).map(str::to_owned).collect();
        let mut rows = Rows::delta(walk, &self.client, LISTS, self.get("todo/lists/delta").prefer(PAGE)).together();
        let (mut told, mut gone, mut plainly) = (Vec::new(), BTreeSet::new(), false);
        loop {
            match rows.next(walk).await {
                Ok(Some(Row::There(list))) => {
                    gone.remove(id_of(&list).unwrap_or_default());
                    told.push(list);
                }
                Ok(Some(Row::Gone(id))) => drop(gone.insert(id)),
                Ok(None) => break,
                Err(error) if lacks_delta(&error) && !plainly => {
                    (told, gone, plainly) = (Vec::new(), BTreeSet::new(), true);
                    rows = Rows::list(&self.client, self.get("todo/lists?$top=100"));
                }
                Err(error) => return Err(error),
            }
        }
        let mut all: BTreeSet<String> = told.iter().filter_map(id_of).map(str::to_owned).collect();
        if rows.is_incremental() {
            all.extend(saved);
        }
        all.retain(|id| !gone.contains(id));
        for id in &all {
            walk.keep(id).await?;
        }
        for list in told.into_iter().filter_map(list) {
            walk.put(list).await?;
        }
        gone.iter().for_each(|id| walk.removed(id));
        rows.close(walk, "");
        Ok(all)
    }

    /// Tells the tasks of a list.
    async fn tasks(&self, walk: &mut Walk<'_>, list: &str) -> Result<()> {
        let cursor = format!("{IN_LIST}{list}");
        let thorough = walk.before.get(&cursor).is_none_or(str::is_empty);
        let of_list = format!("todo/lists/{}/tasks", segment(list));
        let mut rows = Rows::delta(walk, &self.client, &cursor, self.get(&format!("{of_list}/delta")).prefer(PAGE));
        let (mut changed, mut has_delta) = (BTreeSet::new(), true);
        let mut gone = BTreeSet::new();
        loop {
            match rows.next(walk).await {
                Ok(Some(Row::There(row))) => {
                    let id = id_of(&row).unwrap_or_default();
                    gone.remove(id);
                    changed.insert(id.to_owned());
                }
                Ok(Some(Row::Gone(id))) => {
                    changed.remove(&id);
                    gone.insert(id);
                }
                Ok(None) => break,
                Err(error) if lacks_delta(&error) => {
                    has_delta = false;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if has_delta && rows.is_incremental() {
            for id in gone {
                walk.removed_from(list, &id).await?;
            }
            self.changed(walk, list, changed, thorough).await?;
        } else {
            self.all(walk, list, &of_list, thorough).await?;
        }
        if has_delta {
            rows.close(walk, list);
        } else {
            walk.was_read(list);
            walk.cursors.set(cursor, "");
        }
        Ok(())
    }

    /// Tells all tasks of a list.
    async fn all(&self, walk: &mut Walk<'_>, list: &str, of_list: &str, thorough: bool) -> Result<()> {
        let mut rows = Rows::list(&self.client, self.get(&format!("{of_list}?{PARTS}&$top=100")));
        let mut seen = HashSet::new();
        while let Some(row) = rows.next(walk).await? {
            if let Row::There(row) = row
                && seen.insert(id_of(&row).unwrap_or_default().to_owned())
            {
                self.tell(walk, row, list, thorough).await?;
            }
        }
        Ok(())
    }

    /// Asks for tasks that changed, and tells them.
    async fn changed(&self, walk: &mut Walk<'_>, list: &str, ids: BTreeSet<String>, thorough: bool) -> Result<()> {
        let mut answers = futures::stream::iter(ids)
            .map(|id| async move {
                let answer = self.task(list, &id).await;
                (id, answer)
            })
            .buffered(AT_ONCE);
        while let Some((id, answer)) = answers.next().await {
            match answer {
                Ok(row) => self.tell(walk, row, list, thorough).await?,
                // Deleted, or moved to another list, which tells it.
                Err(error) if trouble(&error) == Trouble::Gone => walk.removed_from(list, &id).await?,
                // Nothing of it is known that could be kept: the list is to be asked again.
                Err(error) if walk.known(&id).await?.is_none() => return Err(error),
                Err(error) => {
                    let name = walk.known(&id).await?.map(|known| known.name).unwrap_or_default();
                    walk.gap(&id, &name, ItemKind::Task, error).await?;
                }
            }
        }
        Ok(())
    }

    async fn task(&self, list: &str, id: &str) -> Result<Value> {
        self.client.get_json(self.get(&format!("{}?{PARTS}", of_task(list, id)))).await
    }

    /// Tells a task, and its attachments where anything about it may be new.
    async fn tell(&self, walk: &mut Walk<'_>, mut row: Value, list: &str, thorough: bool) -> Result<()> {
        let unfolded = unfold(&self.client, &self.get("todo"), &mut row).await;
        let has = flag(&row, &["hasAttachments"]) == Some(true);
        let Some(told) = task(row, list, has) else { return Ok(()) };
        let (id, name) = (told.record.id.clone(), told.record.name.clone());
        let told_before = walk.was_told(&id);
        if let Err(error) = unfolded {
            // What is known is more than what came. Of one that is new nobody would be told again: so it is known by this.
            if !told_before && walk.known(&id).await?.is_none_or(|known| known.parent != list) {
                walk.put(told).await?;
            }
            return walk.gap(&id, &name, ItemKind::Task, error).await;
        }
        let changed = walk.put(told).await?;
        if !has {
            return Ok(());
        }
        if !changed && !thorough {
            // What was listed in this reading already says more than what is known.
            if !told_before {
                walk.unchanged_below(&id);
            }
            return Ok(());
        }
        match self.client.get_all(self.get(&format!("{}/attachments", of_task(list, &id)))).await {
            Ok(rows) => {
                for attachment in rows.into_iter().filter_map(|row| attachment(row, &id, list)) {
                    walk.put(attachment).await?;
                }
                Ok(())
            }
            Err(error) => walk.gap(&id, &name, ItemKind::Task, error).await,
        }
    }

    /// Asks for a list, or for a task of which something is a gap, that nobody mentioned so far.
    async fn ask(&self, walk: &mut Walk<'_>, id: String) -> Result<()> {
        let Some(mut known) = walk.known(&id).await? else { return Ok(()) };
        if known.kind == ItemKind::Attachment {
            let Some(task) = walk.known(&known.parent).await? else { return Ok(()) };
            known = task;
        }
        if walk.was_told(&known.id) {
            return Ok(());
        }
        let is_list = known.kind == ItemKind::TaskList;
        let answer = match is_list {
            true => self.client.get_json(self.get(&format!("todo/lists/{}", segment(&known.id)))).await,
            false => self.task(&known.parent, &known.id).await,
        };
        match answer {
            Ok(row) if is_list => match list(row) {
                Some(told) => walk.put(told).await.map(drop),
                None => Ok(()),
            },
            Ok(row) => self.tell(walk, row, &known.parent, true).await,
            Err(error) => walk.gap(&known.id, &known.name, known.kind, error).await,
        }
    }
}

pub(super) fn list(row: Value) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    let name = text(&row, &["displayName"]).unwrap_or_default().to_owned();
    let well_known = text(&row, &["wellknownListName"]).filter(|name| *name != "none").unwrap_or_default().to_owned();
    let shared = flag(&row, &["isShared"]) == Some(true);
    let of_another = flag(&row, &["isOwner"]) == Some(false);
    Some(
        Told::new(ItemKind::TaskList, id, "", &name, bare(row))
            .fact("well_known", &well_known)
            .fact("shared", if shared { "true" } else { "" })
            .fact("of_another", if of_another { "true" } else { "" }),
    )
}

pub(super) fn task(row: Value, list: &str, has_attachments: bool) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    let name = text(&row, &["title"]).unwrap_or_default().to_owned();
    let fact = |path: &[&str]| text(&row, path).unwrap_or_default().to_owned();
    let (status, due) = (fact(&["status"]), fact(&["dueDateTime", "dateTime"]));
    let told = Told::new(ItemKind::Task, id, list, &name, bare(row)).dated();
    Some(told.fact("status", &status).fact("due", &due).with_parts(usize::from(has_attachments)))
}

fn attachment(mut row: Value, task: &str, list: &str) -> Option<Told> {
    let id = format!("{task}/{}", id_of(&row)?);
    let name = text(&row, &["name"]).unwrap_or_default().to_owned();
    let fact = |key: &str| text(&row, &[key]).unwrap_or_default().to_owned();
    let (mime, changed) = (fact("contentType"), fact("lastModifiedDateTime"));
    let size = number(&row, &["size"]).unwrap_or(0);
    if let Some(map) = row.as_object_mut() {
        // Kept as contents.
        map.remove("contentBytes");
    }
    let told = Told::new(ItemKind::Attachment, id, task, &name, bare(row)).dated().sized(size);
    Some(told.fact("content_type", &mime).fact(LIST, list).with_contents(changed))
}
