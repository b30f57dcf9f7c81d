//! A page of a collection. Its rows stay text until each is looked at: as parsed values a page of messages takes five
//! times the memory, and many collections are read at once.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// A page of a collection.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The rows, as they came. May be empty although more pages follow.
    pub rows: Rows,
    /// The link to the next page, to be followed verbatim.
    pub next_link: Option<String>,
    /// The link to save: asks next time what changed since.
    pub delta_link: Option<String>,
}

/// The rows of a page.
#[derive(Clone, Default)]
pub struct Rows {
    body: Bytes,
    places: Vec<Range<usize>>,
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    value: Vec<&'a RawValue>,
    #[serde(rename = "@odata.nextLink", default)]
    next_link: Option<String>,
    #[serde(rename = "@odata.deltaLink", default)]
    delta_link: Option<String>,
}

impl Page {
    /// Reads the body of an answer.
    pub(crate) fn read(body: Bytes) -> serde_json::Result<Self> {
        let start = body.as_ptr() as usize;
        let told: Told<'_> = serde_json::from_slice(&body)?;
        let place = |row: &&RawValue| {
            // Borrowed from the body, so it lies in it.
            let from = (row.get().as_ptr() as usize).saturating_sub(start);
            from..from + row.get().len()
        };
        let places = told.value.iter().map(place).collect();
        let link = |link: Option<String>| link.filter(|link| !link.is_empty());
        let (next_link, delta_link) = (link(told.next_link), link(told.delta_link));
        Ok(Self { rows: Rows { body, places }, next_link, delta_link })
    }
}

impl Rows {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Parses row after row.
    ///
    /// [`crate::ErrorKind::Corrupt`] for one that is nested deeper than any of Graph's.
    pub fn values(&self) -> impl Iterator<Item = Result<Value>> {
        self.places.iter().map(|place| {
            let text = self.body.get(place.clone()).unwrap_or_default();
            serde_json::from_slice(text)
                .map_err(|e| Error::corrupt(format!("A row of a page cannot be read (column {})", e.column())))
        })
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_those_of_the_body() {
        let body = r#"{"@odata.context":"x","value":[ {"id": "a\u00e4"} , 7,"t",[],null ],"@odata.nextLink":"n","@odata.deltaLink":""}"#;
        let page = Page::read(Bytes::from_static(body.as_bytes())).unwrap();
        let rows: Vec<Value> = page.rows.values().map(Result::unwrap).collect();
        assert_eq!(rows, [json!({"id": "aä"}), json!(7), json!("t"), json!([]), Value::Null]);
        assert_eq!((page.next_link.as_deref(), page.delta_link), (Some("n"), None));
    }

    #[test]
    fn what_is_no_page_is_refused_and_no_row_is_lost_silently() {
        for body in ["", "[]", "{}", r#"{"value":{}}"#, r#"{"value":null}"#, r#"{"value":[1"#, r#"{"value":[{]}"#] {
            assert!(Page::read(Bytes::from_static(body.as_bytes())).is_err(), "{body}");
        }
        let deep = format!(r#"{{"value":[{}{}]}}"#, "[".repeat(1_000), "]".repeat(1_000));
        let read = Page::read(Bytes::from(deep));
        assert!(read.is_err() || read.is_ok_and(|page| page.rows.values().all(|row| row.is_err())));
    }
}
