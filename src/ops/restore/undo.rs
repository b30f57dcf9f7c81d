//! Taking a run back: what its journal says was made, from the last step to the first.

use std::collections::BTreeMap;

use super::journal::{self, Entry, Known, State};
use super::run::open;
use super::source::RepoSource;
use super::{Action, Around, Plan, Step};
use crate::error::{Error, Result};
use crate::graph::Client;
use crate::m365::restore::{Found, Order, Target};
use crate::monitor::Counter;
use crate::ops::catalog::Catalog;
use crate::ops::view::View;

/// How taking back ended.
#[derive(Debug, Clone, Default)]
pub struct UndoReport {
    /// Steps that were taken back.
    pub undone: u64,
    /// What was left as it is: path and reason.
    pub left: Vec<(String, String)>,
    /// The user stopped it.
    pub interrupted: bool,
}

/// Takes back exactly what a run made. What was begun and has no result is looked for first, for which the snapshot is
/// needed (`view`).
///
/// # Errors
/// The journal's; Graph's, where a target cannot be opened at all.
pub async fn undo(run: &str, view: Option<&View>, client: &Client, around: &Around) -> Result<UndoReport> {
    let kept = (around.runs)(run);
    let plan = kept.plan().await?.ok_or_else(|| {
        Error::not_found(format!("There is no restore run '{run}'"))
            .with_hint("restore runs lists those of this machine")
    })?;
    let (journal, state) = journal::open(&*kept).await?;
    around.monitor.phase("Taking back");
    let done: BTreeMap<usize, &Known> = state
        .steps
        .iter()
        .filter(|(_, known)| matches!(known, Known::Done { .. } | Known::Begun))
        .map(|(n, k)| (*n, k))
        .collect();
    around.monitor.add(Counter::ItemsTotal, done.len() as i64);
    let mut targets: BTreeMap<usize, Box<dyn Target>> = BTreeMap::new();
    let mut report = UndoReport::default();
    let begun_us = super::time_of_run(&plan.run);
    for (number, known) in done.into_iter().rev() {
        if around.stop.is_stopped() {
            report.interrupted = true;
            break;
        }
        let Some(step) = plan.steps.get(number) else { continue };
        let step = &step;
        if !targets.contains_key(&step.target)
            && let Some(planned) = plan.targets.get(step.target)
        {
            targets.insert(step.target, open(client, planned).await?);
        }
        let Some(target) = targets.get(&step.target) else { continue };
        let left = match known {
            Known::Done { undo, .. } => take_back(&**target, undo, begun_us).await,
            _ => doubtful(&plan, step, number, (view, &state), &**target).await,
        };
        match left {
            Ok(None) => {
                journal.write(&Entry::Undone { step: number }).await?;
                report.undone += 1;
            }
            Ok(Some(why)) => left_as_it_is(&plan, number, why, &journal, &mut report).await?,
            Err(e) => left_as_it_is(&plan, number, e.chain(), &journal, &mut report).await?,
        }
        around.monitor.add(Counter::Items, 1);
    }
    Ok(report)
}

/// Takes back what a step of which no result is known may have left.
async fn doubtful(
    plan: &Plan,
    step: &Step,
    number: usize,
    (view, state): (Option<&View>, &State),
    target: &dyn Target,
) -> Result<Option<String>> {
    if step.item.is_empty() {
        return match target.find_top(&step.name).await? {
            Some(made) => take_back(target, &made.undo, super::time_of_run(&plan.run)).await,
            None => Ok(None),
        };
    }
    let unknown = || Ok(Some("nobody knows what came of it: run the restore to its end, then take it back".to_owned()));
    let (Some(view), Some(planned), Action::Create | Action::Copy) =
        (view, plan.targets.get(step.target), &step.action)
    else {
        return unknown();
    };
    let catalog = Catalog::load(view.repository(), Some(view.file())).await?;
    let Some(collection) = catalog.states.get(&planned.from) else { return unknown() };
    let source = RepoSource::new(view, collection);
    let Some(record) = source.reader().get(&step.item).await? else { return unknown() };
    let holder =
        plan.steps.iter().enumerate().find(|(_, s)| s.target == step.target && s.item == step.parent && s.container);
    let parent = match holder {
        None => String::new(),
        Some((at, holder)) => match (&holder.action, state.steps.get(&at)) {
            (Action::Use(id), _) => id.clone(),
            (_, Some(Known::Done { id, .. })) => id.clone(),
            // What would hold it is not there, and so it is not either.
            _ => return Ok(None),
        },
    };
    let mark = format!("{}-{number}", plan.run);
    let extras = plan.options.extras();
    let order = Order { record: &record, parent: &parent, name: &step.name, mark: &mark, extras };
    match target.find(order, &source).await? {
        Found::Nothing => Ok(None),
        Found::Whole(made) | Found::Part(made) => take_back(target, &made.undo, super::time_of_run(&plan.run)).await,
    }
}

/// What somebody changed after the run is theirs, and stays.
async fn take_back(
    target: &dyn Target,
    undo: &[crate::m365::restore::Undo],
    begun_us: Option<i64>,
) -> Result<Option<String>> {
    for one in undo.iter().rev() {
        if let Some(begun_us) = begun_us
            && target.was_changed(one, begun_us).await?
        {
            return Ok(Some("it was changed after it was restored".to_owned()));
        }
        if let Some(why) = target.undo(one).await? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

async fn left_as_it_is(
    plan: &Plan,
    number: usize,
    why: String,
    journal: &super::journal::Journal,
    report: &mut UndoReport,
) -> Result<()> {
    let path = plan.steps.get(number).map_or_else(String::new, |step| step.path);
    report.left.push((path, why.clone()));
    journal.write(&Entry::Left { step: number, why }).await
}
