//! Several places in one archive: each under its path in the snapshot; of several snapshots, each under its time.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use jiff::Timestamp;

use super::archive::{At, Placed};
use crate::format::id::SnapshotId;
use crate::ops::names::FolderNames;
use crate::ops::view::{Place, View};

/// What is to be exported: a snapshot and a place in it.
pub struct Wanted {
    /// The snapshot's id.
    pub snapshot: SnapshotId,
    /// The snapshot.
    pub view: View,
    /// The place.
    pub place: Place,
}

/// Says where each goes. What lies below another that is wanted too comes with that.
pub(super) fn placed(wanted: Vec<Wanted>) -> Vec<Placed> {
    let containers: HashSet<(SnapshotId, String)> = wanted
        .iter()
        .filter(|one| one.place.is_container())
        .map(|one| (one.snapshot, one.place.path().to_owned()))
        .collect();
    let snapshots: HashSet<SnapshotId> = wanted.iter().map(|one| one.snapshot).collect();
    let (mut tree, mut seen, mut placed) = (Folders::default(), HashSet::new(), Vec::new());
    for one in wanted {
        let path = one.place.path().to_owned();
        let comes_with = above(&path).any(|above| containers.contains(&(one.snapshot, above.to_owned())));
        if comes_with || !seen.insert((one.snapshot, path.clone())) {
            continue;
        }
        let mut parts = Vec::new();
        if snapshots.len() > 1 {
            let time = Timestamp::from_microsecond(one.view.file().time_us).unwrap_or(Timestamp::UNIX_EPOCH);
            parts.push(format!("{} {}", time.strftime("%Y-%m-%d %H%M"), one.snapshot.short()));
        }
        parts.extend(path.split('/').filter(|part| !part.is_empty()).map(str::to_owned));
        let at = tree.path(&parts);
        let at = if one.place.is_container() { At::Below(at) } else { At::File(at) };
        placed.push(Placed { view: one.view, place: one.place, at });
    }
    placed
}

/// The paths above a path, and that of the whole snapshot.
fn above(path: &str) -> impl Iterator<Item = &str> {
    let cuts = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
    cuts.chain((!path.is_empty()).then_some(""))
}

/// Folders that are shared: the same name in the same folder is given out once.
#[derive(Default)]
struct Folders {
    names: HashMap<PathBuf, FolderNames>,
    made: HashMap<(PathBuf, String), PathBuf>,
}

impl Folders {
    fn path(&mut self, parts: &[String]) -> PathBuf {
        let mut at = PathBuf::new();
        for part in parts {
            let names = self.names.entry(at.clone()).or_default();
            at = self.made.entry((at.clone(), part.clone())).or_insert_with(|| at.join(names.allocate(part))).clone();
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_shared_by_what_shares_them_and_no_two_are_one() {
        let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
        let mut tree = Folders::default();
        let mut at = |path: &str| tree.path(&parts(path)).to_string_lossy().into_owned();
        assert_eq!(at("users/alice/Mail/a.eml"), "users/alice/Mail/a.eml");
        assert_eq!(at("users/alice/Mail/b.eml"), "users/alice/Mail/b.eml");
        assert_eq!(at("users/Alice/Mail/a.eml"), "users/Alice (2)/Mail/a.eml");
        for hostile in ["users/../../etc/passwd", "/etc/passwd", "users/..\\..\\x", "users/C:\\x", "a/\0/b"] {
            let made = at(hostile);
            let fine = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
            assert!(std::path::Path::new(&made).components().all(fine) && !made.contains(['\\', '\0']), "{made}");
        }
    }

    #[test]
    fn what_is_above_a_path_ends_with_the_snapshot() {
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a", "a/b", ""]);
        assert_eq!(above("").count(), 0);
    }
}
