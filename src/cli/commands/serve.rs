//! `serve`: offers the snapshots to other programs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::config::SecretSource;
use crate::cli::exit::Outcome;
use crate::cli::interrupt;
use crate::cli::teller::Teller;
use crate::cli::values::absolute;
use crate::error::Result;
use crate::ops::browse::{BrowseOptions, Browser};
use crate::ops::webdav::{self, Password};

const EXAMPLES: &str = "\
Examples:
  tenantvault serve webdav
  tenantvault serve webdav --listen 127.0.0.1:8080 --access-password-file web.key
Connect to the address shown: on macOS with Finder, Go, Connect to Server; on
Windows with Map network drive (the service WebClient takes Basic passwords over
plain HTTP only after BasicAuthLevel was set to 2); anywhere with rclone or
cadaver. The user's name is any.
Nothing is encrypted on the way: for other machines, put a TLS proxy before it.";

/// Offer the snapshots to other programs
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// How they are offered.
#[derive(Subcommand)]
enum What {
    Webdav(WebdavArgs),
}

/// Show the snapshots as a network folder (WebDAV), read-only, until interrupted
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
struct WebdavArgs {
    /// The address and port to listen to; port 0: any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Read the password that visitors give from a file; without, one is made and shown once
    #[arg(long, value_name = "FILE")]
    access_password_file: Option<PathBuf>,
}

/// Serves until Ctrl-C.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let What::Webdav(args) = args.what;
    let signalled = interrupt::listen()?;
    let (password, shown) = match &args.access_password_file {
        Some(path) => {
            let source = SecretSource::File(absolute(&app.environment.working_folder, path));
            (Password::new(&source.resolve("password for looking inside")?)?, None)
        }
        None => {
            let (password, text) = Password::generate();
            (password, Some(text))
        }
    };
    let repo = app.open_to_read().await?;
    let browser = Browser::open(repo, BrowseOptions::default(), Arc::new(Teller::new(app.global.json))).await?;
    let mut serving = webdav::serve(&browser, args.listen, password).await?;
    let (screen, address) = (&app.screen, serving.address());
    let url = format!("http://{address}/");
    if !address.ip().is_loopback() {
        screen.warn(format!(
            "{address} can be reached from other machines, and nothing is encrypted on the way: who listens there reads \
             the password and all that is shown\nHint: listen to 127.0.0.1 and put a TLS proxy before it"
        ));
    }
    screen.note(format!("The snapshots are at {url}, read-only, until Ctrl-C"));
    if let Some(text) = &shown {
        screen.line(format!("User: tenantvault (any will do)  Password: {text}"))?;
    }
    screen.record("status", &json!({"url": url, "password": shown}))?;
    screen.flush()?;
    tokio::select! {
        () = signalled => serving.stop().await,
        failed = serving.failed() => return Err(failed),
    }
    screen.note("Stopped");
    screen.summary(&json!({"url": url}))?;
    Ok(Outcome::Done)
}
