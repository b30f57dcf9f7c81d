//! Taking facts out of Graph's JSON. Foreign bytes: what is missing or of another type is simply not there.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::format::record::Record;

/// The fact of a record that changes whenever the contents do: it vouches for contents that are kept.
pub(super) const CONTENT_FACT: &str = "content";

/// The text at a path of keys.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str()
}

/// The value at a path of keys, unless it is null.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key)).filter(|value| !value.is_null())
}

/// A yes or no; texts count too, as samples of Graph hold `"true"`.
pub(crate) fn flag(value: &Value, path: &[&str]) -> Option<bool> {
    match at(value, path)? {
        Value::Bool(yes) => Some(*yes),
        Value::String(word) => word.to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

/// A whole number; texts count too, as 64-bit numbers may come as texts.
pub(crate) fn number(value: &Value, path: &[&str]) -> Option<u64> {
    match at(value, path)? {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// A point in time, as microseconds since 1970 UTC.
pub(crate) fn time_us(value: &Value, path: &[&str]) -> Option<i64> {
    text(value, path)?.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

/// Graph's JSON as the bytes of a properties stream.
pub(super) fn properties(value: &Value) -> Bytes {
    let mut bytes = Vec::with_capacity(2048);
    write_json(value, &mut bytes);
    bytes.into()
}

/// Writes a value as compact JSON.
fn write_json(value: &Value, to: &mut Vec<u8>) {
    // A value with texts for keys always has a form, and memory takes it.
    drop(serde_json::to_writer(to, value));
}

/// A short hash over values, to tell whether any of them changed: the first eight bytes of BLAKE3, in hexadecimal.
pub(super) fn short_hash<'a>(values: impl IntoIterator<Item = Option<&'a Value>>) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut text = Vec::with_capacity(256);
    for value in values {
        text.clear();
        // A null and a missing value are one and the same to Graph.
        if let Some(value) = value.filter(|value| !value.is_null()) {
            write_json(value, &mut text);
        }
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(&text);
    }
    hasher.finalize().to_hex().as_str().chars().take(16).collect()
}

/// The facts of a record, in the order that a record wants them.
#[derive(Default)]
pub(super) struct Summary(Vec<(String, String)>);

impl Summary {
    /// Adds a fact, unless it is empty.
    pub(super) fn add(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.push((key.to_owned(), value));
        }
    }

    /// Adds a fact that is "true" or absent.
    pub(super) fn mark(&mut self, key: &str, yes: bool) {
        self.add(key, if yes { "true" } else { "" });
    }

    /// Gives the facts, sorted by key.
    pub(super) fn finish(mut self) -> Vec<(String, String)> {
        self.0.sort();
        self.0
    }
}

/// Sets a fact of a record, or takes it away (`None`).
pub(super) fn set_fact(record: &mut Record, key: &str, value: Option<&str>) {
    record.summary.retain(|(k, _)| k != key);
    if let Some(value) = value {
        let place = record.summary.partition_point(|(k, _)| k.as_str() < key);
        record.summary.insert(place, (key.to_owned(), value.to_owned()));
    }
}

/// Says whether two records tell the same of their item, wherever their streams are.
pub(super) fn same_facts(a: &Record, b: &Record) -> bool {
    let facts = |r: &Record| (r.kind, r.created_us, r.modified_us, r.sort_us, r.size_bytes);
    facts(a) == facts(b)
        && a.id == b.id
        && a.parent == b.parent
        && a.name == b.name
        && a.version == b.version
        && a.summary == b.summary
}

/// A stand-in for an item's id where very many are kept in memory: 16 bytes of its BLAKE3 hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct IdKey([u8; 16]);

impl IdKey {
    /// That of an id.
    pub(crate) fn of(id: &str) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(blake3::hash(id.as_bytes()).as_bytes().split_at(16).0);
        Self(key)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_of_a_wrong_type_are_not_there() {
        let value =
            json!({"a": {"b": 7}, "n": null, "s": "12", "t": "2026-11-01T09:14:00.5Z", "u": "soon", "f": "True"});
        assert_eq!(text(&value, &["a", "b"]), None);
        assert_eq!(number(&value, &["a", "b"]), Some(7));
        assert_eq!(number(&value, &["s"]), Some(12));
        assert_eq!(at(&value, &["n"]), None);
        assert_eq!(at(&value, &["a", "x", "y"]), None);
        assert_eq!(time_us(&value, &["t"]), Some(1_793_524_440_500_000));
        assert_eq!(time_us(&value, &["u"]), None);
        assert_eq!(flag(&value, &["f"]), Some(true));
    }

    #[test]
    fn a_short_hash_tells_values_and_places_apart() {
        let (a, b) = (json!("a"), json!("b"));
        let hash = |values: [Option<&Value>; 2]| short_hash(values);
        assert_eq!(hash([Some(&a), None]), hash([Some(&a), Some(&Value::Null)]));
        assert_ne!(hash([Some(&a), None]), hash([None, Some(&a)]));
        assert_ne!(hash([Some(&a), Some(&b)]), hash([Some(&b), Some(&a)]));
        assert_eq!(hash([None, None]).len(), 16);
        // Kept in records: another hash of the same facts would fetch all contents again.
        let told = json!({"b": ["ü\n", 1.5], "a": {"x": true}});
        assert_eq!(hash([Some(&told), Some(&json!("Plan"))]), "08492a251505abc7");
    }
}
