//! `snapshots`: lists the snapshots of a repository.

use serde_json::json;

use crate::cli::app::App;
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Column};
use crate::error::Result;
use crate::snapshot::store::{self, Snapshot};

const EXAMPLES: &str = "\
Examples:
  tenantvault snapshots
  tenantvault snapshots everyone --latest 3
  tenantvault snapshots --json | jq -r 'select(.message_type==\"snapshot\").id'";

/// List the snapshots
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only those of these backup sets
    #[arg(value_name = "SET")]
    sets: Vec<String>,
    /// Only those with this tag; given several times: with all of them
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only the newest N of each set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    latest: Option<u32>,
}

/// Lists snapshots, the oldest first.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open_to_read().await?;
    let listing = app.snapshots(&repo).await?;
    for name in &args.sets {
        // A set that is configured may have none yet.
        if !app.config()?.is_some_and(|config| config.sets.contains_key(name)) {
            store::need_set(&listing.snapshots, name)?;
        }
    }
    let wanted = |s: &&Snapshot| {
        (args.sets.is_empty() || args.sets.contains(&s.file.set_name))
            && args.tag.iter().all(|t| s.file.tags.contains(t))
    };
    let mut chosen: Vec<&Snapshot> = listing.snapshots.iter().filter(wanted).collect();
    if let Some(latest) = args.latest {
        chosen = newest_of_each(&chosen, latest as usize);
    }
    let mut rows = Vec::with_capacity(chosen.len());
    for snapshot in &chosen {
        rows.push(row(app, snapshot));
        app.screen.record("snapshot", &value(snapshot))?;
    }
    if chosen.is_empty() {
        app.screen.line("No snapshots")?;
    } else {
        let columns = [
            Column::Fixed("ID"),
            Column::Fixed("Time"),
            Column::Text("Set"),
            Column::Number("Items"),
            Column::Number("Stored"),
            Column::Number("Gaps"),
            Column::Text(""),
        ];
        app.screen.table(&columns, &rows)?;
        app.screen.line(output::count(chosen.len() as u64, "snapshot", "snapshots"))?;
    }
    app.screen.summary(&json!({"snapshots": chosen.len(), "unreadable": listing.broken.len()}))?;
    Ok(if listing.broken.is_empty() { Outcome::Done } else { Outcome::Gaps })
}

fn newest_of_each<'a>(snapshots: &[&'a Snapshot], count: usize) -> Vec<&'a Snapshot> {
    let newer = |s: &Snapshot, than: usize| {
        snapshots.iter().enumerate().filter(|(n, other)| *n > than && other.file.set == s.file.set).count()
    };
    snapshots.iter().enumerate().filter(|(n, s)| newer(s, *n) < count).map(|(_, s)| *s).collect()
}

fn row(app: &App, snapshot: &Snapshot) -> Vec<String> {
    let file = &snapshot.file;
    let mut notes = file.tags.iter().map(|tag| output::plain(tag)).collect::<Vec<_>>();
    if !file.complete {
        notes.insert(0, "incomplete".to_owned());
    }
    vec![
        snapshot.id.short(),
        app.screen.time(file.time_us),
        output::plain(&file.set_name),
        output::number(file.totals.items),
        output::size(file.totals.bytes_stored),
        output::number(file.totals.gaps),
        notes.join(", "),
    ]
}

/// A snapshot as JSON.
pub(crate) fn value(snapshot: &Snapshot) -> serde_json::Value {
    let file = &snapshot.file;
    json!({
        "id": snapshot.id.to_string(),
        "short_id": snapshot.id.short(),
        "time_us": file.time_us,
        "time": output::time(file.time_us, &jiff::tz::TimeZone::UTC).replace(' ', "T") + "Z",
        "set": file.set_name,
        "tenant": file.tenant,
        "host": file.host,
        "program": file.program,
        "tags": file.tags,
        "parent": file.parent.map(|id| id.to_string()),
        "complete": file.complete,
        "totals": file.totals,
    })
}
