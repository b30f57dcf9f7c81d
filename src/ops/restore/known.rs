//! What is there already in the containers that a restore goes into, and names that are free there.

use std::collections::{HashMap, HashSet};

use crate::format::record::{ItemKind, Record};
use crate::m365::restore::{Present, Target};

/// A container as a restore into one of its own makes it: something new that is called so, and not the one that there is once
/// (the inbox, the default calendar).
pub(super) fn apart(record: &Record, name: String) -> Record {
    Record::new(record.kind, "", "", name)
}

/// A name for a copy that nothing has yet, where names tell things apart.
pub(super) fn free_name(record: &Record, target: &dyn Target, names: &mut HashSet<String>) -> String {
    let (stem, ending) = match record.name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => (stem, format!(".{ending}")),
        _ => (record.name.as_str(), String::new()),
    };
    for number in 1..10_000 {
        let more = if number == 1 { " (restored)".to_owned() } else { format!(" (restored {number})") };
        let name = format!("{stem}{more}{ending}");
        let renamed = Record { name: name.clone(), ..record.clone() };
        let identity = target.identity(&renamed);
        if identity == target.identity(record) {
            // What tells things apart is no name: the copy keeps its own.
            return record.name.clone();
        }
        if names.insert(identity) {
            return name;
        }
    }
    record.name.clone()
}

/// What goes to the top of a restore's own container: what is asked for one by one comes from several places, and may bear one
/// name.
#[derive(Default)]
pub(super) struct AtTop {
    /// What goes there from other places, by identity.
    others: HashSet<String>,
    /// What goes there from this one.
    names: Vec<String>,
    /// Containers there that one of them goes into already.
    pub(super) taken: HashSet<String>,
}

impl AtTop {
    /// The name that something gets there, which nothing from elsewhere has.
    pub(super) fn name(&mut self, record: &Record, target: &dyn Target) -> String {
        if !target.tells_by_name(record.kind) {
            return record.name.clone();
        }
        let (stem, ending) = match record.name.rsplit_once('.') {
            Some((stem, ending)) if !stem.is_empty() && !target.is_container(record.kind) => {
                (stem, format!(".{ending}"))
            }
            _ => (record.name.as_str(), String::new()),
        };
        let identity = |name: &str| target.identity(&apart(record, name.to_owned()));
        let mut name = record.name.clone();
        for number in 2..10_000 {
            if !self.others.contains(&identity(&name)) {
                break;
            }
            name = format!("{stem} ({number}){ending}");
        }
        self.names.push(identity(&name));
        name
    }

    /// Takes note that something goes there under a name that was chosen otherwise.
    pub(super) fn took(&mut self, record: &Record, name: &str, target: &dyn Target) {
        if target.tells_by_name(record.kind) {
            self.names.push(target.identity(&apart(record, name.to_owned())));
        }
    }

    /// What goes there from other places, by identity.
    pub(super) fn others(&self) -> impl Iterator<Item = &String> {
        self.others.iter()
    }

    /// Goes on to another place.
    pub(super) fn seen(mut self) -> Self {
        self.others.extend(self.names.drain(..));
        self
    }
}

/// What is in a container, by id and by identity. An item that is found by its identity is one of the snapshot's, and no other
/// one that is called alike.
pub(super) struct Known<'a> {
    by_id: HashMap<&'a str, &'a Present>,
    by_identity: HashMap<&'a str, Vec<&'a Present>>,
    /// What was found by its identity, by the id in the snapshot.
    given: HashMap<String, &'a Present>,
    /// The ids of these.
    taken: HashSet<&'a str>,
}

impl<'a> Known<'a> {
    /// `ids`: those of the snapshot. What has one of them is that item, and none that is like it; an item of a list only if it
    /// is the list that it came from (`in_own`).
    pub(super) fn new(present: &'a [Present], ids: &HashSet<String>, in_own: bool) -> Self {
        let has_own_id = |present: &&Present| in_own || present.kind != ItemKind::ListItem;
        let mut by_identity: HashMap<&'a str, Vec<&'a Present>> = HashMap::new();
        for other in present.iter().filter(|present| !has_own_id(present) || !ids.contains(&present.id)) {
            by_identity.entry(other.identity.as_str()).or_default().push(other);
        }
        let by_id = present.iter().filter(has_own_id).map(|present| (present.id.as_str(), present)).collect();
        Self { by_id, by_identity, given: HashMap::new(), taken: HashSet::new() }
    }

    /// Finds the container that a restore into one of its own made of this one, each once.
    pub(super) fn find_apart(
        &mut self,
        target: &dyn Target,
        record: &Record,
        taken: &mut HashSet<String>,
    ) -> Option<String> {
        for name in target.names_of(record.kind, &record.name) {
            let found = self.find(target, &apart(record, name));
            if let Some(found) = found.filter(|found| !taken.contains(&found.id)) {
                taken.insert(found.id.clone());
                return Some(found.id.clone());
            }
        }
        None
    }

    /// Finds what an item of the snapshot is there: by its id, else what has its identity and was found for no other one.
    pub(super) fn find(&mut self, target: &dyn Target, record: &Record) -> Option<&'a Present> {
        let is_container = target.is_container(record.kind);
        let same = |found: &&'a Present| found.kind.is_container() == is_container;
        let known = self.by_id.get(record.id.as_str()).copied().filter(same);
        if let Some(found) = known.or_else(|| self.given.get(&record.id).copied().filter(same)) {
            return Some(found);
        }
        let alike = self.by_identity.get(target.identity(record).as_str())?;
        let mut alike = alike.iter().rev().copied().filter(same);
        let found = alike.find(|found| !self.taken.contains(found.id.as_str()))?;
        // What goes into containers of one name comes together.
        if !is_container {
            self.taken.insert(found.id.as_str());
            self.given.insert(record.id.clone(), found);
        }
        Some(found)
    }

    /// Says whether what was found is that item by its id, and not by what it is called.
    pub(super) fn is_itself(&self, found: &Present, record: &Record) -> bool {
        self.by_id.get(record.id.as_str()).is_some_and(|own| own.id == found.id)
    }
}
