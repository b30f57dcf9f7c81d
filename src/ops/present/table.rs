//! Lists as one table: CSV (RFC 4180) in UTF-8, with the mark at its beginning without which Excel reads other letters.
//!
//! A text that begins as a formula does (`=`, `+`, `-`, `@`, a tab) gets a `'` before it, so that no spreadsheet runs what
//! somebody wrote into a list; numbers stay as they are, and Graph's JSON beside the table has every value exactly.

use serde_json::Value;

use super::out::Out;
use super::stored::{Stored, is, word};
use crate::error::{Error, Result};
use crate::format::record::{ItemKind, Record};
use crate::m365::facts::at;

const BYTE_ORDER_MARK: &str = "\u{feff}";
/// More columns than this no list has.
const MOST_COLUMNS: usize = 2_000;

/// A column of the table: the field of an item, and what people call it.
struct Column {
    field: String,
    title: String,
}

/// Writes the table of a list.
pub(super) async fn write(stored: &Stored, record: &Record, out: &mut Out) -> Result<()> {
    let columns = columns(stored).await?;
    let mut titles = vec!["ID".to_owned()];
    titles.extend(columns.iter().map(|column| column.title.clone()));
    out.push(BYTE_ORDER_MARK).await;
    out.push(row(&titles)?).await;
    let mut below = stored.below(&record.id);
    while let Some(item) = below.next().await? {
        if item.kind != ItemKind::ListItem {
            continue;
        }
        let json = stored.json(&item).await?;
        let mut cells = vec![guarded(&item.id)];
        cells.extend(columns.iter().map(|column| at(&json, &["fields", &column.field]).map_or(String::new(), cell)));
        out.push(row(&cells)?).await;
    }
    Ok(())
}

/// The columns that people see, in the order of their names. They hang beside the list, not below it.
async fn columns(stored: &Stored) -> Result<Vec<Column>> {
    let (mut columns, mut below) = (Vec::new(), stored.below(""));
    while let Some(record) = below.next().await? {
        if record.kind != ItemKind::Column || columns.len() >= MOST_COLUMNS {
            continue;
        }
        let json = stored.json(&record).await?;
        if is(&json, "hidden") {
            continue;
        }
        let field = word(&json, &["name"]).to_owned();
        let title = if record.name.is_empty() { field.clone() } else { record.name };
        if at(&json, &["lookup"]).is_some() || at(&json, &["personOrGroup"]).is_some() {
            columns.push(Column { field: format!("{field}LookupId"), title: format!("{title} (id)") });
        }
        columns.push(Column { field, title });
    }
    Ok(columns)
}

fn row(cells: &[String]) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let failed = |e: csv::Error| Error::internal("A row cannot be written").with_source(e);
    writer.write_record(cells).map_err(failed)?;
    writer.into_inner().map_err(|e| Error::internal("A row cannot be written").with_source(e.into_error()))
}

/// A field as the text of a cell.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => guarded(text),
        Value::Array(values) => guarded(&values.iter().map(inner).collect::<Vec<_>>().join("; ")),
        Value::Object(_) => guarded(&inner(value)),
    }
}

/// What people would call a value: the text that a lookup, a person, a term or a link shows.
fn inner(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(map) => {
            let shown = ["LookupValue", "Label", "DisplayName"].iter().find_map(|key| map.get(*key)?.as_str());
            match (shown, map.get("Url").and_then(Value::as_str)) {
                (Some(shown), _) => shown.to_owned(),
                (None, Some(url)) => {
                    let description = map.get("Description").and_then(Value::as_str).filter(|text| *text != url);
                    description.map_or_else(|| url.to_owned(), |text| format!("{text} <{url}>"))
                }
                (None, None) => value.to_string(),
            }
        }
        other => other.to_string(),
    }
}

/// Text that no spreadsheet takes for a formula.
fn guarded(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_what_people_see_and_no_formula() {
        for (value, text) in [
            (json!("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0"),
            (json!("-5"), "'-5"),
            (json!(-5), "-5"),
            (json!(true), "true"),
            (json!(null), ""),
            (json!(["a", "b"]), "a; b"),
            (json!([{"LookupId": 3, "LookupValue": "Ada"}, {"LookupId": 4, "LookupValue": "Bob"}]), "Ada; Bob"),
            (json!({"Url": "https://x.org", "Description": "X"}), "X <https://x.org>"),
            (json!({"odd": 1}), "{\"odd\":1}"),
        ] {
            assert_eq!(cell(&value), text);
        }
        let cells = ["a,b".to_owned(), "c\"d".to_owned(), "e\nf".to_owned(), String::new()];
        assert_eq!(row(&cells).unwrap(), b"\"a,b\",\"c\"\"d\",\"e\nf\",\r\n");
    }
}
