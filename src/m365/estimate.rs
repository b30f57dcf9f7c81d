//! What there is to read of a collection, by counts that Graph keeps anyway: a round trip or two for many collections.
//!
//! Graph counts the messages of mail folders, the space that a drive uses, and, asked with `$count`, contacts, events and
//! conversations. It counts neither tasks nor what lists, channels and chats hold.
//!
//! Source: Microsoft Graph, "mailFolder resource type" (`totalItemCount`), "drive resource type" (`quota`), "Use query
//! parameters to customize responses" (`$count`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::calendar;
use super::contacts::DEFAULT_FOLDER;
use super::door::{CollectionKey, Owner, Workload};
use super::facts::{at, number, text};
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, Fate, GraphRequest, IMMUTABLE_IDS, Scope, TeamsCall, fate};

/// What of a list is asked for to learn how long it is.
const ONLY_COUNT: &str = "$count=true&$top=1&$select=id";

/// Which of Microsoft's budgets pays for a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pays {
    /// Its mailbox.
    Mailbox,
    /// The tenant's resource units of SharePoint.
    Files,
    /// Teams, with a limit for each kind of call.
    Teams(TeamsCall),
    /// Planner.
    Planner,
}

/// What there is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Items, where they are counted.
    pub items: Option<u64>,
    /// Bytes, where they are counted.
    pub bytes: Option<u64>,
    /// Lists that are read to their ends.
    pub lists: u64,
}

/// What reading costs, at the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Requests, as Microsoft counts them.
    pub requests: u64,
    /// Units of SharePoint; of all else as many as requests.
    pub units: u64,
}

/// Says which budget pays for a workload.
pub fn pays(workload: Workload) -> Pays {
    match workload {
        Workload::OneDrive
        | Workload::PersonalSite
        | Workload::Site
        | Workload::Files
        | Workload::List
        | Workload::Pages
        | Workload::TermStore => Pays::Files,
        Workload::Team => Pays::Teams(TeamsCall::Team),
        Workload::Channel => Pays::Teams(TeamsCall::Message),
        Workload::Chats => Pays::Teams(TeamsCall::Export),
        Workload::Planner => Pays::Planner,
        _ => Pays::Mailbox,
    }
}

/// Says what reading so many items of a workload in so many lists costs: pages, and what is asked for item by item.
pub fn cost(workload: Workload, items: u64, lists: u64) -> Cost {
    // Items a page; requests for each item besides.
    let (page, each) = match workload {
        Workload::Mail => (500, 1),
        Workload::OneDrive | Workload::Files => (200, 1),
        // Each may have a photo.
        Workload::Contacts => (250, 1),
        Workload::Calendar => (250, 0),
        // Its posts.
        Workload::Conversations => (100, 1),
        // What is on it.
        Workload::Pages => (200, 1),
        Workload::Channel | Workload::Chats => (50, 0),
        _ => (200, 0),
    };
    let lists = lists.max(1);
    let requests = lists + items / page + items * each;
    let units = match workload {
        // Columns, content types, and who of the apps may do what: five units.
        Workload::Site => 9,
        // A list's first page costs two.
        _ if pays(workload) == Pays::Files => requests + lists,
        _ => requests,
    };
    Cost { requests: if workload == Workload::Site { 3 } else { requests }, units }
}

/// Says what it costs to ask what changed, with so many cursors.
pub fn cost_of_changes(workload: Workload, cursors: u64) -> Cost {
    match workload {
        // None of these has a delta: all is listed each time.
        Workload::Site => cost(workload, 0, 1),
        Workload::Pages | Workload::TermStore => Cost { requests: cursors, units: 2 * cursors },
        Workload::Settings => Cost { requests: 4, units: 4 },
        _ => Cost { requests: cursors, units: cursors },
    }
}

/// Counts what there is in a collection. What is not counted by the service stays unknown.
///
/// # Errors
/// What makes the whole tenant unreadable.
pub async fn count(client: &Client, key: &CollectionKey) -> Result<Counted> {
    let owner = key.owner.id();
    let counted = match key.workload {
        Workload::Mail => mail(client, owner).await,
        Workload::Contacts => contacts(client, owner).await,
        Workload::Calendar if matches!(key.owner, Owner::User(_)) => events(client, owner).await,
        Workload::Conversations => conversations(client, owner).await,
        Workload::OneDrive | Workload::Files if !key.id.is_empty() => drive(client, &key.id).await,
        _ => return Ok(Counted::default()),
    };
    match counted {
        Err(error) if fate(&error) != Fate::Fatal => Ok(Counted::default()),
        other => other,
    }
}

fn of_mailbox(owner: &str, url: String) -> GraphRequest {
    GraphRequest::get(Scope::Mailbox(owner.to_owned()), url).prefer(IMMUTABLE_IDS)
}

async fn mail(client: &Client, user: &str) -> Result<Counted> {
    // Only delta gives the whole tree flat.
    let url = format!("users/{}/mailFolders/delta?$select=id,totalItemCount", segment(user));
    let rows = client.ask_all(of_mailbox(user, url)).await?;
    // A delta may tell a folder twice; the last time counts.
    let folders: BTreeMap<&str, &Value> = rows.iter().filter_map(|row| Some((text(row, &["id"])?, row))).collect();
    let is_search = |type_name: &str| type_name.ends_with("mailSearchFolder");
    let with_messages = folders.values().filter(|f| !text(f, &["@odata.type"]).is_some_and(is_search));
    let messages: u64 = with_messages.filter_map(|folder| number(folder, &["totalItemCount"])).sum();
    let lists = folders.len() as u64;
    Ok(Counted { items: Some(messages + lists), bytes: None, lists: lists + 1 })
}

async fn contacts(client: &Client, user: &str) -> Result<Counted> {
    let url = format!("users/{}/contactFolders/delta?$select=id", segment(user));
    let rows = client.ask_all(of_mailbox(user, url)).await?;
    // The one that no list has besides those that are listed, each told once or more.
    let ids: BTreeSet<&str> = rows.iter().filter_map(|row| text(row, &["id"])).chain([DEFAULT_FOLDER]).collect();
    let lists = ids.into_iter().map(|id| format!("users/{}/contactFolders/{}/contacts", segment(user), segment(id)));
    sum(client, user, lists.collect()).await
}

/// Those of others, whom the backup may not read, are not counted.
async fn events(client: &Client, user: &str) -> Result<Counted> {
    let calendars = calendar::own_calendars(client, user).await?;
    let lists = calendars.iter().map(|id| format!("users/{}/calendars/{}/events", segment(user), segment(id)));
    sum(client, user, lists.collect()).await
}

/// Sums up lists that count what is in them; each is an item itself.
async fn sum(client: &Client, owner: &str, lists: Vec<String>) -> Result<Counted> {
    let number_of_lists = lists.len() as u64;
    let asked = lists.into_iter().map(|list| client.ask(of_mailbox(owner, format!("{list}?{ONLY_COUNT}"))));
    let mut items = Some(number_of_lists);
    for answer in futures::future::join_all(asked).await {
        let counted = number(&answer?, &["@odata.count"]);
        items = items.zip(counted).map(|(sum, counted)| sum + counted);
    }
    Ok(Counted { items, bytes: None, lists: number_of_lists + 1 })
}

async fn conversations(client: &Client, group: &str) -> Result<Counted> {
    let url = format!("groups/{}/threads?{ONLY_COUNT}", segment(group));
    let answer = client.ask(of_mailbox(group, url)).await?;
    Ok(Counted { items: number(&answer, &["@odata.count"]), bytes: None, lists: 1 })
}

async fn drive(client: &Client, drive: &str) -> Result<Counted> {
    let url = format!("drives/{}?$select=id,quota", segment(drive));
    let row = client.ask(GraphRequest::get(Scope::Files, url)).await?;
    let bytes = at(&row, &["quota"]).and_then(|quota| number(quota, &["used"]));
    Ok(Counted { items: None, bytes, lists: 1 })
}
