//! `completions`: prints the script that completes commands in a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::app::App;
use crate::cli::args::Cli;
use crate::cli::exit::Outcome;
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  tenantvault completions bash > ~/.local/share/bash-completion/completions/tenantvault
  tenantvault completions zsh  > \"${fpath[1]}/_tenantvault\"
  tenantvault completions fish > ~/.config/fish/completions/tenantvault.fish";

/// Print the script that completes commands in a shell
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: Args, app: &App) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tenantvault", &mut script);
    app.screen.bytes(&script)?;
    Ok(Outcome::Done)
}
