//! `repair`: makes anew what can be made from the rest.

use clap::Subcommand;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::exit::Outcome;
use crate::cli::output;
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  tenantvault repair index
  tenantvault check --read-data";

/// Make anew what can be made from the rest
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make the index anew from the packs that are there
    Index,
}

/// Repairs.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let What::Index = args.what;
    let repo = app.open().await?;
    let monitor = app.progress(true);
    let result = repo.repair_index(&*monitor).await;
    monitor.finish();
    let (packs, findings) = result?;
    for finding in &findings {
        app.screen.line(output::plain(&finding.sentence()))?;
        app.screen
            .record("finding", &json!({"error": finding.error, "object": finding.object, "message": finding.text}))?;
    }
    app.screen.report(format!("The index is made anew: {}", output::count(packs as u64, "pack", "packs")))?;
    app.screen.summary(&json!({"packs": packs, "findings": findings.len()}))?;
    Ok(if findings.iter().any(|f| f.error) { Outcome::Gaps } else { Outcome::Done })
}
