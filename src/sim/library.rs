//! A drive: items by number, their versions, and a log of changes for delta.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::content::Blob;
use super::rng::{Rng, hash};

/// The root of every drive.
pub(super) const ROOT: u32 = 0;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    /// A OneNote notebook: a folder that shows as one thing.
    Notebook,
    File,
    /// A shortcut to a folder in somebody else's drive.
    Shortcut,
}

/// The bytes of one version of a file, and their hash once somebody asked for it.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) blob: Blob,
    pub(super) modified: i64,
    hash: OnceLock<String>,
}

impl Body {
    pub(super) fn new(blob: Blob, modified: i64) -> Arc<Self> {
        Arc::new(Self { blob, modified, hash: OnceLock::new() })
    }

    pub(super) fn quick_xor(&self) -> &str {
        self.hash.get_or_init(|| self.blob.quick_xor())
    }
}

/// A file or folder.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) parent: u32,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) mime: &'static str,
    pub(super) created: i64,
    pub(super) modified: i64,
    /// Counts every change (eTag).
    pub(super) version: u32,
    /// Counts changes of contents (cTag).
    pub(super) content_version: u32,
    /// Oldest first; the last is the present one. Empty for folders.
    pub(super) bodies: Vec<Arc<Body>>,
    pub(super) malware: bool,
    /// How many others may use it.
    pub(super) shared: u32,
    /// Links that were made after the first day.
    pub(super) links: Vec<Value>,
    /// Counts changes of who may use it.
    pub(super) sharing: u32,
    /// Where in the log that was done last.
    pub(super) sharing_at: Option<u64>,
    pub(super) without_hash: bool,
    pub(super) alive: bool,
}

impl Item {
    /// Others may use it, by a sharing of its own.
    pub(super) fn is_shared(&self) -> bool {
        self.shared > 0 || !self.links.is_empty()
    }

    /// Who may use it is said by itself, and not by the folder that it lies in.
    pub(super) fn has_own_rights(&self) -> bool {
        self.is_shared() || self.sharing > 0
    }
}

/// An entry of the log: that item changed at that time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) item: u32,
    pub(super) at: i64,
}

/// A drive.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) seed: u64,
    pub(super) id: String,
    /// What the ids of its site follow from.
    pub(super) home: u64,
    tag: String,
    pub(super) items: Vec<Item>,
    children: Vec<Vec<u32>>,
    pub(super) log: Vec<Entry>,
}

/// Most of what others may use lies in a folder that is shared; the rest is shared by itself. Together that is one file in eight.
fn shared_at_first(number: u32, kind: Kind) -> u32 {
    let (often, at) = if kind == Kind::File { (45, 9) } else { (15, 7) };
    if number % often == at { 1 + number % 3 } else { 0 }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32(bits: u128, chars: u32) -> String {
    (0..chars).rev().map(|i| char::from(BASE32[(bits >> (i * 5) & 31) as usize])).collect()
}

/// The id of a drive.
pub(super) fn id_of(seed: u64) -> String {
    use base64::Engine as _;
    let raw: Vec<u8> = (0..6u64).flat_map(|i| hash(seed, &[0xd1, i]).to_le_bytes()).collect();
    format!("b!{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(raw))
}

/// What the ids of the site of a drive follow from.
pub(super) fn home_of(seed: u64) -> u64 {
    hash(seed, &[0x517e])
}

impl Drive {
    pub(super) fn new(seed: u64, created: i64) -> Self {
        let mut drive = Self {
            seed,
            id: id_of(seed),
            home: home_of(seed),
            tag: base32(hash(seed, &[0xd2]).into(), 8),
            items: Vec::new(),
            children: Vec::new(),
            log: Vec::new(),
        };
        drive.add(ROOT, "root", Kind::Folder, "", created);
        drive
    }

    /// The id of an item.
    pub(super) fn item_id(&self, number: u32) -> String {
        let check = u128::from(hash(self.seed, &[0xd3, number.into()])) << 20;
        let scrambled = u128::from(number ^ hash(self.seed, &[0xd4]) as u32);
        format!("01{}{}", self.tag, base32(check ^ scrambled << 84, 24))
    }

    /// The living item with that id (or `root`).
    pub(super) fn find(&self, id: &str) -> Option<u32> {
        if id.eq_ignore_ascii_case("root") {
            return Some(ROOT);
        }
        let text = id.strip_prefix("01")?.strip_prefix(self.tag.as_str())?;
        let mut bits = 0u128;
        for byte in text.bytes() {
            bits = bits << 5 | BASE32.iter().position(|c| *c == byte)? as u128;
        }
        let number = (bits >> 84) as u32 ^ hash(self.seed, &[0xd4]) as u32;
        (self.item_id(number) == id && self.items.get(number as usize)?.alive).then_some(number)
    }

    /// Adds an item without contents; returns its number.
    pub(super) fn add(&mut self, parent: u32, name: &str, kind: Kind, mime: &'static str, now: i64) -> u32 {
        let number = self.items.len() as u32;
        self.items.push(Item {
            parent,
            name: name.to_string(),
            kind,
            mime,
            created: now,
            modified: now,
            version: 1,
            content_version: 1,
            bodies: Vec::new(),
            malware: false,
            shared: shared_at_first(number, kind),
            links: Vec::new(),
            sharing: 0,
            sharing_at: None,
            without_hash: false,
            alive: true,
        });
        self.children.push(Vec::new());
        if number != ROOT {
            self.children[parent as usize].push(number);
        }
        self.log.push(Entry { item: number, at: now });
        number
    }

    /// Adds a file. Names in one folder differ without regard to case, as in SharePoint.
    pub(super) fn add_file(&mut self, parent: u32, name: &str, mime: &'static str, blob: Blob, now: i64) -> u32 {
        let name = self.free_name(parent, name);
        let number = self.add(parent, &name, Kind::File, mime, now);
        self.items[number as usize].bodies = vec![Body::new(blob, now)];
        number
    }

    /// A name like `name` that is not taken in the folder.
    pub(super) fn free_name(&self, parent: u32, name: &str) -> String {
        let taken = |n: &str| {
            let lower = n.to_lowercase();
            self.children(parent).any(|c| self.items[c as usize].name.to_lowercase() == lower)
        };
        if !taken(name) {
            return name.to_string();
        }
        let (stem, extension) = name.rsplit_once('.').map_or((name, String::new()), |(s, e)| (s, format!(".{e}")));
        (1..).map(|i| format!("{stem} ({i}){extension}")).find(|n| !taken(n)).unwrap_or_else(|| name.to_string())
    }

    /// The living items right below a folder.
    pub(super) fn children(&self, parent: u32) -> impl Iterator<Item = u32> + '_ {
        self.children.get(parent as usize).into_iter().flatten().copied()
    }

    /// The path from the root: `Documents/Plan.docx`; empty for the root.
    pub(super) fn path(&self, number: u32) -> String {
        let (mut parts, mut at) = (Vec::new(), number);
        while at != ROOT {
            let item = &self.items[at as usize];
            parts.push(item.name.as_str());
            at = item.parent;
        }
        parts.reverse();
        parts.join("/")
    }

    /// Says whether `number` is `above` or lies below it.
    pub(super) fn is_below(&self, number: u32, above: u32) -> bool {
        let mut at = number;
        while at != above && at != ROOT {
            at = self.items[at as usize].parent;
        }
        at == above
    }

    /// The item that says who may use this one, if others may: itself, or the nearest above it that has rights of its own.
    pub(super) fn sharer(&self, number: u32) -> Option<u32> {
        let mut at = number;
        while at != ROOT && !self.items[at as usize].has_own_rights() {
            at = self.items[at as usize].parent;
        }
        self.items[at as usize].is_shared().then_some(at)
    }

    /// Bytes of a file, or of all files below a folder.
    pub(super) fn size(&self, number: u32) -> u64 {
        let item = &self.items[number as usize];
        match item.bodies.last() {
            Some(body) => body.blob.len(),
            None => self.children(number).map(|c| self.size(c)).sum(),
        }
    }

    pub(super) fn touch(&mut self, number: u32, now: i64) {
        self.items[number as usize].version += 1;
        self.log.push(Entry { item: number, at: now });
    }

    /// Gives a file new contents; the old ones stay as a version.
    pub(super) fn edit(&mut self, number: u32, blob: Blob, now: i64) {
        let item = &mut self.items[number as usize];
        item.bodies.push(Body::new(blob, now));
        item.modified = now;
        item.content_version += 1;
        self.touch(number, now);
    }

    /// Renames an item, in its folder or into another.
    pub(super) fn relocate(&mut self, number: u32, parent: u32, name: &str, now: i64) {
        let old = self.items[number as usize].parent;
        self.children[old as usize].retain(|c| *c != number);
        let name = self.free_name(parent, name);
        self.children[parent as usize].push(number);
        let item = &mut self.items[number as usize];
        item.parent = parent;
        item.name = name;
        self.touch(number, now);
    }

    /// Deletes an item and all below it.
    pub(super) fn delete(&mut self, number: u32, now: i64) {
        for child in self.children(number).collect::<Vec<_>>() {
            self.delete(child, now);
        }
        let item = &mut self.items[number as usize];
        item.alive = false;
        let parent = item.parent;
        self.children[parent as usize].retain(|c| *c != number);
        self.touch(number, now);
    }

    /// Says who may use an item, which changes nothing else of it.
    pub(super) fn share(&mut self, number: u32, with: u32, now: i64) {
        let at = self.log.len() as u64;
        let item = &mut self.items[number as usize];
        item.shared = with;
        item.sharing += 1;
        item.sharing_at = Some(at);
        self.log.push(Entry { item: number, at: now });
    }

    /// Takes somebody out of each sharing, of which no delta tells; `touched`: it tells the items, as if something
    /// else of them had changed. Gives how many these are.
    pub(super) fn shrink_sharing(&mut self, touched: bool, now: i64) -> usize {
        let shrinks = |n: &u32| self.items.get(*n as usize).is_some_and(|item| item.alive && item.shared > 0);
        let all: Vec<u32> = (0..self.items.len() as u32).filter(shrinks).collect();
        for number in &all {
            let item = &mut self.items[*number as usize];
            (item.shared, item.sharing) = (item.shared - 1, item.sharing + 1);
            if touched {
                self.touch(*number, now);
            }
        }
        all.len()
    }

    /// Shares up to so many items, of which no delta tells. Gives how many these are.
    pub(super) fn share_untold(&mut self, most: usize) -> usize {
        let items = self.items.iter_mut().skip(1).filter(|item| item.alive && item.shared == 0).take(most);
        items.map(|item| (item.shared, item.sharing) = (2, item.sharing + 1)).count()
    }

    /// Gives all items the rights of what holds them.
    pub(super) fn stop_sharing(&mut self, now: i64) {
        for number in 1..self.items.len() as u32 {
            let item = &mut self.items[number as usize];
            if item.has_own_rights() {
                (item.shared, item.sharing) = (0, 0);
                item.links.clear();
                self.touch(number, now);
            }
        }
    }

    /// Gives back memory that was reserved for growth.
    pub(super) fn shrink(&mut self) {
        self.items.shrink_to_fit();
        self.children.shrink_to_fit();
        self.children.iter_mut().for_each(Vec::shrink_to_fit);
        self.log = Vec::new();
    }

    /// A living item that passes `wanted`, by chance.
    pub(super) fn any(&self, rng: &mut Rng, wanted: impl Fn(&Item) -> bool) -> Option<u32> {
        let all: Vec<u32> = (1..self.items.len() as u32)
            .filter(|n| self.items.get(*n as usize).is_some_and(|i| i.alive && wanted(i)))
            .collect();
        (!all.is_empty()).then(|| all[rng.index(all.len())])
    }
}
