//! What hangs below the items of a drive, while it is read: who may use them, labels, earlier versions.

use std::collections::BTreeSet;

use futures::TryStreamExt;

use super::{LABELS, NOBODY, Round};
use crate::error::Result;
use crate::format::collection::Gap;
use crate::format::record::{ItemKind, PARTS, Record};
use crate::m365::contents::{Trouble, gap_of, trouble};
use crate::m365::door::{Change, Contents, Wanted};
use crate::m365::drive::model::{OWN, Row, has_own_rights, row};
use crate::m365::drive::parts::{
    self, Labels, Listed, Needs, PART_KINDS, PERMISSIONS_READ, is_listed, item_of, keep_facts, refusal,
};
use crate::m365::drive::sharing::Turns;
use crate::m365::facts::{same_facts, set_fact};
use crate::m365::walk::Told;

/// Why labels are refused, mostly.
const NO_RIGHT: &str = "the permission RecordsManagement.Read.All may be missing";

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
        let unsure = !self.settled;
        self.take_parts(&mut now, known.as_ref(), (unsure, unsure || changed || self.enumerating)).await?;
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
        let is_refused = needs.label && matches!(self.labels, Labels::Refused(..));
        needs.label &= !is_refused;
        keep_facts(record, known, &needs, self.options);
        if let Labels::Refused(next, _) = &mut self.labels
            && is_refused
        {
            // So it is asked for once that is allowed.
            set_fact(record, "label", None);
            next.clone_from(&record.id);
        }
        let is_unshared = !has_own_rights(record);
        // Of one that was not known something may be left below: it was out of the snapshots for a while.
        let told = self.told_parts_of(&record.id);
        let unshared = is_unshared && (known.is_none_or(has_own_rights) || !told.is_empty());
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
        let mut ids = self.known.children(&above).await?;
        while let Some(id) = ids.try_next().await? {
            // Items in a folder are none of its parts.
            if item_of(&id) != Some(record.id.as_str()) {
                continue;
            }
            let Some(part) = self.known.record(&id).await? else { continue };
            below.insert(id.clone());
            if goes(part.kind) {
                self.removed.insert(id);
            }
        }
        for (id, kind) in &told {
            below.insert(id.clone());
            if goes(*kind) {
                self.removed.insert(id.clone());
            }
        }
        let mut now = told.clone();
        now.retain(|(_, kind)| !goes(*kind));
        for new in new_parts {
            let id = new.record.id.clone();
            self.removed.remove(&id);
            below.insert(id.clone());
            now.push((id.clone(), new.record.kind));
            // What this reading told of it already is not what is known.
            let told_before = told.iter().any(|(told, _)| *told == id);
            let known = self.known.record(&id).await?.filter(|_| !told_before);
            let Some((part, properties, kept)) = parts::changed(new, known.as_ref()) else { continue };
            let contents = match part.kind {
                ItemKind::Version if kept => Contents::Keep,
                ItemKind::Version => Contents::Fetch(Box::new(Wanted::of(part.clone()))),
                _ => Contents::None,
            };
            self.sink.change(Change::Put { record: Box::new(part), properties, contents }).await?;
        }
        for (told, kind) in self.told_parts.iter_mut().zip(PART_KINDS) {
            told.set(&record.id, now.iter().filter(|part| part.1 == kind).map(|part| part.0.as_str()));
        }
        if !record.kind.is_container() {
            let number = below.iter().filter(|id| !self.removed.contains(*id)).count();
            set_fact(record, PARTS, (number > 0).then(|| number.to_string()).as_deref());
        }
        Ok(())
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
        let mut ids = self.known.ids().await?;
        while let Some(id) = ids.try_next().await? {
            let may_be = id != not && item_of(&id).is_none();
            if may_be && self.known.record(&id).await?.is_some_and(|known| known.kind == ItemKind::File) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Says once for all files that their labels are refused. Gives a file to ask the next time.
    pub(super) async fn tell_refused_labels(&mut self) -> Result<Option<String>> {
        self.tell_refusals().await?;
        let Labels::Refused(file, text) = &self.labels else { return Ok(None) };
        let gap = Gap {
            collection: self.collection.to_owned(),
            id: LABELS.to_owned(),
            name: "Retention labels".to_owned(),
            kind: None,
            reason: "access-denied".to_owned(),
            text: format!("The retention labels of its files could not be read: {text}; {NO_RIGHT}"),
            since_us: 0,
        };
        let file = file.clone();
        self.sink.change(Change::Gap(gap)).await?;
        Ok(Some(file))
    }

    /// Asks again who may use what this reading did not tell, where it is its turn.
    pub(super) async fn look_again(&mut self, turns: Turns) -> Result<()> {
        if self.enumerating {
            return Ok(());
        }
        for id in turns.items(self.known).await? {
            if id == self.root {
                self.look_at_root_again().await?;
                continue;
            }
            if self.seen.was_told(&id) || self.removed.contains(&id) {
                continue;
            }
            let Some(known) = self.known.record(&id).await? else { continue };
            let mut now = known.clone();
            self.take_parts(&mut now, Some(&known), (false, true)).await?;
            // What could not be read is a gap, and tried again.
            if now.fact(PERMISSIONS_READ).is_none() || same_facts(&known, &now) {
                continue;
            }
            // It has more or fewer parts: only with its properties it can be told.
            self.take_again(&id).await?;
        }
        Ok(())
    }
}
