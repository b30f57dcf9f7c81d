//! `agent`: this machine as a client of a backup server.

use std::io::BufRead as _;

use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::app::App;
use crate::cli::exit::Outcome;
use crate::cli::interrupt;
use crate::error::{Error, Result};
use crate::ops::backup::Stop;
use crate::server::agent::{self, AgentOptions};

const EXAMPLES: &str = "\
Examples:
  tenantvault agent enroll https://backup.example.com    asks for the one-time code
  tenantvault agent run                                  until Ctrl-C, or as a service
  tenantvault agent run --once                           what is due now, then the end
The one-time code comes from the server's page Clients. It is asked for, or taken
from TENANTVAULT_AGENT_CODE or stdin, never from an argument. What is kept lies in
TENANTVAULT_DATA_DIR, or the user's folder for it: the server's address and a token.";

/// Run backup sets of a backup server on this machine
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Enroll this machine at a server by a one-time code
    Enroll {
        /// The server's address
        #[arg(value_name = "URL")]
        url: String,
        /// Take the place of an enrolment that is there
        #[arg(long)]
        again: bool,
        /// Let keys and secrets come without TLS from another machine
        #[arg(long)]
        insecure_http: bool,
    },
    /// Ask the server for work, and do it
    Run {
        /// End when nothing is due
        #[arg(long)]
        once: bool,
        /// Let keys and secrets come without TLS from another machine
        #[arg(long)]
        insecure_http: bool,
    },
}

/// Enrolls, or works.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    match args.what {
        What::Enroll { url, again, insecure_http } => {
            let options = options(app, insecure_http)?;
            let code = code(app)?;
            let name = agent::enroll(&options, &url, &code, again).await?;
            app.screen.report(format!("Enrolled as '{name}'; tenantvault agent run does its work"))?;
            app.screen.summary(&json!({"name": name}))?;
            Ok(Outcome::Done)
        }
        What::Run { once, insecure_http } => work(app, &options(app, insecure_http)?, once).await,
    }
}

async fn work(app: &App, options: &AgentOptions, once: bool) -> Result<Outcome> {
    let stop = Stop::new();
    interrupt::watch(&stop, "Stopping: what is read so far is kept, and gone on with later.");
    let tell = |text: &str| app.screen.note(text);
    let ran = agent::work(options, once, &stop, &tell).await?;
    app.screen
        .summary(&json!({"complete": ran.complete, "gaps": ran.gaps, "failed": ran.failed, "stopped": ran.stopped}))?;
    if ran.failed > 0 && once {
        return Err(Error::new(crate::ErrorKind::Unavailable, format!("{} of the runs failed", ran.failed))
            .with_hint("The server's page of the run says why"));
    }
    Ok(match ran {
        ran if ran.gaps > 0 && once => Outcome::Gaps,
        ran if ran.stopped > 0 && stop.is_stopped() => Outcome::Interrupted,
        _ => Outcome::Done,
    })
}

fn options(app: &App, insecure_http: bool) -> Result<AgentOptions> {
    let folder = app.data_folder().ok_or_else(|| {
        Error::invalid("There is no folder to keep the enrolment in").with_hint("Name one with TENANTVAULT_DATA_DIR")
    })?;
    Ok(AgentOptions { folder, cache: app.cache_root(), insecure_http })
}

/// The one-time code: from the environment, the user, or stdin.
fn code(app: &App) -> Result<Zeroizing<String>> {
    if let Some(code) = app.environment.variable("AGENT_CODE") {
        return Ok(Zeroizing::new(code.to_owned()));
    }
    let cannot = |e| Error::io("The one-time code cannot be read", e);
    let mut code = Zeroizing::new(String::new());
    if app.environment.interactive {
        *code = rpassword::prompt_password("One-time code: ").map_err(cannot)?;
    } else {
        std::io::Read::take(std::io::stdin().lock(), 1_000).read_line(&mut code).map_err(cannot)?;
    }
    if code.trim().is_empty() {
        return Err(Error::invalid("No one-time code is given")
            .with_hint("Set TENANTVAULT_AGENT_CODE, or send the code to stdin; the server's page Clients makes one"));
    }
    Ok(code)
}
