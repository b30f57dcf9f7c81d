//! Paths that lead back to the very item, also where others of its folder read alike.

use std::collections::HashMap;

use super::View;
use crate::error::Result;
use crate::format::record::{ItemKind, Record};
use crate::format::snapshot::CollectionState;
use crate::ops::present::{Face, Mode, names};
use crate::tree::collection::CollectionReader;

/// Folders deeper than this are no folders: parents that run in a circle end here.
const DEEPEST: usize = 200;
/// Stands for a folder whose record is missing.
const MISSING: &str = "(missing folder)";
/// Stands after all ids of one name.
const LAST_ID: &str = "\u{10ffff}";

impl View {
    /// The path of an item that [`View::resolve`] takes back to it: where another item of a folder reads the same, with the
    /// mark made from its id. Below a folder whose record is missing it leads nowhere rather than elsewhere. `known` remembers the paths of folders, by id, from call to call
    /// for the same collection.
    ///
    /// # Errors
    /// `Corrupt`; the storage's.
    pub async fn exact_path_of(
        &self,
        state: &CollectionState,
        record: &Record,
        known: &mut HashMap<String, String>,
    ) -> Result<String> {
        let reader = self.reader(state);
        let (mut above, mut parent) = (Vec::new(), record.parent.clone());
        while !parent.is_empty() && !known.contains_key(&parent) && above.len() < DEEPEST {
            let Some(folder) = reader.get(&parent).await? else {
                known.insert(parent.clone(), format!("{}/{MISSING}", state.name));
                break;
            };
            parent = folder.parent.clone();
            above.push(folder);
        }
        let mut path = known.get(&parent).unwrap_or(&state.name).clone();
        for folder in above.iter().rev() {
            // What is no folder shows what hangs below it in a folder beside it.
            let face = if folder.kind.is_container() { Face::Item } else { Face::Parts };
            path = format!("{path}/{}", exact_component(&reader, folder, face, self.mode).await?);
            known.insert(folder.id.clone(), path.clone());
        }
        Ok(format!("{path}/{}", exact_component(&reader, record, Face::Item, self.mode).await?))
    }
}

/// How an item reads where it stands.
async fn exact_component(reader: &CollectionReader<'_>, record: &Record, face: Face, mode: Mode) -> Result<String> {
    let component = names::component(record, face, mode);
    let at =
        |kind, sort_us, name: &str, id: &str| Record { sort_us, ..Record::new(kind, id, record.parent.as_str(), name) };
    let named = |kind, name: &str| (at(kind, None, name, ""), at(kind, None, name, LAST_ID));
    let mut stretches = vec![named(record.kind, &record.name)];
    for name in std::iter::once(component.clone()).chain(names::names_of(&component)) {
        stretches.extend([named(ItemKind::Folder, &name), named(ItemKind::File, &name)]);
    }
    match record.sort_us.filter(|_| !record.kind.is_container()) {
        Some(_) => stretches.extend(
            names::minute_of(&component)
                .map(|(from, to)| (at(record.kind, Some(from), "", ""), at(record.kind, Some(to), "", ""))),
        ),
        None if !reads_as_it_sorts(record, &component) => return Ok(names::tagged(record, face, mode)),
        None => {}
    }
    for (from, to) in stretches {
        let mut ids = reader.ids_between(&from, &to);
        while let Some(id) = ids.next().await? {
            let other = if id == record.id { None } else { reader.get(&id).await? };
            if other.is_some_and(|other| names::matches(&component, &other, mode).is_some()) {
                return Ok(names::tagged(record, face, mode));
            }
        }
    }
    Ok(component)
}

/// Says whether all items that read as this one stand beside it: what is cut or replaced in a name stands elsewhere.
fn reads_as_it_sorts(record: &Record, component: &str) -> bool {
    let name = record.name.as_str();
    component.contains(name) && !name.is_empty() && name.trim() == name
}
