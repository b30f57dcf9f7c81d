//! Messages and folders go back into a mailbox: as sent, with their dates, state and attachments.
//!
//! A message is made by one POST, which also puts a mark on it: where the answer was lost, the mark tells whether it is there.
//! What its attachments have become is not told by it, so a message that is found after an interruption is made again.
//!
//! Source: Microsoft Graph, "Create message", "Add attachment", "attachment: createUploadSession", "Create MailFolder".

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use serde_json::{Value, json};

use super::api::Api;
use super::compose::{Composed, Enclosure, SESSION_BYTES, compose, state};
use super::model;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record, StreamRole};
use crate::graph::{Fate, Scope, UploadSource, fate, is_doubtful};
use crate::m365::door::Workload;
use crate::m365::facts::text;
use crate::m365::restore::attachments::ATTACHMENTS;
use crate::m365::restore::{
    Cost, Extras, Fit, Found, Made, Order, Present, Since, Source, Target, Undo, Unlogged, rows,
};

/// The top of a mailbox's folders.
const TOP: &str = "msgfolderroot";
/// The longest message that is held to be made again.
const MESSAGE_BYTES: u64 = 160 << 20;
/// Folders do not lie deeper in one another.
const MAX_DEPTH: usize = 300;
/// What people change of a draft, the last by sending it.
const DRAFT: &[&str] =
    &["subject", "bodyPreview", "toRecipients", "ccRecipients", "bccRecipients", "categories", "flag", "isDraft"];
/// What people change of any other message that a restore made. That it was read is no change: it is by looking at it.
const SENT: &[&str] = &["subject", "importance", "categories", "flag", "isDraft"];
/// How often a message is begun anew where nobody knows what became of a request.
const TRIES: u32 = 4;
/// Names by which Graph finds folders whatever they are called in the mailbox.
pub(in crate::m365) const WELL_KNOWN: [&str; 8] =
    ["inbox", "drafts", "sentitems", "deleteditems", "junkemail", "outbox", "archive", "conversationhistory"];
/// The folder of all that was deleted from Deleted Items.
const RECOVERABLE: &str = "recoverableitemsroot";
/// The folder below it into which Graph deletes.
const DELETIONS: &str = "recoverableitemsdeletions";

/// The mail of one mailbox, as a target.
pub(in crate::m365) struct MailTarget {
    api: Api,
    user: String,
    path: String,
    /// The ids of folders with well-known names, by id.
    well_known: HashMap<String, &'static str>,
    /// The id of the top of the folders that people see.
    top: String,
    /// Folders of which is known whether they lie among what was deleted.
    bins: Mutex<HashMap<String, bool>>,
}

impl MailTarget {
    /// Opens a mailbox, by the directory's id of its user and the name to show.
    ///
    /// # Errors
    /// Graph's: there is no such mailbox, or it may not be read.
    pub(in crate::m365) async fn open(client: crate::graph::Client, user: &str, name: &str) -> Result<Self> {
        let api = Api::new(client, user);
        let (mut well_known, mut top) = (HashMap::new(), String::new());
        for known in WELL_KNOWN {
            match api.folder(known).await {
                Ok(folder) => {
                    if let Some(id) = text(&folder, &["id"]) {
                        well_known.insert(id.to_owned(), known);
                    }
                    if let Some(above) = text(&folder, &["parentFolderId"]).filter(|_| known == "inbox") {
                        above.clone_into(&mut top);
                    }
                }
                // Every mailbox has the first of them; where that is not there, there is no mailbox.
                Err(e) if known != "inbox" && fate(&e) == Fate::Gone => {}
                Err(e) => return Err(e.context(format!("The mailbox of {name} cannot be opened"))),
            }
        }
        let path = format!("users/{name}/{}", Workload::Mail.title());
        Ok(Self { api, user: user.to_owned(), path, well_known, top, bins: Mutex::default() })
    }

    /// The id of the folder that something lies in.
    fn above<'a>(&'a self, parent: &'a str) -> &'a str {
        if parent.is_empty() { &self.top } else { parent }
    }

    fn folder_identity(&self, id: &str, name: &str) -> String {
        match self.well_known.get(id) {
            Some(known) => format!("folder:{known}"),
            None => format!("folder:{}", name.to_lowercase()),
        }
    }

    /// Says whether a folder lies among what was deleted: below Deleted Items or Recoverable Items, or not below the top of what
    /// people see.
    async fn is_bin(&self, folder: &str) -> Result<bool> {
        let is_first = self.bins.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if is_first {
            match self.api.folder(RECOVERABLE).await {
                Ok(row) => {
                    let id = text(&row, &["id"]).map(|id| (id.to_owned(), true));
                    self.bins.lock().unwrap_or_else(PoisonError::into_inner).extend(id);
                }
                Err(e) if fate(&e) == Fate::Gone => {}
                Err(e) => return Err(e),
            }
        }
        let known = |id: &str| self.bins.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied();
        let (mut at, mut passed) = (folder.to_owned(), Vec::new());
        let is_bin = loop {
            match self.well_known.get(&at) {
                Some(&"deleteditems") => break true,
                Some(_) => break false,
                None => {}
            }
            if let Some(is_bin) = known(&at) {
                break is_bin;
            }
            let above = match self.api.folder(&at).await {
                Ok(row) => text(&row, &["parentFolderId"]).map(str::to_owned),
                Err(e) if fate(&e) == Fate::Gone => break true,
                Err(e) => return Err(e),
            };
            passed.push(std::mem::take(&mut at));
            match above {
                Some(above) if above == self.top => break false,
                Some(above) if passed.len() < MAX_DEPTH && !passed.contains(&above) => at = above,
                _ => break true,
            }
        };
        let mut bins = self.bins.lock().unwrap_or_else(PoisonError::into_inner);
        bins.extend(passed.into_iter().map(|id| (id, is_bin)));
        Ok(is_bin)
    }

    /// Says whether a message lies where Graph deletes to: by its id it is still found there.
    async fn is_deleted(&self, message: &Value) -> Result<bool> {
        match self.api.folder(DELETIONS).await {
            Ok(row) => Ok(text(&row, &["id"]) == text(message, &["parentFolderId"])),
            Err(e) if fate(&e) == Fate::Gone => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn messages(&self, folder: &str, mut each: impl FnMut(Record)) -> Result<()> {
        let mut next = None;
        loop {
            let page = self.api.list_page(folder, next.as_deref()).await?;
            for row in page.rows.values() {
                each_record(&row?, folder, &mut each);
            }
            next = page.next_link;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    async fn create_folder(&self, order: Order<'_>) -> Result<Made> {
        let parent = if order.parent.is_empty() { TOP } else { order.parent };
        let body = json!({"displayName": order.name, "isHidden": order.record.fact("hidden").is_some()});
        match self.api.create_folder(parent, &body).await {
            Ok(folder) => Ok(Made::new(ItemKind::MailFolder, id_of(&folder)?, order.parent)),
            // An answer was lost: what is there is ours. Where somebody was faster it is not, and undo leaves it.
            Err(e) if e.kind() == ErrorKind::AlreadyExists || is_doubtful(&e) => {
                let found = self.folder_named(parent, order.name).await?;
                match (found, is_doubtful(&e)) {
                    (Some(id), true) => Ok(Made::new(ItemKind::MailFolder, id, order.parent)),
                    (Some(id), false) => Ok(Made { id, ..Made::default() }),
                    (None, _) => Err(e),
                }
            }
            Err(e) => Err(e),
        }
    }

    async fn folder_named(&self, parent: &str, name: &str) -> Result<Option<String>> {
        let parent = if parent.is_empty() { TOP } else { parent };
        let folders = self.api.child_folders(parent).await?;
        let same = |row: &&Value| text(row, &["displayName"]).is_some_and(|n| n.to_lowercase() == name.to_lowercase());
        Ok(folders.iter().find(same).and_then(|row| text(row, &["id"])).map(str::to_owned))
    }

    async fn create_message(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        // The message, and its parts as they are sent.
        let size_bytes = order.record.stream(StreamRole::Mime).map_or(0, |stream| stream.size_bytes);
        let _held = source.room(size_bytes.saturating_mul(2)).await?;
        let properties = source.properties(order.record).await?;
        let mime = read(source, order.record).await?;
        let composed = compose(&properties, &mime, order.mark);
        let folder = if order.parent.is_empty() { TOP } else { order.parent };
        let held = if is_draft(order.record) { DRAFT } else { SENT };
        let mut tries = 0;
        loop {
            tries += 1;
            let message = self.post(folder, &composed, order.mark).await?;
            let id = id_of(&message)?;
            let state = rows::state(&message, held);
            let mut made = Made { state, ..Made::new(ItemKind::Message, &id, order.parent) };
            rows::tell_folder(&mut made, &message);
            if !composed.later.is_empty() {
                rows::note(&made, order).await?;
            }
            match self.attach_all(&id, &composed.later).await {
                Ok(()) => {
                    // What people attach something to again is a draft.
                    if is_draft(order.record) {
                        made.tell(ATTACHMENTS, &self.attached(&id).await.unwrap_or_default());
                    }
                    return Ok(Made { notes: composed.notes, ..made });
                }
                // What became of an attachment is not known: the message is made again.
                Err(e) if is_doubtful(&e) && tries < TRIES => self.api.delete_message(&id).await?,
                Err(e) => {
                    // A message without its attachments must not stay. If this fails too, the mark finds it.
                    drop(self.api.delete_message(&id).await);
                    return Err(e);
                }
            }
        }
    }

    /// Makes the message, once: where the answer was lost its mark tells. Gives what Graph tells of it, its id at least.
    async fn post(&self, folder: &str, composed: &Composed, mark: &str) -> Result<Value> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.api.create_message(folder, &composed.json).await {
                Ok(message) => return Ok(message),
                Err(e) if is_doubtful(&e) => match self.api.marked(folder, mark).await?.into_iter().next() {
                    Some(id) => return Ok(self.api.message(&id).await.unwrap_or_else(|_| json!({"id": id}))),
                    None if tries < TRIES => {}
                    None => return Err(e),
                },
                Err(e) => return Err(e),
            }
        }
    }

    /// What is attached to a message now.
    async fn attached(&self, message: &str) -> Result<String> {
        Ok(rows::state_of_all(&self.api.attachments(message).await?, &["lastModifiedDateTime", "name", "size"]))
    }

    async fn attach_all(&self, message: &str, files: &[Enclosure]) -> Result<()> {
        for file in files {
            if file.bytes.len() >= SESSION_BYTES {
                let done = self.api.upload_attachment(message, &file.item(), &InMemory(file.bytes.clone())).await?;
                if !done {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "The answer to the last part of an upload was lost",
                    )
                    .with_source(crate::graph::error::TransportError {
                        connect: false,
                        text: "the upload session is gone".into(),
                    }));
                }
            } else {
                self.api.attach(message, &file.json()).await?;
            }
        }
        Ok(())
    }

    /// Makes a draft in the place of another, which is put aside.
    async fn replace_draft(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let folder = if order.parent.is_empty() { TOP } else { order.parent };
        // An earlier try that nobody heard the end of may have made it.
        for id in self.api.marked(folder, order.mark).await? {
            self.api.delete_message(&id).await?;
        }
        let made = self.create_message(order, source).await?;
        rows::note(&made, order).await?;
        let aside = Undo::MoveBack { id: present.to_owned(), parent: order.parent.to_owned() };
        let aside = order.log.note(aside).await?;
        self.api.move_message(present, "deleteditems").await?;
        Ok(Made { undo: made.undo.into_iter().chain([aside]).collect(), ..made })
    }

    /// Moves what was put aside back to where it was, if it is not there.
    async fn move_back(&self, id: &str, parent: &str) -> Result<()> {
        match text(&self.api.message(id).await?, &["parentFolderId"]) {
            Some(folder) if folder == parent => Ok(()),
            _ => self.api.move_message(id, parent).await,
        }
    }

    async fn undo_folder(&self, id: &str) -> Result<Option<String>> {
        let mut inside = !self.api.child_folders(id).await?.is_empty();
        if !inside {
            let page = self.api.list_page(id, None).await?;
            inside = page.rows.values().next().is_some();
        }
        if inside {
            return Ok(Some("the folder holds what this restore did not put there".to_owned()));
        }
        self.api.delete_folder(id).await?;
        Ok(None)
    }
}

fn is_draft(record: &Record) -> bool {
    record.fact("draft").is_some()
}

fn each_record(row: &Value, folder: &str, each: &mut impl FnMut(Record)) {
    if let Some(told) = model::message(row, folder) {
        each(told.record);
    }
}

fn id_of(value: &Value) -> Result<String> {
    let id = text(value, &["id"]).map(str::to_owned);
    id.ok_or_else(|| Error::corrupt("Graph made something and does not tell its id"))
}

async fn read(source: &dyn Source, record: &Record) -> Result<Bytes> {
    let missing = || Error::not_found(format!("The contents of a {} are not in this snapshot", record.kind.word()));
    let mut open = source.open(record, StreamRole::Mime, 0).await?.ok_or_else(missing)?;
    if open.size_bytes > MESSAGE_BYTES {
        return Err(Error::invalid(format!("A message of {} bytes is larger than any mailbox takes", open.size_bytes)));
    }
    let mut bytes = Vec::new();
    while let Some(part) = open.bytes.next().await {
        bytes.extend_from_slice(&part?);
    }
    Ok(bytes.into())
}

/// An attachment that is held whole.
struct InMemory(Bytes);

#[async_trait]
impl UploadSource for InMemory {
    async fn open(&self, from: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.0.len());
        let rest = self.0.slice(from..);
        Ok(stream::iter((!rest.is_empty()).then_some(Ok(rest))).boxed())
    }
}

#[async_trait]
impl Target for MailTarget {
    fn workload(&self) -> Workload {
        Workload::Mail
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn scope(&self) -> Scope {
        Scope::Mailbox(self.user.clone())
    }

    fn permission(&self) -> &'static str {
        "Mail.ReadWrite"
    }

    async fn probe(&self) -> Result<()> {
        self.api.folder("inbox").await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::MailFolder => Fit::Takes(Cost { requests: 1, units: 1, bytes: 0 }),
            ItemKind::MailSearchFolder => {
                Fit::Cannot("a search folder holds nothing of its own: make it anew in Outlook".to_owned())
            }
            ItemKind::Message => match record.stream(StreamRole::Mime) {
                None => Fit::Cannot("its contents are not in this snapshot".to_owned()),
                Some(mime) => {
                    // Up to this size it fits into one request.
                    let sessions = mime.size_bytes / 3_400_000;
                    let requests = 1 + if sessions > 0 { sessions + 1 } else { 0 };
                    Fit::Takes(Cost { requests, units: requests, bytes: mime.size_bytes })
                }
            },
            other => Fit::Cannot(format!("a {} is not made in a mailbox", other.word())),
        }
    }

    fn overwriting(&self, record: &Record, cost: Cost) -> Cost {
        // Of what was sent the state alone changes.
        if is_draft(record) { cost } else { Cost { requests: 2, units: 2, bytes: 300 } }
    }

    fn identity(&self, record: &Record) -> String {
        match record.kind {
            ItemKind::MailFolder | ItemKind::MailSearchFolder => match record.fact("well_known") {
                Some(known) => format!("folder:{known}"),
                None => self.folder_identity(&record.id, &record.name),
            },
            _ => match record.fact("message_id") {
                Some(id) => format!("message:{id}"),
                None => format!("message:{}:{}", record.sort_us.unwrap_or_default(), record.name),
            },
        }
    }

    fn state(&self, record: &Record) -> String {
        record.fact("state").unwrap_or_default().to_owned()
    }

    async fn present(&self, parent: &str) -> Result<Vec<Present>> {
        let parent = if parent.is_empty() { TOP } else { parent };
        let mut all = Vec::new();
        for row in self.api.child_folders(parent).await? {
            let Some(told) = model::folder(&row) else { continue };
            let identity = self.folder_identity(&told.record.id, &told.record.name);
            let (id, kind) = (told.record.id, told.record.kind);
            all.push(Present { id, kind, identity, state: String::new(), modified_us: None });
        }
        let mut add = |record: Record| {
            let (identity, state) = (self.identity(&record), self.state(&record));
            let modified_us = record.modified_us;
            all.push(Present { id: record.id, kind: ItemKind::Message, identity, state, modified_us });
        };
        if parent != TOP {
            self.messages(parent, &mut add).await?;
        }
        Ok(all)
    }

    async fn has_moved(&self, record: &Record) -> Result<bool> {
        if !matches!(record.kind, ItemKind::Message | ItemKind::MailFolder) {
            return Ok(false);
        }
        let asked = match record.kind {
            ItemKind::Message => self.api.look("messages", &record.id).await,
            _ => self.api.look("mailFolders", &record.id).await,
        };
        let there = match asked {
            Ok(there) => there,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => return Ok(false),
            Err(e) => return Err(e),
        };
        match text(&there, &["parentFolderId"]) {
            Some(parent) => Ok(!self.is_bin(parent).await?),
            None => Ok(true),
        }
    }

    async fn everywhere(&self, pages: usize, each: &mut (dyn for<'i> FnMut(&'i str) + Send)) -> Result<bool> {
        let mut next = None;
        for _ in 0..pages {
            let page = self.api.ids_page(next.as_deref()).await?;
            for row in page.rows.values() {
                let row = row?;
                let is_bin = match text(&row, &["parentFolderId"]) {
                    Some(parent) => self.is_bin(parent).await?,
                    None => false,
                };
                if let Some(id) = text(&row, &["id"]).filter(|_| !is_bin) {
                    each(id);
                }
            }
            next = page.next_link;
            if next.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn create_top(&self, name: &str) -> Result<Made> {
        let record = Record::new(ItemKind::MailFolder, "", "", name);
        let extras = Extras::default();
        let order = Order { record: &record, parent: "", name, mark: "top", extras, log: &Unlogged, only_looks: false };
        self.create_folder(order).await
    }

    async fn find_top(&self, name: &str) -> Result<Option<Made>> {
        let found = self.folder_named(TOP, name).await?;
        Ok(found.map(|id| Made::new(ItemKind::MailFolder, id, "")))
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        match order.record.kind {
            ItemKind::MailFolder => self.create_folder(order).await,
            _ => self.create_message(order, source).await,
        }
    }

    async fn overwrite(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        if is_draft(order.record) {
            return self.replace_draft(present, order, source).await;
        }
        let properties = source.properties(order.record).await?;
        let before = state(&self.api.message(present).await?);
        let undo = Undo::Values { kind: ItemKind::Message, id: present.to_owned(), before: before.into() };
        let undo = order.log.note(undo).await?;
        let now = self.api.patch_message(present, &state(&properties).into()).await?;
        Ok(Made { state: rows::state_of(&state(&now).into()), ..Made::over(present, undo) })
    }

    async fn find(&self, order: Order<'_>, _source: &dyn Source) -> Result<Found> {
        if order.record.kind == ItemKind::MailFolder {
            let found = self.folder_named(order.parent, order.name).await?;
            return Ok(
                found.map_or(Found::Nothing, |id| Found::Whole(Made::new(ItemKind::MailFolder, id, order.parent)))
            );
        }
        let folder = if order.parent.is_empty() { TOP } else { order.parent };
        let ids = self.api.marked(folder, order.mark).await?;
        let delete = |id: String| Undo::Delete { kind: ItemKind::Message, id, parent: order.parent.to_owned() };
        match ids.first().cloned() {
            None => Ok(Found::Nothing),
            Some(id) => {
                let undo = ids.into_iter().map(delete).collect();
                Ok(Found::Part(Made { id, undo, ..Made::default() }))
            }
        }
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        let (id, made_in) = match undo {
            Undo::Delete { kind: ItemKind::Message, id, parent } => (id, Some(self.above(parent))),
            Undo::Values { id, .. } if !since.own().is_empty() => (id, None),
            _ => return self.was_moved(undo, since).await,
        };
        let now = match self.api.message(id).await {
            Err(e) if fate(&e) == Fate::Gone => return Ok(false),
            other => other?,
        };
        let is_as_it_was = match made_in {
            None => rows::state_of(&state(&now).into()) == since.own(),
            Some(_) if since.own().is_empty() => true,
            // What it was made as is told by which of them it still is.
            Some(_) => [DRAFT, SENT].iter().any(|held| rows::state(&now, held) == since.own()),
        };
        if made_in.is_some_and(|parent| rows::lies_elsewhere(&now, since, parent)) {
            return Ok(!self.is_deleted(&now).await?);
        }
        if !is_as_it_was {
            return Ok(true);
        }
        rows::part_differs(since.of(ATTACHMENTS), self.attached(id)).await
    }

    async fn was_moved(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        let Undo::Delete { kind: ItemKind::MailFolder, id, parent } = undo else { return Ok(false) };
        match self.api.folder(id).await {
            Ok(now) => Ok(rows::lies_elsewhere(&now, since, self.above(parent))),
            Err(e) if fate(&e) == Fate::Gone => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        let done = match undo {
            Undo::Delete { kind: ItemKind::MailFolder, id, .. } => self.undo_folder(id).await,
            Undo::Delete { id, .. } => self.api.delete_message(id).await.map(|()| None),
            Undo::MoveBack { id, parent } => self.move_back(id, parent).await.map(|()| None),
            Undo::Values { id, before, .. } => self.api.patch_message(id, before).await.map(|_| None),
            Undo::Version { .. } => Ok(Some("a message has no versions".to_owned())),
            Undo::Cannot { why, .. } => Ok(Some(why.clone())),
        };
        match done {
            Err(e) if fate(&e) == Fate::Gone => Ok(None),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_or_flagged_holds_something_else_and_what_was_read_does_not() {
        let mail = |is_draft: bool, is_read: bool, flag: &str| {
            let flag = json!({"flagStatus": flag});
            json!({"subject": "a", "isDraft": is_draft, "isRead": is_read, "flag": flag})
        };
        for held in [DRAFT, SENT] {
            let made = rows::state(&mail(true, false, "notFlagged"), held);
            assert_eq!(made, rows::state(&mail(true, true, "notFlagged"), held));
            for other in [mail(false, false, "notFlagged"), mail(true, false, "flagged")] {
                assert_ne!(made, rows::state(&other, held), "{other}");
            }
        }
    }
}
