//! A plan that lay for a while: what came meanwhile to where its items go is not made a second time.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use super::journal::Known;
use super::known::apart;
use super::source::RepoSource;
use super::{Action, Step};
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record};
use crate::m365::restore::{Made, Present, Target};

/// A plan that is older is looked at again.
const OLD_US: i64 = 5 * 60 * 1_000_000;
/// What is said of an item that is there by now.
pub(super) const CAME: &str = "it is there already: it came after the plan was made";

/// What a run made so far, of which the plan is old.
pub(super) struct Own {
    /// The ids of what it made, or may have made, before it went on.
    known: Arc<HashSet<String>>,
    plan: Accounted,
    since: Mutex<Since>,
}

/// What a plan accounts for: ids as hashes, as a plan may be long.
#[derive(Default)]
struct Accounted {
    keys: RandomState,
    /// The items in the snapshot that stand for nothing that is there, or for what is named.
    items: HashSet<u64>,
    /// The ids in the target of what is overwritten and used.
    named: HashSet<u64>,
}

impl Accounted {
    fn of(steps: impl Iterator<Item = Step>) -> Self {
        let mut all = Self::default();
        for step in steps {
            if let Action::Overwrite(id) | Action::Use(id) = &step.action {
                all.named.insert(all.keys.hash_one(id.as_str()));
            } else if step.action != Action::Create {
                continue;
            }
            all.items.insert(all.keys.hash_one(step.item.as_str()));
        }
        all
    }

    fn has(&self, item: &str) -> bool {
        self.items.contains(&self.keys.hash_one(item))
    }

    fn names(&self, id: &str) -> bool {
        self.named.contains(&self.keys.hash_one(id))
    }
}

/// What was made since.
#[derive(Default)]
struct Since {
    ids: HashSet<String>,
    /// The ids in the snapshot of containers: nothing else was in them.
    containers: HashSet<String>,
}

impl Own {
    /// What a run made by its journal; `None`: its plan is new.
    pub(super) fn of(run: &str, now_us: i64, state: &HashMap<usize, Known>) -> Option<Arc<HashSet<String>>> {
        let planned_us = super::time_of_run(run)?;
        if now_us.saturating_sub(planned_us) <= OLD_US {
            return None;
        }
        let mut ids = HashSet::new();
        for known in state.values() {
            let (Known::Done { undo, .. } | Known::Begun { undo } | Known::Failed { undo, .. }) = known else {
                continue;
            };
            ids.extend(undo.iter().map(|one| one.id().to_owned()));
            if let Known::Done { id, .. } = known {
                ids.insert(id.clone());
            }
        }
        Some(Arc::new(ids))
    }

    /// The same for one target, of which these are the steps.
    pub(super) fn new(known: Arc<HashSet<String>>, steps: impl Iterator<Item = Step>) -> Self {
        Self { known, plan: Accounted::of(steps), since: Mutex::default() }
    }

    /// Takes note of what a step made, by the item's id in the snapshot if it holds others.
    pub(super) fn made(&self, made: &Made, container: Option<&str>) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.ids.insert(made.id.clone());
        since.containers.extend(container.filter(|_| !made.undo.is_empty()).map(str::to_owned));
    }

    /// Says whether this run made a container just now.
    pub(super) fn has_container(&self, item: &str) -> bool {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).containers.contains(item)
    }

    fn has(&self, id: &str) -> bool {
        self.known.contains(id) || self.since.lock().unwrap_or_else(PoisonError::into_inner).ids.contains(id)
    }
}

/// What is in the containers of a target by now. Each is listed when the first step comes to it.
pub(super) struct Looks {
    /// The restore goes into a container of its own.
    is_apart: bool,
    /// The containers in each that was listed.
    containers: HashMap<String, Vec<Present>>,
    /// The items in the one that was listed last.
    items: Option<(String, Items)>,
    /// Those that could not be listed.
    closed: HashSet<String>,
}

/// Items of one container; each is found once.
#[derive(Default)]
struct Items {
    by_id: HashSet<String>,
    by_identity: HashMap<String, Vec<String>>,
}

impl Looks {
    pub(super) fn new(is_apart: bool) -> Self {
        Self { is_apart, containers: HashMap::new(), items: None, closed: HashSet::new() }
    }

    /// Gives the id of what an item is in a container of the target by now, if that is none of the run's own.
    pub(super) async fn find(
        &mut self,
        target: &dyn Target,
        (record, name, parent): (&Record, &str, &str),
        source: &RepoSource,
        own: &Own,
    ) -> Result<Option<String>> {
        let is_container = target.is_container(record.kind);
        // Where they cannot lie in one another, they lie at the top.
        let parent = if is_container && target.is_flat() { "" } else { parent };
        let is_listed = match (is_container, &self.items) {
            (true, _) => self.containers.contains_key(parent),
            (false, Some((listed, _))) => listed == parent,
            (false, None) => false,
        };
        if !is_listed {
            self.list(target, (record, parent), source, own).await?;
        }
        if !is_container {
            return Ok(self.items.as_mut().and_then(|(_, items)| items.take(record, &target.identity(record))));
        }
        let wanted = if self.is_apart { apart(record, name.to_owned()) } else { record.clone() };
        let identity = target.identity(&wanted);
        let all = self.containers.entry(parent.to_owned()).or_default();
        let by_id = all.iter().position(|one| one.id == wanted.id);
        let found = by_id.or_else(|| all.iter().position(|one| one.identity == identity));
        Ok(found.map(|at| all.swap_remove(at).id))
    }

    async fn list(
        &mut self,
        target: &dyn Target,
        (record, parent): (&Record, &str),
        source: &RepoSource,
        own: &Own,
    ) -> Result<()> {
        if self.closed.contains(parent) {
            return Err(Error::not_found("What came to where it goes since the plan was made could not be seen"));
        }
        let present = match target.present(parent).await {
            Ok(present) => present,
            Err(e) => {
                self.closed.insert(parent.to_owned());
                return Err(e);
            }
        };
        // What has one of these ids is that item, also if it is like this one.
        let (mut ids, reader) = (HashSet::new(), source.reader());
        let mut all = reader.child_ids(&record.parent);
        while let Some(id) = all.next().await? {
            ids.insert(id);
        }
        let in_own = parent == record.parent;
        let (mut containers, mut items) = (Vec::new(), Items::default());
        for one in present.into_iter().filter(|one| !own.has(&one.id) && !own.plan.names(&one.id)) {
            if target.is_container(one.kind) {
                containers.push(one);
                continue;
            }
            // Items of a list are numbered: in another one a number is another item's.
            let has_own_id = in_own || one.kind != ItemKind::ListItem;
            if !has_own_id || !ids.contains(&one.id) {
                items.by_identity.entry(one.identity).or_default().push(one.id.clone());
            }
            if has_own_id {
                items.by_id.insert(one.id);
            }
        }
        items.leave_out(&ids, target, source, own).await?;
        self.containers.entry(parent.to_owned()).or_insert(containers);
        self.items = Some((parent.to_owned(), items));
        Ok(())
    }
}

impl Items {
    fn take(&mut self, record: &Record, identity: &str) -> Option<String> {
        if self.by_id.contains(&record.id) {
            return Some(record.id.clone());
        }
        self.give(identity)
    }

    /// Leaves out what the plan found there for others of the snapshot (`ids`), or may have: it did not come since.
    async fn leave_out(
        &mut self,
        ids: &HashSet<String>,
        target: &dyn Target,
        source: &RepoSource,
        own: &Own,
    ) -> Result<()> {
        let reader = source.reader();
        for id in ids {
            if self.by_identity.is_empty() {
                break;
            }
            if own.plan.has(id) || self.by_id.contains(id) {
                continue;
            }
            if let Some(other) = reader.get(id).await?.filter(|other| !target.is_container(other.kind)) {
                self.give(&target.identity(&other));
            }
        }
        Ok(())
    }

    /// Gives one that is like that, once.
    fn give(&mut self, identity: &str) -> Option<String> {
        let alike = self.by_identity.get_mut(identity)?;
        let given = alike.pop();
        if alike.is_empty() {
            self.by_identity.remove(identity);
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::m365::restore::{Cost, Undo};
    use crate::ops::restore::run_name;

    #[test]
    fn a_plan_of_some_minutes_is_looked_at_again_but_for_what_its_run_made() {
        let run = run_name(1_795_000_000_000_000);
        let undo = vec![Undo::Delete { kind: ItemKind::Message, id: "half".into(), parent: String::new() }];
        let done = Known::Done { id: "done".into(), undo: Vec::new(), notes: Vec::new(), state: String::new() };
        let state = HashMap::from([(1, done), (2, Known::Begun { undo }), (3, Known::Undone)]);
        assert!(Own::of(&run, 1_795_000_100_000_000, &state).is_none());
        let known = Own::of(&run, 1_795_000_400_000_000, &state).expect("an old plan");
        let own = Own::new(known, std::iter::empty());
        assert!(own.has("done") && own.has("half") && !own.has("theirs"));
        own.made(&Made::new(ItemKind::MailFolder, "new", ""), Some("of snapshot"));
        own.made(&Made { id: "found".into(), ..Made::default() }, Some("there before"));
        assert!(own.has("new") && own.has_container("of snapshot") && !own.has_container("there before"));
    }

    #[test]
    fn a_plan_accounts_for_what_it_makes_and_for_what_it_names() {
        let step = |item: &str, action| Step {
            target: 0,
            item: item.into(),
            parent: String::new(),
            name: "Call".into(),
            path: "Tasks/Call".into(),
            container: false,
            action,
            cost: Cost::default(),
        };
        let actions = [
            ("made", Action::Create),
            ("over", Action::Overwrite("theirs".into())),
            ("left", Action::Skip("it is there".into())),
        ];
        let all = Accounted::of(actions.into_iter().map(|(item, action)| step(item, action)));
        assert!(all.has("made") && all.has("over") && !all.has("left") && !all.has("of no step"));
        assert!(all.names("theirs") && !all.names("made"));
        let mut items = Items::default();
        items.by_identity.insert("a".into(), vec!["1".into()]);
        assert_eq!((items.give("b"), items.give("a"), items.give("a")), (None, Some("1".into()), None));
        assert!(items.by_identity.is_empty());
    }

    #[test]
    fn each_item_that_is_there_stands_for_one() {
        let mut items = Items::default();
        items.by_id.insert("1".into());
        items.by_identity.insert("a".into(), vec!["2".into()]);
        let mut take = |id: &str| items.take(&Record::new(ItemKind::Message, id, "", "a"), "a");
        assert_eq!((take("1"), take("3"), take("4")), (Some("1".into()), Some("2".into()), None));
    }
}
