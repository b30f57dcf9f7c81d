//! What a tree keeps of one item, and how an item's streams are found in blobs.

use bincode::{Decode, Encode};

use crate::format::id::BlobId;

/// A stretch of a blob: `length` bytes of its plaintext from `offset` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Extent {
    /// The blob that holds the bytes.
    pub blob: BlobId,
    /// Where the stretch begins in the blob's plaintext, in bytes.
    pub offset: u32,
    /// How long it is, in bytes.
    pub length: u32,
}

/// A list of extents. Long lists are kept in blobs of their own, so that a record stays small
/// whatever the size of its item.
///
/// `depth` 0: `list` is the data, in order. `depth` n > 0: the bytes that `list` names are in tree
/// blobs; laid end to end they are extents of depth n-1, 40 bytes each: blob id, offset and length as
/// 32-bit little-endian integers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct ExtentList {
    /// How many times the list must be followed to come to the data.
    pub depth: u8,
    /// The extents of the outermost level.
    pub list: Vec<Extent>,
}

/// How the bytes of a piece come from the bytes of its extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// Base64 (RFC 4648, section 4, padded) in lines of `line` characters, each line ended by CR LF
    /// (`crlf`) or LF; the last line, full or shorter, is ended too.
    Base64 {
        /// Characters a line, without its end. A multiple of four, 4 to 996.
        line: u16,
        /// Lines end in CR LF (true) or LF (false).
        crlf: bool,
    },
}

/// A stretch of a stream: extents, and how their bytes are to be written out.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Piece {
    /// How the stream's bytes are made from the stored ones.
    pub encoding: Encoding,
    /// Where the stored bytes are.
    pub extents: ExtentList,
}

/// Which of an item's streams this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[non_exhaustive]
pub enum StreamRole {
    /// Graph's JSON of the item, as it came, without its contents.
    Properties,
    /// A message in MIME form (RFC 5322).
    Mime,
    /// The contents of a file.
    Content,
}

/// One byte stream of an item: its pieces laid end to end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Stream {
    /// Which stream of the item this is.
    pub role: StreamRole,
    /// The length in bytes.
    pub size_bytes: u64,
    /// The hash that the source gave and that was verified, as "quickXorHash:BASE64"; empty if it gave none.
    pub source_hash: String,
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
}

/// What kind of Graph object an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[non_exhaustive]
pub enum ItemKind {
    /// A folder of mail.
    MailFolder,
    /// A search folder: its definition, never its contents.
    MailSearchFolder,
    /// A message.
    Message,
    /// A folder of files.
    Folder,
    /// A package: a folder that a program treats as one file (OneNote notebooks).
    Package,
    /// A file.
    File,
    /// A shortcut into another drive; the reference is kept, not followed.
    Shortcut,
    /// A file or item attached to an event, a task, a post or a list item.
    Attachment,
    /// An earlier version of a file or list item.
    Version,
    /// Who may do what with an item, as Graph tells it.
    Permission,
    /// A group of calendars.
    CalendarGroup,
    /// A calendar.
    Calendar,
    /// An event: a single one, the master of a series, or an exception of one.
    Event,
    /// A folder of contacts.
    ContactFolder,
    /// A contact; its photo is its stream of contents.
    Contact,
    /// A list of tasks.
    TaskList,
    /// A task, of To Do or of Planner.
    Task,
    /// A colour category of a mailbox.
    Category,
    /// A rule of an inbox.
    Rule,
    /// A group of settings, or facts of an owner that are none of the other kinds.
    Setting,
    /// A thread of a group's mailbox.
    Thread,
    /// A post of a thread.
    Post,
    /// A SharePoint list.
    List,
    /// An item of a list.
    ListItem,
    /// A column of a list or site.
    Column,
    /// A content type of a list or site.
    ContentType,
    /// A page of a site.
    Page,
    /// A group of the term store.
    TermGroup,
    /// A set of terms.
    TermSet,
    /// A term; further terms may hang below it.
    Term,
    /// A channel of a team.
    Channel,
    /// A chat.
    Chat,
    /// A member of a team, channel or chat.
    Member,
    /// A tab of a channel.
    Tab,
    /// An app installed in a team.
    App,
    /// A tag of a team.
    Tag,
    /// A message of a channel or chat, or the reply to one.
    ChatMessage,
    /// A picture or the like inside a message of a channel or chat.
    HostedContent,
    /// A plan of Planner.
    Plan,
    /// A bucket of a plan.
    Bucket,
}

impl ItemKind {
    /// All kinds, in the order of their numbers on the disk.
    pub const ALL: &[Self] = &[
        Self::MailFolder,
        Self::MailSearchFolder,
        Self::Message,
        Self::Folder,
        Self::Package,
        Self::File,
        Self::Shortcut,
        Self::Attachment,
        Self::Version,
        Self::Permission,
        Self::CalendarGroup,
        Self::Calendar,
        Self::Event,
        Self::ContactFolder,
        Self::Contact,
        Self::TaskList,
        Self::Task,
        Self::Category,
        Self::Rule,
        Self::Setting,
        Self::Thread,
        Self::Post,
        Self::List,
        Self::ListItem,
        Self::Column,
        Self::ContentType,
        Self::Page,
        Self::TermGroup,
        Self::TermSet,
        Self::Term,
        Self::Channel,
        Self::Chat,
        Self::Member,
        Self::Tab,
        Self::App,
        Self::Tag,
        Self::ChatMessage,
        Self::HostedContent,
        Self::Plan,
        Self::Bucket,
    ];

    /// Finds a kind by its word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word)
    }

    /// Says whether items of this kind are shown as folders.
    pub fn is_container(self) -> bool {
        matches!(
            self,
            Self::MailFolder
                | Self::MailSearchFolder
                | Self::Folder
                | Self::Package
                | Self::CalendarGroup
                | Self::Calendar
                | Self::ContactFolder
                | Self::TaskList
                | Self::Thread
                | Self::List
                | Self::TermGroup
                | Self::TermSet
                | Self::Term
                | Self::Channel
                | Self::Chat
                | Self::Plan
                | Self::Bucket
        )
    }

    /// The word for the kind in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::MailFolder => "mail_folder",
            Self::MailSearchFolder => "mail_search_folder",
            Self::Message => "message",
            Self::Folder => "folder",
            Self::Package => "package",
            Self::File => "file",
            Self::Shortcut => "shortcut",
            Self::Attachment => "attachment",
            Self::Version => "version",
            Self::Permission => "permission",
            Self::CalendarGroup => "calendar_group",
            Self::Calendar => "calendar",
            Self::Event => "event",
            Self::ContactFolder => "contact_folder",
            Self::Contact => "contact",
            Self::TaskList => "task_list",
            Self::Task => "task",
            Self::Category => "category",
            Self::Rule => "rule",
            Self::Setting => "setting",
            Self::Thread => "thread",
            Self::Post => "post",
            Self::List => "list",
            Self::ListItem => "list_item",
            Self::Column => "column",
            Self::ContentType => "content_type",
            Self::Page => "page",
            Self::TermGroup => "term_group",
            Self::TermSet => "term_set",
            Self::Term => "term",
            Self::Channel => "channel",
            Self::Chat => "chat",
            Self::Member => "member",
            Self::Tab => "tab",
            Self::App => "app",
            Self::Tag => "tag",
            Self::ChatMessage => "chat_message",
            Self::HostedContent => "hosted_content",
            Self::Plan => "plan",
            Self::Bucket => "bucket",
        }
    }

    /// Says whether what people mean by such an item is Graph's JSON of it: it has neither a MIME form nor contents.
    pub fn is_told_in_json(self) -> bool {
        !self.is_container()
            && !matches!(
                self,
                Self::Message | Self::File | Self::Shortcut | Self::Attachment | Self::Version | Self::HostedContent
            )
    }
}

/// The fact of an item that is no container and has others below it: how many, as its source tells.
pub const PARTS: &str = "parts";

/// The fact of an attachment or version that has no contents: `json`, as Graph's JSON is all there is of it.
pub const FORM: &str = "form";

/// What a tree keeps of one item.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    /// Graph's id (an immutable id where there is one). The key in the `items` tree.
    pub id: String,
    /// The id of the folder that holds the item; empty at the top of the collection.
    pub parent: String,
    /// The name that people see: a file's or folder's name, a message's subject.
    pub name: String,
    /// What kind of object this is.
    pub kind: ItemKind,
    /// When it was made: microseconds since 1970 UTC, if known.
    pub created_us: Option<i64>,
    /// When it was changed last: microseconds since 1970 UTC, if known.
    pub modified_us: Option<i64>,
    /// The time a listing sorts by (a message's reception): microseconds since 1970 UTC; `None`: sorted by name.
    pub sort_us: Option<i64>,
    /// The size that the source gives, in bytes. What was stored is in `streams`.
    pub size_bytes: u64,
    /// The source's version tag (changeKey, cTag, …): says whether contents must be fetched again.
    pub version: String,
    /// Further facts for listings and searches, by key, sorted by key: `from`, `to`, `read`, ….
    pub summary: Vec<(String, String)>,
    /// The item's byte streams.
    pub streams: Vec<Stream>,
}

impl Record {
    /// Makes a record of which nothing is known but where it hangs and what it is called.
    pub fn new(kind: ItemKind, id: impl Into<String>, parent: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            parent: parent.into(),
            name: name.into(),
            kind,
            created_us: None,
            modified_us: None,
            sort_us: None,
            size_bytes: 0,
            version: String::new(),
            summary: Vec::new(),
            streams: Vec::new(),
        }
    }

    /// Finds a fact of the summary.
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.summary.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Says whether what people mean by the item is Graph's JSON of it.
    pub fn is_told_in_json(&self) -> bool {
        self.kind.is_told_in_json() || self.fact(FORM) == Some("json")
    }

    /// Says whether items hang below this one though it is no container: attachments, versions, replies.
    pub fn has_parts(&self) -> bool {
        !self.kind.is_container() && self.fact(PARTS).is_some()
    }

    /// Says how long all streams of the item are together, in bytes.
    pub fn stream_bytes(&self) -> u64 {
        self.streams.iter().fold(0, |sum, stream| sum.saturating_add(stream.size_bytes))
    }

    /// Finds a stream by its role.
    pub fn stream(&self, role: StreamRole) -> Option<&Stream> {
        self.streams.iter().find(|s| s.role == role)
    }
}
