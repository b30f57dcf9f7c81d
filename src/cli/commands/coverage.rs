//! `coverage`: what of the tenant a snapshot protects, and what it does not.

use serde_json::{Value, json};

use crate::cli::app::App;
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Column};
use crate::cli::report;
use crate::cli::values::Target;
use crate::error::Result;
use crate::format::snapshot::{CoverageEntry, Protection};
use crate::ops::coverage::{self, Change};
use crate::snapshot::store;

const EXAMPLES: &str = "\
Examples:
  tenantvault coverage latest
  tenantvault coverage everyone@latest --all
  tenantvault coverage latest --csv > coverage.csv
  tenantvault coverage latest --html > coverage.html
  tenantvault coverage latest --json | jq -r 'select(.state==\"partly\").name'

What is not protected is listed with the reason; --all lists the rest too. Then
follows what changed since the snapshot before of the same set.";

/// Show what of the tenant a snapshot protects, and why not the rest
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The snapshot
    #[arg(value_name = "SNAPSHOT")]
    target: Target,
    /// List also what is protected and what the set leaves out
    #[arg(long)]
    all: bool,
    /// Print everything as CSV
    #[arg(long, conflicts_with_all = ["html", "json"])]
    csv: bool,
    /// Print everything as a web page
    #[arg(long, conflicts_with = "json")]
    html: bool,
}

/// Prints the coverage of a snapshot.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open_to_read().await?;
    let listing = app.snapshots(&repo).await?;
    let snapshot = store::find(&listing.snapshots, &args.target.snapshot)?;
    let entries = coverage::of(&repo, snapshot).await?;
    let before = match coverage::previous(&listing.snapshots, snapshot) {
        Some(previous) => Some(coverage::of(&repo, previous).await?),
        None => None,
    };
    let changes = before.map(|before| coverage::changes(&before, &entries)).unwrap_or_default();
    let screen = &app.screen;
    if args.csv {
        screen.bytes(report::csv(&entries, &screen.zone)?.as_bytes())?;
    } else if args.html {
        let title = format!("Coverage of {} at {}", snapshot.file.set_name, screen.time(snapshot.file.time_us));
        screen.bytes(report::html(&title, &entries, &changes, &screen.zone).as_bytes())?;
    } else {
        print(app, &entries, &changes, args.all)?;
    }
    Ok(Outcome::Done)
}

fn print(app: &App, entries: &[CoverageEntry], changes: &[Change], all: bool) -> Result<()> {
    let screen = &app.screen;
    let told = |entry: &&CoverageEntry| all || !matches!(entry.state, Protection::Protected | Protection::NotSelected);
    for entry in entries {
        screen.record("coverage", &value(entry))?;
    }
    let rows: Vec<Vec<String>> = entries.iter().filter(told).map(row).collect();
    if entries.is_empty() {
        screen.line("This snapshot does not say what it covers: it was made by an early version")?;
    } else if rows.is_empty() {
        screen.line("Everything that the set selects is protected")?;
    } else {
        let columns = [
            Column::Text("Whose"),
            Column::Fixed("What"),
            Column::Fixed("State"),
            Column::Number("Items"),
            Column::Text("Why"),
        ];
        screen.table(&columns, &rows)?;
    }
    for change in changes {
        screen.record(
            "change",
            &json!({"before": change.before.as_ref().map(value), "now": change.now.as_ref().map(value)}),
        )?;
    }
    if !changes.is_empty() {
        screen.line("")?;
        screen.line("Changed since the snapshot before:")?;
        for change in changes {
            screen.line(format!("  {}", output::plain(&report::sentence(change))))?;
        }
    }
    let count = |state: Protection| entries.iter().filter(|entry| entry.state == state).count();
    screen.summary(&json!({
        "protected": count(Protection::Protected),
        "partly": count(Protection::Partly),
        "unreadable": count(Protection::Unreadable),
        "impossible": count(Protection::Impossible),
        "nothing": count(Protection::Nothing),
        "not_selected": count(Protection::NotSelected),
        "left": count(Protection::Left),
        "changes": changes.len(),
    }))
}

fn row(entry: &CoverageEntry) -> Vec<String> {
    let what = if entry.workload.is_empty() { "all".to_owned() } else { entry.workload.clone() };
    let items = if entry.items == 0 { String::new() } else { output::number(entry.items) };
    vec![output::plain(&entry.name), what, entry.state.word().to_owned(), items, output::plain(&entry.reason)]
}

fn value(entry: &CoverageEntry) -> Value {
    json!({
        "owner": entry.owner,
        "name": entry.name,
        "workload": entry.workload,
        "state": entry.state.word(),
        "reason": entry.reason,
        "items": entry.items,
        "gaps": entry.gaps,
        "since_us": entry.since_us,
    })
}
