//! What there is to read of a collection, by counts that Graph keeps anyway: a request or two a collection.
//!
//! Source: Microsoft Graph, "mailFolder resource type" (`totalItemCount`), "drive resource type" (`quota`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::door::{CollectionKey, Workload};
use super::facts::{at, number, text};
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, Fate, GraphRequest, IMMUTABLE_IDS, Scope, fate};

/// Messages on a page, and items of a drive.
const MESSAGES_A_PAGE: u64 = 500;
const FILES_A_PAGE: u64 = 200;

/// Which of Microsoft's budgets pays for a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pays {
    /// Its mailbox.
    Mailbox,
    /// The tenant's resource units of SharePoint.
    Files,
    /// The directory's units.
    Directory,
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
        Workload::Team | Workload::Channel | Workload::Planner | Workload::Chats => Pays::Directory,
        _ => Pays::Mailbox,
    }
}

/// Says how many requests read so many items of a workload in so many lists, each item with its contents.
pub fn requests(workload: Workload, items: u64, lists: u64) -> u64 {
    let (page, contents) = match workload {
        Workload::Mail => (MESSAGES_A_PAGE, items),
        Workload::OneDrive | Workload::Files => (FILES_A_PAGE, items),
        _ => (FILES_A_PAGE, 0),
    };
    lists.max(1) + items / page + contents
}

/// Counts what there is in a collection. What is not counted by the service stays unknown.
///
/// # Errors
/// What makes the whole tenant unreadable.
pub async fn count(client: &Client, key: &CollectionKey) -> Result<Counted> {
    let counted = match key.workload {
        Workload::Mail => mail(client, key.owner.id()).await,
        Workload::OneDrive | Workload::Files if !key.id.is_empty() => drive(client, &key.id).await,
        _ => return Ok(Counted::default()),
    };
    match counted {
        Err(error) if fate(&error) != Fate::Fatal => Ok(Counted::default()),
        other => other,
    }
}

async fn mail(client: &Client, user: &str) -> Result<Counted> {
    // Only delta gives the whole tree flat.
    let url = format!("users/{}/mailFolders/delta?$select=id,totalItemCount", segment(user));
    let request = GraphRequest::get(Scope::Mailbox(user.to_owned()), url).prefer(IMMUTABLE_IDS);
    let rows = client.get_all(request).await?;
    // A delta may tell a folder twice; the last time counts.
    let folders: BTreeMap<&str, &Value> = rows.iter().filter_map(|row| Some((text(row, &["id"])?, row))).collect();
    let is_search = |type_name: &str| type_name.ends_with("mailSearchFolder");
    let with_messages = folders.values().filter(|f| !text(f, &["@odata.type"]).is_some_and(is_search));
    let messages: u64 = with_messages.filter_map(|folder| number(folder, &["totalItemCount"])).sum();
    let lists = folders.len() as u64;
    Ok(Counted { items: Some(messages + lists), bytes: None, lists: lists + 1 })
}

async fn drive(client: &Client, drive: &str) -> Result<Counted> {
    let url = format!("drives/{}?$select=id,quota", segment(drive));
    let row = client.get_json(GraphRequest::get(Scope::Files, url)).await?;
    let bytes = at(&row, &["quota"]).and_then(|quota| number(quota, &["used"]));
    Ok(Counted { items: None, bytes, lists: 1 })
}
