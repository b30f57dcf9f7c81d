//! Reads a collection once more, from the beginning, where the first reading found that something left out so far belongs
//! in: a folder that moved out of an excluded place takes along what no delta tells, and what was left out and came back in
//! one reading lost what was to be kept of it.

use std::sync::Arc;

use super::collection::{self, Outcome, Shared};
use super::loss::Loss;
use crate::error::Result;
use crate::format::collection::Gap;
use crate::format::snapshot::CollectionState;
use crate::m365::Collection;

/// Readings of one collection in one run. Each finds the folders where the one before left them, unless they were moved
/// meanwhile.
const MOST: usize = 3;

/// Reads one collection.
///
/// # Errors
/// The destination's.
pub(super) async fn read(
    shared: &Shared,
    source: Arc<dyn Collection>,
    previous: Option<CollectionState>,
    gaps: Vec<Gap>,
    loss: &Loss,
) -> Result<Outcome> {
    let mut outcome = collection::read(shared, source.clone(), previous, gaps, loss).await?;
    for _ in 1..MOST {
        if !outcome.again {
            return Ok(outcome);
        }
        let Outcome { state, gaps, counts, bytes_read, .. } = outcome;
        outcome = collection::read(shared, source.clone(), Some(state), gaps, loss).await?;
        outcome.counts.added += counts.added;
        outcome.counts.changed += counts.changed;
        outcome.counts.removed += counts.removed;
        outcome.bytes_read += bytes_read;
    }
    if outcome.again {
        let text = "What is excluded of it and what is not changed all the while; the next run reads all of it again";
        shared.monitor.problem(source.path(), text);
        outcome.state.complete = false;
        outcome.gaps.push(Gap {
            collection: source.key().to_string(),
            id: String::new(),
            name: source.path().to_owned(),
            kind: None,
            reason: "unreadable".to_owned(),
            text: text.to_owned(),
            since_us: shared.now_us,
        });
    }
    Ok(outcome)
}
