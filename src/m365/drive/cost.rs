//! What making an item of a drive costs, with what hangs below it.

use crate::error::Result;
use crate::format::record::{ItemKind, PARTS, Record, StreamRole};
use crate::m365::restore::{Cost, Extras, Source};

/// What one fragment of an upload holds.
pub(super) const FRAGMENT_BYTES: u64 = 10 << 20;
/// What giving a right or making a link costs.
const SHARING: Cost = Cost { requests: 1, units: 5, bytes: 300 };

/// What it costs to upload so many bytes.
pub(super) fn upload(size_bytes: u64) -> Cost {
    let fragments = size_bytes.div_ceil(FRAGMENT_BYTES).max(1);
    Cost { requests: 1 + fragments, units: 2 + fragments, bytes: size_bytes }
}

/// What the versions below an item cost that go back with it.
pub(super) async fn versions(record: &Record, extras: Extras, source: &dyn Source) -> Result<Cost> {
    if !extras.versions || record.kind != ItemKind::File || record.fact(PARTS).is_none() {
        return Ok(Cost::default());
    }
    let parts = source.parts(&record.id).await?;
    let contents = |part: &Record| part.stream(StreamRole::Content).map(|stream| upload(stream.size_bytes));
    let all = parts.iter().filter(|part| part.kind == ItemKind::Version).filter_map(contents);
    Ok(all.fold(Cost::default(), Cost::and))
}

/// What it costs to give these rights and links again. Which of them Microsoft refuses is not known.
pub(super) fn sharing(parts: &[Record], extras: Extras) -> Cost {
    let given = parts.iter().filter(|part| part.kind == ItemKind::Permission && is_given(part, extras));
    given.fold(Cost::default(), |cost, _| cost.and(SHARING))
}

/// Says whether a permission is one that is given again, as far as its record tells.
fn is_given(permission: &Record, extras: Extras) -> bool {
    let is_link = permission.name.starts_with("Link for ");
    let is_owner = permission.fact("roles").is_some_and(|roles| roles.split(", ").any(|role| role == "owner"));
    if is_link { extras.links } else { extras.permissions && !is_owner }
}
