//! `export`: writes items of a snapshot to a folder.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::app::App;
use crate::cli::commands::ls::find;
use crate::cli::exit::Outcome;
use crate::cli::values::{Target, absolute, parser};
use crate::cli::{interrupt, output};
use crate::error::Result;
use crate::ops::backup::Stop;
use crate::ops::export::{ExportOptions, export};
use crate::ops::view::View;

const EXAMPLES: &str = "\
Examples:
  tenantvault export latest:users/alice@contoso.com restored/
  tenantvault export everyone@2026-11-20:users/alice@contoso.com/Mail/Inbox inbox/
Messages become .eml files, files stay files; both get their times. Names that
no disk takes are changed. An export that was stopped goes on where it was.";

/// Write messages and files of a snapshot to a folder
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The snapshot, and a path in it; without a path all of it
    #[arg(value_name = "SNAPSHOT[:PATH]", value_parser = parser::<Target>)]
    target: Target,
    /// The folder to write to; made if it is not there
    dir: PathBuf,
    /// Replace files that are there with other contents
    #[arg(long)]
    overwrite: bool,
}

/// Writes what lies at a path, and below it.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open_to_read().await?;
    let listing = app.snapshots(&repo).await?;
    let snapshot = find(&listing.snapshots, &args.target)?;
    let view = View::new(repo, snapshot.file.clone());
    let place = view.resolve(&args.target.path).await?;
    let dir = absolute(&app.environment.working_folder, &args.dir);
    let stop = Stop::new();
    if !app.screen.captured {
        interrupt::watch(&stop, "Stopping: files under way are finished or taken away.");
    }
    let monitor = app.progress(true);
    let options = ExportOptions { overwrite: args.overwrite };
    let result = export(&view, &place, &dir, options, &*monitor, &stop).await;
    monitor.finish();
    let report = result?;
    let skipped =
        if report.skipped > 0 { format!("; {} there already", output::number(report.skipped)) } else { String::new() };
    app.screen.report(format!(
        "Exported {} and {}, {}, to {}{skipped}",
        output::count(report.files, "file", "files"),
        output::count(report.folders, "folder", "folders"),
        output::size(report.bytes),
        args.dir.display(),
    ))?;
    if !report.problems.is_empty() {
        let count = output::count(report.problems.len() as u64, "item was", "items were");
        app.screen.note(format!("{count} not written"));
        if report.damaged > 0 {
            app.screen.note("Hint: contents are lost or damaged; run check --read-data, and try an earlier snapshot");
        }
    }
    app.screen.summary(&json!({
        "snapshot": snapshot.id.to_string(),
        "folder": dir.display().to_string(),
        "files": report.files,
        "folders": report.folders,
        "bytes": report.bytes,
        "skipped": report.skipped,
        "problems": report.problems.len(),
        "damaged": report.damaged,
    }))?;
    Ok(if report.problems.is_empty() { Outcome::Done } else { Outcome::Gaps })
}
