//! The messages of a channel, with their replies and pictures.
//!
//! The first reading lists all messages, as delta reaches back eight months only, and then begins a delta at the newest
//! change of the list's first message: whatever changes from then on is told by it. Delta tells of a message when one of its
//! replies changed, too; replies never come on their own, so the whole chain is told again, and comes expanded. A message
//! that somebody took away is told with `deletedDateTime`, and stays.
//!
//! An empty channel has no delta ("Parameter 'DeltaToken' not supported"): its list is asked for again each time, as it
//! is where a delta link is no longer honoured.
//! Source: Microsoft Graph, "List channel messages", "chatMessage: delta", "List replies".

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::contents::{Trouble, trouble};
use super::door::{Owner, Workload};
use super::facts::time_us;
use super::messages::{ALL_MEMBERS, message, picture_path};
use super::walk::{Row, Rows, Source, Walk, Walked, id_of};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, Scope, TeamsCall};

/// The cursor of the messages.
const MESSAGES: &str = "messages";
/// So long before the newest change of the list's first message delta begins: clocks of servers differ.
const OVERLAP_US: i64 = 3_600_000_000;

/// Names the messages of a channel. `team_name` and `name` as people know them.
pub(super) fn channel(
    client: Client,
    (team, team_name): (&str, &str),
    (id, name): (&str, &str),
) -> Walked<ChannelMessages> {
    let source = ChannelMessages { client: client.clone(), team: team.to_owned(), channel: id.to_owned() };
    Walked::new(client, Owner::Team(team.to_owned()), team_name, Workload::Channel, source).one_of(id, name)
}

/// The messages of one channel.
pub(super) struct ChannelMessages {
    client: Client,
    team: String,
    channel: String,
}

#[async_trait]
impl Source for ChannelMessages {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        if !self.changes(walk).await? {
            self.everything(walk).await?;
        }
        let untold: Vec<String> = walk.left_to_list();
        for id in untold.iter().filter(|id| !id.contains('/')) {
            self.ask(walk, id).await?;
        }
        Ok(())
    }

    fn contents(&self, record: &Record) -> Option<GraphRequest> {
        let of_message = match record.parent.split_once('/') {
            None => format!("messages/{}", segment(&record.parent)),
            Some((root, reply)) => format!("messages/{}/replies/{}", segment(root), segment(reply)),
        };
        Some(self.get(&picture_path(&of_message, record)?))
    }
}

impl ChannelMessages {
    fn get(&self, url: &str) -> GraphRequest {
        let url = format!("teams/{}/channels/{}/{url}", segment(&self.team), segment(&self.channel));
        GraphRequest::get(Scope::teams(TeamsCall::Message, &self.channel), url).prefer(ALL_MEMBERS)
    }

    /// Tells what changed since the last reading; `false`: there is no link that says so, and all is to be told.
    async fn changes(&self, walk: &mut Walk<'_>) -> Result<bool> {
        let Some(saved) = walk.before.get(MESSAGES).filter(|link| !link.is_empty()).map(str::to_owned) else {
            return Ok(false);
        };
        let mut pages = self.client.delta(self.get("messages/delta"), Some(&saved)).together();
        let mut told = Vec::new();
        loop {
            match pages.next().await {
                Ok(Some(page)) => {
                    for row in page.rows.values() {
                        told.extend(self.chain(walk, row?).await?);
                    }
                }
                Ok(None) => break,
                Err(error) if is_lost(&error) => {
                    walk.resynced = true;
                    told.iter().for_each(|id| walk.untell(id));
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        walk.cursors.set(MESSAGES, pages.delta_link().unwrap_or_default());
        walk.unchanged_below("");
        Ok(true)
    }

    /// Tells all messages, and begins a delta.
    async fn everything(&self, walk: &mut Walk<'_>) -> Result<()> {
        let mut rows = Rows::list(&self.client, self.get("messages?$top=50&$expand=replies"));
        if !walk.is_first() && walk.known_below("").await?.is_empty() {
            // It was empty, and most likely is.
            rows = rows.together();
        }
        let mut begun = None;
        while let Some(row) = rows.next(walk).await? {
            if let Row::There(row) = row {
                begun = begun.or_else(|| newest(&row));
                self.chain(walk, row).await?;
            }
        }
        rows.close(walk, "");
        match begun {
            Some(begun_us) => self.begin_delta(walk, begun_us).await,
            None => Ok(()),
        }
    }

    /// Begins a delta that tells of what changes from now on; without one, all is listed next time.
    async fn begin_delta(&self, walk: &mut Walk<'_>, begun_us: i64) -> Result<()> {
        let from = Timestamp::from_microsecond(begun_us.saturating_sub(OVERLAP_US)).unwrap_or_default();
        let from = from.strftime("%Y-%m-%dT%H:%M:%SZ");
        let url = format!("messages/delta?$top=50&$expand=replies&$filter=lastModifiedDateTime%20gt%20{from}");
        let mut pages = self.client.delta(self.get(&url), None);
        loop {
            match pages.next().await {
                Ok(Some(page)) => {
                    for row in page.rows.values() {
                        self.chain(walk, row?).await?;
                    }
                }
                Ok(None) => break,
                Err(error) if is_lost(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        walk.cursors.set(MESSAGES, pages.delta_link().unwrap_or_default());
        Ok(())
    }

    /// Tells a message with its replies; gives the ids that were told.
    async fn chain(&self, walk: &mut Walk<'_>, mut row: Value) -> Result<Vec<String>> {
        let Some(root) = id_of(&row).map(str::to_owned) else { return Ok(Vec::new()) };
        let (replies, failed) = match self.replies(&root, &mut row).await {
            Ok(replies) => (replies, None),
            Err((replies, error)) => (replies, Some(error)),
        };
        let mut told = vec![root.clone()];
        let (root_told, pictures) = message(row, &root, "", replies.len() + usize::from(failed.is_some()));
        let name = root_told.record.name.clone();
        walk.put(root_told).await?;
        for picture in pictures {
            walk.put(picture).await?;
        }
        for reply in replies {
            let Some(id) = id_of(&reply).map(|id| format!("{root}/{id}")) else { continue };
            let (reply, pictures) = message(reply, &id, &root, 0);
            walk.put(reply).await?;
            for picture in pictures {
                walk.put(picture).await?;
            }
            told.push(id);
        }
        match failed {
            Some(error) => walk.gap(&root, &name, ItemKind::ChatMessage, error).await?,
            None => walk.was_read(&root),
        }
        Ok(told)
    }

    /// Takes the replies out of a message, and lists those that are not in it. With an error come those that were.
    async fn replies(&self, root: &str, row: &mut Value) -> std::result::Result<Vec<Value>, (Vec<Value>, Error)> {
        let row = row.as_object_mut();
        let (mut inline, mut next) = (None, None);
        if let Some(row) = row {
            inline = row.shift_remove("replies");
            next = row.shift_remove("replies@odata.nextLink").and_then(|link| link.as_str().map(str::to_owned));
            row.retain(|name, _| !name.starts_with("replies@"));
        }
        let (mut replies, rest) = match inline {
            Some(Value::Array(replies)) => (replies, next.map(|link| self.get("").with_url(link))),
            _ => (Vec::new(), Some(self.get(&format!("messages/{}/replies?$top=50", segment(root))))),
        };
        if let Some(rest) = rest {
            match self.client.get_all(rest).await {
                Ok(rows) => replies.extend(rows),
                Err(error) => return Err((replies, error)),
            }
        }
        Ok(replies)
    }

    /// Asks for one message of which something is a gap.
    async fn ask(&self, walk: &mut Walk<'_>, id: &str) -> Result<()> {
        match self.client.get_json(self.get(&format!("messages/{}", segment(id)))).await {
            Ok(mut row) => {
                if let Some(row) = row.as_object_mut() {
                    row.shift_remove("@odata.context");
                }
                self.chain(walk, row).await.map(drop)
            }
            Err(error) => {
                let name = walk.known(id).await?.map(|known| known.name).unwrap_or_default();
                walk.gap(id, &name, ItemKind::ChatMessage, error).await
            }
        }
    }
}

/// The newest change of a message and its replies.
fn newest(row: &Value) -> Option<i64> {
    let time = |row: &Value| time_us(row, &["lastModifiedDateTime"]).max(time_us(row, &["createdDateTime"]));
    let replies = row.get("replies").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    replies.iter().filter_map(time).chain(time(row)).max()
}

/// Says whether a channel has no delta, or no longer honours a link.
fn is_lost(error: &Error) -> bool {
    matches!(trouble(error), Trouble::Resync { .. }) || error.kind() == ErrorKind::InvalidInput
}
