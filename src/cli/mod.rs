//! The command line: arguments, configuration and printing, and no logic beyond them.
//!
//! `args` says what can be typed, `commands` has one file a command, `app` holds what they share. Results go to stdout,
//! everything else to stderr. How a run ended becomes an exit code in one place, `exit`.

pub mod config;
pub mod output;
pub mod progress;
mod report;

mod app;
mod args;
mod browser;
mod commands;
mod coverage;
mod destinations;
mod environment;
mod estimate;
mod exit;
mod interrupt;
mod log;
mod memory;
mod passphrase;
mod screen;
mod teller;
mod tenant;
mod values;

pub use memory::keep_memory_small;

use std::process::ExitCode;

use clap::Parser as _;

use app::App;
use args::{Cli, Command};
use environment::Environment;
use screen::Screen;

/// Runs the program: reads the arguments of the process, does what they say, and gives the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => return exit::usage(&refused),
    };
    log::start(cli.global.verbose, matches!(cli.command, Command::Server(_)));
    let (json, quiet) = (cli.global.json, cli.global.quiet);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return exit::failure(&crate::Error::io("The program cannot start its threads", e), json),
    };
    let app = App::new(cli.global, Environment::of_process(), Screen::stdout(json, quiet));
    let result = runtime.block_on(commands::run(cli.command, &app));
    // Work that hangs on a dead connection must not keep the program.
    // Long enough for SSH connections to be taken down, which tasks of their own hold; else their processes would stay.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result.and_then(|outcome| app.screen.flush().map(|()| outcome)) {
        Ok(outcome) => outcome.code(),
        Err(e) => exit::failure(&e, json),
    }
}
