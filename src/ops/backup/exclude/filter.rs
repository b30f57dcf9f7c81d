//! The layer itself: takes a workload's changes, and passes on those of items that are not left out.

use std::collections::HashMap;

use async_trait::async_trait;
use futures::TryStreamExt;

use super::Excluding;
use super::memory::Key;
use super::sweep::join;
use crate::error::Result;
use crate::format::collection::{Cursors, Gap};
use crate::format::record::{ItemKind, Record};
use crate::m365::{Change, Contents, Known, Sink};
use crate::ops::backup::resume::part_of;

/// Changes that may wait, by the memory that they take. More than that are dropped, and read by a second reading, which
/// knows all folders.
const HELD_BYTES: usize = 64 << 20;
/// What a change takes beside its texts.
const CHANGE_BYTES: usize = 600;
/// Folders deeper than this are no folders: parents that run in a circle end here.
const DEEPEST: usize = 1000;

/// Something that others hang below, as it was told.
pub(super) struct Told {
    parent: String,
    /// The name of a folder; `None`: it is no folder.
    name: Option<String>,
}

/// Changes that wait for a folder to be told.
#[derive(Default)]
pub(super) struct Held {
    /// By what they wait for (empty: the end), then by id.
    waiting: HashMap<String, HashMap<String, (u64, Change)>>,
    /// What each waits for.
    places: HashMap<String, String>,
    bytes: usize,
    number: u64,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn holds(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    fn put(&mut self, waits_for: String, id: String, change: Change) {
        self.drop(&id);
        self.bytes += size_of(&change);
        self.number += 1;
        self.waiting.entry(waits_for.clone()).or_default().insert(id.clone(), (self.number, change));
        self.places.insert(id, waits_for);
    }

    /// Drops a change that holds no longer.
    fn drop(&mut self, id: &str) {
        let Some(waits_for) = self.places.remove(id) else { return };
        let change = self.waiting.get_mut(&waits_for).and_then(|changes| changes.remove(id));
        self.bytes = self.bytes.saturating_sub(change.map_or(0, |(_, change)| size_of(&change)));
    }

    /// Takes the changes that wait for this, in the order in which they came.
    fn take(&mut self, waits_for: &str) -> Vec<Change> {
        let taken = self.waiting.remove(waits_for).unwrap_or_default();
        let mut changes: Vec<(u64, Change)> = Vec::with_capacity(taken.len());
        for (id, (number, change)) in taken {
            self.places.remove(&id);
            self.bytes = self.bytes.saturating_sub(size_of(&change));
            changes.push((number, change));
        }
        changes.sort_by_key(|(number, _)| *number);
        changes.into_iter().map(|(_, change)| change).collect()
    }

    fn take_all(&mut self) -> Vec<Change> {
        let mut changes: Vec<(u64, Change)> =
            std::mem::take(self).waiting.into_values().flat_map(HashMap::into_values).collect();
        changes.sort_by_key(|(number, _)| *number);
        changes.into_iter().map(|(_, change)| change).collect()
    }
}

fn size_of(change: &Change) -> usize {
    let Change::Put { record, properties, .. } = change else { return CHANGE_BYTES };
    let facts: usize = record.summary.iter().map(|(key, value)| key.len() + value.len() + 48).sum();
    CHANGE_BYTES + 2 * (record.id.len() + record.parent.len() + record.name.len() + facts) + properties.len()
}

/// Where a folder is.
enum Place {
    /// Below the top, at this path.
    In(String),
    /// It, or one above it, is left out.
    Out,
    /// Nobody told of this one yet, and nobody knows it.
    Unknown(String),
}

/// Takes the changes of one reading.
pub(in crate::ops::backup) struct Filter<'a> {
    excluding: &'a mut Excluding,
    known: &'a dyn Known,
    sink: &'a mut dyn Sink,
}

impl<'a> Filter<'a> {
    pub(in crate::ops::backup) fn new(
        excluding: &'a mut Excluding,
        known: &'a dyn Known,
        sink: &'a mut dyn Sink,
    ) -> Self {
        Self { excluding, known, sink }
    }

    /// Passes on what still waits; to be called when the workload told everything.
    pub(in crate::ops::backup) async fn finish(&mut self) -> Result<()> {
        self.release("").await?;
        let waiting = self.excluding.held.take_all();
        self.judge(waiting).await?;
        // Those of items that went with the rest are gone by now.
        let parts = self.excluding.parts.take_all();
        self.judge(parts).await?;
        if self.excluding.from_start {
            // All that is there and not in the trees was told: what was not is no longer there. Of those in the trees that
            // were taken to be left out, the look through the trees decides.
            self.excluding.memory.retain(self.excluding.told.keys().chain(&self.excluding.doubted));
        }
        Ok(())
    }

    /// Passes on what waited, or leaves it out, now that all folders are told.
    async fn judge(&mut self, changes: Vec<Change>) -> Result<()> {
        for change in changes {
            let Change::Put { record, properties, contents } = change else { continue };
            match self.place(&record.parent).await? {
                Place::Out => self.leave_out(&record, true).await?,
                // Its folder is told by nobody: the workload's own affair.
                Place::Unknown(_) => self.settle(record, properties, contents, "").await?,
                Place::In(path) => self.settle(record, properties, contents, &path).await?,
            }
        }
        Ok(())
    }

    /// Finds where a folder is, from what was told in this reading, left out before, and known, in this order.
    async fn place(&mut self, id: &str) -> Result<Place> {
        if self.excluding.rules.exclusions.folders.is_empty() {
            let out = self.excluding.out_with_parts.contains(&Key::of(id));
            return Ok(if out { Place::Out } else { Place::In(String::new()) });
        }
        let mut chain: Vec<(String, String, Option<String>)> = Vec::new();
        let mut at = id.to_owned();
        let mut path = loop {
            if at.is_empty() {
                break Some(String::new());
            }
            if let Some(path) = self.excluding.paths.get(&at) {
                break path.clone();
            }
            if chain.len() > DEEPEST {
                // One of the circle is no longer where it was known to be, and will be told; else only the end helps.
                let untold = chain.iter().map(|(id, ..)| id).find(|id| !self.excluding.told.contains_key(*id));
                return Ok(Place::Unknown(untold.cloned().unwrap_or_default()));
            }
            if let Some(told) = self.excluding.told.get(&at) {
                if told.name.is_none() && self.excluding.out_with_parts.contains(&Key::of(&at)) {
                    break None;
                }
                let (parent, name) = (told.parent.clone(), told.name.clone());
                chain.push((std::mem::replace(&mut at, parent.clone()), parent, name));
            } else if self.excluding.memory.contains(&at) {
                break None;
            } else if let Some(record) = self.known.record(&at).await? {
                let name = record.kind.is_container().then_some(record.name);
                chain.push((std::mem::replace(&mut at, record.parent.clone()), record.parent, name));
            } else {
                return Ok(Place::Unknown(at));
            }
        };
        for (id, parent, name) in chain.into_iter().rev() {
            let Some(name) = name else { continue };
            // What is left out for the sake of this folder is to be read if it turns out to be elsewhere.
            match path.map(|path| join(&path, &name)) {
                Some(inside) if self.excluding.rules.fit_folder(&inside) => {
                    self.excluding.sweep |= self.doubt(&id);
                    self.excluding.memory.add_named(&id, &parent, &name);
                    path = None;
                }
                None => {
                    self.doubt(&id);
                    self.excluding.memory.add_below(&id);
                    path = None;
                }
                inside => path = inside,
            }
            self.excluding.paths.insert(id, path.clone());
        }
        Ok(path.map_or(Place::Out, Place::In))
    }

    /// Notes that a folder is taken to be left out for where it was known to be, if nobody told of it in this reading.
    fn doubt(&mut self, id: &str) -> bool {
        let untold = !self.excluding.told.contains_key(id);
        if untold {
            self.excluding.doubted.insert(id.to_owned());
        }
        untold
    }

    /// Notes something that others hang below. That it is elsewhere than before changes the paths of all below it.
    async fn note_told(&mut self, record: &Record) -> Result<()> {
        let name = record.kind.is_container().then(|| record.name.clone());
        let told = Told { parent: record.parent.clone(), name };
        let differs = |parent: &str, name: Option<&str>| parent != told.parent || name != told.name.as_deref();
        let moved = match self.excluding.told.get(&record.id) {
            Some(before) => differs(&before.parent, before.name.as_deref()),
            None => match self.known.record(&record.id).await? {
                Some(known) => differs(&known.parent, known.kind.is_container().then_some(known.name.as_str())),
                None => false,
            },
        };
        if moved && record.kind.is_container() {
            self.excluding.sweep = true;
            self.excluding.paths.clear();
        }
        self.excluding.told.insert(record.id.clone(), told);
        Ok(())
    }

    /// Says whether no more may wait.
    fn is_full(&self) -> bool {
        self.excluding.held.bytes + self.excluding.parts.bytes >= HELD_BYTES
    }

    /// Keeps a part till its item is told, which mostly comes next: what is left out takes its parts along.
    async fn put_part(
        &mut self,
        item: &str,
        record: Box<Record>,
        properties: bytes::Bytes,
        contents: Contents,
    ) -> Result<()> {
        self.release(item).await?;
        if self.is_full() {
            // Should its item turn out to be left out, it is found in the trees.
            self.excluding.sweep = true;
            return self.put(record, properties, contents).await;
        }
        item.clone_into(&mut self.excluding.telling);
        let id = record.id.clone();
        self.excluding.parts.put(item.to_owned(), id, Change::Put { record, properties, contents });
        Ok(())
    }

    /// Takes the parts that were told last, where something else comes next than their item: it is as it was, or was told
    /// before them. Those of an item that waits wait with it.
    async fn release(&mut self, next: &str) -> Result<()> {
        if self.excluding.telling == next {
            return Ok(());
        }
        let item = std::mem::take(&mut self.excluding.telling);
        if self.excluding.held.holds(&item) {
            return Ok(());
        }
        for change in self.excluding.parts.take(&item) {
            let Change::Put { record, properties, contents } = change else { continue };
            self.put(record, properties, contents).await?;
        }
        Ok(())
    }

    async fn put(&mut self, record: Box<Record>, properties: bytes::Bytes, contents: Contents) -> Result<()> {
        let id = record.id.clone();
        self.excluding.held.drop(&id);
        let by_folders = !self.excluding.rules.exclusions.folders.is_empty();
        let carries = by_folders && (record.kind.is_container() || record.has_parts());
        if carries {
            self.note_told(&record).await?;
        }
        if self.excluding.out_with_parts.contains(&Key::of(&record.parent)) {
            return self.leave_out(&record, true).await;
        }
        let waits = by_folders && self.excluding.waits_for_end && !record.kind.is_container();
        let place = if waits { Place::Unknown(String::new()) } else { self.place(&record.parent).await? };
        match place {
            Place::Out => self.leave_out(&record, true).await?,
            Place::In(path) => {
                if carries && !record.kind.is_container() && !self.excluding.rules.fit_item(&record) {
                    // That an item is there says that its parts are: they go before it.
                    self.excluding.out_with_parts.remove(&Key::of(&id));
                    for change in self.excluding.held.take(&id) {
                        self.change(change).await?;
                    }
                }
                self.settle(record, properties, contents, &path).await?;
            }
            Place::Unknown(waits_for) => {
                // Whether what hangs below it is left out is open again.
                self.excluding.out_with_parts.remove(&Key::of(&id));
                if self.is_full() {
                    drop(self.excluding.parts.take(&id));
                    (self.excluding.again, self.excluding.overflowed) = (true, true);
                } else {
                    self.excluding.held.put(waits_for, id.clone(), Change::Put { record, properties, contents });
                }
            }
        }
        if carries {
            // Those that were told before their folder are judged now; some may wait for a folder further up.
            for change in self.excluding.held.take(&id) {
                self.change(change).await?;
            }
        }
        Ok(())
    }

    /// Passes on an item of a folder that is not left out, after what was told of it, unless the item is.
    async fn settle(
        &mut self,
        record: Box<Record>,
        properties: bytes::Bytes,
        contents: Contents,
        folder: &str,
    ) -> Result<()> {
        let is_out = match record.kind.is_container() {
            true => self.excluding.rules.fit_folder(&join(folder, &record.name)),
            false => self.excluding.rules.fit_item(&record),
        };
        if is_out {
            return self.leave_out(&record, false).await;
        }
        let parts = self.excluding.parts.take(&record.id);
        if record.has_parts() || !parts.is_empty() {
            self.excluding.passed.insert(Key::of(&record.id));
        }
        for change in parts {
            let Change::Put { record, properties, contents } = change else { continue };
            match self.excluding.rules.fit_item(&record) {
                true => self.leave_out(&record, false).await?,
                false => self.pass_on(record, properties, contents).await?,
            }
        }
        self.pass_on(record, properties, contents).await
    }

    async fn pass_on(&mut self, record: Box<Record>, properties: bytes::Bytes, contents: Contents) -> Result<()> {
        let key = Key::of(&record.id);
        let was_out = self.excluding.out.remove(&key);
        self.excluding.out_with_parts.remove(&key);
        // Whoever told it knows nothing of that, and took what the last snapshot has of it, and below it, for kept.
        self.excluding.again |= self.excluding.taken_out.remove(&key);
        if record.kind.is_container() && self.excluding.memory.remove(&record.id) {
            // What is below it was not told, or was left out.
            self.excluding.again = true;
            self.excluding.paths.clear();
        }
        self.excluding.notice_due(&record);
        let counted = !self.excluding.from_start && self.excluding.left_out > 0;
        if was_out || (counted && self.was_left_out_before(&record).await?) {
            self.excluding.left_out = self.excluding.left_out.saturating_sub(1);
        }
        self.sink.change(Change::Put { record, properties, contents }).await
    }

    /// Leaves an item out, with what was told of it; `below`: for the folder that it is in.
    async fn leave_out(&mut self, record: &Record, below: bool) -> Result<()> {
        let key = Key::of(&record.id);
        let known = self.known.record(&record.id).await?;
        self.excluding.exact &= self.excluding.from_start;
        drop(self.excluding.parts.take(&record.id));
        if known.is_some() {
            self.excluding.taken_out.insert(key);
        }
        let carries = |record: &Record| record.kind.is_container() || record.has_parts();
        // What is known below it goes too, and what this reading passed on before.
        let passed = self.excluding.passed.remove(&key);
        self.excluding.sweep |= passed || known.as_ref().is_some_and(carries);
        if !record.kind.is_container() {
            if !below || record.has_parts() {
                self.excluding.out_with_parts.insert(key);
            }
            // Also files have something below: who may use them.
            let below: Vec<String> = self.known.children(&record.id).await?.try_collect().await?;
            for id in below {
                self.sink.change(Change::Remove { id }).await?;
            }
        }
        if record.kind.is_container() {
            match below {
                true => self.excluding.memory.add_below(&record.id),
                false => self.excluding.memory.add_named(&record.id, &record.parent, &record.name),
            }
            self.excluding.paths.insert(record.id.clone(), None);
        }
        self.excluding.left_out += if self.excluding.from_start {
            u64::from(self.excluding.out.insert(key))
        } else {
            u64::from(known.is_some() || !self.was_left_out_before(record).await?)
        };
        self.sink.change(Change::Remove { id: record.id.clone() }).await
    }

    /// Guesses whether an item was left out by the last reading: nobody remembers each.
    async fn was_left_out_before(&mut self, record: &Record) -> Result<bool> {
        if self.known.record(&record.id).await?.is_some() {
            return Ok(false);
        }
        self.excluding.exact = false;
        Ok(record.created_us.is_some_and(|created| created < self.excluding.last_read_us))
    }

    async fn remove(&mut self, id: String) -> Result<()> {
        self.excluding.held.drop(&id);
        self.excluding.parts.drop(&id);
        drop(self.excluding.parts.take(&id));
        if self.excluding.told.remove(&id).is_some() {
            self.excluding.paths.clear();
        }
        self.excluding.memory.remove(&id);
        if self.excluding.out.remove(&Key::of(&id)) {
            self.excluding.left_out = self.excluding.left_out.saturating_sub(1);
        } else if !self.excluding.from_start && self.excluding.left_out > 0 {
            // What was left out below a folder goes with it, and nobody tells.
            self.excluding.exact = false;
            self.excluding.left_out -= u64::from(self.known.record(&id).await?.is_none());
        }
        self.sink.change(Change::Remove { id }).await
    }

    /// Says whether a gap is one of something that is left out.
    async fn is_gap_left_out(&mut self, gap: &Gap) -> Result<bool> {
        if gap.id.is_empty() {
            return Ok(false);
        }
        let excluding = &self.excluding;
        let named = || excluding.rules.exclusions.files.iter().any(|glob| glob.matches(&gap.name));
        if excluding.memory.contains(&gap.id)
            || excluding.out.contains(&Key::of(&gap.id))
            || (gap.kind == Some(ItemKind::File) && named())
        {
            return Ok(true);
        }
        match self.known.record(&gap.id).await? {
            Some(known) if self.excluding.rules.fit_item(&known) => Ok(true),
            Some(known) => Ok(matches!(self.place(&known.parent).await?, Place::Out)),
            None => Ok(false),
        }
    }
}

#[async_trait]
impl Sink for Filter<'_> {
    async fn change(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Put { record, properties, contents } => match part_of(&record).map(str::to_owned) {
                Some(item) => self.put_part(&item, record, properties, contents).await,
                None => {
                    self.release(&record.id).await?;
                    self.put(record, properties, contents).await
                }
            },
            Change::Remove { id } => self.remove(id).await,
            Change::Gap(gap) if self.is_gap_left_out(&gap).await? => Ok(()),
            other => self.sink.change(other).await,
        }
    }

    async fn checkpoint(&mut self, cursors: Cursors, doubtful: Vec<String>) -> Result<()> {
        self.release("").await?;
        // What waits is not stored.
        match self.excluding.is_settled() {
            true => self.sink.checkpoint(cursors, doubtful).await,
            false => Ok(()),
        }
    }
}
