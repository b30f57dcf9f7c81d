//! The door between a workload that takes items back and whoever drives a restore.
//!
//! A [`Target`] is one place that takes items of one workload: the mail of a mailbox, a drive, the calendars of a
//! mailbox. Whoever drives asks what is there, decides, and says what is to be made; the target makes it and gives back
//! how that is taken back again ([`Undo`]). Contents come through [`Source`], so that nothing here knows of repositories.
//! Every making carries a mark of its own: after an interruption the target is asked with [`Target::find`] whether what
//! was meant came about, before it is made again. What takes several requests tells a [`Log`] on the way how it is taken
//! back by then: a making that ends halfway leaves nothing that nobody knows of.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use super::cost::Cost;
use super::posts::Brought;
use super::room::Held;
use crate::error::Result;
use crate::format::record::{ItemKind, Record, StreamRole};
use crate::graph::Scope;
use crate::m365::door::Workload;

/// Gives what a snapshot holds of items.
#[async_trait]
pub trait Source: Send + Sync {
    /// Graph's JSON of an item, as it was kept; null if there is none.
    async fn properties(&self, record: &Record) -> Result<Value>;

    /// Opens a stream of an item from a byte on; `None`: the snapshot has no such stream of it.
    ///
    /// May be opened again, from anywhere: an upload that broke off goes on in the middle.
    async fn open(&self, record: &Record, role: StreamRole, from: u64) -> Result<Option<Opened>>;

    /// How long the page of an item is, with all that hangs below it: one file for people to read (a conversation, as HTML).
    /// `None`: there is no such form of it. As costly as to make it.
    async fn page_bytes(&self, record: &Record) -> Result<Option<u64>> {
        let _ = record;
        Ok(None)
    }

    /// Makes that page, from a byte on.
    async fn open_page(&self, record: &Record, from: u64) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        let _ = (record, from);
        Ok(None)
    }

    /// What hangs directly below an item, in listing order: attachments, versions, permissions, exceptions, replies.
    async fn below(&self, record: &Record) -> Result<Vec<Record>>;

    /// What hangs below the item with this id and bears its id in its own, however much else lies in it: who may use a folder.
    async fn parts(&self, item: &str) -> Result<Vec<Record>>;

    /// Another item of the same collection.
    async fn record(&self, id: &str) -> Result<Option<Record>>;

    /// What the snapshot holds of another collection of the same owner; `None`: nothing.
    async fn beside(&self, workload: Workload, id: &str) -> Result<Option<Box<dyn Source>>> {
        let _ = (workload, id);
        Ok(None)
    }

    /// Fails once the run is to come to an end: what takes long asks on the way.
    ///
    /// # Errors
    /// `Interrupted`.
    fn go_on(&self) -> Result<()> {
        Ok(())
    }

    /// Says whether what has this id in a container of the target is another step's: made by it, or found for it since the run went on.
    /// Then it is not what is looked for; else it is from now on, so that this is asked last.
    fn is_taken(&self, id: &str, parent: &str) -> bool {
        let _ = (id, parent);
        false
    }

    /// Waits till there is room in memory for so many bytes that are held at once, and keeps it until what this gives is dropped. Who has
    /// some asks for no more.
    ///
    /// # Errors
    /// The run is over.
    async fn room(&self, bytes: u64) -> Result<Held> {
        let _ = bytes;
        Ok(Held::default())
    }

    /// What became of a container of this restore: the id that the one with this id in the snapshot has in the target, if it was
    /// made or found there. Rules name folders, tasks name buckets.
    fn made_as(&self, id: &str) -> Option<String>;
}

/// An open stream.
pub struct Opened {
    /// The length of the whole stream, in bytes.
    pub size_bytes: u64,
    /// The bytes from where it was opened on.
    pub bytes: BoxStream<'static, Result<Bytes>>,
}

/// What is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The item as the snapshot has it.
    pub record: &'a Record,
    /// The id of the container in the target that it goes into; empty: the top.
    pub parent: &'a str,
    /// The name it gets. It differs from the record's where a copy is put beside something of that name.
    pub name: &'a str,
    /// Tells this making apart from every other one, in all runs: 1 to 64 letters, digits and dashes.
    pub mark: &'a str,
    /// What goes with files as a choice.
    pub extras: Extras,
    /// Hears on the way how what is done is taken back.
    pub log: &'a dyn Log,
    /// It is to be taken back: [`Target::find`] looks for it, and completes nothing of what it finds.
    pub only_looks: bool,
}

/// Keeps, durably, how what a making did so far is taken back. A target tells it of what was made before it goes on with
/// further requests, and of what was there before it sends the request that changes that.
#[async_trait]
pub trait Log: fmt::Debug + Send + Sync {
    /// Takes note, and gives what holds: what was there is what an earlier try of the same making found, not what that try
    /// left.
    ///
    /// # Errors
    /// Whatever keeps it durable cannot.
    async fn note(&self, undo: Undo) -> Result<Undo>;

    /// What it was told of this making so far, also by earlier tries, and was not taken back.
    fn so_far(&self) -> Vec<Undo> {
        Vec::new()
    }
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unlogged;

#[async_trait]
impl Log for Unlogged {
    async fn note(&self, undo: Undo) -> Result<Undo> {
        Ok(undo)
    }
}

/// What goes with files as a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// The rights of people.
    pub permissions: bool,
    /// New sharing links of the same type and for the same people; their addresses differ.
    pub links: bool,
    /// Earlier versions.
    pub versions: bool,
}

/// How the snapshot's item fares in a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// It can be made, at this cost.
    Takes(Cost),
    /// It cannot be made here; the reason in words.
    Cannot(String),
}

/// Something that is in the target now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: ItemKind,
    /// What makes it the same thing as an item of a snapshot: see [`Target::identity`].
    pub identity: String,
    /// What it holds, as [`Target::state`] tells it of an item of a snapshot; empty: that cannot be told.
    pub state: String,
    /// When it was changed last: microseconds since 1970 UTC, if known.
    pub modified_us: Option<i64>,
}

/// How something that was done is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Undo {
    /// It was made: it is deleted. A container only if nothing else came into it.
    Delete {
        /// What it is.
        #[serde(with = "kind_word")]
        kind: ItemKind,
        /// Its id in the target.
        id: String,
        /// The container that it was made in.
        parent: String,
    },
    /// It was put aside to make room: it is moved back.
    MoveBack {
        /// Its id in the target.
        id: String,
        /// The container that it was in.
        parent: String,
    },
    /// It got new contents: the version before becomes the newest again.
    Version {
        /// Its id in the target.
        id: String,
        /// The version before.
        version: String,
    },
    /// It got other values: it gets the ones before. They stand in the journal, which only its owner reads.
    Values {
        /// What it is.
        #[serde(with = "kind_word")]
        kind: ItemKind,
        /// Its id in the target.
        id: String,
        /// The values before, as they are sent.
        before: Value,
    },
    /// It cannot be taken back.
    Cannot {
        /// Its id in the target.
        id: String,
        /// The reason in words.
        why: String,
    },
}

impl Undo {
    /// The id in the target.
    pub fn id(&self) -> &str {
        match self {
            Self::Delete { id, .. }
            | Self::MoveBack { id, .. }
            | Self::Version { id, .. }
            | Self::Values { id, .. }
            | Self::Cannot { id, .. } => id,
        }
    }

    /// Says whether it gives something that was there what it held before.
    pub fn is_of_before(&self) -> bool {
        matches!(self, Self::Version { .. } | Self::Values { .. } | Self::Cannot { .. })
    }
}

/// What is known of a making that is to be taken back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Since<'a> {
    /// When the run was planned: microseconds since 1970 UTC.
    pub run_us: Option<i64>,
    /// The time of the snapshot's item, where that is at hand: microseconds since 1970 UTC.
    pub item_us: Option<i64>,
    /// What it held when it was made ([`Made::state`]); empty: that is not known.
    pub state: &'a str,
}

impl<'a> Since<'a> {
    /// What the thing itself held; empty: that is not known.
    pub fn own(self) -> &'a str {
        self.state.split('\n').next().unwrap_or_default()
    }

    /// What was told of a part ([`Made::tell`]); empty: that is not known.
    pub fn of(self, part: &str) -> &'a str {
        let mut parts = self.state.split('\n').skip(1).filter_map(|line| line.split_once('\t'));
        parts.find(|(name, _)| *name == part).map_or("", |(_, state)| state)
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Made {
    /// The id of the item in the target.
    pub id: String,
    /// How it is taken back; carried out from the last to the first.
    pub undo: Vec<Undo>,
    /// What did not come back as it was, in words.
    pub notes: Vec<String>,
    /// What it holds now as Graph told it, in a form that [`Target::was_changed`] compares; empty: that is not known. Lines below
    /// tell of parts ([`Made::tell`]).
    pub state: String,
}

impl Made {
    /// A new item, taken back by deleting it.
    pub fn new(kind: ItemKind, id: impl Into<String>, parent: &str) -> Self {
        let id = id.into();
        let undo = vec![Undo::Delete { kind, id: id.clone(), parent: parent.to_owned() }];
        Self { id, undo, ..Self::default() }
    }

    /// Adds what a part of it holds now: one that has a name, or something else that was made with it, by its id. Nothing is
    /// not known.
    pub fn tell(&mut self, part: &str, state: &str) {
        if !state.is_empty() {
            self.state.extend(["\n", part, "\t", state]);
        }
    }

    /// Something that was there, and got other contents or values.
    pub fn over(present: &str, undo: Undo) -> Self {
        Self { id: present.to_owned(), undo: vec![undo], ..Self::default() }
    }
}

/// What a note ends with of something that is there and that undo leaves, as nothing says who made it.
pub const UNDO_LEAVES: &str = "undo leaves it";

/// What became of a making of which no result is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing of it is there.
    Nothing,
    /// It is there as it should be.
    Whole(Made),
    /// A part of it is there: it is taken away, and made again.
    Part(Made),
}

/// One place that takes items of one workload.
#[async_trait]
pub trait Target: Send + Sync {
    /// The workload.
    fn workload(&self) -> Workload;

    /// The place as people read it: `users/bob@contoso.com/Mail`.
    fn path(&self) -> &str;

    /// Tells where the top lies: what has the same goes to the same place, whatever its path says.
    fn place(&self) -> String {
        self.path().to_lowercase()
    }

    /// Which budget pays.
    fn scope(&self) -> Scope;

    /// The application permission that writing here needs: `Mail.ReadWrite`.
    fn permission(&self) -> &'static str;

    /// How many items may be made at once.
    fn at_once(&self) -> usize {
        4
    }

    /// Says whether things can go into a container of their own here (a dated folder); else they go in place only.
    fn takes_folder(&self) -> bool {
        true
    }

    /// Says whether containers cannot lie in one another here: then those of a restore into a container of its own lie beside
    /// it, and bear its name in theirs.
    fn is_flat(&self) -> bool {
        false
    }

    /// Says whether containers of a kind do not lie in the container of a restore into one of its own: they are it.
    fn melts(&self, _: ItemKind) -> bool {
        false
    }

    /// The names that a container may get here, the best first: where names are taken elsewhere, they get numbers.
    fn names_of(&self, _: ItemKind, name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    /// Says whether no two of a kind can bear one name in one container.
    fn tells_by_name(&self, kind: ItemKind) -> bool {
        self.is_container(kind)
    }

    /// Says whether items do not come back as what they were, but as pages among the files of their people.
    fn makes_pages(&self) -> bool {
        false
    }

    /// Asks whether the place is there and can be read, before anything is written.
    ///
    /// # Errors
    /// Graph's; `StorageFull` if it is known to be full.
    async fn probe(&self) -> Result<()>;

    /// Says whether an item can be made here, and what it costs.
    fn fit(&self, record: &Record) -> Fit;

    /// What making an item costs further, for what comes with it: versions, rights, attachments, steps. The snapshot's records tell, and
    /// where they do not, Graph's JSON of the item; no contents are read. The source tells which containers are planned to be there
    /// ([`Source::made_as`]).
    ///
    /// # Errors
    /// The source's.
    async fn further(&self, _record: &Record, _extras: Extras, _source: &dyn Source) -> Result<Cost> {
        Ok(Cost::default())
    }

    /// What else of the snapshot comes back with a container that is made, or would.
    ///
    /// # Errors
    /// The source's.
    async fn brings(&self, _record: &Record, _source: &dyn Source) -> Result<Option<Brought>> {
        Ok(None)
    }

    /// What it costs to overwrite something with an item that can be made at a cost.
    fn overwriting(&self, _: &Record, cost: Cost) -> Cost {
        cost
    }

    /// Says whether items of a kind are folders here: what is in them is made one by one. Else they are made with all of it.
    fn is_container(&self, kind: ItemKind) -> bool {
        kind.is_container()
    }

    /// Says whether what lies in a container and is of this kind is made with the container, and is no step of its own.
    fn comes_along(&self, _: ItemKind) -> bool {
        false
    }

    /// Says whether there is never more than one of it, so that no copy comes beside.
    fn is_single(&self, _record: &Record) -> bool {
        false
    }

    /// Says whether making what is there already adds what it lacks, and changes nothing of it.
    fn adds(&self, _: ItemKind) -> bool {
        false
    }

    /// Siblings are made in the order of this number, the lowest first.
    fn rank(&self, kind: ItemKind) -> u8 {
        u8::from(!kind.is_container())
    }

    /// Why what is there of an item is never overwritten; `None`: it may be.
    fn stays(&self, _record: &Record) -> Option<&'static str> {
        None
    }

    /// What makes an item the same thing as one in the target, among those of one container: a file's name, a message's
    /// Internet message id.
    fn identity(&self, record: &Record) -> String;

    /// What an item holds, so that it can be compared with what is there; empty: that cannot be told.
    fn state(&self, record: &Record) -> String;

    /// Says whether it can be told of what is there that it was changed: by what it holds, or by its time.
    fn tells_changes(&self) -> bool {
        true
    }

    /// Lists what is directly in a container of the target (empty: the top).
    ///
    /// # Errors
    /// Graph's.
    async fn present(&self, parent: &str) -> Result<Vec<Present>>;

    /// Says whether an item of the snapshot, which is not where it was, was moved to another container of the target. What lies
    /// in a bin was deleted.
    ///
    /// # Errors
    /// Graph's.
    async fn has_moved(&self, _record: &Record) -> Result<bool> {
        Ok(false)
    }

    /// Tells the ids of all items of which [`Target::has_moved`] would say so, containers perhaps left out: where very many are
    /// asked for, that is cheaper. `false`: it takes more than so many pages, or cannot be told.
    ///
    /// # Errors
    /// Graph's.
    async fn everywhere(&self, _pages: usize, _each: &mut (dyn for<'i> FnMut(&'i str) + Send)) -> Result<bool> {
        Ok(false)
    }

    /// Makes an empty container at the top, for a restore that goes into one of its own.
    ///
    /// # Errors
    /// Graph's.
    async fn create_top(&self, name: &str) -> Result<Made>;

    /// Finds the container that [`Target::create_top`] makes, by its name.
    ///
    /// # Errors
    /// Graph's.
    async fn find_top(&self, name: &str) -> Result<Option<Made>>;

    /// Makes a container or an item, with all that hangs below it and is no container's matter.
    ///
    /// # Errors
    /// Graph's; the source's. What was made in part is in the order's log, or is found by [`Target::find`].
    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made>;

    /// Gives something that is there the contents of the snapshot's item. What it held before is in the order's log before
    /// anything is sent; done again after an interruption, it gives back what the log says.
    ///
    /// # Errors
    /// As [`Target::create`].
    async fn overwrite(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made>;

    /// When something that is there, in a container, was changed last: microseconds since 1970 UTC; `None`: it is gone, or that
    /// cannot be told.
    ///
    /// # Errors
    /// Graph's.
    async fn changed_us(&self, _present: &str, _parent: &str) -> Result<Option<i64>> {
        Ok(None)
    }

    /// Looks for what a making with this mark left behind. What is there may be completed, if it is not only looked for.
    ///
    /// # Errors
    /// Graph's.
    async fn find(&self, order: Order<'_>, source: &dyn Source) -> Result<Found>;

    /// Says whether what an earlier try left is not taken away before a step is done again: [`Target::find`] goes on with it.
    ///
    /// # Errors
    /// Graph's.
    async fn goes_on(&self, _undo: &Undo) -> Result<bool> {
        Ok(false)
    }

    /// Says whether what was made or overwritten was changed by somebody since, as far as the target tells: a file has the
    /// times of the snapshot's; of other things it is compared what they hold. What was made and lies in another container now
    /// was changed. What is gone was not.
    ///
    /// # Errors
    /// Graph's.
    async fn was_changed(&self, _undo: &Undo, _since: Since<'_>) -> Result<bool> {
        Ok(false)
    }

    /// Says whether a container that was made lies in another one now: then somebody took it there with all that is in it. What
    /// is gone was not moved.
    ///
    /// # Errors
    /// Graph's.
    async fn was_moved(&self, _undo: &Undo, _since: Since<'_>) -> Result<bool> {
        Ok(false)
    }

    /// Takes back. What is gone already counts as taken back. Gives a reason in words if it is left as it is.
    ///
    /// # Errors
    /// Graph's.
    async fn undo(&self, undo: &Undo) -> Result<Option<String>>;
}

/// Kinds by their words.
mod kind_word {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::format::record::ItemKind;

    // The shape that serde calls.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(kind: &ItemKind, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(kind.word())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ItemKind, D::Error> {
        let word = String::deserialize(from)?;
        ItemKind::of(&word).ok_or_else(|| D::Error::custom("no kind of item"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_parts_stands_beside_what_the_thing_holds() {
        let mut made = Made { state: "a".into(), ..Made::default() };
        made.tell("photo", "b");
        made.tell("id", "");
        made.tell("id/1", "c\td");
        let since = Since { state: &made.state, ..Since::default() };
        let parts = ["photo", "id", "id/1", "a", ""].map(|part| since.of(part));
        assert_eq!((since.own(), parts), ("a", ["b", "", "c\td", "", ""]));
        let of_before = Since { state: "\"x,1\"", ..Since::default() };
        assert_eq!((of_before.own(), of_before.of("photo")), ("\"x,1\"", ""));
        assert_eq!((Since::default().own(), Since::default().of("photo")), ("", ""));
    }
}
