//! What becomes of what lies in one place, and below: compared with what is there, item by item.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::moved::{Elsewhere, is_of_item};
use super::{Planner, is_made};
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record};
use crate::m365::restore::{Cost, Fit, Present, Target};
use crate::monitor::Counter;
use crate::ops::restore::known::{AtTop, Known, apart, free_name};
use crate::ops::restore::siblings::Siblings;
use crate::ops::restore::{Action, Conflict, Into, Only, Step};

/// Where the children of a container go, and with what they are compared.
#[derive(Debug, Clone, Default)]
pub(super) struct Level {
    /// The container's id in the snapshot.
    pub(super) from: String,
    /// The path, for people.
    pub(super) path: String,
    /// The container's id in the target, if it is there.
    pub(super) there: Option<String>,
    /// What is compared with lies in the same place as what is made.
    pub(super) same_place: bool,
}

/// What is known of the place that siblings go to.
struct Among<'a> {
    target: &'a dyn Target,
    known: Known<'a>,
    /// What each container of this level is called more, where it lies beside others, and what lies there.
    beside: Option<String>,
    known_beside: Known<'a>,
    /// They go into a container of the restore's own.
    is_apart: bool,
    /// It is one alone and goes to its top, where others from elsewhere in the snapshot may go too.
    is_at_top: bool,
    top: AtTop,
    /// What is there, and what copies come beside, by identity.
    names: HashSet<String>,
    /// Those that are not where they were, and were not surely deleted, by id.
    elsewhere: HashMap<String, Elsewhere>,
}

impl Planner<'_> {
    /// Plans all that is below a level.
    pub(super) async fn level(&mut self, number: usize, level: Level) -> Result<()> {
        let siblings = Siblings::of(self.open(number)?.source.clone(), &level.from).await?;
        let present = match &level.there {
            Some(there) => match self.look(number, there).await? {
                Ok(present) => present,
                Err(e) => return self.not_listed(number, &level, e),
            },
            None => Vec::new(),
        };
        self.siblings(number, &level, &siblings, &present).await
    }

    /// Lists a container of a target. The inner error is what Graph says of that one alone: others may be listed.
    pub(super) async fn look(&self, number: usize, there: &str) -> Result<Result<Vec<Present>>> {
        match self.open(number)?.target.present(there).await {
            Err(e) if is_of_item(&e) => Ok(Err(e)),
            listed => listed.map(Ok),
        }
    }

    /// Plans nothing of what goes into a container that Graph does not list: it might come twice. That is told of the container,
    /// and of the whole collection if it is its top.
    fn not_listed(&mut self, number: usize, level: &Level, e: Error) -> Result<()> {
        if level.from.is_empty() {
            if self.asked.paths.contains(&level.path) {
                return Err(e);
            }
            self.without.push((level.path.clone(), e));
            return Ok(());
        }
        self.containers.remove(&(number, level.from.clone()));
        let last = self.steps.len().saturating_sub(1);
        let own = |step: &Step| step.target == number && step.item == level.from;
        let planned = self.steps.get(last).filter(own);
        if planned.is_some() {
            self.steps.truncate(last);
        }
        let named = || {
            let name = level.path.rsplit('/').next().unwrap_or_default().to_owned();
            let (item, path) = (level.from.clone(), level.path.clone());
            unknown(number, (item, name, path), true)
        };
        let step = planned.unwrap_or_else(named);
        self.steps.push(Step { action: Action::Unknown(not_compared(&e)), cost: Cost::default(), ..step });
        Ok(())
    }

    /// The same of what was picked in it.
    pub(super) fn not_found(&mut self, number: usize, picked: &[(Record, String)], e: &Error) -> Result<()> {
        for (record, path) in picked {
            let container = self.open(number)?.target.is_container(record.kind);
            let step = unknown(number, (record.id.clone(), record.name.clone(), path.clone()), container);
            self.steps.push(Step { action: Action::Unknown(not_compared(e)), ..step });
        }
        Ok(())
    }

    /// Plans siblings in the order of their ranks, those of a rank as they are listed. `present`: what lies where they go.
    pub(super) async fn siblings(
        &mut self,
        number: usize,
        level: &Level,
        siblings: &Siblings,
        present: &[Present],
    ) -> Result<()> {
        let target = self.open(number)?.target.clone();
        let beside = self.open(number)?.beside.clone().filter(|_| level.from.is_empty() && level.same_place);
        let present_beside = match &beside {
            Some(_) => match self.look(number, "").await? {
                Ok(present) => present,
                Err(e) => return self.not_listed(number, level, e),
            },
            None => Vec::new(),
        };
        // What has one of these ids is that item, also if it lies beside the one that is restored.
        let ids = if present.is_empty() { HashSet::new() } else { siblings.ids_around().await? };
        let is_at_top = siblings.alone && self.asked.options.into != Into::Place && level.from.is_empty();
        let top = if is_at_top { self.tops.remove(&number).unwrap_or_default() } else { AtTop::default() };
        let mut names: HashSet<String> = present.iter().map(|present| present.identity.clone()).collect();
        let is_copy = self.asked.options.conflict == Conflict::Copy;
        names.extend(top.others().filter(|_| is_copy).cloned());
        let mut ranks = BTreeSet::new();
        let mut pages = siblings.pages();
        while let Some(page) = pages.next().await? {
            self.around.stop.check()?;
            self.around.monitor.add(Counter::Items, page.len() as i64);
            ranks.extend(page.iter().map(|record| target.rank(record.kind)));
            // No copy takes the name of one that is listed after it.
            let by_name = page.iter().filter(|record| is_copy && target.tells_by_name(record.kind));
            names.extend(by_name.map(|record| target.identity(record)));
        }
        let mut among = Among {
            target: &*target,
            // Items of a list are numbered: in another list, also one made anew, a number is another item's.
            known: Known::new(present, &ids, level.there.as_ref() == Some(&siblings.parent)),
            known_beside: Known::new(&present_beside, &HashSet::new(), true),
            beside,
            is_apart: level.same_place && self.asked.options.into != Into::Place,
            is_at_top,
            top,
            names,
            elsewhere: HashMap::new(),
        };
        for rank in ranks {
            let mut pages = siblings.pages();
            while let Some(page) = pages.next().await? {
                self.around.stop.check()?;
                let is_now = |record: &&Record| target.rank(record.kind) == rank && !target.comes_along(record.kind);
                let records: Vec<&Record> = page.iter().filter(is_now).collect();
                self.look_elsewhere(number, &records, &mut among).await?;
                for record in records {
                    self.sibling(number, level, record, &mut among).await?;
                }
            }
        }
        if is_at_top {
            self.tops.insert(number, among.top.seen());
        }
        Ok(())
    }

    /// Sees which of those that are not where they were were moved, and not deleted. Of containers nothing follows from that: what
    /// is in them is asked for.
    async fn look_elsewhere(&mut self, number: usize, records: &[&Record], among: &mut Among<'_>) -> Result<()> {
        among.elsewhere.clear();
        if self.asked.options.only != Only::Deleted {
            return Ok(());
        }
        let target = among.target;
        let is_asked =
            |record: &&Record| !is_made_of_others(target, record) && among.known.find(target, record).is_none();
        let gone: Vec<Record> = records.iter().copied().filter(is_asked).cloned().collect();
        among.elsewhere = self.moves.look((number, target), gone, &self.around.stop).await?;
        Ok(())
    }

    async fn sibling(&mut self, number: usize, level: &Level, record: &Record, among: &mut Among<'_>) -> Result<()> {
        let target = among.target;
        let named = among.is_at_top.then(|| Record { name: among.top.name(record, target), ..record.clone() });
        let named = named.as_ref().unwrap_or(record);
        // What is compared with where it was bears its own name there.
        let found = among.known.find(target, if level.same_place { named } else { record });
        if !is_made_of_others(target, record) {
            return self.item(number, level, (record, named), found, among).await;
        }
        let before = self.steps.len();
        let marked = among.beside.as_ref().map(|folder| apart(record, format!("{} ({folder})", named.name)));
        let there = match &marked {
            Some(marked) => among.known_beside.find(target, marked).map(|found| found.id.clone()),
            None if !among.is_apart => found.map(|found| found.id.clone()),
            None if level.from.is_empty() && target.melts(record.kind) => level.there.clone(),
            None => among.known.find_apart(target, named, &mut among.top.taken),
        };
        let used = there.as_deref().filter(|_| level.same_place);
        let name = marked.map_or_else(|| named.name.clone(), |marked| marked.name);
        self.container(number, level, (record, &name), used).await?;
        let path = format!("{}/{}", level.path, record.name);
        let below = Level { from: record.id.clone(), path, there, same_place: level.same_place };
        Box::pin(self.level(number, below)).await?;
        if self.asked.options.only != Only::All {
            self.drop_empty(before);
        }
        Ok(())
    }

    /// Takes containers out again into which nothing goes. What is not known of stays told.
    pub(super) fn drop_empty(&mut self, from: usize) {
        // Some hold what is no step of its own.
        let is_full = |step: &Step| !step.container || self.brought.contains_key(&(step.target, step.item.clone()));
        if !self.steps.iter_from(from).any(|step| is_made(&step) && is_full(&step)) {
            for step in self.steps.iter_from(from).filter(|step| step.container) {
                self.containers.remove(&(step.target, step.item));
            }
            let is_told = |step: &Step| matches!(step.action, Action::Unknown(_));
            let told: Vec<Step> = self.steps.iter_from(from).filter(is_told).collect();
            self.steps.truncate(from);
            told.into_iter().for_each(|step| self.steps.push(step));
        }
    }

    /// Plans a container.
    pub(super) async fn container(
        &mut self,
        number: usize,
        level: &Level,
        (record, name): (&Record, &str),
        there: Option<&str>,
    ) -> Result<()> {
        if self.containers.contains(&(number, record.id.clone())) {
            return Ok(());
        }
        let cost = match self.open(number)?.target.fit(record) {
            Fit::Takes(cost) if there.is_none() => cost.and(self.further(number, record).await?),
            _ => Cost::default(),
        };
        if there.is_none() {
            self.bring(number, level, record).await?;
        }
        let action = there.map_or(Action::Create, |id| Action::Use(id.to_owned()));
        self.push(number, level, record, name, action, cost);
        Ok(())
    }

    /// Takes note of what comes back with a container that is made, and tells what does not.
    async fn bring(&mut self, number: usize, level: &Level, record: &Record) -> Result<()> {
        let open = self.open(number)?;
        let Some(brought) = open.target.brings(record, &*open.source).await? else { return Ok(()) };
        match brought.lacks {
            Some(why) => self.without.push((format!("{}/{}", level.path, record.name), Error::invalid(why))),
            None => drop(self.brought.insert((number, record.id.clone()), brought.from)),
        }
        Ok(())
    }

    /// What making something costs for what hangs below it.
    async fn further(&self, number: usize, record: &Record) -> Result<Cost> {
        let open = self.open(number)?;
        open.target.further(record, self.asked.options.extras(), &*open.source).await
    }

    fn push(&mut self, target: usize, level: &Level, record: &Record, name: &str, action: Action, cost: Cost) {
        let holder = self.targets.get(target).filter(|open| open.target.is_container(record.kind));
        let container = holder.is_some();
        if let Some(open) = holder {
            self.containers.insert((target, record.id.clone()));
            // What lies in it costs what it costs a run, which has it.
            if matches!(action, Action::Create | Action::Copy | Action::Use(_)) {
                open.source.note(&record.id, "");
            }
        }
        self.steps.push(Step {
            target,
            item: record.id.clone(),
            parent: level.from.clone(),
            name: name.to_owned(),
            path: format!("{}/{}", level.path, record.name),
            container,
            action,
            cost,
        });
    }

    /// Plans an item, which may get another name (`named`) where it goes.
    async fn item(
        &mut self,
        number: usize,
        level: &Level,
        (record, named): (&Record, &Record),
        found: Option<&Present>,
        among: &mut Among<'_>,
    ) -> Result<()> {
        let target = among.target;
        let elsewhere = among.elsewhere.get(&record.id);
        if let Some(Elsewhere::Unknown(why)) = elsewhere {
            let action = Action::Unknown(why.clone());
            self.push(number, level, record, &named.name, action, Cost::default());
            return Ok(());
        }
        let is_there = found.is_some() || elsewhere.is_some();
        // What is there may lack something.
        let adds = found.is_some() && target.adds(record.kind) && self.asked.options.only != Only::Changed;
        match (self.asked.options.only, is_there) {
            (Only::Deleted, true) if !adds => return Ok(()),
            (Only::Changed, false) => return Ok(()),
            _ => {}
        }
        let cost = match target.fit(record) {
            Fit::Takes(cost) => cost,
            Fit::Cannot(why) => {
                let stays = found.is_some() && level.same_place && self.asked.options.conflict == Conflict::Skip;
                let action = if stays { Action::Skip("it is there already".to_owned()) } else { Action::Cannot(why) };
                self.push(number, level, record, &named.name, action, Cost::default());
                return Ok(());
            }
        };
        let options = &self.asked.options;
        let state = target.state(record);
        let same = found.is_some_and(|found| !state.is_empty() && found.state == state);
        let is_old = || state.is_empty() && found.is_some_and(|found| is_unchanged(found, record));
        if options.only == Only::Changed && (same || is_old()) {
            return Ok(());
        }
        let skip = |why: &str| (Action::Skip(why.to_owned()), Cost::default());
        let mut name = named.name.clone();
        let (action, cost) = match (found, options.conflict) {
            (Some(_), _) if !level.same_place => (Action::Create, cost),
            (Some(_), conflict) if adds && conflict != Conflict::Replace => (Action::Create, cost),
            (None, conflict) => {
                if conflict == Conflict::Copy {
                    among.names.insert(target.identity(named));
                }
                (Action::Create, cost)
            }
            (Some(_), Conflict::Skip) => skip("it is there already"),
            (Some(_), Conflict::Copy) if target.is_single(record) => skip("there is one of it only, which stays"),
            (Some(_), Conflict::Copy) => {
                name = free_name(named, target, &mut among.names);
                among.top.took(record, &name, target);
                (Action::Copy, cost)
            }
            (Some(_), _) if same => skip("it is there already, the same"),
            (Some(found), _) if is_by_title(record.kind) && !among.known.is_itself(found, record) => {
                skip("what is there bears its title, and may be another")
            }
            (Some(found), Conflict::Newer) if found.modified_us >= record.modified_us => {
                skip("what is there was changed later")
            }
            (Some(found), _) => match target.stays(record) {
                Some(why) => skip(why),
                None => (Action::Overwrite(found.id.clone()), target.overwriting(record, cost)),
            },
        };
        let is_new = matches!(action, Action::Create | Action::Copy);
        let cost = if is_new { cost.and(self.further(number, record).await?) } else { cost };
        self.push(number, level, record, &name, action, cost);
        Ok(())
    }
}

/// Why nothing is planned where what is there cannot be listed.
fn not_compared(e: &Error) -> String {
    format!("what is there already is not known: {e}")
}

/// A step that does nothing, as something is not known.
fn unknown(target: usize, (item, name, path): (String, String, String), container: bool) -> Step {
    let (parent, action, cost) = (String::new(), Action::Unknown(String::new()), Cost::default());
    Step { target, item, parent, name, path, container, action, cost }
}

/// Says whether what is in an item is planned one by one.
fn is_made_of_others(target: &dyn Target, record: &Record) -> bool {
    target.is_container(record.kind) && matches!(target.fit(record), Fit::Takes(_))
}

/// Says whether what has another id is found again by its title alone, which others may bear.
fn is_by_title(kind: ItemKind) -> bool {
    matches!(kind, ItemKind::ListItem | ItemKind::Task)
}

/// Says whether what is there has the time of the snapshot's, where nothing tells what it holds. Columns have none, and are not
/// overwritten.
fn is_unchanged(found: &Present, record: &Record) -> bool {
    match (found.modified_us, record.modified_us) {
        (Some(there), Some(known)) => there == known,
        _ => record.kind == ItemKind::Column,
    }
}
