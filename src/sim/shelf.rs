//! A shelf: simulated things of a few kinds in a tree (contacts in folders, events in calendars), as a few numbers each,
//! with a log of changes below each parent. What they say is made from their seeds when it is read.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Map, Value};

use super::content::Blob;
use super::letter::Cast;
use super::rng::{Rng, hash, hash_text};
use super::token::Logged;

/// What stands for the parent of what is on top.
pub(super) const TOP: u32 = u32::MAX;

/// A kind of thing.
pub(super) struct Kind {
    /// Its name in Graph: `contact`.
    pub(super) name: &'static str,
    /// The form of its ids, from the shelf's seed and the thing's number.
    pub(super) id: fn(u64, u32) -> String,
    /// Makes its JSON, all properties that Graph gives when none are selected.
    pub(super) json: fn(&Cast, &Shelf, u32) -> Map<String, Value>,
    /// Makes its bytes, if it has any (a contact's photo, an attachment).
    pub(super) content: fn(&Cast, &Shelf, u32) -> Option<Blob>,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A thing: what cannot be worked out from its seed.
#[derive(Debug, Clone)]
pub(super) struct Thing {
    pub(super) kind: &'static Kind,
    pub(super) parent: u32,
    /// What it says follows from this.
    pub(super) seed: u64,
    /// How often what it says was changed.
    pub(super) revision: u32,
    pub(super) alive: bool,
    /// Seconds since 1970.
    pub(super) created: i64,
    /// Seconds since 1970.
    pub(super) changed: i64,
    /// What the kind makes of it.
    pub(super) mark: u32,
    /// What clients wrote: it stands over what follows from the seed. Names with `~` are for the kind alone.
    pub(super) given: Given,
    /// Bytes that clients sent.
    pub(super) bytes: Option<Box<Blob>>,
}

/// What clients wrote of a thing: of most things nothing, so that it takes no room then.
#[derive(Debug, Clone, Default)]
pub(super) struct Given(Option<Box<Map<String, Value>>>);

impl Deref for Given {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for Given {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.get_or_insert_default()
    }
}

impl From<Map<String, Value>> for Given {
    fn from(given: Map<String, Value>) -> Self {
        Self((!given.is_empty()).then(|| Box::new(given)))
    }
}

/// Marks what a client made.
pub(super) const WRITTEN: &str = "~written";

impl Thing {
    /// Whether a client made it.
    pub(super) fn is_written(&self) -> bool {
        self.given.contains_key(WRITTEN)
    }
}

/// Things in a tree.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) seed: u64,
    /// What its kinds want to know of its owner: a name, a path.
    pub(super) name: String,
    pub(super) things: Vec<Thing>,
    by_id: HashMap<u64, u32>,
    /// Parents with what is below each, also what is gone.
    by_parent: BTreeSet<(u32, u32)>,
    /// Numbers of what came, changed or left, below each parent.
    logs: HashMap<u32, Vec<u32>>,
    /// The same below all parents.
    log: Vec<u32>,
}

impl Shelf {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// The same with a name.
    pub(super) fn named(seed: u64, name: String) -> Self {
        Self { name, ..Self::new(seed) }
    }

    /// Adds a thing; returns its number.
    pub(super) fn add(&mut self, kind: &'static Kind, parent: u32, created: i64, mark: u32) -> u32 {
        let number = self.things.len() as u32;
        let seed = hash(self.seed, &[0x7419, number.into()]);
        let (given, bytes) = (Given::default(), None);
        let thing =
            Thing { kind, parent, seed, revision: 0, alive: true, created, changed: created, mark, given, bytes };
        self.things.push(thing);
        self.by_id.insert(hash_text(0, &self.id(number)), number);
        self.by_parent.insert((parent, number));
        self.note(parent, number);
        number
    }

    fn note(&mut self, parent: u32, number: u32) {
        self.logs.entry(parent).or_default().push(number);
        self.log.push(number);
    }

    /// Forgets the logs: this is the first day.
    pub(super) fn begin(&mut self) {
        self.logs.clear();
        self.log.clear();
    }

    pub(super) fn thing(&self, number: u32) -> &Thing {
        &self.things[number as usize]
    }

    pub(super) fn id(&self, number: u32) -> String {
        (self.thing(number).kind.id)(self.seed, number)
    }

    /// The living thing of a kind with that id.
    pub(super) fn find(&self, kind: &Kind, id: &str) -> Option<u32> {
        let number = *self.by_id.get(&hash_text(0, id))?;
        let thing = self.thing(number);
        (thing.alive && thing.kind.name == kind.name && self.id(number) == id).then_some(number)
    }

    /// The living things of a kind below a parent, in order.
    pub(super) fn below<'a>(&'a self, kind: &'a Kind, parent: u32) -> impl Iterator<Item = u32> + 'a {
        self.living_below(parent, 0).filter(|number| self.thing(*number).kind.name == kind.name)
    }

    /// The living things of all kinds below a parent, in order, from a number on.
    fn living_below(&self, parent: u32, from: u32) -> impl Iterator<Item = u32> {
        let numbers = self.by_parent.range((parent, from)..=(parent, u32::MAX)).map(|(_, number)| *number);
        numbers.filter(|number| self.thing(*number).alive)
    }

    /// The living things of a kind, in order.
    pub(super) fn all<'a>(&'a self, kind: &'a Kind) -> impl Iterator<Item = u32> + 'a {
        let numbered = (0u32..).zip(&self.things);
        numbered.filter(|(_, thing)| thing.alive && thing.kind.name == kind.name).map(|(number, _)| number)
    }

    /// A living thing of a kind, by chance.
    pub(super) fn any(&self, kind: &Kind, rng: &mut Rng) -> Option<u32> {
        let all: Vec<u32> = self.all(kind).collect();
        (!all.is_empty()).then(|| all[rng.index(all.len())])
    }

    /// Changes what a thing says.
    pub(super) fn edit(&mut self, number: u32, now: i64) {
        let thing = &mut self.things[number as usize];
        thing.revision += 1;
        thing.changed = now;
        let parent = thing.parent;
        self.note(parent, number);
    }

    /// Logs a thing though it says what it said: something below it changed.
    pub(super) fn touch(&mut self, number: u32) {
        self.note(self.thing(number).parent, number);
    }

    /// Moves a thing below another parent.
    pub(super) fn relocate(&mut self, number: u32, parent: u32, now: i64) {
        let old = std::mem::replace(&mut self.things[number as usize].parent, parent);
        self.by_parent.remove(&(old, number));
        self.by_parent.insert((parent, number));
        self.note(old, number);
        self.edit(number, now);
    }

    /// Puts a thing below another parent, by their ids: it says what it said. Nothing happens where they are not there.
    pub(super) fn carry(&mut self, id: &str, parent: &str, now: i64) {
        let number = |id: &str| self.by_id.get(&hash_text(0, id)).copied();
        let (Some(number), Some(parent)) = (number(id), number(parent)) else { return };
        let thing = &mut self.things[number as usize];
        thing.changed = now;
        let old = std::mem::replace(&mut thing.parent, parent);
        self.by_parent.remove(&(old, number));
        self.by_parent.insert((parent, number));
        self.note(old, number);
        self.note(parent, number);
    }

    /// Deletes a thing, with all below it.
    pub(super) fn delete(&mut self, number: u32) {
        let below: Vec<u32> = self.living_below(number, 0).collect();
        below.into_iter().for_each(|number| self.delete(number));
        self.things[number as usize].alive = false;
        let parent = self.things[number as usize].parent;
        self.note(parent, number);
    }

    pub(super) fn json(&self, cast: &Cast, number: u32) -> Map<String, Value> {
        let thing = self.thing(number);
        let mut json = (thing.kind.json)(cast, self, number);
        let shown = thing.given.iter().filter(|(name, _)| !name.starts_with('~'));
        json.extend(shown.map(|(name, value)| (name.clone(), value.clone())));
        json
    }

    pub(super) fn content(&self, cast: &Cast, number: u32) -> Option<Blob> {
        let thing = self.thing(number);
        match &thing.bytes {
            None if !thing.is_written() => (thing.kind.content)(cast, self, number),
            bytes => bytes.as_deref().cloned(),
        }
    }

    /// Changes what a thing says, as a client wrote it.
    pub(super) fn write(&mut self, number: u32, given: Map<String, Value>, now: i64) {
        self.things[number as usize].given.extend(given);
        self.edit(number, now);
    }

    /// What a thing's text and numbers follow from; an edit changes it.
    pub(super) fn rng(&self, number: u32) -> Rng {
        let thing = self.thing(number);
        Rng::new(thing.seed, &[thing.revision.into()])
    }

    /// An Exchange change key.
    pub(super) fn change_key(&self, number: u32) -> String {
        let thing = self.thing(number);
        let mut raw = vec![9, 0, 0, 0, 0x16, 0, 0, 0];
        let state = [number.into(), thing.revision.into(), thing.parent.into()];
        raw.extend(hash(self.seed, &state).to_be_bytes());
        base64::engine::general_purpose::STANDARD.encode(raw)
    }
}

/// An immutable id of Exchange.
pub(super) fn exchange_id(seed: u64, number: u32) -> String {
    let raw: Vec<u8> =
        (0..9u64).flat_map(|i| hash(seed, &[if i < 6 { 0 } else { number.into() }, i]).to_le_bytes()).collect();
    format!("AAkALg{}AAA=", B64.encode(raw))
}

/// No bytes.
pub(super) fn nothing(_: &Cast, _: &Shelf, _: u32) -> Option<Blob> {
    None
}

/// What one kind did below one parent, as delta tells it.
pub(super) struct ShelfLog<'a> {
    pub(super) shelf: &'a Shelf,
    pub(super) kind: &'static Kind,
    pub(super) parent: u32,
    /// The whole tree of the kind in one list (folders).
    pub(super) flat: bool,
    /// A thing that this list leaves out.
    pub(super) hidden: Option<u32>,
}

impl ShelfLog<'_> {
    fn admits(&self, number: u32) -> bool {
        self.shelf.thing(number).kind.name == self.kind.name && self.hidden != Some(number)
    }

    /// Says whether a thing is there now, for this log.
    pub(super) fn has(&self, number: u32) -> bool {
        let thing = self.shelf.thing(number);
        thing.alive && (self.flat || thing.parent == self.parent)
    }

    fn log(&self) -> Vec<u32> {
        let log = match self.flat {
            true => Some(&self.shelf.log),
            false => self.shelf.logs.get(&self.parent),
        };
        log.map(Vec::as_slice).unwrap_or_default().iter().copied().filter(|number| self.admits(*number)).collect()
    }
}

impl Logged for ShelfLog<'_> {
    type Row = u32;

    fn log_len(&self) -> u64 {
        self.log().len() as u64
    }

    fn walk(&self, next: u64, n: usize) -> (Vec<u32>, Option<u64>) {
        let next = next as u32;
        let rows: Vec<u32> = if self.flat {
            let all = (next..self.shelf.things.len() as u32).filter(|n| self.admits(*n) && self.has(*n));
            all.take(n + 1).collect()
        } else {
            self.shelf.living_below(self.parent, next).filter(|n| self.admits(*n)).take(n + 1).collect()
        };
        let then = rows.get(n).map(|number| u64::from(*number));
        (rows.into_iter().take(n).collect(), then)
    }

    fn entry(&self, at: u64) -> Option<u32> {
        self.log().get(at as usize).copied()
    }
}
