//! How many items of a collection have something that Graph does not give (attachments of list items): kept beside the
//! cursors, and brought up to date by what differs between two readings.

use crate::error::Result;
use crate::format::collection::Cursors;
use crate::format::record::Record;
use crate::format::snapshot::CollectionState;
use crate::m365::kinds;
use crate::tree::NodeStore;
use crate::tree::collection::{CollectionReader, CollectionRoots};

/// The name of the number among the cursors.
const NAME: &str = "!unread";

/// Takes the number away from cursors.
pub(super) fn take(cursors: &mut Cursors) {
    cursors.links.retain(|(name, _)| name != NAME);
}

/// The number of such items in a collection; `None`: nobody counted them.
pub(super) fn of(state: &CollectionState) -> Option<u64> {
    state.cursors.as_ref()?.get(NAME)?.parse().ok()
}

/// Counts the items that bear a mark, and puts the number beside the cursors. What both readings share is not read.
pub(super) async fn note(
    nodes: &dyn NodeStore,
    mark: &str,
    previous: Option<&CollectionState>,
    roots: CollectionRoots,
    cursors: &mut Cursors,
) -> Result<()> {
    let counted = previous.and_then(|state| Some((super::collection::roots(state), of(state)?)));
    // Nobody counted: what there is now is counted from the beginning.
    let (before, mut count) = counted.unwrap_or_default();
    let mut differences = CollectionReader::new(nodes, before).diff(roots);
    while let Some(found) = differences.next().await? {
        let bears = |record: Option<Record>| u64::from(record.is_some_and(|record| record.fact(mark).is_some()));
        count = (count + bears(found.new)).saturating_sub(bears(found.old));
    }
    cursors.set(NAME, count.to_string());
    Ok(())
}

/// Why collections are not protected as a whole, if they have such items; empty: they have none.
pub(super) fn reason<'a>(mut states: impl Iterator<Item = &'a CollectionState>) -> &'static str {
    if states.any(|state| of(state) > Some(0)) { kinds::NO_ATTACHMENTS_OF_ITEMS } else { "" }
}
