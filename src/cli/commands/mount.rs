//! `mount`: shows the snapshots as a folder.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use crate::cli::app::App;
use crate::cli::exit::Outcome;
use crate::cli::interrupt;
use crate::cli::teller::Teller;
use crate::cli::values::absolute;
use crate::error::Result;
use crate::ops::browse::{BrowseOptions, Browser};
use crate::ops::mount::{MountOptions, Unmounted, mount};

const EXAMPLES: &str = "\
Examples:
  tenantvault mount /mnt/backup
While it runs, from another terminal:
  ls /mnt/backup/sets/everyone/latest/users/alice@contoso.com/Mail/Inbox
  grep -rl 'Invoice 4711' /mnt/backup/sets/everyone/latest/users
Nothing can be changed there. It runs until Ctrl-C, or until someone says
fusermount3 -u /mnt/backup. Needs Linux with FUSE; serve webdav shows the same
anywhere.";

/// Show the snapshots as a folder, read-only, until interrupted
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The folder to mount on; it must be there, and empty
    dir: PathBuf,
    /// Let other users of this machine look too
    #[arg(long)]
    allow_other: bool,
}

/// Mounts, and serves until Ctrl-C or till it is unmounted from outside.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let signalled = interrupt::listen()?;
    let repo = app.open_to_read().await?;
    let dir = absolute(&app.environment.working_folder, &args.dir);
    let browser = Browser::open(repo, BrowseOptions::default(), Arc::new(Teller::new(app.global.json))).await?;
    let mut mounted = mount(&browser, &dir, MountOptions { allow_other: args.allow_other })?;
    let screen = &app.screen;
    screen.note(format!("The snapshots are at {}, read-only, until Ctrl-C", dir.display()));
    screen.record("status", &json!({"folder": dir.display().to_string()}))?;
    screen.flush()?;
    let ended = tokio::select! {
        () = signalled => Ok(false),
        ended = mounted.ended() => ended.map(|()| true),
    };
    let in_use = !ended? && mounted.unmount().await? == Unmounted::InUse;
    if in_use {
        screen.warn(format!("{} was in use: what is still open there meets errors", dir.display()));
    }
    screen.note("Unmounted");
    screen.summary(&json!({"folder": dir.display().to_string(), "in_use": in_use}))?;
    Ok(Outcome::Done)
}
