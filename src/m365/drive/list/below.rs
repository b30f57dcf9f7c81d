//! What hangs below the items of a drive, while it is read: who may use them, labels, earlier versions.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::{LABELS, NOBODY, Round};
use crate::error::Result;
use crate::format::collection::Gap;
use crate::format::record::{ItemKind, PARTS, Record};
use crate::m365::contents::{Trouble, gap_of, trouble};
use crate::m365::door::{Change, Contents, Known, Wanted};
use crate::m365::drive::model::{OWN, Row, has_own_rights, row};
use crate::m365::drive::parts::{
    self, Labels, Listed, Needs, PART_KINDS, PERMISSIONS_READ, is_listed, keep_facts, refusal,
};
use crate::m365::drive::sharing::Turns;
use crate::m365::facts::set_fact;
use crate::m365::walk::Told;

/// Why labels are refused, mostly.
const NO_RIGHT: &str = "the permission RecordsManagement.Read.All may be missing";
/// How many items are asked at once who may use them.
const ASKED_AT_ONCE: usize = 8;

impl Round<'_> {
    /// Keeps who may use the whole drive: what is in it inherits that.
    pub(super) async fn take_root(&mut self, scope: &str, changed: bool) -> Result<()> {
        if self.root_taken && !changed {
            return Ok(());
        }
        self.root_taken = true;
        let root = |scope: &str| {
            let mut root = Record::new(ItemKind::Folder, self.root.clone(), "", "");
            let scope = Some(scope).filter(|scope| !scope.is_empty() && *scope != NOBODY);
            set_fact(&mut root, "shared", scope);
            root
        };
        let known = self.shared.as_deref().map(|scope| {
            let mut known = root(scope);
            set_fact(&mut known, PERMISSIONS_READ, Some("true"));
            known
        });
        let mut now = root(scope);
        self.take_parts(&mut now, known.as_ref(), (false, changed || self.enumerating)).await?;
        self.shared = match (now.fact("shared"), now.fact(PERMISSIONS_READ)) {
            (None, _) => Some(NOBODY.to_owned()),
            (Some(scope), Some(_)) => Some(scope.to_owned()),
            (Some(_), None) => None,
        };
        Ok(())
    }

    /// Asks for the root where no reading told yet who may use it, or that could not be read.
    pub(super) async fn look_at_root(&mut self) -> Result<()> {
        if self.root_taken || self.shared.is_some() {
            return Ok(());
        }
        let root = self.root.clone();
        match self.api.item(&root).await {
            Ok(value) => match row(value, &root) {
                // Nothing is above it, so it has rights of its own, which its facet tells in a listing alone.
                Some(Row::Root(scope, changed)) => {
                    self.take_root(if scope.is_empty() { OWN } else { &scope }, changed).await
                }
                _ => Ok(()),
            },
            Err(error) => match trouble(&error) {
                Trouble::Gone | Trouble::Resync { .. } => Ok(()),
                Trouble::Gap { reason, text } => self.known_gap(&root, reason, text).await,
                Trouble::Fatal => Err(error),
            },
        }
    }

    /// Asks again who may use the whole drive.
    pub(super) async fn look_at_root_again(&mut self) -> Result<()> {
        match self.shared.clone().filter(|scope| *scope != NOBODY) {
            Some(scope) => self.take_root(&scope, true).await,
            None => Ok(()),
        }
    }

    /// Tells what hangs below an item, where that has to be asked for. What cannot be read stays as it was, with a gap.
    pub(super) async fn take_parts(
        &mut self,
        record: &mut Record,
        known: Option<&Record>,
        anew: (bool, bool),
    ) -> Result<()> {
        let mut needs = Needs::of(self.options, known, record, anew);
        keep_facts(record, known, &needs, self.options);
        if let Labels::Refused(next, _) = &mut self.labels
            && needs.label
        {
            // Its record says that it is to be asked for once that is allowed.
            needs.label = false;
            next.clone_from(&record.id);
        }
        let is_unshared = !has_own_rights(record);
        self.rights_told |= !is_unshared && record.id != self.root;
        // Of one that was not known something may be left below: it was out of the snapshots for a while. So may where a reading
        // broke off between its parts and itself.
        let told = self.told_parts_of(&record.id);
        let is_doubted = anew.0 || !self.settled || known.is_none_or(has_own_rights);
        let unshared = is_unshared && (is_doubted || !told.is_empty());
        if !needs.any() && !unshared {
            return Ok(());
        }
        let above = if record.id == self.root { String::new() } else { record.id.clone() };
        let listed = parts::list(self.api, self.options, &mut needs, record, &above).await?;
        let new_parts = self.note_unread(record, listed, &mut needs).await?;
        if !needs.any() && !unshared {
            return Ok(());
        }
        let goes = |kind: ItemKind| is_listed(kind, &needs) || (is_unshared && kind == ItemKind::Permission);
        let mut below: BTreeSet<String> = BTreeSet::new();
        let mut gone: BTreeSet<String> = BTreeSet::new();
        let mut parts = self.known.parts(&record.id).await?;
        while let Some(part) = parts.try_next().await? {
            if self.gone.contains(&part.id) {
                continue;
            }
            below.insert(part.id.clone());
            if goes(part.kind) {
                gone.insert(part.id);
            }
        }
        for (id, kind) in &told {
            below.insert(id.clone());
            if goes(*kind) {
                gone.insert(id.clone());
            }
        }
        let mut now = told.clone();
        now.retain(|(_, kind)| !goes(*kind));
        for new in new_parts {
            let id = new.record.id.clone();
            gone.remove(&id);
            below.insert(id.clone());
            now.push((id.clone(), new.record.kind));
            // What this reading told of it already is not what is known.
            let told_before = self.gone.remove(&id) || told.iter().any(|(told, _)| *told == id);
            let known = self.known.record(&id).await?.filter(|_| !told_before);
            let Some((part, properties, kept)) = parts::changed(new, known.as_ref()) else { continue };
            let contents = match part.kind {
                ItemKind::Version if kept => Contents::Keep,
                ItemKind::Version => Contents::Fetch(Box::new(Wanted::of(part.clone()))),
                _ => Contents::None,
            };
            self.sink.change(Change::Put { record: Box::new(part), properties, contents }).await?;
        }
        // At once, and not at the end: that the item is there says that nothing else hangs below it.
        for id in gone {
            below.remove(&id);
            self.sink.change(Change::Remove { id: id.clone() }).await?;
            self.gone.insert(id);
        }
        for (told, kind) in self.told_parts.iter_mut().zip(PART_KINDS) {
            told.set(&record.id, now.iter().filter(|part| part.1 == kind).map(|part| part.0.as_str()));
        }
        if !record.kind.is_container() {
            set_fact(record, PARTS, (!below.is_empty()).then(|| below.len().to_string()).as_deref());
        }
        Ok(())
    }

    /// Says whether fewer parts are known of an item than were told: some were left out, by rules that are no more.
    pub(super) async fn lacks_parts(&self, known: Option<&Record>) -> Result<bool> {
        let Some(known) = known.filter(|known| known.has_parts()) else { return Ok(false) };
        let (mut number, mut parts) = (0_usize, self.known.parts(&known.id).await?);
        while parts.try_next().await?.is_some() {
            number += 1;
        }
        Ok(known.fact(PARTS) != Some(&*number.to_string()))
    }

    pub(super) fn told_parts_of(&self, item: &str) -> Vec<(String, ItemKind)> {
        let told = self.told_parts.iter().zip(PART_KINDS);
        told.flat_map(|(told, kind)| told.of(item).into_iter().map(move |id| (id, kind))).collect()
    }

    /// Tells as a gap what could not be read of an item; gives its parts.
    async fn note_unread(&mut self, record: &Record, listed: Listed, needs: &mut Needs) -> Result<Vec<Told>> {
        let Listed { parts, mut unread, mut reason, label_refused } = listed;
        match label_refused {
            Some(why) => {
                needs.label = false;
                let hint = if self.labels_read { String::new() } else { format!("; {NO_RIGHT}") };
                let text = format!("Its retention label could not be read: {why}{hint}");
                if unread.is_empty() && self.labels != Labels::Read {
                    let gap = gap_of(record, self.collection, "access-denied", text);
                    self.labels.refused(gap, why, self.labels_read);
                } else {
                    reason = if unread.is_empty() { "access-denied" } else { reason };
                    unread.push(text);
                }
            }
            None if needs.label => {
                self.tell_refusals().await?;
                (self.labels, self.labels_read) = (Labels::Read, true);
            }
            None => {}
        }
        if !unread.is_empty() {
            self.sink.change(Change::Gap(gap_of(record, self.collection, reason, unread.join("; ")))).await?;
        }
        Ok(parts)
    }

    /// Tells as gaps of their own the files that refused their labels so far.
    pub(super) async fn tell_refusals(&mut self) -> Result<()> {
        for gap in self.labels.take_gaps() {
            self.sink.change(Change::Gap(gap)).await?;
        }
        Ok(())
    }

    /// Asks again whether labels are handed out, where they were refused: says so if they are. `file` may be gone by now.
    pub(super) async fn ask_for_label(&mut self, file: &str) -> Result<bool> {
        let mut asked = file.to_owned();
        for _ in 0..2 {
            let why = match self.api.retention_label(&asked).await {
                // That there is none may also mean that the file is not there.
                Ok(label) if !label.is_null() || self.api.item(&asked).await.is_ok() => {
                    (self.labels, self.labels_read) = (Labels::Read, true);
                    return Ok(true);
                }
                Ok(_) => {
                    let Some(other) = self.other_file(&asked).await? else { return Ok(true) };
                    asked = other;
                    continue;
                }
                Err(error) => match (refusal(&error), trouble(&error)) {
                    (Some(why), _) | (None, Trouble::Gap { text: why, .. }) => why,
                    _ => return Err(error),
                },
            };
            self.labels = Labels::Refused(asked, why);
            return Ok(false);
        }
        self.labels = Labels::Refused(asked, "the files that were asked are no longer there".to_owned());
        Ok(false)
    }

    /// Finds any file that is known but this one.
    async fn other_file(&self, not: &str) -> Result<Option<String>> {
        let mut all = self.known.records().await?;
        while let Some(record) = all.try_next().await? {
            if record.kind == ItemKind::File && record.id != not {
                return Ok(Some(record.id));
            }
        }
        Ok(None)
    }

    /// Says once for all files that their labels are refused.
    pub(super) async fn tell_refused_labels(&mut self) -> Result<()> {
        self.tell_refusals().await?;
        let Labels::Refused(_, text) = &self.labels else { return Ok(()) };
        let gap = Gap {
            collection: self.collection.to_owned(),
            id: LABELS.to_owned(),
            name: "Retention labels".to_owned(),
            kind: None,
            reason: "access-denied".to_owned(),
            text: format!("The retention labels of its files could not be read: {text}; {NO_RIGHT}"),
            since_us: 0,
        };
        self.sink.change(Change::Gap(gap)).await
    }

    /// Asks again who may use what this reading did not tell, where it is its turn.
    pub(super) async fn look_again(&mut self, turns: Turns) -> Result<()> {
        if self.enumerating || !turns.any() {
            return Ok(());
        }
        if turns.has(&self.root) {
            self.look_at_root_again().await?;
        }
        if self.no_rights {
            return Ok(());
        }
        let root = self.root.clone();
        let (items, none) = turns.items(self.known, &root).await?;
        self.no_rights = none;
        let untold = |id: &String| !self.seen.was_told(id) && !self.removed.contains(id);
        let items: Vec<String> = items.into_iter().filter(untold).collect();
        let (api, known) = (self.api, self.known);
        let asking = |id: String| async move {
            let differs = match api.permissions(&id).await {
                Ok(rows) => differs(known, &id, rows).await?,
                Err(error) if trouble(&error) == Trouble::Fatal => return Err(error),
                // Asked for with the item, it says whether that went.
                Err(_) => true,
            };
            Ok(differs.then_some(id))
        };
        let mut asked = futures::stream::iter(items).map(asking).buffered(ASKED_AT_ONCE);
        while let Some(id) = asked.try_next().await? {
            // It has other parts: only with its properties it can be told.
            if let Some(id) = id {
                self.take_again(&id).await?;
            }
        }
        Ok(())
    }
}

/// Says whether somebody may use an item otherwise than is known.
async fn differs(known: &dyn Known, item: &str, rows: Vec<Value>) -> Result<bool> {
    let now: Vec<Told> = rows.into_iter().filter_map(|row| parts::permission(row, item, item)).collect();
    let mut missing: HashSet<&str> = now.iter().map(|part| part.record.id.as_str()).collect();
    let mut before = HashMap::new();
    let mut all = known.parts(item).await?;
    while let Some(part) = all.try_next().await? {
        if part.kind == ItemKind::Permission {
            if !missing.remove(part.id.as_str()) {
                return Ok(true);
            }
            before.insert(part.id.clone(), part);
        }
    }
    let is_whole = missing.is_empty();
    Ok(!is_whole
        || now.into_iter().any(|part| {
            let before = before.get(&part.record.id);
            parts::changed(part, before).is_some()
        }))
}
