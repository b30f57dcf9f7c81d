//! Making a plan: what lies at the places asked for, where each item goes, and what is there already.

mod folders;
mod level;
mod moved;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use self::folders::Folders;
use self::level::Level;
use self::moved::Moves;
use super::known::{AtTop, Known};
use super::place::{Taker, destination, taker};
use super::refused::{explain, is_of_target, is_part, is_refused, may_write};
use super::siblings::Siblings;
use super::source::RepoSource;
use super::{
    Action, Around, Into, Only, PLAN_VERSION, Plan, PlannedTarget, RestoreOptions, Step, Steps, To, run_name, time,
};
use crate::error::{Error, Result};
use crate::format::record::Record;
use crate::format::snapshot::CollectionState;
use crate::graph::{Client, Scope};
use crate::m365::CollectionKey;
use crate::m365::restore::{self, Cost, Present, Target};
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
        folders: Folders::default(),
        chain: BTreeMap::new(),
        moves: Moves::default(),
        without: Vec::new(),
        unplaced: HashMap::new(),
        brought: HashMap::new(),
    };
    for wanted in wanted(asked.view, &asked.paths).await? {
        match wanted {
            Wanted::Place(place) => planner.place(place).await?,
            Wanted::Picked(state, picked) => planner.collection(&state, picked).await?,
        }
    }
    planner.drop_unused_tops();
    let Planner { targets, scopes, steps, mut without, unplaced, brought, .. } = planner;
    // What comes back with something else needs no place of its own.
    let comes: HashSet<&String> = brought.values().filter_map(|key| unplaced.get(key)).collect();
    without.retain(|(path, _)| !comes.contains(path));
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

/// What is asked for at one place.
enum Wanted {
    /// All that is there.
    Place(Place),
    /// Items that lie beside one another in a collection, each with its path.
    Picked(Box<CollectionState>, Vec<(Record, String)>),
}

/// Finds what lies at the paths. What was picked in one folder comes together: the folder is looked at once.
async fn wanted(view: &View, paths: &[String]) -> Result<Vec<Wanted>> {
    let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    paths.sort_unstable();
    paths.dedup();
    // What lies below another one comes with it.
    let all = paths.clone();
    let is_below = |path: &str, above: &str| match path.strip_prefix(above) {
        Some(rest) => path != above && (above.is_empty() || above.ends_with('/') || rest.starts_with('/')),
        None => false,
    };
    paths.retain(|path| !all.iter().any(|above| is_below(path, above)));
    let mut wanted = Vec::new();
    let mut by_parent: HashMap<(String, String), usize> = HashMap::new();
    let mut picked_before: HashSet<(String, String)> = HashSet::new();
    for path in paths {
        let (state, record, path) = match view.resolve(path).await? {
            Place::Item(state, record, path) => (state, *record, path),
            place => {
                wanted.push(Wanted::Place(place));
                continue;
            }
        };
        // One item has two names: with the mark that tells it from others, and without.
        if !picked_before.insert((state.key.clone(), record.id.clone())) {
            continue;
        }
        let number = *by_parent.entry((state.key.clone(), record.parent.clone())).or_insert(wanted.len());
        match wanted.get_mut(number) {
            Some(Wanted::Picked(_, picked)) => picked.push((record, path)),
            _ => wanted.push(Wanted::Picked(state, vec![(record, path)])),
        }
    }
    Ok(wanted)
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
    /// The names of the restore's own containers.
    folders: Folders,
    /// By depth: a target, a container of it, and what lies there: that of what was picked last and of all above it.
    chain: BTreeMap<usize, (usize, String, Arc<Vec<Present>>)>,
    /// What was asked of what is not where it was.
    moves: Moves,
    /// Collections that have no target, by path, and why.
    without: Vec<(String, Error)>,
    /// Their paths by their keys.
    unplaced: HashMap<String, String>,
    /// The keys of collections that come back with containers, by target and container.
    brought: HashMap<(usize, String), String>,
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
            Place::Top(state) => self.collection(&state, Vec::new()).await,
            Place::Item(state, record, path) => self.collection(&state, vec![(*record, path)]).await,
            Place::Parts(_, _, path) => Err(Error::invalid(format!("'{path}' hangs below an item"))
                .with_hint("Restore the item itself: what hangs below it comes with it")),
            Place::Beside(_, _, path) => Err(Error::invalid(format!("'{path}' shows an item, and is none"))
                .with_hint("Restore the item itself, which stands beside it")),
        }
    }

    /// Plans a collection, or what was picked in it.
    async fn collection(&mut self, state: &CollectionState, picked: Vec<(Record, String)>) -> Result<()> {
        let is_alone = !picked.is_empty() || self.asked.paths.contains(&state.name);
        let number = match self.target(state).await {
            Ok(number) => number,
            // Of a whole user some parts may have no way back; who asks for one of them is told.
            // One that refuses keeps nothing else from coming back.
            Err(e) if is_of_target(&e) && !is_alone => {
                self.without.push((state.name.clone(), e));
                self.unplaced.insert(state.key.clone(), state.name.clone());
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        if picked.is_empty() {
            let level = self.top_level(number, &state.name)?;
            return self.level(number, level).await;
        }
        self.picked(number, picked).await
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
        if self.asked.options.only == Only::Changed && !target.tells_changes() {
            return Err(Error::invalid(format!("What was changed in {} cannot be told", target.path()))
                .with_hint("Leave --only changed away"));
        }
        target.probe().await.map_err(|e| explain(e, &to.name))?;
        may_write(target.permission(), (self.granted.as_deref(), self.client.caller()), &self.asked.grantee)?;
        let owner = state.name.split('/').nth(1).unwrap_or_default();
        let folder = self.folder_in(&*target, owner, &to.title)?;
        let top = match &folder {
            Some(name) => target.find_top(name).await?.map(|made| made.id),
            None => None,
        };
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
    fn folder_in(&mut self, target: &dyn Target, owner: &str, title: &str) -> Result<Option<String>> {
        let (asked, place, as_page) = (self.asked, target.place(), target.makes_pages());
        match &asked.options.into {
            Into::Place if as_page => Err(Error::invalid(format!(
                "'{title}' cannot go back in place: it comes back as pages among the files"
            ))
            .with_hint("Leave --in-place away")),
            Into::Place if self.folders.fill(&place) => {
                Err(Error::invalid(format!("'{title}' would be mixed with what else goes to {}", target.path()))
                    .with_hint("Restore it by itself, or into a folder"))
            }
            Into::Place => Ok(None),
            Into::Folder(_) if !target.takes_folder() => {
                Err(Error::invalid(format!("{} has no folders to restore into", target.path()))
                    .with_hint("Restore it in place, with --in-place"))
            }
            Into::Folder(name) => Ok(Some(self.folders.name(&place, name, (owner, title), as_page))),
        }
    }

    /// The level that a collection begins with.
    fn top_level(&self, number: usize, path: &str) -> Result<Level> {
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

    /// Plans what was picked in one folder: items, and containers with all that is below them.
    async fn picked(&mut self, number: usize, picked: Vec<(Record, String)>) -> Result<()> {
        let Some((first, path)) = picked.first() else { return Ok(()) };
        let (parent, source) = (first.parent.clone(), self.open(number)?.source.clone());
        for (record, path) in &picked {
            if self.open(number)?.target.comes_along(record.kind) {
                let holder = source.reader().get(&parent).await?;
                return Err(is_part(record, holder.as_ref().unwrap_or(record), path));
            }
        }
        let (mut above, mut at) = (Vec::new(), parent.clone());
        while !at.is_empty() && above.len() < 200 {
            let Some(holder) = source.reader().get(&at).await? else { break };
            if !self.open(number)?.target.is_container(holder.kind) {
                return Err(is_part(first, &holder, path));
            }
            at.clone_from(&holder.parent);
            above.push(holder);
        }
        // The path of the collection, to which those of what holds it are added again.
        let parent_of = |path: &str| path.rsplit_once('/').map_or_else(String::new, |(above, _)| above.to_owned());
        let collection = above.iter().fold(parent_of(path), |path, _| parent_of(&path));
        let (mut level, before) = (self.top_level(number, &collection)?, self.steps.len());
        let in_place = self.asked.options.into == Into::Place;
        let mut depth = 0;
        for holder in above.into_iter().rev() {
            let found = match level.there.take() {
                Some(there) => match self.find(depth, number, &there, &holder).await? {
                    Ok(found) => found,
                    Err(e) => return self.not_found(number, &picked, &e),
                },
                None => None,
            };
            if in_place {
                self.container(number, &level, (&holder, &holder.name), found.as_deref()).await?;
            }
            let path = format!("{}/{}", level.path, holder.name);
            level = Level { from: holder.id, path, there: found, same_place: level.same_place };
            depth += 1;
        }
        if !in_place {
            // In a folder of its own it goes to the top.
            level.from = String::new();
            if level.same_place {
                level.there.clone_from(&self.open(number)?.top);
                depth = 0;
            }
        }
        let present = match &level.there {
            Some(there) => match self.listed(depth, number, there).await? {
                Ok(present) => present,
                Err(e) => return self.not_found(number, &picked, &e),
            },
            None => Arc::default(),
        };
        let records = picked.into_iter().map(|(record, _)| record).collect();
        self.siblings(number, &level, &Siblings::some(source, &parent, records), &present).await?;
        if self.asked.options.only != Only::All {
            self.drop_empty(before);
        }
        Ok(())
    }

    async fn find(
        &mut self,
        depth: usize,
        number: usize,
        there: &str,
        record: &Record,
    ) -> Result<Result<Option<String>>> {
        let listed = self.listed(depth, number, there).await?;
        let target = &self.open(number)?.target;
        let find = |present: Arc<Vec<Present>>| {
            Known::new(&present, &HashSet::new(), true).find(&**target, record).map(|found| found.id.clone())
        };
        Ok(listed.map(find))
    }

    /// What lies in a container of a target, which is asked once for all that is picked below it one after another. The inner
    /// error is of that container alone.
    async fn listed(&mut self, depth: usize, number: usize, there: &str) -> Result<Result<Arc<Vec<Present>>>> {
        match self.chain.get(&depth) {
            Some((of, container, present)) if (*of, container.as_str()) == (number, there) => Ok(Ok(present.clone())),
            _ => {
                self.chain.retain(|at, _| *at < depth);
                let present = match self.look(number, there).await? {
                    Ok(present) => Arc::new(present),
                    Err(e) => return Ok(Err(e)),
                };
                self.chain.insert(depth, (number, there.to_owned(), present.clone()));
                Ok(Ok(present))
            }
        }
    }
}

/// Says whether something is made or changed in a step.
fn is_made(step: &Step) -> bool {
    matches!(step.action, Action::Create | Action::Copy | Action::Overwrite(_))
}
