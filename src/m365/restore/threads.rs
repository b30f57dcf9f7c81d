//! Conversations go back as pages that people can read: posts are imported only into channels that a restore makes
//! ([`super::posts`]), as chats and channels that are in use would be shut to their members meanwhile.
//!
//! A chat goes into the user's OneDrive, a thread of a channel into the channel's folder of files, one of a group's mailbox
//! into the group's library; each as one HTML file with its pictures in it.
//!
//! Source: Microsoft Graph, "Get filesFolder", "channel: startMigration".

use async_trait::async_trait;
use jiff::Timestamp;

use super::Destination;
use super::door::{Cost, Extras, Fit, Found, Made, Opened, Order, Present, Since, Source, Target, Undo};
use super::room::Held;
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record, Stream, StreamRole};
use crate::graph::links::segment;
use crate::graph::{Client, Fate, GraphRequest, Scope, TeamsCall, fate};
use crate::m365::door::{Owner, Workload};
use crate::m365::drive::DriveTarget;
use crate::m365::facts::{short_hash, text};
use crate::m365::messages::ALL_MEMBERS;
use crate::m365::walk::id_of;

/// No name in a drive may have these.
const FORBIDDEN: &str = "\"*:<>?/\\|#%";
/// The longest part of a conversation's name that is taken into a file's, in characters.
const LONGEST_NAME: usize = 80;

/// The folder that takes the pages of conversations.
pub(super) struct Threads(DriveTarget);

impl Threads {
    /// Finds the folder.
    ///
    /// # Errors
    /// Graph's; `NotFound` if there is none.
    pub(super) async fn open(client: &Client, to: &Destination) -> Result<Self> {
        let opened = match &to.owner {
            Owner::Tenant => {
                return Err(Error::invalid("A conversation goes to a user, a team or a site")
                    .with_hint("Name one with --to USER|SITE|TEAM"));
            }
            Owner::Team(team) if to.original && to.from.workload == Workload::Channel => {
                match Self::of_channel(client, team, to).await {
                    // Nobody has put a file there yet: the team's library takes the pages of what the whole team reads.
                    Err(e) if fate(&e) == Fate::Gone => {
                        if !Self::is_standard(client, team, &to.from.id).await? {
                            return Err(has_no_folder(to));
                        }
                        DriveTarget::of_owner(client, to).await
                    }
                    other => other,
                }
            }
            _ => DriveTarget::of_owner(client, to).await,
        };
        opened
            .map(Self)
            .map_err(|e| e.context(format!("The files of {}/{} cannot be opened", to.owner.word(), to.name)))
    }

    async fn of_channel(client: &Client, team: &str, to: &Destination) -> Result<DriveTarget> {
        let channel = format!("teams/{}/channels/{}", segment(team), segment(&to.from.id));
        let scope = Scope::teams(TeamsCall::Other, &to.from.id);
        let folder = GraphRequest::get(scope, format!("{channel}/filesFolder?$select=id,parentReference"));
        let path = format!("{}/{}/{}", to.owner.word(), to.name, to.title);
        DriveTarget::in_folder(client, &client.get_json(folder).await?, path, to.from.workload)
    }

    /// Says whether a channel is there, and is one that the whole team reads. Private and shared ones have sites of their own.
    async fn is_standard(client: &Client, team: &str, channel: &str) -> Result<bool> {
        let url = format!("teams/{}/channels", segment(team));
        let list = GraphRequest::get(Scope::teams(TeamsCall::Channels, team), url).prefer(ALL_MEMBERS);
        let all = client.get_all(list).await?;
        let row = all.iter().find(|row| id_of(row) == Some(channel));
        Ok(row.is_some_and(|row| text(row, &["membershipType"]) == Some("standard")))
    }

    /// The page of a conversation as a file.
    async fn page(&self, order: Order<'_>, source: &dyn Source) -> Result<Record> {
        let none = || Error::not_found("The conversation is not in this snapshot");
        let size_bytes = source.page_bytes(order.record).await?.ok_or_else(none)?;
        let mut file = Record::new(ItemKind::File, order.record.id.as_str(), "", file_name(order.record, order.name));
        (file.created_us, file.modified_us) = (order.record.created_us, changed_us(order.record));
        let contents = Stream { role: StreamRole::Content, size_bytes, source_hash: String::new(), pieces: Vec::new() };
        file.streams.push(contents);
        Ok(file)
    }
}

/// Why a thread does not go where more people would read it.
fn has_no_folder(to: &Destination) -> Error {
    let why = "has no folder of files, and is not one that the whole team reads, or not there any more";
    Error::not_found(format!("The channel '{}' {why}", to.title))
        .with_hint("Open the channel's Files tab once, or name who takes the pages with --to USER|SITE|TEAM")
}

fn changed_us(record: &Record) -> Option<i64> {
    record.modified_us.or(record.sort_us).or(record.created_us)
}

/// A name that tells the day, the subject, and one conversation from another.
fn file_name(record: &Record, name: &str) -> String {
    let day = record.created_us.or(record.sort_us).and_then(|us| Timestamp::from_microsecond(us).ok());
    let day = day.map(|day| day.strftime("%Y-%m-%d ").to_string()).unwrap_or_default();
    let allowed = |c: char| if c.is_control() || FORBIDDEN.contains(c) { '_' } else { c };
    let name: String = name.chars().map(allowed).take(LONGEST_NAME).collect();
    let name = match name.trim_matches(|c: char| c.is_whitespace() || c == '.' || c == '~') {
        "" => "Conversation",
        name => name,
    };
    let hash = short_hash([Some(&record.id.clone().into())]);
    format!("{day}{name} ({}).html", hash.get(..8).unwrap_or(&hash))
}

/// Gives the page as the contents of a file.
struct OfPage<'a> {
    source: &'a dyn Source,
    record: &'a Record,
}

#[async_trait]
impl Source for OfPage<'_> {
    async fn properties(&self, _: &Record) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }

    async fn open(&self, file: &Record, _: StreamRole, from: u64) -> Result<Option<Opened>> {
        let size_bytes = file.stream(StreamRole::Content).map_or(0, |stream| stream.size_bytes);
        Ok(self.source.open_page(self.record, from).await?.map(|bytes| Opened { size_bytes, bytes }))
    }

    async fn below(&self, _: &Record) -> Result<Vec<Record>> {
        Ok(Vec::new())
    }

    async fn parts(&self, _: &str) -> Result<Vec<Record>> {
        Ok(Vec::new())
    }

    async fn record(&self, _: &str) -> Result<Option<Record>> {
        Ok(None)
    }

    async fn room(&self, bytes: u64) -> Result<Held> {
        self.source.room(bytes).await
    }

    fn made_as(&self, _: &str) -> Option<String> {
        None
    }
}

#[async_trait]
impl Target for Threads {
    fn workload(&self) -> Workload {
        self.0.workload()
    }

    fn path(&self) -> &str {
        self.0.path()
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn scope(&self) -> Scope {
        self.0.scope()
    }

    fn permission(&self) -> &'static str {
        self.0.permission()
    }

    fn makes_pages(&self) -> bool {
        true
    }

    async fn probe(&self) -> Result<()> {
        self.0.probe().await
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::Chat | ItemKind::Thread | ItemKind::ChatMessage => {
                Fit::Takes(Cost { requests: 2, units: 3, bytes: record.size_bytes })
            }
            other => Fit::Cannot(format!("a {} is in the page of its conversation", other.word())),
        }
    }

    fn is_container(&self, _: ItemKind) -> bool {
        false
    }

    fn identity(&self, record: &Record) -> String {
        file_name(record, &record.name).to_lowercase()
    }

    fn state(&self, _: &Record) -> String {
        String::new()
    }

    async fn present(&self, parent: &str) -> Result<Vec<Present>> {
        self.0.present(parent).await
    }

    async fn create_top(&self, name: &str) -> Result<Made> {
        self.0.create_top(name).await
    }

    async fn find_top(&self, name: &str) -> Result<Option<Made>> {
        self.0.find_top(name).await
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let file = self.page(order, source).await?;
        let page = OfPage { source, record: order.record };
        let mut made = self.0.create(as_file(order, &file), &page).await?;
        made.notes.push("it comes back as a page of its own, not into the conversation".to_owned());
        Ok(made)
    }

    async fn overwrite(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let file = self.page(order, source).await?;
        self.0.overwrite(present, as_file(order, &file), &OfPage { source, record: order.record }).await
    }

    async fn find(&self, order: Order<'_>, source: &dyn Source) -> Result<Found> {
        let file = self.page(order, source).await?;
        self.0.find(as_file(order, &file), &OfPage { source, record: order.record }).await
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        self.0.was_changed(undo, since).await
    }

    async fn was_moved(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        self.0.was_moved(undo, since).await
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        self.0.undo(undo).await
    }
}

fn as_file<'a>(order: Order<'a>, file: &'a Record) -> Order<'a> {
    Order { record: file, name: &file.name, extras: Extras::default(), ..order }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pages_are_allowed_in_a_drive_and_tell_conversations_apart() {
        let thread = |id: &str, name: &str| {
            let mut record = Record::new(ItemKind::Chat, id, "", name);
            record.created_us = Some(1_700_000_000_000_000);
            file_name(&record, name)
        };
        let odd = thread("1", "a/b: \"c\" \u{7} ...");
        assert!(odd.starts_with("2023-11-14 a_b_ _c_ _ (") && odd.ends_with(").html"), "{odd}");
        assert_ne!(thread("1", "same"), thread("2", "same"));
        assert!(thread("1", " . ").contains("Conversation"));
        assert!(thread("1", &"ä".repeat(500)).chars().count() < 120);
    }
}
