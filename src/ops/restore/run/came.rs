//! Of an old plan what is there by now: it is left as it is, and told.

use super::{RestoreReport, Runner};
use crate::error::Result;
use crate::format::record::ItemKind;
use crate::m365::restore::Target;
use crate::monitor::Counter;
use crate::ops::restore::journal::Entry;
use crate::ops::restore::stale::{CAME, Looks};
use crate::ops::restore::{Action, Conflict, Step};

/// What is said of a channel that came.
const NO_POSTS: &str =
    "what was written in it does not come back as posts: that takes a channel that the restore makes";

impl Runner {
    /// Gives the id of what is there by now of something that an old plan is to make.
    pub(super) async fn there_now(
        &self,
        number: usize,
        step: &Step,
        target: &dyn Target,
        looks: &mut Looks,
    ) -> Result<Option<String>> {
        let Some(own) = self.own.as_ref().filter(|_| step.action == Action::Create) else { return Ok(None) };
        if self.state.contains_key(&number) || own.has_container(&step.parent) {
            return Ok(None);
        }
        if step.item.is_empty() {
            return Ok(target.find_top(&step.name).await?.map(|made| made.id));
        }
        let is_beside = !step.container && self.options.conflict == Conflict::Copy;
        // What cannot be read fails when it is made.
        let record = self.source.reader().get(&step.item).await;
        let (Ok(Some(record)), Some(parent)) = (record, self.parent_of(step)) else { return Ok(None) };
        // No list has two columns of one name.
        if is_beside || record.kind == ItemKind::Column || target.adds(record.kind) {
            return Ok(None);
        }
        looks.find(target, (&record, &step.name, &parent), &self.source, own).await
    }

    /// Leaves what came after the plan was made as it is; a container is used.
    pub(super) async fn leave(
        &self,
        number: usize,
        step: Step,
        (id, target): (String, &dyn Target),
        report: &mut RestoreReport,
    ) -> Result<()> {
        self.around.monitor.add(Counter::Items, 1);
        if !step.container {
            report.skipped += 1;
            report.notes.push((step.path, CAME.to_owned()));
            return Ok(());
        }
        self.note(&step, &id);
        let mut notes = vec![CAME.to_owned()];
        if self.would_bring(&step, target).await {
            notes.push(NO_POSTS.to_owned());
        }
        report.count(&step, notes.clone());
        let (undo, state) = (Vec::new(), String::new());
        self.journal.write(&Entry::Done { step: number, id, undo, notes, state }).await
    }

    /// Says whether more would come back with a container if it were made.
    async fn would_bring(&self, step: &Step, target: &dyn Target) -> bool {
        let Ok(Some(record)) = self.source.reader().get(&step.item).await else { return false };
        let brought = target.brings(&record, &*self.source).await;
        brought.is_ok_and(|brought| brought.is_some_and(|brought| brought.lacks.is_none()))
    }
}
