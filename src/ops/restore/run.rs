//! Running a plan: step by step, with the journal before and after each.

mod came;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::folders::Folders;
use super::journal::{self, Entry, Journal, Known};
use super::log::StepLog;
use super::open::open_all;
use super::refused::may_write;
use super::source::RepoSource;
use super::stale::{CAME, Looks, Own};
use super::{Action, Around, Conflict, Plan, PlannedTarget, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::Record;
use crate::graph::{Client, Fate, fate, is_full};
use crate::m365::restore::{Found, Made, Order, Room, Since, Source as _, Target, Undo};
use crate::m365::{CollectionKey, Workload};
use crate::monitor::Counter;
use crate::ops::catalog::Catalog;
use crate::ops::view::View;

/// Targets that are written to at once.
const TARGETS_AT_ONCE: usize = 16;
/// Whose items bear no mark of their step, and may be alike: nothing but their order says which is whose.
const ALIKE: [Workload; 5] =
    [Workload::Tasks, Workload::Settings, Workload::Planner, Workload::List, Workload::PersonalSite];
/// What is said of a step at which its target was stopped.
const STOPPED: &str = "What it goes into takes nothing more now";

/// How a run ended.
#[derive(Debug, Clone, Default)]
pub struct RestoreReport {
    /// Items and containers made, in this run or before it was interrupted.
    pub created: u64,
    /// Items that got other contents.
    pub overwritten: u64,
    /// Items that the plan leaves out.
    pub skipped: u64,
    /// Bytes of contents in what was made or overwritten, as the plan counts them.
    pub bytes: u64,
    /// What was tried and not made, also where it stopped a target: path and reason.
    pub problems: Vec<(String, String)>,
    /// What came back in another form: path and how.
    pub notes: Vec<(String, String)>,
    /// Targets that take nothing more now: path and reason. The run can go on later.
    pub stopped: Vec<(String, String)>,
    /// The user stopped the run.
    pub interrupted: bool,
}

/// Runs a plan, or goes on with it where it was interrupted.
///
/// # Errors
/// What makes the run as a whole impossible: the snapshot, the journal, the sign-in. Anything smaller is in the report.
pub async fn run(plan: &Plan, view: &View, client: &Client, around: &Around) -> Result<RestoreReport> {
    super::need_contents(view.repository())?;
    let kept = (around.runs)(&plan.run);
    match kept.plan().await? {
        None => kept.save(plan).await?,
        Some(known) if known == *plan => {}
        Some(_) => {
            return Err(Error::invalid(format!("Run {} was begun with another plan", plan.run))
                .with_hint("Make the plan anew with --plan"));
        }
    }
    let (journal, state) = journal::open(&*kept).await?;
    if state.steps.values().any(|known| *known == Known::Undone) {
        return Err(Error::invalid(format!("Run {} was taken back", plan.run)).with_hint("Make a new plan with --plan"));
    }
    let catalog = Catalog::load(view.repository(), Some(view.file())).await?;
    around.monitor.phase("Restoring");
    around.monitor.add(Counter::ItemsTotal, plan.steps.len() as i64);
    let own = Own::of(&plan.run, (around.now_us)(), &state.steps);
    let mut opened = open_all(plan, client, TARGETS_AT_ONCE, &around.stop).await;
    let state = Arc::new(state.steps);
    let begun = state.iter().filter(|(_, known)| matches!(known, Known::Begun { .. }));
    let mut doubts: Vec<usize> = begun.map(|(step, _)| *step).collect();
    doubts.sort_unstable();
    let of = |step: usize| plan.steps.get(step).map(|known| (known.target, step));
    let last_doubts: HashMap<usize, usize> = doubts.into_iter().filter_map(of).collect();
    let mut report = RestoreReport::default();
    let mut running: JoinSet<Result<RestoreReport>> = JoinSet::new();
    let mut failed = None;
    let (folders, room) = (Folders::default(), Room::default());
    // Rules name folders of the mail.
    let mut waited = false;
    let (last, first): (Vec<_>, Vec<_>) = plan.targets.iter().enumerate().partition(|(_, planned)| is_last(planned));
    for (number, planned) in first.into_iter().chain(last) {
        while running.len() >= TARGETS_AT_ONCE || (is_last(planned) && !waited && !running.is_empty()) {
            join(&mut running, &mut report, &mut failed).await;
        }
        waited |= is_last(planned);
        if failed.is_some() {
            break;
        }
        let of_target = plan.steps.of_target(number);
        let has_top = plan.steps.of_target(number).next().is_some_and(|(_, step)| step.item.is_empty());
        let missing = || Error::not_found(format!("The snapshot does not hold {} any more", planned.from));
        let collection = catalog.states.get(&planned.from).ok_or_else(missing)?;
        let source = Arc::new(RepoSource::new(view, collection).of_run(room.clone(), around.stop.clone()));
        let may_be_alike = ALIKE.iter().any(|workload| is_of(planned, *workload));
        let last_doubt = last_doubts.get(&number).copied().filter(|_| may_be_alike);
        // What is in doubt is not told from what came meanwhile.
        let own = own.clone().filter(|_| !last_doubts.contains_key(&number));
        let own = own.map(|known| Own::new(known, plan.steps.of_target(number).map(|(_, step)| step)));
        if last_doubt.is_some() {
            take_known(plan.steps.of_target(number), &state, &source);
        }
        let runner = Runner {
            planned: planned.clone(),
            client: client.clone(),
            source,
            options: plan.options.clone(),
            run: plan.run.clone(),
            journal: journal.clone(),
            around: around.clone(),
            state: state.clone(),
            has_top,
            last_doubt,
            own,
            folders: is_of(planned, Workload::Mail).then(|| folders.clone()),
        };
        if is_last(planned) {
            folders.of(&planned.owner).iter().for_each(|(old, made)| runner.source.note(old, made));
        }
        let unopened = || Err(Error::internal("A target that was not opened"));
        let target = opened.get_mut(number).and_then(Option::take).unwrap_or_else(unopened);
        running.spawn(Arc::new(runner).run(target, of_target));
    }
    while !running.is_empty() {
        join(&mut running, &mut report, &mut failed).await;
    }
    if let Some(e) = failed {
        return Err(e);
    }
    if report.stopped.is_empty() && !report.interrupted {
        journal.write(&Entry::Ended).await?;
    }
    Ok(report)
}

/// Takes note of what the steps of a target have already: none of it is what is looked for of another.
fn take_known(steps: impl Iterator<Item = (usize, Step)>, state: &HashMap<usize, Known>, source: &RepoSource) {
    for (number, step) in steps {
        let known = state.get(&number);
        let has = match (&step.action, known) {
            (Action::Overwrite(id) | Action::Use(id), _) | (_, Some(Known::Done { id, .. })) => Some(id),
            _ => None,
        };
        if step.container {
            if let Some(id) = has {
                source.note(&step.item, id);
            }
            continue;
        }
        let parent = source.made_as(&step.parent).unwrap_or_default();
        if let Some(id) = has {
            source.take(id, &parent);
        }
        let Some(Known::Begun { undo } | Known::Failed { undo, .. } | Known::Done { undo, .. }) = known else {
            continue;
        };
        for undo in undo {
            if let Undo::Delete { kind, id, parent } = undo
                && !kind.is_container()
            {
                source.take(id, parent);
            }
        }
    }
}

async fn join(running: &mut JoinSet<Result<RestoreReport>>, report: &mut RestoreReport, failed: &mut Option<Error>) {
    match running.join_next().await {
        Some(Ok(Ok(part))) => report.add(part),
        Some(Ok(Err(e))) => drop(failed.get_or_insert(e)),
        Some(Err(e)) => drop(failed.get_or_insert(Error::internal("A restore ended early").with_source(e))),
        None => {}
    }
}

impl RestoreReport {
    fn add(&mut self, other: Self) {
        self.created += other.created;
        self.overwritten += other.overwritten;
        self.skipped += other.skipped;
        self.bytes += other.bytes;
        self.problems.extend(other.problems);
        self.notes.extend(other.notes);
        self.stopped.extend(other.stopped);
        self.interrupted |= other.interrupted;
    }

    fn count(&mut self, step: &Step, notes: Vec<String>) {
        // What came after the plan was made is used, and nothing that the run made.
        let made = u64::from(!notes.iter().any(|note| note == CAME));
        match step.action {
            Action::Overwrite(_) => self.overwritten += made,
            _ => self.created += made,
        }
        self.bytes += made * step.cost.bytes;
        self.notes.extend(notes.into_iter().map(|note| (step.path.clone(), note)));
    }
}

/// What stops a target, as nothing more can be made in it now.
fn stops(e: &Error) -> bool {
    if is_full(e) {
        return true;
    }
    match fate(e) {
        Fate::NotProvisioned(_) => true,
        Fate::Denied(_) => e.kind() == ErrorKind::Permission,
        Fate::Fatal => !matches!(
            e.kind(),
            ErrorKind::InvalidInput | ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::AlreadyExists
        ),
        _ => false,
    }
}

struct Runner {
    planned: PlannedTarget,
    client: Client,
    source: Arc<RepoSource>,
    options: super::RestoreOptions,
    run: String,
    journal: Journal,
    around: Around,
    state: Arc<HashMap<usize, Known>>,
    /// The restore has a container of its own there: where that was not made, nothing is.
    has_top: bool,
    /// The last step of which nobody knows what came of it. Up to that, one comes after the other: what is found for one is no other's.
    last_doubt: Option<usize>,
    /// What it made so far, if its plan is old.
    own: Option<Own>,
    /// Takes note of the folders of mail.
    folders: Option<Folders>,
}

/// Says whether a target is written to when all others were.
fn is_last(planned: &PlannedTarget) -> bool {
    is_of(planned, Workload::Settings)
}

/// Says whether a target takes items of a workload.
fn is_of(planned: &PlannedTarget, workload: Workload) -> bool {
    planned.from.parse::<CollectionKey>().is_ok_and(|key| key.workload == workload)
}

/// How a step ended.
enum Ended {
    Done(Made),
    Failed(Error),
}

/// What came of trying to make something.
enum Tried {
    Made(Made),
    Failed(Error),
    /// It was begun before, and nobody could see what came of that.
    Unseen(Error),
}

impl From<Result<Made>> for Tried {
    fn from(result: Result<Made>) -> Self {
        result.map_or_else(Self::Failed, Self::Made)
    }
}

type Doing = JoinSet<(Step, Result<Ended>)>;

impl Runner {
    async fn run(
        self: Arc<Self>,
        target: Result<Box<dyn Target>>,
        steps: impl Iterator<Item = (usize, Step)> + Send,
    ) -> Result<RestoreReport> {
        let mut report = RestoreReport::default();
        let target: Arc<dyn Target> = match target {
            Ok(target) => Arc::from(target),
            Err(e) => {
                report.interrupted = e.kind() == ErrorKind::Interrupted;
                if !report.interrupted {
                    report.stopped.push((self.planned.path.clone(), told(&e)));
                }
                steps.for_each(|(number, step)| self.count_done(number, step, &mut report));
                return Ok(report);
            }
        };
        let mut doing: Doing = JoinSet::new();
        let mut looks = Looks::new(self.options.into != super::Into::Place);
        for (number, step) in steps {
            report.interrupted |= self.around.stop.is_stopped();
            if report.interrupted || !report.stopped.is_empty() {
                self.count_done(number, step, &mut report);
                continue;
            }
            if let Some(step) = self.known(number, step, &mut report) {
                let there = self.there_now(number, &step, &*target, &mut looks).await;
                if let Ok(Some(id)) = there {
                    self.leave(number, step, (id, &*target), &mut report).await?;
                    continue;
                }
                let (this, at, container) = (self.clone(), target.clone(), step.container);
                doing.spawn(async move {
                    let ended = match there {
                        Err(e) => Ok(Ended::Failed(e)),
                        Ok(_) => this.step(number, &step, &*at).await,
                    };
                    (step, ended)
                });
                let at_once = if self.is_in_doubt(number) { 1 } else { target.at_once() };
                // What goes into a container comes after it.
                while doing.len() >= at_once || (container && !doing.is_empty()) {
                    self.take(&mut doing, &mut report).await?;
                }
            }
        }
        while !doing.is_empty() {
            self.take(&mut doing, &mut report).await?;
        }
        Ok(report)
    }

    /// Says whether a step, or one after it, has no result that is known.
    fn is_in_doubt(&self, number: usize) -> bool {
        self.last_doubt.is_some_and(|last| number <= last)
    }

    /// What was done before is there, though the run does nothing more.
    fn count_done(&self, number: usize, step: Step, report: &mut RestoreReport) {
        if matches!(self.state.get(&number), Some(Known::Done { .. })) {
            drop(self.known(number, step, report));
        }
    }

    /// Takes over what is known of a step already; gives it back if it is to be done.
    fn known(&self, number: usize, step: Step, report: &mut RestoreReport) -> Option<Step> {
        let monitor = &self.around.monitor;
        match (&step.action, self.state.get(&number)) {
            (Action::Skip(_), _) => report.skipped += 1,
            (Action::Cannot(why) | Action::Unknown(why), _) => {
                monitor.problem(&step.path, why);
                report.problems.push((step.path.clone(), why.clone()));
            }
            (Action::Use(id), _) => self.note(&step, id),
            (_, Some(Known::Done { id, notes, .. })) => {
                self.note(&step, id);
                report.count(&step, notes.clone());
            }
            _ => return Some(step),
        }
        monitor.add(Counter::Items, 1);
        None
    }

    async fn take(&self, doing: &mut Doing, report: &mut RestoreReport) -> Result<()> {
        let Some(ended) = doing.join_next().await else { return Ok(()) };
        let (step, ended) = ended.map_err(|e| Error::internal("A restore ended early").with_source(e))?;
        match ended? {
            Ended::Done(made) => {
                report.count(&step, made.notes);
                self.around.monitor.add(Counter::Items, 1);
                self.around.monitor.add(Counter::BytesRead, i64::try_from(step.cost.bytes).unwrap_or(i64::MAX));
            }
            // It was stopped on its way: the next run goes on with it.
            Ended::Failed(e) if e.kind() == ErrorKind::Interrupted => report.interrupted = true,
            Ended::Failed(e) => {
                let mut text = told(&e);
                if stops(&e) {
                    if report.stopped.is_empty() {
                        if e.kind() == ErrorKind::Permission {
                            text.push_str(&self.refusal().await);
                        }
                        report.stopped.push((self.planned.path.clone(), text));
                    }
                    // The reason stands with the target, once.
                    text = STOPPED.to_owned();
                }
                self.around.monitor.problem(&step.path, &text);
                report.problems.push((step.path, text));
                self.around.monitor.add(Counter::Items, 1);
            }
        }
        Ok(())
    }

    /// What is said where writing is refused: an app that may write is kept off by something else.
    async fn refusal(&self) -> String {
        let permission = &self.planned.permission;
        let granted = self.client.sign_in().await.ok().flatten();
        let has = may_write(permission, (granted.as_deref(), self.client.caller()), "").is_ok();
        if has && granted.is_some() {
            format!("; the app has {permission}: is the target locked, archived or on hold?")
        } else {
            format!("; the app needs {permission}")
        }
    }

    /// The id of what a step goes into; empty: the top. `None`: that was not made.
    fn parent_of(&self, step: &Step) -> Option<String> {
        let is_top = step.parent.is_empty() && !self.has_top;
        self.source.made_as(&step.parent).or_else(|| is_top.then(String::new))
    }

    /// Does one step. An error is one of the journal.
    async fn step(&self, number: usize, step: &Step, target: &dyn Target) -> Result<Ended> {
        if step.item.is_empty() {
            return self.top(number, step, target).await;
        }
        let record = match self.source.reader().get(&step.item).await {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(Ended::Failed(Error::not_found("The snapshot does not hold it any more"))),
            Err(e) => return Ok(Ended::Failed(e)),
        };
        let Some(parent) = self.parent_of(step) else {
            return Ok(Ended::Failed(Error::not_found("What should hold it was not made")));
        };
        let mark = format!("{}-{number}", self.run);
        let (begun, left) = self.left_of(number);
        if !begun
            && left.is_empty()
            && let Err(e) = self.is_older(step, (&record, parent.as_str()), target).await
        {
            return Ok(Ended::Failed(e));
        }
        let log = StepLog::new(number, &self.journal, left);
        let (name, extras) = (step.name.as_str(), self.options.extras());
        let (record, parent, mark) = (&record, parent.as_str(), mark.as_str());
        let order = Order { record, parent, name, mark, extras, log: &log, only_looks: false };
        self.journal.write(&Entry::Begin { step: number }).await?;
        let tried = self.make(begun, step, order, target, &log).await;
        self.tell(number, step, tried, target, &log).await
    }

    /// Fails if what a step overwrites for being older was changed after the plan was made.
    async fn is_older(&self, step: &Step, (record, parent): (&Record, &str), target: &dyn Target) -> Result<()> {
        let Action::Overwrite(present) = &step.action else { return Ok(()) };
        if self.options.conflict != Conflict::Newer {
            return Ok(());
        }
        match (target.changed_us(present, parent).await?, record.modified_us) {
            (Some(there), Some(known)) if there >= known => {
                Err(Error::new(ErrorKind::AlreadyExists, "What is there was changed later, after the plan was made"))
            }
            _ => Ok(()),
        }
    }

    /// Says whether a step was begun and has no result, and how what an earlier try left of it is taken back.
    fn left_of(&self, number: usize) -> (bool, Vec<Undo>) {
        match self.state.get(&number) {
            Some(Known::Begun { undo }) => (true, undo.clone()),
            Some(Known::Failed { undo, .. }) => (false, undo.clone()),
            _ => (false, Vec::new()),
        }
    }

    async fn make(&self, begun: bool, step: &Step, order: Order<'_>, target: &dyn Target, log: &StepLog<'_>) -> Tried {
        let since = Since { run_us: super::time_of_run(&self.run), item_us: order.record.modified_us, state: "" };
        let goes_on = match log.clear(target, overwrites(step), since).await {
            Ok(goes_on) => goes_on,
            Err(e) => return Tried::Failed(e),
        };
        if let Action::Overwrite(present) = &step.action {
            return target.overwrite(present, order, &*self.source).await.into();
        }
        if begun || goes_on {
            match self.look(order, since, target).await {
                Ok(Some(made)) => return Tried::Made(made),
                Ok(None) => {}
                Err(e) => return Tried::Unseen(e),
            }
        }
        target.create(order, &*self.source).await.into()
    }

    /// Looks for what came of a step that was begun before: gives what is there whole, and takes away what is there in part.
    async fn look(&self, order: Order<'_>, since: Since<'_>, target: &dyn Target) -> Result<Option<Made>> {
        match target.find(order, &*self.source).await? {
            Found::Nothing => Ok(None),
            Found::Whole(made) => Ok(Some(made)),
            Found::Part(made) => {
                for undo in made.undo.iter().rev() {
                    // What somebody has put there since is theirs: making the item says so.
                    if !target.was_changed(undo, since).await? {
                        target.undo(undo).await?;
                    }
                }
                Ok(None)
            }
        }
    }

    /// Makes the container that the restore has for itself.
    async fn top(&self, number: usize, step: &Step, target: &dyn Target) -> Result<Ended> {
        let (begun, left) = self.left_of(number);
        self.journal.write(&Entry::Begin { step: number }).await?;
        let found = if begun { target.find_top(&step.name).await } else { Ok(None) };
        let tried = match found {
            Ok(Some(made)) => Tried::Made(made),
            Ok(None) => target.create_top(&step.name).await.into(),
            Err(e) => Tried::Unseen(e),
        };
        self.tell(number, step, tried, target, &StepLog::new(number, &self.journal, left)).await
    }

    /// Takes note of what a container became; nobody asks for what is in none.
    fn note(&self, step: &Step, made: &str) {
        if step.container {
            self.source.note(&step.item, made);
            if let Some(folders) = &self.folders {
                folders.add(&self.planned.owner, &step.item, made);
            }
        }
    }

    /// Notes how a step ended. What may be there all the same stays begun: the next run looks.
    async fn tell(
        &self,
        number: usize,
        step: &Step,
        tried: Tried,
        target: &dyn Target,
        log: &StepLog<'_>,
    ) -> Result<Ended> {
        match tried {
            Tried::Made(made) => {
                self.note(step, &made.id);
                if let Some(own) = &self.own {
                    own.made(&made, step.container.then_some(step.item.as_str()));
                }
                for undo in made.undo.iter().filter(|_| self.is_in_doubt(number)) {
                    if let Undo::Delete { id, parent, .. } = undo {
                        self.source.take(id, parent);
                    }
                }
                let Made { id, undo, notes, state } = made.clone();
                self.journal.write(&Entry::Done { step: number, id, undo, notes, state }).await?;
                Ok(Ended::Done(made))
            }
            Tried::Unseen(e) => Ok(Ended::Failed(e)),
            Tried::Failed(e) => {
                if !crate::graph::is_doubtful(&e) {
                    // What was there before is put back by undo alone: nobody knows whether it was overwritten.
                    let undo = if overwrites(step) { log.noted() } else { log.take_back(target).await };
                    self.journal.write(&Entry::Failed { step: number, why: told(&e), undo }).await?;
                }
                Ok(Ended::Failed(e))
            }
        }
    }
}

fn overwrites(step: &Step) -> bool {
    matches!(step.action, Action::Overwrite(_))
}

fn told(e: &Error) -> String {
    if is_full(e) { format!("The target is full: {e}") } else { e.chain() }
}
