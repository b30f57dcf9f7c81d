//! `history`: the versions of one item over time.

use serde_json::{Map, Value, json};

use crate::cli::app::App;
use crate::cli::commands::ls::{find, value};
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Column};
use crate::cli::values::{Target, parser};
use crate::error::Result;
use crate::ops::history::{ItemState, Stretch, history};
use crate::ops::present::Face;
use crate::snapshot::store::Snapshot;

const EXAMPLES: &str = "\
Examples:
  tenantvault history latest:users/alice@contoso.com/OneDrive/Plan.docx
  tenantvault history 3f9a12cd:users/alice@contoso.com/Mail/Inbox
All snapshots of the set are looked at, older and newer ones; a line is what stays the
same from one snapshot to another. TAKE is what cat and export take to get that
version back. An item that was moved or renamed is followed.";

/// Show the versions of one item over time
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A snapshot that has the item, and its path there
    #[arg(value_name = "SNAPSHOT:PATH", value_parser = parser::<Target>)]
    target: Target,
}

/// Prints the versions, the oldest first.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open_to_read().await?;
    let listing = app.snapshots(&repo).await?;
    let of = find(&listing.snapshots, &args.target)?;
    let (snapshots, stretches) = history(&repo, &listing.snapshots, of, &args.target.path).await?;
    let mut rows = Vec::new();
    let mut outcome = if listing.broken.is_empty() { Outcome::Done } else { Outcome::Gaps };
    for stretch in &stretches {
        let (Some(first), Some(last)) = (snapshots.get(stretch.first), snapshots.get(stretch.last)) else { continue };
        app.screen.record("version", &as_json(stretch, first, last))?;
        rows.push(row(app, stretch, first, last));
        if let ItemState::Unreadable(why) = &stretch.state {
            app.screen.warn(format!("Snapshot {}: {}", first.id.short(), output::plain(why)));
            outcome = Outcome::Gaps;
        }
    }
    let columns = [
        Column::Fixed("From"),
        Column::Fixed("To"),
        Column::Number("Snapshots"),
        Column::Number("Size"),
        Column::Fixed("Modified"),
        Column::Fixed("Version"),
        Column::Text("Take"),
    ];
    app.screen.table(&columns, &rows)?;
    let versions = stretches.iter().filter(|stretch| matches!(stretch.state, ItemState::There(..))).count();
    app.screen.summary(&json!({"versions": versions, "snapshots": snapshots.len()}))?;
    Ok(outcome)
}

fn row(app: &App, stretch: &Stretch, first: &Snapshot, last: &Snapshot) -> Vec<String> {
    let minute = |us: i64| app.screen.time(us).chars().take(16).collect::<String>();
    let mut cells = vec![
        minute(first.file.time_us),
        minute(last.file.time_us),
        output::number((stretch.last - stretch.first + 1) as u64),
    ];
    let take = match &stretch.state {
        ItemState::There(record, path, gap) => {
            let time = record.modified_us.or(record.sort_us).map_or(String::new(), minute);
            cells.extend([output::size(record.size_bytes), time, version_tag(&record.version)]);
            let gap = gap.as_ref().map_or(String::new(), |gap| format!(" (a gap: {})", gap.text));
            format!("{}:{path}{gap}", last.id.short())
        }
        ItemState::Absent => {
            cells.extend([String::new(), String::new(), String::new()]);
            "not there: deleted, or moved away".to_owned()
        }
        ItemState::Missing(gap) => {
            cells.extend([String::new(), String::new(), String::new()]);
            format!("a gap: {}", gap.text)
        }
        ItemState::Unreadable(_) => {
            cells.extend([String::new(), String::new(), String::new()]);
            "damaged".to_owned()
        }
    };
    cells.push(take);
    cells
}

/// The end of a version tag: their beginnings are alike.
fn version_tag(tag: &str) -> String {
    const LENGTH: usize = 12;
    let tag: Vec<char> = tag.chars().filter(|c| !matches!(c, '"' | '{' | '}')).collect();
    let end: String = tag.iter().skip(tag.len().saturating_sub(LENGTH)).collect();
    if tag.len() > LENGTH { format!("…{end}") } else { end }
}

fn as_json(stretch: &Stretch, first: &Snapshot, last: &Snapshot) -> Value {
    let mut line = Map::new();
    let seen = |s: &Snapshot| json!({"id": s.id.to_string(), "time_us": s.file.time_us});
    let state = match &stretch.state {
        ItemState::There(..) => "there",
        ItemState::Absent => "absent",
        ItemState::Missing(_) => "gap",
        ItemState::Unreadable(_) => "unreadable",
    };
    line.insert("state".into(), state.into());
    line.insert("first_snapshot".into(), seen(first));
    line.insert("last_snapshot".into(), seen(last));
    line.insert("snapshots".into(), (stretch.last - stretch.first + 1).into());
    match &stretch.state {
        ItemState::There(record, path, gap) => {
            line.insert("take".into(), format!("{}:{path}", last.id).into());
            line.insert("version".into(), record.version.as_str().into());
            if let Value::Object(item) = value(path, Some(record), Face::Item) {
                line.extend(item);
            }
            if let Some(gap) = gap {
                line.insert("gap".into(), gap.text.as_str().into());
            }
        }
        ItemState::Missing(gap) => drop(line.insert("gap".into(), gap.text.as_str().into())),
        ItemState::Unreadable(why) => drop(line.insert("error".into(), why.as_str().into())),
        ItemState::Absent => {}
    }
    Value::Object(line)
}
