//! Taking a run back: what its journal says was made, from the last step to the first.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::journal::{self, Entry, Known, State};
use super::open::open;
use super::source::RepoSource;
use super::{Action, Around, Plan, PlannedTarget, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Client, Fate, fate, graph_error};
use crate::m365::restore::{Found, Made, Order, Since, Target, UNDO_LEAVES, Undo, Unlogged};
use crate::m365::{CollectionKey, Workload};
use crate::monitor::Counter;
use crate::ops::catalog::Catalog;
use crate::ops::view::View;

/// Why something stays.
const CHANGED: &str = "it was moved or changed after it was restored";
const CARRIED_OFF: &str = "a folder that it lies in was moved after it was restored";
const IN_DOUBT: &str = "it may be this restore's, and nothing says so: it stays";
const COLUMN: &str = "a column of a list that was there before: undo leaves it";

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
    let (mut back, mut waiting) = (Back::new(&plan, view, &state), Vec::new());
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
        let became = match targets.get(&step.target) {
            None => continue,
            Some(Err(why)) => Ok(Became::Left(why.clone())),
            Some(Ok(target)) => back.of_step(number, step, known, &**target).await,
        };
        match became {
            Ok(Became::Undone) => {
                journal.write(&Entry::Undone { step: number }).await?;
                report.undone += 1;
                back.take_note(number, step, known);
            }
            // A container that was used is not gone: what is in it may still be taken back.
            Ok(Became::Nothing) if step.container => {}
            Ok(Became::Nothing) => journal.write(&Entry::Undone { step: number }).await?,
            Ok(Became::LeftIn(why)) => waiting.push((number, why)),
            Ok(Became::Left(why)) => left_as_it_is(&plan, number, why, &journal, &mut report).await?,
            Err(e) => left_as_it_is(&plan, number, e.chain(), &journal, &mut report).await?,
        }
        around.monitor.add(Counter::Items, 1);
    }
    if report.interrupted {
        // Whoever goes on comes to these again.
        waiting.clear();
    }
    for (number, why) in waiting {
        if plan.steps.get(number).is_some_and(|step| back.went_with(&step)) {
            journal.write(&Entry::Undone { step: number }).await?;
            report.undone += 1;
        } else {
            left_as_it_is(&plan, number, why, &journal, &mut report).await?;
        }
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

/// What became of a step.
enum Became {
    /// It was taken back.
    Undone,
    /// It had made nothing.
    Nothing,
    /// It was left as it is; the reason in words.
    Left(String),
    /// The same, if it does not go with what holds it.
    LeftIn(String),
}

impl From<Option<String>> for Became {
    fn from(left: Option<String>) -> Self {
        left.map_or(Self::Undone, Self::Left)
    }
}

/// A run that is taken back.
struct Back<'a> {
    plan: &'a Plan,
    view: Option<&'a View>,
    state: &'a State,
    run_us: Option<i64>,
    /// The steps of containers, each with what holds it, by target and by the id of the item.
    holders: HashMap<(usize, String), (usize, String)>,
    /// Of those that were looked at: whether somebody moved what was made.
    moved: HashMap<usize, bool>,
    /// Those of which what was made is gone now.
    taken: HashSet<usize>,
    /// The targets at the top of which one of these lay.
    tops: HashSet<usize>,
}

impl<'a> Back<'a> {
    fn new(plan: &'a Plan, view: Option<&'a View>, state: &'a State) -> Self {
        let containers = plan.steps.iter().enumerate().filter(|(_, step)| step.container);
        let (mut holders, moved) = (HashMap::new(), HashMap::new());
        let (mut taken, mut tops) = (HashSet::new(), HashSet::new());
        for (number, step) in containers {
            // Undo that was stopped took it away.
            let is_gone = matches!(state.steps.get(&number), Some(Known::Undone));
            if is_gone && matches!(step.action, Action::Create | Action::Copy) {
                taken.insert(number);
                tops.extend(step.parent.is_empty().then_some(step.target));
            }
            holders.entry((step.target, step.item)).or_insert((number, step.parent));
        }
        Self { plan, view, state, run_us: super::time_of_run(&plan.run), holders, moved, taken, tops }
    }

    fn since<'s>(&self, state: &'s str) -> Since<'s> {
        Since { run_us: self.run_us, state, ..Since::default() }
    }

    /// The steps of the containers that hold what a step made, the nearest first.
    fn holders_of(&self, step: &Step) -> Vec<usize> {
        let mut all = Vec::new();
        let mut at = (!step.item.is_empty()).then(|| step.parent.clone());
        while let Some(item) = at.take() {
            let is_top = item.is_empty();
            if let Some((number, parent)) = self.holders.get(&(step.target, item))
                && !all.contains(number)
            {
                all.push(*number);
                at = (!is_top).then(|| parent.clone());
            }
        }
        all
    }

    /// Takes note of a container that is gone.
    fn take_note(&mut self, number: usize, step: &Step, known: &Known) {
        let (Known::Done { undo, .. } | Known::Begun { undo } | Known::Failed { undo, .. }) = known else { return };
        if step.container && undo.iter().any(|one| matches!(one, Undo::Delete { .. })) {
            self.taken.insert(number);
            self.tops.extend(step.parent.is_empty().then_some(step.target));
        }
    }

    /// Says whether what a step made is gone with what held it.
    fn went_with(&self, step: &Step) -> bool {
        // Columns of a list lie beside it.
        let is_beside = !step.container && step.parent.is_empty() && self.is_of_list(step);
        is_beside && self.tops.contains(&step.target)
            || self.holders_of(step).iter().any(|holder| self.taken.contains(holder))
    }

    fn is_of_list(&self, step: &Step) -> bool {
        self.plan.targets.get(step.target).is_some_and(is_list)
    }

    /// Takes back what a step did, or may have done.
    async fn of_step(&mut self, number: usize, step: &Step, known: &Known, target: &dyn Target) -> Result<Became> {
        if self.was_carried_off(step, target).await? {
            return Ok(Became::Left(CARRIED_OFF.to_owned()));
        }
        match known {
            Known::Done { undo, notes, .. } if undo.is_empty() => Ok(self.of_nothing(step, notes)),
            Known::Done { id, undo, state, .. } => Ok(take_back(target, undo, (id, self.since(state))).await?.into()),
            Known::Begun { undo } if undo.is_empty() => self.doubtful(number, step, target).await,
            Known::Begun { undo } | Known::Failed { undo, .. } => {
                Ok(take_back(target, undo, ("", self.since(""))).await?.into())
            }
            Known::Undone => Ok(Became::Undone),
        }
    }

    /// What is done, and says of no way back: it was there, or nobody knows who made it.
    fn of_nothing(&self, step: &Step, notes: &[String]) -> Became {
        if let Some(note) = notes.iter().find(|note| note.ends_with(UNDO_LEAVES)) {
            return Became::LeftIn(note.clone());
        }
        let is_column = !step.container && self.is_of_list(step) && step.action == Action::Create;
        if is_column { Became::LeftIn(COLUMN.to_owned()) } else { Became::Nothing }
    }

    /// Says whether somebody moved a container that holds what a step made.
    async fn was_carried_off(&mut self, step: &Step, target: &dyn Target) -> Result<bool> {
        for holder in self.holders_of(step) {
            let was_moved = match self.moved.get(&holder) {
                Some(known) => *known,
                None => self.was_moved(holder, target).await?,
            };
            self.moved.insert(holder, was_moved);
            if was_moved {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn was_moved(&self, holder: usize, target: &dyn Target) -> Result<bool> {
        let (undo, state) = match self.state.steps.get(&holder) {
            Some(Known::Done { undo, state, .. }) => (undo, state.as_str()),
            Some(Known::Begun { undo } | Known::Failed { undo, .. }) => (undo, ""),
            Some(Known::Undone) | None => return Ok(false),
        };
        for one in undo {
            if target.was_moved(one, self.since(state)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes back what was found.
    async fn found(&self, made: &Made, parent: &str, target: &dyn Target) -> Result<Became> {
        if !made.undo.is_empty() {
            return Ok(take_back(target, &made.undo, ("", self.since(""))).await?.into());
        }
        // What is its holder itself was not made.
        let is_holder = !parent.is_empty() && made.id == parent;
        Ok(if is_holder { Became::Nothing } else { Became::LeftIn(IN_DOUBT.to_owned()) })
    }

    /// Takes back what a step of which no result is known may have left.
    async fn doubtful(&self, number: usize, step: &Step, target: &dyn Target) -> Result<Became> {
        if step.item.is_empty() {
            return match target.find_top(&step.name).await? {
                Some(made) => self.found(&made, "", target).await,
                None => Ok(Became::Undone),
            };
        }
        let text = "nobody knows what came of it: run the restore to its end, then take it back";
        let unknown = || Ok(Became::Left(text.to_owned()));
        let (Some(view), Some(planned), Action::Create | Action::Copy) =
            (self.view, self.plan.targets.get(step.target), &step.action)
        else {
            return unknown();
        };
        let catalog = Catalog::load(view.repository(), Some(view.file())).await?;
        let Some(collection) = catalog.states.get(&planned.from) else { return unknown() };
        let source = RepoSource::new(view, collection);
        let Some(record) = source.reader().get(&step.item).await? else { return unknown() };
        let parent = match self.holders.get(&(step.target, step.parent.clone())) {
            None => String::new(),
            Some((at, _)) => match (self.plan.steps.get(*at).map(|holder| holder.action), self.state.steps.get(at)) {
                (Some(Action::Use(id) | Action::Overwrite(id)), _) => id,
                (_, Some(Known::Done { id, .. })) => id.clone(),
                // What would hold it is not there, and so it is not either.
                _ => return Ok(Became::Undone),
            },
        };
        let mark = format!("{}-{number}", self.plan.run);
        let extras = self.plan.options.extras();
        let (record, parent, name, mark) = (&record, parent.as_str(), step.name.as_str(), mark.as_str());
        let order = Order { record, parent, name, mark, extras, log: &Unlogged, only_looks: true };
        match target.find(order, &source).await? {
            Found::Nothing => Ok(Became::Undone),
            Found::Whole(made) | Found::Part(made) => self.found(&made, parent, target).await,
        }
    }
}

/// Says whether a target takes a list of a site: not a library, of which the ids are those of drives.
fn is_list(planned: &PlannedTarget) -> bool {
    planned.from.parse().is_ok_and(|key: CollectionKey| match key.workload {
        Workload::List => true,
        Workload::PersonalSite => !key.id.starts_with("b!"),
        _ => false,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::m365::restore::Cost;
    use crate::ops::restore::{Conflict, Into, Only, PLAN_VERSION, RestoreOptions, run_name};

    fn step(item: &str, parent: &str, action: Action) -> Step {
        let (name, path) = (item.to_owned(), format!("Tasks/{item}"));
        let (item, parent, container) = (item.to_owned(), parent.to_owned(), parent.is_empty());
        Step { target: 0, item, parent, name, path, container, action, cost: Cost::default() }
    }

    #[test]
    fn undo_that_goes_on_knows_which_containers_are_gone() {
        let steps = [
            step("made", "", Action::Create),
            step("in made", "made", Action::Create),
            step("over", "", Action::Overwrite("theirs".into())),
            step("in over", "over", Action::Create),
        ];
        let plan = Plan {
            version: PLAN_VERSION,
            run: run_name(1_795_000_000_000_000),
            snapshot: String::new(),
            tenant: String::new(),
            tenant_id: String::new(),
            options: RestoreOptions {
                into: Into::Place,
                conflict: Conflict::Skip,
                only: Only::All,
                permissions: false,
                links: false,
                versions: false,
            },
            targets: Vec::new(),
            steps: steps.iter().cloned().collect(),
            seconds: 0,
            left_out: Vec::new(),
            refused: Vec::new(),
        };
        let went = |state: State| [1, 3].map(|number: usize| Back::new(&plan, None, &state).went_with(&steps[number]));
        assert_eq!(went(State::default()), [false, false]);
        let gone = HashMap::from([(0, Known::Undone), (2, Known::Undone)]);
        assert_eq!(went(State { steps: gone, ended: false }), [true, false]);
    }
}
