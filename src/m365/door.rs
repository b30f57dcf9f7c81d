//! The door between a workload and whoever drives a backup: keys, changes, contents.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::{Error, Result};
use crate::format::collection::{Cursors, Gap};
use crate::format::record::{Record, StreamRole};
use crate::snapshot::set::Workload as Part;

/// Who owns a collection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Owner {
    /// A user (or a shared, room or equipment mailbox), by the directory's object id.
    User(String),
    /// A Microsoft 365 group, by the directory's object id.
    Group(String),
    /// A site, by Graph's id of it.
    Site(String),
    /// A team, by the id of its group.
    Team(String),
    /// The tenant as a whole.
    Tenant,
}

impl Owner {
    /// The word for this kind of owner, which keys and paths begin with.
    pub fn word(&self) -> &'static str {
        match self {
            Self::User(_) => "users",
            Self::Group(_) => "groups",
            Self::Site(_) => "sites",
            Self::Team(_) => "teams",
            Self::Tenant => "tenant",
        }
    }

    /// The owner's id; empty for the tenant.
    pub fn id(&self) -> &str {
        match self {
            Self::User(id) | Self::Group(id) | Self::Site(id) | Self::Team(id) => id,
            Self::Tenant => "",
        }
    }

    fn of(word: &str, id: &str) -> Option<Self> {
        let id = Some(id.to_owned()).filter(|id| !id.is_empty());
        match word {
            "users" => id.map(Self::User),
            "groups" => id.map(Self::Group),
            "sites" => id.map(Self::Site),
            "teams" => id.map(Self::Team),
            _ => None,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str(self.word()),
            owner => write!(f, "{}/{}", owner.word(), escape(owner.id())),
        }
    }
}

/// Which part of Microsoft 365 a collection belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Workload {
    /// The mail of a mailbox.
    Mail,
    /// A drive of a user.
    OneDrive,
    /// The calendars of a mailbox.
    Calendar,
    /// The contacts of a mailbox.
    Contacts,
    /// The To Do lists of a mailbox.
    Tasks,
    /// Settings, rules and categories of a mailbox.
    Settings,
    /// What a user's personal site holds beside the OneDrive: further libraries, lists, pages.
    PersonalSite,
    /// The chats that a user takes part in.
    Chats,
    /// The conversations of a group's mailbox.
    Conversations,
    /// The plans of a group.
    Planner,
    /// What a site is made of: columns, content types, permissions.
    Site,
    /// A library of a site.
    Files,
    /// A list of a site.
    List,
    /// The pages of a site.
    Pages,
    /// What a team is made of: settings, members, channels, tabs, apps, tags.
    Team,
    /// The messages of a channel.
    Channel,
    /// The term store of the tenant, or a site's own part of it.
    TermStore,
}

impl Workload {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Mail,
        Self::OneDrive,
        Self::Calendar,
        Self::Contacts,
        Self::Tasks,
        Self::Settings,
        Self::PersonalSite,
        Self::Chats,
        Self::Conversations,
        Self::Planner,
        Self::Site,
        Self::Files,
        Self::List,
        Self::Pages,
        Self::Team,
        Self::Channel,
        Self::TermStore,
    ];

    /// The word for it in keys.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::OneDrive => "onedrive",
            Self::Calendar => "calendar",
            Self::Contacts => "contacts",
            Self::Tasks => "tasks",
            Self::Settings => "settings",
            Self::PersonalSite => "personal-site",
            Self::Chats => "chats",
            Self::Conversations => "conversations",
            Self::Planner => "planner",
            Self::Site => "site",
            Self::Files => "files",
            Self::List => "list",
            Self::Pages => "pages",
            Self::Team => "team",
            Self::Channel => "channel",
            Self::TermStore => "terms",
        }
    }

    /// The part of Microsoft 365 by which a set selects it.
    pub fn part(self) -> Part {
        match self {
            Self::Mail => Part::Mail,
            Self::OneDrive => Part::OneDrive,
            Self::Calendar => Part::Calendar,
            Self::Contacts => Part::Contacts,
            Self::Tasks => Part::Tasks,
            Self::Settings => Part::Settings,
            Self::PersonalSite => Part::PersonalSite,
            Self::Chats => Part::Chats,
            Self::Conversations | Self::Planner => Part::Groups,
            Self::Site | Self::Files | Self::List | Self::Pages | Self::TermStore => Part::Sites,
            Self::Team | Self::Channel => Part::Teams,
        }
    }

    /// The word for it in paths that people read.
    pub fn title(self) -> &'static str {
        match self {
            Self::Mail => "Mail",
            Self::OneDrive => "OneDrive",
            Self::Calendar => "Calendar",
            Self::Contacts => "Contacts",
            Self::Tasks => "Tasks",
            Self::Settings => "Settings",
            Self::PersonalSite => "Personal Site",
            Self::Chats => "Chats",
            Self::Conversations => "Conversations",
            Self::Planner => "Planner",
            Self::Site => "Site",
            Self::Files => "Files",
            Self::List => "Lists",
            Self::Pages => "Pages",
            Self::Team => "Team",
            Self::Channel => "Channels",
            Self::TermStore => "Term Store",
        }
    }
}

/// Names a collection, the same in every snapshot: owner, workload, and an id where an owner has several.
///
/// As text: `users/<id>/mail`, `users/<id>/onedrive/<drive id>`, `tenant/terms`; `%` and `/` inside a part are
/// percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionKey {
    /// Who owns it.
    pub owner: Owner,
    /// What it is a part of.
    pub workload: Workload,
    /// Which one it is; empty where an owner has just one.
    pub id: String,
}

impl fmt::Display for CollectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.workload.word())?;
        if self.id.is_empty() { Ok(()) } else { write!(f, "/{}", escape(&self.id)) }
    }
}

impl FromStr for CollectionKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("'{text}' is not the key of a collection"));
        let mut parts = text.split('/');
        let mut next = || parts.next().map(|part| unescape(part).ok_or_else(wrong)).transpose();
        let owner = match next()?.as_deref() {
            Some("tenant") => Owner::Tenant,
            Some(word) => Owner::of(word, &next()?.unwrap_or_default()).ok_or_else(wrong)?,
            None => return Err(wrong()),
        };
        let word = next()?.unwrap_or_default();
        let workload = Workload::ALL.iter().copied().find(|workload| workload.word() == word).ok_or_else(wrong)?;
        let id = match next()? {
            Some(id) if id.is_empty() => return Err(wrong()),
            id => id.unwrap_or_default(),
        };
        if next()?.is_some() { Err(wrong()) } else { Ok(Self { owner, workload, id }) }
    }
}

fn escape(part: &str) -> String {
    part.replace('%', "%25").replace('/', "%2F")
}

fn unescape(part: &str) -> Option<String> {
    let rest = part.replace("%2F", "").replace("%25", "");
    (!rest.contains('%')).then(|| part.replace("%2F", "/").replace("%25", "%"))
}

/// What the previous snapshot knows of a collection. Looked up for changed items only, except after a resync.
#[async_trait]
pub trait Known: Send + Sync {
    /// Finds the record of an id.
    async fn record(&self, id: &str) -> Result<Option<Record>>;
    /// Walks the ids of all items directly under a parent (`""`: at the top), in no order.
    async fn children(&self, parent: &str) -> Result<BoxStream<'_, Result<String>>>;
    /// Walks the ids of all items, in no order.
    async fn ids(&self) -> Result<BoxStream<'_, Result<String>>>;
    /// Walks the records of all items, in no order.
    async fn records(&self) -> Result<BoxStream<'_, Result<Record>>>;
    /// Walks the parts of an item: what has its id, a slash, and one of its own.
    async fn parts(&self, item: &str) -> Result<BoxStream<'_, Result<Record>>>;
}

/// Takes changes, in order; the last change of an id is the one that holds.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes one change. Waits while the pipeline behind is full; an error ends the reading of the collection.
    async fn change(&mut self, change: Change) -> Result<()>;

    /// Says that a reading that is broken off after this may go on from `cursors`, if nothing was known before it began:
    /// the service takes what was told up to here for known, and will tell what becomes of it. `doubtful` are ids for
    /// which that does not hold; the next reading gets them among those to be tried again.
    ///
    /// # Errors
    /// As [`Sink::change`].
    async fn checkpoint(&mut self, cursors: Cursors, doubtful: Vec<String>) -> Result<()> {
        let _ = (cursors, doubtful);
        Ok(())
    }

    /// Says that all is told that was to be told, and `cursors` stand for it. What is asked for beyond, item by item, may be
    /// broken off after any of them: the next reading goes on from `cursors`. Parts are told before their item.
    ///
    /// # Errors
    /// As [`Sink::change`].
    async fn settled(&mut self, cursors: Cursors) -> Result<()> {
        let _ = cursors;
        Ok(())
    }
}

/// One change of a collection since the previous snapshot.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// An item is new, or something about it changed.
    Put {
        /// The item as it is now. Its `streams` are empty: whoever takes the change fills them in.
        record: Box<Record>,
        /// Graph's JSON of the item, to be kept as the stream [`StreamRole::Properties`].
        properties: Bytes,
        /// Where its other streams come from.
        contents: Contents,
    },
    /// An item is no longer there. Its descendants are reported by themselves.
    Remove {
        /// The item's id.
        id: String,
    },
    /// Something could not be read, and there is nothing to put. What the previous snapshot had of it stays.
    Gap(Gap),
}

/// Where the contents of an item that was put come from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Contents {
    /// The item has none beside its properties: folders, shortcuts.
    None,
    /// The streams of the previous record (other than its properties) still hold.
    Keep,
    /// They are to be fetched with [`Collection::fetch`].
    Fetch(Box<Wanted>),
    /// They cannot be read, and that is known already: treat as [`Fetched::Unreadable`].
    Unreadable(Gap),
}

/// The contents of one item, to be fetched: what [`Collection::fetch`] needs to know.
#[derive(Clone, PartialEq)]
pub struct Wanted {
    /// The item as its change told it.
    pub record: Record,
    /// Where to download from, if the change told that already. Good for an hour or less; a secret of its own.
    pub(crate) download_url: Option<String>,
    /// The hash that the source gives, as "quickXorHash:BASE64"; empty if it gives none.
    pub(crate) source_hash: String,
}

impl Wanted {
    /// Wants the contents of an item of which no more is known than its record.
    pub fn of(record: Record) -> Self {
        Self { record, download_url: None, source_hash: String::new() }
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted").field("id", &self.record.id).field("source_hash", &self.source_hash).finish()
    }
}

/// Takes the contents of one item, stream by stream.
#[async_trait]
pub trait ContentSink: Send {
    /// Stores a stream to its end. A stream that yields an error is forgotten, and that error comes back.
    ///
    /// A second stream of the same role replaces the first: a transfer may be tried again.
    /// `expected_bytes` is what the source says beforehand: a hint for planning, not a promise.
    async fn store(
        &mut self,
        role: StreamRole,
        expected_bytes: Option<u64>,
        bytes: BoxStream<'static, Result<Bytes>>,
    ) -> Result<()>;
}

/// How fetching the contents of an item ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fetched {
    /// All streams are stored.
    Stored {
        /// The hash that was verified, as "quickXorHash:BASE64", for the stream's `source_hash`; empty if there was none.
        source_hash: String,
        /// The item, if it changed between the listing and the reading: this is then the record and the properties
        /// that go with the contents.
        newer: Option<(Box<Record>, Bytes)>,
        /// Something about the contents that the user must know (they differ from their hash). They are stored.
        gap: Option<Gap>,
    },
    /// The item vanished between the listing and the reading: it is not in this snapshot.
    Gone,
    /// The contents cannot be read now: put [`contents::without_contents`](crate::m365::contents::without_contents)
    /// and list the gap.
    Unreadable(Gap),
}

/// How reading the changes of a collection ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangesEnd {
    /// Where the next reading goes on. To be kept only together with all the changes that came before.
    pub cursors: Cursors,
    /// The service no longer honoured a cursor: something was walked and compared.
    pub resynced: bool,
}

/// What the last reading of a collection left behind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Previous<'a> {
    /// Where to go on: from the end of the last reading, or from its last [`Sink::checkpoint`]. `None`: read everything,
    /// and compare it with what is known.
    ///
    /// Cursors stand for exactly the items that are known. Where an earlier reading broke off and some of its changes
    /// were kept, the cursors from before it stand for them no longer, and `None` is to be given.
    pub cursors: Option<&'a Cursors>,
    /// The ids of the collection's gaps: each is tried again, whether the service mentions it or not.
    pub retry: &'a [String],
    /// When this reading begins, in microseconds since 1970: for what is looked at again after some days.
    pub now_us: i64,
}

/// The unit of incremental reading.
#[async_trait]
pub trait Collection: Send + Sync {
    /// Names the collection.
    fn key(&self) -> &CollectionKey;

    /// The collection's place as people read it: `users/alice@contoso.com/Mail`.
    fn path(&self) -> &str;

    /// Asks what changed since the last reading, and puts it into `sink`.
    ///
    /// Every id of `previous.retry` comes as a `Put`, a `Remove` or a `Gap` if its item cannot be told.
    ///
    /// # Errors
    /// What makes the collection as a whole unreadable now. What was given to `sink` before may be kept, if the next
    /// reading is then given no cursors: it compares everything, and fetches only what is not there yet.
    async fn changes(&self, previous: Previous<'_>, known: &dyn Known, sink: &mut dyn Sink) -> Result<ChangesEnd>;

    /// Reads the contents of one item that a change asked for. May be called for many items at once.
    ///
    /// # Errors
    /// Errors of `contents` itself, and those of the source that are no matter of this one item.
    async fn fetch(&self, wanted: &Wanted, contents: &mut dyn ContentSink) -> Result<Fetched>;

    /// The fact that marks items of which something cannot be read by anybody; `None`: there are no such items.
    fn mark_of_unread(&self) -> Option<&'static str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_from_its_text() {
        let user = |id: &str| Owner::User(id.into());
        for (owner, workload, id, text) in [
            (user("8f1e"), Workload::Mail, "", "users/8f1e/mail"),
            (user("8f1e"), Workload::OneDrive, "b!a-_Z", "users/8f1e/onedrive/b!a-_Z"),
            (user("a/b%2F"), Workload::OneDrive, "x/%", "users/a%2Fb%252F/onedrive/x%2F%25"),
            (Owner::Site("h,1,2".into()), Workload::List, "7", "sites/h,1,2/list/7"),
            (Owner::Team("t".into()), Workload::Channel, "19:a@b", "teams/t/channel/19:a@b"),
            (Owner::Tenant, Workload::TermStore, "", "tenant/terms"),
        ] {
            let key = CollectionKey { owner, workload, id: id.into() };
            assert_eq!(key.to_string(), text);
            assert_eq!(text.parse::<CollectionKey>().unwrap(), key);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "users",
            "users//mail",
            "users/a/post",
            "users/a/mail/",
            "users/a/mail/b/c",
            "users/%41/mail",
            "tenant",
            "tenant/x",
            "sites//list/7",
        ] {
            assert!(text.parse::<CollectionKey>().is_err(), "{text}");
        }
    }
}
