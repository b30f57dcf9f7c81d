//! `audit`: looks whether a backup server's audit log was tampered with.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::commands::server::options_in;
use crate::cli::exit::Outcome;
use crate::cli::output;
use crate::error::{Error, Result};
use crate::server::{AuditFound, look_through_audit, look_through_exported_audit};

const EXAMPLES: &str = "\
Examples:
  tenantvault audit verify --dir /var/lib/tenantvault
  curl -H \"Authorization: Bearer $TOKEN\" \\
      https://backup.example.com/api/v1/accounts/$ACCOUNT/audit?most=1000 > audit.json
  tenantvault audit verify audit.json --known 3f9a12cd…
Each entry has a hash over what it says and over the hash of the entry before it.
Whoever may change the whole log can reckon all hashes anew: keep the last hash that
is printed here elsewhere, and give it as --known the next time.
Of a server on PostgreSQL the database is named as the server is told it.";

/// Look whether a backup server's audit log was tampered with
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Hold every entry against its hash and the one before it
    Verify(Verify),
}

#[derive(clap::Args)]
struct Verify {
    /// What was exported by the API, in any order; none: the server's database
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The server's folder [env: TENANTVAULT_SERVER_DIR]
    #[arg(long, value_name = "DIR", conflicts_with = "files")]
    dir: Option<PathBuf>,
    /// A hash that was kept: an entry must have it
    #[arg(long, value_name = "HASH")]
    known: Option<String>,
}

/// Looks through the log.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let Action::Verify(Verify { files, dir, known }) = args.action;
    let known = known.as_deref();
    let found = if files.is_empty() {
        look_through_audit(&options_in(dir, app)?, known).await?
    } else {
        let read = |path: &PathBuf| {
            let shown = path.display().to_string();
            match std::fs::read_to_string(app.environment.working_folder.join(path)) {
                Ok(text) => Ok((shown, text)),
                Err(e) => Err(Error::io(format!("{shown} cannot be read"), e)),
            }
        };
        look_through_exported_audit(&files.iter().map(read).collect::<Result<Vec<_>>>()?, known)?
    };
    let AuditFound { entries, first, last, hash, others } = &found;
    let screen = &app.screen;
    match entries {
        0 => screen.line("There are no entries")?,
        _ => {
            let many = output::number(*entries);
            screen.line(format!("{many} entries, of the numbers {first} to {last}: each is as it was written"))?;
            if *others > 0 {
                let many = output::number(*others);
                screen
                    .line(format!("{many} between them are not in the export: other accounts', or left out of it"))?;
            }
            screen.line(format!("The last hash, to keep elsewhere: {hash}"))?;
        }
    }
    screen.summary(&json!({
        "entries": entries, "first": first, "last": last, "hash": hash, "others": others,
    }))?;
    Ok(Outcome::Done)
}
