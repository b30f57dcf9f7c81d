//! Which fields of a list's items are asked for. Unnamed, SharePoint leaves out hidden fields and what a lookup shows; all named
//! in one request can be more than an address may hold.

use serde_json::{Map, Value};

use crate::graph::links::query_value;
use crate::m365::facts::{at, text};

/// The longest list of names in one request, in bytes. A query may be 2,048 long.
const NAMES: usize = 1_500;

/// The fields of a list's items, in as many parts as it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    parts: Vec<String>,
    /// Other fields were asked for before. What changed since this time, in microseconds since 1970, may have been read
    /// without some that were there.
    others_until_us: Option<i64>,
}

impl Fields {
    /// Takes the names out of the columns of a list.
    pub(super) fn of(columns: &[Value]) -> Self {
        let mut names = Vec::new();
        for column in columns {
            let Some(name) = text(column, &["name"]).filter(|name| !name.is_empty()) else { continue };
            names.push(name.to_owned());
            if at(column, &["lookup"]).is_some() || at(column, &["personOrGroup"]).is_some() {
                names.push(format!("{name}LookupId"));
            }
        }
        Self::named(&names)
    }

    /// Reads what [`Fields::text`] wrote.
    pub(super) fn from_text(text: &str) -> Self {
        let names: Vec<String> = text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self::named(&names)
    }

    /// These names.
    pub(super) fn named(names: &[String]) -> Self {
        let mut parts: Vec<String> = Vec::new();
        for name in names {
            match parts.last_mut() {
                Some(part) if part.len() + 1 + name.len() <= NAMES => {
                    part.push(',');
                    part.push_str(name);
                }
                _ => parts.push(name.clone()),
            }
        }
        Self { parts, others_until_us: None }
    }

    /// The same fields, if those of the last reading were others: it began after the list had changed at this time.
    pub(super) fn after(mut self, before: Option<&str>, list_changed_us: Option<i64>) -> Self {
        self.others_until_us = list_changed_us.filter(|_| before.is_some_and(|before| before != self.text()));
        self
    }

    /// Says whether an item that changed then may be known with fewer fields than its versions had.
    pub(super) fn doubts(&self, changed_us: Option<i64>) -> bool {
        self.others_until_us.is_some_and(|since| changed_us.is_none_or(|changed| changed >= since))
    }

    /// All names, with commas between.
    pub(super) fn text(&self) -> String {
        self.parts.join(",")
    }

    /// The expansion that the first request asks for.
    pub(super) fn first(&self) -> String {
        self.parts.first().map_or_else(|| "fields".to_owned(), |part| expansion(part))
    }

    /// The expansions that further requests ask for.
    pub(super) fn further(&self) -> impl Iterator<Item = String> + '_ {
        self.parts.iter().skip(1).map(|part| expansion(part))
    }
}

fn expansion(names: &str) -> String {
    format!("fields($select={})", query_value(names))
}

/// Adds the fields that one answer has to those that an earlier one of the same thing had.
pub(super) fn merge(into: &mut Value, mut from: Value) {
    let Some(more) = from.get_mut("fields").and_then(Value::as_object_mut).map(std::mem::take) else { return };
    match into.get_mut("fields").and_then(Value::as_object_mut) {
        Some(fields) => fields.extend(more),
        None => {
            if let Some(object) = into.as_object_mut() {
                object.insert("fields".to_owned(), Map::into(more));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn many_names_are_split_and_none_is_lost() {
        let columns: Vec<Value> =
            (0..300).map(|n| json!({"name": format!("Column_x0020_number_{n}"), "text": {}})).collect();
        let fields = Fields::of(&columns);
        let all = [fields.first()].into_iter().chain(fields.further()).collect::<Vec<_>>();
        assert!(all.len() > 3 && all.iter().all(|part| part.len() < 1_600));
        for n in 0..300 {
            let name = format!("Column_x0020_number_{n}");
            let found = all.iter().filter(|part| part.split(['=', ',', ')']).any(|word| word == name));
            assert_eq!(found.count(), 1);
        }
        assert_eq!(Fields::from_text(&fields.text()), fields);
        assert_eq!(Fields::of(&[]).first(), "fields");
    }

    #[test]
    fn a_lookup_is_asked_for_with_its_id() {
        let columns =
            [json!({"name": "Who", "personOrGroup": {}}), json!({"name": "To", "lookup": {}}), json!({"id": 7})];
        assert_eq!(Fields::of(&columns).text(), "Who,WhoLookupId,To,ToLookupId");
    }

    #[test]
    fn fields_of_several_answers_are_put_together() {
        let mut one = json!({"id": "1", "fields": {"a": 1}});
        merge(&mut one, json!({"id": "1", "fields": {"b": 2}}));
        merge(&mut one, json!({"id": "1"}));
        assert_eq!(one, json!({"id": "1", "fields": {"a": 1, "b": 2}}));
        let mut none = json!({"id": "1"});
        merge(&mut none, json!({"fields": {"b": 2}}));
        assert_eq!(none, json!({"id": "1", "fields": {"b": 2}}));
    }
}
