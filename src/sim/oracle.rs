//! The truth about the tenant, told without HTTP: what a backup of this day must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chats;
use super::content::Blob;
use super::drive_json::{self, Shown};
use super::letter::{Cast, Letter, LetterSeed};
use super::library::{Kind, ROOT};
use super::mailbox::{GONE, Mailbox, READ};
use super::mime;
use super::shelf::{Shelf, TOP};
use super::sites_oracle;
use super::state::{User, UserKind, World};
use super::written::Written;
use super::{calendar_json, settings, tasks};

/// The tenant on one day.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Days since the start.
    pub day: u32,
    /// The users that the directory lists, in its order.
    pub users: Vec<ExpectedUser>,
    /// Everything beside mail and drives, by keys: `users/<id>/contacts`.
    pub collections: BTreeMap<String, ExpectedCollection>,
    /// Libraries of sites.
    pub libraries: Vec<ExpectedLibrary>,
}

impl Expected {
    /// Finds a user by user principal name or id.
    pub fn user(&self, name: &str) -> Option<&ExpectedUser> {
        self.users.iter().find(|u| u.id == name || u.upn == name)
    }
}

/// A user and what is theirs; `None` where nothing can be read.
#[derive(Debug, Clone)]
pub struct ExpectedUser {
    /// Object id.
    pub id: String,
    /// User principal name.
    pub upn: String,
    /// Display name.
    pub display_name: String,
    /// Kind of account.
    pub kind: UserKind,
    /// The mailbox.
    pub mailbox: Option<ExpectedMailbox>,
    /// The drive.
    pub drive: Option<ExpectedDrive>,
}

/// What belongs together beside mail and drives: the contacts of a mailbox, a list of a site, ….
#[derive(Debug, Clone)]
pub struct ExpectedCollection {
    /// Where people find it: `users/alice@contoso.com/Contacts`.
    pub name: String,
    /// All that is in it.
    pub things: Vec<ExpectedThing>,
}

/// A thing that is known by its JSON: a contact, an event, a list item, ….
#[derive(Debug, Clone)]
pub struct ExpectedThing {
    /// Its id.
    pub id: String,
    /// The id of what holds it; empty at the top.
    pub parent: String,
    /// Its entity in Graph: `contact`.
    pub kind: &'static str,
    /// What Graph tells of it.
    pub json: serde_json::Value,
    /// Its bytes, if it has any: a photo, an attachment.
    pub content: Option<Blob>,
}

/// A mailbox.
#[derive(Debug, Clone)]
pub struct ExpectedMailbox {
    /// All folders but the root, Recoverable Items included.
    pub folders: Vec<ExpectedFolder>,
    /// All messages, Recoverable Items included.
    pub messages: Vec<ExpectedMessage>,
}

/// A mail folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedFolder {
    /// Folder id.
    pub id: String,
    /// Id of the folder above; the root's for those on top.
    pub parent_id: String,
    /// Display name.
    pub name: String,
    /// Well-known name, if it has one.
    pub well_known: Option<&'static str>,
    /// Not shown to users.
    pub hidden: bool,
    /// A search folder: shows messages of other folders.
    pub search: bool,
    /// Lies in Recoverable Items.
    pub recoverable: bool,
    /// Messages right in it.
    pub messages: usize,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedMessage {
    /// Immutable id.
    pub id: String,
    /// Folder id.
    pub folder_id: String,
    /// Subject.
    pub subject: String,
    /// Time of receipt, seconds since 1970.
    pub received: i64,
    /// Whether it is read.
    pub is_read: bool,
    /// Change key.
    pub change_key: String,
    /// Lies in Recoverable Items.
    pub recoverable: bool,
    /// The MIME stream.
    pub mime: Mime,
}

/// A MIME stream that is made when it is asked for.
#[derive(Clone)]
pub struct Mime {
    cast: Arc<Cast>,
    seed: LetterSeed,
    written: Option<Arc<Written>>,
}

impl Mime {
    /// Makes the bytes.
    pub fn bytes(&self) -> Vec<u8> {
        if let Some(written) = &self.written {
            return written.mime();
        }
        mime::render(&self.cast, &Letter::of(&self.cast, self.seed))
    }
}

impl PartialEq for Mime {
    fn eq(&self, other: &Self) -> bool {
        let written = |mime: &Self| mime.written.as_ref().map(|written| written.mime());
        self.seed == other.seed && self.cast.seed == other.cast.seed && written(self) == written(other)
    }
}

impl Eq for Mime {}

impl std::fmt::Debug for Mime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mime({:016x}, revision {})", self.seed.seed, self.seed.revision)
    }
}

/// A drive.
#[derive(Debug, Clone)]
pub struct ExpectedDrive {
    /// Drive id.
    pub id: String,
    /// Id of the root folder.
    pub root_id: String,
    /// Who may use the root folder, as Graph tells it.
    pub root_permissions: Vec<serde_json::Value>,
    /// All items but the root.
    pub items: Vec<ExpectedItem>,
}

/// A library of a site, or one that a user has beside the OneDrive.
#[derive(Debug, Clone)]
pub struct ExpectedLibrary {
    /// Its key: `sites/<id>/files/<drive id>`.
    pub key: String,
    /// Where people find it.
    pub name: String,
    /// What is in it.
    pub drive: ExpectedDrive,
}

/// What a drive item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// A folder.
    Folder,
    /// A OneNote notebook.
    Notebook,
    /// A file.
    File,
    /// A shortcut into another drive.
    Shortcut,
}

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedItem {
    /// Item id.
    pub id: String,
    /// Id of the folder above.
    pub parent_id: String,
    /// Path from the root: `Documents/Plan.docx`.
    pub path: String,
    /// Name.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
    /// Creation, seconds since 1970.
    pub created: i64,
    /// Last change, seconds since 1970.
    pub modified: i64,
    /// The bytes of a file.
    pub content: Option<Blob>,
    /// Marked as malware: the service refuses its bytes.
    pub malware: bool,
    /// Bytes of the older versions, oldest first.
    pub older: Vec<Blob>,
    /// Who may use it, as Graph tells it, if it has rights of its own; what lies below a shared folder inherits from there.
    pub permissions: Vec<serde_json::Value>,
}

/// Tells the truth about the present day.
pub(super) fn tell(world: &World) -> Expected {
    let numbered = world.users.iter().enumerate().filter(|(_, u)| u.present);
    let users = numbered.map(|(number, u)| user(world, number, u)).collect();
    Expected { day: world.day, users, collections: collections(world), libraries: sites_oracle::libraries(world) }
}

fn collections(world: &World) -> BTreeMap<String, ExpectedCollection> {
    let mut all = BTreeMap::new();
    for user in world.users.iter().filter(|user| user.present && user.mailbox.is_some()) {
        let mut add = |word: &str, title: &str, things: Vec<ExpectedThing>| {
            let name = format!("users/{}/{title}", user.upn);
            all.insert(format!("users/{}/{word}", user.id), ExpectedCollection { name, things });
        };
        add("contacts", "Contacts", things_of(&world.cast, &user.contacts));
        add("calendar", "Calendar", calendar_json::expected(&world.cast, &user.calendars));
        add("settings", "Settings", settings::expected(&world.cast, user));
        add("tasks", "Tasks", tasks::expected(&world.cast, &user.tasks));
    }
    sites_oracle::collections(world, &mut all);
    groups(world, &mut all);
    all
}

/// What is of groups.
fn groups(world: &World, all: &mut BTreeMap<String, ExpectedCollection>) {
    for group in world.groups.iter().filter(|group| group.present && group.unified) {
        let name = format!("groups/{}/Conversations", group.mail());
        let things = joined(&world.cast, &group.mail, &["attachment"]);
        all.insert(format!("groups/{}/conversations", group.id), ExpectedCollection { name, things });
        let name = format!("groups/{}/Planner", group.mail());
        let things = things_of(&world.cast, &group.plans);
        all.insert(format!("groups/{}/planner", group.id), ExpectedCollection { name, things });
    }
    teams(world, all);
    for (number, user) in world.users.iter().enumerate().filter(|(_, user)| user.present && chats::has_teams(user)) {
        let name = format!("users/{}/Chats", user.upn);
        let things = chats::things(world, number);
        all.insert(format!("users/{}/chats", user.id), ExpectedCollection { name, things });
    }
}

/// What is of teams.
fn teams(world: &World, all: &mut BTreeMap<String, ExpectedCollection>) {
    let with_team = world.groups.iter().filter(|group| group.present && group.team.is_some());
    for group in with_team.clone() {
        let Some(team) = &group.team else { continue };
        let twins = with_team.clone().filter(|other| other.name.to_lowercase() == group.name.to_lowercase()).count();
        let shown = if twins == 1 { group.name.clone() } else { format!("{} ({})", group.name, group.mail()) };
        let shown = shown.replace('/', "_");
        let kinds =
            ["aadUserConversationMember", "teamsTab", "teamsAppInstallation", "teamworkTag", "teamworkTagMember"];
        let things = joined(&world.cast, &team.parts, &kinds);
        let name = format!("teams/{shown}/Team");
        all.insert(format!("teams/{}/team", group.id), ExpectedCollection { name, things });
        for (number, messages) in team.channels.iter().filter(|(number, _)| team.parts.thing(**number).alive) {
            let channel = team.parts.json(&world.cast, *number);
            let title = channel.get("displayName").and_then(serde_json::Value::as_str).unwrap_or_default();
            let name = format!("teams/{shown}/Channels/{}", title.replace('/', "_"));
            let things = joined(&world.cast, messages, &["chatMessage", "chatMessageHostedContent"]);
            let key = format!("teams/{}/channel/{}", group.id, team.parts.id(*number));
            all.insert(key, ExpectedCollection { name, things });
        }
    }
}

/// The things of a shelf; ids of the kinds named count only below their parent, so that they are told with its id.
fn joined(cast: &Cast, shelf: &Shelf, kinds: &[&str]) -> Vec<ExpectedThing> {
    fn id(shelf: &Shelf, number: u32, kinds: &[&str]) -> String {
        let thing = shelf.thing(number);
        match thing.parent {
            TOP => shelf.id(number),
            parent if kinds.contains(&thing.kind.name) => format!("{}/{}", id(shelf, parent, kinds), shelf.id(number)),
            _ => shelf.id(number),
        }
    }
    let alive = (0u32..).zip(&shelf.things).filter(|(_, thing)| thing.alive);
    let thing = alive.map(|(number, thing)| ExpectedThing {
        id: id(shelf, number, kinds),
        parent: if thing.parent == TOP { String::new() } else { id(shelf, thing.parent, kinds) },
        kind: thing.kind.name,
        json: shelf.json(cast, number).into(),
        content: shelf.content(cast, number),
    });
    thing.collect()
}

fn user(world: &World, number: usize, user: &User) -> ExpectedUser {
    let cast = &world.cast;
    let shown = super::drive::shown(world, number).ok();
    ExpectedUser {
        id: user.id.clone(),
        upn: user.upn.clone(),
        display_name: user.person.name.clone(),
        kind: user.kind,
        mailbox: user.mailbox.as_ref().map(|m| mailbox(cast, m)),
        drive: shown.map(drive),
    }
}

fn things_of(cast: &Cast, shelf: &Shelf) -> Vec<ExpectedThing> {
    let alive = (0u32..).zip(&shelf.things).filter(|(_, thing)| thing.alive);
    let thing = alive.map(|(number, thing)| ExpectedThing {
        id: shelf.id(number),
        parent: if thing.parent == TOP { String::new() } else { shelf.id(thing.parent) },
        kind: thing.kind.name,
        json: shelf.json(cast, number).into(),
        content: shelf.content(cast, number),
    });
    thing.collect()
}

fn mailbox(cast: &Arc<Cast>, mailbox: &Mailbox) -> ExpectedMailbox {
    let folders = mailbox.folders.iter().enumerate().skip(1).filter(|(_, f)| f.exists);
    let folders = folders.map(|(number, f)| ExpectedFolder {
        id: mailbox.folder_id(number as u32),
        parent_id: mailbox.folder_id(f.parent),
        name: f.name.clone(),
        well_known: f.well_known,
        hidden: f.hidden,
        search: f.search,
        recoverable: f.recoverable,
        messages: f.keys.len(),
    });
    let messages = mailbox.messages.iter().enumerate().filter(|(_, m)| m.folder != GONE);
    let messages = messages.map(|(key, m)| {
        let key = key as u32;
        ExpectedMessage {
            id: mailbox.message_id(key, 0, true),
            folder_id: mailbox.folder_id(m.folder),
            subject: match mailbox.written.get(&key) {
                Some(written) => written.text("subject").to_owned(),
                None => mailbox.letter(cast, key).subject,
            },
            received: m.received.into(),
            is_read: m.flags & READ != 0,
            change_key: mailbox.change_key(key),
            recoverable: mailbox.folders[m.folder as usize].recoverable,
            mime: Mime {
                cast: cast.clone(),
                seed: mailbox.letter_seed(key),
                written: mailbox.written.get(&key).cloned(),
            },
        }
    });
    ExpectedMailbox { folders: folders.collect(), messages: messages.collect() }
}

/// The permissions of an item that has rights of its own, as the root has.
fn permissions(shown: Shown<'_>, number: u32) -> Vec<serde_json::Value> {
    if number != ROOT && !shown.drive.items[number as usize].has_own_rights() {
        return Vec::new();
    }
    drive_json::permissions(shown, number)
}

pub(super) fn drive(shown: Shown<'_>) -> ExpectedDrive {
    let drive = shown.drive;
    let items = drive.items.iter().enumerate().filter(|(number, i)| *number as u32 != ROOT && i.alive);
    let items = items.map(|(number, i)| ExpectedItem {
        id: drive.item_id(number as u32),
        parent_id: drive.item_id(i.parent),
        path: drive.path(number as u32),
        name: i.name.clone(),
        kind: match i.kind {
            Kind::Folder => ItemKind::Folder,
            Kind::Notebook => ItemKind::Notebook,
            Kind::File => ItemKind::File,
            Kind::Shortcut => ItemKind::Shortcut,
        },
        created: i.created,
        modified: i.modified,
        content: i.bodies.last().map(|b| b.blob.clone()),
        malware: i.malware,
        older: i.bodies.iter().rev().skip(1).rev().map(|b| b.blob.clone()).collect(),
        permissions: permissions(shown, number as u32),
    });
    let root_permissions = permissions(shown, ROOT);
    ExpectedDrive { id: drive.id.clone(), root_id: drive.item_id(ROOT), root_permissions, items: items.collect() }
}
