//! `diff`: compares two snapshots.

use serde_json::json;

use crate::cli::app::App;
use crate::cli::commands::ls::value;
use crate::cli::exit::Outcome;
use crate::cli::output;
use crate::error::Result;
use crate::ops::diff::{Difference, Kind, diff};
use crate::ops::present::Face;
use crate::snapshot::store;

const EXAMPLES: &str = "\
Examples:
  tenantvault diff everyone@2026-11-19 everyone@2026-11-20
  tenantvault diff 3f9a12cd latest
The first character of a line says what happened:
  +  added        -  removed         M  contents changed
  R  moved or renamed                U  facts changed (read, flagged, times)";

/// Compare two snapshots
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The older snapshot
    #[arg(value_name = "SNAPSHOT")]
    old: String,
    /// The newer snapshot
    #[arg(value_name = "SNAPSHOT")]
    new: String,
}

#[derive(Default)]
struct Counts {
    added: u64,
    removed: u64,
    changed: u64,
    moved: u64,
    touched: u64,
}

/// Prints what changed, item by item, then the counts.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open_to_read().await?;
    let listing = app.snapshots(&repo).await?;
    let old = store::find(&listing.snapshots, &args.old)?;
    let new = store::find(&listing.snapshots, &args.new)?;
    let mut counts = Counts::default();
    let mut visit = |difference: Difference| show(app, &difference, &mut counts);
    diff(&repo, &old.file, &new.file, &mut visit).await?;
    app.screen.line(format!(
        "{} added, {} removed, {} changed, {} moved, {} with other facts",
        output::number(counts.added),
        output::number(counts.removed),
        output::number(counts.changed),
        output::number(counts.moved),
        output::number(counts.touched),
    ))?;
    app.screen.summary(&json!({
        "old": old.id.to_string(),
        "new": new.id.to_string(),
        "added": counts.added,
        "removed": counts.removed,
        "changed": counts.changed,
        "moved": counts.moved,
        "touched": counts.touched,
    }))?;
    Ok(Outcome::Done)
}

fn show(app: &App, difference: &Difference, counts: &mut Counts) -> Result<()> {
    let (mark, word, count) = match difference.kind {
        Kind::Added => ('+', "added", &mut counts.added),
        Kind::Removed => ('-', "removed", &mut counts.removed),
        Kind::Changed => ('M', "changed", &mut counts.changed),
        Kind::Moved => ('R', "moved", &mut counts.moved),
        Kind::Touched => ('U', "touched", &mut counts.touched),
    };
    *count += 1;
    if app.screen.json {
        let mut line = json!({"change": word, "kind": difference.record.kind.word()});
        if let (Some(line), Some(item)) =
            (line.as_object_mut(), value(&difference.path, Some(&difference.record), Face::Item).as_object())
        {
            line.extend(item.clone());
            if let Some(old) = &difference.old_path {
                line.insert("old_path".into(), old.as_str().into());
            }
        }
        return app.screen.record("change", &line);
    }
    let path = output::plain(&difference.path);
    match &difference.old_path {
        Some(old) => app.screen.line(format!("{mark} {} -> {path}", output::plain(old))),
        None => app.screen.line(format!("{mark} {path}")),
    }
}
