//! What a team is made of: settings, members, channels with their members and tabs, apps, tags.
//!
//! Graph has neither delta nor times of change for any of it, so all is listed at every reading: five questions a team, one
//! a tag, one a standard channel, two a private or shared one, as many at once as Teams answers, in few round trips (`$batch`).
//! Where a channel keeps its files is asked once.
//!
//! Ids of members, tabs and tags are told below what they belong to: a member of a channel may have the id that they have
//! in the team. The files of a channel lie in a library, and are read there: those of standard channels in the site of the
//! team, those of private and shared ones in sites of their own. The facts `files_drive` and `files_item` of a channel
//! name the folder.
//! Source: Microsoft Graph, "Get team", "List members", "List channels", "List tabs", "List installed apps", "List tags".

use async_trait::async_trait;
use futures::StreamExt;
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

/// The directory's id of a member.
pub(super) const MEMBER_USER: &str = "user";
/// The address of a member.
pub(super) const MEMBER_EMAIL: &str = "email";

/// The lists that a team has itself.
const LISTS: [(TeamsCall, &str, ItemKind); 3] = [
    (TeamsCall::Channels, "/members?$top=999", ItemKind::Member),
    (TeamsCall::Team, "/installedApps?$expand=teamsAppDefinition", ItemKind::App),
    (TeamsCall::Other, "/tags", ItemKind::Tag),
];
/// Channels of a team that are asked about at once.
const CHANNELS_AT_ONCE: usize = 8;

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

/// What was asked about a channel.
struct Channel {
    id: String,
    row: Value,
    files: Result<(String, String)>,
    lists: Vec<(ItemKind, Result<Vec<Value>>)>,
}

/// What one team is made of.
pub(super) struct Team {
    client: Client,
    id: String,
}

#[async_trait]
impl Source for Team {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        let lists = LISTS.iter().map(|(call, url, _)| self.get(*call, url));
        let (team, channels, lists) = futures::join!(
            self.client.ask(self.get(TeamsCall::Team, "")),
            self.client.ask_all(channels_request(&self.id)),
            self.client.ask_all_of(lists),
        );
        self.settings(walk, team?, lists).await?;
        let mut asked = Vec::new();
        for row in channels? {
            let Some(id) = id_of(&row).map(str::to_owned) else { continue };
            let known = walk.known(&id).await?;
            let fact = |key| known.as_ref().and_then(|known| known.fact(key)).unwrap_or_default().to_owned();
            let files = (fact(FILES_DRIVE), fact(FILES_ITEM));
            asked.push(self.ask_channel(id, row, files));
        }
        let mut channels = futures::stream::iter(asked).buffered(CHANNELS_AT_ONCE);
        while let Some(channel) = channels.next().await {
            self.channel(walk, channel).await?;
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
    async fn settings(&self, walk: &mut Walk<'_>, mut team: Value, lists: Vec<Result<Vec<Value>>>) -> Result<()> {
        if let Some(team) = team.as_object_mut() {
            team.shift_remove("@odata.context");
        }
        let (mut parts, mut failed) = (Vec::new(), None);
        for ((_, _, kind), rows) in LISTS.iter().zip(lists) {
            match rows {
                Ok(rows) => parts.extend(rows.into_iter().filter_map(|row| part(row, *kind, &self.id))),
                Err(error) => keep_first(&mut failed, error)?,
            }
        }
        let name = text(&team, &["displayName"]).unwrap_or_default().to_owned();
        let told = Told::new(ItemKind::Setting, &*self.id, "", &name, team).dated();
        walk.put(told.with_parts(parts.len() + usize::from(failed.is_some()))).await?;
        let (tags, parts): (Vec<Told>, Vec<Told>) =
            parts.into_iter().partition(|part| part.record.kind == ItemKind::Tag);
        for part in parts {
            walk.put(part).await?;
        }
        let members = self.client.ask_all_of(tags.iter().map(|tag| self.members_of(tag))).await;
        for (tag, members) in tags.into_iter().zip(members) {
            self.tag(walk, tag, members).await?;
        }
        match failed {
            Some(error) => walk.gap(&self.id, &name, ItemKind::Setting, error).await,
            None => {
                walk.was_read(&self.id);
                Ok(())
            }
        }
    }

    fn members_of(&self, tag: &Told) -> GraphRequest {
        let id = id_of(&tag.json).unwrap_or_default();
        self.get(TeamsCall::Other, &format!("/tags/{}/members", segment(id)))
    }

    /// Tells a tag, and who has it.
    async fn tag(&self, walk: &mut Walk<'_>, tag: Told, members: Result<Vec<Value>>) -> Result<()> {
        let (id, name) = (tag.record.id.clone(), tag.record.name.clone());
        match members {
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

    /// Asks for members and tabs of a channel, and where its files are unless that is known.
    async fn ask_channel(&self, id: String, row: Value, files: (String, String)) -> Channel {
        let get = |call: TeamsCall, url: &str| {
            let url = format!("teams/{}/channels/{}/{url}", segment(&self.id), segment(&id));
            GraphRequest::get(Scope::teams(call, &id), url).prefer(ALL_MEMBERS)
        };
        let standard = text(&row, &["membershipType"]).unwrap_or_default() == "standard";
        let members = (!standard).then(|| (ItemKind::Member, get(TeamsCall::Channels, "members?$top=999")));
        let tabs = (ItemKind::Tab, get(TeamsCall::Team, "tabs?$expand=teamsApp"));
        let (kinds, requests): (Vec<_>, Vec<_>) = members.into_iter().chain([tabs]).unzip();
        let lists = self.client.ask_all_of(requests);
        let folder = get(TeamsCall::Other, "filesFolder?$select=id,parentReference");
        let (lists, files) = match files.1.is_empty() {
            true => futures::join!(lists, async { self.client.ask(folder).await.map(|folder| files_of(&folder)) }),
            false => (lists.await, Ok(files)),
        };
        let lists = kinds.into_iter().zip(lists).collect();
        Channel { id, row, files, lists }
    }

    /// Tells a channel, and below it members and tabs.
    async fn channel(&self, walk: &mut Walk<'_>, Channel { id, row, files, lists }: Channel) -> Result<()> {
        let mut failed = None;
        let (drive, item) = match files {
            Ok(files) => files,
            // Nobody has put a file there yet.
            Err(error) if fate(&error) == Fate::Gone => Default::default(),
            Err(error) => {
                keep_first(&mut failed, error)?;
                Default::default()
            }
        };
        let membership = text(&row, &["membershipType"]).unwrap_or_default().to_owned();
        let name = text(&row, &["displayName"]).unwrap_or_default().to_owned();
        let told = Told::new(ItemKind::Channel, &*id, "", &name, row).dated().fact("membership", &membership);
        walk.put(told.fact(FILES_DRIVE, &drive).fact(FILES_ITEM, &item)).await?;
        for (kind, rows) in lists {
            match rows {
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

/// The drive and the folder of a channel's files.
fn files_of(folder: &Value) -> (String, String) {
    let drive = text(folder, &["parentReference", "driveId"]).unwrap_or_default().to_owned();
    (drive, id_of(folder).unwrap_or_default().to_owned())
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
    // People may be called alike.
    let of_person = |key: &str| text(&row, &[key]).filter(|_| kind == ItemKind::Member).unwrap_or_default().to_owned();
    let (user, email) = (of_person("userId"), of_person("email"));
    Some(
        Told::new(kind, id, parent, &name, row)
            .fact("roles", &roles)
            .fact(MEMBER_USER, &user)
            .fact(MEMBER_EMAIL, &email),
    )
}
