//! Making a plan: what lies at the places asked for, where each item goes, and what is there already.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;

use super::known::{AtTop, Known, apart, free_name};
use super::place::{Taker, destination, taker};
use super::refused::{explain, is_of_target, is_part, is_refused, may_write};
use super::siblings::Siblings;
use super::source::RepoSource;
use super::{
    Action, Around, Conflict, Into, Only, PLAN_VERSION, Plan, PlannedTarget, RestoreOptions, Step, Steps, To, run_name,
    time,
};
use crate::error::{Error, Result};
use crate::format::record::Record;
use crate::format::snapshot::CollectionState;
use crate::graph::{Client, Scope};
use crate::m365::CollectionKey;
use crate::m365::restore::{self, Cost, Fit, Present, Target};
use crate::monitor::Counter;
use crate::ops::view::{Entry, Place, View};

/// What is asked for.
pub struct Asked<'a> {
    /// The snapshot.
    pub view: &'a View,
    /// Its id.
    pub snapshot: String,
    /// The paths in it; an empty one is all.
    pub paths: Vec<String>,
    /// Where to.
    pub to: To,
    /// The tenant's name in the configuration.
    pub tenant: String,
    /// Its id.
    pub tenant_id: String,
    /// How.
    pub options: RestoreOptions,
    /// To whom a permission that lacks is to be granted, in words: "Grant Mail.ReadWrite to …".
    pub grantee: String,
}

/// Makes the plan of a restore. Nothing is written; every target is looked at.
///
/// # Errors
/// `WrongKey` under a write-only key; `NotFound` for a path or target that is not there; `Permission` naming what the app lacks;
/// `InvalidInput` for what contradicts itself.
pub async fn make(asked: Asked<'_>, client: &Client, around: &Around) -> Result<Plan> {
    super::need_contents(asked.view.repository())?;
    if asked.options.only != Only::All && asked.to != To::Original {
        return Err(Error::invalid("--only compares with the place that the items came from")
            .with_hint("Use it with --to original"));
    }
    if let Into::Folder(name) = &asked.options.into {
        super::check_folder(name)?;
    }
    around.monitor.phase("Looking at the target");
    let taker = taker(client, &asked.to).await?;
    let granted = client.sign_in().await?;
    let mut planner = Planner {
        asked: &asked,
        client,
        around,
        taker,
        granted,
        targets: Vec::new(),
        scopes: Vec::new(),
        steps: Steps::default(),
        containers: HashSet::new(),
        by_key: HashMap::new(),
        tops: HashMap::new(),
        without: Vec::new(),
    };
    let mut paths: Vec<&str> = asked.paths.iter().map(String::as_str).collect();
    paths.sort_unstable();
    paths.dedup();
    // What lies below another one comes with it.
    let all = paths.clone();
    let is_below = |path: &str, above: &str| match path.strip_prefix(above) {
        Some(rest) => path != above && (above.is_empty() || above.ends_with('/') || rest.starts_with('/')),
        None => false,
    };
    paths.retain(|path| !all.iter().any(|above| is_below(path, above)));
    for path in paths {
        let place = asked.view.resolve(path).await?;
        planner.place(place).await?;
    }
    planner.drop_unused_tops();
    let Planner { targets, scopes, steps, without, .. } = planner;
    if targets.is_empty() {
        let why = without.into_iter().next().map(|(_, why)| why);
        return Err(why.unwrap_or_else(|| Error::not_found("There is nothing to restore at this place")));
    }
    let (refused, without): (Vec<_>, Vec<_>) = without.into_iter().partition(|(_, why)| is_refused(why));
    let told = |all: Vec<(String, Error)>| all.into_iter().map(|(path, why)| (path, why.to_string())).collect();
    let seconds = time::seconds(steps.iter(), &scopes, client.budget().limits());
    Ok(Plan {
        version: PLAN_VERSION,
        run: run_name((around.now_us)()),
        snapshot: asked.snapshot,
        tenant: asked.tenant,
        tenant_id: asked.tenant_id,
        options: asked.options,
        targets: targets.into_iter().map(|open| open.planned).collect(),
        steps,
        seconds,
        left_out: told(without),
        refused: told(refused),
    })
}

/// A target that is open.
struct Open {
    planned: PlannedTarget,
    target: Arc<dyn Target>,
    source: Arc<RepoSource>,
    /// The container of this restore's own, if it is there already.
    top: Option<String>,
    /// The name of that container, where others cannot lie in it and bear it.
    beside: Option<String>,
}

struct Planner<'a> {
    asked: &'a Asked<'a>,
    client: &'a Client,
    around: &'a Around,
    taker: Option<Taker>,
    granted: Option<Vec<String>>,
    targets: Vec<Open>,
    scopes: Vec<Scope>,
    steps: Steps,
    /// Targets and containers that have a step.
    containers: HashSet<(usize, String)>,
    by_key: HashMap<String, usize>,
    /// By target: what goes to the top of the restore's own container.
    tops: HashMap<usize, AtTop>,
    /// Collections that have no target, by path, and why.
    without: Vec<(String, Error)>,
}

/// Where the children of a container go, and with what they are compared.
#[derive(Debug, Clone, Default)]
struct Level {
    /// The container's id in the snapshot.
    from: String,
    /// The path, for people.
    path: String,
    /// The container's id in the target, if it is there.
    there: Option<String>,
    /// What is compared with lies in the same place as what is made.
    same_place: bool,
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
    /// Ids of those that are not where they were, and in the target all the same.
    elsewhere: HashSet<String>,
}

impl Planner<'_> {
    async fn place(&mut self, place: Place) -> Result<()> {
        self.around.stop.check()?;
        match place {
            Place::Above(path) => {
                let mut entries: Vec<Entry> = Vec::new();
                let mut collect = |entry| {
                    entries.push(entry);
                    Ok(())
                };
                self.asked.view.list(&Place::Above(path.clone()), &mut collect).await?;
                for entry in entries {
                    Box::pin(self.place(entry.place(&path))).await?;
                }
                Ok(())
            }
            Place::Top(state) => self.collection(&state, None).await,
            Place::Item(state, record, path) => self.collection(&state, Some((*record, path))).await,
            Place::Parts(_, _, path) => Err(Error::invalid(format!("'{path}' hangs below an item"))
                .with_hint("Restore the item itself: what hangs below it comes with it")),
            Place::Beside(_, _, path) => Err(Error::invalid(format!("'{path}' shows an item, and is none"))
                .with_hint("Restore the item itself, which stands beside it")),
        }
    }

    async fn collection(&mut self, state: &CollectionState, item: Option<(Record, String)>) -> Result<()> {
        let is_alone = item.is_some() || self.asked.paths.contains(&state.name);
        let number = match self.target(state).await {
            Ok(number) => number,
            // Of a whole user some parts may have no way back; who asks for one of them is told.
            // One that refuses keeps nothing else from coming back.
            Err(e) if is_of_target(&e) && !is_alone => {
                self.without.push((state.name.clone(), e));
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        match item {
            None => {
                let level = self.top_level(number, &state.name).await?;
                self.level(number, level).await?;
            }
            Some((record, path)) => self.single(number, record, path).await?,
        }
        Ok(())
    }

    /// Takes the containers of the restore out again into which nothing goes: of what is restored in part nothing may be left to
    /// make, and in some nothing can lie but items.
    fn drop_unused_tops(&mut self) {
        let is_flat = |number: usize| self.targets.get(number).is_some_and(|open| open.target.is_flat());
        let in_part = self.asked.options.only != Only::All;
        if !in_part && !(0..self.targets.len()).any(is_flat) {
            return;
        }
        let goes_in = |step: &Step| {
            let is_item = step.parent.is_empty() && !step.container;
            if is_flat(step.target) { is_item } else { !in_part || (!step.container && is_made(step)) }
        };
        let used: HashSet<usize> = self.steps.iter().filter(goes_in).map(|step| step.target).collect();
        let stays = |step: &Step| !step.item.is_empty() || used.contains(&step.target);
        self.steps = self.steps.iter().filter(stays).collect();
    }

    /// Opens the target of a collection, and sees that it may be written to.
    async fn target(&mut self, state: &CollectionState) -> Result<usize> {
        if let Some(number) = self.by_key.get(&state.key) {
            return Ok(*number);
        }
        let key: CollectionKey = state.key.parse()?;
        let to = destination(&key, &state.name, self.taker.as_ref());
        let opened = restore::open(self.client, &to).await;
        let target: Arc<dyn Target> = Arc::from(opened.map_err(|e| explain(e, &to.name))?);
        target.probe().await.map_err(|e| explain(e, &to.name))?;
        may_write(target.permission(), self.granted.as_deref(), &self.asked.grantee)?;
        let mut top = None;
        let folder = self.folder_in(&*target, &to.title)?;
        if let Some(name) = &folder {
            if !target.takes_folder() {
                return Err(Error::invalid(format!("{} has no folders to restore into", target.path()))
                    .with_hint("Restore it in place, with --in-place"));
            }
            top = target.find_top(name).await?.map(|made| made.id);
        }
        let number = self.targets.len();
        let planned = PlannedTarget {
            from: state.key.clone(),
            owner: to.owner.to_string(),
            name: to.name.clone(),
            title: to.title.clone(),
            original: to.original,
            path: target.path().to_owned(),
            permission: target.permission().to_owned(),
        };
        if let Some(name) = &folder {
            let action = top.clone().map_or(Action::Create, Action::Use);
            let requests = u64::from(top.is_none());
            self.steps.push(Step {
                target: number,
                item: String::new(),
                parent: String::new(),
                name: name.clone(),
                path: format!("{}/{name}", planned.path),
                container: true,
                action,
                cost: Cost { requests, units: requests, bytes: 0 },
            });
        }
        self.scopes.push(target.scope());
        let source = Arc::new(RepoSource::new(self.asked.view, state));
        let beside = folder.filter(|_| target.is_flat());
        self.targets.push(Open { planned, target, source, top, beside });
        self.by_key.insert(state.key.clone(), number);
        Ok(number)
    }

    /// The name of the container that a collection gets for itself; `None`: it goes in place. Where several collections go
    /// to one target, each has its own.
    fn folder_in(&self, target: &dyn Target, title: &str) -> Result<Option<String>> {
        let as_page = target.makes_pages();
        let shared = |open: &Open| open.planned.path == target.path() && !open.target.makes_pages();
        let shared = self.targets.iter().any(shared);
        match &self.asked.options.into {
            Into::Place if as_page => Err(Error::invalid(format!(
                "'{title}' cannot go back in place: it comes back as pages among the files"
            ))
            .with_hint("Leave --in-place away")),
            Into::Folder(name) if shared || as_page => Ok(Some(format!("{name} - {title}"))),
            Into::Folder(name) => Ok(Some(name.clone())),
            Into::Place if shared => {
                Err(Error::invalid(format!("'{title}' would be mixed with what else goes to {}", target.path()))
                    .with_hint("Restore it by itself, or into a folder"))
            }
            Into::Place => Ok(None),
        }
    }

    /// The level that a collection begins with.
    async fn top_level(&self, number: usize, path: &str) -> Result<Level> {
        let in_place = self.asked.options.into == Into::Place;
        let top = self.open(number)?.top.clone();
        Ok(Level {
            from: String::new(),
            path: path.to_owned(),
            there: match (in_place, self.asked.options.only) {
                (true, _) | (false, Only::Deleted | Only::Changed) => Some(String::new()),
                (false, Only::All) => top,
            },
            same_place: in_place || self.asked.options.only == Only::All,
        })
    }

    fn open(&self, number: usize) -> Result<&Open> {
        self.targets.get(number).ok_or_else(|| Error::internal("A step without a target"))
    }

    /// Plans one item alone, or a container with all that is below it.
    async fn single(&mut self, number: usize, record: Record, path: String) -> Result<()> {
        let source = self.open(number)?.source.clone();
        if self.open(number)?.target.comes_along(record.kind) {
            let holder = source.reader().get(&record.parent).await?;
            return Err(is_part(&record, holder.as_ref().unwrap_or(&record), &path));
        }
        let mut above = Vec::new();
        let mut parent = record.parent.clone();
        while !parent.is_empty() && above.len() < 200 {
            let Some(holder) = source.reader().get(&parent).await? else { break };
            if !self.open(number)?.target.is_container(holder.kind) {
                return Err(is_part(&record, &holder, &path));
            }
            parent.clone_from(&holder.parent);
            above.push(holder);
        }
        // The path of the collection, to which those of what holds it are added again.
        let parent_of = |path: &str| path.rsplit_once('/').map_or_else(String::new, |(above, _)| above.to_owned());
        let collection = above.iter().fold(parent_of(&path), |path, _| parent_of(&path));
        let (mut level, before) = (self.top_level(number, &collection).await?, self.steps.len());
        let in_place = self.asked.options.into == Into::Place;
        for holder in above.into_iter().rev() {
            let found = match &level.there {
                Some(there) => self.find(number, there, &holder).await?,
                None => None,
            };
            if in_place {
                self.container(number, &level, (&holder, &holder.name), found.as_deref())?;
            }
            let path = format!("{}/{}", level.path, holder.name);
            level = Level { from: holder.id, path, there: found, same_place: level.same_place };
        }
        if !in_place {
            // In a folder of its own it goes to the top.
            level.from = String::new();
            if level.same_place {
                level.there.clone_from(&self.open(number)?.top);
            }
        }
        self.siblings(number, &level, &Siblings::one(source.clone(), record)).await?;
        if self.asked.options.only != Only::All {
            self.drop_empty(before);
        }
        Ok(())
    }

    async fn find(&self, number: usize, there: &str, record: &Record) -> Result<Option<String>> {
        let open = self.open(number)?;
        let present = open.target.present(there).await?;
        Ok(Known::new(&present, &HashSet::new(), true).find(&*open.target, record).map(|found| found.id.clone()))
    }

    /// Plans all that is below a level.
    async fn level(&mut self, number: usize, level: Level) -> Result<()> {
        let siblings = Siblings::of(self.open(number)?.source.clone(), &level.from).await?;
        self.siblings(number, &level, &siblings).await
    }

    /// Plans siblings in the order of their ranks, those of a rank as they are listed.
    async fn siblings(&mut self, number: usize, level: &Level, siblings: &Siblings) -> Result<()> {
        let target = self.open(number)?.target.clone();
        let present = match &level.there {
            Some(there) => target.present(there).await?,
            None => Vec::new(),
        };
        // What has one of these ids is that item, also if it lies beside the one that is restored.
        let ids = if present.is_empty() { HashSet::new() } else { siblings.ids_around().await? };
        let mut ranks = BTreeSet::new();
        let mut pages = siblings.pages();
        while let Some(page) = pages.next().await? {
            self.around.stop.check()?;
            self.around.monitor.add(Counter::Items, page.len() as i64);
            ranks.extend(page.iter().map(|record| target.rank(record.kind)));
        }
        let beside = self.open(number)?.beside.clone().filter(|_| level.from.is_empty() && level.same_place);
        let present_beside = match &beside {
            Some(_) => target.present("").await?,
            None => Vec::new(),
        };
        let is_at_top = siblings.alone && self.asked.options.into != Into::Place && level.from.is_empty();
        let mut among = Among {
            target: &*target,
            // Items of a list are numbered: in another list, also one made anew, a number is another item's.
            known: Known::new(&present, &ids, level.there.as_ref() == Some(&siblings.parent)),
            known_beside: Known::new(&present_beside, &HashSet::new(), true),
            beside,
            is_apart: level.same_place && self.asked.options.into != Into::Place,
            is_at_top,
            top: if is_at_top { self.tops.remove(&number).unwrap_or_default() } else { AtTop::default() },
            names: present.iter().map(|present| present.identity.clone()).collect(),
            elsewhere: HashSet::new(),
        };
        for rank in ranks {
            let mut pages = siblings.pages();
            while let Some(page) = pages.next().await? {
                self.around.stop.check()?;
                let is_now = |record: &&Record| target.rank(record.kind) == rank && !target.comes_along(record.kind);
                let records: Vec<&Record> = page.iter().filter(is_now).collect();
                self.look_elsewhere(&records, &mut among).await?;
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

    /// Sees which of those that are not where they were were moved, and not deleted.
    async fn look_elsewhere(&self, records: &[&Record], among: &mut Among<'_>) -> Result<()> {
        among.elsewhere.clear();
        if self.asked.options.only != Only::Deleted {
            return Ok(());
        }
        let target = among.target;
        let gone = records.iter().copied().filter(|record| among.known.find(target, record).is_none());
        let look = |record: &Record| {
            let record = record.clone();
            async move { target.has_moved(&record).await.map(|moved| moved.then_some(record.id)) }
        };
        let mut looks = stream::iter(gone.map(look).collect::<Vec<_>>()).buffer_unordered(target.at_once());
        while let Some(moved) = looks.next().await {
            among.elsewhere.extend(moved?);
        }
        Ok(())
    }

    async fn sibling(&mut self, number: usize, level: &Level, record: &Record, among: &mut Among<'_>) -> Result<()> {
        let target = among.target;
        let named = among.is_at_top.then(|| Record { name: among.top.name(record, target), ..record.clone() });
        let named = named.as_ref().unwrap_or(record);
        // What is compared with where it was bears its own name there.
        let found = among.known.find(target, if level.same_place { named } else { record });
        if !target.is_container(record.kind) || !matches!(target.fit(record), Fit::Takes(_)) {
            self.item(number, level, (record, named), found, among);
            return Ok(());
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
        self.container(number, level, (record, &name), used)?;
        let path = format!("{}/{}", level.path, record.name);
        let below = Level { from: record.id.clone(), path, there, same_place: level.same_place };
        Box::pin(self.level(number, below)).await?;
        if self.asked.options.only != Only::All {
            self.drop_empty(before);
        }
        Ok(())
    }

    /// Takes containers out again into which nothing goes.
    fn drop_empty(&mut self, from: usize) {
        if !self.steps.iter_from(from).any(|step| !step.container && is_made(&step)) {
            for step in self.steps.iter_from(from).filter(|step| step.container) {
                self.containers.remove(&(step.target, step.item));
            }
            self.steps.truncate(from);
        }
    }

    fn container(
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
            Fit::Takes(cost) if there.is_none() => cost,
            _ => Cost::default(),
        };
        let action = there.map_or(Action::Create, |id| Action::Use(id.to_owned()));
        self.push(number, level, record, name, action, cost);
        Ok(())
    }

    fn push(&mut self, target: usize, level: &Level, record: &Record, name: &str, action: Action, cost: Cost) {
        let container = self.targets.get(target).is_some_and(|open| open.target.is_container(record.kind));
        if container {
            self.containers.insert((target, record.id.clone()));
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
    fn item(
        &mut self,
        number: usize,
        level: &Level,
        (record, named): (&Record, &Record),
        found: Option<&Present>,
        among: &mut Among<'_>,
    ) {
        let target = among.target;
        let is_there = found.is_some() || among.elsewhere.contains(&record.id);
        if matches!((self.asked.options.only, is_there), (Only::Deleted, true) | (Only::Changed, false)) {
            return;
        }
        let cost = match target.fit(record) {
            Fit::Takes(cost) => cost,
            Fit::Cannot(why) => {
                let stays = found.is_some() && level.same_place && self.asked.options.conflict == Conflict::Skip;
                let action = if stays { Action::Skip("it is there already".to_owned()) } else { Action::Cannot(why) };
                return self.push(number, level, record, &named.name, action, Cost::default());
            }
        };
        let options = &self.asked.options;
        let state = target.state(record);
        let same = found.is_some_and(|found| !state.is_empty() && found.state == state);
        if options.only == Only::Changed && same {
            return;
        }
        let skip = |why: &str| (Action::Skip(why.to_owned()), Cost::default());
        let mut name = named.name.clone();
        let (action, cost) = match (found, options.conflict) {
            (Some(_), _) if !level.same_place => (Action::Create, cost),
            (None, conflict) => {
                if conflict == Conflict::Copy {
                    among.names.insert(target.identity(named));
                }
                (Action::Create, cost)
            }
            (Some(_), Conflict::Skip) => skip("it is there already"),
            (Some(_), Conflict::Copy) => {
                name = free_name(named, target, &mut among.names);
                (Action::Copy, cost)
            }
            (Some(_), _) if same => skip("it is there already, the same"),
            (Some(found), Conflict::Newer) if found.modified_us >= record.modified_us => {
                skip("what is there was changed later")
            }
            (Some(found), _) => (Action::Overwrite(found.id.clone()), cost),
        };
        self.push(number, level, record, &name, action, cost);
    }
}

/// Says whether something is made or changed in a step.
fn is_made(step: &Step) -> bool {
    matches!(step.action, Action::Create | Action::Copy | Action::Overwrite(_))
}
