//! The two trees of a collection: `items` (item id -> record) and `children` ((parent, sort key, id) -> nothing).
//! Every change goes to both, so that each record is listed under its parent exactly once.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use bincode::{Decode, Encode};
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::node::MAX_VALUE_BYTES;
use crate::format::record::Record;
use crate::tree::sort_key::{MAX_ID_BYTES, children_key, item_id, parent_prefix};
use crate::tree::{Cursor, DiffCursor, NodeStore, Tree, TreeRoot};

/// The roots of a collection's trees: all that a snapshot keeps of its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct CollectionRoots {
    /// The tree of item id -> record; `None`: no items.
    pub items: Option<TreeRoot>,
    /// The tree of (parent, sort key, id) -> nothing.
    pub children: Option<TreeRoot>,
}

impl CollectionRoots {
    /// Counts the items.
    pub fn count(&self) -> u64 {
        self.items.map_or(0, |root| root.count)
    }
}

/// A collection at one time, for reading.
///
/// Every method that reads fails with [`crate::ErrorKind::Corrupt`] when nodes or records are not what they must be.
#[derive(Clone, Copy)]
pub struct CollectionReader<'a> {
    tree: Tree<'a>,
    roots: CollectionRoots,
}

/// A page of a folder's listing. Its records are kept as they are stored, side by side, till they are asked for: a large
/// page of decoded ones would be scattered over several times the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What to give as `after` to get the next page; `None`: this was the last.
    pub next: Option<Vec<u8>>,
    /// Keys of the `children` tree, in listing order, and where each one's record is in `bytes`.
    keys: Vec<Vec<u8>>,
    places: Vec<Range<usize>>,
    bytes: Vec<u8>,
}

impl Page {
    /// Counts the records.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The key of the `children` tree of the n-th record: what goes on after it.
    pub fn key(&self, n: usize) -> Option<&[u8]> {
        self.keys.get(n).map(Vec::as_slice)
    }

    /// Counts the bytes of the records as they are stored.
    pub fn stored_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Decodes the records, in listing order.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`], for each that is not what it must be.
    pub fn records(&self) -> impl Iterator<Item = Result<Record>> {
        self.keys.iter().zip(&self.places).map(|(key, place)| {
            let value = self.bytes.get(place.clone()).unwrap_or_default();
            decode_record(item_id(key)?.as_bytes(), value)
        })
    }
}

impl<'a> CollectionReader<'a> {
    /// Opens a collection; reads nothing.
    pub fn new(store: &'a dyn NodeStore, roots: CollectionRoots) -> Self {
        Self { tree: Tree::new(store), roots }
    }

    /// Finds the record of an item.
    pub async fn get(&self, id: &str) -> Result<Option<Record>> {
        let value = self.tree.get(self.roots.items, id.as_bytes()).await?;
        value.map(|value| decode_record(id.as_bytes(), &value)).transpose()
    }

    /// Reads up to `limit` records directly below `parent` (empty: the top), in listing order: containers by name,
    /// then items by name, then items by time, oldest first. Goes on `after` the key that a page gave as `next`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] when `after` is of another parent, or `limit` is 0.
    pub async fn children(&self, parent: &str, after: Option<Vec<u8>>, limit: usize) -> Result<Page> {
        let prefix = parent_prefix(parent);
        if after.as_ref().is_some_and(|after| !after.starts_with(&prefix)) || limit == 0 {
            return Err(Error::invalid(format!("A page of '{parent}' cannot begin or end there")));
        }
        let start = after.map_or_else(|| Bound::Included(prefix.to_vec()), Bound::Excluded);
        let mut cursor = self.tree.range(self.roots.children, (start, end_of(&prefix)));
        let mut keys: Vec<Vec<u8>> = Vec::new();
        while let Some(item) = cursor.next().await? {
            if keys.len() == limit {
                let next = keys.last().cloned();
                return self.page(keys, next).await;
            }
            keys.push(item.key);
        }
        self.page(keys, None).await
    }

    /// Goes through the ids of the records directly below `parent`, in listing order, without reading the records.
    pub fn child_ids(&self, parent: &str) -> IdCursor<'a> {
        let prefix = parent_prefix(parent);
        let range = (Bound::Included(prefix.to_vec()), end_of(&prefix));
        IdCursor { cursor: self.tree.range(self.roots.children, range) }
    }

    /// Goes through the ids that stand in a listing from where `from` would stand to before where `to` would. Both have
    /// the same parent.
    pub fn ids_between(&self, from: &Record, to: &Record) -> IdCursor<'a> {
        IdCursor { cursor: self.tree.range(self.roots.children, children_key(from)..children_key(to)) }
    }

    /// Counts the records directly below `parent`, without listing them.
    pub async fn count_children(&self, parent: &str) -> Result<u64> {
        let prefix = parent_prefix(parent);
        let first = self.tree.rank(self.roots.children, &prefix).await?;
        let end = match end_of(&prefix) {
            Bound::Excluded(end) => self.tree.rank(self.roots.children, &end).await?,
            _ => self.roots.children.map_or(0, |root| root.count),
        };
        Ok(end.saturating_sub(first))
    }

    /// Goes through the records whose ids begin so, in the order of their ids.
    pub fn records_of(&self, beginning: &str) -> RecordCursor<'a> {
        let range = (Bound::Included(beginning.as_bytes().to_vec()), end_of(beginning.as_bytes()));
        RecordCursor { cursor: self.tree.range(self.roots.items, range) }
    }

    /// Goes through all records in the order of their ids.
    pub fn records(&self) -> RecordCursor<'a> {
        RecordCursor { cursor: self.tree.range(self.roots.items, ..) }
    }

    /// Goes through the records that differ between this time and a newer one, in the order of their ids.
    pub fn diff(&self, newer: CollectionRoots) -> RecordDiffCursor<'a> {
        RecordDiffCursor { cursor: self.tree.diff(self.roots.items, newer.items) }
    }

    /// Reads the records that keys of the `children` tree stand for.
    async fn page(&self, keys: Vec<Vec<u8>>, next: Option<Vec<u8>>) -> Result<Page> {
        let mut ids = Vec::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            ids.push((item_id(key)?, at));
        }
        ids.sort_unstable();
        if let Some([(id, _), _]) = ids.array_windows().find(|[(a, _), (b, _)]| a == b) {
            return Err(Error::corrupt(format!("Item {id} is listed twice")));
        }
        let (ids, order): (Vec<&str>, Vec<usize>) = ids.into_iter().unzip();
        let (mut bytes, mut places, mut order) = (Vec::new(), vec![0..0; keys.len()], order.into_iter());
        let mut keep = |id: &&str, value: Option<Bytes>| {
            let value = value.ok_or_else(|| Error::corrupt(format!("Item {id} is listed and has no record")))?;
            if let Some(place) = order.next().and_then(|at| places.get_mut(at)) {
                *place = bytes.len()..bytes.len() + value.len();
                bytes.extend_from_slice(&value);
            }
            Ok(())
        };
        self.tree.visit_many(self.roots.items, ids, &mut keep).await?;
        Ok(Page { next, keys, places, bytes })
    }
}

/// The end of the keys that begin with a prefix.
fn end_of(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// Decodes the record that a tree of items has under an id.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] when it is no record, or another item's.
pub(crate) fn decode_record(id: &[u8], value: &[u8]) -> Result<Record> {
    let name = String::from_utf8_lossy(id);
    let record: Record = codec::decode(format_args!("The record of item {name}"), value)?;
    if record.id.as_bytes() == id {
        Ok(record)
    } else {
        Err(Error::corrupt(format!("The record of item {name} is one of item {}", record.id)))
    }
}

/// Goes through the ids of what is directly below a parent.
pub struct IdCursor<'a> {
    cursor: Cursor<'a>,
}

impl IdCursor<'_> {
    /// Reads the next id; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<String>> {
        let item = self.cursor.next().await?;
        item.map(|item| item_id(&item.key).map(str::to_owned)).transpose()
    }
}

/// Goes through records in the order of their ids.
pub struct RecordCursor<'a> {
    cursor: Cursor<'a>,
}

impl RecordCursor<'_> {
    /// Reads the next record; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Record>> {
        let item = self.cursor.next().await?;
        item.map(|item| decode_record(&item.key, &item.value)).transpose()
    }
}

/// An item whose record differs between two times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordDifference {
    /// The record at the older time, if the item was there.
    pub old: Option<Record>,
    /// The record at the newer time, if the item is there.
    pub new: Option<Record>,
}

/// Goes through the records that differ between two times.
pub struct RecordDiffCursor<'a> {
    cursor: DiffCursor<'a>,
}

impl RecordDiffCursor<'_> {
    /// Reads the next difference; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<RecordDifference>> {
        let Some(difference) = self.cursor.next().await? else { return Ok(None) };
        let decode = |value: Option<_>| value.map(|v: bytes::Bytes| decode_record(&difference.key, &v)).transpose();
        Ok(Some(RecordDifference { old: decode(difference.old)?, new: decode(difference.new)? }))
    }
}

/// How much an editor added, changed and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EditCounts {
    /// Items that were not there before.
    pub added: u64,
    /// Items whose record became another.
    pub changed: u64,
    /// Items that are there no more.
    pub removed: u64,
    /// Bytes of the streams of records that were put.
    pub bytes_added: u64,
    /// Bytes of the streams of records that others took the place of, or that were removed.
    pub bytes_removed: u64,
}

/// Changes a collection: takes changes in any order, makes them in batches.
///
/// Each batch rewrites the leaves that it touches, so large batches cost less than many small ones.
pub struct CollectionEditor<'a> {
    tree: Tree<'a>,
    roots: CollectionRoots,
    counts: EditCounts,
    /// What is to be done: item id -> its record to be, or none.
    pending: BTreeMap<String, Option<Pending>>,
    pending_bytes: usize,
}

/// A record to be put: its key in the `children` tree, its bytes in the `items` tree, and how long its streams are.
struct Pending {
    children_key: Vec<u8>,
    value: Vec<u8>,
    stream_bytes: u64,
}

impl<'a> CollectionEditor<'a> {
    /// Begins to change a collection.
    pub fn new(store: &'a dyn NodeStore, roots: CollectionRoots) -> Self {
        let (counts, pending) = (EditCounts::default(), BTreeMap::new());
        Self { tree: Tree::new(store), roots, counts, pending, pending_bytes: 0 }
    }

    /// Notes that an item gets this record, whether it was there or not. The last word on an item counts.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidInput`] when the record is larger than a tree's value may be (1 MiB), or the id is
    /// empty or longer than 4 KiB. What was noted before stays.
    pub fn put(&mut self, record: &Record) -> Result<()> {
        if record.id.is_empty() || record.id.len() > MAX_ID_BYTES {
            return Err(Error::invalid(format!(
                "An item's id has {} bytes, 1 to {MAX_ID_BYTES} are allowed",
                record.id.len()
            )));
        }
        let value = codec::encode(record);
        if value.len() > MAX_VALUE_BYTES {
            return Err(Error::invalid(format!(
                "The record of item {} has {} bytes, at most {MAX_VALUE_BYTES} are allowed",
                record.id,
                value.len()
            )));
        }
        let (children_key, stream_bytes) = (children_key(record), record.stream_bytes());
        self.note(record.id.clone(), Some(Pending { children_key, value, stream_bytes }));
        Ok(())
    }

    /// Notes that an item is there no more; that it never was is no error.
    pub fn remove(&mut self, id: &str) {
        self.note(id.to_owned(), None);
    }

    /// Says how much memory the changes noted take, roughly, in bytes: when to call [`CollectionEditor::apply`].
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Finds the record of an item as it will be with all that was noted.
    pub async fn get(&self, id: &str) -> Result<Option<Record>> {
        match self.pending.get(id) {
            Some(Some(pending)) => decode_record(id.as_bytes(), &pending.value).map(Some),
            Some(None) => Ok(None),
            None => CollectionReader { tree: self.tree, roots: self.roots }.get(id).await,
        }
    }

    /// Makes the changes noted so far. On an error none of them is made, and all stay noted.
    pub async fn apply(&mut self) -> Result<CollectionRoots> {
        if self.pending.is_empty() {
            return Ok(self.roots);
        }
        let old = self.tree.get_many(self.roots.items, self.pending.keys()).await?;
        let mut counts = self.counts;
        let mut items: Vec<(&str, Option<&[u8]>)> = Vec::new();
        let mut children: BTreeMap<Vec<u8>, Option<&[u8]>> = BTreeMap::new();
        for ((id, new), old) in self.pending.iter().zip(old) {
            let value = new.as_ref().map(|new| new.value.as_slice());
            if old.as_deref() == value {
                continue;
            }
            match (&old, new) {
                (None, _) => counts.added += 1,
                (Some(_), Some(_)) => counts.changed += 1,
                (Some(_), None) => counts.removed += 1,
            }
            let old_record = old.map(|old| decode_record(id.as_bytes(), &old)).transpose()?;
            let bytes =
                (new.as_ref().map_or(0, |new| new.stream_bytes), old_record.as_ref().map_or(0, Record::stream_bytes));
            counts.bytes_added = counts.bytes_added.saturating_add(bytes.0);
            counts.bytes_removed = counts.bytes_removed.saturating_add(bytes.1);
            let old_key = old_record.as_ref().map(children_key);
            let new_key = new.as_ref().map(|new| new.children_key.clone());
            if old_key != new_key {
                // A key holds its item's id, so what one item removes another never inserts.
                children.extend(old_key.map(|key| (key, None)));
                children.extend(new_key.map(|key| (key, Some(&[][..]))));
            }
            items.push((id, value));
        }
        let items = self.tree.edit(self.roots.items, items).await?;
        let children = self.tree.edit(self.roots.children, children).await?;
        self.roots = CollectionRoots { items, children };
        self.counts = counts;
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(self.roots)
    }

    /// Makes the changes left and says the new roots and what was done in all.
    pub async fn finish(mut self) -> Result<(CollectionRoots, EditCounts)> {
        let roots = self.apply().await?;
        Ok((roots, self.counts))
    }

    fn note(&mut self, id: String, change: Option<Pending>) {
        self.pending_bytes += size_of_change(&id, change.as_ref());
        if let Some(replaced) = self.pending.insert(id.clone(), change) {
            self.pending_bytes -= size_of_change(&id, replaced.as_ref());
        }
    }
}

fn size_of_change(id: &str, change: Option<&Pending>) -> usize {
    const OVERHEAD: usize = 100;
    OVERHEAD + id.len() + change.map_or(0, |new| new.children_key.len() + new.value.len())
}

#[cfg(test)]
mod tests;
