//! What `backup --dry-run` prints.

use serde_json::json;

use crate::cli::app::App;
use crate::cli::coverage::Absent;
use crate::cli::output::{self, Column};
use crate::error::Result;
use crate::ops::estimate::{Estimate, Extent};

/// Prints what a backup of a set would read.
pub(crate) fn show(app: &App, set: &str, estimate: &Estimate, absent: &Absent) -> Result<()> {
    let screen = &app.screen;
    let known = |value: Option<u64>, shown: fn(u64) -> String| value.map_or_else(|| "not known".to_owned(), shown);
    let mut rows = Vec::new();
    for part in &estimate.parts {
        screen.record(
            "collection",
            &json!({
                "set": set,
                "collection": part.key.to_string(),
                "name": part.name,
                "reads": part.extent.word(),
                "items": part.items,
                "bytes": part.bytes.filter(|_| part.extent != Extent::Changes),
                "counted_by": part.counted_by.word(),
                "requests": part.cost.requests,
                "units": part.cost.units,
            }),
        )?;
        let changes = part.extent == Extent::Changes;
        let items = known(part.items, output::number);
        rows.push(vec![
            output::plain(&part.name),
            part.extent.word().to_owned(),
            if changes { format!("of {items}") } else { items },
            if changes { String::new() } else { known(part.bytes, output::size) },
            output::number(part.cost.requests),
        ]);
    }
    let columns = [
        Column::Text("Collection"),
        Column::Fixed("Reads"),
        Column::Number("Items"),
        Column::Number("Size"),
        Column::Number("Requests"),
    ];
    screen.table(&columns, &rows)?;
    for text in &absent.warnings {
        screen.warn(output::plain(text));
    }
    for text in &absent.notes {
        screen.line(format!("Nothing to read: {}", output::plain(text)))?;
    }
    screen.line(format!(
        "A backup of set '{set}' would read about {} ({}) of {} with {}, in {} or more",
        output::count(estimate.items, "item", "items"),
        output::size(estimate.bytes),
        output::count(estimate.parts.len() as u64, "collection", "collections"),
        output::count(estimate.requests, "request", "requests"),
        output::duration(estimate.time),
    ))?;
    for sentence in &estimate.how {
        screen.line(format!("  {}.", output::plain(sentence)))?;
    }
    screen.summary(&json!({
        "set": set,
        "dry_run": true,
        "collections": estimate.parts.len(),
        "items": estimate.items,
        "bytes": estimate.bytes,
        "requests": estimate.requests,
        "file_units": estimate.file_units,
        "seconds": estimate.time.as_secs_f64(),
        "how": estimate.how,
    }))
}
