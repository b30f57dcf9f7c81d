//! Values of a list's items, as they go back: which of them Graph takes, in which form, and which it does not.
//!
//! A person or a looked-up item goes by its id in the same site. Several of them come as objects with their ids, and go as a list
//! of ids whose type is named. Source: Microsoft Graph, "fieldValueSet resource type", "Update a column value on a list item".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fields::Fields;
use crate::m365::facts::{at, flag, number, text};
use crate::m365::restore::rows;

/// The facets of columns whose values Graph writes; lookups and people by the ids of their own site.
const WRITTEN: &[&str] = &["text", "number", "currency", "boolean", "dateTime", "choice"];
const BY_ID: &[(&str, &str)] = &[("lookup", "allowMultipleValues"), ("personOrGroup", "allowMultipleSelection")];
/// Columns that SharePoint makes for every list.
pub(super) const STANDARD: &[&str] = &["Attachments", "ContentType", "Edit"];
/// How many columns a note names at most.
const MOST_NAMED: usize = 10;

/// How the values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    Plain,
    /// Several texts: their type is named.
    Texts,
    /// The id of what is looked up.
    Id,
    /// Several ids: so is their type.
    Ids,
}

/// The columns of a list.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// Those that items are written with.
    written: BTreeMap<String, Writes>,
    /// Those whose values follow from others.
    calculated: BTreeSet<String>,
    /// Names of all.
    pub(super) there: BTreeSet<String>,
    /// Those that Graph refused to make, and how it put that.
    pub(super) refused: BTreeMap<String, String>,
    /// Those that people made, as the snapshot has them, and what they call them.
    pub(super) titles: BTreeMap<String, String>,
}

impl Columns {
    /// The columns that a list has now. `original`: ids of people and of other lists' items hold there.
    pub(super) fn of(rows: &[Value], original: bool) -> Self {
        let mut columns = Self::default();
        for row in rows {
            let Some(name) = text(row, &["name"]) else { continue };
            columns.there.insert(name.to_owned());
            if at(row, &["calculated"]).is_some() {
                columns.calculated.insert(name.to_owned());
            }
            let holds = |writes: &Writes| original || !matches!(writes, Writes::Id | Writes::Ids);
            if let Some(writes) = writes(row).filter(holds) {
                columns.written.insert(name.to_owned(), writes);
            }
        }
        columns
    }

    /// What an item is asked for with, so that it tells all values that are written: Graph leaves out those of several ids where
    /// they are not named, and tells nothing else where they are.
    pub(super) fn expansions(&self) -> Vec<String> {
        let several = self.written.iter().filter(|(_, writes)| **writes == Writes::Ids);
        let several: Vec<String> = several.map(|(name, _)| name.clone()).collect();
        let mut all = vec!["fields".to_owned()];
        if !several.is_empty() {
            let named = Fields::named(&several);
            all.push(named.first());
            all.extend(named.further());
        }
        all
    }

    /// The fields of an item that can be written.
    pub(super) fn fields(&self, item: &Value) -> Map<String, Value> {
        let mut fields = Map::new();
        for (name, writes) in &self.written {
            let id = format!("{name}LookupId");
            match writes {
                Writes::Id => {
                    if let Some(value) = at(item, &["fields", &id]) {
                        fields.insert(id, value.clone());
                    }
                }
                Writes::Ids => {
                    if let Some(ids) = ids(item, name) {
                        fields.insert(format!("{id}@odata.type"), "Collection(Edm.Int32)".into());
                        fields.insert(id, ids.into());
                    }
                }
                Writes::Plain | Writes::Texts => {
                    let Some(value) = at(item, &["fields", name]) else { continue };
                    if *writes == Writes::Texts {
                        fields.insert(format!("{name}@odata.type"), "Collection(Edm.String)".into());
                    }
                    fields.insert(name.clone(), value.clone());
                }
            }
        }
        fields
    }

    /// Notes which values of an item are not among those that are sent, nor in what is there.
    pub(super) fn lost(&self, item: &Value, sent: &Map<String, Value>, there: &Value) -> Vec<String> {
        let is_lost = |name: &str| {
            let id = format!("{name}LookupId");
            let has = |field: &str| {
                let value = at(item, &["fields", field]);
                value.is_some_and(|value| !rows::state_of(value).is_empty()) && at(there, &["fields", field]) != value
            };
            let goes = sent.contains_key(name) || sent.contains_key(&id) || self.calculated.contains(name);
            !goes && (has(name) || has(&id))
        };
        let lost: Vec<&str> =
            self.titles.iter().filter(|(name, _)| is_lost(name)).map(|(_, title)| title.as_str()).collect();
        let (named, more) = lost.split_at(lost.len().min(MOST_NAMED));
        match (named, more.len()) {
            ([], _) => Vec::new(),
            (named, 0) => vec![format!("{}: not written", named.join(", "))],
            (named, more) => vec![format!("{} and {more} more: not written", named.join(", "))],
        }
    }
}

/// The ids of what a field names, several at once.
fn ids(item: &Value, name: &str) -> Option<Vec<u64>> {
    let all = |field: &str, path: &[&str]| -> Option<Vec<u64>> {
        at(item, &["fields", field])?.as_array()?.iter().map(|one| number(one, path)).collect()
    };
    let ids = all(name, &["LookupId"]).or_else(|| all(&format!("{name}LookupId"), &[]))?;
    (!ids.is_empty()).then_some(ids)
}

/// How the values of a column are written; `None`: they cannot be.
fn writes(column: &Value) -> Option<Writes> {
    let name = text(column, &["name"])?;
    let fixed = flag(column, &["readOnly"]) == Some(true) || flag(column, &["isSealed"]) == Some(true);
    if fixed || name.starts_with('_') || STANDARD.contains(&name) {
        return None;
    }
    let has = |facet: &str| at(column, &[facet]).is_some();
    if let Some((facet, several)) = BY_ID.iter().find(|(facet, _)| has(facet)) {
        let several = flag(column, &[facet, several]) == Some(true);
        return Some(if several { Writes::Ids } else { Writes::Id });
    }
    WRITTEN.iter().find(|facet| has(facet))?;
    let several = text(column, &["choice", "displayAs"]) == Some("checkBoxes");
    Some(if several { Writes::Texts } else { Writes::Plain })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows_of() -> Vec<Value> {
        vec![
            json!({"name": "Title", "text": {}}),
            json!({"name": "Who", "personOrGroup": {"allowMultipleSelection": false}}),
            json!({"name": "All", "personOrGroup": {"allowMultipleSelection": true}}),
            json!({"name": "To", "lookup": {"allowMultipleValues": true}}),
            json!({"name": "Sum", "calculated": {}}),
            json!({"name": "Link", "hyperlinkOrPicture": {}}),
        ]
    }

    fn item() -> Value {
        json!({"id": "1", "fields": {
            "Title": "a", "Who": "Ada", "WhoLookupId": "6", "Sum": "2", "Link": {"Url": "https://example.org"},
            "All": [{"LookupId": 6, "LookupValue": "Ada"}, {"LookupId": "7", "LookupValue": "Bob"}], "To": [],
        }})
    }

    fn titles(names: &[&str]) -> BTreeMap<String, String> {
        names.iter().map(|name| ((*name).to_owned(), format!("The {name}"))).collect()
    }

    #[test]
    fn several_people_and_items_go_by_their_ids_whose_type_is_named() {
        let columns = Columns::of(&rows_of(), true);
        let wanted = json!({
            "AllLookupId@odata.type": "Collection(Edm.Int32)", "AllLookupId": [6, 7], "Title": "a", "WhoLookupId": "6",
        });
        assert_eq!(Value::from(columns.fields(&item())), wanted);
        assert_eq!(columns.expansions(), ["fields", "fields($select=All,To)"]);
        let told = json!({"fields": {"ToLookupId": ["3", 4]}});
        assert_eq!(columns.fields(&told)["ToLookupId"], json!([3, 4]));
        for odd in [json!({"fields": {"To": [{"LookupValue": "x"}]}}), json!({"fields": {"To": "3"}}), Value::Null] {
            assert!(columns.fields(&odd).is_empty(), "{odd}");
        }
        let elsewhere = Columns::of(&rows_of(), false);
        assert_eq!(Value::from(elsewhere.fields(&item())), json!({"Title": "a"}));
        assert_eq!(elsewhere.expansions(), ["fields"]);
    }

    #[test]
    fn what_is_not_sent_is_noted_once_by_what_people_call_it() {
        let noted = |original: bool, there: &Value| {
            let names = titles(&["Who", "All", "To", "Sum", "Link", "Term"]);
            let columns = Columns { titles: names, ..Columns::of(&rows_of(), original) };
            columns.lost(&item(), &columns.fields(&item()), there)
        };
        assert_eq!(noted(true, &Value::Null), ["The Link: not written"]);
        assert_eq!(noted(false, &Value::Null), ["The All, The Link, The Who: not written"]);
        // What it holds already is not lost.
        assert_eq!(noted(true, &item()), Vec::<String>::new());
        let wide: Map<String, Value> = (0..12).map(|n| (format!("Term{n:02}"), json!({"Label": "x"}))).collect();
        let names: Vec<&str> = wide.keys().map(String::as_str).collect();
        let columns = Columns { titles: titles(&names), ..Columns::default() };
        let noted = columns.lost(&json!({"fields": wide}), &Map::new(), &Value::Null);
        assert_eq!(noted.len(), 1);
        assert!(
            noted[0].starts_with("The Term00, ") && noted[0].ends_with("The Term09 and 2 more: not written"),
            "{noted:?}"
        );
    }
}
