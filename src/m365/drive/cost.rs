//! What making an item of a drive costs, with what hangs below it.

use super::model::has_own_rights;
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

/// What the versions, rights and links below an item cost that go back with it. What it inherits from a folder that does not come back
/// with it is not among them, nor is known which of them Microsoft refuses.
pub(super) async fn below(record: &Record, extras: Extras, source: &dyn Source) -> Result<Cost> {
    let versions = extras.versions && record.kind == ItemKind::File && record.fact(PARTS).is_some();
    let sharing = (extras.permissions || extras.links) && has_own_rights(record);
    if !versions && !sharing {
        return Ok(Cost::default());
    }
    let parts = source.parts(&record.id).await?;
    let cost = |part: &Record| match part.kind {
        ItemKind::Version if versions => part.stream(StreamRole::Content).map(|stream| upload(stream.size_bytes)),
        ItemKind::Permission if sharing && is_given(part, extras) => Some(SHARING),
        _ => None,
    };
    Ok(parts.iter().filter_map(cost).fold(Cost::default(), Cost::and))
}

/// Says whether a permission is one that is given again, as far as its record tells.
fn is_given(permission: &Record, extras: Extras) -> bool {
    let is_link = permission.name.starts_with("Link for ");
    let is_owner = permission.fact("roles").is_some_and(|roles| roles.split(", ").any(|role| role == "owner"));
    if is_link { extras.links } else { extras.permissions && !is_owner }
}
