//! Who is in the groups that rules name: asked for group by group, and kept with the rest of what is known of a tenant.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;

use super::{Contents, Kind, Read};
use crate::graph::Client;
use crate::m365::discover::members_of;

/// Groups whose members are asked for; with more, people are told that they are not counted.
const MOST_GROUPS: usize = 40;
/// Members kept of one tenant.
const MOST_KEPT: usize = 2_000_000;
/// Groups asked at once.
const AT_ONCE: usize = 8;
/// How long that may take while somebody waits.
const PATIENCE: Duration = Duration::from_secs(15);

type Places = Arc<HashSet<usize>>;

/// What was asked for: the places of its members, by a group's id.
#[derive(Debug, Default)]
pub(crate) struct Members(Mutex<HashMap<String, Places>>);

/// Groups that rules name, with who is in them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Named {
    /// Names, and the places of members.
    groups: Vec<(Vec<String>, Places)>,
    /// What could not be found out.
    pub(crate) notes: Vec<String>,
}

impl Named {
    /// The names of the groups that a user is in.
    pub(super) fn of(&self, place: usize) -> impl Iterator<Item = &str> {
        let has = self.groups.iter().filter(move |(_, members)| members.contains(&place));
        has.flat_map(|(names, _)| names.iter().map(String::as_str))
    }

    /// One group with its members.
    #[cfg(test)]
    pub(crate) fn of_one(group: &super::Item<'_>, members: &[usize]) -> Self {
        let names = group.group_names().into_iter().map(str::to_owned).collect();
        Self { groups: vec![(names, Arc::new(members.iter().copied().collect()))], notes: Vec::new() }
    }
}

impl Members {
    /// About how much they take in memory.
    pub(super) fn bytes(&self) -> usize {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.values().map(|places| places.len() * 16 + 64).sum()
    }

    fn known(&self, group: &str) -> Option<Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(group).cloned()
    }

    fn keep(&self, group: &str, places: &Places) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.values().map(|places| places.len()).sum::<usize>() + places.len() > MOST_KEPT {
            kept.clear();
        }
        kept.insert(group.to_owned(), places.clone());
    }

    /// Finds who is in the groups that rules name.
    pub(crate) async fn named(&self, contents: &Contents, client: &Client, read: &Read) -> Named {
        let mut named = Named::default();
        let groups = groups(contents, read);
        if groups.len() > MOST_GROUPS {
            named.notes.push(format!(
                "Rules name {} groups: the members of the first {MOST_GROUPS} alone are counted here, and a run takes all",
                groups.len()
            ));
        }
        if groups.is_empty() {
            return named;
        }
        let users = contents.items(Kind::Users).filter_map(|item| Some((item.id(), item.place?)));
        let ids: HashMap<&str, usize> = users.collect();
        let mut asks = Vec::new();
        for (id, names) in groups.into_iter().take(MOST_GROUPS) {
            asks.push(self.ask(client, &ids, id, names));
        }
        let mut asked = futures::stream::iter(asks).buffer_unordered(AT_ONCE);
        while let Some((names, places)) = asked.next().await {
            match places {
                Ok(places) => named.groups.push((names, places)),
                Err(why) => {
                    let name = names.first().map_or("", String::as_str);
                    named.notes.push(format!("The members of group '{name}' are not counted: {why}"));
                }
            }
        }
        named
    }

    /// Who is in one group.
    async fn ask(
        &self,
        client: &Client,
        ids: &HashMap<&str, usize>,
        id: String,
        names: Vec<String>,
    ) -> (Vec<String>, Result<Places, String>) {
        if let Some(known) = self.known(&id) {
            return (names, Ok(known));
        }
        let all = match tokio::time::timeout(PATIENCE, members_of(client, &id)).await {
            Ok(Ok(all)) => all,
            Ok(Err(e)) => return (names, Err(e.chain())),
            Err(_) => return (names, Err("Microsoft did not answer in time".to_owned())),
        };
        let places = Places::new(all.iter().filter_map(|id| ids.get(id.as_str()).copied()).collect());
        self.keep(&id, &places);
        (names, Ok(places))
    }
}

/// The ids and names of the groups that rules name, also of those that own nothing.
fn groups(contents: &Contents, read: &Read) -> Vec<(String, Vec<String>)> {
    let subjects: Vec<_> = read.groups().collect();
    if subjects.is_empty() {
        return Vec::new();
    }
    let nobody = Named::default();
    let is_named = |item: &super::Item<'_>| {
        let facts = item.facts(&nobody);
        subjects.iter().any(|subject| subject.applies_to(&facts))
    };
    let found = contents.items(Kind::Groups).filter(is_named);
    found.map(|item| (item.id().to_owned(), item.group_names().into_iter().map(str::to_owned).collect())).collect()
}
