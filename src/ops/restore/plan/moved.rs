//! Whether what is not where it was was moved, or deleted.
//!
//! Each item is asked for by its id, many in one round trip. Where very many are asked for, all that is in the target is listed once
//! instead, which is cheap where little is left: of a mailbox that was emptied it takes one request. How much there is is known only
//! at the end, so no listing takes more pages than half of the questions that it may spare.

use std::collections::{HashMap, HashSet};

use futures::StreamExt as _;
use futures::stream;

use crate::error::{Error, Result};
use crate::format::record::Record;
use crate::graph::{Fate, fate};
use crate::m365::facts::IdKey;
use crate::m365::restore::Target;
use crate::ops::backup::Stop;

/// Questions of a target before the first listing.
const FIRST: usize = 200;
/// Questions at once: so many go together.
const AT_ONCE: usize = 20;

/// What is said of an item of which that is not known.
const UNKNOWN: &str = "whether it was deleted or moved is not known";

/// What became of something that is not where it was, and was not surely deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// It was moved.
    Moved,
    /// Microsoft does not say; the reason in words.
    Unknown(String),
}

/// What was asked of each target so far.
#[derive(Default)]
pub(super) struct Moves(HashMap<usize, Asked>);

struct Asked {
    questions: usize,
    /// So many questions, and all that is there is listed.
    list_at: usize,
    there: Option<HashSet<IdKey>>,
}

impl Moves {
    /// Looks where items are that are not where they were; gives those of which it cannot be said that they were deleted, by id.
    ///
    /// # Errors
    /// Graph's, where it does not answer at all; a stop.
    pub(super) async fn look(
        &mut self,
        (number, target): (usize, &dyn Target),
        gone: Vec<Record>,
        stop: &Stop,
    ) -> Result<HashMap<String, Elsewhere>> {
        let asked = self.0.entry(number).or_insert(Asked { questions: 0, list_at: FIRST, there: None });
        if asked.there.is_none() && asked.questions + gone.len() >= asked.list_at {
            let pages = (asked.questions + gone.len()) / 2;
            asked.there = list(target, pages).await?;
            asked.list_at = 2 * (asked.questions + gone.len());
        }
        if let Some(there) = &asked.there {
            let moved = gone.into_iter().filter(|record| there.contains(&IdKey::of(&record.id)));
            return Ok(moved.map(|record| (record.id, Elsewhere::Moved)).collect());
        }
        asked.questions += gone.len();
        let mut found = HashMap::new();
        let ask = |record: Record| async move { (target.has_moved(&record).await, record.id) };
        let mut answers = stream::iter(gone.into_iter().map(ask).collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
        while let Some((answer, id)) = answers.next().await {
            stop.check()?;
            match answer {
                Ok(true) => drop(found.insert(id, Elsewhere::Moved)),
                Ok(false) => {}
                Err(e) if is_of_item(&e) => {
                    found.insert(id, Elsewhere::Unknown(format!("{UNKNOWN}: {e}")));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }
}

/// All that is there; `None`: that takes more pages, or cannot be told.
async fn list(target: &dyn Target, pages: usize) -> Result<Option<HashSet<IdKey>>> {
    let mut there = HashSet::new();
    let listed = target
        .everywhere(pages, &mut |id: &str| {
            there.insert(IdKey::of(id));
        })
        .await;
    match listed {
        Ok(whole) => Ok(whole.then_some(there)),
        Err(e) if is_of_item(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Says whether Graph answered, and did so of what it was asked for alone.
pub(super) fn is_of_item(e: &Error) -> bool {
    matches!(fate(e), Fate::Gap(_) | Fate::Denied(_) | Fate::Gone)
}
