//! Baskets: what somebody has picked from snapshots, to restore or to download it. For one session or token and one
//! repository, in memory: it ends with them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::auth::Actor;
use super::id::Id;
use crate::error::{Error, Result};
use crate::ops::browse::Origin;

/// The most that a basket holds: whoever wants more picks the folder.
pub(crate) const MOST: usize = 1_000;
/// The most baskets at once; the one that nobody touched for longest goes.
const MOST_BASKETS: usize = 1_000;

/// All baskets.
#[derive(Default)]
pub(crate) struct Baskets {
    all: Mutex<HashMap<(String, Id), Basket>>,
}

#[derive(Default)]
struct Basket {
    items: Vec<Origin>,
    touched_us: i64,
}

impl Baskets {
    /// What is in somebody's basket, in the order in which it was picked.
    pub(crate) fn of(&self, actor: &Actor, repository: &Id) -> Vec<Origin> {
        self.with(|all| all.get(&name(actor, repository)).map(|basket| basket.items.clone()).unwrap_or_default())
    }

    /// Puts something in, once.
    ///
    /// # Errors
    /// `InvalidInput` when it is full.
    pub(crate) fn add(&self, actor: &Actor, repository: &Id, new: Vec<Origin>, now_us: i64) -> Result<()> {
        self.with(|all| {
            let name = name(actor, repository);
            if all.len() >= MOST_BASKETS
                && !all.contains_key(&name)
                && let Some(oldest) = all.iter().min_by_key(|(_, basket)| basket.touched_us).map(|(n, _)| n.clone())
            {
                all.remove(&oldest);
            }
            let basket = all.entry(name).or_default();
            basket.touched_us = now_us;
            for item in new {
                if basket.items.contains(&item) {
                    continue;
                }
                if basket.items.len() >= MOST {
                    return Err(Error::invalid(format!("A basket holds {MOST} things at most"))
                        .with_hint("Pick the folder in place of what is in it"));
                }
                basket.items.push(item);
            }
            Ok(())
        })
    }

    /// Takes something out.
    pub(crate) fn remove(&self, actor: &Actor, repository: &Id, item: &Origin) {
        self.with(|all| {
            if let Some(basket) = all.get_mut(&name(actor, repository)) {
                basket.items.retain(|known| known != item);
            }
        });
    }

    /// Empties it.
    pub(crate) fn empty(&self, actor: &Actor, repository: &Id) {
        self.with(|all| drop(all.remove(&name(actor, repository))));
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<(String, Id), Basket>) -> T) -> T {
        work(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn name(actor: &Actor, repository: &Id) -> (String, Id) {
    (actor.way.clone(), repository.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::id::SnapshotId;
    use crate::server::auth::Role;

    #[test]
    fn a_basket_is_of_one_session_holds_each_once_and_has_an_end() {
        let actor = |way: &str| Actor {
            person: Id::random(),
            login: "x".into(),
            role: Role::Owner,
            account: None,
            session: None,
            way: way.into(),
            address: String::new(),
        };
        let (baskets, repository) = (Baskets::default(), Id::random());
        let item = |number: usize| Origin { snapshot: SnapshotId([1; 32]), path: format!("{number}") };
        baskets.add(&actor("a"), &repository, vec![item(1), item(2), item(1)], 0).expect("room");
        assert_eq!(baskets.of(&actor("a"), &repository), [item(1), item(2)]);
        assert!(baskets.of(&actor("b"), &repository).is_empty() && baskets.of(&actor("a"), &Id::random()).is_empty());
        baskets.remove(&actor("b"), &repository, &item(1));
        baskets.remove(&actor("a"), &repository, &item(1));
        assert_eq!(baskets.of(&actor("a"), &repository), [item(2)]);
        baskets.add(&actor("a"), &repository, (0..2 * MOST).map(item).collect(), 0).expect_err("full");
        assert_eq!(baskets.of(&actor("a"), &repository).len(), MOST);
        baskets.empty(&actor("a"), &repository);
        assert!(baskets.of(&actor("a"), &repository).is_empty());
    }
}
