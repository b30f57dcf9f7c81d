//! What the targets that make items of Graph's JSON share: which properties are sent, how bytes come along, how something
//! is taken back.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use serde_json::{Map, Value};

use super::door::{Found, Made, Opened, Order, Present, Since, Source, Target, UNDO_LEAVES, Undo};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record, StreamRole};
use crate::graph::{Client, GraphRequest};
use crate::m365::contents::{Trouble, trouble};
use crate::m365::facts::{short_hash, text, time_us};
use crate::m365::walk::{Told, id_of};

/// Takes of an item's JSON what can be sent; what it lacks is not sent.
pub(in crate::m365) fn settable(json: &Value, names: &[&str]) -> Map<String, Value> {
    let there = names.iter().filter_map(|name| Some((*name, json.get(*name).filter(|value| !value.is_null())?)));
    there.map(|(name, value)| (name.to_owned(), bare(value))).collect()
}

/// The same for something that is there: what the item lacks is sent as empty.
pub(in crate::m365) fn replacing(json: &Value, names: &[&str]) -> Map<String, Value> {
    let value = |name: &str| json.get(name).map_or(Value::Null, bare);
    names.iter().map(|name| ((*name).to_owned(), value(name))).collect()
}

/// Sends as empty what these values lack and the other ones have: who is sent nothing keeps what it has.
pub(in crate::m365) fn clear(values: &mut Map<String, Value>, other: &Map<String, Value>) {
    for (name, value) in other {
        let empty = match value {
            // The type of what comes with it.
            Value::String(_) if name.ends_with("@odata.type") => value.clone(),
            Value::Array(_) => Value::Array(Vec::new()),
            _ => Value::Null,
        };
        values.entry(name.clone()).or_insert(empty);
    }
}

/// What something holds of these, as a hash that is the same for all forms in which Graph tells the same: without nulls, what
/// is empty, and the order of names.
pub(in crate::m365) fn state(json: &Value, names: &[&str]) -> String {
    state_of(&settable(json, names).into())
}

/// The same of all that a value holds; empty if it holds nothing.
pub(in crate::m365) fn state_of(json: &Value) -> String {
    plain(json).map(|json| short_hash([Some(&json)])).unwrap_or_default()
}

fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(all) if all.is_empty() => None,
        Value::Array(all) => Some(all.iter().map(|one| plain(one).unwrap_or_default()).collect()),
        Value::Object(map) => {
            let kept: BTreeMap<&String, Value> = map.iter().filter_map(|(k, v)| Some((k, plain(v)?))).collect();
            (!kept.is_empty()).then(|| kept.into_iter().map(|(k, v)| (k.clone(), v)).collect())
        }
        other => Some(other.clone()),
    }
}

/// What all rows of a list hold of these, in whatever order: also of an empty list that is something.
pub(in crate::m365) fn state_of_all(rows: &[Value], names: &[&str]) -> String {
    let mut all: Vec<String> = rows.iter().map(|row| state(row, names)).collect();
    all.sort_unstable();
    short_hash([Some(&all.into())])
}

/// The part of something that was made that tells in which folder it lies.
const FOLDER: &str = "folder";

/// Takes note of the folder in which Graph says that something was made.
pub(in crate::m365) fn tell_folder(made: &mut Made, answer: &Value) {
    made.tell(FOLDER, text(answer, &["parentFolderId"]).unwrap_or_default());
}

/// Says whether something lies in another folder than it was made in: by what was told then, else by the id of that folder
/// (`parent`; empty: not known).
pub(in crate::m365) fn lies_elsewhere(now: &Value, since: Since<'_>, parent: &str) -> bool {
    let was = match since.of(FOLDER) {
        "" => parent,
        told => told,
    };
    text(now, &["parentFolderId"]).is_some_and(|is| !was.is_empty() && is != was)
}

/// Says whether a part of something that was made is another one by now; it is not where that was never told, or all is gone.
///
/// # Errors
/// Graph's.
pub(in crate::m365) async fn part_differs(was: &str, now: impl Future<Output = Result<String>>) -> Result<bool> {
    if was.is_empty() {
        return Ok(false);
    }
    match now.await {
        Ok(now) => Ok(now != was),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Says whether something that was made holds something else by now; what is gone does not.
///
/// # Errors
/// Graph's.
pub(in crate::m365) async fn differs(
    client: &Client,
    request: GraphRequest,
    since: Since<'_>,
    state: impl FnOnce(&Value) -> String,
) -> Result<bool> {
    if since.own().is_empty() {
        return Ok(false);
    }
    match client.get_json(request).await {
        Ok(now) => Ok(state(&now) != since.own()),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// When something that is there was changed last; `None`: it is gone, or does not say.
///
/// # Errors
/// Graph's.
pub(in crate::m365) async fn changed_us(client: &Client, request: GraphRequest) -> Result<Option<i64>> {
    match client.get_json(request).await {
        Ok(now) => Ok(time_us(&now, &["lastModifiedDateTime"])),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A value without what Graph says of its answer, at any depth.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(name, _)| !name.contains("@odata.") || *name == "@odata.type");
            kept.map(|(name, value)| (name.clone(), bare(value))).collect()
        }
        Value::Array(all) => all.iter().map(bare).collect(),
        other => other.clone(),
    }
}

/// Sends a request that deletes. What is gone already counts as deleted.
///
/// # Errors
/// Graph's.
pub(in crate::m365) async fn delete(client: &Client, request: GraphRequest) -> Result<Option<String>> {
    match client.send(request).await {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(None),
    }
}

/// What a plan counts of something that is damaged in the repository, or lacks there: nothing, as the run tells of it.
///
/// # Errors
/// All others.
pub(in crate::m365) fn unless_damaged<T: Default>(read: Result<T>) -> Result<T> {
    match read {
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => Ok(T::default()),
        other => other,
    }
}

/// Says whether an error means that what was asked for is not there.
pub(in crate::m365) fn is_gone(error: &Error) -> bool {
    trouble(error) == Trouble::Gone
}

/// Something of a target, as reading tells it.
pub(in crate::m365) fn present(target: &dyn Target, told: Told) -> Present {
    let record = told.record;
    Present {
        identity: target.identity(&record),
        state: target.state(&record),
        kind: record.kind,
        modified_us: record.modified_us,
        id: record.id,
    }
}

/// The id of what was made.
///
/// # Errors
/// `Corrupt` if the answer has none.
pub(in crate::m365) fn new_id(answer: &Value) -> Result<String> {
    id_of(answer).map(str::to_owned).ok_or_else(|| Error::corrupt("Graph made something and gave no id of it"))
}

/// The stored bytes of an item, up to a limit; `None`: it has none.
///
/// # Errors
/// The source's; `Corrupt` if there are more.
pub(in crate::m365) async fn bytes_of(source: &dyn Source, record: &Record, limit: u64) -> Result<Option<Bytes>> {
    match source.open(record, StreamRole::Content, 0).await? {
        Some(opened) => collect(opened, record, limit).await.map(Some),
        None => Ok(None),
    }
}

async fn collect(mut opened: Opened, record: &Record, limit: u64) -> Result<Bytes> {
    let too_long = || Error::corrupt(format!("'{}' is longer than it should be", record.name));
    if opened.size_bytes > limit {
        return Err(too_long());
    }
    let mut all = BytesMut::new();
    while let Some(part) = opened.bytes.next().await {
        all.extend_from_slice(&part?);
        if all.len() as u64 > limit {
            return Err(too_long());
        }
    }
    Ok(all.freeze())
}

/// Bytes as Graph takes them inside JSON.
pub(in crate::m365) fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

/// How long the stored bytes of an item are; 0 if it has none.
pub(in crate::m365) fn content_bytes(record: &Record) -> u64 {
    record.streams.iter().find(|stream| stream.role == StreamRole::Content).map_or(0, |stream| stream.size_bytes)
}

/// Takes note of what was made, before more is done with it.
///
/// # Errors
/// The log's.
pub(in crate::m365) async fn note(made: &Made, order: Order<'_>) -> Result<()> {
    for undo in &made.undo {
        order.log.note(undo.clone()).await?;
    }
    Ok(())
}

/// The first of some ids that may be what an order made: none that is another item of the snapshot where it always was, and no
/// other step's.
///
/// # Errors
/// The repository's.
pub(in crate::m365) async fn free<'a>(
    ids: Vec<&'a str>,
    order: Order<'_>,
    source: &dyn Source,
) -> Result<Option<&'a str>> {
    let is_where_it_was = order.parent == order.record.parent;
    for id in ids {
        let is_anothers = is_where_it_was && id != order.record.id && source.record(id).await?.is_some();
        if !is_anothers && !source.is_taken(id, order.parent) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Something that is there as it should be, though nothing says who made it: it is not made again, and undo leaves it.
pub(in crate::m365) fn as_it_should_be(id: String) -> Found {
    let note = format!("it was there when the restore went on, and nothing says who made it: {UNDO_LEAVES}");
    Found::Whole(Made { id, notes: vec![note], ..Made::default() })
}

/// Why a container that was made stays.
pub(in crate::m365) const NOT_EMPTY: &str = "something else came into it";

/// What is said of a way to take back that this workload does not know.
pub(in crate::m365) fn left(undo: &Undo) -> Option<String> {
    match undo {
        Undo::Cannot { why, .. } => Some(why.clone()),
        _ => Some("there is no such way back here".to_owned()),
    }
}

/// The refusal to make something of a kind that has no place.
pub(in crate::m365) fn no_place(kind: ItemKind) -> Error {
    Error::internal(format!("A {} was to be made where none can be", kind.word()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_values_lack_of_others_is_sent_as_empty() {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        let mut values = map(json!({"Title": "a"}));
        clear(
            &mut values,
            &map(json!({"Title": "b", "Due": "2026", "Of@odata.type": "Collection(Edm.String)", "Of": ["x"]})),
        );
        let wanted = json!({"Title": "a", "Due": null, "Of@odata.type": "Collection(Edm.String)", "Of": []});
        assert_eq!(Value::from(values), wanted);
    }

    #[test]
    fn what_lies_in_another_folder_than_it_was_made_in_is_told() {
        let mut made = Made::new(ItemKind::Contact, "1", "a");
        tell_folder(&mut made, &json!({"parentFolderId": "told"}));
        let since = Since { state: &made.state, ..Since::default() };
        let lies = |is: &str, since, parent: &str| lies_elsewhere(&json!({"parentFolderId": is}), since, parent);
        assert!(lies("b", since, "a") && lies("a", since, "a") && !lies("told", since, "a"));
        // Where nothing was told then.
        let since = Since::default();
        assert!(lies("b", since, "a") && !lies("a", since, "a") && !lies("b", since, ""));
        assert!(!lies_elsewhere(&Value::Null, since, "a"));
    }

    #[test]
    fn what_something_holds_is_told_alike_in_all_forms_of_it() {
        let names = ["a", "b", "c"];
        let told = json!({"a": {"x": 1, "y": null, "@odata.etag": "1"}, "b": "", "c": [], "changeKey": "1"});
        let again = json!({"c": null, "a": {"y": "", "x": 1}, "changeKey": "2"});
        assert_eq!(state(&told, &names), state(&again, &names));
        assert_eq!(state(&Value::Null, &names), "");
        for other in [json!({"a": {"x": 2}}), json!({"a": {"x": 1}, "b": "b"}), json!({"a": {"x": 1}, "c": [null]})] {
            assert_ne!(state(&told, &names), state(&other, &names), "{other}");
        }
    }
}
