//! `man`: writes the manual pages.

use std::path::PathBuf;

use clap::CommandFactory as _;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::args::Cli;
use crate::cli::exit::Outcome;
use crate::cli::values::absolute;
use crate::error::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  tenantvault man | man -l -
  tenantvault man ~/.local/share/man/man1";

/// Write the manual pages
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Write one page a command into this folder; without it the first page is printed
    dir: Option<PathBuf>,
}

/// Prints the first page, or writes all.
pub(crate) fn run(args: Args, app: &App) -> Result<Outcome> {
    let Some(dir) = args.dir else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        rendered.map_err(|e| Error::io("The manual page cannot be made", e))?;
        app.screen.bytes(&page)?;
        return Ok(Outcome::Done);
    };
    let dir = absolute(&app.environment.working_folder, &dir);
    let failed = |e| Error::io(format!("Manual pages cannot be written to {}", dir.display()), e);
    std::fs::create_dir_all(&dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &dir).map_err(failed)?;
    app.screen.report(format!("Manual pages written to {}", dir.display()))?;
    app.screen.summary(&json!({"folder": dir.display().to_string()}))?;
    Ok(Outcome::Done)
}
