//! Paths that lead back to the very item, also where others of its folder read alike.

use std::collections::HashMap;

use super::View;
use crate::error::Result;
use crate::format::record::Record;
use crate::format::snapshot::CollectionState;
use crate::ops::present::{Face, Mode, names};
use crate::tree::collection::CollectionReader;

/// Folders deeper than this are no folders: parents that run in a circle end here.
const DEEPEST: usize = 200;

impl View {
    /// The path of an item that [`View::resolve`] takes back to it: where another item of a folder reads the same and
    /// stands before it, with the mark made from its id. `known` remembers the paths of folders, by id, from call to call
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
            let Some(folder) = reader.get(&parent).await? else { break };
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
    let from = match record.sort_us.filter(|_| !record.kind.is_container()) {
        Some(_) => names::minute_of(&component).map(|(from, _)| Record {
            sort_us: Some(from),
            id: String::new(),
            ..bare(record)
        }),
        None if reads_as_it_sorts(record, face, mode) => {
            Some(Record { sort_us: None, id: String::new(), ..bare(record) })
        }
        None => None,
    };
    let Some(from) = from else { return Ok(names::tagged(record, face, mode)) };
    let mut ids = reader.ids_before(&from, record);
    while let Some(id) = ids.next().await? {
        if reader.get(&id).await?.is_some_and(|other| names::component(&other, face, mode) == component) {
            return Ok(names::tagged(record, face, mode));
        }
    }
    Ok(component)
}

fn bare(record: &Record) -> Record {
    Record::new(record.kind, record.id.as_str(), record.parent.as_str(), record.name.as_str())
}

/// Says whether all items that read as this one stand beside it: what is cut or replaced in a name stands elsewhere.
fn reads_as_it_sorts(record: &Record, face: Face, mode: Mode) -> bool {
    let name = record.name.as_str();
    names::component(record, face, mode).contains(name) && !name.is_empty() && name.trim() == name
}
