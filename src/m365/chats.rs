//! The chats of a user: one to one, groups, meetings; topic, members, messages, pictures.
//!
//! A chat is kept at every user who takes part in it, not once for all. The export gives each user all messages of their
//! chats anyway, so that keeping a chat elsewhere would save no request for them; what people see of a chat differs (who
//! joins late may not see what was said before); and a chat that belonged to one member's collection would be lost from a
//! snapshot when members change between the readings of two collections. Contents that are equal are stored once.
//!
//! All chats are listed at every reading, with their members. Messages come by the export
//! (`/users/{id}/chats/getAllMessages`): all of them the first time, then those that changed since the newest message that
//! the list of chats showed (`lastMessagePreview`): it was there when the export began, however long the export took. Where a
//! user joined a chat, what was said before they did is listed from the chat itself. The export is for apps alone: a user who
//! is signed in is asked chat by chat, for what changed since then. A message that somebody took away comes with
//! `deletedDateTime`, and stays. A chat that is no longer listed for the user is gone from the snapshot, with its messages.
//! Source: Microsoft Graph, "List chats", "chats: getAllMessages", "List messages in a chat", "List members of a chat".

use std::collections::HashSet;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::door::{Owner, Workload};
use super::facts::{text, time_us};
use super::messages::{ALL_MEMBERS, message, picture_path};
use super::walk::{Row, Rows, Source, Told, Walk, Walked, id_of};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Caller, Client, GraphRequest, Scope, TeamsCall};

/// The cursor of the messages: the time since when changes are asked for.
const MESSAGES: &str = "messages";
/// A change may be told so long after it happened.
const OVERLAP_US: i64 = 600_000_000;
/// The export wants a time up to which changes are told, too. Nothing is newer than this.
const FAR: &str = "2100-01-01T00:00:00Z";
/// A list of chats gives no more members of each than this.
const MOST_EXPANDED: usize = 25;
/// So many members are named where a chat has no topic.
const NAMED: usize = 4;

/// Names the chats of a user.
pub(super) fn chats(client: Client, user_id: &str, user_name: &str) -> Walked<Chats> {
    let source = Chats { client: client.clone(), user: user_id.to_owned() };
    Walked::new(client, Owner::User(user_id.to_owned()), user_name, Workload::Chats, source)
}

/// The chats of one user.
pub(super) struct Chats {
    client: Client,
    user: String,
}

/// What is known of the chats while they are read.
#[derive(Default)]
struct Listed {
    /// The ids of the chats that Graph lists for the user.
    all: HashSet<String>,
    /// Those of which all messages are to be listed: id and name.
    whole: Vec<(String, String)>,
    /// When the newest message in them was written.
    newest_us: Option<i64>,
}

#[async_trait]
impl Source for Chats {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        let since = walk.before.get(MESSAGES).and_then(|text| text.parse::<Timestamp>().ok());
        let mut listed = Listed::default();
        self.chats(walk, &mut listed, since.is_some()).await?;
        match self.client.caller() {
            Caller::App => self.export(walk, &listed, since).await?,
            _ => self.each(walk, &mut listed, since).await?,
        }
        note_until(walk, listed.newest_us, since);
        for (id, name) in std::mem::take(&mut listed.whole) {
            if let Err(error) = self.whole(walk, &id).await {
                walk.gap(&id, &name, ItemKind::Chat, error).await?;
            }
        }
        for id in walk.left_to_list() {
            self.ask(walk, &id, &listed).await?;
        }
        Ok(())
    }

    fn contents(&self, record: &Record) -> Option<GraphRequest> {
        let (chat, id) = record.parent.rsplit_once('/')?;
        let path = picture_path(&format!("chats/{}/messages/{}", segment(chat), segment(id)), record)?;
        Some(get(TeamsCall::Message, &path))
    }
}

fn get(call: TeamsCall, url: &str) -> GraphRequest {
    GraphRequest::get(Scope::chats(call), url).prefer(ALL_MEMBERS)
}

impl Chats {
    /// Tells the chats that are listed.
    async fn chats(&self, walk: &mut Walk<'_>, listed: &mut Listed, changes_only: bool) -> Result<()> {
        let url = format!("users/{}/chats?$expand=members,lastMessagePreview&$top=50", segment(&self.user));
        let mut rows = Rows::list(&self.client, get(TeamsCall::Other, &url));
        while let Some(row) = rows.next(walk).await? {
            let Row::There(row) = row else { continue };
            let Some(id) = id_of(&row).map(str::to_owned) else { continue };
            listed.newest_us = listed.newest_us.max(time_us(&row, &["lastMessagePreview", "createdDateTime"]));
            if listed.all.insert(id.clone()) {
                let was_there = walk.known(&id).await?.is_some() && !walk.is_gap(&id);
                let name = self.chat(walk, &id, row).await?;
                match changes_only && was_there {
                    true => walk.unchanged_below(&id),
                    false if changes_only => listed.whole.push((id, name)),
                    false => {}
                }
            }
        }
        rows.close(walk, "");
        Ok(())
    }

    /// Tells a chat with all its members; gives its name.
    async fn chat(&self, walk: &mut Walk<'_>, id: &str, mut row: Value) -> Result<String> {
        let mut members = match row.as_object_mut() {
            Some(row) => {
                row.retain(|name, _| !["members@", "lastMessagePreview"].iter().any(|start| name.starts_with(start)));
                row.shift_remove("members")
            }
            None => None,
        };
        let some = members.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
        let modified = time_us(&row, &["lastUpdatedDateTime"]);
        if members.is_none() || some >= MOST_EXPANDED {
            let known = walk.known(id).await?.filter(|_| !walk.must_list(id));
            if let Some(known) = known.filter(|known| modified.is_some() && known.modified_us == modified) {
                walk.keep(id).await?;
                return Ok(known.name);
            }
            let url = format!("chats/{}/members?$top=999", segment(id));
            match self.client.get_all(get(TeamsCall::Channels, &url)).await {
                Ok(rows) => members = Some(rows.into()),
                Err(error) => {
                    let name = name(&row, members.as_ref());
                    walk.gap_of_listed(id, &name, ItemKind::Chat, error).await?;
                    if walk.known(id).await?.is_some() {
                        return Ok(name);
                    }
                }
            }
        }
        if let Some(Value::Array(members)) = &mut members {
            // Told in any order.
            members.sort_by(|a, b| id_of(a).cmp(&id_of(b)));
        }
        let name = name(&row, members.as_ref());
        let kind = text(&row, &["chatType"]).unwrap_or_default().to_owned();
        if let (Some(row), Some(members)) = (row.as_object_mut(), members) {
            row.insert("members".to_owned(), members);
        }
        let mut told = Told::new(ItemKind::Chat, id, "", &name, row).dated().fact("type", &kind);
        told.record.modified_us = modified;
        walk.put(told).await?;
        Ok(name)
    }

    /// Tells the messages of all chats that changed since a time, or all.
    async fn export(&self, walk: &mut Walk<'_>, listed: &Listed, since: Option<Timestamp>) -> Result<()> {
        let mut rows = self.exported(since.map(since_text));
        loop {
            match rows.next(walk).await {
                Ok(Some(Row::There(row))) => {
                    // A chat that began since the chats were listed is read whole next time; one that the user left
                    // is others'.
                    let chat = text(&row, &["chatId"]).filter(|chat| listed.all.contains(*chat)).map(str::to_owned);
                    if let Some(chat) = chat {
                        tell_in(walk, &chat, row).await?;
                    }
                }
                Ok(Some(Row::Gone(_))) => {}
                Ok(None) => break,
                // Without bounds it tells all, which does as well.
                Err(error) if since.is_some() && error.kind() == ErrorKind::InvalidInput => {
                    let text = "The export of chats refuses its bounds";
                    rows = self.exported_whole(walk, text, error)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells the messages of each chat that changed since a time; without one, all chats are to be read whole.
    async fn each(&self, walk: &mut Walk<'_>, listed: &mut Listed, since: Option<Timestamp>) -> Result<()> {
        let mut chats: Vec<(String, String)> = Vec::new();
        for id in &listed.all {
            if listed.whole.iter().all(|(whole, _)| whole != id) {
                let name = walk.known(id).await?.map_or_else(|| id.clone(), |known| known.name);
                chats.push((id.clone(), name));
            }
        }
        chats.sort_unstable();
        let Some(since) = since.map(since_text) else {
            listed.whole.append(&mut chats);
            return Ok(());
        };
        let bounds = format!("$orderby=lastModifiedDateTime%20desc&$filter=lastModifiedDateTime%20gt%20{since}");
        for (id, name) in chats {
            let url = format!("chats/{}/messages?$top=50&{bounds}", segment(&id));
            let mut rows = Rows::list(&self.client, get(TeamsCall::Message, &url));
            loop {
                match rows.next(walk).await {
                    Ok(Some(Row::There(row))) => tell_in(walk, &id, row).await?,
                    Ok(Some(Row::Gone(_))) => {}
                    Ok(None) => break,
                    Err(error) => {
                        walk.gap(&id, &name, ItemKind::Chat, error).await?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn exported(&self, since: Option<String>) -> Rows {
        let bounds = since.map_or(String::new(), |since| {
            format!("&$filter=lastModifiedDateTime%20gt%20{since}%20and%20lastModifiedDateTime%20lt%20{FAR}")
        });
        let url = format!("users/{}/chats/getAllMessages?$top=50{bounds}", segment(&self.user));
        Rows::list(&self.client, get(TeamsCall::Export, &url))
    }

    /// The export without bounds, once.
    fn exported_whole(&self, walk: &mut Walk<'_>, text: &str, error: Error) -> Result<Rows> {
        if std::mem::replace(&mut walk.resynced, true) {
            return Err(error.context(text));
        }
        Ok(self.exported(None))
    }

    /// Tells all messages of one chat.
    async fn whole(&self, walk: &mut Walk<'_>, chat: &str) -> Result<()> {
        let url = format!("chats/{}/messages?$top=50", segment(chat));
        let mut rows = Rows::list(&self.client, get(TeamsCall::Message, &url));
        while let Some(row) = rows.next(walk).await? {
            if let Row::There(row) = row {
                tell_in(walk, chat, row).await?;
            }
        }
        rows.close(walk, chat);
        Ok(())
    }

    /// Asks for one message of which something is a gap.
    async fn ask(&self, walk: &mut Walk<'_>, id: &str, listed: &Listed) -> Result<()> {
        let Some(known) = walk.known(id).await?.filter(|known| known.kind == ItemKind::ChatMessage) else {
            return Ok(());
        };
        let graph_id = id.strip_prefix(&known.parent).and_then(|id| id.strip_prefix('/')).unwrap_or_default();
        if !listed.all.contains(&known.parent) || graph_id.is_empty() {
            return Ok(());
        }
        let url = format!("chats/{}/messages/{}", segment(&known.parent), segment(graph_id));
        match self.client.get_json(get(TeamsCall::Message, &url)).await {
            Ok(mut row) => {
                if let Some(row) = row.as_object_mut() {
                    row.shift_remove("@odata.context");
                }
                tell_in(walk, &known.parent, row).await
            }
            Err(error) => walk.gap(id, &known.name, ItemKind::ChatMessage, error).await,
        }
    }
}

/// Notes since when changes are to be told next time: whatever changed before was there when messages were asked for.
fn note_until(walk: &mut Walk<'_>, newest_us: Option<i64>, since: Option<Timestamp>) {
    let begun_us = newest_us.map(|us| us.saturating_sub(OVERLAP_US)).max(since.map(Timestamp::as_microsecond));
    if let Some(begun) = begun_us.and_then(|us| Timestamp::from_microsecond(us).ok()) {
        walk.cursors.set(MESSAGES, since_text(begun));
    }
}

fn since_text(since: Timestamp) -> String {
    since.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

async fn tell_in(walk: &mut Walk<'_>, chat: &str, row: Value) -> Result<()> {
    let Some(id) = id_of(&row).map(|id| format!("{chat}/{id}")) else { return Ok(()) };
    let (told, pictures) = message(row, &id, chat, 0);
    walk.put(told).await?;
    for picture in pictures {
        walk.put(picture).await?;
    }
    walk.was_read(&id);
    Ok(())
}

/// The topic of a chat, or who takes part.
fn name(row: &Value, members: Option<&Value>) -> String {
    if let Some(topic) = text(row, &["topic"]).filter(|topic| !topic.trim().is_empty()) {
        return topic.to_owned();
    }
    let members = members.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut names: Vec<&str> = members.iter().filter_map(|member| text(member, &["displayName"])).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match (names.join(", "), more) {
        (names, _) if names.is_empty() => "chat".to_owned(),
        (names, 0) => names,
        (names, more) => format!("{names} and {more} more"),
    }
}
