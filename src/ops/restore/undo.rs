//! Taking a run back: what its journal says was made, from the last step to the first.

use std::collections::BTreeMap;

use super::journal::{self, Entry, Known, State};
use super::run::open;
use super::source::RepoSource;
use super::{Action, Around, Plan, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Client, Fate, fate, graph_error};
use crate::m365::restore::{Found, Made, Order, Since, Target, Undo, Unlogged};
use crate::monitor::Counter;
use crate::ops::catalog::Catalog;
use crate::ops::view::View;

/// Why something stays.
const CHANGED: &str = "it was changed after it was restored";

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
/// needed (`view`). A target that cannot be opened keeps nothing else from being taken back.
///
/// # Errors
/// The journal's; Graph's, where nobody can sign in.
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
        .filter(|(_, known)| match known {
            Known::Done { .. } | Known::Begun { .. } => true,
            Known::Failed { undo, .. } => !undo.is_empty(),
            Known::Undone => false,
        })
        .map(|(n, k)| (*n, k))
        .collect();
    around.monitor.add(Counter::ItemsTotal, done.len() as i64);
    let mut targets: BTreeMap<usize, std::result::Result<Box<dyn Target>, String>> = BTreeMap::new();
    let mut report = UndoReport::default();
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
            let opened = match open(client, planned).await {
                Err(e) if ends_all(&e) => return Err(e),
                opened => opened.map_err(|e| e.chain()),
            };
            targets.insert(step.target, opened);
        }
        let left = match targets.get(&step.target) {
            None => continue,
            Some(Err(why)) => Ok(Some(why.clone())),
            Some(Ok(target)) => of_step(&plan, (number, step), known, (view, &state), &**target).await,
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

/// Says whether an error keeps anything from being taken back: the sign-in, the network.
fn ends_all(e: &Error) -> bool {
    let of_one = matches!(
        e.kind(),
        ErrorKind::InvalidInput | ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::AlreadyExists
    );
    fate(e) == Fate::Fatal && !of_one && graph_error(e).is_none_or(|answer| answer.status == 401)
}

/// Takes back what a step did, or may have done.
async fn of_step(
    plan: &Plan,
    (number, step): (usize, &Step),
    known: &Known,
    beside: (Option<&View>, &State),
    target: &dyn Target,
) -> Result<Option<String>> {
    let run_us = super::time_of_run(&plan.run);
    match known {
        Known::Done { id, undo, state, .. } => take_back(target, undo, (id, Since { run_us, state })).await,
        Known::Begun { undo } if undo.is_empty() => doubtful(plan, step, number, beside, target).await,
        Known::Begun { undo } | Known::Failed { undo, .. } => {
            take_back(target, undo, ("", Since { run_us, state: "" })).await
        }
        Known::Undone => Ok(None),
    }
}

/// Takes back what was found.
async fn found(plan: &Plan, made: &Made, target: &dyn Target) -> Result<Option<String>> {
    take_back(target, &made.undo, ("", Since { run_us: super::time_of_run(&plan.run), state: "" })).await
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
            Some(made) => found(plan, &made, target).await,
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
    let (record, parent, name, mark) = (&record, parent.as_str(), step.name.as_str(), mark.as_str());
    let order = Order { record, parent, name, mark, extras, log: &Unlogged, only_looks: true };
    match target.find(order, &source).await? {
        Found::Nothing => Ok(None),
        Found::Whole(made) | Found::Part(made) => found(plan, &made, target).await,
    }
}

/// What somebody changed after the run is theirs, and stays, as far as the target tells. `made`: the id of what was made, and
/// what is known of it.
async fn take_back(target: &dyn Target, undo: &[Undo], made: (&str, Since<'_>)) -> Result<Option<String>> {
    let state = |one: &Undo| if one.id() == made.0 { made.1.state } else { made.1.of(one.id()) };
    // Of what was told by itself each stays by itself; else a step is taken back as a whole.
    let is_apart = undo.iter().all(|one| !state(one).is_empty());
    let mut changed = Vec::new();
    for one in undo {
        if target.was_changed(one, Since { state: state(one), ..made.1 }).await? {
            changed.push(one);
        }
    }
    if !changed.is_empty() && !is_apart {
        return Ok(Some(CHANGED.to_owned()));
    }
    for one in undo.iter().rev().filter(|one| !changed.contains(one)) {
        if let Some(why) = target.undo(one).await? {
            return Ok(Some(why));
        }
    }
    Ok((!changed.is_empty()).then(|| CHANGED.to_owned()))
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
