//! A mailbox: folders, messages as a few numbers each, and a log of changes per folder, from which
//! delta answers are made in time proportional to the changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;

use super::letter::{Cast, Letter, LetterSeed};
use super::rng::{hash, mix};
use super::written::Written;

/// The message is read.
pub(super) const READ: u8 = 1;
/// The message is flagged for follow-up.
pub(super) const FLAGGED: u8 = 2;
/// The message is not sent yet.
pub(super) const DRAFT: u8 = 4;
/// The owner wrote the message.
pub(super) const OUTGOING: u8 = 8;

/// Folder of a message that is gone for good.
pub(super) const GONE: u32 = u32::MAX;

/// Colour categories; 0 is none.
pub(super) const CATEGORIES: &[&str] = &["", "Red category", "Blue category", "Project Äpfel"];

/// A message: what cannot be worked out from its seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) folder: u32,
    pub(super) received: u32,
    pub(super) changed: u32,
    pub(super) version: u32,
    pub(super) revision: u16,
    pub(super) moves: u16,
    pub(super) flags: u8,
    pub(super) category: u8,
}

/// An entry of a folder's log: that message came, changed or left. `moves` tells the old mutable id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) key: u32,
    pub(super) moves: u16,
}

/// A mail folder.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) name: String,
    pub(super) parent: u32,
    pub(super) well_known: Option<&'static str>,
    pub(super) hidden: bool,
    pub(super) search: bool,
    /// Under Recoverable Items: outside the tree that users and listings see.
    pub(super) recoverable: bool,
    pub(super) exists: bool,
    pub(super) keys: BTreeSet<u32>,
    pub(super) unread: u32,
    pub(super) log: Vec<Entry>,
}

/// A mailbox.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) seed: u64,
    pub(super) owner: u32,
    pub(super) tag: String,
    pub(super) folders: Vec<Folder>,
    pub(super) messages: Vec<Message>,
    /// Folders that changed, in order.
    pub(super) folder_log: Vec<u32>,
    /// Messages that clients wrote, by their keys.
    pub(super) written: HashMap<u32, Arc<Written>>,
    /// State that clients gave to messages.
    pub(super) states: HashMap<u32, serde_json::Map<String, serde_json::Value>>,
    /// Bytes that it still takes, where that is limited.
    pub(super) room: Option<usize>,
}

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageId {
    Immutable(u32),
    Mutable(u32, u16),
}

impl Mailbox {
    pub(super) fn new(seed: u64, owner: u32) -> Self {
        let raw: Vec<u8> = (0..7u64).flat_map(|i| hash(seed, &[0x7a6, i]).to_le_bytes()).collect();
        Self {
            seed,
            owner,
            tag: B64.encode(&raw[..54]),
            folders: Vec::new(),
            messages: Vec::new(),
            folder_log: Vec::new(),
            written: HashMap::new(),
            states: HashMap::new(),
            room: None,
        }
    }

    // --- ids ---------------------------------------------------------------------------------

    fn code(&self, kind: u8, number: u32, moves: u16) -> String {
        let scrambled = number ^ mix(self.seed) as u32;
        let mut raw = [0u8; 12];
        raw[0] = kind;
        raw[1..5].copy_from_slice(&scrambled.to_be_bytes());
        raw[5..7].copy_from_slice(&moves.to_be_bytes());
        let check = hash(self.seed, &[kind.into(), number.into(), moves.into()]);
        raw[7..12].copy_from_slice(&check.to_be_bytes()[..5]);
        B64.encode(raw)
    }

    fn decode(&self, kind: u8, text: &str) -> Option<(u32, u16)> {
        let raw: [u8; 12] = B64.decode(text).ok()?.try_into().ok()?;
        let number = u32::from_be_bytes([raw[1], raw[2], raw[3], raw[4]]) ^ mix(self.seed) as u32;
        let moves = u16::from_be_bytes([raw[5], raw[6]]);
        (raw[0] == kind && self.code(kind, number, moves) == text).then_some((number, moves))
    }

    /// The id of a message; the mutable one changes with each move.
    pub(super) fn message_id(&self, key: u32, moves: u16, immutable: bool) -> String {
        if immutable {
            format!("AAkALg{}{}AAA=", self.tag, self.code(2, key, 0))
        } else {
            format!("AAMkAD{}{}AAA=", self.tag, self.code(1, key, moves))
        }
    }

    /// Reads a message id; `None`: no id of this mailbox.
    pub(super) fn parse_message_id(&self, id: &str) -> Option<MessageId> {
        let body = id.strip_suffix("AAA=")?;
        if let Some(rest) = body.strip_prefix("AAkALg") {
            return Some(MessageId::Immutable(self.decode(2, rest.strip_prefix(self.tag.as_str())?)?.0));
        }
        let rest = body.strip_prefix("AAMkAD")?.strip_prefix(self.tag.as_str())?;
        self.decode(1, rest).map(|(key, moves)| MessageId::Mutable(key, moves))
    }

    /// The message that an id names now.
    pub(super) fn find(&self, id: &str) -> Option<u32> {
        let (key, moves) = match self.parse_message_id(id)? {
            MessageId::Immutable(key) => (key, None),
            MessageId::Mutable(key, moves) => (key, Some(moves)),
        };
        let message = self.messages.get(key as usize)?;
        (message.folder != GONE && moves.is_none_or(|m| m == message.moves)).then_some(key)
    }

    /// The id of a folder.
    pub(super) fn folder_id(&self, number: u32) -> String {
        format!("AQMkAD{}{}AAAA==", self.tag, self.code(3, number, 0))
    }

    /// The existing folder with that id or well-known name.
    pub(super) fn find_folder(&self, id: &str) -> Option<u32> {
        let number = match id.strip_prefix("AQMkAD").and_then(|r| r.strip_suffix("AAAA==")) {
            Some(rest) => self.decode(3, rest.strip_prefix(self.tag.as_str())?)?.0,
            None => {
                let name = id.to_ascii_lowercase();
                u32::try_from(self.folders.iter().position(|f| f.well_known == Some(name.as_str()))?).ok()?
            }
        };
        self.folders.get(number as usize).filter(|f| f.exists).map(|_| number)
    }

    /// The change key of a message.
    pub(super) fn change_key(&self, key: u32) -> String {
        let version = self.messages.get(key as usize).map_or(0, |m| m.version);
        let mut raw = vec![9, 0, 0, 0, 0x16, 0, 0, 0];
        raw.extend(hash(self.seed, &[key.into(), version.into()]).to_be_bytes());
        raw.extend(version.to_be_bytes());
        base64::engine::general_purpose::STANDARD.encode(raw)
    }

    // --- contents ----------------------------------------------------------------------------

    /// The numbers that a message's contents follow from. Moving, reading and flagging change none of them.
    pub(super) fn letter_seed(&self, key: u32) -> LetterSeed {
        let message = &self.messages[key as usize];
        LetterSeed {
            seed: hash(self.seed, &[0x6d, key.into()]),
            owner: self.owner,
            received: message.received.into(),
            revision: message.revision,
            outgoing: message.flags & OUTGOING != 0,
            draft: message.flags & DRAFT != 0,
        }
    }

    pub(super) fn letter(&self, cast: &Cast, key: u32) -> Letter {
        Letter::of(cast, self.letter_seed(key))
    }

    // --- folders -----------------------------------------------------------------------------

    /// Adds a folder.
    pub(super) fn add_folder(&mut self, name: &str, parent: u32, well_known: Option<&'static str>) -> u32 {
        let recoverable = self.folders.get(parent as usize).is_some_and(|f| f.recoverable);
        let number = self.folders.len() as u32;
        self.folders.push(Folder {
            name: name.to_string(),
            parent,
            well_known,
            hidden: false,
            search: false,
            recoverable,
            exists: true,
            keys: BTreeSet::new(),
            unread: 0,
            log: Vec::new(),
        });
        self.folder_log.push(number);
        number
    }

    /// The existing folders right below one.
    pub(super) fn children(&self, parent: u32) -> impl Iterator<Item = u32> + '_ {
        let all = self.folders.iter().enumerate();
        all.filter(move |(i, f)| f.exists && f.parent == parent && *i as u32 != parent).map(|(i, _)| i as u32)
    }

    /// Says whether `number` lies in the tree that listings and folder delta show (the root itself does not).
    pub(super) fn in_tree(&self, number: u32) -> bool {
        self.folders.get(number as usize).is_some_and(|f| f.exists && !f.recoverable) && number != 0
    }

    /// Says whether `number` is `above` or lies below it.
    pub(super) fn is_below(&self, number: u32, above: u32) -> bool {
        let mut at = number;
        for _ in 0..64 {
            if at == above {
                return true;
            }
            match self.folders.get(at as usize) {
                Some(f) if f.parent != at => at = f.parent,
                _ => return false,
            }
        }
        false
    }

    pub(super) fn rename_folder(&mut self, number: u32, name: String) {
        self.folders[number as usize].name = name;
        self.folder_log.push(number);
    }

    pub(super) fn move_folder(&mut self, number: u32, parent: u32) {
        let old = std::mem::replace(&mut self.folders[number as usize].parent, parent);
        self.folder_log.extend([number, old, parent]);
    }

    /// Deletes a folder for good, with all below it.
    pub(super) fn delete_folder(&mut self, number: u32, now: i64) {
        for child in self.children(number).collect::<Vec<_>>() {
            self.delete_folder(child, now);
        }
        for key in self.folders[number as usize].keys.clone() {
            self.relocate(key, GONE, now);
        }
        self.folders[number as usize].exists = false;
        let parent = self.folders[number as usize].parent;
        self.folder_log.extend([number, parent]);
    }

    /// Deletes all messages and all folders that are not well known; the Recoverable Items stay.
    pub(super) fn wipe(&mut self, now: i64) {
        for number in 1..self.folders.len() as u32 {
            let folder = &self.folders[number as usize];
            if !folder.exists || folder.recoverable {
                continue;
            }
            if folder.well_known.is_none() {
                self.delete_folder(number, now);
            } else {
                folder.keys.clone().into_iter().for_each(|key| self.relocate(key, GONE, now));
            }
        }
    }

    // --- messages ----------------------------------------------------------------------------

    /// Adds a message; returns its key.
    pub(super) fn add_message(&mut self, folder: u32, received: i64, flags: u8) -> u32 {
        let key = self.messages.len() as u32;
        let received = received as u32;
        self.messages.push(Message {
            folder,
            received,
            changed: received,
            version: 1,
            revision: 0,
            moves: 0,
            flags,
            category: 0,
        });
        let target = &mut self.folders[folder as usize];
        target.keys.insert(key);
        target.unread += u32::from(flags & READ == 0);
        target.log.push(Entry { key, moves: 0 });
        self.folder_log.push(folder);
        key
    }

    /// Changes a message in place.
    pub(super) fn change(&mut self, key: u32, now: i64, edit: impl FnOnce(&mut Message)) {
        let message = &mut self.messages[key as usize];
        let was_unread = message.flags & READ == 0;
        edit(message);
        message.version += 1;
        message.changed = now as u32;
        let (number, moves, unread) = (message.folder, message.moves, message.flags & READ == 0);
        let folder = &mut self.folders[number as usize];
        folder.unread = folder.unread + u32::from(unread) - u32::from(was_unread);
        folder.log.push(Entry { key, moves });
        if unread != was_unread {
            self.folder_log.push(number);
        }
    }

    /// Moves a message to another folder, or away ([`GONE`]).
    pub(super) fn relocate(&mut self, key: u32, to: u32, now: i64) {
        let message = &mut self.messages[key as usize];
        let (from, old_moves, unread) = (message.folder, message.moves, u32::from(message.flags & READ == 0));
        if from == to || from == GONE {
            return;
        }
        message.folder = to;
        message.version += 1;
        message.moves += 1;
        message.changed = now as u32;
        let moves = message.moves;
        let source = &mut self.folders[from as usize];
        source.keys.remove(&key);
        source.unread -= unread;
        source.log.push(Entry { key, moves: old_moves });
        self.folder_log.push(from);
        if let Some(target) = self.folders.get_mut(to as usize) {
            target.keys.insert(key);
            target.unread += unread;
            target.log.push(Entry { key, moves });
            self.folder_log.push(to);
        }
    }
}
