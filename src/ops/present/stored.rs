//! What is stored of an item, as the makers of other forms want it.

use serde_json::Value;

use super::names::{Naming, component};
use super::{Face, Mode};
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record, StreamRole};
use crate::format::snapshot::CollectionState;
use crate::m365::facts::{flag, text};
use crate::ops::read;
use crate::ops::view::View;

/// The longest JSON that is taken apart, in bytes.
const JSON_BYTES: u64 = 8 << 20;
/// Records below an item that are read at once.
const PAGE: usize = 500;
/// An attachment is put into the file up to this length, and all of one file together up to the other, in bytes.
const INLINE_BYTES: u64 = 1 << 20;
const INLINE_BYTES_TOGETHER: u64 = 8 << 20;

/// A snapshot, and the collection in it that an item is in.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) view: View,
    pub(super) state: CollectionState,
}

impl Stored {
    /// Reads Graph's JSON of an item.
    pub(super) async fn json(&self, record: &Record) -> Result<Value> {
        let stream = record.stream(StreamRole::Properties).ok_or_else(|| {
            Error::not_found(format!("The contents of '{}' are not in this snapshot", record.name))
                .with_hint("they could not be read when it was made; an earlier snapshot may have them")
        })?;
        if stream.size_bytes > JSON_BYTES {
            // Of this item alone: an export goes on.
            let text = format!("'{}' is told in {} bytes, too many to make a file of", record.name, stream.size_bytes);
            return Err(Error::not_found(text).with_hint("--raw gives them as they are"));
        }
        let bytes = read::read_whole(self.view.repository(), stream, JSON_BYTES).await?;
        serde_json::from_slice(&bytes).map_err(|e| {
            Error::corrupt(format!("What is stored of '{}' is no JSON", record.name))
                .with_source(e)
                .with_hint("cat --raw prints it as it is")
        })
    }

    /// Reads the contents of an item; `None`: there are none, they are longer than the limit, or they are lost.
    pub(super) async fn contents(&self, record: &Record, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        let Some(stream) = record.stream(StreamRole::Content).filter(|s| s.size_bytes <= limit_bytes) else {
            return Ok(None);
        };
        match read::read_whole(self.view.repository(), stream, limit_bytes).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.is_loss() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Goes through what is directly below an item.
    pub(super) fn below(&self, parent: &str) -> Below<'_> {
        Below { stored: self, parent: parent.to_owned(), after: None, page: Vec::new().into_iter(), ended: false }
    }

    /// Reads what is attached to an item, as far as that is short; what is longer is told by where it lies.
    pub(super) async fn attached(&self, record: &Record) -> Result<Vec<Attached>> {
        let mut attached = Vec::new();
        if !record.has_parts() {
            return Ok(attached);
        }
        let folder = component(record, Face::Parts, Mode::Presented);
        let (mut room, mut below, mut naming) = (INLINE_BYTES_TOGETHER, self.below(&record.id), Naming::default());
        while let Some(part) = below.next().await? {
            let path = format!("{folder}/{}", naming.name(&part, Face::Item, Mode::Presented));
            if !matches!(part.kind, ItemKind::Attachment | ItemKind::Shortcut) {
                continue;
            }
            let media = part.fact("content_type").unwrap_or("application/octet-stream").to_owned();
            let link = match part.is_told_in_json() {
                true => self.json(&part).await.ok().and_then(|json| text(&json, &["sourceUrl"]).map(str::to_owned)),
                false => None,
            };
            let what = match (link, self.contents(&part, INLINE_BYTES.min(room)).await?) {
                (Some(link), _) => What::Link(link),
                (None, Some(bytes)) => {
                    room = room.saturating_sub(bytes.len() as u64);
                    What::Bytes(bytes)
                }
                (None, None) => What::Path(path),
            };
            attached.push(Attached { name: part.name, media, what });
        }
        Ok(attached)
    }
}

/// Something attached to an item.
#[derive(Debug, Clone)]
pub(super) struct Attached {
    pub(super) name: String,
    pub(super) media: String,
    pub(super) what: What,
}

/// What is attached, or where it is.
#[derive(Debug, Clone)]
pub(super) enum What {
    Bytes(Vec<u8>),
    /// The path of the file, from the folder that the item is in.
    Path(String),
    Link(String),
}

/// Goes through what is directly below an item, in listing order.
pub(super) struct Below<'a> {
    stored: &'a Stored,
    parent: String,
    after: Option<Vec<u8>>,
    page: std::vec::IntoIter<Record>,
    ended: bool,
}

impl Below<'_> {
    pub(super) async fn next(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.page.next() {
                return Ok(Some(record));
            }
            if self.ended {
                return Ok(None);
            }
            let stored = self.stored;
            let page = stored.view.children(&stored.state, &self.parent, self.after.take(), PAGE).await?;
            self.page = page.records().collect::<Result<Vec<_>>>()?.into_iter();
            self.ended = page.next.is_none();
            self.after = page.next;
        }
    }
}

/// The texts of a list of texts.
pub(super) fn texts<'a>(json: &'a Value, key: &str) -> Vec<&'a str> {
    list(json, key).iter().filter_map(Value::as_str).filter(|text| !text.trim().is_empty()).collect()
}

/// A list; an empty one, if it is none.
pub(super) fn list<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A text; an empty one, if it is none.
pub(super) fn word<'a>(json: &'a Value, path: &[&str]) -> &'a str {
    text(json, path).unwrap_or_default()
}

/// Says whether something is said to be so.
pub(super) fn is(json: &Value, key: &str) -> bool {
    flag(json, &[key]) == Some(true)
}
