//! Conversations: the threads of a group's mailbox, their posts, and what is attached to them.
//!
//! There is no delta. All threads are listed; the posts of a thread are, where something about it changed, and
//! `lastDeliveredDateTime` does with every new post. A single post that its author took away from the middle of a thread
//! is noticed when the thread changes next. Graph shows the conversations of the group's Inbox only, and which post answers
//! which (`inReplyTo`) only post by post; posts stand in the order of their times.
//! Source: Microsoft Graph, "List threads", "List posts", "List attachments".

use async_trait::async_trait;
use serde_json::Value;

use super::door::{Owner, Workload};
use super::facts::{flag, number, text, time_us};
use super::walk::{Row, Rows, Source, Told, Walk, Walked, id_of};
use crate::error::Result;
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, IMMUTABLE_IDS, Scope};

/// What is asked of attachments: all but their bytes, which come by themselves.
const ATTACHMENT: &str = "id,name,contentType,size,isInline,lastModifiedDateTime,\
    microsoft.graph.fileAttachment/contentId,microsoft.graph.fileAttachment/contentLocation";
/// The fact of an attachment that names its thread.
const THREAD: &str = "thread";

/// Names the conversations of a group.
pub(super) fn conversations(client: Client, group_id: &str, group_name: &str) -> Walked<Conversations> {
    let source = Conversations { client: client.clone(), group: group_id.to_owned() };
    Walked::new(client, Owner::Group(group_id.to_owned()), group_name, Workload::Conversations, source)
}

/// The conversations of one group.
pub(super) struct Conversations {
    client: Client,
    group: String,
}

#[async_trait]
impl Source for Conversations {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        let mut rows = Rows::list(&self.client, self.get("threads?$top=100")).together();
        while let Some(row) = rows.next(walk).await? {
            let Row::There(row) = row else { continue };
            let Some(thread) = thread(row) else { continue };
            let (id, name) = (thread.record.id.clone(), thread.record.name.clone());
            let told_before = walk.was_told(&id);
            if !walk.put(thread).await? {
                // What was listed in this reading already says more than what is known.
                if !told_before {
                    walk.unchanged_below(&id);
                }
            } else if let Err(error) = self.posts(walk, &id).await {
                walk.gap(&id, &name, ItemKind::Thread, error).await?;
            }
        }
        rows.close(walk, "");
        Ok(())
    }

    fn contents(&self, record: &Record) -> Option<GraphRequest> {
        let id = record.id.strip_prefix(&record.parent)?.strip_prefix('/')?;
        let url = format!("{}/attachments/{}/$value", of_post(record.fact(THREAD)?, &record.parent), segment(id));
        Some(self.get(&url))
    }
}

impl Conversations {
    fn get(&self, url: &str) -> GraphRequest {
        let url = format!("groups/{}/{url}", segment(&self.group));
        GraphRequest::get(Scope::Mailbox(self.group.clone()), url).prefer(IMMUTABLE_IDS)
    }

    async fn posts(&self, walk: &mut Walk<'_>, thread: &str) -> Result<()> {
        let mut rows = Rows::list(&self.client, self.get(&format!("threads/{}/posts?$top=100", segment(thread))));
        while let Some(row) = rows.next(walk).await? {
            if let Row::There(row) = row
                && let Some(post) = post(row, thread)
            {
                self.post(walk, thread, post).await?;
            }
        }
        rows.close(walk, thread);
        Ok(())
    }

    /// Tells a post, and what is attached to it.
    async fn post(&self, walk: &mut Walk<'_>, thread: &str, post: Told) -> Result<()> {
        if !may_have_attachments(&post.json) {
            return walk.put(post).await.map(drop);
        }
        let (id, name) = (post.record.id.clone(), post.record.name.clone());
        if let Some(parts) = walk.parts_as_known(&post).await? {
            walk.put(post.with_parts(parts)).await?;
            walk.unchanged_below(&id);
            return Ok(());
        }
        let url = format!("{}/attachments?$select={ATTACHMENT}", of_post(thread, &id));
        match self.client.get_all(self.get(&url)).await {
            Ok(rows) => {
                let attachments: Vec<Told> = rows.into_iter().filter_map(|row| attachment(row, thread, &id)).collect();
                walk.put(post.with_parts(attachments.len())).await?;
                for attachment in attachments {
                    walk.put(attachment).await?;
                }
                walk.was_read(&id);
                Ok(())
            }
            Err(error) => {
                walk.put(post.with_parts(1)).await?;
                walk.gap(&id, &name, ItemKind::Post, error).await
            }
        }
    }
}

fn of_post(thread: &str, post: &str) -> String {
    format!("threads/{}/posts/{}", segment(thread), segment(post))
}

fn thread(row: Value) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    let name = text(&row, &["topic"]).unwrap_or_default().to_owned();
    let delivered = time_us(&row, &["lastDeliveredDateTime"]);
    let mut told = Told::new(ItemKind::Thread, id, "", &name, row).sorted_by(delivered);
    told.record.modified_us = delivered;
    Some(told)
}

fn post(row: Value, thread: &str) -> Option<Told> {
    let id = id_of(&row)?.to_owned();
    let from = ["from", "sender"].iter().find_map(|who| {
        let who = |what| text(&row, &[who, "emailAddress", what]).filter(|text| !text.is_empty());
        who("name").or(who("address"))
    });
    let from = from.unwrap_or_default().to_owned();
    let received = time_us(&row, &["receivedDateTime"]);
    let name = super::excerpt::first_words(text(&row, &["body", "content"]).unwrap_or_default());
    Some(Told::new(ItemKind::Post, id, thread, &name, row).dated().sorted_by(received).fact("from", &from))
}

/// `hasAttachments` leaves out what is shown in the text.
fn may_have_attachments(post: &Value) -> bool {
    flag(post, &["hasAttachments"]) == Some(true)
        || text(post, &["body", "content"]).is_some_and(|body| body.contains("cid:"))
}

fn attachment(row: Value, thread: &str, post: &str) -> Option<Told> {
    let id = format!("{post}/{}", id_of(&row)?);
    let name = text(&row, &["name"]).unwrap_or_default().to_owned();
    let size = number(&row, &["size"]).unwrap_or_default();
    let version = format!("{} {size}", text(&row, &["lastModifiedDateTime"]).unwrap_or_default());
    let is_link = text(&row, &["@odata.type"]).is_some_and(|kind| kind.contains("referenceAttachment"));
    let kind = if is_link { ItemKind::Shortcut } else { ItemKind::Attachment };
    let told = Told::new(kind, id, post, &name, row).dated().sized(size).fact(THREAD, thread);
    Some(if is_link { told } else { told.with_contents(version) })
}
