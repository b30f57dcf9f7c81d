//! The commands, one file each: arguments, a call into the library, printing.

pub(crate) mod agent;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod cat;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod coverage;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod discover;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod mirror;
pub(crate) mod mount;
pub(crate) mod prune;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod serve;
pub(crate) mod server;
pub(crate) mod sim;
pub(crate) mod snapshots;
pub(crate) mod stats;
pub(crate) mod test;

use crate::cli::app::App;
use crate::cli::args::Command;
use crate::cli::exit::Outcome;
use crate::error::Result;

/// Does what a command line says.
///
/// # Errors
/// The command's; `main` makes an exit code of it.
pub(crate) async fn run(command: Command, app: &App) -> Result<Outcome> {
    match command {
        Command::Init(args) => init::run(args, app).await,
        Command::Key(args) => key::run(args, app).await,
        Command::Login(args) => login::run(args, app).await,
        Command::Logout(args) => logout::run(args, app).await,
        Command::Test(args) => test::run(args, app).await,
        Command::Discover(args) => discover::run(args, app).await,
        Command::Backup(args) => backup::run(args, app).await,
        Command::Snapshots(args) => snapshots::run(args, app).await,
        Command::Coverage(args) => coverage::run(args, app).await,
        Command::Ls(args) => ls::run(args, app).await,
        Command::Cat(args) => cat::run(args, app).await,
        Command::Export(args) => export::run(args, app).await,
        Command::Restore(args) => restore::run(args, app).await,
        Command::Mount(args) => mount::run(args, app).await,
        Command::Serve(args) => serve::run(args, app).await,
        Command::Server(args) => server::run(args, app).await,
        Command::Audit(args) => audit::run(args, app).await,
        Command::Agent(args) => agent::run(args, app).await,
        Command::Diff(args) => diff::run(args, app).await,
        Command::Find(args) => find::run(args, app).await,
        Command::History(args) => history::run(args, app).await,
        Command::Forget(args) => forget::run(args, app).await,
        Command::Prune(args) => prune::run(args, app).await,
        Command::Check(args) => check::run(args, app).await,
        Command::Repair(args) => repair::run(args, app).await,
        Command::Mirror(args) => mirror::run(args, app).await,
        Command::Stats(args) => stats::run(args, app).await,
        Command::Config(args) => config::run(args, app),
        Command::Demo(args) => demo::run(args, app).await,
        Command::Sim(args) => sim::run(args, app).await,
        Command::Completions(args) => completions::run(args, app),
        Command::Man(args) => man::run(args, app),
    }
}
