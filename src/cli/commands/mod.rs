//! The commands, one file each: arguments, a call into the library, printing.

pub mod backup;
pub mod cat;
pub mod check;
pub mod completions;
pub mod config;
pub mod demo;
pub mod diff;
pub mod export;
pub mod forget;
pub mod init;
pub mod key;
pub mod ls;
pub mod man;
pub mod prune;
pub mod repair;
pub mod sim;
pub mod snapshots;
pub mod stats;
pub mod test;

use crate::cli::app::App;
use crate::cli::args::Command;
use crate::cli::exit::Outcome;
use crate::error::Result;

/// Does what a command line says.
///
/// # Errors
/// The command's; `main` makes an exit code of it.
pub async fn run(command: Command, app: &App) -> Result<Outcome> {
    match command {
        Command::Init(args) => init::run(args, app).await,
        Command::Key(args) => key::run(args, app).await,
        Command::Test(args) => test::run(args, app).await,
        Command::Backup(args) => backup::run(args, app).await,
        Command::Snapshots(args) => snapshots::run(args, app).await,
        Command::Ls(args) => ls::run(args, app).await,
        Command::Cat(args) => cat::run(args, app).await,
        Command::Export(args) => export::run(args, app).await,
        Command::Diff(args) => diff::run(args, app).await,
        Command::Forget(args) => forget::run(args, app).await,
        Command::Prune(args) => prune::run(args, app).await,
        Command::Check(args) => check::run(args, app).await,
        Command::Repair(args) => repair::run(args, app).await,
        Command::Stats(args) => stats::run(args, app).await,
        Command::Config(args) => config::run(args, app),
        Command::Demo(args) => demo::run(args, app).await,
        Command::Sim(args) => sim::run(args, app).await,
        Command::Completions(args) => completions::run(args, app),
        Command::Man(args) => man::run(args, app),
    }
}
