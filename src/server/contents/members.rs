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
        let subjects: Vec<_> = read.groups().collect();
        let mut named = Named::default();
        if subjects.is_empty() {
            return named;
        }
        let facts = Named::default();
        // The group as such, also one that owns nothing.
        let groups: Vec<(&str, Vec<&str>)> = contents
            .items(Kind::Groups)
            .filter(|item| {
                let facts = item.facts(&facts);
                subjects.iter().any(|subject| subject.applies_to(&facts))
            })
            .map(|item| (item.id(), item.group_names()))
            .collect();
        if groups.len() > MOST_GROUPS {
            named.notes.push(format!(
                "Rules name {} groups: the members of the first {MOST_GROUPS} alone are counted here, and a run takes all",
                groups.len()
            ));
        }
        let ids: HashMap<&str, usize> =
            contents.items(Kind::Users).filter_map(|item| Some((item.id(), item.place?))).collect();
        let mut asked = futures::stream::iter(groups.into_iter().take(MOST_GROUPS))
            .map(|(id, names)| {
                let ids = &ids;
                async move {
                    if let Some(known) = self.known(id) {
                        return (names, Ok(known));
                    }
                    let found = tokio::time::timeout(PATIENCE, members_of(client, id)).await;
                    let found = found.map_err(|_| "Microsoft did not answer in time".to_owned());
                    let found = found.and_then(|found| found.map_err(|e| e.to_string()));
                    let places = found.map(|all| {
                        Places::new(all.iter().filter_map(|id| ids.get(id.as_str()).copied()).collect())
                    });
                    if let Ok(places) = &places {
                        self.keep(id, places);
                    }
                    (names, places)
                }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((names, places)) = asked.next().await {
            match places {
                Ok(places) => named.groups.push((names.into_iter().map(str::to_owned).collect(), places)),
                Err(why) => named.notes.push(format!(
                    "The members of group '{}' are not counted: {why}",
                    names.first().copied().unwrap_or_default()
                )),
            }
        }
        named
    }
}
