//! `check`: looks whether everything that the snapshots need is there and whole.

use serde_json::json;

use crate::cli::app::App;
use crate::cli::environment::now_us;
use crate::cli::exit::Outcome;
use crate::cli::output;
use crate::cli::values::{Percent, parser};
use crate::error::Result;
use crate::ops::check::{self, CheckReport};
use crate::repo::ReadData;

const EXAMPLES: &str = "\
Examples:
  tenantvault check                            names and sizes, and all trees
  tenantvault check --read-data                also every byte
  tenantvault check --read-data-subset 5%      also the bytes of some packs";

/// Look whether all that the snapshots need is there and whole
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Read and verify all data
    #[arg(long)]
    read_data: bool,
    /// Read and verify this share of the packs, others every time
    #[arg(long, value_name = "PERCENT", conflicts_with = "read_data", value_parser = some)]
    read_data_subset: Option<Percent>,
}

/// Checks; what it finds to be lost makes it fail.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open().await?;
    let read = match args.read_data_subset {
        Some(Percent(percent)) => ReadData::Percent(percent, now_us().unsigned_abs()),
        None if args.read_data => ReadData::All,
        None => ReadData::No,
    };
    let monitor = app.progress(true);
    let result = check::check(&repo, read, &*monitor).await;
    monitor.finish();
    let report = result?;
    show(app, &report)?;
    if report.has_errors() { Err(check::failure(&report)) } else { Ok(Outcome::Done) }
}

/// A share that is more than nothing: a check that reads no data is asked for without the option.
fn some(text: &str) -> Result<Percent, String> {
    match parser::<Percent>(text)? {
        Percent(0.0) => Err("0% reads no data. Write more, or leave the option out".to_owned()),
        percent => Ok(percent),
    }
}

fn show(app: &App, report: &CheckReport) -> Result<()> {
    let screen = &app.screen;
    for finding in &report.findings {
        let word = if finding.error { "Error" } else { "Note" };
        screen.line(format!("{word}: {}", output::plain(&finding.sentence())))?;
        let pack = finding.pack.map(|id| id.to_string());
        screen.record(
            "finding",
            &json!({"error": finding.error, "object": finding.object, "pack": pack, "message": finding.text}),
        )?;
    }
    for item in &report.items {
        screen.line(format!("Touched: {}", output::plain(item)))?;
        screen.record("item", &json!({"message": item}))?;
    }
    let more = report.items_touched.saturating_sub(report.items.len() as u64);
    if more > 0 {
        screen.line(format!("… and {} more items", output::number(more)))?;
    }
    let verdict = if report.has_errors() { "Damaged" } else { "No errors found" };
    screen.report(format!(
        "{verdict}: {}, {} looked at",
        output::count(report.snapshots as u64, "snapshot", "snapshots"),
        output::count(report.records, "item", "items"),
    ))?;
    screen.summary(&json!({
        "errors": report.findings.iter().filter(|f| f.error).count(),
        "notes": report.findings.iter().filter(|f| !f.error).count(),
        "items_touched": report.items_touched,
        "snapshots": report.snapshots,
        "items": report.records,
    }))
}
