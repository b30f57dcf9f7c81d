//! Reading a collection by walking it: for workloads whose lists are short, or told by delta folder by folder.
//!
//! A [`Source`] tells every item that is there now ([`Walk::put`]), what a delta says is gone ([`Walk::removed`]), under
//! which parents nothing was looked at because a delta said that nothing else changed ([`Walk::unchanged_below`]), and
//! what could not be read ([`Walk::gap`]). What the previous snapshot knew and nobody told is then removed; below a gap
//! everything stays as it was.
//!
//! An item's version follows from its JSON, so that a walk that finds everything unchanged passes nothing on.

mod round;
mod rows;

use std::collections::HashSet;

use async_trait::async_trait;
use serde_json::Value;

use super::contents::{Trouble, fetch_if_there, trouble};
use super::door::{
    ChangesEnd, Collection, CollectionKey, ContentSink, Fetched, Known, Owner, Previous, Sink, Wanted, Workload,
};
use super::facts::{set_fact, short_hash, text, time_us};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{FORM, ItemKind, PARTS, Record, StreamRole};
use crate::graph::error::TransportError;
use crate::graph::{Client, GraphRequest};
pub(super) use round::Walk;
pub(super) use rows::{Row, Rows};

/// What can be read by walking.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// Tells everything that is there.
    ///
    /// # Errors
    /// What makes the collection as a whole unreadable now; a part of it is a [`Walk::gap`].
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()>;

    /// The request for the contents of an item that was told with some.
    fn contents(&self, record: &Record) -> Option<GraphRequest> {
        let _ = record;
        None
    }

    /// Says whether only asking tells whether an item has contents (a contact its photo).
    fn may_lack_contents(&self, record: &Record) -> bool {
        let _ = record;
        false
    }

    /// See [`Collection::mark_of_unread`].
    fn mark_of_unread(&self) -> Option<&'static str> {
        None
    }
}

/// A collection that is read by walking.
pub(super) struct Walked<S> {
    key: CollectionKey,
    path: String,
    client: Client,
    source: S,
}

impl<S: Source> Walked<S> {
    /// Names the collection of an owner; `owner_name` as people know it.
    pub(super) fn new(client: Client, owner: Owner, owner_name: &str, workload: Workload, source: S) -> Self {
        let path = format!("{}/{}", owner_path(&owner, owner_name), workload.title());
        let key = CollectionKey { owner, workload, id: String::new() };
        Self { key, path, client, source }
    }

    /// Names one of several collections of an owner, by its id and its name as people know it.
    pub(super) fn one_of(mut self, id: &str, name: &str) -> Self {
        self.key.id = id.to_owned();
        self.path = format!("{}/{}", self.path, clean(name));
        self
    }
}

/// A name as one part of a path.
pub(super) fn clean(name: &str) -> String {
    name.chars().map(|c| if c.is_control() || c == '/' { '_' } else { c }).collect()
}

/// Where people find what an owner has.
pub(super) fn owner_path(owner: &Owner, name: &str) -> String {
    match owner {
        Owner::Tenant => owner.word().to_owned(),
        _ => format!("{}/{}", owner.word(), name.replace('/', "_")),
    }
}

#[async_trait]
impl<S: Source> Collection for Walked<S> {
    fn key(&self) -> &CollectionKey {
        &self.key
    }

    fn path(&self) -> &str {
        &self.path
    }

    async fn changes(&self, previous: Previous<'_>, known: &dyn Known, sink: &mut dyn Sink) -> Result<ChangesEnd> {
        let mut walk = Walk::new(self.key.to_string(), previous, known, sink).await?;
        self.source.walk(&mut walk).await?;
        walk.finish().await
    }

    async fn fetch(&self, wanted: &Wanted, contents: &mut dyn ContentSink) -> Result<Fetched> {
        let request = self.source.contents(&wanted.record).ok_or_else(|| {
            Error::internal(format!("Contents of a {} were asked for, which has none", wanted.record.kind.word()))
        })?;
        let role = (StreamRole::Content, self.source.may_lack_contents(&wanted.record));
        fetch_if_there(&self.client, request, role, &self.key.to_string(), wanted, contents).await
    }

    fn mark_of_unread(&self) -> Option<&'static str> {
        self.source.mark_of_unread()
    }
}

/// An item as its source tells it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) record: Record,
    /// Graph's JSON of it, as it is to be kept.
    pub(super) json: Value,
    contents: Option<ToldContents>,
}

/// What is told of an item's contents.
#[derive(Debug, Clone)]
struct ToldContents {
    /// Changes whenever they do.
    version: String,
    /// There may be none.
    optional: bool,
}

impl Told {
    /// An item without contents of its own. `id` is unique in the collection.
    pub(super) fn new(kind: ItemKind, id: impl Into<String>, parent: &str, name: &str, json: Value) -> Self {
        Self { record: Record::new(kind, id, parent, name), json, contents: None }
    }

    /// Adds a fact, unless it is empty.
    pub(super) fn fact(mut self, key: &str, value: &str) -> Self {
        if !value.is_empty() {
            set_fact(&mut self.record, key, Some(value));
        }
        self
    }

    /// Says that the item has contents; `version` changes whenever they do.
    pub(super) fn with_contents(mut self, version: impl Into<String>) -> Self {
        self.contents = Some(ToldContents { version: version.into(), optional: false });
        self
    }

    /// Says that the item may have contents: see [`Source::may_lack_contents`].
    pub(super) fn with_contents_if_any(mut self, version: impl Into<String>) -> Self {
        self.contents = Some(ToldContents { version: version.into(), optional: true });
        self
    }

    /// Takes the usual times from the JSON: `createdDateTime`, `lastModifiedDateTime`.
    pub(super) fn dated(mut self) -> Self {
        self.record.created_us = time_us(&self.json, &["createdDateTime"]);
        self.record.modified_us = time_us(&self.json, &["lastModifiedDateTime"]);
        self
    }

    /// Sets the time that listings sort by.
    pub(super) fn sorted_by(mut self, time_us: Option<i64>) -> Self {
        self.record.sort_us = time_us;
        self
    }

    /// Says that others hang below the item, which is no container.
    pub(super) fn with_parts(self, parts: usize) -> Self {
        if parts == 0 { self } else { self.fact(PARTS, &parts.to_string()) }
    }

    /// Says that the JSON is all there is of an attachment or version.
    pub(super) fn json_only(self) -> Self {
        self.fact(FORM, "json")
    }

    /// Says whether this is what the last snapshot has of the item, whatever hangs below it.
    pub(super) fn is_as_known(&self, known: Option<&Record>) -> bool {
        known.is_some_and(|known| known.version == short_hash([Some(&self.json)]) && known.kind == self.record.kind)
    }

    /// Sets the size that the source gives.
    pub(super) fn sized(mut self, bytes: u64) -> Self {
        self.record.size_bytes = bytes;
        self
    }
}

/// The id of a row; an empty one is none.
pub(super) fn id_of(row: &Value) -> Option<&str> {
    text(row, &["id"]).filter(|id| !id.is_empty())
}

/// Follows what a row says of further pages of what was expanded in it, and puts their rows to the others. `like`: the request
/// by which the row came.
///
/// # Errors
/// Graph's: the row is not whole then. Whatever is wrong with a page is a matter of its item alone, and none says that the item
/// is gone.
pub(super) async fn unfold(client: &Client, like: &GraphRequest, row: &mut Value) -> Result<()> {
    let mut followed = HashSet::new();
    while let Some((place, link)) = take_link(row, "") {
        if !followed.insert(link.clone()) {
            return Err(odd("Graph gives the same page of an expansion again and again"));
        }
        let rows = client.get_all(like.with_url(link)).await.map_err(|error| match trouble(&error) {
            Trouble::Gone => odd("Graph does not find a page of an expansion that it told of"),
            _ if error.kind() == ErrorKind::Corrupt => odd(error.chain()),
            _ => error,
        })?;
        match row.pointer_mut(&place) {
            Some(Value::Array(there)) => there.extend(rows),
            _ => return Err(odd("Graph tells of more pages of an expansion that it does not tell")),
        }
    }
    Ok(())
}

/// The error of an answer that is not as it should be, and that may be right another time.
fn odd(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, text).with_source(TransportError::cut("a fault of the service"))
}

/// Takes the first link to a further page of something within a value, with the place of what it goes on with.
fn take_link(value: &mut Value, at: &str) -> Option<(String, String)> {
    let below: Vec<(String, &mut Value)> = match value {
        Value::Object(map) => {
            let more =
                |name: &String| name.strip_suffix("@odata.nextLink").filter(|of| !of.is_empty()).map(str::to_owned);
            if let Some(of) = map.keys().find_map(more) {
                let link = map.shift_remove(&format!("{of}@odata.nextLink"))?;
                return Some((format!("{at}/{of}"), link.as_str().unwrap_or_default().to_owned()));
            }
            map.iter_mut().map(|(name, value)| (format!("{at}/{name}"), value)).collect()
        }
        Value::Array(rows) => rows.iter_mut().enumerate().map(|(n, value)| (format!("{at}/{n}"), value)).collect(),
        _ => return None,
    };
    below.into_iter().find_map(|(at, value)| take_link(value, &at))
}

/// Takes away what Graph says of its answer, and not of the item: a list, a delta and a single item differ in that.
pub(super) fn bare(mut row: Value) -> Value {
    if let Some(map) = row.as_object_mut() {
        map.retain(|name, _| !name.contains("@odata.") || name == "@odata.etag");
    }
    row
}
