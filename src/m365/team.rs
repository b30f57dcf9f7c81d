//! What a team is made of: settings, members, channels with their members and tabs, apps, tags.
//!
//! Graph has neither delta nor times of change for any of it, so all is listed at every reading: five requests a team, one
//! a tag, one a standard channel, two a private or shared one. Where a channel keeps its files is asked once.
//!
//! Ids of members, tabs and tags are told below what they belong to: a member of a channel may have the id that they have
//! in the team. The files of a channel lie in a library, and are read there: those of standard channels in the site of the
//! team, those of private and shared ones in sites of their own. The facts `files_drive` and `files_item` of a channel
//! name the folder.
//! Source: Microsoft Graph, "Get team", "List members", "List channels", "List tabs", "List installed apps", "List tags".

use async_trait::async_trait;
use serde_json::Value;

use super::door::{Owner, Workload};
use super::facts::text;
use super::messages::ALL_MEMBERS;
use super::walk::{Source, Told, Walk, Walked, id_of};
use crate::error::{Error, Result};
use crate::format::record::ItemKind;
use crate::graph::links::segment;
use crate::graph::{Client, Fate, GraphRequest, Scope, TeamsCall, fate};

/// The drive of a channel's files.
const FILES_DRIVE: &str = "files_drive";
/// The folder of a channel's files in that drive.
const FILES_ITEM: &str = "files_item";

/// Names what a team is made of.
pub(super) fn team(client: Client, id: &str, name: &str) -> Walked<Team> {
    let source = Team { client: client.clone(), id: id.to_owned() };
    Walked::new(client, Owner::Team(id.to_owned()), name, Workload::Team, source)
}

/// The request for the channels that a team has itself.
pub(super) fn channels_request(team: &str) -> GraphRequest {
    let url = format!("teams/{}/channels", segment(team));
    GraphRequest::get(Scope::teams(TeamsCall::Channels, team), url).prefer(ALL_MEMBERS)
}

/// What one team is made of.
pub(super) struct Team {
    client: Client,
    id: String,
}

#[async_trait]
impl Source for Team {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        self.settings(walk).await?;
        for row in self.client.get_all(channels_request(&self.id)).await? {
            self.channel(walk, row).await?;
        }
        Ok(())
    }
}

impl Team {
    fn get(&self, call: TeamsCall, url: &str) -> GraphRequest {
        let url = format!("teams/{}{url}", segment(&self.id));
        GraphRequest::get(Scope::teams(call, &self.id), url).prefer(ALL_MEMBERS)
    }

    /// Tells the team itself, and below it members, apps and tags.
    async fn settings(&self, walk: &mut Walk<'_>) -> Result<()> {
        let mut team = self.client.get_json(self.get(TeamsCall::Team, "")).await?;
        if let Some(team) = team.as_object_mut() {
            team.shift_remove("@odata.context");
        }
        let (mut parts, mut failed) = (Vec::new(), None);
        let lists = [
            (self.get(TeamsCall::Channels, "/members?$top=999"), ItemKind::Member),
            (self.get(TeamsCall::Team, "/installedApps?$expand=teamsAppDefinition"), ItemKind::App),
            (self.get(TeamsCall::Other, "/tags"), ItemKind::Tag),
        ];
        for (request, kind) in lists {
            match self.client.get_all(request).await {
                Ok(rows) => parts.extend(rows.into_iter().filter_map(|row| part(row, kind, &self.id))),
                Err(error) => keep_first(&mut failed, error)?,
            }
        }
        let name = text(&team, &["displayName"]).unwrap_or_default().to_owned();
        let told = Told::new(ItemKind::Setting, &*self.id, "", &name, team).dated();
        walk.put(told.with_parts(parts.len() + usize::from(failed.is_some()))).await?;
        for part in parts {
            match part.record.kind {
                ItemKind::Tag => self.tag(walk, part).await?,
                _ => drop(walk.put(part).await?),
            }
        }
        match failed {
            Some(error) => walk.gap(&self.id, &name, ItemKind::Setting, error).await,
            None => {
                walk.was_read(&self.id);
                Ok(())
            }
        }
    }

    /// Tells a tag, and who has it.
    async fn tag(&self, walk: &mut Walk<'_>, tag: Told) -> Result<()> {
        let (id, name) = (tag.record.id.clone(), tag.record.name.clone());
        let graph_id = id_of(&tag.json).unwrap_or_default().to_owned();
        let request = self.get(TeamsCall::Other, &format!("/tags/{}/members", segment(&graph_id)));
        match self.client.get_all(request).await {
            Ok(rows) => {
                let members: Vec<Told> = rows.into_iter().filter_map(|row| part(row, ItemKind::Member, &id)).collect();
                walk.put(tag.with_parts(members.len())).await?;
                for member in members {
                    walk.put(member).await?;
                }
                walk.was_read(&id);
                Ok(())
            }
            Err(error) => {
                walk.put(tag.with_parts(1)).await?;
                walk.gap(&id, &name, ItemKind::Tag, error).await
            }
        }
    }

    /// Tells a channel, and below it members and tabs.
    async fn channel(&self, walk: &mut Walk<'_>, row: Value) -> Result<()> {
        let Some(id) = id_of(&row).map(str::to_owned) else { return Ok(()) };
        let get = |call: TeamsCall, url: &str| {
            let url = format!("teams/{}/channels/{}/{url}", segment(&self.id), segment(&id));
            GraphRequest::get(Scope::teams(call, &id), url).prefer(ALL_MEMBERS)
        };
        let mut failed = None;
        let (mut drive, mut item) = (String::new(), String::new());
        if let Some(known) = walk.known(&id).await? {
            let fact = |key| known.fact(key).unwrap_or_default().to_owned();
            (drive, item) = (fact(FILES_DRIVE), fact(FILES_ITEM));
        }
        if item.is_empty() {
            match self.client.get_json(get(TeamsCall::Other, "filesFolder?$select=id,parentReference")).await {
                Ok(folder) => {
                    drive = text(&folder, &["parentReference", "driveId"]).unwrap_or_default().to_owned();
                    item = id_of(&folder).unwrap_or_default().to_owned();
                }
                // Nobody has put a file there yet.
                Err(error) if fate(&error) == Fate::Gone => {}
                Err(error) => keep_first(&mut failed, error)?,
            }
        }
        let membership = text(&row, &["membershipType"]).unwrap_or_default().to_owned();
        let name = text(&row, &["displayName"]).unwrap_or_default().to_owned();
        let told = Told::new(ItemKind::Channel, &*id, "", &name, row).dated().fact("membership", &membership);
        walk.put(told.fact(FILES_DRIVE, &drive).fact(FILES_ITEM, &item)).await?;
        let members =
            (membership != "standard").then(|| (get(TeamsCall::Channels, "members?$top=999"), ItemKind::Member));
        let tabs = (get(TeamsCall::Team, "tabs?$expand=teamsApp"), ItemKind::Tab);
        for (request, kind) in members.into_iter().chain([tabs]) {
            match self.client.get_all(request).await {
                Ok(rows) => {
                    for part in rows.into_iter().filter_map(|row| part(row, kind, &id)) {
                        walk.put(part).await?;
                    }
                }
                Err(error) => keep_first(&mut failed, error)?,
            }
        }
        match failed {
            Some(error) => walk.gap(&id, &name, ItemKind::Channel, error).await,
            None => {
                walk.was_read(&id);
                Ok(())
            }
        }
    }
}

/// Keeps the first error of several lists; one that is no matter of this list is given back.
fn keep_first(first: &mut Option<Error>, error: Error) -> Result<()> {
    if matches!(super::contents::trouble(&error), super::contents::Trouble::Fatal) {
        return Err(error);
    }
    first.get_or_insert(error);
    Ok(())
}

pub(super) fn part(row: Value, kind: ItemKind, parent: &str) -> Option<Told> {
    let id = format!("{parent}/{}", id_of(&row)?);
    let named = text(&row, &["displayName"]).or_else(|| text(&row, &["teamsAppDefinition", "displayName"]));
    let name = named.unwrap_or_default().to_owned();
    let roles = row.get("roles").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let roles: Vec<&str> = roles.iter().filter_map(Value::as_str).collect();
    let roles = roles.join(", ");
    Some(Told::new(kind, id, parent, &name, row).fact("roles", &roles))
}
