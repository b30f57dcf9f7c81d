//! Between the names of the file system and the paths of a snapshot, both ways.

use std::collections::HashMap;
use std::sync::Arc;

use super::node::{Node, What};
use super::{Browser, locked};
use crate::error::{Error, Result};
use crate::format::id::SnapshotId;
use crate::format::record::{ItemKind, Record};
use crate::ops::names::safe_name;
use crate::ops::present::{self, Occasion};
use crate::ops::view::View;

/// Where something lies: a snapshot, and a path in it as [`View::resolve`] takes it (empty: all of it).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The path in it.
    pub path: String,
}

impl Browser {
    /// Where a node comes from; `None`: it is above the snapshots. What only shows an item, or hangs below it, comes from
    /// the item.
    ///
    /// # Errors
    /// `Corrupt`; the storage's.
    pub async fn origin(&self, node: &Node) -> Result<Option<Origin>> {
        let Some(shot) = node.shot() else { return Ok(None) };
        let (state, id) = match node.what() {
            What::Above(above) => return Ok(Some(Origin { snapshot: shot.id, path: above.path.clone() })),
            What::Inside(folder) if folder.id.is_empty() => {
                return Ok(Some(Origin { snapshot: shot.id, path: folder.state.name.clone() }));
            }
            What::Inside(folder) => (&folder.state, &folder.id),
            What::File(file) => (&file.state, &file.id),
            _ => return Ok(None),
        };
        let record = shot.view.record(state, id).await?;
        let record = record.ok_or_else(|| Error::corrupt(format!("Item {id} is listed and has no record")))?;
        let path = shot.view.exact_path_of(state, &record, &mut HashMap::new()).await?;
        Ok(Some(Origin { snapshot: shot.id, path }))
    }

    /// The record of a file or of a folder in a collection; `None`: there is none.
    ///
    /// # Errors
    /// `Corrupt`; the storage's.
    pub async fn record(&self, node: &Node) -> Result<Option<Arc<Record>>> {
        match node.what() {
            What::File(file) => {
                if let Some(known) = locked(&self.kept.records).get(&node.number()) {
                    return Ok(Some(known));
                }
                Ok(file.shot.view.record(&file.state, &file.id).await?.map(Arc::new))
            }
            What::Inside(folder) if !folder.id.is_empty() => {
                Ok(folder.shot.view.record(&folder.state, &folder.id).await?.map(Arc::new))
            }
            _ => Ok(None),
        }
    }

    /// When the event of a file begins, from one time to before another, as [`present::occasions`] tells it; none: it is no event.
    ///
    /// # Errors
    /// `Corrupt`; the storage's.
    pub async fn occasions(&self, node: &Node, between: (i64, i64)) -> Result<Vec<Occasion>> {
        let (What::File(file), Some(record)) = (node.what(), self.record(node).await?) else { return Ok(Vec::new()) };
        if record.kind != ItemKind::Event {
            return Ok(Vec::new());
        }
        present::occasions(&file.shot.view, &file.state, &record, between).await
    }

    /// The snapshots, the oldest first: the id, the set's name and the time of each.
    pub async fn snapshots(&self) -> Vec<(SnapshotId, String, i64)> {
        let now = self.shots.all().await;
        now.iter().map(|shot| (shot.id, shot.set_name.clone(), shot.time_us)).collect()
    }

    /// A snapshot as it is walked through.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn view(&self, snapshot: &SnapshotId) -> Result<View> {
        let found = self.shots.all().await.iter().find(|shot| shot.id == *snapshot).map(|shot| shot.view.clone());
        found.ok_or_else(|| Error::not_found(format!("Snapshot {} is no more", snapshot.short())))
    }

    /// The path in this file system of what lies somewhere; where several of a folder read alike and it cannot be told which,
    /// that of the folder.
    ///
    /// # Errors
    /// `NotFound` when the snapshot is no more; the storage's.
    pub async fn path_of(&self, origin: &Origin) -> Result<String> {
        let top =
            self.find(&self.root(), "snapshots").await?.ok_or_else(|| Error::internal("No folder of snapshots"))?;
        let shots = self.list(&top, 0, usize::MAX).await?;
        let shot = shots.into_iter().find(|listed| listed.node.shot().is_some_and(|shot| shot.id == origin.snapshot));
        let shot = shot.ok_or_else(|| Error::not_found(format!("Snapshot {} is no more", origin.snapshot.short())))?;
        let (mut path, mut node) = (format!("snapshots/{}", shot.name), shot.node);
        let parts: Vec<&str> = origin.path.split('/').filter(|part| !part.is_empty()).collect();
        for (number, part) in parts.iter().enumerate() {
            let is_last = number + 1 == parts.len();
            let mut found = None;
            for name in [safe_name(part), safe_name(&unmarked(part))] {
                let Some(below) = self.find(&node, &name).await? else { continue };
                if !is_last || self.origin(&below).await?.is_some_and(|at| at == *origin) {
                    found = Some((name, below));
                    break;
                }
            }
            let Some((name, below)) = found else { break };
            path = format!("{path}/{name}");
            node = below;
        }
        Ok(path)
    }
}

/// A component without the mark that tells it from others which read alike.
fn unmarked(component: &str) -> String {
    match component.rfind(" ~") {
        Some(at) if component.get(at + 2..at + 10).is_some_and(|m| m.bytes().all(|b| b.is_ascii_hexdigit())) => {
            let (stem, rest) = (component.get(..at), component.get(at + 10..));
            format!("{}{}", stem.unwrap_or_default(), rest.unwrap_or_default())
        }
        _ => component.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::unmarked;

    #[test]
    fn only_a_mark_is_taken_out_of_a_name() {
        assert_eq!(unmarked("2026-11-01 0914 Plan ~0a1b2c3d.eml"), "2026-11-01 0914 Plan.eml");
        for plain in ["Plan.eml", "~0a1b2c3d.eml", "a ~0a1b2c.eml", "a ~", "ä ~öäüöäüöä"] {
            assert_eq!(unmarked(plain), plain);
        }
    }
}
