//! Opens the destinations of a set.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cli::app::{App, Place, is_away};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::replicas::{Destination, Lagging};
use crate::repo::Repository;

/// The destinations of a set that can be opened, the first one leading, and those that are away.
///
/// # Errors
/// Where none can be opened, the first one's; `InvalidInput` for one that holds another repository; what a wrong
/// passphrase or configuration brings.
pub(crate) async fn open(
    app: &App,
    names: &[String],
    known: &mut HashMap<String, Arc<Repository>>,
) -> Result<(Vec<Destination>, Vec<Lagging>)> {
    let (mut opened, mut away): (Vec<Destination>, Vec<Lagging>) = (Vec::new(), Vec::new());
    let mut first = None;
    for name in names {
        let place = app.named_place(name)?;
        let repo = match known.get(&place.url) {
            Some(repo) => Ok(repo.clone()),
            None => open_one(app, &place, opened.first()).await,
        };
        match repo {
            Ok(repo) => {
                known.insert(place.url, repo.clone());
                opened.push(Destination { name: name.clone(), repo });
            }
            Err(e) if is_away(&e) => {
                away.push(Lagging::of(name, &e));
                first = first.or(Some(e));
            }
            Err(e) => return Err(e.context(format!("Destination '{name}' cannot be used"))),
        }
    }
    match first {
        Some(e) if opened.is_empty() => Err(e),
        _ => Ok((opened, away)),
    }
}

/// Opens a destination: the first with its passphrase, the others, which are replicas, with the first one's keys.
async fn open_one(app: &App, place: &Place, leader: Option<&Destination>) -> Result<Arc<Repository>> {
    let Some(leader) = leader else { return app.open_at(place).await };
    let opened = leader.repo.open_replica(app.storage(place)?, app.cache_root_of(place)?).await;
    opened.map_err(|e| match (e.kind(), &place.name) {
        (ErrorKind::NoRepository, Some(name)) => make_one(e, &leader.name, name),
        _ => e,
    })
}

fn make_one(error: Error, leader: &str, name: &str) -> Error {
    error.with_hint(format!("Check the place; if it is new, make it a replica: tenantvault mirror {leader} {name}"))
}
