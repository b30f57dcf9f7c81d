//! Planner: the plans of a group with their details, buckets and tasks.
//!
//! There is no delta in v1.0, and a change of a task's details (its description, its checklist) does not always change
//! the task, so everything is listed at every reading: the plans of a group, then three requests a plan. The details come
//! with the tasks (`$expand=details`, as the service's metadata has it); where the service refuses that, they are asked for
//! task by task.
//! Source: Microsoft Graph, "List plans", "Get plannerPlanDetails", "List buckets", "List tasks", "Get plannerTaskDetails".

use std::collections::HashSet;

use async_trait::async_trait;
use serde_json::Value;

use super::door::{Owner, Workload};
use super::facts::{at, number, text, time_us};
use super::walk::{Row, Rows, Source, Told, Walk, Walked, id_of};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::ItemKind;
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope, graph_error};

/// Names the plans of a group.
pub(super) fn planner(client: Client, group_id: &str, group_name: &str) -> Walked<Planner> {
    let source = Planner { client: client.clone(), group: group_id.to_owned() };
    Walked::new(client, Owner::Group(group_id.to_owned()), group_name, Workload::Planner, source)
}

/// The plans of one group.
pub(super) struct Planner {
    client: Client,
    group: String,
}

#[async_trait]
impl Source for Planner {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        let mut rows = Rows::list(&self.client, get(&format!("groups/{}/planner/plans", segment(&self.group))));
        while let Some(row) = rows.next(walk).await? {
            let Row::There(row) = row else { continue };
            let Some(id) = id_of(&row).map(str::to_owned) else { continue };
            let name = text(&row, &["title"]).unwrap_or_default().to_owned();
            if let Err(error) = self.plan(walk, &id, &name, row.clone()).await {
                if walk.known(&id).await?.is_none() && !walk.was_told(&id) {
                    walk.put(Told::new(ItemKind::Plan, &*id, "", &name, row).dated()).await?;
                }
                walk.gap_of_listed(&id, &name, ItemKind::Plan, error).await?;
            }
        }
        rows.close(walk, "");
        Ok(())
    }
}

fn get(url: &str) -> GraphRequest {
    GraphRequest::get(Scope::Planner, url)
}

impl Planner {
    async fn plan(&self, walk: &mut Walk<'_>, id: &str, name: &str, row: Value) -> Result<()> {
        let of_plan = format!("planner/plans/{}", segment(id));
        let details = self.client.ask(get(&format!("{of_plan}/details")));
        let buckets = self.client.ask_all(get(&format!("{of_plan}/buckets")));
        let (details, buckets) = futures::try_join!(details, buckets)?;
        let tasks = self.tasks(&of_plan).await?;
        walk.put(Told::new(ItemKind::Plan, id, "", name, with_details(row, details)).dated()).await?;
        let mut told = HashSet::new();
        for row in buckets {
            let Some(bucket) = id_of(&row).map(str::to_owned) else { continue };
            let name = text(&row, &["name"]).unwrap_or_default().to_owned();
            walk.put(Told::new(ItemKind::Bucket, bucket.clone(), id, &name, row)).await?;
            told.insert(bucket);
        }
        for row in tasks {
            self.task(walk, id, &told, row).await?;
        }
        walk.was_read(id);
        Ok(())
    }

    /// Lists the tasks of a plan, with their details where the service gives them.
    async fn tasks(&self, of_plan: &str) -> Result<Vec<Value>> {
        match self.client.get_all(get(&format!("{of_plan}/tasks?$expand=details"))).await {
            Err(error) if is_refused(&error) => self.client.get_all(get(&format!("{of_plan}/tasks"))).await,
            other => other,
        }
    }

    async fn task(&self, walk: &mut Walk<'_>, plan: &str, buckets: &HashSet<String>, row: Value) -> Result<()> {
        let Some(id) = id_of(&row).map(str::to_owned) else { return Ok(()) };
        let name = text(&row, &["title"]).unwrap_or_default().to_owned();
        let (row, failed) = match at(&row, &["details"]) {
            Some(_) => (row, None),
            None => match self.client.get_json(get(&format!("planner/tasks/{}/details", segment(&id)))).await {
                Ok(details) => (with_details(row, details), None),
                Err(error) if walk.known(&id).await?.is_some() => {
                    return walk.gap_of_listed(&id, &name, ItemKind::Task, error).await;
                }
                Err(error) => (row, Some(error)),
            },
        };
        let parent = text(&row, &["bucketId"]).filter(|bucket| buckets.contains(*bucket)).unwrap_or(plan).to_owned();
        let done = number(&row, &["percentComplete"]).map(|percent| format!("{percent} %")).unwrap_or_default();
        let due = text(&row, &["dueDateTime"]).unwrap_or_default().to_owned();
        let sort = time_us(&row, &["createdDateTime"]);
        let task = Told::new(ItemKind::Task, &*id, &parent, &name, row).dated().sorted_by(sort);
        walk.put(task.fact("done", &done).fact("due", &due)).await?;
        match failed {
            Some(error) => walk.gap(&id, &name, ItemKind::Task, error).await,
            None => Ok(()),
        }
    }
}

/// Says whether the service does not know how to answer.
fn is_refused(error: &Error) -> bool {
    error.kind() == ErrorKind::InvalidInput || graph_error(error).is_some_and(|answer| answer.status == 501)
}

/// Puts details into what they belong to, as if they had been expanded.
fn with_details(mut row: Value, mut details: Value) -> Value {
    if let Some(details) = details.as_object_mut() {
        details.shift_remove("@odata.context");
    }
    if let Some(row) = row.as_object_mut() {
        row.insert("details".to_owned(), details);
    }
    row
}
