//! One reading of a collection that is walked: what was told, what was not, and what follows from that.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::TryStreamExt;

use super::Told;
use super::rows::PAGE;
use crate::error::{Error, Result};
use crate::format::collection::{Cursors, Gap};
use crate::format::record::{ItemKind, PARTS, Record, StreamRole};
use crate::m365::contents::{Trouble, gap_of, trouble};
use crate::m365::door::{Change, ChangesEnd, Contents, Known, Previous, Sink, Wanted};
use crate::m365::facts::{CONTENT_FACT, properties, same_facts, set_fact, short_hash};
use crate::m365::rounds::{SeenItems, ToldBelow, place_of, print_of};

/// Parents of which is noted that they are there, while what a reading that broke off left behind is looked for.
const PARENTS_NOTED: usize = 1024;

/// One reading of a collection.
pub(in crate::m365) struct Walk<'a> {
    collection: String,
    /// Where the last reading ended: links by name.
    pub(in crate::m365) before: Cursors,
    /// Where the next one goes on.
    pub(in crate::m365) cursors: Cursors,
    /// Those of resumable lists that were read to their ends.
    pub(super) finished: Cursors,
    /// A list began anew: what it no longer tells is found at the end only, so the reading cannot be broken off before.
    pub(super) restarted: bool,
    /// A cursor was no longer honoured.
    pub(in crate::m365) resynced: bool,
    /// When this reading begins.
    pub(in crate::m365) now_us: i64,
    /// No reading before this one came to its end: what is known may lack what hangs below it.
    fresh: bool,
    /// The ids of the last snapshot's gaps that were not told since.
    retry: BTreeSet<String>,
    /// The gaps of the last snapshot, and all that they hang below: what hangs below these is to be listed again.
    must_list: BTreeSet<String>,
    known: &'a dyn Known,
    sink: &'a mut dyn Sink,
    seen: SeenItems,
    /// What was told below items that are no folders.
    below: ToldBelow,
    /// The same of those that were told once more since, as they were told before.
    below_before: HashMap<String, Vec<String>>,
    removed: HashSet<String>,
    /// Parents below which what is known and was not told stays.
    unchanged: HashSet<String>,
    /// Items that were told and have, or had, others below them.
    parents: HashSet<String>,
    /// Those told since the last checkpoint that are no containers.
    told_parents: Vec<String>,
    /// What was known below such, and nobody told up to a checkpoint.
    orphans: HashSet<String>,
    /// Items that are kept as they are known, though their JSON is lost.
    hollow: HashSet<String>,
}

impl<'a> Walk<'a> {
    pub(super) async fn new(
        collection: String,
        previous: Previous<'_>,
        known: &'a dyn Known,
        sink: &'a mut dyn Sink,
    ) -> Result<Self> {
        let mut must_list = BTreeSet::new();
        for id in previous.retry {
            // All that it hangs below: a list tells of it only where its parent is told.
            let mut above = id.clone();
            while !above.is_empty() && must_list.insert(above.clone()) {
                above = known.record(&above).await?.map(|known| known.parent).unwrap_or_default();
            }
        }
        Ok(Self {
            collection,
            before: previous.cursors.cloned().unwrap_or_default(),
            cursors: Cursors::default(),
            finished: Cursors::default(),
            restarted: false,
            resynced: false,
            fresh: previous.cursors.is_none(),
            now_us: previous.now_us,
            retry: previous.retry.iter().cloned().collect(),
            must_list,
            known,
            sink,
            seen: SeenItems::default(),
            below: ToldBelow::default(),
            below_before: HashMap::new(),
            removed: HashSet::new(),
            unchanged: HashSet::new(),
            parents: HashSet::new(),
            told_parents: Vec::new(),
            orphans: HashSet::new(),
            hollow: HashSet::new(),
        })
    }

    /// Tells an item that is there. What is as it was is passed over. Says whether what hangs below the item must be
    /// listed: it is new or changed, something below it is a gap, or no reading before this one came to its end.
    pub(in crate::m365) async fn put(&mut self, told: Told) -> Result<bool> {
        let Told { mut record, json, contents } = told;
        record.version = short_hash([Some(&json)]);
        let version = contents.as_ref().map(|contents| contents.version.as_str());
        set_fact(&mut record, CONTENT_FACT, version);
        // What is doubted may have been told after a checkpoint without what it had before: that is still below it.
        if record.kind.is_container() || record.has_parts() || self.must_list.contains(&record.id) {
            self.parents.insert(record.id.clone());
        }
        self.retry.remove(&record.id);
        self.removed.remove(&record.id);
        let print = print_of(&record);
        let place = place_of(&record.parent);
        self.below.note(&record.parent, &record.id);
        if self.seen.get(&record.id).is_some_and(|seen| seen.print == print) {
            return Ok(false);
        }
        let first_telling = !self.seen.was_told(&record.id);
        self.begin_below(&record, first_telling);
        let known = self.known.record(&record.id).await?;
        if known.as_ref().is_some_and(|known| known.kind.is_container() || known.has_parts()) {
            self.parents.insert(record.id.clone());
        }
        if !self.fresh && !record.kind.is_container() && self.parents.contains(&record.id) {
            self.told_parents.push(record.id.clone());
        }
        let needed = contents.as_ref().is_some_and(|contents| !contents.optional);
        let whole = |known: &Record| !needed || known.stream(StreamRole::Content).is_some();
        if first_telling && known.as_ref().is_some_and(|known| same_facts(known, &record) && whole(known)) {
            self.seen.put(&record.id, place, print, false);
            return Ok(self.must_list(&record.id));
        }
        let kept = known.filter(|known| known.fact(CONTENT_FACT) == version && whole(known));
        let contents = match (&contents, kept) {
            (None, _) => Contents::None,
            (Some(_), Some(_)) if !self.seen.was_fetched(&record.id) => Contents::Keep,
            (Some(_), _) => Contents::Fetch(Box::new(Wanted::of(record.clone()))),
        };
        self.seen.put(&record.id, place, print, matches!(contents, Contents::Fetch(_)));
        self.sink.change(Change::Put { record: Box::new(record), properties: properties(&json), contents }).await?;
        Ok(true)
    }

    /// Notes from here on what is told below an item that is no folder; what was told before stays only if it is told again.
    fn begin_below(&mut self, record: &Record, first_telling: bool) {
        if !first_telling {
            let before = self.below.of(&record.id);
            if !before.is_empty() {
                self.below_before.entry(record.id.clone()).or_default().extend(before);
            }
            self.below.set(&record.id, std::iter::empty());
        }
        // Whatever was said of it before it was told, or before it was told like this.
        self.unchanged.remove(&record.id);
        if record.has_parts() && !record.kind.is_container() {
            self.below.open(&record.id);
        }
    }

    /// Says whether what hangs below an item must be listed even if the item is as it was.
    pub(in crate::m365) fn must_list(&self, id: &str) -> bool {
        self.fresh || self.must_list.contains(id)
    }

    /// How many parts an item has that is about to be told, if it is as it is known, and nothing below it must be listed.
    pub(in crate::m365) async fn parts_as_known(&self, told: &Told) -> Result<Option<usize>> {
        if self.must_list(&told.record.id) {
            return Ok(None);
        }
        let known = self.known.record(&told.record.id).await?;
        let known = known.filter(|known| known.version == short_hash([Some(&told.json)]));
        Ok(known.and_then(|known| known.fact(PARTS)?.parse().ok()))
    }

    /// Says whether an item itself is a gap of the last snapshot, and was not told since.
    pub(in crate::m365) fn is_gap(&self, id: &str) -> bool {
        self.retry.contains(id)
    }

    /// The items that must be told again though nobody mentioned them so far: something of them, or below them, is a gap.
    pub(in crate::m365) fn left_to_list(&self) -> Vec<String> {
        let untold = |id: &&String| {
            let told = self.seen.get(id).is_some() && !self.hollow.contains(*id);
            !id.is_empty() && !told && !self.removed.contains(*id)
        };
        self.must_list.iter().filter(untold).cloned().collect()
    }

    /// Says whether no reading before this one came to its end.
    pub(in crate::m365) fn is_first(&self) -> bool {
        self.fresh
    }

    /// Says whether the last reading came to its end: only then what hangs below an item is there if the item is.
    pub(in crate::m365) fn is_settled(&self) -> bool {
        !self.before.links.is_empty()
    }

    /// Says whether anything deeper below an item, by its id, is a gap of the last snapshot: ids begin with that of the
    /// item and a slash.
    pub(in crate::m365) fn must_look_into(&self, id: &str) -> bool {
        self.must_list(id)
            || self.must_list.iter().any(|part| part.strip_prefix(id).is_some_and(|p| p.starts_with('/')))
    }

    /// Says that all items of a kind that are known directly below a parent are as they were: they could not be read.
    pub(in crate::m365) async fn keep_all(&mut self, parent: &str, kind: ItemKind) -> Result<()> {
        for id in self.known_below(parent).await? {
            if self.known.record(&id).await?.is_some_and(|known| known.kind == kind) {
                self.keep(&id).await?;
            }
        }
        Ok(())
    }

    /// Says whether nothing is known directly below a parent but what is tried again anyway.
    pub(super) async fn doubts_all_below(&self, parent: &str) -> Result<bool> {
        let known = self.known_below(parent).await?;
        Ok(known.iter().all(|id| self.must_list.contains(id)))
    }

    /// Says that a reading that is broken off may go on with the list of this name at a page. All lists of which others
    /// depend are read from the beginning then.
    pub(super) async fn checkpoint(&mut self, name: &str, page: String) -> Result<()> {
        if self.restarted {
            return Ok(());
        }
        let mut cursors = self.finished.clone();
        cursors.set(name, page);
        // What an item lost that was told is found at the end: who goes on is not told of it again.
        for parent in std::mem::take(&mut self.told_parents) {
            if !self.unchanged.contains(&parent) {
                let untold = self.untold_below(&parent).await?;
                self.orphans.extend(untold);
            }
        }
        let orphans = self.orphans.iter().filter(|id| self.seen.get(id).is_none()).cloned();
        let doubtful = self.removed.iter().cloned().chain(self.no_longer_below()).chain(orphans).collect();
        self.sink.checkpoint(cursors, doubtful).await
    }

    /// Takes back that an item was told: the round that told it broke off, and another begins.
    pub(in crate::m365) fn untell(&mut self, id: &str) {
        self.seen.forget(id);
        self.removed.insert(id.to_owned());
    }

    /// Says that an item is gone. If it is told elsewhere in this reading, that counts.
    pub(in crate::m365) fn removed(&mut self, id: &str) {
        if self.seen.get(id).is_none() {
            self.removed.insert(id.to_owned());
        }
        self.retry.remove(id);
    }

    /// Says that an item is no longer below a parent. What is known to be elsewhere moved there in an earlier reading,
    /// and stays.
    pub(in crate::m365) async fn removed_from(&mut self, parent: &str, id: &str) -> Result<()> {
        if self.seen.get(id).is_some_and(|seen| seen.place == place_of(parent)) {
            // Told there in this reading, and gone since.
            self.untell(id);
            self.retry.remove(id);
        } else if self.known.record(id).await?.is_none_or(|known| known.parent == parent) {
            self.removed(id);
        }
        Ok(())
    }

    /// Says that what is known directly below a parent and is neither told nor removed in this reading is as it was. Where
    /// the parent is told, to be said after that.
    pub(in crate::m365) fn unchanged_below(&mut self, parent: &str) {
        self.unchanged.insert(parent.to_owned());
    }

    /// Says that an item that is known is still there, and as it was.
    pub(in crate::m365) async fn keep(&mut self, id: &str) -> Result<()> {
        if self.seen.get(id).is_none()
            && let Some(known) = self.known.record(id).await?
        {
            if known.kind.is_container() || known.has_parts() {
                self.parents.insert(id.to_owned());
            }
            if known.stream(StreamRole::Properties).is_none() {
                self.hollow.insert(id.to_owned());
            }
            self.seen.put(id, place_of(&known.parent), print_of(&known), false);
        }
        Ok(())
    }

    /// Says whether an item was told in this reading, and is there.
    pub(in crate::m365) fn was_told(&self, id: &str) -> bool {
        self.seen.get(id).is_some() && !self.hollow.contains(id)
    }

    /// Says that what hangs below a parent, or stands for a list of its own, was read to its end.
    pub(in crate::m365) fn was_read(&mut self, parent: &str) {
        if !self.hollow.contains(parent) {
            self.retry.remove(parent);
        }
    }

    /// Leaves a cursor as it was: its list could not be read, and nothing that the old link stands for is to be missed. What
    /// was told after a page at which a reading broke off may have gone since, so from there nobody can go on.
    pub(in crate::m365) fn keep_cursor(&mut self, name: &str) {
        let saved = self.before.get(name).filter(|link| !link.starts_with(PAGE));
        self.cursors.set(name, saved.unwrap_or_default());
    }

    /// Finds what the previous snapshot knew of an item.
    pub(in crate::m365) async fn known(&self, id: &str) -> Result<Option<Record>> {
        self.known.record(id).await
    }

    /// Finds the ids of all that the previous snapshot knew directly below a parent.
    pub(in crate::m365) async fn known_below(&self, parent: &str) -> Result<Vec<String>> {
        self.known.children(parent).await?.try_collect().await
    }

    /// Takes an error of asking for one item, or of listing what hangs below it: it is a gap, and what hangs below it
    /// stays as it was. An item that is no longer there is removed, unless a list of this reading told it: then its
    /// removal is the next reading's.
    ///
    /// # Errors
    /// The error, where it is no matter of this item alone.
    pub(in crate::m365) async fn gap(&mut self, id: &str, name: &str, kind: ItemKind, error: Error) -> Result<()> {
        self.gap_beside(id, name, kind, error).await?;
        self.unchanged_below(id);
        Ok(())
    }

    /// The same of an item that a list of this reading told, and that was not put: if it is known, it is no longer there only if
    /// a list says so.
    ///
    /// # Errors
    /// As [`Walk::gap`].
    pub(in crate::m365) async fn gap_of_listed(
        &mut self,
        id: &str,
        name: &str,
        kind: ItemKind,
        error: Error,
    ) -> Result<()> {
        self.keep(id).await?;
        self.gap(id, name, kind, error).await
    }

    /// The same where what hangs below the item was read all the same.
    pub(in crate::m365) async fn gap_beside(
        &mut self,
        id: &str,
        name: &str,
        kind: ItemKind,
        error: Error,
    ) -> Result<()> {
        let what = trouble(&error);
        if what == Trouble::Gone && self.seen.get(id).is_none() {
            self.removed(id);
            return Ok(());
        }
        let (reason, text) = match what {
            Trouble::Gap { reason, text } => (reason, text),
            Trouble::Resync { .. } => ("resync", "The service gave up its list twice".to_owned()),
            Trouble::Gone => ("vanished", "It vanished while it was read".to_owned()),
            Trouble::Fatal => return Err(error),
        };
        self.keep(id).await?;
        self.tell_gap(id, name, kind, (reason, text)).await
    }

    /// Takes an error of reading one list among several below a parent, whose items' ids begin with `prefix`, which stands
    /// for the list in the gap. They stay as they are known.
    ///
    /// # Errors
    /// The error, where it is no matter of this list alone.
    pub(in crate::m365) async fn gap_of_list(
        &mut self,
        parent: &str,
        prefix: &str,
        name: &str,
        kind: ItemKind,
        error: Error,
    ) -> Result<()> {
        let why = match trouble(&error) {
            Trouble::Gap { reason, text } => (reason, text),
            Trouble::Resync { .. } => ("resync", "The service gave up its list".to_owned()),
            Trouble::Gone => ("refused", "The service does not find the list".to_owned()),
            Trouble::Fatal => return Err(error),
        };
        for id in self.known_below(parent).await?.iter().filter(|id| id.starts_with(prefix)) {
            self.keep(id).await?;
        }
        self.tell_gap(prefix, name, kind, why).await
    }

    async fn tell_gap(&mut self, id: &str, name: &str, kind: ItemKind, why: (&str, String)) -> Result<()> {
        self.retry.remove(id);
        let gap = Gap {
            collection: self.collection.clone(),
            id: id.to_owned(),
            name: name.to_owned(),
            kind: Some(kind),
            reason: why.0.to_owned(),
            text: why.1,
            since_us: 0,
        };
        self.sink.change(Change::Gap(gap)).await
    }

    /// Takes away what was known and told by nobody.
    pub(super) async fn finish(mut self) -> Result<ChangesEnd> {
        let mut gone: Vec<String> = self.removed.iter().cloned().collect();
        self.parents.insert(String::new());
        for parent in self.parents.iter().filter(|parent| !self.unchanged.contains(*parent)) {
            gone.extend(self.untold_below(parent).await?);
        }
        gone.extend(self.no_longer_below());
        // Of what came after the last checkpoint of a reading that broke off, a part may have been stored and its item not.
        for id in self.must_list.iter().filter(|id| !id.is_empty() && !self.unchanged.contains(*id)) {
            if self.seen.get(id).is_none() && self.known.record(id).await?.is_none() {
                gone.extend(self.untold_below(id).await?);
            }
        }
        if self.fresh || self.before.links.iter().any(|(_, link)| link.starts_with(PAGE)) {
            gone.extend(self.left_behind().await?);
        }
        let mut removed = HashSet::new();
        while let Some(id) = gone.pop() {
            if removed.insert(id.clone()) {
                gone.extend(self.untold_below(&id).await?);
                gone.extend(self.below.of(&id).into_iter().filter(|part| self.is_told_at(part, &id)));
                self.retry.remove(&id);
                self.sink.change(Change::Remove { id }).await?;
            }
        }
        for id in std::mem::take(&mut self.retry) {
            if let Some(known) = self.known.record(&id).await? {
                let gap = gap_of(&known, &self.collection, "not-told", "Graph did not tell of it again");
                self.sink.change(Change::Gap(gap)).await?;
            }
        }
        Ok(ChangesEnd { cursors: self.cursors, resynced: self.resynced })
    }

    /// What was told below an item before the item was told again, and not since.
    fn no_longer_below(&self) -> Vec<String> {
        let mut gone = Vec::new();
        for (item, before) in self.below_before.iter().filter(|(item, _)| !self.unchanged.contains(*item)) {
            let now: HashSet<String> = self.below.of(item).into_iter().collect();
            gone.extend(before.iter().filter(|id| !now.contains(*id) && self.is_told_at(id, item)).cloned());
        }
        gone
    }

    fn is_told_at(&self, id: &str, parent: &str) -> bool {
        self.seen.get(id).is_some_and(|seen| seen.place == place_of(parent))
    }

    /// What is known below an item that is neither known nor told: a reading that broke off took the item away, and that not.
    /// Where everything is told, also what was not told below an item that was: it had others before.
    async fn left_behind(&self) -> Result<Vec<String>> {
        let mut gone = Vec::new();
        let mut records = self.known.records().await?;
        let mut there = HashSet::new();
        while let Some(record) = records.try_next().await? {
            let parent = &record.parent;
            if there.contains(parent) || self.unchanged.contains(parent) || self.seen.get(&record.id).is_some() {
                continue;
            }
            match self.seen.get(parent).is_some() {
                true if self.fresh => gone.push(record.id),
                false if !parent.is_empty() && self.known.record(parent).await?.is_none() => gone.push(record.id),
                _ => {
                    if there.len() == PARENTS_NOTED {
                        there.clear();
                    }
                    there.insert(record.parent);
                }
            }
        }
        Ok(gone)
    }

    async fn untold_below(&self, parent: &str) -> Result<Vec<String>> {
        let below = self.known_below(parent).await?;
        Ok(below.into_iter().filter(|id| self.seen.get(id).is_none()).collect())
    }
}

#[cfg(test)]
mod tests;
